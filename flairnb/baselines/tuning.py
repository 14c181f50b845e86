"""How a method's free value is chosen: by the mean Dice over training cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

#: Columns of a tuning table, one row a method, variant and value.
COLUMNS = ("method", "variant", "value", "dice_mean", "cases", "chosen")


def dice_at_cuts(scores: NDArray[np.floating], reference: NDArray[np.bool_], cuts: Sequence[float], beyond: int = 0) -> NDArray[np.float64]:
    """Return Dice of ``scores >= cut`` with a reference, for every cut.

    Parameters
    ----------
    scores : (I, J, K) float array
    reference : (I, J, K) bool array
    cuts : sequence of float
        Ascending.
    beyond : int
        Reference voxels that lie outside these arrays: missed at every cut.

    Returns
    -------
    (n,) float array
        NaN where the reference is empty: such a case has no Dice to learn from.
    """
    scores = np.asarray(scores)
    # In the scores' own precision, as a comparison with a number has it: a float32 of 26/40 is below 0.65 in float64.
    cuts = np.asarray(cuts, dtype=scores.dtype if scores.dtype.kind == "f" else float)
    lesion = np.asarray(reference, dtype=bool)
    total = np.count_nonzero(lesion) + beyond
    if total == 0:
        return np.full(cuts.size, np.nan)
    reached = np.searchsorted(cuts, scores, side="right")
    called, hit = (_at_least(r, cuts.size) for r in (reached.ravel(), reached[lesion]))
    return 2.0 * hit / (called + total)


def dice_of(mask: NDArray[np.bool_], reference: NDArray[np.bool_], beyond: int = 0) -> float:
    """Return Dice of two masks; NaN where the reference is empty. `beyond` as in `dice_at_cuts`."""
    return float(dice_at_cuts(np.asarray(mask, dtype=float), reference, (0.5,), beyond)[0])


def tuning_table(method: str, curves: dict[str, tuple[Sequence[float], NDArray[np.floating]]]) -> pd.DataFrame:
    """Lay out a method's curves and mark the best value of all.

    Parameters
    ----------
    method : str
    curves : dict
        Variant name to its values (n,) and Dice (cases, n); NaN rows (cases
        without lesion) do not count.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; exactly one row is chosen, the first of equals.

    Raises
    ------
    InputError
        No case has a lesion.
    """
    import pandas as pd

    rows = []
    for variant, (values, dice) in curves.items():
        dice = np.asarray(dice, dtype=float).reshape(-1, len(values))
        usable = dice[~np.isnan(dice).any(axis=1)]
        if len(usable) == 0:
            raise InputError(f"{method}: expected training cases with lesions, found none. Check the reference masks.")
        rows += [(method, variant, float(v), float(d), len(usable), False) for v, d in zip(values, usable.mean(axis=0), strict=True)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.loc[int(table["dice_mean"].to_numpy().argmax()), "chosen"] = True
    return table


def spread(names: Sequence[str], count: int) -> list[str]:
    """Return `count` names evenly spread over a list (all of them for 0 or fewer names).

    Examples
    --------
    >>> spread(["a", "b", "c", "d", "e"], 3)
    ['a', 'c', 'e']
    """
    if count <= 0 or count >= len(names):
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]


def _at_least(reached: NDArray[np.integer], n_cuts: int) -> NDArray[np.integer]:
    """Count the voxels at or above each cut."""
    return np.bincount(reached, minlength=n_cuts + 1)[::-1].cumsum()[::-1][1:]
