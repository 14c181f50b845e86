"""N4 bias field correction, estimated on a coarse grid (Tustison et al., IEEE TMI 2010;29:1310)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import Grid
from flairnb.prepare import bridge
from flairnb.resampling import resample

_ITERATIONS = (25, 25, 15)


def bias_field(data: NDArray, affine: ArrayLike, mask: NDArray[np.bool_], shrink: int = 4) -> NDArray[np.float32]:
    """Return the multiplicative bias field of an image.

    Parameters
    ----------
    data : (I, J, K) array
        Intensities, at least 0, on a coarse isotropic grid (2 to 4 mm).
    affine : (4, 4) array_like
        Voxel to RAS world, mm.
    mask : (I, J, K) bool array
        Where the field is estimated (head or brain).
    shrink : int
        N4's own sub-sampling; lowered where the volume is small.

    Returns
    -------
    (I, J, K) float32 array
        Geometric mean 1 inside the mask; divide the image by it. Ones where
        the mask holds too few voxels for a fit.
    """
    import ants

    shrink = max(1, min(shrink, min(data.shape) // 12))
    if int(mask.sum()) < 2000:
        return np.ones(data.shape, dtype=np.float32)
    field = ants.n4_bias_field_correction(
        bridge.to_ants(np.maximum(data, 0) + 1e-3, affine),
        mask=bridge.to_ants(mask, affine),
        shrink_factor=shrink,
        convergence={"iters": list(_ITERATIONS), "tol": 1e-4},
        spline_param=[3, 3, 3] if min(data.shape) >= 12 else [2, 2, 2],
        return_bias_field=True,
    ).numpy()
    if not np.isfinite(field).all() or field.min() <= 0:
        return np.ones(data.shape, dtype=np.float32)
    return (field / np.exp(np.log(field[mask]).mean())).astype(np.float32)


def spread_field(field: NDArray, coarse: Grid, fine: Grid) -> NDArray[np.float32]:
    """Return a coarse bias field on a finer grid; 1 outside it (its outer voxels keep their full size)."""
    log = resample(np.log(field), coarse.affine, fine, order=1, fill=0.0)
    return np.exp(log).astype(np.float32)
