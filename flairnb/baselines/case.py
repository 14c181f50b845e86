"""What a comparison method looks at: one head's images, tissue priors and place in MNI space."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.baselines.atlas import fit_atlas, load_atlas, mni_coordinates, to_head
from flairnb.geometry import Grid, box_affine, isotropic_grid, mask_box
from flairnb.images import Image
from flairnb.prepare import bridge
from flairnb.prepare.case import normalise
from flairnb.prepare.intensity import lift, smooth_sample, tame
from flairnb.prepare.n4 import bias_field, spread_field
from flairnb.prepare.register import best_start, refine_linear, rigid_starts
from flairnb.resampling import resample

if TYPE_CHECKING:
    from flairnb.prepare.case import PreparedCase

_MARGIN_VOX = 3
_FIELD_MM = 4.0
_BELOW_FRACTION = 0.05


@dataclass(frozen=True)
class BaselineCase:
    """A head on the brain's box of its work grid.

    Attributes
    ----------
    flair : (A, B, C) float32 array
        Mean 0 and SD 1 inside the brain, 0 outside.
    brain : (A, B, C) bool array
    t1w : (A, B, C) float32 array or None
        As `flair`, N4-corrected unless `look_at` was told otherwise; None
        where the case has no T1w.
    tissue : (A, B, C) float32 array or None
        Partial-volume labels of :mod:`flairnb.baselines.tissue`: about 1 CSF,
        2 grey, 3 white matter, 0 outside; None without T1w.
    grid : Grid
        The box's grid.
    to_mni : (4, 4) float array
        Head world to MNI world, RAS mm.
    mean, sd : float
        Undo the z-score of `flair`: intensities are ``flair * sd + mean``,
        counted from the image's lowest (`flairnb.prepare.intensity.lift`).
    box : tuple of slice
        The box within the work grid.
    work_shape : (3,) tuple of int
    seconds, tissue_seconds : float
        Wall seconds that `look_at` took, without and for `tissue`.
    """

    flair: NDArray[np.float32]
    brain: NDArray[np.bool_]
    t1w: NDArray[np.float32] | None
    tissue: NDArray[np.float32] | None
    grid: Grid
    to_mni: NDArray[np.float64]
    mean: float
    sd: float
    box: tuple[slice, slice, slice]
    work_shape: tuple[int, int, int]
    seconds: float = 0.0
    tissue_seconds: float = 0.0

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(np.prod(self.grid.spacing_mm)) / 1000

    @property
    def edge_mm(self) -> float:
        """Edge of a voxel in mm."""
        return float(self.grid.spacing_mm[0])

    @cached_property
    def intensity(self) -> NDArray[np.float32]:
        """FLAIR intensities, at least 0; 0 outside the brain. N4-corrected only where the preparation was (``n4_flair``).

        LST corrects the bias of the FLAIR before LGA and LPA. Here all methods
        see what the network sees: N4 takes large lesions for bias
        (:func:`flairnb.prepare.case.prepare_case`).

        Where more than a twentieth of the brain lies below 0, `mean` was not
        counted from the image's lowest: the brain's own lowest becomes 0.
        """
        values = self.flair * self.sd + self.mean
        inside = values[self.brain]
        if np.count_nonzero(inside < 0) > _BELOW_FRACTION * inside.size:
            values = values - inside.min()
        return np.where(self.brain, np.maximum(values, 0), 0).astype(np.float32)

    @cached_property
    def gm(self) -> NDArray[np.float32]:
        """Prior probability of grey matter, 0..1."""
        return to_head(load_atlas().gm, self.grid, self.to_mni)

    @cached_property
    def wm(self) -> NDArray[np.float32]:
        """Prior probability of white matter, 0..1."""
        return to_head(load_atlas().wm, self.grid, self.to_mni)

    @cached_property
    def csf(self) -> NDArray[np.float32]:
        """Prior probability of neither, inside the brain."""
        return np.where(self.brain, np.clip(1 - self.gm - self.wm, 0, 1), 0).astype(np.float32)

    def mni(self, where: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the MNI coordinates of the voxels of a mask, (n, 3), mm."""
        return mni_coordinates(self.grid, self.to_mni, where)

    def whole(self, values: NDArray) -> NDArray:
        """Return values of the box on the whole work grid, 0 around them."""
        out = np.zeros(self.work_shape, dtype=values.dtype)
        out[self.box] = values
        return out

    def part(self, values: NDArray) -> NDArray:
        """Return the box's part of values on the work grid."""
        return values[self.box]

    def beyond(self, mask: NDArray[np.bool_]) -> int:
        """Count the voxels of a mask on the work grid that lie outside the box: no method finds them."""
        return int(np.count_nonzero(mask)) - int(np.count_nonzero(self.part(mask)))


def look_at(case: PreparedCase, t1w: Image | None = None, xfm: NDArray | None = None, n4: bool = True, tissue: bool = True) -> BaselineCase:
    """Bring together what the comparison methods need of one prepared case.

    Parameters
    ----------
    case : PreparedCase
    t1w : Image, optional
        The T1w as read, on its own grid.
    xfm : (4, 4) array, optional
        FLAIR world to T1w world; if absent the preparation's own, and where
        that has none (brain mask given, or found from FLAIR alone) a rigid fit
        inside the brain.
    n4 : bool
        Correct the T1w's bias field inside the brain.
    tissue : bool
        Find the tissue classes too, which LGA needs.

    Returns
    -------
    BaselineCase
    """
    from flairnb.baselines.tissue import tissue_labels

    bridge.load_ants()
    box = mask_box(case.work_brain, _MARGIN_VOX)
    brain = case.work_brain[box]
    grid = Grid(brain.shape, box_affine(case.work_grid.affine, box))
    start = time.perf_counter()
    t1w_work = None
    if t1w is not None:
        xfm = case.t1w_xfm if xfm is None else xfm
        t1w_work = t1w_on_work(t1w, fit_t1w(t1w, case.work[box], brain, grid) if xfm is None else xfm, grid, brain, n4)
    to_mni = fit_atlas(case.work[box] if t1w_work is None else t1w_work, brain, grid)
    middle = time.perf_counter()
    mean = case.mean - lift(case.flair.data)[1]
    found = BaselineCase(case.work[box], brain, t1w_work, None, grid, to_mni, mean, case.sd, box, tuple(case.work.shape))
    labels = tissue_labels(found) if t1w_work is not None and tissue else None
    return replace(found, tissue=labels, seconds=middle - start, tissue_seconds=time.perf_counter() - middle)


def fit_t1w(t1w: Image, flair: NDArray, brain: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Return the rigid map from FLAIR world to T1w world, by what the brain's box shows at 4 mm.

    Parameters
    ----------
    t1w : Image
        Whole head or brain only, on its own grid.
    flair : (I, J, K) float array
        z-scores inside the brain.
    brain : (I, J, K) bool array
    grid : Grid
        Of `flair` and `brain`.
    """
    coarse, own = (isotropic_grid(g.shape, g.affine, _FIELD_MM) for g in (grid, t1w.grid))
    lowest = float(flair[brain].min()) if brain.any() else 0.0
    fixed = (smooth_sample(tame(np.where(brain, flair - lowest + 1e-3, 0)), grid.affine, coarse), coarse.affine)
    moving = (smooth_sample(tame(t1w.data), t1w.affine, own), own.affine)
    inside = smooth_sample(brain.astype(np.float32), grid.affine, coarse) > 0.5
    start, _ = best_start(*fixed, *moving, rigid_starts(*fixed, *moving))
    return refine_linear(fixed, moving, start, "Rigid", (60, 30), inside.astype(np.float32))


def t1w_on_work(t1w: Image, xfm: NDArray, grid: Grid, brain: NDArray[np.bool_], n4: bool = True) -> NDArray[np.float32]:
    """Return a T1w on a work grid, mean 0 and SD 1 inside the brain.

    Parameters
    ----------
    t1w : Image
        On its own grid; any intensities.
    xfm : (4, 4) array
        Work (FLAIR) world to T1w world, RAS mm.
    grid : Grid
        Isotropic work grid, or a box of it.
    brain : (I, J, K) bool array
    n4 : bool
        Correct the bias field, estimated inside the brain at 4 mm.
    """
    edge = float(grid.spacing_mm[0])
    sigma = 0.4 * np.maximum(0.0, edge - t1w.spacing_mm) / t1w.spacing_mm
    smooth = ndimage.gaussian_filter(lift(t1w.data)[0], sigma)
    work = resample(smooth, t1w.affine, grid, world=xfm)
    if n4:
        coarse = isotropic_grid(grid.shape, grid.affine, max(_FIELD_MM, edge))
        small = smooth_sample(work, grid.affine, coarse)
        inside = smooth_sample(brain.astype(np.float32), grid.affine, coarse) > 0.5
        work = work / spread_field(bias_field(small, coarse.affine, inside & (small > 0)), coarse, grid)
    return normalise(work, brain)[0]
