"""Charts of results that `flairnb.evaluate` computed; nothing is computed here but positions on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.present.style import drawing, legend_columns, look, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

EDGE = {"edgecolor": "black", "linewidth": 0.8}
WHISKER = {"ecolor": "black", "elinewidth": 0.9, "capsize": 2.5}


def dice_by_method(
    summary: pd.DataFrame, marks: Mapping[str, str] | None = None, article: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Draw median Dice with one standard error of the mean by method (article, Figure 1A).

    Parameters
    ----------
    summary : DataFrame
        Rows of `flairnb.evaluate.summary.summarise_scores` for one score: `method`, `median`, `sem`, `n`.
    marks : mapping of method to str, optional
        Written above a bar: "*" for a difference from the U-Net at P < .05, "#" for the second reader's (as the
        article does).
    article : mapping of method to float, optional
        The article's medians, drawn as open diamonds.
    title : str
        Above the chart.
    """
    marks, article = marks or {}, article or {}
    with drawing():
        figure = new_figure(1.6 + 1.15 * len(summary), 3.6)
        axes = figure.add_subplot()
        for position, row in enumerate(summary.itertuples()):
            how = look(row.method, position)
            axes.bar(position, row.median, 0.62, yerr=_finite(row.sem), color=how.fill, hatch=how.hatch, error_kw=WHISKER, **EDGE)
            top = row.median + _finite(row.sem)
            inside = dict(ha="center", va="bottom", fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})
            axes.text(position, 0.02, f"{row.median:.2f}", **inside)
            axes.text(position, top + 0.015, marks.get(row.method, ""), ha="center", va="bottom", fontsize=13)
            if row.method in article:
                label = "Article's median (patients)" if not axes.get_legend_handles_labels()[0] else None
                axes.plot(position + 0.2, article[row.method], "D", mfc="white", mec="black", ms=6, ls="", label=label, zorder=5)
        axes.set_xticks(
            range(len(summary)), [f"{_wrap(look(m).label)}\nn = {n}" for m, n in zip(summary["method"], summary["n"], strict=True)]
        )
        axes.set(ylim=(0, 1), ylabel="Dice, median \N{PLUS-MINUS SIGN} 1 SEM", title=title)
        axes.yaxis.grid(True, color="0.88")
        if article:
            figure.legend(loc="outside lower center")
    return figure


def dice_by_disease(
    summary: pd.DataFrame,
    marks: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    order: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw median Dice with one SEM by diagnosis and method (article, Figure 1B).

    Parameters
    ----------
    summary : DataFrame
        Rows for one score: `diagnosis`, `method`, `median`, `sem`, `n`. Methods are drawn in order of appearance.
    marks : mapping of diagnosis to str, optional
        "*" or "**" above a diagnosis.
    labels : mapping of diagnosis to str, optional
        Abbreviations for the axis.
    order : sequence of str, optional
        Diagnoses from left to right; by falling median of the U-Net if not given.
    title : str
        Above the chart.
    """
    marks, labels = marks or {}, labels or {}
    diagnoses = list(order) if order is not None else order_by(summary)
    methods = summary["method"].drop_duplicates().tolist()
    table = summary.set_index(["diagnosis", "method"])
    width = 0.8 / len(methods)
    with drawing():
        figure = new_figure(max(5.0, 1.2 + (0.1 + 0.09 * max(4, len(methods))) * len(diagnoses)), 3.9)
        axes = figure.add_subplot()
        top = dict.fromkeys(diagnoses, 0.0)
        for number, method in enumerate(methods):
            how = look(method, number)
            found = [(p, d) for p, d in enumerate(diagnoses) if (d, method) in table.index]
            median = np.array([table.loc[(d, method), "median"] for _, d in found], dtype=float)
            sem = np.array([_finite(table.loc[(d, method), "sem"]) for _, d in found])
            at = np.array([p for p, _ in found]) + (number - (len(methods) - 1) / 2) * width
            axes.bar(
                at, median, width, yerr=sem, color=how.fill, hatch=how.hatch, label=how.label, error_kw={**WHISKER, "capsize": 1.2}, **EDGE
            )
            for (_, diagnosis), high in zip(found, np.nan_to_num(median) + sem, strict=True):
                top[diagnosis] = max(top[diagnosis], high)
        for position, diagnosis in enumerate(diagnoses):
            axes.text(position, min(top[diagnosis] + 0.01, 1.0), marks.get(diagnosis, ""), ha="center", va="bottom", fontsize=11)
        names = [f"{labels.get(d, d)} ({table.loc[d]['n'].max()})" for d in diagnoses]
        axes.set_xticks(range(len(diagnoses)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set(ylim=(0, 1.06), xlim=(-0.6, len(diagnoses) - 0.4), ylabel="Dice, median \N{PLUS-MINUS SIGN} 1 SEM", title=title)
        axes.yaxis.grid(True, color="0.88")
        labels = [look(method, number).label for number, method in enumerate(methods)]
        figure.legend(loc="outside lower center", ncols=legend_columns(labels, figure.get_figwidth()))
    return figure


def volume_scatter(scores: pd.DataFrame, volumes: pd.DataFrame | None = None, title: str = "", floor_ml: float = 0.01) -> Figure:
    """Draw predicted against true lesion volume of each case (article, Figure 4A), both axes logarithmic.

    Parameters
    ----------
    scores : DataFrame
        `method`, `reference_ml`, `predicted_ml`, one row a case and method.
    volumes : DataFrame, optional
        From `flairnb.evaluate.summary.summarise_volumes`: rank correlation and slope for the legend.
    title : str
        Above the chart.
    floor_ml : float
        Volumes below are drawn at this value, on the edge of the chart.
    """
    rows_of = {} if volumes is None else {row.method: row for row in volumes.itertuples()}
    notes = {m: f"Spearman \N{GREEK SMALL LETTER RHO} {row.spearman_rho:.3f}, slope {row.slope:.2f}" for m, row in rows_of.items()}
    with drawing():
        figure = new_figure(5.2, 5.4)
        axes = figure.add_subplot()
        for number, (method, rows) in enumerate(scores.groupby("method", sort=False)):
            how = look(str(method), number)
            x, y = (np.maximum(rows[column].to_numpy(dtype=float), floor_ml) for column in ("reference_ml", "predicted_ml"))
            label = ", ".join(filter(None, [how.label, notes.get(str(method), "")]))
            axes.plot(x, y, how.marker, mfc=how.fill, mec="black", mew=0.7, ms=6, alpha=0.85, ls="", label=label, clip_on=False, zorder=3)
        high = 1.6 * max(floor_ml, float(scores[["reference_ml", "predicted_ml"]].max().max()))
        axes.plot([floor_ml, high], [floor_ml, high], color="0.3", lw=1.0, ls="--", label="predicted = true", zorder=2)
        axes.set(xscale="log", yscale="log", xlim=(floor_ml, high), ylim=(floor_ml, high), aspect="equal")
        plain_log_labels(axes)
        axes.grid(True, color="0.9")
        axes.set(xlabel="True lesion volume (reader 1), ml", ylabel="Predicted lesion volume, ml", title=title)
        below = int((scores[["reference_ml", "predicted_ml"]] < floor_ml).any(axis=1).sum())
        if below:
            note = f"{below} point{'s' if below > 1 else ''} below {floor_ml:g} ml drawn on the edge"
            axes.text(0.98, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=7.5, color="0.3")
        figure.legend(loc="outside lower center", ncols=1)
    return figure


def training_curve(history: pd.DataFrame, title: str = "", labels: Mapping[str, str] | None = None) -> Figure:
    """Draw the loss, and each other quantity, over epochs.

    Parameters
    ----------
    history : DataFrame
        `epoch` and numeric columns; ``x`` and ``val_x`` share a panel.
    title : str
        Above the chart.
    labels : mapping of column to str, optional
        Names for the axes.
    """
    labels = labels or {}
    quantities = [c for c in history.select_dtypes("number").columns if c != "epoch" and not c.startswith("val_")]
    quantities = [q for q in quantities if history[q].notna().any()]
    # A quantity with one value everywhere (a fixed learning rate) tells nothing as a curve.
    quantities = [q for q in quantities if q == "loss" or history[q].min() < history[q].max()]
    with drawing():
        figure = new_figure(max(4.2, 3.4 * len(quantities)), 3.1)
        for panel, quantity in enumerate(quantities, start=1):
            axes = figure.add_subplot(1, len(quantities), panel)
            axes.plot(history["epoch"], history[quantity], color="#0072B2", marker=_marker(history), ms=3, label="training")
            if f"val_{quantity}" in history:
                seen = history[["epoch", f"val_{quantity}"]].dropna()
                style = {"color": "#D55E00", "ls": "--", "marker": "s", "ms": 3, "label": "validation"}
                axes.plot(seen["epoch"], seen[f"val_{quantity}"], **style)
                axes.legend()
            axes.set(xlabel="Epoch", ylabel=labels.get(quantity, quantity.replace("_", " ")))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(True, color="0.9")
        figure.suptitle(title, fontsize=10)
    return figure


def histogram(groups: Mapping[str, ArrayLike], xlabel: str, bins: Any = 12, log: bool = False, title: str = "") -> Figure:
    """Draw how values are distributed in each group, side by side (article, Figure 4F: lesion volumes).

    Parameters
    ----------
    groups : mapping of name to (n,) array
        NaN is left out; with `log`, so is everything that is not positive (both counted in the legend).
    xlabel : str
        With its unit.
    bins : int or sequence of float
        Number of bins, or their edges.
    log : bool
        Logarithmic axis and bins.
    title : str
        Above the chart.
    """
    arrays = {name: np.asarray(values, dtype=float).ravel() for name, values in groups.items()}
    kept = {name: v[np.isfinite(v) & ((v > 0) | (not log))] for name, v in arrays.items()}
    together = np.concatenate([*kept.values(), np.empty(0)])
    edges = np.asarray(bins, dtype=float) if np.ndim(bins) else _edges(together, int(bins), log)
    looks = [("#0072B2", ""), ("#FFFFFF", "///"), ("#E69F00", "xx")]
    with drawing():
        figure = new_figure(5.2, 3.4)
        axes = figure.add_subplot()
        axes.hist(list(kept.values()), bins=edges, label=[_count(n, arrays[n], kept[n]) for n in kept], **EDGE)
        for number, container in enumerate(axes.containers):
            colour, hatch = looks[number % len(looks)]
            for bar in container:
                bar.set(facecolor=colour, hatch=hatch)
        if log:
            axes.set_xscale("log")
            plain_log_labels(axes, both=False)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel=xlabel, ylabel="Cases", title=title)
        axes.legend()
    return figure


def median_bars(
    summary: pd.DataFrame, group: str, xlabel: str, ylabel: str = "Dice, median \N{PLUS-MINUS SIGN} 1 SEM", title: str = ""
) -> Figure:
    """Draw medians with one SEM by a grouping (volume bin, scanner, field strength) and method (article, Figures 4, 5).

    Parameters
    ----------
    summary : DataFrame
        Rows for one score: the `group` column, `method`, `median`, `sem`, `n`; drawn in the order of the rows.
    group, xlabel, ylabel, title : str
        The column and the words of the chart.
    """
    renamed = summary.rename(columns={group: "diagnosis"})
    figure = dice_by_disease(renamed, order=renamed["diagnosis"].drop_duplicates().tolist(), title=title)
    figure.axes[0].set(xlabel=xlabel, ylabel=ylabel)
    return figure


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0


def _wrap(label: str) -> str:
    return label.replace(" (", "\n(")


def _marker(history: pd.DataFrame) -> str | None:
    return "o" if len(history) <= 60 else None


def _count(name: str, values: np.ndarray, kept: np.ndarray) -> str:
    left_out = values.size - kept.size
    return f"{name} (n = {kept.size}{f', {left_out} not shown' if left_out else ''})"


def _edges(values: np.ndarray, bins: int, log: bool) -> np.ndarray:
    low, high = (values.min(), values.max()) if values.size else (0.1, 1.0)
    high = high if high > low else low + 1.0
    return np.geomspace(low, high * 1.0001, bins + 1) if log else np.linspace(low, high, bins + 1)


def plain_log_labels(axes: Axes, both: bool = True) -> None:
    """Write 0.1, 1, 10 beside logarithmic axes (x only unless `both`) instead of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis) if both else (axes.xaxis,):
        axis.set_major_locator(LogLocator(10))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def order_by(summary: pd.DataFrame, method: str = "unet") -> list[str]:
    """Return the diagnoses of a summary by falling median of one method, for `dice_by_disease`."""
    of_method = summary[summary["method"] == method].sort_values("median", ascending=False)
    rest: Sequence[str] = [d for d in summary["diagnosis"].unique() if d not in set(of_method["diagnosis"])]
    return [*of_method["diagnosis"], *rest]
