"""Two runs in one work folder: the second stops at once, and a killed one leaves no lock."""

from __future__ import annotations

import os
import signal
import time

import pytest

from flairnb.errors import WorkFailed
from flairnb.report.lock import only_run_in


def test_a_second_run_stops_and_a_later_one_goes_on(tmp_path):
    with only_run_in(tmp_path / "work"):
        with pytest.raises(WorkFailed, match="work folder work: expected to be alone in it, found another run") as caught:
            with only_run_in(tmp_path / "work"):
                pass
        assert caught.value.exit_code == 1
        with only_run_in(tmp_path / "other"):
            pass
    with only_run_in(tmp_path / "work"):
        pass


def test_a_killed_run_leaves_no_lock(tmp_path):
    ready = tmp_path / "ready"
    child = os.fork()
    if child == 0:
        with only_run_in(tmp_path / "work"):
            ready.touch()
            time.sleep(60)
        os._exit(0)
    while not ready.exists():
        time.sleep(0.01)
    with pytest.raises(WorkFailed), only_run_in(tmp_path / "work"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with only_run_in(tmp_path / "work"):
        pass


def test_what_a_killed_run_left_half_is_removed_once_it_is_nobodys(tmp_path):
    deep = tmp_path / "work" / "derivatives"
    deep.mkdir(parents=True)
    old, young, whole = deep / ".partial-1.nii.gz", deep / ".partial-2.nii.gz", deep / "a.nii.gz"
    for path in (old, young, whole):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    os.utime(whole, (1, 1))
    with only_run_in(tmp_path / "work"):
        assert not old.exists() and young.exists() and whole.exists()


def test_a_run_that_makes_nothing_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), only_run_in(tmp_path / "work"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with only_run_in(tmp_path / "work"):
        (tmp_path / "work" / "made").touch()
    assert (tmp_path / "work" / "made").exists()


def test_an_error_inside_gives_the_folder_back(tmp_path):
    with pytest.raises(ZeroDivisionError), only_run_in(tmp_path):
        raise ZeroDivisionError
    with only_run_in(tmp_path):
        pass
