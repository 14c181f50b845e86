"""Turn one DICOM series into a volume with dcm2niix, and check the result against the source slices."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import EnvironmentProblem, FlairnbError, InputError, WorkFailed
from flairnb.images import Image, read_image
from flairnb.nifti import orientation_notes
from flairnb.prepare.dicom_geometry import Frame, Stack, WayBack, way_back
from flairnb.prepare.dicom_headers import quiet_pydicom, read_number
from flairnb.prepare.dicom_series import Series

if TYPE_CHECKING:
    import nibabel as nib
    from pydicom import Dataset

_SECONDS = 600.0
# Rescaled values go through float32 on one way and float64 on the other.
_SAME_VALUE = 1e-3
# Lossy pixels come out of two decoders with small differences.
_SAME_DECODED = 0.02
# One volume, uncompressed, whatever differs between slices (they have been shown to make one); no names from headers, no
# defaults of the user, no turning.
_OPTIONS = ("-g", "i", "-b", "n", "-ba", "y", "-c", "", "-z", "n", "-x", "i", "-m", "y", "-d", "0", "-w", "1", "-f", "volume")
# Plain rescaling takes the first slice's for all.
_PLAIN, _SLICE_BY_SLICE = ("-p", "n"), ("-p", "y")


def find_dcm2niix() -> str:
    """Return the path of dcm2niix: of its wheel, or else of one on the PATH.

    Raises
    ------
    EnvironmentProblem
        There is none.
    """
    spec = importlib.util.find_spec("dcm2niix")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = shutil.which("dcm2niix", path=folder)
        if program:
            return program
    program = shutil.which("dcm2niix")
    if program:
        return program
    raise EnvironmentProblem("DICOM: expected the program dcm2niix, found none. Install it (pip install dcm2niix), or give a NIfTI file.")


def convert(series: Series, stack: Stack, name: str, what: str) -> tuple[Image, WayBack]:
    """Convert the slices of a series to an image.

    Parameters
    ----------
    series : Series
    stack : Stack
        Of this series.
    name : str
        File name that the image is known by.
    what : str
        Word for the messages ("FLAIR", "T1w").

    Returns
    -------
    image : Image
        Its header holds the placement, by the positions of all slices, and
        nothing else.
    way : WayBack
        From the image's grid to the source slices.

    Raises
    ------
    InputError
        The pixels cannot be decoded, are cut off, differ from the source's, or
        are rescaled frame by frame in a multi-frame object.
    GeometryError
        The volume does not lie on the source slices.
    EnvironmentProblem, WorkFailed
        dcm2niix is missing, or took too long.
    """
    program, rescaling = find_dcm2niix(), _rescaling(series, stack, what)
    with tempfile.TemporaryDirectory(prefix="flairnb-dicom-") as folder:
        made = _run(program, series, Path(folder), what, rescaling)
        try:
            image = read_image(made, what)
        except FlairnbError as error:
            raise type(error)(str(error).replace(str(made), made.name).replace(made.name, f"series {series.label}")) from error
    way = way_back(stack, image.shape, image.affine)
    _check_values(series, stack, way(image.data), what)
    header = _plain_header(image.shape, way.affine(stack))
    return replace(image, affine=header.get_sform(), header=header, path=Path(name), notes=orientation_notes(header, what)), way


def _rescaling(series: Series, stack: Stack, what: str) -> tuple[str, str]:
    """Return the option that rescales the pixels as the headers say."""
    with quiet_pydicom() as pydicom:
        tags = ["RescaleSlope", "RescaleIntercept", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"]
        headers = {path: pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags) for path in series.files}
        found = {_rescale(headers[frame.path], frame.index) for frame in stack.frames}
    if len(found) > 1 and len(headers) == 1:
        raise InputError(
            f"{what}: expected one rescaling for all frames of a multi-frame object, found {len(found)} in {series}: dcm2niix would "
            "convert it wrongly. Export the series as single-frame images."
        )
    return _PLAIN if len(found) == 1 else _SLICE_BY_SLICE


def _rescale(header: Dataset, index: int) -> tuple[float, float]:
    """Return slope and intercept of a frame; 1 and 0 where none are given."""
    if "PerFrameFunctionalGroupsSequence" in header:
        groups = (header.PerFrameFunctionalGroupsSequence[index], *header.get("SharedFunctionalGroupsSequence", ()))
        header = next((g.PixelValueTransformationSequence[0] for g in groups if "PixelValueTransformationSequence" in g), header)
    slope, intercept = (read_number(header, name) for name in ("RescaleSlope", "RescaleIntercept"))
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _run(program: str, series: Series, folder: Path, what: str, rescaling: tuple[str, str]) -> Path:
    """Run dcm2niix on a folder of links to the series' files; what it says names the patient and is not repeated."""
    source, target = folder / "in", folder / "out"
    source.mkdir()
    target.mkdir()
    for n, path in enumerate(series.files):
        (source / f"{n:06d}.dcm").symlink_to(path.absolute())
    command = [program, *_OPTIONS, *rescaling, "-o", str(target), str(source)]
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": os.defpath, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, cwd=folder, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WorkFailed(f"DICOM: dcm2niix took more than {_SECONDS / 60:.0f} minutes for {series}. Convert it by hand.") from error
    except OSError as error:
        raise EnvironmentProblem(f"DICOM: expected to run dcm2niix, could not ({error.strerror}). Reinstall it: make setup.") from error
    volumes = sorted(target.glob("*.nii"))
    if done.returncode != 0 or not volumes:
        raise InputError(_undecoded(series, what, f"dcm2niix ended with code {done.returncode}"))
    if len(volumes) > 1:
        raise InputError(f"{what}: expected one volume in {series}, dcm2niix made {len(volumes)}. Convert it by hand and give one.")
    return volumes[0]


def _undecoded(series: Series, what: str, why: str) -> str:
    stored = f", stored as {series.compressed}" if series.compressed else ""
    return f"{what}: expected pixels that can be decoded, could not decode {series}{stored} ({why}). Export it uncompressed."


def _check_values(series: Series, stack: Stack, converted: NDArray[Any], what: str) -> None:
    """Compare a converted volume with the pixels of its source, as another program reads them.

    Compressed pixels that this other program cannot decode are not compared;
    the places of the slices have been, all the same.
    """
    with quiet_pydicom() as pydicom:
        for place in _sampled(len(stack.frames)):
            frame = stack.frames[place]
            try:
                source = _pixels(pydicom, frame)
            except Exception as error:
                if series.compressed:
                    return
                raise InputError(_undecoded(series, what, "its pixels are cut off or damaged")) from error
            tolerance = (_SAME_DECODED if series.compressed else _SAME_VALUE) * max(1.0, float(np.abs(source).max()))
            if source.shape != converted[place].shape or np.abs(source - converted[place]).max() > tolerance:
                raise InputError(
                    f"{what}: expected the converted volume to repeat its source's pixels, found others in slice {place + 1} of {series}. "
                    "Convert it by hand and give the NIfTI file."
                )


def _sampled(count: int) -> Sequence[int]:
    """Return which slices to compare: all of a thick-slice series, 64 of a longer one, first and last always."""
    return sorted({round(v) for v in np.linspace(0, count - 1, min(count, 64))})


def _pixels(pydicom: Any, frame: Frame) -> NDArray[np.float64]:
    from pydicom.pixels import apply_rescale, pixel_array

    header = pydicom.dcmread(frame.path, stop_before_pixels=True)
    multi = "PerFrameFunctionalGroupsSequence" in header
    pixels = np.asarray(pixel_array(frame.path, index=frame.index if multi else None), dtype=float)
    if not multi:
        return np.asarray(apply_rescale(pixels, header), dtype=float)
    slope, intercept = _rescale(header, frame.index)
    return pixels * slope + intercept


def _plain_header(shape: Sequence[int], affine: NDArray[np.float64]) -> nib.Nifti1Header:
    """Return a header with the placement alone; the converter's own holds the time of the examination."""
    import nibabel as nib

    plain = nib.Nifti1Header()
    plain.set_data_shape(shape)
    plain.set_data_dtype(np.float32)
    plain.set_xyzt_units("mm")
    plain.set_qform(affine, "scanner")
    plain.set_sform(affine, "scanner")
    return plain
