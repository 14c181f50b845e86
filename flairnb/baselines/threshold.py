"""The plainest baseline: one intensity threshold on the z-scored FLAIR.

Whatever a method adds beyond "lesions are bright" must show against this one. The threshold is learnt on the training
cases only, by the mean Dice of the resulting masks (:mod:`flairnb.baselines.tuning`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Candidate thresholds, in standard deviations above the brain's mean.
CANDIDATES = np.round(np.arange(0.0, 8.0001, 0.05), 2)


def threshold_mask(
    work: NDArray[np.floating],
    brain: NDArray[np.bool_],
    z: float,
    min_ml: float = 0.0,
    voxel_volume_ml: float = 0.001,
) -> NDArray[np.bool_]:
    """Return the brain voxels at or above `z`, without components smaller than `min_ml`.

    Parameters
    ----------
    work : (I, J, K) float array
        z-scored FLAIR on the working grid.
    brain : (I, J, K) bool array
        Brain on the same grid.
    z : float
        Threshold in SD above the brain's mean.
    min_ml : float
        Smallest lesion kept, ml (26-connected).
    voxel_volume_ml : float
        Volume of a voxel of the working grid; 1 mm isotropic if not given.

    Returns
    -------
    (I, J, K) bool array
    """
    mask = (np.asarray(work) >= z) & np.asarray(brain, dtype=bool)
    if min_ml <= 0 or not mask.any():
        return mask
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
    large = np.bincount(labels.ravel(), minlength=count + 1) * voxel_volume_ml >= min_ml
    large[0] = False
    return large[labels]
