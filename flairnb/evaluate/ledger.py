"""The ledger: every number that the article prints, and ours beside it.

The article's numbers stand in ``data_manifest/paper_values.toml``; ours come from the notebooks' numbers. Nothing is
typed twice, and a number that a run does not have gets a row that says why.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flairnb.errors import InputError, MissingDataError

COLUMNS = ("id", "section", "what", "unit", "paper", "ours", "low", "high", "n", "notebook", "note")


@dataclass(frozen=True)
class PaperValue:
    """One printed number.

    Attributes
    ----------
    id : str
        Unique.
    section : str
        Where the article prints it.
    value : float
        As printed.
    unit, what : str
        "" for a unit where there is none.
    sign : str
        "<", "<=", ">", "~" where printed; else "".
    ours : str
        Notebook and number that stand beside it ("05.dice_median_unet"); "" where there can be none.
    note : str
        Why there is none, a misprint, or what to mind in comparing.
    """

    id: str
    section: str
    value: float
    unit: str
    what: str
    sign: str = ""
    ours: str = ""
    note: str = ""

    @property
    def printed(self) -> str:
        """The value as text with its sign."""
        text = f"{self.value:.5f}".rstrip("0") if 0 < self.value < 1e-4 else f"{self.value:g}"
        return f"{self.sign}{text}"


@dataclass(frozen=True)
class Measured:
    """A number of ours with its 95% interval and the cases behind it; NaN and 0 where it has none.

    `note` says what the number does not: for a P value, which side is the larger one.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    note: str = ""


def read_paper_values(path: str | os.PathLike) -> tuple[PaperValue, ...]:
    """Read the article's numbers.

    Raises
    ------
    MissingDataError
        If the file is absent.
    InputError
        If an id stands twice, or a row has neither a number of ours nor a reason.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"{path.name}: expected the article's numbers in {path.parent.name}/, found no such file.")
    sections = tomllib.loads(path.read_text(encoding="utf-8"))["section"]
    values = tuple(PaperValue(section=section["name"], **row) for section in sections for row in section["values"])
    twice = [name for name, count in Counter(value.id for value in values).items() if count > 1]
    if twice:
        raise InputError(f"{path.name}: expected every id once, found {', '.join(twice)} more than once. Rename one of them.")
    bare = [value.id for value in values if not value.ours and not value.note]
    if bare:
        raise InputError(f"{path.name}: {', '.join(bare)} has neither `ours` nor a `note` that says why. Give it one.")
    return values


def join(values: Iterable[PaperValue], measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Set our numbers beside the article's.

    Parameters
    ----------
    values : iterable of PaperValue
    measured : mapping of "NN.name" to Measured
        Every number of a run.

    Returns
    -------
    DataFrame
        One row a printed number, in the article's order: `id`, `section`, `what`, `unit`, `paper`, `ours`, `low` and
        `high` (95% interval), `n`, `notebook`, `note`.
    """
    ran = {name.partition(".")[0] for name in measured}
    return pd.DataFrame([_row(value, measured, ran) for value in values], columns=list(COLUMNS))


def _row(value: PaperValue, measured: Mapping[str, Measured], ran: set[str]) -> dict[str, object]:
    notebook = value.ours.partition(".")[0]
    ours = measured.get(value.ours, Measured(math.nan))
    reason = "" if value.ours in measured or not value.ours else _absent(value.ours, notebook, ran)
    if value.ours in measured and math.isnan(ours.value):
        reason = "undefined in this run: not given in this cohort, too few cases, or no spread among them"
    return {
        "id": value.id,
        "section": value.section,
        "what": value.what,
        "unit": value.unit,
        "paper": value.printed,
        "ours": ours.value,
        "low": ours.low,
        "high": ours.high,
        "n": ours.n or math.nan,
        "notebook": notebook,
        "note": "; ".join(filter(None, [reason, ours.note, value.note])),
    }


def _absent(name: str, notebook: str, ran: set[str]) -> str:
    if notebook not in ran:
        return f"chapter {notebook} has not run"
    return f"not in this run: chapter {notebook} has no number {name.partition('.')[2]}"


def counts(ledger: pd.DataFrame) -> pd.DataFrame:
    """Count a ledger's rows by section: printed numbers, those that ours stand beside, those with an interval."""
    groups = ledger.groupby("section", sort=False)
    table = groups.agg(printed=("id", "size"), ours=("ours", "count"), interval=("low", "count")).reset_index()
    total = {"section": "all", **table[["printed", "ours", "interval"]].sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def tidy(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger as text for files and pages: four significant digits, "" for what is missing."""
    table = ledger.astype(object).copy()
    for column in ("ours", "low", "high"):
        table[column] = [_short(value) for value in ledger[column]]
    table["n"] = ["" if pd.isna(value) else f"{value:.0f}" for value in ledger["n"]]
    return table


def _short(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{float(f'{value:.4g}'):g}"
