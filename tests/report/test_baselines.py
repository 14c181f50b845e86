"""Fitting and applying the comparison methods on a small synthetic cohort."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.errors import MissingDataError
from flairnb.evaluate.metrics import dice
from flairnb.images import Image, read_image, read_mask, write_image
from flairnb.naming import cohort_derivative
from flairnb.prepare.cohort import prepare_cohort, read_prepared
from flairnb.report import baseline_fit, methods, steps
from flairnb.report.real_baselines import segment_with_baselines
from flairnb.report.start import Run

pytest.importorskip("ants")
pytestmark = pytest.mark.slow

_PLACES = {
    "sub-1": (28, -12, 26),
    "sub-2": (-27, 8, 25),
    "sub-3": (27, -30, 28),
    "sub-4": None,
    "sub-5": (-27, -24, 27),
    "sub-6": (26, 0, 28),
}
_VALIDATION = ("sub-5", "sub-6")


def make_run(work_dir: Path, **more) -> Run:
    values = {
        "prepare.spacing_mm": 4.0,
        "prepare.n4": False,
        "baselines.tuning_cases": 0,
        "baselines.knn_neighbours": 15,
        "baselines.knn_lesion_points": 60,
        "baselines.knn_other_points": 600,
        **more,
    }
    return Run("04", settings.load("smoke", values), 2019, work_dir, None, 1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, synthetic_heads):
    """Six heads, four of them to train on, one healthy, one without T1w; methods fitted and applied."""
    root = tmp_path_factory.mktemp("work")
    rows = []
    for n, (who, centre) in enumerate(_PLACES.items()):
        flair, t1w, brain, lesion, *_, grid, _ = synthetic_heads.make_head(
            n, centre=centre or (28, -12, 26), radius_mm=12 if centre else 0.0
        )
        like = Image(flair, grid.affine)
        files = {"flair": (flair, "FLAIR"), "t1w": (t1w, "T1w"), "brain_mask": (brain, "brain"), "reference_mask": (lesion, "lesion")}
        row = {"participant_id": who, "diagnosis": "MSI" if centre else "HEALTHY", "split": "validation" if who in _VALIDATION else "train"}
        for column, (data, suffix) in files.items():
            if (who, column) == ("sub-6", "t1w"):
                continue
            row[column] = f"rawdata/{who}/anat/{who}_{suffix}.nii.gz"
            write_image(root / row[column], data, like, np.float32 if data.dtype == np.float32 else np.uint8)
        rows.append(row)
    pd.DataFrame(rows).fillna("").to_csv(root / "manifest.tsv", sep="\t", index=False)
    run = make_run(root)
    prepared = prepare_cohort(steps.read_cohort(run), run.settings.prepare, root, 1, root)
    assert set(prepared["status"]) == {"ok"}, prepared["reason"].tolist()
    run.save(prepared, "tables/preparation.tsv")
    return run, baseline_fit.fit_baselines(run), methods.apply_baselines(run)


def test_every_method_finds_the_validation_lesion(fitted):
    run, _, table = fitted
    reference = read_mask(run.work_dir / "rawdata/sub-5/anat/sub-5_lesion.nii.gz")
    for name, least in (("lga", 0.6), ("lpa", 0.6), ("bianca", 0.6), ("threshold", 0.6)):
        mask = read_mask(cohort_derivative(run.work_dir, "sub-5", "mask", label="lesion", desc=name))
        assert dice(mask, reference) > least, name
    done = table[table["participant_id"] == "sub-5"]
    assert set(done["method"]) == set(methods.BASELINES) and (done["status"] == "ok").all()
    assert (done["seconds_total"] >= done["seconds_method"]).all()


def test_lga_without_t1w_is_a_row_with_its_reason(fitted):
    _, _, table = fitted
    rows = table[table["participant_id"] == "sub-6"].set_index("method")
    assert rows.loc[["lga", "lga03"], "status"].tolist() == ["failed", "failed"]
    assert "T1w" in rows.loc["lga", "reason"]
    assert (rows.loc[["lpa", "bianca", "threshold"], "status"] == "ok").all()


def test_one_value_is_chosen_for_each_method(fitted):
    run, table, _ = fitted
    assert table[table["chosen"]]["method"].tolist() == ["threshold", "lga", "lpa", "bianca"]
    assert set(table["cases"]) == {3}, "the healthy head has no Dice to learn from"
    pd.testing.assert_frame_equal(pd.read_csv(run.work_dir / baseline_fit.TUNING, sep="\t"), table.replace({"variant": {"": np.nan}}))


def test_fitting_repeats_and_never_looks_at_validation(fitted, tmp_path):
    run, table, _ = fitted
    shutil.copytree(run.work_dir, tmp_path / "again")
    other = make_run(tmp_path / "again")
    shutil.rmtree(other.work_dir / "models")
    (other.work_dir / baseline_fit.TUNING).unlink()
    for who in _VALIDATION:
        for path in (other.work_dir / "derivatives/flairnb" / who / "anat").glob("*label-lesion*"):
            path.unlink()
        (other.work_dir / f"rawdata/{who}/anat/{who}_FLAIR.nii.gz").write_bytes(b"not to be read")
    pd.testing.assert_frame_equal(baseline_fit.fit_baselines(other), table)
    for name in ("lga", "lpa", "bianca"):
        with np.load(run.path(f"models/baselines/{name}.npz")) as one, np.load(other.path(f"models/baselines/{name}.npz")) as two:
            assert set(one) == set(two)
            for field in one:
                np.testing.assert_array_equal(one[field], two[field])


def test_a_second_run_does_nothing_again(fitted, monkeypatch):
    run, table, applied = fitted
    monkeypatch.setattr(baseline_fit, "_Training", None)
    monkeypatch.setattr(methods, "write_mask", None)
    again = baseline_fit.fit_baselines(run)
    assert again["value"].tolist() == table["value"].tolist()
    pd.testing.assert_frame_equal(methods.apply_baselines(run), applied)


def test_outside_masks_are_taken_over_or_refused_with_a_reason(fitted, tmp_path):
    run, _, _ = fitted
    flair = read_image(run.work_dir / "rawdata/sub-5/anat/sub-5_FLAIR.nii.gz")
    mask = flair.data > 180
    write_image(tmp_path / "sub-5_desc-sometool_mask.nii.gz", mask, flair, np.uint8)
    moved = flair.affine.copy()
    moved[:3, 3] += 3.0
    write_image(tmp_path / "sub-6_desc-sometool_mask.nii.gz", mask, Image(flair.data, moved), np.uint8)
    table = methods.apply_baselines(make_run(run.work_dir, **{"baselines.external": str(tmp_path)}))
    rows = table[table["method"] == "sometool"].set_index("participant_id")
    assert rows.loc["sub-5", "status"] == "ok" and rows.loc["sub-6", "status"] == "failed"
    assert "one voxel grid" in rows.loc["sub-6", "reason"]
    target = cohort_derivative(run.work_dir, "sub-5", "mask", label="lesion", desc="sometool")
    np.testing.assert_array_equal(read_mask(target, like=flair), mask)
    assert not cohort_derivative(run.work_dir, "sub-6", "mask", label="lesion", desc="sometool").exists()
    target.unlink()


def test_a_real_case_gets_what_the_run_learnt(fitted, tmp_path):
    run, _, _ = fitted
    case = read_prepared(run.work_dir, "sub-5")
    t1w = read_image(run.work_dir / "rawdata/sub-5/anat/sub-5_T1w.nii.gz", "T1w")
    reference = read_mask(run.work_dir / "rawdata/sub-5/anat/sub-5_lesion.nii.gz")
    found = segment_with_baselines(run.work_dir, case, t1w)
    assert set(found) == set(methods.BASELINES)
    assert dice(found["bianca"].mask, reference) > 0.6
    assert set(segment_with_baselines(run.work_dir, case)) == {"lpa", "bianca", "threshold"}
    with pytest.raises(MissingDataError, match="notebook 04"):
        segment_with_baselines(tmp_path, case)
