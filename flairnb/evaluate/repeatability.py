"""Repeated measurements of the same cases: how far they scatter, and which change is too large to be scatter.

After Bland and Altman (BMJ 1996;313:744; Stat Methods Med Res 1999;8:135, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from flairnb.errors import InputError
from flairnb.evaluate.statistics import NAN

Scale = Literal["plain", "log"]

#: 95% of the differences between two measurements of one case lie within this many within-subject SDs.
FACTOR = 1.96 * np.sqrt(2.0)
#: Cases from which on the data choose the scale.
FEWEST = 10


@dataclass(frozen=True)
class Repeatability:
    """How repeatable a measurement is.

    Attributes
    ----------
    cases, measurements : int
        Cases with at least two measurements, and their measurements.
    scale : {"plain", "log"}
        What `sd` and `coefficient` are of: the values or their natural logarithms.
    sd, sd_low, sd_high : float
        Within-subject SD and its 95% confidence interval.
    coefficient : float
        Repeatability coefficient, 2.77 `sd`.
    smallest_increase, smallest_decrease : float
        The smallest real change of a single case from one measurement to the
        next. On the plain scale in the unit of the values (plus and minus the
        coefficient); on the log scale as fractions of the first value (0.3:
        30% more; -0.23: 23% less).
    floored : int
        Measurements below the floor, on the log scale.
    """

    cases: int
    measurements: int
    scale: Scale
    sd: float
    sd_low: float
    sd_high: float
    coefficient: float
    smallest_increase: float
    smallest_decrease: float
    floored: int = 0

    def is_real(self, first: float, second: float, floor: float = 0.0) -> bool:
        """Tell whether the change from one measurement to the next is larger than 95% of mere repeats would show.

        Parameters
        ----------
        first, second : float
            In the unit of the values that the coefficient came from.
        floor : float
            As in `repeatability`; counts on the log scale.
        """
        if self.scale == "plain":
            return bool(abs(second - first) > self.coefficient)
        pair = np.log(np.maximum([first, second], floor))
        return bool(abs(pair[1] - pair[0]) > self.coefficient)


def repeatability(values: ArrayLike, subjects: Sequence, scale: Scale | None = None, floor: float = 0.0) -> Repeatability:
    """Return the within-subject SD of repeated measurements and what follows from it.

    Parameters
    ----------
    values : (n,) array
        Measurements in any unit; NaNs are left out, and cases with fewer than
        two measurements.
    subjects : (n,) sequence
        Which case each belongs to; numbers of repeats may differ.
    scale : {"plain", "log"}, optional
        `choose_scale` decides if absent.
    floor : float
        Smallest value that can be measured; lower ones are taken for it on the
        log scale, where 0 has no place.

    Returns
    -------
    Repeatability
        NaN where no case was measured twice.

    Raises
    ------
    InputError
        Log scale without a floor and a value that is not positive.

    Notes
    -----
    The within-subject variance is the residual mean square of a one-way
    analysis of variance; its interval is that of a variance of normal values.
    """
    groups = _groups(values, subjects)
    scale = choose_scale(values, subjects, floor) if scale is None else scale
    floored = 0
    if scale == "log":
        lowest = min((group.min() for group in groups), default=1.0)
        if floor <= 0 and lowest <= 0:
            raise InputError(f"repeatability: expected positive values on the log scale, found {lowest:g}. Give a floor.")
        floored = int(sum((group < floor).sum() for group in groups))
        groups = [np.log(np.maximum(group, floor)) for group in groups]
    n = int(sum(group.size for group in groups))
    freedom = n - len(groups)
    if freedom < 1:
        return Repeatability(len(groups), n, scale, NAN, NAN, NAN, NAN, NAN, NAN, floored)
    squares = float(sum(((group - group.mean()) ** 2).sum() for group in groups))
    sd = np.sqrt(squares / freedom)
    low, high = np.sqrt(squares / stats.chi2.isf([0.025, 0.975], freedom))
    coefficient = FACTOR * sd
    up, down = (coefficient, -coefficient) if scale == "plain" else (np.expm1(coefficient), np.expm1(-coefficient))
    return Repeatability(len(groups), n, scale, float(sd), float(low), float(high), float(coefficient), float(up), float(down), floored)


def choose_scale(values: ArrayLike, subjects: Sequence, floor: float = 0.0) -> Scale:
    """Return "log" when the scatter grows with the size of the value, else "plain".

    Notes
    -----
    Bland and Altman plot each case's SD against its mean and take Kendall's
    tau for the look of it: the log scale is taken when tau is positive on the
    plain scale and smaller in amount on the log scale. With fewer than
    `FEWEST` cases tau says nothing, and "log" is taken where all values allow
    it: volumes scatter in proportion to their size.
    """
    groups = _groups(values, subjects)
    allowed = floor > 0 or all(group.min() > 0 for group in groups)
    if not allowed:
        return "plain"
    if len(groups) < FEWEST:
        return "log"
    plain, log = _tau(groups), _tau([np.log(np.maximum(group, floor)) for group in groups])
    return "log" if plain > 0 and abs(log) < plain else "plain"


def _tau(groups: Sequence[NDArray[np.float64]]) -> float:
    """Return Kendall's tau between the SDs and the means of cases, 0 where it is undefined."""
    spread = [group.std(ddof=1) for group in groups]
    tau = stats.kendalltau([group.mean() for group in groups], spread).statistic
    return 0.0 if np.isnan(tau) else float(tau)


def _groups(values: ArrayLike, subjects: Sequence) -> list[NDArray[np.float64]]:
    """Return the measurements of each case that has at least two."""
    values = np.asarray(values, dtype=float).ravel()
    names = np.asarray(list(subjects), dtype=object)
    if names.size != values.size:
        raise InputError(f"repeatability: expected one subject a value, found {names.size} subjects and {values.size} values.")
    good = ~np.isnan(values)
    groups = [values[good & (names == name)] for name in dict.fromkeys(names)]
    return [group for group in groups if group.size > 1]
