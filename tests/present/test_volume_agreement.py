"""The chart of predicted over true volume: nothing written on it lies under a marker."""

from __future__ import annotations

import pandas as pd

from flairnb.present.charts_strata import bland_altman


def test_cases_without_a_ratio_are_counted_where_no_marker_lies():
    rows = [("unet", 10.0, 0.05), ("unet", 0.0, 1.0), ("lga", 2.0, 1.0)]
    figure = bland_altman(pd.DataFrame(rows, columns=["method", "reference_ml", "predicted_ml"]), {"unet": (0.1, 0.5, 2.0)})
    unet, lga = figure.axes
    assert unet.get_title() == "U-Net\n1 without ratio" and "without" not in lga.get_title()
    assert not unet.texts and len(unet.lines[0].get_xdata()) == 1
