"""LPA-style: logistic regression on FLAIR, with a spatial prior and pruning.

After the description of the lesion prediction algorithm (P. Schmidt, doctoral
thesis, LMU Munich 2017, ch. 6.1; LST's documentation). Our own code: the
program's coefficients are not used; they are fitted to this run's training
cases, and the spatial effect is a ridge-penalised lattice in MNI space,
symmetric in left and right. Two of its steps are left out: the FLAIR is not
bias-corrected unless the preparation was (`BaselineCase.intensity`), and
tissue keeps its places to the end (:mod:`flairnb.baselines.mixture`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from flairnb.baselines.mixture import tissue_of_flair
from flairnb.baselines.prune import prune

if TYPE_CHECKING:
    from flairnb.baselines.case import BaselineCase

#: Spacing and extent (|x|, y, z in MNI mm) of the lattice of the spatial effect; chosen.
STEP_MM = 16.0
_LOW_MM, _HIGH_MM = np.array([0.0, -112.0, -80.0]), np.array([80.0, 80.0, 96.0])
LATTICE = tuple(int(n) for n in np.round((_HIGH_MM - _LOW_MM) / STEP_MM) + 1)
#: Inverse strength of the ridge penalty; chosen.
_RIDGE_C = 1.0
#: The brightness feature goes into the fit this many times larger: the penalty is meant for the lattice, not for its slope.
_FEATURE_SCALE = 10.0
#: Cuts to choose from; below 0.1 pruning leaves nothing. LST suggests 0.5.
CUTS = tuple(np.round(np.arange(0.1, 0.951, 0.05), 2))
#: White-matter prior below which the published method sees no lesion.
_LEAST_WM = 0.05


@dataclass(frozen=True)
class LpaModel:
    """The fitted regression.

    Attributes
    ----------
    intercept, slope : float
        Of the brightness feature.
    spatial : LATTICE float array
        Effect at the lattice's points, log odds.
    cut : float
        Probability from which a voxel is lesion.
    """

    intercept: float
    slope: float
    spatial: NDArray[np.float64]
    cut: float = 0.5


@dataclass(frozen=True)
class LpaFeatures:
    """What the regression sees of a case.

    Attributes
    ----------
    raw : (A, B, C) float array
        Brightness above the means of white and grey matter.
    weighted : (A, B, C) float array
        `raw` times the probability of neither CSF nor cortex.
    labels : (A, B, C) int array
        1 CSF, 2 grey, 3 white matter from FLAIR, 0 outside.
    """

    raw: NDArray[np.float64]
    weighted: NDArray[np.float64]
    labels: NDArray[np.intp]


def features(case: BaselineCase) -> LpaFeatures:
    """Return the brightness feature of a case and its tissue labels."""
    labels, csf = tissue_of_flair(case)
    gm, wm = (case.intensity[labels == k] for k in (2, 3))
    scale = float(gm.mean()) if gm.size else 1.0
    flair = case.intensity / (scale or 1.0)
    mean_wm = float(wm.mean()) / (scale or 1.0) if wm.size else 1.0
    raw = np.where(case.brain, np.maximum(flair - mean_wm, 0) + np.maximum(flair - 1.0, 0), 0)
    # Cortex that borders on white matter is prone to lesions: there grey matter speaks half as loud.
    gm_prior = np.where(case.wm >= 0.25, 0.5, 1.0) * case.gm
    weight = np.clip(1 - (csf + gm_prior), 0, 1)
    weight[case.wm < _LEAST_WM] = 0
    return LpaFeatures(raw, raw * weight, labels)


def lattice_weights(mni: NDArray[np.floating]) -> sparse.csr_matrix:
    """Return the trilinear weights of the lattice's points, left and right alike.

    Parameters
    ----------
    mni : (n, 3) float array
        MNI coordinates, mm.

    Returns
    -------
    (n, points) sparse matrix
        Eight weights a row that sum to 1.
    """
    place = np.column_stack([np.abs(mni[:, 0]), mni[:, 1], mni[:, 2]])
    place = np.clip((place - _LOW_MM) / STEP_MM, 0, np.array(LATTICE) - 1 - 1e-9)
    base = place.astype(int)
    part = place - base
    rows, columns, weights = [], [], []
    for corner in np.ndindex(2, 2, 2):
        weights.append(np.prod(np.where(corner, part, 1 - part), axis=1))
        columns.append(np.ravel_multi_index(tuple((base + corner).T), LATTICE))
        rows.append(np.arange(len(mni)))
    data = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(data, shape=(len(mni), int(np.prod(LATTICE))))


def sample_rows(
    case: BaselineCase, reference: NDArray[np.bool_], points: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Draw voxels of a training case for the regression.

    Parameters
    ----------
    case : BaselineCase
    reference : (A, B, C) bool array
        On the case's box.
    points : (int, int)
        At most so many lesion and other voxels.
    rng : numpy.random.Generator

    Returns
    -------
    rows : (n, 4) float array
        Brightness feature, MNI coordinates in mm.
    lesion : (n,) bool array
    weight : (n,) float array
        Voxels of the case that each row stands for.
    """
    feature = features(case).weighted
    lesion = reference & case.brain
    rows, labels, weights = [], [], []
    for members, most, label in ((lesion, points[0], True), (case.brain & ~lesion, points[1], False)):
        flat = np.flatnonzero(members)
        if flat.size == 0:
            continue
        chosen = np.sort(rng.choice(flat, min(most, flat.size), replace=False))
        mask = np.zeros(case.brain.shape, dtype=bool)
        mask.ravel()[chosen] = True
        rows.append(np.column_stack([feature[mask], case.mni(mask)]))
        labels.append(np.full(chosen.size, label))
        weights.append(np.full(chosen.size, flat.size / chosen.size))
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)


def fit_lpa(rows: NDArray[np.floating], lesion: NDArray[np.bool_], weight: NDArray[np.floating]) -> LpaModel:
    """Fit the regression to sampled voxels of all training cases (see `sample_rows`)."""
    from sklearn.linear_model import LogisticRegression

    design = sparse.hstack([sparse.csr_matrix(rows[:, :1] * _FEATURE_SCALE), lattice_weights(rows[:, 1:])]).tocsr()
    # Weights keep the prior odds of real heads; their mean of 1 keeps the penalty's strength.
    model = LogisticRegression(C=_RIDGE_C, solver="lbfgs", max_iter=500)
    model.fit(design, lesion, sample_weight=weight / weight.mean())
    slope = float(model.coef_[0, 0]) * _FEATURE_SCALE
    return LpaModel(float(model.intercept_[0]), slope, model.coef_[0, 1:].reshape(LATTICE))


def lesion_probability(case: BaselineCase, model: LpaModel) -> NDArray[np.float64]:
    """Return LPA's lesion probability after pruning, on the case's box."""
    found = features(case)
    place = case.mni(case.brain)
    place = np.column_stack([np.abs(place[:, 0]), place[:, 1], place[:, 2]])
    effect = ndimage.map_coordinates(model.spatial, ((place - _LOW_MM) / STEP_MM).T, order=1, mode="nearest")
    logit = model.intercept + model.slope * found.weighted[case.brain] + effect
    probability = np.zeros(case.brain.shape)
    probability[case.brain] = 1 / (1 + np.exp(-logit))
    return prune(probability, found.raw, found.labels, case)
