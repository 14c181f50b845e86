from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from flairnb.errors import InputError
from flairnb.evaluate.statistics import (
    anova,
    benjamini_hochberg,
    bootstrap_interval,
    fit_line,
    paired_t,
    percentage_errors,
    spearman,
    summarise,
    two_sample_t,
    wilcoxon,
)

NAN = float("nan")
# Student's sleep data (Biometrika 1908): extra hours of sleep under two drugs in ten patients.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_paired_t_reproduces_students_sleep_example():
    test = paired_t(SLEEP_1, SLEEP_2)
    assert test.n == 10
    assert test.degrees_of_freedom == 9
    assert test.statistic == pytest.approx(-4.0621, abs=5e-5)
    assert test.p_value == pytest.approx(0.002833, abs=5e-7)
    assert test.mean_difference == pytest.approx(-1.58)
    assert test.effect_size_dz == pytest.approx(test.statistic / math.sqrt(10))


def test_paired_t_agrees_with_pingouin(rng):
    pingouin = pytest.importorskip("pingouin")
    a, b = rng.random((2, 23))
    expected = pingouin.ttest(a, b, paired=True).iloc[0]
    test = paired_t(a, b)
    p_column = "p_val" if "p_val" in expected.index else "p-val"
    assert (test.statistic, test.p_value) == pytest.approx((expected["T"], expected[p_column]))


def test_pairs_with_an_undefined_value_are_left_out_and_counted():
    test = paired_t([*SLEEP_1, NAN, 0.3], [*SLEEP_2, 0.1, NAN])
    assert test == paired_t(SLEEP_1, SLEEP_2)


@pytest.mark.parametrize(("a", "b", "n"), [([], [], 0), ([0.4], [0.3], 1), ([0.4, 0.5], [0.3, 0.4], 2)])
def test_too_few_or_constant_pairs_give_nan_and_no_error(a, b, n):
    test = paired_t(a, b)
    assert test.n == n
    assert math.isnan(test.p_value)  # of the last pair, too: its two differences differ by rounding alone


def test_identical_methods_give_nan_instead_of_a_p_value():
    assert math.isnan(paired_t(SLEEP_1, SLEEP_1).p_value)
    assert math.isnan(wilcoxon(SLEEP_1, SLEEP_1).p_value)


def test_wilcoxon_reproduces_the_textbook_depression_scores():
    # Hollander & Wolfe (1973), p. 29: Hamilton depression scale of nine patients; V = 40, two-tailed P = 0.03906.
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    test = wilcoxon(before, after)
    assert test.statistic == 5.0  # SciPy reports the smaller rank sum, 45 - 40
    assert test.p_value == pytest.approx(0.0390625)


def test_anova_reproduces_the_plant_growth_example():
    # R's PlantGrowth (Dobson 1983): F(2, 27) = 4.846, P = 0.01591.
    groups = {
        "control": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
        "one": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
        "two": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
        "nobody": [NAN],
    }
    test = anova(groups)
    assert (test.n, test.groups, test.df_between, test.df_within) == (30, 3, 2, 27)
    assert test.statistic == pytest.approx(4.846, abs=5e-4)
    assert test.p_value == pytest.approx(0.01591, abs=5e-6)


def test_anova_without_groups_or_spread_is_nan():
    assert math.isnan(anova({}).p_value)
    assert math.isnan(anova({"a": [0.5], "b": [0.6]}).p_value)
    assert math.isnan(anova({"a": [0.5, 0.5], "b": [0.6, 0.6]}).p_value)


def test_two_sample_t_with_equal_variance_is_the_root_of_a_two_group_anova(rng):
    a, b = rng.random(11), rng.random(14) + 0.2
    test = two_sample_t(a, b)
    assert test.statistic**2 == pytest.approx(anova({"a": a, "b": b}).statistic)
    assert test.df_within == 23
    assert two_sample_t(a, b, equal_variance=False).p_value == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert math.isnan(two_sample_t([0.4], b).p_value)


def test_spearman_by_hand_without_ties():
    x, y = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    result = spearman(x, y)
    assert result.rho == pytest.approx(1 - 6 * 194 / (10 * 99))
    assert result.n == 10
    assert math.isnan(spearman([1.0, 2.0], [1.0, 2.0]).rho)
    assert math.isnan(spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).rho)


def test_a_noiseless_line_is_found_exactly():
    line = fit_line([1.0, 2.0, 4.0, NAN], [3.5, 4.0, 5.0, 1.0])
    assert (line.n, line.slope, line.intercept, line.r_squared) == pytest.approx((3, 0.5, 3.0, 1.0))
    assert math.isnan(fit_line([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).slope)


def test_summary_counts_what_it_leaves_out():
    summary = summarise([0.2, 0.4, 0.9, NAN])
    assert (summary.n, summary.n_undefined) == (3, 1)
    assert summary.sem == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1) / math.sqrt(3))
    assert summarise([NAN]).n_undefined == 1
    assert math.isnan(summarise([0.5]).sem)


def test_percentage_errors_follow_both_readings():
    errors = percentage_errors([10.0, 10.0, 10.0, 0.0], [11.0, 8.0, 16.0, 1.0])
    assert (errors.n, errors.n_dropped) == (3, 1)
    assert errors.rmdspe_percent == pytest.approx(20.0)
    assert errors.rmspe_percent == pytest.approx(100 * math.sqrt((0.01 + 0.04 + 0.36) / 3))
    assert errors.rmdspe_article_reading == pytest.approx(2.0)
    assert errors.rmspe_article_reading == pytest.approx(errors.rmspe_percent / 10)
    assert math.isnan(percentage_errors([0.0], [1.0]).rmdspe_percent)


def test_the_article_reading_turns_biancas_656_into_656_per_cent():
    errors = percentage_errors([1.0], [1.656])
    assert errors.rmdspe_article_reading == pytest.approx(6.56)
    assert errors.rmdspe_percent == pytest.approx(65.6)


def test_benjamini_hochberg_reproduces_the_1995_article():
    # Benjamini & Hochberg (1995), section 3: 15 hypotheses, the procedure rejects the four smallest at 0.05.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    adjusted = benjamini_hochberg([*p, NAN])
    assert adjusted.n == 15
    assert adjusted.rejected == (True,) * 4 + (False,) * 12
    np.testing.assert_allclose(adjusted.p_values[:15], stats.false_discovery_control(p))
    assert math.isnan(adjusted.p_values[15])
    assert benjamini_hochberg([NAN]).n == 0


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_bootstrap_agrees_with_scipy_and_repeats_with_its_seed(rng, statistic):
    values = rng.normal(0.7, 0.2, 41)
    ours = bootstrap_interval(values, seed=3, statistic=statistic, resamples=4000)
    assert ours == bootstrap_interval([*values, NAN], seed=3, statistic=statistic, resamples=4000)
    theirs = stats.bootstrap(
        (values,), getattr(np, statistic), n_resamples=4000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.015)
    assert ours.estimate == pytest.approx(getattr(np, statistic)(values))


def test_the_bootstrap_of_a_mean_has_the_width_of_the_standard_error(rng):
    values = rng.normal(size=400)
    interval = bootstrap_interval(values, seed=1, statistic="mean", resamples=4000)
    sem = values.std(ddof=1) / 20
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * sem, rel=0.06)


def test_one_case_has_an_estimate_but_no_interval():
    interval = bootstrap_interval([0.6], seed=0)
    assert interval.estimate == 0.6
    assert math.isnan(interval.low)
    assert math.isnan(bootstrap_interval([], seed=0).estimate)


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="equal numbers"):
        paired_t([0.1], [0.1, 0.2])
    with pytest.raises(InputError, match="median"):
        bootstrap_interval([0.1, 0.2], seed=0, statistic="mode")


def test_rounding_is_no_spread_between_groups():
    a, b = [0.3, 0.1 * 3], [0.6, 0.6]  # 0.1 * 3 is 0.30000000000000004
    assert a[0] != a[1]
    assert math.isnan(anova({"a": a, "b": b}).p_value) and math.isnan(two_sample_t(a, b).p_value)
    assert math.isnan(two_sample_t(a, b, equal_variance=False).p_value)
    assert math.isnan(spearman([0.3, 0.1 * 3, 0.3], [1.0, 2.0, 3.0]).rho) and math.isnan(
        fit_line([0.3, 0.1 * 3, 0.3], [1.0, 2.0, 3.0]).slope
    )


def test_wilcoxon_sees_ties_and_equal_pairs_through_rounding():
    a, d = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.3, 0.2]), np.array([0.1, 0.1, -0.1, 0.1, 0.2, -0.2, 0.2])
    assert len(set(np.abs(a - (a - d)))) > 2  # by rounding, ties of d are none here
    assert wilcoxon(a, a - d).p_value == pytest.approx(stats.wilcoxon(d).pvalue, rel=1e-12)
    equal = wilcoxon([0.3, 0.5, 0.6], [0.1 * 3, 0.4, 0.7])
    assert (equal.statistic, equal.p_value) == (1.5, 1.0)  # two pairs are left, one each way, with the mean of ranks 1 and 2
    assert math.isnan(wilcoxon([0.3, 0.3], [0.1 * 3, 0.3]).p_value)
