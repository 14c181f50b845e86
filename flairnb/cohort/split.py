"""Who trains the network and who tests it: the article's assignment rule."""

from __future__ import annotations

import numpy as np
import pandas as pd

from flairnb.cohort.diagnoses import HEALTHY

TRAIN, VALIDATION = "train", "validation"


def assign_splits(diagnoses: pd.Series, seed: int, per_disease: int = 5, healthy: str = TRAIN) -> pd.Series:
    """Assign each case to training or validation.

    Of each disease, `per_disease` random cases go to validation; of a disease
    with fewer cases, all do. Healthy cases all go to `healthy`. The rest
    trains (Methods, "Diseases and Training/Validation Assignment").

    Parameters
    ----------
    diagnoses : Series of str
        Diagnosis key of each case; any unique index.
    seed : int
        The draw depends on the seed, and on each case's place among the cases
        of its own disease: other diseases never change it.
    per_disease : int
        Validation cases of each disease; the article has 5.
    healthy : str
        Where healthy cases go.

    Returns
    -------
    Series of str
        ``"train"`` or ``"validation"``, on the index of `diagnoses`.

    Examples
    --------
    >>> assign_splits(pd.Series(["SUSAC", "SUSAC", "HEALTHY"]), seed=1).tolist()
    ['validation', 'validation', 'train']
    """
    splits = np.full(len(diagnoses), TRAIN, dtype=object)
    keys = diagnoses.to_numpy(dtype=object)
    for key in pd.unique(keys):
        rows = np.flatnonzero(keys == key)
        if key == HEALTHY.key:
            splits[rows] = healthy
            continue
        rng = np.random.default_rng([seed, *key.encode()])
        splits[rng.permutation(rows)[:per_disease]] = VALIDATION
    return pd.Series(splits, index=diagnoses.index, name="split", dtype="str")
