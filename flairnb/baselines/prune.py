"""LPA's clean-up of a probability map (see :mod:`flairnb.baselines.lpa`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.baselines.growth import neighbour_sum
from flairnb.geometry import near_distance

if TYPE_CHECKING:
    from flairnb.baselines.case import BaselineCase

#: The published steps' numbers.
FAINT, SMOOTH_FWHM_MM, RIM_MM, LEAST_ML, BRIGHT = 0.1, 1.0, 4.0, 0.009, 0.5
_FILL_ROUNDS, _GROW_ROUNDS, _FEW = 10, 50, 10
#: The ventricles lie within this box of MNI space (|x|, y, z in mm, low and high); read off the MNI152 template.
VENTRICLE_BOX_MM = ((0.0, 34.0), (-62.0, 38.0), (-22.0, 36.0))
_CUBE = np.ones((3, 3, 3), dtype=bool)


def prune(
    probability: NDArray[np.floating], raw: NDArray[np.floating], labels: NDArray[np.intp], case: BaselineCase
) -> NDArray[np.float64]:
    """Clean a probability map in the published order.

    Parameters
    ----------
    probability : (A, B, C) float array
    raw : (A, B, C) float array
        Brightness above white and grey matter, without the tissue weight.
    labels : (A, B, C) int array
        1 CSF, 2 grey, 3 white matter, 0 outside.
    case : BaselineCase

    Returns
    -------
    (A, B, C) float array
        0..1. Faint voxels are 0 and the rest smoothed; isolated voxels,
        voxels near the outer CSF (unless a whole strong lesion would be lost)
        and specks are dropped; holes are filled and bright neighbours joined.
    """
    out = np.where(probability < FAINT, 0.0, probability)
    # Only what is left is smoothed: a trace of it in the voxels around would count as lesion in every step that follows.
    smooth = ndimage.gaussian_filter(out, SMOOTH_FWHM_MM / 2.3548 / case.edge_mm)
    out = np.where((out > 0) & case.brain, smooth, 0.0)
    out = drop_isolated(out)
    near = near_distance(outer_csf(labels, case), max(1, int(np.ceil(RIM_MM / case.edge_mm)))) * case.edge_mm <= RIM_MM
    out = drop_near(out, near)
    out = drop_small(out, case.voxel_ml)
    out = fill(out)
    return np.clip(join_bright(out, (raw > BRIGHT) & case.brain), 0, 1)


def outer_csf(labels: NDArray[np.intp], case: BaselineCase) -> NDArray[np.bool_]:
    """Return CSF that touches the outside or does not lie in the ventricles' box."""
    csf = labels == 1
    outside = ndimage.binary_dilation(~case.brain, _CUBE)
    ventricle = np.zeros(csf.shape, dtype=bool)
    place = case.mni(csf)
    place[:, 0] = np.abs(place[:, 0])
    low, high = np.array(VENTRICLE_BOX_MM).T
    ventricle[csf] = ((place >= low) & (place <= high)).all(axis=1)
    return csf & (outside | ~ventricle)


def drop_isolated(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Set voxels without a positive face neighbour to 0."""
    return np.where(neighbour_sum(values > 0) > 0, values, 0.0)


def drop_near(values: NDArray[np.floating], near: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Remove voxels of a zone, but give back a lesion whose mean falls from above .5 to below (not to 0)."""
    kept = np.where(near, 0.0, values)
    labels, count = ndimage.label(values > 0, _CUBE)
    if count == 0:
        return kept
    index = np.arange(1, count + 1)
    before, after = (ndimage.mean(v, labels, index) for v in (values, kept))
    back = np.zeros(count + 1, dtype=bool)
    back[1:] = (before > 0.5) & (after > 0) & (after < 0.5)
    return np.where(back[labels], values, kept)


def drop_small(values: NDArray[np.floating], voxel_ml: float) -> NDArray[np.floating]:
    """Drop lesions that hold less than `LEAST_ML` above `FAINT`."""
    labels, count = ndimage.label(values > 0, _CUBE)
    strong = np.bincount(labels[values > FAINT], minlength=count + 1) * voxel_ml >= LEAST_ML
    strong[0] = False
    return np.where(strong[labels], values, 0.0)


def fill(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give empty voxels with more than four of six lesion neighbours those neighbours' mean."""
    out = np.array(values, dtype=float)
    for _ in range(_FILL_ROUNDS):
        around = neighbour_sum(out > 0)
        holes = (out == 0) & (around > 4)
        if not holes.any():
            break
        out = np.where(holes, neighbour_sum(out) / np.maximum(around, 1), out)
    return out


def join_bright(values: NDArray[np.floating], bright: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Grow lesions into bright voxels with more than a quarter of 26 neighbours lesion.

    A new voxel gets the 85th percentile of its non-zero neighbours; rounds go
    on until at most ten voxels are new.
    """
    out = np.array(values, dtype=float)
    for _ in range(_GROW_ROUNDS):
        on = (out > 0).astype(np.int16)
        around = ndimage.convolve(on, _CUBE.astype(np.int16), mode="constant") - on
        new = np.argwhere((out == 0) & bright & (around > 0.25 * 26))
        if len(new) == 0:
            break
        padded = np.pad(out, 1)
        cubes = np.stack([padded[tuple((new + shift).T)] for shift in np.ndindex(3, 3, 3)], axis=1)
        out[tuple(new.T)] = np.nanpercentile(np.where(cubes > 0, cubes, np.nan), 85, axis=1)
        if len(new) <= _FEW:
            break
    return out
