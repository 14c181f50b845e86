"""Table 1 of a cohort, and the article's own arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flairnb.cohort.roster import draw_full_roster
from flairnb.cohort.table1 import MODELS, PAPER_N, PAPER_TABLE1, maker_name, model_name, table1


@pytest.fixture(scope="module")
def phantom_table() -> pd.DataFrame:
    return table1(draw_full_roster(seed=11))


@pytest.mark.parametrize("sample", ["train", "validation"])
def test_the_printed_margins_add_up_to_the_sample(sample):
    for section in ("Field strength", "Dimension"):
        assert sum(getattr(r, sample) for r in PAPER_TABLE1 if r.section == section) == PAPER_N[sample]
    assert len(MODELS) == 16
    assert sum(getattr(m, sample) for m in MODELS) == PAPER_N[sample]


@pytest.mark.parametrize("sample", ["train", "validation"])
def test_the_makers_field_strengths_reproduce_the_printed_field_margin(sample):
    printed = {r.label: getattr(r, sample) for r in PAPER_TABLE1 if r.section == "Field strength"}
    for field, label in ((1.5, "1.5T"), (3.0, "3T")):
        assert sum(getattr(m, sample) for m in MODELS if m.field_strength_t == field) == printed[label]


def test_the_two_misprinted_percentages_are_flagged_and_no_other(phantom_table):
    flagged = phantom_table[phantom_table["note"] != ""].set_index("summary")["note"].to_dict()
    assert flagged == {
        "Tim Trio": "misprint in the article: 11 of 92 is 12.0%, printed 20.0% (validation)",
        "Magnetom Espree": "misprint in the article: 19 of 92 is 20.7%, printed 20.1% (validation)",
    }


def test_the_phantom_roster_prints_the_articles_table_but_for_the_misprints(phantom_table):
    unlike = phantom_table[
        (phantom_table["training"] != phantom_table["training_paper"]) | (phantom_table["validation"] != phantom_table["validation_paper"])
    ]
    assert list(unlike["summary"]) == ["Magnetom Espree", "Tim Trio"]
    assert list(unlike["validation"]) == ["19 (20.7%)", "11 (12.0%)"]


def test_another_cohort_is_counted_by_hand():
    cohort = pd.DataFrame(
        {
            "split": ["train", "train", "train", "validation"],
            "field_strength_t": [1.5, 3.0, np.nan, 1.5],
            "dimension": ["2D", "3D", "", "2D"],
            "model": ["Avanto", "Skyra", "Ingenia", ""],
            "te_ms": [100.0, 390.0, np.nan, np.nan],
            "tr_ms": [9000.0, 5000.0, 8000.0, np.nan],
        }
    )
    table = table1(cohort).set_index("summary")
    assert table.loc["n", ["training", "validation"]].tolist() == ["3", "1"]
    assert table.loc["1.5T", ["training", "validation"]].tolist() == ["1 (33.3%)", "1 (100.0%)"]
    assert table.loc["3D", "training"] == "1 (33.3%)"
    assert table.loc["Ingenia", ["section", "training", "training_paper"]].tolist() == [
        "Manufacturer/model: not in the article",
        "1 (33.3%)",
        "-",
    ]
    assert table.loc["(not given)", "validation"] == "1 (100.0%)"
    tr = table[table["section"] == "TR (ms)"]
    assert tr["training"].tolist() == ["5,000", "8,000", "9,000"]
    assert tr["validation"].tolist() == ["-", "-", "-"]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_models_are_known_by_their_dicom_and_printed_names(model):
    for written in (model.name, model.printed, model.name.upper().replace(" ", "_"), f"MAGNETOM {model.name}"):
        assert model_name(written) == model.name


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_the_maker_of_a_known_model_is_table_1s(model):
    assert {maker_name(written, model.printed) for written in (model.manufacturer, model.manufacturer.upper(), "", "Other")} == {
        model.manufacturer
    }
    assert maker_name(model.manufacturer.split()[0].upper() + " medical systems", "Another") == model.manufacturer


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (
            ("GE MEDICAL SYSTEMS", "GEHealthcare", "GE Healthcare", "General Electric", "GENERAL ELECTRIC CO.", "ge", "G.E."),
            "GE Healthcare",
        ),
        (("SIEMENS", "Siemens_Healthineers", "siemens-mr"), "Siemens"),
        (("UIH", "uih", " Uih "), "UIH"),
        (("HITACHI MEDICAL", "Hitachi  Medical"), "Hitachi Medical"),
        (("General Imaging",), "General Imaging"),
        (("", " "), ""),
    ],
)
def test_a_maker_is_one_however_it_is_written(written, name):
    assert {maker_name(text, "Another") for text in written} == {name}


def test_what_no_row_gives_is_not_counted_as_0():
    cohort = draw_full_roster(seed=1)
    nothing = cohort["split"] == "validation"
    cohort = cohort.assign(
        field_strength_t=cohort["field_strength_t"].mask(nothing), model=cohort["model"].mask(nothing, ""), dimension="", te_ms=np.nan
    )
    table = table1(cohort).set_index("summary")
    assert table.loc[["1.5T", "Skyra" if "Skyra" in table.index else "Magnetom Skyra"], "validation"].tolist() == ["-", "-"]
    assert table.loc["1.5T", ["training", "note"]].tolist() == ["230 (78.0%)", "not given in this cohort (validation)"]
    assert table.loc["2D", ["training", "validation", "note"]].tolist() == ["-", "-", "not given in this cohort (training, validation)"]
    assert table.loc["Tim Trio", "note"].startswith("not given in this cohort (validation); misprint")
    assert table.loc["(not given)", ["training", "validation"]].tolist() == ["0 (0.0%)", "92 (100.0%)"]
    one_kind = table1(cohort.assign(dimension="2D")).set_index("summary")
    assert one_kind.loc["3D", ["training", "note"]].tolist() == ["0 (0.0%)", ""]


def test_header_spellings_are_counted_as_the_article_counts():
    cohort = draw_full_roster(seed=1)
    headers = cohort.assign(
        model=cohort["model"].str.upper().str.replace("TIM TRIO", "TrioTim"),
        field_strength_t=cohort["field_strength_t"].map({1.5: 1.494, 3.0: 2.89362}),
    )
    pd.testing.assert_frame_equal(table1(headers), table1(cohort))


def test_an_empty_sample_is_no_error():
    cohort = draw_full_roster(seed=1).query("split == 'train'")
    assert table1(cohort).set_index("summary").loc["3T", "validation"] == "0"
