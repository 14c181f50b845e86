"""Calibration of the network that ships, against cases whose truth is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.network.confidence import temper
from flairnb.report.ship import calibrate


@pytest.fixture
def overconfident(rng):
    """Three cases whose stated odds are the square of the true ones."""
    found = {}
    for name, size in (("small", 9_000), ("middle", 40_000), ("large", 120_000)):
        true = rng.beta(0.3, 2.0, size).astype(np.float32)
        found[name] = temper(true, 0.5), rng.random(size) < true, float("nan")
    return found


def test_calibration_undoes_overconfidence(overconfident):
    calibration = calibrate(overconfident)
    assert calibration.temperature == pytest.approx(2.0, rel=0.05)
    assert calibration.slope == pytest.approx(1.0, abs=0.03)
    assert "3 real development cases" in calibration.fitted_on


def test_expected_dice_follows_the_cases_where_probabilities_lie_about_all_alike(overconfident):
    """Half of the marked lesions are not there: no temperature mends that, the slope does."""
    rng = np.random.default_rng(5)
    worse = {name: (p, y & (rng.random(y.size) < 0.5), agreement) for name, (p, y, agreement) in overconfident.items()}
    calibration = calibrate(worse)
    for probability, lesion, _ in worse.values():
        mask = probability >= 0.5
        true = 2 * (mask & lesion).sum() / (mask.sum() + lesion.sum())
        assert calibration.expect(temper(probability, calibration.temperature), mask) == pytest.approx(true, abs=0.05)


def test_the_lowest_agreement_of_looks_is_kept_where_every_case_has_one(overconfident):
    assert calibrate(overconfident).usual_agreement == 0
    known = {name: (*found[:2], agreement) for (name, found), agreement in zip(overconfident.items(), (0.8, 0.46, 0.7), strict=True)}
    assert calibrate(known).usual_agreement == 0.46


def test_retune_changes_what_was_chosen_and_leaves_the_weights(overconfident, tmp_path, monkeypatch):
    from flairnb.network.unet import build_unet
    from flairnb.network.weights import load_network, save_network
    from flairnb.report import ship
    from flairnb.settings import load

    layout = load("smoke").network
    stored = save_network(build_unet(layout), tmp_path, network=layout, spacing_mm=1.0, card={"limits": "old", "seed": 7})
    before = stored.read_bytes()
    asked = {}

    def predict_real(_run, network):
        asked.update(threshold=network.threshold, sharpening=network.sharpening, smoothing_mm=network.smoothing_mm)
        return overconfident

    monkeypatch.setattr(ship, "predict_real", predict_real)
    ship.retune(None, tmp_path, {"limits": "new"}, 0.35, 1.5, 1.0, 0.01, 5.0)
    found = load_network(tmp_path)
    assert stored.read_bytes() == before and asked == {"threshold": 0.35, "sharpening": 1.5, "smoothing_mm": 1.0}
    assert (found.threshold, found.sharpening, found.smoothing_mm, found.min_lesion_ml, found.rim_mm) == (0.35, 1.5, 1.0, 0.01, 5.0)
    assert found.calibration.temperature == pytest.approx(2.0, rel=0.05)
    assert found.card["limits"] == "new" and found.card["seed"] == 7


def test_the_mean_of_networks_is_the_mean_of_their_weights_and_refuses_other_architectures(tmp_path):
    import dataclasses

    from flairnb.errors import InputError
    from flairnb.network.unet import build_unet
    from flairnb.network.weights import load_network, save_network
    from flairnb.report.ship import average_networks
    from flairnb.settings import load

    layout = load("smoke").network
    for name in ("a", "b"):
        save_network(build_unet(layout), tmp_path / name, network=layout, spacing_mm=1.0, card={"seed": 1})
    found = load_network(average_networks([tmp_path / "a", tmp_path / "b"], tmp_path / "mean", {"limits": "none"}).parent)
    a, b = (load_network(tmp_path / name).model.get_weights() for name in ("a", "b"))
    assert found.card["limits"] == "none" and found.name == "mean"
    for mean, one, other in zip(found.model.get_weights(), a, b, strict=True):
        np.testing.assert_allclose(mean, (one + other) / 2, atol=1e-6)
    wider = dataclasses.replace(layout, width=layout.width * 2)
    save_network(build_unet(wider), tmp_path / "c", network=wider, spacing_mm=1.0, card={"seed": 1})
    with pytest.raises(InputError, match="one architecture"):
        average_networks([tmp_path / "a", tmp_path / "c"], tmp_path / "bad", {})


def test_shipped_weights_do_not_keep_the_words_of_a_calibration_that_they_inherited(overconfident, tmp_path, monkeypatch):
    import pandas as pd

    from flairnb.network.unet import build_unet
    from flairnb.network.weights import load_network, save_network
    from flairnb.report import ship
    from flairnb.settings import load

    layout = load("smoke").network
    card = {"calibration": "inherited from another", "started_from": "another"}
    save_network(build_unet(layout), tmp_path / "tuned", network=layout, spacing_mm=1.0, card=card)
    pd.DataFrame({"epoch": [1], "loss": [0.5]}).to_csv(tmp_path / "tuned" / "history.csv", index=False)
    monkeypatch.setattr(ship, "predict_real", lambda *_: overconfident)
    found = load_network(ship.ship_network(None, tmp_path / "tuned", tmp_path / "shipped", {"limits": "none"}))
    assert "calibration" not in found.card and found.card["started_from"] == "another"
    assert found.calibration.fitted_on.startswith("3 real development cases")
