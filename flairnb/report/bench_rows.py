"""What a benchmark leaves: rows of measurements, and the laws fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Row:
    """One measurement: `value` is the median of `n`, `low` and `high` the extremes."""

    part: str
    case: str
    what: str
    value: float
    low: float
    high: float
    n: int
    unit: str = "s"


@dataclass(frozen=True)
class Bench:
    """What a part is told: where public data lie, where the results go, how often to measure."""

    data: Path
    out: Path
    repeats: int


def summarise(part: str, case: str, what: str, values: Sequence[float], unit: str = "s") -> Row:
    """Return the median and the extremes of several runs as a row."""
    return Row(part, case, what, float(np.median(values)), float(min(values)), float(max(values)), len(values), unit)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return b of cost = a * size ** b, fitted by least squares of the logarithms.

    Examples
    --------
    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def line(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Return start and slope of cost = start + slope * size, by least squares.

    Examples
    --------
    >>> [round(n, 6) for n in line([1, 2, 4], [5, 7, 11])]
    [3.0, 2.0]
    """
    slope, start = np.polyfit(sizes, costs, 1)
    return float(start), float(slope)
