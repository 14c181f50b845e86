"""Tissue classes from T1w, and partial-volume labels as LGA uses them.

Schmidt et al., NeuroImage 2012;59:3774. The published program takes its
classes from SPM's unified segmentation; here they come from Atropos
(Avants et al., Neuroinformatics 2011;9:381) with the MNI152 maps as priors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.errors import WorkFailed
from flairnb.prepare import bridge

if TYPE_CHECKING:
    from flairnb.baselines.case import BaselineCase

CSF, GM, WM = 1, 2, 3
#: Label of dark voxels that are bright on FLAIR, and rounds of growing them.
_BRIGHT, _ROUNDS = 2.4, 50
#: Smoothing by neighbours, iterations and weight of the priors in Atropos. Neither more smoothing or iterations (0.1, 5) nor
#: more weight (0.5) found more lesion on training phantoms, and both cost time.
_MRF, _ITERATIONS, _PRIOR_WEIGHT = 0.0, 3, 0.25
_FLOOR = 0.02


def tissue_labels(case: BaselineCase) -> NDArray[np.float32]:
    """Return partial-volume labels of a case with T1w.

    Parameters
    ----------
    case : BaselineCase
        Its `t1w` must be there.

    Returns
    -------
    (A, B, C) float32 array
        0 outside the brain; see `partial_volume`.
    """
    return partial_volume(tissue_posteriors(case), case.t1w, case.intensity, case.brain)


def tissue_posteriors(case: BaselineCase) -> NDArray[np.float32]:
    """Return P(CSF), P(GM), P(WM) from T1w by Atropos with template priors.

    Returns
    -------
    (3, A, B, C) float32 array
        Sum 1 inside the brain, 0 outside.
    """
    ants = bridge.load_ants()
    # Atropos reads its priors back from files, which round positions; a plain grid of whole steps survives that.
    affine, brain = np.diag([1.0, 1.0, 1.0, 1.0]), case.brain
    priors = np.maximum(np.stack([case.csf, case.gm, case.wm]), _FLOOR) * brain
    priors /= np.maximum(priors.sum(axis=0), 1e-6)
    with _temporary_files():
        try:
            found = ants.atropos(
                a=bridge.to_ants(np.where(brain, case.t1w + 10, 0), affine),
                x=bridge.to_ants(brain, affine),
                i=[bridge.to_ants(p, affine) for p in priors],
                m=f"[{_MRF},1x1x1]",
                c=f"[{_ITERATIONS},0]",
                priorweight=_PRIOR_WEIGHT,
            )
        except Exception as error:
            raise WorkFailed(
                f"tissue classes: expected Atropos to finish, it stopped ({error}). Look at the T1w and the brain mask."
            ) from error
    posterior = np.stack([p.numpy() for p in found["probabilityimages"]]).astype(np.float32) * brain
    total = posterior.sum(axis=0)
    empty = brain & (total <= 0)
    posterior[:, empty] = priors[:, empty]
    return posterior / np.where(brain, np.maximum(posterior.sum(axis=0), 1e-6), 1)


def partial_volume(
    posterior: NDArray[np.floating], t1w: NDArray[np.floating], flair: NDArray[np.floating], brain: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Turn class posteriors into one number a voxel: 1 CSF, 2 grey, 3 white, and between.

    Parameters
    ----------
    posterior : (3, A, B, C) float array
        CSF, GM, WM.
    t1w, flair : (A, B, C) float array
        Intensities, any unit.
    brain : (A, B, C) bool array

    Returns
    -------
    (A, B, C) float32 array
        CSF 1 to 1.5, the lower the surer; GM darker than its mean on T1w 1.5
        to 2, brighter 2 to 2.5, nearer to 2 the surer; WM 2.5 to 3. CSF that
        is brighter on FLAIR than the mean of GM becomes 2.4 and grows into GM
        above GM's 95th percentile. The outermost voxels of the array are 0.
    """
    hard = np.where(brain, np.argmax(posterior, axis=0) + 1, 0)
    hard = _without_border(hard)
    p0 = np.zeros(hard.shape, dtype=np.float32)
    csf, gm, wm = (hard == k for k in (CSF, GM, WM))
    p0[csf] = rescale(posterior[0][csf], 1.5, 1.0)
    gm_t1w = float(t1w[gm].mean()) if gm.any() else 0.0
    dark, bright = gm & (t1w < gm_t1w), gm & (t1w >= gm_t1w)
    p0[dark] = rescale(posterior[1][dark], 1.5, 2.0)
    p0[bright] = rescale(posterior[1][bright], 2.5, 2.0)
    p0[wm] = rescale(posterior[2][wm], 2.5, 3.0)
    if not gm.any():
        return p0
    moved = (p0 > 0) & (p0 < 1.5) & (flair > flair[gm].mean())
    reachable = gm & (flair > np.percentile(flair[gm], 95))
    if moved.any():
        cross = ndimage.generate_binary_structure(3, 1)
        moved = ndimage.binary_dilation(moved, cross, iterations=_ROUNDS, mask=moved | reachable) | moved
    p0[moved] = _BRIGHT
    return _without_border(p0)


def rescale(values: NDArray[np.floating], at_lowest: float, at_highest: float) -> NDArray[np.floating]:
    """Map values linearly so that the lowest and highest land on two numbers.

    Values that are all equal land on `at_highest`.

    Examples
    --------
    >>> rescale(np.array([0.2, 0.6, 1.0]), 1.5, 2.0).tolist()
    [1.5, 1.75, 2.0]
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        return values
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.full(values.shape, at_highest)
    return at_lowest + (values - low) / (high - low) * (at_highest - at_lowest)


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Let ANTs write its files to a folder that goes away: it leaves a head's maps behind otherwise."""
    before = tempfile.tempdir
    with bridge.scratch_folder() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def _without_border(values: NDArray) -> NDArray:
    out = np.zeros_like(values)
    inner = (slice(1, -1),) * 3
    out[inner] = values[inner]
    return out
