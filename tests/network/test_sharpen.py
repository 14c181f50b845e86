from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flairnb.network.sharpen import FURTHEST, LEAST_PROBABILITY, sharpen


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
