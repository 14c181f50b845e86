"""Real lesion masks in MNI space, moved into a simulated head: they lend their shapes only."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flairnb.cohort.phantom.anatomy import Anatomy
from flairnb.cohort.phantom.noise import smooth_field

# Extent of the brain in MNI152 space, mm: used to move MNI masks into a head by its brain's box.
MNI_BRAIN_LOW = np.array([-72.0, -107.0, -72.0])
MNI_BRAIN_HIGH = np.array([72.0, 73.0, 82.0])


@lru_cache(maxsize=64)
def _mni_mask(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    import nibabel as nib

    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj).squeeze() > 0, np.asarray(image.affine, dtype=float)


def from_mni_mask(anatomy: Anatomy, rng: np.random.Generator, path: Path, jitter_mm: float = 4.0) -> NDArray[np.bool_]:
    """Move a lesion mask in MNI space into a head by the box of its brain, with random jitter and mirroring.

    Parameters
    ----------
    path : Path
        Binary mask in MNI152 space, any spacing.
    jitter_mm : float
        SD of a smooth random displacement, so that no shape comes twice.
    """
    mask, affine = _mni_mask(Path(path))
    hits = [np.flatnonzero(anatomy.brain.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    low, high = np.array([h[0] for h in hits]), np.array([h[-1] for h in hits])
    scale = (MNI_BRAIN_HIGH - MNI_BRAIN_LOW) / (high - low)
    sign = -1.0 if rng.random() < 0.5 else 1.0
    inverse = np.linalg.inv(affine)
    coordinates = []
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = anatomy.shape[axis]
        at = (np.arange(anatomy.shape[axis], dtype=np.float32).reshape(shape) - low[axis]) * scale[axis] + MNI_BRAIN_LOW[axis]
        at = at * (sign if axis == 0 else 1.0)
        coordinates.append(at + jitter_mm * smooth_field(rng, anatomy.shape, 20 / anatomy.spacing_mm) + rng.normal(0, 0.5 * jitter_mm))
    index = []
    for axis in range(3):
        at = sum(np.float32(inverse[axis, b]) * coordinates[b] for b in range(3)) + np.float32(inverse[axis, 3])
        index.append(np.clip(np.rint(at).astype(np.int32), 0, mask.shape[axis] - 1))
    return mask[tuple(index)]
