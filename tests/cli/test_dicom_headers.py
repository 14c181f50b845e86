"""Headers that keep to the standard, or nearly, and are not like the usual ones: nothing of them refuses an examination."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.prepare.dicom_convert import convert
from flairnb.prepare.dicom_headers import quiet_pydicom, read_folder
from flairnb.prepare.dicom_series import judge
from flairnb.report.dicom_seg import Algorithm, read_source, write_segmentation

LESION, BRAIN = (slice(2, 4), slice(1, 3), slice(5, 6)), (slice(1, 6), slice(1, 7), slice(2, 7))


@pytest.fixture
def small(kinds):
    return replace(kinds.grids["oblique"], shape=(7, 9, 8))


@pytest.fixture
def written(study, tmp_path):
    """Write a known lesion and brain on the study's series; return the DICOM-SEG's file."""

    def _written():
        (stack,) = read_folder(study.folder).stacks.values()
        lesion, brain = np.zeros(stack.shape, bool), np.zeros(stack.shape, bool)
        lesion[LESION] = brain[BRAIN] = True
        return write_segmentation(tmp_path / "seg.dcm", read_source(stack), stack, lesion, brain, Algorithm("w", "ab" * 32, "1"))

    return _written


@pytest.fixture
def converted(study):
    """Convert the study's only series; return the image, and its voxels as (slice, row, column)."""

    def _converted():
        held = read_folder(study.folder)
        image, way = convert(held.series[0], held.stacks[held.series[0].label], "x.nii.gz", "FLAIR")
        return image, way(image.data)

    return _converted


def change(study, how):
    """Change every file of a study."""
    with quiet_pydicom() as pydicom:
        for path in sorted(p for p in study.folder.rglob("*") if p.is_file()):
            image = pydicom.dcmread(path)
            how(image)
            image.save_as(path)


def check_places(path, grid):
    """Hold the lesion, as highdicom reads it, against its voxels' places by the grid's definition."""
    import highdicom as hd

    with quiet_pydicom():
        volume = hd.seg.segread(path).get_volume(segment_numbers=[1], combine_segments=True)
    assert np.prod(volume.spacing) == pytest.approx(abs(np.linalg.det(grid.affine)), rel=1e-5)
    lesion = np.zeros(grid.shape, bool)
    lesion[LESION] = True
    index = np.argwhere(lesion)
    truth = (np.diag([-1, -1, 1]) @ (grid.affine[:3, :3] @ index.T + grid.affine[:3, 3:])).T
    found = (volume.affine[:3, :3] @ np.argwhere(volume.array).T + volume.affine[:3, 3:]).T
    assert len(found) == len(truth)
    assert max(np.linalg.norm(truth - place, axis=1).min() for place in found) < 0.01


@pytest.mark.parametrize(("b_value", "is_diffusion"), [(0, False), (1000, True), (None, False)])
def test_a_b_value_of_zero_is_no_diffusion(b_value, is_diffusion, study, kinds, small):
    study.add(5, small, DiffusionBValue=b_value, **kinds.flair)
    (series,) = read_folder(study.folder).series
    assert series.diffusion is is_diffusion


@pytest.mark.parametrize(
    "names", [("PlaneOrientationSequence",), ("PixelMeasuresSequence",), ("PlaneOrientationSequence", "PixelMeasuresSequence")]
)
@pytest.mark.parametrize("nothing_shared", [False, True])
def test_a_multi_frame_object_may_keep_its_geometry_frame_by_frame(names, nothing_shared, study, kinds, small, written):
    def apart(image):
        shared = image.SharedFunctionalGroupsSequence[0]
        for name in names:
            for frame in image.PerFrameFunctionalGroupsSequence:
                frame[name] = shared[name]
            del shared[name]
        if nothing_shared:
            for name in [element.keyword for element in shared]:
                for frame in image.PerFrameFunctionalGroupsSequence:
                    frame[name] = shared[name]
            del image.SharedFunctionalGroupsSequence

    study.add_enhanced(5, small, **kinds.flair)
    change(study, apart)
    check_places(written(), small)


NAMES = {
    "none": (None, "Doe^Jane"),
    "empty": ("", "Doe^Jane"),
    "ascii": ("ISO_IR 6", "Doe^Jane"),
    "latin": ("ISO_IR 100", "Müller^Jörg"),
    "latin with extensions": ("ISO 2022 IR 100", "Müller^Jörg"),
    "latin misspelt": ("ISO_IR_100", "Müller^Jörg"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "russian": ("ISO_IR 144", "Люкceмбypг"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "unicode": ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
}


@pytest.mark.parametrize(("characters", "name"), NAMES.values(), ids=NAMES)
def test_names_come_out_unchanged_whatever_their_characters(characters, name, study, kinds, small, written):
    import pydicom

    study.patient["PatientName"] = name
    with quiet_pydicom():
        study.add(5, small, SpecificCharacterSet=characters, **kinds.flair)
    seg = pydicom.dcmread(written())
    assert str(seg.PatientName) == name and seg.PatientID == study.patient["PatientID"]


@pytest.mark.parametrize(
    "field",
    ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"],
)
def test_a_field_that_may_be_empty_may_be_absent(field, study, kinds, small, written):
    import pydicom

    study.add(5, small, **kinds.flair)
    change(study, lambda image: image.pop(field))
    path = written()
    assert not pydicom.dcmread(path)[field].value
    check_places(path, small)


@pytest.mark.parametrize(("sex", "repeated"), [("U", ""), ("UNKNOWN", ""), ("", ""), ("F", "F"), ("O", "O")])
def test_a_sex_that_the_standard_does_not_know_is_left_empty(sex, repeated, study, kinds, small, written):
    import pydicom

    study.add(5, small, PatientSex=sex, **kinds.flair)
    assert pydicom.dcmread(written()).PatientSex == repeated


def test_orientations_may_differ_in_their_last_digit(study, kinds, small, written):
    def nudge(image):
        if image.InstanceNumber == 3:
            image.ImageOrientationPatient = [f"{float(v) + 1e-8:.9f}" for v in image.ImageOrientationPatient]

    study.add(5, small, **kinds.flair)
    change(study, nudge)
    check_places(written(), small)


@pytest.mark.parametrize(
    ("field", "stated"),
    [
        *(("SpacingBetweenSlices", stated) for stated in ("1.0", "-9.5", "12", "0", None)),
        *(("SliceThickness", none) for none in (None, "", "0")),
    ],
)
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_the_distance_of_slices_is_that_of_their_positions(kind, field, stated, study, kinds, small, written):
    """Some scanners write the gap, or a sign, where the distance belongs; it stands for a missing thickness, too."""
    import pydicom

    def state(image):
        place = image if kind == "classic" else image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        setattr(place, field, stated)
        if stated is None:
            delattr(place, field)

    (study.add if kind == "classic" else study.add_enhanced)(5, small, **kinds.flair)
    change(study, state)
    path = written()
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures[field].value) == pytest.approx(9.5, abs=1e-4)  # of the grid's definition
    check_places(path, small)


@pytest.mark.parametrize("rescale", [(0.1, 0.0, -300.0, 0.0), (0.0, 0.5, -300.0, 1.0), (0.1, 0.5, -300.0, 1.0), (0.0, 0.5, -300.0, 0.0)])
def test_every_slice_is_rescaled_as_its_own_header_says(rescale, study, kinds, small, converted):
    per_slice, slope, intercept, intercept_per_slice = rescale

    def state(image):
        image.RescaleSlope = f"{slope + per_slice * image.InstanceNumber:.3f}"
        image.RescaleIntercept = f"{intercept + intercept_per_slice * image.InstanceNumber:.3f}"

    pixels = study.add(5, small, **kinds.flair)
    change(study, state)
    number = np.arange(1, len(pixels) + 1)[:, None, None]  # of the image, which runs as its slices do
    np.testing.assert_allclose(
        converted()[1], (slope + per_slice * number) * pixels + intercept + intercept_per_slice * number, rtol=1e-5, atol=1e-3
    )


def test_a_rescaling_that_varies_in_a_multi_frame_object_is_refused_with_its_reason(study, kinds, small, converted):
    def vary(image):
        shared = image.SharedFunctionalGroupsSequence[0]
        for n, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
            frame.PixelValueTransformationSequence = [copy.deepcopy(shared.PixelValueTransformationSequence[0])]
            frame.PixelValueTransformationSequence[0].RescaleSlope = str(1 + 0.1 * (n % 3))
        del shared.PixelValueTransformationSequence

    study.add_enhanced(5, small, **kinds.flair)
    change(study, vary)
    with pytest.raises(InputError, match="one rescaling for all frames of a multi-frame object, found 3 in series 5.*single-frame images"):
        converted()


LONG = {
    "sagittal 3D": ((176, 9, 8), 0.9375, 3),
    "oblique": ((60, 9, 8), 1.0, 2),
    "axial from above": ((120, 9, 8), -1.17187, 2),
    "coronal": ((120, 9, 8), 1.17187, 2),
}


@pytest.mark.parametrize("grid", LONG)
def test_a_long_stack_with_rounded_positions_lies_where_its_slices_do(grid, study, kinds, converted):
    """A converter that takes the distance from the first two slices is half a slice off at the last one."""
    shape, step_mm, digits = LONG[grid]
    grid = replace(kinds.grids[grid], shape=shape, step_mm=step_mm)
    noise = np.random.default_rng(3).integers(0, 2000, shape)
    pixels = study.add(5, grid, data=noise, **kinds.flair)
    change(study, lambda image: setattr(image, "ImagePositionPatient", [f"{float(v):.{digits}f}" for v in image.ImagePositionPatient]))
    image, _ = converted()
    index = np.indices(image.shape).reshape(3, -1)
    source = (np.linalg.inv(grid.affine) @ image.affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    assert np.abs(source - source.round()).max() < 0.02
    np.testing.assert_array_equal(image.data.ravel(), pixels[tuple(source.round().astype(int))])
    np.testing.assert_allclose(image.header.get_qform(), image.affine, atol=2e-3)


def test_a_damaged_field_that_a_segmentation_repeats_is_left_empty(study, kinds, small, written):
    """Its type is two bytes that are none: not seen when the series is chosen, and fatal when the value is asked for."""
    import pydicom

    study.add(5, small, **kinds.flair)
    for path in (study.folder / "s5").iterdir():
        content = path.read_bytes()
        assert content.count(b"\x20\x00\x10\x00SH") == 1  # StudyID
        path.write_bytes(content.replace(b"\x20\x00\x10\x00SH", b"\x20\x00\x10\x00S\x1c"))
    assert pydicom.dcmread(written()).StudyID == ""


@pytest.mark.parametrize("charset", ["ISO_IR 192", "GB18030"])
def test_typed_names_are_read_in_other_scripts_and_with_accents(charset, study, kinds, small):
    names = {1: "T2 FLAIR 横断", 2: "T1增强", 3: "T1平扫", 4: "T1 injecté", 5: "T1 vor KM", 6: "T1 nach KM", 7: "DWI轴位"}
    for number, name in names.items():
        study.add(number, small, SpecificCharacterSet=charset, **{**kinds.t1w, "SeriesDescription": name})
    found = {series.label: series for series in read_folder(study.folder).series}
    assert {label for label, series in found.items() if series.is_enhanced} == {"2", "4", "6"}
    assert judge(found["7"]) == ("", "diffusion")
