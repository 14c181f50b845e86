"""The tissues that a simulated head is made of."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """One code a voxel of a simulated head."""

    BACKGROUND = 0
    CSF = 1
    VENTRICLE = 2
    GM = 3
    DEEP_GM = 4
    WM = 5
    BRAINSTEM = 6
    CEREBELLUM_WM = 7
    CEREBELLUM_GM = 8
    CHOROID = 9
    VESSEL = 10
    SKULL = 11
    MARROW = 12
    FAT = 13
    SKIN_MUSCLE = 14
    EYE = 15
    AIR = 16
    DURA = 17
    LIMBIC_GM = 18
    PALLIDUM = 19
    SEPTUM = 20
    THALAMUS = 21


PARENCHYMA = (
    Tissue.GM,
    Tissue.DEEP_GM,
    Tissue.WM,
    Tissue.BRAINSTEM,
    Tissue.CEREBELLUM_WM,
    Tissue.CEREBELLUM_GM,
    Tissue.LIMBIC_GM,
    Tissue.PALLIDUM,
    Tissue.SEPTUM,
    Tissue.THALAMUS,
)
CORTEX = (Tissue.GM, Tissue.LIMBIC_GM)
# Cerebrospinal fluid and what lies in it.
FLUID = (Tissue.CSF, Tissue.VENTRICLE, Tissue.CHOROID, Tissue.VESSEL)
NUCLEI = (Tissue.DEEP_GM, Tissue.PALLIDUM, Tissue.THALAMUS)


def lookup(codes: tuple[Tissue, ...]) -> NDArray[np.bool_]:
    """Return a 256-entry table that is True for the given codes; index it with a tissue array."""
    table = np.zeros(256, dtype=bool)
    table[[int(c) for c in codes]] = True
    return table


def is_in(tissue: NDArray[np.uint8], *codes: Tissue) -> NDArray[np.bool_]:
    """Mark the voxels that hold one of the given tissues."""
    return lookup(codes)[tissue]
