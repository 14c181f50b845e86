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
