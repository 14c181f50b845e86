from __future__ import annotations

import numpy as np
import pytest

from flairnb.baselines import store
from flairnb.baselines.bianca import BiancaModel
from flairnb.baselines.case import BaselineCase
from flairnb.baselines.lpa import LATTICE, LpaModel
from flairnb.baselines.tuning import COLUMNS, dice_at_cuts, spread, tuning_table
from flairnb.errors import InputError, MissingDataError


def test_dice_at_cuts_equals_trying_each(rng):
    scores, reference = rng.random((5, 6, 7)), rng.random((5, 6, 7)) > 0.7
    cuts = (0.1, 0.35, 0.5, 0.99, 1.5)
    expected = [2 * ((scores >= c) & reference).sum() / ((scores >= c).sum() + reference.sum()) for c in cuts]
    np.testing.assert_allclose(dice_at_cuts(scores, reference, cuts), expected)
    assert np.isnan(dice_at_cuts(scores, np.zeros_like(reference), cuts)).all()


def test_a_share_is_compared_with_a_cut_in_its_own_precision():
    """As ``scores >= cut`` does: every share of 40 neighbours against every cut, in float32 and float64."""
    cuts = tuple(n / 20 for n in range(1, 20))
    for kind in (np.float32, np.float64):
        for n in range(41):
            share = np.full((1, 1, 1), n / 40, kind)
            expected = [float(share[0, 0, 0] >= kind(cut)) for cut in cuts]
            assert dice_at_cuts(share, np.ones((1, 1, 1), bool), cuts).tolist() == expected, (kind, n)


def test_the_best_mean_over_cases_with_lesions_is_chosen_once():
    dice = np.array([[0.1, 0.8, 0.2], [0.3, 0.2, 0.4], [np.nan] * 3])
    table = tuning_table("lpa", {"a": ((0.1, 0.2, 0.3), dice), "b": ((0.5,), np.array([[0.5], [0.5], [np.nan]]))})
    assert tuple(table.columns) == COLUMNS
    assert table["chosen"].sum() == 1
    assert table.loc[table["chosen"], "value"].item() == 0.2
    assert set(table["cases"]) == {2}


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="lesions"):
        tuning_table("lga", {"": ((0.1,), np.array([[np.nan]]))})


def test_cases_are_spread_and_never_invented():
    assert spread(list("abcdefg"), 3) == ["a", "d", "g"]
    assert spread(list("ab"), 5) == ["a", "b"] and spread(list("ab"), 0) == ["a", "b"]


def test_models_and_cases_come_back_as_they_were(tmp_path, heads, rng):
    case, _ = heads[0]
    path = store.save(tmp_path / "case.npz", case, "abc")
    back = store.load(path, BaselineCase)
    assert store.key_of(path) == "abc"
    assert back.grid.shape == case.grid.shape and back.box == case.box and back.work_shape == case.work_shape
    np.testing.assert_allclose(back.flair, case.flair, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(back.brain, case.brain)
    np.testing.assert_array_equal(back.grid.affine, case.grid.affine)
    lpa = LpaModel(-1.5, 2.0, rng.normal(size=LATTICE), 0.3)
    again = store.load(store.save(tmp_path / "lpa.npz", lpa, ""), LpaModel)
    assert (again.intercept, again.slope, again.cut) == (-1.5, 2.0, 0.3)
    np.testing.assert_array_equal(again.spatial, lpa.spatial)
    knn = BiancaModel(rng.normal(size=(9, 5)).astype(np.float32), rng.random(9) > 0.5, np.arange(9), masked=True)
    assert store.load(store.save(tmp_path / "knn.npz", knn, ""), BiancaModel).masked is True


def test_an_absent_or_broken_file_is_known(tmp_path):
    assert store.key_of(tmp_path / "none.npz") is None
    path = store.save(tmp_path / "bad.npz", LpaModel(-1.5, 2.0, np.zeros(LATTICE)), "abc")
    whole = path.read_bytes()
    for content in (b"no", b"", whole[: len(whole) // 2], whole[:100] + bytes(300) + whole[400:], b"PK\x03\x04" + bytes(60)):
        path.write_bytes(content)
        assert store.key_of(path) is None
        with pytest.raises(InputError, match=r"bad\.npz, could not read it\. Delete it and run notebook 04"):
            store.load(path, LpaModel)
    with pytest.raises(MissingDataError, match="notebook 04"):
        store.load(tmp_path / "none.npz", LpaModel)
