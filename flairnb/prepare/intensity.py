"""Intensities fit for registration: wraps, outliers and the head's extent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import Grid, fill_holes, resample, spacing_mm


def tame(data: NDArray, low: float = 0.5, high: float = 99.5) -> NDArray[np.float32]:
    """Clip an image to robust limits and scale it to 0..1.

    Some exports wrap negative voxels to the top of the unsigned range (65535):
    such voxels become background. Limits are percentiles of the voxels above
    the background.

    Parameters
    ----------
    data : (I, J, K) array
        Any intensities.
    low, high : float
        Percentiles kept.

    Returns
    -------
    (I, J, K) float32 array
        Between 0 and 1; zeros for a constant image.
    """
    out = np.where(is_wrapped(data), 0, data).astype(np.float32)
    np.maximum(out, 0, out=out)
    inside = out[out > 0]
    if inside.size == 0:
        return out
    bottom, top = np.percentile(inside[:: max(1, inside.size // 200_000)], [low, high])
    if top <= bottom:
        return (out > 0).astype(np.float32)
    return np.clip((out - bottom) / (top - bottom), 0, 1)


def is_wrapped(data: NDArray) -> NDArray[np.bool_]:
    """Mark voxels at the end of the unsigned 16-bit range when most of the image is far below.

    A negative value cast to unsigned ends up at 65535 and just below.
    """
    near_top = data >= 65000
    if not near_top.any() or data.max() > 65535:
        return np.zeros(data.shape, dtype=bool)
    return near_top


def otsu(data: NDArray, bins: int = 128) -> float:
    """Return the threshold that best splits an image into dark and bright."""
    counts, edges = np.histogram(data, bins=bins)
    centres = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(counts).astype(float)
    total, mean = weight[-1], np.cumsum(counts * centres)
    other = total - weight
    valid = (weight > 0) & (other > 0)
    between = np.zeros(bins)
    gap = mean[valid] / weight[valid] - (mean[-1] - mean[valid]) / other[valid]
    between[valid] = weight[valid] * other[valid] * gap**2
    return float(centres[int(np.argmax(between))])


def head_mask(data: NDArray) -> NDArray[np.bool_]:
    """Mark the head (largest bright component, closed and filled slice by slice)."""
    from scipy import ndimage

    if not np.any(data > 0):
        return np.zeros(data.shape, dtype=bool)
    bright = ndimage.gaussian_filter(data, 1.0) > 0.5 * otsu(data)
    labels, n = ndimage.label(bright)
    if n == 0:
        return bright
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    head = labels == int(np.argmax(sizes))
    head = ndimage.binary_closing(np.pad(head, 3), iterations=3)[3:-3, 3:-3, 3:-3]
    for axis in range(3):
        head = fill_holes(head, across=axis)
    return head


def smooth_sample(data: NDArray, affine: ArrayLike, grid: Grid) -> NDArray[np.float32]:
    """Sample an image on a coarser grid, smoothed first where voxels get larger (no aliasing)."""
    from scipy import ndimage

    edges = spacing_mm(affine)
    coarse = float(grid.spacing_mm.min())
    sigma = 0.4 * np.maximum(0.0, coarse - edges) / edges
    return resample(ndimage.gaussian_filter(np.asarray(data, np.float32), sigma), affine, grid)
