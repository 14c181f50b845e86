"""Where in the brain a voxel lies: MNI152 tissue maps brought to a head.

The maps ship inside the nilearn wheel (ICBM 152 nonlinear symmetric 2009a,
Fonov et al., NeuroImage 2011;54:313). Their T1w holds the brain alone, so it
is fitted to a brain without its skull.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import EnvironmentProblem
from flairnb.geometry import Grid, isotropic_grid
from flairnb.prepare import bridge
from flairnb.prepare.brain import is_plausible_affine
from flairnb.prepare.intensity import smooth_sample, tame
from flairnb.prepare.register import about, best_start, refine_linear, rotation
from flairnb.resampling import resample

#: Spacing that the maps are kept at, and that the affine is fitted at, mm.
_KEPT_MM, _FIT_MM = 2.0, 4.0


@dataclass(frozen=True)
class Atlas:
    """Maps of the MNI152 brain on one 2 mm grid.

    Attributes
    ----------
    t1w : (I, J, K) float32 array
        Brain only, 0..1.
    gm, wm : (I, J, K) float32 array
        Probability of grey and of white matter, 0..1, mirrored left to right
        and averaged.
    grid : Grid
        MNI space, RAS mm.
    """

    t1w: NDArray[np.float32]
    gm: NDArray[np.float32]
    wm: NDArray[np.float32]
    grid: Grid


@functools.lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the maps from the installed wheel; kept in memory.

    Raises
    ------
    EnvironmentProblem
        nilearn, or its maps, are absent.
    """
    import nibabel as nib

    maps = {}
    for name in ("t1", "gm", "wm"):
        image = nib.load(_map_file(name))
        data = np.asarray(image.dataobj, dtype=np.float32) / np.float32(255)
        grid = isotropic_grid(data.shape, image.affine, _KEPT_MM)
        maps[name] = smooth_sample(data, image.affine, grid)
    # The grid's middle lies on x = 0: mirroring is a flip.
    gm, wm = ((m + m[::-1]) / 2 for m in (maps["gm"], maps["wm"]))
    return Atlas(tame(maps["t1"]), gm, wm, grid)


def fit_atlas(image: NDArray, brain: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Return the affine from a head's world to MNI world, by its brain.

    Parameters
    ----------
    image : (I, J, K) float array
        T1w or FLAIR of the head.
    brain : (I, J, K) bool array
        Brain on the same grid.
    grid : Grid
        An isotropic grid.

    Returns
    -------
    (4, 4) float array
        RAS mm to RAS mm. Where no fit is plausible for a head, centre on
        centre with each axis scaled to the atlas's extent.

    Notes
    -----
    Twelve parameters by mutual information (ANTs) at 4 mm. The atlas's maps
    are smooth, and the methods use them as such; a nonlinear fit is not tried.
    """
    bridge.load_ants()
    atlas = load_atlas()
    coarse, moving_grid = (isotropic_grid(g.shape, g.affine, _FIT_MM) for g in (grid, atlas.grid))
    inside = np.where(brain, image, 0)
    lowest = float(image[brain].min()) if brain.any() else 0.0
    fixed = smooth_sample(tame(np.where(brain, inside - lowest + 1e-3, 0)), grid.affine, coarse)
    moving = smooth_sample(atlas.t1w, atlas.grid.affine, moving_grid)
    starts = _starts(brain, grid, atlas)
    start, _ = best_start(fixed, coarse.affine, moving, moving_grid.affine, starts)
    mask = smooth_sample(brain.astype(np.float32), grid.affine, coarse) > 0.1
    found = refine_linear((fixed, coarse.affine), (moving, moving_grid.affine), start, "Affine", (60, 30), mask.astype(np.float32))
    return found if is_plausible_affine(found) else starts[0]


def to_head(values: NDArray[np.float32], grid: Grid, to_mni: NDArray) -> NDArray[np.float32]:
    """Sample one of the atlas's maps on a head's grid (0 outside the atlas)."""
    return resample(values, load_atlas().grid.affine, grid, world=to_mni)


def mni_coordinates(grid: Grid, to_mni: NDArray, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the MNI coordinates of the voxels of a mask, (n, 3), mm."""
    index = np.argwhere(where)
    matrix = np.asarray(to_mni) @ grid.affine
    return (index @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)


def _starts(brain: NDArray[np.bool_], grid: Grid, atlas: Atlas) -> list[NDArray[np.float64]]:
    """Return starts: extents matched, several pitches; the first is not turned."""
    centre, extent = _box(brain, grid.affine)
    target, wanted = _box(atlas.gm + atlas.wm > 0.3, atlas.grid.affine)
    scale = np.diag(np.clip(wanted / np.maximum(extent, 1.0), 0.75, 1.3))
    pitches, depths = (0, -20, -10, 10, 20), (0, -8, 8)
    return [
        about(centre, scale @ rotation((pitch, 0, 0)), target - centre + np.array([0.0, 0.0, z]))
        for pitch, z in itertools.product(pitches, depths)
    ]


def _box(mask: NDArray[np.bool_], affine: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle and the extent of a mask in world mm, without its outermost hundredth."""
    where = np.argwhere(mask)
    if len(where) == 0:
        where = np.array([[0, 0, 0], np.array(mask.shape) - 1])
    world = where @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3]
    low, high = np.percentile(world, [1, 99], axis=0)
    return (low + high) / 2, high - low


def _map_file(name: str) -> Path:
    spec = importlib.util.find_spec("nilearn")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = sorted((Path(place) / "datasets" / "data").glob(f"mni_icbm152_{name}_tal_nlin_sym_09a*.nii.gz"))
        if found:
            return found[0]
    raise EnvironmentProblem(f"expected the MNI152 map '{name}' of the package nilearn, found none. Run `make setup`.")
