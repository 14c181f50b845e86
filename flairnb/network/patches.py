"""Where training patches are cut: as many with lesion as without."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

TRIES_INSIDE = 12
TRIES_OVER_THE_EDGE = 24
# A patch is cut by pulling, lesion voxels are moved by pushing: nearest neighbours of both differ by up to one voxel.
MARGIN_VOX = 1


def sample_patch_corners(  # noqa: PLR0913 (the last has a default)
    rng: np.random.Generator,
    shape: tuple[int, ...],
    patch: int,
    lesion_voxels: NDArray,
    count: int,
    lesion_fraction: float,
    elsewhere: str = "free",
) -> NDArray[np.int64]:
    """Draw corners of patches, a set fraction of which hold lesion.

    The rest hold none (``elsewhere="free"``, the article's rule) or lie
    anywhere in the volume (``"any"``).

    Parameters
    ----------
    rng : Generator
        The only source of randomness.
    shape : (3,) tuple of int
        Shape of the volume, cropped to the brain's box.
    patch : int
        Edge of a patch, voxels.
    lesion_voxels : (N, 3) array
        Positions of lesion voxels in that volume; N = 0 for a healthy brain.
        All of them where patches are to hold none: what is left out is not avoided.
    count : int
        Number of patches.
    lesion_fraction : float
        Fraction that must hold lesion; what does not divide is rounded at
        random, so that it holds on average. A healthy brain gives none.
    elsewhere : {"free", "any"}
        Where the other patches lie.

    Returns
    -------
    (count, 3) int array
        First voxel of each patch, those with lesion first. May be negative:
        a small volume is centred in the patch up to a random offset, and a
        lesion-free patch may have to lean over the brain's edge.

    Notes
    -----
    Article, Image Preprocessing: cubes were "randomly sampled across the
    full-brain volumes", "the same number of patches that included lesion
    voxels as those that excluded lesions". A 96 mm cube without lesion may not
    exist in a brain with many lesions; the article does not say what was done
    then. Here patches may then lean over the edge of the brain's box by up to
    half; if all tries hold lesion, the one with the least is taken.
    """
    lesion_voxels = np.asarray(lesion_voxels, dtype=float).reshape(-1, 3)
    wanted = int(np.floor(count * lesion_fraction + rng.random())) if len(lesion_voxels) else 0
    corners = [_with_lesion(rng, shape, patch, lesion_voxels) for _ in range(wanted)]
    if elsewhere == "free":
        load = LesionLoad(lesion_voxels)
        corners += [_without_lesion(rng, shape, patch, load) for _ in range(count - wanted)]
    else:
        corners += [_anywhere(rng, shape, patch) for _ in range(count - wanted)]
    return np.array(corners, dtype=np.int64).reshape(count, 3)


class LesionLoad:
    """Counts the lesion voxels of any box at once, by running sums over the lesions' own box.

    Parameters
    ----------
    lesion_voxels : (N, 3) array
        Positions; each counts for the voxel that it is nearest to.
    """

    def __init__(self, lesion_voxels: NDArray) -> None:
        at = np.rint(lesion_voxels).astype(np.int64)
        self.first = at.min(axis=0) if len(at) else np.zeros(3, np.int64)
        self.shape = at.max(axis=0) - self.first + 1 if len(at) else np.zeros(3, np.int64)
        self.sums = np.zeros(self.shape + 1, np.int32)
        np.add.at(self.sums, tuple((at - self.first + 1).T), 1)
        for axis in range(3):
            np.cumsum(self.sums, axis=axis, out=self.sums)

    def count(self, corner: ArrayLike, patch: int) -> int:
        """Return how many lesion voxels a patch holds."""
        start = np.asarray(corner) - self.first
        (a, b, c), (d, e, f) = (np.clip(side, 0, self.shape) for side in (start, start + patch))
        s = self.sums
        return int(s[d, e, f] - s[a, e, f] - s[d, b, f] - s[d, e, c] + s[a, b, f] + s[a, e, c] + s[d, b, c] - s[a, b, c])


def _with_lesion(rng: np.random.Generator, shape: tuple[int, ...], patch: int, lesions: NDArray) -> NDArray:
    voxel = np.clip(np.rint(lesions[rng.integers(len(lesions))]), 0, np.asarray(shape) - 1)
    corner = voxel.astype(int) - rng.integers(0, patch, 3)
    return _pull_inside(corner, shape, patch)


def _without_lesion(rng: np.random.Generator, shape: tuple[int, ...], patch: int, load: LesionLoad) -> NDArray:
    best, least = None, None
    for number in range(TRIES_INSIDE + TRIES_OVER_THE_EDGE):
        corner = rng.integers(0, np.asarray(shape)) - patch // 2
        if number < TRIES_INSIDE:
            corner = _pull_inside(corner, shape, patch)
        held = load.count(corner - MARGIN_VOX, patch + 2 * MARGIN_VOX)
        if least is None or held < least:
            best, least = corner, held
        if least == 0:
            break
    return best


def _anywhere(rng: np.random.Generator, shape: tuple[int, ...], patch: int) -> NDArray:
    return _pull_inside(rng.integers(0, np.asarray(shape)) - patch // 2, shape, patch)


def _pull_inside(corner: NDArray, shape: tuple[int, ...], patch: int) -> NDArray:
    """Move a patch so that it lies in the volume, or the volume in it, along each axis."""
    room = np.asarray(shape) - patch
    return np.clip(corner, np.minimum(0, room), np.maximum(0, room))
