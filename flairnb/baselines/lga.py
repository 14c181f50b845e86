"""LGA re-implementation: the lesion growth algorithm, from T1w and FLAIR.

Method: Schmidt et al., NeuroImage 2012;59:3774. This is our own code after
its description, not the program LST: tissue classes come from Atropos instead
of SPM, the white-matter prior is the MNI152 map brought to the head by an
affine, and the FLAIR is not bias-corrected unless the preparation was
(`BaselineCase.intensity` says why). `kappa`, the belief at which a voxel becomes a seed, is 0.3 by default
in LST; its authors advise to choose it by Dice on cases with reference masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flairnb.baselines.growth import clean, grow, neighbour_sum
from flairnb.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flairnb.baselines.case import BaselineCase

#: Values of kappa to choose from. LST tries 0.05 to 1; voxels of 2 mm dilute small lesions, so smaller ones are tried too.
KAPPAS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
#: Cut of the lesion map.
CUT = 0.5


@dataclass(frozen=True)
class LgaModel:
    """What LGA learns from training cases."""

    kappa: float


def lesion_map(case: BaselineCase, kappa: float = 0.3) -> NDArray[np.float64]:
    """Return LGA's lesion belief.

    Parameters
    ----------
    case : BaselineCase
        With `tissue`, which needs a T1w.
    kappa : float
        Belief from which a voxel is a seed; smaller finds more.

    Returns
    -------
    (A, B, C) float array
        0..1 on the case's box; lesion from `CUT` on. Zeros when no voxel is a
        seed.

    Raises
    ------
    InputError
        The case has no T1w.
    """
    return lesion_maps(case, (kappa,))[0]


def lesion_maps(case: BaselineCase, kappas: Sequence[float] = KAPPAS) -> list[NDArray[np.float64]]:
    """Return `lesion_map` for several values of kappa, sharing what does not depend on it."""
    if case.tissue is None:
        raise InputError("LGA: expected a T1w beside the FLAIR, found none. Leave the method out for this case.")
    scaled = case.intensity / mode(case.intensity[case.brain])
    initial, total = belief_maps(scaled, case.tissue, case.wm)
    return [clean(grow(total, find_seeds(initial, kappa), scaled, case.tissue)) for kappa in kappas]


def belief_maps(
    flair: NDArray[np.floating], p0: NDArray[np.floating], prior: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how much each voxel's brightness exceeds its tissue's, weighted.

    Parameters
    ----------
    flair : (A, B, C) float array
        Intensities.
    p0 : (A, B, C) float array
        Partial-volume labels, 0 outside.
    prior : (A, B, C) float array
        Probability of white matter at this place.

    Returns
    -------
    initial, total : (A, B, C) float array
        Of grey-matter voxels (lesions look like them on T1w), times the mean
        of their six neighbours; of all classes, the mean of the six
        neighbours. At least 0.
    """
    classes = {"gm": (p0 > 1.5) & (p0 < 2.5), "csf": (p0 > 0) & (p0 <= 1.5), "wm": p0 >= 2.5}
    inside = np.where(p0 > 0, np.maximum(np.nan_to_num(prior), 0), 0)
    beliefs = {}
    for name, members in classes.items():
        mean = float(flair[members].mean()) if members.any() else 0.0
        beliefs[name] = np.where(members, np.maximum(p0 * (flair - mean) * inside, 0), 0)
    total = beliefs["gm"] + beliefs["csf"] + beliefs["wm"]
    initial = np.where(beliefs["gm"] > 0, neighbour_sum(beliefs["gm"]) / 6 * beliefs["gm"], 0)
    return initial, np.where(total > 0, neighbour_sum(total) / 6, 0)


def find_seeds(initial: NDArray[np.floating], kappa: float) -> NDArray[np.bool_]:
    """Return voxels above kappa that have at least two such face neighbours."""
    seeds = initial > kappa
    return seeds & (neighbour_sum(seeds) >= 2)


def mode(values: NDArray[np.floating], bins: int = 256) -> float:
    """Return the most frequent of positive values, from a smoothed histogram.

    Values above the 99.5th percentile do not widen the bins. 1 when there are
    no positive values.
    """
    positive = np.asarray(values, dtype=float)
    positive = positive[positive > 0]
    if positive.size == 0:
        return 1.0
    counts, edges = np.histogram(positive, bins=bins, range=(0.0, float(np.percentile(positive, 99.5))))
    counts = np.convolve(counts, np.ones(5) / 5, mode="same")
    best = int(np.argmax(counts))
    return float((edges[best] + edges[best + 1]) / 2) or 1.0
