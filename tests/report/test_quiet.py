"""What C++ writes to the error stream is held back, and shown when something fails; imports go on without searches for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from flairnb.report.quiet import without_collection

CODE = """
import os, sys
from flairnb.report.quiet import quiet_stderr
try:
    with quiet_stderr():
        os.write(2, b"chatter\\n")
        {inside}
except ValueError:
    pass
sys.stderr.write("after\\n")
"""


def stderr_of(inside: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", CODE.format(inside=inside)], capture_output=True, text=True, check=True, timeout=300
    ).stderr


def test_chatter_is_held_back_and_the_stream_works_again_afterwards():
    assert stderr_of("pass") == "after\n"


def test_chatter_is_shown_when_the_block_fails():
    assert stderr_of("raise ValueError") == "chatter\nafter\n"


@pytest.mark.parametrize("on", [True, False])
def test_garbage_is_not_searched_for_inside_and_as_before_afterwards(on):
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with pytest.raises(ValueError, match="inside"), without_collection():
            assert not gc.isenabled()
            raise ValueError("inside")
        assert gc.isenabled() is on
    finally:
        (gc.enable if before else gc.disable)()


TWO_THREADS = """
import os, threading
from flairnb.report.quiet import quiet_stderr
inside, go_on = threading.Event(), threading.Event()
def first():
    with quiet_stderr():
        inside.set()
        go_on.wait(60)
def second():
    with quiet_stderr():
        pass
threads = [threading.Thread(target=work) for work in (first, second)]
threads[0].start()
inside.wait(60)
threads[1].start()
threads[1].join(0.5)
go_on.set()
for thread in threads:
    thread.join()
os.write(2, b"after\\n")
"""


def test_two_threads_give_the_error_stream_back():
    """Without a lock the second thread saves the first one's file as the stream, and its block may end last or first."""
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == "after\n"
