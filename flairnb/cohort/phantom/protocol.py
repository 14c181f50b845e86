"""Acquisition protocols of the phantom's scanners: what a technologist chose.

Drawn around a roster row (Table 1's manufacturer, model, field, dimension, TE
and TR). Matrix, slices and the sizes of artefacts are not in the article; they
are chosen to look like clinical examinations of those years.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flairnb.cohort.phantom.signal import Sequence, csf_null_ti_ms, effective_te_ms, relaxation
from flairnb.errors import InputError


@dataclass(frozen=True)
class Protocol:
    """What is acquired, before it meets a patient.

    Attributes
    ----------
    contrast : str
        ``FLAIR`` or ``T1w``.
    sequence : Sequence
        Signal equation and effective times.
    dimension, plane : str
        ``2D`` or ``3D``; ``axial``, ``sagittal`` or ``coronal``.
    field_strength_t : float
    field_of_view_mm : (float, float)
        Rows, columns.
    matrix, reconstruction : (int, int)
        Acquired and reconstructed (zero-filled) in-plane matrix.
    slice_mm, gap_mm : float
        Thickness (full width at half maximum of the profile) and gap.
    profile : str
        ``gaussian`` or ``trapezoid``; 3D takes ``none``.
    snr : float
        White matter over the noise of one channel of the complex image.
    bias, centre : float
        Size of the receive field's drift and of the 3 T centre brightening.
    ghost, motion, flow : float
        Ghost amplitude; share of displaced k-space lines; CSF inflow, 0 to 1.
    gibbs : float
        0 strong filter to 1 none.
    storage : str
        Axis codes of the stored array, e.g. ``LAS``.
    codes : (int, int)
        qform and sform code.
    white_matter_counts : float
        Stored value of white matter.
    """

    contrast: str
    sequence: Sequence
    dimension: str
    plane: str
    field_strength_t: float
    field_of_view_mm: tuple[float, float]
    matrix: tuple[int, int]
    reconstruction: tuple[int, int]
    slice_mm: float
    gap_mm: float = 0.0
    profile: str = "gaussian"
    snr: float = 30.0
    bias: float = 0.1
    centre: float = 0.0
    ghost: float = 0.0
    motion: float = 0.0
    flow: float = 0.0
    gibbs: float = 0.5
    storage: str = "LAS"
    codes: tuple[int, int] = (1, 1)
    white_matter_counts: float = 300.0


def draw_flair_protocol(row: Mapping[str, Any], rng: np.random.Generator) -> Protocol:
    """Draw a FLAIR protocol that fits a roster row.

    Parameters
    ----------
    row : mapping
        `field_strength_t`, `dimension`, `te_ms`, `tr_ms`, `ti_ms` (0, NaN or
        absent: the one that nulls CSF), `manufacturer`.
    rng : Generator

    Returns
    -------
    Protocol
    """
    field, dimension = float(row["field_strength_t"]), str(row["dimension"]).upper()
    if dimension not in ("2D", "3D"):
        raise InputError(f"dimension: expected 2D or 3D, found {row['dimension']!r}. Correct the roster.")
    tr_ms, te_ms = float(row["tr_ms"]), float(row["te_ms"])
    ti_ms = float(row.get("ti_ms") or 0.0)
    if not ti_ms > 0:
        ti_ms = csf_null_ti_ms(relaxation("csf", field).t1_ms, tr_ms)
    suppressed = rng.random() < (0.6 if dimension == "3D" else 0.35)
    left = float(rng.uniform(0.12, 0.4)) if suppressed else 1.0
    sequence = Sequence("flair", effective_te_ms(te_ms, dimension), tr_ms, ti_ms, fat_fraction_left=left)
    drawn = _draw_3d("FLAIR", sequence, row, rng) if dimension == "3D" else _draw_2d("FLAIR", sequence, row, rng)
    # Fresh, uninverted CSF flows into thin inversion slabs; 3D inversions are not selective.
    flow = float(rng.choice([0.0, rng.uniform(0.1, 0.45)], p=[0.4, 0.6])) if dimension == "2D" else 0.0
    return replace(drawn, flow=flow)


def draw_t1w_protocol(row: Mapping[str, Any], rng: np.random.Generator) -> Protocol:
    """Draw a T1w protocol for the same examination: 2D spin echo, or 3D gradient echo."""
    field = float(row["field_strength_t"])
    if rng.random() < (0.75 if field < 2.25 else 0.4):
        sequence = Sequence("spin_echo", float(rng.uniform(8, 15)), float(rng.uniform(430, 650)))
        return _draw_2d("T1w", sequence, row, rng)
    if "GE" in str(row["manufacturer"]).upper().split():
        sequence = Sequence("spgr", 3.0, float(rng.uniform(7, 10)), flip_deg=float(rng.uniform(12, 16)))
    else:
        sequence = Sequence(
            "mprage", 3.0, float(rng.uniform(1900, 2400)), float(rng.uniform(880, 1100)), flip_deg=float(rng.uniform(8, 12))
        )
    return _draw_3d("T1w", sequence, row, rng)


def _draw_2d(contrast: str, sequence: Sequence, row: Mapping[str, Any], rng: np.random.Generator) -> Protocol:
    field_of_view = float(rng.choice([220, 230, 240, 250], p=[0.3, 0.4, 0.2, 0.1]))
    phase_share = float(rng.choice([0.75, 0.8125, 0.875, 1.0]))
    rows, columns, zero_fill = (
        (224, 192, 1),
        (256, 192, 1),
        (256, 224, 1),
        (320, 192, 1),
        (320, 224, 1),
        (256, 192, 1.75),
    )[rng.choice(6, p=[0.1, 0.3, 0.2, 0.15, 0.1, 0.15])]
    # Rows of the array run left-right (phase, often a rectangular field of view); columns front-back (read-out).
    columns, lines = rows, _even(columns * phase_share)
    recon = _even(rows * zero_fill)
    view = (field_of_view * phase_share, field_of_view)
    slice_mm = float(rng.choice([4.0, 5.0, 6.0, 3.0], p=[0.25, 0.55, 0.1, 0.1]))
    gap_mm = slice_mm * float(rng.choice([0.0, 0.1, 0.2, 0.3], p=[0.3, 0.3, 0.25, 0.15]))
    return Protocol(
        contrast,
        sequence,
        "2D",
        "axial",
        float(row["field_strength_t"]),
        view,
        (lines, columns),
        (_even(recon * phase_share), recon),
        slice_mm,
        gap_mm,
        str(rng.choice(["gaussian", "trapezoid"])),
        storage=str(rng.choice(["LAS", "LPS", "RAS"], p=[0.6, 0.25, 0.15])),
        **_draw_quality(row, rng, contrast),
    )


def _draw_3d(contrast: str, sequence: Sequence, row: Mapping[str, Any], rng: np.random.Generator) -> Protocol:
    voxel_mm = float(rng.choice([1.0, 1.0, 0.94, 1.1]))
    view = (230.0, 230.0)
    matrix = tuple(_even(v / voxel_mm) for v in view)
    plane, storage = [("sagittal", "PSR"), ("sagittal", "ASR"), ("axial", "LAS")][rng.choice(3, p=[0.5, 0.2, 0.3])]
    slice_mm = float(rng.choice([1.0, 1.2, voxel_mm]))
    drawn = _draw_quality(row, rng, contrast)
    drawn["snr"] *= 0.8
    return Protocol(
        contrast,
        sequence,
        "3D",
        plane,
        float(row["field_strength_t"]),
        view,
        matrix,
        matrix,
        slice_mm,
        0.0,
        "none",
        storage=storage,
        **drawn,
    )


def _draw_quality(row: Mapping[str, Any], rng: np.random.Generator, contrast: str) -> dict[str, Any]:
    """Draw noise, fields and artefacts; sizes chosen to look like clinical examinations."""
    high_field = float(row["field_strength_t"]) >= 2.25
    counts = {"GE": 900.0, "PHILIPS": 500.0, "TOSHIBA": 1500.0}.get(str(row["manufacturer"]).upper().split()[0], 260.0)
    return {
        "snr": float(rng.uniform(24, 44) if high_field else rng.uniform(16, 32)) * (1.2 if contrast == "T1w" else 1.0),
        "bias": float(rng.uniform(0.06, 0.16) if high_field else rng.uniform(0.03, 0.1)),
        "centre": float(rng.uniform(0.04, 0.16) if high_field else rng.uniform(0.0, 0.06)),
        "ghost": float(rng.uniform(0.0, 0.012)),
        "motion": float(rng.choice([0.0, rng.uniform(0.02, 0.10)], p=[0.7, 0.3])),
        "gibbs": float(rng.uniform(0.2, 0.9)),
        "codes": tuple(int(c) for c in [(1, 1), (2, 1), (1, 0), (1, 2)][rng.choice(4, p=[0.7, 0.15, 0.1, 0.05])]),
        "white_matter_counts": counts * float(rng.lognormal(0.0, 0.35)),
    }


def _even(value: float) -> int:
    return max(8, 2 * round(value / 2))
