"""The network that ships, beside a run's own: applied as it is stored, and again when that changes."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.network import inference
from flairnb.network.confidence import Calibration
from flairnb.network.unet import build_unet
from flairnb.network.weights import SETTINGS_FILE, SHIPPED, Network, shipped_names
from flairnb.prepare import case as prepare_room
from flairnb.report import methods, steps
from flairnb.report.patient import settings_for
from flairnb.report.start import Run
from flairnb.settings import InferSettings

#: Values that no profile has.
STORED = {"threshold": 0.31, "coarser_look": 1.75, "sharpening": 1.25, "smoothing_mm": 0.75, "min_lesion_ml": 0.023, "rim_mm": 4.5}
FIELDS = {field.name for field in dataclasses.fields(InferSettings)}


@pytest.fixture(scope="module")
def network() -> Network:
    layout = settings.load("smoke").network
    return Network(build_unet(layout), layout, 1.0, sha256="abc", name="other", calibration=Calibration(1.5, 0.9), **STORED)


def test_tiles_in_place_of_one_pass_are_said_once_and_recorded_as_tiles(network, tmp_path, monkeypatch, caplog):
    asked, usual = (Run("04", settings.load("demo", f"infer.method={method}"), 2019, tmp_path, None, 1) for method in ("whole", "tiled"))
    asked.path("models/unet/settings.json").write_text("{}")
    asked.save(pd.DataFrame({"participant_id": ["sub-1", "sub-2"], "seconds": 1.0}), "tables/preparation.tsv")
    monkeypatch.setattr(steps, "prepared_ids", lambda *_: ["sub-1", "sub-2"])
    monkeypatch.setattr(methods, "_loaded", lambda *_: dataclasses.replace(network, card={"train": {"patch": 32}}))
    seconds = {"seconds_method": 1.0, "seconds_native": 1.0}
    monkeypatch.setattr(methods, "_apply", lambda _run, who, *_: {"participant_id": who, "method": "unet", **seconds})
    methods.segment_validation(usual)
    assert caplog.messages == [], "the demo's own tiles are what its network learnt on"
    methods.segment_validation(asked)
    assert asked.table("tables/timing.tsv")["method"].tolist() == ["tiled", "tiled"]
    (said,) = caplog.messages
    assert "one pass asked for, tiles of 32 voxels every 16 used" in said and "\n" not in said


def run_of(profile: str) -> SimpleNamespace:
    return SimpleNamespace(settings=settings.load(profile))


@pytest.mark.parametrize("profile", ["demo", "phantom", "public", "paper"])
def test_settings_beside_hands_on_all_that_is_stored_with_the_weights(profile, network, monkeypatch):
    """`methods.settings_beside`: what a settings.json shares with InferSettings reaches a cohort run, as it does `segment`."""
    used = []
    monkeypatch.setattr(inference, "predict", lambda _model, work, _brain, infer: used.append(infer) or np.zeros_like(work))
    monkeypatch.setattr(prepare_room, "prepare_case", lambda *_args, **_words: SimpleNamespace(work=np.ones((3, 4, 5)), work_brain=None))
    run = run_of(profile)
    found = methods._shipped(run, network, run.settings.infer.shipped_spacing_mm)(SimpleNamespace(flair=None, brain_native=None))
    shared = FIELDS & set(json.loads((SHIPPED / shipped_names()[-1] / SETTINGS_FILE).read_text()))
    assert shared >= {"threshold", "min_lesion_ml", "coarser_look"}
    own = {name: getattr(used[0], name) for name in shared}
    assert own == {name: STORED[name] for name in shared}
    assert own == {name: getattr(settings_for(network, "whole")[1], name) for name in shared}
    assert (found.cut, found.min_ml, found.infer) == (STORED["threshold"], STORED["min_lesion_ml"], used[0])
    assert found.network is network  # sharpening, rim and calibration are applied by it on the way back


def test_masks_are_made_again_when_anything_that_is_stored_with_the_weights_changes(network, tmp_path, monkeypatch):
    (tmp_path / "settings.json").write_text("{}")
    keys = []
    monkeypatch.setattr(methods, "_apply", lambda _run, _who, _method, key, _find: keys.append(key) or {})
    changed = [{name: value + 0.01} for name, value in STORED.items()] + [{"sha256": "xyz"}, {"calibration": Calibration(1.6, 0.9)}]
    for change in ({}, {}, *changed):
        monkeypatch.setattr(methods, "_loaded", lambda *_args, change=change: dataclasses.replace(network, **change))
        methods._network_of(run_of("demo"), "sub-1", tmp_path, 1.5)
    assert keys[0] == keys[1] and len(set(keys)) == 1 + len(changed)
