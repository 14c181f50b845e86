"""How far a probability map can be trusted: calibration, and the Dice to expect.

A network's probabilities are often too sure of themselves. One number, the
temperature, makes them honest on average (Guo et al., ICML 2017); from honest
probabilities follows the Dice that a mask can expect before anyone has drawn
a reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SMALLEST = 1e-6
TEMPERATURES = (0.2, 5.0)


@dataclass(frozen=True)
class Calibration:
    """How a network's probabilities become honest, and what Dice they promise.

    Attributes
    ----------
    temperature : float
        See `temper`.
    slope, intercept : float
        Expected Dice = intercept + slope x `expected_dice` of the tempered
        probabilities, cut to 0..1; fitted on examinations with a reference.
    doubtful_below : float
        Expected Dice below which a result needs a warning.
    fitted_on : str
        In words.
    usual_agreement : float
        Lowest `look_agreement` among the examinations that it was fitted on.
        Below it, less is expected in proportion: what the network was not made
        for (another sequence, say) it sees differently at another voxel size.
        0 leaves it out.
    """

    temperature: float = 1.0
    slope: float = 1.0
    intercept: float = 0.0
    doubtful_below: float = 0.5
    fitted_on: str = "nothing: probabilities are the network's own"
    usual_agreement: float = 0.0

    def expect(self, tempered: ArrayLike, mask: ArrayLike, agreement: float = float("nan")) -> float:
        """Return the Dice to expect of a mask; NaN where it is empty.

        Parameters
        ----------
        tempered : (I, J, K) array_like of float
        mask : (I, J, K) array_like of bool
        agreement : float
            The looks' `look_agreement`; NaN where it is not known.
        """
        expected = float(np.clip(self.intercept + self.slope * expected_dice(tempered, mask), 0.0, 1.0))
        if self.usual_agreement > 0 and np.isfinite(agreement):
            expected *= min(1.0, agreement / self.usual_agreement)
        return expected


def temper(probability: ArrayLike, temperature: float) -> NDArray[np.float32]:
    """Divide the log-odds of probabilities by a temperature.

    Above 1 it pulls probabilities towards one half, below 1 away from it; one
    half stays one half, so a mask cut there does not change. Exact zeros and
    ones stay what they are.

    Parameters
    ----------
    probability : array_like of float
        0 to 1.
    temperature : float
        Above 0.

    Examples
    --------
    >>> temper([0.0, 0.5, 0.9], 2.0).round(3).tolist()
    [0.0, 0.5, 0.75]
    """
    p = np.asarray(probability, dtype=np.float32)
    if temperature <= 0:
        raise InputError(f"temperature: expected a number above 0, found {temperature}.")
    if temperature == 1.0:
        return p
    power, out = np.float32(1.0 / temperature), p.copy()
    between = (p > 0) & (p < 1)  # most of an image is air: powers are taken where they change something
    some = p[between]
    with np.errstate(under="ignore"):
        yes, no = some**power, (1 - some) ** power
    out[between] = yes / (yes + no)
    return out


def fit_temperature(probability: ArrayLike, lesion: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Return the temperature with the least cross-entropy.

    Parameters
    ----------
    probability : (n,) array_like of float
        The network's, of voxels inside brains.
    lesion : (n,) array_like of bool
        The reference.
    weight : (n,) array_like of float, optional
        For example, so that every case counts alike.

    Raises
    ------
    InputError
        The reference holds one class only.
    """
    from scipy.optimize import minimize_scalar

    p, y = _pair(probability, lesion)
    w = np.ones(p.size) if weight is None else np.asarray(weight, dtype=float).ravel()
    if y.all() or not y.any():
        raise InputError("temperature: expected voxels of both classes in the reference, found one.")
    odds = np.log(p) - np.log1p(-p)
    sign = np.where(y, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.average(np.logaddexp(0.0, -sign * odds / np.exp(log_temperature)), weights=w))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def reliability(probability: ArrayLike, lesion: ArrayLike, bins: int = 10) -> pd.DataFrame:
    """Compare stated probabilities with how often they came true.

    Returns
    -------
    DataFrame
        One row a bin that holds voxels: low, high, voxels, stated (mean
        probability), observed (fraction of lesion).
    """
    import pandas as pd

    p, y = np.asarray(probability, dtype=float).ravel(), np.asarray(lesion, dtype=bool).ravel()
    which = np.clip((p * bins).astype(int), 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    stated, observed = np.bincount(which, p, bins), np.bincount(which, y, bins)
    rows = [(b / bins, (b + 1) / bins, int(n), stated[b] / n, observed[b] / n) for b, n in enumerate(counts) if n]
    return pd.DataFrame(rows, columns=["low", "high", "voxels", "stated", "observed"])


def calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error of a `reliability` table: the mean gap, weighted by voxels."""
    return float(np.average((table["stated"] - table["observed"]).abs(), weights=table["voxels"]))


def expected_dice(probability: ArrayLike, mask: ArrayLike) -> float:
    """Return the Dice that a mask can expect if the probabilities are true.

    ``2 sum(p in mask) / (voxels of mask + sum(p))``: the ratio of expectations,
    close to the expectation of the ratio where a lesion has more than a few
    voxels. NaN for an empty mask.

    Examples
    --------
    >>> round(expected_dice([0.9, 0.8, 0.1, 0.0], [True, True, False, False]), 3)
    0.895
    """
    p, m = np.asarray(probability, dtype=float), np.asarray(mask, dtype=bool)
    if not m.any():
        return float("nan")
    return float(2 * p[m].sum() / (np.count_nonzero(m) + p.sum()))


def look_agreement(probability: ArrayLike, spread: ArrayLike) -> float:
    """Return how far looks at one brain agree, from their mean and their SD (over n) at each voxel.

    One less the spread's part of the probability. Of two looks p and q this is
    their soft Dice, ``2 sum(min(p, q)) / sum(p + q)``: 1 where they say the
    same, 0 where none has anything of the other's. NaN where nothing is found.

    Examples
    --------
    >>> p, q = np.array([0.9, 0.5, 0.0]), np.array([0.7, 0.1, 0.4])
    >>> round(look_agreement((p + q) / 2, abs(p - q) / 2), 4), round(float(2 * np.minimum(p, q).sum() / (p + q).sum()), 4)
    (0.6154, 0.6154)
    """
    total = float(np.sum(probability, dtype=float))
    return 1.0 - float(np.sum(spread, dtype=float)) / total if total > 0 else float("nan")


def _pair(probability: ArrayLike, lesion: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    p = np.clip(np.asarray(probability, dtype=float).ravel(), SMALLEST, 1 - SMALLEST)
    y = np.asarray(lesion, dtype=bool).ravel()
    if p.shape != y.shape:
        raise InputError(f"calibration: expected as many probabilities as reference voxels, found {p.size} and {y.size}.")
    return p, y
