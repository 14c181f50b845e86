"""Verdicts beside Dice: that of the very mask that got the verdict, or none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.report import reading_log, real, review_cases
from flairnb.report.reading_log import Reading
from flairnb.report.review import Session, verdicts_and_dice

NAN = float("nan")
#: Of a case's masks; what is not there was not scored.
DICE = {"sub-1": {"unet": 0.41, "shipped": 0.93, "lga": 0.22}, "sub-2": {"shipped": 0.66}, "sub-3": {"unet": 0.71, "shipped": NAN}}


def scores(case: str = "participant_id") -> pd.DataFrame:
    rows = [
        {case: name, "method": method, "status": "ok", "dice": dice, "volume_error_ml": 1.0, "reference_ml": 2.0, "predicted_ml": 3.0}
        for name, known in DICE.items()
        for method, dice in known.items()
    ]
    return pd.DataFrame([*rows, {**rows[0], case: "sub-2", "method": "unet", "status": "failed", "dice": 0.05}])


def cohort(monkeypatch, tmp_path) -> pd.DataFrame:
    """The cases of a run whose scores are `DICE`."""
    run = SimpleNamespace(work_dir=tmp_path, settings=SimpleNamespace(cohort=SimpleNamespace(source="phantom")))
    for name, table in (("manifest.tsv", pd.DataFrame()), ("tables/scores.tsv", scores())):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        table.to_csv(tmp_path / name, sep="\t", index=False, na_rep="n/a")
    entries = [
        {"participant_id": name, "diagnosis": "MS", "split": "validation", "flair": "f.nii.gz", "t1w": ""} for name in [*DICE, "sub-4"]
    ]
    monkeypatch.setattr(review_cases.steps, "read_cohort", lambda run: pd.DataFrame(entries))
    monkeypatch.setattr(review_cases.steps, "data_root", lambda run: tmp_path)
    return review_cases.find_cases(run, order="case")


def real_patients(monkeypatch, tmp_path) -> pd.DataFrame:
    """Real patients of notebook 13 with the same scores."""
    (tmp_path / "tables").mkdir()
    scores().to_csv(tmp_path / "tables" / "real_cases.tsv", sep="\t", index=False)
    run = SimpleNamespace(work_dir=tmp_path, table=lambda name: pd.read_csv(tmp_path / name, sep="\t"))
    here = [{"participant_id": name, "family": "MS", "flair": "f.nii.gz", "t1w": "", "reference_mask": ""} for name in [*DICE, "sub-4"]]
    monkeypatch.setattr(real, "find_cases", lambda run: pd.DataFrame(here))
    return review_cases.find_cases(run, source="real", order="case")


@pytest.mark.parametrize("source", [cohort, real_patients])
def test_every_scored_mask_has_its_own_dice(source, monkeypatch, tmp_path):
    cases = source(monkeypatch, tmp_path)
    found = {(row.case, row.method): row.dice for row in review_cases.scores_of(cases).itertuples()}
    assert found == {(name, method): dice for name, known in DICE.items() for method, dice in known.items() if not np.isnan(dice)}
    assert "scores" not in review_cases.shown(cases)
    assert review_cases.scores_of(cases.iloc[:0]).columns.tolist() == ["case", "method", "dice"]


@pytest.mark.parametrize("source", [cohort, real_patients])
def test_a_verdict_stands_beside_the_dice_of_the_mask_that_got_it(source, monkeypatch, tmp_path):
    session = Session(source(monkeypatch, tmp_path), tmp_path / "review", "ab")
    said = [("sub-1", "shipped", "accept"), ("sub-1", "unet", "major edits"), ("sub-2", "shipped", "accept"), ("sub-1", "lga", "accept")]
    # Without a score of their own: failed, undefined, another patient.
    said += [("sub-2", "unet", "minor edits"), ("sub-3", "shipped", "minor edits"), ("sub-9", "unet", "minor edits")]
    for case, method, verdict in said:
        reading_log.append(session.log_path, Reading("ab", case, method, verdict, 1.0))
    table = verdicts_and_dice(session)
    assert table["count"].tolist() == [2, 0, 1]
    assert table.loc["accept", ["min", "max"]].tolist() == [0.66, 0.93] and table.loc["major edits", "median"] == 0.41


def test_a_verdict_on_a_mask_without_a_score_is_no_row(monkeypatch, tmp_path):
    session = Session(cohort(monkeypatch, tmp_path), tmp_path / "review", "ab")
    reading_log.append(session.log_path, Reading("ab", "sub-3", "shipped", "accept", 1.0))
    assert "No verdict yet on a network's mask" in verdicts_and_dice(session).data
