"""`flairnb segment` on a folder of DICOM files: the mask comes back on exactly the right slices and sides, and nobody is named."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call

PREFIX = "dicom_label-lesion_desc-unet"
SUMMARY = "dicom_desc-summary.json"
#: What the fake network marks of the simulated head.
LESION_ABOVE, BRAIN_ABOVE = 1100, 300


@pytest.fixture
def run(study, rooms, tmp_path, capsys):
    """Segment the study; return the summary and what stood on the terminal."""

    def _run(*words):
        code = call(["segment", str(study.folder), "--out", str(tmp_path / "out"), *words])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        assert shown.err == ""
        return json.loads((tmp_path / "out" / SUMMARY).read_text()), shown.out

    return _run


@pytest.fixture
def refused(study, tmp_path, rooms, capsys):
    """Segment a study that must be refused: one line, nothing written, no network loaded; return the line."""

    def _refused(*words, code=2):
        found = call(["segment", str(study.folder), "--out", str(tmp_path / "out"), *words])
        shown = capsys.readouterr()
        lines = shown.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), shown.err
        assert found == code and rooms.loaded == 0
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]
        assert "Fabricated" not in lines[0] and "1.2.826" not in lines[0]
        return lines[0]

    return _refused


XFM = np.array([[1, 0, 0, 2.5], [0, 1, 0, -1], [0, 0, 1, 3], [0, 0, 0, 1.0]])


@pytest.fixture
def registered(rooms, monkeypatch):
    """Let preparation find a known way from the FLAIR to the T1w, where there is one."""
    from flairnb.prepare import case as case_module

    without = case_module.prepare_case

    def prepare_case(flair, t1w=None, **words):
        case = without(flair, t1w, **words)
        return case if t1w is None else replace(case, t1w_xfm=XFM)

    monkeypatch.setattr(case_module, "prepare_case", prepare_case)


def read_back(path: Path, source: Path) -> dict[int, dict[str, np.ndarray]]:
    """Return segment number to {SOP Instance UID of the source: frame}, by pydicom and the standard's attributes alone.

    Each frame's own position is held against that of the source slice it refers to.
    """
    import pydicom

    images = {}
    for file in source.rglob("*"):
        if file.is_file():
            try:
                image = pydicom.dcmread(file, stop_before_pixels=True)
            except pydicom.errors.InvalidDicomError:
                continue
            images[image.SOPInstanceUID] = image
    seg = pydicom.dcmread(path)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    found: dict[int, dict[str, np.ndarray]] = {s.SegmentNumber: {} for s in seg.SegmentSequence}
    for groups, pixels in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        uid = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        shared = seg.SharedFunctionalGroupsSequence[0]
        np.testing.assert_allclose(
            [float(v) for v in groups.PlanePositionSequence[0].ImagePositionPatient], [float(v) for v in images[uid].ImagePositionPatient]
        )
        np.testing.assert_allclose(
            [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient],
            [float(v) for v in images[uid].ImageOrientationPatient],
        )
        np.testing.assert_allclose(shared.PixelMeasuresSequence[0].PixelSpacing, images[uid].PixelSpacing)
        found[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber][uid] = pixels
    return found


def source_pixels(folder: Path) -> dict[str, np.ndarray]:
    import pydicom

    images = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
    return {image.SOPInstanceUID: image.pixel_array for image in images}


@pytest.mark.parametrize("grid", ["axial", "oblique", "axial from above", "sagittal 3D", "coronal"])
def test_the_mask_comes_back_on_exactly_its_source_slices(grid, study, kinds, run, tmp_path):
    study.add(5, grid, **{**kinds.flair, "MRAcquisitionType": "3D" if "3D" in grid else "2D"})
    study.add(6, "axial", **kinds.t2w)
    summary, _ = run()
    segments = read_back(tmp_path / "out" / f"{PREFIX}_seg.dcm", study.folder)
    marked = 0
    for uid, pixels in source_pixels(study.folder / "s5").items():
        for number, above in ((1, LESION_ABOVE), (2, BRAIN_ABOVE)):
            frame = segments[number].get(uid, np.zeros(pixels.shape))
            np.testing.assert_array_equal(frame, pixels > above)
        marked += int((pixels > LESION_ABOVE).sum())
    assert marked > 50 and summary["lesion_count"] == 1
    assert summary["dicom"]["flair"]["series"] == "5" and summary["dicom"]["flair"]["orientation"] == grid.split()[0].replace(
        "oblique", "axial"
    )


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("grid", ["oblique", "sagittal 3D"])
def test_a_multi_frame_object_gets_its_mask_back_frame_by_frame(grid, backwards, study, kinds, run, tmp_path):
    import pydicom

    pixels = study.add_enhanced(5, grid, backwards, **kinds.flair, MRAcquisitionType="3D" if "3D" in grid else "2D")
    study.add(6, "axial", **kinds.t2w)
    summary, _ = run()
    assert summary["dicom"]["flair"]["series"] == "5" and summary["dicom"]["flair"]["ti_ms"] == 2500
    seg, source = pydicom.dcmread(tmp_path / "out" / f"{PREFIX}_seg.dcm"), pydicom.dcmread(study.folder / "E5")
    seen = np.zeros(pixels.shape, bool)
    for groups, marked in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1:
            reference = groups.DerivationImageSequence[0].SourceImageSequence[0]
            assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
            frame = int(reference.ReferencedFrameNumber)
            place = source.PerFrameFunctionalGroupsSequence[frame - 1].PlanePositionSequence[0].ImagePositionPatient
            assert [float(v) for v in groups.PlanePositionSequence[0].ImagePositionPatient] == pytest.approx([float(v) for v in place])
            seen[len(pixels) - frame if backwards else frame - 1] = marked
    np.testing.assert_array_equal(seen, pixels > LESION_ABOVE)


def test_the_nifti_mask_is_left_in_front_where_the_lesion_was_put(study, kinds, run, tmp_path):
    study.add(5, "oblique", **kinds.flair)
    run()
    mask = nib.load(tmp_path / "out" / f"{PREFIX}_mask.nii.gz")
    index = np.argwhere(np.asarray(mask.dataobj) > 0)
    centre = (mask.affine[:3, :3] @ index.mean(0)) + mask.affine[:3, 3]
    np.testing.assert_allclose(centre, (-30, 25, 18), atol=2.0)  # RAS, from the phantom's definition
    flair = nib.load(tmp_path / "out" / "dicom_FLAIR.nii.gz")
    np.testing.assert_array_equal(flair.affine, mask.affine)
    assert flair.header["descrip"].item().startswith(b"flairnb") and flair.header["aux_file"].item() == b""


def test_highdicom_reads_the_segments_back_as_a_volume(study, kinds, run, tmp_path):
    import highdicom as hd

    pixels = study.add(5, "oblique", **kinds.flair)
    run()
    seg = hd.seg.segread(tmp_path / "out" / f"{PREFIX}_seg.dcm")
    volume = seg.get_volume(segment_numbers=[1], combine_segments=True)
    lps = np.diag([-1, -1, 1, 1]) @ kinds.grids["oblique"].affine
    ours, truth = np.argwhere(volume.array > 0), np.argwhere(pixels > LESION_ABOVE)
    assert len(ours) == len(truth) > 50
    there = np.sort((volume.affine[:3, :3] @ ours.T + volume.affine[:3, 3:]).round(2), axis=1)
    np.testing.assert_allclose(there, np.sort((lps[:3, :3] @ truth.T + lps[:3, 3:]).round(2), axis=1), atol=0.02)


def test_the_segmentation_says_what_made_it_and_of_whom(study, kinds, run, tmp_path):
    import pydicom

    from flairnb.provenance import sha256_file, versions

    study.add(5, "axial", **kinds.flair)
    summary, _ = run()
    path = tmp_path / "out" / f"{PREFIX}_seg.dcm"
    seg, source = pydicom.dcmread(path), pydicom.dcmread(study.folder / "s5" / "I0000")
    for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID", "AccessionNumber"):
        assert seg[name].value == source[name].value
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID and seg.Modality == "SEG" and seg.SegmentationType == "BINARY"
    assert "not for clinical use" in seg.ContentDescription
    lesion, brain = seg.SegmentSequence
    assert (lesion.SegmentLabel, brain.SegmentLabel) == ("Lesion", "Brain")
    coded = [(s.SegmentedPropertyCategoryCodeSequence[0], s.SegmentedPropertyTypeCodeSequence[0]) for s in (lesion, brain)]
    # DICOM PS3.16: CID 7150 categories, CID 7159 lesions, CID 7140 brain structures.
    assert [(a.CodeValue, b.CodeValue) for a, b in coded] == [("49755003", "52988006"), ("91723000", "12738006")]
    assert {c.CodingSchemeDesignator for pair in coded for c in pair} == {"SCT"}
    assert lesion.AnatomicRegionSequence[0].CodeValue == "12738006"
    algorithm = lesion.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "flairnb" and algorithm.AlgorithmVersion == versions()["flairnb"]
    assert summary["weights"]["sha256"] in algorithm.AlgorithmParameters
    assert summary["files"][path.name] == sha256_file(path)


def test_an_empty_mask_leaves_an_empty_lesion_segment(study, kinds, run, tmp_path):
    pixels = np.minimum(kinds.head(*kinds.grids["axial"].points())[0], 900)
    study.add(5, "axial", data=pixels, **kinds.flair)
    summary, _ = run()
    assert summary["lesion_count"] == 0
    segments = read_back(tmp_path / "out" / f"{PREFIX}_seg.dcm", study.folder)
    assert not any(frame.any() for frame in segments[1].values()) and any(frame.any() for frame in segments[2].values())


def test_of_many_series_flair_and_t1w_are_used_and_the_rest_is_named_with_its_reason(study, kinds, run, rooms):
    small = replace(kinds.grids["axial"], shape=(5, 60, 50), step_mm=25.0)
    study.add(1, small, ImageType=["ORIGINAL", "PRIMARY", "M", "LOCALIZER"], SeriesDescription="loc", EchoTime=5, RepetitionTime=9)
    study.add(2, "sagittal 3D", where="deep/er/t1", MRAcquisitionType="3D", **kinds.t1w)
    study.add(3, "axial", ImageType=["DERIVED", "SECONDARY", "MPR", "M"], **kinds.flair)
    study.add(4, "axial", SeriesDescription="ep2d_diff", EchoTime=90, RepetitionTime=5000, ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION"])
    study.add(5, "axial", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], EchoTime=90, RepetitionTime=5000, SeriesDescription="x")
    study.add(6, "axial", where="all", **kinds.flair)
    study.add(7, "axial", **kinds.t2w)
    study.add(8, "sagittal 3D", MRAcquisitionType="3D", ContrastBolusAgent="Gadofabricate", **kinds.t1w)
    (study.folder / "report.pdf").write_bytes(b"%PDF")
    (study.folder / "all" / "cut").write_bytes(bytes(128) + b"DICM" + b"\x02\x00")
    (study.folder / "DICOMDIR").write_bytes(bytes(500))
    summary, shown = run()
    chosen = summary["dicom"]
    assert (chosen["flair"]["series"], chosen["t1w"]["series"]) == ("6", "2") and chosen["other_files"] == 3
    reasons = {entry["series"]: entry["why"] for entry in chosen["rejected"]}
    assert set(reasons) == {"1", "3", "4", "5", "7", "8"}
    for number, reason in {
        "1": "localizer",
        "3": "derived from another series",
        "4": "diffusion",
        "5": "diffusion map",
        "7": "TE 95 ms",
        "8": "contrast agent",
    }.items():
        assert reason in reasons[number]
        assert f"not used: series {number} " in shown
    assert "FLAIR: series 6 (axial 2D, 16 slices): inversion recovery with TI 2500 ms" in shown and "T1w: series 2 (sagittal 3D" in shown
    assert rooms.t1w is not None and sorted(rooms.t1w.shape) == [31, 55, 58]


def test_nothing_but_the_segmentation_tells_who_the_patient_is(study, kinds, run, tmp_path):
    import gzip

    from flairnb.report.privacy import check_privacy

    names = {"SeriesDescription": "AX FLAIR XQ17 Fabricated", "ProtocolName": "flair for STUDYTEXT", "ImageComments": "Fabricated"}
    study.add(5, "axial", **{**kinds.flair, **names, "AcquisitionTime": "101112.131415"})
    study.add(6, "sagittal 3D", **kinds.t1w)
    _, shown = run()
    texts = [shown.encode()]
    for path in (tmp_path / "out").iterdir():
        content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        if path.suffix != ".dcm":
            texts += [content, path.name.encode()]
    everything = b"\n".join(texts).lower()
    for secret in (*kinds.secrets, "fabricated", "PERSON", "XQ17", "101112", "36732", "in/", study.study_uid):
        assert secret.lower().encode() not in everything.replace(b"results in " + str(tmp_path / "out").lower().encode(), b""), secret
    found = {f.file for f in check_privacy(tmp_path / "out", ("Fabricated", "PERSON")) if f.kind != "volume"}
    assert found == set()
    assert b"Fabricated^Person" in (tmp_path / "out" / f"{PREFIX}_seg.dcm").read_bytes()  # said in the README


def test_the_same_series_twice_counts_once(study, kinds, run):
    study.add(5, "axial", **kinds.flair)
    shutil.copytree(study.folder / "s5", study.folder / "copy")
    summary, _ = run()
    assert summary["dicom"]["flair"]["slices"] == 16 and summary["dicom"]["rejected"] == []


def test_results_can_be_written_beside_the_source_and_the_run_repeated(study, kinds, rooms, capsys):
    study.add(5, "axial", **kinds.flair)
    for _ in range(2):
        assert call(["segment", str(study.folder), "--out", str(study.folder)]) == 0, capsys.readouterr().err
    summary = json.loads((study.folder / SUMMARY).read_text())
    assert [entry["why"] for entry in summary["dicom"]["rejected"]] == ["not MR (SEG)"]


def test_results_of_another_patient_are_not_replaced(study, kinds, rooms, tmp_path, capsys):
    """Every DICOM result has the same names."""
    study.add(5, "axial", **kinds.flair)
    (tmp_path / "in" / "second").mkdir()
    other = kinds.study(tmp_path / "in" / "second", {**study.patient, "PatientName": "Fabricated^Other", "PatientID": "HOSP-0815"})
    other.add(5, "axial", data=kinds.head(*kinds.grids["axial"].points())[0] * 1.01, **kinds.flair)
    shutil.copytree(study.folder, tmp_path / "in" / "copy")
    out = tmp_path / "out"
    assert call(["segment", str(study.folder), "--out", str(out)]) == 0, capsys.readouterr().err
    before = (out / SUMMARY).read_bytes()
    capsys.readouterr()
    assert call(["segment", str(other.folder), "--out", str(out)]) == 2 and rooms.loaded == 1
    assert f"error: --out: expected results of this FLAIR or none, found those of another FLAIR under the same name ({SUMMARY})" in (
        capsys.readouterr().err
    )
    assert (out / SUMMARY).read_bytes() == before
    assert call(["segment", str(tmp_path / "in" / "copy"), "--out", str(out)]) == 0


def test_the_flair_of_a_dicom_result_is_known_to_be_its_own(study, kinds, run, tmp_path):
    from flairnb.provenance import read_json
    from flairnb.report.review_cases import find_flair

    study.add(5, "axial", **kinds.flair)
    run()
    out, summary = tmp_path / "out", read_json(tmp_path / "out" / SUMMARY)
    assert find_flair(out, summary) == out / "dicom_FLAIR.nii.gz"
    (out / "dicom_FLAIR.nii.gz").write_bytes(b"another")
    assert find_flair(out, summary) is None


def test_a_file_of_ones_own_beside_the_source_is_not_written_over(study, kinds, rooms, capsys):
    study.add(5, "axial", **kinds.flair)
    words = ["segment", str(study.folder), "--out", str(study.folder)]
    for name in ("dicom_FLAIR.nii.gz", f"{PREFIX}_seg.dcm", f"{PREFIX}_mask.nii.gz", "dicom_desc-qc.png", SUMMARY):
        (study.folder / name).write_bytes(b"mine")
        assert call(words) == 2 and rooms.loaded == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: --out: expected results of an earlier run or none, found {name}, which")
        assert (study.folder / name).read_bytes() == b"mine"
        (study.folder / name).unlink()
    assert call(words) == 0
    (study.folder / f"{PREFIX}_seg.dcm").write_bytes(b"corrected")
    assert call(words) == 2 and f"found {PREFIX}_seg.dcm" in capsys.readouterr().err


def test_all_files_of_a_dicom_result_are_known_beforehand(study, kinds, run, tmp_path):
    from flairnb.report.patient_files import result_names

    study.add(5, "axial", **kinds.flair)
    run()
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(result_names("dicom", dicom=True))


GENERAL = "BRAIN W WO CONTRAST MRA STROKE"


def test_a_protocol_name_of_the_whole_examination_says_nothing_of_its_series(study, kinds, run, rooms):
    """As on scanners whose ProtocolName is that of the examination."""
    study.add(2, "sagittal 3D", MRAcquisitionType="3D", ProtocolName=GENERAL, **kinds.t1w)
    study.add(5, "axial", ProtocolName=f" {GENERAL.title()} ", **kinds.flair)
    study.add(6, "axial", ProtocolName=GENERAL, **kinds.t2w)
    study.add(7, "axial", SeriesDescription="Screen", Modality="OT")
    chosen = run()[0]["dicom"]
    assert (chosen["flair"]["series"], chosen["t1w"]["series"]) == ("5", "2") and rooms.t1w is not None
    assert not chosen["flair"]["contrast_agent"] and not chosen["t1w"]["contrast_agent"]


def test_a_flair_alone_is_known_by_its_description_and_timing_whatever_the_protocol(study, kinds, run, refused):
    study.add(5, "axial", ProtocolName=GENERAL, **kinds.flair)
    assert run()[0]["dicom"]["flair"]["series"] == "5"


def test_a_protocol_name_of_one_series_still_counts(study, kinds, run):
    study.add(2, "sagittal 3D", MRAcquisitionType="3D", ProtocolName="T1 POST GD", **kinds.t1w)
    study.add(5, "axial", ProtocolName="T2 FLAIR", **kinds.flair)
    study.add(6, "axial", ProtocolName="TOF", **{**kinds.flair, "SeriesDescription": "AX"})
    chosen = run()[0]["dicom"]
    assert chosen["flair"]["series"] == "5" and chosen["t1w"] is None
    assert {entry["series"]: entry["why"] for entry in chosen["rejected"]} == {"2": "T1w after contrast agent", "6": "angiography"}


def test_a_shared_protocol_name_still_counts_where_nothing_else_describes_a_series(study, kinds, refused):
    bare = {**kinds.flair, "SeriesDescription": None, "ProtocolName": "MRA"}
    study.add(5, "axial", **bare)
    study.add(6, "axial", **{**bare, "SeriesDescription": "AX T2"})
    study.add(7, "axial", **{**kinds.t2w, "ProtocolName": "MRA"})
    # Series 6 is now judged by its timing alone; 5 is an angiography as before.
    from flairnb.prepare.dicom_headers import read_folder
    from flairnb.prepare.dicom_series import judge

    assert {s.label: judge(s)[0] or judge(s)[1] for s in read_folder(study.folder).series} == {
        "5": "angiography",
        "6": "FLAIR",
        "7": "neither FLAIR nor T1w: TE 95 ms, TR 5000 ms",
    }


def test_series_behind_links_to_folders_are_read_each_once(study, kinds, run, tmp_path):
    study.add(5, "axial", **kinds.flair)
    (tmp_path / "in" / "disk").mkdir()
    (study.folder / "s5").rename(tmp_path / "in" / "disk" / "s5")
    (study.folder / "flair").symlink_to(tmp_path / "in" / "disk" / "s5")
    (tmp_path / "in" / "disk" / "s5" / "round").symlink_to(study.folder)
    # Another patient, above: a link upwards leads to no input.
    kinds.study(tmp_path / "in" / "other", {"PatientName": "Fabricated^Other", "PatientID": "HOSP-0815"}).add(9, "axial", **kinds.flair)
    (study.folder / "up").symlink_to(tmp_path / "in")
    summary, _ = run()
    assert summary["dicom"]["flair"]["slices"] == 16 and summary["dicom"]["rejected"] == [] and summary["dicom"]["other_files"] == 0


def test_the_series_can_be_chosen_by_number_or_uid(study, kinds, run, refused, tmp_path):
    import pydicom

    study.add(5, "axial", **kinds.flair)
    study.add(7, "axial", **kinds.flair)
    study.add(7, "axial", where="again", **kinds.flair)
    assert "found 3 equally good: series 5 (axial 2D, 16 slices), series 7a" in refused()
    assert "There are: 5, 7a, 7b." in refused("--series", "8")
    assert run("--series", "7b")[0]["dicom"]["flair"]["series"] == "7b"
    uid = pydicom.dcmread(study.folder / "s5" / "I0000").SeriesInstanceUID
    summary, shown = run("--series", uid)
    assert summary["dicom"]["flair"]["series"] == "5" and uid not in shown + json.dumps(summary)


def test_a_t1w_file_of_ones_own_is_used_instead(study, kinds, run, rooms, tmp_path):
    study.add(5, "axial", **kinds.flair)
    study.add(6, "sagittal 3D", **kinds.t1w)
    run()
    mine = nib.load(tmp_path / "out" / "dicom_FLAIR.nii.gz")
    nib.save(nib.Nifti1Image(mine.get_fdata() * 0.5 + 7, mine.affine), tmp_path / "mine.nii.gz")
    summary, _ = run("--t1w", str(tmp_path / "mine.nii.gz"), "--brain-mask", str(tmp_path / "out" / "dicom_desc-brain_mask.nii.gz"))
    assert summary["dicom"]["t1w"] is None and rooms.t1w.shape == mine.shape
    assert summary["dicom"]["rejected"][0]["why"] == "T1w, but another file was given"


def test_files_given_beside_dicom_are_told_by_their_hashes_and_never_by_their_names(study, kinds, run, registered, tmp_path):
    """A file's name may be a patient's."""
    from flairnb.provenance import sha256_file

    study.add(5, "axial", **kinds.flair)
    assert {"t1w_sha256", "flair_to_t1w", "brain_mask_sha256"}.isdisjoint(run()[0]["input"])
    mine = nib.load(tmp_path / "out" / "dicom_FLAIR.nii.gz")
    head, mask = tmp_path / "Fabricated_T1w.nii.gz", tmp_path / "Fabricated_mask.nii.gz"
    nib.save(nib.Nifti1Image(mine.get_fdata() * 0.5 + 7, mine.affine), head)
    shutil.copyfile(tmp_path / "out" / "dicom_desc-brain_mask.nii.gz", mask)
    summary, shown = run("--t1w", str(head), "--brain-mask", str(mask))
    told = summary["input"]
    assert (told["t1w_sha256"], told["brain_mask_sha256"]) == (sha256_file(head), sha256_file(mask))
    assert told["flair_to_t1w"] == XFM.tolist() and {"t1w", "brain_mask"}.isdisjoint(told)
    assert "Fabricated" not in json.dumps(summary)
    assert "T1w: none of the series; a file was given" in shown and "no T1w" not in shown


def test_a_t1w_picked_from_dicom_is_told_by_its_voxels_and_its_registration(study, kinds, run, rooms, registered):
    import hashlib

    study.add(5, "axial", **kinds.flair)
    study.add(6, "sagittal 3D", **kinds.t1w)
    told = run()[0]["input"]
    assert told["t1w_sha256"] == hashlib.sha256(np.ascontiguousarray(rooms.t1w.data)).hexdigest()
    assert told["flair_to_t1w"] == XFM.tolist() and "t1w" not in told


def other_contrast(kinds):
    """Return voxels of the axial grid that are not the FLAIR's."""
    return 3000 - kinds.head(*kinds.grids["axial"].points())[0]


def test_a_slab_of_t1w_is_not_used_beside_one_of_the_whole_head(study, kinds, run, rooms):
    study.add(5, "axial", **kinds.flair)
    study.add(6, "axial", data=other_contrast(kinds), **kinds.t1w)
    study.add(7, replace(kinds.grids["axial"], step_mm=2.25), **{**kinds.t1w, "SeriesDescription": "AX T1 IAC"})
    summary, shown = run()
    assert summary["dicom"]["t1w"]["series"] == "6" and rooms.t1w.spacing_mm.max() == pytest.approx(9.5)
    assert "not used: series 7 (axial 2D, 16 slices): T1w, but series 6 suits better (covers 36 mm across its slices only)" in shown


def test_after_a_damaged_t1w_the_next_one_is_used_and_both_are_said(study, kinds, run, rooms):
    study.add(5, "axial", **kinds.flair)
    study.add(6, "axial", data=other_contrast(kinds), **kinds.t1w)
    study.add(7, replace(kinds.grids["axial"], shape=(32, 60, 50), step_mm=4.75), **kinds.t1w)
    path = study.folder / "s7" / "I0003"
    path.write_bytes(path.read_bytes()[:-3000])
    summary, shown = run()
    assert summary["dicom"]["t1w"]["series"] == "6" and rooms.t1w.shape[2] == 16
    (note,) = (note for note in summary["notes"] if "T1w that was found, series 7, could not be used" in note)
    after = shown[shown.index(note) :]
    assert "T1w: series 6 (axial 2D, 16 slices): TI 900 ms" in after and "series 6" not in note
    (rejected,) = summary["dicom"]["rejected"]
    assert rejected["series"] == "7" and note.endswith(rejected["why"].removeprefix("T1w, but "))


def test_a_t1w_that_cannot_be_used_is_left_out_with_a_note(study, kinds, run, rooms):
    study.add(5, "axial", **kinds.flair)
    finger = replace(kinds.grids["axial"], pixel_mm=(0.4, 0.4), step_mm=1.0)
    study.add(6, finger, **kinds.t1w)
    summary, shown = run()
    assert rooms.t1w is None and summary["dicom"]["t1w"] is None
    (note,) = (note for note in summary["notes"] if "T1w that was found, series 6, could not be used" in note)
    assert note in shown and [entry["series"] for entry in summary["dicom"]["rejected"]] == ["6"]
    assert "T1w: none of the series; " in shown[shown.index(note) :]


def test_rescaled_pixels_keep_their_values(study, kinds, run, rooms):
    pixels = study.add(5, "axial", RescaleSlope="0.5", RescaleIntercept="300", **kinds.flair)
    run()
    assert rooms.flair.data.max() == pytest.approx(pixels.max() * 0.5 + 300, rel=1e-4)


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLSLossless"])
def test_compressed_pixels_are_read(syntax, study, kinds, run, tmp_path):
    import pydicom

    pixels = study.add(5, "axial", **kinds.flair)
    for path in (study.folder / "s5").iterdir():
        image = pydicom.dcmread(path)
        image.compress(getattr(pydicom.uid, syntax))
        image.save_as(path)
    run()
    mask = nib.load(tmp_path / "out" / f"{PREFIX}_mask.nii.gz")
    assert np.count_nonzero(np.asarray(mask.dataobj)) == (pixels > LESION_ABOVE).sum()


def test_slices_of_one_volume_stay_together_whatever_else_differs(study, kinds, run):
    """Concatenated acquisitions: other numbers, times and echo times in every second slice."""
    import pydicom

    study.add(5, "axial", **kinds.flair)
    for path in (study.folder / "s5").iterdir():
        image = pydicom.dcmread(path)
        image.AcquisitionNumber = 1 + image.InstanceNumber % 2
        image.EchoTime = 120 + 0.5 * (image.InstanceNumber % 2)
        image.AcquisitionTime = f"1011{10 + image.InstanceNumber}"
        image.save_as(path)
    assert run()[0]["lesion_count"] == 1


def test_values_that_break_the_standard_are_borne_in_silence(study, kinds, run, monkeypatch):
    """A warning would repeat the value on the terminal; `run` looks for an empty error stream."""
    from pydicom import config

    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    odd = {"PatientBirthDate": "17.3.1954", "AccessionNumber": "A" * 40, "PatientID": "P" * 90, "StudyTime": "noon", "SliceLocation": None}
    study.patient |= odd
    study.add(5, "axial", **{**kinds.flair, "SeriesDescription": "FLAIR " + "x" * 90})
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.WARN)
    summary, shown = run()
    assert summary["dicom"]["flair"]["series"] == "5" and "1954" not in shown


def test_damaged_headers_never_end_in_a_traceback(study, kinds):
    """Bytes of headers are changed at random; what comes out is a choice, or an error of ours."""
    from flairnb.errors import FlairnbError
    from flairnb.prepare.dicom_headers import read_folder
    from flairnb.prepare.dicom_series import pick

    study.add(5, replace(kinds.grids["axial"], shape=(5, 6, 7)), **kinds.flair)
    study.add_enhanced(6, replace(kinds.grids["axial"], shape=(5, 6, 7)), **kinds.flair)
    paths = [*sorted((study.folder / "s5").iterdir())[:2], study.folder / "E6"]
    whole = {path: path.read_bytes() for path in paths}
    rng, ends = np.random.default_rng(11), set()
    for _ in range(120):
        for path, content in whole.items():
            spoiled = bytearray(content)
            for place in rng.integers(132, len(content), rng.integers(1, 12)):
                spoiled[place] = rng.integers(256)
            path.write_bytes(bytes(spoiled))
        try:
            pick(read_folder(study.folder).series)
            ends.add("choice")
        except FlairnbError as error:
            ends.add(type(error).__name__)
    assert len(ends) > 1


def test_a_folder_without_dicom_is_refused(study, refused):
    (study.folder / "notes.txt").write_text("nothing")
    (study.folder / "short").write_bytes(b"DICM")
    assert "no DICOM image (2 other files)" in refused()


def test_no_flair_lists_what_was_found(study, kinds, refused):
    study.add(2, "sagittal 3D", **kinds.t1w)
    study.add(6, "axial", **kinds.t2w)
    line = refused()
    assert "expected a FLAIR series, found none among 2: series 2 (sagittal 2D, 31 slices): TI 900 ms" in line
    assert "series 6 (axial 2D, 16 slices): neither FLAIR nor T1w: TE 95 ms, TR 5000 ms" in line


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ({"PatientName": "Fabricated^Other", "PatientID": "HOSP-0815"}, "found 2 patients"),
        ({"PatientName": "fabricated^person", "PatientID": "HOSP-4711"}, "found 2 studies of one patient"),
    ],
)
def test_patients_and_studies_are_not_mixed(who, words, study, kinds, refused, run):
    study.add(5, "axial", **kinds.flair)
    kinds.study(study.folder, {**study.patient, **who}).add(9, "axial", **kinds.flair)
    assert words in refused()
    assert run("--series", "9")[0]["dicom"]["rejected"][0]["why"] == "of another study or patient"


@pytest.mark.parametrize(
    ("leave_out", "words"),
    [((11,), "missing slices (19.00 mm apart at one place, 9.50 mm at others)"), (range(3, 16), "fewer than 4 slices")],
)
def test_missing_slices_are_refused(leave_out, words, study, kinds, refused):
    study.add(5, "axial", leave_out=leave_out, **kinds.flair)
    assert words in refused()


def test_a_missing_last_slice_is_suspected_by_the_images_numbers(study, kinds, run):
    study.add(5, "axial", **kinds.flair)
    paths = sorted((study.folder / "s5").iterdir())
    import pydicom

    last = next(p for p in paths if pydicom.dcmread(p).InstanceNumber == 16)
    image = pydicom.dcmread(last)
    image.InstanceNumber = 18
    image.save_as(last)
    assert any("slices at its ends may be missing" in note for note in run()[0]["notes"])


@pytest.mark.parametrize("text", ["abc", "1\\2", "nan", "inf", ""])
@pytest.mark.parametrize("field", [(0x00200013, "IS"), (0x00200011, "IS")], ids=["InstanceNumber", "SeriesNumber"])
def test_numbers_that_are_none_never_end_in_a_traceback(field, text, study, kinds, run):
    """Written byte by byte: no program that keeps to the standard writes them."""
    import pydicom
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    study.add(5, "axial", **kinds.flair)
    tag, kind, value = Tag(field[0]), field[1], (text + " " * (len(text) % 2)).encode()
    for path in (study.folder / "s5").iterdir():
        image = pydicom.dcmread(path)
        image._dict[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
        image.save_as(path)
    assert run()[0]["lesion_count"] == 1


AGENTS = {
    False: ["", "-", "0", "N", "NA", "N/A", "n / a", "n.a.", "NIL", "No", "NO GAD", "No agent", "no_contrast", "None given", "NONE",
            "Not applicable", "w/o", "W/O GAD", "wo", "without", "Without contrast", "ohne KM", "sans", "kein", "Keins", "keine Angabe",
            "0 ml", "0.0 mL", "0,00 mmol/kg", "0cc", "NIL GIVEN", "nein"],
    True: ["Gadovist", "GAD", "Dotarem 7 ml", "yes", "Novascan", "No. 2 Gadavist", "Notavist", "Wolframate", "Nagd", "Omniscan, no more",
           "10", "0.1 mmol/kg", "0.05", "0 7 ml", "Nilodor", "NeinGd"],
}  # fmt: skip


@pytest.mark.parametrize(("text", "named"), [(text, named) for named, texts in AGENTS.items() for text in texts])
def test_what_stands_for_no_contrast_agent_is_none(text, named, study, kinds):
    from flairnb.prepare.dicom_headers import read_folder

    study.add(3, replace(kinds.grids["axial"], shape=(4, 6, 7)), ContrastBolusAgent=text, **kinds.t1w)
    (series,) = read_folder(study.folder).series
    assert series.contrast is named


def test_a_t1w_whose_header_says_that_no_agent_was_given_is_used(study, kinds, run, rooms):
    study.add(5, "axial", **kinds.flair)
    study.add(6, "sagittal 3D", ContrastBolusAgent="N/A", **kinds.t1w)
    assert run()[0]["dicom"]["t1w"]["series"] == "6" and rooms.t1w is not None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], "several orientations"),
        ("PixelSpacing", [3.0, 3.0], "several sizes"),
        ("ImagePositionPatient", [-86.0, 108.7, 20.0], "expected a FLAIR whose slices make a volume"),
    ],
)
def test_a_slice_with_another_geometry_is_refused(field, value, words, study, kinds, refused):
    import pydicom

    study.add(5, "axial", **kinds.flair)
    path = study.folder / "s5" / "I0003"
    image = pydicom.dcmread(path)
    setattr(image, field, value)
    image.save_as(path)
    assert words in refused()


@pytest.mark.parametrize("field", ["ImagePositionPatient", "PixelSpacing", "ImageOrientationPatient"])
def test_images_without_a_place_are_refused(field, study, kinds, refused):
    import pydicom

    study.add(5, "axial", **kinds.flair)
    for path in (study.folder / "s5").iterdir():
        image = pydicom.dcmread(path)
        del image[field]
        image.save_as(path)
    assert "no position in the patient" in refused()


def test_a_source_that_no_segmentation_can_refer_to_is_refused_before_the_work(study, kinds, refused):
    study.add(5, "axial", FrameOfReferenceUID=None, **kinds.flair)
    import pydicom

    for path in (study.folder / "s5").iterdir():
        image = pydicom.dcmread(path)
        del image.FrameOfReferenceUID
        image.save_as(path)
    assert "headers that a DICOM-SEG can refer to" in refused()


def test_pixels_that_cannot_be_decoded_are_refused(study, kinds, refused):
    import pydicom
    from pydicom.encaps import encapsulate

    study.add(5, "axial", **kinds.flair)
    for path in (study.folder / "s5").iterdir():
        image = pydicom.dcmread(path)
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
        image.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(200)])
        image["PixelData"].VR = "OB"
        image.save_as(path)
    line = refused()
    assert "could not decode series 5" in line and "High-Throughput JPEG 2000" in line and "uncompressed" in line


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_pixels_that_are_cut_off_are_refused(fraction, study, kinds, refused):
    study.add(5, "axial", **kinds.flair)
    path = study.folder / "s5" / "I0003"
    content = path.read_bytes()
    path.write_bytes(content[: 1500 + int((len(content) - 1500) * fraction)])
    assert refused().startswith("error: FLAIR: expected")


def test_a_missing_converter_is_a_problem_of_the_machine(study, kinds, refused, monkeypatch):
    study.add(5, "axial", **kinds.flair)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert "expected the program dcm2niix, found none" in refused(code=1)


@pytest.mark.parametrize("name", ["pydicom", "highdicom"])
def test_a_missing_package_is_a_problem_of_the_machine(name, study, kinds, refused, monkeypatch):
    study.add(5, "axial", **kinds.flair)
    monkeypatch.setitem(sys.modules, name, None)
    assert f"expected the package {name}, found none" in refused(code=1)


@pytest.mark.parametrize(
    ("script", "words", "code"),
    [
        ("sleep 30", "took more than", 1),
        ("exit 1", "ended with code 1", 2),
        ("exit 0", "ended with code 0", 2),
        ("echo PATIENT; echo PATIENT >&2; exit 8", "ended with code 8", 2),
    ],
)
def test_a_converter_that_fails_ends_in_one_line(script, words, code, study, kinds, refused, tmp_path, monkeypatch):
    from flairnb.prepare import dicom_convert

    study.add(5, "axial", **kinds.flair)
    program = tmp_path / "in" / "converter"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(dicom_convert, "find_dcm2niix", lambda: os.fspath(program))
    monkeypatch.setattr(dicom_convert, "_SECONDS", 0.5)
    line = refused(code=code)
    assert words in line and "PATIENT" not in line


@pytest.mark.parametrize("wrong", ["mirror", "swap", "noise"])
def test_a_converter_that_turns_the_image_is_found_out(wrong, study, kinds, refused, monkeypatch):
    """The volume lies where it should, but its voxels do not: another program's look at the pixels shows it."""
    from flairnb.prepare import dicom_convert

    study.add(5, "axial", **kinds.flair)
    run = dicom_convert._run

    def spoiled(*words):
        path = run(*words)
        image = nib.load(path)
        data = np.asanyarray(image.dataobj).copy()
        data = {"mirror": data[::-1], "swap": data[:, :, ::-1], "noise": data + (np.arange(data.size).reshape(data.shape) == 9999) * 99}[
            wrong
        ]
        nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
        return path

    monkeypatch.setattr(dicom_convert, "_run", spoiled)
    assert "repeat its source's pixels" in refused()


def test_series_is_for_dicom_only(tmp_path, capsys):
    assert call(["segment", str(tmp_path / "x_FLAIR.nii.gz"), "--series", "3", "--out", str(tmp_path / "out")]) == 2
    assert "--series: expected a folder of DICOM files" in capsys.readouterr().err
