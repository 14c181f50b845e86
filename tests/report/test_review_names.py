"""What a patient is called in a review of a folder and on case pages: never as another patient of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flairnb.images import Image, write_image
from flairnb.provenance import read_json, write_json
from flairnb.report import reading_log, review_cases
from flairnb.report.case_report import write_case_reports
from flairnb.report.patient_folder import SUMMARY
from flairnb.report.reading_log import Reading
from flairnb.report.review import Session, so_far
from flairnb.report.review_files import case_names

SHAPE = (17, 19, 8)


@pytest.fixture
def result(rng, oblique_affine, tmp_path):
    """Return what leaves a result of `flairnb segment` under a path, with so many voxels of lesion."""

    def _result(name: str, voxels: int = 3) -> Path:
        path = tmp_path / "out" / name
        flair = Image(rng.normal(100, 9, SHAPE).astype(np.float32), oblique_affine)
        mask = np.zeros(SHAPE, dtype=bool)
        mask[3 : 3 + voxels, 9, 4] = True
        write_image(path.with_name(f"{path.name}_FLAIR.nii.gz"), flair.data, flair)
        write_image(path.with_name(f"{path.name}_label-lesion_desc-unet_mask.nii.gz"), mask, flair, np.uint8)
        write_image(path.with_name(f"{path.name}_desc-brain_mask.nii.gz"), np.ones(SHAPE), flair, np.uint8)
        summary = {
            "expected_dice": 0.5,
            "lesion_volume_ml": float(voxels),
            "lesion_count": 1,
            "input": {"flair": f"{path.name}_FLAIR.nii.gz"},
        }
        write_json(path.with_name(f"{path.name}{SUMMARY}"), summary)
        return tmp_path / "out"

    return _result


def named(*paths: str) -> list[str]:
    return case_names(Path("out"), [Path("out") / f"{path}{SUMMARY}" for path in paths])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["dicom", "a/dicom"], ["dicom", "a_dicom"]),
        (["a/x/dicom", "b/x/dicom", "b/sub-7"], ["a_x_dicom", "b_x_dicom", "sub-7"]),
        (["two  blanks/dicom", "a/dicom"], ["two blanks_dicom", "a_dicom"]),
    ],
    ids=lambda given: " ".join(given),
)
def test_a_name_has_the_folders_where_the_stem_alone_is_several_patients(paths, names):
    assert named(*paths) == names


def test_names_that_folders_alone_do_not_tell_apart_get_digits_that_never_change():
    paths = ["a_b/dicom", "a/b/dicom", "c/a_dicom", "a/dicom"]
    names = named(*paths)
    assert len(set(names)) == 4 and all(re.fullmatch(r"a_b_dicom-[0-9a-f]{6}", name) for name in names[:2])
    assert names[2] == "a_dicom" and re.fullmatch(r"a_dicom-[0-9a-f]{6}", names[3]), "a stem of its own is kept as it is"
    assert named(*reversed(paths), "d/dicom", "sub-7")[:4] == names[::-1]


def test_patients_of_one_stem_are_read_corrected_and_counted_apart(result, tmp_path):
    for patient, voxels in (("patient1", 3), ("patient2", 7)):
        out = result(f"{patient}/dicom", voxels)
    session = Session(review_cases.find_cases(source=str(out), order="case"), tmp_path / "review", "ab")
    assert session.cases["case"].tolist() == ["patient1_dicom", "patient2_dicom"]
    assert session.cases["volume_ml"].tolist() == [3.0, 7.0]
    for verdict, voxels in (("accept", 3), ("major edits", 7)):
        session.next()
        assert session.case.masks["unet"].sum() == voxels
        session.judge("unet", verdict)
        affine = session.case.flair.affine
        session.correct("unet").stroke(affine[:3, :3] @ (9, 9, 4) + affine[:3, 3], 2.0)
        assert session.save_correction("unet").name == f"{session.case.name}_label-lesion_desc-corrected_mask.nii.gz"
    assert session.progress() == "2 of 2 cases read"
    (row,) = so_far(session).to_dict("records")
    assert (row["cases"], row["accept"], row["major edits"]) == (2, 1, 1)
    side = read_json(session.folder / "corrected" / "patient2_dicom_label-lesion_desc-corrected_mask.json")
    assert side["Sources"][0].endswith("dicom_label-lesion_desc-unet_mask.nii.gz")


def test_what_was_said_under_a_stem_of_its_own_still_counts_and_under_a_shared_one_for_nobody(result, tmp_path):
    for name in ("patient1/dicom", "patient2/dicom", "patient2/sub-7"):
        out = result(name)
    for case in ("sub-7", "dicom"):
        reading_log.append(tmp_path / reading_log.FILE, Reading("ab", case, "unet", "accept", 1.0))
    session = Session(review_cases.find_cases(source=str(out), order="case"), tmp_path, "ab")
    assert session.progress() == "1 of 3 cases read" and session.next(3).name == "sub-7"


def test_case_pages_of_one_stem_have_titles_of_their_own_and_the_list_names_them(result):
    for name in ("patient1/dicom", "patient2/dicom", "sub-7"):
        out = result(name)
    index, *pages = write_case_reports(out)
    names = ["patient1_dicom", "patient2_dicom", "sub-7"]
    assert [page.relative_to(out).as_posix() for page in pages] == [
        "patient1/dicom_desc-report.html", "patient2/dicom_desc-report.html", "sub-7_desc-report.html"
    ]  # fmt: skip
    links = dict(re.findall(r'<td><a href="([^"]+)">([^<]+)</a>', index.read_text(encoding="utf-8")))
    assert list(links.values()) == names
    for page, name in zip(pages, names, strict=True):
        text = page.read_text(encoding="utf-8")
        assert f"<title>{name}</title>" in text and f"<h1>{name}</h1>" in text
        assert links[page.relative_to(out).as_posix()] == name and 'alt="slices"' in text
