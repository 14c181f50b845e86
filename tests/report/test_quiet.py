"""What C++ writes to the error stream is held back, and shown when something fails."""

from __future__ import annotations

import subprocess
import sys

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
