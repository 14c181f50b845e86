from __future__ import annotations

import re

import numpy as np
import pandas as pd

from flairnb.present.explore import explore_cases, explore_page


def _scores():
    rows = []
    for method in ("unet", "bianca"):
        for number, (reference, predicted, dice) in enumerate([(10.0, 8.0, 0.8), (0.5, 0.0, 0.0), (0.0, 0.2, np.nan)]):
            rows.append(
                {
                    "participant_id": f"sub-{number}", "diagnosis": "MS", "manufacturer": "Maker", "model": f"Model {number % 2}",
                    "field_strength_t": 1.5, "dimension": "2D", "method": method, "dice": dice, "ppv": dice,
                    "reference_ml": reference, "predicted_ml": predicted,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_dot_names_its_case_disease_and_scanner_in_every_panel():
    figure = explore_cases(_scores(), {"sub-0": "case 1"})
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert len(dots) == 2 * 3
    for trace in dots:
        assert list(trace.customdata[0][:4]) == ["case 1", "MS", "Maker Model 0, 1.5 T, 2D", "0.80"]
        assert trace.customdata[2][3] == "not defined"
        assert trace.hovertemplate.count("%{customdata[") == len(trace.customdata[0]) == 7
    assert sum(bool(trace.showlegend is not False) for trace in dots) == 2, "one entry a method"


def test_what_a_cohort_does_not_give_is_left_out_and_its_dot_is_drawn():
    nothing = [np.nan] * 5
    bare = _scores().assign(manufacturer=["Maker", *nothing], model=np.nan, field_strength_t=[3.0, *nothing], dimension=np.nan)
    dots = [trace for trace in explore_cases(bare, {}).data if trace.mode == "markers"]
    assert [facts[2] for facts in dots[0].customdata] == ["Maker, 3 T", "scanner not given", "scanner not given"]
    assert not any("nan" in str(text) for trace in dots for facts in trace.customdata for text in facts)
    assert list(dots[2].x) == ["not given"] * 3


def test_an_empty_mask_is_drawn_below_everything_else_and_not_lost_by_the_logarithm():
    volume = explore_cases(_scores(), {}).data[0]
    assert min(volume.x) > 0 and min(volume.y) > 0
    assert volume.y[1] == volume.x[2] == 0.1 and volume.x[0] == 10.0


def test_the_page_holds_all_it_needs_and_loads_nothing():
    page = explore_page(explore_cases(_scores(), {}), "Cases <to> point at", "Simulated.")
    assert "Cases &lt;to&gt; point at" in page and "Simulated." in page
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)=[\"'](?!data:)", page[: page.index("Point at a dot")])
    assert not re.search(r"<script\b[^>]*\bsrc=", page)
    assert len(page) < 6e6


def test_a_click_leads_to_the_case_on_the_other_page():
    page = explore_page(explore_cases(_scores(), {}), "Cases", "Simulated.", "cases.html")
    assert 'window.location.href = "cases.html#"' in page and "plotly_click" in page and "{plot_id}" not in page
    assert "cases.html" not in explore_page(explore_cases(_scores(), {}), "Cases", "Simulated.")
