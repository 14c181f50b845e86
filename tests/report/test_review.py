"""Readings, corrections and cases to review, without a browser."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import InputError, MissingDataError
from flairnb.geometry import canonical_axes
from flairnb.images import Image, read_mask, write_image
from flairnb.prepare.bridge import write_xfm
from flairnb.provenance import read_json, sha256_file, write_json
from flairnb.report import reading_log, review_cases, review_files
from flairnb.report.correction import Correction
from flairnb.report.reading_log import Reading, agreement, append, latest, letters, read, summary, weighted_kappa
from flairnb.report.review import Session

SHAPE = (17, 19, 8)


@pytest.fixture
def flair(rng, oblique_affine, tmp_path) -> Image:
    data = rng.normal(100, 1, SHAPE).astype(np.float32)
    data[6:9, 7:11, 3] = 180
    path = tmp_path / "in" / "sub-7_FLAIR.nii.gz"
    write_image(path, data, Image(data, oblique_affine))
    return Image(data, oblique_affine, None, path)


def world(image: Image, voxel) -> np.ndarray:
    return image.affine[:3, :3] @ np.asarray(voxel, dtype=float) + image.affine[:3, 3]


def test_a_reading_is_one_line_and_nothing_is_ever_overwritten(tmp_path):
    path = tmp_path / "new" / "review.tsv"
    first = Reading("ab", "sub-1", "unet", "accept", 12.34, True, "two\tlines\nhere", {"a.nii.gz": "0123"})
    append(path, first)
    before = path.read_bytes()
    append(path, Reading("ab", "sub-1", "unet", "major edits", 3.0))
    assert path.read_bytes().startswith(before) and path.read_text().count("\n") == 3
    log = read(path)
    assert tuple(log.columns) == reading_log.COLUMNS and log["comment"][0] == "two lines here"
    assert log["files"][0] == "a.nii.gz:0123" and log["blinded"].tolist() == [True, False] and log["seconds"].tolist() == [12.3, 3.0]
    assert latest(log)["verdict"].tolist() == ["major edits"]


def test_an_absent_log_is_empty_and_so_are_its_summaries(tmp_path):
    log = read(tmp_path / "none.tsv")
    assert len(log) == len(summary(log)) == len(agreement(log)) == 0


@pytest.mark.parametrize(("change", "says"), [({"verdict": "fine"}, "accept, minor edits"), ({"reader": " "}, "reader")])
def test_a_reading_without_reader_or_with_another_verdict_is_refused(change, says):
    with pytest.raises(InputError, match=says):
        Reading(**{"reader": "ab", "case": "c", "method": "m", "verdict": "accept", "seconds": 1.0, **change})


def test_two_readers_agreement_is_what_kappa_says(tmp_path):
    path = tmp_path / "review.tsv"
    for case, a, b in (("1", 0, 0), ("2", 0, 1), ("3", 1, 1), ("4", 2, 2), ("5", 2, 0)):
        append(path, Reading("ab", case, "unet", reading_log.VERDICTS[a], 10.0))
        append(path, Reading("cd", case, "unet", reading_log.VERDICTS[b], 20.0))
    append(path, Reading("cd", "6", "unet", "accept", 1.0))
    (row,) = agreement(read(path)).to_dict("records")
    # By hand: observed distance 3/5; expected sum of |i - j| p_i q_j with p = (.4 .2 .4), q = (.4 .4 .2).
    expected = sum(abs(i - j) * p * q for i, p in enumerate((0.4, 0.2, 0.4)) for j, q in enumerate((0.4, 0.4, 0.2)))
    assert row["n"] == 5 and row["same_fraction"] == 0.6 and np.isclose(row["kappa"], 1 - 0.6 / expected)
    counts = summary(read(path)).set_index("reader")
    assert counts.loc["ab", "cases"] == 5 and counts.loc["cd", "accept"] == 3 and counts.loc["ab", "seconds_median"] == 10


def test_kappa_is_undefined_without_cases_or_without_variety():
    assert np.isnan(weighted_kappa([], [], 3)) and np.isnan(weighted_kappa([1, 1], [1, 1], 3))
    assert weighted_kappa([0, 2], [2, 0], 3) == -1.0


def test_letters_hide_all_methods_and_stay_the_same_for_a_reader():
    methods = ["unet", "lga", "bianca", "manual2"]
    assert letters(methods, "sub-1", "ab", 1) == letters(methods, "sub-1", "ab", 1)
    assert sorted(letters(methods, "sub-1", "ab", 1).values()) == sorted(methods)
    orders = {tuple(letters(methods, f"sub-{n}", "ab", 1).values()) for n in range(20)}
    assert len(orders) > 5


def test_a_brush_of_known_radius_adds_a_ball_and_undo_takes_it_back(flair):
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    centre = world(flair, (8, 9, 4))
    ml = edit.brush(centre, 4.0)
    distance = np.linalg.norm([world(flair, v) - centre for v in np.ndindex(SHAPE)], axis=1).reshape(SHAPE)
    np.testing.assert_array_equal(edit.mask, distance <= 4.0)
    assert np.isclose(ml, edit.mask.sum() * 0.9 * 1.1 * 5 / 1000)
    edit.brush(centre, 4.0, add=False)
    assert not edit.mask.any()
    assert edit.undo() and edit.mask.sum() == (distance <= 4.0).sum() and edit.undo() and not edit.undo()
    assert edit.edits == []


def test_a_tiny_brush_still_marks_the_voxel_it_touches(flair):
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    edit.brush(world(flair, (3, 4, 5.4)), 0.5)
    assert np.argwhere(edit.mask).tolist() == [[3, 4, 5]]


def test_a_lesion_is_erased_whole_and_its_neighbour_stays(flair):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:4, 2:4, 2], mask[10:13, 12, 5] = True, True
    edit = Correction(flair, mask, "unet")
    edit.erase_lesion(world(flair, (2, 2, 2)))
    assert edit.mask.sum() == 3 and edit.mask[11, 12, 5] and mask.sum() == 7
    edit.erase_lesion(world(flair, (0, 0, 0)))
    assert edit.mask.sum() == 3


def test_growing_takes_what_is_as_bright_and_touches(flair):
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    edit.grow(world(flair, (7, 9, 3)), 0.1)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[6:9, 7:11, 3] = True
    np.testing.assert_array_equal(edit.mask, expected)


def away_from_line(flair, start, end):
    """Distance in mm of every voxel from a line, by brute force over 400 points of it."""
    line = np.linspace(start, end, 400)
    centres = np.array([world(flair, v) for v in np.ndindex(SHAPE)])
    return np.linalg.norm(centres[:, None] - line[None], axis=2).min(axis=1).reshape(SHAPE)


@pytest.mark.parametrize("in_slice", [True, False])
def test_a_stroke_takes_what_lies_along_its_way(flair, in_slice):
    start, end = world(flair, (4, 5, 4)), world(flair, (12, 9, 4))
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    ml = edit.stroke([start, end], 2.2, in_slice=in_slice)
    away = away_from_line(flair, start, end)
    sure = np.abs(away - 2.2) > 0.02
    expected = away <= 2.2
    if in_slice:
        across = int(canonical_axes(flair.affine)[0][2])
        expected &= np.indices(SHAPE)[across] == (4, 5, 4)[across]
    np.testing.assert_array_equal(edit.mask[sure], expected[sure])
    assert np.isclose(ml, edit.mask.sum() * flair.voxel_volume_ml) and edit.unsaved and edit.edits[0]["points"] == 2
    edit.stroke([start, end], 2.2, add=False, in_slice=in_slice)
    assert not edit.mask.any() and not edit.unsaved


def stroked(flair, *ways, **how):
    """The mask after strokes of 2.2 mm on an empty one."""
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    for way in ways:
        edit.stroke([world(flair, voxel) for voxel in way], 2.2, **how)
    return edit.mask


@pytest.mark.parametrize("in_slice", [True, False])
def test_of_a_stroke_that_leaves_the_image_what_lies_inside_counts(flair, in_slice):
    """Out at the first side and back farther along it: no line joins the two places."""
    there, back = [(6, 4, 4), (0, 4, 4)], [(0, 14, 4), (6, 14, 4)]
    whole = [(-9, 2, 4), *there, (-1, 4, 4), (-20, 9, 4), *back, (6, 99, 4)]
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    edit.stroke([world(flair, voxel) for voxel in whole], 2.2, in_slice=in_slice)
    np.testing.assert_array_equal(edit.mask, stroked(flair, there, back, in_slice=in_slice))
    assert edit.edits[0]["points"] == 4 and not edit.mask[0, 9].any()
    np.testing.assert_allclose(edit.edits[0]["at_mm"], world(flair, there[0]), atol=0.01)
    edit.stroke([world(flair, voxel) for voxel in whole], 2.2, add=False, in_slice=in_slice)
    assert not edit.mask.any()


@pytest.mark.parametrize("way", [[(-1, 4, 4)], [(-1, 4, 4), (30, 4, 4)], np.zeros((0, 3))], ids=["point", "two", "none"])
def test_a_stroke_without_a_point_inside_is_refused(flair, way):
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    with pytest.raises(InputError, match=f"inside the image, received {len(way)} points outside"):
        edit.stroke([world(flair, voxel) for voxel in way], 3.0)
    assert edit.edits == [] and not edit.mask.any()


def test_any_lesion_can_be_erased_but_not_so_much_be_added_at_a_time(oblique_affine):
    shape = (61, 75, 21)
    large = Image(np.zeros(shape, dtype=np.float32), oblique_affine)
    mask = np.ones(shape, dtype=bool)
    ml = mask.sum() * large.voxel_volume_ml
    edit = Correction(large, mask, "unet")
    assert ml > 350 and np.isclose(edit.erase_lesion(world(large, (30, 35, 10))), -ml) and not edit.mask.any()
    rows = [(i, j, 10) for i in range(0, 61, 8) for j in (0, 74)]
    with pytest.raises(InputError, match="to grow by up to 200 ml at a time, found"):
        edit.stroke([world(large, voxel) for voxel in rows], 25.0, in_slice=False)
    assert not edit.mask.any() and edit.undo() and edit.mask.sum() == mask.sum()
    edit.stroke([world(large, voxel) for voxel in rows], 25.0, add=False, in_slice=False)
    assert (mask.sum() - edit.mask.sum()) * large.voxel_volume_ml > 200


def test_a_point_outside_or_an_empty_brush_is_refused(flair):
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    with pytest.raises(InputError, match="inside the image"):
        edit.brush((9999.0, 0, 0), 3.0)
    with pytest.raises(InputError, match="radius"):
        edit.brush(world(flair, (3, 3, 3)), 0.0)


def test_corrected_masks_are_numbered_and_say_where_they_are_from(flair, tmp_path):
    source = tmp_path / "sub-7_label-lesion_desc-unet_mask.nii.gz"
    write_image(source, np.zeros(SHAPE), flair, np.uint8)
    edit = Correction(flair, np.zeros(SHAPE, dtype=bool), "unet")
    edit.brush(world(flair, (8, 9, 4)), 3.0)
    first = edit.save(tmp_path, "sub-7", "ab", source)
    content = first.read_bytes()
    second = edit.save(tmp_path, "sub-7", "ab", source)
    assert first.name == "sub-7_label-lesion_desc-corrected_mask.nii.gz" and "corrected2" in second.name
    assert first.read_bytes() == content
    np.testing.assert_array_equal(read_mask(first, like=flair), edit.mask)
    side = read_json(first.with_name("sub-7_label-lesion_desc-corrected_mask.json"))
    assert side["CorrectedFrom"] == "unet" and side["Reader"] == "ab" and side["Edits"][0]["action"] == "add"
    assert side["SourceSha256"][source.name] == sha256_file(source) and "sub-7_FLAIR.nii.gz" in side["Sources"]
    with pytest.raises(InputError, match="reader"):
        edit.save(tmp_path, "sub-7", "", source)


@pytest.fixture
def results(flair, tmp_path):
    """A folder as `flairnb segment` leaves it, for two patients."""
    folder = tmp_path / "out"
    for stem, expected in (("sub-7", 0.9), ("sub-8", 0.4)):
        mask = np.zeros(SHAPE, dtype=bool)
        mask[6:9, 7:11, 3] = True
        write_image(folder / f"{stem}_label-lesion_desc-unet_mask.nii.gz", mask, flair, np.uint8)
        write_image(folder / f"{stem}_label-lesion_desc-unet_probseg.nii.gz", mask * 0.8, flair)
        write_image(folder / f"{stem}_desc-brain_mask.nii.gz", np.ones(SHAPE), flair, np.uint8)
        write_image(folder / f"{stem}_FLAIR.nii.gz", flair.data, flair)
        summary = {"expected_dice": expected, "lesion_volume_ml": 0.06, "input": {"flair": f"{stem}_FLAIR.nii.gz"}}
        write_json(folder / f"{stem}_desc-summary.json", summary)
    return folder


def test_a_folder_of_segment_is_reviewed_the_doubtful_case_first(results):
    cases = review_cases.find_cases(source=str(results), order="expected_dice")
    assert cases["case"].tolist() == ["sub-8", "sub-7"] and "files" not in review_cases.shown(cases)
    case = review_cases.load_case(cases.iloc[0])
    assert list(case.masks) == ["unet"] and case.masks["unet"].sum() == 12 and case.has_brain
    assert case.probability.max() == np.float32(0.8)
    assert set(review_cases.hashes_of(cases.iloc[0])) == {
        "sub-8_FLAIR.nii.gz", "sub-8_desc-brain_mask.nii.gz",
        "sub-8_label-lesion_desc-unet_mask.nii.gz", "sub-8_label-lesion_desc-unet_probseg.nii.gz",
    }  # fmt: skip


def test_a_flair_elsewhere_is_found_in_data_dir_or_asked_for(results, tmp_path):
    (results / "sub-8_FLAIR.nii.gz").rename(tmp_path / "in" / "sub-8_FLAIR.nii.gz")
    with pytest.raises(MissingDataError, match="sub-8: expected its FLAIR"):
        review_cases.find_cases(source=str(results))
    assert len(review_cases.find_cases(source=str(results), data_dir=str(tmp_path / "in"))) == 2


def moved_to_data(results, tmp_path, name, what):
    """Move an image of results to data/b, put another patient's of the same name into data/a, and tell the summary by hash."""
    ours, others = (tmp_path / "data" / who / name for who in "ba")
    for path in (ours, others):
        path.parent.mkdir(parents=True, exist_ok=True)
    (results / name).rename(ours)
    others.write_bytes(ours.read_bytes()[:-8] + bytes(8))
    path = results / "sub-8_desc-summary.json"
    known = read_json(path)
    write_json(path, known | {"input": known["input"] | {what: sha256_file(ours)}})
    return ours


def test_of_many_flairs_of_one_name_the_one_that_was_segmented_is_shown(results, tmp_path):
    ours = moved_to_data(results, tmp_path, "sub-8_FLAIR.nii.gz", "sha256")
    (row,) = (row for row in review_cases.of_folder(results, tmp_path / "data") if row["case"] == "sub-8")
    assert review_cases.files_of(row)["flair"] == str(ours)
    for place in (results, results.parent):  # beside the results only the name would tell
        shutil.copy(tmp_path / "data" / "a" / ours.name, place / ours.name)
    (row,) = (row for row in review_cases.of_folder(results, tmp_path / "data") if row["case"] == "sub-8")
    assert review_cases.files_of(row)["flair"] == str(ours)
    ours.unlink()
    with pytest.raises(MissingDataError, match="sub-8: expected its FLAIR .* none that is the file that was segmented"):
        review_cases.of_folder(results, tmp_path / "data")


def test_images_of_one_name_are_hashed_once_for_all_summaries_and_again_when_they_change(tmp_path, monkeypatch):
    count, hashed = 12, []
    for n in range(count):
        (tmp_path / "data" / f"{n:02}").mkdir(parents=True)
        (tmp_path / "data" / f"{n:02}" / "FLAIR.nii.gz").write_bytes(bytes([n]))
    monkeypatch.setattr(review_files, "image_sha256", lambda path: hashed.append(path) or sha256_file(path))
    summaries = [{"input": {"flair": "FLAIR.nii.gz", "sha256": hashlib.sha256(bytes([n])).hexdigest()}} for n in range(count)]
    for n, told in enumerate(summaries):
        found = review_cases.find_flair(tmp_path / "results" / str(n), told, tmp_path / "data")
        assert found == tmp_path / "data" / f"{n:02}" / "FLAIR.nii.gz"
    assert sorted(hashed) == sorted((tmp_path / "data").rglob("FLAIR.nii.gz"))
    changed = tmp_path / "data" / "03" / "FLAIR.nii.gz"
    was = changed.stat().st_mtime_ns
    changed.write_bytes(b"x")
    os.utime(changed, ns=(was, was + 10**9))
    assert review_cases.find_flair(tmp_path / "results", summaries[3], tmp_path / "data") is None
    assert hashed.count(changed) == 2 and len(hashed) == count + 1


def test_of_many_t1w_of_one_name_the_one_that_was_used_is_shown(results, flair, tmp_path):
    write_image(results / "sub-8_T1w.nii.gz", flair.data, flair)
    summary = read_json(results / "sub-8_desc-summary.json")
    write_json(results / "sub-8_desc-summary.json", summary | {"input": summary["input"] | {"t1w": "sub-8_T1w.nii.gz"}})
    ours = moved_to_data(results, tmp_path, "sub-8_T1w.nii.gz", "t1w_sha256")
    for there in (True, False):
        (row,) = (row for row in review_cases.of_folder(results, tmp_path / "data") if row["case"] == "sub-8")
        assert review_cases.files_of(row).get("t1w") == (str(ours) if there else None)
        ours.unlink(missing_ok=True)


def test_hidden_folders_hold_no_case_and_no_image(results, tmp_path):
    for hidden in (results / ".flairnb-partial-x", results / "deep" / ".trash" / "er"):
        shutil.copytree(results, hidden, ignore=shutil.ignore_patterns(".*", "deep"))
    assert len(review_cases.of_folder(results)) == 2
    (tmp_path / "data" / ".cache").mkdir(parents=True)
    (results / "sub-8_FLAIR.nii.gz").rename(tmp_path / "data" / ".cache" / "sub-8_FLAIR.nii.gz")
    with pytest.raises(MissingDataError, match="sub-8: expected its FLAIR"):
        review_cases.of_folder(results, tmp_path / "data")


def test_a_name_with_brackets_is_found_in_data_dir(results, tmp_path):
    summary = read_json(results / "sub-8_desc-summary.json")
    write_json(results / "sub-8_desc-summary.json", summary | {"input": {"flair": "a[1]_FLAIR.nii.gz"}})
    (tmp_path / "data").mkdir()
    (results / "sub-8_FLAIR.nii.gz").rename(tmp_path / "data" / "a[1]_FLAIR.nii.gz")
    assert len(review_cases.of_folder(results, tmp_path / "data")) == 2


@pytest.mark.parametrize(
    ("given", "says"), [({"order": "size"}, "order"), ({"source": "nowhere"}, "no folder"), ({"source": "cohort"}, "notebook 01")]
)
def test_a_wrong_choice_says_what_to_do(given, says):
    with pytest.raises((InputError, MissingDataError), match=says):
        review_cases.find_cases(**given)


def test_the_t1w_is_put_on_the_flair_by_the_registration_that_was_kept(results, flair, tmp_path):
    """The same image, moved: only the registration brings it back."""
    moved = flair.affine.copy()
    moved[:3, 3] += (6.0, -8.0, 5.0)
    write_image(results / "sub-8_T1w.nii.gz", flair.data, Image(flair.data, moved))
    summary = read_json(results / "sub-8_desc-summary.json")
    to_t1w = np.eye(4)
    to_t1w[:3, 3] = (6.0, -8.0, 5.0)
    for more, known in (({}, False), ({"flair_to_t1w": to_t1w.tolist()}, True)):
        write_json(results / "sub-8_desc-summary.json", summary | {"input": summary["input"] | {"t1w": "sub-8_T1w.nii.gz"} | more})
        case = review_cases.load_case(review_cases.find_cases(source=str(results), order="expected_dice").iloc[0])
        assert case.t1w_by_header is not known
        assert np.allclose(case.t1w, flair.data, atol=1e-2) is known
    xfm = write_xfm(results / "sub-8_from-T1w_to-FLAIR_mode-image_xfm.txt", to_t1w)
    back = review_cases.t1w_on(flair, {"t1w": str(results / "sub-8_T1w.nii.gz"), "xfm": str(xfm)})
    np.testing.assert_allclose(back, flair.data, atol=1e-2)


def test_a_patient_without_any_lesion_can_be_reviewed(results, flair, tmp_path):
    for name in ("mask", "probseg"):
        write_image(
            results / f"sub-8_label-lesion_desc-unet_{name}.nii.gz", np.zeros(SHAPE), flair, np.uint8 if name == "mask" else np.float32
        )
    session = Session(review_cases.find_cases(source=str(results), order="expected_dice"), tmp_path / "review", "ab")
    assert session.open().probability.max() == 0 and session.measure("unet") == "nothing marked" and session.lesions("unet").empty
    files = {"probability": str(results / "sub-8_label-lesion_desc-unet_probseg.nii.gz")}
    assert np.isnan(review_cases._expected(files | {"mask:unet": files["probability"].replace("probseg", "mask")}))


def test_an_empty_folder_says_to_segment_first(tmp_path):
    with pytest.raises(MissingDataError, match="flairnb segment"):
        review_cases.find_cases(source=str(tmp_path))


def test_volume_errors_are_sorted_by_size_and_filters_hold(monkeypatch):
    same = {"split": "validation", "dice": 0.5, "expected_dice": np.nan, "volume_ml": 1.0, "files": "{}"}
    rows = [
        {"case": name, "diagnosis": d, "volume_error_ml": e, **same}
        for name, d, e in (("a", "MSA", 1.0), ("b", "HGG", -5.0), ("c", "MSA", np.nan))
    ]
    monkeypatch.setattr(review_cases, "_of_cohort", lambda run: rows)
    run = SimpleNamespace()
    assert review_cases.find_cases(run, order="volume_error_ml")["case"].tolist() == ["b", "a", "c"]
    assert review_cases.find_cases(run, diagnosis="msa")["case"].tolist() == ["a", "c"]
    with pytest.raises(MissingDataError, match="Widen"):
        review_cases.find_cases(run, split="train")
    assert isinstance(json.loads(pd.DataFrame(rows)["files"][0]), dict)


def test_real_cases_come_with_masks_brain_and_registration_that_notebook_13_kept(flair, tmp_path, monkeypatch):
    from flairnb.report import real

    run = SimpleNamespace(work_dir=tmp_path / "work", path=lambda name: tmp_path / "work" / name)
    here = {"participant_id": "x1", "family": "MS", "flair": str(flair.path), "t1w": str(flair.path), "reference_mask": ""}
    monkeypatch.setattr(real, "find_cases", lambda run: pd.DataFrame([here]))
    brain = np.ones(SHAPE, dtype=bool)
    found = SimpleNamespace(probability=np.eye(17, 19)[..., None] * np.ones(8))
    real._keep_for_review(run, "x1", SimpleNamespace(flair=flair, brain_native=brain, t1w_xfm=np.eye(4)), found)
    real._keep_mask(run, "x1", "shipped", brain, flair)
    case = review_cases.load_case(review_cases.find_cases(run, source="real").iloc[0])
    assert list(case.masks) == ["shipped"] and case.has_brain and not case.t1w_by_header
    np.testing.assert_allclose(case.t1w, flair.data, atol=1e-2)


@pytest.fixture
def session(results, tmp_path):
    return Session(review_cases.find_cases(source=str(results), order="expected_dice"), tmp_path / "review", "ab")


def test_a_session_goes_round_and_keeps_verdicts_with_hashes(session):
    assert session.open().name == "sub-8" and session.next().name == "sub-7" and session.next().name == "sub-8"
    assert session.names() == {"unet": "unet"} and "in 1 lesion," in session.measure("unet")
    reading = session.judge("unet", "minor edits", "rim")
    assert reading.method == "unet" and len(session.log()) == 1 and "sub-8_FLAIR.nii.gz:" in session.log()["files"][0]
    with pytest.raises(InputError, match="mask: expected one of unet"):
        session.judge("lga", "accept")
    session.reader = ""
    with pytest.raises(InputError, match="reader"):
        session.judge("unet", "accept")
    assert len(session.log()) == 1


def test_a_blinded_reader_sees_letters_only_and_the_log_the_truth(session, flair, results):
    write_image(results / "sub-8_label-lesion_desc-manual_mask.nii.gz", np.eye(17, 19)[..., None] * np.ones(8), flair, np.uint8)
    session = Session(review_cases.find_cases(source=str(results), order="expected_dice"), session.folder, "ab", blinded=True)
    session.open()
    assert set(session.names()) == {"A", "B"} and set(session.names().values()) == {"unet", "manual"}
    assert list(session.seen("A").masks) == ["A"] and session.seen("A").probability is None
    assert session.judge("A", "accept").method == session.names()["A"] and bool(session.log()["blinded"][0])
    session.blinded = False
    assert list(session.names()) == ["unet"] and list(session.seen("unet").masks) == ["manual", "unet"]


def test_a_correction_is_seen_measured_and_saved_beside_the_log(session, flair):
    session.open()
    with pytest.raises(InputError, match="change to save"):
        session.save_correction("unet")
    before = session.seen("unet").masks["unet"].sum()
    session.correct("unet").brush(world(flair, (3, 3, 5)), 2.0)
    assert len(session.lesions("unet")) == 2 and session.seen("unet").masks["unet"].sum() > before
    path = session.save_correction("unet")
    assert path.parent.name == "corrected" and path.name.startswith("sub-8_label-lesion_desc-corrected")
    assert session.next() and session.corrections == {} and len(list(path.parent.glob("*.nii.gz"))) == 1
    session.reader = ""
    session.correct("unet").brush(world(flair, (3, 3, 5)), 2.0)
    session.next()
    (kept,) = set(path.parent.glob("*.nii.gz")) - {path}
    assert kept.name.startswith("sub-7") and read_json(kept.with_name(kept.name.replace(".nii.gz", ".json")))["Reader"] == "unnamed"


def test_the_room_shows_judges_and_corrects_without_a_browser(session, flair):
    from flairnb.report.review_room import ReviewRoom

    room = ReviewRoom(session, way="static")
    room._displayed = True
    assert bytes(room.picture.value).startswith(b"\x89PNG") and len(room.lesion.options) == 1
    room.verdicts[0].click()
    assert session.log()["verdict"].tolist() == ["accept"] and "saved" in room.says.value
    room.reader.value = ""
    room.verdicts[0].click()
    assert "error: reader" in room.says.value and len(session.log()) == 1
    room.reader.value, room.way.value = "ab", "niivue"
    room.lesion.value = room.lesion.options[0][1]
    np.testing.assert_allclose(room.cross_mm(), room.lesion.value, atol=1e-6)
    room.folds.selected_index = 0
    assert room.edit.pad.k == room.edit.pad.cross[2]
    sent = []
    room.shown.viewer.volumes[1].send = lambda content, buffers: sent.append((content["type"], buffers))
    room.edit.stroke("erase lesion", np.array([room.lesion.value]))
    assert not room.lesion.options and not np.frombuffer(room.edit.pad.mask, np.uint8).any()
    ((kind, (places, values)),) = sent
    assert kind == "buffer_update" and np.frombuffer(places, np.uint32).size == 12 and set(values) == {0}
    room.edit.save_button.click()
    assert "corrected" in room.says.value
    room._pressed("n")
    assert room.case.value == 1 and session.place == 1 and room.edit.pad is not None
    room._pressed("w")
    assert room.shown.window[1].value == 80.0 and room.edit.pad.high < room.edit._packed.window[1]
    room._pressed("o")
    assert room.shown.sliders["unet"].value == 0.0
    room._pressed("o")
    room._pressed("f")
    assert room.shown.sliders["probability"].value > 0.5 and room.shown.sliders["unet"].value == 0.0
    room.choice["order"].value = "case"
    assert "sub-7" in room.case.options[0][0] and session.case.name == "sub-7"
    room.blinded.value = True
    assert [name for _, name in room.mask.options] == ["A"] and "Dice" not in room.case.options[0][0]


def test_without_a_reader_at_work_the_notebook_shows_sentences(session):
    from flairnb.report import review

    assert "reading room" in review.room(session, interactive=False).data
    assert "No verdict" in review.so_far(session).data and "Fewer than two" in review.together(session).data
    assert "No verdict" in review.verdicts_and_dice(session).data
    session.all_cases["scores"] = ['{"unet": 0.7}', '{"unet": 0.4}']
    session.open()
    for name in ("accept", "major edits"):
        session.judge("unet", name)
        session.next()
    table = review.verdicts_and_dice(session)
    assert table.loc["accept", "median"] == 0.7 and table.loc["major edits", "max"] == 0.4 and table.loc["minor edits", "count"] == 0
    (session.folder / "review.tsv").unlink()
    assert review.numbers(session) == {"review_cases": 2, "review_lesions": 1, "readings": 0}
    assert review.still(session)._repr_png_() and review.disagreement(session).empty
