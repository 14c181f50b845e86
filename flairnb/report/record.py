"""What a run was: code, settings, machine, times; and what it can skip."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import SettingsError
from flairnb.evaluate.ledger import Measured
from flairnb.provenance import content_hash, machine, read_json, sha256_file, versions, write_json
from flairnb.report.chapters import Chapter, maker_of, repository_root

if TYPE_CHECKING:
    from flairnb.report.start import Run


@dataclass(frozen=True)
class Outcome:
    """How one chapter went.

    Attributes
    ----------
    status : str
        ``"done"``, ``"skipped"`` (unchanged since it was last run) or
        ``"failed"``; of chapters that were not asked for ``"earlier"``, or
        ``"outdated"`` where they would come out differently now.
    seconds : float
        Wall time of the run that made the outputs.
    reason : str
        Why it was run, skipped or what failed.
    peak_gb : float
        Peak memory of the kernel with all its workers, in GB.
    code : str
        Of which commit the outputs are, as `code_name` writes it.
    """

    chapter: Chapter
    status: str
    seconds: float
    reason: str = ""
    peak_gb: float = 0.0
    code: str = "unknown"


def git_state(root: Path | None = None) -> dict[str, Any]:
    """Return the commit and whether files other than reports differ from it; ``unknown`` outside git."""
    root = repository_root() if root is None else root
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":!reports")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": None}
    return {"commit": commit, "dirty": bool(changed)}


def code_name(state: Mapping[str, Any]) -> str:
    """Write a `git_state` for readers.

    Examples
    --------
    >>> code_name({"commit": "09098df4b2c1a6d3", "dirty": True})
    '09098df4b2c1 (with local changes)'
    """
    return f"{state['commit'][:12]}{' (with local changes)' if state['dirty'] else ''}"


def codes_of(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """Return the chapters' numbers by the code that they ran with, that of the first chapter first."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.code, []).append(outcome.chapter.number)
    return found


def lock_hash() -> str:
    """Return the SHA-256 of requirements.lock, ``absent`` without one."""
    lock = repository_root() / "requirements.lock"
    return sha256_file(lock) if lock.is_file() else "absent"


def chapter_key(chapter: Chapter, fingerprint: str, settings_hash: str, seed: int, data: Any, before: Iterable[str]) -> str:
    """Return a hash of all that a chapter's outputs follow from.

    Parameters
    ----------
    chapter : Chapter
    fingerprint : str
        Of the notebook's text and the code it reaches.
    settings_hash : str
    seed : int
    data : JSON-like
        What the run's data are, see `data_key`.
    before : iterable of str
        Keys of the chapters whose outputs it reads.
    """
    return content_hash(chapter.number, fingerprint, settings_hash, seed, data, sorted(before))


def data_key(run: Run) -> list[str]:
    """Return what changes when a hospital's table, an image or mask that it names, or an outside tool's mask changes.

    Of a table the content counts, of images and masks the size and the time of
    their last change: hundreds of patients are looked at in a moment. Where the
    folder lies counts only as seen from the work folder, whose prepared cases keep
    the way to their FLAIR. A data folder without a table counts by the names
    at its top; the simulated cohort follows from settings and seed.
    """
    from flairnb.folders import files_below
    from flairnb.report import steps
    from flairnb.report.external import outside_folder

    known = []
    if run.data_dir is not None or run.settings.cohort.source == "manifest":
        known = _table_key(steps.manifest_file(run), steps.data_root(run), run.work_dir) or _names(run.data_dir)
    outside = outside_folder(run)
    masks = sorted(files_below(outside)) if outside is not None and outside.is_dir() else []
    return known + [_stamp(path, path.name) for path in masks]


def _table_key(table: Path, root: Path, work_dir: Path) -> list[str]:
    from flairnb.cohort.manifest import named_files

    if not table.is_file():
        return []
    return [sha256_file(table), os.path.relpath(root, work_dir), *(_stamp(root / name, name) for name in named_files(table))]


def _names(folder: Path | None) -> list[str]:
    return [] if folder is None else sorted(path.name for path in folder.iterdir())


def _stamp(path: Path, name: str) -> str:
    """Return a file's name, size and time of last change."""
    try:
        about = path.stat()
    except OSError:
        return f"{name} absent"
    return f"{name} {about.st_size} {about.st_mtime_ns}"


def reason_to_run(chapter: Chapter, key: str, work_dir: Path) -> str:
    """Say why a chapter must run; ``""`` when its outputs are there and current."""
    state = read_state(chapter, work_dir)
    if not state:
        return "not run before"
    if state.get("key") != key:
        return "its code, settings or inputs changed"
    absent = [name for name in chapter.makes if not (work_dir / name).is_file()]
    if absent:
        return f"{absent[0]} is gone"
    # Run on what earlier chapters had left then, it may have read what other settings or another table had made.
    makers = sorted({maker for name in chapter.needs if (maker := maker_of(name)) and maker < chapter.number})
    if later := [maker for maker in makers if _finished(maker, work_dir) > state.get("finished", "")]:
        return f"chapter {later[0]} was run since"
    return "" if executed_path(chapter, work_dir).is_file() else "its executed copy is gone"


def outdated(chapters: list[Chapter], keys: Mapping[str, str], work_dir: Path) -> set[str]:
    """Return the numbers of the chapters whose outputs are of other settings, code or inputs than the rest of the report.

    A chapter whose outputs a current one has read is none of them: what
    followed from it is current.
    """
    states = {chapter.number: read_state(chapter, work_dir).get("key") for chapter in chapters}
    current = {number for number, key in states.items() if key == keys[number]}
    needs = {chapter.number: {maker_of(name) for name in chapter.needs} for chapter in chapters}
    while read := {maker for number in current for maker in needs.get(number, ())} - current - {None}:
        current |= read
    return {number for number, key in states.items() if key and number not in current}


def keep_source(source: str, work_dir: Path) -> None:
    """Note whether a work folder's patients are simulated ("phantom") or not ("manifest"), once and for all.

    Raises
    ------
    SettingsError
        They are of the other kind: pages of both would stand under one line
        that says who they are of.
    """
    path = work_dir / "runs" / "source.json"
    before = read_json(path)["source"] if path.is_file() else source
    if before != source:
        kinds = {"phantom": "simulated patients", "manifest": "a cohort table's patients"}
        raise SettingsError(
            f"cohort.source: expected {before!r}, as the work folder {work_dir.name} holds {kinds[before]}, received {source!r}. "
            "Repeat the --set words of the earlier run, or name another work folder with --set out_dir=."
        )
    if not path.is_file():
        write_json(path, {"source": source})


def executed_path(chapter: Chapter, work_dir: Path) -> Path:
    """Return the path of the executed notebook, outputs included."""
    return work_dir / "runs" / f"{chapter.stem}.ipynb"


def read_state(chapter: Chapter, work_dir: Path) -> dict[str, Any]:
    """Return what is recorded of a chapter's last complete run, ``{}`` if none."""
    return _state_of(chapter.number, work_dir)


def _state_of(number: str, work_dir: Path) -> dict[str, Any]:
    path = work_dir / "runs" / f"{number}_state.json"
    return read_json(path) if path.is_file() else {}


def _finished(number: str, work_dir: Path) -> str:
    """Return when a chapter was last run whole, as `now` writes it, so that texts compare as times; "" if never."""
    return _state_of(number, work_dir).get("finished", "")


def write_state(chapter: Chapter, work_dir: Path, key: str, outcome: Outcome) -> None:
    """Record a complete run of a chapter."""
    about = {"seconds": round(outcome.seconds, 1), "peak_memory_gb": outcome.peak_gb, "code": outcome.code}
    write_json(work_dir / "runs" / f"{chapter.number}_state.json", {"key": key, **about, "finished": now()})


def read_numbers(chapters: list[Chapter], work_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the numbers of every chapter that has any, by file stem."""
    found = {}
    for chapter in chapters:
        path = work_dir / "runs" / f"{chapter.number}_numbers.json"
        if path.is_file():
            found[chapter.stem] = read_json(path)
    return found


def read_measured(chapters: list[Chapter], work_dir: Path) -> dict[str, Measured]:
    """Return the numbers of every chapter with their intervals, as "NN.name"; what a run could not have is NaN."""
    found = {}
    for chapter in chapters:
        numbers, intervals = (work_dir / "runs" / f"{chapter.number}_{kind}.json" for kind in ("numbers", "intervals"))
        known = read_json(intervals) if intervals.is_file() else {}
        for name, value in (read_json(numbers) if numbers.is_file() else {}).items():
            found[f"{chapter.number}.{name}"] = as_measured(value, known.get(name))
    return found


def as_measured(value: Any, interval: Mapping[str, Any] | None = None) -> Measured:
    """Return a plain number (or None, or a `Measured`) as a `Measured`."""
    if isinstance(value, Measured):
        return value
    low, high, n = (None, None, 0) if interval is None else (interval["low"], interval["high"], interval["n"])
    note = "" if interval is None else interval.get("note", "")
    return Measured(*[math.nan if not isinstance(v, int | float) else float(v) for v in (value, low, high)], n=n, note=note)


def run_record(settings: Any, outcomes: list[Outcome], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``run.json``.

    Notes
    -----
    Holds no path and no host name, so that it can be shown to anyone.
    """
    from flairnb.settings import as_dict, settings_hash

    return {
        "profile": settings.profile,
        "seed": settings.seed,
        "finished": now(),
        "code": git_state(),
        "code_of_chapters": {outcome.chapter.stem: outcome.code for outcome in outcomes},
        "lock_sha256": lock_hash(),
        "settings_hash": settings_hash(settings),
        "settings": as_dict(settings),
        "parameters": {name: value for name, value in parameters.items() if name not in ("data_dir", "out_dir")},
        "versions": versions(),
        "machine": machine(),
        "peak_memory_gb": max((outcome.peak_gb for outcome in outcomes), default=0.0),
        "wall_seconds": {outcome.chapter.stem: round(outcome.seconds, 1) for outcome in outcomes},
        "wall_seconds_total": round(sum(outcome.seconds for outcome in outcomes), 1),
        "status": {outcome.chapter.stem: outcome.status for outcome in outcomes},
    }


def hashes_of(report: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a report but ``run.json``, which holds them."""
    files = sorted(p for p in report.rglob("*") if p.is_file() and p.name != "run.json" and not p.name.startswith("."))
    return {path.relative_to(report).as_posix(): sha256_file(path) for path in files}


def now() -> str:
    """Return the time now, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
