"""Which simulated lesions a reader can see: those brighter than the tissue around them.

A generator that draws contrast and lesions independently also makes lesions
that nobody would mark: as bright as the cortex beside them, or dark as a
whole. Labels on them teach a network to mark what is not bright.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH_MM = 6.0
DARKEST_TISSUE = -1.5
# The eye averages over noise: without this, the brighter half of noise alone would stand out.
BLUR_MM = 0.8


def visible(image: NDArray[np.float32], mask: NDArray[np.bool_], brain: NDArray[np.bool_], spacing_mm: float, least: float) -> NDArray:
    """Return the lesions whose brighter half stands out from the healthy tissue around them.

    Parameters
    ----------
    image : (I, J, K) float32 array
        z-score inside the brain.
    mask : (I, J, K) bool array
        Simulated lesions; each connected one (26 neighbours) is judged as a whole.
    brain : (I, J, K) bool array
    spacing_mm : float
        Isotropic voxel edge.
    least : float
        Smallest difference that is seen, z-score units. Readers' lesions on
        the eight development cases differ from their surroundings by 1.2 to
        2.3 (mean of all lesion voxels of an examination less that of 2 to 6 mm around).

    Returns
    -------
    (I, J, K) bool array
        Part of `mask`.
    """
    labels, count = ndimage.label(mask & brain, np.ones((3, 3, 3)))
    if not count:
        return labels > 0
    excess = ndimage.gaussian_filter(image, BLUR_MM / spacing_mm) - surroundings(image, mask, brain, spacing_mm)
    seen = np.zeros(count + 1, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        values = excess[box][labels[box] == number]
        seen[number] = values[values >= np.median(values)].mean() >= least
    return seen[labels]


def surroundings(image: NDArray[np.float32], mask: NDArray[np.bool_], brain: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.float32]:
    """Return the mean of the healthy tissue near each voxel; far from any, that of all of it.

    Weights fall with the distance (Gaussian, SD 6 mm). Fluid does not count,
    nor do 2 mm around lesions, whose edges are mixed.

    Returns
    -------
    (I, J, K) float32 array
    """
    sigma = REACH_MM / spacing_mm
    near = ndimage.binary_dilation(mask, iterations=max(1, round(2 / spacing_mm)))
    healthy = brain & ~near & (image > DARKEST_TISSUE)
    if not healthy.any():
        return np.zeros(image.shape, dtype=np.float32)
    overall = float(image[healthy].mean())
    weight = ndimage.gaussian_filter(healthy.astype(np.float32), sigma, truncate=3.0)
    total = ndimage.gaussian_filter(np.where(healthy, image, 0).astype(np.float32), sigma, truncate=3.0)
    few = 1e-3
    return ((total + few * overall) / (weight + few)).astype(np.float32)
