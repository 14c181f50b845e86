"""Show one case: a still picture always, and a viewer to move in where one is installed."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flairnb.errors import EnvironmentProblem, InputError
from flairnb.present.style import CONVENTION, NOT_CLINICAL, SIMULATED, second_reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flairnb.present.case_view import Case

WAYS = ("auto", "static", "itkwidgets", "niivue")
NO_BRAIN = (
    "No brain mask: 3D is left out, because a head in 3D shows a face. Give a brain mask, or say head=True where the data may be shown so."
)
LOADING = {
    "niivue": "The viewer below loads in some seconds. Click or drag: move the cross; wheel: slices.",
    "itkwidgets": "The 3D view below loads in some seconds, or a minute on a computer without a graphics card.",
}


@dataclass(frozen=True)
class CaseView:
    """A case as shown: the still picture, and under it the viewer.

    Attributes
    ----------
    figure : Figure or None
        What remains in a saved page.
    widget : ipywidgets widget or None
        `widget.viewer` is the viewer itself.
    way : str
        "static", "itkwidgets" or "niivue".
    note : str
        Shown between the two.
    """

    figure: Figure | None
    widget: Any
    way: str
    note: str

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if self.figure is not None:
            display(self.figure)
        if self.note:
            display(Markdown(self.note))
        if self.widget is not None:
            display(self.widget)


def show_case(case: Case, way: str = "auto", head: bool = False, count: int = 8, figure: bool = True, box: Any = None) -> CaseView:
    """Show a case with its masks.

    Parameters
    ----------
    case : Case
    way : {"auto", "static", "itkwidgets", "niivue"}
        ``static``: axial slices with outlines. ``niivue``: axial, coronal,
        sagittal and 3D, a layer for each mask. ``itkwidgets``: volume
        rendering and slices, agreement and errors as colours. ``auto``:
        niivue inside Jupyter, else static.
    head : bool
        Also show what is outside the brain. Off: a head in 3D shows a face.
    count : int
        Slices of the still picture.
    figure : bool
        Draw the still picture; False where it is there already.
    box : ipywidgets.VBox, optional
        For niivue: a viewer that is there already and shows this case next
        (:func:`flairnb.present.niivue_viewer.niivue_box`).

    Returns
    -------
    CaseView
        Display it as the last line of a cell.

    Raises
    ------
    InputError
        For an unknown `way`.
    EnvironmentProblem
        When a viewer is asked for by name and cannot work here; says why.
    """
    if way not in WAYS:
        raise InputError(f"way: expected one of {', '.join(WAYS)}, received {way!r}.")
    way = automatic() if way == "auto" else way
    drawn = still(case, count) if figure else None
    if way == "static":
        return CaseView(drawn, None, way, "")
    if not (case.has_brain or head) and way == "itkwidgets":
        return CaseView(drawn, None, "static", NO_BRAIN)
    check_installed(way)
    if way == "niivue":
        from flairnb.present.niivue_viewer import niivue_widget

        note = LOADING[way] if case.has_brain or head else f"{LOADING[way]} {NO_BRAIN}"
        return CaseView(drawn, niivue_widget(case, head, box), way, note)
    from flairnb.present.itk_viewer import itk_widget

    return CaseView(drawn, itk_widget(case, head), way, LOADING[way])


def still(case: Case, count: int = 8, window: tuple[float, float] = (50.0, 100.0)) -> Figure:
    """Draw axial slices with the outlines of all masks, R and L, and a scale in mm.

    Parameters
    ----------
    case : Case
    count : int
    window : (level, width)
        In percent of the brain's own grey window.
    """
    from flairnb.present.slices import grey_window, mosaic

    brain = {"brain": case.brain} if case.has_brain else {}
    low, high = grey_window(case.flair.data, case.brain)
    grey = tuple(low + (high - low) * (window[0] + side * window[1] / 2) / 100 for side in (-1, 1))
    title = f"{case.name}{SIMULATED if case.simulated else ''}"
    footer = f"{CONVENTION} {NOT_CLINICAL}"
    with second_reader(case.simulated):
        return mosaic(case.flair, {**brain, **case.masks}, count=count, title=title, footer=footer, window=grey)


def automatic() -> str:
    """Return the way that suits where we are: niivue in a Jupyter kernel, else static."""
    in_kernel = "ipykernel" in sys.modules and importlib.util.find_spec("ipyniivue") is not None
    return "niivue" if in_kernel else "static"


def check_installed(way: str) -> None:
    """Raise unless a viewer can work in this environment's JupyterLab.

    Raises
    ------
    EnvironmentProblem
        Says what is missing and what to do.
    """
    from flairnb.present.lab_extension import problems

    if way == "itkwidgets":
        found = problems()
    else:
        found = [] if importlib.util.find_spec("ipyniivue") else ["ipyniivue is not installed: make setup"]
    if found:
        raise EnvironmentProblem(f"viewer {way}: expected it to work in JupyterLab here, found: {'; '.join(found)}. Or use way='static'.")
