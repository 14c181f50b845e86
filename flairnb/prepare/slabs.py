"""Sampling that respects thick slices."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import Grid, spacing_mm
from flairnb.parallel import side_by_side
from flairnb.prepare.intensity import smooth_sample
from flairnb.resampling import resample


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
    source_mm = float(spacing_mm(affine).min())
    axis = int(np.argmax(grid.spacing_mm))
    count = round(float(grid.spacing_mm[axis]) / source_mm) if order else 1
    if count <= 1:
        return resample(data, affine, grid, order=order)

    def at(offset: float) -> NDArray[np.float32]:
        moved = np.asarray(grid.affine, float).copy()
        moved[:3, 3] += moved[:3, axis] * offset
        return resample(data, affine, Grid(grid.shape, moved), order=order)

    total = np.zeros(grid.shape, dtype=np.float32)
    # The sum keeps its order, so the result does not depend on the threads.
    for part in side_by_side(*(partial(at, offset) for offset in (np.arange(count) + 0.5) / count - 0.5)):
        total += part
    return total / np.float32(count)


def to_work(data: NDArray, affine: ArrayLike, grid: Grid) -> NDArray[np.float32]:
    """Sample an image on the work grid, linearly (article, Image Preprocessing).

    Where the work grid is coarser than 1.5 native voxels (fast profiles
    only) the image is smoothed first, so that nothing is skipped.
    """
    if float(grid.spacing_mm.min()) > 1.5 * float(spacing_mm(affine).min()):
        return smooth_sample(data, affine, grid)
    return resample(data, affine, grid, order=1)


def mask_to_work(mask: NDArray, affine: ArrayLike, grid: Grid) -> NDArray[np.bool_]:
    """Bring a mask to the work grid: sampled as an image, cut at a half."""
    return to_work(np.asarray(mask, dtype=np.float32), affine, grid) >= 0.5
