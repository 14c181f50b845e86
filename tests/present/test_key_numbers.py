"""What the report's first page says in numbers and titles: rounded once, with its cases, its unit, and whose it is."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.images import Image
from flairnb.present.case_view import Case
from flairnb.present.style import second_reader
from flairnb.present.tables import table2 as lay_out
from flairnb.report import ablation, results, review, review_cases

RHO = results.KEY_ROWS[-1]


@pytest.fixture
def run():
    return SimpleNamespace(seed=1, settings=settings.load("smoke"))


@pytest.fixture
def scores(fabricated):
    """Three cases of three methods, with medians that show twofold rounding; LPA marked nothing in one of them."""
    table = fabricated.scores.groupby("method").head(3)
    table = table[table["method"].isin(["manual2", "unet", "lpa"])].reset_index(drop=True)
    table.loc[table["method"] == "unet", "ppv"] = [0.1, 0.674859, 0.9]
    table.loc[table["method"] == "lpa", "sensitivity"] = [0.1, 0.524648, 0.9]
    table.loc[table["method"] == "lpa", "ppv"] = [np.nan, 0.3, 0.4]
    return table


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.674859, 2, "0.67"), (0.524648, 2, "0.52"), (0.985, 2, "0.99"), (0.805, 2, "0.81"), (0.9985, 3, "0.999"), (92.0, 0, "92"),
     (np.float64(0.125), 2, "0.13"), (-0.125, 2, "-0.13"), (1e-7, 2, "0.00")],
)  # fmt: skip
def test_numbers_are_rounded_half_up_as_they_are_written(value, digits, shown):
    assert results.half_up(value, digits) == shown


def test_the_key_table_rounds_once_and_the_written_table_keeps_three_decimals(run, scores):
    table = results.table2(run, scores)
    assert table.set_index("measure").loc["PPV, median", "U-Net, ours"] == 0.675
    key = results.key_numbers(table).set_index("Measure")
    assert key.loc["PPV", "U-Net: phantom (simulated)"] == "0.67"
    assert key.loc["Sensitivity", "LPA-style: phantom (simulated)"] == "0.52"
    assert key.loc[RHO, "Paper: CNN"] == "0.99" and key.loc["Dice", "Paper: Human"] == "0.81"


def test_a_table_from_a_file_has_key_numbers_too(run, scores):
    table = results.table2(run, scores)
    table.attrs.clear()
    assert results.key_numbers(table).set_index("Measure").loc["Cases", "Paper: CNN"] == "92"


def test_a_score_that_fewer_cases_have_says_how_many(run, scores):
    table = results.table2(run, scores)
    rows = table.set_index("measure")
    assert rows.loc["PPV, cases", "LPA-style, ours"] == 2 and rows.loc["PPV, cases", "U-Net, ours"] == 3
    assert "Dice, cases" not in rows.index
    key = results.key_numbers(table).set_index("Measure")
    assert key.loc["PPV", "LPA-style: phantom (simulated)"] == "0.35 (n = 2)"
    assert key.loc["PPV", "U-Net: phantom (simulated)"] == "0.67" and key.loc["Cases", "LPA-style: phantom (simulated)"] == "3"


def test_the_row_of_cases_stands_under_its_score():
    rows = [("unet", "dice", 0.5, 0.1, 9), ("unet", "ppv", 0.6, 0.1, 7), ("unet", "npv", 0.9, 0.1, 9)]
    summary = pd.DataFrame(rows, columns=["method", "score", "median", "sem", "n"])
    made = lay_out(summary, pd.DataFrame(columns=["method"]))
    assert [row for row in made.index if row.startswith(("PPV", "NPV"))] == [
        "PPV, median", "PPV, SEM", "PPV, cases", "NPV, median", "NPV, SEM"
    ]  # fmt: skip


def test_the_key_table_says_once_that_the_reader_is_simulated(run, scores):
    with second_reader(simulated=True):
        table = results.table2(run, scores)
    assert "Reader 2 (simulated), ours" in table
    assert "Reader 2: phantom (simulated)" in results.key_numbers(table)
    assert "Reader 2: this cohort" in results.key_numbers(results.table2(run, scores), simulated=False)


def test_a_step_of_tiles_is_in_mm_and_only_like_times_are_compared(monkeypatch):
    made = settings.load("demo")
    monkeypatch.setattr("flairnb.network.inference.predict", lambda *_: np.ones((2, 2, 2), np.float32))
    monkeypatch.setattr("flairnb.prepare.native.to_native", lambda probability, *_, **__: probability)
    reference = np.ones((2, 2, 2), dtype=bool)
    flair = Image(np.ones((2, 2, 2), np.float32), np.eye(4))
    case = SimpleNamespace(work=None, work_brain=None, flair=flair, brain_native=reference)
    run, network = SimpleNamespace(settings=made), SimpleNamespace(model=None)
    subject = ablation._Subject(run, network, "sub-1", case, reference, made.infer, reference.astype(np.float32))
    monkeypatch.setattr(ablation, "_with_other_brain", lambda *_: reference)
    edge, patch = made.prepare.spacing_mm, made.infer.patch
    rows = {row[1]: row[4] for row in ablation._tiles(subject)}
    assert f"tiles every {patch * edge:g} mm" in rows and f"tiles every {patch // 3 * edge:g} mm" in rows
    assert not any("step" in name for name in rows)
    assert math.isnan(rows.pop("as run")) and all(seconds >= 0 for seconds in rows.values())
    brain = {row[1]: row[4] for row in ablation._brain(subject)}
    assert math.isnan(brain.pop("as run")) and all(seconds >= 0 for seconds in brain.values())
    assert all(row[4] >= 0 for row in [*ablation._way_back(subject), *ablation._thresholds(subject)])


@pytest.mark.parametrize(("source", "said"), [("phantom", True), ("manifest", False)])
def test_a_cohorts_cases_know_whether_they_are_simulated(source, said, tmp_path, monkeypatch):
    run = SimpleNamespace(settings=SimpleNamespace(cohort=SimpleNamespace(source=source)), work_dir=tmp_path)
    (tmp_path / "manifest.tsv").touch()
    entry = {"participant_id": "sub-1", "flair": "f.nii.gz", "diagnosis": "MSA", "split": "validation"}
    monkeypatch.setattr(review_cases.steps, "read_cohort", lambda run: pd.DataFrame([entry]))
    monkeypatch.setattr(review_cases.steps, "data_root", lambda run: tmp_path)
    cases = review_cases.find_cases(run)
    assert cases["simulated"].tolist() == [said] and "simulated" not in review_cases.shown(cases)


def test_the_still_says_whose_volume_its_title_gives(oblique_affine):
    shape = (17, 19, 8)
    mask = np.zeros(shape, dtype=bool)
    mask[6:9, 7:11, 3] = True
    case = Case("sub-7", Image(mask + np.float32(1), oblique_affine), {"manual": mask, "unet": mask}, np.ones(shape, bool), simulated=True)
    session = SimpleNamespace(
        open=lambda place: case,
        case=case,
        names=lambda: {"unet": "unet"},
        seen=lambda name: case,
        measure=lambda name: "4.62 ml in 6 lesions",
    )
    assert review.still(session).texts[0].get_text() == "sub-7, U-Net: 4.62 ml in 6 lesions (simulated)"


def test_a_method_with_a_comma_in_its_name_is_on_the_first_page(run, fabricated):
    scores = fabricated.scores[fabricated.scores["method"].isin(["unet", "lga03"])]
    table = results.table2(run, scores)
    key = results.key_numbers(table).set_index("Measure")
    assert key.columns.tolist() == ["U-Net: phantom (simulated)", "Paper: CNN", "LGA, kappa 0.3: phantom (simulated)", "Paper: LST"]
    median = scores.loc[scores["method"] == "lga03", "dice"].median()
    assert key.loc["Dice", "LGA, kappa 0.3: phantom (simulated)"] == results.half_up(median, 2)
