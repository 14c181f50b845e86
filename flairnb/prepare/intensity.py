"""Intensities fit for registration: wraps, outliers and the head's extent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import Grid, fill_holes, mask_box, spacing_mm
from flairnb.resampling import resample

# A background that holds one value fills this part of an image at least.
MIN_EMPTY_FRACTION = 0.4

# Part of the range of intensities: nearer to 0, or to the background, is noise or overshoot.
_CLEAR_FRACTION = 0.05
_AMID_FRACTION = 0.1

# Of so many voxels, one value fills this part at least where it is an empty background, and is so much more frequent than the
# value of the faces. Noise has no such value.
_ENOUGH, _FILL_FRACTION, _FILL_ABOVE_BORDER = 200_000, 0.1, 10

# From which intensity on a voxel may be wrapped or cut off; what surrounds wrapped ones is darker than a quarter of the range.
_WRAP_FROM, _MAX_WRAP, _WRAP_AROUND = 65000, 65535, 16384
_FEW_FRACTION = 0.002


def tame(data: NDArray, low: float = 0.5, high: float = 99.5) -> NDArray[np.float32]:
    """Clip an image to robust limits and scale it to 0..1.

    Some exports wrap negative voxels to the top of the unsigned range (65535):
    such voxels become background. Limits are percentiles of the voxels above
    the lowest intensity (see `lift`): no factor changes the result, and no
    constant that lifts or lowers the image by more than 5% of its range. A
    smaller one is taken for noise or overshoot, and changes the result where
    it changes which voxels are above 0: an empty background that is lifted
    counts for the percentiles, noise that is lowered below 0 does not.

    A few voxels cut off at the end of that range, fat or vessels, become
    background too: in three public T1w 0.03 to 0.11% of the image. Left bright
    they would move those brain masks by 0.003 to 0.005 of Dice, not known
    whether for the better.

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
    out, _ = lift(data)
    cut_off = (data >= _WRAP_FROM) & (out > 0)
    if data.max() <= _MAX_WRAP and cut_off.mean() < _FEW_FRACTION:
        out[cut_off] = 0
    inside = out[out > 0]
    if inside.size == 0:
        return out
    bottom, top = np.percentile(inside[:: max(1, inside.size // 200_000)], [low, high])
    if top <= bottom:
        return (out > 0).astype(np.float32)
    return np.clip((out - bottom) / (top - bottom), 0, 1)


def lift(data: NDArray) -> tuple[NDArray[np.float32], float]:
    """Return an image whose lowest intensity is 0, and the intensity that became 0.

    Most images come as they are: magnitudes from 0, or with a little noise or
    overshoot below it, which is cut off. An image that was scaled to -1..1 or
    z-scored has clearly negative intensities that mean something: its lowest
    becomes 0. So does a lowest intensity clearly above 0. Where the brain was
    z-scored and the background left at 0, amid the brain's intensities, the
    background becomes the lowest too. Wrapped voxels (`is_wrapped`) become 0
    first.

    Parameters
    ----------
    data : (I, J, K) array
        Any intensities.

    Returns
    -------
    lifted : (I, J, K) float32 array
        At least 0.
    floor : float
        0 for an image that comes as it is.

    Examples
    --------
    >>> head = np.pad(np.full((5, 6, 7), 90.0), 2)
    >>> lifted, floor = lift(head / 30 - 2)
    >>> floor, bool(np.allclose(lifted, head / 30))
    (-2.0, True)
    """
    out = np.where(is_wrapped(data), 0, data).astype(np.float32)
    low, fill = float(out.min()), background(out)
    if low == fill == 0:
        return out, 0.0
    top = float(np.percentile(out.ravel()[:: max(1, out.size // 200_000)], 99.5))
    limit = fill - _CLEAR_FRACTION * (top - fill)
    if low < limit and _is_amid(out, empty := is_fill(out, fill), limit):
        out[empty] = fill = low
    floor = _floor(low, fill, top)
    if floor:
        out -= np.float32(floor)
    return np.maximum(out, 0, out=out), floor


def background(data: NDArray) -> float:
    """Return the value that fills the image's border: the median of its six faces.

    Where the brain itself fills most of the faces (few slices, cut off at both
    ends, cropped to the brain), it is the one value that fills a tenth of the
    image, if there is one.

    Examples
    --------
    >>> slab = np.arange(1.0, 1001).reshape(10, 10, 10)
    >>> slab[:3, :4] = 0
    >>> background(slab)
    0.0
    """
    faces = [data[0], data[-1], data[:, 0], data[:, -1], data[:, :, 0], data[:, :, -1]]
    border = np.median(np.concatenate([f.ravel() for f in faces]))
    some = data.ravel()[:: max(1, data.size // _ENOUGH)]
    if np.count_nonzero(some == border) < _FILL_FRACTION * some.size:
        values, counts = np.unique(some, return_counts=True)
        if counts.max() >= max(_FILL_FRACTION * some.size, _FILL_ABOVE_BORDER * np.count_nonzero(some == border)):
            border = values[counts.argmax()]
    return float(border)


def is_fill(data: NDArray, fill: float) -> NDArray[np.bool_]:
    """Mark the voxels that hold exactly one value (rounding apart)."""
    return np.abs(data - fill) <= 1e-6 * float(np.abs(data).max())


def _is_amid(data: NDArray, empty: NDArray[np.bool_], limit: float) -> bool:
    """Tell whether an empty background lies amid the intensities of what it surrounds: many are below the limit."""
    full = np.count_nonzero(~empty)
    return full <= (1 - MIN_EMPTY_FRACTION) * empty.size and np.count_nonzero(data < limit) > _AMID_FRACTION * full


def _floor(low: float, fill: float, top: float) -> float:
    """Return the intensity to become 0, from the lowest one, the background's and a high one."""
    if low > _CLEAR_FRACTION * (top - low):
        return low
    if fill < -_CLEAR_FRACTION * (top - fill):
        # A few voxels far below the background are overshoot or damage.
        return max(low, fill - 2 * _CLEAR_FRACTION * (top - fill))
    return 0.0


def is_wrapped(data: NDArray) -> NDArray[np.bool_]:
    """Mark voxels at the end of the unsigned 16-bit range that lie in the dark.

    A negative value cast to unsigned ends up at 65535 and just below, beside
    values near 0. An intensity that was cut off at the end of the range
    (saturated) has bright neighbours and stays: patches of such voxels are
    judged by what surrounds them.

    Notes
    -----
    Three public T1w reach 65535: one has a whole wrapped slice, which is marked
    and nothing else; the few saturated voxels of all three stay. Of 16 public
    FLAIR and T1w, cut off at their 90th to 99.9th percentile, at most 0.4% of
    such voxels were mistaken.
    """
    from scipy import ndimage

    near_top = data >= _WRAP_FROM
    if not near_top.any() or data.max() > _MAX_WRAP:
        return np.zeros(data.shape, dtype=bool)
    box = mask_box(near_top, 2)
    inside = near_top[box]
    seen = ndimage.uniform_filter((~inside).astype(np.float32), 3)
    total = ndimage.uniform_filter(np.where(inside, 0, data[box]).astype(np.float32), 3)
    edge = inside & (seen > 1e-3)
    if not edge.any():
        return np.zeros(data.shape, dtype=bool)
    patches, n = ndimage.label(inside, np.ones((3, 3, 3)))
    around = ndimage.median(total[edge] / seen[edge], patches[edge], np.arange(1, n + 1))
    out = np.zeros(data.shape, dtype=bool)
    out[box] = np.concatenate([[False], around < _WRAP_AROUND])[patches]
    return out


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
