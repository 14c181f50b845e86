"""The numbers of the report: Table 2, the short table of its first page, notebooks' numbers."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from flairnb.present.style import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import ArrayLike

    from flairnb.evaluate.ledger import Measured
    from flairnb.report.start import Run

#: Rows of the first page, as Table 2 names them.
KEY_ROWS = (
    "Cases",
    "Dice, median",
    "Sensitivity, median",
    "Specificity, median",
    "PPV, median",
    "NPV, median",
    "Spearman \N{GREEK SMALL LETTER RHO} of volumes",
)

#: Ends the name of Table 2's column of intervals.
INTERVAL = ", 95% interval"


def table2(run: Run, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the article's Table 2 beside ours, one header row, ready to be written.

    Parameters
    ----------
    run : Run
        Its seed and number of resamples make the intervals.
    scores : DataFrame
        From notebook 05's scoring.

    Returns
    -------
    DataFrame
        Three decimals. ``attrs["exact"]`` holds the same numbers as they were computed, column by column, for
        `key_numbers`: a number that is rounded twice can end one digit off.
    """
    from flairnb.evaluate.summary import summarise_scores, summarise_volumes
    from flairnb.present import tables

    summary = summarise_scores(scores, seed=run.seed, resamples=run.settings.evaluate.bootstrap)
    table = tables.table2(summary, summarise_volumes(scores))
    table.columns = [f"{method}, {source}" for method, source in table.columns]
    intervals = summary[summary["score"] == "dice"].set_index("method")
    unet = next(name for name in table.columns if name.startswith("U-Net") and name.endswith("ours"))
    table[f"{unet}{INTERVAL}"] = ""
    low, high = intervals.loc["unet", ["ci_low", "ci_high"]]
    table.loc["Dice, median", f"{unet}{INTERVAL}"] = f"{low:.2f} to {high:.2f}"
    exact = {name: table[name].to_dict() for name in table.columns}
    table = table.round(3).rename_axis("measure").reset_index()
    table.attrs["exact"] = exact
    return table


def key_numbers(table: pd.DataFrame, simulated: bool = True) -> pd.DataFrame:
    """Return the short table of the report's first page, as text, each number rounded once.

    Where fewer cases have a score than were scored, their number stands beside it.

    Parameters
    ----------
    table : DataFrame
        From `table2`; one that was read from a file is known to three decimals only.
    simulated : bool
        Our patients are phantoms; the columns then say so.
    """
    import pandas as pd

    mark = "phantom (simulated)" if simulated else "this cohort"
    exact = table.attrs.get("exact") or table.set_index("measure").to_dict()
    rows = [row for row in table["measure"] if row in KEY_ROWS]
    columns: dict[str, Any] = {"Measure": [row.replace(", median", "") for row in rows]}
    for name in table.columns[1:]:
        if name.endswith(INTERVAL):
            continue
        # A method's own name may hold a comma: "LGA, kappa 0.3".
        label, _, source = name.rpartition(", ")
        title = f"{label.removesuffix(SIMULATED)}: {mark}" if source == "ours" else f"Paper: {source.removeprefix('article ').strip('()')}"
        columns[title] = [_shown(row, exact[name]) for row in rows]
    return pd.DataFrame(columns)


def load_scores(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read what chapter 05 scored: usable scores with the size of each case's lesions and the bins, and the lesions."""
    from flairnb.evaluate.cohort import read_scores
    from flairnb.evaluate.strata import with_lesion_size

    read = read_scores(run.path("tables/scores.tsv").parent)
    return with_lesion_size(read.scores, read.lesions), read.lesions


def paper_columns(scores: pd.DataFrame) -> list[str]:
    """Return the methods that stand for the article's four columns."""
    from flairnb.evaluate import strata

    return strata.paper_columns(scores)


def label(method: str) -> str:
    """Return a method's name for readers."""
    from flairnb.present.style import look

    return look(method).label


def median_of(run: Run, values: ArrayLike, statistic: Any = "median") -> Measured:
    """Return a median (or mean) over cases with its 95% bootstrap interval."""
    from flairnb.evaluate.ledger import Measured
    from flairnb.evaluate.statistics import bootstrap_interval

    found = bootstrap_interval(values, run.seed, statistic, resamples=run.settings.evaluate.bootstrap)
    return Measured(found.estimate, found.low, found.high, found.n)


def p_of(p_value: float, n: int, mean_difference: float) -> Measured:
    """Return a P value of the network against another, with the side on which its mean lies."""
    from flairnb.evaluate.ledger import Measured

    side = "higher than" if mean_difference > 0 else "lower than" if mean_difference < 0 else "the same as"
    note = "" if mean_difference != mean_difference else f"ours: the network's mean is {side} the other's"
    return Measured(float(p_value), n=int(n), note=note)


def network_facts(run: Run) -> pd.DataFrame:
    """Return size and work of the network at one patch."""
    import pandas as pd

    from flairnb.network.operations import operations

    patch = run.settings.train.patch
    count = operations(run.settings.network, (patch, patch, patch))
    rows = {
        "width (channels of the first block)": run.settings.network.width,
        "parameters, million": round(count.parameters / 1e6, 2),
        f"multiplications and additions for one {patch} x {patch} x {patch} patch, thousand million": round(count.gflop, 1),
        "patches in a batch": run.settings.train.batch,
        "dilation": run.settings.network.dilation,
    }
    return pd.Series(rows, name="this run", dtype=object).to_frame()


def training_numbers(run: Run, history: pd.DataFrame) -> dict[str, Any]:
    """Return notebook 03's numbers."""
    from flairnb.network.operations import operations

    last = history.iloc[-1] if len(history) else {"loss": float("nan"), "dice": float("nan"), "cases": 0}
    patch = run.settings.train.patch
    return {
        "epochs": len(history),
        "training_cases": int(last["cases"]),
        "parameters": int(operations(run.settings.network, (patch, patch, patch)).parameters),
        "first_loss": float(history["loss"].iloc[0]) if len(history) else float("nan"),
        "last_loss": float(last["loss"]),
        "last_training_dice": float(last["dice"]),
        "training_minutes": float(history["seconds"].sum() / 60),
    }


def chosen_values(tuning: pd.DataFrame) -> pd.DataFrame:
    """Return what each comparison method learnt: the value of best mean Dice over its training cases."""
    best = tuning[tuning["chosen"].astype(bool)].drop(columns="chosen")
    return best.fillna({"variant": ""}).rename(columns={"dice_mean": "mean Dice there", "cases": "training cases"}).round(3)


def inference_numbers(timing: pd.DataFrame, agreement: pd.DataFrame, tuning: pd.DataFrame, baselines: pd.DataFrame) -> dict[str, Any]:
    """Return notebook 04's numbers."""
    best = tuning[tuning["chosen"].astype(bool)].set_index("method")["value"]
    return {
        "segmented": int((timing["status"] == "ok").sum()),
        "failed": int((timing["status"] != "ok").sum()),
        "baselines_failed": int((baselines["status"] != "ok").sum()),
        "threshold_sd": float(best["threshold"]),
        "lga_kappa": float(best.get("lga", float("nan"))),
        "lpa_cut": float(best["lpa"]),
        "bianca_cut": float(best["bianca"]),
        "tiled_whole_dice_lowest": float(agreement["dice_between"].min()),
        "tiled_whole_mean_difference": float(agreement["mean_difference"].mean()),
        "seconds_a_case_median": float(timing["seconds_total"].median()),
    }


def _shown(row: str, column: Mapping[str, float]) -> str:
    """Return a row's number, and how many cases have it where others of the column have none."""
    import pandas as pd

    value = column[row]
    if pd.isna(value):
        return "\N{EN DASH}"
    shown = half_up(value, 0 if row == "Cases" else 3 if "pecificity" in row or "NPV" in row else 2)
    n = column.get(row.replace(", median", ", cases"), float("nan")) if row.endswith(", median") else float("nan")
    return f"{shown} (n = {n:.0f})" if n < column["Cases"] else shown


def half_up(value: float, digits: int) -> str:
    """Return a number with so many decimals, a five rounded up, as people round what they read.

    Of the shortest decimal number that means the same: 0.985 is stored as a little less, and is 0.99 all the same.

    Examples
    --------
    >>> half_up(0.985, 2), half_up(0.805, 2), half_up(0.674859, 2), half_up(19.0, 0)
    ('0.99', '0.81', '0.67', '19')
    """
    return str(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
