"""The assignment rule, on any list of diagnoses."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from flairnb.cohort.diagnoses import DIAGNOSES, DIAGNOSIS_KEYS, HEALTHY
from flairnb.cohort.split import assign_splits

CASES = st.lists(st.sampled_from(DIAGNOSIS_KEYS), max_size=80)


@given(CASES, st.integers(0, 2**31), st.integers(1, 7))
def test_each_disease_gives_five_or_all_it_has_and_healthy_trains(keys, seed, per_disease):
    diagnoses = pd.Series(keys, dtype="str")
    splits = assign_splits(diagnoses, seed, per_disease)
    assert set(splits) <= {"train", "validation"}
    for key in set(keys):
        validating = int((splits[diagnoses == key] == "validation").sum())
        assert validating == (0 if key == HEALTHY.key else min(per_disease, keys.count(key)))


@given(CASES, st.integers(0, 2**31))
def test_same_seed_same_assignment_and_the_index_is_kept(keys, seed):
    diagnoses = pd.Series(keys, index=[f"sub-{i}" for i in range(len(keys))], dtype="str")
    first, second = assign_splits(diagnoses, seed), assign_splits(diagnoses, seed)
    pd.testing.assert_series_equal(first, second)
    assert list(first.index) == list(diagnoses.index)


@given(CASES, st.integers(0, 2**31))
def test_other_diseases_never_change_a_diseases_draw(keys, seed):
    diagnoses = pd.Series(["MSA"] * 9 + keys, dtype="str")
    alone = assign_splits(diagnoses[diagnoses == "MSA"], seed)
    together = assign_splits(diagnoses, seed)[diagnoses == "MSA"]
    assert list(alone) == list(together)


def test_the_articles_cases_give_295_and_92():
    keys = [d.key for d in DIAGNOSES for _ in range(d.training_n + d.validation_n)] + [HEALTHY.key] * 20
    assert assign_splits(pd.Series(keys), seed=7).value_counts().to_dict() == {"train": 295, "validation": 92}


def test_every_case_of_a_disease_validates_under_some_seed():
    diagnoses = pd.Series(["PML"] * 8)
    chosen = [set(s.index[s == "validation"]) for s in (assign_splits(diagnoses, seed) for seed in range(40))]
    assert set.union(*chosen) == set(range(8))
    assert len({frozenset(c) for c in chosen}) > 10
