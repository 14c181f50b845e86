"""The lesson's pictures: each shows one idea, and moves when a number moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.style import CONVENTION, DASH_DOT, DASHED, DOTTED, SOLID, drawing, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

TISSUE_LINES = {
    "csf": ("CSF", "#0072B2", SOLID),
    "wm": ("white matter", "#777777", DASHED),
    "gm": ("grey matter", "#333333", DOTTED),
    "lesion": ("lesion", "#D55E00", DASH_DOT),
}


def signal_curves(ti_ms: NDArray, curves: Mapping[str, NDArray], chosen_ms: float, slice_: NDArray, title: str) -> Figure:
    """Draw FLAIR signal over inversion time for four tissues, and one slice of a head at the chosen time.

    Parameters
    ----------
    ti_ms : (n,) array
    curves : mapping of tissue (a key of `TISSUE_LINES`) to (n,) array
    chosen_ms : float
        Inversion time of the picture.
    slice_ : (rows, columns) array
        As seen: the patient's front up, right on the left.
    title : str
    """
    with drawing():
        figure = new_figure(8.2, 3.5)
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        for name, values in curves.items():
            label, colour, dash = TISSUE_LINES[name]
            left.plot(ti_ms, values, color=colour, ls=dash, label=label)
        left.axvline(chosen_ms, color="0.6", lw=0.8)
        left.set(xlabel="Inversion time TI, ms", ylabel="Signal", title=title, ylim=(0, None))
        left.legend(loc="upper right")
        _brain(right, slice_, f"TI {chosen_ms:.0f} ms")
    return figure


def threshold_figure(lesion: ArrayLike, other: ArrayLike, chosen: float, sweep: pd.DataFrame, slice_: NDArray, marked: NDArray) -> Figure:
    """Draw how bright lesions and everything else are, what a threshold finds and adds, and what it marks in one slice.

    Parameters
    ----------
    lesion, other : (n,) arrays
        Brightness of voxels, in SD of the brain.
    chosen : float
        The threshold.
    sweep : DataFrame
        `cut`, `sensitivity`, `ppv`, `dice`.
    slice_, marked : (rows, columns) arrays
    """
    with drawing():
        figure = new_figure(8.6, 3.3)
        left, middle, right = figure.subplots(1, 3)
        bins = np.linspace(-2, 6, 41)
        left.hist(np.asarray(other), bins, density=True, color="#C9C9C9", label="the rest of the brain")
        left.hist(np.asarray(lesion), bins, density=True, histtype="step", color="#D55E00", lw=1.6, label="lesion")
        left.axvline(chosen, color="black", lw=0.9)
        left.set(xlabel="Brightness, SD", yticks=[], title="How bright?")
        left.legend(loc="upper right", fontsize=7.5)
        _sweep(middle, sweep, chosen, "Threshold, SD")
        _brain(right, slice_, f"marked above {chosen:.1f} SD", marked)
    return figure


def sweep_figure(sweep: pd.DataFrame, chosen: float) -> Figure:
    """Draw sensitivity, PPV and Dice of the network's mask over the probability it is cut at."""
    with drawing():
        figure = new_figure(4.8, 3.3)
        _sweep(figure.add_subplot(), sweep, chosen, "Cut at probability")
    return figure


def dice_by_shift(radii_mm: Sequence[float], shift_mm: float) -> Figure:
    """Draw the Dice of a ball against itself, moved, for several radii; and the two outlines at `shift_mm`."""
    shifts = np.linspace(0, 10, 101)
    with drawing():
        figure = new_figure(8.2, 3.3)
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        for radius, dash in zip(radii_mm, (SOLID, DASHED, DOTTED, DASH_DOT), strict=False):
            left.plot(shifts, [moved_ball_dice(radius, shift) for shift in shifts], color="black", ls=dash, label=f"radius {radius:g} mm")
        left.axvline(shift_mm, color="0.6", lw=0.8)
        left.set(xlabel="Shift, mm", ylabel="Dice", ylim=(0, 1.02), title="The same slip costs small lesions more")
        left.legend(loc="upper right", fontsize=7.5)
        from matplotlib.patches import Circle

        place = 0.0
        for radius in radii_mm:
            place += radius + 2
            right.add_patch(Circle((place, 0), radius, fill=False, color="#9A8C00", lw=1.4))
            right.add_patch(Circle((place + shift_mm, 0), radius, fill=False, color="#0072B2", ls=(0, (3, 1.5)), lw=1.4))
            words = f"{moved_ball_dice(radius, shift_mm):.2f}"
            right.text(place + shift_mm / 2, -max(radii_mm) - 3, words, ha="center", va="top", fontsize=8)
            place += radius + 2 + shift_mm
        right.set(xlim=(0, place), ylim=(-max(radii_mm) - 8, max(radii_mm) + 4), aspect="equal", title=f"moved by {shift_mm:g} mm: Dice")
        right.axis("off")
    return figure


def moved_ball_dice(radius_mm: float, shift_mm: float) -> float:
    """Return the Dice of two equal balls whose centres are `shift_mm` apart (volume of the lens they share).

    Examples
    --------
    >>> moved_ball_dice(5.0, 0.0), moved_ball_dice(5.0, 10.0)
    (1.0, 0.0)
    """
    share = min(shift_mm / (2 * radius_mm), 1.0)
    return float((1 - share) ** 2 * (2 + share) / 2)


def feature_maps(maps: Sequence[tuple[str, NDArray]], title: str = "") -> Figure:
    """Draw one slice of several layers' features, from the input to the probability.

    Parameters
    ----------
    maps : sequence of (name, (rows, columns) array)
        As seen, each with its own grey window.
    title : str
    """
    columns = 4
    rows = -(-len(maps) // columns)
    with drawing():
        figure = new_figure(8.4, 2.45 * rows + 0.3)
        for place, (name, picture) in enumerate(maps, start=1):
            _brain(figure.add_subplot(rows, columns, place), picture, name)
        figure.suptitle(title, fontsize=9.5)
        figure.supxlabel(CONVENTION, fontsize=7.5, color="0.25")
    return figure


def _sweep(axes: Axes, sweep: pd.DataFrame, chosen: float, xlabel: str) -> None:
    for column, dash, colour in (("sensitivity", SOLID, "#0072B2"), ("ppv", DASHED, "#D55E00"), ("dice", DOTTED, "black")):
        axes.plot(sweep["cut"], sweep[column], ls=dash, color=colour, label={"ppv": "PPV", "dice": "Dice"}.get(column, column))
    axes.axvline(chosen, color="0.6", lw=0.8)
    axes.set(xlabel=xlabel, ylim=(0, 1.02), title="What is found, what is right")
    axes.legend(loc="best", fontsize=7.5)


def _brain(axes: Axes, picture: NDArray, title: str, marked: NDArray | None = None) -> None:
    finite = picture[np.isfinite(picture) & (picture != picture.min())]
    low, high = np.percentile(finite, (1, 99.7)) if finite.size else (0.0, 1.0)
    axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    if marked is not None and marked.any():
        axes.contour(marked.astype(float), levels=[0.5], colors=["#D55E00"], linewidths=0.9)
    axes.set_title(title, fontsize=8.5)
    axes.text(0.02, 0.97, "R", color="white", transform=axes.transAxes, va="top", fontsize=7.5, fontweight="bold")
    axes.text(0.98, 0.97, "L", color="white", transform=axes.transAxes, va="top", ha="right", fontsize=7.5, fontweight="bold")
    axes.set(xticks=[], yticks=[], facecolor="black")
