"""Agreement of two measurements of the same cases: Bland and Altman's limits, and intervals by resampling cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from flairnb.errors import InputError
from flairnb.evaluate.statistics import NAN, Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PairStatistic = Literal["spearman", "slope", "rmdspe_percent", "rmspe_percent"]


@dataclass(frozen=True)
class Agreement:
    """Bias and 95% limits of agreement of b minus a, each with its 95% confidence interval (Bland and Altman 1986)."""

    n: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    upper: float
    limit_se: float


def bland_altman(a: ArrayLike, b: ArrayLike) -> Agreement:
    """Return the bias of `b` against `a` and the limits that hold 95% of the differences.

    Parameters
    ----------
    a, b : (n,) array
        The same quantity of the same cases by two methods; pairs with a NaN are left out.

    Returns
    -------
    Agreement
        Limits are bias plus and minus 1.96 SD; `limit_se` is the standard error of a limit, SD sqrt(3 / n).
    """
    a, b = np.asarray(a, dtype=float).ravel(), np.asarray(b, dtype=float).ravel()
    difference = (b - a)[~np.isnan(b - a)]
    n = difference.size
    if n < 2:
        return Agreement(n, float(difference.mean()) if n else NAN, NAN, NAN, NAN, NAN, NAN, NAN)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = float(stats.t.isf(0.025, n - 1)) * sd / np.sqrt(n)
    return Agreement(n, bias, bias - half, bias + half, sd, bias - 1.96 * sd, bias + 1.96 * sd, sd * float(np.sqrt(3 / n)))


def pair_interval(x: ArrayLike, y: ArrayLike, statistic: PairStatistic, seed: int, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Return a statistic of pairs (true and predicted volume) with its bootstrap interval over cases.

    Parameters
    ----------
    x, y : (n,) array
        True and predicted values, one pair a case; pairs with a NaN are left out.
    statistic : {"spearman", "slope", "rmdspe_percent", "rmspe_percent"}
        Rank correlation, slope of the least-squares line, or the percentage errors of
        `flairnb.evaluate.statistics.percentage_errors` (cases with x > 0 only).
    seed : int
        Same seed, same interval.
    resamples, level : int, float
        Of the percentile bootstrap.

    Returns
    -------
    Interval
        Estimate and bounds are NaN with fewer than three pairs.
    """
    if statistic not in _PAIRED:
        msg = f"statistic: expected one of {', '.join(_PAIRED)}, received {statistic!r}."
        raise InputError(msg)
    x, y = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    kept = ~(np.isnan(x) | np.isnan(y)) & ((x > 0) | ("percent" not in statistic))
    x, y = x[kept], y[kept]
    low = high = estimate = NAN
    if x.size >= 3:
        of = _PAIRED[statistic]
        estimate = float(of(x[None], y[None])[0])
        drawn = np.random.default_rng(seed).integers(0, x.size, size=(resamples, x.size))
        found = of(x[drawn], y[drawn])
        found = found[np.isfinite(found)]
        if found.size:
            tail = (1.0 - level) / 2.0
            low, high = (float(bound) for bound in np.quantile(found, [tail, 1.0 - tail]))
    return Interval(x.size, statistic, estimate, low, high, level, resamples)


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    dx, dy = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    # Equal values leave a rounding error about their mean, which is no spread.
    return np.where(np.ptp(x, axis=1) > 0, _ratio((dx * dy).sum(axis=1), (dx**2).sum(axis=1)), np.nan)


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    rx, ry = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    dx, dy = rx - rx.mean(axis=1, keepdims=True), ry - ry.mean(axis=1, keepdims=True)
    return _ratio((dx * dy).sum(axis=1), np.sqrt((dx**2).sum(axis=1) * (dy**2).sum(axis=1)))


def _rmdspe(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100.0 * np.sqrt(np.median(((y - x) / x) ** 2, axis=1))


def _rmspe(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100.0 * np.sqrt(np.mean(((y - x) / x) ** 2, axis=1))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


_PAIRED: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]] = {
    "spearman": _spearman,
    "slope": _slope,
    "rmdspe_percent": _rmdspe,
    "rmspe_percent": _rmspe,
}
