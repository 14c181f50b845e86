"""Choosing the comparison methods' cuts: on the right points, with all of the reference, and without large parcels."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.baselines import bianca, lga, lpa, store, threshold
from flairnb.baselines.tuning import tuning_table
from flairnb.evaluate.metrics import dice
from flairnb.geometry import Grid
from flairnb.report import baseline_fit
from flairnb.report.start import Run


@pytest.fixture(scope="module")
def cases(synthetic_heads):
    """Four heads by name, as (case, lesion), with enough noise that no method finds all of it."""
    places = ((28.0, -12.0, 26.0), (-27.0, 8.0, 25.0), (26.0, -38.0, 28.0), (-26.0, -24.0, 27.0))
    return {f"sub-{n}": synthetic_heads.make_case(n, centre=centre, noise=25.0) for n, centre in enumerate(places)}


@pytest.fixture
def run(cases, tmp_path, monkeypatch):
    values = {"baselines.knn_neighbours": 15, "baselines.knn_lesion_points": 300, "baselines.knn_other_points": 2000}
    monkeypatch.setattr(baseline_fit, "looked", lambda run, participant, tissue=True: cases[participant][0])
    monkeypatch.setattr(baseline_fit, "_reference", lambda run, participant: cases[participant][1])
    return Run("04", settings.load("smoke", values), 2019, tmp_path, None, 1)


class Training(baseline_fit._Training):
    """Looks at no case and starts no process, but weighs what would be sent to one."""

    def __init__(self, run, cases, tuning):
        self.run, self.cases, self.tuning, self.sent = run, list(cases), list(tuning), {}

    def each(self, work, cases, more=None):
        calls = [(self.run, case, *m) for case, m in zip(cases, more or [()] * len(cases), strict=True)]
        self.sent[work.__name__] = max(len(pickle.dumps(call)) for call in calls)
        return [work(*call) for call in calls]


def test_the_cut_of_bianca_is_chosen_without_the_cases_own_points_and_jobs_are_sent_no_points(cases, run):
    train = Training(run, cases, ["sub-1", "sub-3"])
    table = baseline_fit._fit_bianca(train)
    model = store.load(run.path(f"{baseline_fit.FOLDER}/bianca.npz"), bianca.BiancaModel)
    assert model.points.nbytes > 100_000 > 50 * train.sent["_bianca_dice"]
    assert [path.name for path in run.path(baseline_fit.FOLDER).iterdir()] == ["bianca.npz"]
    curves = []
    for number, name in ((1, "sub-1"), (3, "sub-3")):
        other = model.case != number
        others = bianca.BiancaModel(model.points[other], model.lesion[other], model.case[other], 15, 1.0)
        assert 0 < len(others.points) < len(model.points)
        curves.append(bianca.curves(*cases[name], others))
    expected = {variant: (bianca.CUTS, np.array([curve[variant] for curve in curves])) for variant in ("no mask", "exclusion mask")}
    pd.testing.assert_frame_equal(table, tuning_table("bianca", expected), check_exact=True)
    assert model.cut == table.loc[table["chosen"], "value"].item()


def test_a_fit_whose_files_are_gone_or_damaged_is_made_again(run):
    names = [run.path(f"{baseline_fit.FOLDER}/{name}.npz") for name in baseline_fit.MODELS]
    run.path(baseline_fit.TUNING).write_text("method\n")
    assert not baseline_fit._all_there(run)
    for path in names:
        store.save(path, lga.LgaModel(0.1), "")
    assert baseline_fit._all_there(run)
    whole = names[-1].read_bytes()
    names[-1].write_bytes(whole[: len(whole) // 2])
    assert not baseline_fit._all_there(run)
    names[-1].write_bytes(whole)
    run.path(baseline_fit.TUNING).unlink()
    assert not baseline_fit._all_there(run)


@pytest.mark.parametrize("method", ["threshold", "lga", "lpa", "bianca"])
def test_a_lesion_outside_of_what_methods_look_at_counts_as_missed(method, cases, run, monkeypatch, tmp_path):
    """The Dice that chooses a cut is that of the mask on the whole work grid, where part of the reference lies beyond the brain's box."""
    case, lesion = cases["sub-0"]
    hit = [np.flatnonzero(case.brain.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(int(h[0]), int(h[-1]) + 1) for h in hit)
    affine = case.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    cut = {name: getattr(case, name)[box] for name in ("flair", "brain", "t1w", "tissue")}
    view = replace(case, **cut, grid=Grid(cut["brain"].shape, affine), box=box)
    reference = lesion.copy()
    reference[box[0].start - 2 : box[0].start, 20:30, 20:24] = True
    assert view.beyond(reference) == 80 and view.beyond(lesion) == 0
    monkeypatch.setattr(baseline_fit, "looked", lambda run, participant, tissue=True: view)
    monkeypatch.setattr(baseline_fit, "_reference", lambda run, participant: reference)
    if method == "threshold":
        found = baseline_fit._threshold_dice(run, "sub-0", (1.5, 2.5))
        masks = [threshold.threshold_mask(case.flair, case.brain, z) for z in (1.5, 2.5)]
    elif method == "lga":
        found, masks = baseline_fit._lga_dice(run, "sub-0", (0.1,)), [view.whole(lga.lesion_map(view, 0.1)) >= lga.CUT]
    elif method == "lpa":
        model = lpa.fit_lpa(*lpa.sample_rows(*cases["sub-1"], (300, 1500), np.random.default_rng(1)))
        found = baseline_fit._lpa_dice(run, "sub-0", model, (0.3, 0.6))
        masks = [view.whole(lpa.lesion_probability(view, model)) >= p for p in (0.3, 0.6)]
    else:
        points, labels = bianca.sample_points(*cases["sub-1"], (60, 600), np.random.default_rng(1))
        model = bianca.BiancaModel(points, labels, np.ones(len(points), int), 15)
        kept = store.save(tmp_path / "points.npz", model, "")
        found = baseline_fit._bianca_dice(run, "sub-0", kept, 0)["no mask"]
        masks = [view.whole(bianca.lesion_share(view, model)) >= share for share in bianca.CUTS]
    expected = [dice(mask, reference) for mask in masks]
    assert max(expected) > 0.4
    np.testing.assert_allclose(found, expected)
