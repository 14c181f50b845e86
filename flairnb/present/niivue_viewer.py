"""NiiVue: axial, coronal, sagittal and 3D views that move together, a layer for each mask."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.geometry import spacing_mm
from flairnb.present.case_view import ERRORS, Packed, pack
from flairnb.present.style import look
from flairnb.present.viewer_frontend import niivue_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from flairnb.present.case_view import Case

HEIGHT_PX = 520
#: Where the cross is at first, as fractions of the volume, and what is far less than a voxel.
MIDDLE, NUDGE = (0.5, 0.5, 0.5), 1e-9
#: Layers that are pictures themselves: name to NiiVue's colour map.
PICTURES = {"T1w": "gray", "probability": "warm"}
#: Of masks. Less lets a pale blue pass for bright tissue.
OPACITY = 0.8
#: What one click makes visible: name to the opacity of each layer, "masks" standing for all outlines.
SHOWS = {
    "masks": {"masks": OPACITY},
    "errors": {"missed": 0.8, "extra": 0.8},
    "probability": {"probability": 0.8},
    "T1w": {"T1w": 1.0, "masks": 0.35},
    "FLAIR only": {},
}
_STYLE = {"description_width": "100px"}
_SLIDER = {"readout": False, "layout": {"width": "255px", "flex": "0 0 auto"}, "style": _STYLE}
_ROWS = {"flex_flow": "row wrap"}
#: Width of the cross, as a share of the volume's longest side: some 2 pixels. Thinner lines fall between pixels and are not drawn.
CROSS_SHARE = 0.008
#: Around NiiVue's canvas; also what `canvas_keeper.js` looks for.
BOX_CLASS = "flairnb-niivue"
_KEEPER = Path(__file__).with_name("templates") / "canvas_keeper.js"


def niivue_box() -> Any:
    """Return an empty viewer: its front-end starts in the browser while a case is read, and `niivue_widget` fills it.

    Returns
    -------
    ipywidgets.VBox
        Of the controls (none yet) and the NiiVue widget, `viewer`. `at` is
        where its cross is, as fractions (3,) of the volume, also after the
        mouse moved it; then `moved()` is called.
    """
    import ipywidgets as widgets

    viewer = _viewer()
    controls = widgets.VBox()
    box = widgets.VBox([controls, viewer, _keeper_class()()])
    box.add_class(BOX_CLASS)
    box.viewer, box.controls, box.view, box.at, box.moved = viewer, controls, None, MIDDLE, lambda: None
    viewer.on_location_change(lambda told: _heard(box, told))
    return box


def _heard(box: Any, told: Mapping[str, Any]) -> None:
    """Take where the browser says the cross is: NiiVue's own state in the kernel does not follow the mouse."""
    shown, meant = {volume.id for volume in box.viewer.volumes}, {volume["id"] for volume in told["values"]}
    # What was said of the case before may come late.
    if shown & meant:
        box.at = tuple(float(part) for part in told["frac"][:3])
        box.moved()


def _put_cross(box: Any, fraction: Sequence[float]) -> None:
    """Move the cross of all views. The browser hears of changes only, and the mouse may have moved it meanwhile: so it changes."""
    i, j, k = box.at = tuple(fraction)
    same = box.viewer.scene.crosshair_pos == [i, j, k]
    box.viewer.scene.crosshair_pos = [i, j, k + (NUDGE if same else 0.0)]


def niivue_widget(case: Case, head: bool = False, box: Any = None) -> Any:
    """Return the viewer with grey window, what to show, and a slider of opacity for each layer.

    Parameters
    ----------
    case : Case
    head : bool
        Also show what is outside the brain, in 3D too.
    box : ipywidgets.VBox, optional
        Of `niivue_box`: shows this case instead of what it showed.

    Returns
    -------
    ipywidgets.VBox
        `viewer` is the NiiVue widget, `sliders` maps a layer's name to its
        slider, `window` holds the sliders of level and width, `packed` is what
        was loaded; `go_to` moves the cross, `cross_mm` tells where it is, `show` sets the opacities of
        `SHOWS`, `loaded` maps the names of layers to their volumes, `refresh` takes the masks of another case without moving
        anything.
    """
    import ipywidgets as widgets

    box = box or niivue_box()
    packed, viewer = pack(case, head), box.viewer
    empty(box)
    loaded: dict[str, Any] = {}
    sliders = {}
    for name in packed.layers:
        label = "T1w by header" if name == "T1w" and case.t1w_by_header else _short(name)
        start = 0.0 if name in PICTURES or name in ERRORS else OPACITY
        style = _STYLE if name in PICTURES else {**_STYLE, "handle_color": look(name, list(packed.layers).index(name)).outline}
        sliders[name] = widgets.FloatSlider(start, min=0.0, max=1.0, step=0.05, description=label, **{**_SLIDER, "style": style})
        # A layer that nobody looks at yet is loaded when somebody does: the first picture comes sooner.
        sliders[name].observe(lambda change, name=name: _load(viewer, packed, name, loaded, sliders[name]), "value")
    first = [name for name in sliders if sliders[name].value > 0]
    in_3d = packed.stripped or head
    view = _choice_of_view(viewer, in_3d, box.view)
    _allow_3d(viewer, in_3d)
    # NiiVue counts it in mm.
    viewer.opts.crosshair_width = CROSS_SHARE * float(np.max(spacing_mm(packed.affine) * packed.image.shape))
    viewer.load_volumes([_flair(packed), *[_layer(packed, name, list(packed.layers).index(name), OPACITY) for name in first]])
    for volume, name in zip(viewer.volumes[1:], first, strict=True):
        _link(volume, name, loaded, sliders[name])
    level, width = _window_sliders(viewer.volumes[0], packed)
    possible = [name for name, wanted in SHOWS.items() if not wanted or any(layer in sliders for layer in wanted if layer != "masks")]
    possible = [*(["masks"] if case.masks else []), *possible]
    # Without masks nothing lies on the FLAIR at first, and the button says so.
    first_shown = "masks" if case.masks else "FLAIR only"
    chooser = widgets.ToggleButtons(options=list(dict.fromkeys(possible)), value=first_shown, style={"button_width": "auto"})
    box.controls.children = (
        widgets.HBox([view, level, width], layout=_ROWS),
        chooser,
        widgets.HBox(list(sliders.values()), layout=_ROWS),
    )
    box.sliders, box.packed, box.view, box.window, box.chooser = sliders, packed, view, (level, width), chooser
    box.go_to = lambda world_mm: _put_cross(box, packed.fraction_of(world_mm))
    box.cross_mm = lambda: packed.world_of(box.at)
    box.show = lambda name: _choose(chooser, first_shown if name == "masks" else name)
    box.refresh = lambda changed: _refresh(loaded, packed, changed)
    box.loaded = loaded
    chooser.observe(lambda change: _set_opacities(sliders, SHOWS[change["new"]]), "value")
    return box


def empty(box: Any) -> None:
    """Take a case out of a viewer and out of the kernel's memory; a black picture says that one loads.

    The browser frees it as far as JupyterLab and ipyniivue let go of it: the console keeps what ipyniivue writes into it.
    """
    old = [*box.controls.children, *box.viewer.volumes]
    box.controls.children, box.viewer.volumes = (), []
    _put_cross(box, MIDDLE)
    close_whole(*old)


def close_whole(*widgets: Any) -> None:
    """Close widgets with what they hold: children, link, layout and style stay in memory otherwise."""
    for widget in widgets:
        held = (getattr(widget, name, None) for name in ("link", "layout", "style"))
        close_whole(*getattr(widget, "children", ()), *(one for one in held if hasattr(one, "close")))
        widget.close()


def _choose(chooser: Any, name: str) -> None:
    if name in chooser.options:
        chooser.value = name


def _set_opacities(sliders: Mapping[str, Any], wanted: Mapping[str, float]) -> None:
    for name, slider in sliders.items():
        group = name if name in PICTURES or name in ERRORS else "masks"
        slider.value = wanted.get(group, 0.0)


def _window_sliders(volume: Any, packed: Packed) -> tuple[Any, Any]:
    """Return sliders of level and width in percent of the first window, linked to the FLAIR's black and white.

    Black is never below 0, the value of what was taken away around the brain: NiiVue would fill 3D with it.
    """
    import ipywidgets as widgets

    low, high = packed.window
    level = widgets.FloatSlider(50.0, min=-10.0, max=140.0, step=1.0, description="level, %", **{**_SLIDER, "readout": True})
    width = widgets.FloatSlider(100.0, min=5.0, max=200.0, step=1.0, description="window, %", **{**_SLIDER, "readout": True})

    def apply(_: Any = None) -> None:
        grey = [low + (high - low) * (level.value + side * width.value / 2) / 100 for side in (-1, 1)]
        volume.cal_min = max(grey[0], 0.0)
        volume.cal_max = max(grey[1], volume.cal_min + 1.0)

    level.observe(apply, "value")
    width.observe(apply, "value")
    return level, width


def _load(viewer: Any, packed: Packed, name: str, loaded: dict[str, Any], slider: Any) -> None:
    """Load a layer when it is first made visible."""
    if name not in loaded and slider.value > 0:
        viewer.add_volume(_layer(packed, name, list(packed.layers).index(name), slider.value))
        _link(viewer.volumes[-1], name, loaded, slider)


def _link(volume: Any, name: str, loaded: dict[str, Any], slider: Any) -> None:
    import ipywidgets as widgets

    loaded[name] = volume
    slider.link = widgets.jslink((slider, "value"), (volume, "opacity"))


def _refresh(loaded: Mapping[str, Any], packed: Packed, case: Case) -> None:
    """Send the voxels of the masks that changed; the layers must be those that were packed."""
    for name, data in case.layers().items():
        if name in PICTURES or name not in packed.layers:
            continue
        new = packed.fit(data, case.flair.affine)
        changed = np.flatnonzero(new.ravel(order="F") != packed.layers[name].ravel(order="F"))
        packed.layers[name] = new
        if changed.size and name in loaded:
            # ipyniivue's own message for a part of an image; it draws the volume anew and leaves the view alone.
            what = {"attr": "img", "type": "uint8", "indices_type": "uint32"}
            values = new.ravel(order="F")[changed]
            loaded[name].send({"type": "buffer_update", "data": what}, buffers=[changed.astype(np.uint32).tobytes(), values.tobytes()])


def nifti_bytes(data: NDArray[np.uint8], affine: NDArray) -> bytes:
    """Return a volume as an uncompressed NIfTI file in memory, nothing written to disk."""
    import nibabel as nib

    return nib.Nifti1Image(data, affine).to_bytes()


def _viewer() -> Any:
    from ipyniivue import ShowRender

    return niivue_class()(
        height=HEIGHT_PX,
        is_radiological_convention=True,
        is_colorbar=False,
        is_orient_cube=True,
        is_corner_orientation_text=False,
        show_3d_crosshair=True,
        crosshair_color=(0.25, 0.9, 0.4, 0.7),
        back_color=(0.0, 0.0, 0.0, 1.0),
        multiplanar_show_render=ShowRender.NEVER,
        loading_text="loading the case ...",
    )


@cache
def _keeper_class() -> type:
    import anywidget

    class CanvasKeeper(anywidget.AnyWidget):
        """Unseen: names the canvas beside it for who hears the page, and wakes it when it was left without pixels."""

        _esm = _KEEPER.read_text(encoding="utf-8")

    return CanvasKeeper


def _allow_3d(viewer: Any, in_3d: bool) -> None:
    from ipyniivue import ShowRender

    viewer.opts.multiplanar_show_render = ShowRender.ALWAYS if in_3d else ShowRender.NEVER


def _flair(packed: Packed) -> Any:
    from ipyniivue import Volume

    low, high = packed.window
    return Volume(**_volume("FLAIR", packed.image, packed.affine, "gray", (low, high)))


def _layer(packed: Packed, name: str, number: int, opacity: float) -> Any:
    from ipyniivue import Volume

    shown = (5.0, 255.0) if name in PICTURES else (0.5, 1.0)
    volume = Volume(**_volume(name, packed.layers[name], packed.affine, PICTURES.get(name, "red"), shown), opacity=opacity)
    if name not in PICTURES:
        # Before it is shown: NiiVue draws everything anew for a change of colours.
        volume.set_colormap_label(mask_colours(name, number))
    return volume


def mask_colours(name: str, number: int = 0) -> dict[str, list]:
    """Return NiiVue's colour table of a mask: nothing at 0, at 1 the colour of its outline in still pictures."""
    from matplotlib.colors import to_rgb

    red, green, blue = (round(255 * part) for part in to_rgb(look(name, number).outline))
    return {"R": [0, red], "G": [0, green], "B": [0, blue], "A": [0, 255], "I": [0, 1], "labels": ["", _short(name)]}


def _volume(name: str, data: NDArray, affine: NDArray, colour: str, shown: tuple[float, float]) -> dict[str, Any]:
    return {
        "data": nifti_bytes(data, affine),
        "name": f"{name}.nii",
        "colormap": colour,
        "cal_min": float(shown[0]),
        "cal_max": float(shown[1]),
        "colorbar_visible": False,
    }


def _choice_of_view(viewer: Any, in_3d: bool, before: Any = None) -> Any:
    """Return the choice of view; the one chosen for the case before stays, and without a brain mask there is none in 3D."""
    import ipywidgets as widgets
    from ipyniivue import SliceType

    options = [("all views", SliceType.MULTIPLANAR), ("axial", SliceType.AXIAL)]
    options += [("coronal", SliceType.CORONAL), ("sagittal", SliceType.SAGITTAL)]
    options += [("3D", SliceType.RENDER)] if in_3d else []
    kept = before.value if before is not None and before.value in dict(options).values() else SliceType.MULTIPLANAR
    choice = widgets.Dropdown(options=options, value=kept, description="view")
    if before is not None and before.value != kept:
        viewer.set_slice_type(kept)
    choice.observe(lambda change: viewer.set_slice_type(change["new"]), "value")
    return choice


def _short(name: str) -> str:
    return look(name).label.split(" (")[0][:16]
