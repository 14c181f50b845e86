"""Read the table of public files, `data_manifest/registry.tsv`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd

from flairnb.errors import InputError, MissingDataError

REGISTRY_COLUMNS = ("dataset", "name", "url", "sha256", "licence", "citation", "kind")


def read_registry(path: str | os.PathLike) -> pd.DataFrame:
    """Read a registry of public files.

    Parameters
    ----------
    path : path-like
        Tab-separated UTF-8, columns `REGISTRY_COLUMNS` and, if known, `bytes`
        (the file's size); `name` is the path of the file below the data folder.
        A quotation mark is a letter like others; empty lines are passed over.

    Raises
    ------
    MissingDataError, InputError
        No such file; it is no such table, a row has more cells than there are
        columns, a column is missing, a hash or a size is not one, a name
        occurs twice or leads out of the data folder.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"{path.name}: expected a registry of data files, found no such file.")
    table = _as_table(path)
    absent = [c for c in REGISTRY_COLUMNS if c not in table.columns]
    if absent:
        raise InputError(f"{path.name}: expected the columns {', '.join(REGISTRY_COLUMNS)}, found none called {', '.join(absent)}.")
    for problem, bad in (
        ("sha256 of 64 hexadecimal digits", ~table["sha256"].str.fullmatch(r"[0-9a-f]{64}")),
        ("a size in bytes", ~_column(table, "bytes").str.fullmatch(r"\d{0,15}")),
        ("each name once", table["name"].duplicated()),
        ("names that stay inside the data folder", ~table["name"].map(_is_inside)),
    ):
        if bad.any():
            raise InputError(f"{path.name}: expected {problem}, found {table.loc[bad, 'name'].iloc[0]!r} otherwise. Correct that line.")
    return table


def _as_table(path: Path) -> pd.DataFrame:
    """Return the table as it is written, all texts; cells that are left out at the end of a row are empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error.object[error.start : error.start + 1]!r} is not UTF-8"
        raise InputError(f"{path.name}: expected a tab-separated table in UTF-8, could not read it ({reason}).") from error
    columns = lines[0].split("\t")
    repeated = [name for name, n in Counter(columns).items() if n > 1]
    if repeated:
        raise InputError(f"{path.name}: expected each column once, found {repeated[0]!r} more than once. Leave one of them.")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if any(cells[len(columns) :]):
            raise InputError(
                f"{path.name}: expected rows of {len(columns)} cells, as the header has, found {len(cells)} in line {number}. Correct it."
            )
        if any(cells):
            rows.append((cells + [""] * len(columns))[: len(columns)])
    if not rows:
        raise InputError(f"{path.name}: expected a line for every file, found none.")
    return pd.DataFrame(rows, columns=columns, dtype=str)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table.columns else pd.Series("", index=table.index, dtype=str)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
