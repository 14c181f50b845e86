"""Split a lesion mask into lesions and describe each of them.

A lesion is a connected component of the mask. The work is done once over the voxels of the mask (``bincount``) and
once per lesion inside that lesion's own box (``find_objects``), never once per lesion over the whole volume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial.distance import pdist

from flairnb.errors import InputError
from flairnb.geometry import ROUNDING, voxel_volume_mm3

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Neighbours that touch, by the number of them in three dimensions.
CONNECTIVITY_RANK = {6: 1, 18: 2, 26: 3}

LESION_COLUMNS = (
    "lesion",
    "voxels",
    "volume_ml",
    "centroid_r_mm",
    "centroid_a_mm",
    "centroid_s_mm",
    "max_in_plane_diameter_mm",
    "mean_probability",
)

#: A slice axis counts as thick when its spacing exceeds the finest one by this factor.
THICK_SLICE_RATIO = 1.5


def structure(connectivity: int) -> NDArray[np.bool_]:
    """Return the (3, 3, 3) neighbourhood of 6, 18 or 26 neighbours.

    Raises
    ------
    InputError
        If `connectivity` is none of the three.
    """
    if connectivity not in CONNECTIVITY_RANK:
        msg = f"connectivity: expected 6, 18 or 26 neighbours, received {connectivity!r}. Set evaluate.connectivity."
        raise InputError(msg)
    return ndimage.generate_binary_structure(3, CONNECTIVITY_RANK[connectivity])


def label_lesions(mask: ArrayLike, connectivity: int = 26) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of a mask.

    Parameters
    ----------
    mask : (I, J, K) bool array
        Lesion mask, any grid; every non-zero voxel counts.
    connectivity : {6, 18, 26}
        26 joins voxels that share a corner (the rule of the WMH challenge).

    Returns
    -------
    labels : (I, J, K) int32 array
        0 outside, 1..count inside, in the order of the array's axes.
    count : int
        0 for an empty mask.

    Raises
    ------
    InputError
        If the mask is not three-dimensional or the connectivity is unknown.
    """
    mask = as_mask(mask, "mask")
    labels = np.zeros(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=structure(connectivity), output=labels)
    return labels, int(count)


def without_small(mask: NDArray[np.bool_], affine: ArrayLike, min_ml: float) -> NDArray[np.bool_]:
    """Return a mask without its lesions below a volume.

    Parameters
    ----------
    mask : (I, J, K) bool array
        Lesions are joined by face, edge or corner.
    affine : (4, 4) array_like
        Voxel to mm.
    min_ml : float
        A lesion of exactly this volume, in ml, stays; 0 leaves all.

    Examples
    --------
    >>> [int(without_small(np.ones((1, 1, voxels), bool), np.eye(4), 0.01).sum()) for voxels in (9, 10)]
    [0, 10]
    """
    if min_ml <= 0 or not mask.any():
        return mask
    labels, count = label_lesions(mask)
    volumes_ml = np.bincount(labels.ravel(), minlength=count + 1) * voxel_volume_mm3(affine) / 1000
    keep = volumes_ml >= min_ml * (1 - ROUNDING)
    keep[0] = False
    return keep[labels]


def as_mask(mask: ArrayLike, what: str) -> NDArray[np.bool_]:
    """Return `mask` as a three-dimensional bool array, or say why it is none."""
    mask = np.asarray(mask)
    if mask.ndim != 3:
        msg = f"{what}: expected a three-dimensional mask, received shape {mask.shape}. Give one volume."
        raise InputError(msg)
    return mask if mask.dtype == bool else mask != 0


def slice_axis(affine: ArrayLike) -> int:
    """Return the array axis that steps from slice to slice.

    That is the axis with the coarsest spacing when it is clearly thicker than the finest one (2D acquisitions);
    in near-isotropic data it is the axis closest to superior, so that "in-plane" means axial.

    Examples
    --------
    >>> slice_axis(np.diag([6.5, 0.9, 0.9, 1.0]))
    0
    >>> slice_axis(np.diag([1.0, 1.0, 1.1, 1.0]))
    2
    """
    columns = np.asarray(affine, dtype=float)[:3, :3]
    spacing_mm = np.linalg.norm(columns, axis=0)
    if spacing_mm.max() > THICK_SLICE_RATIO * spacing_mm.min() * (1 + ROUNDING):
        return int(np.argmax(spacing_mm))
    return int(np.argmax(np.abs(columns[2]) / spacing_mm))


def max_in_plane_diameter_mm(mask: NDArray[np.bool_], affine: ArrayLike, axis: int) -> float:
    """Return the longest in-plane extent of one lesion, in mm.

    The largest distance within any single slice between the midpoints of pixel sides (the maximum Feret diameter of
    the outline at half height), so that one pixel of 1 x 1 mm measures 1 mm and a disc measures its diameter.

    Parameters
    ----------
    mask : (I, J, K) bool array
        One lesion, usually cut to its box.
    affine : (4, 4) array
        Voxel to world, mm; only directions and spacing are used.
    axis : {0, 1, 2}
        The array axis across slices, see `slice_axis`.
    """
    in_plane = [other for other in range(3) if other != axis]
    steps_mm = np.asarray(affine, dtype=float)[:3, in_plane]
    sides = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    longest_mm = 0.0
    for plane in np.moveaxis(mask, axis, 0):
        rows = np.flatnonzero(plane.any(axis=1))
        if rows.size == 0:
            continue
        # The convex hull of a slice lies on the first and the last pixel of its rows.
        first = plane[rows].argmax(axis=1)
        last = plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
        ends = np.concatenate([np.stack([rows, first], axis=1), np.stack([rows, last], axis=1)])
        points_mm = (ends[:, None, :] + sides).reshape(-1, 2) @ steps_mm.T
        longest_mm = max(longest_mm, float(pdist(points_mm).max()))
    return longest_mm


def lesion_table(
    mask: ArrayLike,
    affine: ArrayLike,
    probability: ArrayLike | None = None,
    connectivity: int = 26,
) -> pd.DataFrame:
    """Describe every lesion of a mask, the largest first.

    Parameters
    ----------
    mask : (I, J, K) bool array
        Lesion mask in the FLAIR's own voxel grid.
    affine : (4, 4) array
        Voxel to RAS+ world, mm.
    probability : (I, J, K) float array, optional
        Lesion probability (0-1) on the same grid.
    connectivity : {6, 18, 26}
        Which neighbours belong together.

    Returns
    -------
    DataFrame
        One row a lesion: `lesion` (1 = the largest), `voxels`, `volume_ml`, `centroid_r_mm`, `centroid_a_mm`,
        `centroid_s_mm` (centre of mass in world millimetres, positive to the patient's right, front and top),
        `max_in_plane_diameter_mm` (see `max_in_plane_diameter_mm`) and `mean_probability` (NaN without
        `probability`). No rows for an empty mask.

    Raises
    ------
    InputError
        If the probability is on another grid.
    """
    labels, count = label_lesions(mask, connectivity)
    return describe_labels(labels, count, affine, probability)


def describe_labels(labels: NDArray[np.int32], count: int, affine: ArrayLike, probability: ArrayLike | None = None) -> pd.DataFrame:
    """Do the work of `lesion_table` for lesions that are labelled already.

    The frame's index is the label (1..count) of each row.
    """
    affine = np.asarray(affine, dtype=float)
    where = np.nonzero(labels)
    of_voxel = labels[where] - 1
    voxels = np.bincount(of_voxel, minlength=count)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000.0
    centres = np.stack([np.bincount(of_voxel, weights=index, minlength=count) for index in where], axis=1)
    centres_mm = (centres / np.maximum(voxels, 1)[:, None]) @ affine[:3, :3].T + affine[:3, 3]
    mean_probability = np.full(count, np.nan)
    if probability is not None:
        probability = np.asarray(probability)
        if probability.shape != labels.shape:
            msg = (
                f"probability: expected the mask's shape {labels.shape}, received {probability.shape}. "
                "Resample the probability to the mask's grid."
            )
            raise InputError(msg)
        mean_probability = np.bincount(of_voxel, weights=probability[where], minlength=count) / np.maximum(voxels, 1)
    axis = slice_axis(affine)
    diameters = [
        max_in_plane_diameter_mm(labels[box] == number, affine, axis)
        for number, box in enumerate(ndimage.find_objects(labels, max_label=count), start=1)
    ]
    table = pd.DataFrame(
        {
            "lesion": np.zeros(count, dtype=np.int64),
            "voxels": voxels.astype(np.int64),
            "volume_ml": voxels * voxel_ml,
            "centroid_r_mm": centres_mm[:, 0],
            "centroid_a_mm": centres_mm[:, 1],
            "centroid_s_mm": centres_mm[:, 2],
            "max_in_plane_diameter_mm": np.asarray(diameters, dtype=float),
            "mean_probability": mean_probability,
        },
        index=pd.RangeIndex(1, count + 1, name="label"),
    )
    table = table.sort_values("voxels", ascending=False, kind="stable")
    table["lesion"] = np.arange(1, count + 1)
    return table


def touched_labels(labels: NDArray[np.int32], count: int, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say for each lesion 1..count whether `other` overlaps it in at least one voxel.

    Parameters
    ----------
    labels : (I, J, K) int array
        From `label_lesions`.
    count : int
        Number of lesions.
    other : (I, J, K) bool array
        The mask of the other reader or method, same grid.

    Returns
    -------
    (count,) bool array
    """
    return np.bincount(labels[other], minlength=count + 1)[1:] > 0
