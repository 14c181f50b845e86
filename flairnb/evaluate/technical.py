"""Does the scanner matter? The tests of the article's "Effect of Technical Factors" (Figure 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flairnb.cohort.diagnoses import HEALTHY
from flairnb.cohort.table1 import maker_name, model_name
from flairnb.evaluate.models import linear_model
from flairnb.evaluate.power import detectable_d, detectable_f, detectable_r
from flairnb.evaluate.statistics import NAN, GroupTest, Line, anova, fit_line, summarise, two_sample_t
from flairnb.evaluate.summary import usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: Two groups of each factor: column, name of the factor, names of its groups.
FACTORS = (
    ("field", "field strength", ("1.5 T", "3 T")),
    ("dimension", "acquisition", ("2D", "3D")),
    ("hospital", "hospital", ("home", "outside")),
)


@dataclass(frozen=True)
class Against:
    """A least-squares line with what its test could have detected."""

    line: Line
    detectable_r_squared: float


def network_cases(scores: pd.DataFrame, method: str = "unet") -> pd.DataFrame:
    """Return the scored cases of one method, with Table 1's names of models and makers and the factors' groups as text.

    Cases without any true lesion (healthy brains) are left out: their Dice is 0 or undefined on any scanner.

    Returns
    -------
    DataFrame
        One row a case; `model`, `manufacturer`, `field`, `dimension` and `hospital` are "" where unknown. A maker that is
        not given is taken from the other cases of the model, if these name one.
    """
    rows = usable(scores)
    rows = rows[rows["method"] == method].copy()
    for column, healthy in (("reference_ml", 0.0), ("diagnosis", HEALTHY.key)):
        if column in rows:
            rows = rows[rows[column] != healthy]
    for column in ("manufacturer", "model", "dimension", "hospital"):
        rows[column] = rows[column].fillna("").astype(str) if column in rows else ""
    rows["manufacturer"] = [maker_name(maker, model) for maker, model in zip(rows["manufacturer"], rows["model"], strict=True)]
    rows["model"] = rows["model"].map(model_name)
    makers = _makers(rows)
    rows["manufacturer"] = [maker or makers.get(model, "") for maker, model in zip(rows["manufacturer"], rows["model"], strict=True)]
    tesla = pd.to_numeric(rows["field_strength_t"], errors="coerce") if "field_strength_t" in rows else pd.Series(np.nan, rows.index)
    # Headers say 1.494 or 2.894 T where the maker says 1.5 or 3 T.
    rows["field"] = np.select([np.isclose(tesla, 1.5, atol=0.2), np.isclose(tesla, 3.0, atol=0.2)], ["1.5 T", "3 T"], "")
    return rows.reset_index(drop=True)


def _makers(rows: pd.DataFrame) -> dict[str, str]:
    """Return the maker of each model whose cases name just one."""
    known = rows[(rows["manufacturer"] != "") & (rows["model"] != "")].drop_duplicates(["model", "manufacturer"])
    return known.drop_duplicates("model", keep=False).set_index("model")["manufacturer"].to_dict()


def by_model(cases: pd.DataFrame, training_models: pd.Series) -> pd.DataFrame:
    """Summarise Dice by scanner model, grouped by manufacturer.

    Parameters
    ----------
    cases : DataFrame
        From `network_cases`.
    training_models : Series of str
        The scanner model of every training case.

    Returns
    -------
    DataFrame
        `manufacturer`, `model`, `n`, `median`, `mean`, `sem`, `training` (cases), sorted by the first two.
    """
    counts = training_models.fillna("").astype(str).map(model_name).value_counts()
    rows = []
    for (manufacturer, model), group in cases[cases["model"] != ""].groupby(["manufacturer", "model"], sort=True):
        s = summarise(group["dice"])
        rows.append((manufacturer, model, s.n, s.median, s.mean, s.sem, int(counts.get(model, 0))))
    return pd.DataFrame(rows, columns=["manufacturer", "model", "n", "median", "mean", "sem", "training"])


def against_training(models: pd.DataFrame) -> Against:
    """Fit median Dice of a scanner model on its number of training cases (article, Figure 5B)."""
    line = fit_line(models["training"], models["median"])
    return Against(line, detectable_r(line.n) ** 2)


def groups_of(cases: pd.DataFrame, column: str) -> dict[str, NDArray[np.float64]]:
    """Return the Dice scores of each group of a column, unknown ones left out."""
    known = cases[cases[column] != ""]
    return {str(name): group["dice"].to_numpy(dtype=float) for name, group in known.groupby(column, sort=True)}


def factor_tests(cases: pd.DataFrame) -> pd.DataFrame:
    """Test each technical factor as the article does.

    Parameters
    ----------
    cases : DataFrame
        From `network_cases`.

    Returns
    -------
    DataFrame
        One row a factor: `factor`, `test`, `groups`, `n`, `statistic`, `df`, `p_value`, `welch_p` (two groups, unequal
        variances), `difference` (second group's mean minus the first's), `effect_size` (Cohen's d; eta squared for
        ANOVA) and `detectable` (the same, that 80% power would have found; Cohen's f for ANOVA). `statistic`,
        `difference` and `effect_size` of two groups have one sign. Where no test could be made, `df` is empty and all but
        the counts and the difference is NaN.
    """
    rows = [
        _anova_row("scanner model", groups_of(cases, "model")),
        _anova_row("manufacturer", groups_of(cases, "manufacturer")),
    ]
    for column, factor, names in FACTORS:
        found = groups_of(cases, column)
        rows.append(_two_group_row(factor, *[found.get(name, np.empty(0)) for name in names]))
    columns = ["factor", "test", "groups", "n", "statistic", "df", "p_value", "welch_p", "difference", "effect_size", "detectable"]
    return pd.DataFrame(rows, columns=columns)


def _anova_row(factor: str, groups: Mapping[str, NDArray[np.float64]]) -> tuple:
    test = anova(groups)
    sizes = [int(np.count_nonzero(~np.isnan(values))) for values in groups.values()]
    eta = _eta_squared(test)
    tested = not np.isnan(test.p_value)
    df, found = (f"{test.df_between:g}, {test.df_within:g}", detectable_f(sizes)) if tested else ("", NAN)
    return factor, test.test, test.groups, test.n, test.statistic, df, test.p_value, NAN, NAN, eta, found


def _eta_squared(test: GroupTest) -> float:
    if not np.isfinite(test.statistic) or test.df_within <= 0:
        return NAN
    explained = test.statistic * test.df_between
    return explained / (explained + test.df_within)


def _two_group_row(factor: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple:
    test, welch = two_sample_t(second, first), two_sample_t(second, first, equal_variance=False)
    a, b = first[~np.isnan(first)], second[~np.isnan(second)]
    difference = float(b.mean() - a.mean()) if a.size and b.size else NAN
    df, d, found = "", NAN, NAN
    if not np.isnan(test.p_value):
        sd = float(np.sqrt(((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / (a.size + b.size - 2)))
        df, d, found = f"{test.df_within:g}", difference / sd, detectable_d(a.size, b.size)
    return factor, test.test, test.groups, test.n, test.statistic, df, test.p_value, welch.p_value, difference, d, found


def outside_adjusted(cases: pd.DataFrame) -> pd.DataFrame:
    """Estimate the effect of outside hospitals on Dice, before and after accounting for mean lesion size.

    Parameters
    ----------
    cases : DataFrame
        From `network_cases`, with `mean_lesion_ml`.

    Returns
    -------
    DataFrame
        Rows of `flairnb.evaluate.models.linear_model` for the term "outside": alone, with the mean lesion size in ml
        (the article's words), and with its logarithm (which fits Dice better); column `accounting for`. All three are of
        the same cases, those with a lesion size: otherwise the effect could change with the cases alone.
    """
    known = cases[(cases["hospital"] != "") & (cases["mean_lesion_ml"] > 0)]
    outside = (known["hospital"] == "outside").to_numpy(dtype=float)
    size = known["mean_lesion_ml"].to_numpy(dtype=float)
    models = {"nothing": {}, "mean lesion size": {"size": size}, "log mean lesion size": {"size": np.log10(size)}}
    rows = [
        linear_model(known["dice"], {"outside": outside, **terms}).iloc[[0]].assign(**{"accounting for": name})
        for name, terms in models.items()
    ]
    table = pd.concat(rows, ignore_index=True)
    return table[["accounting for", *[column for column in table.columns if column not in ("term", "accounting for")]]]


def all_factors(cases: pd.DataFrame) -> pd.DataFrame:
    """Fit all two-group factors and the (log) mean lesion size at once, for confounded cohorts."""
    size = cases["mean_lesion_ml"].to_numpy(dtype=float)
    terms = {"log mean lesion size": np.log10(np.where(size > 0, size, np.nan))}
    for column, _, (first, second) in FACTORS:
        value = np.where(cases[column] == second, 1.0, np.where(cases[column] == first, 0.0, np.nan))
        terms[f"{second} against {first}"] = value
    return linear_model(cases["dice"], terms)
