"""Rigid and affine registration, coarse to fine, from the best of several starts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import isotropic_grid
from flairnb.prepare import bridge
from flairnb.prepare.intensity import smooth_sample
from flairnb.resampling import resample

_SEARCH_MM = 8.0


def mutual_information(a: NDArray, b: NDArray, bins: int = 24) -> float:
    """Return the normalised mutual information of two arrays of one shape.

    1 when the two are independent, 2 when each tells the other exactly.
    """
    table, _, _ = np.histogram2d(a.ravel(), b.ravel(), bins=bins)
    p = table / table.sum()
    joint = _entropy(p)
    return 1.0 if joint <= 0 else (_entropy(p.sum(0)) + _entropy(p.sum(1))) / joint


def _entropy(p: NDArray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def rotation(degrees: Sequence[float]) -> NDArray[np.float64]:
    """Return the (3, 3) rotation about x, then y, then z by angles in degrees."""
    out = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[b, a], turn[a, b] = np.sin(angle), -np.sin(angle)
        out = turn @ out
    return out


def about(centre: ArrayLike, linear: ArrayLike, shift: ArrayLike = (0, 0, 0)) -> NDArray[np.float64]:
    """Return the (4, 4) map ``x -> linear (x - centre) + centre + shift``, mm."""
    centre, linear = np.asarray(centre, float), np.asarray(linear, float)
    out = np.eye(4)
    out[:3, :3] = linear
    out[:3, 3] = centre + np.asarray(shift, float) - linear @ centre
    return out


def best_start(
    fixed: NDArray, fixed_affine: ArrayLike, moving: NDArray, moving_affine: ArrayLike, starts: Sequence[NDArray]
) -> tuple[NDArray[np.float64], float]:
    """Return which (4, 4) start explains the fixed image best, and its score.

    Each start maps fixed world to moving world, mm; scored by the normalised
    mutual information on an 8 mm grid.
    """
    grid = isotropic_grid(fixed.shape, fixed_affine, _SEARCH_MM)
    small = smooth_sample(fixed, fixed_affine, grid)
    coarse_grid = isotropic_grid(moving.shape, moving_affine, _SEARCH_MM)
    coarse = smooth_sample(moving, moving_affine, coarse_grid)
    scores = [mutual_information(small, resample(coarse, coarse_grid.affine, grid, world=s)) for s in starts]
    best = int(np.argmax(scores))
    return np.asarray(starts[best], dtype=float), float(scores[best])


def weighted_centre(data: NDArray, affine: ArrayLike) -> NDArray[np.float64]:
    """Return the intensity-weighted centre of an image in world mm, shape (3,)."""
    total = float(data.sum(dtype=np.float64)) or 1.0
    voxel = []
    for axis in range(3):
        profile = data.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        voxel.append(float((profile * np.arange(profile.size)).sum() / total))
    return (np.asarray(affine, float) @ np.array([*voxel, 1.0]))[:3]


def grid_centre(shape: Sequence[int], affine: ArrayLike) -> NDArray[np.float64]:
    """Return the centre of a grid in world mm, shape (3,)."""
    return (np.asarray(affine, float) @ np.array([*((np.asarray(shape) - 1) / 2), 1.0]))[:3]


def rigid_starts(fixed: NDArray, fixed_affine: ArrayLike, moving: NDArray, moving_affine: ArrayLike) -> list[NDArray]:
    """Return starts for two examinations of one head: as stored, or centre on centre, with some shifts."""
    shifts = [
        np.zeros(3),
        weighted_centre(moving, moving_affine) - weighted_centre(fixed, fixed_affine),
        grid_centre(moving.shape, moving_affine) - grid_centre(fixed.shape, fixed_affine),
    ]
    starts = []
    for shift, z, pitch in itertools.product(shifts, (-24.0, 0.0, 24.0), (-10.0, 0.0, 10.0)):
        starts.append(about(grid_centre(fixed.shape, fixed_affine), rotation((pitch, 0, 0)), shift + np.array([0, 0, z])))
    return starts


def refine_linear(
    fixed: tuple[NDArray, ArrayLike],
    moving: tuple[NDArray, ArrayLike],
    start: ArrayLike,
    kind: str = "Rigid",
    iterations: Sequence[int] = (200, 100, 50),
    fixed_mask: NDArray | None = None,
) -> NDArray[np.float64]:
    """Refine a linear start by ANTs with mutual information, coarse to fine.

    Parameters
    ----------
    fixed, moving : (array, affine)
        Images and their (4, 4) voxel-to-RAS matrices, isotropic voxels.
    start : (4, 4) array_like
        Fixed world to moving world, mm.
    kind : str
        ``"Rigid"``, ``"Similarity"`` or ``"Affine"``.
    iterations : sequence of int
        Steps a level; the last level is the images' own spacing.
    fixed_mask : array, optional
        Where the match counts, on the fixed grid.

    Returns
    -------
    (4, 4) float array
        Fixed world to moving world, RAS mm.
    """
    levels = len(iterations)
    with bridge.scratch_folder() as folder:
        first = bridge.write_xfm(folder + "start.txt", start)
        found = bridge.register(
            bridge.to_ants(*fixed),
            bridge.to_ants(*moving),
            type_of_transform=kind,
            initial_transform=[str(first)],
            outprefix=folder + "linear",
            mask=None if fixed_mask is None else bridge.to_ants(fixed_mask, fixed[1]),
            aff_iterations=tuple(iterations),
            aff_shrink_factors=tuple(2 ** (levels - 1 - n) for n in range(levels)),
            aff_smoothing_sigmas=tuple(levels - 1 - n for n in range(levels)),
        )
        matrix = np.eye(4)
        # ANTs lists the transforms in the order of a matrix product.
        for path in found["fwdtransforms"]:
            matrix = bridge.read_ants_affine(path) @ matrix
    return matrix
