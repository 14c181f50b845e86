"""What stands beside the scores of real patients: where it errs, what a grid costs, what others publish. Closed forms."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import ManifestError, MissingDataError
from flairnb.images import Image
from flairnb.report import published_scores, real, real_baselines, real_errors, real_grid, real_kept
from flairnb.report.real_errors import FALSE, MISSED, error_rows, sentence, sentences, split_errors
from flairnb.report.start import Run
from flairnb.settings import load

NONE = float("nan")
SHAPE, THICK = (40, 50, 12), np.diag([1.0, 1.0, 5.0, 1.0])
VOXEL_ML = 0.005


def block(at, size):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(low, low + n) for low, n in zip(at, size, strict=True))] = True
    return mask


def by_error(reference, predicted, brain=None, affine=THICK):
    brain = np.ones(SHAPE, dtype=bool) if brain is None else brain
    return {row["error"]: row for row in split_errors(reference, predicted, brain, affine)}


def voxels(row):
    return {name.removesuffix("_ml"): round(value / VOXEL_ML) for name, value in row.items() if name.endswith("ml")}


def test_a_block_moved_by_one_voxel_errs_at_its_border_alone():
    found = by_error(block((10, 10, 4), (6, 8, 2)), block((11, 10, 4), (6, 8, 2)))
    for error in (MISSED, FALSE):
        assert voxels(found[error]) == {"ml": 16, "of": 96, "border": 16, "further": 0, "whole": 0, "surface": 0}
        assert (found[error]["whole"], found[error]["lesions"]) == (0, 1)


def test_a_block_moved_by_three_voxels_errs_farther_off_as_well():
    found = by_error(block((10, 10, 4), (8, 8, 1)), block((13, 10, 4), (8, 8, 1)))
    assert voxels(found[MISSED]) == {"ml": 24, "of": 64, "border": 8, "further": 16, "whole": 0, "surface": 0}


def test_a_slice_too_far_is_no_border_where_slices_are_thick():
    reference, predicted = block((10, 10, 4), (6, 8, 2)), block((10, 10, 4), (6, 8, 1))
    assert voxels(by_error(reference, predicted)[MISSED])["further"] == 48
    cubes = by_error(reference, predicted, affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    assert cubes[MISSED]["border_ml"] == pytest.approx(0.048) and cubes[MISSED]["further_ml"] == 0


def test_lesions_that_the_other_mask_does_not_touch_count_as_whole_even_beside_a_border():
    seen = block((10, 10, 4), (6, 8, 1))
    missed, beside, false = block((10, 30, 4), (3, 4, 1)), block((10, 10, 5), (2, 2, 1)), block((30, 30, 7), (2, 5, 1))
    found = by_error(seen | missed, seen | false)
    assert voxels(found[MISSED]) == {"ml": 12, "of": 60, "border": 0, "further": 0, "whole": 12, "surface": 0}
    assert voxels(found[FALSE]) == {"ml": 10, "of": 58, "border": 0, "further": 0, "whole": 10, "surface": 0}
    assert (found[MISSED]["whole"], found[MISSED]["lesions"], found[FALSE]["whole"], found[FALSE]["lesions"]) == (1, 2, 1, 2)
    assert by_error(seen | beside, seen)[MISSED]["whole"] == 0  # joined by a face: one lesion, which was found


def test_near_the_surface_is_five_mm_below_the_brains_border_or_outside_it_but_not_where_the_image_ends():
    brain = np.zeros(SHAPE, dtype=bool)
    brain[10:] = True  # the image cuts it off on all other sides
    nothing = np.zeros(SHAPE, dtype=bool)
    column = block((6, 20, 5), (20, 1, 1))
    assert voxels(by_error(column, nothing, brain)[MISSED])["surface"] == 4 + 5
    assert voxels(by_error(block((39, 20, 0), (1, 5, 1)), nothing, brain)[MISSED])["surface"] == 0


def test_nothing_marked_and_nothing_to_find_are_zeros():
    nothing, one = np.zeros(SHAPE, dtype=bool), block((10, 10, 4), (2, 2, 1))
    assert voxels(by_error(nothing, nothing)[FALSE]) == dict.fromkeys(("ml", "of", "border", "further", "whole", "surface"), 0)
    assert voxels(by_error(one, one)[MISSED])["ml"] == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_parts_add_up_on_a_turned_grid(seed):
    rng = np.random.default_rng(seed)
    turn = np.array([[0.0, -0.9, 0, 3], [1.1, 0, 0, 5], [0, 0, 4.0, 7], [0, 0, 0, 1]])
    reference, predicted = (rng.random(SHAPE) > 0.9 for _ in range(2))
    for row in by_error(reference, predicted, rng.random(SHAPE) > 0.2, turn).values():
        assert row["border_ml"] + row["further_ml"] + row["whole_ml"] == pytest.approx(row["ml"])
    assert by_error(reference, predicted, affine=turn)[MISSED]["ml"] == pytest.approx(np.sum(reference & ~predicted) * 0.00396)


def test_a_real_patients_volumes_count_shear_alike_with_and_without_a_reader():
    sheared = THICK.copy()
    sheared[1, 2] = 3.0
    flair, mask = Image(np.zeros(SHAPE, np.float32), sheared), block((10, 10, 4), (6, 8, 2))
    read, unread = real._scores(mask, mask, flair), real._scores(None, mask, flair)
    assert read["predicted_ml"] == pytest.approx(unread["predicted_ml"]) == pytest.approx(96 * VOXEL_ML) == read["reference_ml"]


def as_rows(name, reference, predicted, family="MS"):
    found = SimpleNamespace(mask=predicted, brain=np.ones(SHAPE, dtype=bool))
    return pd.DataFrame(error_rows({"participant_id": name, "family": family}, found, reference, THICK), columns=list(real_errors.COLUMNS))


def test_the_sentence_says_each_number_of_the_case():
    seen = block((10, 10, 4), (20, 20, 2))
    rows = as_rows("x1", seen | block((10, 35, 4), (10, 10, 2)), block((11, 10, 4), (20, 20, 2)))
    assert sentence(rows) == (
        "**x1** (MS): misses 1.2 of 5.0 ml, 17% of it at the border of lesions that it found, 1 of 2 lesions missed whole (1.0 ml); "
        "marks 0.2 ml that the reader did not, 100% of it at such borders, 0 of 1 marked spots wholly false (0.0 ml). "
        "Within 5 mm of the brain's surface: 0% of what is missed and 0% of what is falsely marked."
    )
    assert sentence(as_rows("x2", seen, seen)) == "**x2** (MS): misses nothing of 4.0 ml; marks nothing that the reader did not."


def test_a_healthy_case_has_only_false_marks_and_a_diseased_one_without_a_reader_no_row():
    spot = block((10, 10, 4), (2, 5, 2))
    rows = as_rows("h1", None, spot, "healthy")
    assert "nothing to find; marks 0.1 ml" in sentence(rows) and "1 of 1 marked spots wholly false (0.1 ml)" in sentence(rows)
    assert as_rows("m1", None, spot).empty


def test_the_worst_case_comes_first_and_an_empty_table_is_said():
    seen, little = block((10, 10, 4), (20, 20, 2)), block((10, 10, 4), (20, 19, 2))
    cases = [as_rows("h1", None, little, "healthy"), as_rows("good", seen, little), as_rows("bad", seen, block((10, 10, 4), (5, 5, 1)))]
    rows = pd.concat(cases, ignore_index=True)
    assert re.findall(r"\*\*(\w+)\*\*", sentences(rows).data) == ["bad", "good", "h1"]
    assert "nothing to say" in sentences(rows.head(0)).data


def test_a_grid_costs_a_thin_lesion_much_and_its_own_size_nothing():
    flair = Image(np.zeros((60, 60, 60), np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
    thin, thick = (np.zeros(flair.shape, dtype=bool) for _ in range(2))
    thin[20:40, 20:40, 30], thick[15:45, 15:45, 15:45] = True, True
    of_thin, of_thick = (real_grid.grid_rows({"participant_id": "x", "family": "MS"}, m, flair, (2.0, 1.0, 2.0)) for m in (thin, thick))
    assert [row["voxel_mm"] for row in of_thin] == [row["voxel_mm"] for row in of_thick] == [1.0, 2.0]
    assert of_thin[0]["dice"] == of_thick[0]["dice"] == 1
    assert of_thin[1]["dice"] < 0.7 < 0.9 < of_thick[1]["dice"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(real_kept, "repository_root", lambda: tmp_path / "repository")
    return Run("13", load("public"), 3, tmp_path / "work", None, 1)


def scores():
    rows = [
        ("a", "shipped", 0.70, 1.0), ("a", "lpa", 0.60, 2.0), ("a", "lpa (1 mm)", 0.72, 1.0), ("a", "threshold", 0.50, 2.0),
        ("b", "shipped", 0.80, 1.0), ("b", "lpa", 0.75, 2.0), ("b", "lpa (1 mm)", 0.65, 1.0), ("b", "threshold", 0.76, 2.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["participant_id", "method", "dice", "voxel_mm"])
    return table.assign(
        family="MS", status="ok", reference_ml=1.0, predicted_ml=1.0, expected_dice=0.7, lesion_f1=[0.5, *[NONE] * 3, 0.6, *[NONE] * 3]
    )


def test_the_best_other_method_stands_there_at_each_voxel_size_beside_what_the_grid_leaves(run):
    rows = [("a", "MS", 1.0, 0.98), ("a", "MS", 2.0, 0.77)]
    run.save(pd.DataFrame(rows, columns=list(real_grid.COLUMNS)), real_kept.GRID)
    shown = real_grid.beside_others(run, scores()).set_index("participant_id")
    assert shown["best other, 2 mm"].tolist() == ["0.60 (lpa)", "0.76 (threshold)"]
    assert shown["best other, 1 mm"].tolist() == ["0.72 (lpa)", "0.65 (lpa)"]
    own = ["reader's own mask, 1 mm", "reader's own mask, 2 mm"]
    assert shown["network"].tolist() == [0.7, 0.8] and shown.loc["a", own].tolist() == [0.98, 0.77]
    said = real_grid.verdict(scores()).data
    assert "**1 of 2**" in said and "voxel sizes: 1 mm and 2 mm; the network's: 1 mm" in said
    assert [name for name in real.wide(scores()).columns if "mm" in name] == []


def test_a_table_from_before_voxel_sizes_were_kept_is_shown_and_says_so(run):
    old = scores().drop(columns="voxel_mm")
    assert "best other, size not recorded" in real_grid.beside_others(run, old).columns
    assert "size not recorded" in real_grid.verdict(old).data
    assert "No comparison method" in real_grid.verdict(old[old["method"] == "shipped"]).data


def test_comparison_methods_are_applied_at_every_size_that_is_asked_for(run, monkeypatch):
    """The first size keeps the methods' names; the phantoms of the demo, which they are fitted to, have it."""
    assert real.BASELINES_MM[0] == load("demo").prepare.spacing_mm and real.BASELINES_MM[1] == load("paper").prepare.spacing_mm
    seen = []

    def apply(fitted, case, t1w):
        seen.append(float(case.work_grid.spacing_mm[0]))
        return {"lpa": seen[-1]}

    monkeypatch.setattr(real, "fitted_in", lambda run: run.work_dir)
    monkeypatch.setattr(real_baselines, "segment_with_baselines", apply)
    flair = Image(np.random.default_rng(3).random((24, 26, 8), dtype=np.float32) + 1, np.diag([1.0, 1.0, 5.0, 1.0]))
    prepared = SimpleNamespace(flair=flair, brain_native=np.ones(flair.shape, dtype=bool))
    found = real._by_others(run, prepared, None, (2.0, 1.0))
    assert found == {"lpa": (2.0, 2.0), "lpa (1 mm)": (1.0, 1.0)} and seen == [2.0, 1.0]
    monkeypatch.setattr(real, "fitted_in", lambda run: None)
    assert real._by_others(run, prepared, None, (2.0, 1.0)) == {}


def test_a_runs_tables_come_before_the_committed_ones_and_only_they_are_committed(run, tmp_path):
    assert real_kept.recall(run, real_kept.ERRORS, real_errors.COLUMNS).columns.tolist() == list(real_errors.COLUMNS)
    run.save(pd.DataFrame({"voxel_mm": [2.0], "dice": [0.7777777]}), real_kept.GRID)
    real_kept.publish(run)
    written = [path.name for path in (tmp_path / "repository/reports/robust").iterdir()]
    assert written == ["grid.tsv"] and "0.77778" in (tmp_path / "repository/reports/robust/grid.tsv").read_text()
    run.path(real_kept.GRID).unlink()
    assert real_kept.recall(run, real_kept.GRID, ())["dice"].tolist() == [0.77778]


def test_every_published_score_has_a_source_that_can_be_looked_up_and_a_family_of_ours():
    table = published_scores.read_published()
    assert set(table["family"]) == set(published_scores.FAMILIES) <= set(real.FAMILIES.values())
    assert table["source"].str.contains(r"doi:10\.|arXiv:\d|abstract \d").all()
    assert not table.duplicated(["tool", "data", "family", "measure"]).any()
    assert set(table["measure"]) <= set(published_scores.MEASURES)


GOOD = {
    "tool": "T",
    "data": "D",
    "family": "MS",
    "input": "FLAIR",
    "measure": "Dice",
    "value": "0.5",
    "low": "",
    "high": "",
    "source": "doi:10.1/x",
}
WRONG = [
    ({"source": ""}, "a word on source"), ({"family": "stroke"}, "found 'stroke'"), ({"measure": "HD95"}, "found 'HD95'"),
    ({"value": "88.95"}, "from 0 to 1"), ({"value": "about .8"}, "from 0 to 1"), ({"value": ""}, "found neither"),
    ({"value": "", "low": "0.8", "high": "0.7"}, "rising order"),
]  # fmt: skip


def test_a_wrong_table_of_published_scores_is_refused_with_all_its_faults(tmp_path):
    path = tmp_path / "published_scores.tsv"
    pd.DataFrame([GOOD, *[{**GOOD, **change} for change, _ in WRONG]]).to_csv(path, sep="\t", index=False)
    with pytest.raises(ManifestError) as caught:
        published_scores.read_published(path)
    faults = str(caught.value).split("; ")
    assert len(faults) >= len(WRONG) and "line 2:" not in str(caught.value)
    for line, (_, said) in enumerate(WRONG, 3):
        assert any(f"line {line}: " in fault and said in fault for fault in faults)
    pd.DataFrame([GOOD]).drop(columns="source").to_csv(path, sep="\t", index=False)
    with pytest.raises(ManifestError, match="found no source"):
        published_scores.read_published(path)
    with pytest.raises(MissingDataError):
        published_scores.read_published(tmp_path / "gone.tsv")


def test_published_numbers_and_ours_never_share_a_column():
    others = pd.DataFrame([{**GOOD, "value": 0.65, "low": NONE, "high": NONE}, {**GOOD, "value": NONE, "low": 0.62, "high": NONE}])
    shown = published_scores.context(scores(), others)
    assert shown["published"].tolist() == ["0.65", "above 0.62", ""] and shown["ours"].tolist() == ["", "", "0.75 (0.70 to 0.80)"]
    assert shown["who"].tolist() == ["T", "T", "shipped network"] and shown["data"].iloc[-1].startswith("2 public development cases")
    everything = published_scores.context(scores())
    assert ((everything["published"] == "") != (everything["ours"] == "")).all()
    small = everything[(everything["family"] == "small-vessel disease") & (everything["who"] == "shipped network")]
    assert set(small["ours"]) == {"no real case"} and len(everything[everything["family"] == "glioma"]) == 2


def test_a_nan_is_no_number():
    assert published_scores.printed({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.50 (0.40 to 0.60)"
    assert published_scores.printed({"value": math.nan, "low": math.nan, "high": 0.6}) == "below 0.60"
