"""The plainest baseline: one intensity threshold on the z-scored FLAIR.

Whatever a method adds beyond "lesions are bright" must show against this one. The threshold is learnt on the training
cases only, by the mean Dice of the resulting masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from flairnb.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: Candidate thresholds, in standard deviations above the brain's mean.
CANDIDATES = np.round(np.arange(0.0, 8.0001, 0.05), 2)


def fit_threshold(
    cases: Iterable[tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.bool_]]],
    candidates: NDArray[np.floating] = CANDIDATES,
) -> float:
    """Return the threshold with the best mean Dice over training cases.

    Parameters
    ----------
    cases : iterable of (work, brain, reference)
        Each three (I, J, K) arrays on one case's working grid: float z-scored FLAIR, bool brain, bool reference
        mask. Taken one at a time, so a generator keeps memory low. Cases without lesion have no Dice and are skipped.
    candidates : (n,) float array
        Thresholds to try, ascending, in SD.

    Returns
    -------
    float
        In SD above the brain's mean; the lowest of equally good ones.

    Raises
    ------
    InputError
        If no case has a lesion.
    """
    candidates = np.asarray(candidates, dtype=float)
    total, n_cases = np.zeros(candidates.size), 0
    for work, brain, reference in cases:
        inside = np.asarray(brain, dtype=bool)
        lesion = np.asarray(reference, dtype=bool)
        if not lesion.any():
            continue
        # searchsorted gives for a voxel how many candidates it reaches; one histogram serves all thresholds.
        reached = np.searchsorted(candidates, np.asarray(work)[inside], side="right")
        called = _at_least(reached, candidates.size)
        hit = _at_least(reached[lesion[inside]], candidates.size)
        total += 2.0 * hit / (called + np.count_nonzero(lesion))
        n_cases += 1
    if n_cases == 0:
        msg = "threshold: expected training cases with lesions, received none. Check the reference masks."
        raise InputError(msg)
    return float(candidates[int(np.argmax(total))])


def _at_least(reached: NDArray[np.integer], n_candidates: int) -> NDArray[np.integer]:
    """Count the voxels at or above each candidate."""
    histogram = np.bincount(reached, minlength=n_candidates + 1)
    return histogram[::-1].cumsum()[::-1][1:]


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
        Threshold in SD, see `fit_threshold`.
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
