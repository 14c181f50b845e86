"""The work grid and the exact way back."""

import numpy as np
import pytest

from flairnb.errors import GeometryError
from flairnb.geometry import Grid, isotropic_grid
from flairnb.images import Image
from flairnb.prepare.native import to_native
from flairnb.prepare.slabs import mask_to_work, sample_slabs, to_work
from flairnb.resampling import resample


def test_linear_ramp_survives_the_round_trip_on_an_oblique_grid(oblique_affine):
    shape = (37, 31, 9)
    ramp = np.einsum("c,cijk->ijk", [0.7, -0.4, 0.3], np.indices(shape)).astype(np.float32)
    flair = Image(ramp, oblique_affine)
    grid = isotropic_grid(shape, oblique_affine, 1.0)
    back = to_native(to_work(ramp, oblique_affine, grid), grid, flair)
    assert back.shape == shape
    inner = (slice(2, -2), slice(2, -2), slice(1, -1))
    np.testing.assert_allclose(back[inner], ramp[inner], atol=0.03)


def test_ball_mask_survives_the_round_trip(oblique_affine):
    shape = (41, 39, 13)
    index = np.indices(shape).astype(float)
    distance = np.sqrt(sum(((index[a] - c) * s) ** 2 for a, c, s in zip(range(3), (20, 19, 6), (0.9, 1.1, 5.0), strict=True)))
    mask = distance < 14
    flair = Image(mask.astype(np.float32), oblique_affine)
    grid = isotropic_grid(shape, oblique_affine, 1.0)
    back = to_native(mask_to_work(mask, oblique_affine, grid).astype(np.float32), grid, flair) >= 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.93


def test_constant_stays_constant_everywhere_on_the_native_grid(oblique_affine):
    flair = Image(np.zeros((7, 8, 9), np.float32), oblique_affine)
    grid = isotropic_grid(flair.shape, oblique_affine, 1.0)
    back = to_native(np.full(grid.shape, 0.25, np.float32), grid, flair)
    np.testing.assert_allclose(back, 0.25, atol=1e-6)


def test_thick_voxel_is_the_mean_over_its_depth():
    fine = np.zeros((3, 3, 10), np.float32)
    fine[:, :, :5] = np.arange(5)
    coarse = Grid((3, 3, 2), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 5, 2], [0, 0, 0, 1.0]]))
    out = sample_slabs(fine, np.eye(4), coarse)
    assert out[1, 1, 0] == pytest.approx(2.0)
    assert out[1, 1, 1] == pytest.approx(0.0)


def test_labels_are_picked_not_averaged(rng, oblique_affine):
    grid = isotropic_grid((7, 8, 9), oblique_affine, 1.0)
    labels = rng.integers(0, 4, grid.shape).astype(np.float32)
    back = to_native(labels, grid, Image(np.zeros((7, 8, 9), np.float32), oblique_affine), order=0)
    np.testing.assert_array_equal(back, resample(labels, grid.affine, Grid((7, 8, 9), oblique_affine), order=0))
    assert set(np.unique(back)) <= {0, 1, 2, 3}


def test_array_of_another_grid_is_refused(oblique_affine):
    grid = isotropic_grid((7, 8, 9), oblique_affine, 1.0)
    flair = Image(np.zeros((7, 8, 9), np.float32), oblique_affine)
    with pytest.raises(GeometryError, match="expected shape"):
        to_native(np.zeros((3, 4, 5)), grid, flair)
    with pytest.raises(GeometryError, match="beside the work grid"):
        to_native(np.zeros(grid.shape), grid)
