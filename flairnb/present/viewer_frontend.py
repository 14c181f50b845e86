"""NiiVue's front-end, started patiently and told to draw a case once.

The front-end is the installed ipyniivue's own file, 5 MB of JavaScript, with
two things done to it while it is handed to the browser:

- anywidget gives a front-end two seconds to start, and drops everything it is
  sent when that was not enough: on a busy computer the picture never comes. So
  a few lines start instead, at once, and fetch the rest from the kernel.
- as it comes, it draws everything anew four times for each layer and sends every voxel
  back to Python. Five short pieces are exchanged; where another release has
  other text in their place, it is used as it is: slower, and no less right.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

#: What is exchanged: each must occur once.
EXCHANGED = (
    # A layer is put in its place; the whole is drawn when all are there (next but one).
    ("t.has(e)||A.addVolume(s)", "t.has(e)||(A.volumes.push(s),A.back=A.volumes[0],A.overlays=A.volumes.slice(1),A.onImageLoaded(s))"),
    # One that is taken away is not drawn without, either.
    ("(A.removeVolume(D),B.dispose(D.id))", "B.dispose(D.id)"),
    ("A.volumes=a,A.updateGLVolume()}var vA", "A.volumes=a,A.back=a[0]??null,A.overlays=a.slice(1),A.updateGLVolume()}var vA"),
    # Nor thrice more for properties that nobody changes here.
    ('return r(),n(),h(),I.on("change:colorbar_visible"', 'return I.on("change:colorbar_visible"'),
    # Python has the voxels already.
    ('IB(I,"img",B.img.buffer,r)', "void r"),
)

_STARTER = """
let front = null, started = null;
const load = (model) => (front ??= import(URL.createObjectURL(new Blob([model.get("_code")], { type: "text/javascript" })))
  .then((module) => module.default));
export default {
  initialize({ model }) {
    started = load(model).then((widget) => widget.initialize({ model }));
    return () => started.then((end) => end?.());
  },
  async render({ model, el }) {
    await started;
    return (await load(model)).render({ model, el });
  },
};
"""


@cache
def niivue_class() -> type:
    """Return ipyniivue's widget with this front-end."""
    import ipyniivue
    import traitlets

    own = (Path(ipyniivue.__file__).parent / "static" / "widget.js").read_text(encoding="utf-8")

    class PatientNiiVue(ipyniivue.NiiVue):
        """NiiVue, started however long it takes, drawn once a case."""

        _esm = _STARTER
        _code = traitlets.Unicode(exchanged(own) or own).tag(sync=True)

    return PatientNiiVue


def exchanged(text: str) -> str | None:
    """Return the front-end with `EXCHANGED` done, or None where this release is another.

    Examples
    --------
    >>> exchanged("something else") is None
    True
    """
    if any(text.count(old) != 1 for old, _ in EXCHANGED):
        return None
    for old, new in EXCHANGED:
        text = text.replace(old, new)
    return text
