"""FLAIR intensities for training heads: physics mixed with wide random contrast.

White matter is 1. Half of the heads take their tissue intensities from the
signal equation of `signal` with jittered relaxation times; the other half draw
them from ranges wider than any scanner gives, so that a network cannot rely on
one contrast (the idea of SynthSeg: Billot et al., Med Image Anal 2023;86:102789).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flairnb.cohort.phantom.signal import Sequence, draw_tissue_table, tissue_signal
from flairnb.cohort.phantom.tissue import Tissue


@dataclass(frozen=True)
class Contrast:
    """Intensities relative to white matter.

    Attributes
    ----------
    means : (22,) float32 array
        One value a `Tissue`.
    lesion_excess : float
        What a full-strength lesion adds to white matter.
    fluid : float
        Intensity inside a cyst or necrosis.
    """

    means: NDArray[np.float32]
    lesion_excess: float
    fluid: float


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw a FLAIR contrast: physics or wide random, half each."""
    return _physics(rng) if rng.random() < 0.5 else _random(rng)


def _physics(rng: np.random.Generator) -> Contrast:
    field = float(rng.choice((1.5, 3.0)))
    tr_ms = float(rng.uniform(5500, 11000))
    null_ms = float(rng.uniform(0.86, 1.02)) * (2200 if tr_ms < 7500 else 2500)
    sequence = Sequence(
        "flair", te_ms=float(rng.uniform(82, 150)), tr_ms=tr_ms, ti_ms=null_ms, fat_fraction_left=float(rng.uniform(0.1, 1.0))
    )
    table = draw_tissue_table(field, rng, spread_fraction=0.05)
    means = tissue_signal(table, sequence)[: len(Tissue)].astype(np.float32)
    white = max(float(means[Tissue.WM]), 1e-6)
    means = np.clip(means / white, 0, 4)
    means[Tissue.SEPTUM] = rng.uniform(1.0, 1.6)
    means[Tissue.VENTRICLE] = np.clip(means[Tissue.VENTRICLE] + rng.uniform(0, 0.15), 0, 0.6)
    means[Tissue.CSF] = np.clip(means[Tissue.CSF] + rng.uniform(0, 0.25), 0, 0.7)
    return Contrast(means, _excess(rng, means), float(np.clip(means[Tissue.VENTRICLE] + rng.uniform(0, 0.6), 0, 1.1)))


def _random(rng: np.random.Generator) -> Contrast:
    means = np.zeros(len(Tissue), dtype=np.float32)
    grey = rng.uniform(0.98, 1.45)
    means[Tissue.WM] = 1.0
    means[Tissue.GM] = grey
    means[Tissue.LIMBIC_GM] = grey * rng.uniform(1.0, 1.22)
    means[Tissue.DEEP_GM] = 1 + (grey - 1) * rng.uniform(0.2, 1.1)
    means[Tissue.THALAMUS] = 1 + (grey - 1) * rng.uniform(0.1, 0.9)
    means[Tissue.PALLIDUM] = rng.uniform(0.7, 1.1)
    means[Tissue.BRAINSTEM] = rng.uniform(0.9, 1.2)
    means[Tissue.CEREBELLUM_WM] = rng.uniform(0.9, 1.15)
    means[Tissue.CEREBELLUM_GM] = grey * rng.uniform(0.9, 1.08)
    means[Tissue.VENTRICLE] = rng.uniform(0.03, 0.45)
    means[Tissue.CSF] = means[Tissue.VENTRICLE] + rng.uniform(-0.02, 0.3)
    means[Tissue.CHOROID] = rng.uniform(0.7, 1.9)
    means[Tissue.SEPTUM] = rng.uniform(1.0, 1.8)
    means[Tissue.VESSEL] = rng.choice((rng.uniform(0.0, 0.4), rng.uniform(0.8, 1.8)))
    means[Tissue.SKULL] = rng.uniform(0.02, 0.2)
    means[Tissue.DURA] = rng.uniform(0.3, 1.3)
    means[Tissue.MARROW] = rng.uniform(0.3, 2.0)
    means[Tissue.FAT] = rng.uniform(0.4, 3.0)
    means[Tissue.SKIN_MUSCLE] = rng.uniform(0.3, 1.4)
    means[Tissue.EYE] = rng.uniform(0.05, 0.5)
    means[Tissue.AIR] = 0.02
    return Contrast(means, _excess(rng, means), float(rng.uniform(0.05, 1.1)))


def _excess(rng: np.random.Generator, means: NDArray[np.float32]) -> float:
    """Draw a lesion's excess over white matter; in 85 % of draws about as far as cortex or farther, as FLAIR shows them."""
    excess = float(np.exp(rng.uniform(np.log(0.35), np.log(1.7))))
    above_grey = float(means[Tissue.GM] - 1) * rng.uniform(0.8, 1.3) + rng.uniform(0.1, 0.4)
    return max(excess, above_grey) if rng.random() < 0.85 else excess
