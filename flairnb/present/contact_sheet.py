"""Many cases on one page: one slice of each, with its name; and the article's Figure 3 layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.slices import Stack, as_stack, axial_tile, grey_window, in_plane_box, named_overlays, to_ras
from flairnb.present.style import CONVENTION, Look, look
from flairnb.present.tiles import Tile, draw_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.images import Image

#: The article overlays lesions in red (Figure 3).
OVERLAY_RED = "#E8241B"


@dataclass(frozen=True)
class SheetCase:
    """One case of a sheet.

    Attributes
    ----------
    label : str
        Written above the slice, for example the diagnosis.
    image : Image
        FLAIR in its own grid.
    masks : mapping of name to (I, J, K) bool array
        On the image's grid. The first one (except "brain") chooses the slice; "brain" sets window and crop and is not
        drawn.
    """

    label: str
    image: Image
    masks: dict[str, NDArray[np.bool_]]


def contact_sheet(cases: Sequence[SheetCase], columns: int = 5, title: str = "", outline: bool = True) -> Figure:
    """Draw the slice with most lesion of each case, in one grid of equal scale.

    Parameters
    ----------
    cases : sequence of SheetCase
        In the order of the sheet; masks are those of `SheetCase`.
    columns : int
        Cases in a row.
    title : str
        Above the sheet.
    outline : bool
        Draw the masks' outlines; without, the picture shows what a reader sees.
    """
    tiles, legend = [], {}
    for case in cases:
        tile, looks = _sheet_tile(case, outline)
        tiles.append(tile)
        legend |= {how.label: how for how in looks}
    return draw_grid(tiles, columns, title, list(legend.items()), CONVENTION)


def comparison_sheet(cases: Sequence[SheetCase], methods: Sequence[str], title: str = "") -> Figure:
    """Draw one row a case: the FLAIR, then the same slice with each method's mask in red (article, Figure 3).

    Parameters
    ----------
    cases : sequence of SheetCase
        Each with the masks named in `methods`; the last of `methods` chooses the slice.
    methods : sequence of str
        Columns after the FLAIR, for example ``("unet", "manual")``.
    title : str
        Above the sheet.
    """
    tiles = []
    for case in cases:
        stack, box, window, masks = _prepared(case)
        k = _most_lesion(masks[methods[-1]], stack)
        plain = axial_tile(stack, k, box, window)
        tiles.append(replace(plain, heading=case.label))
        for method in methods:
            seen = axial_tile(stack, k, box, window, [(masks[method], look(method))])
            tiles.append(replace(seen, outlines=(), filled=[(seen.outlines[0][0], OVERLAY_RED)], heading=look(method).label))
    return draw_grid(tiles, 1 + len(methods), title)


def _sheet_tile(case: SheetCase, outline: bool) -> tuple[Tile, list[Look]]:
    stack, box, window, masks = _prepared(case)
    drawn = {name: mask for name, mask in masks.items() if name != "brain"}
    k = _most_lesion(next(iter(drawn.values()), np.zeros(stack.data.shape, dtype=bool)), stack)
    looks = [(mask, look(name, number)) for number, (name, mask) in enumerate(drawn.items())] if outline else []
    return replace(axial_tile(stack, k, box, window, looks), heading=case.label), [how for _, how in looks]


def _prepared(case: SheetCase) -> tuple[Stack, tuple[slice, slice], tuple[float, float], dict[str, NDArray[np.bool_]]]:
    stack = as_stack(case.image)
    masks = {name: to_ras(mask, case.image.affine) for name, mask in named_overlays(case.masks, case.image.shape)}
    brain = masks.get("brain")
    window = grey_window(stack.data, brain)
    inside = brain if brain is not None and brain.any() else stack.data > window[0] + 0.1 * (window[1] - window[0])
    return stack, in_plane_box(inside, stack.spacing_mm), window, masks


def _most_lesion(mask: NDArray[np.bool_], stack: Stack) -> int:
    """Return the slice with most of the mask; without any, the slice at 55% of the brain's (or image's) height."""
    if mask.any():
        return int(mask.sum(axis=(0, 1)).argmax())
    bright = np.flatnonzero((stack.data > grey_window(stack.data)[0]).any(axis=(0, 1)))
    return int(np.quantile(bright, 0.55)) if bright.size else stack.data.shape[2] // 2
