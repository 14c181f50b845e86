"""Elastic transformations: drawn in one place, applied in another.

The article's augmentation "included small random rotations, translations,
scaling, and free-form deformations". All four are composed into one map from
the output back to the source (*pull*), so a patch is interpolated once. The
same draw can be replayed, inverted and tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from flairnb.settings import TrainSettings

CONTROL_SPACING_MM = 32.0
# A cubic B-spline deformation cannot fold while its control points move less than about 0.4 of their spacing.
LARGEST_MOVE = 0.4
ROBUST_GAIN, ROBUST_SHIFT = 0.15, 0.15


@dataclass(frozen=True)
class Transform:
    """One draw: pull map ``q = matrix @ p + translation_mm + freeform(p)``.

    Coordinates p and q are in mm from the volume's centre, along the voxel
    axes. `control_mm` (3, g, g, g) holds the displacements of a cubic B-spline
    lattice with nodes every `CONTROL_SPACING_MM`, centred; None for no
    free-form part. `gain` and `shift` change the brain's intensities;
    `coarser` is how many times larger the voxels get (part of `matrix`).
    """

    matrix: NDArray[np.float64]
    translation_mm: NDArray[np.float64]
    control_mm: NDArray[np.float64] | None = None
    gain: float = 1.0
    shift: float = 0.0
    coarser: float = 1.0

    @property
    def is_identity(self) -> bool:
        """True if the map moves nothing."""
        return self.control_mm is None and not self.translation_mm.any() and np.array_equal(self.matrix, np.eye(3))


IDENTITY = Transform(np.eye(3), np.zeros(3))


def draw_transform(rng: np.random.Generator, train: TrainSettings, extent_mm: ArrayLike, spacing_mm: float = 1.0) -> Transform:
    """Draw a random elastic transformation.

    Parameters
    ----------
    rng : Generator
        The only source of randomness.
    train : TrainSettings
        Sizes: rotation about each axis (degrees), translation along each axis
        (mm), scaling of each axis (fraction), standard deviation of the
        control points (mm). Uniform but the last, which is normal. The
        ``robust`` recipe also mirrors left and right (axis 0) half of the time,
        varies gain and shift of the z-scored intensities, and steps back: the
        voxel size is drawn log-uniformly between the volume's own and
        ``coarsest_mm``, so that one patch shows more of the head.
    spacing_mm : float
        Voxel edge of the volume.
    extent_mm : (3,) array_like
        Edge lengths of the volume, which the lattice must cover.

    Returns
    -------
    Transform
    """
    angles = np.deg2rad(rng.uniform(-1, 1, 3) * train.rotation_deg)
    scales = 1 + rng.uniform(-1, 1, 3) * train.scaling_fraction
    translation = rng.uniform(-1, 1, 3) * train.translation_mm
    nodes = int(np.ceil(np.max(np.asarray(extent_mm, dtype=float)) / CONTROL_SPACING_MM)) + 4
    moves = np.clip(rng.standard_normal((3, nodes, nodes, nodes)) * train.freeform_mm, *_limits())
    mirror, gain, shift = rng.random() < 0.5, rng.uniform(-1, 1), rng.uniform(-1, 1)
    robust = train.recipe == "robust"
    coarser = max(1.0, train.coarsest_mm / spacing_mm) ** rng.random() if robust else 1.0
    matrix = _rotation(angles) @ np.diag(scales) * coarser
    return Transform(
        matrix @ np.diag([-1.0, 1.0, 1.0]) if robust and mirror else matrix,
        translation,
        moves if train.freeform_mm > 0 else None,
        1 + ROBUST_GAIN * gain if robust else 1.0,
        ROBUST_SHIFT * shift if robust else 0.0,
        float(coarser),
    )


def apply_transform(
    image: NDArray, mask: NDArray, transform: Transform, spacing_mm: float, corner: ArrayLike, patch: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut one patch out of the transformed volume, without transforming the rest.

    Parameters
    ----------
    image, mask : (I, J, K) arrays
        The volume; may be memory-mapped, only the part that is needed is read.
    transform : Transform
        From :func:`draw_transform`.
    spacing_mm : float
        Isotropic voxel size.
    corner : (3,) int
        First voxel of the patch in the transformed volume; may be negative.
    patch : int
        Edge of the patch in voxels.

    Returns
    -------
    image : (patch, patch, patch) float32 array
        Linear interpolation; 0 outside the volume.
    mask : (patch, patch, patch) uint8 array
        Nearest neighbour, so it stays 0 or 1.
    """
    from scipy import ndimage

    if transform.is_identity:
        return _adjust(_slice(image, corner, patch, np.float32), transform), _slice(mask, corner, patch, np.uint8)
    at = _source_voxels(transform, image.shape, spacing_mm, np.asarray(corner), patch)
    lows = [max(0, int(np.floor(a.min()))) for a in at]
    highs = [min(n, int(np.ceil(a.max())) + 1) for a, n in zip(at, image.shape, strict=True)]
    if any(low >= high for low, high in zip(lows, highs, strict=True)):
        return np.zeros((patch,) * 3, np.float32), np.zeros((patch,) * 3, np.uint8)
    box = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
    for axis, low in enumerate(lows):
        at[axis] -= low
    moved = ndimage.map_coordinates(np.asarray(image[box], dtype=np.float32), at, order=1, mode="constant", cval=0.0)
    marked = np.asarray(mask[box], dtype=np.uint8)
    if not marked.any():
        return _adjust(moved, transform), np.zeros(moved.shape, np.uint8)
    return _adjust(moved, transform), ndimage.map_coordinates(marked, at, order=0, mode="constant", cval=0)


def pull(transform: Transform, points_mm: NDArray) -> NDArray[np.float64]:
    """Map output points to source points; (N, 3) mm from the centre."""
    return points_mm @ transform.matrix.T + transform.translation_mm + _freeform(transform, points_mm)


def push(transform: Transform, points_mm: NDArray, rounds: int = 6) -> NDArray[np.float64]:
    """Map source points to output points: the inverse of :func:`pull`, by fixed-point rounds."""
    inverse = np.linalg.inv(transform.matrix).T
    found = (points_mm - transform.translation_mm) @ inverse
    for _ in range(rounds if transform.control_mm is not None else 0):
        found = (points_mm - transform.translation_mm - _freeform(transform, found)) @ inverse
    return found


def _source_voxels(transform: Transform, shape: tuple[int, ...], spacing_mm: float, corner: NDArray, patch: int) -> NDArray[np.float32]:
    """Return the source voxel coordinates (3, p, p, p) of a patch's voxels."""
    centre = (np.asarray(shape) - 1) / 2
    p = [(corner[a] + np.arange(patch) - centre[a]) * spacing_mm for a in range(3)]
    at = np.empty((3, patch, patch, patch), dtype=np.float32)
    for axis in range(3):
        row = transform.matrix[axis] / spacing_mm
        start = transform.translation_mm[axis] / spacing_mm + centre[axis]
        parts = [(row[a] * p[a] + (start if a == 0 else 0)).astype(np.float32) for a in range(3)]
        np.add((parts[0][:, None] + parts[1][None, :])[:, :, None], parts[2], out=at[axis])
    if transform.control_mm is not None:
        # The B-spline is a product of three axes: three small products instead of 64 terms a voxel. The last is no matrix
        # product, because the threads of BLAS would fight for the cores with those of TensorFlow.
        first, second, third = (_basis(v, transform.control_mm).astype(np.float32) for v in p)
        moves = second @ ((transform.control_mm / spacing_mm).astype(np.float32) @ third.T)
        at += np.einsum("ia,dax->dix", first, moves.reshape(3, moves.shape[1], -1)).reshape(at.shape)
    return at


def _freeform(transform: Transform, points_mm: NDArray) -> NDArray[np.float64]:
    if transform.control_mm is None:
        return np.zeros_like(points_mm)
    i, j, k = (_basis(points_mm[:, a], transform.control_mm) for a in range(3))
    nodes = transform.control_mm.shape[1]
    rows = np.einsum("na,dabc->ndbc", i, transform.control_mm, optimize=True)
    rows = np.einsum("nb,ndbc->ndc", j, rows.reshape(len(i), 3, nodes, nodes), optimize=True)
    return np.einsum("nc,ndc->nd", k, rows)


def _basis(positions_mm: NDArray, control: NDArray | None) -> NDArray[np.float64]:
    """Return cubic B-spline weights (N, nodes) of lattice nodes at positions along one axis."""
    if control is None:
        return np.empty((len(positions_mm), 0))
    nodes = control.shape[1]
    t = np.abs(positions_mm[:, None] / CONTROL_SPACING_MM + (nodes - 1) / 2 - np.arange(nodes)[None, :])
    return np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))


def _adjust(image: NDArray[np.float32], transform: Transform) -> NDArray[np.float32]:
    if transform.gain == 1.0 and transform.shift == 0.0:
        return image
    return np.where(image == 0, np.float32(0), image * np.float32(transform.gain) + np.float32(transform.shift))


def _slice(data: NDArray, corner: ArrayLike, patch: int, dtype: type) -> NDArray:
    out = np.zeros((patch,) * 3, dtype=dtype)
    starts = [int(c) for c in np.asarray(corner)]
    source = tuple(slice(max(0, s), max(0, min(n, s + patch))) for s, n in zip(starts, data.shape, strict=True))
    target = tuple(slice(c.start - s, c.stop - s) for c, s in zip(source, starts, strict=True))
    if all(c.stop > c.start for c in source):
        out[target] = data[source]
    return out


def _rotation(angles: NDArray) -> NDArray[np.float64]:
    (ci, cj, ck), (si, sj, sk) = np.cos(angles), np.sin(angles)
    about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return about_i @ about_j @ about_k


def _limits() -> tuple[float, float]:
    return -LARGEST_MOVE * CONTROL_SPACING_MM, LARGEST_MOVE * CONTROL_SPACING_MM
