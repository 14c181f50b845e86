"""The way back: from the isotropic work grid to the FLAIR's own voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import GeometryError
from flairnb.geometry import Grid
from flairnb.images import Image
from flairnb.prepare.case import PreparedCase
from flairnb.prepare.slabs import mask_to_work, sample_slabs


def to_native(
    array: NDArray,
    prepared: PreparedCase | Grid,
    flair: Image | None = None,
    order: int = 1,
) -> NDArray[np.float32]:
    """Sample an array of the work grid on the FLAIR's native grid.

    Thick slices are averaged, not picked: a native voxel of 5 mm is the mean
    of what the work grid says at several depths within it.

    Parameters
    ----------
    array : (I, J, K) array
        On the work grid (a probability, a mask).
    prepared : PreparedCase or Grid
        Where the work grid (and the FLAIR) come from.
    flair : Image, optional
        Needed when a bare grid is given.
    order : int
        1 linear (probabilities), 0 nearest (labels; no averaging).

    Returns
    -------
    (native shape) float32 array
        Exactly the FLAIR's shape and affine.

    Raises
    ------
    GeometryError
        The array does not lie on the work grid.
    """
    grid = prepared if isinstance(prepared, Grid) else prepared.work_grid
    target = flair if isinstance(prepared, Grid) else prepared.flair
    if target is None:
        raise GeometryError("native grid: expected the FLAIR beside the work grid, found none. Give `flair`.")
    if tuple(array.shape) != tuple(grid.shape):
        raise GeometryError(f"work grid: expected shape {tuple(grid.shape)}, found {tuple(array.shape)}. Give an array of the same case.")
    return sample_slabs(np.asarray(array, np.float32), grid.affine, target.grid, order)


def there_and_back(mask: NDArray[np.bool_], flair: Image, grid: Grid) -> NDArray[np.bool_]:
    """Return a mask after the way to a work grid and back: what is left of an answer that is right on that grid.

    Parameters
    ----------
    mask : (I, J, K) bool array
        On the FLAIR's own grid.
    flair : Image
    grid : Grid
        The work grid.

    Returns
    -------
    (I, J, K) bool array
        There the mask goes as for training (`mask_to_work`), back as every
        method's answer does: interpolated, averaged over thick slices, cut at
        a half. No bound for a method: fractions of a voxel, or sharpening by
        the image, can keep more.
    """
    return to_native(mask_to_work(mask, flair.affine, grid), grid, flair) >= 0.5
