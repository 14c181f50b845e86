"""The chapters' numbers, from fabricated scores: no image, no network."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flairnb.evaluate.cohort import CohortScores
from flairnb.evaluate.ledger import Measured
from flairnb.evaluate.power import detectable_dz
from flairnb.evaluate.strata import bin_tests
from flairnb.evaluate.summary import compare_methods
from flairnb.evaluate.technical import factor_tests, network_cases, outside_adjusted
from flairnb.provenance import write_json
from flairnb.report import (
    ablation,
    ablation_training,
    accuracy,
    audit,
    disease,
    ledger,
    quality,
    real,
    record,
    results,
    steps,
    technical,
    timing,
    views,
    volume,
)  # fmt: skip
from flairnb.report.chapters import read_chapters
from flairnb.report.start import Run
from flairnb.settings import load


@pytest.fixture(scope="module")
def run(tmp_path_factory, fabricated):
    made = Run("06", load("smoke"), 3, tmp_path_factory.mktemp("work"), None, 1)
    CohortScores(fabricated.scores, fabricated.lesions).write(made.path("tables/scores.tsv").parent)
    return made


@pytest.fixture
def cohort(monkeypatch, fabricated):
    def read(_, split=None):
        table = fabricated.manifest
        return table if split is None else table[table["split"] == split].reset_index(drop=True)

    monkeypatch.setattr(steps, "read_cohort", read)
    return fabricated.manifest


@pytest.fixture(scope="module")
def scores(run):
    return results.load_scores(run)[0]


def test_scores_survive_the_way_through_the_file(scores, fabricated):
    assert len(scores) == len(fabricated.scores)
    assert scores["lesion_bin"].cat.ordered and scores["mean_lesion_ml"].notna().all()


def test_accuracy_has_table_2_of_every_method_with_intervals(run, scores):
    tests = compare_methods(scores)
    numbers = accuracy.numbers(run, scores, tests, results.table2(run, scores))
    unet = scores[scores["method"] == "unet"]["dice"]
    assert numbers["dice_median_unet"].value == pytest.approx(unet.median())
    assert numbers["dice_median_unet"].low < unet.median() < numbers["dice_median_unet"].high
    assert numbers["dice_sem_lga"].value == pytest.approx(scores[scores["method"] == "lga"]["dice"].sem())
    assert numbers["p_bianca"].value < 1e-6 and numbers["anova_p"].value < 1e-6 and numbers["cases"] == 92
    assert accuracy.intervals(run, scores).loc["dice", "U-Net"].startswith(f"{unet.median():.2f} (")
    sentence = accuracy.order(scores).data
    assert sentence.index("Reader 2") < sentence.index("U-Net") < sentence.index("BIANCA") and "92 patients" in sentence
    assert accuracy.together(scores)["detectable_sd"].between(0.29, 0.30).all()


def test_the_verdict_counts_as_the_article_does(scores):
    tests = disease.disease_tests(scores)
    found = disease.verdict(scores, tests)
    assert found.methods == ("lga", "bianca") and found.diseases == found.tested == 19
    better = tests[tests["significant"] & (tests["mean_difference"] > 0) & tests["method"].isin(["lga", "bianca"])]
    counted = better.groupby("diagnosis").size()
    assert (found.better_than_one, found.better_than_both) == (len(counted), int((counted == 2).sum()))
    # Corrected over the diagnoses, separately for each method (Benjamini-Hochberg by hand).
    of = tests[tests["method"] == "lga"].sort_values("p_value", ascending=False)
    by_hand = np.minimum.accumulate(of["p_value"].to_numpy() * 19 / np.arange(19, 0, -1))
    np.testing.assert_allclose(of["p_adjusted"], by_hand)


def test_where_no_disease_has_two_patients_nothing_is_counted(run, scores, cohort):
    single = scores[scores["participant_id"].isin(scores.drop_duplicates("diagnosis")["participant_id"])]
    tests = disease.disease_tests(single)
    found = disease.verdict(single, tests)
    assert (found.diseases, found.tested, found.reader_tested) == (19, 0, 0)
    numbers = disease.numbers(run, single, found, pd.DataFrame({"dice": [0.9], "heterogeneous": [True]}))
    book = ledger.make_ledger([], run.work_dir, numbers, "06").set_index("id")
    for name in ("better_than_one", "better_than_both", "like_human"):
        assert math.isnan(book.loc[f"disease.{name}", "ours"]) and "undefined in this run" in book.loc[f"disease.{name}", "note"]
        assert book.loc[f"disease.{name}_of", "ours"] == 0


def test_without_a_second_reader_the_verdict_says_not_tested_and_not_0(scores):
    alone = scores[scores["method"] != "manual2"]
    both, one = (disease.verdict_table(disease.verdict(s, disease.disease_tests(s)))["this run"] for s in (scores, alone))
    against_reader = "diagnoses with enough cases for a test against the second reader"
    assert (both[against_reader], one[against_reader]) == (19, 0)
    same = "network not different from the second reader"
    assert one[same] == "not tested" and isinstance(both[same], int)
    assert one["network better than both methods"] == both["network better than both methods"] > 0
    single = alone[alone["participant_id"].isin(alone.drop_duplicates("diagnosis")["participant_id"])]
    found = disease.verdict_table(disease.verdict(single, disease.disease_tests(single)))["this run"]
    assert found["network better than at least one method"] == found["network better than both methods"] == "not tested"
    assert isinstance(found["network's median not the highest"], int)


def test_healthy_brains_are_no_diagnosis(scores, run):
    people = scores["participant_id"].unique()[:3]
    healthy = scores.assign(diagnosis=scores["diagnosis"].where(~scores["participant_id"].isin(people), "HEALTHY"))
    healthy.loc[healthy["diagnosis"] == "HEALTHY", "dice"] = 0.0
    tests = disease.disease_tests(healthy)
    found = disease.verdict(healthy, tests)
    left = healthy.loc[healthy["diagnosis"] != "HEALTHY", "diagnosis"].nunique()
    assert "HEALTHY" not in set(tests["diagnosis"]) and found.diseases == left and "HEALTHY" not in found.not_highest
    names = [label.get_text() for label in disease.dice_by_disease(healthy, tests).axes[0].get_xticklabels()]
    assert len(names) == left


def test_the_order_is_over_the_patients_that_all_methods_have(scores):
    wide = scores.pivot(index="participant_id", columns="method", values="dice")  # noqa: PD010
    best = wide["unet"].nlargest(30).index
    # One method has only the patients in whom the network is best: over its own patients it would pass for the best of all.
    flattered = scores[(scores["method"] == "unet") & scores["participant_id"].isin(best)].assign(method="easy")
    flattered["dice"] -= 0.01
    sentence = accuracy.order(pd.concat([scores, flattered])).data
    assert "the 30 of 92 patients in whom every method has one" in sentence
    medians = wide.loc[best].median()
    assert f"U-Net ({medians['unet']:.2f})" in sentence and f"easy ({medians['unet'] - 0.01:.2f})" in sentence
    assert sentence.index("U-Net (") < sentence.index("easy (")
    nobody = accuracy.order(pd.concat([scores, flattered.assign(method="none", dice=np.nan)])).data
    assert "the 0 of 92 patients" in nobody and "in no order" in nobody and "nan" not in nobody
    assert "BIANCA-style kNN" in nobody.split("is better than")[1].split("worse than")[0]  # a test needs no third method


def test_what_a_cohort_does_not_give_is_empty_in_the_ledger_and_not_0(run, cohort, monkeypatch):
    bare = cohort.assign(sex="", model="", field_strength_t=np.nan, dimension="", te_ms=np.nan, tr_ms=np.nan, scanner="", manufacturer="")
    monkeypatch.setattr(steps, "read_cohort", lambda _, split=None: bare)
    book = ledger.make_ledger(read_chapters(), run.work_dir, audit.cohort_numbers(run), "12").set_index("id")
    ours = [name for name in book.index if name.startswith("table1.") and book.loc[name, "notebook"] == "12"]
    ours += ["subjects.female", "subjects.male", "imaging.models", "imaging.scanners"]
    assert book.loc[ours, "ours"].isna().all()
    assert book.loc[ours, "note"].str.contains("not given in this cohort, too few cases, or no spread").all()
    assert book.loc["subjects.diagnoses", "ours"] == 19 and book.loc["assignment.healthy", "ours"] == 20
    men = cohort.assign(sex="M")
    monkeypatch.setattr(steps, "read_cohort", lambda _, split=None: men)
    found = audit.cohort_numbers(run)
    assert (found["cohort_female"], found["cohort_male"]) == (0, 387)


def test_a_cohort_without_scanners_has_no_number_of_models_or_makers(run, scores, cohort):
    cases = network_cases(scores.assign(model="", manufacturer=""))
    models = technical.models(run, cases)
    numbers = technical.numbers(cases, models, factor_tests(cases), outside_adjusted(cases))
    assert math.isnan(numbers["models"]) and math.isnan(numbers["manufacturers"])
    half = network_cases(scores.assign(manufacturer="", model=scores["model"].where(scores["model"] == "Skyra", "Prisma")))
    numbers = technical.numbers(half, technical.models(run, half), factor_tests(half), outside_adjusted(half))
    assert (numbers["models"], numbers["manufacturers"]) == (2, 1)


def test_a_mask_that_cannot_be_read_is_a_row_with_a_reason(tmp_path, monkeypatch, oblique_affine):
    made = Run("01", load("smoke"), 3, tmp_path, None, 1)
    mask = np.zeros((7, 8, 9), np.uint8)
    mask[2:4, 3:6, 4] = 1
    nib.save(nib.Nifti1Image(mask, oblique_affine), tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes()[:60])
    masks = ["good.nii.gz", "bad.nii.gz", "", "gone.nii.gz"]
    rows = {"participant_id": [f"sub-{n}" for n in range(4)], "diagnosis": "SVID", "split": "train", "reference_mask": masks}
    monkeypatch.setattr(steps, "read_cohort", lambda _: pd.DataFrame(rows))
    volumes = quality.reference_volumes(made)
    assert volumes["volume_ml"].tolist() == pytest.approx([6 * 0.9 * 1.1 * 5.0 / 1000, math.nan, math.nan, math.nan], nan_ok=True)
    assert (volumes["note"] != "").tolist() == [False, True, False, True]
    said = quality.unread_masks(volumes).data
    assert "2 of 4 cases" in said and "sub-1: " in said and "sub-3: " in said and "sub-2" not in said and str(tmp_path) not in said
    assert "could be read" in quality.unread_masks(volumes.head(1)).data
    assert views.volume_histogram(volumes).axes


def test_the_volume_table_ends_as_its_notebook_says(scores):
    assert volume.volume_table(scores).columns[-4:].tolist() == ["ratio_low", "ratio", "ratio_high", "ratio_n"]
    text = (real.repository_root() / "notebooks/07_lesion_volume.py").read_text(encoding="utf-8")
    assert "The last four columns are the ratio" in text


def test_a_worse_network_gets_no_star_and_the_sentence_and_the_ledger_say_so(run, scores):
    names = {"unet": "bianca", "bianca": "unet"}
    swapped = scores.assign(method=scores["method"].replace(names))
    tests = compare_methods(swapped)
    below = tests[(tests["p_value"] < 0.05) & (tests["mean_difference"] > 0) & (tests["method"] != "manual2")]
    assert "bianca" not in set(below["method"]) and tests.set_index("method").loc["bianca", "p_value"] < 0.05
    texts = [text.get_text() for axes in views.dice_by_method(swapped, tests).axes for text in axes.texts]
    assert texts.count("*") == len(below)
    sentence = accuracy.order(swapped).data
    assert "BIANCA-style kNN" in sentence.split("worse than")[1]
    numbers = accuracy.numbers(run, swapped, tests, results.table2(run, swapped))
    assert numbers["p_bianca"].note == "ours: the network's mean is lower than the other's"
    assert "not the higher one" in volume.numbers(run, swapped, bin_tests(swapped, "volume_bin"))["p_largest_in_bins"].note


def test_the_anova_takes_the_articles_methods_and_no_others(scores):
    more = pd.concat([scores, scores[scores["method"] == "lga"].assign(method="threshold", dice=0.1)])
    groups = [scores.loc[scores["method"] == name, "dice"] for name in ("unet", "lga", "bianca")]
    assert accuracy.methods_anova(more).statistic == pytest.approx(stats.f_oneway(*groups).statistic)


def test_an_incomplete_run_on_real_patients_is_not_published(tmp_path, monkeypatch):
    (tmp_path / "data_manifest").mkdir()
    shutil.copy(real.repository_root() / "data_manifest/public.tsv", tmp_path / "data_manifest/public.tsv")
    committed = real.published()
    declared = {name.removeprefix("sub-") for name in pd.read_csv(tmp_path / "data_manifest/public.tsv", sep="\t")["participant_id"]}
    table = committed[committed["participant_id"].isin(declared)]
    monkeypatch.setattr(real, "repository_root", lambda: tmp_path)
    run = Run("13", load("public"), 3, tmp_path, None, 1)
    lost = table.assign(dice=table["dice"].where(table["participant_id"] != "sv01"))  # its mask is not on disk
    assert not real.publish(run, lost) and not (tmp_path / real.PUBLISHED).exists()
    monkeypatch.setattr(real.real_kept, "repository_root", lambda: tmp_path)
    assert real.publish(run, table) and (tmp_path / real.PUBLISHED).exists()
    assert [path.name for path in (tmp_path / real.PUBLISHED).parent.iterdir()] == [Path(real.PUBLISHED).name]  # nothing that it has not


def test_disease_numbers_name_the_articles_comparisons(run, scores, cohort):
    tests = disease.disease_tests(scores)
    spread = pd.DataFrame({"dice": [0.9, 0.8, 0.2], "heterogeneous": [True, True, False]})
    numbers = disease.numbers(run, scores, disease.verdict(scores, tests), spread)
    assert numbers["susac_cases"] == 2 and numbers["susac_training"] == 0
    assert numbers["p_svid_bianca"].n == 5 and numbers["p_ms_lga"].n == 15
    assert (numbers["heterogeneous_cases"], numbers["heterogeneous_dice_median"].value) == (2, pytest.approx(0.85))


def test_volume_numbers_follow_the_standard_formula(run, scores):
    numbers = volume.numbers(run, scores, bin_tests(scores, "volume_bin"))
    rows = scores[scores["method"] == "lga"]
    error = np.abs(rows["predicted_ml"] / rows["reference_ml"] - 1)
    assert numbers["rmdspe_lga"].value == pytest.approx(100 * np.median(error), rel=0.02)
    assert numbers["rho_unet"].low < numbers["rho_unet"].value <= 1
    ratio = np.exp(np.log(rows["predicted_ml"] / rows["reference_ml"]).mean())
    assert volume.volume_table(scores).set_index("method").loc["lga", "ratio"] == pytest.approx(ratio)


def test_technical_numbers_are_those_of_the_tests(run, scores, cohort):
    cases = network_cases(scores)
    models, factors = technical.models(run, cases), factor_tests(cases)
    numbers = technical.numbers(cases, models, factors, outside_adjusted(cases))
    assert (numbers["models"], numbers["manufacturers"]) == (16, 4)
    assert numbers["model_p"].value == pytest.approx(factors.set_index("factor").loc["scanner model", "p_value"])
    assert numbers["outside_adjusted_difference"].low < numbers["outside_adjusted_difference"].high
    assert 0.3 < numbers["training_r2_detectable"] < 0.5


def test_table_1_of_the_full_roster_equals_the_articles_in_the_ledger(run, cohort):
    book = ledger.make_ledger(read_chapters(), run.work_dir, audit.cohort_numbers(run), "12").set_index("id")
    rows = book[(book["section"] == "Table 1") & (book["notebook"] == "12")]
    assert len(rows) == 92
    away = rows[(rows["ours"] - rows["paper"].astype(float)).abs() > 0.051]
    assert away.index.tolist() == ["table1.magnetom_espree.validation_percent", "table1.tim_trio.validation_percent"]
    assert book.loc["subjects.female", "ours"] == 218 and book.loc["imaging.models", "ours"] == 16


def test_numbers_carry_their_intervals_to_the_ledger(tmp_path):
    run = Run("99", load("smoke"), 3, tmp_path, None, 1)
    shown = run.finish({"dice": Measured(0.5, 0.4, 0.6, 9), "nothing": Measured(math.nan), "cases": 3, "rate": 1e-5})
    assert shown["95% interval"].tolist() == ["0.4 to 0.6 (n = 9)", "", "", ""]
    numbers = json.loads((tmp_path / "runs/99_numbers.json").read_text())
    assert numbers == {"dice": 0.5, "nothing": None, "cases": 3, "rate": 1e-5}
    intervals = json.loads((tmp_path / "runs/99_intervals.json").read_text())
    assert intervals["dice"] == {"low": 0.4, "high": 0.6, "n": 9}
    assert record.as_measured(numbers["dice"], intervals["dice"]) == Measured(0.5, 0.4, 0.6, 9)
    assert math.isnan(record.as_measured(None).value)


def test_a_chapters_rows_show_each_number_once_as_printed_most_exactly(tmp_path):
    run = Run("05", load("smoke"), 3, tmp_path, None, 1)
    text = ledger.beside(run, {"dice_median_unet": Measured(0.61, 0.5, 0.7, 19)})
    assert text.count("<td>0.61</td>") == 1 and "<td>0.789</td>" in text and "<td>0.79</td>" not in text


def test_seconds_come_from_the_side_cars_by_step(tmp_path, monkeypatch):
    run = Run("09", load("smoke"), 3, tmp_path, None, 1)
    folder = tmp_path / "derivatives/flairnb/sub-01/anat"
    write_json(folder / "sub-01_space-work_desc-preproc_FLAIR.json", {"Seconds": {"brain": 2.0, "resample": 1.0}})
    for method, row in {
        "unet": {"seconds_method": 5.0, "seconds_native": 0.5},
        "lga": {"seconds_method": 7.0},
        "shipped": {"seconds_method": 4.0},
        "lpa": {},
    }.items():
        (folder / f"sub-01_label-lesion_desc-{method}_mask.nii.gz").touch()
        write_json(folder / f"sub-01_label-lesion_desc-{method}_mask.json", {"Row": {**row, "lesion_count": 3}})
    monkeypatch.setattr(steps, "prepared_ids", lambda run, split: ["sub-01"])
    monkeypatch.setattr(timing, "_loading_seconds", lambda weights: 0.25)
    seconds = timing.seconds_by_stage(run)
    table = timing.summary(seconds).set_index("method")
    assert table["mean_s"].to_dict() == {"unet": 8.75, "lga": 10.0, "shipped": 7.25}
    stages = timing.stages(seconds)
    assert stages[stages["method"] == "unet"]["stage"].tolist() == ["brain", "resample", "model loading", "network", "way back"]
    numbers = timing.numbers(run, seconds, timing.summary(seconds))
    assert numbers["minutes_mean_lga"].value == pytest.approx(10 / 60)


def test_the_articles_times_are_in_seconds():
    assert timing.printed_seconds() == {"unet": ("CNN", 28.2, 1.48), "lga": ("LST", 108.0, 34.0), "bianca": ("BIANCA", 4.6, 1.35)}


def test_changes_are_against_the_run_as_it_was():
    rows = [("way back", "as run", "a", 0.8, 1.0), ("way back", "nearest", "a", 0.7, 2.0)]
    rows += [("way back", "as run", "b", 0.5, 1.0), ("way back", "nearest", "b", 0.45, 4.0)]
    table = ablation.summary(pd.DataFrame(rows, columns=ablation.COLUMNS)).set_index("choice")
    assert table.loc["nearest", "change"] == pytest.approx(-0.075) and table.loc["as run", "change"] == 0
    assert table.loc["nearest", "seconds"] == 3.0


def test_a_choice_of_training_changes_one_setting_and_the_plan(run):
    settings = dataclasses.replace(run.settings, audit=dataclasses.replace(run.settings.audit, training_epochs=4))
    changed, usual = ablation_training._changed(settings, {"network.dilation": "literal"})
    assert not usual and changed.network == dataclasses.replace(settings.network, dilation="literal")
    assert changed.train == dataclasses.replace(settings.train, epochs=4, max_minutes=0.0)
    _, usual = ablation_training._changed(settings, {"train.lesion_fraction": settings.train.lesion_fraction})
    assert usual


def test_without_epochs_the_committed_trainings_are_shown_and_none_is_made(run):
    pd.testing.assert_frame_equal(ablation_training.trained_ablations(run), ablation_training.published())
    assert not ablation_training.publish(run, ablation_training.published())


def test_a_healthy_brain_that_nobody_marked_stops_no_ablation(run, tmp_path, monkeypatch, oblique_affine):
    from flairnb.images import Image
    from flairnb.naming import cohort_derivative
    from flairnb.network import inference, weights
    from flairnb.prepare import cohort as prepared
    from flairnb.prepare import native

    made = dataclasses.replace(run, work_dir=tmp_path)
    mask = np.zeros((7, 8, 9), np.uint8)
    mask[2:4, 3:6, 4] = 1
    brain = np.ones(mask.shape, bool)
    brain[6] = False
    marked = mask.astype(np.float32)
    marked[6, 7, 8] = 1  # outside the brain, where the chapters' masks have nothing
    path = cohort_derivative(tmp_path, "sub-1", "mask", label="lesion", desc="manual")
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(mask, oblique_affine), path)
    case = SimpleNamespace(flair=Image(mask.astype(np.float32), oblique_affine), work=mask, work_brain=mask > 0, brain_native=brain)
    monkeypatch.setattr(steps, "prepared_ids", lambda *_: ["sub-healthy", "sub-1"])
    monkeypatch.setattr(prepared, "read_prepared", lambda *_: case)
    monkeypatch.setattr(weights, "load_network", lambda _: SimpleNamespace(model=None, trained_patch=32))
    monkeypatch.setattr(inference, "suited", lambda infer, *_: infer)
    monkeypatch.setattr(inference, "predict", lambda *_: marked)
    monkeypatch.setattr(native, "to_native", lambda probability, *_, **__: probability)
    assert ablation_training._scores(made, tmp_path, run.settings) == {"cases": 1, "dice": 1.0}


def test_a_border_moves_by_millimetres_not_by_voxels(oblique_affine):
    mask = np.zeros((21, 21, 9), dtype=bool)
    mask[5:16, 5:16, 3:6] = True
    outwards = ablation.moved_border(mask, 2.0, oblique_affine)
    assert outwards[3, 10, 4] and not outwards[2, 10, 4]  # 0.9 mm along i: two voxels
    assert not outwards[10, 10, 6]  # 5 mm along k: none
    inwards = ablation.moved_border(mask, -2.0, oblique_affine)
    assert inwards.sum() < mask.sum() and (inwards & ~mask).sum() == 0 and inwards[10, 10, 3]


def test_the_share_of_uneven_cases_is_of_those_with_a_disease(run, monkeypatch, rng):
    people = [(f"d{n}", "MSA") for n in range(20)] + [(f"h{n}", "HEALTHY") for n in range(20)]
    cohort = pd.DataFrame(people, columns=["participant_id", "diagnosis"])
    mask = np.zeros((14, 13, 6), dtype=bool)
    mask[2:10, 2:10, 1:5] = True
    image = SimpleNamespace(data=rng.uniform(50, 100, mask.shape), affine=np.diag([0.9, 1.1, 5.0, 1.0]))

    def case(_, row, __):
        return SimpleNamespace(image=image, masks={"manual": mask if row["diagnosis"] == "MSA" else np.zeros_like(mask)})

    monkeypatch.setattr(steps, "read_cohort", lambda _, split=None: cohort)
    monkeypatch.setattr(views, "native_case", case)
    spread = disease.lesion_spread(run, cohort.assign(method="unet", dice=0.5))
    assert len(spread) == 20 and spread["heterogeneous"].sum() == round(20 * 16 / 92) == 3


def test_where_no_method_was_compared_none_is_said_to_be_higher(run, scores, cohort):
    alone = scores[scores["method"].isin(["unet", "manual2"])]
    spread = pd.DataFrame({"dice": [0.9], "heterogeneous": [True]})
    numbers = disease.numbers(run, alone, disease.verdict(alone, disease.disease_tests(alone)), spread)
    book = ledger.make_ledger([], run.work_dir, numbers, "06").set_index("id")
    assert math.isnan(numbers["diseases_not_highest"]) and math.isnan(book.loc["disease.not_highest", "ours"])
    both = disease.numbers(run, scores, disease.verdict(scores, disease.disease_tests(scores)), spread)
    assert isinstance(both["diseases_not_highest"], int)


def test_steps_add_up_to_the_mean_though_some_cases_lack_one():
    rows = [("A", "unet", "read", 1.0), ("A", "unet", "register", 10.0), ("A", "unet", "network", 3.0)]
    rows += [("B", "unet", "read", 1.0), ("B", "unet", "network", 3.0), ("B", "lga", "its own steps", 7.0)]
    seconds = pd.DataFrame(rows, columns=["participant_id", "method", "stage", "seconds"])
    table, stages = timing.summary(seconds), timing.stages(seconds)
    shown = stages.set_index(["method", "stage"])
    assert shown.index.tolist() == [("lga", "its own steps"), ("unet", "read"), ("unet", "register"), ("unet", "network")]
    assert shown.loc[("unet", "register"), ["n", "mean_s"]].tolist() == [1, 5.0]
    assert stages.groupby("method")["mean_s"].sum().to_dict() == table.set_index("method")["mean_s"].to_dict() == {"lga": 7.0, "unet": 9.0}
    bars = timing.chart(table, stages).axes[1].patches
    assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(9.0)
    assert timing.stages(seconds.head(0)).empty


def test_what_a_paired_test_could_find_depends_on_the_patients_of_both_methods(rng):
    lga = rng.uniform(0.3, 0.6, 30)
    wide = {"lga": lga, "unet": np.where(np.arange(30) < 8, lga + rng.normal(0.1, 0.05, 30), np.nan)}
    rows = [(f"s{n}", method, "ok", value) for method, values in wide.items() for n, value in enumerate(values)]
    table = accuracy.together(pd.DataFrame(rows, columns=["participant_id", "method", "status", "dice"]))
    assert table.loc[0, "n"] == 30 and table.loc[0, "detectable_sd"] == pytest.approx(detectable_dz(8))
    only = accuracy.together(pd.DataFrame(rows, columns=["participant_id", "method", "status", "dice"]).query("method == 'lga'"))
    assert math.isnan(only.loc[0, "detectable_sd"])
