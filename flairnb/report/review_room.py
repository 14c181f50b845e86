"""The reading room in JupyterLab: buttons and lists around a `Session`; every decision is the session's."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.present import viewer
from flairnb.present.niivue_viewer import empty, niivue_box
from flairnb.present.style import look, to_png
from flairnb.report import reading_log
from flairnb.report.reading_log import VERDICTS
from flairnb.report.review_cases import ORDERS
from flairnb.report.review_edit import EditPanel
from flairnb.report.review_keys import ROOM

if TYPE_CHECKING:
    from flairnb.report.review import Session

KEYS = {
    "n": "next case", "p": "case before", "l": "next lesion", "k": "lesion before", "m": "next mask", "o": "outlines on or off",
    "e": "errors", "f": "probability", "t": "T1w", "w": "narrower grey window", "W": "wider",
}  # fmt: skip
SHOW_KEYS = {"e": "errors", "f": "probability", "t": "T1w"}
HELP = "Keys: " + ", ".join(f"<b>{key}</b> {what}" for key, what in KEYS.items()) + "."
ALL = "all"


class ReviewRoom:
    """Widgets of a reading session.

    Parameters
    ----------
    session : Session
    way : {"niivue", "itkwidgets", "static"}
        The viewer to start with.
    later : bool
        Open the first case when the room is displayed.

    Attributes
    ----------
    box : ipywidgets.VBox
        What is displayed.
    """

    def __init__(self, session: Session, way: str = "niivue", later: bool = False) -> None:
        import ipywidgets as w

        self.session, self._opening, self._displayed = session, False, False
        self._niivue: Any = None
        self.case = w.Dropdown(description="case", layout={"width": "420px"})
        self.reader = w.Text(value=session.reader, description="reader", placeholder="initials", layout={"width": "200px"})
        self.blinded = w.Checkbox(session.blinded, description="blinded", indent=False, layout={"width": "90px"})
        self.way = w.Dropdown(options=["niivue", "itkwidgets", "static"], value=way, description="viewer", layout={"width": "220px"})
        self.mask = w.Dropdown(description="mask", layout={"width": "320px"})
        self.beside = w.Dropdown(description="beside it", layout={"width": "320px"})
        self.lesion = w.Select(description="lesions", rows=6, layout={"width": "420px"})
        self.comment = w.Text(description="comment", placeholder="no names, no dates of birth", layout={"width": "420px"})
        self.level = w.FloatSlider(50.0, min=-10.0, max=140.0, step=1.0, description="level, %", continuous_update=False)
        self.width = w.FloatSlider(100.0, min=5.0, max=200.0, step=1.0, description="window, %", continuous_update=False)
        self.says, self.done, self.picture, self.stage = w.HTML(), w.HTML(), w.Image(format="png", layout={"width": "860px"}), w.VBox()
        self.edit = EditPanel(self)
        self.keys = self._keys()
        self.verdicts = [self.button(verdict, lambda v=verdict: self._judge(v), "primary") for verdict in VERDICTS]
        self.box = self._furnish()
        self._list_cases()
        self._listen()
        if later:
            self.say("loading ...")
        else:
            self.safely(lambda: self._open(0))

    def _furnish(self) -> Any:
        """Put everything in its place."""
        import ipywidgets as w

        before, after = self.button("before", lambda: self._step(-1)), self.button("next case", lambda: self._step(1))
        known = self.session.all_cases
        choices = {name: [ALL, *sorted({value for value in known[name] if value})] for name in ("split", "diagnosis")}
        self.choice = {name: w.Dropdown(options=options, description=name, layout={"width": "220px"}) for name, options in choices.items()}
        self.choice["order"] = w.Dropdown(options=["as listed", *ORDERS], description="sort by", layout={"width": "240px"})
        self.grey = w.HBox([self.level, self.width])
        folds = w.Accordion([self.edit.box, self.done], titles=("Correct the mask", "What was said so far"))
        folds.observe(lambda change: self.edit.open() if change["new"] == 0 else None, "selected_index")
        self.folds = folds
        room = w.VBox(
            [
                w.HBox([*self.choice.values(), self.blinded]), w.HBox([self.reader, self.case, before, after]),
                w.HBox([self.way, self.mask, self.beside]), self.grey, self.picture, self.stage, self.says,
                w.HBox([self.lesion, w.VBox([self.comment, w.HBox(self.verdicts)])]), folds, self.keys, w.HTML(HELP),
            ]
        )  # fmt: skip
        room.add_class(ROOM)
        return room

    def _listen(self) -> None:
        """Say what follows from which change."""
        follow = {
            self.case: lambda new: self._open(new),
            self.mask: lambda new: self._draw(),
            self.beside: lambda new: self._draw(),
            self.way: lambda new: self._draw(),
            self.lesion: lambda new: self._go(),
            self.reader: lambda new: self._named(new),
            self.blinded: lambda new: self._blind(new),
            self.level: lambda new: self._draw_still(),
            self.width: lambda new: self._draw_still(),
            **{chosen: lambda new: self._choose() for chosen in self.choice.values()},
        }
        for widget, action in follow.items():
            widget.observe(lambda change, do=action: self.safely(lambda: do(change["new"])), "value")

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)
        self._displayed = True
        # The still picture comes first; the viewer is packed while the browser draws it.
        self.safely(self._draw_viewer if self.mask.value is not None else lambda: self._open(0))

    def say(self, text: str) -> None:
        """Show one line under the viewer."""
        self.says.value = f"<i>{html.escape(text)}</i>"

    @property
    def shown(self) -> Any:
        """The viewer in use, None while there is a still picture only."""
        return self.stage.children[0] if self.stage.children else None

    def _label(self, place: int) -> str:
        row = self.session.cases.iloc[place]
        score = "" if self.session.blinded or np.isnan(row["dice"]) else f", Dice {row['dice']:.2f}"
        return f"{row['case']} {row['diagnosis']}{score}"

    def _list_cases(self) -> None:
        self._opening = True
        self.case.options = [(f"{n + 1}. {self._label(n)}", n) for n in range(len(self.session.cases))]
        self._opening = False

    def _choose(self) -> None:
        split, diagnosis = (("" if self.choice[name].value == ALL else self.choice[name].value) for name in ("split", "diagnosis"))
        order = self.choice["order"].value
        self.session.choose(split, diagnosis, "" if order == "as listed" else order)
        self._list_cases()
        self._open(0)

    def _named(self, name: str) -> None:
        self.session.reader = name
        if self.session.blinded:
            self._open(self.session.place)

    def _blind(self, blinded: bool) -> None:
        self.session.blinded = blinded
        self._list_cases()
        self._open(self.session.place)

    def _open(self, place: int) -> None:
        if self._opening or place is None:
            return
        self.say("loading ...")
        self.edit.forget()
        if self._niivue is not None:
            # Never the case before under the next one's name.
            empty(self._niivue)
        self.session.open(place, extras=False)
        names = list(self.session.names())
        self._opening = True
        self.mask.options = [(name if self.session.blinded else look(name).label, name) for name in names]
        self.mask.value, self.case.value = names[0], place
        self._opening = False
        self._draw()

    def _draw(self) -> None:
        if self.mask.value is None or self._opening:
            return
        others = self.session.others(self.mask.value)
        self._opening, beside = True, self.beside.value if self.beside.value in others else ""
        self.beside.options = [("nothing", ""), *[(look(name).label, name) for name in others]]
        self.beside.value, self._opening = beside, False
        # The still picture first: it is there while the viewer loads.
        self._draw_still()
        self.picture.layout.display = ""
        self.list_lesions()
        self._close_viewer()
        if self._displayed:
            self._draw_viewer()

    @staticmethod
    def _empty_viewer(way: str) -> Any:
        """Return one NiiVue for all cases: a browser keeps few of them alive, and each takes seconds to start."""
        if way != "niivue" or importlib.util.find_spec("ipyniivue") is None:
            return None
        return niivue_box()

    def _draw_viewer(self) -> None:
        if self.way.value != "static":
            # Read the rest first: a viewer that starts keeps the browser from painting the still picture for two seconds.
            if self._niivue is None or self.way.value == "itkwidgets":
                self.stage.children = (self._loading(),)
            self.session.complete()
            self._niivue = self._niivue or self._empty_viewer(self.way.value)
            if self._niivue is not None and self.way.value != "itkwidgets":
                self.stage.children = (self._niivue,)
            seen = self.session.seen(self.mask.value, self.beside.value or "")
            shown = viewer.show_case(seen, self.way.value, figure=False, box=self._niivue)
            self.stage.children = () if shown.widget is None else (shown.widget,)
            self.picture.layout.display = "none" if shown.widget is not None and self.way.value == "niivue" else ""
        self.grey.layout.display = "none" if self.shown is not None else ""
        self.edit.forget()
        if self.folds.selected_index == 0:
            self.edit.open()

    def _loading(self) -> Any:
        import ipywidgets as w

        return w.HTML(f"<i>{viewer.LOADING[self.way.value]}</i>")

    def _draw_still(self) -> None:
        seen = self.session.seen(self.mask.value, self.beside.value or "")
        self.picture.value = to_png(viewer.still(seen, window=(self.level.value, self.width.value)), dpi=100)

    def list_lesions(self) -> None:
        """Fill in the list of lesions, and the line under the viewer."""
        rows = self.session.lesions(self.mask.value)
        self.say(f"{self.session.case.name}: {self.session.measure(self.mask.value, rows)}; {self.session.progress()}")
        lines = [f"{r.lesion}: {r.volume_ml:.2f} ml, {r.max_in_plane_diameter_mm:.0f} mm" for r in rows.itertuples()]
        places = rows[["centroid_r_mm", "centroid_a_mm", "centroid_s_mm"]].to_numpy().tolist()
        self.lesion.options = list(zip(lines, [tuple(place) for place in places], strict=True))
        self.lesion.value = None

    def _close_viewer(self) -> None:
        if self.way.value == "niivue" and self.stage.children == (self._niivue,):
            return
        old, self.stage.children = self.stage.children, ()
        for widget in old:
            if widget is not self._niivue:
                widget.close()

    def _go(self) -> None:
        if self.lesion.value is None:
            return
        if hasattr(self.shown, "go_to"):
            self.shown.go_to(np.array(self.lesion.value))
        self.edit.go_to(self.lesion.value)

    def cross_mm(self) -> np.ndarray | None:
        """Return where the viewer's cross is, RAS+ mm; else the chosen lesion; else None."""
        if hasattr(self.shown, "go_to"):
            return self.shown.packed.world_of(self.shown.viewer.scene.crosshair_pos)
        return None if self.lesion.value is None else np.array(self.lesion.value)

    def _step(self, step: int) -> None:
        self.case.value = (self.session.place + step) % len(self.session.cases)

    def _judge(self, verdict: str) -> None:
        reading = self.session.judge(self.mask.value, verdict, self.comment.value)
        self.comment.value = ""
        self.say(f"saved: {reading.case}, {self.mask.value}, {verdict}, after {reading.seconds:.0f} s; {self.session.progress()}")
        self._tell_done()

    def _tell_done(self) -> None:
        log = self.session.log()
        if self.session.blinded:
            self.done.value = f"{self.session.progress()}. Which method got which verdict is told when blinded is switched off."
            return
        tables = [reading_log.summary(log), reading_log.agreement(log)]
        self.done.value = "<br>".join(table.round(2).to_html(index=False, border=0) for table in tables if len(table))

    def button(self, text: str, action: Callable[[], None], style: str = "") -> Any:
        """Return a button that does something safely."""
        import ipywidgets as w

        button = w.Button(description=text, button_style=style, layout={"width": "auto"})
        button.on_click(lambda _: self.safely(action))
        return button

    def safely(self, action: Callable[[], Any]) -> None:
        """Do something; a problem becomes a line under the viewer instead of a traceback in a log."""
        try:
            action()
        except FlairnbError as error:
            self.say(f"error: {error}")

    def _keys(self) -> Any:
        from flairnb.report.review_keys import key_catcher

        catcher = key_catcher("".join(KEYS))
        catcher.observe(lambda change: self.safely(lambda: self._pressed(catcher.pressed)), "count")
        return catcher

    def _pressed(self, key: str) -> None:
        if key in "np":
            self._step(1 if key == "n" else -1)
        elif key in "lk" and self.lesion.options:
            places = [place for _, place in self.lesion.options]
            step = 1 if key == "l" else -1
            at = places.index(self.lesion.value) + step if self.lesion.value in places else 0
            self.lesion.value = places[at % len(places)]
        elif key == "m":
            names = [name for _, name in self.mask.options]
            self.mask.value = names[(names.index(self.mask.value) + 1) % len(names)]
        elif key in "wW":
            width = self.shown.window[1] if hasattr(self.shown, "window") else self.width
            width.value = width.value * (0.8 if key == "w" else 1.25)
        elif hasattr(self.shown, "show"):
            wanted = SHOW_KEYS.get(key, "FLAIR only")
            self.shown.show("masks" if self.shown.chooser.value == wanted else wanted)
