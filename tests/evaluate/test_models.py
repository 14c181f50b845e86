from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from flairnb.evaluate.models import linear_model, mixed_model
from flairnb.evaluate.statistics import two_sample_t

NAN = float("nan")
# Student's sleep data, as in R's data set `sleep`.
SLEEP = {
    "a": [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    "b": [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
}
# R's data set `mtcars` (Motor Trend 1974): miles per gallon, weight, automatic (0) or manual (1).
MPG = [21, 21, 22.8, 21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4]
MPG += [14.7, 32.4, 30.4, 33.9, 21.5, 15.5, 15.2, 13.3, 19.2, 27.3, 26, 30.4, 15.8, 19.7, 15, 21.4]
WT = [2.62, 2.875, 2.32, 3.215, 3.44, 3.46, 3.57, 3.19, 3.15, 3.44, 3.44, 4.07, 3.73, 3.78, 5.25, 5.424]
WT += [5.345, 2.2, 1.615, 1.835, 2.465, 3.52, 3.435, 3.84, 3.845, 1.935, 2.14, 1.513, 3.17, 2.77, 3.57, 2.78]
AM = [1, 1, 1] + [0] * 14 + [1, 1, 1] + [0] * 5 + [1] * 7


def scores_of(methods):
    rows = [(f"sub-{n}", m, "ok", v) for m, values in methods.items() for n, v in enumerate(values)]
    return pd.DataFrame(rows, columns=["participant_id", "method", "status", "dice"])


def test_the_mixed_model_reproduces_lme4_on_the_sleep_data():
    # R: lmer(extra ~ group + (1 | ID), sleep) gives group2 1.5800, standard error 0.3890, t 4.062.
    table = mixed_model(scores_of({"unet": SLEEP["b"], "threshold": SLEEP["a"]})).iloc[0]
    assert table["difference"] == pytest.approx(1.58, abs=1e-4)
    assert table["se"] == pytest.approx(0.3890, abs=2e-3)
    assert table["n"] == 10
    assert table["ci_low"] < 1.58 < table["ci_high"]


def test_a_case_that_one_method_lacks_still_counts_for_the_others(fabricated):
    scores = fabricated.scores
    holes = scores.copy()
    holes.loc[(holes["method"] == "bianca") & (holes.index % 2 == 0), "dice"] = np.nan
    full, part = mixed_model(scores).set_index("method"), mixed_model(holes).set_index("method")
    assert full.loc["bianca", "n"] == 92 and 0 < part.loc["bianca", "n"] < 92
    assert part.loc["bianca", "se"] > full.loc["bianca", "se"]
    assert full.loc["manual2", "difference"] < 0 < full.loc["bianca", "difference"]


def test_three_cases_give_a_reason_instead_of_a_model():
    table = mixed_model(scores_of({"unet": [0.5, 0.6, 0.7], "threshold": [0.1, 0.2, 0.4]}))
    assert math.isnan(table["difference"].iloc[0]) and "4 cases" in table["note"].iloc[0]
    assert mixed_model(scores_of({"unet": [0.5]})).empty


def test_a_difference_goes_away_when_its_cause_is_accounted_for():
    # R: t.test(mpg ~ am, mtcars, var.equal = TRUE) P = 0.000285; lm(mpg ~ am + wt): am -0.02362 (SE 1.54565, P 0.988), wt -5.35281.
    alone = linear_model(MPG, {"am": AM}).iloc[0]
    assert alone["coefficient"] == pytest.approx(7.245, abs=5e-4)
    assert alone["p_value"] == pytest.approx(0.000285, abs=5e-7)
    values = np.array(MPG)
    manual = np.array(AM) == 1
    assert alone["p_value"] == pytest.approx(two_sample_t(values[manual], values[~manual]).p_value)
    both = linear_model(MPG, {"am": AM, "wt": WT}).set_index("term")
    assert both.loc["am", "coefficient"] == pytest.approx(-0.02362, abs=5e-6)
    assert both.loc["am", "se"] == pytest.approx(1.54565, abs=5e-6)
    assert both.loc["am", "p_value"] == pytest.approx(0.988, abs=5e-4)
    assert both.loc["wt", "coefficient"] == pytest.approx(-5.35281, abs=5e-6)


@pytest.mark.parametrize("terms", [{"am": [1.0, 1.0, 1.0, 1.0]}, {"am": [0.0, 1.0, np.nan, np.nan]}])
def test_a_term_without_contrast_gives_nan(terms):
    assert math.isnan(linear_model([0.1, 0.2, 0.3, 0.5], terms)["p_value"].iloc[0])


@pytest.mark.parametrize("lga", [[0.1, 0.2, 0.3, 0.5, 0.7], [0.05, 0.15, 0.25, 0.45, 0.65], [0.05, 0.15, 0.25, 0.45, np.nan]])
def test_methods_that_differ_by_the_same_everywhere_leave_nothing_to_test(lga):
    table = mixed_model(scores_of({"unet": [0.1, 0.2, 0.3, 0.5, 0.7], "lga": lga})).iloc[0]
    assert table["note"] == "every difference is the same in all cases" and table["n"] == np.isfinite(lga).sum()
    assert table[["difference", "se", "ci_low", "ci_high", "z", "p_value"]].isna().all()


def test_a_copy_of_the_network_among_others_is_compared_all_the_same():
    own = [0.1, 0.2, 0.3, 0.5, 0.7]
    table = mixed_model(scores_of({"unet": own, "lga": own, "bianca": [0.1, 0.3, 0.1, 0.2, 0.4]})).set_index("method")
    assert table.loc["lga", "difference"] == pytest.approx(0, abs=1e-9) and table.loc["bianca", "difference"] == pytest.approx(0.14)
    nearly = mixed_model(scores_of({"unet": own, "lga": [value - 0.1 + 1e-9 * n**2 for n, value in enumerate(own)]})).iloc[0]
    assert math.isnan(nearly["p_value"]) and nearly["note"]


def test_a_difference_without_an_error_says_so_instead_of_a_warning():
    table = mixed_model(scores_of({"unet": [0.1, 0.2, 0.3, 0.5, 0.6], "lga": [0.3] + [np.nan] * 4})).iloc[0]
    assert table[["se", "z", "p_value"]].isna().all() and "no error of the difference" in table["note"]


def test_methods_that_hardly_share_a_case_give_a_reason_instead_of_an_error():
    found = {"unet": [0.10, 0.31, 0.09, NAN], "lga": [NAN, NAN, NAN, 0.19], "bianca": [NAN, NAN, 0.85, NAN]}
    table = mixed_model(scores_of(found))
    assert table["difference"].isna().all() and table["note"].str.startswith("no solution").all() and table["n"].tolist() == [1, 1]
