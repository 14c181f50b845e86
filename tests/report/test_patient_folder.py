"""Results come into their folder all together, whatever kills the run, and only over results of the same FLAIR."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.evaluate.components import lesion_table
from flairnb.images import Image
from flairnb.provenance import StageTimer, read_json, sha256_file
from flairnb.report import case_report, patient_files, patient_folder, patient_input, review_cases
from flairnb.report.patient import Segmentation

SHAPE = (11, 12, 7)
SUMMARY = "a_desc-summary.json"
NAMES = set(patient_files.result_names("a", dicom=False))


class Killed(BaseException):
    """Stands for SIGKILL: what would clean up does not run."""


@pytest.fixture
def segment(oblique_affine, monkeypatch):
    """Return a function that writes the results of one FLAIR, whose content is told by a number, after the checks of the command."""
    monkeypatch.setattr(patient_files, "_write_picture", lambda path, *_: path.write_bytes(os.urandom(8)))

    def _segment(out: Path, size: int, whose: str | None = "f" * 64) -> None:
        def check():
            patient_input.check_out_dir(out, "a_FLAIR.nii.gz")
            if whose is not None:
                patient_input.check_same_flair(out, "a_FLAIR.nii.gz", whose)

        check()
        flair = Image(np.random.default_rng(1).random(SHAPE, dtype=np.float32), oblique_affine)
        mask = np.zeros(SHAPE, bool)
        mask[2 : 2 + size, 3:6, 2:4] = True
        found = Segmentation(mask, np.ones(SHAPE, bool), mask * np.float32(0.5), lesion_table(mask, oblique_affine, mask * 0.5))
        told = {"input": {"flair": "a_FLAIR.nii.gz", "sha256": whose}, "lesion_count": 1, "lesion_volume_ml": size, "notes": []}
        patient_files.write_all(out, "a", flair, found, told, StageTimer(), check=check)

    return _segment


@pytest.fixture
def stop_at(monkeypatch):
    """Return a function that lets the n-th change of a folder raise, or none with 0; it returns where the changes are counted."""
    replace, unlink, rmtree = Path.replace, Path.unlink, shutil.rmtree

    def _stop_at(folder: Path, n: int, error: type[BaseException] = Killed) -> SimpleNamespace:
        seen = SimpleNamespace(changes=0)

        def count(path: Path) -> None:
            seen.changes += path.parent == folder
            if path.parent == folder and seen.changes == n:
                raise error

        def counted_replace(self, target):
            count(Path(target))
            return replace(self, target)

        def counted_unlink(self, missing_ok=False):
            count(self)
            return unlink(self, missing_ok)

        monkeypatch.setattr(Path, "replace", counted_replace)
        monkeypatch.setattr(Path, "unlink", counted_unlink)
        monkeypatch.setattr(shutil, "rmtree", (lambda *_args, **_words: None) if n and error is Killed else rmtree)
        return seen

    return _stop_at


def assert_whole(out: Path, size: int) -> None:
    """Fail unless a folder holds the results of one run and nothing else that is not hidden away by a kill."""
    summary = read_json(out / SUMMARY)
    assert summary["lesion_volume_ml"] == size
    assert {name: sha256_file(out / name) for name in summary["files"]} == summary["files"]
    assert {path.name for path in out.iterdir() if not path.name.startswith(".flairnb-partial-")} == NAMES


def assert_never_mixed(out: Path) -> None:
    """Fail if there is a summary that speaks of other files than those that lie there."""
    if (out / SUMMARY).exists():
        summary = read_json(out / SUMMARY)
        assert {name: sha256_file(out / name) for name in summary["files"]} == summary["files"]


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("repeated", [False, True])
def test_a_run_that_ends_between_any_two_steps_can_be_repeated(error, repeated, segment, stop_at, tmp_path):
    place = 0
    while True:
        place += 1
        out = tmp_path / str(place) / "out"
        if repeated:
            segment(out, 2)
        stop_at(out, place, error)
        try:
            segment(out, 3)
        except error:
            ended = True
        else:
            ended = False
        stop_at(out, 0)
        assert_never_mixed(out)
        segment(out, 4)
        assert_whole(out, 4)
        if error is not Killed:
            assert {path.name for path in out.iterdir()} == NAMES and {path.name for path in out.parent.iterdir()} == {"out"}
        if not ended:
            break
    assert place > 7  # six files at least were each the last one that did not come


@pytest.mark.parametrize("repeated", [False, True])
def test_a_run_that_is_killed_again_and_again_can_be_repeated(repeated, segment, stop_at, tmp_path):
    for first, second in ((2, 2), (4, 2), (4, 4), (6, 3), (8, 2), (8, 5), (9, 5)):
        out = tmp_path / f"{first}-{second}" / "out"
        if repeated:
            segment(out, 1)
        for size, place in ((2, first), (3, second)):
            stop_at(out, place)
            with pytest.raises(Killed):
                segment(out, size)
            stop_at(out, 0)
            assert_never_mixed(out)
        segment(out, 4)
        assert_whole(out, 4)


def test_what_was_changed_by_hand_after_a_kill_is_not_written_over(segment, stop_at, tmp_path):
    out = tmp_path / "out"
    stop_at(out, 5)
    with pytest.raises(Killed):
        segment(out, 3)
    stop_at(out, 0)
    mine = next(out.glob("a_*.nii.gz"))
    mine.write_bytes(b"corrected")
    with pytest.raises(InputError, match=f"found {mine.name}, which no run"):
        segment(out, 3)
    assert mine.read_bytes() == b"corrected"


def test_half_a_result_is_no_case(segment, stop_at, tmp_path):
    segment(tmp_path / "one" / "out", 2)
    out = tmp_path / "two" / "out"
    stop_at(out, 4)
    with pytest.raises(Killed):
        segment(out, 3)
    stop_at(out, 0)
    assert list((tmp_path / "two").rglob("*.json")), "the kill came too late to mean anything"
    _, *pages = case_report.write_case_reports(tmp_path)
    assert pages == [tmp_path / "one" / "out" / "a_desc-report.html"]
    assert [path.parent.parent.name for path in review_cases.visible_below(tmp_path, f"*{SUMMARY}")] == ["one"]


@pytest.mark.parametrize("where", ["in the folder", "beside it"])
def test_what_a_killed_run_left_is_removed_after_an_hour_and_not_before(where, segment, tmp_path):
    out = tmp_path / "out"
    segment(out, 2)
    left = {}
    for name, seconds in (("old", 3700), ("young", 3500)):
        left[name] = (out if where == "in the folder" else tmp_path) / f".flairnb-partial-{name}"
        left[name].mkdir()
        (left[name] / "a_desc-summary.json").write_text("{}")
        os.utime(left[name], (time.time() - seconds,) * 2)
    segment(out, 2)
    assert not left["old"].exists() and left["young"].exists()


def test_results_of_another_flair_are_not_replaced(segment, tmp_path):
    out = tmp_path / "out"
    segment(out, 2, "a" * 64)
    segment(out, 3, "a" * 64)
    with pytest.raises(InputError, match=r"those of another FLAIR under the same name \(a_desc-summary\.json\)\. Name a folder"):
        segment(out, 4, "b" * 64)
    assert_whole(out, 3)


def test_half_a_result_of_another_flair_is_not_replaced_and_a_list_alone_is_in_nobodys_way(segment, stop_at, tmp_path):
    for place, refused in ((2, False), (5, True)):
        out = tmp_path / str(place) / "out"
        stop_at(out, place)
        with pytest.raises(Killed):
            segment(out, 2, "a" * 64)
        stop_at(out, 0)
        if refused:
            with pytest.raises(InputError, match="another FLAIR"):
                segment(out, 3, "b" * 64)
        else:
            segment(out, 3, "b" * 64)
            assert_whole(out, 3)


def test_results_that_do_not_say_of_which_flair_they_are_serve_as_before(segment, tmp_path):
    out = tmp_path / "out"
    segment(out, 2, None)
    segment(out, 3, "b" * 64)
    assert_whole(out, 3)


def test_of_two_runs_at_once_into_one_folder_the_second_is_refused(segment, tmp_path, monkeypatch):
    """Both look before they begin, when the folder is still empty; the other patient's results come while this one is at work."""
    out = tmp_path / "out"
    write_images = patient_files._write_images
    others = []

    def meanwhile(*args):
        if not others:
            others.append("one")
            segment(out, 2, "a" * 64)
        write_images(*args)

    monkeypatch.setattr(patient_files, "_write_images", meanwhile)
    with pytest.raises(InputError, match="another FLAIR"):
        segment(out, 5, "b" * 64)
    assert read_json(out / SUMMARY)["input"]["sha256"] == "a" * 64
    assert all(sha256_file(out / name) == sha256 for name, sha256 in read_json(out / SUMMARY)["files"].items())
    assert {path.name for path in out.iterdir()} == NAMES


def test_nobody_else_moves_results_in_meanwhile(tmp_path):
    from threading import Thread

    seen = []

    def second():
        with patient_folder.nobody_else_in(tmp_path / "out"):
            seen.append("second")

    with patient_folder.nobody_else_in(tmp_path / "out"):
        thread = Thread(target=second)
        thread.start()
        time.sleep(0.2)
        seen.append("first")
    thread.join()
    assert seen == ["first", "second"] and not list((tmp_path / "out").iterdir())
