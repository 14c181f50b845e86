"""Tumours: masses that displace the brain, with oedema along white matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.cohort.phantom.anatomy import Anatomy
from flairnb.cohort.phantom.lesions import LesionMap, cut_to_volume, random_rotation, soften
from flairnb.cohort.phantom.noise import fractal_field
from flairnb.cohort.phantom.tissue import CORTEX, FLUID, NUCLEI, Tissue, is_in
from flairnb.geometry import mask_box


@dataclass(frozen=True)
class MassPlan:
    """What a mass is like.

    Attributes
    ----------
    core_ml, oedema_ml : float
        Volumes of the solid part and of the oedema around it.
    effect : float
        Share of the core's radius by which the brain is pushed aside (midline
        shift, compressed ventricles); 0 replaces tissue only.
    necrosis : float
        Share of the core that is fluid-like.
    solid_signal : (low, high)
        FLAIR strength of the solid part relative to a full lesion.
    infiltrates_cortex : float
        How easily the oedema's edge enters cortex (0 never, 1 freely).
    effaces_mm : float
        Sulci and gyri narrower than about twice this vanish in the swelling,
        and the outline is rounded off.
    patchiness : float
        Relative SD of the solid part's signal.
    edge_mm : float
        SD of the blur of the outline.
    """

    core_ml: float
    oedema_ml: float
    effect: float = 0.5
    necrosis: float = 0.0
    solid_signal: tuple[float, float] = (0.4, 1.1)
    infiltrates_cortex: float = 0.5
    effaces_mm: float = 2.5
    patchiness: float = 0.2
    edge_mm: float = 0.7


def add_mass(lesions: LesionMap, rng: np.random.Generator, plan: MassPlan, where: NDArray[np.bool_] | None = None) -> LesionMap:
    """Add a tumour: a core that displaces the brain, with oedema along white matter.

    Parameters
    ----------
    lesions : LesionMap
    plan : MassPlan
    where : (I, J, K) bool array, optional
        Where the centre may lie; hemispheric white matter if absent.
    """
    anatomy = lesions.anatomy
    step = anatomy.spacing_mm
    if where is None:
        x, _, z = anatomy.world
        where = anatomy.white_matter & (z > -30) & (np.abs(x) > 6)
    places = np.flatnonzero(where.ravel())
    if not places.size:
        return lesions
    centre = np.array(np.unravel_index(rng.choice(places), anatomy.shape), dtype=float)
    radius = (plan.core_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3) / step
    anatomy = _push(anatomy, centre, radius, plan.effect)
    grids = np.meshgrid(
        *[np.arange(n, dtype=np.float32) - c for n, c in zip(anatomy.shape, centre, strict=True)], indexing="ij", sparse=True
    )
    rotation, stretch = random_rotation(rng), np.exp(rng.uniform(-0.3, 0.3, 3))
    turned = [sum(np.float32(rotation[b, a]) * grids[b] for b in range(3)) / np.float32(stretch[a]) for a in range(3)]
    reach = np.sqrt(sum(t**2 for t in turned))
    ragged = rng.uniform(0.06, 0.25) * radius
    reach = reach + ragged * fractal_field(rng, anatomy.shape, (max(2, radius), max(1.5, radius / 2.5), max(1.2, radius / 6)), fall=0.5)
    inside = anatomy.parenchyma | is_in(anatomy.tissue, Tissue.VENTRICLE, Tissue.CSF) & anatomy.brain
    core = cut_to_volume(reach, inside, plan.core_ml, step)
    distance = ndimage.distance_transform_edt(~core, sampling=step).astype(np.float32)
    ragged = fractal_field(rng, anatomy.shape, (12 / step, 5 / step))
    cost = distance * np.exp(0.45 * ragged)
    cost[is_in(anatomy.tissue, *CORTEX)] += (1 - plan.infiltrates_cortex) * 12.0
    cost[is_in(anatomy.tissue, *NUCLEI)] *= 1.3
    x, _, _ = anatomy.world
    other_side = np.sign(x) != np.sign((centre[0] - anatomy.shape[0] / 2) or 1.0)
    cost = cost + 6.0 * other_side
    oedema = cut_to_volume(cost, anatomy.parenchyma & ~core, plan.oedema_ml, step) if plan.oedema_ml > 0.1 else np.zeros_like(core)
    whole = _swell(core | oedema, anatomy, plan.effaces_mm)
    anatomy = _fill(anatomy, whole)
    return _paint_mass(LesionMap(lesions.weight, lesions.signal, lesions.dark, anatomy, lesions.kinds), rng, core, whole, plan)


def _swell(whole: NDArray[np.bool_], anatomy: Anatomy, effaces_mm: float) -> NDArray[np.bool_]:
    """Close sulci and fissures inside a mass and round its outline; ventricles stay what they are."""
    if effaces_mm <= 0 or not whole.any():
        return whole
    box = mask_box(whole, margin_vox=int(np.ceil(3 * effaces_mm / anatomy.spacing_mm)))
    smooth = ndimage.gaussian_filter(whole[box].astype(np.float32), effaces_mm / anatomy.spacing_mm)
    fluid = is_in(anatomy.tissue[box], Tissue.VENTRICLE, Tissue.CHOROID)
    out = whole.copy()
    out[box] = (smooth > 0.45) & anatomy.brain[box] & (~fluid | whole[box])
    return out


def _fill(anatomy: Anatomy, whole: NDArray[np.bool_]) -> Anatomy:
    """Put tissue where a mass has grown into fluid or closed a sulcus: fluid there would stay dark inside the reference."""
    tissue = np.where(whole & is_in(anatomy.tissue, *FLUID), np.uint8(Tissue.WM), anatomy.tissue)
    return Anatomy(tissue, anatomy.right_side, anatomy.spacing_mm, anatomy.affine)


def _paint_mass(out: LesionMap, rng: np.random.Generator, core: NDArray[np.bool_], whole: NDArray[np.bool_], plan: MassPlan) -> LesionMap:
    anatomy = out.anatomy
    radius = (plan.core_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3) / anatomy.spacing_mm
    step = anatomy.spacing_mm
    patchy = fractal_field(rng, core.shape, (max(2.0, radius / 1.5), max(1.5, radius / 4), 2.0))
    solid = np.clip(rng.uniform(*plan.solid_signal) * (1 + plan.patchiness * patchy), -0.2, 2.0)
    core = core & whole
    signal = np.where(core, solid, rng.uniform(0.6, 1.2) * (1 + 0.12 * patchy)).astype(np.float32)
    out.add(soften(whole, plan.edge_mm / step), signal, "mass")
    if plan.necrosis > 0 and core.any():
        box = mask_box(core, margin_vox=1)
        depth = np.zeros(core.shape, dtype=np.float32)
        depth[box] = ndimage.distance_transform_edt(core[box], sampling=step)
        score = depth / max(depth.max(), 1e-3) + 0.5 * patchy
        fluid = core & (depth > 2.0) & (score > np.quantile(score[core], 1 - plan.necrosis))
        out.dark = np.maximum(out.dark, soften(fluid, 0.6 / step))
    return out


def _push(anatomy: Anatomy, centre: NDArray, radius: float, effect: float) -> Anatomy:
    """Move tissue away from a centre so that a ball of the given radius (voxels) finds room."""
    if effect <= 0.02:
        return anatomy
    grids = np.meshgrid(
        *[np.arange(n, dtype=np.float32) - np.float32(c) for n, c in zip(anatomy.shape, centre, strict=True)], indexing="ij", sparse=True
    )
    reach = np.sqrt(sum(g**2 for g in grids)) + 1e-3
    span = 3.2 * radius
    amount = effect * radius * np.exp(-((reach / span) ** 2) * 2.0) * np.minimum(1.0, reach / radius)
    rigid = ~ndimage.binary_dilation(anatomy.brain, iterations=1)
    stiff = ndimage.gaussian_filter((~rigid).astype(np.float32), 2.0)
    scale = amount * stiff / reach
    index = []
    for axis, grid in enumerate(grids):
        at = np.rint(grid - grid * scale + np.float32(centre[axis])).astype(np.int32)
        index.append(np.clip(at, 0, anatomy.shape[axis] - 1))
    moved = anatomy.tissue[tuple(index)]
    tissue = np.where(rigid, anatomy.tissue, moved)
    return Anatomy(tissue, anatomy.right_side, anatomy.spacing_mm, anatomy.affine)
