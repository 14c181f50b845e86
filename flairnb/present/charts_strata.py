"""Charts of scores over groups of cases: bins of volume, lesion sizes, diseases (article, Figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flairnb.evaluate.summary import methods_in
from flairnb.present.charts import WHISKER, plain_log_labels
from flairnb.present.style import drawing, legend_columns, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Marker and fill of each group of diseases.
GROUP_LOOKS = {
    "inflammatory": ("o", "#0072B2"),
    "vascular": ("s", "#E69F00"),
    "neoplastic": ("^", "#D55E00"),
    "infectious": ("D", "#009E73"),
    "metabolic": ("v", "#CC79A7"),
}


@dataclass(frozen=True)
class Panel:
    """One panel over ordered bins.

    `table` has the columns `bin` (ordered), `method`, `median`, `sem` and `n`; `marks` maps a bin to what is written
    above it; `limits` is the range of the y axis.
    """

    table: pd.DataFrame
    ylabel: str
    xlabel: str = ""
    title: str = ""
    limits: tuple[float, float] = (0.0, 1.0)
    marks: Mapping[str, str] = field(default_factory=dict)


def over_bins(panels: Sequence[Panel]) -> Figure:
    """Draw medians with one SEM over bins, one line a method, one panel beside the other (article, Figure 4B, C, E).

    Methods are told apart by marker and dash, not by colour alone, and look the same in every panel of the figure; the
    number of cases stands under each bin.
    """
    methods = methods_in(pd.concat([panel.table[["method"]] for panel in panels]))
    with drawing():
        figure = new_figure(0.4 + 4.1 * len(panels), 3.9)
        handles = {}
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), place)
            handles |= _lines(axes, panel, methods)
        columns = legend_columns(list(handles), figure.get_figwidth())
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
    return figure


def _lines(axes: Axes, panel: Panel, methods: Sequence[str]) -> dict[str, object]:
    table = panel.table
    bins = _bins(table)
    handles = {}
    for number, method in enumerate(methods):
        how = look(method, number)
        rows = table[table["method"] == method]
        if rows.empty:
            continue
        at = np.array([bins.index(str(name)) for name in rows["bin"]]) + (number - (len(methods) - 1) / 2) * 0.09
        line = {"color": "0.25", "ls": how.dash, "lw": 0.9, "marker": how.marker, "mfc": how.fill, "mec": "black", "mew": 0.7, "ms": 6}
        handles[how.label] = axes.errorbar(at, rows["median"], yerr=np.nan_to_num(rows["sem"]), **line, **WHISKER)
    low, high = panel.limits
    for place, name in enumerate(bins):
        axes.text(place, high, panel.marks.get(name, ""), ha="center", va="bottom", fontsize=11)
    counts = table.groupby("bin", observed=True, sort=False)["n"].max()
    counts.index = counts.index.astype(str)
    axes.set_xticks(range(len(bins)), [f"{name}\n({counts[name]:.0f})" for name in bins])
    axes.set(xlim=(-0.5, max(len(bins) - 0.5, 0.5)), ylim=(low, high), ylabel=panel.ylabel, xlabel=panel.xlabel)
    axes.set_title(panel.title, pad=14)
    axes.yaxis.grid(True, color="0.9")
    return handles


def _bins(table: pd.DataFrame) -> list[str]:
    found = set(table["bin"].astype(str))
    order = table["bin"].cat.categories if hasattr(table["bin"], "cat") else table["bin"].drop_duplicates()
    return [str(name) for name in order if str(name) in found]


def disease_scatter(diseases: pd.DataFrame, labels: Mapping[str, str], groups: Mapping[str, str], title: str = "") -> Figure:
    """Draw each disease's median Dice against its median true volume (article, Figure 4D).

    Parameters
    ----------
    diseases : DataFrame
        `diagnosis`, `median_ml`, `dice`, `n`.
    labels, groups : mapping of diagnosis to str
        Abbreviation, and the group that decides the marker.
    title : str
        Above the chart.
    """
    with drawing():
        figure = new_figure(7.0, 5.0)
        axes = figure.add_subplot()
        shown = diseases[(diseases["median_ml"] > 0) & diseases["dice"].notna()].sort_values("dice")
        seen: set[str] = set()
        for row in shown.itertuples():
            group = groups.get(row.diagnosis, "other")
            marker, colour = GROUP_LOOKS.get(group, ("X", "#999999"))
            label = None if group in seen else group
            seen.add(group)
            style = {"mfc": colour, "mec": "black", "mew": 0.7, "ms": 7, "ls": "", "clip_on": False}
            axes.plot(row.median_ml, row.dice, marker, label=label, zorder=3, **style)
        bottom = max(0.0, float(np.floor(10 * shown["dice"].min() - 1.0)) / 10) if len(shown) else 0.0
        axes.set(xscale="log", ylim=(bottom, 1), xlabel="Median true lesion volume, ml", ylabel="Median Dice, U-Net", title=title)
        if len(shown):
            axes.set_xlim(0.5 * shown["median_ml"].min(), 2.5 * shown["median_ml"].max())
            plain_log_labels(axes, both=False)
            _spread_names(axes, shown, labels)
        axes.grid(True, color="0.92")
        figure.legend(loc="outside lower center", ncols=5)
    return figure


def _spread_names(axes: Axes, shown: pd.DataFrame, labels: Mapping[str, str]) -> None:
    """Write each name beside its point, on the first place inside the axes that no other name or point has taken."""
    width, height = 0.0115, 0.03  # of a letter and a line, in shares of the axes
    low, high = np.log10(axes.get_xlim())
    x = (np.log10(shown["median_ml"].to_numpy()) - low) / (high - low)
    y = (shown["dice"].to_numpy() - axes.get_ylim()[0]) / np.ptp(axes.get_ylim())
    taken = [(a - 0.012, b - 0.018, a + 0.012, b + 0.018) for a, b in zip(x, y, strict=True)]
    for a, b, diagnosis in zip(x, y, shown["diagnosis"], strict=True):
        name = labels.get(diagnosis, diagnosis)
        long = width * len(name)
        places = [(a + 0.017, b), (a - 0.017 - long, b), (a - long / 2, b + 0.045), (a - long / 2, b - 0.045)]
        for step in (0.035, 0.065, 0.095):
            places += [(a + 0.012, b + step), (a + 0.012, b - step), (a - 0.012 - long, b + step), (a - 0.012 - long, b - step)]
        boxes = [(p, q - height / 2, p + long, q + height / 2) for p, q in places]
        # Outside lie the axes' own numbers, and on the lower edge the axis itself.
        boxes = [box for box in boxes if _inside(box)] or boxes
        chosen = next((box for box in boxes if not any(_overlap(box, other) for other in taken)), boxes[0])
        left, bottom, _, top = chosen
        taken.append(chosen)
        axes.text(left, (bottom + top) / 2, name, transform=axes.transAxes, fontsize=7.5, ha="left", va="center")


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(box: tuple[float, ...]) -> bool:
    return box[0] > 0.005 and box[1] > 0.01 and box[2] < 1.0 and box[3] < 1.0


def bland_altman(scores: pd.DataFrame, limits: Mapping[str, tuple[float, float, float]], title: str = "") -> Figure:
    """Draw the ratio of predicted to true volume against their geometric mean, one panel a method.

    Parameters
    ----------
    scores : DataFrame
        `method`, `reference_ml`, `predicted_ml`; cases with an empty mask have no ratio and are counted above the panel.
    limits : mapping of method to (lower, bias, upper)
        Ratios: the limits that hold 95% of the cases, and the bias between them.
    title : str
        Above the chart.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    methods = scores["method"].drop_duplicates().tolist()
    columns = min(4, max(1, len(methods)))
    rows = -(-len(methods) // columns)
    with drawing():
        figure = new_figure(0.6 + 2.2 * columns, 0.4 + 2.7 * rows)
        first = None
        for number, method in enumerate(methods):
            how = look(method, number)
            axes = figure.add_subplot(rows, columns, number + 1, sharex=first, sharey=first)
            first = first or axes
            of = scores[scores["method"] == method]
            both = of[(of["reference_ml"] > 0) & (of["predicted_ml"] > 0)]
            ratio, mean = both["predicted_ml"] / both["reference_ml"], np.sqrt(both["predicted_ml"] * both["reference_ml"])
            axes.plot(mean, ratio, how.marker, mfc=how.fill, mec="black", mew=0.6, ms=5, ls="", zorder=3)
            axes.axhline(1.0, color="0.6", lw=0.8)
            for value, dash in zip(limits.get(method, ()), ("--", "-", "--"), strict=False):
                if np.isfinite(value):
                    axes.axhline(value, color="black", lw=1.0, ls=dash)
            # Above the panel: inside, a marker may lie on the number.
            absent = f"\n{len(of) - len(both)} without ratio" if len(of) > len(both) else ""
            axes.set(xscale="log", yscale="log", title=how.label + absent)
            axes.title.set_fontsize(8.5)
            axes.grid(True, color="0.93")
            plain_log_labels(axes, both=False)
            axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=12))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        figure.supxlabel("Geometric mean of true and predicted volume, ml", fontsize=9)
        figure.supylabel("Predicted / true volume", fontsize=9)
        figure.suptitle(title, fontsize=10)
    return figure
