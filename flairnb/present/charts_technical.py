"""Charts of scores by scanner (article, Figure 5) and of time (Results, Inference Time)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.charts import EDGE, WHISKER, plain_log_labels
from flairnb.present.style import drawing, legend_columns, look, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FILLS = (
    ("#0072B2", ""),
    ("#E69F00", "//"),
    ("#FFFFFF", "xx"),
    ("#009E73", ".."),
    ("#CC79A7", "\\\\"),
    ("#999999", "--"),
    ("#56B4E9", "||"),
    ("#F0E442", "++"),
    ("#D55E00", "oo"),
)


def dice_by_model(models: pd.DataFrame, cases: pd.DataFrame, title: str = "") -> Figure:
    """Draw median Dice with one SEM by scanner model, grouped by manufacturer (article, Figure 5A).

    Parameters
    ----------
    models : DataFrame
        `manufacturer`, `model`, `n`, `median`, `sem`, grouped by manufacturer.
    cases : DataFrame
        `manufacturer`, `model`, `dice`: every case is a dot over the bar of its maker and model, so that a bar of one
        case cannot pass for more; their mean is the dashed line.
    title : str
        Above the chart.
    """
    makers = models["manufacturer"].drop_duplicates().tolist()
    at, place = [], 0.0
    for number, maker in enumerate(models["manufacturer"]):
        place += 1.6 if number and maker != models["manufacturer"].iloc[number - 1] else 1.0
        at.append(place)
    with drawing():
        figure = new_figure(max(5.0, 1.4 + 0.47 * len(models)), 4.0)
        axes = figure.add_subplot()
        for x, row in zip(at, models.itertuples(), strict=True):
            fill, hatch = FILLS[makers.index(row.manufacturer) % len(FILLS)]
            axes.bar(x, row.median, 0.75, yerr=np.nan_to_num(row.sem), color=fill, hatch=hatch, error_kw=WHISKER, **EDGE)
            mine = (cases["model"] == row.model) & (cases["manufacturer"] == row.manufacturer)
            _dots(axes, x, cases.loc[mine, "dice"].to_numpy(dtype=float), 0.22)
        if len(cases):
            axes.axhline(cases["dice"].mean(), color="black", ls="--", lw=1.0, zorder=1, label="mean of all cases")
            axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
        axes.set_xticks(at, [f"{m} ({n})" for m, n in zip(models["model"], models["n"], strict=True)], rotation=45, ha="right")
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
        for maker in makers:
            places = [x for x, name in zip(at, models["manufacturer"], strict=True) if name == maker]
            axes.text(np.mean(places), 1.02, _maker(maker).removesuffix(" Healthcare"), ha="center", va="bottom", fontsize=8.5)
        axes.set(ylim=(0, 1), ylabel="Dice, median \N{PLUS-MINUS SIGN} 1 SEM, U-Net")
        axes.set_title(title, pad=20)
        axes.yaxis.grid(True, color="0.9")
    return figure


def dice_by_training(models: pd.DataFrame, slope: float, intercept: float, note: str = "") -> Figure:
    """Draw a scanner model's median Dice against its number of training cases, with the line (article, Figure 5B)."""
    makers = models["manufacturer"].drop_duplicates().tolist()
    markers = "os^DvPX"
    with drawing():
        figure = new_figure(5.2, 3.6)
        axes = figure.add_subplot()
        for number, maker in enumerate(makers):
            rows = models[models["manufacturer"] == maker]
            axes.errorbar(rows["training"], rows["median"], yerr=np.nan_to_num(rows["sem"]), fmt="none", **WHISKER)
            style = {"mfc": FILLS[number % len(FILLS)][0], "mec": "black", "ms": 7, "ls": "", "label": _maker(maker)}
            axes.plot(rows["training"], rows["median"], markers[number % len(markers)], **style)
        if len(models) and np.isfinite(slope):
            ends = np.array([models["training"].min(), models["training"].max()], dtype=float)
            axes.plot(ends, intercept + slope * ends, color="black", lw=1.0, ls="--", label="best fit")
        axes.text(0.98, 0.03, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5)
        axes.set(ylim=(0, 1), xlabel="Training cases of the scanner model", ylabel="Dice, median \N{PLUS-MINUS SIGN} 1 SEM, U-Net")
        axes.grid(True, color="0.92")
        if makers:
            columns = legend_columns([*map(_maker, makers), "best fit"], figure.get_figwidth())
            figure.legend(loc="outside lower center", ncols=columns)
        else:
            axes.text(0.5, 0.5, "no scanner model is known", transform=axes.transAxes, ha="center")
    return figure


def two_groups(panels: Mapping[str, Mapping[str, NDArray[np.float64]]], marks: Mapping[str, str]) -> Figure:
    """Draw median Dice with one SEM of two groups, one panel a factor (article, Figure 5C).

    Parameters
    ----------
    panels : mapping of factor to mapping of group to (n,) array
        Every case is a dot.
    marks : mapping of factor to str
        Written between the two bars: "*" or the P value.
    """
    with drawing():
        figure = new_figure(1.2 + 2.2 * max(1, len(panels)), 3.4)
        for number, (factor, groups) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(1, len(panels), number)
            for place, (name, values) in enumerate(groups.items()):
                kept = values[np.isfinite(values)]
                if not kept.size:
                    continue
                sem = kept.std(ddof=1) / np.sqrt(kept.size) if kept.size > 1 else 0.0
                fill, hatch = FILLS[place % len(FILLS)]
                axes.bar(place, np.median(kept), 0.6, yerr=sem, color=fill, hatch=hatch, error_kw=WHISKER, label=name, **EDGE)
                _dots(axes, place, kept, 0.18)
            axes.set_xticks(range(len(groups)), [f"{name}\n({np.isfinite(v).sum()})" for name, v in groups.items()])
            axes.text(0.5, 1.0, marks.get(factor, ""), transform=axes.transAxes, ha="center", va="bottom", fontsize=9)
            axes.set(xlim=(-0.6, 1.6), ylim=(0, 1), ylabel="Dice, median \N{PLUS-MINUS SIGN} 1 SEM, U-Net" if number == 1 else "")
            axes.set_title(factor, pad=16)
            axes.yaxis.grid(True, color="0.9")
    return figure


def _maker(name: str) -> str:
    return name or "maker not given"


def _dots(axes: Axes, x: float, values: NDArray[np.float64], spread: float) -> None:
    values = np.sort(values[np.isfinite(values)])
    # Neighbours in value stand apart from left to right, so that equal scores do not hide each other.
    offsets = (np.arange(values.size) % 5 - 2) / 2 * spread if values.size > 1 else np.zeros(values.size)
    axes.plot(x + offsets, values, "o", mfc="white", mec="black", mew=0.6, ms=2.8, ls="", zorder=4)


def seconds_by_method(table: pd.DataFrame, stages: pd.DataFrame, article: Mapping[str, tuple[str, float, float]]) -> Figure:
    """Draw mean time a case with its SD by method beside the article's, and where the time goes.

    Parameters
    ----------
    table : DataFrame
        `method`, `mean_s`, `sd_s`, `n`.
    stages : DataFrame
        `method`, `stage`, `mean_s` (over all cases of the method, so that the steps add up to the mean).
    article : mapping of method to (name, seconds, spread)
        The article's time that stands beside a method.
    """
    from matplotlib.ticker import LogLocator

    with drawing():
        figure = new_figure(9.0, 1.6 + 0.42 * len(table))
        left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
        for place, row in enumerate(table.itertuples()):
            how = look(row.method, place)
            bar = {"xerr": np.nan_to_num(row.sd_s), "fmt": how.marker, "mfc": how.fill, "mec": "black", "ms": 7, **WHISKER}
            left.errorbar(row.mean_s, place, **bar)
            if row.method in article:
                name, seconds, spread = article[row.method]
                left.errorbar(seconds, place + 0.22, xerr=spread, fmt="D", mfc="white", mec="black", ms=5, **WHISKER)
                left.text(seconds, place + 0.34, f"article: {name}", ha="center", va="bottom", fontsize=7)
        names = [f"{look(m).label} ({n})" for m, n in zip(table["method"], table["n"], strict=True)]
        left.set_yticks(range(len(table)), names)
        left.set(xscale="log", ylim=(-0.6, len(table) - 0.2), xlabel="Seconds a case, mean \N{PLUS-MINUS SIGN} 1 SD")
        plain_log_labels(left, both=False)
        left.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=12))
        left.grid(True, axis="x", color="0.9")
        _stacked(right, table["method"].tolist(), stages)
        right.set(ylim=(-0.6, len(table) - 0.2), xlabel="Seconds a case, by step", yticks=[])
        figure.legend(loc="outside lower center", ncols=5)
    return figure


def _stacked(axes: Axes, methods: list[str], stages: pd.DataFrame) -> None:
    names = stages["stage"].drop_duplicates().tolist()
    start = dict.fromkeys(methods, 0.0)
    for number, stage in enumerate(names):
        fill, hatch = FILLS[number % len(FILLS)]
        rows = stages[stages["stage"] == stage].set_index("method")["mean_s"]
        label: str | None = stage
        for place, method in enumerate(methods):
            if method in rows and np.isfinite(rows[method]):
                axes.barh(place, rows[method], 0.55, left=start[method], color=fill, hatch=hatch, label=label, **EDGE)
                start[method] += float(rows[method])
                label = None
