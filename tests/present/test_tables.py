from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from flairnb.present.tables import ARTICLE_TABLE2, side_by_side, table2, to_html


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


def test_two_tables_meet_by_row_and_column():
    article = pd.DataFrame({"Training": ["230 (78.0%)", "65"], "Validation": ["57", "35"]}, index=["1.5T", "3T"])
    ours = pd.DataFrame({"Training": ["5", "2"], "Validation": ["1", "0"]}, index=["3T", "7T"])
    both = side_by_side(ours, article)
    assert both.index.tolist() == ["1.5T", "3T", "7T"]
    assert both.columns.tolist() == [("Training", "ours"), ("Training", "article"), ("Validation", "ours"), ("Validation", "article")]
    assert both.loc["3T"].tolist() == ["5", "65", "1", "35"]
    assert pd.isna(both.loc["7T", ("Training", "article")])
