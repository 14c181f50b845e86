from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from flairnb.network.augment import CONTROL_SPACING_MM, IDENTITY, Transform, apply_transform, draw_transform, pull, push
from flairnb.settings import load

SHAPE = (17, 20, 23)


@pytest.fixture
def train():
    return load("paper").train


@pytest.fixture
def volume(rng):
    image = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1).astype(np.float32)
    return image, (image > 0.2).astype(np.uint8)


def test_the_identity_returns_the_volume_itself(volume):
    image, mask = volume
    found, labels = apply_transform(image, mask, IDENTITY, 1.5, (3, 4, 5), 12)
    np.testing.assert_array_equal(found, image[3:15, 4:16, 5:17])
    np.testing.assert_array_equal(labels, mask[3:15, 4:16, 5:17])


def test_a_patch_that_leans_over_the_edge_is_zero_outside(volume):
    image, mask = volume
    found, _ = apply_transform(image, mask, IDENTITY, 1.5, (-5, 12, 20), 8)
    np.testing.assert_array_equal(found[5:, :, :3], image[:3, 12:20, 20:])
    assert not found[:5].any()
    assert not found[:, :, 3:].any()


def test_a_translation_of_whole_voxels_is_a_shift(volume):
    image, mask = volume
    moved = Transform(np.eye(3), np.array([3.0, 0, -1.5]))  # at 1.5 mm: 2 and -1 voxels
    found, labels = apply_transform(image, mask, moved, 1.5, (2, 3, 4), 10)
    np.testing.assert_allclose(found, image[4:14, 3:13, 3:13], atol=1e-5)
    np.testing.assert_array_equal(labels, mask[4:14, 3:13, 3:13])


def test_a_quarter_turn_turns_the_volume_about_its_centre(rng):
    image = rng.normal(size=(16, 16, 16)).astype(np.float32)
    turn = Transform(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), np.zeros(3))
    found, _ = apply_transform(image, (image > 0).astype(np.uint8), turn, 0.7, (0, 0, 0), 16)
    # pull(i, j) = (j, -i): the same as numpy's rotation the other way round
    np.testing.assert_allclose(found[1:-1, 1:-1], np.rot90(image, -1, axes=(1, 0))[1:-1, 1:-1], atol=1e-4)


def test_a_free_form_draw_agrees_with_the_b_spline_summed_node_by_node(train, rng):
    transform = draw_transform(rng, train, np.array(SHAPE) * 2.0)
    point = np.array([[5.0, -7.5, 11.0]])

    def weight(t):
        t = abs(t)
        return 2 / 3 - t**2 + t**3 / 2 if t < 1 else (2 - t) ** 3 / 6 if t < 2 else 0.0

    nodes = transform.control_mm.shape[1]
    at = point[0] / CONTROL_SPACING_MM + (nodes - 1) / 2
    moved = np.zeros(3)
    for a, b, c in np.ndindex(nodes, nodes, nodes):
        moved += weight(at[0] - a) * weight(at[1] - b) * weight(at[2] - c) * transform.control_mm[:, a, b, c]
    expected = transform.matrix @ point[0] + transform.translation_mm + moved
    np.testing.assert_allclose(pull(transform, point)[0], expected, rtol=1e-10)


def test_a_patch_equals_that_part_of_the_whole_transformed_volume(train, volume, rng):
    image, mask = volume
    transform = draw_transform(rng, train, np.array(SHAPE) * 2.0)
    whole = np.moveaxis(np.indices(SHAPE), 0, -1).reshape(-1, 3)
    centre = (np.array(SHAPE) - 1) / 2
    source = pull(transform, (whole - centre) * 2.0) / 2.0 + centre
    expected = ndimage.map_coordinates(image, source.T, order=1, cval=0.0).reshape(SHAPE)
    found, labels = apply_transform(image, mask, transform, 2.0, (4, 5, 6), 11)
    np.testing.assert_allclose(found, expected[4:15, 5:16, 6:17], atol=1e-4)
    assert set(np.unique(labels)) <= {0, 1}


def test_push_is_the_inverse_of_pull(train, rng):
    transform = draw_transform(rng, replace(train, recipe="robust", freeform_mm=4.0), (150.0, 180.0, 150.0))
    points = rng.uniform(-70, 70, (50, 3))
    np.testing.assert_allclose(pull(transform, push(transform, points)), points, atol=0.02)


def test_draws_stay_within_the_settings(train, rng):
    for _ in range(50):
        drawn = draw_transform(rng, train, (150.0, 180.0, 150.0))
        assert np.abs(drawn.translation_mm).max() <= train.translation_mm
        scales = np.linalg.norm(drawn.matrix, axis=0)
        assert np.abs(scales - 1).max() <= train.scaling_fraction + 1e-9
        assert np.linalg.det(drawn.matrix) > 0, "the paper's recipe does not mirror"
        assert (drawn.gain, drawn.shift) == (1.0, 0.0)


def test_the_robust_recipe_mirrors_half_of_the_heads_and_only_left_and_right(train):
    """Without rotation, shear or free-form, the matrix is that of the mirror image along axis 0 times a scale."""
    still = replace(train, recipe="robust", rotation_deg=0.0, scaling_fraction=0.0, freeform_mm=0.0, coarsest_mm=0.0)
    matrices = [draw_transform(np.random.default_rng(seed), still, (150.0, 180.0, 150.0)).matrix for seed in range(50)]
    mirrored = [matrix for matrix in matrices if np.linalg.det(matrix) < 0]
    assert 15 <= len(mirrored) <= 35  # fewer or more of 50 fair draws: once in 300
    for matrix in matrices:
        np.testing.assert_allclose(matrix, np.diag([np.linalg.det(matrix), 1, 1]))
    turned = replace(train, recipe="robust", rotation_deg=15.0)
    signs = [np.sign(np.linalg.det(draw_transform(np.random.default_rng(s), turned, (150.0,) * 3).matrix)) for s in range(50)]
    assert 15 <= signs.count(-1) <= 35


def test_mirrored_patches_show_the_other_side(volume):
    image, mask = volume
    found, labels = apply_transform(image, mask, Transform(np.diag([-1.0, 1, 1]), np.zeros(3)), 1.5, (2, 3, 4), 10)
    np.testing.assert_allclose(found, image[::-1][2:12, 3:13, 4:14], atol=1e-5)
    np.testing.assert_array_equal(labels, mask[::-1][2:12, 3:13, 4:14])


def test_the_deformation_never_folds(train, rng):
    drawn = draw_transform(rng, replace(train, freeform_mm=50.0), (150.0, 180.0, 150.0))
    points = rng.uniform(-70, 70, (300, 3))
    steps = np.stack([pull(drawn, points + 0.01 * np.eye(3)[a]) - pull(drawn, points) for a in range(3)], axis=-1) / 0.01
    assert np.linalg.det(steps).min() > 0


def test_the_same_generator_state_draws_the_same(train):
    a, b = (draw_transform(np.random.default_rng(5), train, (90.0, 90.0, 90.0)) for _ in range(2))
    np.testing.assert_array_equal(a.matrix, b.matrix)
    np.testing.assert_array_equal(a.control_mm, b.control_mm)


def test_intensity_changes_leave_the_outside_at_zero(volume):
    image, mask = volume
    image = np.where(np.indices(SHAPE)[0] < 8, 0, image).astype(np.float32)
    changed, _ = apply_transform(image, mask, replace(IDENTITY, gain=1.2, shift=0.1), 1.0, (0, 0, 0), 16)
    assert not changed[:8].any()
    np.testing.assert_allclose(changed[8:], 1.2 * image[8:16, :16, :16] + 0.1, rtol=1e-5, atol=1e-6)
