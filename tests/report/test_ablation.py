"""Chapter 12's small choices: "as run" is the run as it was, and each choice changes one thing of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from flairnb import settings
from flairnb.evaluate.metrics import dice
from flairnb.images import Image, read_mask, write_image
from flairnb.naming import cohort_derivative
from flairnb.network import inference, onednn, weights
from flairnb.prepare import native
from flairnb.prepare.cohort import prepare_cohort, read_prepared
from flairnb.report import ablation, methods
from flairnb.report.start import Run

pytest.importorskip("ants")
WHO, SHAPE, AFFINE = "sub-1", (40, 44, 9), np.diag([-4.0, 4.2, 11.0, 1.0])
#: One pass is asked for; what the network learnt on asks for tiles (`suited`).
SETS = {"infer.method": "whole", "infer.min_lesion_ml": 2.0, "infer.threshold": 0.25, "prepare.working_spacing_mm": 5.0}


def find(_model, work, brain, infer):
    """Return a map that depends on the way of looking: spots of all sizes, some at the brain's border, and grey between them."""
    rng = np.random.default_rng([infer.method == "tiled", infer.patch, infer.step])
    spots = ndimage.gaussian_filter(rng.normal(size=work.shape), 1.2)
    return np.where(brain, 1 / (1 + np.exp(4 - 5 * spots / spots.std())), 0).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network marked one case."""
    made = Run("12", settings.load("smoke", SETS), 2019, tmp_path_factory.mktemp("work"), None, 1)
    flair = Image(np.random.default_rng(5).uniform(80, 120, SHAPE).astype(np.float32), AFFINE)
    brain = sum(((at - n / 2) / (n / 2 - 1)) ** 2 for at, n in zip(np.indices(SHAPE), SHAPE, strict=True)) < 1
    reference = np.zeros(SHAPE, bool)
    reference[8:30, 10:34, 2:7] = True
    files = {"flair": "rawdata/FLAIR.nii.gz", "brain_mask": "rawdata/brain.nii.gz"}
    write_image(made.path(files["flair"]), flair.data, flair)
    write_image(made.path(files["brain_mask"]), brain, flair, np.uint8)
    row = {"participant_id": WHO, "diagnosis": "MSA", "split": "validation", **files}
    assert prepare_cohort(pd.DataFrame([row]), made.settings.prepare, made.work_dir)["status"].tolist() == ["ok"]
    write_image(mask_file(made, "manual"), reference, flair, np.uint8)
    return made


def mask_file(run, method):
    return cohort_derivative(run.work_dir, WHO, "mask", label="lesion", desc=method)


@pytest.fixture
def network(monkeypatch):
    model = SimpleNamespace(layers=[SimpleNamespace(name=f"up{level}_deconv") for level in range(4)])
    found = weights.Network(model, None, 4.0, 0.5, "abc", "unet", card={"train": {"patch": 32}})
    monkeypatch.setattr(weights, "load_network", lambda _: found)
    monkeypatch.setattr(onednn, "configure", lambda *_: None)
    monkeypatch.setattr(inference, "predict", find)
    return found


def rows_of(run) -> pd.DataFrame:
    return pd.DataFrame(ablation._ablate(run, WHO, 1), columns=ablation.COLUMNS).set_index(["ablation", "choice"])


def test_as_run_is_the_runs_own_score_to_the_last_digit(run, network):
    methods._segment(run, WHO, "unet", "key", methods._network(run, network))
    reference, mask = read_mask(mask_file(run, "manual")), read_mask(mask_file(run, "unet"))
    case = read_prepared(run.work_dir, WHO)
    infer = methods.own_infer(run, network)
    plain = native.to_native(find(None, case.work, case.work_brain, infer), case, order=1) >= infer.threshold
    small = ndimage.label(plain & case.brain_native, np.ones((3, 3, 3)))[1] - ndimage.label(mask, np.ones((3, 3, 3)))[1]
    assert (plain & ~case.brain_native).any() and small > 0 and infer.method == "tiled", "all that is left out here has something to do"

    rows = rows_of(run)["dice"]
    as_run = rows[rows.index.get_level_values("choice") == "as run"]
    assert as_run.index.get_level_values("ablation").tolist() == ["tile step", "way back", "brain mask", "threshold"]
    assert set(as_run) == {dice(reference, mask)} != {dice(reference, plain)}
    assert rows["tile step", "one pass"] != as_run.iloc[0]


def test_the_ways_back_differ_in_nothing_but_interpolation(run, network, monkeypatch):
    """Where nearest is linear too, it is the run as it was: inside the brain, without small lesions."""
    methods._segment(run, WHO, "unet", "key", methods._network(run, network))
    own = dice(read_mask(mask_file(run, "manual")), read_mask(mask_file(run, "unet")))
    real = native.to_native
    monkeypatch.setattr(native, "to_native", lambda array, prepared, order: real(array, prepared, order=1))
    rows = rows_of(run)["dice"]
    assert rows["way back", "nearest, then cut"] == rows["way back", "as run"] == own != rows["way back", "cut, then linear"]


def test_every_choice_leaves_out_small_lesions(run, network):
    """With a smallest lesion that no mask has, no choice finds any."""
    infer = dataclasses.replace(run.settings.infer, min_lesion_ml=1e6)
    none = dataclasses.replace(run, settings=dataclasses.replace(run.settings, infer=infer))
    assert (rows_of(none)["dice"] == 0).all()
