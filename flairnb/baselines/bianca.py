"""BIANCA-style: k nearest neighbours on intensities and place in the brain.

Method: Griffanti et al., NeuroImage 2016;141:191. Our own code after the
published description and options; not FSL's program. A voxel's score is the
share of lesion among the k training voxels that are nearest in FLAIR, T1w and
weighted MNI coordinates: what scikit-learn's `KNeighborsClassifier` gives
(the tests hold it to that), found by SciPy's tree, which takes two thirds of
the time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flairnb.geometry import near_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.spatial import cKDTree

    from flairnb.baselines.case import BaselineCase

#: Cuts of the score to choose from.
CUTS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)
#: ``noborder``: no other voxels are drawn within this distance of a lesion, mm ("about 3 voxels" of 1 mm).
BORDER_MM = 3.0
#: Spread of a brain's voxels along x, y, z, MNI mm: what "variance normalisation" divides coordinates by.
SPREAD_MM = np.array([32.0, 42.0, 32.0])
#: Grey matter beyond this prior probability is left out by the exclusion mask.
_GREY = 0.6
#: Top of the posterior fossa in MNI mm: at y = -20, and its fall for each mm backwards; read off the MNI152 template.
_TENTORIUM = (-8.0, 0.12, -20.0)


@dataclass(frozen=True)
class BiancaModel:
    """Training points and what was chosen.

    Attributes
    ----------
    points : (n, 5) float32 array
        FLAIR, T1w (SD), MNI coordinates (in units of `SPREAD_MM`).
    lesion : (n,) bool array
    case : (n,) int array
        Number of the training case that a point comes from.
    neighbours : int
    spatial_weight : float
    cut : float
    masked : bool
        Whether the exclusion mask is applied.
    """

    points: NDArray[np.float32]
    lesion: NDArray[np.bool_]
    case: NDArray[np.integer]
    neighbours: int = 40
    spatial_weight: float = 1.0
    cut: float = 0.9
    masked: bool = False
    _trees: dict[bool, cKDTree] = field(default_factory=dict, repr=False, compare=False)

    def without(self, case: int) -> BiancaModel:
        """Return the model without the points of one training case."""
        keep = self.case != case
        return BiancaModel(
            self.points[keep], self.lesion[keep], self.case[keep], self.neighbours, self.spatial_weight, self.cut, self.masked
        )

    def tree(self, with_t1w: bool) -> cKDTree:
        """Return the search tree, made once; without the T1w column where a case has none."""
        from scipy.spatial import cKDTree

        if with_t1w not in self._trees:
            self._trees[with_t1w] = cKDTree(weighted(self.points, self.spatial_weight, with_t1w), leafsize=40, balanced_tree=False)
        return self._trees[with_t1w]


def voxel_features(case: BaselineCase, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return FLAIR, T1w (0 without one) and scaled MNI coordinates of a mask's voxels, (n, 5)."""
    t1w = np.zeros(int(where.sum()), np.float32) if case.t1w is None else case.t1w[where]
    return np.column_stack([case.flair[where], t1w, case.mni(where) / SPREAD_MM]).astype(np.float32)


def weighted(points: NDArray[np.floating], spatial_weight: float, with_t1w: bool = True) -> NDArray[np.floating]:
    """Return features as distances are measured in: coordinates weighted, T1w left out if asked; no weight, no place."""
    columns = [points[:, :1]]
    if with_t1w:
        columns.append(points[:, 1:2])
    if spatial_weight > 0:
        columns.append(points[:, 2:] * spatial_weight)
    return np.ascontiguousarray(np.concatenate(columns, axis=1))


def sample_points(
    case: BaselineCase, reference: NDArray[np.bool_], points: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw a training case's points: lesion voxels, and others away from lesions' borders.

    Parameters
    ----------
    case : BaselineCase
    reference : (A, B, C) bool array
        On the case's box.
    points : (int, int)
        At most so many lesion and other voxels (2000 and 10000 in the paper).
    rng : numpy.random.Generator

    Returns
    -------
    features : (n, 5) float32 array
    lesion : (n,) bool array
    """
    lesion = reference & case.brain
    reach = max(1, int(np.ceil(BORDER_MM / case.edge_mm)))
    away = near_distance(lesion, reach) * case.edge_mm > BORDER_MM if lesion.any() else np.ones_like(lesion)
    found, labels = [], []
    for members, most, label in ((lesion, points[0], True), (case.brain & away, points[1], False)):
        flat = np.flatnonzero(members)
        chosen = rng.choice(flat, min(most, flat.size), replace=False)
        mask = np.zeros(lesion.shape, dtype=bool)
        mask.ravel()[chosen] = True
        found.append(voxel_features(case, mask))
        labels.append(np.full(chosen.size, label))
    return np.concatenate(found), np.concatenate(labels)


def lesion_share(case: BaselineCase, model: BiancaModel) -> NDArray[np.float32]:
    """Return the share of lesion among each brain voxel's nearest training points.

    Returns
    -------
    (A, B, C) float32 array
        0..1 on the case's box, 0 outside the brain. A case without T1w is
        compared by FLAIR and place alone.
    """
    out = np.zeros(case.brain.shape, dtype=np.float32)
    if not case.brain.any() or len(model.points) == 0:
        return out
    with_t1w = case.t1w is not None
    query = weighted(voxel_features(case, case.brain), model.spatial_weight, with_t1w)
    nearest = model.tree(with_t1w).query(query, k=np.arange(1, min(model.neighbours, len(model.points)) + 1))[1]
    out[case.brain] = model.lesion[nearest].mean(axis=1)
    return out


def excluded(case: BaselineCase) -> NDArray[np.bool_]:
    """Return where the exclusion mask rules lesions out: cortex, deep grey matter, cerebellum and brain stem.

    Notes
    -----
    FSL's ``make_bianca_mask`` does this with a segmentation and an atlas of
    structures; ours is grey matter by the MNI152 map, and everything below a
    plane at the tentorium. Tumours of the cortex are excluded with it: the
    tool was made for vascular white-matter lesions.
    """
    grey = (case.gm > _GREY) & (case.gm > case.wm)
    place = case.mni(case.brain)
    below = np.zeros(case.brain.shape, dtype=bool)
    top, fall, front = _TENTORIUM
    below[case.brain] = (place[:, 1] < front + 10) & (place[:, 2] < top - fall * np.maximum(front - place[:, 1], 0))
    return case.brain & (grey | below)


def segment(case: BaselineCase, model: BiancaModel) -> NDArray[np.bool_]:
    """Return the lesion mask at the model's cut, with or without its exclusion mask."""
    mask = lesion_share(case, model) >= model.cut
    return mask & ~excluded(case) if model.masked else mask


def curves(
    case: BaselineCase, reference: NDArray[np.bool_], model: BiancaModel, cuts: Sequence[float] = CUTS, beyond: int = 0
) -> dict[str, NDArray]:
    """Return a case's Dice at each cut, without and with the exclusion mask; `beyond` as in `tuning.dice_at_cuts`."""
    from flairnb.baselines.tuning import dice_at_cuts

    share = lesion_share(case, model)
    return {
        "no mask": dice_at_cuts(share, reference, cuts, beyond),
        "exclusion mask": dice_at_cuts(np.where(excluded(case), 0, share), reference, cuts, beyond),
    }
