"""What a comparison method sees does not depend on the unit that intensities come in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.baselines.case import BaselineCase, fit_t1w, look_at, t1w_on_work
from flairnb.images import Image
from flairnb.prepare.case import PreparedCase, normalise

from .conftest import make_head

pytest.importorskip("ants")
SCALES = [(1.0, 0.0), (1 / 120, -1.0), (0.02, -3.6), (3.0, 700.0)]


@pytest.fixture(scope="module")
def made():
    """FLAIR and T1w intensities on 0, the brain, the lesion and the grid of a synthetic head."""
    flair, t1w, brain, lesion, _, grid, _ = make_head(8)
    return flair, t1w, brain, lesion, grid


def prepared(flair, brain, grid):
    z, mean, sd = normalise(flair, brain)
    return PreparedCase(Image(flair.astype(np.float32), grid.affine), brain, z, brain, grid, mean, sd)


def z_scored(data, brain):
    """z-scores inside the brain on a background left at 0."""
    return normalise(data, brain)[0]


@pytest.mark.parametrize(("factor", "constant"), SCALES)
def test_intensities_are_those_of_the_raw_image_times_a_factor(made, factor, constant):
    flair, _, brain, lesion, grid = made
    view = look_at(prepared(factor * flair + constant, brain, grid))
    seen = view.whole(view.intensity)
    np.testing.assert_allclose(seen[brain], factor * flair[brain], atol=1e-3 * factor * flair.max())
    assert not seen[~brain].any()
    assert seen[lesion].mean() > 1.5 * seen[brain].mean()


def test_intensities_of_a_z_scored_brain_keep_their_contrast(made):
    flair, _, brain, _, grid = made
    z = z_scored(flair, brain)
    view = look_at(prepared(z, brain, grid))
    seen = view.whole(view.intensity)
    np.testing.assert_allclose(seen[brain], z[brain] - z[brain].min(), atol=1e-4)
    direct = BaselineCase(z, brain, None, None, grid, np.eye(4), 0.0, 1.0, (slice(None),) * 3, brain.shape)
    np.testing.assert_allclose(direct.intensity, seen, atol=1e-4)


def test_a_little_noise_below_zero_is_cut_off_and_moves_nothing(made):
    flair, _, brain, _, grid = made
    z, mean, sd = normalise(flair, brain)
    z = z.copy()
    z[tuple(np.argwhere(brain)[0])] = -20.0
    view = BaselineCase(z, brain, None, None, grid, np.eye(4), mean, sd, (slice(None),) * 3, brain.shape)
    values = np.where(brain, np.maximum(z * sd + mean, 0), 0).astype(np.float32)
    np.testing.assert_array_equal(view.intensity, values)


@pytest.mark.parametrize("n4", [False, True])
@pytest.mark.parametrize(("factor", "constant"), SCALES[1:])
def test_the_t1w_on_the_work_grid_does_not_depend_on_factor_and_constant(made, n4, factor, constant):
    _, t1w, brain, _, grid = made
    raw = t1w_on_work(Image(t1w, grid.affine), np.eye(4), grid, brain, n4)
    moved = Image((factor * t1w + constant).astype(np.float32), grid.affine)
    apart = np.abs(t1w_on_work(moved, np.eye(4), grid, brain, n4) - raw)
    # N4 adds a thousandth of a unit before it takes logarithms: with small units the darkest voxels feel it.
    assert np.percentile(apart, 99.5) < (0.05 if n4 else 1e-3)


def test_a_z_scored_t1w_keeps_what_is_below_its_mean(made):
    _, t1w, brain, _, grid = made
    raw = t1w_on_work(Image(t1w, grid.affine), np.eye(4), grid, brain, n4=False)
    seen = t1w_on_work(Image(z_scored(t1w, brain), grid.affine), np.eye(4), grid, brain, n4=False)
    np.testing.assert_allclose(seen, raw, atol=1e-3)
    image = Image(z_scored(t1w, brain), grid.affine)
    flair = z_scored(made[0], brain)
    apart = fit_t1w(image, flair, brain, grid) - fit_t1w(Image(t1w, grid.affine), flair, brain, grid)
    points = np.c_[np.argwhere(brain), np.ones(brain.sum())] @ grid.affine.T
    assert np.linalg.norm((points @ apart.T)[:, :3], axis=1).mean() < 1.5


def test_a_wrapped_slice_of_the_t1w_is_dark(made):
    _, t1w, brain, _, grid = made
    wrapped = t1w.copy()
    wrapped[:, :, -1] = 65535
    plain = replace(Image(t1w, grid.affine), data=np.where(wrapped == 65535, 0, t1w))
    raw = t1w_on_work(plain, np.eye(4), grid, brain, n4=False)
    np.testing.assert_array_equal(t1w_on_work(Image(wrapped, grid.affine), np.eye(4), grid, brain, n4=False), raw)
