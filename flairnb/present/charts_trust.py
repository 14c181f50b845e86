"""Charts of how far a network can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flairnb.present.style import drawing, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LOOKS = {"before": ("o", "--", "0.55"), "after": ("s", "-", "black")}
MARKS = ("o", "^", "s", "D", "v")


def reliability_and_expected(pooled: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw stated against observed probability, and the Dice that was expected against the reader's.

    Parameters
    ----------
    pooled : DataFrame
        calibration ("before", "after"), stated, observed.
    scores : DataFrame
        family, expected_dice, dice; one row a patient.
    """
    with drawing():
        figure = new_figure(7.4, 3.7)
        left, right = figure.subplots(1, 2)
        for name, (mark, dash, grey) in LOOKS.items():
            rows = pooled[pooled["calibration"] == name]
            left.plot(rows["stated"], rows["observed"], marker=mark, ls=dash, color=grey, ms=4, label=f"{name} calibration")
        left.set(xlabel="Probability that the network states", ylabel="Fraction that a reader marked", title="Brain voxels")
        for mark, (family, rows) in zip(MARKS, scores.groupby("family", sort=False), strict=False):
            right.plot(rows["expected_dice"], rows["dice"], marker=mark, ls="", color="black", mfc="white", label=str(family))
        right.set(xlabel="Dice that the network expects", ylabel="Dice against the reader", title="Patients")
        for axes in (left, right):
            axes.plot([0, 1], [0, 1], color="0.8", lw=0.8, zorder=0)
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.legend(loc="upper left")
    return figure
