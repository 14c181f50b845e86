"""A box that tells Python which key was pressed; JupyterLab's own shortcuts do not hear it."""

from __future__ import annotations

from functools import cache
from typing import Any

_SCRIPT = """
export default {
  render({ model, el }) {
    const box = document.createElement("div");
    box.tabIndex = 0;
    box.className = "flairnb-keys lm-mod-override";
    box.setAttribute("data-lm-suppress-shortcuts", "true");
    box.textContent = "click here to use the keys";
    box.style.cssText = "border: 1px dashed currentColor; border-radius: 4px; padding: 4px 10px; width: max-content; cursor: pointer";
    box.addEventListener("keydown", (event) => {
      if (!model.get("listens").includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      model.set("pressed", event.key);
      model.set("count", model.get("count") + 1);
      model.save_changes();
    });
    el.appendChild(box);
  },
};
"""


def key_catcher(keys: str) -> Any:
    """Return a widget whose `count` changes with every press of one of `keys`, and whose `pressed` says which."""
    return _catcher_class()(listens=keys)


@cache
def _catcher_class() -> type:
    import anywidget
    import traitlets

    class KeyCatcher(anywidget.AnyWidget):
        """The box."""

        _esm = _SCRIPT
        listens = traitlets.Unicode("").tag(sync=True)
        pressed = traitlets.Unicode("").tag(sync=True)
        count = traitlets.Int(0).tag(sync=True)

    return KeyCatcher
