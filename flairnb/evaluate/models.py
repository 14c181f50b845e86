"""Regression models: methods with the case as random effect, and a factor after accounting for another."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flairnb.evaluate.summary import methods_in, usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

#: Fewer cases than this give no mixed model: the variance between cases could not be told from anything.
LEAST_CASES = 4
#: Nothing in a score of 0-1 is known so exactly: what less is left of differences is none, and the search ends in a singular matrix.
LEAST_LEFT = 1e-7
NO_ERROR = "no error of the difference: too few cases have both methods, or cases hardly differ"
MIXED_COLUMNS = ("method", "n", "difference", "se", "ci_low", "ci_high", "z", "p_value", "note")
LINEAR_COLUMNS = ("term", "n", "coefficient", "se", "ci_low", "ci_high", "t", "p_value")


def mixed_model(scores: pd.DataFrame, against: str = "unet", value: str = "dice") -> pd.DataFrame:
    """Compare all methods at once: one fixed effect a method, one random intercept a case (REML).

    Unlike the paired t tests, one model uses all cases of all methods, also those that one method lacks.

    Parameters
    ----------
    scores : DataFrame
        From `flairnb.evaluate.cohort.score_cohort`.
    against : str
        The method of interest; differences are its score minus the other's.
    value : str
        Score column.

    Returns
    -------
    DataFrame
        One row for each other method: `n` (cases), `difference`, `se`, `ci_low`, `ci_high`, `z`, `p_value`, `note`
        (what statsmodels warned of, or why there is no model). NaN with fewer than four cases, and where every
        difference is the same in all cases: nothing is left from which its error could be told.

    Notes
    -----
    The model takes one spread for what is left of every method's scores, so that every difference has nearly the same
    `se`; a paired test takes each pair's own. The two can disagree though no score is missing.
    """
    rows = usable(scores).dropna(subset=[value])
    others = [method for method in methods_in(rows) if method != against] if len(rows) else []
    counts = rows.groupby("method")["participant_id"].nunique()
    lacking = _lacking(rows, against, value)
    if lacking:
        return _without_model(others, counts, lacking)
    design = np.column_stack([np.ones(len(rows)), *[(rows["method"] == other).to_numpy(dtype=float) for other in others]])
    try:
        fit, errors, note = _fit_mixed(rows[value].to_numpy(dtype=float), design, rows["participant_id"].to_numpy())
    except np.linalg.LinAlgError:
        return _without_model(others, counts, "no solution: too few cases have more than one method")
    found = []
    for place, other in enumerate(others, start=1):
        difference, se = -float(fit.fe_params[place]), float(errors[place])
        low, high = difference - 1.959964 * se, difference + 1.959964 * se
        z, said = (difference / se, note) if se > 0 else (np.nan, "; ".join(filter(None, (note, NO_ERROR))))
        found.append((other, int(counts[other]), difference, se, low, high, z, float(fit.pvalues[place]), said))
    return pd.DataFrame(found, columns=list(MIXED_COLUMNS))


def _without_model(others: list[str], counts: pd.Series, note: str) -> pd.DataFrame:
    blank = dict.fromkeys(MIXED_COLUMNS, np.nan) | {"note": note}
    return pd.DataFrame([blank | {"method": other, "n": int(counts[other])} for other in others], columns=list(MIXED_COLUMNS))


def _lacking(rows: pd.DataFrame, against: str, value: str) -> str:
    """Return why no mixed model can be fitted, or nothing."""
    if rows["participant_id"].nunique() < LEAST_CASES or against not in set(rows["method"]):
        return f"needs {LEAST_CASES} cases and the method {against}"
    values = rows[value].to_numpy(dtype=float)
    effects = np.column_stack([pd.get_dummies(rows[name], dtype=float) for name in ("participant_id", "method")])
    solved, _, rank, _ = np.linalg.lstsq(effects, values, rcond=None)
    left = np.abs(values - effects @ solved).max()
    return "every difference is the same in all cases" if len(values) > rank and left < LEAST_LEFT else ""


def _fit_mixed(values: ArrayLike, design: ArrayLike, groups: ArrayLike) -> tuple[Any, NDArray[np.float64], str]:
    """Return the fit, the standard errors of its fixed effects (NaN where the fit gives none), and what was warned of."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # Powell's search needs no gradient: the others run into singular matrices where cases hardly differ.
        fit = MixedLM(values, design, groups=groups).fit(reml=True, method="powell")
    with np.errstate(invalid="ignore"):
        errors = np.asarray(fit.bse_fe, dtype=float)
    return fit, errors, "; ".join(sorted({str(warning.message).splitlines()[0] for warning in said}))


def linear_model(values: ArrayLike, terms: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Fit ordinary least squares of a score on several terms at once.

    Parameters
    ----------
    values : (n,) array
        One score per case.
    terms : mapping of name to (n,) array
        Numbers or 0/1; an intercept is added. Cases with a NaN anywhere are left out.

    Returns
    -------
    DataFrame
        One row a term: `n`, `coefficient`, `se`, 95% `ci_low`, `ci_high`, `t`, `p_value`. NaN where the cases are too
        few or a term is the same in all of them.
    """
    y = np.asarray(values, dtype=float).ravel()
    columns = {name: np.asarray(term, dtype=float).ravel() for name, term in terms.items()}
    table = np.column_stack([y, *columns.values()])
    table = table[~np.isnan(table).any(axis=1)]
    design = np.column_stack([np.ones(len(table)), table[:, 1:]])
    if len(table) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return pd.DataFrame([(name, len(table), *[np.nan] * 6) for name in columns], columns=list(LINEAR_COLUMNS))
    from statsmodels.regression.linear_model import OLS

    fit = OLS(table[:, 0], design).fit()
    low, high = fit.conf_int().T
    rows = [
        (name, len(table), fit.params[i], fit.bse[i], low[i], high[i], fit.tvalues[i], fit.pvalues[i])
        for i, name in enumerate(columns, start=1)
    ]
    return pd.DataFrame(rows, columns=list(LINEAR_COLUMNS))
