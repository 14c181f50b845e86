"""Smooth random fields: the raw material of warps, textures and lesion outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], scale_vox: float) -> NDArray[np.float32]:
    """Draw a smooth random field with zero mean and unit SD.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    scale_vox : float
        Distance between the independent knots, in voxels; 1 or less is white
        noise.

    Returns
    -------
    (shape) float32 array
    """
    if scale_vox <= 1:
        return rng.standard_normal(shape, dtype=np.float32)
    knots = [int(np.ceil(n / scale_vox)) + 3 for n in shape]
    coarse = rng.standard_normal(knots, dtype=np.float32)
    field = _spline(coarse, shape, scale_vox)
    field -= field.mean()
    return field / (field.std() + 1e-6)


def _spline(coarse: NDArray[np.float32], shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    """Evaluate a separable cubic B-spline with knots `coarse` every `scale` voxels."""
    field = coarse
    for axis, n in enumerate(shape):
        at = np.arange(n) / scale + 1.0
        base = np.floor(at).astype(int)
        t = (at - base).astype(np.float32)
        weights = np.stack([(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6])
        matrix = np.zeros((n, field.shape[axis]), dtype=np.float32)
        for offset in range(4):
            matrix[np.arange(n), np.clip(base - 1 + offset, 0, field.shape[axis] - 1)] += weights[offset]
        field = np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field, dtype=np.float32)


def fractal_field(
    rng: np.random.Generator, shape: tuple[int, ...], scales_vox: tuple[float, ...], fall: float = 0.7
) -> NDArray[np.float32]:
    """Add smooth fields of several scales, each finer one weaker by `fall`; unit SD."""
    total = np.zeros(shape, dtype=np.float32)
    weight = 1.0
    for scale in scales_vox:
        total += weight * smooth_field(rng, shape, scale)
        weight *= fall
    return total / (total.std() + 1e-6)
