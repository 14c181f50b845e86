from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flairnb.network.sharpen import FURTHEST, LEAST_PROBABILITY, sharpen, smooth_thin


@pytest.fixture
def blurred(rng):
    """A bright ball in a darker head, and the smooth probability that a coarse view of it gives."""
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in (40, 36, 20)], indexing="ij"))
    brain = np.sqrt((grid**2).sum(0)) < 17
    lesion = np.sqrt((grid**2).sum(0)) < 7
    flair = 100.0 * brain + 60.0 * lesion + rng.normal(0, 4, brain.shape) * brain
    probability = np.clip(ndimage.gaussian_filter(lesion.astype(np.float32), 3) * brain, 0, 1)
    return probability.astype(np.float32), flair.astype(np.float32), brain, lesion


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_smooth_probability_gets_the_edge_that_the_image_shows(blurred):
    probability, flair, brain, lesion = blurred
    before, after = probability >= 0.4, sharpen(probability, flair, brain, 0.4, 2.0) >= 0.4
    assert _dice(after, lesion) > _dice(before, lesion) + 0.02


def test_log_odds_move_by_strength_times_the_spreads_of_brightness(blurred):
    probability, flair, brain, _ = blurred
    moved = sharpen(probability, flair, brain, 0.4, 0.7)
    sure = (probability >= 0.4) & brain
    spread = flair[sure].std() + 0.05 * flair[brain].std()
    lean = np.clip((flair - np.quantile(flair[sure], 0.1)) / spread, *FURTHEST)
    at = brain & (probability >= LEAST_PROBABILITY) & (probability < 0.999)
    odds = np.log(moved[at] / (1 - moved[at])) - np.log(probability[at] / (1 - probability[at]))
    np.testing.assert_allclose(odds, 0.7 * lean[at], atol=2e-3)
    assert np.array_equal(moved[~brain | (probability < LEAST_PROBABILITY)], probability[~brain | (probability < LEAST_PROBABILITY)])


def test_the_scale_of_the_image_does_not_count(blurred):
    probability, flair, brain, _ = blurred
    np.testing.assert_allclose(
        sharpen(probability, 3.0 * flair + 50.0, brain, 0.4, 1.0), sharpen(probability, flair, brain, 0.4, 1.0), atol=1e-4
    )


def test_nothing_moves_without_strength_or_without_a_sure_lesion(blurred):
    probability, flair, brain, _ = blurred
    assert np.array_equal(sharpen(probability, flair, brain, 0.4, 0.0), probability)
    assert np.array_equal(sharpen(probability * 0.3, flair, brain, 0.9, 1.0), probability * np.float32(0.3))
    assert np.array_equal(sharpen(probability, np.ones_like(flair), brain, 0.4, 1.0), probability)


def test_smoothing_keeps_what_is_even_and_ends_at_the_brain(rng):
    brain = np.zeros((21, 22, 23), bool)
    brain[4:17, 5:18, 3:20] = True
    even = np.where(brain, 0.4, 0.9).astype(np.float32)
    found = smooth_thin(even, brain, (1, 1, 1), 1.5)
    np.testing.assert_allclose(found[brain], 0.4, atol=1e-6)
    assert not found[~brain].any() and found.dtype == np.float32


def test_smoothing_is_a_gaussian_in_millimetres():
    brain = np.ones((41, 41, 61), bool)
    point = np.zeros(brain.shape, np.float32)
    point[20, 20, 30] = 1
    found = smooth_thin(point, brain, (1.0, 1.5, 0.8), 2.0)
    for axis, edge in enumerate((1.0, 1.5, 0.8)):
        line = found.sum(axis=tuple(a for a in range(3) if a != axis), dtype=float)
        at = (np.arange(line.size) - line.size // 2) * edge
        assert np.sqrt((line * at**2).sum() / line.sum()) == pytest.approx(2.0, rel=0.02)
    assert found.sum() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("spacing", "sigma"), [((1, 1, 2.5), 1.0), ((1, 1, 1), 0.0)])
def test_thick_slices_and_no_smoothing_change_nothing(rng, spacing, sigma):
    probability = rng.random((9, 8, 7)).astype(np.float32)
    assert smooth_thin(probability, np.ones(probability.shape, bool), spacing, sigma) is probability
