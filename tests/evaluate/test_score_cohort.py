from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from flairnb.errors import MissingDataError
from flairnb.evaluate.cohort import find_methods, read_scores, score_cohort
from flairnb.evaluate.files import score_files
from flairnb.evaluate.metrics import score_masks
from flairnb.evaluate.summary import compare_methods, significance_marks, summarise_scores, summarise_volumes
from flairnb.naming import cohort_derivative
from flairnb.settings import load

SHAPE = (17, 18, 9)
SPACING_MM = (0.9, 1.1, 5.0)


def block(corner, size, shape=SHAPE):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))] = 1
    return mask


def write(work_dir, case, mask, affine, **entities):
    path = cohort_derivative(work_dir, case, "mask", **entities)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask, affine), path)


@pytest.fixture
def settings():
    return load("smoke").evaluate


@pytest.fixture
def work_dir(tmp_path, oblique_affine):
    brain = block((1, 1, 1), (14, 15, 7))
    reference = block((3, 4, 2), (5, 6, 3)) | block((11, 11, 5), (2, 2, 1))
    for case in ("sub-01", "sub-02", "sub-03", "sub-04"):
        write(tmp_path, case, brain, oblique_affine, desc="brain")
        write(tmp_path, case, reference, oblique_affine, label="lesion", desc="manual")
        write(tmp_path, case, block((3, 4, 2), (5, 6, 2)), oblique_affine, label="lesion", desc="unet")
        write(tmp_path, case, block((3, 4, 2), (7, 7, 4)), oblique_affine, label="lesion", desc="threshold")
        write(tmp_path, case, reference, oblique_affine, space="work", label="lesion", desc="manual")
    shifted = oblique_affine.copy()
    shifted[0, 3] += 30
    write(tmp_path, "sub-02", block((3, 4, 2), (5, 6, 2)), shifted, label="lesion", desc="unet")
    cohort_derivative(tmp_path, "sub-03", "mask", label="lesion", desc="threshold").unlink()
    cohort_derivative(tmp_path, "sub-04", "mask", label="lesion", desc="manual").write_bytes(b"not an image")
    return tmp_path


@pytest.fixture
def manifest():
    return pd.DataFrame(
        {"participant_id": [f"sub-0{n}" for n in (1, 2, 3, 4)], "diagnosis": ["SVID", "SVID", "HGG", "HGG"], "split": "validation"}
    )


@pytest.mark.parametrize("specificity_over", ["brain", "grid"])
def test_a_healthy_brain_that_nobody_marked_is_scored_as_without_lesion(work_dir, manifest, specificity_over, oblique_affine):
    settings = load("smoke", f"evaluate.specificity_over={specificity_over}").evaluate
    for case in ("sub-01", "sub-02", "sub-03"):
        cohort_derivative(work_dir, case, "mask", label="lesion", desc="manual").unlink()
    write(work_dir, "sub-03", np.zeros(SHAPE, np.uint8), oblique_affine, label="lesion", desc="unet")
    named = manifest.assign(diagnosis=["HEALTHY", "SVID", "HEALTHY", "HEALTHY"], reference_mask=["", "", np.nan, "masks/sub-04.nii.gz"])
    made = score_cohort(named, settings, work_dir)
    scores = made.scores.set_index(["participant_id", "method"])
    marked = scores.loc[("sub-01", "unet")]
    assert (marked["status"], marked["empty"], marked["dice"], marked["reference_ml"]) == ("ok", "reference", 0.0, 0.0)
    assert marked["predicted_ml"] == pytest.approx(60 * 0.9 * 1.1 * 5.0 / 1000)
    of = 14 * 15 * 7 if specificity_over == "brain" else 17 * 18 * 9
    assert marked["specificity"] == pytest.approx(1 - 60 / of)
    quiet = scores.loc[("sub-03", "unet")]
    assert quiet["status"] == "ok" and quiet["empty"] == "both" and math.isnan(quiet["dice"]) and quiet["specificity"] == 1
    # A diseased case without a mask is missing, and so is a healthy one whose mask is named but not there.
    assert scores.loc[("sub-02", "threshold"), "status"] == "missing" and scores.loc[("sub-04", "unet"), "status"] == "failed"
    assert not (made.lesions["method"] == "manual").any()
    cohort_derivative(work_dir, "sub-04", "mask", label="lesion", desc="manual").unlink()
    assert set(score_cohort(named.tail(1), settings, work_dir).scores["status"]) == {"missing"}
    # A healthy brain is compared on the FLAIR's grid too, and one that was never prepared has none.
    shifted = oblique_affine.copy()
    shifted[0, 3] += 30
    write(work_dir, "sub-01", block((3, 4, 2), (5, 6, 2)), shifted, label="lesion", desc="unet")
    cohort_derivative(work_dir, "sub-03", "mask", desc="brain").unlink()
    again = score_cohort(named, settings, work_dir, ["unet"]).scores.set_index("participant_id")["status"]
    assert again[["sub-01", "sub-03"]].tolist() == ["failed", "missing"]


def test_a_healthy_brains_own_mask_is_taken_where_there_is_one(work_dir, manifest, settings):
    rows = manifest.head(1).assign(diagnosis="HEALTHY")
    pd.testing.assert_series_equal(
        score_cohort(rows, settings, work_dir, ["unet"]).scores["dice"],
        score_cohort(manifest.head(1), settings, work_dir, ["unet"]).scores["dice"],
    )


def test_every_case_and_method_has_a_row_with_a_status(work_dir, manifest, settings):
    scores = score_cohort(manifest, settings, work_dir).scores
    status = scores.set_index(["participant_id", "method"])["status"].to_dict()
    assert status == {
        ("sub-01", "unet"): "ok",
        ("sub-01", "threshold"): "ok",
        ("sub-02", "unet"): "failed",
        ("sub-02", "threshold"): "ok",
        ("sub-03", "unet"): "ok",
        ("sub-03", "threshold"): "missing",
        ("sub-04", "unet"): "failed",
        ("sub-04", "threshold"): "failed",
    }
    bad = scores[scores["status"] != "ok"]
    assert bad["reason"].str.len().gt(20).all()
    assert not bad["reason"].str.contains(str(work_dir), regex=False).any()
    assert not bad["reason"].str.contains("/").any()
    assert scores["diagnosis"].tolist() == ["SVID"] * 4 + ["HGG"] * 4


def test_a_row_holds_the_scores_of_its_masks(work_dir, manifest, settings):
    scores = score_cohort(manifest.head(1), settings, work_dir, methods=["unet"]).scores
    reference = block((3, 4, 2), (5, 6, 3)) | block((11, 11, 5), (2, 2, 1))
    expected = score_masks(reference, block((3, 4, 2), (5, 6, 2)), SPACING_MM, block((1, 1, 1), (14, 15, 7)))
    got = scores.iloc[0][list(expected.as_dict())].to_dict()
    assert got == pytest.approx(expected.as_dict())
    assert got["specificity_over"] == "brain"


@pytest.fixture
def tilted(oblique_affine):
    """A grid whose slices are sheared by 30 degrees, as by a tilted gantry."""
    affine = oblique_affine.copy()
    affine[:3, 2] += np.tan(np.radians(30)) * 5.0 * affine[:3, 1] / np.linalg.norm(affine[:3, 1])
    return affine


def test_volumes_and_distances_of_a_cohort_on_sheared_slices_are_those_of_the_world(tmp_path, manifest, settings, tilted):
    reference, predicted = block((3, 4, 2), (5, 6, 3)), block((3, 4, 3), (5, 6, 3))
    for name, mask in {"manual": reference, "unet": predicted}.items():
        write(tmp_path, "sub-01", mask, tilted, label="lesion", desc=name)
    found = score_cohort(manifest.head(1), settings, tmp_path)
    row, lesions = found.scores.iloc[0], found.lesions.groupby("method")["volume_ml"].sum()
    assert row["reference_ml"] == pytest.approx(90 * 0.9 * 1.1 * 5.0 / 1000)
    assert (row["reference_ml"], row["predicted_ml"]) == pytest.approx((lesions["manual"], lesions["unet"]))
    assert row["hd95_mm"] == pytest.approx(5.0 / np.cos(np.radians(30)), rel=1e-6)  # one slice up, along the tilt


def test_two_files_on_sheared_slices_are_scored_in_the_world(tmp_path, tilted):
    for name, corner in {"reference": (3, 4, 2), "predicted": (3, 4, 3)}.items():
        nib.save(nib.Nifti1Image(block(corner, (1, 1, 1)), tilted), tmp_path / f"{name}.nii.gz")
    scores = score_files(tmp_path / "reference.nii.gz", tmp_path / "predicted.nii.gz")
    assert scores.reference_ml == pytest.approx(0.9 * 1.1 * 5.0 / 1000, rel=1e-6)
    assert scores.hd95_mm == pytest.approx(5.0 / np.cos(np.radians(30)), rel=1e-6)


def test_lesions_say_what_found_them_and_what_they_overlap(work_dir, manifest, settings):
    lesions = score_cohort(manifest.head(1), settings, work_dir).lesions
    reference = lesions[lesions["method"] == "manual"].sort_values("lesion")
    assert reference["found_by_unet"].tolist() == [True, False]
    assert reference["voxels"].tolist() == [90, 4]
    assert lesions[lesions["method"] == "unet"]["overlaps"].tolist() == [True]


def test_specificity_counts_the_grid_when_told_to_or_when_there_is_no_brain(work_dir, manifest, settings):
    whole = score_cohort(manifest.head(1), load("smoke", "evaluate.specificity_over=grid").evaluate, work_dir).scores
    assert set(whole["specificity_over"]) == {"grid"}
    cohort_derivative(work_dir, "sub-01", "mask", desc="brain").unlink()
    bare = score_cohort(manifest.head(1), settings, work_dir).scores
    pd.testing.assert_frame_equal(bare, whole)


def test_methods_come_in_a_fixed_order_without_the_reference(work_dir):
    assert find_methods(work_dir) == ("unet", "threshold")


def test_two_jobs_give_the_same_tables_as_one(work_dir, manifest, settings):
    one, two = (score_cohort(manifest, settings, work_dir, jobs=jobs) for jobs in (1, 2))
    pd.testing.assert_frame_equal(one.scores, two.scores)
    pd.testing.assert_frame_equal(one.lesions, two.lesions)


def test_tables_survive_the_disk(work_dir, manifest, settings, tmp_path):
    made = score_cohort(manifest, settings, work_dir)
    made.write(tmp_path / "tables")
    read = read_scores(tmp_path / "tables")
    pd.testing.assert_frame_equal(read.scores.fillna({"reason": ""}), made.scores, check_dtype=False)
    assert "n/a" in (tmp_path / "tables" / "scores.tsv").read_text()


def test_missing_tables_say_which_notebook_makes_them(tmp_path):
    with pytest.raises(MissingDataError, match="notebook 05"):
        read_scores(tmp_path)


def test_an_empty_manifest_gives_empty_tables(work_dir, manifest, settings):
    result = score_cohort(manifest.head(0), settings, work_dir)
    assert len(result.scores) == len(result.lesions) == 0


@pytest.fixture
def scores():
    rows = []
    for number in range(10):
        for method, dice in (("unet", 0.8 + 0.01 * number), ("manual2", 0.85), ("threshold", 0.5 + 0.02 * number)):
            true = 5.0 + number
            rows.append(
                {"participant_id": f"sub-{number}", "diagnosis": "SVID" if number < 5 else "HGG", "method": method}
                | {"status": "ok", "dice": dice, "reference_ml": true, "predicted_ml": true * (1.1 if method == "unet" else 1.5)}
            )
    rows.append({**rows[0], "participant_id": "sub-x", "status": "failed", "dice": math.nan})
    rows.append({**rows[0], "participant_id": "sub-h", "dice": math.nan, "reference_ml": 0.0, "predicted_ml": 0.2})
    return pd.DataFrame(rows)


def test_summaries_leave_out_failed_cases_and_count_undefined_ones(scores):
    table = summarise_scores(scores, values=["dice"], resamples=200).set_index("method")
    assert table.index.tolist() == ["manual2", "unet", "threshold"]
    assert table.loc["unet", ["n", "n_undefined"]].tolist() == [10, 1]
    assert table.loc["unet", "median"] == pytest.approx(0.845)
    assert table.loc["unet", "ci_low"] <= 0.845 <= table.loc["unet", "ci_high"]


def test_volumes_have_slope_rank_and_both_percentage_errors(scores):
    table = summarise_volumes(scores).set_index("method")
    assert table.loc["threshold", "slope"] == pytest.approx(1.5)
    assert table.loc["unet", "spearman_rho"] == pytest.approx(1.0)
    assert table.loc["unet", "rmdspe_percent"] == pytest.approx(10.0)
    assert table.loc["unet", "rmdspe_article_reading"] == pytest.approx(1.0)
    assert table.loc["unet", "n_without_lesion"] == 1


def test_methods_are_compared_in_the_same_cases(scores):
    table = compare_methods(scores).set_index("method")
    assert table.index.tolist() == ["manual2", "threshold"]
    assert table.loc["threshold", "n"] == 10
    assert table.loc["threshold", "mean_difference"] == pytest.approx(0.255)
    assert table.loc["threshold", "significant"]
    assert table.loc["manual2", "p_adjusted"] == table.loc["manual2", "p_value"]


def test_comparisons_within_diagnoses_are_adjusted_over_the_diagnoses(scores):
    table = compare_methods(scores, by="diagnosis")
    assert table["diagnosis"].tolist() == ["HGG", "HGG", "SVID", "SVID"]
    assert (table["p_adjusted"] >= table["p_value"] - 1e-15).all()
    weaker = table[table["method"] == "manual2"]
    assert weaker["p_adjusted"].max() == pytest.approx(weaker["p_value"].max())


def test_a_case_scored_twice_by_one_method_is_an_error_and_never_averaged(scores):
    with pytest.raises(ValueError, match="duplicate"):
        compare_methods(pd.concat([scores, scores.head(1)]))


def test_a_summary_without_methods_keeps_its_groups_in_order(scores):
    table = summarise_scores(scores[scores["method"] == "unet"], by=["diagnosis"], values=["dice"], resamples=50)
    assert table["diagnosis"].tolist() == ["HGG", "SVID"]


def test_marks_follow_the_articles_figure_one():
    rows = [("SVID", "threshold", 0.2, True), ("SVID", "lga", 0.3, True), ("SVID", "manual2", -0.1, True)]
    rows += [("HGG", "threshold", 0.2, True), ("HGG", "lga", -0.2, True), ("HGG", "manual2", 0.0, False)]
    rows += [("PML", "threshold", 0.1, False), ("NMO", "manual2", -0.2, True)]
    table = pd.DataFrame(rows, columns=["diagnosis", "method", "mean_difference", "significant"])
    assert significance_marks(table, by="diagnosis") == {"SVID": "**#", "HGG": "*", "NMO": "#"}
    assert significance_marks(table[table["diagnosis"] == "SVID"]) == {"threshold": "*", "lga": "*", "manual2": "#"}
