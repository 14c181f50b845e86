"""MR signal of every tissue: FLAIR and T1w from T1, T2 and proton density.

The phantom's grey values are not painted: they follow from the signal
equations of the sequences and from published relaxation times at 1.5 T and
3 T. Values without a published source that we could check say "chosen".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.errors import InputError

#: Tissue names by code, the order of `tissue.Tissue`.
TISSUES = (
    "background",
    "csf",
    "ventricle",
    "gm",
    "deep_gm",
    "wm",
    "brainstem",
    "cerebellum_wm",
    "cerebellum_gm",
    "choroid",
    "vessel",
    "skull",
    "marrow",
    "fat",
    "skin_muscle",
    "eye",
    "air",
    "dura",
    "limbic_gm",
    "pallidum",
    "septum",
    "thalamus",
)
_CARRIERS = ("gm", "deep_gm", "wm", "brainstem", "cerebellum_wm", "cerebellum_gm", "choroid", "limbic_gm", "pallidum", "septum", "thalamus")
#: Codes of tissue that can carry a lesion (parenchyma and choroid plexus).
PARENCHYMA = tuple(TISSUES.index(n) for n in _CARRIERS)
_FATTY = tuple(TISSUES.index(n) for n in ("marrow", "fat"))
_FLOWING = TISSUES.index("vessel")

# Short names of the sources below; Bottomley 1984 is Med Phys 11:425, Rooney 2007 is Magn Reson Med 57:308.
_WANSAPURA = "T1, T2: Wansapura 1999, J Magn Reson Imaging 9:531"
_STANISZ = "T1, T2: Stanisz 2005, Magn Reson Med 54:507"
_ROONEY = "T1: Rooney 2007 (about 4.3 s at all fields); T2: chosen, about 2 s"
_GOLD = "T1, T2: Gold 2004, AJR 183:343"
_WATER = "PD: water content about 0.70 in white and 0.82 in grey matter"


@dataclass(frozen=True)
class Relaxation:
    """Relaxation times of one tissue at one field strength.

    Attributes
    ----------
    pd : float
        Proton density, CSF = 1.
    t1_ms, t2_ms : float
    source : str
        Where the numbers are from; "chosen" where no source was checked.
    """

    pd: float
    t1_ms: float
    t2_ms: float
    source: str


_R = Relaxation
_NONE = _R(0.0, 1000.0, 1.0, "no signal")
_BONE = _R(0.06, 300.0, 1.0, "chosen: cortical bone, T2 far below any echo time")
_FLUID_EYE = "chosen: vitreous, close to water"
_DURA = "chosen: fibrous tissue, short T2"
_LIMBIC = "chosen: insular, cingulate and hippocampal cortex is brighter than other cortex on FLAIR"
_BETWEEN = "chosen: between white and grey matter of this table"

#: (1.5 T, 3 T) by tissue name; "lesion" and "core" are not anatomy.
RELAXATION: dict[str, tuple[Relaxation, Relaxation]] = {
    "background": (_NONE, _NONE),
    "air": (_NONE, _NONE),
    "csf": (_R(1.0, 4300, 2000, _ROONEY), _R(1.0, 4300, 2000, _ROONEY)),
    "ventricle": (_R(1.0, 4300, 2000, _ROONEY), _R(1.0, 4300, 2000, _ROONEY)),
    "gm": (
        _R(0.82, 960, 101, f"T1: chosen between Bottomley's 921 and Rooney 2007's 1188; T2: Bottomley 1984; {_WATER}"),
        _R(0.82, 1331, 105, f"{_WANSAPURA}, T2 110, moved towards Stanisz 2005's 99; {_WATER}"),
    ),
    "deep_gm": (_R(0.81, 880, 96, _BETWEEN), _R(0.81, 1200, 89, f"{_BETWEEN}, shorter T2 for iron")),
    "wm": (_R(0.70, 656, 92, f"T1: Rooney 2007; T2: Bottomley 1984; {_WATER}"), _R(0.70, 832, 80, f"{_WANSAPURA}; {_WATER}")),
    "brainstem": (_R(0.72, 700, 92, _BETWEEN), _R(0.72, 870, 81, _BETWEEN)),
    "cerebellum_wm": (_R(0.71, 670, 91, "chosen: as white matter"), _R(0.71, 840, 80, "chosen: as white matter")),
    "cerebellum_gm": (_R(0.82, 930, 98, "chosen: near grey matter"), _R(0.82, 1250, 100, "chosen: near grey matter")),
    "choroid": (
        _R(0.84, 1020, 110, "chosen: vascular, a little above grey matter"),
        _R(0.84, 1350, 108, "chosen: vascular, a little above grey matter"),
    ),
    "vessel": (_R(0.85, 1441, 290, f"{_STANISZ} (blood)"), _R(0.85, 1932, 275, f"{_STANISZ} (blood)")),
    "skull": (_BONE, _BONE),
    "marrow": (_R(0.50, 288, 165, f"{_GOLD} (marrow fat); PD chosen"), _R(0.50, 365, 133, f"{_GOLD} (marrow fat); PD chosen")),
    "fat": (_R(0.80, 288, 165, f"{_GOLD} (fat); PD chosen"), _R(0.80, 371, 133, f"{_GOLD} (fat); PD chosen")),
    "skin_muscle": (_R(0.80, 1008, 44, f"{_STANISZ} (muscle); PD chosen"), _R(0.80, 1412, 50, f"{_STANISZ} (muscle); PD chosen")),
    "eye": (_R(1.0, 4000, 1200, _FLUID_EYE), _R(1.0, 4000, 1200, _FLUID_EYE)),
    "limbic_gm": (
        _R(0.82, 980, 107, _LIMBIC),
        _R(0.82, 1350, 112, _LIMBIC),
    ),
    "pallidum": (_R(0.77, 740, 83, "chosen: iron shortens T2"), _R(0.77, 940, 72, "chosen: iron shortens T2")),
    "septum": (_R(0.72, 720, 98, _BETWEEN), _R(0.72, 900, 86, _BETWEEN)),
    "thalamus": (_R(0.78, 800, 94, _BETWEEN), _R(0.78, 1080, 85, _BETWEEN)),
    "dura": (_R(0.55, 900, 50, _DURA), _R(0.55, 1100, 45, _DURA)),
    # A lesion of full strength: water gained, T1 and T2 about doubled, as plaques and vasogenic oedema have.
    "lesion": (_R(0.86, 1450, 200, "chosen: strong plaque or oedema"), _R(0.86, 1750, 180, "chosen: strong plaque or oedema")),
    # Necrosis or cyst: fluid with protein, so that FLAIR darkens it nearly as CSF.
    "core": (_R(0.97, 3500, 700, "chosen: fluid with protein"), _R(0.97, 3600, 650, "chosen: fluid with protein")),
}


def relaxation(name: str, field_strength_t: float) -> Relaxation:
    """Return a tissue's values at the table's field (1.5 or 3 T) that is nearer.

    Examples
    --------
    >>> relaxation("wm", 3.0).t1_ms
    832
    """
    if name not in RELAXATION:
        raise InputError(f"tissue: expected one of {', '.join(RELAXATION)}, found {name!r}.")
    if not 0.5 <= field_strength_t <= 4.0:
        raise InputError(f"field strength: expected 0.5 to 4 T, found {field_strength_t:g} T. The tables hold 1.5 and 3 T.")
    return RELAXATION[name][int(field_strength_t >= 2.25)]


def csf_null_ti_ms(t1_ms: float, tr_ms: float) -> float:
    """Return the inversion time at which a tissue gives no FLAIR signal.

    Zero of ``1 - 2 exp(-TI/T1) + exp(-TR/T1)``; for long TR it is T1 ln 2.

    Examples
    --------
    >>> round(csf_null_ti_ms(4300, 9000))
    2481
    """
    return float(t1_ms * (np.log(2.0) - np.log1p(np.exp(-tr_ms / t1_ms))))


def effective_te_ms(te_ms: float, dimension: str) -> float:
    """Return the echo time that gives the T2 contrast of a protocol.

    3D fast spin echo with variable flip angles stores part of the
    magnetisation along z, so that a nominal TE of 350 to 400 ms gives the
    contrast of some 140 to 180 ms in 2D (idea: Mugler 2014, J Magn Reson
    Imaging 39:745; the factor 0.42 is chosen). Scanners that print a
    contrast-equivalent TE already (under 200 ms) are taken at their word.
    """
    return 0.42 * te_ms if dimension.upper() == "3D" and te_ms > 200 else float(te_ms)


def flair_signal(pd: ArrayLike, t1_ms: ArrayLike, t2_ms: ArrayLike, te_ms: float, tr_ms: float, ti_ms: float) -> NDArray:
    """Return the FLAIR signal: inversion-recovery spin echo, magnitude.

    ``M0 |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)``, arrays broadcast.
    """
    t1_ms, t2_ms = np.asarray(t1_ms, dtype=float), np.asarray(t2_ms, dtype=float)
    recovered = 1.0 - 2.0 * np.exp(-ti_ms / t1_ms) + np.exp(-tr_ms / t1_ms)
    return np.asarray(pd) * np.abs(recovered) * np.exp(-te_ms / t2_ms)


def spin_echo_signal(pd: ArrayLike, t1_ms: ArrayLike, t2_ms: ArrayLike, te_ms: float, tr_ms: float) -> NDArray:
    """Return the spin-echo signal ``M0 (1 - exp(-TR/T1)) exp(-TE/T2)``."""
    t1_ms, t2_ms = np.asarray(t1_ms, dtype=float), np.asarray(t2_ms, dtype=float)
    return np.asarray(pd) * (1.0 - np.exp(-tr_ms / t1_ms)) * np.exp(-te_ms / t2_ms)


def spoiled_gradient_echo_signal(pd: ArrayLike, t1_ms: ArrayLike, tr_ms: float, flip_deg: float) -> NDArray:
    """Return the steady-state (Ernst) signal of a spoiled gradient echo; T2* at short TE is neglected."""
    decay = np.exp(-tr_ms / np.asarray(t1_ms, dtype=float))
    flip = np.deg2rad(flip_deg)
    return np.asarray(pd) * np.sin(flip) * (1.0 - decay) / (1.0 - np.cos(flip) * decay)


def mprage_signal(
    pd: ArrayLike, t1_ms: ArrayLike, tr_ms: float, ti_ms: float, flip_deg: float = 9.0, readout: tuple[int, float] = (160, 7.0)
) -> NDArray:
    """Return the steady-state MPRAGE signal at the centre of the read-out.

    Inversion, recovery, small-angle pulses (`readout`: how many, ms apart) and
    recovery until TR form a linear map of the longitudinal magnetisation; its
    fixed point is the steady state. `ti_ms` is inversion to the centre echo.
    """
    t1_ms = np.asarray(t1_ms, dtype=float)
    echoes, spacing_ms = readout
    flip, half = np.deg2rad(flip_deg), echoes // 2
    per_pulse = np.exp(-spacing_ms / t1_ms)
    before = np.exp(-max(ti_ms - half * spacing_ms, 0.0) / t1_ms)
    after = np.exp(-max(tr_ms - ti_ms - (echoes - half) * spacing_ms, 0.0) / t1_ms)
    gain = np.cos(flip) * per_pulse
    plateau = (1.0 - per_pulse) / (1.0 - gain)

    # Magnetisation as slope * start + offset after each part of the cycle.
    slope_centre = -before * gain**half
    offset_centre = (1.0 - before - plateau) * gain**half + plateau
    rest = gain ** (echoes - half)
    slope = slope_centre * rest * after
    offset = ((offset_centre - plateau) * rest + plateau - 1.0) * after + 1.0
    start = offset / (1.0 - slope)
    return np.asarray(pd) * np.sin(flip) * np.abs(slope_centre * start + offset_centre)


@dataclass(frozen=True)
class Sequence:
    """What is played out: kind and its times.

    Attributes
    ----------
    kind : str
        ``flair``, ``spin_echo``, ``spgr`` or ``mprage``.
    te_ms, tr_ms, ti_ms : float
        `te_ms` is the effective one; `ti_ms` counts for flair and mprage only.
    flip_deg : float
        Read-out flip angle of the gradient echoes.
    fat_fraction_left : float
        1 without fat suppression, about 0.2 with.
    """

    kind: str
    te_ms: float
    tr_ms: float
    ti_ms: float = 0.0
    flip_deg: float = 90.0
    fat_fraction_left: float = 1.0

    def signal(self, pd: ArrayLike, t1_ms: ArrayLike, t2_ms: ArrayLike) -> NDArray:
        """Return the magnitude signal for given tissue values."""
        if self.kind == "flair":
            return flair_signal(pd, t1_ms, t2_ms, self.te_ms, self.tr_ms, self.ti_ms)
        if self.kind == "spin_echo":
            return spin_echo_signal(pd, t1_ms, t2_ms, self.te_ms, self.tr_ms)
        if self.kind == "spgr":
            return spoiled_gradient_echo_signal(pd, t1_ms, self.tr_ms, self.flip_deg)
        if self.kind == "mprage":
            return mprage_signal(pd, t1_ms, self.tr_ms, self.ti_ms, self.flip_deg)
        raise InputError(f"sequence: expected flair, spin_echo, spgr or mprage, found {self.kind!r}.")


@dataclass(frozen=True)
class TissueTable:
    """Relaxation times of one subject: arrays by tissue code, then lesion and core.

    Attributes
    ----------
    pd, t1_ms, t2_ms : (T,) float arrays
        Indexed by tissue code.
    lesion, core : Relaxation
        A lesion of full strength; necrosis or cyst.
    """

    pd: NDArray[np.float64]
    t1_ms: NDArray[np.float64]
    t2_ms: NDArray[np.float64]
    lesion: Relaxation
    core: Relaxation


def draw_tissue_table(field_strength_t: float, rng: np.random.Generator | None = None, spread_fraction: float = 0.03) -> TissueTable:
    """Return a subject's relaxation times: the table's, each varied a little.

    Parameters
    ----------
    field_strength_t : float
        Field strength in T.
    rng : Generator, optional
        Varies T1 and T2 of each tissue by a normal factor; none: the table itself.
    spread_fraction : float
        Standard deviation of the factor (chosen: between-subject spread of a few per cent).
    """
    rows = [relaxation(name, field_strength_t) for name in TISSUES]
    t1_ms = np.array([r.t1_ms for r in rows], dtype=float)
    t2_ms = np.array([r.t2_ms for r in rows], dtype=float)
    if rng is not None:
        # White and grey matter move together for the most part: age and calibration, not noise.
        t1_ms *= (1 + spread_fraction * rng.standard_normal()) * (1 + 0.4 * spread_fraction * rng.standard_normal(len(rows)))
        t2_ms *= (1 + spread_fraction * rng.standard_normal()) * (1 + 0.4 * spread_fraction * rng.standard_normal(len(rows)))
        fluid = [TISSUES.index("csf"), TISSUES.index("ventricle")]
        # The scanner's inversion time was not made for this patient's CSF: it is dark, seldom black.
        t1_ms[fluid] = relaxation("csf", field_strength_t).t1_ms * (1 + 1.2 * spread_fraction * rng.standard_normal())
    pd = np.array([r.pd for r in rows], dtype=float)
    return TissueTable(pd, t1_ms, t2_ms, relaxation("lesion", field_strength_t), relaxation("core", field_strength_t))


def tissue_signal(table: TissueTable, sequence: Sequence) -> NDArray[np.float64]:
    """Return the signal by tissue code, shape (T,), white matter about 0.05 to 0.5.

    Flowing blood leaves the slice between pulses and gives none in the spin
    echoes; fat is what fat suppression leaves of it.
    """
    signal = sequence.signal(table.pd, table.t1_ms, table.t2_ms)
    signal[table.pd == 0] = 0.0
    if sequence.kind in ("flair", "spin_echo"):
        signal[_FLOWING] *= 0.05
    signal[list(_FATTY)] *= sequence.fat_fraction_left
    return signal


def head_signal(
    tissue: NDArray[np.uint8],
    table: TissueTable,
    sequence: Sequence,
    strength: NDArray | None = None,
    dark: NDArray | None = None,
) -> NDArray[np.float32]:
    """Return the noise-free signal of a head, with its lesions.

    Parameters
    ----------
    tissue : (I, J, K) uint8 array
        Tissue codes.
    table, sequence
        The subject's values and what is played out.
    strength : (I, J, K) float array, optional
        0 normal to 1 full lesion: how far T1, T2 and water move from the
        tissue's own to the lesion's. Ignored outside `PARENCHYMA`.
    dark : (I, J, K) float array, optional
        Fraction of necrosis or cyst in a voxel, 0 to 1.

    Returns
    -------
    (I, J, K) float32 array
        Signal in units of the CSF's equilibrium magnetisation.
    """
    out = tissue_signal(table, sequence).astype(np.float32)[tissue]
    if strength is not None:
        carries = np.zeros(len(TISSUES), dtype=bool)
        carries[list(PARENCHYMA)] = True
        at = np.flatnonzero(strength.ravel() > 0.01)
        at = at[carries[tissue.ravel()[at]]]
        code, part = tissue.ravel()[at], np.clip(strength.ravel()[at].astype(float), 0.0, 2.0)
        values = [
            own[code] + part * (full - own[code])
            for own, full in ((table.pd, table.lesion.pd), (table.t1_ms, table.lesion.t1_ms), (table.t2_ms, table.lesion.t2_ms))
        ]
        out.ravel()[at] = sequence.signal(*values)
    if dark is not None:
        at = np.flatnonzero(dark.ravel() > 0.01)
        fluid = float(sequence.signal(table.core.pd, table.core.t1_ms, table.core.t2_ms))
        share = np.clip(dark.ravel()[at], 0.0, 1.0)
        out.ravel()[at] = (1.0 - share) * out.ravel()[at] + share * fluid
    return out
