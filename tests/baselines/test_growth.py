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
    """Both candidates have two seed neighbours; the second also counts what the first became in the same round, nothing else does."""
    shape = (7, 7, 3)
    seeds, belief = np.zeros(shape, bool), np.zeros(shape)
    flair = 1 + 0.05 * np.random.default_rng(0).normal(size=shape)
    seeds[1:3, 2, 1] = seeds[1:3, 4, 1] = True
    flair[seeds] = [1.6, 1.7, 1.8, 1.75]
    first, second = (2, 3, 1), (1, 3, 1)  # the sum of the black field's indices is even
    flair[first] = flair[second] = 1.3
    a, b = fit_gamma(flair[seeds])
    ratio = stats.gamma.pdf(1.3, a, scale=1 / b) / stats.norm.pdf(1.3, flair[~seeds].mean(), flair[~seeds].std())
    # Seen from two neighbours alone, the first becomes 0.4 and the second 0.2.
    belief[first], belief[second] = 0.4 / (ratio * np.exp(-2)), 0.2 / (ratio * np.exp(-2))
    found = grow(belief, seeds, flair, np.full(shape, 2.75))
    assert found[first] == pytest.approx(0.4, rel=1e-6)
    assert found[second] == pytest.approx(0.2 * np.exp(2 * 0.4), rel=1e-6)


def test_growth_goes_one_voxel_a_round_for_fifty_rounds():
    """Between a row and a column of seeds, field (i, j) has two lesion neighbours from round i + j - 1 on."""
    n = 31
    flair = 2 + 0.01 * np.random.default_rng(0).normal(size=(n, n, 1))
    seeds, belief = np.zeros(flair.shape, bool), np.zeros(flair.shape)
    seeds[0, :, 0] = seeds[:, 0, 0] = True
    belief[1:, 1:, 0] = 1e9
    found = grow(belief, seeds, flair, np.full(flair.shape, 2.75))[..., 0]
    i, j = np.indices((n, n))
    np.testing.assert_array_equal(found, seeds[..., 0] | (i + j - 1 <= 50))


def test_the_normal_tissues_count_by_their_sizes():
    """One candidate between two seeds, in 10 voxels of CSF, some 80 of grey and 60 of white matter with intensities that overlap."""
    rng = np.random.default_rng(4)
    shape = (5, 4, 8)
    p0 = np.repeat([1.2, 2.0, 2.0, 2.75], 40).reshape(shape)
    p0.ravel()[10:20], p0.ravel()[20:40] = 0.0, 2.75
    flair = np.select([p0 == 1.2, p0 == 2.0], [0.9, 1.2], 1.0) + 0.15 * rng.normal(size=shape)
    seeds, belief, at = np.zeros(shape, bool), np.zeros(shape), (3, 1, 4)
    seeds[2, 1, 4] = seeds[4, 1, 4] = True
    flair[2, 1, 4], flair[4, 1, 4], flair[at], belief[at] = 1.2, 1.8, 1.35, 2.0
    a, b = fit_gamma(np.array([1.2, 1.8]))
    parts = [flair[~seeds & (p0 == label)] for label in (1.2, 2.0, 2.75)]
    total = sum(part.size for part in parts)
    assert [part.size for part in parts] == [10, 80 - int(seeds[p0 == 2.0].sum()), 60 - int(seeds[p0 == 2.75].sum())]
    mixture = sum(part.size / total * stats.norm.pdf(1.35, part.mean(), part.std()) for part in parts)
    expected = 2.0 * stats.gamma.pdf(1.35, a, scale=1 / b) / mixture * np.exp(-2)
    assert 0.1 < expected < 1
    assert grow(belief, seeds, flair, p0)[at] == pytest.approx(expected, rel=1e-6)


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
