"""The viewers in JupyterLab: a picture comes, on the right side, changes when told to, and nothing leaves the machine."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# A head whose right half is bright, with a lesion that the method found in part; stored with flipped axes.
CASE = """
import numpy as np
from flairnb.images import Image
from flairnb.present.case_view import Case
from flairnb.present.viewer import show_case
affine = np.diag([-2.0, 2.0, 4.0, 1.0])
affine[:3, 3] = (60, -70, -40)
at = np.indices((61, 71, 23)).reshape(3, -1)
x, y, z = (affine[:3, :3] @ at + affine[:3, 3:]).reshape(3, 61, 71, 23)
brain = (x / 50) ** 2 + (y / 60) ** 2 + ((z - 2) / 38) ** 2 < 1
data = np.where(brain, np.where(x > 0, 200.0, 40.0), 0.0) + 5 * np.sin(x / 3) * np.cos(y / 4) * brain
lesion = (x + 25) ** 2 + (y - 10) ** 2 + (z - 2) ** 2 < 15**2
found = (x + 31) ** 2 + (y - 10) ** 2 + (z - 2) ** 2 < 15**2
case = Case("bright on the right", Image(data.astype(np.float32), affine), {"manual": lesion, "unet": found}, brain)
"""


def halves(shot: np.ndarray) -> tuple[float, float]:
    """Mean brightness of the left and the right half of a picture."""
    middle = shot.shape[1] // 2
    return float(shot[:, :middle].mean()), float(shot[:, middle:].mean())


def is_drawn(shot: np.ndarray) -> bool:
    return len(np.unique((shot >> 3).reshape(-1, 3), axis=0)) > 60 and (shot.max(axis=2) > 100).mean() > 0.01


def test_niivue_shows_the_right_side_on_the_left_and_moves(run_in_lab):
    tab = run_in_lab([CASE, "shown = show_case(case, 'niivue')\nshown"], "niivue")
    canvas = ".jp-OutputArea canvas"
    first = tab.picture_when(canvas, is_drawn, 300, "a picture of NiiVue")
    tab.keep("niivue_all")
    run_cell(tab, "from ipyniivue import SliceType; shown.widget.viewer.set_slice_type(SliceType.AXIAL)")
    axial = tab.picture_when(canvas, lambda shot: is_drawn(shot) and differ(shot, first), 120, "the axial view")
    tab.keep("niivue_axial", axial)
    left, right = halves(axial)
    assert left > 1.5 * right
    run_cell(tab, "shown.widget.sliders['manual'].value = 0.0; shown.widget.sliders['unet'].value = 0.0")
    plain = tab.picture_when(canvas, lambda shot: differ(shot, axial), 120, "the view without masks")
    assert colourfulness(axial) > colourfulness(plain)
    run_cell(tab, "shown.widget.go_to((-25, 10, 30))")
    tab.picture_when(canvas, lambda shot: differ(shot, plain), 120, "another slice")
    assert tab.left_this_machine() == [] and tab.real_errors() == []


def test_itkwidgets_shows_3d_and_the_right_side_on_the_left(run_in_lab):
    tab = run_in_lab([CASE, "shown = show_case(case, 'itkwidgets')\nshown"], "itkwidgets")
    canvas = ".jp-OutputArea canvas"
    first = tab.picture_when(canvas, has_something_in_its_middle, 540, "a picture of itkwidgets")
    tab.keep("itkwidgets_3d", first)
    run_cell(tab, "shown.widget.mode.value = 'z'; shown.widget.blend.value = 0.0")
    axial = tab.picture_when(canvas, lambda shot: differ(shot, first) and bright(shot) > 0.02, 300, "the axial view")
    tab.keep("itkwidgets_axial", axial)
    middle = axial.shape[1] // 2
    assert bright(axial[:, :middle]) > 3 * bright(axial[:, middle:])
    assert tab.left_this_machine() == [] and tab.real_errors() == []


def has_something_in_its_middle(shot: np.ndarray) -> bool:
    rows, columns = shot.shape[0] // 4, shot.shape[1] // 4
    return len(np.unique(shot[rows : 3 * rows, columns : 3 * columns].reshape(-1, 3), axis=0)) > 60


def bright(shot: np.ndarray) -> float:
    """Share of pixels that are light."""
    return float((shot.mean(axis=2) > 120).mean())


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape != other.shape or float(np.abs(one.astype(float) - other).mean()) > 0.5


def colourfulness(shot: np.ndarray) -> float:
    return float((shot.max(axis=2).astype(float) - shot.min(axis=2)).mean())


def run_cell(tab, code: str) -> None:
    """Run code in the notebook's kernel and wait for its end."""
    import json

    done = tab.evaluate(
        "(async () => { const k = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;"
        f" const f = k.requestExecute({{code: {json.dumps(code)}}}); const r = await f.done; return r.content.status; }})()"
    )
    assert done == "ok", code
