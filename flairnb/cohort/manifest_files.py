"""The files that a cohort table names: whether each is there, and each in one place of the table only."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pandas as pd

from flairnb.cohort.columns import COLUMNS, PATHS

ONCE = "Each may stand in one row only; remove or correct one."
_UNIQUE = tuple(c.name for c in COLUMNS if c.unique and c.kind == "path")
_NIFTI = (".nii", ".nii.gz")
_WORDS = {
    errno.EACCES: ("the file, or a folder on the way to it, may not be read", "Ask for permission to read it."),
    errno.ENAMETOOLONG: ("the path is too long for this computer", "Shorten the names of files and folders."),
    errno.ELOOP: ("the path leads through a link that leads to itself", "Correct the link."),
}


def file_faults(table: pd.DataFrame, root: Path) -> list[tuple[int, str, str, str, str]]:
    """Return what is wrong with the files of a table.

    Parameters
    ----------
    table : DataFrame of str
        With the columns `PATHS`; "" where there is no file.
    root : Path
        Folder that they are relative to.

    Returns
    -------
    list of tuple
        The row's index in `table`, column, value, problem, what to do. A file
        that cannot be looked at is a fault of its row, and stops nothing.

    Notes
    -----
    Two ways to write a path, or a symbolic link and what it leads to, are one
    file. One file in two columns of a row is a fault; so is one in two rows,
    but for T1w images and brain masks, which two FLAIRs of a head may share.
    """
    faults = _repeated(table, root)
    for column in PATHS:
        for index, value in table[column][table[column] != ""].items():
            problem, advice = _path_problem(value, root)
            if problem:
                faults.append((index, column, value, problem, advice))
    return faults


def _repeated(table: pd.DataFrame, root: Path) -> list[tuple]:
    faults, seen = [], {}
    for index, row in zip(table.index, table[list(PATHS)].to_dict("records"), strict=True):
        here: dict[str, str] = {}
        for column, value in row.items():
            file = _real_path(value, root) if value else ""
            if file and file in here:
                advice = "Each column needs a file of its own; correct one, or leave it empty."
                faults.append((index, column, value, f"the same file as {here[file]}", advice))
            elif file and column in _UNIQUE and file in seen:
                line, first = seen[file]
                role = "" if first == column else f" as {first}"
                faults.append((index, column, value, f"stands already in line {line}{role}", ONCE))
            here.setdefault(file, column)
        # The header is line 1.
        seen = {file: (int(index) + 2, column) for file, column in here.items() if column in _UNIQUE} | seen
    return faults


def _real_path(value: str, root: Path) -> str:
    try:
        return os.path.realpath(root / value)
    except (OSError, ValueError):  # no path at all; said elsewhere
        return os.path.normpath(value)


def _path_problem(value: str, root: Path) -> tuple[str, str]:
    """Return what is wrong with a path and what to do, or two empty texts.

    A path may lead through a symbolic link to another disk: only what is
    written in the table must stay inside the root.
    """
    if "\\" in value:
        return "expected / between folders", "Replace each backslash by /."
    if Path(value).is_absolute() or os.path.normpath(value).startswith(".."):
        return "leaves the data root", "Write paths relative to the data root; give another root with --data-root."
    if not value.lower().endswith(_NIFTI):
        return "expected a .nii or .nii.gz file", "Convert the image to NIfTI."
    return _problem_on_disk(root / value)


def _problem_on_disk(path: Path) -> tuple[str, str]:
    try:
        if not path.is_file():
            return "no such file in the data root", "Correct the path, or fetch the data first."
        return ("", "") if os.access(path, os.R_OK) else _WORDS[errno.EACCES]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return _WORDS.get(getattr(error, "errno", None), (f"cannot be looked at ({reason})", "Correct the path, or the disk."))
