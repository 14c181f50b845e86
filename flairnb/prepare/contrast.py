"""Does a brain look like FLAIR or like T1w? A look at its histogram, to catch exchanged files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import isotropic_grid, mask_box
from flairnb.images import Image
from flairnb.prepare.slabs import mask_to_work
from flairnb.resampling import resample

_SPACING_MM = 2.0
_DEEP_MM, _INSIDE_MM, _LOCAL_MM = 10.0, 6.0, 4.0
_LEAST_VOXELS = 2000


@dataclass(frozen=True)
class Contrast:
    """Two numbers that tell T1w from FLAIR.

    Attributes
    ----------
    brighter_fraction : float
        Part of the deep brain that is brighter than its commonest intensity.
    local_skew : float
        Quantile skew of each voxel against its neighbourhood, -1 to 1.

    Notes
    -----
    In T1w, white matter is the commonest tissue and the brightest, so that
    little is brighter and what stands out is darker; in FLAIR, grey matter
    and lesions are brighter than the commonest. Both numbers must agree.
    13 public examinations (MS, glioma, healthy; 2D and 3D; whole heads and
    stripped brains; 1.5 and 3 T): 0.46 to 0.67 and -0.08 to 0.07 in FLAIR;
    0.22 to 0.39 and -0.31 to -0.12 in T1w, but for one of the twelve T1w (0.55
    and -0.18), which passes for neither. The limits are set for no false alarm:
    11 of 12 T1w are known as such, 12 of 13 FLAIR, none of them mistaken. Of the
    simulated patients' T1w one in four is known.
    """

    brighter_fraction: float
    local_skew: float

    @property
    def is_t1w(self) -> bool:
        """Both numbers are those of a T1w."""
        return self.brighter_fraction < 0.42 and self.local_skew < -0.1

    @property
    def is_flair(self) -> bool:
        """Both numbers are those of a FLAIR."""
        return self.brighter_fraction > 0.44 and self.local_skew > -0.07


def contrast_of(image: Image, brain: NDArray[np.bool_], affine: ArrayLike, world: ArrayLike | None = None) -> Contrast | None:
    """Measure an image inside a brain.

    Parameters
    ----------
    image : Image
    brain : (I, J, K) bool array
        May lie on another grid than the image.
    affine : (4, 4) array
        Of `brain`.
    world : (4, 4) array, optional
        World of the brain to world of the image, RAS mm (a registration).

    Returns
    -------
    Contrast or None
        None where there is too little brain to tell (under 16 ml of deep
        brain), or one value only.
    """
    from scipy import ndimage

    grid = isotropic_grid(brain.shape, affine, _SPACING_MM)
    inside = mask_to_work(brain, affine, grid)
    box = mask_box(inside)
    inside = np.pad(inside[box], 1)
    depth = ndimage.distance_transform_edt(inside) * _SPACING_MM
    if np.count_nonzero(depth > _DEEP_MM) < _LEAST_VOXELS:
        return None
    data = np.pad(resample(image.data, image.affine, grid, world=world)[box], 1)
    low, high = np.percentile(data[inside], [1, 99])
    if high <= low:
        return None
    data = np.clip(data, low, high)
    return Contrast(_brighter_fraction(data[depth > _DEEP_MM], low, high), _local_skew(data, inside, depth > _INSIDE_MM))


def _brighter_fraction(values: NDArray[np.float32], low: float, high: float) -> float:
    from scipy import ndimage

    counts, edges = np.histogram(values, 60, (low, high))
    peak = int(ndimage.gaussian_filter1d(counts.astype(float), 1.5).argmax())
    return float(np.mean(values > (edges[peak] + edges[peak + 1]) / 2))


def _local_skew(data: NDArray[np.float32], inside: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    from scipy import ndimage

    sigma = _LOCAL_MM / _SPACING_MM
    weight = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), sigma), 1e-3)
    around = ndimage.gaussian_filter(np.where(inside, data, 0).astype(np.float32), sigma) / weight
    low, middle, high = np.percentile((data - around)[where], [10, 50, 90])
    return float((high + low - 2 * middle) / (high - low)) if high > low else 0.0
