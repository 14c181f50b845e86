"""Chapter 06: the disease. Tests within each diagnosis, and the cases with uneven lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.cohort.diagnoses import DIAGNOSES, HEALTHY
from flairnb.evaluate.ledger import Measured
from flairnb.report import results, steps, views

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.start import Run

#: The article's "MS" is not further specified; all three forms together.
MULTIPLE_SCLEROSIS = ("MSA", "MSI", "MST")
ABBREVIATIONS = {d.key: d.abbreviation for d in DIAGNOSES}
GROUPS = {d.key: d.group for d in DIAGNOSES}
ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """In how many diagnoses the network differs, by the article's rules.

    `tested` have a P value at all, `reader_tested` one against the second
    reader: counts are out of these.
    """

    diseases: int
    tested: int
    reader_tested: int
    better_than_one: int
    better_than_both: int
    like_reader: int
    not_highest: tuple[str, ...]
    methods: tuple[str, ...]


def diseased(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of patients with a disease: a healthy brain is no diagnosis to test, to count or to draw."""
    return rows[rows["diagnosis"] != HEALTHY.key]


def disease_tests(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare the network with every other method within each diagnosis, corrected for the false discovery rate."""
    from flairnb.evaluate.summary import compare_methods

    return compare_methods(diseased(scores), by="diagnosis", alpha=ALPHA)


def verdict(scores: pd.DataFrame, tests: pd.DataFrame) -> Verdict:
    """Count the diagnoses as the article does, against the methods that stand for its LST and BIANCA."""
    from flairnb.evaluate.summary import summarise_scores

    scores = diseased(scores)
    others = tuple(m for m in results.paper_columns(scores) if m not in ("manual2", "unet"))
    of = tests[tests["method"].isin(others)]
    better = of[of["significant"] & (of["mean_difference"] > 0)].groupby("diagnosis").size()
    reader = tests[(tests["method"] == "manual2") & tests["p_value"].notna()]
    medians = summarise_scores(scores, ("diagnosis", "method"), ("dice",), resamples=1)
    wide = medians.pivot(index="diagnosis", columns="method", values="median")  # noqa: PD010
    highest = wide.reindex(columns=list(others)).max(axis=1)
    return Verdict(
        diseases=int(scores["diagnosis"].nunique()),
        tested=int(of.dropna(subset=["p_value"])["diagnosis"].nunique()),
        reader_tested=len(reader),
        better_than_one=int((better >= 1).sum()),
        better_than_both=int((better >= max(2, len(others))).sum()),
        like_reader=int((~reader["significant"]).sum()),
        not_highest=tuple(wide.index[wide["unet"] <= highest]),
        methods=others,
    )


def verdict_table(found: Verdict) -> pd.DataFrame:
    """Return the verdict as a table to read; a count out of no test at all is "not tested", not 0."""
    import pandas as pd

    def count(value: int, tested: int) -> int | str:
        return value if tested else "not tested"

    rows = {
        "diagnoses": found.diseases,
        "of them with enough cases for a test against a method": found.tested,
        "network better than at least one method": count(found.better_than_one, found.tested),
        "network better than both methods": count(found.better_than_both, found.tested),
        "diagnoses with enough cases for a test against the second reader": found.reader_tested,
        "network not different from the second reader": count(found.like_reader, found.reader_tested),
        "network's median not the highest": count(len(found.not_highest), len(found.methods)),
        "namely": ", ".join(ABBREVIATIONS.get(key, key) for key in found.not_highest) or "none",
        "methods compared": ", ".join(results.label(method) for method in found.methods) or "none",
    }
    return pd.Series(rows, name="this run", dtype=object).to_frame()


def dice_by_disease(scores: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Draw median Dice by diagnosis for the article's four columns (article, Figure 1B)."""
    from flairnb.evaluate.summary import significance_marks, summarise_scores
    from flairnb.present import charts

    scores = diseased(scores)
    methods = results.paper_columns(scores)
    summary = summarise_scores(scores[scores["method"].isin(methods)], ("diagnosis", "method"), ("dice",), resamples=1)
    marks = significance_marks(tests[tests["method"].isin(methods)], by="diagnosis")
    return charts.dice_by_disease(summary, marks, ABBREVIATIONS)


def power_by_cases(scores: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Say for each number of cases what the paired tests could have found, beside what was found.

    Returns
    -------
    DataFrame
        `cases`, `diagnoses`, `detectable_sd` (difference over its SD, 80% power, P < .05 uncorrected),
        `detectable_sd_strict` (at .05 over the number of diagnoses), `typical_sd` (median SD of the differences to the
        second reader or the first method), `detectable_dice` (the first in points of Dice).
    """
    import pandas as pd

    from flairnb.evaluate.power import detectable_dz

    of = tests[tests["method"] == tests["method"].iloc[0]] if len(tests) else tests
    spread = np.abs(of["mean_difference"] / of["effect_size_dz"])
    typical = float(spread.median()) if spread.notna().any() else np.nan
    many = max(1, int(diseased(scores)["diagnosis"].nunique()))
    rows = []
    for cases, group in of.groupby("n"):
        found, strict = detectable_dz(int(cases)), detectable_dz(int(cases), 0.05 / many)
        rows.append((int(cases), len(group), found, strict, typical, found * typical))
    columns = ["cases", "diagnoses", "detectable_sd", "detectable_sd_strict", "typical_sd", "detectable_dice"]
    return pd.DataFrame(rows, columns=columns)


def designed_for(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare the network with each method on the diseases that LST (MS) and BIANCA (small vessels) were made for."""
    import pandas as pd

    from flairnb.evaluate.summary import compare_methods

    groups = {"multiple sclerosis": MULTIPLE_SCLEROSIS, "small-vessel disease": ("SVID",)}
    tables = []
    for name, keys in groups.items():
        rows = scores[scores["diagnosis"].isin(keys)]
        if len(rows):
            tables.append(compare_methods(rows).assign(disease=name))
    if not tables:
        return pd.DataFrame(columns=["disease", "method", "n", "mean_difference", "p_value", "wilcoxon_p", "effect_size_dz"])
    return pd.concat(tables, ignore_index=True)[["disease", "method", "n", "mean_difference", "p_value", "wilcoxon_p", "effect_size_dz"]]


def lesion_spread(run: Run, scores: pd.DataFrame) -> pd.DataFrame:
    """Rank the validation cases with a disease by the unevenness of the FLAIR signal inside their lesions.

    Returns
    -------
    DataFrame
        participant_id, diagnosis, `spread`, `dice` (network), `heterogeneous` (the article's share of cases, 16 of 92,
        with the largest spread), most uneven first.
    """
    import pandas as pd

    from flairnb.evaluate.heterogeneity import core_spread
    from flairnb.evaluate.strata import HETEROGENEOUS_SHARE

    network = scores[scores["method"] == "unet"].set_index("participant_id")
    rows = []
    for row in diseased(steps.read_cohort(run, "validation")).to_dict("records"):
        if row["participant_id"] in network.index:
            case = views.native_case(run, row, ("manual",))
            spread = core_spread(case.image.data, case.masks["manual"], case.image.affine)
            rows.append((row["participant_id"], row["diagnosis"], spread, float(network.loc[row["participant_id"], "dice"])))
    table = pd.DataFrame(rows, columns=["participant_id", "diagnosis", "spread", "dice"])
    table = table.sort_values("spread", ascending=False, na_position="last", ignore_index=True)
    chosen = max(1, round(HETEROGENEOUS_SHARE * len(table)))
    return table.assign(heterogeneous=(np.arange(len(table)) < chosen) & table["spread"].notna())


def heterogeneous_cases(run: Run, spread: pd.DataFrame, rows: int = 6) -> Figure:
    """Draw the cases with the most uneven lesions: FLAIR, network, reader (article, On-line Figure 2)."""
    from flairnb.present.contact_sheet import comparison_sheet

    cohort = steps.read_cohort(run, "validation").set_index("participant_id", drop=False)
    shown = spread[spread["heterogeneous"]].head(rows)
    if shown.empty:
        shown = spread.head(1)
    cases = [views.native_case(run, cohort.loc[participant].to_dict(), ("unet", "manual")) for participant in shown["participant_id"]]
    return comparison_sheet(cases, ("unet", "manual"), views.simulated(run, "Validation cases with the most uneven lesions"))


def numbers(run: Run, scores: pd.DataFrame, found: Verdict, spread: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers."""
    from flairnb.evaluate.strata import paired_within

    cohort = steps.read_cohort(run)
    susac = cohort[cohort["diagnosis"] == "SUSAC"]["split"].value_counts()
    uneven = spread.loc[spread["heterogeneous"], "dice"].dropna()
    result: dict[str, Any] = {
        "diseases": found.diseases,
        "diseases_tested": found.tested,
        "diseases_reader_tested": found.reader_tested,
        "diseases_better_than_one": _counted(found.better_than_one, found.tested),
        "diseases_better_than_both": _counted(found.better_than_both, found.tested),
        "diseases_like_reader": _counted(found.like_reader, found.reader_tested),
        "diseases_not_highest": len(found.not_highest) if found.methods else float("nan"),
        "alpha": ALPHA,
        "susac_cases": int(susac.get("validation", 0)),
        "susac_training": int(susac.get("train", 0)),
        "heterogeneous_cases": len(uneven),
        "heterogeneous_dice_median": results.median_of(run, uneven),
        "heterogeneous_dice_lowest": Measured(float(uneven.min()), n=len(uneven)),
        "heterogeneous_dice_highest": Measured(float(uneven.max()), n=len(uneven)),
    }
    for method in found.methods:
        for name, keys in (("ms", MULTIPLE_SCLEROSIS), ("svid", ("SVID",))):
            test = paired_within(scores, "unet", method, keys)
            result[f"p_{name}_{method}"] = results.p_of(test.p_value, test.n, test.mean_difference)
    return result


def _counted(count: int, tested: int) -> Measured:
    """Return a count out of the diagnoses that were tested: where none was, nothing was counted, which is not 0."""
    return Measured(float(count) if tested else float("nan"), n=tested)
