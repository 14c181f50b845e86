"""The reading room in JupyterLab: the picture follows the case, a click writes a verdict, keys work."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flairnb.images import Image, write_image
from flairnb.provenance import write_json
from flairnb.report import reading_log

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

ROOM = """
from flairnb.report import review, review_cases
from flairnb.report.review import Session
cases = review_cases.find_cases(source="results", order="case")
session = Session(cases, "read")
room = review.room(session)
room
"""


@pytest.fixture
def results(lab, oblique_affine):
    """Two results of `flairnb segment`, clearly different to look at, in the folder that JupyterLab shows."""
    folder, shape = lab[1] / "results", (45, 51, 15)
    middle = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    brain = (middle[0] / 20) ** 2 + (middle[1] / 23) ** 2 + (middle[2] / 7) ** 2 < 1
    for stem, level in (("sub-1", 60.0), ("sub-2", 160.0)):
        data = np.where(brain, np.where(middle[1] > 0, level, 110.0), 0.0) + 5 * np.sin(middle[0] / 2) * brain
        flair = Image(data.astype(np.float32), oblique_affine)
        lesion = (middle[0] - 8) ** 2 + middle[1] ** 2 + (2 * middle[2]) ** 2 < (20 if stem == "sub-1" else 60)
        write_image(folder / f"{stem}_FLAIR.nii.gz", flair.data, flair)
        write_image(folder / f"{stem}_label-lesion_desc-unet_mask.nii.gz", lesion, flair, np.uint8)
        write_image(folder / f"{stem}_desc-brain_mask.nii.gz", brain, flair, np.uint8)
        summary = {"lesion_volume_ml": 1.0, "lesion_count": 1, "expected_dice": 0.5, "input": {"flair": f"{stem}_FLAIR.nii.gz"}}
        write_json(folder / f"{stem}_desc-summary.json", summary)
    return folder


def test_a_click_writes_the_verdict_and_the_picture_follows_the_case(run_in_lab, lab, results):
    tab = run_in_lab([ROOM], "room")
    canvas = ".jp-OutputArea canvas"
    first = tab.picture_when(canvas, lambda shot: shot.max() > 200 and shot.std() > 10, 300, "a picture in the reading room")
    tab.keep("reading_room")
    typed = "(() => { const e = [...document.querySelectorAll('.widget-text input')][0]; e.focus(); return !!e; })()"
    assert tab.evaluate(typed)
    tab.call("Input.insertText", text="ab")
    tab.evaluate("document.activeElement.blur()")
    log = lab[1] / "read" / reading_log.FILE
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('sub-1')", 60, "the first case's line")
    click(tab, "accept")
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('saved: sub-1')", 60, "the verdict's line")
    written = reading_log.read(log)
    assert written[["reader", "case", "method", "verdict"]].iloc[0].tolist() == ["ab", "sub-1", "unet", "accept"]
    click(tab, "next case")
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('sub-2: ')", 60, "the second case's line")
    changed = lambda shot: shot.shape != first.shape or np.abs(shot.astype(float) - first).mean() > 0.5  # noqa: E731
    tab.picture_when(canvas, changed, 120, "the second case's picture")
    tab.keep("reading_room_2")
    tab.evaluate("document.querySelector('.flairnb-keys').focus()")
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="p", text="p")
    tab.call("Input.dispatchKeyEvent", type="keyUp", key="p")
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('sub-1: ')", 60, "the first case again, by its key")
    assert tab.left_this_machine() == [] and tab.real_errors() == []


def click(tab, text: str) -> None:
    found = f"[...document.querySelectorAll('button.jupyter-button')].find(b => b.textContent.trim() === {json.dumps(text)})"
    assert tab.evaluate(f"(() => {{ const b = {found}; if (b) b.click(); return !!b; }})()"), text
