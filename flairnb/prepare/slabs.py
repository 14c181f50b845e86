"""Sampling that respects thick slices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import Grid, resample


def sample_slabs(data: NDArray, affine: ArrayLike, grid: Grid, order: int = 1) -> NDArray[np.float32]:
    """Sample an image on a grid, averaging over the thickness of thick target voxels.

    Parameters
    ----------
    data : (I, J, K) array
        Source image.
    affine : (4, 4) array_like
        Voxel to RAS world of the source, mm.
    grid : Grid
        Target; its longest voxel edge is averaged over in steps of about one
        source voxel (a 5 mm slice of a 1 mm source: 5 depths).
    order : int
        1 linear; 0 nearest, then nothing is averaged (labels).

    Returns
    -------
    (grid.shape) float32 array
    """
    source_mm = float(np.linalg.norm(np.asarray(affine, float)[:3, :3], axis=0).min())
    axis = int(np.argmax(grid.spacing_mm))
    count = round(float(grid.spacing_mm[axis]) / source_mm) if order else 1
    if count <= 1:
        return resample(data, affine, grid, order=order)
    total = np.zeros(grid.shape, dtype=np.float32)
    for offset in (np.arange(count) + 0.5) / count - 0.5:
        moved = np.asarray(grid.affine, float).copy()
        moved[:3, 3] += moved[:3, axis] * offset
        total += resample(data, affine, Grid(grid.shape, moved), order=order)
    return total / np.float32(count)
