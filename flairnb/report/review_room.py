"""The reading room in JupyterLab: buttons and lists around a `Session`; every decision is the session's."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.present import viewer
from flairnb.present.niivue_viewer import close_whole, empty, niivue_box
from flairnb.present.style import look, to_png
from flairnb.report import reading_log
from flairnb.report.reading_log import VERDICTS
from flairnb.report.review_cases import ORDERS
from flairnb.report.review_edit import EditPanel
from flairnb.report.review_keys import HELP, KEYS, ROOM, key_catcher, press

if TYPE_CHECKING:
    from flairnb.present.case_view import Case
    from flairnb.report.review_session import Session

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
    name : str
        Of the case that is shown; "" while one is read, or could not be.
    lesion_at : int or None
        Place in the list of the lesion that was gone to last.
    """

    def __init__(self, session: Session, way: str = "niivue", later: bool = False) -> None:
        import ipywidgets as w

        self.session, self._opening, self._displayed = session, False, False
        self._niivue: Any = None
        self.name = self._in_viewer = ""
        self.lesion_at: int | None = None
        self.case = w.Dropdown(description="case", layout={"width": "420px"})
        # A name counts when it is typed to its end.
        about = {"description": "reader", "placeholder": "initials", "continuous_update": False}
        self.reader = w.Text(value=session.reader, layout={"width": "200px"}, **about)
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
        self._allow(False)
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
        wraps = {"flex_flow": "row wrap"}
        self.grey = w.HBox([self.level, self.width], layout=wraps)
        folds = w.Accordion([self.edit.box, self.done], titles=("Correct the mask", "What was said so far"))
        folds.observe(lambda change: self.safely(self.edit.open) if change["new"] == 0 else None, "selected_index")
        self.folds = folds
        room = w.VBox(
            [
                w.HBox([*self.choice.values(), self.blinded], layout=wraps),
                w.HBox([self.reader, self.case, before, after], layout=wraps),
                w.HBox([self.way, self.mask, self.beside], layout=wraps), self.grey, self.picture, self.stage, self.says,
                w.HBox([self.lesion, w.VBox([self.comment, w.HBox(self.verdicts)])], layout=wraps), folds, self.keys, w.HTML(HELP),
            ]
        )  # fmt: skip
        room.add_class(ROOM)
        return room

    def _listen(self) -> None:
        """Say what follows from which change."""
        follow = {
            self.case: lambda new: self._open(new),
            self.mask: lambda new: self.draw(),
            self.beside: lambda new: self.draw(),
            self.way: lambda new: self.draw(),
            self.lesion: lambda new: self.go_to_lesion(),
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
        self.safely(self._draw_viewer if self.name else lambda: self._open(self.case.value))

    def say(self, text: str) -> None:
        """Show one line under the viewer."""
        self.says.value = f"<i>{html.escape(text)}</i>"

    @property
    def shown(self) -> Any:
        """The viewer in use, None while there is a still picture only, or another case in the viewer."""
        return self.stage.children[0] if self.stage.children and self.name and self._in_viewer == self.name else None

    def seen(self, beside: bool = True) -> Case:
        """Return the shown case with its masks as they are now.

        Parameters
        ----------
        beside : bool
            With the mask that was chosen to lie beside the judged one.

        Raises
        ------
        InputError
            When another case was opened meanwhile, by a cell of the notebook.
        """
        self.session.check_open(self.name)
        return self.session.seen(self.mask.value, (self.beside.value or "") if beside else "")

    def _label(self, place: int) -> str:
        row = self.session.cases.iloc[place]
        score = "" if self.session.blinded or np.isnan(row["dice"]) else f", Dice {row['dice']:.2f}"
        return f"{row['case']} {row['diagnosis']}{score}"

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Change lists without opening or drawing what they are at meanwhile."""
        self._opening = True
        try:
            yield
        finally:
            self._opening = False

    def _list_cases(self) -> None:
        self._listed = self.session.cases
        with self._quietly():
            self.case.options = [(f"{n + 1}. {self._label(n)}", n) for n in range(len(self._listed))]
            self.case.value = 0

    def _choose(self) -> None:
        split, diagnosis = (("" if self.choice[name].value == ALL else self.choice[name].value) for name in ("split", "diagnosis"))
        order = self.choice["order"].value
        self.session.choose(split, diagnosis, "" if order == "as listed" else order)
        self._list_cases()
        self._open(0)

    def _named(self, name: str) -> None:
        shown = self.session.names().get(self.mask.value, "") if self.session.case is not None else ""
        self.session.reader = name
        if self.session.blinded:
            # Another reader, other letters: the mask stays, also with strokes that are not saved.
            self._open(self.case.value, shown)

    def _blind(self, blinded: bool) -> None:
        self.session.blinded, place = blinded, self.case.value
        self._list_cases()
        self._open(place)

    def _open(self, place: int, method: str = "") -> None:
        """Open a case (the last is followed by the first) and draw it, its first mask or that of a method."""
        if self._opening or place is None:
            return
        before = self.name
        self._point_at(place)
        self.say("loading ...")
        self._hide()
        try:
            self.session.open(self.case.value, extras=False)
        except Exception:
            self._clear()
            raise
        self.name, names = self.session.check_open().name, self.session.names()
        if self.name != before:
            # What was said of one patient must not go to another.
            self.comment.value = ""
        with self._quietly():
            self.mask.options = [(name if self.session.blinded else look(name).label, name) for name in names]
            self.mask.value = next((name for name in names if names[name] == method), next(iter(names)))
        self.draw()

    def _point_at(self, place: int) -> None:
        """Let the list of cases say which one is meant, whether or not it can be read."""
        if self.session.cases is not self._listed:
            self._list_cases()
        with self._quietly():
            self.case.value = place % len(self._listed)

    def _hide(self) -> None:
        """Show nothing: never the case before under the next one's name, nor a verdict on what is not seen."""
        self.name = self._in_viewer = ""
        self.edit.forget()
        if self._niivue is not None:
            empty(self._niivue)
        self._close_viewer()
        # Its place on the page stays.
        self.picture.layout.visibility = "hidden"
        self._allow(False)

    def _clear(self) -> None:
        """Take away what belongs to a case: none is open."""
        self.picture.value, self.comment.value = b"", ""
        with self._quietly():
            self.mask.options, self.beside.options = (), ()
        self.lesion.options = ()

    def _allow(self, verdicts: bool) -> None:
        for button in self.verdicts:
            button.disabled = not verdicts

    def draw(self) -> None:
        """Show the open case with the chosen masks: still picture, lists, viewer."""
        if self._opening or not self.name:
            return
        self.session.check_open(self.name)
        others = self.session.others(self.mask.value)
        beside = self.beside.value if self.beside.value in others else ""
        with self._quietly():
            self.beside.options = [("nothing", ""), *[(look(name).label, name) for name in others]]
            self.beside.value = beside
        # The still picture first: it is there while the viewer loads.
        self._draw_still()
        self.picture.layout.display = ""
        self.list_lesions()
        self._close_viewer()
        if self._displayed:
            self._draw_viewer()

    def _empty_viewer(self, way: str) -> Any:
        """Return one NiiVue for all cases: a browser keeps few of them alive, and each takes seconds to start."""
        if way != "niivue" or importlib.util.find_spec("ipyniivue") is None:
            return None
        box = niivue_box()
        box.moved = self._moved
        return box

    def _draw_viewer(self) -> None:
        if self.way.value != "static":
            # Read the rest first: a viewer that starts keeps the browser from painting the still picture for two seconds.
            if self._niivue is None or self.way.value == "itkwidgets":
                self.stage.children = (self._loading(),)
            self.session.complete()
            self._niivue = self._niivue or self._empty_viewer(self.way.value)
            if self._niivue is not None and self.way.value != "itkwidgets":
                self.stage.children = (self._niivue,)
            shown = viewer.show_case(self.seen(), self.way.value, figure=False, box=self._niivue)
            self.stage.children, self._in_viewer = () if shown.widget is None else (shown.widget,), self.name
            self.picture.layout.display = "none" if shown.widget is not None and self.way.value == "niivue" else ""
        # These sliders are the still picture's.
        self.grey.layout.display = self.picture.layout.display
        self.edit.forget()
        if self.folds.selected_index == 0:
            self.edit.open()

    def _loading(self) -> Any:
        import ipywidgets as w

        return w.HTML(f"<i>{viewer.LOADING[self.way.value]}</i>")

    def _draw_still(self) -> None:
        if not self.name:
            return
        self.picture.value = to_png(viewer.still(self.seen(), window=(self.level.value, self.width.value)), dpi=100)
        self.picture.layout.visibility = "visible"
        self._allow(True)

    def list_lesions(self) -> None:
        """Fill in the list of lesions, and the line under the viewer."""
        self.session.check_open(self.name)
        rows = self.session.lesions(self.mask.value)
        self.say(f"{self.name}: {self.session.measure(self.mask.value, rows)}; {self.session.progress()}")
        lines = [f"{r.lesion}: {r.volume_ml:.2f} ml, {r.max_in_plane_diameter_mm:.0f} mm" for r in rows.itertuples()]
        places = rows[["centroid_r_mm", "centroid_a_mm", "centroid_s_mm"]].to_numpy().tolist()
        self.lesion.options = list(zip(lines, [tuple(place) for place in places], strict=True))
        self.lesion.value = self.lesion_at = None

    def _close_viewer(self) -> None:
        if self.way.value == "niivue" and self.stage.children == (self._niivue,):
            return
        old, self.stage.children = self.stage.children, ()
        for widget in old:
            if widget is not self._niivue:
                close_whole(widget)

    def go_to_lesion(self) -> None:
        """Let all views show the chosen lesion."""
        if self.lesion.value is None:
            return
        self.lesion_at = self.lesion.index
        if hasattr(self.shown, "go_to"):
            self.shown.go_to(np.array(self.lesion.value))
        self.edit.go_to(self.lesion.value)

    def _moved(self) -> None:
        """Choose no lesion once the mouse moved the cross away: a list tells of changes only, and the same one may be wanted again."""
        self.lesion.value = None

    def cross_mm(self) -> np.ndarray | None:
        """Return where the viewer's cross is, RAS+ mm; else the chosen lesion; else None."""
        if hasattr(self.shown, "cross_mm"):
            return self.shown.cross_mm()
        return None if self.lesion.value is None else np.array(self.lesion.value)

    def _step(self, step: int) -> None:
        # From what the list says: the session has no place in it when a case could not be read.
        self._open(self.case.value + step)

    def _judge(self, verdict: str) -> None:
        reading = self.session.judge(self.mask.value, verdict, self.comment.value, self.name)
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

        button = w.Button(description=text, button_style=style, layout={"width": "auto", "flex": "0 0 auto"})
        button.on_click(lambda _: self.safely(action))
        return button

    def safely(self, action: Callable[[], Any]) -> None:
        """Do something; a problem becomes a line under the viewer instead of a traceback in a log."""
        try:
            action()
        except FlairnbError as error:
            self.say(f"error: {error}")
        except OSError as error:
            # A full disk, or a folder that nobody may write to; the words of the system without its paths.
            self.say(f"error: {error.strerror or type(error).__name__}")

    def _keys(self) -> Any:
        catcher = key_catcher("".join(KEYS))
        catcher.on_msg(lambda _, content, __: self.safely(lambda: self._pressed(content["key"])))
        return catcher

    def _pressed(self, key: str) -> None:
        if key in "np":
            self._step(1 if key == "n" else -1)
        elif self.name:
            press(self, key)
