"""`flairnb segment` on a folder of DICOM files: which series, how they are read, and what is written besides."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import GeometryError, InputError
from flairnb.images import Image, read_image, write_image
from flairnb.naming import derivative_path
from flairnb.prepare.dicom_convert import convert, find_dcm2niix
from flairnb.prepare.dicom_geometry import Stack, WayBack
from flairnb.prepare.dicom_headers import quiet_pydicom, read_folder, read_number
from flairnb.prepare.dicom_series import Choice, Series, pick
from flairnb.prepare.plausible import check_heads
from flairnb.report.dicom_seg import Algorithm, check_source, read_source, write_segmentation
from flairnb.report.patient_files import voxels_sha256
from flairnb.report.patient_input import accept

if TYPE_CHECKING:
    from pydicom import Dataset

    from flairnb.report.patient import Segmentation

#: Results are named so, whatever the folder or the patient is called.
STEM = "dicom"
FLAIR_NAME, T1W_NAME = f"{STEM}_FLAIR.nii.gz", f"{STEM}_T1w.nii.gz"
_PACKAGES = ("dcm2niix", "pydicom", "highdicom")


@dataclass(frozen=True)
class DicomExamination:
    """One examination read from DICOM.

    Attributes
    ----------
    flair : Image
    t1w : Image or None
    choice : Choice
    stack : Stack
        The FLAIR's source slices.
    way : WayBack
        From the FLAIR's grid to them.
    source : list of Dataset
        Their headers.
    notes : tuple of str
    others : int
        Files of the folder that are no DICOM.
    """

    flair: Image
    t1w: Image | None
    choice: Choice
    stack: Stack
    way: WayBack
    source: list[Dataset] = field(repr=False)
    notes: tuple[str, ...] = ()
    others: int = 0

    def summary(self) -> dict[str, Any]:
        """Return what the summary says of the series: numbers and neutral properties, nothing that tells who the patient is."""
        choice = self.choice
        return {
            "flair": {**choice.flair.properties(), "why": choice.flair_why},
            "t1w": None if self.t1w is None or choice.t1w is None else {**choice.t1w.properties(), "why": choice.t1w_why},
            "rejected": [{**series.properties(), "why": why} for series, why in choice.rejected],
            "other_files": self.others,
            "versions": {name: _version(name) for name in _PACKAGES},
        }

    @property
    def sha256(self) -> str:
        """SHA-256 of the FLAIR's converted voxels."""
        return voxels_sha256(self.flair)

    def write(self, folder: Path, segmentation: Segmentation, network: dict[str, Any]) -> None:
        """Write the converted FLAIR and the DICOM-SEG; `network` is the summary's entry on the weights."""
        write_image(folder / FLAIR_NAME, self.flair.data, self.flair, "float32")
        path = derivative_path(folder, STEM, "seg", label="lesion", desc="unet", extension=".dcm")
        algorithm = Algorithm(str(network["name"]), str(network["sha256"]))
        write_segmentation(path, self.source, self.stack, self.way(segmentation.mask), self.way(segmentation.brain), algorithm)


def is_folder(path: str | os.PathLike) -> bool:
    """Tell whether a path is a folder; a path that no file system can have is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def read_inputs(
    folder: str | os.PathLike,
    t1w: str | os.PathLike | None,
    brain_mask: str | os.PathLike | None,
    skull_stripped: bool,
    wanted: str,
    say: Callable[[str], None] | None,
) -> tuple[DicomExamination, tuple[Image, dict[str, Any], tuple[str, ...]]]:
    """Read a DICOM examination, and beside it what :func:`flairnb.report.patient_input.read_inputs` returns."""
    examination = read_examination(folder, wanted, t1w is None, brain_mask is None and not skull_stripped, say)
    head = examination.t1w if t1w is None else read_image(t1w, "T1w")
    flair, given, notes = accept(examination.flair, head, brain_mask, skull_stripped)
    return examination, (flair, given, (*examination.notes, *notes))


def read_examination(
    folder: str | os.PathLike, wanted: str = "", look_for_t1w: bool = True, whole: bool = True, say: Callable[[str], None] | None = None
) -> DicomExamination:
    """Read a folder of DICOM files, choose its FLAIR and T1w and convert them.

    Parameters
    ----------
    folder : path
    wanted : str
        Number or UID of the series to take as FLAIR.
    look_for_t1w : bool
        False where the T1w is given as a file.
    whole : bool
        The FLAIR shows a whole head.
    say : callable, optional
        Is told which series are used and why, line by line.

    Raises
    ------
    InputError, GeometryError
        See :func:`flairnb.prepare.dicom_series.pick` and
        :func:`flairnb.prepare.dicom_convert.convert`.
    EnvironmentProblem
        A program or package for DICOM is missing.
    """
    find_dcm2niix()
    held = read_folder(folder)
    choice = pick(held.series, wanted)
    if not look_for_t1w:
        choice = choice.with_t1w_of_a_file()
    for line in choice.lines() if say is not None else ():
        say(line)
    stack = held.stacks[choice.flair.label]
    source = read_source(stack)
    check_source(source, stack)
    flair, way = convert(choice.flair, stack, FLAIR_NAME, "FLAIR")
    t1w, choice, notes = _best_usable_t1w(choice, held.stacks, flair, whole)
    for line in (*notes, choice.t1w_line()) if notes and say is not None else ():
        say(line)
    return DicomExamination(flair, t1w, choice, stack, way, source, (*_gaps(source), *notes), held.others)


def _best_usable_t1w(choice: Choice, stacks: dict[str, Stack], flair: Image, whole: bool) -> tuple[Image | None, Choice, tuple[str, ...]]:
    """Convert the best T1w that can be used.

    Returns
    -------
    t1w : Image or None
    choice : Choice
        With this T1w.
    notes : tuple of str
        One for each better one that could not be used.
    """
    notes: tuple[str, ...] = ()
    while choice.t1w is not None:
        t1w, problem = _usable_t1w(choice.t1w, stacks[choice.t1w.label], flair, whole)
        if t1w is not None:
            return t1w, choice, notes
        notes += (f"the T1w that was found, series {choice.t1w.label}, could not be used: {problem}",)
        choice = choice.without_t1w(problem)
    return None, choice, notes


def _usable_t1w(series: Series, stack: Stack, flair: Image, whole: bool) -> tuple[Image | None, str]:
    """Convert a T1w that was found; nobody asked for it, so that a bad one is left out and not an error."""
    try:
        t1w, _ = convert(series, stack, T1W_NAME, "T1w")
        check_heads(flair, t1w, whole)
    except (InputError, GeometryError) as error:
        check_heads(flair, None, whole)
        return None, str(error)
    return t1w, ""


def _gaps(source: list[Dataset]) -> tuple[str, ...]:
    """Say when the numbers of a series' images leave room for a slice that is missing at its end."""
    with quiet_pydicom():
        found = [read_number(image, "InstanceNumber") for image in source]
    numbers = sorted({int(n) for n in found if n is not None})
    if len(source) > 1 and len(numbers) == len(source) and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return ("the numbers of the FLAIR's images have gaps: slices at its ends may be missing",)
    return ()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
