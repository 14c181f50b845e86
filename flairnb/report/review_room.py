"""The reading room in JupyterLab: buttons and lists around a `Session`; every decision is the session's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.present import viewer
from flairnb.present.style import look, to_png
from flairnb.report.reading_log import VERDICTS

if TYPE_CHECKING:
    from flairnb.report.review import Session

KEYS = {"n": "next case", "p": "case before", "l": "next lesion", "o": "outlines on or off"}
HELP = "Keys, after a click into this box: " + ", ".join(f"<b>{key}</b> {what}" for key, what in KEYS.items()) + "."


class ReviewRoom:
    """Widgets of a reading session.

    Parameters
    ----------
    session : Session
    way : {"niivue", "itkwidgets", "static"}
        The viewer to start with.

    Attributes
    ----------
    box : ipywidgets.VBox
        What is displayed.
    """

    def __init__(self, session: Session, way: str = "niivue") -> None:
        import ipywidgets as w

        self.session, self._opening = session, False
        labels = [(f"{n + 1}. {self._label(n)}", n) for n in range(len(session.cases))]
        self.case = w.Dropdown(options=labels, description="case", layout={"width": "420px"})
        self.reader = w.Text(value=session.reader, description="reader", placeholder="initials", layout={"width": "200px"})
        self.way = w.Dropdown(options=["niivue", "itkwidgets", "static"], value=way, description="viewer", layout={"width": "220px"})
        self.mask = w.Dropdown(description="mask", layout={"width": "320px"})
        self.lesion = w.Select(description="lesions", rows=6, layout={"width": "520px"})
        self.comment = w.Text(description="comment", placeholder="no names, no dates of birth", layout={"width": "420px"})
        self.radius = w.FloatSlider(4.0, min=1.0, max=15.0, step=0.5, description="brush, mm")
        self.says, self.picture, self.stage = w.HTML(), w.Image(format="png", layout={"width": "860px"}), w.VBox()
        self.keys = self._keys()
        self.verdicts = [self._button(verdict, lambda v=verdict: self._judge(v), "primary") for verdict in VERDICTS]
        before, after = self._button("before", lambda: self._step(-1)), self._button("next case", lambda: self._step(1))
        strokes = {
            "add here": lambda c, at: c.brush(at, self.radius.value),
            "erase here": lambda c, at: c.brush(at, self.radius.value, add=False),
            "erase lesion": lambda c, at: c.erase_lesion(at),
            "grow here": lambda c, at: c.grow(at),
            "undo": lambda c, at: c.undo(),
        }
        edits = [self._button(name, lambda f=f: self._edit(f)) for name, f in strokes.items()]
        self.save = self._button("save corrected mask", self._save, "warning")
        correct = w.Accordion([w.VBox([w.HBox([self.radius, *edits]), self.save])], titles=("Correct the mask at the cross",))
        self.box = w.VBox(
            [
                w.HBox([self.reader, self.case, before, after]), w.HBox([self.way, self.mask]), self.picture, self.stage, self.says,
                self.lesion, correct, w.HBox([self.comment, *self.verdicts]), self.keys, w.HTML(HELP),
            ]
        )  # fmt: skip
        self.case.observe(lambda change: self._safely(lambda: self._open(change["new"])), "value")
        self.mask.observe(lambda change: self._safely(self._draw), "value")
        self.way.observe(lambda change: self._safely(self._draw), "value")
        self.lesion.observe(lambda change: self._safely(self._go), "value")
        self.reader.observe(lambda change: self._safely(lambda: self._named(change["new"])), "value")
        self._safely(lambda: self._open(0))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def say(self, text: str) -> None:
        """Show one line under the viewer."""
        import html

        self.says.value = f"<i>{html.escape(text)}</i>"

    def _label(self, place: int) -> str:
        row = self.session.cases.iloc[place]
        score = "" if self.session.blinded or np.isnan(row["dice"]) else f", Dice {row['dice']:.2f}"
        return f"{row['case']} {row['diagnosis']}{score}"

    def _named(self, name: str) -> None:
        self.session.reader = name
        if self.session.blinded:
            self._open(self.session.place)

    def _open(self, place: int) -> None:
        if self._opening:
            return
        self.session.open(place)
        names = list(self.session.names())
        self._opening = True
        self.mask.options = [(name if self.session.blinded else look(name).label, name) for name in names]
        self.mask.value, self.case.value = names[0], place
        self._opening = False
        self._draw()

    def _draw(self) -> None:
        if self.mask.value is None or self._opening:
            return
        seen = self.session.seen(self.mask.value)
        # The still picture first: it is there while the viewer loads.
        self.picture.value = to_png(viewer.still(seen), dpi=100)
        self.say(f"{seen.name}: {self.session.measure(self.mask.value)}")
        rows = self.session.lesions(self.mask.value)
        lines = [f"{r.lesion}: {r.volume_ml:.2f} ml, {r.max_in_plane_diameter_mm:.0f} mm" for r in rows.itertuples()]
        places = rows[["centroid_r_mm", "centroid_a_mm", "centroid_s_mm"]].to_numpy().tolist()
        self.lesion.options = list(zip(lines, [tuple(place) for place in places], strict=True))
        self._close_viewer()
        if self.way.value != "static":
            shown = viewer.show_case(seen, self.way.value, count=1)
            self.stage.children = () if shown.widget is None else (shown.widget,)
            self.picture.layout.display = "none" if shown.widget is not None and self.way.value == "niivue" else ""
        else:
            self.picture.layout.display = ""

    def _close_viewer(self) -> None:
        old, self.stage.children = self.stage.children, ()
        for widget in old:
            widget.close()

    def _go(self) -> None:
        if self.lesion.value is not None and self.stage.children and hasattr(self.stage.children[0], "go_to"):
            self.stage.children[0].go_to(np.array(self.lesion.value))

    def _cross_mm(self) -> np.ndarray:
        widget = self.stage.children[0] if self.stage.children else None
        if widget is None or not hasattr(widget, "go_to"):
            return np.array(self.lesion.value if self.lesion.value is not None else self.session.case.flair.affine[:3, 3])
        packed = widget.packed
        voxel = np.array(widget.viewer.scene.crosshair_pos) * packed.image.shape - 0.5
        return packed.affine[:3, :3] @ voxel + packed.affine[:3, 3]

    def _step(self, step: int) -> None:
        self.case.value = (self.session.place + step) % len(self.session.cases)

    def _judge(self, verdict: str) -> None:
        reading = self.session.judge(self.mask.value, verdict, self.comment.value)
        self.comment.value = ""
        self.say(f"saved: {reading.case}, {self.mask.value}, {verdict}, after {reading.seconds:.0f} s")

    def _edit(self, stroke: Callable[[Any, np.ndarray], Any]) -> None:
        stroke(self.session.correct(self.mask.value), self._cross_mm())
        self._draw()

    def _save(self) -> None:
        self.say(f"saved: {self.session.save_correction().name}")

    def _button(self, text: str, action: Callable[[], None], style: str = "") -> Any:
        import ipywidgets as w

        button = w.Button(description=text, button_style=style, layout={"width": "auto"})
        button.on_click(lambda _: self._safely(action))
        return button

    def _safely(self, action: Callable[[], None]) -> None:
        """Do something; a problem becomes a line under the viewer instead of a traceback in a log."""
        try:
            action()
        except FlairnbError as error:
            self.say(f"error: {error}")

    def _keys(self) -> Any:
        from flairnb.report.review_keys import key_catcher

        catcher = key_catcher("".join(KEYS))
        catcher.observe(lambda change: self._safely(lambda: self._pressed(catcher.pressed)), "count")
        return catcher

    def _pressed(self, key: str) -> None:
        if key in "np":
            self._step(1 if key == "n" else -1)
        elif key == "l" and self.lesion.options:
            places = [place for _, place in self.lesion.options]
            at = places.index(self.lesion.value) + 1 if self.lesion.value in places else 0
            self.lesion.value = places[at % len(places)]
        elif key == "o" and self.stage.children:
            for name, slider in getattr(self.stage.children[0], "sliders", {}).items():
                slider.value = 0.0 if slider.value > 0 else (0.0 if name in ("T1w", "probability") else 0.5)
