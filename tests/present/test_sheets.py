from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from flairnb.images import Image
from flairnb.present.contact_sheet import SheetCase, comparison_sheet, contact_sheet
from flairnb.present.qc import qc_picture
from flairnb.report.patient_files import _write_picture


@pytest.fixture
def cases(rng, oblique_affine):
    made = []
    for number, shape in enumerate([(37, 28, 9), (31, 42, 7), (29, 26, 8)]):
        data = rng.random(shape).astype(np.float32) + 1
        brain = np.zeros(shape, dtype=bool)
        brain[3:-3, 3:-3, 1:-1] = True
        lesion = np.zeros(shape, dtype=bool)
        if number != 1:
            lesion[8:12, 9:14, 4] = True
        made.append(SheetCase(f"phantom {number}", Image(data, oblique_affine), {"manual": lesion, "unet": lesion, "brain": brain}))
    return made


def words(figure):
    return [text.get_text() for text in [*figure.texts, *figure.axes[0].texts]]


def test_a_contact_sheet_shows_each_case_once_with_its_label(cases):
    figure = contact_sheet(cases, columns=2, title="phantoms")
    assert len(figure.axes[0].images) == 3
    assert {"phantoms", "phantom 0", "phantom 1", "phantom 2"} <= set(words(figure))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Reader 1 (reference)", "U-Net"]


def test_a_contact_sheet_without_outlines_has_no_legend(cases):
    figure = contact_sheet(cases, outline=False)
    assert not figure.legends
    assert not figure.axes[0].collections


def test_the_comparison_shows_flair_then_each_method_in_one_slice(cases):
    figure = comparison_sheet([cases[0], cases[2]], ("unet", "manual"))
    shown = words(figure)
    assert shown.count("U-Net") == shown.count("Reader 1 (reference)") == 2
    heights = [word for word in shown if word.startswith("z ")]
    assert len(heights) == 6
    assert len(set(heights[:3])) == 1
    # Three grey pictures a case, and a red layer on two of them.
    assert len(figure.axes[0].images) == 2 * (3 + 2)


def test_a_sheet_survives_a_case_without_any_mask(cases):
    bare = SheetCase("bare", cases[0].image, {})
    assert len(contact_sheet([bare]).axes[0].images) == 1


def test_the_quality_picture_says_volume_warnings_and_that_it_is_not_for_clinical_use(cases):
    case = cases[0]
    warning = "the brain mask is small, " * 8
    figure = qc_picture(case.image, case.masks["manual"], case.masks["brain"], volume_ml=12.345, lesion_count=1, warnings=[warning])
    title = next(word for word in words(figure) if word.startswith("Lesion volume"))
    assert title.splitlines()[0] == "Lesion volume 12.3 ml in 1 lesion. Not for clinical use."
    assert "Warning: the brain mask is small" in title
    assert max(map(len, title.splitlines())) <= 105
    assert any("Radiological convention" in word for word in words(figure))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Brain", "Lesion (U-Net)"]


@pytest.mark.parametrize(("expected", "said"), [(0.7249, ", expected Dice 0.72."), (None, "."), (float("nan"), ".")])
def test_the_quality_picture_says_the_expected_dice_where_there_is_one(cases, expected, said):
    case = cases[0]
    figure = qc_picture(case.image, case.masks["manual"], case.masks["brain"], volume_ml=2, lesion_count=3, expected_dice=expected)
    title = next(word for word in words(figure) if word.startswith("Lesion volume"))
    assert title == f"Lesion volume 2.0 ml in 3 lesions{said} Not for clinical use."


def test_segmenting_hands_the_expected_dice_to_the_picture(cases, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr("flairnb.present.style.save_figure", lambda figure, path, formats: made.append(figure))
    found = SimpleNamespace(mask=cases[0].masks["manual"], brain=cases[0].masks["brain"])
    summary = {"lesion_volume_ml": 2.0, "lesion_count": 1, "expected_dice": 0.72, "notes": []}
    _write_picture(tmp_path / "x.png", cases[0].image, found, summary)
    assert any("expected Dice 0.72" in word for word in words(made[0]))


def test_no_text_leaves_the_quality_picture(cases):
    case, about = cases[0], {"volume_ml": 1234.56, "lesion_count": 234, "expected_dice": 0.72}
    figure = qc_picture(case.image, case.masks["manual"], case.masks["brain"], **about, warnings=["short " * 40])
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for text in [*figure.texts, *figure.axes[0].texts, *figure.legends[0].get_texts()]:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
