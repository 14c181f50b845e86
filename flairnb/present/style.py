"""One look for all figures: readable in black and white, by colour-blind readers, and the same bytes every time.

Colours are those of Okabe and Ito (2008); every method also has its own marker, hatch and line style, so that no figure
depends on colour. Figures are made without pyplot, so drawing one changes no global state of a notebook.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.provenance import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
NOT_CLINICAL = "Not for clinical use."
CONVENTION = "Radiological convention: the patient's right (R) is on the left of the picture."
#: After what is drawn or scored of people who do not exist.
SIMULATED = " (simulated)"

_RC = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.4,
    # Element ids in an SVG are hashed with this instead of a random salt; text stays text-shaped on any machine.
    "svg.hashsalt": "flairnb",
    "svg.fonttype": "path",
    "image.cmap": "gray",
}


@dataclass(frozen=True)
class Look:
    """How a method or a mask is drawn.

    `fill` is for bars and points on white, `outline` for lines on a grey image, `dash` for both kinds of line.
    """

    label: str
    fill: str
    outline: str
    dash: Any
    marker: str
    hatch: str


SOLID, DASHED, DOTTED, DASH_DOT = "-", (0, (4, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5))

LOOKS = {
    "manual": Look("Reader 1 (reference)", "#F0E442", "#F0E442", SOLID, "D", ""),
    "manual2": Look("Reader 2", "#FFFFFF", "#CC79A7", DASH_DOT, "D", ""),
    "unet": Look("U-Net", "#0072B2", "#56B4E9", DASHED, "o", ""),
    "shipped": Look("Shipped U-Net", "#56B4E9", "#0072B2", SOLID, "h", "oo"),
    "lga": Look("LGA (re-implementation)", "#999999", "#009E73", DOTTED, "s", "//"),
    "lga03": Look("LGA, kappa 0.3", "#6E6E6E", "#009E73", DASH_DOT, "p", "--"),
    "lpa": Look("LPA-style", "#C9C9C9", "#CC79A7", DOTTED, "P", "\\\\"),
    "bianca": Look("BIANCA-style kNN", "#E69F00", "#E69F00", DOTTED, "^", ".."),
    "threshold": Look("Plain threshold", "#E69F00", "#E69F00", DOTTED, "v", "xx"),
    "brain": Look("Brain", "#009E73", "#3CE0B0", SOLID, "_", ""),
    "missed": Look("Missed", "#D55E00", "#D55E00", SOLID, "_", ""),
    "extra": Look("Extra", "#CC79A7", "#E377E3", SOLID, "_", ""),
    "lesion": Look("Lesion (U-Net)", "#0072B2", "#F0E442", SOLID, "o", ""),
}

_SPARE = (
    ("#009E73", "#009E73", DASHED, "h", "++"),
    ("#CC79A7", "#CC79A7", DASH_DOT, "X", "--"),
    ("#D55E00", "#D55E00", SOLID, "*", "||"),
)


#: Whether the second reader of what is drawn next is simulated: see `name_second_reader`.
_reader_is_simulated = False


def name_second_reader(simulated: bool) -> None:
    """Call the second reader "Reader 2 (simulated)" from now on, or "Reader 2".

    A run calls this once, where it begins, with whether its cohort is the phantoms: nothing that is drawn later knows.
    A hospital's own second reader is a person, and so is whoever is drawn where nobody called this.
    """
    global _reader_is_simulated
    _reader_is_simulated = bool(simulated)


@contextlib.contextmanager
def second_reader(simulated: bool) -> Iterator[None]:
    """Name the second reader inside a block, whatever the run's cohort is: for pictures of one case."""
    before = _reader_is_simulated
    name_second_reader(simulated)
    try:
        yield
    finally:
        name_second_reader(before)


def look(name: str, position: int = 0) -> Look:
    """Return how `name` is drawn; unknown names get a spare look by `position`.

    The second reader's label says that the reader is simulated where `name_second_reader` was told so.

    Examples
    --------
    >>> look("unet").label
    'U-Net'
    >>> look("my tool", 1).label
    'my tool'
    """
    if name == "manual2" and _reader_is_simulated:
        return replace(LOOKS[name], label=LOOKS[name].label + SIMULATED)
    if name in LOOKS:
        return LOOKS[name]
    return Look(name, *_SPARE[position % len(_SPARE)])


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw with the house's style; restores matplotlib's settings afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        yield


@lru_cache(maxsize=1)
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure without pyplot that a notebook shows as the last line of a cell."""

        def _repr_png_(self) -> bytes:
            return to_png(self)

    return NotebookFigure


def new_figure(width_in: float, height_in: float, layout: str | None = "constrained") -> Figure:
    """Return an empty figure in inches; call inside `drawing`."""
    return _figure_class()(figsize=(width_in, height_in), dpi=DPI, layout=layout)


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return the figure as PNG bytes, without date or program name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with drawing():
        FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def to_jpeg(png: bytes, quality: int = 85) -> bytes:
    """Return a PNG as JPEG, with the full resolution of colours."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def to_svg(figure: Figure) -> bytes:
    """Return the figure as SVG bytes, without date and with fixed ids."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with drawing():
        FigureCanvasSVG(figure).print_figure(buffer, format="svg", metadata={"Date": None, "Creator": "flairnb"})
    return buffer.getvalue()


def legend_columns(labels: Sequence[str], width_in: float, letter_in: float = 0.068, handle_in: float = 0.6) -> int:
    """Return in how many columns a legend fits into a width: all in one row, or as many columns as are sure to fit.

    Constrained layout makes room for a legend's height, not for its width: too wide a one is cut at both ends.

    Examples
    --------
    >>> labels = ["Reader 2 (simulated)", "U-Net", "LGA (re-implementation)", "BIANCA-style kNN"]
    >>> legend_columns(labels, 8.6), legend_columns(labels, 4.5)
    (4, 2)
    """
    widths = [letter_in * len(label) + handle_in for label in labels]
    if sum(widths) <= width_in:
        return max(1, len(labels))
    return max(1, int(width_in / max(widths)))


def save_figure(figure: Figure, path: str | os.PathLike, formats: Sequence[str] = ("png", "svg"), dpi: int = DPI) -> list[Path]:
    """Write a figure, atomically and with the same bytes for the same content.

    Parameters
    ----------
    figure : Figure
        From a function of this room.
    path : path
        With or without suffix; a ``.png`` or ``.svg`` suffix is replaced by each of `formats`.
    formats : sequence of {"png", "svg"}
        What to write.
    dpi : int
        Of the PNG and of images inside the SVG.

    Returns
    -------
    list of Path
        In the order of `formats`.
    """
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (".png", ".svg") else path
    written = []
    for kind in formats:
        content = to_png(figure, dpi) if kind == "png" else to_svg(figure)
        target = base.with_name(f"{base.name}.{kind}")
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)
        written.append(target)
    return written
