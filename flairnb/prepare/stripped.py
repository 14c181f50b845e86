"""Input that holds the brain only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flairnb.geometry import fill_holes
from flairnb.images import Image

# A whole head, even defaced, fills 2.5 litres and more; a brain at most 2.
_MAX_BRAIN_ML = 1950.0
_MIN_EMPTY_FRACTION = 0.4


def stripped_mask(flair: Image) -> NDArray[np.bool_]:
    """Return the brain of a skull-stripped image.

    Largest component of the voxels that differ from the background, holes
    filled. Interpolation leaves small values of both signs around a stripped
    brain: they are below 2% of the brain's intensity and do not count.

    Returns
    -------
    (I, J, K) bool array
        On the image's own grid; empty if the image is.
    """
    from scipy import ndimage

    data = flair.data - background(flair.data)
    foreground = data[data > 0]
    if foreground.size == 0:
        return np.zeros(data.shape, dtype=bool)
    mask = data > 0.02 * np.percentile(foreground, 95)
    labels, n = ndimage.label(mask)
    if n > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        mask = labels == int(np.argmax(sizes))
    return fill_holes(mask)


def background(data: NDArray) -> float:
    """Return the value that fills the image's border: the median of its six faces."""
    faces = [data[0], data[-1], data[:, 0], data[:, -1], data[:, :, 0], data[:, :, -1]]
    return float(np.median(np.concatenate([f.ravel() for f in faces])))


def looks_stripped(image: Image) -> bool:
    """Tell whether an image holds no more than a brain on an empty background."""
    fill = background(image.data)
    empty = float(np.mean(np.abs(image.data - fill) <= 1e-6 * max(1.0, float(np.abs(image.data).max()))))
    if empty < _MIN_EMPTY_FRACTION:
        return False
    volume = float(stripped_mask(image).sum()) * image.voxel_volume_ml
    return 0 < volume < _MAX_BRAIN_ML
