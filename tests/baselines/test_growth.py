from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flairnb.baselines.growth import clean, fit_gamma, gamma_density, grow, neighbour_sum


def test_neighbour_sum_is_that_of_the_six_faces(rng):
    values = rng.normal(size=(4, 5, 3))
    found = neighbour_sum(values)
    padded = np.pad(values, 1)
    for i, j, k in np.ndindex(values.shape):
        a, b, c = i + 1, j + 1, k + 1
        expected = (
            padded[a - 1, b, c]
            + padded[a + 1, b, c]
            + padded[a, b - 1, c]
            + padded[a, b + 1, c]
            + padded[a, b, c - 1]
            + padded[a, b, c + 1]
        )
        assert found[i, j, k] == pytest.approx(expected)


def test_the_gamma_fit_is_the_maximum_likelihood_fit(rng):
    values = rng.gamma(7.0, 0.3, 4000)
    shape, rate = fit_gamma(values, 1e-9)
    expected, _, scale = stats.gamma.fit(values, floc=0)
    assert shape == pytest.approx(expected, rel=1e-3) and 1 / rate == pytest.approx(scale, rel=1e-3)
    np.testing.assert_allclose(gamma_density(values[:9], shape, rate), stats.gamma.pdf(values[:9], shape, scale=1 / rate))


def test_one_voxel_grows_as_computed_by_hand():
    """Two seeds touch one candidate: its level is odds * exp(2 s - 6) with s = 2, seen in the first round."""
    shape = (5, 3, 3)
    seeds, p0, flair, belief = np.zeros(shape, bool), np.full(shape, 2.75), np.full(shape, 1.0), np.zeros(shape)
    seeds[1, 1, 1] = seeds[3, 1, 1] = True
    flair += np.linspace(-0.05, 0.05, flair.size).reshape(shape)
    flair[1, 1, 1], flair[3, 1, 1], flair[2, 1, 1] = 1.9, 2.1, 1.3
    belief[2, 1, 1] = 0.8
    a, b = fit_gamma(np.array([1.9, 2.1]))
    normal = flair[~seeds]
    odds = 0.8 * stats.gamma.pdf(1.3, a, scale=1 / b) / stats.norm.pdf(1.3, normal.mean(), normal.std())
    expected = min(1.0, odds * np.exp(2 * 2 - 6))
    found = grow(belief, seeds, flair, p0)
    assert 0 < expected
    assert found[2, 1, 1] == pytest.approx(expected, rel=1e-6)
    assert found[seeds].tolist() == [1.0, 1.0] and np.count_nonzero(found) == 3


def test_the_second_half_pass_sees_the_first():
    """A white field with two black neighbours that became lesion in the same round counts them."""
    shape = (7, 7, 3)
    seeds, belief = np.zeros(shape, bool), np.zeros(shape)
    rng = np.random.default_rng(0)
    flair = 1 + 0.05 * rng.normal(size=shape)
    p0 = np.full(shape, 2.75)
    seeds[1:3, 2, 1] = seeds[1:3, 4, 1] = True
    flair[seeds] = [1.6, 1.7, 1.8, 1.75]
    belief[1:3, 3, 1] = 1.0
    flair[1:3, 3, 1] = 1.7
    found = grow(belief, seeds, flair, p0)
    # Both have two seed neighbours; the second also has the first.
    first, second = ((1, 3, 1), (2, 3, 1)) if (1 + 3 + 1) % 2 == 0 else ((2, 3, 1), (1, 3, 1))
    assert found[first] > 0 and found[second] >= found[first]


def test_without_seeds_nothing_grows(rng):
    shape = (4, 5, 6)
    assert not grow(rng.random(shape), np.zeros(shape, bool), rng.random(shape), np.full(shape, 2.0)).any()


def test_a_candidate_with_a_single_lesion_neighbour_stays_out():
    shape = (5, 3, 3)
    seeds, belief = np.zeros(shape, bool), np.zeros(shape)
    seeds[1, 1, 1], belief[2, 1, 1] = True, 5.0
    flair = np.where(seeds, 2.0, 1.0) + 0.01 * np.arange(45).reshape(shape)
    assert np.count_nonzero(grow(belief, seeds, flair, np.full(shape, 2.75))) == 1


def test_cleaning_fills_holes_and_drops_lone_voxels():
    level = np.zeros((9, 8, 7))
    level[1:6, 1:6, 1:6] = 1.0
    level[3, 3, 3] = 0.0
    level[7, 6, 5] = 1.0
    found = clean(level)
    assert found[3, 3, 3] == 1.0
    assert found[7, 6, 5] == 0.0
    assert found[1:6, 1:6, 1:6].min() == 1.0
