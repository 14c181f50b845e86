"""Calibration of the network that ships, against cases whose truth is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.network.confidence import temper
from flairnb.report.ship import calibrate, move_cut_to_half


@pytest.fixture
def overconfident(rng):
    """Three cases whose stated odds are the square of the true ones."""
    found = {}
    for name, size in (("small", 9_000), ("middle", 40_000), ("large", 120_000)):
        true = rng.beta(0.3, 2.0, size).astype(np.float32)
        found[name] = temper(true, 0.5), rng.random(size) < true
    return found


def test_calibration_undoes_overconfidence(overconfident):
    calibration = calibrate(overconfident)
    assert calibration.temperature == pytest.approx(2.0, rel=0.05)
    assert calibration.slope == pytest.approx(1.0, abs=0.03)
    assert "3 real development cases" in calibration.fitted_on


def test_expected_dice_follows_the_cases_where_probabilities_lie_about_all_alike(overconfident):
    """Half of the marked lesions are not there: no temperature mends that, the slope does."""
    rng = np.random.default_rng(5)
    worse = {name: (p, y & (rng.random(y.size) < 0.5)) for name, (p, y) in overconfident.items()}
    calibration = calibrate(worse)
    for probability, lesion in worse.values():
        mask = probability >= 0.5
        true = 2 * (mask & lesion).sum() / (mask.sum() + lesion.sum())
        assert calibration.expect(temper(probability, calibration.temperature), mask) == pytest.approx(true, abs=0.05)


def test_moving_the_cut_keeps_the_mask_and_makes_it_a_cut_at_one_half(rng):
    from flairnb.network.unet import build_unet
    from flairnb.settings import load

    settings = replace(load("smoke").network, width=2, levels=1)
    model = build_unet(settings)
    image = rng.normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    before = model(image).numpy()[..., 1].astype(float)
    move_cut_to_half(model, 0.3)
    after = model(image).numpy()[..., 1].astype(float)
    odds = before / (1 - before) * (0.7 / 0.3)
    np.testing.assert_allclose(after, odds / (1 + odds), atol=1e-5)
    clear = np.abs(before - 0.3) > 1e-4
    np.testing.assert_array_equal((before >= 0.3)[clear], (after >= 0.5)[clear])


@pytest.mark.parametrize("cut", [0.0, 1.0, -1.0])
def test_a_cut_that_is_no_probability_is_refused(cut):
    with pytest.raises(InputError, match="cut"):
        move_cut_to_half(None, cut)
