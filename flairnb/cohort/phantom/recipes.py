"""Lesions by disease: one recipe for each of the 19 diagnoses.

Number, extent, symmetry and sites follow the expert-set likelihoods of
`flairnb.cohort.diagnoses`; each feature is drawn with its likelihood, so two
subjects with one diagnosis differ as patients do. Volumes are chosen: most
diseases 1 to 100 ml, migraine and Susac syndrome below about 2 ml (article,
Effect of Lesion Volume: small in migraine, MS, NMO and Susac).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flairnb.cohort.diagnoses import DIAGNOSES, Diagnosis
from flairnb.cohort.phantom import lesions as shapes
from flairnb.cohort.phantom.anatomy import Anatomy
from flairnb.cohort.phantom.lesions import LesionMap
from flairnb.cohort.phantom.masses import MassPlan, add_mass
from flairnb.cohort.phantom.noise import fractal_field
from flairnb.cohort.phantom.tissue import CORTEX, NUCLEI, Tissue, is_in
from flairnb.errors import InputError

_BY_KEY = {d.key: d for d in DIAGNOSES}
Recipe = Callable[[LesionMap, np.random.Generator, Diagnosis], LesionMap]


def draw_lesions(anatomy: Anatomy, diagnosis_key: str, rng: np.random.Generator) -> LesionMap:
    """Draw the lesions of a diagnosis in a head.

    Parameters
    ----------
    anatomy : Anatomy
    diagnosis_key : str
        A key of `DIAGNOSES`, or ``HEALTHY``.
    rng : numpy.random.Generator

    Returns
    -------
    LesionMap
        Never empty but for ``HEALTHY``.

    Raises
    ------
    InputError
        Unknown diagnosis.
    """
    lesions = shapes.empty_map(anatomy)
    if diagnosis_key == "HEALTHY":
        return lesions
    if diagnosis_key not in RECIPES:
        raise InputError(f"diagnosis {diagnosis_key!r}: expected one of {', '.join(RECIPES)} or HEALTHY.")
    for _ in range(4):
        found = RECIPES[diagnosis_key](shapes.empty_map(anatomy), rng, _BY_KEY[diagnosis_key]).only_in_tissue()
        if found.mask.any():
            return found
    mask, strength = shapes.foci(anatomy, rng, anatomy.white_matter, 6, (2.5, 4.0))
    lesions.add(_soft(lesions, rng, mask & anatomy.parenchyma), strength, "foci")
    return lesions.only_in_tissue()


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _soft(lesions: LesionMap, rng: np.random.Generator, mask: NDArray[np.bool_], edge_mm: float = 0.7) -> NDArray[np.float32]:
    return shapes.soften(mask, edge_mm * rng.uniform(0.6, 1.3) / lesions.anatomy.spacing_mm)


def _patchy(anatomy: Anatomy, rng: np.random.Generator, level: float, amount: float = 0.15) -> NDArray[np.float32]:
    texture = fractal_field(rng, anatomy.shape, (8 / anatomy.spacing_mm, 3 / anatomy.spacing_mm))
    return np.clip(level * (1 + amount * texture), 0.25, 1.7).astype(np.float32)


def _not_cortex(anatomy: Anatomy, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & anatomy.parenchyma & ~is_in(anatomy.tissue, *CORTEX)


def _plaques(
    lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis, count: int, radius_mm: tuple[float, float], level: float
) -> LesionMap:
    """Ovoid plaques, shared out between ventricle, callosum, cortex's edge and hindbrain by the likelihoods."""
    anatomy, odds = lesions.anatomy, dx.likelihoods
    near = anatomy.white_matter & (anatomy.distance_to_ventricle_mm < 8)
    x, _, z = anatomy.world
    callosum = anatomy.white_matter & (np.abs(x) < 9) & (z > 0) & (anatomy.distance_to_ventricle_mm < 8)
    juxta = anatomy.white_matter & (anatomy.distance_to_cortex_mm < 3.5)
    deep = anatomy.white_matter & (anatomy.distance_to_ventricle_mm > 6)
    hind = is_in(anatomy.tissue, Tissue.BRAINSTEM, Tissue.CEREBELLUM_WM)
    sites = [
        (near, odds.periventricular, True),
        (callosum, odds.corpus_callosum * 0.4, True),
        (juxta, odds.juxtacortical * 0.5, False),
        (deep, 0.5, False),
        (hind, 0.15, False),
    ]
    total = sum(w for _, w, _ in sites)
    for where, share, pointing in sites:
        mask, strength = shapes.foci(
            anatomy, rng, where, rng.binomial(count, share / total), radius_mm, elongated=2.0, toward_ventricle=pointing
        )
        lesions.add(_soft(lesions, rng, _not_cortex(anatomy, mask)), strength * level, "plaques")
    return lesions


def _ms_inactive(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    lesions = _plaques(lesions, rng, dx, int(rng.integers(6, 35)), (1.3, 4.0), rng.uniform(0.6, 0.95))
    if rng.random() < dx.likelihoods.extensive:
        band = shapes.periventricular_band(lesions.anatomy, rng, rng.uniform(2, 4))
        lesions.add(_soft(lesions, rng, band), _patchy(lesions.anatomy, rng, 0.8), "band")
    return lesions


def _ms_active(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    lesions = _plaques(lesions, rng, dx, int(rng.integers(8, 40)), (1.5, 5.5), rng.uniform(0.8, 1.15))
    if rng.random() < dx.likelihoods.extensive:
        band = shapes.periventricular_band(lesions.anatomy, rng, rng.uniform(2, 5))
        lesions.add(_soft(lesions, rng, band), _patchy(lesions.anatomy, rng, 0.9), "band")
    return lesions


def _ms_tumefactive(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    core = _log_uniform(rng, 3, 30)
    lesions = add_mass(
        lesions,
        rng,
        MassPlan(
            core,
            core * rng.uniform(0.3, 1.5),
            effect=0.4 * float(rng.random() < dx.likelihoods.mass_effect),
            necrosis=0.2 * float(rng.random() < 0.4),
            solid_signal=(0.8, 1.2),
            infiltrates_cortex=0.1,
        ),
    )
    return _plaques(lesions, rng, dx, int(rng.integers(2, 16)), (1.5, 5.0), rng.uniform(0.8, 1.1))


def _nmo(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    anatomy = lesions.anatomy
    lesions = _plaques(lesions, rng, dx, int(rng.integers(2, 10)), (1.5, 5.0), rng.uniform(0.7, 1.0))
    around = is_in(anatomy.tissue, Tissue.THALAMUS, Tissue.BRAINSTEM) & (anatomy.distance_to_ventricle_mm < 5)
    if rng.random() < dx.likelihoods.periventricular:
        mask, strength = shapes.foci(anatomy, rng, around, int(rng.integers(1, 4)), (2.0, 5.0))
        lesions.add(_soft(lesions, rng, mask & anatomy.parenchyma), strength, "periependymal")
    return lesions


def _tiny(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """Migraine: a few punctate foci under the cortex and in deep white matter."""
    anatomy = lesions.anatomy
    where = anatomy.white_matter & (anatomy.distance_to_cortex_mm < 14) & (anatomy.distance_to_ventricle_mm > 4)
    mask, strength = shapes.foci(anatomy, rng, where, int(rng.integers(4, 22)), (1.0, 2.4))
    lesions.add(_soft(lesions, rng, mask & anatomy.white_matter, 0.4), strength * 0.9, "punctate")
    return lesions


def _susac(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """Small "snowball" lesions in the middle of the corpus callosum, few elsewhere."""
    anatomy = lesions.anatomy
    x, _, z = anatomy.world
    callosum = anatomy.white_matter & (np.abs(x) < 12) & (z > 0) & (anatomy.distance_to_ventricle_mm < 9)
    mask, strength = shapes.foci(anatomy, rng, callosum, int(rng.integers(4, 12)), (1.2, 2.6), elongated=1.2)
    lesions.add(_soft(lesions, rng, mask & anatomy.parenchyma, 0.5), strength, "snowballs")
    mask, strength = shapes.foci(anatomy, rng, anatomy.white_matter, int(rng.integers(2, 8)), (1.0, 2.2))
    lesions.add(_soft(lesions, rng, mask & anatomy.parenchyma, 0.5), strength, "punctate")
    return lesions


def _small_vessel(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    anatomy = lesions.anatomy
    volume = _log_uniform(rng, 3, 20) if rng.random() > dx.likelihoods.extensive else _log_uniform(rng, 15, 80)
    mask = shapes.white_matter_field(
        anatomy,
        rng,
        volume,
        periventricular=rng.uniform(1.0, 2.5),
        reach_mm=rng.uniform(5, 12),
        symmetric=float(rng.random() < dx.likelihoods.symmetric),
    )
    lesions.add(_soft(lesions, rng, mask), _patchy(anatomy, rng, rng.uniform(0.7, 1.0)), "small_vessel")
    where = is_in(anatomy.tissue, Tissue.WM, *NUCLEI) & (anatomy.distance_to_ventricle_mm > 4)
    mask, strength = shapes.foci(anatomy, rng, where, int(rng.integers(3, 25)), (1.0, 3.0))
    lesions.add(_soft(lesions, rng, mask & anatomy.parenchyma), strength, "foci")
    return lesions


def _cadasil(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    lesions = _small_vessel(lesions, rng, dx)
    anatomy = lesions.anatomy
    if rng.random() < dx.likelihoods.anterior_temporal:
        poles = shapes.tract_region(anatomy, rng, (38, 8, -32), (14, 18, 16))
        lesions.add(_soft(lesions, rng, poles), _patchy(anatomy, rng, 0.9), "temporal_poles")
    if rng.random() < 0.7:
        capsules = shapes.tract_region(anatomy, rng, (30, 5, 2), (8, 22, 14))
        lesions.add(_soft(lesions, rng, capsules), _patchy(anatomy, rng, 0.8), "external_capsules")
    return lesions


def _leukodystrophy(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """Adrenoleukodystrophy: confluent, symmetric, parieto-occipital with the splenium (frontal in some)."""
    anatomy = lesions.anatomy
    back = rng.random() < 0.8
    centre = (20, -55, 10) if back else (18, 38, 12)
    scale = rng.uniform(0.8, 1.5)
    region = shapes.tract_region(anatomy, rng, centre, (22 * scale, 26 * scale, 24 * scale))
    if rng.random() < dx.likelihoods.corpus_callosum:
        region |= shapes.tract_region(anatomy, rng, (0, centre[1] * 0.65, 8), (18, 10, 10))
    lesions.add(_soft(lesions, rng, region, 1.2), _patchy(anatomy, rng, rng.uniform(0.9, 1.2)), "confluent")
    return lesions


def _diffuse(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """HIV encephalopathy and toxic leukoencephalopathy: hazy, symmetric, away from the U-fibres."""
    anatomy = lesions.anatomy
    mask = shapes.white_matter_field(
        anatomy,
        rng,
        _log_uniform(rng, 15, 130),
        periventricular=rng.uniform(0.3, 1.5),
        reach_mm=14,
        texture_mm=(20, 9),
        cortex_margin_mm=rng.uniform(1.5, 3.5),
        symmetric=1.0,
    )
    level = rng.uniform(0.5, 0.8) if dx.key == "HIVE" else rng.uniform(0.7, 1.1)
    lesions.add(_soft(lesions, rng, mask, 1.5), _patchy(anatomy, rng, level, 0.1), "diffuse")
    return lesions


def _adem(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """Large, fluffy, asymmetric patches in white matter and deep nuclei."""
    anatomy = lesions.anatomy
    where = anatomy.white_matter & (anatomy.distance_to_cortex_mm < 15)
    mask, strength = shapes.foci(anatomy, rng, where, int(rng.integers(4, 16)), (3.0, 11.0), ragged=0.35)
    lesions.add(
        _soft(lesions, rng, mask & (anatomy.white_matter | (anatomy.distance_to_cortex_mm < 1.6) & anatomy.parenchyma), 1.2),
        strength,
        "patches",
    )
    if rng.random() < 0.5:
        mask, strength = shapes.foci(anatomy, rng, is_in(anatomy.tissue, *NUCLEI, Tissue.BRAINSTEM), int(rng.integers(1, 5)), (2.5, 7.0))
        lesions.add(_soft(lesions, rng, mask & anatomy.parenchyma, 1.0), strength, "nuclei")
    return lesions


def _pml(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """Asymmetric subcortical areas that reach the U-fibres with a sharp cortical edge."""
    anatomy = lesions.anatomy
    for _ in range(int(rng.integers(1, 4)) if rng.random() < dx.likelihoods.multiple else 1):
        area = shapes.territory(anatomy, rng, _log_uniform(rng, 12, 90))
        lesions.add(_soft(lesions, rng, area & anatomy.white_matter), _patchy(anatomy, rng, rng.uniform(0.8, 1.2)), "subcortical")
    return lesions


def _pres(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    """Cortex and subcortical white matter, parieto-occipital first, about symmetric."""
    anatomy = lesions.anatomy
    edge = anatomy.parenchyma & (anatomy.distance_to_cortex_mm < rng.uniform(5, 11))
    x, y, z = anatomy.world
    places = (
        [(28, -68, 12), (24, -62, 32)] + ([(26, 30, 36)] if rng.random() < 0.45 else []) + ([(25, -60, -42)] if rng.random() < 0.3 else [])
    )
    texture = fractal_field(rng, anatomy.shape, (11 / anatomy.spacing_mm, 5 / anatomy.spacing_mm))
    for cx, cy, cz in places:
        size = rng.uniform(10, 19)
        reach = np.sqrt((np.abs(x) - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / size
        region = (reach + 0.25 * texture < 1) & edge
        if rng.random() > dx.likelihoods.symmetric:
            region &= anatomy.right_side if rng.random() < 0.5 else ~anatomy.right_side
        lesions.add(_soft(lesions, rng, region, 1.0), _patchy(anatomy, rng, rng.uniform(0.7, 1.0)), "oedema")
    return lesions


def _infarcts(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    for _ in range(int(rng.integers(1, 4))):
        area = shapes.territory(lesions.anatomy, rng, _log_uniform(rng, 2, 70))
        lesions.add(_soft(lesions, rng, area), _patchy(lesions.anatomy, rng, rng.uniform(0.8, 1.2)), "infarct")
    if rng.random() < dx.likelihoods.periventricular:
        mask = shapes.white_matter_field(lesions.anatomy, rng, _log_uniform(rng, 1, 12), periventricular=2.0)
        lesions.add(_soft(lesions, rng, mask), _patchy(lesions.anatomy, rng, 0.7), "small_vessel")
    return lesions


@dataclass(frozen=True)
class _TumourKind:
    """Ranges that a tumour of one diagnosis is drawn from (ml, ratios, shares)."""

    core_ml: tuple[float, float]
    oedema_ratio: tuple[float, float]
    necrosis: tuple[float, float]
    solid: tuple[float, float]
    cortex: float


def _tumour(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis, kind: _TumourKind, count: int = 1) -> LesionMap:
    for _ in range(count):
        core = _log_uniform(rng, *kind.core_ml)
        effect = rng.uniform(0.3, 0.8) if rng.random() < dx.likelihoods.mass_effect else rng.uniform(0, 0.2)
        lesions = add_mass(
            lesions,
            rng,
            MassPlan(
                core,
                core * rng.uniform(*kind.oedema_ratio),
                effect=effect,
                necrosis=rng.uniform(*kind.necrosis),
                solid_signal=kind.solid,
                infiltrates_cortex=kind.cortex,
            ),
        )
    return lesions


def _high_grade(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    return _tumour(lesions, rng, dx, _TumourKind((10, 60), (0.6, 2.5), (0.1, 0.5), (0.35, 0.9), 0.6))


def _low_grade(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    return _tumour(lesions, rng, dx, _TumourKind((8, 70), (0.05, 0.4), (0.0, 0.08), (0.8, 1.2), 0.9))


def _metastases(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    count = int(rng.integers(2, 7)) if rng.random() < dx.likelihoods.multiple else 1
    return _tumour(lesions, rng, dx, _TumourKind((0.4, 10), (1.0, 5.0), (0.0, 0.4), (0.3, 0.9), 0.2), count)


def _lymphoma(lesions: LesionMap, rng: np.random.Generator, dx: Diagnosis) -> LesionMap:
    count = int(rng.integers(1, 4)) if rng.random() < dx.likelihoods.multiple else 1
    return _tumour(lesions, rng, dx, _TumourKind((3, 25), (1.0, 3.0), (0.0, 0.05), (0.4, 0.8), 0.3), count)


RECIPES: dict[str, Recipe] = {
    "ADEM": _adem,
    "ALD": _leukodystrophy,
    "CADASIL": _cadasil,
    "CNSL": _lymphoma,
    "HGG": _high_grade,
    "HIVE": _diffuse,
    "LGG": _low_grade,
    "METS": _metastases,
    "MIGRAINE": _tiny,
    "MSA": _ms_active,
    "MSI": _ms_inactive,
    "MST": _ms_tumefactive,
    "NMO": _nmo,
    "PML": _pml,
    "PRES": _pres,
    "SUSAC": _susac,
    "SVID": _small_vessel,
    "TLE": _diffuse,
    "VASC": _infarcts,
}
