"""The article's statistics and the few that a reader misses in it.

Every function drops cases whose value is NaN (undefined, see `flairnb.evaluate.metrics`), says how many cases are left
in `n`, and answers NaN rather than an error when too few are left: a diagnosis with two cases is normal here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from flairnb.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NAN = float("nan")
#: Differences between scores (0-1) that are rounding, not spread; and the decimals that are none.
ROUNDING, DIGITS = 1e-12, 12
Statistic = Literal["median", "mean"]
_STATISTICS: dict[str, Callable[..., NDArray[np.float64]]] = {"median": np.median, "mean": np.mean}


@dataclass(frozen=True)
class Summary:
    """Centre and spread of one score over cases; `n_undefined` counts the NaN ones left out."""

    n: int
    n_undefined: int
    median: float
    mean: float
    sd: float
    sem: float


@dataclass(frozen=True)
class PairedTest:
    """A two-tailed test of a against b in the same cases; differences are a minus b."""

    test: str
    n: int
    statistic: float
    p_value: float
    degrees_of_freedom: float
    mean_difference: float
    median_difference: float
    effect_size_dz: float


@dataclass(frozen=True)
class GroupTest:
    """A test between separate groups of cases."""

    test: str
    n: int
    groups: int
    statistic: float
    p_value: float
    df_between: float
    df_within: float


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation."""

    n: int
    rho: float
    p_value: float


@dataclass(frozen=True)
class Line:
    """Least-squares line y = slope x + intercept."""

    n: int
    slope: float
    intercept: float
    r_squared: float
    p_value: float


@dataclass(frozen=True)
class Interval:
    """A point estimate with its bootstrap interval over cases."""

    n: int
    statistic: str
    estimate: float
    low: float
    high: float
    level: float
    resamples: int


@dataclass(frozen=True)
class PercentageErrors:
    """Errors of the lesion volume, in per cent of the true volume.

    `rmdspe_percent` and `rmspe_percent` follow the standard formulas. The `_article_reading` pair puts the per cent
    sign inside the root, sqrt(100 median(e^2)) = 10 |e|: one reading under which the article's printed values fit its
    own correlations and slopes. It is a hypothesis of this project, not the article's statement.
    """

    n: int
    n_dropped: int
    rmdspe_percent: float
    rmspe_percent: float
    rmdspe_article_reading: float
    rmspe_article_reading: float


@dataclass(frozen=True)
class Adjusted:
    """P values after Benjamini-Hochberg; NaN entries stay NaN and do not count in `n`."""

    n: int
    alpha: float
    p_values: tuple[float, ...]
    rejected: tuple[bool, ...]


def _values(values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=float).ravel()
    return values[~np.isnan(values)]


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(a, dtype=float).ravel(), np.asarray(b, dtype=float).ravel()
    if a.shape != b.shape:
        msg = f"paired values: expected equal numbers of cases, received {a.size} and {b.size}. Pair them by case first."
        raise InputError(msg)
    both = ~(np.isnan(a) | np.isnan(b))
    return a[both], b[both]


def summarise(values: ArrayLike) -> Summary:
    """Return median, mean, SD and SEM (SD / sqrt(n), sample SD) of one score over cases.

    Examples
    --------
    >>> summarise([0.2, 0.4, 0.9, float("nan")]).median
    0.4
    """
    values = np.asarray(values, dtype=float).ravel()
    kept = _values(values)
    if kept.size == 0:
        return Summary(0, values.size, NAN, NAN, NAN, NAN)
    sd = float(np.std(kept, ddof=1)) if kept.size > 1 else NAN
    return Summary(
        n=kept.size,
        n_undefined=values.size - kept.size,
        median=float(np.median(kept)),
        mean=float(np.mean(kept)),
        sd=sd,
        sem=sd / np.sqrt(kept.size),
    )


def paired_t(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Compare two methods in the same cases by the paired two-tailed t test (article, Statistical Analysis).

    Parameters
    ----------
    a, b : (n,) array
        One score per case, in the same order; cases with a NaN on either side are left out.

    Returns
    -------
    PairedTest
        `p_value` is NaN with fewer than two pairs or when all differences are equal.
    """
    a, b = _pairs(a, b)
    difference = a - b
    n = difference.size
    statistic = p_value = dz = NAN
    if n >= 2 and np.ptp(difference) > ROUNDING:
        statistic, p_value = (float(value) for value in stats.ttest_rel(a, b))
        dz = float(difference.mean() / difference.std(ddof=1))
    return PairedTest("paired t", n, statistic, p_value, float(max(n - 1, 0)), *_centres(difference), dz)


def wilcoxon(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Compare two methods in the same cases by the two-tailed Wilcoxon signed-rank test.

    Equal pairs are dropped (Wilcoxon's rule). `p_value` is NaN when no pair differs. What differs by rounding alone (0.3
    - 0.2 and 0.2 - 0.1) is equal, and has the same rank.
    """
    a, b = _pairs(a, b)
    difference = np.round(a - b, DIGITS)
    statistic = p_value = NAN
    if np.any(difference != 0):
        result = stats.wilcoxon(difference[difference != 0])
        statistic, p_value = float(result.statistic), float(result.pvalue)
    return PairedTest("Wilcoxon signed-rank", difference.size, statistic, p_value, NAN, *_centres(difference), NAN)


def _centres(difference: NDArray[np.float64]) -> tuple[float, float]:
    if difference.size == 0:
        return NAN, NAN
    return float(difference.mean()), float(np.median(difference))


def anova(groups: Mapping[str, ArrayLike]) -> GroupTest:
    """Compare groups of cases by one-way ANOVA (article: methods, scanner models, manufacturers).

    Parameters
    ----------
    groups : mapping of name to (n,) array
        Empty groups are left out and not counted in `groups`.
    """
    kept = [values for values in map(_values, groups.values()) if values.size]
    n, k = sum(values.size for values in kept), len(kept)
    statistic = p_value = NAN
    if k >= 2 and n > k and any(np.ptp(values) > ROUNDING for values in kept):
        statistic, p_value = (float(value) for value in stats.f_oneway(*kept))
    return GroupTest("one-way ANOVA", n, k, statistic, p_value, float(max(k - 1, 0)), float(max(n - k, 0)))


def two_sample_t(a: ArrayLike, b: ArrayLike, equal_variance: bool = True) -> GroupTest:
    """Compare two separate groups by the two-tailed t test (article: field strength, 2D and 3D, hospitals).

    `equal_variance=False` gives Welch's test; the article does not say which one it used.
    """
    a, b = _values(a), _values(b)
    statistic = p_value = df = NAN
    if a.size >= 2 and b.size >= 2 and max(np.ptp(a), np.ptp(b)) > ROUNDING:
        result = stats.ttest_ind(a, b, equal_var=equal_variance)
        statistic, p_value, df = float(result.statistic), float(result.pvalue), float(result.df)
    name = "two-sample t" if equal_variance else "Welch t"
    return GroupTest(name, a.size + b.size, int(a.size > 0) + int(b.size > 0), statistic, p_value, 1.0, df)


def spearman(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Return Spearman's rank correlation; NaN with fewer than three pairs or a constant side."""
    x, y = _pairs(x, y)
    if x.size < 3 or min(np.ptp(x), np.ptp(y)) <= ROUNDING:
        return Correlation(x.size, NAN, NAN)
    result = stats.spearmanr(x, y)
    return Correlation(x.size, float(result.statistic), float(result.pvalue))


def fit_line(x: ArrayLike, y: ArrayLike) -> Line:
    """Fit the least-squares line of y on x (article: predicted on true volume, slope beta).

    Examples
    --------
    >>> fit_line([1.0, 2.0, 3.0], [3.0, 5.0, 7.0]).slope
    2.0
    """
    x, y = _pairs(x, y)
    if x.size < 3 or np.ptp(x) <= ROUNDING:
        return Line(x.size, NAN, NAN, NAN, NAN)
    result = stats.linregress(x, y)
    return Line(x.size, float(result.slope), float(result.intercept), float(result.rvalue) ** 2, float(result.pvalue))


def bootstrap_interval(
    values: ArrayLike,
    seed: int,
    statistic: Statistic = "median",
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Return a percentile bootstrap interval of the median or mean over cases.

    Parameters
    ----------
    values : (n,) array
        One score per case; a case is the unit that is resampled.
    seed : int
        Same seed, same interval.
    statistic : {"median", "mean"}
        What is estimated.
    level : float
        Coverage, 0-1.
    resamples : int
        Number of bootstrap samples.

    Returns
    -------
    Interval
        The bounds are NaN with fewer than two cases.
    """
    if statistic not in _STATISTICS:
        msg = f"statistic: expected 'median' or 'mean', received {statistic!r}."
        raise InputError(msg)
    centre = _STATISTICS[statistic]
    kept = _values(values)
    low = high = NAN
    if kept.size >= 2:
        rng = np.random.default_rng(seed)
        drawn = kept[rng.integers(0, kept.size, size=(resamples, kept.size))]
        tail = (1.0 - level) / 2.0
        low, high = (float(bound) for bound in np.quantile(centre(drawn, axis=1), [tail, 1.0 - tail]))
    estimate = float(centre(kept)) if kept.size else NAN
    return Interval(kept.size, statistic, estimate, low, high, level, resamples)


def percentage_errors(true_ml: ArrayLike, predicted_ml: ArrayLike) -> PercentageErrors:
    """Return root median and root mean squared percentage errors of the lesion volume.

    RMdSPE = 100 sqrt(median(e^2)) and RMSPE = 100 sqrt(mean(e^2)) with e = (predicted - true) / true. Cases without
    true lesion volume have no percentage error; they are left out and counted in `n_dropped`.

    Examples
    --------
    >>> percentage_errors([10.0, 10.0, 10.0], [11.0, 9.0, 14.0]).rmdspe_percent
    10.0
    """
    true_ml, predicted_ml = np.asarray(true_ml, dtype=float).ravel(), np.asarray(predicted_ml, dtype=float).ravel()
    total = true_ml.size
    true_ml, predicted_ml = _pairs(true_ml, predicted_ml)
    positive = true_ml > 0
    error = (predicted_ml[positive] - true_ml[positive]) / true_ml[positive]
    if error.size == 0:
        return PercentageErrors(0, total, NAN, NAN, NAN, NAN)
    median, mean = float(np.median(error**2)), float(np.mean(error**2))
    return PercentageErrors(
        n=error.size,
        n_dropped=total - error.size,
        rmdspe_percent=100.0 * float(np.sqrt(median)),
        rmspe_percent=100.0 * float(np.sqrt(mean)),
        rmdspe_article_reading=float(np.sqrt(100.0 * median)),
        rmspe_article_reading=float(np.sqrt(100.0 * mean)),
    )


def benjamini_hochberg(p_values: ArrayLike, alpha: float = 0.05) -> Adjusted:
    """Adjust P values of several comparisons for the false discovery rate (article: across diagnoses)."""
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, dtype=float).ravel()
    valid = ~np.isnan(p_values)
    adjusted, rejected = np.full(p_values.size, np.nan), np.zeros(p_values.size, dtype=bool)
    if valid.any():
        rejected[valid], adjusted[valid], *_ = multipletests(p_values[valid], alpha=alpha, method="fdr_bh")
    return Adjusted(
        n=int(valid.sum()),
        alpha=alpha,
        p_values=tuple(float(p) for p in adjusted),
        rejected=tuple(bool(r) for r in rejected),
    )
