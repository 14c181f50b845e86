"""Recompute the hashes of a folder's files and compare them with what was written down when they were made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flairnb.errors import InputError, MissingDataError, WorkFailed
from flairnb.naming import sidecar_path
from flairnb.provenance import PARTIAL, read_json, sha256_file
from flairnb.report.patient_folder import WAITING

_DERIVED = (".nii", ".nii.gz", ".keras", ".txt", ".tsv")
#: Statuses that are no fault.
_FINE = ("ok", "no recipe", "not in this copy", "left over")


@dataclass(frozen=True)
class Verdict:
    """What was found of one file.

    Attributes
    ----------
    file : str
        Relative to the folder.
    status : str
        ``"ok"``, ``"changed"`` (another content than its recipe says),
        ``"missing"`` (a recipe without its file), ``"unreadable"`` (a recipe
        that cannot be read), ``"no recipe"``, ``"not in this copy"`` (a
        report's figure; clones leave figures out, and the pages hold them) or
        ``"left over"`` (half a file, or results in a folder where they waited,
        that a killed run left; they are never read, and the next run in the
        folder removes them, the waiting ones after an hour).
    recipe : str
        The file that holds its hash, ``""`` if none.
    """

    file: str
    status: str
    recipe: str = ""


def verify_folder(folder: str | os.PathLike) -> list[Verdict]:
    """Check every file of a folder that has a recipe, and name the images that have none.

    A recipe is a side-car with `Sha256`, a simulated patient's ``*_record.json``,
    a network's ``settings.json``, or a ``run.json`` or ``*_desc-summary.json``
    with the hashes of its `files`.

    Raises
    ------
    MissingDataError, InputError
        No such folder, or nothing in it that flairnb made.
    """
    folder = Path(folder)
    if not folder.exists():
        raise MissingDataError(f"verify: expected a folder, found nothing at {folder}. Check the path.")
    if not folder.is_dir():
        raise InputError(f"verify: expected a folder, found the file {folder.name}. Name the folder that holds it.")
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    left_over = {p for p in found if _is_left_over(p.relative_to(folder))}
    files = [p for p in found if p not in left_over]
    by_sidecar = {}
    for path in files:
        if path.suffix != ".json":
            by_sidecar.setdefault(sidecar_path(path), []).append(path)
    verdicts: dict[Path, Verdict] = {}
    for recipe in (p for p in files if p.suffix == ".json"):
        for path, verdict in _judge(recipe, by_sidecar.get(recipe, []), folder):
            verdicts[path] = verdict
    if not verdicts:
        raise InputError(f"verify: expected files with their recipes, found none in {folder.name}. Name a folder that flairnb wrote.")
    rest = [p for p in files if p not in verdicts and p.name.endswith(_DERIVED) and "rawdata" not in p.parts]
    verdicts |= {p: Verdict(_name(p, folder), "left over") for p in sorted(left_over)}
    return [*verdicts.values(), *(Verdict(_name(p, folder), "no recipe") for p in rest)]


def refuse_changed(verdicts: list[Verdict], folder: str | os.PathLike) -> None:
    """Raise `WorkFailed` when a file is not what its recipe says."""
    bad = [v for v in verdicts if v.status not in _FINE]
    if bad:
        raise WorkFailed(
            f"{Path(folder).name}: expected {len(verdicts)} files as they were made, found {len(bad)} that are not; first: "
            f"{bad[0].file} is {bad[0].status} ({bad[0].recipe}). Make them again."
        )


def _is_left_over(path: Path) -> bool:
    return path.name.startswith(PARTIAL) or any(part.startswith(WAITING) for part in path.parts[:-1])


def _judge(recipe: Path, beside: list[Path], folder: Path) -> Iterator[tuple[Path, Verdict]]:
    try:
        content = read_json(recipe)
    except (ValueError, OSError):
        yield recipe, Verdict(_name(recipe, folder), "unreadable", _name(recipe, folder))
        return
    for path, expected in _promises(content, recipe, beside).items():
        if path.is_file():
            status = "ok" if sha256_file(path) == expected else "changed"
        else:
            is_figure = recipe.name == "run.json" and path.parent == recipe.parent / "figures"
            status = "not in this copy" if is_figure else "missing"
        yield path, Verdict(_name(path, folder), status, _name(recipe, folder))


def _promises(content: Any, recipe: Path, beside: list[Path]) -> dict[Path, str]:
    """Return the files that a recipe speaks of, with their hashes."""
    if not isinstance(content, dict):
        return {}
    if isinstance(content.get("Sha256"), dict) and isinstance(content.get("Made"), dict):
        return {_below_work(recipe, str(content["Made"].get(key, key))): expected for key, expected in content["Sha256"].items()}
    if "Sha256" in content:
        return dict.fromkeys(beside or [recipe.with_suffix(".nii.gz")], content["Sha256"])
    if "sha256" in content and "file" in content:
        return {recipe.parent / content["file"]: content["sha256"]}
    files = content.get("files")
    return {recipe.parent / name: expected for name, expected in files.items()} if isinstance(files, dict) else {}


def _below_work(recipe: Path, name: str) -> Path:
    """Return where a name that starts at the work folder leads: the nearest folder above the recipe that holds it."""
    return next((base / name for base in recipe.parents if (base / name).is_file()), recipe.parent / name)


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
