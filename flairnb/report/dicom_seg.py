"""Lesion and brain as a DICOM Segmentation on the slices of their source series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import EnvironmentProblem, InputError, WorkFailed
from flairnb.prepare.dicom_geometry import Stack
from flairnb.prepare.dicom_headers import drop_damaged, quiet_pydicom
from flairnb.provenance import atomic_path, versions

if TYPE_CHECKING:
    from pydicom import Dataset

NOT_CLINICAL = "Research and teaching only, not for clinical use"
_SERIES_NUMBER = 9800
# Fields that the standard lets be empty, but not absent.
_NEVER_ABSENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
_SEXES = ("M", "F", "O", "")


@dataclass(frozen=True)
class Algorithm:
    """Which network made a mask: its name, the SHA-256 of its weights, and flairnb's version."""

    weights: str
    sha256: str
    version: str = ""


def read_source(stack: Stack) -> list[Dataset]:
    """Read the full headers of the source, in the order of its slices; one dataset of a multi-frame object.

    What a segmentation cannot repeat as it stands is mended: absent fields,
    dates, times and sexes that are none become empty, texts go over to UTF-8,
    and all slices get one orientation and the distance that their positions
    have (`stack` has shown that they agree). That distance stands for a
    thickness that is not given, too.
    """
    with quiet_pydicom() as pydicom:
        source = [pydicom.dcmread(path, stop_before_pixels=True) for path in dict.fromkeys(f.path for f in stack.frames)]
        for image in source:
            drop_damaged(image)
            _mend_texts(image)
            _mend_places(image, source[0], f"{np.linalg.norm(stack.affine[:3, 0]):.10g}")
        return source


def _mend_texts(image: Dataset) -> None:
    from pydicom.valuerep import DA, TM

    for name in _NEVER_ABSENT:
        if name not in image:
            setattr(image, name, "")
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(image.get(name) or "")
        except ValueError:
            image[name].value = ""
    if image.PatientSex not in _SEXES:
        image.PatientSex = ""
    image.decode()
    image.SpecificCharacterSet = "ISO_IR 192"


def _mend_places(image: Dataset, first: Dataset, distance_mm: str) -> None:
    from pydicom import Dataset

    measures = image
    if "PerFrameFunctionalGroupsSequence" in image:
        if not image.get("SharedFunctionalGroupsSequence"):
            image.SharedFunctionalGroupsSequence = [Dataset()]
        shared, frame = image.SharedFunctionalGroupsSequence[0], image.PerFrameFunctionalGroupsSequence[0]
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if name in frame:  # highdicom looks for them in what all frames share
                shared[name] = frame[name]
        measures = shared.PixelMeasuresSequence[0]
    else:
        image.ImageOrientationPatient = first.ImageOrientationPatient
    measures.SpacingBetweenSlices = distance_mm
    if not measures.get("SliceThickness"):  # readers refuse a segmentation without one
        measures.SliceThickness = distance_mm


def check_source(source: Sequence[Dataset], stack: Stack) -> None:
    """Make a segmentation of nothing much, to see before the work whether the headers allow one.

    Raises
    ------
    InputError
        The source's headers lack what a DICOM-SEG must repeat.
    EnvironmentProblem
        highdicom is not installed.
    """
    mask = np.zeros(stack.shape, dtype=bool)
    mask[0, 0, 0] = True
    try:
        _build(source, stack, mask, mask, Algorithm("none", "0" * 64))
    except WorkFailed as error:
        raise InputError(f"FLAIR: {error} Convert the series to NIfTI and give that file; there is no DICOM-SEG then.") from error


def write_segmentation(
    path: Path, source: Sequence[Dataset], stack: Stack, lesion: NDArray[np.bool_], brain: NDArray[np.bool_], algorithm: Algorithm
) -> Path:
    """Write a DICOM Segmentation with two binary segments: 1 lesion, 2 brain.

    Parameters
    ----------
    path : Path
    source : sequence of Dataset
        Of `read_source`.
    stack : Stack
    lesion, brain : (slice, row, column) bool array
        On the source's slices, in the order of `stack`.
    algorithm : Algorithm

    Raises
    ------
    WorkFailed
        highdicom refuses the source's headers.

    Notes
    -----
    It repeats the patient and the study of its source, as the standard asks
    for: it belongs into the archive that the source came from. Codes are
    SNOMED CT's, as DICOM PS3.16 lists them for segmentations.
    """
    segmentation = _build(source, stack, lesion, brain, algorithm)
    with atomic_path(path) as temporary, quiet_pydicom():
        segmentation.save_as(temporary, enforce_file_format=True)
    return path


def _build(source: Sequence[Dataset], stack: Stack, lesion: NDArray, brain: NDArray, algorithm: Algorithm) -> Any:
    with quiet_pydicom():
        try:
            import highdicom as hd
        except ImportError as error:
            raise EnvironmentProblem("DICOM: expected the package highdicom, found none. Install it: pip install highdicom.") from error
        version = (algorithm.version or versions()["flairnb"])[:64]
        pixels = np.stack([lesion, brain], axis=-1).astype(np.uint8)
        if len(source) == 1:  # a multi-frame object has its own order of frames
            pixels = pixels[np.argsort([frame.index for frame in stack.frames])]
        try:
            return hd.seg.Segmentation(
                source_images=source,
                pixel_array=pixels,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=_descriptions(hd, algorithm, version),
                series_instance_uid=hd.UID(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer="flairnb",
                manufacturer_model_name="flairnb",
                software_versions=version,
                device_serial_number=algorithm.sha256[:16],
                content_description=NOT_CLINICAL,
                content_label="LESION",
                series_description=f"flairnb lesions. {NOT_CLINICAL}"[:64],
            )
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            # What highdicom says may repeat header texts; its kind is enough.
            raise WorkFailed(f"expected headers that a DICOM-SEG can refer to, found incomplete ones ({type(error).__name__}).") from error


def _descriptions(hd: Any, algorithm: Algorithm, version: str) -> list[Any]:
    from pydicom.sr.codedict import codes

    identification = hd.AlgorithmIdentificationSequence(
        name="flairnb",
        version=version,
        family=codes.DCM.ArtificialIntelligence,
        source="Re-implementation of AJNR 2019;40:1282",
        parameters={"weights": algorithm.weights[:64], "weights_sha256": algorithm.sha256},
    )
    return [
        hd.seg.SegmentDescription(
            segment_number=1,
            segment_label="Lesion",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
            anatomic_regions=[codes.SCT.Brain],
        ),
        hd.seg.SegmentDescription(
            segment_number=2,
            segment_label="Brain",
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Brain,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
        ),
    ]
