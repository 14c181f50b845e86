"""Which series of an examination is the FLAIR, and which the T1w: logic on what the headers say, no file is touched.

What is shown of a series are its number and neutral properties. Names that people typed into the scanner are
looked at, and never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flairnb.errors import GeometryError, InputError
from flairnb.prepare.dicom_names import names_contrast_agent

MIN_SLICES = 4
#: Across the slices. A brain is about 130 mm high; two clinical brain masks were as good with 84 mm of T1w as with all of it, with 66 mm
#: one was worse, and with 36 mm it was ruined.
MIN_COVERED_MM = 100.0
#: ms. Fluid-attenuated: from 0.5 T (TI 1500) to 7 T and 3D sequences (TI 1600 to 2900); heavy T2 weighting.
FLAIR_TI_MS, FLAIR_MIN_TE_MS, FLAIR_MIN_TR_MS = (1400.0, 3800.0), 60.0, 3000.0
T1W_TI_MS, T1W_MAX_TE_MS, T1W_MAX_TR_SPIN_ECHO_MS = (400.0, 1400.0), 30.0, 1000.0

_NOT_STRUCTURAL = {
    "ADC": "diffusion map", "FA": "diffusion map", "EADC": "diffusion map", "TRACEW": "diffusion", "DIFFUSION": "diffusion",
    "TENSOR": "diffusion", "TENSOR_B0": "diffusion", "MIP": "projection", "MINIP": "projection", "MIN IP": "projection",
    "PROJECTION IMAGE": "projection", "VRT": "projection", "SUBTRACTION": "subtraction", "SUB": "subtraction", "PHASE": "phase image",
    "P": "phase image", "PHASE MAP": "phase image", "IMAGINARY": "imaginary part", "CBF": "perfusion map", "CBV": "perfusion map",
    "MTT": "perfusion map", "TTP": "perfusion map", "T1 MAP": "relaxation map", "T2 MAP": "relaxation map", "SCREEN SAVE": "picture",
    "LOCALIZER": "localizer", "PERFUSION": "perfusion", "ASL": "perfusion",
}  # fmt: skip
_REFORMATTED = {"DERIVED", "MPR", "REFORMATTED", "RESAMPLED", "SECONDARY"}
_OTHER_NAMES = {
    r"\b(dwi|adc|dti|diff\w*|trace\w*|ep2d|ep b\d+\w*)\b": "diffusion",
    r"\b(loc|local\w*|scout|survey|3 ?plane|haste loc)\b": "localizer",
    r"\b(tof|mra|angio\w*|pc ?mr\w*)\b": "angiography",
    r"\b(swi|swan|susc\w*|t2 ?star|hemo)\b": "susceptibility-weighted",
    r"\b(perf\w*|dsc|dce|asl|pcasl|bold|fmri|rsfmri)\b": "perfusion or function",
    r"\b(dir|double inversion)\b": "double inversion recovery",
    r"\b(mip|minip)\b": "projection",
    r"\bsubtr\w*": "subtraction",
}
_FLAIR_NAME = re.compile(r"flair|dark ?fl|\btirm\b|fluid attenuated")
_T1_FLAIR_NAME = re.compile(r"t1 ?w? ?(\w+ )?flair|flair ?t1")
_T1W_NAME = re.compile(r"\bt1|t1w|mp ?rage|\bbravo\b|f?spgr\b|\bt1?tfe\b|\btfl")


@dataclass(frozen=True)
class Series:
    """What the headers of one series say.

    Attributes
    ----------
    label : str
        The series number, with a letter where several series have the same.
    uid, names, own_names : str
        Series Instance UID; all typed names in small letters, without a
        ProtocolName that names the whole examination; those of the series
        alone, without any ProtocolName. For the choice only, never shown.
    files : tuple of Path
        In the order of their slices.
    study, patient : int
        Counted from 1 in the order of appearance; no identifiers.
    modality : str
    kinds : frozenset of str
        Values of ImageType and FrameType.
    tr_ms, te_ms, ti_ms : float or None
        None where the header does not say.
    inversion, spin_echo, is_3d, contrast, diffusion : bool
        `inversion`: the header says inversion recovery, or gives an inversion
        time and does not contradict it. `spin_echo`: no gradient echo.
        `contrast`: a contrast agent is named.
    slices : int
    orientation : str
        ``"axial"``, ``"sagittal"``, ``"coronal"``, ``"oblique"`` or ``"unknown"``.
    spacing_mm : (3,) tuple of float
        Between columns, rows and slices; zeros if unknown.
    fault : str
        Why its slices make no volume; empty when they do.
    compressed : str
        Name of its compressed transfer syntax; empty for plain pixels.
    """

    label: str
    uid: str = field(repr=False)
    names: str = field(default="", repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)
    study: int = 1
    patient: int = 1
    modality: str = "MR"
    kinds: frozenset[str] = frozenset()
    tr_ms: float | None = None
    te_ms: float | None = None
    ti_ms: float | None = None
    inversion: bool = False
    spin_echo: bool = True
    is_3d: bool = False
    contrast: bool = False
    diffusion: bool = False
    slices: int = 0
    orientation: str = "unknown"
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fault: str = ""
    compressed: str = ""
    own_names: str = field(default="", repr=False)

    @property
    def is_derived(self) -> bool:
        """Whether it was computed from another series."""
        return bool(self.kinds & _REFORMATTED)

    @property
    def is_enhanced(self) -> bool:
        """Whether a contrast agent is named in a field or in a typed name."""
        return self.contrast or names_contrast_agent(self.names)

    @property
    def thickness_mm(self) -> float:
        """Distance between slices, mm."""
        return self.spacing_mm[2]

    @property
    def covered_mm(self) -> float:
        """What it covers across its slices, mm; 0 where the spacing is not known."""
        return self.slices * self.thickness_mm

    @property
    def is_slab(self) -> bool:
        """Whether it covers a part of the head only, as slices of the inner ear, the orbits or the pituitary do."""
        return self.covered_mm < MIN_COVERED_MM

    def properties(self) -> dict[str, Any]:
        """Return what may be shown to anyone: no name, date, UID or typed text."""
        return {
            "series": self.label,
            "orientation": self.orientation,
            "acquisition": "3D" if self.is_3d else "2D",
            "slices": self.slices,
            "spacing_mm": [round(edge, 3) for edge in self.spacing_mm],
            "tr_ms": self.tr_ms,
            "te_ms": self.te_ms,
            "ti_ms": self.ti_ms,
            "contrast_agent": self.is_enhanced,
            "derived": self.is_derived,
        }

    def __str__(self) -> str:
        return f"series {self.label} ({self.orientation} {'3D' if self.is_3d else '2D'}, {self.slices} slices)"


@dataclass(frozen=True)
class Choice:
    """The series that are used, why, and why not the others.

    Attributes
    ----------
    flair, t1w : Series
        `t1w` is None where there is none to use.
    flair_why, t1w_why : str
        Why they are used, or why there is no T1w.
    rejected : tuple of (Series, str)
        All other series, each with the reason.
    spare : tuple of (Series, str)
        Those of them that could be the T1w instead, the best first, each with
        what would be its `t1w_why`.
    """

    flair: Series
    flair_why: str
    t1w: Series | None
    t1w_why: str
    rejected: tuple[tuple[Series, str], ...]
    spare: tuple[tuple[Series, str], ...] = ()

    def lines(self) -> list[str]:
        """Return the choice as lines for a terminal."""
        return [f"FLAIR: {self.flair}: {self.flair_why}", self.t1w_line(), *(f"not used: {series}: {why}" for series, why in self.rejected)]

    def t1w_line(self) -> str:
        """Return the line on the T1w."""
        return f"T1w: {self.t1w}: {self.t1w_why}" if self.t1w else f"T1w: none of the series; {self.t1w_why}"

    def without_t1w(self, why: str) -> Choice:
        """Return the choice with the next best T1w, or none where there is no other; `why` says what is wrong with the present one."""
        if self.t1w is None:
            return self
        (better, better_why), *others = self.spare or ((None, why),)
        reasons = {s.label: _why_not_t1w(s, better) for s, _ in others}
        rejected = [(s, reasons.get(s.label, words)) for s, words in self.rejected if s is not better]
        return replace(self, t1w=better, t1w_why=better_why, rejected=(*rejected, (self.t1w, f"T1w, but {why}")), spare=tuple(others))

    def with_t1w_of_a_file(self) -> Choice:
        """Return the choice without any T1w of the folder, because one was given as a file."""
        choice = self
        while choice.t1w is not None:
            choice = choice.without_t1w("another file was given")
        return replace(choice, t1w_why="a file was given")


def judge(series: Series) -> tuple[str, str]:
    """Tell what a series shows.

    Returns
    -------
    kind : str
        ``"FLAIR"``, ``"T1w"`` or ``""``.
    why : str
        What in the header says so, in neutral words.
    """
    other = _something_else(series)
    if other:
        return "", other
    why = _flair_reason(series)
    if why:
        return "FLAIR", why
    why = _t1w_reason(series)
    if why:
        return "T1w", why
    if _FLAIR_NAME.search(series.names):
        return "", f"named as a FLAIR, but {_timing(series)}"
    return "", f"neither FLAIR nor T1w: {_timing(series)}"


def pick(series: Sequence[Series], wanted: str = "") -> Choice:
    """Choose the FLAIR, and the T1w where there is one.

    Original before derived, without before with contrast agent, a whole head
    before a slab of it, axial before other orientations, known by its timing
    before known by its name, intensity-corrected, thinner slices: the first of
    these in which two FLAIRs differ decides. Of T1w, only those without
    contrast agent; originals, whole heads, 3D and thin slices first.

    Parameters
    ----------
    series : sequence of Series
        At least one.
    wanted : str
        Number (label) or UID of the series to take as FLAIR, whatever it seems.

    Raises
    ------
    InputError
        No FLAIR, several that are equally good, several patients or studies,
        or an unknown `wanted`.
    GeometryError
        The slices of the only FLAIRs make no volume.
    """
    verdicts = {s.label: judge(s) for s in series}
    if wanted:
        flair = _wanted(series, wanted)
        why = f"chosen by --series{_but_slab(flair)}"
        also = [s for s in series if s.study == flair.study and s.patient == flair.patient]
    else:
        also = list(series)
        _refuse_mixture(also, verdicts)
        flair = _best_flair(also, verdicts)
        why = verdicts[flair.label][1] + _but_slab(flair)
    (t1w, t1w_why), *spare = _ranked_t1w([s for s in also if s is not flair], verdicts)
    rejected = tuple((s, _why_not(s, flair, t1w, verdicts[s.label], also)) for s in series if s is not flair and s is not t1w)
    return Choice(flair, why, t1w, t1w_why, rejected, tuple(spare))


def _something_else(series: Series) -> str:
    """Say what a series is if it cannot be a structural image of a head."""
    if series.modality != "MR":
        return f"not MR ({series.modality})" if re.fullmatch(r"[A-Z]{2,8}", series.modality) else "not MR"
    for kind, what in _NOT_STRUCTURAL.items():
        if kind in series.kinds:
            return what
    if series.diffusion:
        return "diffusion"
    # On some scanners the ProtocolName is that of the examination: a series that says it is a FLAIR, and is timed as one, is believed.
    names = series.own_names if _is_plainly_flair(series) else series.names
    for pattern, what in _OTHER_NAMES.items():
        if re.search(pattern, names):
            return what
    if series.orientation == "unknown" and series.fault:
        return series.fault
    return f"fewer than {MIN_SLICES} slices" if series.slices < MIN_SLICES else ""


def _is_plainly_flair(s: Series) -> bool:
    return _is_named_flair(s.own_names) and _is_timed_as_flair(s) and bool(s.ti_ms) and s.te_ms is not None


def _is_named_flair(names: str) -> bool:
    return bool(_FLAIR_NAME.search(names)) and not _T1_FLAIR_NAME.search(names)


def _is_timed_as_flair(s: Series) -> bool:
    """Tell whether no time that the header gives speaks against a FLAIR."""
    fits = {
        "ti": s.ti_ms is None or s.ti_ms == 0 or FLAIR_TI_MS[0] <= s.ti_ms <= FLAIR_TI_MS[1],
        "te": s.te_ms is None or s.te_ms >= FLAIR_MIN_TE_MS,
        "tr": s.tr_ms is None or s.tr_ms == 0 or s.tr_ms >= FLAIR_MIN_TR_MS,
    }
    return all(fits.values())


def _flair_reason(s: Series) -> str:
    named = _is_named_flair(s.names)
    if not _is_timed_as_flair(s):
        return ""
    if s.ti_ms and s.te_ms is not None and (s.inversion or named):
        return f"inversion recovery with {_timing(s)}" + (", and named so" if named else "")
    return f"named so{', inversion recovery' if s.inversion else ''}; {_timing(s)}" if named else ""


def _t1w_reason(s: Series) -> str:
    named = bool(_T1W_NAME.search(s.names))
    if s.te_ms is not None and s.te_ms > T1W_MAX_TE_MS:
        return ""
    inverted = s.ti_ms is not None and T1W_TI_MS[0] <= s.ti_ms <= T1W_TI_MS[1]
    short = s.spin_echo and s.tr_ms is not None and 0 < s.tr_ms <= T1W_MAX_TR_SPIN_ECHO_MS
    if s.te_ms is not None and (inverted or (short and not s.ti_ms)):
        return _timing(s) + (", and named so" if named else "")
    return f"named so; {_timing(s)}" if named else ""


def _timing(s: Series) -> str:
    known = [f"{name} {value:.0f} ms" for name, value in (("TI", s.ti_ms), ("TE", s.te_ms), ("TR", s.tr_ms)) if value]
    return ", ".join(known) or "the header holds no timing"


def _merits(s: Series, why: str) -> tuple[tuple[Any, str], ...]:
    """Return what makes a FLAIR worse, the weightiest first, each with its words."""
    return (
        (s.is_derived, "derived from another series"),
        (s.is_enhanced, "after contrast agent"),
        (s.is_slab, _slab_words(s)),
        (s.orientation != "axial", f"{s.orientation}, not axial"),
        (why.startswith("named"), "known by its name only"),
        ("NORM" not in s.kinds, "not intensity-corrected"),
        (round(s.thickness_mm, 1), f"thicker slices ({s.thickness_mm:.1f} mm)"),
    )


def _t1w_merits(s: Series) -> tuple[tuple[Any, str], ...]:
    """Return what makes a T1w worse, like `_merits`."""
    return (
        (s.is_derived, "derived from another series"),
        (s.is_slab, _slab_words(s)),
        (not s.is_3d, "2D, not 3D"),
        (round(s.thickness_mm, 1), f"thicker slices ({s.thickness_mm:.1f} mm)"),
    )


def _slab_words(s: Series) -> str:
    return f"covers {s.covered_mm:.0f} mm across its slices only"


def _but_slab(s: Series) -> str:
    return f"; {_slab_words(s)}" if s.is_slab else ""


def _first_worse(merits: Sequence[tuple[Any, str]], best: Sequence[tuple[Any, str]]) -> str:
    """Say in what a series is worse than the best one; empty where in nothing."""
    return next((words for (value, words), (other, _) in zip(merits, best, strict=True) if value > other), "")


def _rank(s: Series, why: str) -> tuple[Any, ...]:
    return tuple(value for value, _ in _merits(s, why))


def _best_flair(series: Sequence[Series], verdicts: dict[str, tuple[str, str]]) -> Series:
    flairs = [s for s in series if verdicts[s.label][0] == "FLAIR"]
    whole = [s for s in flairs if not s.fault]
    if not flairs:
        found = "; ".join(f"{s}: {verdicts[s.label][1] or verdicts[s.label][0]}" for s in series)
        raise InputError(f"DICOM: expected a FLAIR series, found none among {len(series)}: {found}. Choose one with --series NUMBER.")
    if not whole:
        found = "; ".join(f"{s}: {s.fault}" for s in flairs)
        raise GeometryError(f"DICOM: expected a FLAIR whose slices make a volume, found {found}. Export the series again.")
    ranked = sorted(whole, key=lambda s: _rank(s, verdicts[s.label][1]))
    best = [s for s in ranked if _rank(s, verdicts[s.label][1]) == _rank(ranked[0], verdicts[ranked[0].label][1])]
    if len(best) > 1:
        found = ", ".join(map(str, best))
        raise InputError(f"DICOM: expected one best FLAIR, found {len(best)} equally good: {found}. Choose with --series NUMBER.")
    return best[0]


def _ranked_t1w(series: Sequence[Series], verdicts: dict[str, tuple[str, str]]) -> list[tuple[Series | None, str]]:
    """Return the T1w that can be used, the best first, each with its reason; none of them, and why, where there is none."""
    plain = [s for s in series if verdicts[s.label][0] == "T1w" and not s.is_enhanced and not s.fault]
    if not plain:
        return [(None, "no T1w without contrast agent was found")]
    plain.sort(key=lambda s: tuple(value for value, _ in _t1w_merits(s)))
    return [(s, verdicts[s.label][1] + _but_slab(s)) for s in plain]


def _wanted(series: Sequence[Series], wanted: str) -> Series:
    found = [s for s in series if wanted in (s.label, s.uid)]
    if not found:
        there = ", ".join(s.label for s in series)
        raise InputError(f"--series: expected the number or UID of a series, found none like it. There are: {there}.")
    if found[0].modality != "MR":
        raise InputError(f"--series: expected an MR series, found {found[0]}: {judge(found[0])[1]}. Choose another.")
    if found[0].fault:
        raise GeometryError(f"--series: expected slices that make a volume, found {found[0]}: {found[0].fault}. Export it again.")
    return found[0]


def _refuse_mixture(series: Sequence[Series], verdicts: dict[str, tuple[str, str]]) -> None:
    mr = [s for s in series if s.modality == "MR"]
    patients, studies = {s.patient for s in mr}, {s.study for s in mr}
    if len(patients) < 2 and len(studies) < 2:
        return
    what = f"{len(patients)} patients" if len(patients) > 1 else f"{len(studies)} studies of one patient"
    flairs = ", ".join(f"{s.label} (study {s.study})" for s in mr if verdicts[s.label][0] == "FLAIR")
    raise InputError(
        f"DICOM: expected one study of one patient, found {what}. Give the folder of one study, or choose with --series NUMBER; "
        f"FLAIR series: {flairs or 'none'}."
    )


def _why_not(s: Series, flair: Series, t1w: Series | None, verdict: tuple[str, str], also: Sequence[Series]) -> str:
    kind, why = verdict
    if s not in also:
        return "of another study or patient"
    if s.fault and kind:
        return f"{kind}, but {s.fault}"
    if kind == "FLAIR":
        return f"FLAIR, but {_first_worse(_merits(s, why), _merits(flair, judge(flair)[1])) or 'another one was chosen'}"
    if kind == "T1w":
        return "T1w after contrast agent" if s.is_enhanced or t1w is None else _why_not_t1w(s, t1w)
    return why


def _why_not_t1w(s: Series, better: Series) -> str:
    worse = _first_worse(_t1w_merits(s), _t1w_merits(better))
    return f"T1w, but series {better.label} suits better" + (f" ({worse})" if worse else "")
