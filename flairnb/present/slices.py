"""Axial slices of an examination with outlines of masks, as a radiologist reads them.

Radiological convention: one looks from the feet, so the patient's right is on the left of the picture, and the front
is up. The image is put into the closest right-anterior-superior order of its own axes; nothing is rotated or
resampled, and voxels keep their true proportions in mm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flairnb.errors import GeometryError
from flairnb.geometry import canonical_axes, spacing_mm
from flairnb.present.style import CONVENTION, Look, look
from flairnb.present.tiles import Tile, draw_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.images import Image

#: Grey window: these percentiles of the brain are black and white.
WINDOW_PERCENTILES = (1.0, 99.7)
MARGIN_MM = 6.0

Overlays = Mapping[str, "NDArray[np.bool_]"] | Iterable[tuple[str, "NDArray[np.bool_]"]] | None


@dataclass(frozen=True)
class Stack:
    """A volume in right-anterior-superior order.

    Attributes
    ----------
    data : (I, J, K) array
        i grows to the patient's right, j to the front, k to the top.
    spacing_mm : (3,) float array
    z_mm : (K,) float array
        World height of the centre of each slice.
    """

    data: NDArray
    spacing_mm: NDArray[np.float64]
    z_mm: NDArray[np.float64]


def to_ras(data: NDArray, affine: NDArray) -> NDArray:
    """Reorder and flip the axes of `data` to the closest right-anterior-superior order."""
    axes, signs = canonical_axes(affine)
    ordered = np.transpose(data, axes)
    return ordered[tuple(slice(None, None, 1 if sign > 0 else -1) for sign in signs)]


def as_stack(image: Image) -> Stack:
    """Return an image's volume in right-anterior-superior order.

    Parameters
    ----------
    image : Image
        Any orientation, oblique too.
    """
    axes, signs = canonical_axes(image.affine)
    height = image.affine[2]
    middle = (np.array(image.shape) - 1) / 2
    along = int(axes[2])
    indices = np.arange(image.shape[along])
    rest = sum(height[axis] * middle[axis] for axis in range(3) if axis != along) + height[3]
    z_mm = height[along] * indices + rest
    return Stack(to_ras(image.data, image.affine), spacing_mm(image.affine)[axes], z_mm if signs[2] > 0 else z_mm[::-1])


def choose_slices(lesion_area: NDArray, inside_area: NDArray, count: int, reference_area: NDArray | None = None) -> list[int]:
    """Choose slices: half where most lesion is, the rest spread over the brain.

    Parameters
    ----------
    lesion_area : (K,) array
        Lesion voxels in each slice.
    inside_area : (K,) array
        Brain (or head) voxels in each slice; slices with less than a tenth of the largest are left out.
    count : int
        How many; fewer when the volume has fewer.
    reference_area : (K,) array, optional
        Voxels of the reference in each slice. Half of the lesion's slices are chosen by it before anything else: a
        small reference is seen even where false alarms are larger.

    Returns
    -------
    list of int
        Ascending, without repeats.
    """
    lesion_area, inside_area = np.asarray(lesion_area), np.asarray(inside_area)
    candidates = np.flatnonzero((inside_area > 0.1 * inside_area.max()) | (lesion_area > 0))
    if candidates.size == 0:
        candidates = np.arange(inside_area.size)
    count = min(count, candidates.size)
    apart = max(1, candidates.size // (2 * count))
    with_lesion = (count + 1) // 2
    chosen = [] if reference_area is None else _largest(np.asarray(reference_area), candidates, (with_lesion + 1) // 2, apart, [])
    chosen = _largest(lesion_area, candidates, with_lesion, apart, chosen)
    while len(chosen) < count:
        # The candidate farthest from all chosen ones; the first is the middle of the brain.
        free = [k for k in candidates.tolist() if k not in chosen]
        ends = [*chosen, int(candidates[0]) - 1, int(candidates[-1]) + 1]
        chosen.append(max(free, key=lambda k: min(abs(k - other) for other in ends)))
    return sorted(chosen)


def _largest(area: NDArray, candidates: NDArray, count: int, apart: int, chosen: list[int]) -> list[int]:
    """Return `chosen` and the slices of largest area, `count` in all, each `apart` from the others; none without area."""
    chosen = list(chosen)
    for k in sorted(candidates.tolist(), key=lambda k: -area[k]):
        if len(chosen) >= count or area[k] == 0:
            break
        if all(abs(k - other) >= apart for other in chosen):
            chosen.append(k)
    return chosen


def grey_window(data: NDArray, inside: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Return the intensities shown as black and white: percentiles of the brain, or of the non-zero voxels."""
    values = data[inside] if inside is not None and inside.any() else data[data != 0]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, WINDOW_PERCENTILES)
    return float(low), float(high if high > low else low + 1.0)


def axial_tile(
    stack: Stack, k: int, box: tuple[slice, slice], window: tuple[float, float], outlines: Sequence[tuple[NDArray, Look]] = ()
) -> Tile:
    """Cut slice `k` out of a stack and turn it to the radiological view.

    Parameters
    ----------
    stack : Stack
        Volume in right-anterior-superior order.
    k : int
        Slice.
    box : tuple of slice
        Crop along i and j.
    window : tuple of float
        Intensities shown as black and white.
    outlines : sequence of (mask, look)
        Masks (I, J, K) in the same order as the stack.
    """
    return Tile(
        picture=_seen(stack.data[:, :, k][box]),
        step_mm=(float(stack.spacing_mm[1]), float(stack.spacing_mm[0])),
        window=window,
        outlines=[(_seen(mask[:, :, k][box]), how) for mask, how in outlines],
        caption=f"z {stack.z_mm[k]:+.0f} mm".replace("-", "\N{MINUS SIGN}"),
    )


def _seen(plane: NDArray) -> NDArray:
    """Turn a plane (i to the right, j to the front) so that row 0 is the front and column 0 the patient's right."""
    return plane[::-1, ::-1].T


def in_plane_box(inside: NDArray[np.bool_], spacing: NDArray) -> tuple[slice, slice]:
    """Return the crop along i and j around `inside` with a margin of `MARGIN_MM`."""
    box = []
    for axis in (0, 1):
        hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if hit.size == 0:
            box.append(slice(0, inside.shape[axis]))
            continue
        margin = int(np.ceil(MARGIN_MM / spacing[axis]))
        box.append(slice(max(0, int(hit[0]) - margin), min(inside.shape[axis], int(hit[-1]) + 1 + margin)))
    return box[0], box[1]


def named_overlays(overlays: Overlays, shape: tuple[int, ...]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return overlays as (name, bool mask) pairs after checking that they fit the image."""
    pairs = list(overlays.items() if isinstance(overlays, Mapping) else overlays or ())
    for name, mask in pairs:
        if tuple(np.shape(mask)) != tuple(shape):
            msg = f"overlay {name!r}: expected the image's shape {tuple(shape)}, received {np.shape(mask)}. Resample the mask to the image."
            raise GeometryError(msg)
    return [(name, np.asarray(mask) > 0) for name, mask in pairs]


def mosaic(  # noqa: PLR0913 - by name only
    image: Image,
    overlays: Overlays = None,
    *,
    count: int = 12,
    columns: int = 4,
    title: str = "",
    footer: str = CONVENTION,
    window: tuple[float, float] | None = None,
) -> Figure:
    """Draw axial slices of an examination with outlines of masks.

    Parameters
    ----------
    image : Image
        FLAIR or T1w, any orientation.
    overlays : mapping or pairs of name to (I, J, K) bool array
        Masks on the image's grid. The name decides line and colour (see `flairnb.present.style.LOOKS`); "brain" sets
        the grey window and the crop, all others choose the slices, "manual" first.
    count : int
        Number of slices; all of a volume that has fewer.
    columns : int
        Slices in a row.
    title : str
        Above the picture.
    footer : str
        Below the picture.
    window : tuple of float, optional
        Intensities shown as black and white; else percentiles of the brain.

    Returns
    -------
    Figure
        R and L letters in each slice, a scale bar in mm, the slice's world height, a legend of the outlines.

    Raises
    ------
    GeometryError
        If a mask has another shape than the image.
    """
    pairs = [(name, to_ras(mask, image.affine)) for name, mask in named_overlays(overlays, image.shape)]
    stack = as_stack(image)
    brain = dict(pairs).get("brain")
    own = grey_window(stack.data, brain)
    inside = brain if brain is not None and brain.any() else stack.data > own[0] + 0.1 * (own[1] - own[0])
    lesions = [mask for name, mask in pairs if name != "brain"]
    lesion_area = sum((mask.sum(axis=(0, 1)) for mask in lesions), np.zeros(stack.data.shape[2]))
    looks = [(mask, look(name, number)) for number, (name, mask) in enumerate(pairs)]
    box = in_plane_box(inside, stack.spacing_mm)
    reference = dict(pairs).get("manual")
    reference_area = None if reference is None else reference.sum(axis=(0, 1))
    chosen = choose_slices(lesion_area, inside.sum(axis=(0, 1)), count, reference_area)
    tiles = [axial_tile(stack, k, box, window or own, looks) for k in chosen]
    return draw_grid(tiles, columns, title, [(how.label, how) for _, how in looks], footer)
