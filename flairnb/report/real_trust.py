"""How far the shipped network's probabilities, and the Dice it expects of itself, hold on real patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.report import real_kept

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.network.weights import Network
    from flairnb.report.patient import Segmentation
    from flairnb.report.start import Run

BEFORE, AFTER = "before", "after"
COLUMNS = ("participant_id", "calibration", "low", "high", "voxels", "stated", "observed")


def reliability_rows(participant: str, segmentation: Segmentation, reference: Any, network: Network) -> pd.DataFrame:
    """Count stated against observed lesion in one patient's brain, on the FLAIR's own grid.

    Parameters
    ----------
    participant : str
    segmentation : Segmentation
        Its probabilities are calibrated (tempered) ones.
    reference : (I, J, K) bool array
        The reader's mask.
    network : Network
        Its temperature is taken back for the rows "before".

    Returns
    -------
    DataFrame
        participant_id, calibration ("before", "after"), low, high, voxels,
        stated, observed: see :func:`flairnb.network.confidence.reliability`.
    """
    import pandas as pd

    from flairnb.network.confidence import reliability, temper

    inside = np.asarray(segmentation.brain, dtype=bool)
    after, lesion = segmentation.probability[inside], np.asarray(reference, dtype=bool)[inside]
    before = temper(after, 1.0 / network.calibration.temperature)
    tables = [reliability(p, lesion).assign(participant_id=participant, calibration=name) for name, p in ((BEFORE, before), (AFTER, after))]
    table = pd.concat(tables, ignore_index=True)
    return table[list(COLUMNS)]


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Pool patients, each with the same weight, so that the largest brain does not speak for all.

    Returns
    -------
    DataFrame
        calibration, low, high, stated, observed, share (of brain voxels).
    """
    import pandas as pd

    share = rows["voxels"] / rows.groupby(["participant_id", "calibration"])["voxels"].transform("sum")
    parts = rows.assign(share=share, stated=rows["stated"] * share, observed=rows["observed"] * share)
    sums = parts.groupby(["calibration", "low", "high"], sort=False)[["stated", "observed", "share"]].sum().reset_index()
    for name in ("stated", "observed"):
        sums[name] = sums[name] / sums["share"]
    sums["share"] /= max(1, rows["participant_id"].nunique())
    order = pd.Categorical(sums["calibration"], [BEFORE, AFTER], ordered=True)
    return sums.assign(calibration=order).sort_values(["calibration", "low"]).astype({"calibration": str}).reset_index(drop=True)


def gap(table: pd.DataFrame, calibration: str) -> float:
    """Return the expected calibration error of a `pooled` table over voxels with a stated probability of 0.1 or more.

    Nearly all of a brain is rightly near 0; with it the error would look small whatever the network does.
    """
    rows = table[(table["calibration"] == calibration) & (table["low"] >= 0.1)]
    return float(np.average((rows["stated"] - rows["observed"]).abs(), weights=rows["share"])) if len(rows) else float("nan")


def show(run: Run, table: pd.DataFrame) -> Figure | str:
    """Draw reliability and expected against true Dice; in words where nothing is known.

    Parameters
    ----------
    run : Run
    table : DataFrame
        Scores by :func:`flairnb.report.real.segment_cases`.
    """
    from flairnb.present.charts_trust import reliability_and_expected
    from flairnb.report.real import SHIPPED

    rows = real_kept.recall(run, real_kept.RELIABILITY, COLUMNS)
    mine = table[(table["method"] == SHIPPED) & table["dice"].notna()]
    if rows.empty or mine.empty:
        return "No real case with a reader's mask, here or in the committed record: nothing to show."
    return run.keep(reliability_and_expected(pooled(rows), mine), "real_trust")
