"""Reliability on real patients, against cases whose truth is drawn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.network.confidence import temper
from flairnb.report.real import with_committed_methods
from flairnb.report.real_trust import gap, pooled, reliability_rows


def patient(rng, shape, temperature):
    """One brain of the given shape; the tempered probabilities are the true ones."""
    true = rng.beta(0.5, 1.5, shape).astype(np.float32)
    brain = np.ones(shape, dtype=bool)
    brain[0] = False
    found = SimpleNamespace(brain=brain, probability=np.where(brain, true, 0))
    return reliability_rows("p", found, rng.random(shape) < true, SimpleNamespace(calibration=SimpleNamespace(temperature=temperature)))


def test_honest_probabilities_lie_on_the_diagonal_and_untempered_ones_beside_it(rng):
    table = pooled(patient(rng, (41, 50, 60), 2.5))
    assert gap(table, "after") < 0.01
    assert gap(table, "before") > 0.05
    assert list(table["calibration"].unique()) == ["before", "after"]


def test_before_is_the_networks_own_probability(rng):
    own = np.full((3, 4, 5), 0.97, dtype=np.float32)
    found = SimpleNamespace(brain=np.ones(own.shape, dtype=bool), probability=temper(own, 1.7))
    network = SimpleNamespace(calibration=SimpleNamespace(temperature=1.7))
    rows = reliability_rows("p", found, np.ones(own.shape, dtype=bool), network).set_index("calibration")
    assert rows.loc["before", "stated"] == pytest.approx(0.97, abs=1e-4)
    assert rows.loc["before", "voxels"] == own.size


def test_patients_count_alike_whatever_the_size_of_their_brain(rng):
    """A large brain without lesion where the network states 0.55, a small one that is all lesion there."""
    rows = pd.DataFrame(
        [("large", "after", 0.5, 0.6, 9000, 0.55, 0.0), ("small", "after", 0.5, 0.6, 10, 0.55, 1.0)],
        columns=["participant_id", "calibration", "low", "high", "voxels", "stated", "observed"],
    )
    assert pooled(rows).loc[0, "observed"] == pytest.approx(0.5)
    assert gap(pooled(rows), "after") == pytest.approx(0.05)


def test_methods_that_were_not_run_again_keep_their_committed_rows():
    def rows(*triples):
        return pd.DataFrame(triples, columns=["participant_id", "method", "dice"])

    table = rows(("b", "shipped", 0.8), ("a", "shipped", 0.7))
    committed = rows(("a", "shipped", 0.1), ("a", "lga", 0.2), ("b", "lga", 0.3), ("gone", "lga", 0.4))
    assert with_committed_methods(table, committed).to_numpy().tolist() == [
        ["b", "shipped", 0.8], ["b", "lga", 0.3], ["a", "shipped", 0.7], ["a", "lga", 0.2],
    ]  # fmt: skip
    again = rows(("a", "shipped", 0.7), ("a", "lga", 0.9))
    assert with_committed_methods(again, committed).equals(again)
