"""How uneven the signal inside a lesion is: the cases that the article calls heterogeneous."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from flairnb.evaluate.components import as_mask, slice_axis

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Fewer voxels than this inside the border give no spread worth naming.
LEAST_VOXELS = 20


def core_spread(flair: NDArray, mask: ArrayLike, affine: ArrayLike) -> float:
    """Return the coefficient of variation of the FLAIR signal inside the lesions, their borders left out.

    The article's 16 cases were picked by eye; this is our rule for cases that nobody has looked at. Border voxels mix
    lesion and surroundings and would make every small lesion look uneven; they are peeled off within the slices.

    Parameters
    ----------
    flair : (I, J, K) array
        As acquired.
    mask : (I, J, K) bool array
        The reader's lesions on the same grid.
    affine : (4, 4) array
        Voxel to world, mm.

    Returns
    -------
    float
        SD over mean; NaN where fewer than 20 voxels are left.
    """
    mask = as_mask(mask, "reference mask")
    axis = slice_axis(affine)
    cross = ndimage.generate_binary_structure(3, 1)
    in_plane = np.take(cross, [1], axis=axis)
    core = ndimage.binary_erosion(mask, structure=in_plane)
    values = np.asarray(flair, dtype=float)[core]
    if values.size < LEAST_VOXELS or values.mean() <= 0:
        return float("nan")
    return float(values.std() / values.mean())
