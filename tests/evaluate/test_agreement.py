from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from flairnb.errors import InputError
from flairnb.evaluate.agreement import bland_altman, pair_interval
from flairnb.evaluate.statistics import fit_line, percentage_errors, spearman

# Bland & Altman, Lancet 1986;i:307-310, Table 1: peak expiratory flow, first measurements, 17 subjects.
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_bland_and_altmans_own_example():
    found = bland_altman(MINI, LARGE)
    assert found.n == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    # The article takes 2 SD: limits -79.7 and 75.5; 95% interval of the bias -22.0 to 17.8; SE of a limit 16.3.
    assert found.bias - 2 * found.sd == pytest.approx(-79.7, abs=0.15)
    assert found.bias + 2 * found.sd == pytest.approx(75.5, abs=0.15)
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert found.limit_se == pytest.approx(16.3, abs=0.05)
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * found.sd)


def test_bland_altman_agrees_with_statsmodels_and_leaves_nan_out():
    from statsmodels.stats.weightstats import DescrStatsW

    a, b = np.array([*LARGE, np.nan]), np.array([*MINI, 3.0])
    found = bland_altman(a, b)
    low, high = DescrStatsW(np.array(MINI) - np.array(LARGE)).tconfint_mean()
    assert (found.n, found.bias_low, found.bias_high) == pytest.approx((17, low, high))


def test_one_pair_has_a_bias_and_no_limits():
    found = bland_altman([1.0], [1.5])
    assert (found.n, found.bias) == (1, 0.5)
    assert math.isnan(found.lower)
    assert math.isnan(bland_altman([], []).bias)


@pytest.mark.parametrize("statistic", ["spearman", "slope", "rmdspe_percent", "rmspe_percent"])
def test_the_estimate_is_that_of_the_plain_function(rng, statistic):
    x = rng.lognormal(1, 1, 60)
    y = x * rng.lognormal(0, 0.3, 60)
    expected = {
        "spearman": spearman(x, y).rho,
        "slope": fit_line(x, y).slope,
        "rmdspe_percent": percentage_errors(x, y).rmdspe_percent,
        "rmspe_percent": percentage_errors(x, y).rmspe_percent,
    }[statistic]
    found = pair_interval([*x, np.nan], [*y, 1.0], statistic, seed=1)
    assert found.estimate == pytest.approx(expected)
    assert found.low < found.estimate < found.high
    assert found == pair_interval(x, y, statistic, seed=1)


def test_the_interval_of_a_rank_correlation_agrees_with_scipys_bootstrap(rng):
    x = rng.normal(size=80)
    y = x + rng.normal(size=80)
    ours = pair_interval(x, y, "spearman", seed=3, resamples=4000)
    theirs = stats.bootstrap(
        (x, y),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_cases_without_lesion_have_no_percentage_error():
    found = pair_interval([0.0, 1.0, 2.0, 4.0], [1.0, 1.1, 1.8, 6.0], "rmdspe_percent", seed=0)
    assert found.n == 3
    assert found.estimate == pytest.approx(10.0)


def test_resamples_without_spread_do_not_widen_the_interval_of_an_exact_line():
    x = np.array([0.1, 0.1, 0.7, 1.3])
    found = pair_interval(x, 0.9 * x, "slope", seed=0)
    assert (found.low, found.estimate, found.high) == pytest.approx((0.9, 0.9, 0.9))


def test_few_or_constant_pairs_give_nan_without_a_warning():
    assert math.isnan(pair_interval([1.0, 2.0], [1.0, 2.0], "spearman", seed=0).low)
    for same in (1.0, 0.1):  # the mean of three tenths is not 0.1
        assert math.isnan(pair_interval([same] * 3, [1.0, 2.0, 3.0], "slope", seed=0).estimate)
    with pytest.raises(InputError, match="spearman"):
        pair_interval([1.0], [1.0], "mode", seed=0)
