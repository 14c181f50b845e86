"""The repeats: what they change, and that the head stays where it is."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.geometry import Grid
from flairnb.images import Image
from flairnb.report import perturb
from flairnb.report.perturb import REPEATS, Repeat, mask_on, overlap_weights
from flairnb.resampling import resample


@pytest.fixture
def head(oblique_affine, rng):
    """A smooth head, brighter towards one corner, with its brain, on an oblique 2D-like grid."""
    shape = (31, 37, 23)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(0))
    data = np.where(radius < 0.95, 300 + 60 * at[0] + 40 * at[1] + 80 * np.exp(-8 * ((at - 0.2) ** 2).sum(0)), 8.0)
    return Repeat(Image(data.astype(np.float32), oblique_affine), radius < 0.7)


def stream():
    return np.random.default_rng(3)


def centroid(mask, affine):
    return affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]


@pytest.mark.parametrize("name", REPEATS)
def test_the_brain_stays_where_it_is_in_the_world(name, head):
    other = REPEATS[name](head, stream())
    assert other.flair.shape == other.brain.shape and other.flair.data.dtype == np.float32
    edge = head.flair.spacing_mm.max() / 10
    np.testing.assert_allclose(centroid(other.brain, other.flair.affine), centroid(head.brain, head.flair.affine), atol=edge)
    volume, before = (r.brain.sum() * r.flair.voxel_volume_ml for r in (other, head))
    assert volume == pytest.approx(before, rel=0.03)
    back = mask_on(head.flair.grid, other.brain, other.flair.affine)
    assert 2 * (back & head.brain).sum() / (back.sum() + head.brain.sum()) > 0.93


@pytest.mark.parametrize("name", REPEATS)
def test_the_same_stream_gives_the_same_repeat_and_the_original_is_left_alone(name, head):
    before = head.flair.data.copy()
    a, b = REPEATS[name](head, stream()), REPEATS[name](head, stream())
    np.testing.assert_array_equal(a.flair.data, b.flair.data)
    np.testing.assert_array_equal(head.flair.data, before)


def test_re_orienting_moves_no_voxel(head):
    other = perturb.reoriented(head, stream())
    assert other.flair.shape == (23, 31, 37)
    np.testing.assert_array_equal(np.sort(other.flair.data, axis=None), np.sort(head.flair.data, axis=None))
    back = resample(other.flair.data, other.flair.affine, head.flair.grid, order=0)
    np.testing.assert_array_equal(back, head.flair.data)
    np.testing.assert_array_equal(mask_on(head.flair.grid, other.brain, other.flair.affine), head.brain)
    assert other.flair.voxel_volume_ml == pytest.approx(head.flair.voxel_volume_ml)


def test_shifting_samples_the_same_smooth_head(head):
    i, j, k = np.meshgrid(*map(np.arange, (15, 16, 17)), indexing="ij")
    wave = Repeat(Image((100 + 10 * np.sin(i / 3) + 5 * np.cos(j / 4) + k).astype(np.float32), head.flair.affine), i > 3)
    other = perturb.shifted(wave, stream())
    a, b, c = perturb.SHIFT_VOX
    expected = 100 + 10 * np.sin((i + a) / 3) + 5 * np.cos((j + b) / 4) + k + c
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(other.flair.data[inner], expected[inner], atol=0.1)


def test_noise_has_the_stated_size_and_keeps_magnitudes_positive(head):
    other = perturb.renoised(head, stream())
    change = (other.flair.data - head.flair.data)[head.brain]
    assert change.std() == pytest.approx(perturb.NOISE_FRACTION * head.flair.data[head.brain].mean(), rel=0.05)
    assert other.flair.data.min() >= 0
    scores = Repeat(Image(head.flair.data - 300, head.flair.affine), head.brain)
    assert perturb.renoised(scores, stream()).flair.data.min() < -200


def test_thicker_slices_average_and_keep_the_sum(head):
    other = perturb.resliced(head, stream())
    assert other.flair.shape[:2] == head.flair.shape[:2] and other.flair.shape[2] == round(23 / perturb.THICKER)
    np.testing.assert_allclose(other.flair.spacing_mm, head.flair.spacing_mm * [1, 1, perturb.THICKER])
    total = [float(r.flair.data[r.brain].sum()) * r.flair.voxel_volume_ml for r in (other, head)]
    assert total[0] == pytest.approx(total[1], rel=0.03)
    flat = Repeat(Image(np.full((5, 6, 9), 7, np.float32), head.flair.affine), np.ones((5, 6, 9), bool))
    np.testing.assert_allclose(perturb.resliced(flat, stream()).flair.data, 7)
    cubes = Repeat(Image(head.flair.data, np.array([[0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])), head.brain)
    assert perturb.resliced(cubes, stream()).flair.shape == (31, round(37 / perturb.THICKER), 23)  # the second axis runs head to foot


@pytest.mark.parametrize(("n", "factor"), [(9, 1.25), (10, 3.0), (7, 7.0), (3, 10.0), (12, 1.0)])
def test_weights_are_means_of_what_a_slice_covers(n, factor):
    weights = overlap_weights(n, factor)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights[0, : int(factor)], 1 / min(factor, n))
    values = np.random.default_rng(n).normal(size=n)
    fine, step = np.repeat(values, 100), round(100 * factor)  # hundredths of a slice, counted one by one
    expected = [fine[at * step : (at + 1) * step].mean() for at in range(len(weights))]
    np.testing.assert_allclose(weights @ values, expected)


def test_a_gain_is_a_gain_and_a_bias_is_smooth_of_stated_range(head):
    np.testing.assert_allclose(perturb.rescaled(head, stream()).flair.data, head.flair.data * np.float32(perturb.GAIN))
    field = perturb.biased(head, stream()).flair.data / head.flair.data
    inside = field[head.brain]
    assert inside.mean() == pytest.approx(1, abs=1e-3)
    assert perturb.BIAS_FRACTION * 0.8 < np.ptp(np.percentile(inside, [1, 99])) < perturb.BIAS_FRACTION * 1.3
    assert max(np.abs(np.diff(field, axis=a)).max() for a in range(3)) < 0.06
    assert isinstance(head.flair.grid, Grid)
