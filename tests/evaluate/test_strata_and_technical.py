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
    assert table.loc[("≤ 0.1", "unet"), ["n", "found"]].tolist() == [2, 0.5]
    assert table.loc[("> 10", "unet"), ["n", "found"]].tolist() == [1, 1.0]
    assert table["sem"].isna().all(), "one patient has no scatter between patients"
    assert ("> 10", "lga") not in table.index


def test_the_scatter_of_a_share_is_between_patients_not_lesions(rng):
    """Lesions of one patient stand or fall together: as in the regression with errors clustered by patient, and as resampling says."""
    import statsmodels.api as sm

    sizes = rng.integers(1, 30, 14)
    patients = np.repeat([f"p{n:02d}" for n in range(14)], sizes)
    found = rng.random(patients.size) < np.repeat(rng.beta(0.8, 0.8, 14), sizes)
    lesions = pd.DataFrame({"participant_id": patients, "method": "manual", "volume_ml": 0.05, "found_by_unet": found})
    (row,) = strata.detection_by_size(lesions).to_dict("records")
    groups = pd.factorize(patients)[0]
    fit = sm.OLS(found.astype(float), np.ones(len(found))).fit()
    clustered = fit.get_robustcov_results("cluster", groups=groups, use_correction=False)
    assert row["found"] == pytest.approx(found.mean())
    assert row["sem"] == pytest.approx(clustered.bse[0] * np.sqrt(14 / 13))
    hits, n = np.bincount(groups, found), np.bincount(groups)
    drawn = rng.integers(0, 14, (4000, 14))
    assert row["sem"] == pytest.approx((hits[drawn].sum(axis=1) / n[drawn].sum(axis=1)).std(), rel=0.15)
    assert row["sem"] > 1.5 * np.sqrt(found.mean() * (1 - found.mean()) / found.size)


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
        model=["Skyra", "MAGNETOM Skyra", "skyra", "Skyra", "Echelon", "Echelon", "Oasis"],
    )
    cases = technical.network_cases(spelled)
    models = technical.by_model(cases, pd.Series(["Skyra", "Echelon"]))
    assert models[["manufacturer", "model", "n"]].to_numpy().tolist() == [
        ["", "Oasis", 1],
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


@pytest.fixture
def with_healthy(rng):
    """Twenty patients, half of them from outside, and six healthy brains at home in which the network marked something."""
    rows = [(f"d{n}", "MSA", 0.7 + rng.normal(0, 0.05), "home" if n < 10 else "outside", 1 + rng.uniform(), 1.0) for n in range(20)]
    rows += [(f"h{n}", "HEALTHY", 0.0, "home", np.nan, 0.0) for n in range(6)]
    columns = ["participant_id", "diagnosis", "dice", "hospital", "mean_lesion_ml", "reference_ml"]
    table = pd.DataFrame(rows, columns=columns).assign(method="unet", status="ok", predicted_ml=0.5, sensitivity=0.5)
    return table.assign(field_strength_t=np.where(table["hospital"] == "home", 3.0, 1.5), model=["A", "B"] * 13, manufacturer="Acme")


def test_healthy_brains_are_in_no_test_of_the_scanner(with_healthy):
    ill = with_healthy[with_healthy["diagnosis"] != "HEALTHY"]
    pd.testing.assert_frame_equal(technical.network_cases(with_healthy), technical.network_cases(ill))
    empty = with_healthy.assign(diagnosis="MSA")  # a patient in whom the reader marked nothing is in the same position
    assert technical.factor_tests(technical.network_cases(empty))["n"].max() == 20


def test_the_effect_of_an_outside_hospital_is_always_of_the_same_cases(with_healthy):
    cases = with_healthy.assign(mean_lesion_ml=with_healthy["mean_lesion_ml"].where(with_healthy["participant_id"] != "d0"))
    table = technical.outside_adjusted(cases).set_index("accounting for")
    assert table["n"].tolist() == [19, 19, 19]
    known = cases[cases["mean_lesion_ml"] > 0]
    outside = known["hospital"] == "outside"
    by_hand = known.loc[outside, "dice"].mean() - known.loc[~outside, "dice"].mean()
    assert table.loc["nothing", "coefficient"] == pytest.approx(by_hand)


def test_a_healthy_brain_is_not_in_the_bin_of_the_smallest_volumes(with_healthy):
    lesions = pd.DataFrame([(f"d{n}", "manual", 1.0) for n in range(20)], columns=["participant_id", "method", "volume_ml"])
    sized = strata.with_lesion_size(with_healthy.drop(columns="mean_lesion_ml"), lesions)
    assert sized["volume_bin"].value_counts()["≤ 3"] == 20 and sized["volume_bin"].cat.ordered
    assert sized.loc[sized["diagnosis"] == "HEALTHY", "volume_bin"].isna().all()


def test_difference_statistic_and_effect_size_have_one_sign():
    first, second = np.array([0.9, 0.8, 0.85, 0.8]), np.array([0.3, 0.4, 0.35, 0.2])
    row = technical._two_group_row("field strength", first, second)
    statistic, difference, effect = row[4], row[8], row[9]
    assert difference == pytest.approx(-0.525) and statistic < 0
    assert statistic == pytest.approx(effect * math.sqrt(4 * 4 / 8))  # t = d sqrt(n1 n2 / (n1 + n2))


def test_where_no_test_is_made_nothing_was_detectable():
    few = technical._two_group_row("hospital", np.array([0.5, 0.6, 0.7]), np.array([0.4]))
    same = technical._two_group_row("hospital", np.array([0.3, 0.1 * 3]), np.array([0.6, 0.6]))
    one = technical._anova_row("scanner model", {"A": np.array([0.5, 0.6, 0.7])})
    alike = technical._anova_row("scanner model", {"A": np.array([0.3, 0.1 * 3]), "B": np.array([0.6, 0.6])})
    for row in (few, same, one, alike):
        assert row[5] == "" and all(math.isnan(row[place]) for place in (4, 6, 7, 9, 10)), row
    assert few[8] == pytest.approx(-0.2)


def test_a_model_whose_maker_is_not_always_given_is_one_bar_as_it_is_one_group():
    dice = [0.9, 0.8, 0.4, 0.3, 0.5, 0.6]
    rows = pd.DataFrame({"participant_id": list("abcdef"), "method": "unet", "status": "ok", "dice": dice})
    rows = rows.assign(model=["Echelon"] * 4 + ["Oasis"] * 2, manufacturer=["Hitachi", "Hitachi", np.nan, "", "Hitachi", "Fuji"])
    cases = technical.network_cases(rows)
    models = technical.by_model(cases, pd.Series(["Echelon"] * 7))
    assert models[["manufacturer", "model", "n", "training"]].to_numpy().tolist()[1:] == [
        ["Hitachi", "Echelon", 4, 7],
        ["Hitachi", "Oasis", 1, 0],
    ]
    # Two makers of one name are not guessed between.
    unknown = technical.network_cases(rows.assign(manufacturer=["", "", "", "", "Hitachi", "Fuji"]))
    assert unknown["manufacturer"].tolist()[:4] == [""] * 4
