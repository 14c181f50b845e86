"""The generator that the shipped network is trained on: heads, lesions, contrast and scanners at random.

One draw is a brain-extracted, z-scored FLAIR on an isotropic grid with its
lesion mask, as `prepare` would hand it over. Nothing in it comes from a
patient's image; lesion masks in MNI space lend their shapes only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.cohort.phantom import lesions as shapes
from flairnb.cohort.phantom.anatomy import Anatomy, draw_anatomy
from flairnb.cohort.phantom.contrast import Contrast, draw_contrast
from flairnb.cohort.phantom.degrade import acquire_isotropic
from flairnb.cohort.phantom.lesions import LesionMap
from flairnb.cohort.phantom.masses import MassPlan, add_mass
from flairnb.cohort.phantom.mni_shapes import from_mni_mask
from flairnb.cohort.phantom.noise import fractal_field, smooth_field
from flairnb.cohort.phantom.recipes import RECIPES, draw_lesions
from flairnb.cohort.phantom.tissue import CORTEX, NUCLEI, Tissue, is_in
from flairnb.cohort.phantom.visibility import visible
from flairnb.geometry import near_distance

# Share of heads by what ails them; ``disease`` is one of the 19 recipes of the phantom cohort, all alike often.
FAMILIES = {"healthy": 0.06, "svd": 0.20, "ms": 0.20, "tumour": 0.27, "mixed": 0.12, "stroke": 0.05, "disease": 0.10}
# Ages in years; the other families 20 to 88.
AGES = {"svd": (50, 90), "ms": (20, 65), "tumour": (20, 80), "stroke": (40, 90)}
# A reader sees lesions that differ from their surroundings by this much (z-score), the one more, the other less.
FAINTEST_SEEN = (0.4, 0.8)
# Contrast and scan are drawn anew until this part of the lesion volume is seen, so many times at most.
ENOUGH_SEEN = 0.8
MOST_PAINTINGS = 4


@dataclass(frozen=True)
class Sources:
    """Public files a generator may draw from; each may be empty."""

    label_maps: tuple[Path, ...] = ()
    stroke_masks: tuple[Path, ...] = ()
    ms_masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class TrainingHead:
    """One simulated, prepared examination.

    Attributes
    ----------
    image : (I, J, K) float32 array
        z-score inside the (imperfect) brain mask, 0 outside.
    mask : (I, J, K) uint8 array
        Lesions, as a reader would draw them on the acquired slices; those that
        do not stand out from their surroundings are left out.
    kinds : tuple of str
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    kinds: tuple[str, ...]


def draw_head(rng: np.random.Generator, sources: Sources, spacing_mm: float = 1.5) -> TrainingHead:
    """Draw one training head.

    Parameters
    ----------
    rng : numpy.random.Generator
    sources : Sources
    spacing_mm : float
        Isotropic voxel edge.

    Returns
    -------
    TrainingHead
    """
    family = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    low, high = AGES.get(family, (20, 88))
    age = rng.uniform(low, high)
    anatomy = draw_anatomy(rng, spacing_mm, float(age), list(sources.label_maps), whole_head=False)
    lesions = draw_training_lesions(rng, anatomy, family, sources)
    for _ in range(MOST_PAINTINGS):
        image, drawn, brain = acquire_isotropic(rng, paint(rng, lesions, draw_contrast(rng)), lesions.weight, lesions.anatomy)
        values = image[brain]
        image = np.where(brain, (image - values.mean()) / (values.std() + 1e-6), 0.0).astype(np.float32)
        mask = visible(image, drawn, brain, spacing_mm, float(rng.uniform(*FAINTEST_SEEN)))
        if mask.sum() >= ENOUGH_SEEN * (drawn & brain).sum():
            break
    return TrainingHead(image, mask.astype(np.uint8), (family, *lesions.kinds))


def draw_training_lesions(rng: np.random.Generator, anatomy: Anatomy, family: str, sources: Sources) -> LesionMap:
    """Draw the lesions of one of `FAMILIES`: a disease, or several kinds in one head."""
    if family == "disease":
        key = str(rng.choice(list(RECIPES)))
        lesions = draw_lesions(anatomy, key, rng)
        lesions.kinds.insert(0, key)
        return lesions
    lesions = shapes.empty_map(anatomy)
    recipe: dict[str, Sequence[Callable[..., LesionMap]]] = {
        "healthy": (),
        "svd": (_small_vessel,),
        "ms": (_multiple_sclerosis,),
        "tumour": (_tumour,) if rng.random() < 0.6 else (_tumour, _small_vessel),
        "stroke": (_infarct,) if rng.random() < 0.5 else (_infarct, _small_vessel),
        "mixed": tuple(
            rng.choice(
                np.array([_small_vessel, _multiple_sclerosis, _infarct, _confluent, _cortical]), size=int(rng.integers(1, 4)), replace=False
            )
        ),
    }
    for add in recipe[family]:
        lesions = add(lesions, rng, sources)
    return lesions


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _edge(lesions: LesionMap, rng: np.random.Generator, mask: NDArray[np.bool_], widest_mm: float = 0.9) -> NDArray[np.float32]:
    """Blur an outline: 0.3 mm (a plaque's edge) up to `widest_mm` (an ill-defined one)."""
    return shapes.soften(mask, _log_uniform(rng, 0.3, widest_mm) / lesions.anatomy.spacing_mm)


def _small_vessel(lesions: LesionMap, rng: np.random.Generator, sources: Sources) -> LesionMap:
    """Caps, bands, confluent areas and foci of small-vessel disease, 0.3 to 90 ml."""
    anatomy = lesions.anatomy
    step = anatomy.spacing_mm
    texture = fractal_field(rng, anatomy.shape, (10 / step, 4 / step))
    signal = np.clip(rng.uniform(0.6, 1.1) * (1 + 0.15 * texture), 0.3, 1.6)
    if rng.random() < 0.85:
        mask = shapes.white_matter_field(
            anatomy,
            rng,
            _log_uniform(rng, 0.3, 90.0),
            periventricular=rng.uniform(0.3, 2.5),
            reach_mm=rng.uniform(3.0, 14.0),
            texture_mm=(rng.uniform(8, 18), rng.uniform(3.5, 7), 2.5),
            cortex_margin_mm=rng.uniform(1.0, 4.0),
            symmetric=rng.uniform(0, 1),
        )
        lesions.add(_edge(lesions, rng, mask, 1.8), signal, "white_matter_field")
    if rng.random() < 0.5:
        mask = shapes.periventricular_band(anatomy, rng, rng.uniform(1.5, 5.0))
        lesions.add(_edge(lesions, rng, mask), signal * rng.uniform(0.7, 1.1), "band")
    if rng.random() < 0.7:
        where = anatomy.white_matter & (anatomy.distance_to_ventricle_mm > 4)
        mask, strength = shapes.foci(anatomy, rng, where, int(rng.integers(2, 40)), (1.0, 3.5))
        lesions.add(_edge(lesions, rng, mask & anatomy.parenchyma), strength, "foci")
    if rng.random() < 0.15:
        lesions = _lacune(lesions, rng)
    return lesions


def _depth_mm(mask: NDArray[np.bool_], step: float, reach_mm: float) -> NDArray[np.float32]:
    return near_distance(~mask, int(np.ceil(reach_mm / step))) * step


def _lacune(lesions: LesionMap, rng: np.random.Generator) -> LesionMap:
    """Small cavities with a bright rim in deep nuclei or white matter."""
    anatomy = lesions.anatomy
    where = is_in(anatomy.tissue, *NUCLEI, Tissue.WM) & (anatomy.distance_to_cortex_mm > 5)
    rim, strength = shapes.foci(anatomy, rng, where, int(rng.integers(1, 4)), (3.0, 7.0))
    rim &= anatomy.parenchyma
    lesions.add(_edge(lesions, rng, rim), strength, "lacune")
    cavity = _depth_mm(rim, anatomy.spacing_mm, 4.0) > rng.uniform(1.8, 3.0)
    lesions.dark = np.maximum(lesions.dark, shapes.soften(cavity, 0.4 / anatomy.spacing_mm))
    return lesions


def _multiple_sclerosis(lesions: LesionMap, rng: np.random.Generator, sources: Sources) -> LesionMap:
    """Ovoid plaques at the ventricles, under the cortex, in the hindbrain; real MS shapes where given."""
    anatomy = lesions.anatomy
    if sources.ms_masks and rng.random() < 0.5:
        mask = from_mni_mask(anatomy, rng, sources.ms_masks[int(rng.integers(len(sources.ms_masks)))], rng.uniform(1.5, 5.0))
        mask &= anatomy.parenchyma & ~is_in(anatomy.tissue, *CORTEX)
        lesions.add(_edge(lesions, rng, mask), _patchy(rng, anatomy, 0.2), "ms_shape")
    load = _log_uniform(rng, 2, 45)
    near = anatomy.white_matter & (anatomy.distance_to_ventricle_mm < 9)
    mask, strength = shapes.foci(anatomy, rng, near, rng.poisson(load * 0.5), (1.3, 6.0), elongated=2.2, toward_ventricle=True)
    lesions.add(_edge(lesions, rng, mask & anatomy.parenchyma & ~is_in(anatomy.tissue, *CORTEX)), strength, "dawson")
    rest = anatomy.white_matter & (anatomy.distance_to_cortex_mm < 9)
    mask, strength = shapes.foci(anatomy, rng, rest, rng.poisson(load * 0.5), (1.0, 4.5))
    lesions.add(_edge(lesions, rng, mask & anatomy.parenchyma), strength, "juxtacortical")
    if rng.random() < 0.4:
        hind = is_in(anatomy.tissue, Tissue.BRAINSTEM, Tissue.CEREBELLUM_WM)
        mask, strength = shapes.foci(anatomy, rng, hind, int(rng.integers(1, 6)), (1.0, 4.0))
        lesions.add(_edge(lesions, rng, mask & anatomy.parenchyma), strength * 0.8, "infratentorial")
    if rng.random() < 0.4:
        mask = shapes.periventricular_band(anatomy, rng, rng.uniform(1.5, 4.0))
        lesions.add(_edge(lesions, rng, mask), rng.uniform(0.4, 0.9), "band")
    if rng.random() < 0.15:
        mask, strength = shapes.foci(anatomy, rng, anatomy.white_matter, 1, (9.0, 20.0), ragged=0.35)
        lesions.add(_edge(lesions, rng, mask & anatomy.parenchyma), strength * _patchy(rng, anatomy, 0.3), "tumefactive")
    return lesions


def _patchy(rng: np.random.Generator, anatomy: Anatomy, amount: float) -> NDArray[np.float32]:
    texture = fractal_field(rng, anatomy.shape, (8 / anatomy.spacing_mm, 3 / anatomy.spacing_mm))
    return np.clip(rng.uniform(0.6, 1.2) * (1 + amount * texture), 0.2, 1.8).astype(np.float32)


def _tumour(lesions: LesionMap, rng: np.random.Generator, sources: Sources) -> LesionMap:
    """Gliomas, metastases, lymphoma: solid or necrotic core, oedema, mass effect; 1 to 280 ml, half of them large."""
    for _ in range(1 if rng.random() < 0.75 else int(rng.integers(2, 5))):
        whole = float(rng.choice((_log_uniform(rng, 3.0, 80.0), rng.uniform(40.0, 280.0)))) * (1.0 if not lesions.kinds else 0.3)
        core_share = rng.uniform(0.15, 1.0)
        lesions = add_mass(
            lesions,
            rng,
            MassPlan(
                whole * core_share,
                whole * (1 - core_share),
                effect=rng.uniform(0, 0.9),
                necrosis=rng.choice((0.0, rng.uniform(0.1, 0.8)), p=(0.35, 0.65)),
                solid_signal=(-0.2, 1.2),
                infiltrates_cortex=rng.uniform(0, 1),
                effaces_mm=rng.uniform(1.0, 5.0),
                patchiness=rng.choice((rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.5))),
                edge_mm=_log_uniform(rng, 0.4, 2.5),
            ),
            where=_tumour_places(lesions.anatomy, rng),
        )
    return lesions


def _tumour_places(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.bool_]:
    x, _, z = anatomy.world
    if rng.random() < 0.5:
        return anatomy.white_matter & (z > -35) & (np.abs(x) > 4)
    return is_in(anatomy.tissue, Tissue.WM, *CORTEX, *NUCLEI) & (z > -45)


def _infarct(lesions: LesionMap, rng: np.random.Generator, sources: Sources) -> LesionMap:
    """Territorial infarcts: real stroke shapes where given, or a wedge of cortex and white matter."""
    anatomy = lesions.anatomy
    if sources.stroke_masks and rng.random() < 0.6:
        mask = from_mni_mask(anatomy, rng, sources.stroke_masks[int(rng.integers(len(sources.stroke_masks)))])
        mask &= anatomy.parenchyma
    else:
        mask = shapes.territory(anatomy, rng, _log_uniform(rng, 1.0, 120.0))
    lesions.add(_edge(lesions, rng, mask, 1.8), _patchy(rng, anatomy, 0.25), "infarct")
    if rng.random() < 0.3:
        depth = _depth_mm(mask, anatomy.spacing_mm, 14.0)
        cavity = depth > rng.uniform(3, 7) * (1 + 0.3 * smooth_field(rng, mask.shape, 8 / anatomy.spacing_mm))
        lesions.dark = np.maximum(lesions.dark, shapes.soften(cavity, 0.6 / anatomy.spacing_mm))
    return lesions


def _confluent(lesions: LesionMap, rng: np.random.Generator, sources: Sources) -> LesionMap:
    """Symmetric or one-sided confluent white-matter disease (leukodystrophy, toxic, PML, PRES)."""
    anatomy = lesions.anatomy
    region = shapes.tract_region(
        anatomy,
        rng,
        (rng.uniform(5, 35), rng.uniform(-60, 40), rng.uniform(-10, 40)),
        tuple(rng.uniform(10, 38, 3)),
    )
    if rng.random() < 0.4:
        region &= anatomy.right_side if rng.random() < 0.5 else ~anatomy.right_side
    lesions.add(_edge(lesions, rng, region, 2.5), _patchy(rng, anatomy, 0.2), "confluent")
    return lesions


def _cortical(lesions: LesionMap, rng: np.random.Generator, sources: Sources) -> LesionMap:
    """Swollen bright cortex with little white matter (encephalitis, low-grade tumour, cortical oedema)."""
    anatomy = lesions.anatomy
    mask = shapes.territory(anatomy, rng, _log_uniform(rng, 1.5, 40.0))
    keep = is_in(anatomy.tissue, *CORTEX) | (anatomy.distance_to_cortex_mm < rng.uniform(1, 6))
    lesions.add(_edge(lesions, rng, mask & keep), _patchy(rng, anatomy, 0.2), "cortical")
    return lesions


def paint(rng: np.random.Generator, lesions: LesionMap, contrast: Contrast) -> NDArray[np.float32]:
    """Turn tissues and lesions into a noiseless FLAIR, white matter near 1.

    Adds texture, the bright rim that normal ventricles have, tract and
    regional differences, and the lesions over all of it.
    """
    anatomy = lesions.anatomy
    tissue, step = anatomy.tissue, anatomy.spacing_mm
    image = contrast.means[tissue]
    image = ndimage.gaussian_filter(image, max(0.4, rng.uniform(0.5, 1.1) / step))
    inside = anatomy.brain
    regional = fractal_field(rng, anatomy.shape, (25 / step, 10 / step, 3 / step), fall=0.6)
    image *= 1 + rng.uniform(0.01, 0.06) * regional
    cortex_noise = smooth_field(rng, anatomy.shape, 12 / step)
    image[is_in(tissue, *CORTEX)] *= (1 + rng.uniform(0, 0.08) * cortex_noise)[is_in(tissue, *CORTEX)]
    # A thin bright rim and faint halo belong to normal ventricles and are no lesion.
    distance = anatomy.distance_to_ventricle_mm
    white = is_in(tissue, Tissue.WM, Tissue.SEPTUM)
    image += white * (
        rng.uniform(0, 0.3) * np.exp(-distance / rng.uniform(0.6, 1.4)) + rng.uniform(0, 0.10) * np.exp(-distance / rng.uniform(3, 8))
    )
    if rng.random() < 0.6:  # flow: patches of bright CSF
        flow = np.clip(fractal_field(rng, anatomy.shape, (12 / step, 4 / step)) - rng.uniform(0.5, 1.8), 0, 1.5)
        image += is_in(tissue, Tissue.VENTRICLE, Tissue.CSF) * flow * rng.uniform(0.1, 0.9)
    if rng.random() < 0.6:
        image += _haze(rng, anatomy) * contrast.lesion_excess
    if rng.random() < 0.6:
        brightened = image + _bright_grey(rng, anatomy) * contrast.lesion_excess
        image = np.minimum(brightened, np.maximum(image, 1 + 0.7 * contrast.lesion_excess))
    # Lesions: excess over the brighter of the tissue below and white matter; fluid inside cores.
    below = np.maximum(image, 1.0 - 0.1)
    within = lesions.weight > 0
    base = np.where(within, 0.35 * below + 0.65, below)
    ill = base + contrast.lesion_excess * lesions.signal
    weight = np.clip(lesions.weight, 0, 1)
    if rng.random() < 0.6:  # lesions fade into the white matter around them; readers leave that out
        fading = ndimage.gaussian_filter(weight, rng.uniform(1.5, 5.0) / step) * (tissue == Tissue.WM)
        image = image + rng.uniform(0.1, 0.5) * contrast.lesion_excess * fading
    image = image * (1 - weight) + ill * weight
    dark = np.clip(lesions.dark, 0, 1) * (weight > 0.3)
    image = image * (1 - dark) + contrast.fluid * dark
    image[~inside & (tissue == Tissue.BACKGROUND)] = 0.0
    return np.clip(image, 0, None).astype(np.float32)


def _haze(rng: np.random.Generator, anatomy: Anatomy) -> NDArray[np.float32]:
    """Diffusely bright white matter without an edge, which readers leave out.

    Around the ventricles, mostly behind (terminal zones of myelination, optic
    radiation), and in clouds anywhere: MS calls it diffusely abnormal or dirty
    white matter (Seewann et al., Arch Neurol 2009;66:601).

    Returns
    -------
    (I, J, K) float32 array
        Share of a full lesion's excess, below 0.5; 0 outside white matter.
    """
    step = anatomy.spacing_mm
    _, y, _ = anatomy.world
    behind = 1 / (1 + np.exp((y + rng.uniform(0, 30)) / 10)) if rng.random() < 0.7 else 1.0
    near = np.exp(-((anatomy.distance_to_ventricle_mm / rng.uniform(6, 16)) ** 2)) * behind
    clouds = np.clip(fractal_field(rng, anatomy.shape, (rng.uniform(10, 18) / step, 6 / step), fall=0.4) - rng.uniform(0, 1), 0, 2)
    haze = rng.uniform(0, 0.45) * near * np.clip(1 + 0.5 * clouds, 0, 1.5) + rng.uniform(0, 0.2) * clouds
    depth = ndimage.gaussian_filter(is_in(anatomy.tissue, Tissue.WM).astype(np.float32), 1.0 / step)
    return (np.minimum(haze, 0.5) * depth).astype(np.float32)


def _bright_grey(rng: np.random.Generator, anatomy: Anatomy) -> NDArray[np.float32]:
    """Stretches of healthy grey matter brighter than the rest, which readers leave out.

    Insula, cingulum and hippocampus, putamen and thalamus, and cortex
    anywhere, as 3 T and close receive coils show them.

    Returns
    -------
    (I, J, K) float32 array
        Share of a full lesion's excess, at most 0.6; 0 outside grey matter.
    """
    step = anatomy.spacing_mm
    stretch = np.clip(smooth_field(rng, anatomy.shape, rng.uniform(8, 25) / step) + rng.uniform(-1, 0.5), 0, 2)
    kinds = ((Tissue.GM, Tissue.CEREBELLUM_GM), (Tissue.LIMBIC_GM,), NUCLEI)
    amount = sum(rng.uniform(0, most) * is_in(anatomy.tissue, *kind) for kind, most in zip(kinds, (0.4, 0.6, 0.3), strict=True))
    return ndimage.gaussian_filter(np.minimum(stretch * amount, 0.6).astype(np.float32), 0.5 / step)
