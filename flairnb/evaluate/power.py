"""What a test of a given size could have detected.

A difference that is "not significant" says little when the test could hardly have found one. Each function answers: how
large must the true effect be for the test to find it with the wanted probability (the power)?
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

NAN = float("nan")


def power_paired_t(dz: float, n: int, alpha: float = 0.05) -> float:
    """Return the power of the two-tailed paired t test.

    Parameters
    ----------
    dz : float
        True mean difference over the SD of the differences.
    n : int
        Pairs; NaN below two.
    alpha : float
        Level, two-tailed.

    Examples
    --------
    >>> round(power_paired_t(0.5, 34), 3)
    0.808
    """
    return _power_t(dz * np.sqrt(n), n - 1, alpha) if n >= 2 else NAN


def power_two_sample_t(d: float, n1: int, n2: int, alpha: float = 0.05) -> float:
    """Return the power of the two-tailed t test of two groups; `d` is the difference of means over the common SD."""
    if n1 < 1 or n2 < 1 or n1 + n2 < 3:
        return NAN
    return _power_t(d * np.sqrt(n1 * n2 / (n1 + n2)), n1 + n2 - 2, alpha)


def power_anova(f: float, sizes: list[int] | tuple[int, ...], alpha: float = 0.05) -> float:
    """Return the power of one-way ANOVA.

    Parameters
    ----------
    f : float
        Cohen's f: SD of the group means (weighted by size) over the SD within groups.
    sizes : sequence of int
        Cases in each group; empty groups do not count.
    alpha : float
        Level.
    """
    sizes = [size for size in sizes if size > 0]
    n, k = sum(sizes), len(sizes)
    if k < 2 or n <= k:
        return NAN
    critical = stats.f.isf(alpha, k - 1, n - k)
    return float(1.0 - stats.ncf.cdf(critical, k - 1, n - k, n * f**2)) if f > 0 else alpha


def power_correlation(r: float, n: int, alpha: float = 0.05) -> float:
    """Return the power of the two-tailed t test of a correlation; NaN below four pairs.

    Given the first variable, this is the t test of a slope, whose statistic follows a noncentral t distribution; the
    first variable's sum of squares is chi-squared. The mean over the latter is taken at Gauss-Legendre points.
    """
    if n < 4:
        return NAN
    nodes, weights = np.polynomial.legendre.leggauss(40)
    squares = stats.chi2.ppf((nodes + 1) / 2, n - 1)
    shift = min(r, 1 - 1e-9) / np.sqrt(1 - min(r, 1 - 1e-9) ** 2) * np.sqrt(squares)
    critical = stats.t.isf(alpha / 2, n - 2)
    both = stats.nct.sf(critical, n - 2, shift) + stats.nct.cdf(-critical, n - 2, shift)
    return float(np.sum(weights * np.nan_to_num(both, nan=1.0)) / 2)


@lru_cache(maxsize=256)
def detectable_dz(n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest standardised mean difference that a paired t test finds with this power.

    Examples
    --------
    >>> round(detectable_dz(5), 2)
    1.68
    """
    return _smallest(lambda d: power_paired_t(d, n, alpha), power) if n >= 2 else NAN


def detectable_d(n1: int, n2: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest standardised difference that a t test of two groups finds with this power."""
    return _smallest(lambda d: power_two_sample_t(d, n1, n2, alpha), power)


def detectable_f(sizes: list[int] | tuple[int, ...], alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest Cohen's f that one-way ANOVA finds with this power."""
    return _smallest(lambda f: power_anova(f, sizes, alpha), power)


def detectable_r(n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest correlation that is found with this power."""
    return _smallest(lambda r: power_correlation(r, n, alpha), power, high=1 - 1e-9)


def _power_t(shift: float, df: float, alpha: float) -> float:
    """Return the power of a two-tailed t test whose statistic has this noncentrality, by integrating over the SD.

    SciPy's noncentral t breaks down for few degrees of freedom and large shifts (n = 2), just where it matters here.
    """
    critical = stats.t.isf(alpha / 2, df)
    # P(|Z + shift| > critical * s) with df * s^2 ~ chi-squared: an average over the quantiles of s.
    levels = (np.arange(20000) + 0.5) / 20000
    spread = np.sqrt(stats.chi2.ppf(levels, df) / df)
    return float(np.mean(stats.norm.sf(critical * spread - shift) + stats.norm.cdf(-critical * spread - shift)))


def _smallest(power_of: Callable[[float], float], power: float, high: float = 1e4) -> float:
    if not np.isfinite(power_of(0.5)) or power_of(high) < power:
        return NAN
    return float(optimize.brentq(lambda effect: power_of(effect) - power, 1e-9, high, xtol=1e-6))
