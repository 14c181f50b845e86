"""The lesson's pictures: what is written in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flairnb.evaluate.agreement import bland_altman
from flairnb.present import lesson_figures, lesson_pictures

PICTURE = np.add.outer(np.arange(12.0), np.arange(9.0))
MASK = PICTURE > 14


def figures():
    times, steps = np.array([500.0, 2000.0]), np.array([0, 5])
    sweep = pd.DataFrame({"cut": [0.0, 1.0], "sensitivity": [1.0, 0.2], "ppv": [0.1, 0.9], "dice": [0.2, 0.3]})
    curves = {name: np.ones(2) for name in lesson_figures.TISSUE_LINES}
    one, two = np.array([1.0, 2.0, 5.0]), np.array([1.2, 1.9, 5.5])
    return {
        "signal": lesson_figures.signal_curves(times, curves, 2000, PICTURE, "TE 120 ms"),
        "threshold": lesson_figures.threshold_figure(np.arange(9.0), np.arange(9.0), 1.0, sweep, PICTURE, MASK),
        "blocks": lesson_figures.feature_maps([("in", PICTURE), ("out", PICTURE)], "blocks", MASK),
        "reach": lesson_pictures.reach_figure(PICTURE, (4, 4), 2.0, [8.0, 16.0], 1),
        "learning": lesson_pictures.learning_figure(steps, (1.0 - steps / 9, 1.0 - steps / 9), 1, [MASK * 1.0] * 2, (PICTURE, MASK)),
        "overlap": lesson_pictures.overlap_figure([MASK * 1.0] * 2, (0.5, 0.4), ([3.0], [3.0]), 2),
        "readers": lesson_pictures.readers_figure((PICTURE, MASK, MASK), (one, two), bland_altman(one, two), 0.8, (8.0, 8.6)),
        "hunt": lesson_pictures.hunt_figure([(PICTURE, MASK, None, "nothing wrong")] * 6, reveal=True),
    }


@pytest.fixture(scope="module")
def drawn():
    return figures()


@pytest.mark.parametrize("name", ["signal", "threshold", "blocks", "reach", "learning", "overlap", "readers", "hunt"])
def test_every_picture_of_the_lessons_head_says_that_the_patient_is_simulated(drawn, name):
    assert drawn[name].get_supxlabel() == lesson_figures.FOOTER
    assert "simulated" in lesson_figures.FOOTER and "Radiological convention" in lesson_figures.FOOTER


def test_the_lessons_second_reader_is_simulated_in_a_hospitals_run_too(drawn):
    labels = [text.get_text() for text in drawn["readers"].axes[0].get_legend().get_texts()]
    assert labels == ["Reader 1 (reference)", "Reader 2 (simulated)"]


def test_the_legend_of_the_readers_stays_on_their_picture(drawn):
    figure = drawn["readers"]
    figure.draw_without_rendering()
    box, axes = figure.axes[0].get_legend().get_window_extent(), figure.axes[0].get_window_extent()
    assert axes.x0 <= box.x0 and box.x1 <= axes.x1 + 1


def test_every_axis_with_a_scale_says_what_it_is(drawn):
    assert drawn["threshold"].axes[0].get_ylabel() == "Share of voxels"
