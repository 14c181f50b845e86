"""The keys of the reading room: which one was pressed, though JupyterLab's own shortcuts do not hear it, and what it does."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flairnb.report.review_room import ReviewRoom

ROOM = "flairnb-room"
KEYS = {
    "n": "next case", "p": "case before", "l": "next lesion", "k": "lesion before", "m": "next mask", "o": "outlines on or off",
    "e": "errors", "f": "probability", "t": "T1w", "w": "narrower grey window", "W": "wider",
}  # fmt: skip
SHOW_KEYS = {"e": "errors", "f": "probability", "t": "T1w"}
HELP = "Keys: " + ", ".join(f"<b>{key}</b> {what}" for key, what in KEYS.items()) + "."
_SCRIPT = """
export default {
  render({ model, el }) {
    const box = document.createElement("div");
    box.tabIndex = 0;
    box.className = "flairnb-keys";
    box.style.cssText = "border: 1px dashed currentColor; border-radius: 4px; padding: 4px 10px; width: max-content; cursor: pointer";
    el.appendChild(box);
    const listens = (room) => {
      const says = () => {
        const on = room.contains(document.activeElement) && !typing(document.activeElement);
        box.textContent = on ? "keys are on" : "keys are off: click into the room";
      };
      const typing = (e) => e.matches?.("textarea, select, input:not([type=range], [type=checkbox], [type=radio])");
      room.setAttribute("data-lm-suppress-shortcuts", "true");
      if (!room.hasAttribute("tabindex")) room.tabIndex = -1;
      room.style.outline = "none";
      room.addEventListener("pointerup", (event) => {
        if (!event.target.closest("input, textarea, select, button, .widget-slider")) room.focus({ preventScroll: true });
      });
      room.addEventListener("focusin", says);
      room.addEventListener("focusout", () => setTimeout(says, 0));
      room.addEventListener("keydown", (event) => {
        if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
        if (!model.get("listens").includes(event.key)) return;
        event.preventDefault();
        event.stopPropagation();
        // A message for each press: changes of a value are merged while the kernel is busy. A key held down counts once.
        if (!event.repeat) model.send({ key: event.key });
      });
      says();
    };
    // The room is not in the page yet while its parts are drawn.
    const wait = (tries) => {
      const room = el.closest(".flairnb-room");
      if (room) listens(room);
      else if (tries) setTimeout(() => wait(tries - 1), 100);
      else listens(box);
    };
    wait(50);
  },
};
"""


def key_catcher(keys: str) -> Any:
    """Return a widget that sends a message ``{"key": ...}`` for every press of one of `keys`, also while the kernel is busy.

    Keys count anywhere in the nearest widget around it that has the class `ROOM`, but for fields of text.
    """
    return _catcher_class()(listens=keys)


@cache
def _catcher_class() -> type:
    import anywidget
    import traitlets

    class KeyCatcher(anywidget.AnyWidget):
        """The box."""

        _esm = _SCRIPT
        listens = traitlets.Unicode("").tag(sync=True)

    return KeyCatcher


def press(room: ReviewRoom, key: str) -> None:
    """Do what a key means for the case that a room shows; keys that lead to another case are the room's own."""
    if key in "lk" and room.lesion.options:
        places = [place for _, place in room.lesion.options]
        step = 1 if key == "l" else -1
        place = places[(0 if room.lesion_at is None else room.lesion_at + step) % len(places)]
        if room.lesion.value == place:
            # The only one, already chosen: the reader may have gone elsewhere.
            room.go_to_lesion()
        room.lesion.value = place
    elif key == "m":
        names = [name for _, name in room.mask.options]
        room.mask.value = names[(names.index(room.mask.value) + 1) % len(names)]
    elif key in "wW":
        width = room.shown.window[1] if hasattr(room.shown, "window") else room.width
        width.value = width.value * (0.8 if key == "w" else 1.25)
    elif hasattr(room.shown, "show"):
        wanted = SHOW_KEYS.get(key, "FLAIR only")
        room.shown.show("masks" if room.shown.chooser.value == wanted else wanted)
