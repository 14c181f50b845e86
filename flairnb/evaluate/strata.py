"""Cases in groups: by disease, by total lesion volume, by the size of single lesions."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flairnb.evaluate.cohort import REFERENCE
from flairnb.evaluate.statistics import PairedTest, anova, paired_t
from flairnb.evaluate.summary import compare_methods, methods_in, usable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Edges of the bins, in ml. The article's own edges stand in its Figure 4 only; its text names "> 100 cm3" as the highest.
TOTAL_EDGES_ML = (0.0, 3.0, 10.0, 30.0, 100.0, np.inf)
LESION_EDGES_ML = (0.0, 0.1, 0.5, 2.0, 10.0, np.inf)
#: Levels of Figure 4's marks: the CNN against a method, the second reader against the CNN.
ALPHA_METHOD, ALPHA_READER = 0.01, 0.05
#: Share of validation cases that the article calls heterogeneous (16 of 92).
HETEROGENEOUS_SHARE = 16 / 92


def bin_labels(edges: Sequence[float]) -> list[str]:
    """Return the names of the bins between edges.

    Examples
    --------
    >>> bin_labels((0.0, 3.0, 10.0, np.inf))
    ['≤ 3', '3–10', '> 10']
    """
    names = [f"{low:g}–{high:g}" for low, high in itertools.pairwise(edges)]
    return [f"\N{LESS-THAN OR EQUAL TO} {edges[1]:g}", *names[1:-1], f"> {edges[-2]:g}"]


def add_bins(table: pd.DataFrame, column: str, edges: Sequence[float], name: str = "bin") -> pd.DataFrame:
    """Return the table with an ordered category of the bin that `column` falls into; missing values have none."""
    return table.assign(**{name: pd.cut(table[column], list(edges), labels=bin_labels(edges), include_lowest=True)})


def case_lesions(lesions: pd.DataFrame) -> pd.DataFrame:
    """Describe the reference lesions of each case.

    Parameters
    ----------
    lesions : DataFrame
        From `flairnb.evaluate.cohort.score_cohort`.

    Returns
    -------
    DataFrame
        participant_id, `lesions`, `mean_lesion_ml`, `largest_lesion_ml`.
    """
    of_reference = lesions[lesions["method"] == REFERENCE]
    groups = of_reference.groupby("participant_id", sort=True)["volume_ml"]
    table = groups.agg(lesions="size", mean_lesion_ml="mean", largest_lesion_ml="max").reset_index()
    return table if len(table) else pd.DataFrame(columns=["participant_id", "lesions", "mean_lesion_ml", "largest_lesion_ml"])


def with_lesion_size(scores: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the usable scores with the columns of `case_lesions`, the bins, and the errors by voxel.

    Returns
    -------
    DataFrame
        The scores with `mean_lesion_ml`, `lesions`, `largest_lesion_ml`, `volume_bin`, `lesion_bin`,
        `false_positive_fraction` and `false_negative_fraction` (volume wrongly marked, and missed, over true volume).
        A case without any true lesion has none of these: it is in no bin, not in the one of the smallest volumes.
    """
    table = usable(scores).merge(case_lesions(lesions), on="participant_id", how="left")
    table = add_bins(table, "reference_ml", TOTAL_EDGES_ML, "volume_bin")
    table = add_bins(table, "mean_lesion_ml", LESION_EDGES_ML, "lesion_bin")
    true = table["reference_ml"].where(table["reference_ml"] > 0)
    table["volume_bin"] = table["volume_bin"].where(true.notna())
    overlap = table["sensitivity"] * true
    return table.assign(
        false_positive_fraction=(table["predicted_ml"] - overlap) / true,
        false_negative_fraction=1.0 - table["sensitivity"],
    )


def bin_tests(scores: pd.DataFrame, by: str, value: str = "dice", against: str = "unet", reader: str = "manual2") -> pd.DataFrame:
    """Compare methods within each bin as the article's Figure 4 does: paired t tests and one-way ANOVA, not corrected.

    Returns
    -------
    DataFrame
        The columns of `compare_methods`, with `significant` at P < .01 (P < .05 for the second reader), and for each
        bin `anova_f` and `anova_p` over the automated methods in `scores`.
    """
    table = compare_methods(scores, against, value, by)
    alpha = np.where(table["method"] == reader, ALPHA_READER, ALPHA_METHOD)
    table["significant"] = table["p_value"].to_numpy(dtype=float) < alpha
    # An ANOVA of the automated methods; the reader is no method.
    rows = {}
    for name, group in scores.groupby(by, observed=True):
        test = anova({m: g[value] for m, g in group.groupby("method") if m != reader})
        rows[name] = (test.statistic, test.p_value)
    table["anova_f"] = [rows[name][0] for name in table[by]]
    table["anova_p"] = [rows[name][1] for name in table[by]]
    return table


def detection_by_size(lesions: pd.DataFrame) -> pd.DataFrame:
    """Count the reference lesions that each method touches, by the lesion's own size.

    Returns
    -------
    DataFrame
        `bin`, `method`, `n` (reference lesions), `found` (share), `sem`: the
        share's standard error over patients, since lesions of one patient are
        found or missed together (a ratio of sums over clusters: Cochran,
        Sampling Techniques, 3rd ed. 1977, ch. 9A); NaN with one patient.
    """
    of_reference = add_bins(lesions[lesions["method"] == REFERENCE], "volume_ml", LESION_EDGES_ML)
    columns = [column for column in of_reference.columns if column.startswith("found_by_")]
    rows = []
    for name, group in of_reference.groupby("bin", observed=True):
        for column in columns:
            found = group[["participant_id", column]].dropna()
            if len(found):
                rows.append((name, column.removeprefix("found_by_"), len(found), *_share_over(found["participant_id"], found[column])))
    return pd.DataFrame(rows, columns=["bin", "method", "n", "found", "sem"])


def _share_over(patients: pd.Series, found: pd.Series) -> tuple[float, float]:
    """Return the share of lesions found, and its standard error over patients."""
    hits = found.astype(float).groupby(patients.to_numpy()).agg(["sum", "count"])
    share, n = float(hits["sum"].sum() / hits["count"].sum()), len(hits)
    if n < 2:
        return share, float("nan")
    apart = hits["sum"] - share * hits["count"]
    return share, float(np.sqrt(n / (n - 1) * (apart**2).sum()) / hits["count"].sum())


def disease_medians(scores: pd.DataFrame, method: str = "unet") -> pd.DataFrame:
    """Return each disease's median true volume and median Dice by one method (article, Figure 4D)."""
    rows = usable(scores)
    groups = rows[rows["method"] == method].groupby("diagnosis", sort=True)
    return groups.agg(n=("dice", "count"), median_ml=("reference_ml", "median"), dice=("dice", "median")).reset_index()


def paired_within(scores: pd.DataFrame, a: str, b: str, diagnoses: Sequence[str], value: str = "dice") -> PairedTest:
    """Compare two methods by the paired t test within the cases of some diagnoses."""
    rows = usable(scores)
    wide = rows[rows["diagnosis"].isin(diagnoses)].pivot(index="participant_id", columns="method", values=value)  # noqa: PD010
    wide = wide.reindex(columns=[a, b])
    return paired_t(wide[a], wide[b])


def paper_columns(scores: pd.DataFrame) -> list[str]:
    """Return the methods that stand for the article's four columns, in its order.

    The second reader, the network, LST (the re-implementation of its LGA, which the article cites) and BIANCA. Where
    a run has neither of the last two, up to two other methods stand in, so that a figure compares with something.
    """
    found = methods_in(scores)
    columns = [method for method in ("manual2", "unet", "lga", "bianca") if method in found]
    rest = [method for method in found if method not in columns]
    return columns if {"lga", "bianca"} & set(columns) else columns + rest[:2]
