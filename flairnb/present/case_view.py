"""A case as viewers want it: 8 bit, cropped to the brain, in one order of axes.

Every viewer gets the same volume, in right-anterior-superior order with its
affine, and is told to show it by the radiological convention. So a wrong side
can be made in one place only, and is tested there with an asymmetric phantom.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from flairnb.errors import GeometryError
from flairnb.geometry import box_affine, canonical_axes, spacing_mm
from flairnb.present.slices import as_stack, grey_window, to_ras

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from flairnb.images import Image

#: Kept around the brain, so that its edge can be judged.
MARGIN_MM = 8.0
#: A viewer's brightest grey lies this many windows above black, so that bright lesions can still be told apart.
HEADROOM = 1.4
READERS = ("manual", "manual2")
#: Layers made from the reference and the method's mask.
ERRORS = ("missed", "extra")
#: Label values of `compared`, and what they mean.
BOTH, MISSED, EXTRA = 1, 2, 3
COMPARED = {BOTH: "both", MISSED: "reference only (missed)", EXTRA: "method only (extra)"}


@dataclass(frozen=True)
class Case:
    """One examination and what was marked on it, all on the FLAIR's own grid.

    Attributes
    ----------
    name : str
        Shown above pictures; no patient's name.
    flair : Image
    masks : mapping of name to (I, J, K) bool array
        Lesion masks, the reference ("manual") first where there is one.
    brain : (I, J, K) bool array, optional
        Without it nothing is shown in 3D, because a head in 3D shows a face.
    t1w : (I, J, K) float array, optional
        Already on the FLAIR's grid.
    probability : (I, J, K) float array, optional
        0 to 1.
    t1w_by_header : bool
        The T1w was put there by the headers alone, no registration known.
    simulated : bool
        A phantom: neither the patient nor the second reader exists.
    """

    name: str
    flair: Image
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    brain: NDArray[np.bool_] | None = None
    t1w: NDArray[np.float32] | None = None
    probability: NDArray[np.float32] | None = None
    t1w_by_header: bool = False
    simulated: bool = False

    def __post_init__(self) -> None:
        named = {**self.masks, "brain": self.brain, "T1w": self.t1w, "probability": self.probability}
        for name, array in named.items():
            if array is not None and tuple(np.shape(array)) != tuple(self.flair.shape):
                raise GeometryError(
                    f"{self.name}: {name}: expected the FLAIR's shape {tuple(self.flair.shape)}, received {np.shape(array)}. "
                    "Resample it to the FLAIR."
                )

    @property
    def has_brain(self) -> bool:
        """Whether a brain mask with voxels is there."""
        return self.brain is not None and bool(self.brain.any())

    @property
    def method(self) -> str:
        """The first mask that is no reader's, else the last reader's; "" without masks."""
        names = list(self.masks)
        return next((name for name in names if name not in READERS), names[-1] if names else "")

    def layers(self) -> dict[str, NDArray]:
        """Return all that can lie on the FLAIR: masks, then what the method missed and marked besides, T1w, probability."""
        out: dict[str, NDArray] = dict(self.masks)
        if "manual" in self.masks and self.method != "manual":
            labels = compared(self.masks["manual"], self.masks[self.method])
            out |= {"missed": labels == MISSED, "extra": labels == EXTRA}
        given = {"T1w": self.t1w, "probability": self.probability}
        return out | {name: data for name, data in given.items() if data is not None}


@dataclass(frozen=True)
class Packed:
    """What a viewer loads.

    Attributes
    ----------
    image : (I, J, K) uint8 array
        FLAIR; i grows to the patient's right, j to the front, k to the top.
    affine : (4, 4) float array
        Voxel to RAS+ world, mm, of the cropped volume.
    layers : mapping of name to (I, J, K) uint8 array
        Masks hold 0 and 1; "T1w" and "probability" 0 to 255.
    stripped : bool
        Whether the pictures are 0 far from the brain and from every mask.
    window : tuple of float
        Values of `image` shown as black and white at first.
    box : tuple of slice
        Of int; what was cut out of the FLAIR in right-anterior-superior order.
    inside : (I, J, K) bool array or None
        What was kept of the cropped pictures; None for all. Masks are kept
        whole: they show no face, and what is marked must be seen.
    z_mm : (K,) float array
        World height of the centre of each slice of the whole FLAIR, as still
        pictures give it; in a tilted volume a corner lies elsewhere.
    """

    image: NDArray[np.uint8]
    affine: NDArray[np.float64]
    layers: dict[str, NDArray[np.uint8]]
    stripped: bool
    window: tuple[float, float] = (0.0, 255.0)
    box: tuple[slice, slice, slice] = (slice(0, 0), slice(0, 0), slice(0, 0))
    inside: NDArray[np.bool_] | None = None
    z_mm: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def fraction_of(self, world_mm: NDArray) -> tuple[float, float, float]:
        """Return where a point (3,) in RAS+ mm lies in the volume, 0 to 1 along each axis, clipped to it."""
        voxel = np.linalg.inv(self.affine) @ [*np.asarray(world_mm, dtype=float), 1.0]
        i, j, k = np.clip((voxel[:3] + 0.5) / self.image.shape, 0.0, 1.0)
        return float(i), float(j), float(k)

    def world_of(self, fraction: ArrayLike) -> NDArray[np.float64]:
        """Return the point (3,) in RAS+ mm at a place given by fractions: `fraction_of` backwards."""
        voxel = np.asarray(fraction, dtype=float) * self.image.shape - 0.5
        return self.affine[:3, :3] @ voxel + self.affine[:3, 3]

    def fit(self, data: NDArray, affine: NDArray, window: tuple[float, float] | None = None) -> NDArray[np.uint8]:
        """Return an array on the FLAIR's grid as this volume's: reordered, cropped, 8 bit; pictures stripped, masks whole.

        Parameters
        ----------
        data : array of the FLAIR's shape
        affine : (4, 4) array
            The FLAIR's.
        window : tuple of float, optional
            Mapped to 0 to 255; absent for masks, which become 0 and 1.

        Raises
        ------
        GeometryError
            For an array of another grid, which this volume was not cut out of.
        """
        cut, shape = to_ras(data, affine)[self.box], tuple(side.stop - side.start for side in self.box)
        if cut.shape != shape:
            raise GeometryError(
                f"viewer: expected an array that holds this volume of shape {shape}, received {np.shape(data)}. Pack its case."
            )
        if window is None:
            return np.ascontiguousarray(cut > 0, dtype=np.uint8)
        cut = to_bytes(cut, window)
        return np.ascontiguousarray(cut if self.inside is None else cut * self.inside)

    def beyond(self, mask: NDArray, affine: NDArray) -> int:
        """Return how many voxels of a mask on the FLAIR's grid lie outside this volume, where no viewer shows them."""
        return int(np.count_nonzero(mask)) - int(np.count_nonzero(to_ras(mask, affine)[self.box]))


def pack(case: Case, head: bool = False) -> Packed:
    """Make a case small and safe for a browser.

    Parameters
    ----------
    case : Case
    head : bool
        Keep what is outside the brain. A head in 3D shows the person's face:
        only for data that may be shown so.

    Returns
    -------
    Packed
        Cropped to the brain and all masks (or, without a brain mask, to the
        head and all masks), with the picture around both: a lesion at the
        surface is seen where the brain mask left it out. Without a brain mask
        nothing is removed, and `stripped` is False.
    """
    affine = ras_affine(case.flair.affine, case.flair.shape)
    spacing = spacing_mm(affine)
    low, high = grey_window(case.flair.data, case.brain)
    found = case.brain if case.has_brain else np.asarray(case.flair.data) > low + 0.1 * (high - low)
    kept = to_ras(reduce(np.logical_or, case.masks.values(), found), case.flair.affine)
    box = _box(kept, spacing, MARGIN_MM if case.has_brain else MARGIN_MM / 2)
    inside = grown(kept[box], MARGIN_MM / 2, spacing) if case.has_brain and not head else None
    moved, z_mm = box_affine(affine, box), as_stack(case.flair).z_mm[box[2]]
    empty = Packed(np.zeros((0, 0, 0), np.uint8), moved, {}, inside is not None, (0.0, 255.0 / HEADROOM), box, inside, z_mm)
    image = empty.fit(case.flair.data, case.flair.affine, (low, low + HEADROOM * (high - low)))
    layers = {name: empty.fit(data, case.flair.affine, _window_of(name, data, case)) for name, data in case.layers().items()}
    return replace(empty, image=image, layers=layers)


def _window_of(name: str, data: NDArray, case: Case) -> tuple[float, float] | None:
    if name == "T1w":
        return grey_window(data, case.brain)
    return (0.0, 1.0) if name == "probability" else None


def compared(reference: NDArray, predicted: NDArray) -> NDArray[np.uint8]:
    """Return agreement and the two kinds of error as labels (see `COMPARED`), uint8, 0 outside both masks.

    Examples
    --------
    >>> compared(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])).tolist()
    [0, 1, 2, 3]
    """
    reference, predicted = np.asarray(reference) > 0, np.asarray(predicted) > 0
    labels = np.zeros(reference.shape, dtype=np.uint8)
    labels[reference & predicted] = BOTH
    labels[reference & ~predicted] = MISSED
    labels[predicted & ~reference] = EXTRA
    return labels


def ras_affine(affine: NDArray, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the affine of `to_ras`'s result: same voxels in the same places, axes reordered and flipped."""
    axes, signs = canonical_axes(affine)
    affine = np.asarray(affine, dtype=float)
    out = np.eye(4)
    out[:3, 3] = affine[:3, 3]
    for place, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        out[:3, place] = sign * affine[:3, axis]
        if sign < 0:
            out[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
    return out


def to_bytes(data: NDArray, window: tuple[float, float]) -> NDArray[np.uint8]:
    """Map a grey window to 0 to 255; NaN becomes 0."""
    low, high = window
    scaled = np.nan_to_num((np.asarray(data, dtype=np.float32) - low) / max(high - low, 1e-6))
    return np.round(255 * np.clip(scaled, 0.0, 1.0)).astype(np.uint8)


def grown(mask: NDArray[np.bool_], by_mm: float, spacing: NDArray) -> NDArray[np.bool_]:
    """Return a mask grown by a distance in mm along each axis, to whole voxels below it: a box, many times faster than a ball.

    Examples
    --------
    >>> grown(np.eye(1, 7, 3, dtype=bool)[None], 2.0, np.array([1.0, 1.0, 0.9]))[0, 0].astype(int).tolist()
    [0, 1, 1, 1, 1, 1, 0]
    """
    from scipy import ndimage

    out = mask.view(np.uint8)
    for axis, step in enumerate(spacing):
        out = ndimage.maximum_filter1d(out, 2 * int(by_mm / step) + 1, axis=axis, mode="constant")
    return out.view(bool)


def _box(inside: NDArray[np.bool_], spacing: NDArray, by_mm: float) -> tuple[slice, slice, slice]:
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(by_mm / spacing[axis]))
        first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, inside.shape[axis] - 1)
        sides.append(slice(max(0, first - margin), min(inside.shape[axis], last + 1 + margin)))
    return sides[0], sides[1], sides[2]
