from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from flairnb.evaluate import strata, technical
from flairnb.evaluate.statistics import anova, two_sample_t


@pytest.fixture(scope="module")
def sized(fabricated):
    return strata.with_lesion_size(fabricated.scores, fabricated.lesions)


@pytest.fixture(scope="module")
def cases(sized):
    return technical.network_cases(sized)


def test_a_volume_on_an_edge_falls_into_the_lower_bin_and_none_is_lost():
    table = strata.add_bins(pd.DataFrame({"ml": [0.0, 3.0, 3.01, 100.0, 101.0, np.nan]}), "ml", strata.TOTAL_EDGES_ML)
    assert table["bin"].astype(object).fillna("").tolist() == ["≤ 3", "≤ 3", "3–10", "30–100", "> 100", ""]
    assert table["bin"].cat.ordered


def test_each_case_carries_the_mean_of_its_own_lesions(fabricated, sized):
    first = sized.iloc[0]
    own = fabricated.lesions[fabricated.lesions["participant_id"] == first["participant_id"]]["volume_ml"]
    assert first["mean_lesion_ml"] == pytest.approx(own.mean())
    assert first["lesions"] == len(own)
    assert len(sized) == len(fabricated.scores)


def test_false_positives_and_negatives_are_counted_against_the_true_volume():
    scores = pd.DataFrame(
        {
            "participant_id": ["a"],
            "method": ["unet"],
            "status": ["ok"],
            "reference_ml": [10.0],
            "predicted_ml": [12.0],
            "sensitivity": [0.9],
        }
    )
    lesions = pd.DataFrame({"participant_id": ["a", "a"], "method": ["manual", "manual"], "volume_ml": [8.0, 2.0]})
    row = strata.with_lesion_size(scores, lesions).iloc[0]
    assert row["false_positive_fraction"] == pytest.approx(0.3)  # 12 marked, 9 of them right
    assert row["false_negative_fraction"] == pytest.approx(0.1)
    assert row["mean_lesion_ml"] == 5.0 and row["lesion_bin"] == "2–10" and row["volume_bin"] == "3–10"


def test_bins_use_the_articles_levels_without_correction(sized):
    tests = strata.bin_tests(sized, "volume_bin")
    reader = tests["method"] == "manual2"
    assert (tests.loc[~reader, "significant"] == (tests.loc[~reader, "p_value"] < 0.01)).all()
    assert (tests.loc[reader, "significant"] == (tests.loc[reader, "p_value"] < 0.05)).all()
    group = sized[sized["volume_bin"] == "3–10"]
    expected = anova({m: g["dice"] for m, g in group.groupby("method") if m != "manual2"})
    assert tests.loc[tests["volume_bin"] == "3–10", "anova_p"].iloc[0] == pytest.approx(expected.p_value)


def test_lesions_found_are_counted_by_their_size():
    lesions = pd.DataFrame(
        {
            "participant_id": ["a", "a", "b"],
            "method": "manual",
            "volume_ml": [0.05, 0.06, 20.0],
            "found_by_unet": [True, False, True],
            "found_by_lga": [False, False, np.nan],
        }
    )
    table = strata.detection_by_size(lesions).set_index(["bin", "method"])
    assert table.loc[("≤ 0.1", "unet")].tolist() == [2, 0.5]
    assert table.loc[("> 10", "unet")].tolist() == [1, 1.0]
    assert ("> 10", "lga") not in table.index


def test_every_scanner_model_has_its_cases_and_training_cases(fabricated, cases):
    training = fabricated.manifest.loc[fabricated.manifest["split"] == "train", "model"]
    models = technical.by_model(cases, training).set_index("model")
    assert len(models) == 16 and models["n"].sum() == 92 and models["training"].sum() == 295
    assert models.loc["Espree", ["n", "training"]].tolist() == [19, 83]
    assert models["manufacturer"].is_monotonic_increasing


def test_a_maker_under_several_spellings_is_one_bar_with_its_own_dots(sized):
    from flairnb.present.charts_technical import dice_by_model

    some = sized[(sized["method"] == "unet")].head(7)
    spelled = some.assign(
        manufacturer=["SIEMENS", "Siemens", "Siemens  Healthineers", "", "hitachi", "HITACHI ", ""],
        model=["Skyra", "MAGNETOM Skyra", "skyra", "Skyra", "Echelon", "Echelon", "Echelon"],
    )
    cases = technical.network_cases(spelled)
    models = technical.by_model(cases, pd.Series(["Skyra", "Echelon"]))
    assert models[["manufacturer", "model", "n"]].to_numpy().tolist() == [
        ["", "Echelon", 1],
        ["Hitachi", "Echelon", 2],
        ["Siemens", "Skyra", 4],
    ]
    figure = dice_by_model(models, cases)
    dots = [line.get_ydata() for line in figure.axes[0].lines if line.get_marker() == "o"]
    by_bar = [sorted(spelled["dice"].iloc[rows]) for rows in ([6], [4, 5], [0, 1, 2, 3])]
    assert [sorted(values) for values in dots] == by_bar
    assert "maker not given" in [text.get_text() for text in figure.axes[0].texts]
    assert {name: len(group) for name, group in technical.groups_of(cases, "manufacturer").items()} == {"Hitachi": 2, "Siemens": 4}


def test_factor_tests_are_the_articles(cases):
    table = technical.factor_tests(cases).set_index("factor")
    assert table.loc["scanner model", "df"] == "15, 76" and table.loc["manufacturer", "df"] == "3, 88"
    groups = technical.groups_of(cases, "field")
    assert table.loc["field strength", "p_value"] == pytest.approx(two_sample_t(groups["1.5 T"], groups["3 T"]).p_value)
    assert {name: len(values) for name, values in groups.items()} == {"1.5 T": 57, "3 T": 35}
    assert table.loc["acquisition", "df"] == "90"
    assert (table["detectable"] > 0.2).all()


def test_eta_squared_of_the_plant_growth_example():
    # R, PlantGrowth: F(2, 27) = 4.846, between 3.76634, within 10.49209 sums of squares.
    groups = {
        "control": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
        "one": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
        "two": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
    }
    cases = pd.DataFrame([(name, value) for name, values in groups.items() for value in values], columns=["model", "dice"])
    row = technical._anova_row("plants", technical.groups_of(cases, "model"))
    assert row[9] == pytest.approx(3.76634 / (3.76634 + 10.49209), abs=1e-5)


def test_cohens_d_agrees_with_pingouin(cases):
    pingouin = pytest.importorskip("pingouin")
    groups = technical.groups_of(cases, "dimension")
    row = technical.factor_tests(cases).set_index("factor").loc["acquisition"]
    assert row["effect_size"] == pytest.approx(pingouin.compute_effsize(groups["3D"], groups["2D"], eftype="cohen"))


def test_the_outside_effect_shrinks_when_lesion_size_makes_it(rng):
    size = rng.lognormal(0, 1, 200)
    outside = size + rng.normal(0, 0.5, 200) > 1.5
    dice = 0.5 + 0.1 * np.log10(size) + rng.normal(0, 0.02, 200)
    cases = pd.DataFrame({"hospital": np.where(outside, "outside", "home"), "dice": dice, "mean_lesion_ml": size})
    table = technical.outside_adjusted(cases).set_index("accounting for")
    assert table.loc["nothing", "p_value"] < 1e-6
    assert table.loc["log mean lesion size", "p_value"] > 0.05
    assert abs(table.loc["log mean lesion size", "coefficient"]) < 0.02


def test_a_tiny_cohort_gives_nan_and_no_error(fabricated):
    few = fabricated.scores.groupby("diagnosis").head(7).head(21)
    few = few[few["diagnosis"].isin(few["diagnosis"].unique()[:3])].drop_duplicates(["diagnosis", "method"])
    sized = strata.with_lesion_size(few, fabricated.lesions)
    cases = technical.network_cases(sized)
    assert len(cases) == 3
    assert technical.factor_tests(cases)["factor"].tolist()[0] == "scanner model"
    assert math.isnan(technical.outside_adjusted(cases)["p_value"].iloc[-1])
    assert len(strata.bin_tests(sized, "lesion_bin")) > 0
    assert strata.disease_medians(few)["n"].tolist() == [1, 1, 1]
    none = technical.network_cases(sized[sized["method"] == "nobody"])
    assert technical.factor_tests(none)["n"].sum() == 0 and technical.by_model(none, pd.Series(dtype=str)).empty
