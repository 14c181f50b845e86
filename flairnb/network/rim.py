"""Leave out what only touches the brain's surface: scalp, marrow and vessels that brain extraction left in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import ROUNDING, mask_box, spacing_mm


def at_the_rim(mask: NDArray[np.bool_], brain: NDArray[np.bool_], affine: ArrayLike, depth_mm: float) -> NDArray[np.bool_]:
    """Return the lesions no voxel of which lies deeper than `depth_mm` below the border of the brain mask.

    Parameters
    ----------
    mask, brain : (I, J, K) bool array
        Lesions (joined by face, edge or corner) and brain, on one grid. Where
        the field of view cuts the brain off there is no border.
    affine : (4, 4) array_like
        Voxel to mm; distances are between centres of voxels.
    depth_mm : float
        0 or less leaves nothing out.

    Returns
    -------
    (I, J, K) bool array
        What is to be left out of `mask`.

    Notes
    -----
    Ours; not in the article. In the eight real development cases not one voxel
    that a reader had marked lay in such a lesion at 3 to 8 mm. A real lesion of
    the cortex alone, thinner than `depth_mm`, would be lost.
    """
    from scipy import ndimage

    out = np.zeros(mask.shape, dtype=bool)
    if depth_mm <= 0 or not mask.any():
        return out
    box = mask_box(brain | mask)
    depth = depth_in_brain(brain, box, affine)
    labels, count = ndimage.label(mask[box], np.ones((3, 3, 3), dtype=bool))
    deepest = np.zeros(count + 1)
    np.maximum.at(deepest, labels[mask[box]], depth[mask[box]])
    out[box] = mask[box] & (deepest[labels] <= depth_mm * (1 + ROUNDING))
    return out


def depth_in_brain(brain: NDArray[np.bool_], box: tuple[slice, ...], affine: ArrayLike) -> NDArray[np.floating]:
    """Return how deep each voxel of a box lies below the border of the brain mask, mm.

    Parameters
    ----------
    brain : (I, J, K) bool array
    box : tuple of slice
        Holds the whole mask.
    affine : (4, 4) array_like

    Returns
    -------
    (shape of the box) float array
        0 outside the mask; distances are between centres of voxels. Where the
        field of view cuts the brain off there is no border, and without any
        all is infinitely deep.
    """
    from scipy import ndimage

    padded = np.pad(brain, 1, mode="edge")[tuple(slice(s.start, s.stop + 2) for s in box)]
    if padded.all():  # nothing to measure a depth from
        return np.full(brain[box].shape, np.inf)
    return ndimage.distance_transform_edt(padded, sampling=spacing_mm(np.asarray(affine)))[1:-1, 1:-1, 1:-1]
