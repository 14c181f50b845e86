"""Voxel grids and world coordinates (NIfTI RAS+, millimetres).

An *affine* is the (4, 4) matrix from voxel indices (i, j, k) to world
coordinates in mm: x grows towards the patient's right, y towards anterior,
z towards superior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.errors import GeometryError

#: Sizes that lie within this part of each other are the same: a NIfTI header's matrix has 32 bits, so an oblique image's
#: slices of 2 mm are of 2.0000001 or 1.9999999, and a limit of 2 mm would hold for one and not for the other.
ROUNDING = 1e-3

# Values of 16 bits that are worked on at a time where one pass follows the other: three such blocks fit a core's second-level cache.
CACHED_VALUES = 60_000


@dataclass(frozen=True)
class Grid:
    """A voxel grid: `shape` (3,) and `affine` (4, 4) voxel to RAS+ world in mm."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel edge lengths in mm, shape (3,)."""
        return spacing_mm(self.affine)


def spacing_mm(affine: ArrayLike) -> NDArray[np.float64]:
    """Return the voxel edge lengths of an affine.

    Parameters
    ----------
    affine : (4, 4) array_like
        Voxel-to-world matrix in mm.

    Returns
    -------
    (3,) float array
        Column lengths of the 3 x 3 part, in mm.

    Examples
    --------
    >>> spacing_mm([[0, 2, 0, 9], [-1, 0, 0, 9], [0, 0, 5, 9], [0, 0, 0, 1]]).tolist()
    [1.0, 2.0, 5.0]
    """
    return np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)


def voxel_volume_mm3(affine: ArrayLike) -> float:
    """Return the volume of one voxel in mm3 (absolute determinant; shear counts)."""
    return float(abs(np.linalg.det(np.asarray(affine, dtype=float)[:3, :3])))


def is_same_grid(
    shape_a: tuple[int, ...], affine_a: ArrayLike, shape_b: tuple[int, ...], affine_b: ArrayLike, tol_mm: float = 1e-2
) -> bool:
    """Tell whether two grids coincide: equal shape, all corners within `tol_mm`."""
    return tuple(shape_a) == tuple(shape_b) and bool(np.abs(_moved_corners(shape_a, affine_a, affine_b)).max() <= tol_mm)


def _moved_corners(shape: tuple[int, ...], affine_a: ArrayLike, affine_b: ArrayLike) -> NDArray[np.float64]:
    """Return how far the eight corner voxels of one shape lie apart by two affines, (3, 8) in mm."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:3]], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return ((np.asarray(affine_a, dtype=float) - np.asarray(affine_b, dtype=float)) @ corners)[:3]


def check_same_grid(a: Grid, b: Grid, what: str) -> None:
    """Raise `GeometryError` naming `what` unless the two grids coincide."""
    if not is_same_grid(a.shape, a.affine, b.shape, b.affine):
        raise GeometryError(
            f"{what}: expected one voxel grid, found shape {tuple(a.shape)} spacing {_mm(a)} "
            f"and shape {tuple(b.shape)} spacing {_mm(b)}{_apart(a, b)}. Resample or export the second on the first's grid."
        )


def _apart(a: Grid, b: Grid) -> str:
    """Say how far corners lie apart: grids of one shape and spacing may still differ in origin, direction or flip."""
    if tuple(a.shape) != tuple(b.shape):
        return ""
    return f", the same corner voxel up to {np.linalg.norm(_moved_corners(a.shape, a.affine, b.affine), axis=0).max():.3g} mm apart"


def _mm(grid: Grid) -> str:
    return " x ".join(f"{v:.3g}" for v in grid.spacing_mm) + " mm"


def canonical_axes(affine: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which voxel axis runs closest to x, y, z and with which sign.

    Returns
    -------
    axes : (3,) int array
        ``axes[w]`` is the voxel axis that runs along world axis ``w``.
    signs : (3,) float array
        +1 where that axis grows with the world axis, else -1.
    """
    direction = np.asarray(affine, dtype=float)[:3, :3] / spacing_mm(affine)
    # The best assignment over the six permutations is safe at any obliquity.
    orders = np.array([(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
    scores = [sum(abs(direction[w, o[w]]) for w in range(3)) for o in orders]
    axes = orders[int(np.argmax(scores))]
    signs = np.array([1.0 if direction[w, axes[w]] >= 0 else -1.0 for w in range(3)])
    return axes, signs


def isotropic_grid(shape: tuple[int, int, int], affine: ArrayLike, spacing: float) -> Grid:
    """Return an isotropic grid over the same field of view as an image.

    The new axes are the image's own axes, reordered and flipped to the closest
    RAS+ ordering, so an oblique image stays oblique and nothing is rotated
    (article, Image Preprocessing: resampled to 1 mm3 isotropic).

    Parameters
    ----------
    shape : (3,) tuple of int
        Shape of the image.
    affine : (4, 4) array_like
        Voxel-to-world matrix of the image, mm.
    spacing : float
        Edge of the new voxels in mm.

    Returns
    -------
    Grid
        Same field of view (outer voxel faces), rounded up to whole voxels and
        centred on the image's centre.
    """
    affine = np.asarray(affine, dtype=float)
    axes, signs = canonical_axes(affine)
    old_mm = spacing_mm(affine)
    extent_mm = np.array([shape[a] * old_mm[a] for a in axes])
    new_shape = np.maximum(1, np.ceil(extent_mm / spacing - 1e-6)).astype(int)
    linear = np.stack([affine[:3, a] / old_mm[a] * s * spacing for a, s in zip(axes, signs, strict=True)], axis=1)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    new = np.eye(4)
    new[:3, :3] = linear
    new[:3, 3] = centre - linear @ ((new_shape - 1) / 2)
    return Grid(tuple(int(n) for n in new_shape), new)


def mask_box(mask: NDArray[np.bool_], margin_vox: int = 0) -> tuple[slice, slice, slice]:
    """Return the smallest box of slices that holds a mask, grown by a margin.

    An empty mask gives the whole volume.
    """
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)  # type: ignore[return-value]
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(0, int(hit[0]) - margin_vox), min(mask.shape[axis], int(hit[-1]) + 1 + margin_vox)))
    return tuple(box)  # type: ignore[return-value]


def box_affine(affine: ArrayLike, box: tuple[slice, ...]) -> NDArray[np.float64]:
    """Return the (4, 4) affine of a box of voxels, whose three slices have a start.

    Examples
    --------
    >>> box_affine(np.diag([2.0, 2, 3, 1]), (slice(1, 4), slice(0, 5), slice(2, 9)))[:3, 3].tolist()
    [2.0, 0.0, 6.0]
    """
    out = np.array(affine, dtype=float)
    out[:3, 3] += out[:3, :3] @ [side.start for side in box]
    return out


def near_distance(mask: NDArray[np.bool_], reach_vox: int) -> NDArray[np.float32]:
    """Return the distance of every voxel to a mask, exact up to a reach and constant beyond it.

    Parameters
    ----------
    mask : (I, J, K) bool array
        Isotropic voxels.
    reach_vox : int
        1 to 120 voxels. The cost grows with it: a fifth of SciPy's distance
        transform at 10, a third of it at 25, two thirds at 60.

    Returns
    -------
    (I, J, K) float32 array
        Euclidean distance in voxels, 0 inside the mask; voxels farther than
        `reach_vox` hold ``reach_vox + 1``. Empty where `mask` has no voxels.

    Notes
    -----
    Squared distances are separable (Saito & Toriwaki, Pattern Recognit
    1994;27:1551): along each axis in turn, the least of shifted copies plus the
    shift squared, in 16-bit integers.
    """
    if not 1 <= reach_vox <= 120:
        raise GeometryError(f"reach: expected 1 to 120 voxels, found {reach_vox}.")
    if mask.size == 0:
        return np.zeros(mask.shape, dtype=np.float32)
    far = np.int16((reach_vox + 1) ** 2)
    squared = np.where(mask, np.int16(0), far)
    for axis in range(mask.ndim):
        along = np.moveaxis(squared, axis, 0)
        squared = np.moveaxis(_least_along(np.ascontiguousarray(along).reshape(len(along), -1), reach_vox).reshape(along.shape), 0, axis)
    squared = np.ascontiguousarray(squared)
    squared[squared > reach_vox**2] = far
    return np.sqrt(squared.astype(np.float32))


def _least_along(squared: NDArray[np.int16], reach_vox: int) -> NDArray[np.int16]:
    """Return the least of shifted copies plus the shift squared along the first axis, in columns that fit the cache."""
    length, columns = squared.shape
    least = np.empty_like(squared)
    width = max(1, CACHED_VALUES // length)
    for first in range(0, columns, width):
        part = squared[:, first : first + width].copy()
        nearest, farther = part.copy(), np.empty_like(part)
        for shift in range(1, min(reach_vox, length - 1) + 1):
            np.add(part, np.int16(shift**2), out=farther)
            np.minimum(nearest[shift:], farther[:-shift], out=nearest[shift:])
            np.minimum(nearest[:-shift], farther[shift:], out=nearest[:-shift])
        least[:, first : first + width] = nearest
    return least


def fill_holes(mask: NDArray[np.bool_], across: int | None = None) -> NDArray[np.bool_]:
    """Fill what a mask encloses, in 3D or slice by slice.

    Parameters
    ----------
    mask : (I, J, K) bool array
    across : int, optional
        The slices' axis: then each slice is filled by itself.

    Returns
    -------
    (I, J, K) bool array
        The mask and the background that no way through faces leads from to the
        volume's (the slice's) border.

    Notes
    -----
    Equal to `scipy.ndimage.binary_fill_holes`, which dilates from the border
    until nothing changes; this labels the background once.
    """
    from scipy import ndimage

    structure = ndimage.generate_binary_structure(mask.ndim, 1)
    if across is not None:
        np.moveaxis(structure, across, 0)[[0, 2]] = False
    labels, count = ndimage.label(~mask, structure)
    outside = np.zeros(count + 1, dtype=bool)
    for axis in range(mask.ndim):
        if axis != across:
            outside[np.take(labels, (0, -1), axis)] = True
    outside[0] = False
    return ~outside[labels]
