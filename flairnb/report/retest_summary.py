"""What chapter 14's repeats come to: within-subject SD, smallest real change, and which disturbance does the most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.evaluate.ledger import Measured
from flairnb.evaluate.repeatability import Repeatability, Scale, choose_scale, repeatability
from flairnb.provenance import atomic_path
from flairnb.report.chapters import repository_root
from flairnb.report.retest import FIRST

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.start import Run

#: A second run on the same image; it only shows whether the computation repeats.
SAME_IMAGE = "again"
#: The same measurement in other words: what should not change is no repeat and would make the scatter look smaller than it is.
NOT_DISTURBED = (SAME_IMAGE, "re-oriented", "rescaled")
#: The committed result of real patients, by which README speaks.
PUBLISHED = "reports/robust/repeatability.tsv"
COLUMNS = (
    "source", "method", "cases", "measurements", "scale", "within_sd", "within_sd_low", "within_sd_high", "coefficient",
    "smallest_increase", "smallest_decrease", "increase_fraction",
    "not_found", "dice_between_median", "dice_between_lowest", "dice_first", "dice_lowest",
)  # fmt: skip


def repeatabilities(table: pd.DataFrame, scale: Scale | None = None) -> dict[tuple[str, str], Repeatability]:
    """Return the repeatability of the lesion volume by source and method, all on one scale a source.

    Measurements are the first image and the disturbed ones; `NOT_DISTURBED` repeats are left out.

    Unless given, the scale is chosen over all methods together (see
    `flairnb.evaluate.repeatability.choose_scale`), so that methods can be
    compared; the floor of the log scale is the largest voxel of a source.
    """
    good = table[(table["status"] == "ok") & ~table["repeat"].isin(NOT_DISTURBED)]
    found = {}
    for source, of_source in good.groupby("source", sort=False):
        floor = float(of_source["voxel_ml"].max())
        chosen = scale or choose_scale(of_source["volume_ml"], of_source["method"] + " " + of_source["participant_id"], floor)
        for method, rows in of_source.groupby("method", sort=False):
            found[str(source), str(method)] = repeatability(rows["volume_ml"], rows["participant_id"], chosen, floor)
    return found


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a source and method.

    Returns
    -------
    DataFrame
        `within_sd` of the (log) volume with its 95% interval, `coefficient`,
        the smallest real change up and down (fractions on the log scale, else
        ml), `increase_fraction` (the smallest increase on the log scale, whatever
        `scale` is), `not_found` (how many of `measurements` are without any lesion), Dice between
        repeat and first (median, lowest), Dice with the reader of the first
        (mean) and the lowest of any repeat.
    """
    import pandas as pd

    rows = []
    fractions = repeatabilities(table, "log")
    for (source, method), value in repeatabilities(table).items():
        mine = table[(table["source"] == source) & (table["method"] == method) & (table["status"] == "ok")]
        counted = mine[~mine["repeat"].isin(NOT_DISTURBED)]
        repeats = counted[counted["repeat"] != FIRST]
        rows.append(
            {
                "source": source,
                "method": method,
                "cases": value.cases,
                "measurements": value.measurements,
                "scale": value.scale,
                "within_sd": value.sd,
                "within_sd_low": value.sd_low,
                "within_sd_high": value.sd_high,
                "coefficient": value.coefficient,
                "smallest_increase": value.smallest_increase,
                "smallest_decrease": value.smallest_decrease,
                "increase_fraction": fractions[source, method].smallest_increase,
                "not_found": int((counted["volume_ml"] == 0).sum()),
                "dice_between_median": repeats["dice_between"].median(),
                "dice_between_lowest": repeats["dice_between"].min(),
                "dice_first": mine.loc[mine["repeat"] == FIRST, "dice"].mean(),
                "dice_lowest": repeats["dice"].min(),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def publish(run: Run, summary: pd.DataFrame) -> bool:
    """Write the committed table of real patients, if a `public` run repeated every declared one that has a reader's mask.

    Returns
    -------
    bool
        Whether it was written.
    """
    from flairnb.report.real import declared_with_masks

    real = summary[summary["source"] == "real"]
    if run.settings.profile != "public" or real.empty or int(real["cases"].min()) < len(declared_with_masks()):
        return False
    target = repository_root() / PUBLISHED
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        real.round(4).to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    return True


def by_repeat(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a source, method and repeat: median and largest change of volume in per cent, Dice between, change of Dice.

    Cases in which the method marks nothing in the first image have no change in per cent.
    """
    good = table[table["status"] == "ok"]
    first = good[good["repeat"] == FIRST].set_index(["source", "method", "participant_id"])["dice"]
    rest = good[good["repeat"] != FIRST].copy()
    before = rest.set_index(["source", "method", "participant_id"]).index.map(first)
    rest["dice_change"] = rest["dice"] - np.asarray(before, dtype=float)
    rest["percent"] = 100 * rest["change"]
    groups = rest.groupby(["source", "method", "repeat"], sort=False)
    return groups.agg(
        cases=("participant_id", "size"),
        volume_change_percent_median=("percent", "median"),
        volume_change_percent_largest=("percent", lambda values: values.loc[values.abs().idxmax()] if values.notna().any() else np.nan),
        dice_between_median=("dice_between", "median"),
        dice_between_lowest=("dice_between", "min"),
        dice_change_median=("dice_change", "median"),
    ).reset_index()


def chart(table: pd.DataFrame) -> Figure:
    """Draw the volume of each repeat over that of the first, by method, with the band of ratios that mere repeats fill (log scale)."""
    from flairnb.present.charts_retest import volume_ratios

    limits = {key: value.coefficient for key, value in repeatabilities(table, "log").items()}
    return volume_ratios(table[(table["status"] == "ok") & (table["repeat"] != FIRST)], limits)


def numbers(table: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers; a run's own cases are counted as `cohort_cases` where they are patients, else as `simulated_cases`."""
    good = table[table["status"] == "ok"]
    counts = good.groupby("source")["participant_id"].nunique()
    own = "cohort" if "cohort" in set(table["source"]) else "simulated"
    found: dict[str, Any] = {
        f"{own}_cases": int(counts.get(own, 0)),
        "real_cases": int(counts.get("real", 0)),
        "failed": int((table["status"] != "ok").sum()),
        "measurements": len(good),
    }
    for row in summarise(table).itertuples():
        name = f"{row.source}_{row.method}"
        found[f"within_sd_{name}"] = Measured(row.within_sd, row.within_sd_low, row.within_sd_high, int(row.measurements))
        found[f"coefficient_{name}"] = row.coefficient
        found[f"smallest_increase_{name}"] = row.smallest_increase
        found[f"dice_between_{name}"] = row.dice_between_median
    same = good[good["repeat"] == SAME_IMAGE]
    found["largest_change_same_image"] = float((same["volume_ml"] - _firsts(good, same)).abs().max()) if len(same) else float("nan")
    turned = good[good["repeat"] == "re-oriented"]
    found["lowest_dice_reoriented"] = float(turned["dice_between"].min()) if len(turned) else float("nan")
    return found


def _firsts(good: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    keys = ["source", "method", "participant_id"]
    first = good[good["repeat"] == FIRST].set_index(keys)["volume_ml"]
    return np.asarray(rows.set_index(keys).index.map(first), dtype=float)
