"""Score two masks that lie on disk."""

from __future__ import annotations

import os
from pathlib import Path

from flairnb.evaluate.metrics import Scores, score_masks
from flairnb.geometry import Grid, check_same_grid
from flairnb.images import read_mask


def score_files(reference: str | os.PathLike, predicted: str | os.PathLike) -> Scores:
    """Score a predicted mask file against a reference mask file.

    Parameters
    ----------
    reference, predicted : path-like
        NIfTI masks on one grid; voxels above zero are lesion. Specificity and
        NPV count every voxel of the grid, as no brain mask is given; volumes
        (ml) and distances (mm) are those of the world, shear included.

    Raises
    ------
    MissingDataError, InputError
        A file is absent or not a mask.
    GeometryError
        The masks lie on different grids.
    """
    import nibabel as nib

    paths = {"reference mask": Path(reference), "predicted mask": Path(predicted)}
    masks = [read_mask(path, what=what) for what, path in paths.items()]
    grids = [Grid(mask.shape, nib.load(path).affine) for mask, path in zip(masks, paths.values(), strict=True)]
    check_same_grid(grids[0], grids[1], f"predicted mask {Path(predicted).name}")
    return score_masks(masks[0], masks[1], grids[0].affine)
