"""The reading room in JupyterLab: the picture follows the case, a click writes a verdict, keys work."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from flairnb.images import Image, read_image, read_mask, write_image
from flairnb.provenance import write_json
from flairnb.report import reading_log

pytestmark = [pytest.mark.browser, pytest.mark.slow]

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
        write_image(folder / f"{stem}_label-lesion_desc-manual_mask.nii.gz", np.roll(lesion, 2, axis=1), flair, np.uint8)
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
    # A click into the picture is enough for the keys.
    mouse(tab, canvas, [(0.3, 0.3)])
    key(tab, "e")
    masks = tab.picture(canvas)
    tab.picture_when(canvas, lambda shot: differ(shot, masks), 60, "errors instead of masks, by a key")
    tab.keep("reading_room_errors")
    key(tab, "p")
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('sub-1: ')", 60, "the first case again, by its key")
    same = lambda shot: shot.shape == first.shape and np.abs(shot.astype(float) - first).mean() < 0.5  # noqa: E731
    tab.picture_when(canvas, same, 120, "the first case's picture")
    # Round the list faster than pictures come: never one case under the other's name.
    for _ in range(2):
        key(tab, "n")
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('sub-1: ')", 60, "the first case's line")
    tab.picture_when(canvas, same, 120, "the first case's picture after two keys")
    assert tab.left_this_machine() == [] and tab.real_errors() == []


def test_a_stroke_of_the_mouse_changes_the_mask_which_is_saved_beside_the_old_one(run_in_lab, lab, results):
    tab = run_in_lab([ROOM.replace('"read")', '"read2", "cd")')], "strokes")
    tab.picture_when(".jp-OutputArea canvas", lambda shot: shot.max() > 200 and shot.std() > 10, 300, "a picture in the reading room")
    tab.evaluate("[...document.querySelectorAll('.jupyter-widget-Collapse-header')][0].click()")
    pad = "canvas.flairnb-brush"
    before = tab.picture_when(pad, lambda shot: shot.std() > 10, 60, "the slice to paint on")
    tab.keep("brush_before")
    # From the picture's left, the patient's right, towards the middle.
    mouse(tab, pad, [(0.15 + 0.02 * n, 0.5) for n in range(8)])
    after = tab.picture_when(pad, lambda shot: differ(shot, before, 0.2), 60, "the stroke")
    tab.keep("brush_after", after)
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('2 lesions')", 60, "a second lesion in the line")
    tab.keep("brush_room")
    click(tab, "save corrected mask")
    tab.wait_for("document.querySelector('.jp-OutputArea').innerText.includes('desc-corrected_mask')", 60, "the name of the new file")
    flair = read_image(results / "sub-1_FLAIR.nii.gz")
    old = read_mask(results / "sub-1_label-lesion_desc-unet_mask.nii.gz", like=flair)
    new = read_mask(lab[1] / "read2" / "corrected" / "sub-1_label-lesion_desc-corrected_mask.nii.gz", like=flair)
    added = np.argwhere(new & ~old) @ flair.affine[:3, :3].T + flair.affine[:3, 3]
    middle = flair.affine[:3, :3] @ ((np.array(flair.shape) - 1) / 2) + flair.affine[:3, 3]
    # On one slice, on the patient's right.
    assert len(added) and (added[:, 0] > middle[0]).all() and not (old & ~new).any()
    assert tab.left_this_machine() == [] and tab.real_errors() == []


def test_another_theme_leaves_the_picture_and_the_slice_is_the_one_looked_at(run_in_lab, lab, results):
    tab = run_in_lab([ROOM.replace('"read")', '"read3", "cd")')], "theme")
    canvas = ".jp-OutputArea canvas"
    first = tab.picture_when(canvas, lambda shot: shot.max() > 200 and shot.std() > 10, 300, "a picture in the reading room")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        tab.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: {json.dumps(theme)}}})")
        tab.wait_for(f"document.body.dataset.jpThemeName === {json.dumps(theme)}", 60, theme)
        tab.picture_when(canvas, lambda shot: not differ(shot, first), 60, f"the same picture after {theme}")
    # High up in the coronal view, the second of four.
    mouse(tab, canvas, [(0.36, 0.25)])
    tab.picture_when(canvas, lambda shot: differ(shot, first), 60, "the cross elsewhere")
    tab.keep("reading_room_cross")
    tab.evaluate("[...document.querySelectorAll('.jupyter-widget-Collapse-header')][0].click()")
    says = "document.querySelector('canvas.flairnb-brush')?.getAttribute('aria-label')"
    said = tab.wait_for(says, 60, "the slice to paint on")
    at, count = map(int, re.search(r"slice (\d+) of (\d+)", said).groups())
    assert at > count / 2 + 2, said
    assert tab.left_this_machine() == [] and tab.real_errors() == []


def key(tab, letter: str) -> None:
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key=letter, **({"text": letter} if kind == "keyDown" else {}))


def mouse(tab, selector: str, way: list[tuple[float, float]]) -> None:
    """Press at the first place, given as fractions of an element, go along the others, let go."""
    left, top, width, height = tab.evaluate(
        f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
        " const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    places = [{"x": left + x * width, "y": top + y * height} for x, y in way]
    tab.call("Input.dispatchMouseEvent", type="mousePressed", button="left", clickCount=1, **places[0])
    for place in places[1:]:
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", button="left", buttons=1, **place)
    tab.call("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **places[-1])


def differ(one, other, by: float = 0.5) -> bool:
    return one.shape != other.shape or float(np.abs(one.astype(float) - other).mean()) > by


def click(tab, text: str) -> None:
    found = f"[...document.querySelectorAll('button.jupyter-button')].find(b => b.textContent.trim() === {json.dumps(text)})"
    assert tab.evaluate(f"(() => {{ const b = {found}; if (b) b.click(); return !!b; }})()"), text
