"""Tissue classes from FLAIR alone, as LPA needs them (see :mod:`flairnb.baselines.lpa`).

The description's last pass, which weighs the classes by their sizes instead of
their places, is left out. On FLAIR grey and white matter hardly differ, and
without the places white matter was lost: of eight public patients it had 25 to
31% of the brain before that pass and in five of them 0 to 6% after it, and in
three gliomas it was the tumour, one and a half times as bright as grey matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from flairnb.baselines.case import BaselineCase

_SMOOTH_MM = 1.5
_FWHM_TO_SIGMA = 1 / 2.3548
_ROUNDS = 30
_FLOOR = 1e-6


def tissue_of_flair(case: BaselineCase) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return tissue labels from FLAIR and the CSF prior where FLAIR agrees.

    Returns
    -------
    labels : (A, B, C) int array
        1 CSF, 2 grey, 3 white matter; 0 outside the brain.
    csf : (A, B, C) float array
        Prior probability of CSF, 0 where the label is another.
    """
    sigma = _SMOOTH_MM * _FWHM_TO_SIGMA / case.edge_mm
    inside = case.brain.astype(np.float32)
    weight = np.maximum(ndimage.gaussian_filter(inside, sigma), _FLOOR)
    smooth = ndimage.gaussian_filter(case.intensity * inside, sigma) / weight
    priors = np.stack([case.csf, case.gm, case.wm])[:, case.brain].astype(float)
    found = relabel(smooth[case.brain].astype(float), priors)
    labels = np.zeros(case.brain.shape, dtype=np.intp)
    labels[case.brain] = found + 1
    return labels, np.where(labels > 1, 0.0, case.csf)


def relabel(values: NDArray[np.floating], priors: NDArray[np.floating]) -> NDArray[np.intp]:
    """Label voxels by a Gaussian mixture with spatial priors, hard, until nothing changes.

    Parameters
    ----------
    values : (n,) float array
    priors : (3, n) float array
        CSF, grey, white matter at each voxel.

    Returns
    -------
    (n,) int array
        0, 1, 2. "CSF" that is brighter than the mean of grey matter is grey
        matter (on FLAIR, CSF is dark).
    """
    log_prior = np.log(np.maximum(priors, _FLOOR))
    labels = np.argmax(priors, axis=0)
    for _ in range(_ROUNDS):
        new = _as_flair(np.argmax(log_prior + _log_density(values, labels), axis=0), values)
        if np.array_equal(new, labels):
            break
        labels = new
    return labels


def _as_flair(labels: NDArray[np.intp], values: NDArray[np.floating]) -> NDArray[np.intp]:
    gm = values[labels == 1]
    return np.where((labels == 0) & (values > gm.mean()), 1, labels) if gm.size else labels


def _log_density(values: NDArray[np.floating], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    spread = float(values.std()) or 1.0
    out = np.empty((3, values.size))
    for k in range(3):
        members = values[labels == k]
        if members.size < 2:
            out[k] = -np.inf if members.size == 0 else 0.0
            continue
        sd = max(float(members.std()), 1e-3 * spread)
        out[k] = -np.log(sd) - 0.5 * ((values - members.mean()) / sd) ** 2
    return out
