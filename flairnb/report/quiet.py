"""Load TensorFlow without its chatter on the terminal and without searches for garbage."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# The error stream is the whole process's: one thread that gives it back must not take another's file for it.
_STDERR = threading.RLock()


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C and C++ code writes to the error stream inside a block.

    TensorFlow writes notes about oneDNN and absent GPUs before its own logging
    can be configured. When the block fails, all that was held back is shown.

    In a notebook `sys.stderr` is not what C code writes to; the process's own
    error stream is, and the kernel shows what arrives there.
    """
    try:
        original = sys.__stderr__.fileno()
    except (AttributeError, OSError, ValueError):
        yield
        return
    sys.stderr.flush()
    with _STDERR, tempfile.TemporaryFile() as held:
        saved = os.dup(original)
        os.dup2(held.fileno(), original)
        try:
            yield
        except BaseException:
            os.dup2(saved, original)
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, original)
            os.close(saved)


@contextmanager
def without_collection() -> Iterator[None]:
    """Hold back Python's search for garbage inside a block; for imports, which make many objects and no garbage.

    TensorFlow's import makes Python look through everything a thousand times:
    0.8 of 6 seconds.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
