"""Tiles of axial slices on one sheet of paper, all at the same scale, with letters, scale bar and legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.style import CONVENTION, Look, drawing, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BAR_LENGTHS_MM = (10, 20, 50, 100)


@dataclass(frozen=True)
class Tile:
    """One slice as it is seen: row 0 is the patient's front, column 0 the patient's right side.

    `step_mm` is (row, column) spacing. `outlines` are (mask, look) pairs; `filled` are (mask, colour) pairs.
    """

    picture: NDArray
    step_mm: tuple[float, float]
    window: tuple[float, float]
    outlines: Sequence[tuple[NDArray[np.bool_], Look]] = ()
    filled: Sequence[tuple[NDArray[np.bool_], str]] = ()
    caption: str = ""
    heading: str = ""
    size_mm: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        size = self.picture.shape[0] * self.step_mm[0], self.picture.shape[1] * self.step_mm[1]
        object.__setattr__(self, "size_mm", size)


def draw_tile(axes: Axes, tile: Tile, left_mm: float, top_mm: float) -> None:
    """Draw one tile with its upper left corner at (left, top); the axes count mm, y upwards."""
    height, width = tile.size_mm
    low, high = tile.window
    extent = (left_mm, left_mm + width, top_mm - height, top_mm)
    axes.imshow(tile.picture, cmap="gray", vmin=low, vmax=high, extent=extent, origin="upper", zorder=1)
    for mask, colour in tile.filled:
        if mask.any():
            from matplotlib.colors import to_rgba

            rgba = np.zeros((*mask.shape, 4))
            rgba[mask] = to_rgba(colour, 0.6)
            axes.imshow(rgba, extent=extent, origin="upper", zorder=2, interpolation="nearest")
    for mask, how in tile.outlines:
        if mask.any():
            _outline(axes, np.asarray(mask, dtype=float), how, (left_mm, top_mm), tile.step_mm)
    _letters(axes, tile, left_mm, top_mm)


def _outline(axes: Axes, mask: NDArray, how: Look, corner: tuple[float, float], step_mm: tuple[float, float]) -> None:
    from matplotlib.patheffects import withStroke

    padded = np.pad(mask, 1)
    x = corner[0] + (np.arange(padded.shape[1]) - 0.5) * step_mm[1]
    y = corner[1] - (np.arange(padded.shape[0]) - 0.5) * step_mm[0]
    lines = axes.contour(x, y, padded, levels=[0.5], colors=[how.outline], linestyles=[how.dash], linewidths=1.1, zorder=3)
    lines.set_path_effects([withStroke(linewidth=2.0, foreground=(0, 0, 0, 0.55))])


def _letters(axes: Axes, tile: Tile, left: float, top: float) -> None:
    from matplotlib.patheffects import withStroke

    height, width = tile.size_mm
    halo = [withStroke(linewidth=2.0, foreground="black")]
    write = {"color": "white", "fontsize": 7.5, "path_effects": halo, "zorder": 4, "clip_on": True}
    axes.text(left + 2, top - 2, "R", ha="left", va="top", fontweight="bold", **write)
    axes.text(left + width - 2, top - 2, "L", ha="right", va="top", fontweight="bold", **write)
    if tile.caption:
        axes.text(left + width - 2, top - height + 2, tile.caption, ha="right", va="bottom", **{**write, "fontsize": 6.5})
    if tile.heading:
        axes.text(left + width / 2, top + 2, tile.heading, ha="center", va="bottom", color="black", fontsize=8.5, zorder=4)


def draw_scale_bar(axes: Axes, left_mm: float, bottom_mm: float, tile_width_mm: float) -> None:
    """Draw a bar of a round length, about a third of a tile, with its length in mm."""
    from matplotlib.patheffects import withStroke

    length = max((mm for mm in BAR_LENGTHS_MM if mm <= 0.4 * tile_width_mm), default=BAR_LENGTHS_MM[0])
    halo = [withStroke(linewidth=3.0, foreground="black")]
    x, y = left_mm + 4, bottom_mm + 4
    axes.plot([x, x + length], [y, y], color="white", lw=2.0, solid_capstyle="butt", path_effects=halo, zorder=4)
    axes.text(x, y + 2.5, f"{length} mm", color="white", fontsize=6.5, va="bottom", path_effects=halo, zorder=4)


def draw_grid(
    tiles: Sequence[Tile], columns: int, title: str = "", legend: Sequence[tuple[str, Look]] = (), footer: str = CONVENTION
) -> Figure:
    """Draw tiles of equal scale in rows, with letters, scale bar, legend and footer.

    Parameters
    ----------
    tiles : sequence of Tile
        Row by row.
    columns : int
        Tiles in a row.
    title : str
        Above the picture.
    legend : sequence of (label, Look)
        Line samples below the picture.
    footer : str
        Below everything; states the convention.
    """
    headed = any(tile.heading for tile in tiles)
    gap, head = 3.0, 14.0 if headed else 0.0
    height, width = (max(tile.size_mm[side] for tile in tiles) for side in (0, 1))
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    total_w, total_h = columns * (width + gap) - gap, rows * (height + head + gap) - gap
    width_in = max(5.0, min(8.6, 2.15 * columns))
    with drawing():
        picture_in = width_in * total_h / total_w
        top_in = 0.12 + 0.2 * (title.count("\n") + 1 if title else 0)
        bottom_in = 0.3 + (0.26 if legend else 0.0) + 0.16 * footer.count("\n")
        height_in = picture_in + top_in + bottom_in
        figure = new_figure(width_in, height_in, layout=None)
        axes = figure.add_axes((0.0, bottom_in / height_in, 1.0, picture_in / height_in))
        for number, tile in enumerate(tiles):
            row, column = divmod(number, columns)
            # A smaller tile sits in the middle of its cell.
            left = column * (width + gap) + (width - tile.size_mm[1]) / 2
            top = -row * (height + head + gap) - head - (height - tile.size_mm[0]) / 2
            draw_tile(axes, tile, left, top)
        first = tiles[(rows - 1) * columns]
        bottom = -(rows - 1) * (height + head + gap) - head - (height + first.size_mm[0]) / 2
        draw_scale_bar(axes, (width - first.size_mm[1]) / 2, bottom, first.size_mm[1])
        axes.set(xlim=(0, total_w), ylim=(-total_h, 0), aspect="equal")
        axes.set_facecolor("white" if headed else "black")
        axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        if title:
            figure.text(0.01, 1 - 0.07 / height_in, title, ha="left", va="top", fontsize=9.5)
        figure.text(0.01, 0.07 / height_in, footer, ha="left", va="bottom", fontsize=7.5, color="0.25")
        if legend:
            _legend(figure, legend, (bottom_in - 0.05) / height_in)
    return figure


def _legend(figure: Figure, entries: Sequence[tuple[str, Look]], top: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.0, foreground="black")]
    handles = [Line2D([], [], color=how.outline, linestyle=how.dash, lw=1.8, label=label, path_effects=halo) for label, how in entries]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.0, top), ncols=len(handles), fontsize=8, borderaxespad=0.0, handlelength=2.6
    )
