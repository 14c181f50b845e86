from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import pytest

from flairnb.cohort.table1 import PAPER_TABLE1
from flairnb.errors import InputError, MissingDataError
from flairnb.evaluate.ledger import COLUMNS, Measured, PaperValue, counts, join, read_paper_values, tidy
from flairnb.present.tables import ARTICLE_TABLE2

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "data_manifest" / "paper_values.toml"
# Table 2, copied from the article once more, line by line.
TABLE2 = """
dice_median         0.805 0.789 0.562 0.410
dice_sem            0.017 0.022 0.026 0.027
sensitivity_median  0.800 0.767 0.599 0.556
sensitivity_sem     0.017 0.025 0.026 0.020
specificity_median  0.999 0.999 0.999 0.997
specificity_sem     0.000 0.000 0.000 0.000
ppv_median          0.824 0.769 0.690 0.335
ppv_sem             0.018 0.018 0.030 0.034
npv_median          0.999 0.999 0.999 0.999
npv_sem             0.000 0.000 0.001 0.001
rmdspe              0.97  1.38  3.80  6.56
rho                 0.991 0.985 0.862 0.655
"""


@pytest.fixture(scope="module")
def values():
    return read_paper_values(FILE)


@pytest.fixture(scope="module")
def by_id(values):
    return {value.id: value for value in values}


def test_there_are_well_over_a_hundred_numbers_each_with_its_own_id(values):
    assert len(values) > 200
    assert len({value.id for value in values}) == len(values)
    assert all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", value.id) for value in values)
    assert all(value.what and math.isfinite(value.value) for value in values)


def test_every_number_names_ours_or_says_why_there_is_none(values):
    assert all(value.ours or value.note for value in values)
    assert all(re.fullmatch(r"\d\d\.[a-z0-9_]+", value.ours) for value in values if value.ours)


def test_every_printed_number_of_table_2_is_there(by_id):
    rows = [line.split() for line in TABLE2.strip().splitlines()]
    for name, *numbers in rows:
        for method, number in zip(("human", "cnn", "lst", "bianca"), numbers, strict=True):
            assert by_id[f"table2.{name}.{method}"].value == float(number), (name, method)
    assert sum(value.section == "Table 2" for value in by_id.values()) == 48


def test_the_tables_of_the_report_print_the_same_table_2(by_id):
    names = {"Dice": "dice", "Sensitivity": "sensitivity", "Specificity": "specificity", "PPV": "ppv", "NPV": "npv"}
    for row, printed in ARTICLE_TABLE2.items():
        first, _, kind = row.partition(", ")
        key = f"{names[first]}_{kind.lower()}" if first in names else "rmdspe" if first == "RMdSPE" else "rho"
        assert {method: by_id[f"table2.{key}.{method}"].value for method in printed} == printed, row


def test_every_printed_number_of_table_1_is_there(by_id):
    found = [value for value in by_id.values() if value.section == "Table 1"]
    numbers = sorted(value.value for value in found)
    expected = [295, 92]
    for row in PAPER_TABLE1:
        cells = (row.train, row.validation, row.train_percent, row.validation_percent)
        expected += [float(cell) for cell in cells if not math.isnan(cell)]
    assert numbers == sorted(expected)


def test_misprints_are_kept_and_marked(by_id):
    trio, espree = by_id["table1.tim_trio.validation_percent"], by_id["table1.magnetom_espree.validation_percent"]
    assert (trio.value, espree.value) == (20.0, 20.1)
    assert "12.0%" in trio.note and "20.7%" in espree.note
    assert sum("misprint" in value.note for value in by_id.values()) == 2


@pytest.mark.parametrize(
    ("id", "value", "sign"),
    [
        ("subjects.all", 387, ""),
        ("subjects.age_highest", 95, ""),
        ("preprocessing.training_patches", 70800, ""),
        ("network.learning_rate", 1e-5, ""),
        ("accuracy.dice_mean.cnn", 0.699, ""),
        ("accuracy.p_human_cnn", 0.01, "<"),
        ("disease.better_than_one", 16, ""),
        ("disease.better_than_both", 5, ""),
        ("disease.like_human", 15, ""),
        ("heterogeneous.dice_median", 0.87, ""),
        ("volume.slope.cnn", 0.958, ""),
        ("volume.rmspe.bianca", 433.8, ""),
        ("size.low_dice", 0.55, "~"),
        ("technical.model_f", 0.65, ""),
        ("technical.outside_p", 0.05, "<"),
        ("technical.outside_adjusted_p", 0.85, ""),
        ("time.cnn", 28.2, ""),
        ("time.lst", 1.8, ""),
    ],
)
def test_numbers_of_the_text_are_as_printed(by_id, id, value, sign):
    assert (by_id[id].value, by_id[id].sign) == (value, sign)


def test_printed_numbers_occur_in_the_articles_text(values):
    text = ROOT.parent / "shared" / "paper" / "duong2019_ajnr.txt"
    if not text.is_file():
        pytest.skip("the article's text is not distributed with the repository")
    printed = text.read_text(encoding="utf-8").replace("12,000", "12000").replace("70,800", "70800")
    found = set(re.findall(r"\d*\.?\d+", printed)) | {"0.00001", "0.5", "1"}  # 10^-5, "the same number", "unit SDs"
    numbers = {float(number) for number in found}
    assert [value.id for value in values if value.value not in numbers] == []


def test_ours_stand_beside_with_interval_and_cases(by_id):
    rows = [by_id["abstract.dice_cnn"], by_id["time.human_low"], by_id["table2.dice_median.lst"], by_id["technical.field_p"]]
    measured = {"05.dice_median_unet": Measured(0.612345, 0.55, 0.7, 19), "08.field_p": Measured(math.nan)}
    ledger = join(rows, measured).set_index("id")
    assert ledger.loc["abstract.dice_cnn", ["paper", "ours", "low", "high", "n"]].tolist() == ["0.79", 0.612345, 0.55, 0.7, 19]
    assert "person with a watch" in ledger.loc["time.human_low", "note"]
    assert "no number dice_median_lga" in ledger.loc["table2.dice_median.lst", "note"]
    assert "undefined in this run" in ledger.loc["technical.field_p", "note"]
    assert join(rows, {}).set_index("id").loc["abstract.dice_cnn", "note"] == "chapter 05 has not run"


def test_no_row_without_ours_lacks_a_reason(values):
    ledger = join(values, {})
    assert tuple(ledger.columns) == COLUMNS
    assert (ledger["note"].str.len() > 0).all()


def test_the_ledger_as_text_is_short_and_complete(values):
    ledger = join(values, {"05.dice_median_unet": Measured(0.61234567), "12.training_patches": Measured(70800.0)})
    text = tidy(ledger).set_index("id")
    assert text.loc["abstract.dice_cnn", "ours"] == "0.6123" and text.loc["preprocessing.training_patches", "ours"] == "70800"
    assert text.loc["accuracy.p_human_cnn", "paper"] == "<0.01" and text.loc["network.learning_rate", "paper"] == "0.00001"
    assert text.loc["time.cnn", ["ours", "low", "n"]].tolist() == ["", "", ""]
    total = counts(ledger).iloc[-1]
    assert total["printed"] == len(values) and total["ours"] == 4  # the median Dice of the CNN is printed three times


def test_a_repeated_id_and_a_bare_row_are_refused(tmp_path):
    row = '{ id = "a.b", value = 1, unit = "", what = "x", ours = "05.y" }'
    file = tmp_path / "values.toml"
    file.write_text(f'[[section]]\nname = "A"\nvalues = [{row}, {row}]\n')
    with pytest.raises(InputError, match=r"a\.b more than once"):
        read_paper_values(file)
    file.write_text('[[section]]\nname = "A"\nvalues = [{ id = "a.b", value = 1, unit = "", what = "x" }]\n')
    with pytest.raises(InputError, match="neither"):
        read_paper_values(file)
    with pytest.raises(MissingDataError, match="none.toml"):
        read_paper_values(tmp_path / "none.toml")
    assert tomllib.loads(FILE.read_text(encoding="utf-8"))["section"][0]["name"] == "Abstract"
    assert PaperValue("a", "b", 0.00001, "", "").printed == "0.00001"
