"""Read and write a cohort table; report all that is wrong with one at once."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from flairnb.cohort.columns import COLUMNS, NAMES, NUMBERS, PATHS, schema
from flairnb.cohort.diagnoses import HEALTHY, nearest_diagnosis
from flairnb.cohort.manifest_files import ONCE, file_faults
from flairnb.errors import InputError, ManifestError, MissingDataError
from flairnb.provenance import atomic_path

PROBLEM_COLUMNS = ["row", "participant_id", "column", "value", "problem", "what_to_do"]
NO_VALUE = ("", "n/a", "N/A", "NA", "nan")


def read_manifest(path: str | os.PathLike, data_root: str | os.PathLike | None = None) -> pd.DataFrame:
    """Read a cohort table and check all of it.

    Parameters
    ----------
    path : path-like
        Tab-separated text (``.csv``: comma-separated), UTF-8, one row per
        participant; columns as in `flairnb.cohort.columns.COLUMNS`. Empty
        rows, and separators at the end of rows, are passed over. A cell may
        stand in quotation marks, as spreadsheets write it, but ends in the line
        that it begins in.
    data_root : path-like, optional
        Folder that the paths in the table are relative to; by default the
        table's own folder.

    Returns
    -------
    DataFrame
        All columns, in the order of `COLUMNS`, then further ones as found.
        Numbers are float (NaN where unknown), texts and paths "" where there
        is none; paths stay relative to the data root.

    Raises
    ------
    MissingDataError
        The table does not exist.
    InputError
        It cannot be read as a table, two columns have one name, a row has more
        cells than there are columns, or a quotation mark joins cells or rows
        (a ditto mark, a line break within a cell).
    ManifestError
        It can be read, but breaks the schema; `problems` has a row for every fault:
        row (line in the file), participant_id, column, value, problem,
        what_to_do.
    """
    path = Path(path)
    text = read_text_table(path)
    root = Path(data_root) if data_root is not None else path.parent
    problems = find_problems(text, root)
    if not problems.empty:
        first = problems.iloc[0]
        raise ManifestError(
            f"{path.name}: expected a table without problems, found {len(problems)}; first: line {first['row']}, "
            f"{first['participant_id'] or 'no participant'}, {first['column']} = {first['value']!r}: {first['problem']}. "
            f"{first['what_to_do']} `flairnb cohort check` lists all.",
            problems,
        )
    return _typed(text)[0].reset_index(drop=True)


def named_files(path: str | os.PathLike) -> list[str]:
    """Return the paths of images that a table names, as they are written and unchecked; none where it cannot be read."""
    try:
        text = read_text_table(Path(path))
    except (InputError, MissingDataError):
        return []
    return [value for column in PATHS if column in text.columns for value in text[column] if value not in NO_VALUE]


def find_problems(text: pd.DataFrame, data_root: str | os.PathLike) -> pd.DataFrame:
    """Return every fault of a table of texts, as rows of `PROBLEM_COLUMNS` in the order of the file.

    Parameters
    ----------
    text : DataFrame of str
        The table as written; "" where a cell is empty. Its index counts the
        lines of the file below the header, from 0.
    data_root : path-like
        Folder that the paths are relative to.
    """
    absent = [c.name for c in COLUMNS if c.required and c.name not in text.columns]
    if absent or text.empty:
        what = [(1, name, "", "the column is missing", _what_to_add(text)) for name in absent]
        what += [] if len(text) else [(1, "", "", "the table has no rows", "Add one row per participant.")]
        return _as_problems(what, text)
    typed, faults = _typed(text)
    faults += _schema_faults(typed, {(row, column) for row, column, *_ in faults})
    faults += _duplicate_faults(typed) + _timing_faults(typed) + _reference_faults(typed)
    faults += [(_line(index), *fault) for index, *fault in file_faults(typed, Path(data_root))]
    return _as_problems(faults, text)


def _what_to_add(text: pd.DataFrame) -> str:
    """Say what to do about a column that is missing: with all names in one cell, it is another separator that is."""
    for sign, name in ((";", "semicolons"), (",", "commas")):
        if len(text.columns) == 1 and sign in text.columns[0]:
            return f"The columns are separated by {name}: save the table tab-separated{'' if sign == ';' else ', or name it .csv'}."
    return "Add it; data_manifest/README.md says what it holds."


def write_manifest(table: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Write a cohort table, known columns first; reading it back gives the same table.

    Parameters
    ----------
    table : DataFrame
        Columns of `COLUMNS` that are absent are written empty.
    path : path-like
        Tab-separated text, written at once or not at all.
    """
    path = Path(path)
    extra = [c for c in table.columns if c not in NAMES]
    full = table.reindex(columns=[*NAMES, *extra]).astype(object)
    full = full.where(full.notna(), "")
    for column in NUMBERS:
        full[column] = ["" if v == "" else f"{float(v):.10g}" for v in full[column]]
    with atomic_path(path) as temporary:
        full.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    return path


def read_text_table(path: Path) -> pd.DataFrame:
    """Return a cohort table as it is written: texts, no column checked; errors as in `read_manifest`."""
    if not path.is_file():
        raise MissingDataError(f"{path.name}: expected a cohort table, found no such file. Check the path; see data_manifest/README.md.")
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    try:
        written = path.read_text(encoding="utf-8-sig")
        if not written.strip():
            raise pd.errors.EmptyDataError("it is empty")
        _check_quotes(written, separator, path.name)
        width = 1 + max(line.count(separator) for line in written.split("\n"))
        # No cell is a name yet: pandas would rename repeated columns, and take the first one for the index where rows are longer.
        cells = pd.read_csv(
            io.StringIO(written), sep=separator, header=None, names=range(width), dtype=str, keep_default_na=False, skip_blank_lines=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path.name}: expected a tab-separated table in UTF-8, found something else ({reason}). Export it again."
        ) from error
    # No tab within a cell (of a .csv): the run's own copy of the table is tab-separated.
    return _with_header(cells.fillna("").map(lambda cell: cell.replace("\t", " ").strip()), path.name)


def _check_quotes(written: str, separator: str, file: str) -> None:
    """Refuse ditto marks, and quotation marks that join cells or rows: participants would be lost between two of them."""
    for number, line in enumerate(written.split("\n"), start=1):
        if '"' not in line:
            continue
        cells = csv.reader([line, ""], delimiter=separator)
        first = next(cells)
        is_open = cells.line_num > 1
        has_ditto = any(cell.strip() == '"' for cell in first)
        if is_open or has_ditto or _has_joined(line, first, separator):
            raise InputError(
                f"{file}: expected values written out, each cell in one line, found in line {number} a quotation mark that stands alone or "
                "joins cells or rows. Replace ditto marks by the values, and leave line breaks out of cells."
            )


def _has_joined(line: str, cells: list[str], separator: str) -> bool:
    """Tell whether a quotation mark has joined cells: no cell holds a tab; a comma may stand in a cell, but never begins one."""
    if separator == ",":
        return any(cell.lstrip().startswith(",") for cell in cells)
    return '"' in map(str.strip, line.split(separator)) or any(separator in cell for cell in cells)


def _with_header(cells: pd.DataFrame, file: str) -> pd.DataFrame:
    """Take the first row as names of the columns; drop empty rows, of which the index keeps the place."""
    names = cells.iloc[0].tolist()
    repeated = [name for name, n in Counter(names).items() if name and n > 1]
    if repeated:
        raise InputError(f"{file}: expected each column once, found {', '.join(repeated)} more than once. Leave one of each.")
    table = cells.iloc[1:].reset_index(drop=True)
    table = table[(table != "").any(axis=1)]
    known = 1 + max((i for i, name in enumerate(names) if name), default=-1)
    surplus = table.index[(table.iloc[:, known:] != "").any(axis=1)]
    if len(surplus):
        lines = ", ".join(str(_line(i)) for i in surplus[:5]) + (" ..." if len(surplus) > 5 else "")
        raise InputError(f"{file}: expected rows of {known} cells, as the header has, found more in line {lines}. Correct them.")
    return table.iloc[:, :known].set_axis([name or f"Unnamed: {i}" for i, name in enumerate(names[:known])], axis=1)


def _typed(text: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple]]:
    """Return the table with numbers parsed, and a fault for each that is none."""
    extra = [c for c in text.columns if c not in NAMES]
    table = text.reindex(columns=[*NAMES, *extra], fill_value="")
    table = table.mask(table.isin(NO_VALUE), "").astype("str")
    faults = []
    for column in NUMBERS:
        written = table[column]
        parsed = pd.to_numeric(written, errors="coerce").astype(float)
        bad = (parsed.isna() & (written != "")) | np.isinf(parsed)
        faults += [(_line(i), column, written[i], "not a number", "Write a plain number, or leave it empty.") for i in written.index[bad]]
        table[column] = parsed.mask(bad)
    return table, faults


def _line(index: int) -> int:
    """Line of a row in the file: the header is line 1."""
    return int(index) + 2


def _schema_faults(table: pd.DataFrame, known: set[tuple[int, str]]) -> list[tuple]:
    from pandera.errors import SchemaErrors

    try:
        schema().validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        rows = zip(cases["index"], cases["column"], cases["failure_case"], cases["check"], strict=True)
        found = [(_line(i), column, value, check, _advice(column, value)) for i, column, value, check in rows]
        return [fault for fault in found if fault[:2] not in known]
    return []


def _advice(column: str, value: object) -> str:
    known = {c.name: c for c in COLUMNS}[column]
    nearest = nearest_diagnosis(str(value)) if column == "diagnosis" else _nearest_choice(str(value), known.choices)
    if nearest:
        return f"Did you mean {nearest}?"
    if known.kind == "number":
        return f"Check the unit ({known.unit})."
    return "Correct it." if known.required else "Correct it, or leave it empty."


def _nearest_choice(value: str, choices: tuple[str, ...]) -> str:
    """Return the choice that begins like `value`, whatever the case; "" if none or several do."""
    matches = [c for c in choices if value and c[:1].lower() == value[:1].lower()]
    return matches[0] if len(matches) == 1 else ""


def _duplicate_faults(table: pd.DataFrame) -> list[tuple]:
    faults = []
    for column in (c.name for c in COLUMNS if c.unique and c.kind != "path"):
        values = table[column]
        repeated = values[values.duplicated(keep="first") & (values != "")]
        for index, value in repeated.items():
            first = _line(values.index[values == value][0])
            faults.append((_line(index), column, value, f"stands already in line {first}", ONCE))
    return faults


def _timing_faults(table: pd.DataFrame) -> list[tuple]:
    faults = []
    for column in ("te_ms", "ti_ms"):
        late = table.index[table[column] >= table["tr_ms"]]
        faults += [(_line(i), column, table.loc[i, column], "not shorter than tr_ms", "Check the unit (ms) of both.") for i in late]
    return faults


def _reference_faults(table: pd.DataFrame) -> list[tuple]:
    lacking = table.index[(table["reference_mask"] == "") & (table["diagnosis"] != HEALTHY.key)]
    advice = "Name the reader's mask; only healthy brains may go without (no lesion)."
    return [(_line(i), "reference_mask", "", "a diseased case has no mask to train or score with", advice) for i in lacking]


def _as_problems(faults: list[tuple], text: pd.DataFrame) -> pd.DataFrame:
    ids = text["participant_id"] if "participant_id" in text.columns else None
    rows = []
    for row, column, value, problem, advice in faults:
        who = ids.get(row - 2, "") if ids is not None else ""
        rows.append((row, who, column, "" if value is None else str(value), problem, advice))
    table = pd.DataFrame(rows, columns=PROBLEM_COLUMNS)
    return table.drop_duplicates().sort_values("row", kind="stable", ignore_index=True)
