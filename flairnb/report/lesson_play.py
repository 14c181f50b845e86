"""Sliders under a picture, and questions with an answer that opens."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flairnb.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {
    "te_ms": "TE, ms", "tr_ms": "TR, ms", "ti_ms": "TI, ms", "field_t": "field, T", "cut_sd": "threshold", "probability": "cut at",
    "shift_mm": "shift, mm", "larger_mm": "larger, mm", "feature": "feature", "steps": "updates", "parts": "tiles' overlap",
    "block": "halvings",
}  # fmt: skip
#: An inch of a figure on the screen.
INCH_PX = 100
#: Sliders of whole numbers.
WHOLE = ("feature", "steps", "parts", "block")


@dataclass(frozen=True)
class Question:
    """A question with choices; `right` counts from 0."""

    text: str
    choices: tuple[str, ...]
    right: int
    why: str


QUESTIONS: dict[str, tuple[Question, ...]] = {
    "signal": (
        Question(
            "CSF has a T1 of about 4.3 s. Where does it vanish at a TR of 9 s?",
            ("TI about 1.0 s", "TI about 2.5 s", "TI about 4.3 s"),
            1,
            "At TI = T1 ln 2 for a very long TR (3.0 s), and earlier, at 2.5 s, because at 9 s the CSF has not recovered fully.",
        ),
        Question(
            "Why is a lesion bright although its T1 is long, as in CSF?",
            ("Its long T2 outweighs", "It holds no water", "It is not inverted"),
            0,
            "Its T2 is longer than that of the tissue around it, and at the TI that nulls CSF its T1, far below CSF's, has recovered.",
        ),
    ),
    "threshold": (
        Question(
            "You lower the threshold until every lesion is found. What happens to PPV?",
            ("It rises", "It falls", "It stays"),
            1,
            "Grey matter is nearly as bright as a lesion's rim, and there is far more of it: most of what is then marked is normal.",
        ),
        Question(
            "Which extra knowledge does a radiologist use that a threshold lacks?",
            ("Brightness of each voxel", "Place and surroundings", "The scanner's name"),
            1,
            "The same grey value is normal in the insula and ill in the white matter. A network sees a voxel's surroundings.",
        ),
    ),
    "network": (
        Question(
            "What does a stride of 2 do to the picture?",
            ("Halves its resolution", "Doubles its contrast", "Removes noise only"),
            0,
            "Each voxel then stands for eight; the next 3 x 3 x 3 kernel sees twice as far. The cross-links bring the fine edge back.",
        ),
        Question(
            "Stride 2 and dilation 2 taken literally in one layer: what happens to seven of eight voxels?",
            ("They count double", "They are averaged", "They are never looked at"),
            2,
            "See the black-and-white grids above: the output is blind to them. 12_audit takes that up.",
        ),
    ),
    "learning": (
        Question(
            "The loss on the training patients still falls, on others it rises. What is going on?",
            ("It needs more updates", "It learns those patients by heart", "The scanner was changed"),
            1,
            "What it learns now no longer holds for others. One stops, or shows it more patients, or changed copies of them.",
        ),
    ),
    "scores": (
        Question(
            "Two readers draw a lesion of 2 mm radius 2 mm apart. Their Dice?",
            ("About 0.8", "About 0.5", "About 0.3"),
            2,
            "Half the diameter is lost: the lens they share holds 31% of a ball. At a radius of 10 mm the same slip gives 0.85.",
        ),
        Question(
            "A method has sensitivity 0.95 and PPV 0.50 for lesion voxels. Its mask is, against the reference, ...",
            ("about half as large", "about as large", "almost twice as large"),
            2,
            "Marked / reference = sensitivity / PPV = 1.9. Half of what it marks is not lesion.",
        ),
        Question(
            "No lesion was found in an examination. The network has shown that the brain is healthy?",
            ("Yes", "Only at 3 T", "No"),
            2,
            "Nothing looked to it like what it was trained on. A wrong sequence, a failed brain outline and a new disease look so, too.",
        ),
    ),
}


def ask(topic: str, interactive: bool = False) -> Any:
    """Show the questions of a topic: to be answered by a click, or with an answer that opens.

    Parameters
    ----------
    topic : str
        A key of `QUESTIONS`.
    interactive : bool
        Without, the answer opens by a click in any page, no program needed.
    """
    if topic not in QUESTIONS:
        raise InputError(f"questions: expected one of {', '.join(QUESTIONS)}, received {topic!r}.")
    if interactive:
        import ipywidgets as widgets

        return widgets.VBox([_clickable(question) for question in QUESTIONS[topic]])
    from IPython.display import HTML

    return HTML("".join(_folded(question) for question in QUESTIONS[topic]))


def show_code(*functions: Callable) -> Any:
    """Show the package's own code, never a copy."""
    from IPython.display import Code

    return Code("\n\n".join(inspect.getsource(function) for function in functions), language="python")


def fold(figure: Figure, words: str = "Reveal") -> Any:
    """Return a picture that opens by a click in any page, no program needed."""
    import base64

    from IPython.display import HTML

    from flairnb.present.style import to_png

    picture = f'<img alt="{html.escape(words)}" src="data:image/png;base64,{base64.b64encode(to_png(figure)).decode()}">'
    return HTML(f"<details><summary><b>{html.escape(words)}</b></summary>{picture}</details>")


def with_sliders(draw: Callable[..., Any], sliders: Mapping[str, tuple[float, float, float, float]]) -> Any:
    """Return a picture that is drawn anew when a slider is let go."""
    import ipywidgets as widgets

    from flairnb.present.style import to_png

    made = {
        name: widgets.FloatSlider(
            start, min=low, max=high, step=step, description=WORDS.get(name, name), continuous_update=False, layout={"width": "380px"}
        )
        for name, (start, low, high, step) in sliders.items()
    }
    picture = widgets.Image(format="png")

    def update(_: Any = None) -> None:
        values = {name: int(s.value) if name in WHOLE else s.value for name, s in made.items()}
        drawn = draw(**values)
        if hasattr(drawn, "axes"):
            picture.value = to_png(drawn)
            # All at the same scale, so that letters are as large in each.
            picture.layout.width = f"{drawn.get_figwidth() * INCH_PX:.0f}px"

    for slider in made.values():
        slider.observe(update, "value")
    update()
    box = widgets.VBox([*made.values(), picture])
    box.picture, box.sliders = picture, made
    return box


def _folded(question: Question) -> str:
    choices = "".join(f"<li>{html.escape(choice)}</li>" for choice in question.choices)
    answer = f"<b>{html.escape(question.choices[question.right])}.</b> {html.escape(question.why)}"
    opens = f"<details><summary>Answer</summary><p>{answer}</p></details>"
    return f"<p><b>{html.escape(question.text)}</b></p><ol type='a'>{choices}</ol>{opens}"


def _clickable(question: Question) -> Any:
    import ipywidgets as widgets

    choice = widgets.RadioButtons(options=list(question.choices), value=None, layout={"width": "max-content"})
    said = widgets.HTML()

    def check(change: Mapping[str, Any]) -> None:
        right = change["new"] == question.choices[question.right]
        said.value = f"<b>Right.</b> {html.escape(question.why)}" if right else "<b>Not quite.</b> Think again."

    choice.observe(check, "value")
    box = widgets.VBox([widgets.HTML(f"<b>{html.escape(question.text)}</b>"), choice, said])
    box.choice, box.said = choice, said
    return box
