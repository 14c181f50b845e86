from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from flairnb.evaluate.power import (
    detectable_d,
    detectable_dz,
    detectable_f,
    detectable_r,
    power_anova,
    power_correlation,
    power_paired_t,
    power_two_sample_t,
)


def test_two_sample_power_reproduces_rs_own_example():
    # R, ?power.t.test: power.t.test(n = 20, delta = 1, sd = 1) gives power = 0.8689528 (without the far tail).
    assert power_two_sample_t(1.0, 20, 20) == pytest.approx(0.8689528, abs=2e-5)
    # R, ?power.t.test: power.t.test(power = .90, delta = 1) gives n = 22.02110.
    assert power_two_sample_t(1.0, 22, 22) < 0.90 < power_two_sample_t(1.0, 23, 23)


@pytest.mark.parametrize(("d", "n", "alpha", "power"), [(0.2, 60, 0.10, 0.4555818)])
def test_paired_power_reproduces_the_pwr_package(d, n, alpha, power):
    # R, ?pwr.t.test (Cohen 1988, exercise 2.5): pwr.t.test(d=0.2, n=60, sig.level=0.10, type="one.sample").
    assert power_paired_t(d, n, alpha) == pytest.approx(power, abs=2e-5)


def test_anova_power_reproduces_the_pwr_package():
    # R, ?pwr.anova.test (Cohen 1988, exercise 8.1): pwr.anova.test(f=0.28, k=4, n=20) gives 0.5149793.
    assert power_anova(0.28, [20] * 4) == pytest.approx(0.5149793, abs=1e-6)
    assert power_anova(0.28, [20, 20, 20, 20, 0]) == power_anova(0.28, [20] * 4)
    assert power_anova(0.0, [5, 5]) == pytest.approx(0.05)


def test_correlation_power_is_close_to_the_pwr_package():
    # R, ?pwr.r.test: pwr.r.test(r=0.3, n=50) gives 0.5715558 (with a bias correction that Fisher's plain z lacks).
    assert power_correlation(0.3, 50) == pytest.approx(0.5715558, abs=0.003)


@pytest.mark.parametrize("n", [6, 16])
def test_the_detectable_correlation_is_found_in_four_of_five_simulated_samples(rng, n):
    r, samples = detectable_r(n), 20_000
    x = rng.standard_normal((samples, n))
    y = r * x + np.sqrt(1 - r**2) * rng.standard_normal((samples, n))
    found = stats.pearsonr(x, y, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.015)


def test_power_agrees_with_statsmodels():
    from statsmodels.stats.power import FTestAnovaPower, TTestIndPower, TTestPower

    assert power_paired_t(0.6, 19) == pytest.approx(TTestPower().power(0.6, 19, 0.05), abs=2e-5)
    assert power_two_sample_t(0.6, 57, 35) == pytest.approx(TTestIndPower().power(0.6, 57, 0.05, ratio=35 / 57), abs=2e-5)
    assert power_anova(0.3, [23] * 4) == pytest.approx(FTestAnovaPower().power(0.3, 92, 0.05, 4), abs=1e-6)


def test_five_cases_of_a_disease_show_only_huge_effects():
    assert detectable_dz(5) == pytest.approx(1.682, abs=5e-4)  # the design page has 1.68
    assert detectable_dz(2) == pytest.approx(11.55, abs=0.01)


def test_power_with_few_cases_agrees_with_simulated_experiments(rng):
    # statsmodels' own answer is NaN here: SciPy's noncentral t breaks down in the tails.
    effect, alpha = detectable_dz(5, alpha=0.05 / 19), 0.05 / 19
    drawn = rng.normal(effect, 1.0, (200_000, 5))
    t = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * np.sqrt(5)
    assert np.mean(np.abs(t) > stats.t.isf(alpha / 2, 4)) == pytest.approx(0.8, abs=0.004)


def test_what_is_detectable_has_the_power_that_was_asked_for():
    assert power_paired_t(detectable_dz(92), 92) == pytest.approx(0.8, abs=1e-4)
    assert power_two_sample_t(detectable_d(81, 11, power=0.9), 81, 11) == pytest.approx(0.9, abs=1e-4)
    sizes = [3, 6, 1, 7, 7, 1, 2, 8, 19, 1, 8, 3, 1, 11, 13, 1]
    assert power_anova(detectable_f(sizes), sizes) == pytest.approx(0.8, abs=1e-4)
    assert power_correlation(detectable_r(16), 16) == pytest.approx(0.8, abs=1e-4)


def test_too_few_cases_give_nan():
    for value in (detectable_dz(1), detectable_d(1, 1), detectable_f([1, 1]), detectable_f([5]), detectable_r(3), detectable_d(0, 4)):
        assert math.isnan(value)
