from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flairnb.errors import InputError
from flairnb.network.confidence import Calibration, calibration_error, expected_dice, fit_temperature, look_agreement, reliability, temper


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.2, 5))
def test_tempering_keeps_order_range_and_the_side_of_one_half(values, temperature):
    p = np.asarray(values, dtype=np.float32)
    out = temper(p, temperature)
    assert ((out >= 0) & (out <= 1)).all()
    assert ((out > 0.5 + 1e-5) <= (p > 0.5)).all()
    order = np.argsort(p)
    assert (np.diff(out[order]) >= -1e-6).all()


def test_tempering_twice_multiplies_temperatures(rng):
    p = rng.uniform(0.01, 0.99, 50)
    np.testing.assert_allclose(temper(temper(p, 1.7), 0.6), temper(p, 1.7 * 0.6), atol=1e-5)


def test_the_temperature_that_spoilt_true_probabilities_is_found_again(rng):
    true = rng.beta(0.5, 2.0, 200_000)
    lesion = rng.random(true.size) < true
    assert fit_temperature(temper(true, 1 / 1.8), lesion) == pytest.approx(1.8, rel=0.03)


def test_weights_let_a_small_case_count_like_a_large_one(rng):
    true = rng.uniform(0.02, 0.98, 40_000)
    lesion = rng.random(true.size) < true
    stated = np.where(np.arange(true.size) < 4_000, temper(true, 0.5), temper(true, 2.0))
    weight = np.where(np.arange(true.size) < 4_000, 1e6, 1.0)
    assert fit_temperature(stated, lesion, weight) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("value", [True, False])
def test_one_class_has_no_temperature(value):
    with pytest.raises(InputError, match="both classes"):
        fit_temperature([0.2, 0.7], [value, value])


def test_unequal_lengths_are_refused():
    with pytest.raises(InputError, match="found 2 and 3"):
        fit_temperature([0.2, 0.7], [True, False, True])


def test_a_temperature_must_be_positive():
    with pytest.raises(InputError, match="above 0"):
        temper([0.5], 0.0)


def test_reliability_counts_by_hand():
    table = reliability([0.05, 0.05, 0.95, 1.0, 0.55], [False, True, True, True, False], bins=10)
    assert table["voxels"].tolist() == [2, 1, 2]
    assert table["observed"].tolist() == [0.5, 0.0, 1.0]
    np.testing.assert_allclose(table["stated"], [0.05, 0.55, 0.975])
    assert calibration_error(table) == pytest.approx((2 * 0.45 + 0.55 + 2 * 0.025) / 5)


def test_expected_dice_is_the_mean_over_many_true_masks(rng):
    p = temper(rng.uniform(0, 1, 2000), 0.4)
    mask = p >= 0.5
    drawn = rng.random((400, p.size)) < p
    dice = 2 * (drawn & mask).sum(1) / (drawn.sum(1) + mask.sum())
    assert expected_dice(p, mask) == pytest.approx(dice.mean(), abs=0.005)


def test_an_empty_mask_has_no_expected_dice():
    assert np.isnan(expected_dice([0.1, 0.2], [False, False]))


def test_looks_that_agree_less_than_ever_lower_the_dice_to_expect():
    p = np.array([0.9, 0.9, 0.1, 0.0])
    mask = p > 0.5
    usual = Calibration(usual_agreement=0.5)
    full = Calibration().expect(p, mask)
    assert usual.expect(p, mask, 0.9) == usual.expect(p, mask, 0.5) == usual.expect(p, mask) == full
    assert usual.expect(p, mask, 0.1) == pytest.approx(full * 0.2)
    assert Calibration().expect(p, mask, 0.1) == full


def test_agreement_of_two_looks_is_their_soft_dice(rng):
    p, q = rng.random((2, 7, 5, 6))
    expected = 2 * np.minimum(p, q).sum() / (p + q).sum()
    assert look_agreement(np.mean([p, q], axis=0), np.std([p, q], axis=0)) == pytest.approx(expected)
    assert look_agreement(p, 0 * p) == 1
    assert np.isnan(look_agreement(0 * p, 0 * p))
