"""More of the lesson's pictures: learning, overlapping tiles, two readers, the hunt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.lesson_figures import draw_brain, letters, write_footer
from flairnb.present.style import DASHED, SOLID, drawing, look, new_figure, second_reader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.evaluate.agreement import Agreement

FOUND = "#D55E00"


def reach_figure(picture: NDArray, at: tuple[int, int], spacing_mm: float, widths_mm: Sequence[float], block: int) -> Figure:
    """Draw squares around a voxel of a slice: what that voxel has seen after each block, up to one; and their widths.

    Parameters
    ----------
    picture : (rows, columns) array
        As seen.
    at : (row, column)
    spacing_mm : float
        Of the picture.
    widths_mm : sequence of float
        Of the first features and of each block after it.
    block : int
        The last one drawn.
    """
    from matplotlib.patches import Rectangle

    names = ["first features", *(f"after {n} halving{'s' if n > 1 else ''}" for n in range(1, len(widths_mm)))]
    with drawing():
        figure = new_figure(8.2, 3.8)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        draw_brain(left, picture, "what one voxel of the lesion has seen")
        for n in range(block + 1):
            edge = widths_mm[n] / spacing_mm
            corner = at[1] - edge / 2, at[0] - edge / 2
            left.add_patch(Rectangle(corner, edge, edge, fill=False, color=FOUND, lw=1.8 if n == block else 0.8))
        left.set(xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
        colours = [FOUND if n == block else "0.75" for n in range(len(widths_mm))]
        right.barh(range(len(widths_mm)), widths_mm, color=colours)
        for n, width in enumerate(widths_mm):
            right.text(width, n, f" {width:.0f} mm", va="center", fontsize=8)
        right.set(
            yticks=range(len(widths_mm)), yticklabels=names, xlabel="Edge of the cube it depends on, mm", xlim=(0, 1.2 * max(widths_mm))
        )
        right.invert_yaxis()
        write_footer(figure)
    return figure


def learning_figure(
    steps: NDArray, losses: tuple[NDArray, NDArray], at: int, maps: Sequence[NDArray], view: tuple[NDArray, NDArray]
) -> Figure:
    """Draw two loss curves up to a step, and a slice's probability at the start, halfway and then.

    Parameters
    ----------
    steps : (n,) array
    losses : pair of (n,) arrays
        Of the patient learned from and of another.
    at : int
        Place in `steps` up to which is drawn.
    maps : n arrays (rows, columns)
    view : (picture, truth)
        The slice of `maps`.
    """
    with drawing():
        figure = new_figure(8.8, 2.9)
        curve, *others = figure.subplots(1, 4, width_ratios=(1.7, 1, 1, 1))
        for values, dash, colour, label in zip(
            losses, (SOLID, DASHED), ("black", "#0072B2"), ("the patient it learns from", "another patient"), strict=True
        ):
            curve.plot(steps[: at + 1], values[: at + 1], ls=dash, color=colour, label=label, marker="o", ms=2.5)
        top = 1.05 * max(float(values.max()) for values in losses)
        curve.set(xlabel="Updates of the network", ylabel="Loss", xlim=(-1, steps[-1] + 1), ylim=(0, top), title="The loss falls")
        curve.legend(loc="upper right", fontsize=7.5)
        picture, truth = view
        draw_brain(others[0], picture, "another patient, true lesions", truth)
        for axes, place in zip(others[1:], (at // 3, at), strict=True):
            _map(axes, maps[place], f"after {steps[place]} updates")
        write_footer(figure)
    return figure


def overlap_figure(answers: Sequence[NDArray], dice: Sequence[float], seams: tuple[list[float], list[float]], parts: int) -> Figure:
    """Draw a slice's probability from tiles side by side, from overlapping ones, and where they differ.

    `seams` are the rows and columns at which tiles side by side meet.
    """
    apart, averaged = answers
    with drawing():
        figure = new_figure(8.4, 3.2)
        left, middle, right = figure.subplots(1, 3)
        _map(left, apart, f"tiles side by side: Dice {dice[0]:.2f}")
        for axes in (left, right):
            for row in seams[0]:
                axes.axhline(row, color="#E69F00", lw=0.6, ls=DASHED)
            for column in seams[1]:
                axes.axvline(column, color="#E69F00", lw=0.6, ls=DASHED)
        every = "side by side" if parts == 1 else f"one every 1/{parts} tile, averaged"
        _map(middle, averaged, f"{every}: Dice {dice[1]:.2f}")
        _map(right, np.abs(apart - averaged), "difference of the two")
        write_footer(figure)
    return figure


def readers_figure(
    views: tuple[NDArray, NDArray, NDArray], volumes: tuple[NDArray, NDArray], agreed: Agreement, dice: float, totals: tuple[float, float]
) -> Figure:
    """Draw two outlines on a slice, and the difference of each lesion's volumes over their mean, with bias and limits.

    Parameters
    ----------
    views : (picture, first, second)
    volumes : pair of (n,) arrays
        ml of each lesion by both readers.
    agreed : Agreement
    dice : float
    totals : pair of float
        All lesions, ml.
    """
    picture, first, second = views
    one, two = volumes
    with drawing():
        figure = new_figure(8.6, 3.5)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        draw_brain(left, picture, f"Dice {dice:.2f}; {totals[0]:.1f} and {totals[1]:.1f} ml")
        with second_reader(simulated=True):  # the lesson's patient is a phantom, whatever the run's cohort is
            looks = [look("manual"), look("manual2")]
        for mask, how in zip((first, second), looks, strict=True):
            if mask.any():
                left.contour(mask.astype(float), levels=[0.5], colors=[how.outline], linewidths=1.1, linestyles=[how.dash])
            left.plot([], [], color=how.outline, ls=how.dash, label=how.label)
        left.legend(loc="lower left", fontsize=6.5, ncols=1, labelcolor="white", facecolor="black", framealpha=0.6, frameon=True)
        right.scatter((one + two) / 2, two - one, s=16, color="black", alpha=0.6, lw=0)
        right.axhline(0, color="0.7", lw=0.8)
        right.axhline(agreed.bias, color="#0072B2", label=f"bias {agreed.bias:+.2f} ml")
        for place, limit in enumerate((agreed.lower, agreed.upper)):
            label = "95% of the differences lie between" if place == 0 else None
            right.axhline(limit, color="#0072B2", ls=DASHED, lw=1.0, label=label)
        right.set(xlabel="Mean of both, ml", ylabel="Reader 2 minus reader 1, ml", title=f"Bland-Altman: {len(one)} lesions")
        right.legend(loc="best", fontsize=7.5)
        write_footer(figure)
    return figure


def hunt_figure(panels: Sequence[tuple[NDArray, NDArray, tuple[int, int] | None, str]], reveal: bool) -> Figure:
    """Draw slices with an outline; with `reveal` the errors are ringed and named.

    Parameters
    ----------
    panels : sequence of (picture, mask, place, what)
        `place` is (row, column) of the error, None without.
    reveal : bool
    """
    from matplotlib.patches import Circle

    with drawing():
        figure = new_figure(8.4, 6.6)
        for number, (axes, (picture, mask, place, what)) in enumerate(zip(figure.subplots(2, 3).flat, panels, strict=True)):
            letter = chr(ord("A") + number)
            draw_brain(axes, picture, f"{letter}: {what}" if reveal else letter)
            if mask.any():
                axes.contour(mask.astype(float), levels=[0.5], colors=["#F0E442"], linewidths=0.9)
            if reveal and place is not None:
                axes.add_patch(Circle(place[::-1], 9, fill=False, color=FOUND, lw=1.8))
                axes.title.set_color(FOUND)
        write_footer(figure)
    return figure


def _map(axes: Axes, probability: NDArray, title: str) -> None:
    axes.imshow(probability, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=8.5)
    letters(axes)
    axes.set(xticks=[], yticks=[])
