"""The same head once more: stored, placed, sampled, lit or disturbed otherwise, without being another head.

Each function takes an examination and the brain mask on its grid, and returns
both as another acquisition might have given them. World coordinates stay
true, so that masks of two repeats can be laid upon each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flairnb.geometry import Grid, canonical_axes
from flairnb.images import Image
from flairnb.resampling import resample

#: Part of a voxel edge along i, j, k by which `shifted` moves the sampling grid.
SHIFT_VOX = (0.5, -0.3, 0.25)
#: SD of the added noise, as a fraction of the brain's mean intensity.
NOISE_FRACTION = 0.03
#: How many times as thick the slices of `resliced` are.
THICKER = 1.25
#: The lowest and highest value of the added bias field differ by about this fraction of the brain's mean.
BIAS_FRACTION = 0.3
#: Factor of `rescaled`.
GAIN = 0.41


@dataclass(frozen=True)
class Repeat:
    """One examination of a head: FLAIR and brain mask on one grid."""

    flair: Image
    brain: NDArray[np.bool_]


def as_is(head: Repeat, _rng: np.random.Generator) -> Repeat:
    """Return the examination itself, for a second run of everything that follows."""
    return head


def reoriented(head: Repeat, _rng: np.random.Generator) -> Repeat:
    """Store the same voxels with other axes: slices first, two of the three axes running the other way.

    Nothing is sampled; every voxel keeps its value and its place in the world.
    """
    import nibabel.orientations as of

    # Old axis i becomes the second (reversed), j the third, k the first (reversed).
    turn = np.array([[1, -1], [2, 1], [0, -1]], dtype=float)
    affine = np.asarray(head.flair.affine, float) @ of.inv_ornt_aff(turn, head.flair.shape)
    data = np.ascontiguousarray(of.apply_orientation(head.flair.data, turn))
    return Repeat(_image(data, affine), np.ascontiguousarray(of.apply_orientation(head.brain, turn)))


def shifted(head: Repeat, _rng: np.random.Generator) -> Repeat:
    """Sample the head on a grid that lies a fraction of a voxel (`SHIFT_VOX`) beside the first one (cubic splines)."""
    old = np.asarray(head.flair.affine, float)
    affine = old.copy()
    affine[:3, 3] += old[:3, :3] @ np.array(SHIFT_VOX)
    grid = Grid(head.flair.shape, affine)
    data = resample(head.flair.data, old, grid, order=3)
    data = np.clip(data, head.flair.data.min(), head.flair.data.max())
    return Repeat(_image(data, affine), resample(head.brain, old, grid) >= 0.5)


def renoised(head: Repeat, rng: np.random.Generator, fraction: float = NOISE_FRACTION) -> Repeat:
    """Add noise as a magnitude image has it (Rician), with an SD of `fraction` of the brain's mean.

    Negative intensities (z-scores) leave no magnitude; they get Gaussian noise.
    """
    data = head.flair.data.astype(np.float64)
    sd = fraction * _level(head)
    real = data + rng.normal(0, sd, data.shape)
    noisy = np.hypot(real, rng.normal(0, sd, data.shape)) if data.min() >= 0 else real
    return Repeat(replace(head.flair, data=noisy.astype(np.float32)), head.brain)


def resliced(head: Repeat, _rng: np.random.Generator) -> Repeat:
    """Cut the head into slices `THICKER` times as thick, each the mean of what it covers.

    The slice axis is the one with the longest voxel edge; where none stands
    out, the one that runs most nearly from foot to head.
    """
    edges = head.flair.spacing_mm
    axis = int(np.argmax(edges)) if edges.max() > 1.2 * np.median(edges) else int(canonical_axes(head.flair.affine)[0][2])
    weights = overlap_weights(head.flair.shape[axis], THICKER)
    old = np.asarray(head.flair.affine, float)
    affine = old.copy()
    affine[:3, axis] *= THICKER
    affine[:3, 3] += old[:3, axis] * (THICKER - 1) / 2  # the first slice's outer face stays where it is
    data = _along(head.flair.data, weights, axis)
    return Repeat(_image(data, affine), _along(head.brain.astype(np.float32), weights, axis) >= 0.5)


def rescaled(head: Repeat, _rng: np.random.Generator) -> Repeat:
    """Multiply all intensities by `GAIN`: MR intensities have no unit."""
    return Repeat(replace(head.flair, data=(head.flair.data * np.float32(GAIN)).astype(np.float32)), head.brain)


def biased(head: Repeat, rng: np.random.Generator, fraction: float = BIAS_FRACTION) -> Repeat:
    """Multiply by another smooth field, as another coil would: brighter to one side, and out from the middle.

    The field is an exponential of a quadratic in world coordinates, its mean
    over the brain 1, its range there about `fraction`; where it is
    brightest is drawn.
    """
    where = np.argwhere(head.brain)
    centre, half = where.mean(0), np.maximum(np.ptp(where, axis=0) / 2, 1.0)
    at = [((np.arange(n) - centre[a]) / half[a]).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(head.brain.shape)]
    slope = rng.normal(size=3)
    slope /= np.linalg.norm(slope)
    exponent = sum(s * x for s, x in zip(slope, at, strict=True)) + 0.5 * sum(x**2 for x in at) / 3
    inside = exponent[head.brain]
    exponent = (exponent - inside.mean()) / max(float(np.ptp(np.percentile(inside, [1, 99]))), 1e-6)
    field = np.exp(fraction * np.clip(exponent, -2, 2))
    field /= field[head.brain].mean()
    return Repeat(replace(head.flair, data=(head.flair.data * field).astype(np.float32)), head.brain)


#: Name and function of every repeat, in the order in which they are shown.
REPEATS: dict[str, Callable[[Repeat, np.random.Generator], Repeat]] = {
    "again": as_is,
    "re-oriented": reoriented,
    "shifted": shifted,
    "re-noised": renoised,
    "re-sliced": resliced,
    "rescaled": rescaled,
    "other bias": biased,
}


def mask_on(grid: Grid, mask: NDArray[np.bool_], affine: NDArray) -> NDArray[np.bool_]:
    """Return a mask on another grid of the same world, by the nearest voxel."""
    return resample(mask, affine, grid, order=0) > 0.5


def overlap_weights(n: int, factor: float) -> NDArray[np.float64]:
    """Return which part of each of n slices lies in each thicker slice, rows summing to 1.

    The last new slice is left out if more than half of it would lie outside.

    Examples
    --------
    >>> overlap_weights(4, 2.0).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    m = max(1, round(n / factor))
    low, high = np.arange(m)[:, None] * factor, (np.arange(m)[:, None] + 1) * factor
    covered = np.clip(np.minimum(high, np.arange(n) + 1) - np.maximum(low, np.arange(n)), 0, None)
    return covered / covered.sum(1, keepdims=True)


def _along(data: NDArray, weights: NDArray, axis: int) -> NDArray[np.float32]:
    mixed = np.tensordot(weights, data, axes=(1, axis))
    return np.ascontiguousarray(np.moveaxis(mixed, 0, axis), dtype=np.float32)


def _level(head: Repeat) -> float:
    inside = head.flair.data[head.brain]
    return float(np.abs(inside).mean()) if inside.size else float(np.abs(head.flair.data).mean())


def _image(data: NDArray, affine: NDArray) -> Image:
    """Return an image without the old header, whose forms no longer hold."""
    return Image(np.asarray(data, dtype=np.float32), np.asarray(affine, float))
