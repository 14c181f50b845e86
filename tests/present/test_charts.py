from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flairnb.present import charts
from flairnb.present.style import look, second_reader, to_png


@pytest.fixture
def summary():
    return pd.DataFrame(
        {"method": ["manual2", "unet", "threshold"], "median": [0.8, 0.75, np.nan], "sem": [0.01, 0.02, np.nan], "n": [9, 9, 0]}
    )


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_bars_are_the_medians_and_whiskers_the_sem(summary):
    axes = charts.dice_by_method(summary, {"unet": "*"}, {"unet": 0.789}).axes[0]
    bars = [bar for container in axes.containers if hasattr(container, "patches") for bar in container.patches]
    np.testing.assert_array_equal([bar.get_height() for bar in bars], summary["median"])
    segments = [line for line in axes.collections if len(line.get_segments())]
    heights = [np.ptp(line.get_segments()[0][:, 1]) for line in segments[:2]]
    np.testing.assert_allclose(heights, [0.02, 0.04])


def test_marks_numbers_and_cases_are_written(summary):
    figure = charts.dice_by_method(summary.head(2), {"unet": "*"}, {"unet": 0.789})
    assert {"0.80", "0.75", "*"} <= set(texts(figure))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["Reader 2\nn = 9", "U-Net\nn = 9"]
    diamond = next(line for line in figure.axes[0].lines if line.get_marker() == "D")
    assert diamond.get_ydata() == [0.789]


def test_a_simulated_reader_beside_the_papers_diamond_says_so(summary):
    with second_reader(simulated=True):
        figure = charts.dice_by_method(summary.head(2), {}, {"manual2": 0.805})
        rows = pd.DataFrame({"diagnosis": "SVID", "method": ["manual2", "unet"], "median": 0.5, "sem": 0.1, "n": 5})
        by_disease = charts.dice_by_disease(rows)
    assert figure.axes[0].get_xticklabels()[0].get_text() == "Reader 2\n(simulated)\nn = 9"
    assert by_disease.legends[0].get_texts()[0].get_text() == "Reader 2 (simulated)"


def test_diseases_keep_their_order_and_their_case_numbers():
    rows = [(d, m, v, 0.02, n) for d, n in (("SVID", 5), ("SUSAC", 2)) for m, v in (("unet", 0.8), ("threshold", 0.4))]
    table = pd.DataFrame(rows, columns=["diagnosis", "method", "median", "sem", "n"]).drop(index=3)
    figure = charts.dice_by_disease(table, {"SVID": "**"}, {"SUSAC": "Susac S"})
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["SVID (5)", "Susac S (2)"]
    assert "**" in texts(figure)
    backwards = charts.dice_by_disease(table, order=["SUSAC", "SVID"])
    assert [label.get_text() for label in backwards.axes[0].get_xticklabels()] == ["SUSAC (2)", "SVID (5)"]
    by_volume = charts.median_bars(table.rename(columns={"diagnosis": "bin"}), "bin", "Lesion volume, ml")
    assert by_volume.axes[0].get_xlabel() == "Lesion volume, ml"


def test_diagnoses_without_the_method_come_last_in_the_order():
    table = pd.DataFrame({"diagnosis": ["A", "B", "C"], "method": ["threshold", "unet", "unet"], "median": [0.9, 0.2, 0.7]})
    assert charts.order_by(table) == ["C", "B", "A"]


def test_volumes_are_where_they_belong_and_zeros_on_the_edge():
    table = pd.DataFrame({"method": ["unet", "unet", "threshold"], "reference_ml": [1.0, 20.0, 5.0], "predicted_ml": [2.0, 0.0, 50.0]})
    volumes = pd.DataFrame({"method": ["unet"], "spearman_rho": [0.9849], "slope": [0.958]})
    axes = charts.volume_scatter(table, volumes).axes[0]
    unet = next(line for line in axes.lines if line.get_marker() == look("unet").marker)
    np.testing.assert_allclose(unet.get_xydata(), [[1.0, 2.0], [20.0, 0.01]])
    assert unet.get_label() == "U-Net, Spearman ρ 0.985, slope 0.96"
    assert "1 point below 0.01 ml drawn on the edge" in [text.get_text() for text in axes.texts]
    identity = next(line for line in axes.lines if line.get_label() == "predicted = true")
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())


def test_training_and_validation_share_a_panel_and_constants_are_left_out():
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "val_loss": [np.nan, 2.5, 2.0], "dice": [0.1, 0.2, 0.3]})
    figure = charts.training_curve(history.assign(learning_rate=1e-5, stage="a"), labels={"dice": "Dice"})
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "Dice"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]
    assert figure.axes[0].lines[1].get_xdata().tolist() == [2, 3]
    assert len(to_png(figure)) > 1000


def test_one_epoch_still_draws_the_loss():
    assert len(charts.training_curve(pd.DataFrame({"epoch": [1], "loss": [3.0]})).axes) == 1


def test_a_histogram_counts_every_case_and_says_what_it_leaves_out():
    figure = charts.histogram({"training": [1.0, 2.0, 30.0], "validation": [0.0, np.nan, 5.0]}, "Lesion volume, ml", log=True)
    axes = figure.axes[0]
    assert [sum(bar.get_height() for bar in container) for container in axes.containers] == [3, 1]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["training (n = 3)", "validation (n = 1, 2 not shown)"]
    assert axes.get_xlabel().endswith("ml")


@pytest.mark.parametrize("log", [True, False])
def test_histograms_survive_no_value_and_one_value(log):
    assert len(to_png(charts.histogram({"none": []}, "ml", log=log))) > 1000
    assert len(to_png(charts.histogram({"one": [4.0]}, "ml", bins=[1, 3, 10], log=log))) > 1000
