"""The folder that `flairnb segment` writes to: whole results only, and whose the files are that lie there."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flairnb.provenance import PARTIAL, read_json, sha256_file, write_json

#: How the name of a folder begins in which results wait until they are complete.
WAITING = ".flairnb-partial-"
#: How the name of a summary ends.
SUMMARY = "_desc-summary.json"
#: Seconds without a change after which such a folder is nobody's any more.
NOBODYS_S = 3600.0


def summary_name(stem: str) -> str:
    """Return the name of the file that says what was found, and which files of which content belong to it."""
    return f"{stem}{SUMMARY}"


@contextmanager
def waiting_folder(out_dir: Path) -> Iterator[Path]:
    """Give a folder on the disk of `out_dir`, gone after the ``with`` block; remove those that killed runs left."""
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    for place in (out_dir, out_dir.parent):
        _sweep(place)
    # In the folder itself where there is one: its parent may be another disk (a mount point, a link), or not ours to write to.
    folder = Path(tempfile.mkdtemp(prefix=WAITING, dir=out_dir if out_dir.is_dir() else out_dir.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def nobody_else_in(out_dir: Path) -> Iterator[None]:
    """Keep other runs from moving results into a folder until the ``with`` block ends; made if absent.

    The folder itself is locked, so nothing is left behind. Where a file system has no locks, nobody is kept out.
    """
    import fcntl

    out_dir.mkdir(exist_ok=True)
    held = os.open(out_dir, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def move_in(waiting: Path, out_dir: Path, stem: str) -> None:
    """Move complete results to their folder, over those of an earlier run.

    Parameters
    ----------
    waiting : Path
        Of `waiting_folder`; holds the results and their summary.
    out_dir : Path
        Made if absent.
    stem : str

    Notes
    -----
    A run may be killed between any two of these steps. So a hidden list first
    says which files are ours, old and new; then the old summary goes, and the
    new one comes last: where there is a summary, the files are those that it
    speaks of. The list goes at the end, and until then tells the next run that
    it may replace what it finds. Lesion images that only the earlier run has made
    (the spread of `--spread`) go, unless they were changed since: nothing would
    speak of them any more.
    """
    out_dir.mkdir(exist_ok=True)
    summary, ours = summary_name(stem), _list_name(stem)
    runs = [read_json(waiting / summary), *runs_in(out_dir, stem)]
    write_json(waiting / ours, {"runs": [{name: run.get(name, {}) for name in ("files", "input")} for run in runs]})
    (waiting / ours).replace(out_dir / ours)
    (out_dir / summary).unlink(missing_ok=True)
    _drop_old(out_dir, f"{stem}_label-lesion_", runs[1:], {path.name for path in waiting.iterdir()})
    for path in sorted(waiting.iterdir(), key=lambda p: (p.name == summary, p.name)):
        path.replace(out_dir / path.name)
    (out_dir / ours).unlink(missing_ok=True)


def runs_in(out_dir: Path, stem: str) -> list[dict[str, Any]]:
    """Return what earlier runs left under a stem: the finished one's summary, and what is known of those that were killed.

    Each has `files` (name to SHA-256), and `input` with the FLAIR's `sha256`
    unless an older flairnb wrote it.
    """
    runs = [summary_in(out_dir, stem), *_read(out_dir / _list_name(stem)).get("runs", [])]
    return [run for run in runs if _lists_files(run)]


def summary_in(out_dir: Path, stem: str) -> dict[str, Any]:
    """Return the summary of a finished run; nothing where there is none."""
    found = _read(out_dir / summary_name(stem))
    return found if _lists_files(found) else {}


def has_hash(path: Path, expected: set[str] | None) -> bool:
    """Tell whether a file has one of these contents (SHA-256)."""
    try:
        return bool(expected) and sha256_file(path) in expected
    except OSError:
        return False


def _drop_old(out_dir: Path, start: str, runs: list[dict[str, Any]], kept: set[str]) -> None:
    """Remove the files that earlier runs left as they are now, whose names begin so and are not among those that come."""
    for run in runs:
        for name, sha256 in run["files"].items():
            if name.startswith(start) and Path(name).name == name and name not in kept and has_hash(out_dir / name, {str(sha256)}):
                (out_dir / name).unlink()


def is_summary(path: Path) -> bool:
    """Tell whether a file is a summary of ours, and not something else of that name."""
    return _lists_files(_read(path))


def _lists_files(run: dict[str, Any]) -> bool:
    return isinstance(run.get("files"), dict)


def _list_name(stem: str) -> str:
    return f"{PARTIAL}{stem}_desc-files.json"


def _read(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where it is absent or no file of ours."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sweep(place: Path) -> None:
    for folder in place.glob(f"{WAITING}*"):
        try:
            is_nobodys = time.time() - folder.stat().st_mtime > NOBODYS_S
        except OSError:
            continue
        if is_nobodys:
            shutil.rmtree(folder, ignore_errors=True)
