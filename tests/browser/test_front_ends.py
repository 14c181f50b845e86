"""Our own pieces of JavaScript on an empty page, with a stand-in for the kernel: what they send when a hand does what."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

import flairnb.present
from flairnb.report import review_keys

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEMPLATES = Path(flairnb.present.__file__).with_name("templates")
#: A widget's model as anywidget hands it over; what is sent is kept.
MODEL = """
window.sent = [];
window.model = {
  state: STATE, heard: [],
  get(name) { return this.state[name]; },
  set(name, value) { this.state[name] = value; },
  save_changes() {},
  send(content) { window.sent.push(structuredClone(content)); },
  on(names, call) { this.heard.push(call); },
  off() {},
};
"""
PAD = {
    "shape": [5, 20, 20], "step_mm": [1, 1], "z_mm": [-12.4, -7.4, -2.4, 2.6, 7.6], "colour": [240, 228, 66], "cross": [-1, -1, -1],
    "tool": "add", "radius_mm": 2, "opacity": 0.45, "low": 0, "high": 255, "k": 2, "width_px": 400,
}  # fmt: skip


@pytest.fixture
def page(new_tab):
    """Return a function that draws a piece of JavaScript into an empty page."""

    def draw(script: str, state: dict, into: str = "document.body", more: str = "") -> object:
        tab = new_tab()
        source = json.dumps("data:text/javascript;base64," + base64.b64encode(script.encode()).decode())
        tab.evaluate(MODEL.replace("STATE", json.dumps(state)) + more)
        tab.evaluate(f"import({source}).then((module) => {{ module.default.render({{ model: window.model, el: {into} }}); }})")
        return tab

    return draw


@pytest.fixture
def pad(page):
    grey = "for (const name of ['image', 'mask']) window.model.state[name] = new DataView(new ArrayBuffer(2000));"
    return page((TEMPLATES / "brush_pad.js").read_text(encoding="utf-8"), PAD, more=grey)


def mouse(tab, kind: str, x: float, y: float, **more) -> None:
    held = {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseWheel" else {}
    tab.call("Input.dispatchMouseEvent", type=kind, x=8 + 400 * x, y=8 + 400 * y, **held, **more)


def turn(tab) -> None:
    """Turn the wheel by one, and wait until it was heard."""
    mouse(tab, "mouseWheel", 0.5, 0.5, deltaX=0, deltaY=-100)
    time.sleep(1.0)


@pytest.mark.parametrize("meanwhile", ["the wheel", "a lesion in the list"])
def test_a_stroke_belongs_to_the_slice_it_began_on(pad, meanwhile):
    mouse(pad, "mousePressed", 0.3, 0.5)
    mouse(pad, "mouseMoved", 0.4, 0.5)
    if meanwhile == "the wheel":
        turn(pad)
    else:
        pad.evaluate("window.model.state.k = 4; window.model.heard.forEach((call) => call());")
    mouse(pad, "mouseMoved", 0.5, 0.5)
    mouse(pad, "mouseReleased", 0.5, 0.5)
    (sent,) = pad.wait_for("window.sent.length ? window.sent : null", 20, "the stroke")
    assert sent["k"] == 2 and sent["tool"] == "add" and len(sent["stroke"]) == 3
    turn(pad)
    expected = 3 if meanwhile == "the wheel" else 4
    assert pad.evaluate("window.model.state.k") == expected, "the wheel turns slices again"


def test_a_stroke_that_the_browser_takes_away_is_not_drawn(pad):
    mouse(pad, "mousePressed", 0.3, 0.5)
    pad.evaluate("document.querySelector('canvas').dispatchEvent(new PointerEvent('pointercancel', { pointerId: 1 }))")
    mouse(pad, "mouseMoved", 0.6, 0.5)
    mouse(pad, "mouseReleased", 0.6, 0.5)
    time.sleep(0.5)
    assert pad.evaluate("window.sent") == []


def test_the_slice_says_in_words_what_it_is(pad):
    said = pad.evaluate("document.querySelector('canvas').getAttribute('aria-label')")
    assert "slice 3 of 5, z \N{MINUS SIGN}2 mm" in said and "right is on the left" in said


def test_every_press_of_a_key_is_sent_and_a_held_one_once(page):
    room = (
        "const room = document.createElement('div'); room.className = 'flairnb-room'; document.body.appendChild(room); window.room = room;"
    )
    tab = page(review_keys._SCRIPT, {"listens": "lnp"}, into="window.room", more=room)
    tab.evaluate("window.room.focus()")
    for letter in "lllx":
        tab.press(letter)
    for again in (False, True, True):
        tab.call("Input.dispatchKeyEvent", type="keyDown", key="n", text="n", autoRepeat=again)
    assert tab.wait_for("window.sent.length >= 4 ? window.sent : null", 20, "the keys") == [{"key": key} for key in "llln"]


def test_a_canvas_without_pixels_is_woken_and_has_a_name(page):
    more = """
    document.body.innerHTML = '<div class="flairnb-niivue"><div><canvas style="width: 300px; height: 200px"></canvas></div><p></p></div>';
    window.canvas = document.querySelector('canvas');
    // The browser itself tells of a resize when a page begins; ours are not trusted ones.
    window.addEventListener('resize', (event) => {
      if (event.isTrusted) return;
      window.canvas.width = 300;
      window.woken = (window.woken || 0) + 1;
    });
    """
    tab = page((TEMPLATES / "canvas_keeper.js").read_text(encoding="utf-8"), {}, into="document.querySelector('p')", more=more)
    tab.wait_for("(window.canvas.getAttribute('aria-label') || '').includes('right is on the left')", 20, "the canvas' name")
    assert tab.evaluate("window.woken || 0") == 0
    tab.evaluate("window.canvas.width = 0")
    tab.wait_for("window.canvas.width === 300", 20, "a canvas with pixels")
    time.sleep(1.5)
    assert tab.evaluate("window.woken") == 1
