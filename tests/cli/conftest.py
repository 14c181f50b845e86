"""Simulated heads written as DICOM series, with fabricated headers; no image and no header of a patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flairnb.geometry import isotropic_grid
from flairnb.resampling import resample

#: Stands in every header, and must stand in nothing that flairnb writes but the DICOM-SEG.
SECRETS = ("Fabricated^Person", "HOSP-4711", "19540317", "20190504", "Inventia", "STUDYTEXT", "1.2.826.0.1.3680043.8.498")
FLAIR = {
    "SeriesDescription": "AX T2 FLAIR",
    "RepetitionTime": 9000,
    "EchoTime": 120,
    "InversionTime": 2500,
    "ScanningSequence": ["SE", "IR"],
}
T1W = {"SeriesDescription": "SAG MPRAGE", "RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900, "ScanningSequence": ["GR", "IR"]}
T2W = {"SeriesDescription": "AX T2 TSE", "RepetitionTime": 5000, "EchoTime": 95, "ScanningSequence": ["SE"]}


def head(x, y, z) -> tuple[np.ndarray, np.ndarray]:
    """Return a simulated FLAIR at points of the world (RAS, mm), and where its lesion is: front, left, above the middle."""

    def inside(radii, centre=(0, 0, 0)):
        return sum(((v - c) / r) ** 2 for v, c, r in zip((x, y, z), centre, radii, strict=True)) < 1

    image = np.zeros(np.broadcast(x, y, z).shape)
    for value, radii in ((500, (80, 98, 90)), (40, (74, 92, 84)), (600, (66, 84, 72))):
        image[inside(radii)] = value
    lesion = inside((11, 17, 13), (-30, 25, 18))
    image[lesion] = 1500
    image[inside((8, 5, 7), (-30, 25, 18))] = 1900  # so that no side of the lesion looks like another
    return image + 20 * np.sin(x / 5) + 15 * np.cos(y / 7 + z / 11) + 30, lesion


@dataclass
class Grid:
    """Where slices lie: `across` and `down` are the directions of columns and rows in DICOM's LPS, `step` leads to the next slice."""

    shape: tuple[int, int, int]
    pixel_mm: tuple[float, float]
    step_mm: float
    across: np.ndarray
    down: np.ndarray

    @property
    def step(self) -> np.ndarray:
        return np.cross(self.across, self.down) * self.step_mm

    @property
    def affine(self) -> np.ndarray:
        """(slice, row, column) to RAS, the head in the middle."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.diag([-1, -1, 1]) @ np.column_stack([self.step, self.down * self.pixel_mm[0], self.across * self.pixel_mm[1]])
        matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(self.shape) - 1) / 2) + (1.5, -2.5, 3.5)
        return matrix

    def points(self) -> np.ndarray:
        index = np.indices(self.shape).reshape(3, -1)
        return (self.affine[:3, :3] @ index + self.affine[:3, 3:]).reshape(3, *self.shape)


def turned(degrees_x: float = 0, degrees_z: float = 0) -> np.ndarray:
    a, b = np.deg2rad(degrees_x), np.deg2rad(degrees_z)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]) @ about_x


X, Y, Z = np.eye(3)
GRIDS = {
    "axial": Grid((16, 60, 50), (3.6, 3.5), 9.5, X, Y),
    "oblique": Grid((16, 60, 50), (3.6, 3.5), 9.5, turned(-17, 8) @ X, turned(-17, 8) @ Y),
    "axial from above": Grid((16, 60, 50), (3.6, 3.5), -9.5, X, Y),
    "sagittal 3D": Grid((31, 55, 58), (3.9, 3.7), 6.1, turned(4, -3) @ Y, turned(4, -3) @ -Z),
    "coronal": Grid((22, 52, 48), (3.8, 3.7), 9.6, X, -Z),
}


@dataclass
class Study:
    """A folder of DICOM files of one examination."""

    folder: Path
    patient: dict = field(default_factory=lambda: {"PatientName": SECRETS[0], "PatientID": SECRETS[1], "PatientBirthDate": SECRETS[2]})

    def __post_init__(self):
        from pydicom.uid import generate_uid

        self.study_uid, self.frame_uid = generate_uid(), generate_uid()

    def header(self, number, path, series_uid, instance, fields):
        """Return a dataset of a classic MR image without pixels."""
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
        image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = self.study_uid, series_uid, self.frame_uid
        standard = {
            **self.patient, "PatientSex": "O", "StudyDate": SECRETS[3], "SeriesDate": SECRETS[3], "StudyTime": "101112", "StudyID": "7",
            "AccessionNumber": "ACC815", "ReferringPhysicianName": "Doctor^Who", "Manufacturer": "Inventia", "StationName": "MR1",
            "InstitutionName": "Inventia Hospital", "StudyDescription": SECRETS[5], "Modality": "MR", "SeriesNumber": number,
            "InstanceNumber": instance, "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"], "SequenceVariant": "SK", "ScanOptions": "",
            "MRAcquisitionType": "2D", "MagneticFieldStrength": 3, "EchoTrainLength": 1, "PatientPosition": "HFS",
            "PositionReferenceIndicator": "", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
            "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "AcquisitionNumber": 1, "Laterality": "",
        }  # fmt: skip
        for name, value in {**standard, **fields}.items():
            if value is not None:
                setattr(image, name, value)
        return image

    def add(self, number, grid, where="", data=None, leave_out=(), **fields) -> np.ndarray:
        """Write a series of classic single-frame images; return its pixels as (slice, row, column).

        `fields` are header values; `leave_out` are slices that are not written; None as a value leaves a field out.
        """
        from pydicom.uid import generate_uid

        grid = GRIDS[grid] if isinstance(grid, str) else grid
        pixels = np.clip(head(*grid.points())[0] if data is None else data, 0, None).round().astype("<u2")
        folder = self.folder / (where or f"s{number}")
        folder.mkdir(parents=True, exist_ok=True)
        series_uid = fields.pop("SeriesInstanceUID", None) or generate_uid()
        order = np.random.default_rng(int(number or 0)).permutation(grid.shape[0])
        for k in range(grid.shape[0]):
            if k in leave_out:
                continue
            # Names say nothing of the place, and files lie in another order than slices.
            path = folder / f"I{order[k]:04d}"
            image = self.header(number, path, series_uid, k + 1, fields)
            place = np.diag([-1, -1, 1]) @ (grid.affine @ np.array([k, 0, 0, 1]))[:3]
            image.ImagePositionPatient = [f"{v:.6f}" for v in place]
            image.ImageOrientationPatient = [f"{v:.9f}" for v in (*grid.across, *grid.down)]
            image.PixelSpacing, image.SliceThickness = list(grid.pixel_mm), abs(grid.step_mm)
            image.SpacingBetweenSlices = abs(grid.step_mm)
            image.Rows, image.Columns = grid.shape[1:]
            image.PixelData = pixels[k].tobytes()
            image.save_as(path, enforce_file_format=True)
        return pixels

    def add_enhanced(self, number, grid, backwards=False, **fields) -> np.ndarray:
        """Write a series as one enhanced multi-frame object; return its pixels as (slice, row, column).

        `backwards`: the last slice is the first frame.
        """
        from pydicom.dataset import Dataset
        from pydicom.uid import EnhancedMRImageStorage, generate_uid

        def group(**values):
            item = Dataset()
            for name, value in values.items():
                setattr(item, name, value)
            return [item]

        grid = GRIDS[grid] if isinstance(grid, str) else grid
        pixels = np.clip(head(*grid.points())[0], 0, None).round().astype("<u2")
        path = self.folder / f"E{number}"
        timing = {name: fields.pop(name) for name in ("RepetitionTime", "EchoTime", "InversionTime", "ScanningSequence") if name in fields}
        image = self.header(
            number, path, generate_uid(), 1, {**fields, "ScanOptions": None, "SequenceVariant": None, "AcquisitionNumber": 1}
        )
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
        image.NumberOfFrames, image.Rows, image.Columns = grid.shape
        image.AcquisitionContrast, image.EchoPulseSequence, image.InversionRecovery = "FLUID_ATTENUATED", "SPIN", "YES"
        image.ComplexImageComponent, image.PixelPresentation, image.VolumetricProperties = "MAGNITUDE", "MONOCHROME", "VOLUME"
        image.SharedFunctionalGroupsSequence = group(
            PixelMeasuresSequence=group(
                PixelSpacing=list(grid.pixel_mm), SliceThickness=abs(grid.step_mm), SpacingBetweenSlices=abs(grid.step_mm)
            ),
            PlaneOrientationSequence=group(ImageOrientationPatient=[f"{v:.9f}" for v in (*grid.across, *grid.down)]),
            MRTimingAndRelatedParametersSequence=group(RepetitionTime=timing["RepetitionTime"], FlipAngle=90, EchoTrainLength=16),
            MREchoSequence=group(EffectiveEchoTime=float(timing["EchoTime"])),
            MRModifierSequence=group(InversionRecovery="YES", InversionTimes=[float(timing["InversionTime"])]),
            MRImageFrameTypeSequence=group(FrameType=["ORIGINAL", "PRIMARY", "M", "NONE"]),
            PixelValueTransformationSequence=group(RescaleIntercept="0", RescaleSlope="1", RescaleType="US"),
        )
        organisation = generate_uid()
        image.DimensionOrganizationSequence = group(DimensionOrganizationUID=organisation)
        image.DimensionIndexSequence = [
            group(DimensionOrganizationUID=organisation, DimensionIndexPointer=tag, FunctionalGroupPointer=0x00209111)[0]
            for tag in (0x00209056, 0x00209057)
        ]
        order = range(grid.shape[0])[::-1] if backwards else range(grid.shape[0])
        image.PerFrameFunctionalGroupsSequence = [
            group(
                FrameContentSequence=group(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1]),
                PlanePositionSequence=group(
                    ImagePositionPatient=[f"{v:.6f}" for v in np.diag([-1, -1, 1]) @ (grid.affine @ np.array([k, 0, 0, 1]))[:3]]
                ),
            )[0]
            for k in order
        ]
        image.PixelData = pixels[list(order)].tobytes()
        image.save_as(path, enforce_file_format=True)
        return pixels


@pytest.fixture
def study(tmp_path) -> Study:
    """Return a study in an own folder whose name is a patient's."""
    (tmp_path / "in" / "PERSON_Fabricated").mkdir(parents=True)
    return Study(tmp_path / "in" / "PERSON_Fabricated")


@pytest.fixture
def kinds() -> SimpleNamespace:
    """Return header values of contrasts, the grids, the head and what must stay secret."""
    return SimpleNamespace(flair=FLAIR, t1w=T1W, t2w=T2W, grids=GRIDS, head=head, secrets=SECRETS, study=Study)


@pytest.fixture
def rooms(monkeypatch) -> SimpleNamespace:
    """Replace ANTs and the network by thresholds on the FLAIR; `seen` holds what preparation was given."""
    from flairnb import parallel
    from flairnb.network import inference
    from flairnb.network.weights import Network
    from flairnb.prepare import case as case_module
    from flairnb.report import patient, patient_files

    begun = parallel.begun
    seen = SimpleNamespace(flair=None, t1w=None, loaded=0)

    def prepare_case(flair, t1w=None, brain_mask=None, skull_stripped=False, settings=None, seed=0, threads=2):
        seen.flair, seen.t1w = flair, t1w
        grid = isotropic_grid(flair.shape, flair.affine, 4.0)
        work = resample(flair.data, flair.affine, grid)
        return case_module.PreparedCase(flair, flair.data > 300, work, np.ones(grid.shape, bool), grid, 0.0, 1.0)

    def back(probability, case, order=1):
        return (case.flair.data > 1100).astype(np.float32)

    def load(weights, threads):
        seen.loaded += 1
        return Network(model=None, network=None, spacing_mm=4.0, threshold=0.5, sha256="ab" * 32, name="fake")

    monkeypatch.setattr(case_module, "prepare_case", prepare_case)
    # Here, so that what it is given can be looked at.
    monkeypatch.setattr(parallel, "begun", lambda work, *args, aside, **words: begun(work, *args, aside=False, **words))
    monkeypatch.setattr("flairnb.prepare.native.to_native", back)
    monkeypatch.setattr(inference, "predict", lambda model, work, brain, infer: np.clip(work / 2000, 0, 1).astype(np.float32))
    monkeypatch.setattr(inference, "size_multiple", lambda model: 16)
    monkeypatch.setattr(patient, "_load_network", load)
    monkeypatch.setattr(patient, "_find_weights", lambda weights: "fake")
    monkeypatch.setattr("flairnb.network.weights.stored_spacing", lambda weights: 4.0)
    monkeypatch.setattr(patient_files, "_write_picture", lambda path, *_: path.write_bytes(b"picture"))
    return seen
