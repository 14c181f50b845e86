"""One run at a time in a work folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flairnb.errors import WorkFailed
from flairnb.provenance import PARTIAL

log = logging.getLogger(__name__)

FILE = ".flairnb.lock"


#: Seconds without a change after which a temporary file is nobody's any more.
NOBODYS_S = 60.0


def _sweep(folder: Path) -> None:
    """Remove what killed runs left under temporary names."""
    for path in folder.rglob(f"{PARTIAL}*"):
        with suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > NOBODYS_S:
                path.unlink()


@contextmanager
def only_run_in(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a work folder for the length of a ``with`` block.

    Parameters
    ----------
    folder : path
        Made if absent.

    Raises
    ------
    WorkFailed
        Another run holds it.

    Notes
    -----
    The system gives the lock back when its holder ends, however it ends: a
    killed run leaves no lock behind, only the empty file and perhaps half of
    the file that it was writing, under a temporary name; that is removed here. Where a disk knows
    no locks (some network disks, Windows) runs are not kept apart.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkFailed(
                f"work folder {folder.name}: expected to be alone in it, found another run at work there. "
                "Wait until it ends, or choose another folder (out_dir, --out)."
            ) from None
        except OSError as error:
            log.warning("the work folder's disk knows no locks (%s): do not start two runs on it", error.strerror)
        else:
            _sweep(folder)
        yield
    finally:
        if is_new and [path.name for path in folder.iterdir()] == [FILE]:
            # Refused before anything was made: leave the disk as it was.
            (folder / FILE).unlink()
            folder.rmdir()
        os.close(handle)
