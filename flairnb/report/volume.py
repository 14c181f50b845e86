"""Chapter 07: lesion volume. How well it is measured, and what it does to every score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.evaluate.ledger import Measured
from flairnb.evaluate.strata import ALPHA_METHOD, ALPHA_READER, LESION_EDGES_ML, TOTAL_EDGES_ML
from flairnb.report import results, views
from flairnb.report.disease import ABBREVIATIONS, GROUPS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.start import Run

TOTAL_LABEL = "Total true lesion volume, ml (cases)"
SINGLE_LABEL = "Mean volume of a single lesion, ml (cases)"
#: Statistics of the volumes with an interval each: name in the numbers, name of the statistic.
STATISTICS = (("rho", "spearman"), ("slope", "slope"), ("rmdspe", "rmdspe_percent"), ("rmspe", "rmspe_percent"))


def volume_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare volumes by method: correlation, slope, both readings of the percentage errors, Bland-Altman of the ratio.

    Returns
    -------
    DataFrame
        The columns of `summarise_volumes`, and `ratio` (predicted over true, geometric mean), `ratio_low`,
        `ratio_high` (95% limits of agreement) of the `ratio_n` cases where both are above zero.
    """
    from flairnb.evaluate.summary import summarise_volumes

    table = summarise_volumes(scores)
    limits = ratio_limits(scores)
    for place, column in enumerate(("ratio_low", "ratio", "ratio_high")):
        table[column] = [limits[method][place] for method in table["method"]]
    found = scores[(scores["reference_ml"] > 0) & (scores["predicted_ml"] > 0)].groupby("method").size()
    table["ratio_n"] = [int(found.get(method, 0)) for method in table["method"]]
    return table


def ratio_limits(scores: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return lower limit, bias and upper limit of predicted over true volume by method (Bland-Altman on logarithms)."""
    from flairnb.evaluate.agreement import bland_altman

    found = {}
    for method, rows in scores.groupby("method", sort=False):
        both = rows[(rows["reference_ml"] > 0) & (rows["predicted_ml"] > 0)]
        agreement = bland_altman(np.log(both["reference_ml"]), np.log(both["predicted_ml"]))
        found[str(method)] = tuple(float(np.exp(v)) for v in (agreement.lower, agreement.bias, agreement.upper))
    return found


def scatter(scores: pd.DataFrame, volumes: pd.DataFrame) -> Figure:
    """Draw predicted against true volume (article, Figure 4A)."""
    from flairnb.present.charts import volume_scatter

    return volume_scatter(_columns(scores), volumes)


def agreement(scores: pd.DataFrame) -> Figure:
    """Draw the ratio of volumes against their mean with the limits of agreement, every method."""
    from flairnb.evaluate.summary import methods_in
    from flairnb.present.charts_strata import bland_altman

    order = {method: place for place, method in enumerate(methods_in(scores))}
    table = scores.sort_values("method", key=lambda m: m.map(order), kind="stable")
    return bland_altman(table, ratio_limits(scores))


def by_total_volume(scores: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Draw Dice and false discovery rate over total lesion volume (article, Figure 4B and C)."""
    from flairnb.present.charts_strata import Panel, over_bins

    marks = _marks(scores, tests, "volume_bin")
    dice = Panel(_over(scores, "volume_bin", "dice"), "Dice, median ± 1 SEM", TOTAL_LABEL, "B", marks=marks)
    rate = Panel(_over(scores, "volume_bin", "false_discovery_rate"), "False discovery rate, median ± 1 SEM", TOTAL_LABEL, "C")
    return over_bins([dice, rate])


def by_lesion_size(scores: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Draw Dice over the mean size of a case's lesions (article, Figure 4E)."""
    from flairnb.present.charts_strata import Panel, over_bins

    marks = _marks(scores, tests, "lesion_bin")
    return over_bins([Panel(_over(scores, "lesion_bin", "dice"), "Dice, median ± 1 SEM", SINGLE_LABEL, "E", marks=marks)])


def errors_by_lesion_size(scores: pd.DataFrame, lesions: pd.DataFrame) -> Figure:
    """Draw false positive and false negative volume, and lesions found, by lesion size (article, On-line Figure 1)."""
    from flairnb.evaluate.strata import detection_by_size
    from flairnb.present.charts_strata import Panel, over_bins

    columns = results.paper_columns(scores)
    wrong = _over(scores, "lesion_bin", "false_positive_fraction")
    missed = _over(scores, "lesion_bin", "false_negative_fraction")
    found = detection_by_size(lesions)
    found = found[found["method"].isin(columns)].rename(columns={"found": "median"})
    top = float(np.nanmax([1.0, *(wrong["median"] + wrong["sem"].fillna(0.0))]))
    panels = [
        Panel(wrong, "False positive / true volume", SINGLE_LABEL, limits=(0.0, 1.05 * top)),
        Panel(missed, "False negative / true volume", SINGLE_LABEL),
        Panel(found, "Share of lesions found", "Volume of the lesion, ml (lesions)"),
    ]
    return over_bins(panels)


def diseases(scores: pd.DataFrame) -> Figure:
    """Draw each disease's median Dice against its median volume (article, Figure 4D)."""
    from flairnb.evaluate.strata import disease_medians
    from flairnb.present.charts_strata import disease_scatter

    return disease_scatter(disease_medians(scores), ABBREVIATIONS, GROUPS)


def histograms(run: Run) -> Figure:
    """Draw lesion volumes of both samples (article, Figure 4F)."""
    from flairnb.report.quality import reference_volumes

    return views.volume_histogram(reference_volumes(run))


def numbers(run: Run, scores: pd.DataFrame, tests: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers with bootstrap intervals over cases."""
    from flairnb.evaluate.agreement import pair_interval
    from flairnb.evaluate.strata import bin_labels
    from flairnb.evaluate.summary import methods_in

    result: dict[str, Any] = {}
    limits = ratio_limits(scores)
    for method in methods_in(scores):
        rows = scores[scores["method"] == method]
        for name, statistic in STATISTICS:
            pairs = rows["reference_ml"], rows["predicted_ml"]
            found = pair_interval(*pairs, statistic, run.seed, run.settings.evaluate.bootstrap)
            result[f"{name}_{method}"] = Measured(found.estimate, found.low, found.high, found.n)
        both = (rows["reference_ml"] > 0) & (rows["predicted_ml"] > 0)
        result[f"volume_ratio_{method}"] = Measured(limits[method][1], n=int(both.sum()))
    lowest = scores[(scores["method"] == "unet") & (scores["volume_bin"] == bin_labels(TOTAL_EDGES_ML)[0])]
    methods = [m for m in results.paper_columns(scores) if m not in ("manual2", "unet")]
    compared = tests[tests["method"].isin(methods) & (tests["n"] >= 3)]
    result |= {
        "dice_lowest_bin": results.median_of(run, lowest["dice"]),
        "p_largest_in_bins": _largest_p(compared),
        "highest_edge_ml": TOTAL_EDGES_ML[-2],
        "alpha_method": ALPHA_METHOD,
        "alpha_reader": ALPHA_READER,
    }
    return result


def _largest_p(compared: pd.DataFrame) -> Measured:
    """Return the largest P value over bins and methods, and in how many of them the network's mean is not the higher one."""
    if compared.empty:
        return Measured(float("nan"))
    behind = int((~(compared["mean_difference"] > 0)).sum())
    note = f"ours: in {behind} of {len(compared)} comparisons the network's mean is not the higher one" if behind else ""
    return Measured(float(compared["p_value"].max()), note=note)


def _columns(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["method"].isin(results.paper_columns(scores))]


def _over(scores: pd.DataFrame, by: str, value: str) -> pd.DataFrame:
    import pandas as pd

    from flairnb.evaluate.strata import bin_labels
    from flairnb.evaluate.summary import summarise_scores

    summary = summarise_scores(_columns(scores), (by, "method"), (value,), resamples=1).rename(columns={by: "bin"})
    edges = TOTAL_EDGES_ML if by == "volume_bin" else LESION_EDGES_ML
    return summary.assign(bin=pd.Categorical(summary["bin"].astype(str), bin_labels(edges), ordered=True))


def _marks(scores: pd.DataFrame, tests: pd.DataFrame, by: str) -> dict[str, str]:
    """Return the marks over each bin: of the methods that are drawn, and of no others."""
    from flairnb.evaluate.summary import significance_marks

    shown = tests[tests["method"].isin(results.paper_columns(scores))]
    return {str(key): mark for key, mark in significance_marks(shown, by=by).items()}
