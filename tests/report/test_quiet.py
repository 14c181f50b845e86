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
