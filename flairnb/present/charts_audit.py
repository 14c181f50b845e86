"""Charts of the audit: what a test can find, what a voxel of output sees, what a choice costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.style import drawing, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DASHES = ("-", "--", ":", "-.")


def detectable_effect(curves: pd.DataFrame, marks: Sequence[tuple[int, str]], title: str = "") -> Figure:
    """Draw the smallest effect that a paired t test finds, over the number of cases.

    Parameters
    ----------
    curves : DataFrame
        `n`, `level` (name of the significance level) and `detectable` (mean difference over its SD).
    marks : sequence of (n, words)
        Numbers of cases to point at.
    title : str
        Above the chart.
    """
    with drawing():
        figure = new_figure(5.6, 3.6)
        axes = figure.add_subplot()
        for dash, (level, rows) in zip(DASHES, curves.groupby("level", sort=False), strict=False):
            axes.plot(rows["n"], rows["detectable"], color="black", ls=dash, label=str(level))
        axes.set(
            xscale="log", yscale="log", ylim=(0.15, 20), xlabel="Cases compared", ylabel="Smallest difference found, in SD", title=title
        )
        for n, words in marks:
            axes.axvline(n, color="0.6", lw=0.8)
            axes.text(n * (0.9 if n > 50 else 1.04), 0.17, words, rotation=90, va="bottom", fontsize=7.5, color="0.25")
        for value, words in ((0.2, "small"), (0.8, "large")):
            axes.axhline(value, color="0.85", lw=0.8, zorder=0)
            axes.text(axes.get_xlim()[1], value, f" {words}", va="center", fontsize=7.5, color="0.4")
        ticks = [2, 5, 10, 20, 50, 92]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_yticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
        axes.minorticks_off()
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def influence_maps(maps: Mapping[str, NDArray[np.bool_]], at: Mapping[str, tuple[int, ...]], title: str = "") -> Figure:
    """Draw which input voxels of one plane can change the output at one of its voxels, one panel a reading of the text.

    Parameters
    ----------
    maps : mapping of name to (I, J) bool array
        White: the voxel has a say. A name may have two lines.
    at : mapping of name to (i, j)
        Voxel of that output, which gets a circle.
    title : str
        Above all panels.
    """
    # Placed by hand: constrained layout leaves too little room above square pictures whose names have two lines.
    edge, gap, bottom, names_in = 2.7, 0.12, 0.06, 0.42
    width, height = len(maps) * (edge + gap) + gap, edge + bottom + names_in + (0.28 if title else 0.0)
    with drawing():
        figure = new_figure(width, height, layout=None)
        for number, (name, plane) in enumerate(maps.items()):
            axes = figure.add_axes(((gap + number * (edge + gap)) / width, bottom / height, edge / width, edge / height))
            axes.imshow(plane.T, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")
            axes.plot(*at[name], "o", mfc="none", mec="#D55E00", ms=8, mew=1.4)
            axes.set(xticks=[], yticks=[])
            axes.set_title(name, fontsize=9)
            axes.spines[:].set_visible(True)
        figure.suptitle(title, fontsize=10)
    return figure


def choices(table: pd.DataFrame, title: str = "", line: str = "participant_id") -> Figure:
    """Draw what each choice of an ablation does to Dice: every case a line, the median a bar.

    Parameters
    ----------
    table : DataFrame
        `ablation`, `choice`, `participant_id`, `dice`; one panel an ablation, choices in order of appearance.
    line : str
        Column whose values are joined by a line, `seed` for trainings.
    """
    ablations = table["ablation"].drop_duplicates().tolist()
    with drawing():
        figure = new_figure(0.6 + 3.0 * max(1, len(ablations)), 3.4 if ablations else 0.8)
        if not ablations:
            figure.text(0.5, 0.5, "nothing was tried yet", ha="center", va="center")
        for number, ablation in enumerate(ablations, start=1):
            rows = table[table["ablation"] == ablation]
            names = rows["choice"].drop_duplicates().tolist()
            axes = figure.add_subplot(1, len(ablations), number)
            wide = rows.pivot(index=line, columns="choice", values="dice").reindex(columns=names)  # noqa: PD010
            axes.plot(range(len(names)), wide.to_numpy().T, color="0.6", lw=0.8, marker="o", ms=2.5)
            axes.plot(range(len(names)), wide.median(), "k_", ms=18, mew=2.2, ls="", zorder=4, label="median")
            axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
            axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(0, 1), title=ablation, ylabel="Dice, U-Net" if number == 1 else "")
            axes.yaxis.grid(True, color="0.9")
        figure.suptitle(title, fontsize=10)
    return figure
