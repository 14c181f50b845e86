"""Repeatability against Bland and Altman's published example, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.evaluate.repeatability import FACTOR, choose_scale, repeatability

#: Peak expiratory flow (l/min) of 20 children, measured four times each (Bland and Altman, BMJ 1996;313:744, Table 1).
CHILDREN = """190 220 200 200;220 200 240 230;260 260 240 280;210 300 280 265;270 265 280 270;280 280 270 275;260 280 280 300
275 275 275 305;280 290 300 290;320 290 300 290;300 300 310 300;270 250 330 370;320 330 330 330;335 320 335 375
350 320 340 365;360 320 350 345;330 340 380 390;335 385 360 370;400 420 425 420;430 460 480 470"""
FLOW = np.array([[float(v) for v in row.split()] for row in CHILDREN.replace("\n", ";").split(";")])


def test_the_published_example_has_its_published_values():
    found = repeatability(FLOW.ravel(), np.repeat(range(20), 4), "plain")
    assert (found.cases, found.measurements) == (20, 80)
    assert found.sd**2 == pytest.approx(460.52, abs=0.005)  # residual mean square in the article's Table 2
    assert round(found.sd, 1) == 21.5
    assert round(found.coefficient, 1) == 59.5
    assert found.smallest_increase == -found.smallest_decrease == found.coefficient


@pytest.mark.parametrize(("variance", "coefficient"), [(37.408, 16.95), (83.141, 25.27)])
def test_the_coefficient_of_the_blood_pressures(variance, coefficient):
    # Bland and Altman 1999: within-subject variances of observer J and machine S, and their coefficients.
    half = math.sqrt(variance / 2)
    found = repeatability([120 - half, 120 + half, 90 - half, 90 + half], ["a", "a", "b", "b"], "plain")
    assert found.sd**2 == pytest.approx(variance)
    assert found.coefficient == pytest.approx(coefficient, abs=0.005)


def test_two_measurements_a_case_give_the_root_of_half_the_mean_squared_difference(rng):
    first, second = rng.normal(50, 9, 30), rng.normal(50, 9, 30)
    found = repeatability(np.concatenate([first, second]), [*range(30), *range(30)], "plain")
    assert found.sd == pytest.approx(np.sqrt(np.mean((first - second) ** 2) / 2))


def test_unequal_repeats_pool_by_their_degrees_of_freedom():
    found = repeatability([1, 2, 3, 10, 12, 7], ["a", "a", "a", "b", "b", "c"], "plain")
    assert (found.cases, found.measurements) == (2, 5)
    assert found.sd == pytest.approx(np.sqrt((2 + 2) / 3))


def test_the_log_scale_speaks_in_percent():
    values = [10 * math.exp(-0.1), 10 * math.exp(0.1), 200 * math.exp(-0.1), 200 * math.exp(0.1)]
    found = repeatability(values, ["a", "a", "b", "b"], "log")
    sd = 0.1 * math.sqrt(2)
    assert found.sd == pytest.approx(sd)
    assert found.smallest_increase == pytest.approx(math.exp(FACTOR * sd) - 1)
    assert (1 + found.smallest_increase) * (1 + found.smallest_decrease) == pytest.approx(1)
    limit = math.exp(found.coefficient)
    assert found.is_real(3.0, 3.01 * limit) and found.is_real(3.01 * limit, 3.0)
    assert not found.is_real(3.0, 2.99 * limit)
    assert not repeatability([1, 3, 2, 4], ["a", "a", "b", "b"], "plain").is_real(0.0, 3.9)


def test_unit_and_order_of_the_values_do_not_matter_on_the_log_scale(rng):
    values, who = rng.lognormal(2, 1, 24), np.repeat(range(6), 4)
    order = rng.permutation(24)
    a, b = repeatability(values, who, "log"), repeatability(1000 * values[order], who[order], "log")
    assert (a.sd, a.smallest_increase) == pytest.approx((b.sd, b.smallest_increase))


def test_the_interval_holds_the_true_sd_as_often_as_it_says(rng):
    who = np.repeat(range(8), 3)
    held = 0
    for _ in range(400):
        found = repeatability(np.repeat(rng.normal(0, 20, 8), 3) + rng.normal(0, 4, 24), who, "plain")
        held += found.sd_low <= 4 <= found.sd_high
    assert 0.92 <= held / 400 <= 0.98


def test_the_coefficient_is_exceeded_by_one_difference_in_twenty(rng):
    found = repeatability(rng.normal(7, 2, 4000), np.repeat(range(1000), 4), "plain")
    differences = rng.normal(7, 2, 20000) - rng.normal(7, 2, 20000)
    assert np.mean(np.abs(differences) > found.coefficient) == pytest.approx(0.05, abs=0.008)


def test_scatter_in_proportion_asks_for_the_log_scale_and_constant_scatter_does_not(rng):
    mean, who = np.repeat(np.geomspace(1, 100, 25), 4), np.repeat(range(25), 4)
    assert choose_scale(mean * rng.lognormal(0, 0.2, 100), who) == "log"
    assert choose_scale(mean + 50 + rng.normal(0, 1, 100), who) == "plain"
    assert choose_scale([0.0, 1.0, 5, 6, 7, 9], [1, 1, 2, 2, 3, 3]) == "plain"  # 0 has no logarithm
    assert choose_scale([1.0, 2.0], ["a", "a"]) == "log"


def test_a_floor_stands_for_what_cannot_be_measured():
    found = repeatability([0.0, 2.0], ["a", "a"], "log", floor=0.5)
    assert found.floored == 1
    assert found.sd == pytest.approx(math.log(4) / math.sqrt(2))
    assert found.is_real(0.0, 1e9, floor=0.5)
    with pytest.raises(InputError, match="Give a floor"):
        repeatability([0.0, 2.0], ["a", "a"], "log")


def test_nothing_measured_twice_is_nan_and_equal_repeats_are_zero():
    assert math.isnan(repeatability([1, 2, math.nan], ["a", "b", "b"]).coefficient)
    assert math.isnan(repeatability([], []).sd)
    same = repeatability([4.0, 4.0, 9.0, 9.0], ["a", "a", "b", "b"])
    assert same.sd == same.coefficient == 0 and same.is_real(4.0, 4.1)
    with pytest.raises(InputError, match="one subject a value"):
        repeatability([1, 2], ["a"])
