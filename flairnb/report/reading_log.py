"""What readers said: one line a verdict, added at once, never changed.

``review.tsv`` is opened for appending only and flushed to the disk after each
line, so that neither a crash nor a second reader can lose what was written. A
changed mind is a new line; `latest` takes the last one.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flairnb.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FILE = "review.tsv"
#: From best to worst; the order counts in the agreement of two readers.
VERDICTS = ("accept", "minor edits", "major edits")


@dataclass(frozen=True)
class Reading:
    """One verdict.

    Attributes
    ----------
    reader : str
        Initials or a pseudonym.
    case : str
    method : str
        Whose mask was judged, the true name even when the reader saw a letter.
    verdict : str
        One of `VERDICTS`.
    seconds : float
        From showing the case to the verdict.
    blinded : bool
    comment : str
    files : mapping of file name to SHA-256 (first digits)
        What was shown.
    time_utc : str
        Set by itself.
    """

    reader: str
    case: str
    method: str
    verdict: str
    seconds: float
    blinded: bool = False
    comment: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    time_utc: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InputError(f"verdict: expected one of {', '.join(VERDICTS)}, received {self.verdict!r}.")
        if not self.reader.strip():
            raise InputError("reader: expected initials or a pseudonym, received nothing. Fill in who reads.")


COLUMNS = tuple(f.name for f in fields(Reading))


def append(path: str | os.PathLike, reading: Reading) -> None:
    """Add one line to the log, on the disk when this returns."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = "\t".join(_text(value) for value in astuple(reading)) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        head = "" if os.fstat(descriptor).st_size else "\t".join(COLUMNS) + "\n"
        os.write(descriptor, (head + line).encode("utf-8"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Return all lines of a log, oldest first; empty when nothing was said yet."""
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    return table.assign(seconds=table["seconds"].astype(float), blinded=table["blinded"] == "True")


def latest(log: pd.DataFrame) -> pd.DataFrame:
    """Return the last verdict of each reader on each case and method."""
    return log.drop_duplicates(["reader", "case", "method"], keep="last").reset_index(drop=True)


def summary(log: pd.DataFrame) -> pd.DataFrame:
    """Return how often each reader gave which verdict on each method, and the median seconds; last verdicts count."""
    import pandas as pd

    last = latest(log)
    if last.empty:
        return pd.DataFrame(columns=["reader", "method", "cases", *VERDICTS, "seconds_median"])
    counts = last.pivot_table(index=["reader", "method"], columns="verdict", values="case", aggfunc="count", fill_value=0)
    counts = counts.reindex(columns=list(VERDICTS), fill_value=0)
    groups = last.groupby(["reader", "method"])
    counts.insert(0, "cases", groups.size())
    return counts.assign(seconds_median=groups["seconds"].median()).reset_index().rename_axis(columns=None)


def agreement(log: pd.DataFrame) -> pd.DataFrame:
    """Return how two readers agree on what both judged.

    Returns
    -------
    DataFrame
        One row a pair: `reader_a`, `reader_b`, `n`, `same_fraction` and
        `kappa` (Cohen's, with linear weights: accept and major edits are twice
        as far apart as accept and minor edits); NaN where it is undefined.
    """
    import pandas as pd

    last = latest(log)
    wide = last.pivot_table(index=["case", "method"], columns="reader", values="verdict", aggfunc="last") if len(last) else pd.DataFrame()
    names, rows = list(wide.columns), []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            both = wide[[first, second]].dropna()
            a, b = ([VERDICTS.index(v) for v in both[name]] for name in (first, second))
            same = float(np.mean(np.equal(a, b))) if a else float("nan")
            rows.append((first, second, len(a), same, weighted_kappa(a, b, len(VERDICTS))))
    return pd.DataFrame(rows, columns=["reader_a", "reader_b", "n", "same_fraction", "kappa"])


def weighted_kappa(a: Sequence[int], b: Sequence[int], levels: int) -> float:
    """Return Cohen's kappa with linear weights; NaN without cases or where chance alone explains all.

    Examples
    --------
    >>> weighted_kappa([0, 1, 2], [0, 1, 2], 3)
    1.0
    """
    if not len(a):
        return float("nan")
    table = np.zeros((levels, levels))
    np.add.at(table, (np.asarray(a), np.asarray(b)), 1.0 / len(a))
    distance = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels)))
    expected = float((distance * np.outer(table.sum(axis=1), table.sum(axis=0))).sum())
    return float("nan") if expected == 0 else 1.0 - float((distance * table).sum()) / expected


def letters(methods: Sequence[str], case: str, reader: str, seed: int) -> dict[str, str]:
    """Return which method hides behind A, B, C for a case and a reader, always the same for them.

    Examples
    --------
    >>> sorted(letters(["unet", "lga"], "sub-1", "ab", 3).values())
    ['lga', 'unet']
    """
    import zlib

    rng = np.random.default_rng([seed, zlib.crc32(case.encode()), zlib.crc32(reader.encode())])
    return {chr(ord("A") + place): methods[int(at)] for place, at in enumerate(rng.permutation(len(methods)))}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        value = ";".join(f"{name}:{digits}" for name, digits in value.items())
    elif isinstance(value, float):
        value = f"{value:.1f}"
    return re.sub(r"\s+", " ", str(value)).strip()
