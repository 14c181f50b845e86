from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from flairnb.evaluate.consistency import checks, volume_errors
from flairnb.evaluate.heterogeneity import core_spread
from flairnb.evaluate.ledger import read_paper_values

FILE = Path(__file__).resolve().parents[2] / "data_manifest" / "paper_values.toml"


@pytest.fixture(scope="module")
def table():
    return checks(read_paper_values(FILE)).set_index("what")


def test_only_these_printed_numbers_do_not_follow_from_the_others(table):
    assert table.index[~table["agrees"]].tolist() == [
        "training cases a diagnosis (Discussion), as a mean",
        "Table 1, Magnetom Espree, % of validation",
        "Table 1, Tim Trio, % of validation",
        "P of F over scanner models",
    ]
    assert table.loc["Table 1, Tim Trio, % of validation", ["printed", "follows"]].tolist() == ["20.0", "12.0"]


def test_p_values_are_recomputed_from_the_printed_statistics(table):
    # R: pf(0.65, 15, 76, lower.tail = FALSE) lies between these; the article prints .84.
    low, high = map(float, table.loc["P of F over scanner models", "follows"].split(" to "))
    assert 0.81 < low < high < 0.83
    assert table.loc["P of r squared over scanner models", "agrees"]


def test_a_plain_percentage_contradicts_sensitivity_and_ppv_for_bianca_only_by_the_factor_of_ten():
    table = volume_errors(read_paper_values(FILE)).set_index("method")
    assert table.loc["bianca", "implied_percent"] == pytest.approx(65.97, abs=0.01)
    assert table.loc["bianca", "inside_root_percent"] == pytest.approx(65.6)
    assert table.loc["cnn", "printed_percent"] == 1.38


def test_an_even_lesion_has_no_spread_and_a_hole_makes_one(oblique_affine):
    mask = np.zeros((17, 18, 5), dtype=bool)
    mask[3:14, 3:14, 2] = True
    flair = np.where(mask, 200.0, 100.0)
    assert core_spread(flair, mask, oblique_affine) == pytest.approx(0.0)
    flair[6:11, 6:11, 2] = 50.0
    inside = flair[4:13, 4:13, 2]
    assert core_spread(flair, mask, oblique_affine) == pytest.approx(inside.std() / inside.mean())


def test_the_border_does_not_count_and_a_small_lesion_has_no_spread(oblique_affine):
    mask = np.zeros((17, 18, 5), dtype=bool)
    mask[3:14, 3:14, 2] = True
    flair = np.where(mask, 200.0, 100.0)
    flair[3, 3:14, 2] = 120.0  # partial volume at the rim
    assert core_spread(flair, mask, oblique_affine) == pytest.approx(0.0)
    small = np.zeros_like(mask)
    small[5:8, 5:8, 2] = True
    assert math.isnan(core_spread(flair, small, oblique_affine))
    assert math.isnan(core_spread(flair, np.zeros_like(mask), oblique_affine))
