"""The numbers of the report: Table 2, the short table of its first page, notebooks' numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

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


def table2(run: Run, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the article's Table 2 beside ours, one header row, ready to be written.

    Parameters
    ----------
    run : Run
        Its seed and number of resamples make the intervals.
    scores : DataFrame
        From notebook 05's scoring.
    """
    from flairnb.evaluate.summary import summarise_scores, summarise_volumes
    from flairnb.present import tables

    summary = summarise_scores(scores, seed=run.seed, resamples=run.settings.evaluate.bootstrap)
    table = tables.table2(summary, summarise_volumes(scores))
    table.columns = [f"{method}, {source}" for method, source in table.columns]
    intervals = summary[summary["score"] == "dice"].set_index("method")
    unet = next(name for name in table.columns if name.startswith("U-Net") and name.endswith("ours"))
    table[f"{unet}, 95% interval"] = ""
    low, high = intervals.loc["unet", ["ci_low", "ci_high"]]
    table.loc["Dice, median", f"{unet}, 95% interval"] = f"{low:.2f} to {high:.2f}"
    return table.round(3).rename_axis("measure").reset_index()


def key_numbers(table: pd.DataFrame, simulated: bool = True) -> pd.DataFrame:
    """Return the short table of the report's first page, as text.

    Parameters
    ----------
    table : DataFrame
        From `table2`.
    simulated : bool
        Our patients are phantoms; the columns then say so.
    """
    import pandas as pd

    mark = "phantom (simulated)" if simulated else "this cohort"
    short = table[table["measure"].isin(KEY_ROWS)]
    columns: dict[str, Any] = {"Measure": short["measure"].str.replace(", median", "", regex=False)}
    for name in table.columns[1:]:
        label, _, source = name.partition(", ")
        if source == "ours":
            columns[f"{label}: {mark}"] = [_shown(row, value) for row, value in zip(short["measure"], short[name], strict=True)]
        elif source.startswith("article"):
            columns[f"Paper: {source.removeprefix('article ').strip('()')}"] = [
                _shown(row, value) for row, value in zip(short["measure"], short[name], strict=True)
            ]
    return pd.DataFrame(columns)


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


def inference_numbers(timing: pd.DataFrame, agreement: pd.DataFrame, threshold_sd: float) -> dict[str, Any]:
    """Return notebook 04's numbers."""
    return {
        "segmented": int((timing["status"] == "ok").sum()),
        "failed": int((timing["status"] != "ok").sum()),
        "threshold_sd": float(threshold_sd),
        "tiled_whole_dice_lowest": float(agreement["dice_between"].min()),
        "tiled_whole_mean_difference": float(agreement["mean_difference"].mean()),
        "seconds_a_case_median": float(timing["seconds_total"].median()),
    }


def accuracy_numbers(scores: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """Return notebook 05's numbers: cases and median Dice of each method, and the volumes' correlation."""
    from flairnb.evaluate.summary import methods_in, usable

    good = usable(scores)
    numbers: dict[str, Any] = {"cases": int(good["participant_id"].nunique()), "not_scored": int(len(scores) - len(good))}
    for method in methods_in(good):
        rows = good[good["method"] == method]
        numbers[f"dice_median_{method}"] = float(rows["dice"].median())
        numbers[f"dice_mean_{method}"] = float(rows["dice"].mean())
    by_measure = table.set_index("measure")
    numbers["volume_rho_unet"] = float(by_measure.filter(regex="^U-Net, ours$").loc[KEY_ROWS[-1]].iloc[0])
    return numbers


def _shown(row: str, value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return "\N{EN DASH}"
    return f"{value:.0f}" if row == "Cases" else f"{value:.3f}" if "pecificity" in row or "NPV" in row else f"{value:.2f}"
