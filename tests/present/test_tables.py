from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from flairnb.present.tables import ARTICLE_TABLE2, show_whole_tables, table1, table2, to_html


@pytest.fixture
def made():
    rows = [
        (m, s, 0.5 + n / 10, 0.01, 7) for n, m in enumerate(("manual2", "unet", "threshold")) for s in ("dice", "sensitivity", "hd95_mm")
    ]
    summary = pd.DataFrame(rows, columns=["method", "score", "median", "sem", "n"])
    volumes = pd.DataFrame(
        {"method": ["unet", "threshold"], "spearman_rho": [0.9, 0.5], "slope": [1.0, 0.4], "rmdspe_percent": [12.0, 40.0]}
    ).assign(rmspe_percent=np.nan, rmdspe_article_reading=[1.2, 4.0])
    return table2(summary, volumes)


def test_the_articles_value_stands_beside_ours(made):
    assert made.columns.tolist() == [
        ("Reader 2", "ours"),
        ("Reader 2", "article (Human)"),
        ("U-Net", "ours"),
        ("U-Net", "article (CNN)"),
        ("Plain threshold", "ours"),
    ]
    assert made.loc["Dice, median", "U-Net"].tolist() == [0.6, 0.789]
    assert made.loc["RMdSPE, % as printed", "U-Net"].tolist() == [1.2, 1.38]
    assert made.loc["RMdSPE, % by the formula", ("U-Net", "ours")] == 12.0
    assert made.loc["Cases", "Reader 2"].tolist() == [7, 92]
    assert np.isnan(made.loc["Slope of volumes", ("Reader 2", "ours")])


def test_every_printed_row_of_the_article_is_in_the_table(made):
    assert set(ARTICLE_TABLE2) <= set(made.index)


def test_html_has_grouped_headers_dashes_for_missing_and_nothing_from_outside(made):
    html = to_html(made, "Table 2 <simulated>")
    assert '<th scope="col" colspan="2">U-Net</th>' in html
    assert "Table 2 &lt;simulated&gt;" in html
    assert "<td>0.789</td>" in html
    assert "<td>92</td>" in html
    assert "\N{EM DASH}" in html
    assert not re.search(r"https?://|<script|style=", html)


def test_html_shows_text_integers_and_missing_as_they_are():
    html = to_html(pd.DataFrame({"n": [3, pd.NA], "text": ["a & b", None]}, index=["x", "y"], dtype=object))
    assert "<td>3</td><td>a &amp; b</td>" in html
    assert html.count("<td>\N{EM DASH}</td>") == 2


def test_table_one_has_section_headings_and_keeps_the_notes():
    rows = pd.DataFrame(
        [
            ("Field strength", "1.5T", "5 (50.0%)", "230 (78.0%)", "1", "57", ""),
            ("Field strength", "3T", "5 (50.0%)", "65 (22.0%)", "1", "35", ""),
            ("Dimension", "2D", "9", "287", "2", "81", "misprint"),
        ],
        columns=["section", "summary", "training", "training_paper", "validation", "validation_paper", "note"],
    )
    html = to_html(table1(rows), "Table 1")
    assert html.count('<tr class="section">') == 2
    assert '<th colspan="6">Field strength</th>' in html
    assert '<th scope="row">3T</th><td>5 (50.0%)</td><td>65 (22.0%)</td><td>1</td><td>35</td>' in html
    assert html._repr_html_() == html
    assert ("", "note") not in table1(rows.head(2)).columns


def test_table_one_of_a_real_cohort_can_be_laid_out():
    from flairnb.cohort.table1 import table1 as count

    cohort = pd.DataFrame(
        {"split": ["train"], "field_strength_t": [3.0], "dimension": ["2D"], "model": ["Skyra"], "te_ms": [90.0], "tr_ms": [9e3]}
    )
    table = table1(count(cohort))
    assert table.loc[("Field strength", "3T"), ("Training", "article")] == "65 (22.0%)"
    assert to_html(table).count("<tr") > 20


def test_numbers_of_cases_have_no_decimals():
    html = to_html(pd.DataFrame({"U-Net": [19.0, 17.0, 0.5]}, index=["Cases", "PPV, cases", "PPV, median"]))
    assert "<td>19</td>" in html and "<td>17</td>" in html and "<td>0.500</td>" in html


def test_a_notebooks_tables_are_shown_whole():
    table = pd.DataFrame({f"column {n}": ["not reported; " + "a reason " * 30] * 90 for n in range(30)})
    with pd.option_context("display.max_rows", 60, "display.max_columns", 20, "display.max_colwidth", 50):
        assert "..." in table._repr_html_()
        show_whole_tables()
        whole = table._repr_html_()
    assert "..." not in whole and whole.count("<tr") == 91 and whole.count("<th>column 29</th>") == 1
