"""Resampling against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from flairnb.geometry import Grid, isotropic_grid
from flairnb.resampling import covered, resample

SHAPE = (17, 13, 9)


def by_scipy(data, matrix, shape):
    return ndimage.affine_transform(data, matrix[:3, :3], matrix[:3, 3], shape, np.float32, 1, "nearest")


def test_linear_resampling_reproduces_a_linear_ramp(oblique_affine):
    ijk = np.indices(SHAPE).reshape(3, -1)
    world = oblique_affine[:3, :3] @ ijk + oblique_affine[:3, 3:]
    ramp = (0.3 * world[0] - 0.7 * world[1] + 0.2 * world[2] + 5).reshape(SHAPE)
    grid = isotropic_grid(SHAPE, oblique_affine, 1.3)
    out = resample(ramp.astype(np.float32), oblique_affine, grid, fill=np.nan)
    at = np.indices(grid.shape).reshape(3, -1)
    where = grid.affine[:3, :3] @ at + grid.affine[:3, 3:]
    expected = (0.3 * where[0] - 0.7 * where[1] + 0.2 * where[2] + 5).reshape(grid.shape)
    back = np.linalg.inv(oblique_affine) @ np.vstack([where, np.ones(where.shape[1])])
    inner = np.all([(back[a] >= 0) & (back[a] <= SHAPE[a] - 1) for a in range(3)], axis=0).reshape(grid.shape)
    assert inner.mean() > 0.5
    np.testing.assert_allclose(out[inner], expected[inner], atol=2e-3)


def test_resampling_onto_the_own_grid_changes_nothing(rng, oblique_affine):
    data = rng.normal(size=SHAPE).astype(np.float32)
    for order in (0, 1):
        np.testing.assert_allclose(resample(data, oblique_affine, Grid(SHAPE, oblique_affine), order=order), data, atol=1e-5)


def test_outside_gets_the_fill_value_and_the_outer_half_voxel_does_not():
    data = np.full((5, 6, 7), 3.0, dtype=np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    finer = affine.copy()
    finer[:3, :3] = np.eye(3)
    finer[:3, 3] = -2.5
    out = resample(data, affine, Grid((14, 16, 18), finer), fill=-9)
    assert set(np.unique(out)) == {-9.0, 3.0}
    # the field of view is 10 x 12 x 14 mm, sampled every mm
    assert (out == 3.0).sum() == 10 * 12 * 14


def test_world_matrix_moves_the_source():
    data = np.zeros((9, 9, 9), dtype=np.float32)
    data[4, 4, 4] = 1
    affine = np.eye(4)
    link = np.eye(4)
    link[:3, 3] = (1, -2, 0)
    out = resample(data, affine, Grid((9, 9, 9), affine), order=0, world=link)
    assert tuple(np.argwhere(out > 0)[0]) == (3, 6, 4)


@given(
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.tuples(*[st.floats(0.2, 4.0)] * 3),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
)
def test_along_the_axes_of_an_image_values_are_those_of_scipy(order, signs, steps, start):
    data = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(np.array(signs) * steps)[:, order]
    matrix[:3, 3] = np.where(np.array(signs) < 0, np.array(SHAPE) - 1, 0) + np.array(start)
    shape = (8, 11, 5)
    out = resample(data, np.eye(4), Grid(shape, matrix), fill=np.nan)
    inside = ~np.isnan(out)
    np.testing.assert_array_equal(inside, covered(SHAPE, np.eye(4), Grid(shape, matrix)))
    np.testing.assert_allclose(out[inside], by_scipy(data, matrix, shape)[inside], atol=3e-6)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_across_the_axes_values_are_those_of_scipy_in_one_piece(rng, oblique_affine, length):
    data = rng.normal(size=SHAPE).astype(np.float32)
    matrix = np.linalg.inv(oblique_affine) @ np.eye(4)
    matrix[:3, 3] = (3, 2, 4)
    shape = (length, 6, 8)
    grid = Grid(shape, oblique_affine @ matrix)
    expected = np.where(covered(SHAPE, oblique_affine, grid), by_scipy(data, matrix, shape), 0)
    np.testing.assert_allclose(resample(data, oblique_affine, grid), expected, atol=1e-5)


def test_a_cubic_spline_goes_through_the_voxels_and_follows_a_parabola(oblique_affine):
    at = np.indices(SHAPE).astype(float)
    data = (0.1 * (at[0] - 8) ** 2 - 0.2 * at[1] + 0.05 * at[2]).astype(np.float32)
    np.testing.assert_allclose(resample(data, np.eye(4), Grid(SHAPE, np.eye(4)), order=3), data, atol=1e-4)
    half = np.eye(4)
    half[:3, 3] = 0.5
    out = resample(data, np.eye(4), Grid(SHAPE, half), order=3)
    middle = (slice(5, 11), slice(3, 9), slice(2, 6))
    np.testing.assert_allclose(out[middle], (0.1 * (at[0] - 7.5) ** 2 - 0.2 * (at[1] + 0.5) + 0.05 * (at[2] + 0.5))[middle], atol=0.02)


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_an_image_has_data_where_ones_sampled_on_the_grid_are_one(tilt):
    world = np.eye(4)
    world[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    grid = Grid((30, 28, 26), np.diag([0.7, 0.9, 1.1, 1.0]) @ np.array([[1, 0, 0, -4], [0, 1, 0, -5], [0, 0, 1, -6], [0, 0, 0, 1.0]]))
    found = covered(SHAPE, np.eye(4), grid, world)
    np.testing.assert_array_equal(found, resample(np.ones(SHAPE), np.eye(4), grid, world=world) == 1)
    assert 0.1 < found.mean() < 0.9
