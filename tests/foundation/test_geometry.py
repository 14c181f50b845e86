"""Grids against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from flairnb.errors import GeometryError
from flairnb.geometry import (
    Grid,
    canonical_axes,
    check_same_grid,
    fill_holes,
    is_same_grid,
    isotropic_grid,
    mask_box,
    near_distance,
    spacing_mm,
    voxel_volume_mm3,
)

SHAPE = (17, 13, 9)


def test_spacing_and_volume_of_an_oblique_affine(oblique_affine):
    np.testing.assert_allclose(spacing_mm(oblique_affine), (0.9, 1.1, 5.0))
    assert voxel_volume_mm3(oblique_affine) == pytest.approx(0.9 * 1.1 * 5.0)


def test_volume_counts_shear():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 1] = 5.0
    assert voxel_volume_mm3(affine) == pytest.approx(24.0)


def test_same_grid_sees_a_shift_of_a_tenth_of_a_millimetre(oblique_affine):
    moved = oblique_affine.copy()
    moved[2, 3] += 0.1
    assert is_same_grid(SHAPE, oblique_affine, SHAPE, oblique_affine)
    assert not is_same_grid(SHAPE, oblique_affine, SHAPE, moved)
    assert not is_same_grid(SHAPE, oblique_affine, (17, 13, 8), oblique_affine)


def test_different_grids_are_named_in_the_error(oblique_affine):
    with pytest.raises(GeometryError, match=r"T1w mask: .*\(17, 13, 9\).*\(17, 13, 8\)"):
        check_same_grid(Grid(SHAPE, oblique_affine), Grid((17, 13, 8), oblique_affine), "T1w mask")


def test_the_error_says_how_far_grids_of_one_shape_and_spacing_lie_apart():
    affine = np.diag([3.0, 4.0, 6.0, 1.0])
    shifted, flipped = affine.copy(), affine.copy()
    shifted[:2, 3] = (3, 4)
    flipped[0, 0], flipped[0, 3] = -3, 3 * (SHAPE[0] - 1)  # the same field of view, the other way round
    for other, words in ((shifted, "up to 5 mm apart"), (flipped, f"up to {3 * (SHAPE[0] - 1)} mm apart")):
        with pytest.raises(GeometryError, match=words):
            check_same_grid(Grid(SHAPE, affine), Grid(SHAPE, other), "mask")
    with pytest.raises(GeometryError) as caught:
        check_same_grid(Grid(SHAPE, affine), Grid((17, 13, 8), affine), "mask")
    assert "apart" not in str(caught.value)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_canonical_axes_undo_any_storage_order(order, signs):
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for world, (voxel, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, voxel] = sign * (1.0 + world)
    axes, found = canonical_axes(affine)
    assert tuple(axes) == order
    assert tuple(found) == signs


def test_isotropic_grid_covers_the_same_field_of_view(oblique_affine):
    grid = isotropic_grid(SHAPE, oblique_affine, 1.0)
    np.testing.assert_allclose(grid.spacing_mm, 1.0)
    # extents along x, y, z: the i axis runs right to left
    assert grid.shape == (int(np.ceil(17 * 0.9)), int(np.ceil(13 * 1.1)), 45)
    centre_old = oblique_affine @ np.array([*(np.array(SHAPE) - 1) / 2, 1])
    centre_new = grid.affine @ np.array([*(np.array(grid.shape) - 1) / 2, 1])
    np.testing.assert_allclose(centre_new, centre_old, atol=1e-9)
    axes, signs = canonical_axes(grid.affine)
    assert tuple(axes) == (0, 1, 2) and tuple(signs) == (1, 1, 1)


def test_isotropic_grid_keeps_an_isotropic_canonical_image_as_it_is():
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = (-4, 5, 6)
    grid = isotropic_grid((7, 8, 9), affine, 1.5)
    assert grid.shape == (7, 8, 9)
    np.testing.assert_allclose(grid.affine, affine)


@given(st.tuples(*[st.integers(0, 5)] * 3), st.integers(0, 3))
def test_mask_box_holds_every_voxel_and_no_more(corner, margin):
    mask = np.zeros((9, 10, 11), dtype=bool)
    mask[corner] = True
    mask[tuple(c + 2 for c in corner)] = True
    box = mask_box(mask, margin)
    assert mask[box].sum() == 2
    for axis, s in enumerate(box):
        assert s.start == max(0, corner[axis] - margin)
        assert s.stop == min(mask.shape[axis], corner[axis] + 3 + margin)


def test_mask_box_of_nothing_is_everything():
    assert np.zeros((3, 4, 5))[mask_box(np.zeros((3, 4, 5), dtype=bool))].shape == (3, 4, 5)


@pytest.mark.parametrize("reach", [1, 3, 9])
def test_near_distance_equals_brute_force_up_to_its_reach(rng, reach):
    mask = rng.random((9, 6, 7)) > 0.985
    mask[2, 3, 4] = True
    places = np.argwhere(mask)
    brute = np.array([np.sqrt(((places - at) ** 2).sum(axis=1).min()) for at in np.ndindex(mask.shape)]).reshape(mask.shape)
    np.testing.assert_allclose(near_distance(mask, reach), np.where(brute <= reach, brute, reach + 1), rtol=1e-6)


def test_near_distance_of_an_empty_mask_is_beyond_the_reach():
    np.testing.assert_array_equal(near_distance(np.zeros((3, 4, 5), bool), 7), 8.0)


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (0, 0, 0)])
def test_near_distance_of_no_voxels_is_empty(shape):
    found = near_distance(np.zeros(shape, bool), 7)
    assert found.shape == shape and found.dtype == np.float32


@pytest.mark.parametrize("reach", [0, 121])
def test_near_distance_refuses_a_reach_that_16_bits_cannot_hold(reach):
    with pytest.raises(GeometryError, match="reach: expected 1 to 120"):
        near_distance(np.ones((2, 2, 2), bool), reach)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(9, 10, 11), (1, 6, 7), (5, 2, 8), (4, 5, 1)])
def test_filled_holes_equal_scipys(rng, share, shape):
    mask = rng.random(shape) < share
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    for across in range(3):
        slices = [ndimage.binary_fill_holes(part) for part in np.moveaxis(mask, across, 0)]
        np.testing.assert_array_equal(fill_holes(mask, across), np.moveaxis(np.array(slices), 0, across))


def test_a_tunnel_is_no_hole_in_3d_but_one_in_the_slices_that_it_crosses():
    mask = np.ones((5, 5, 5), bool)
    mask[2, 2, :] = False
    assert not fill_holes(mask)[2, 2].any()
    assert fill_holes(mask, across=2).all()
    assert not fill_holes(mask, across=0)[2, 2].any()
