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

#: Under every picture of the lesson's head: it is a phantom's, whatever the run's cohort is.
FOOTER = f"{CONVENTION} The patient is simulated."
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
        draw_brain(right, slice_, f"TI {chosen_ms:.0f} ms")
        write_footer(figure)
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
        # Room for the legend above the bars.
        left.set(xlabel="Brightness, SD", yticks=[], title="How bright?", ylim=(0, 1.3 * left.get_ylim()[1]))
        left.set_ylabel("Share of voxels")
        left.legend(loc="upper right", fontsize=7.5)
        _sweep(middle, sweep, chosen, "Threshold, SD")
        draw_brain(right, slice_, f"marked above {chosen:.1f} SD", marked)
        write_footer(figure)
    return figure


def sweep_figure(sweep: pd.DataFrame, chosen: float) -> Figure:
    """Draw sensitivity, PPV and Dice of the network's mask over the probability it is cut at."""
    with drawing():
        figure = new_figure(4.8, 3.3)
        _sweep(figure.add_subplot(), sweep, chosen, "Cut at probability")
    return figure


def dice_by_shift(radii_mm: Sequence[float], shift_mm: float, larger_mm: float = 0.0) -> Figure:
    """Draw the Dice of a ball against another, moved and with a radius larger by `larger_mm`; and the two outlines."""
    from matplotlib.patches import Circle

    shifts = np.linspace(0, 10, 101)
    with drawing():
        figure = new_figure(8.2, 3.3)
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        for radius, dash in zip(radii_mm, (SOLID, DASHED, DOTTED, DASH_DOT), strict=False):
            values = [moved_ball_dice(radius, shift, larger_mm) for shift in shifts]
            left.plot(shifts, values, color="black", ls=dash, label=f"radius {radius:g} mm")
        left.axvline(shift_mm, color="0.6", lw=0.8)
        left.set(xlabel="Shift, mm", ylabel="Dice", ylim=(0, 1.02), title="The same slip costs small lesions more")
        left.legend(loc="upper right", fontsize=7.5)
        place, low = 0.0, max(radii_mm) + max(larger_mm, 0.0)
        for radius in radii_mm:
            second = max(radius + larger_mm, 0.0)
            place += max(radius, second - shift_mm) + 2
            right.add_patch(Circle((place, 0), radius, fill=False, color="#9A8C00", lw=1.4))
            right.add_patch(Circle((place + shift_mm, 0), second, fill=False, color="#0072B2", ls=(0, (3, 1.5)), lw=1.4))
            words = f"{moved_ball_dice(radius, shift_mm, larger_mm):.2f}"
            right.text(place + shift_mm / 2, -low - 3, words, ha="center", va="top", fontsize=8)
            place += max(radius, second + shift_mm) + 2
        moved = f"moved by {shift_mm:g} mm, radius {larger_mm:+g} mm: Dice" if larger_mm else f"moved by {shift_mm:g} mm: Dice"
        right.set(xlim=(0, place), ylim=(-low - 8, low + 4), aspect="equal", title=moved)
        right.axis("off")
    return figure


def moved_ball_dice(radius_mm: float, shift_mm: float, larger_mm: float = 0.0) -> float:
    """Return the Dice of two balls (volume of the lens they share).

    Parameters
    ----------
    radius_mm : float
        Of the first ball.
    shift_mm : float
        Between the centres.
    larger_mm : float
        By how much the second ball's radius is larger; one without any radius
        gives 0.

    Examples
    --------
    >>> moved_ball_dice(5.0, 0.0), moved_ball_dice(5.0, 10.0), moved_ball_dice(5.0, 0.0, -5.0)
    (1.0, 0.0, 0.0)
    """
    one, two = radius_mm, max(radius_mm + larger_mm, 0.0)
    small, apart = min(one, two), shift_mm
    if apart >= one + two:
        shared = 0.0
    elif apart <= abs(one - two):
        shared = 4 / 3 * small**3
    else:
        shared = (one + two - apart) ** 2 * (apart**2 + 2 * apart * (one + two) - 3 * (one - two) ** 2) / (12 * apart)
    return float(2 * shared / (4 / 3 * (one**3 + two**3)))


def feature_maps(maps: Sequence[tuple[str, NDArray]], title: str = "", truth: NDArray | None = None) -> Figure:
    """Draw one slice of several layers' features, from the input to the probability.

    Parameters
    ----------
    maps : sequence of (name, (rows, columns) array)
        As seen, each with its own grey window.
    title : str
    truth : (rows, columns) bool array, optional
        Outlined on the first and the last picture.
    """
    columns = 4
    rows = -(-len(maps) // columns)
    with drawing():
        figure = new_figure(8.4, 2.45 * rows + 0.3)
        for place, (name, picture) in enumerate(maps, start=1):
            draw_brain(figure.add_subplot(rows, columns, place), picture, name, truth if place in (1, len(maps)) else None)
        figure.suptitle(title, fontsize=9.5)
        write_footer(figure)
    return figure


def write_footer(figure: Figure) -> None:
    """Write under a picture which side is which, and that the patient is simulated."""
    figure.supxlabel(FOOTER, fontsize=7.5, color="0.25")


def _sweep(axes: Axes, sweep: pd.DataFrame, chosen: float, xlabel: str) -> None:
    for column, dash, colour in (("sensitivity", SOLID, "#0072B2"), ("ppv", DASHED, "#D55E00"), ("dice", DOTTED, "black")):
        axes.plot(sweep["cut"], sweep[column], ls=dash, color=colour, label={"ppv": "PPV", "dice": "Dice"}.get(column, column))
    axes.axvline(chosen, color="0.6", lw=0.8)
    axes.set(xlabel=xlabel, ylim=(0, 1.02), title="What is found, what is right")
    axes.legend(loc="center right", fontsize=7.5, frameon=True, framealpha=0.8, edgecolor="none")


def draw_brain(axes: Axes, picture: NDArray, title: str, marked: NDArray | None = None) -> None:
    """Draw a slice as seen (right on the left) with R and L, and the outline of what is marked."""
    finite = picture[np.isfinite(picture) & (picture != picture.min())]
    low, high = np.percentile(finite, (1, 99.7)) if finite.size else (0.0, 1.0)
    axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    if marked is not None and marked.any():
        axes.contour(marked.astype(float), levels=[0.5], colors=["#D55E00"], linewidths=0.9)
    axes.set_title(title, fontsize=8.5)
    letters(axes)
    axes.set(xticks=[], yticks=[], facecolor="black")


def letters(axes: Axes) -> None:
    """Write R and L into a picture, with a rim that keeps them legible on white."""
    from matplotlib.patheffects import withStroke

    how = {"color": "white", "va": "top", "fontsize": 7.5, "fontweight": "bold", "transform": axes.transAxes}
    for x, letter, side in ((0.02, "R", "left"), (0.98, "L", "right")):
        axes.text(x, 0.97, letter, ha=side, path_effects=[withStroke(linewidth=2.0, foreground="black")], **how)
