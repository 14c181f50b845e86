"""A case as viewers want it: 8 bit, cropped to the brain, in one order of axes.

Every viewer gets the same volume, in right-anterior-superior order with its
affine, and is told to show it by the radiological convention. So a wrong side
can be made in one place only, and is tested there with an asymmetric phantom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flairnb.errors import GeometryError
from flairnb.geometry import canonical_axes, spacing_mm
from flairnb.present.slices import grey_window, to_ras

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flairnb.images import Image

#: Kept around the brain, so that its edge can be judged.
MARGIN_MM = 8.0
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
    """

    name: str
    flair: Image
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    brain: NDArray[np.bool_] | None = None
    t1w: NDArray[np.float32] | None = None
    probability: NDArray[np.float32] | None = None

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


@dataclass(frozen=True)
class Packed:
    """What a viewer loads.

    Attributes
    ----------
    image : (I, J, K) uint8 array
        FLAIR, grey window 0 to 255; i grows to the patient's right, j to the
        front, k to the top.
    affine : (4, 4) float array
        Voxel to RAS+ world, mm, of the cropped volume.
    layers : mapping of name to (I, J, K) uint8 array
        Masks hold 0 and 1; "T1w" and "probability" 0 to 255.
    stripped : bool
        Whether everything but the brain was set to 0.
    """

    image: NDArray[np.uint8]
    affine: NDArray[np.float64]
    layers: dict[str, NDArray[np.uint8]]
    stripped: bool

    def fraction_of(self, world_mm: NDArray) -> tuple[float, float, float]:
        """Return where a point (3,) in RAS+ mm lies in the volume, 0 to 1 along each axis, clipped to it."""
        voxel = np.linalg.inv(self.affine) @ [*np.asarray(world_mm, dtype=float), 1.0]
        i, j, k = np.clip((voxel[:3] + 0.5) / self.image.shape, 0.0, 1.0)
        return float(i), float(j), float(k)


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
        Cropped to the brain (or, without a brain mask, to the head). Without a
        brain mask nothing is removed, and `stripped` is False.
    """
    image, brain = to_ras(case.flair.data, case.flair.affine), None
    window = grey_window(case.flair.data, case.brain)
    affine = ras_affine(case.flair.affine, case.flair.shape)
    spacing = spacing_mm(affine)
    if case.has_brain:
        brain = grown(to_ras(case.brain, case.flair.affine), MARGIN_MM / 2, spacing)
    box = _box(brain if brain is not None else image > window[0] + 0.1 * (window[1] - window[0]), spacing)
    strip = brain is not None and not head

    def fit(as_bytes: NDArray) -> NDArray[np.uint8]:
        kept = as_bytes * brain if strip else as_bytes
        return np.ascontiguousarray(kept[box])

    layers = {name: fit(to_ras(mask, case.flair.affine).astype(np.uint8)) for name, mask in case.masks.items()}
    if case.t1w is not None:
        layers["T1w"] = fit(to_bytes(to_ras(case.t1w, case.flair.affine), grey_window(case.t1w, case.brain)))
    if case.probability is not None:
        layers["probability"] = fit(to_bytes(to_ras(case.probability, case.flair.affine), (0.0, 1.0)))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    return Packed(fit(to_bytes(image, window)), moved, layers, strip)


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
    """Return a mask grown by a distance in mm."""
    from scipy import ndimage

    return ndimage.distance_transform_edt(~mask, sampling=spacing) <= by_mm


def _box(inside: NDArray[np.bool_], spacing: NDArray) -> tuple[slice, slice, slice]:
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(MARGIN_MM / 2 / spacing[axis]))
        first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, inside.shape[axis] - 1)
        sides.append(slice(max(0, first - margin), min(inside.shape[axis], last + 1 + margin)))
    return sides[0], sides[1], sides[2]
