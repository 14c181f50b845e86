"""How the comparison methods' free values were chosen: Dice over the values tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flairnb.present.style import drawing, look, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: What each method's free value is.
VALUES = {
    "lga": "kappa, belief of a seed",
    "lpa": "cut of the probability",
    "bianca": "cut of the neighbours' share",
    "threshold": "SD above the brain's mean",
}
_DASHES = ("-", (0, (4, 1.6)))


def tuning_figure(table: pd.DataFrame) -> Figure:
    """Draw mean Dice over training cases against the value tried, one panel a method.

    Parameters
    ----------
    table : DataFrame
        Columns `method`, `variant`, `value`, `dice_mean`, `chosen`, as
        :func:`flairnb.baselines.tuning.tuning_table` lays them out.

    Returns
    -------
    Figure
        A ring marks the value chosen of all variants.
    """
    methods = [name for name in VALUES if (table["method"] == name).any()]
    with drawing():
        figure = new_figure(max(2.6 * len(methods), 3.0), 2.6)
        panels = figure.subplots(1, max(len(methods), 1), sharey=True, squeeze=False)[0]
        for position, (axes, method) in enumerate(zip(panels, methods, strict=False)):
            how, rows = look(method, position), table[table["method"] == method]
            for dash, (variant, part) in zip(_DASHES, rows.groupby("variant", sort=False), strict=False):
                axes.plot(part["value"], part["dice_mean"], color="black", ls=dash, lw=1.2, label=variant or None)
            best = rows[rows["chosen"].astype(bool)]
            axes.plot(best["value"], best["dice_mean"], "o", mfc="none", mec="black", mew=1.4, ms=9)
            axes.set(title=how.label, xlabel=VALUES[method])
            axes.yaxis.grid(True, color="0.88")
            if len(set(rows["variant"])) > 1:
                axes.legend(loc="lower left", fontsize=7.5)
        panels[0].set(ylabel="Dice, mean", ylim=(0, None))
    return figure
