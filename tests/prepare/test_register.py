"""Registration recovers known transforms of a simulated head."""

from dataclasses import replace

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.geometry import Grid, isotropic_grid
from flairnb.images import Image
from flairnb.prepare import bridge
from flairnb.prepare.brain import _warped_mask
from flairnb.prepare.intensity import smooth_sample, tame
from flairnb.prepare.pair import agreement, check_field_of_view, check_head_sizes, register_t1w
from flairnb.prepare.plausible import check_heads
from flairnb.prepare.register import about, best_start, mutual_information, refine_linear, rigid_starts, rotation
from flairnb.settings import load

GRID = Grid((6, 6, 6), np.eye(4))


def test_mutual_information_of_an_image_with_itself_is_two(rng):
    a = rng.random((9, 8, 7))
    assert mutual_information(a, a) == pytest.approx(2.0)
    assert mutual_information(a, 1 - a) == pytest.approx(2.0)
    assert mutual_information(rng.random(200_000), rng.random(200_000)) == pytest.approx(1.0, abs=0.01)


def test_rotation_keeps_lengths_and_turns_the_right_way():
    turn = rotation((0, 0, 90))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation((10, 20, 30)) @ rotation((10, 20, 30)).T, np.eye(3), atol=1e-12)


def heads(thick_affine, truth, simulated_head):
    grid = isotropic_grid((83, 97, 33), thick_affine, 4.0)
    fixed, brain = simulated_head(grid.shape, grid.affine, "flair")
    own = np.diag([4.0, 4.0, 4.0, 1.0])
    own[:3, 3] = (-96, -110, -100)
    moving, _ = simulated_head((49, 56, 51), own, "t1w", np.linalg.inv(truth))
    return (tame(fixed), grid.affine), (tame(moving), own), brain


def test_rigid_registration_recovers_a_known_transform_across_contrasts(thick_affine, simulated_head):
    pytest.importorskip("ants")
    bridge.load_ants(0)
    truth = about((0, 0, 0), rotation((6, -3, 4)), (7, -5, 9))
    fixed, moving, brain = heads(thick_affine, truth, simulated_head)
    start, score = best_start(*fixed, *moving, rigid_starts(*fixed, *moving))
    found = refine_linear(fixed, moving, start, "Rigid", (100, 50))
    again = refine_linear(fixed, moving, start, "Rigid", (100, 50))
    points = np.c_[np.argwhere(brain), np.ones(brain.sum())] @ fixed[1].T
    error_mm = np.linalg.norm(((found - truth) @ points.T)[:3], axis=0).mean()
    assert score > 1.05
    assert error_mm < 1.0
    np.testing.assert_array_equal(found, again)


def test_t1w_of_another_head_size_is_refused(head, thick_affine):
    image, _ = head
    small = thick_affine.copy()
    small[:3, :3] *= 0.6
    grid = isotropic_grid(image.shape, image.affine, 4.0)
    flair_work = smooth_sample(tame(image.data), image.affine, grid)
    with pytest.raises(InputError, match="mm wide"):
        register_t1w(Image(image.data, small), flair_work, grid, replace(load("demo").prepare, working_spacing_mm=4.0))


def test_field_of_view_of_a_thumb_or_a_room_is_refused():
    data = np.ones((9, 8, 7), np.float32)
    with pytest.raises(InputError, match="expected a head"):
        check_field_of_view(Image(data, np.diag([5.0, 5.0, 5.0, 1])), "T1w")
    with pytest.raises(InputError, match="expected a head"):
        check_field_of_view(Image(data, np.diag([90.0, 90.0, 90.0, 1])), "FLAIR")


def test_agreement_of_empty_images_is_none():
    assert agreement(np.zeros((9, 9, 9)), np.zeros((9, 9, 9))) == (1.0, 0.0)


def test_equal_heads_pass_the_size_check(head):
    image, _ = head
    data = tame(image.data)
    check_head_sizes(data, data, 4.0, image)


def test_what_ants_cannot_fit_is_refused_in_one_line(monkeypatch):
    """As eight slices of 1 mm are: ANTs raises a RuntimeError."""
    ants = bridge.load_ants()

    def gives_up(*_args, **_words):
        raise RuntimeError("Registration failed with error code 1")

    monkeypatch.setattr(ants, "registration", gives_up)
    image = (np.ones((6, 6, 6), np.float32), np.eye(4))
    for fit in (lambda: refine_linear(image, image, np.eye(4)), lambda: _warped_mask(image, image, np.eye(4), (5,), image[0], GRID)):
        with pytest.raises(InputError, match="cannot fit them") as caught:
            fit()
        assert "\n" not in str(caught.value) and "--brain-mask" in str(caught.value)


def test_a_field_of_view_no_head_has_is_refused_beside_a_brain_mask_too():
    """The work grid of 1.9 m at 1 mm would need 33 GB an array."""
    room = Image(np.ones((192, 224, 192), np.float32), np.diag([10.0, 10, 10, 1]))
    for whole in (True, False):
        with pytest.raises(InputError, match="found 1920 x 2240 x 1920 mm"):
            check_heads(room, None, whole=whole)
    brain = Image(np.pad(np.ones((50, 60, 10), np.float32), 1), np.diag([2.0, 2, 5, 1]))
    check_heads(brain, None, whole=False)
