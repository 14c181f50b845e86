"""Turn the table of scores into the numbers of the article's tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flairnb.evaluate.cohort import METHOD_ORDER
from flairnb.evaluate.power import detectable_dz
from flairnb.evaluate.statistics import (
    benjamini_hochberg,
    bootstrap_interval,
    fit_line,
    paired_t,
    percentage_errors,
    spearman,
    summarise,
    wilcoxon,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Scores summarised over cases in Table 2, in its order, then ours.
TABLE2_SCORES = (
    "dice",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "false_discovery_rate",
    "lesion_recall",
    "lesion_precision",
    "lesion_f1",
    "hd95_mm",
)


def usable(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were scored (`status` "ok")."""
    return scores[scores["status"] == "ok"]


def methods_in(scores: pd.DataFrame) -> list[str]:
    """Return the methods of a table of scores, second reader and U-Net first."""
    found = scores["method"].unique().tolist()
    return [m for m in METHOD_ORDER if m in found] + sorted(set(found) - set(METHOD_ORDER))


def summarise_scores(
    scores: pd.DataFrame,
    by: Sequence[str] = ("method",),
    values: Sequence[str] = TABLE2_SCORES,
    seed: int = 0,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Summarise scores over cases.

    Parameters
    ----------
    scores : DataFrame
        From `flairnb.evaluate.cohort.score_cohort`; rows that are not "ok" are left out.
    by : sequence of str
        Grouping columns, for example ``("diagnosis", "method")``.
    values : sequence of str
        Score columns.
    seed, resamples : int
        Of the bootstrap over cases.

    Returns
    -------
    DataFrame
        Long form, one row a group and score: `by` columns, `score`, `n`, `n_undefined`, `median`, `mean`, `sd`,
        `sem`, `ci_low`, `ci_high` (95% bootstrap interval of the median).
    """
    rows = []
    for key, group in usable(scores).groupby(list(by), sort=True):
        for value in values:
            summary = summarise(group[value])
            interval = bootstrap_interval(group[value], seed, resamples=resamples)
            rows.append(
                {**dict(zip(by, key, strict=True)), "score": value, **vars(summary)} | {"ci_low": interval.low, "ci_high": interval.high}
            )
    columns = [*by, "score", "n", "n_undefined", "median", "mean", "sd", "sem", "ci_low", "ci_high"]
    return _in_method_order(pd.DataFrame(rows, columns=columns))


def summarise_volumes(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare predicted with true lesion volume for each method.

    Returns
    -------
    DataFrame
        One row a method: `n`, `spearman_rho`, `spearman_p`, `slope`, `intercept_ml`, `rmdspe_percent`,
        `rmspe_percent`, `rmdspe_article_reading`, `rmspe_article_reading`, `n_without_lesion` (no percentage error).
    """
    rows = []
    for method, group in usable(scores).groupby("method"):
        rank = spearman(group["reference_ml"], group["predicted_ml"])
        line = fit_line(group["reference_ml"], group["predicted_ml"])
        error = percentage_errors(group["reference_ml"], group["predicted_ml"])
        rows.append(
            {
                "method": method,
                "n": rank.n,
                "spearman_rho": rank.rho,
                "spearman_p": rank.p_value,
                "slope": line.slope,
                "intercept_ml": line.intercept,
                "rmdspe_percent": error.rmdspe_percent,
                "rmspe_percent": error.rmspe_percent,
                "rmdspe_article_reading": error.rmdspe_article_reading,
                "rmspe_article_reading": error.rmspe_article_reading,
                "n_without_lesion": error.n_dropped,
            }
        )
    return _in_method_order(pd.DataFrame(rows))


def compare_methods(
    scores: pd.DataFrame,
    against: str = "unet",
    value: str = "dice",
    by: str | None = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Compare one method with every other in the same cases.

    Parameters
    ----------
    scores : DataFrame
        From `flairnb.evaluate.cohort.score_cohort`.
    against : str
        The method of interest; differences are its score minus the other's.
    value : str
        Score column.
    by : str, optional
        Compare within each group of this column ("diagnosis"); P values are then adjusted over the groups, separately
        for each other method.
    alpha : float
        Level of `significant`.

    Returns
    -------
    DataFrame
        One row a group and other method: `by`, `method`, `n`, `mean_difference`, `median_difference`, `t`,
        `p_value`, `p_adjusted` (equal to `p_value` without `by`), `significant`, `effect_size_dz`, `wilcoxon_p`, and
        `detectable_dz`: the effect size that this many pairs show with 80% power, at `alpha` uncorrected.
    """
    rows = []
    kept = usable(scores)
    others = [method for method in methods_in(kept) if method != against]
    groups = kept.groupby(by, sort=True) if by else [(None, kept)]
    for name, group in groups:
        # pivot, not pivot_table: a case scored twice by one method must be an error, never an average.
        wide = group.pivot(index="participant_id", columns="method", values=value)  # noqa: PD010
        for other in others:
            pair = wide.reindex(columns=[against, other])
            test, rank = paired_t(pair[against], pair[other]), wilcoxon(pair[against], pair[other])
            rows.append(
                ({by: name} if by else {})
                | {
                    "method": other,
                    "n": test.n,
                    "mean_difference": test.mean_difference,
                    "median_difference": test.median_difference,
                    "t": test.statistic,
                    "p_value": test.p_value,
                    "effect_size_dz": test.effect_size_dz,
                    "wilcoxon_p": rank.p_value,
                    "detectable_dz": detectable_dz(test.n, alpha),
                }
            )
    columns = [*([by] if by else []), "method", "n", "mean_difference", "median_difference", "t", "p_value"]
    table = pd.DataFrame(rows, columns=[*columns, "effect_size_dz", "wilcoxon_p", "detectable_dz"])
    table["p_adjusted"] = table["p_value"]
    if by and len(table):
        table["p_adjusted"] = table.groupby("method")["p_value"].transform(lambda p: np.asarray(benjamini_hochberg(p, alpha).p_values))
    table["significant"] = table["p_adjusted"] < alpha
    return table


def significance_marks(comparison: pd.DataFrame, by: str | None = None, reader: str = "manual2") -> dict[str, str]:
    """Return the marks of the article's Figure 1 from `compare_methods`.

    Parameters
    ----------
    comparison : DataFrame
        From `compare_methods`, with the same `by`.
    by : str, optional
        Grouping column.
    reader : str
        The second reader's method.

    Returns
    -------
    dict
        Without `by`, method to mark: "*" where the method of interest is significantly better than it, "#" where the
        second reader differs from it. With `by`, group to mark: "*" better than one other method, "**" than two or
        more, then "#" for the reader.
    """
    found = comparison[comparison["significant"]]
    better = found[(found["method"] != reader) & (found["mean_difference"] > 0)]
    human = found[found["method"] == reader]
    if by is None:
        return dict.fromkeys(better["method"], "*") | dict.fromkeys(human["method"], "#")
    marks = {group: "*" * min(count, 2) for group, count in better.groupby(by).size().items()}
    for group in human[by]:
        marks[group] = marks.get(group, "") + "#"
    return marks


def _in_method_order(table: pd.DataFrame) -> pd.DataFrame:
    if "method" not in table.columns or table.empty:
        return table
    rank = {method: position for position, method in enumerate(methods_in(table))}
    return table.sort_values("method", key=lambda m: m.map(rank), kind="stable").reset_index(drop=True)
