"""Read the headers of a folder of DICOM files and put them together as series."""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import EnvironmentProblem, GeometryError, InputError
from flairnb.folders import files_below
from flairnb.prepare.dicom_geometry import Frame, Stack, orientation_word, stack_frames
from flairnb.prepare.dicom_names import typed
from flairnb.prepare.dicom_series import Series

if TYPE_CHECKING:
    from pydicom import Dataset

_MAGIC = (128, b"DICM")
_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality", "PatientID",
    "PatientName", "SeriesDescription", "ProtocolName", "SequenceName", "ImageType", "ScanningSequence", "SequenceVariant",
    "MRAcquisitionType", "RepetitionTime", "EchoTime", "InversionTime", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "DiffusionBValue", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "PulseSequenceName", "EchoPulseSequence", "InversionRecovery", "AcquisitionContrast", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
#: What stands for "no contrast agent": nothing, a short word alone, a dose of 0, or a text that begins with a no, whatever follows
#: ("No. 2" is a number).
_NO_AGENT = re.compile(
    r"^\W*((0([.,]0+)?\s*((ml|cc|mg|mmol)(/kg)?)?|n(\W*a)?)?\W*$"
    r"|(no(?!\W*\d)|not|none|nil|nein|without|w\W?o|ohne|sans|kein[a-z]*)(?![^\W_]))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes
    ----------
    series : tuple of Series
        By number.
    stacks : dict of str to Stack
        By label, for the series whose slices make a volume.
    others : int
        Files that are no DICOM, or cannot be read.
    """

    series: tuple[Series, ...]
    stacks: dict[str, Stack] = field(repr=False)
    others: int = 0


@contextmanager
def quiet_pydicom() -> Iterator[Any]:
    """Give pydicom, and keep its warnings back: they repeat what headers say of the patient.

    Values that break the standard are read, and repeated in what refers to
    them, as they are.

    Raises
    ------
    EnvironmentProblem
        It is not installed.
    """
    try:
        import pydicom
        from pydicom import config
    except ImportError as error:
        raise EnvironmentProblem("DICOM: expected the package pydicom, found none. Install it: pip install pydicom highdicom.") from error
    was = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in ("pydicom", "highdicom")}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield pydicom
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = was
        for logger, level in loggers.items():
            logger.setLevel(level)


def read_folder(folder: str | os.PathLike) -> Folder:
    """Read the headers of all DICOM files in a folder and the folders in it, links to folders included.

    Raises
    ------
    InputError
        There is no DICOM image.
    EnvironmentProblem
        pydicom is not installed.
    """
    with quiet_pydicom() as pydicom:
        found: dict[str, dict[str, tuple[Path, Dataset]]] = defaultdict(dict)
        others = 0
        for path in files_below(Path(folder)):
            header = _header(path, pydicom)
            if header is None:
                others += 1
            else:  # the same image exported twice counts once
                found[str(header.get("SeriesInstanceUID", ""))].setdefault(str(header.get("SOPInstanceUID", path)), (path, header))
        if not found:
            raise InputError(
                "FLAIR: expected a NIfTI file or a folder with DICOM files, found the folder to hold no DICOM image "
                f"({others} other files). Name the .nii.gz file, or the folder of the series."
            )
        return _together(found, others)


def _header(path: Path, pydicom: Any) -> Dataset | None:
    """Return what is needed of a file's header; None if it is no DICOM file or cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            stream.seek(_MAGIC[0])
            if stream.read(4) != _MAGIC[1]:
                return None
            stream.seek(0)
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))
        drop_damaged(header)
        # A DICOMDIR has no series.
        return header if header.get("SOPInstanceUID") and header.get("SeriesInstanceUID") else None
    except Exception:  # whatever a damaged file makes the parser raise: the file is no DICOM file for us, and is counted
        return None


def drop_damaged(header: Dataset) -> None:
    """Drop the values that cannot be parsed; they are parsed on access, and would fail where nobody expects it."""
    for tag in list(header.keys()):
        try:
            element = header[tag]
            if element.VR == "SQ":
                for item in element.value:
                    list(item.iterall())
        except Exception:  # any kind, as in `_header`
            del header[tag]


def _compressed(header: Dataset) -> str:
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        return ""
    if not syntax.is_transfer_syntax or syntax.name == str(syntax):
        return "an unknown transfer syntax"
    return str(syntax.name) if syntax.is_compressed else ""


def _together(found: dict[str, dict[str, tuple[Path, Dataset]]], others: int) -> Folder:
    groups = {uid: list(files.values()) for uid, files in found.items()}
    studies, patients = _Counted(), _Counted()
    facts, stacks = [], {}
    numbers = {uid: _number_of(group[0][1]) for uid, group in groups.items()}
    general = _general_protocols([group[0][1] for group in groups.values()])
    for uid, label in _labels(numbers).items():
        group = groups[uid]
        header = group[0][1]
        frames, stack, fault = _stack(group)
        where = {"study": studies(_text(header, "StudyInstanceUID")), "patient": patients(_patient(header))}
        facts.append(_series(label, uid, group, frames, stack, fault, _names(header, general) | where))
        if stack is not None:
            stacks[label] = stack
    return Folder(tuple(facts), stacks, others)


class _Counted(dict):
    """Number things in the order in which they appear, from 1."""

    def __call__(self, thing: Any) -> int:
        return self.setdefault(thing, len(self) + 1)


def _patient(header: Dataset) -> tuple[str, str]:
    """Return what tells patients apart; spaces, carets and capitals do not."""
    return _text(header, "PatientID").strip(), re.sub(r"[\W_]+", " ", _text(header, "PatientName")).strip().casefold()


def _number_of(header: Dataset) -> str:
    number = read_number(header, "SeriesNumber")
    return "u" if number is None else str(int(number))


def _labels(numbers: dict[str, str]) -> dict[str, str]:
    """Return UID to label, sorted by number; series of the same number get letters."""
    often, seen, labels = Counter(numbers.values()), Counter(), {}
    for uid, number in sorted(numbers.items(), key=lambda item: (item[1] == "u", len(item[1]), item[1], item[0])):
        seen[number] += 1
        labels[uid] = number if often[number] == 1 else f"{number}{_letters(seen[number])}"
    return labels


def _letters(n: int) -> str:
    return (_letters((n - 1) // 26) if n > 26 else "") + "abcdefghijklmnopqrstuvwxyz"[(n - 1) % 26]


def _stack(group: list[tuple[Path, Dataset]]) -> tuple[list[Frame], Stack | None, str]:
    """Return the slices of a series, the volume that they make, and why they make none."""
    multi = [header for _, header in group if "PerFrameFunctionalGroupsSequence" in header]
    if multi and len(group) > 1:
        return [], None, "several multi-frame objects in one series"
    try:
        frames = [frame for path, header in group for frame in _frames(path, header)]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return [], None, "no position in the patient"
    try:
        return frames, stack_frames(frames), ""
    except GeometryError as error:
        return frames, None, str(error)


def _frames(path: Path, header: Dataset) -> Iterator[Frame]:
    size = int(header.Rows), int(header.Columns)
    if "PerFrameFunctionalGroupsSequence" not in header:
        if int(read_number(header, "NumberOfFrames") or 1) > 1:
            raise ValueError("a multi-frame picture without positions")
        yield Frame(path, 0, _floats(header, "ImagePositionPatient", 3), _floats(header, "ImageOrientationPatient", 6),
                    _floats(header, "PixelSpacing", 2), *size)  # fmt: skip
        return
    for index in range(len(header.PerFrameFunctionalGroupsSequence)):
        yield Frame(
            path,
            index,
            _floats(_group(header, "PlanePositionSequence", index), "ImagePositionPatient", 3),
            _floats(_group(header, "PlaneOrientationSequence", index), "ImageOrientationPatient", 6),
            _floats(_group(header, "PixelMeasuresSequence", index), "PixelSpacing", 2),
            *size,
        )


def _group(header: Dataset, name: str, index: int = 0) -> Dataset:
    """Return a functional group of a frame of an enhanced object, from the frame itself or from what all share."""
    frame = header.PerFrameFunctionalGroupsSequence[index]
    return (frame if name in frame else header.SharedFunctionalGroupsSequence[0])[name][0]


def _floats(header: Dataset, name: str, count: int) -> tuple[float, ...]:
    values = tuple(float(v) for v in header[name].value)
    if len(values) != count or any(v != v or abs(v) > 1e6 for v in values):
        raise ValueError(name)
    return values


def _series(  # noqa: PLR0913 - one series, all that is known of it
    label: str, uid: str, group: list, frames: list[Frame], stack: Stack | None, fault: str, more: dict[str, Any]
) -> Series:
    header = group[0][1]
    contrast = _text(header, "AcquisitionContrast").upper()
    modality = re.sub(r"[^A-Z]", "", _text(header, "Modality").upper())[:8]
    ti = _timing(header, "InversionTime", "MRModifierSequence", "InversionTimes")
    scanning = _words(header, "ScanningSequence")
    spacing, orientation = (0.0, 0.0, 0.0), orientation_word(frames[0].orientation) if frames else "unknown"
    if stack is not None:
        edges = [float((stack.affine[:3, n] ** 2).sum() ** 0.5) for n in range(3)]
        spacing = (edges[2], edges[1], edges[0])
    return Series(
        label=label,
        uid=uid,
        files=tuple(dict.fromkeys(f.path for f in stack.frames)) if stack else tuple(p for p, _ in group),
        modality=modality,
        kinds=_kinds(header),
        tr_ms=_timing(header, "RepetitionTime", "MRTimingAndRelatedParametersSequence", "RepetitionTime"),
        te_ms=_timing(header, "EchoTime", "MREchoSequence", "EffectiveEchoTime"),
        ti_ms=ti,
        inversion=_is_inversion(header, scanning, ti),
        spin_echo="GR" not in scanning and _text(header, "EchoPulseSequence").upper() != "GRADIENT",
        is_3d=_text(header, "MRAcquisitionType").upper() == "3D",
        contrast=_has_agent(header),
        # Structural series of some scanners carry a b-value of 0.
        diffusion="DIFFUSION" in contrast or any((read_number(h, "DiffusionBValue") or 0) > 0 for _, h in group),
        slices=len(frames) or len(group),
        orientation=orientation,
        spacing_mm=spacing,
        fault=fault,
        compressed=_compressed(header),
        **more,
    )


def _general_protocols(headers: list[Dataset]) -> frozenset[str]:
    """Return the studies (UID) whose MR series, two or more, all have one ProtocolName: it names the examination, and no series."""
    named: dict[str, list[str]] = defaultdict(list)
    for header in headers:
        if _text(header, "Modality") == "MR" and (protocol := _text(header, "ProtocolName").strip().casefold()):
            named[_text(header, "StudyInstanceUID")].append(protocol)
    return frozenset(study for study, protocols in named.items() if len(protocols) > 1 and len(set(protocols)) == 1)


def _names(header: Dataset, general: frozenset[str]) -> dict[str, str]:
    """Return what people typed, in small letters: all of it, and what they typed for the series alone.

    A ProtocolName of the whole examination (`general`) is left out of both, unless nothing else describes the series.
    """
    own = _typed(header, "SeriesDescription", "SequenceName", "PulseSequenceName")
    if _text(header, "StudyInstanceUID") in general and _text(header, "SeriesDescription").strip():
        return {"names": own, "own_names": own}
    return {"names": _typed(header, "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName"), "own_names": own}


def _typed(header: Dataset, *fields: str) -> str:
    return typed(" ".join(_text(header, name) for name in fields))


def _kinds(header: Dataset) -> frozenset[str]:
    kinds = set(_words(header, "ImageType"))
    try:
        kinds |= set(_words(_group(header, "MRImageFrameTypeSequence"), "FrameType"))
    except (AttributeError, KeyError, IndexError):
        pass
    # Scanners join kinds of images by underscores; the words are what counts.
    return frozenset(kinds | {kind.replace("_", " ") for kind in kinds})


def _timing(header: Dataset, name: str, group: str, inside: str) -> float | None:
    """Return a time in ms from a single-frame header or from an enhanced object's groups."""
    value = read_number(header, name)
    if value is None and "PerFrameFunctionalGroupsSequence" in header:
        try:
            value = read_number(_group(header, group), inside)
        except (AttributeError, KeyError, IndexError):
            return None
    return None if value is None else round(value, 3)


def _is_inversion(header: Dataset, scanning: list[str], ti: float | None) -> bool:
    said = _text(header, "InversionRecovery").upper()
    # "RM" stands for anything; then, and where nothing is said, an inversion time is taken at its word.
    silent = not said and (not scanning or "RM" in scanning)
    return "IR" in scanning or said == "YES" or (silent and bool(ti))


def _has_agent(header: Dataset) -> bool:
    if len(header.get("ContrastBolusAgentSequence") or ()) > 0:
        return True
    return not _NO_AGENT.match(_text(header, "ContrastBolusAgent"))


def read_number(header: Dataset, name: str) -> float | None:
    """Return a field's number, the first of several; None where there is none that is finite, whatever stands there."""
    try:
        value = header.get(name)
        value = value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value
        number = float("nan") if value is None or value == "" else float(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(header: Dataset, name: str) -> str:
    try:
        value = header.get(name)
    except (ValueError, TypeError):
        return ""
    return "" if value is None else str(value)


def _words(header: Dataset, name: str) -> list[str]:
    return [word.strip().upper() for word in re.split(r"[\\,\[\]']+", _text(header, name)) if word.strip()]
