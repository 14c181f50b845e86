"""NiiVue: axial, coronal, sagittal and 3D views that move together, a layer for each mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.present.case_view import ERRORS, Packed, pack
from flairnb.present.style import look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from flairnb.present.case_view import Case

HEIGHT_PX = 520
#: Layers that are pictures themselves: name to NiiVue's colour map.
PICTURES = {"T1w": "gray", "probability": "warm"}
OPACITY = 0.5
#: What one click makes visible: name to the opacity of each layer, "masks" standing for all outlines.
SHOWS = {
    "masks": {"masks": OPACITY},
    "errors": {"missed": 0.8, "extra": 0.8},
    "probability": {"probability": 0.8},
    "T1w": {"T1w": 1.0, "masks": 0.35},
    "FLAIR only": {},
}
_SLIDER = {"readout": False, "layout": {"width": "250px"}, "style": {"description_width": "90px"}}


def niivue_widget(case: Case, head: bool = False) -> Any:
    """Return the viewer with grey window, what to show, and a slider of opacity for each layer.

    Parameters
    ----------
    case : Case
    head : bool
        Also show what is outside the brain, in 3D too.

    Returns
    -------
    ipywidgets.VBox
        `viewer` is the NiiVue widget, `sliders` maps a layer's name to its
        slider, `window` holds the sliders of level and width, `packed` is what
        was loaded; `go_to` moves the cross, `show` sets the opacities of
        `SHOWS`, `loaded` maps the names of layers to their volumes, `refresh` takes the masks of another case without moving
        anything.
    """
    import ipywidgets as widgets

    packed = pack(case, head)
    viewer = _viewer(packed, head)
    loaded: dict[str, Any] = {}
    sliders = {}
    for name in packed.layers:
        label = "T1w by header" if name == "T1w" and case.t1w_by_header else _short(name)
        start = 0.0 if name in PICTURES or name in ERRORS else OPACITY
        sliders[name] = widgets.FloatSlider(start, min=0.0, max=1.0, step=0.05, description=label, **_SLIDER)
        # A layer that nobody looks at yet is loaded when somebody does: the first picture comes sooner.
        sliders[name].observe(lambda change, name=name: _load(viewer, packed, name, loaded, sliders[name]), "value")
    first = [name for name in sliders if sliders[name].value > 0]
    viewer.load_volumes([_flair(packed), *[_layer(packed, name, OPACITY) for name in first]])
    for volume, name in zip(viewer.volumes[1:], first, strict=True):
        _link(volume, name, list(packed.layers).index(name), loaded, sliders[name])
    level, width = _window_sliders(viewer.volumes[0], packed)
    possible = [name for name, wanted in SHOWS.items() if not wanted or any(layer in sliders for layer in wanted if layer != "masks")]
    possible = [*(["masks"] if case.masks else []), *possible]
    chooser = widgets.ToggleButtons(options=list(dict.fromkeys(possible)), style={"button_width": "auto"})
    view = _choice_of_view(viewer, packed.stripped or head)
    rows = [widgets.HBox([view, level, width]), chooser, widgets.HBox(list(sliders.values()), layout={"flex_flow": "row wrap"})]
    box = widgets.VBox([*rows, viewer])
    box.viewer, box.sliders, box.packed, box.view, box.window, box.chooser = viewer, sliders, packed, view, (level, width), chooser
    box.go_to = lambda world_mm: go_to(viewer, packed, world_mm)
    box.show = lambda name: setattr(chooser, "value", name) if name in chooser.options else None
    box.refresh = lambda changed: _refresh(loaded, packed, changed)
    box.loaded = loaded
    chooser.observe(lambda change: _set_opacities(sliders, SHOWS[change["new"]]), "value")
    return box


def _set_opacities(sliders: Mapping[str, Any], wanted: Mapping[str, float]) -> None:
    for name, slider in sliders.items():
        group = name if name in PICTURES or name in ERRORS else "masks"
        slider.value = wanted.get(group, 0.0)


def _window_sliders(volume: Any, packed: Packed) -> tuple[Any, Any]:
    """Return sliders of level and width in percent of the first window, linked to the FLAIR's black and white."""
    import ipywidgets as widgets

    low, high = packed.window
    level = widgets.FloatSlider(50.0, min=-10.0, max=140.0, step=1.0, description="level, %", **{**_SLIDER, "readout": True})
    width = widgets.FloatSlider(100.0, min=5.0, max=200.0, step=1.0, description="window, %", **{**_SLIDER, "readout": True})

    def apply(_: Any = None) -> None:
        grey = [low + (high - low) * (level.value + side * width.value / 2) / 100 for side in (-1, 1)]
        volume.cal_min, volume.cal_max = grey[0], grey[1]

    level.observe(apply, "value")
    width.observe(apply, "value")
    return level, width


def _load(viewer: Any, packed: Packed, name: str, loaded: dict[str, Any], slider: Any) -> None:
    """Load a layer when it is first made visible."""
    if name not in loaded and slider.value > 0:
        viewer.add_volume(_layer(packed, name, slider.value))
        _link(viewer.volumes[-1], name, list(packed.layers).index(name), loaded, slider)


def _link(volume: Any, name: str, number: int, loaded: dict[str, Any], slider: Any) -> None:
    import ipywidgets as widgets

    if name not in PICTURES:
        volume.set_colormap_label(mask_colours(name, number))
    loaded[name] = volume
    widgets.jslink((slider, "value"), (volume, "opacity"))


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


def go_to(viewer: Any, packed: Packed, world_mm: NDArray) -> None:
    """Move the cross of all views to a point (3,) in RAS+ mm."""
    viewer.scene.crosshair_pos = packed.fraction_of(world_mm)


def nifti_bytes(data: NDArray[np.uint8], affine: NDArray) -> bytes:
    """Return a volume as an uncompressed NIfTI file in memory, nothing written to disk."""
    import nibabel as nib

    return nib.Nifti1Image(data, affine).to_bytes()


def _viewer(packed: Packed, head: bool) -> Any:
    from ipyniivue import NiiVue, ShowRender

    return NiiVue(
        height=HEIGHT_PX,
        is_radiological_convention=True,
        is_colorbar=False,
        is_orient_cube=True,
        is_corner_orientation_text=False,
        show_3d_crosshair=True,
        crosshair_width=0.25,
        crosshair_color=(0.25, 0.9, 0.4, 0.7),
        back_color=(0.0, 0.0, 0.0, 1.0),
        multiplanar_show_render=ShowRender.ALWAYS if packed.stripped or head else ShowRender.NEVER,
    )


def _flair(packed: Packed) -> dict[str, Any]:
    low, high = packed.window
    return {**_volume("FLAIR", packed.image, packed.affine, "gray", high), "cal_min": low}


def _layer(packed: Packed, name: str, opacity: float) -> dict[str, Any]:
    highest = 255 if name in PICTURES else 1
    return {**_volume(name, packed.layers[name], packed.affine, PICTURES.get(name, "red"), highest), "opacity": opacity}


def mask_colours(name: str, number: int = 0) -> dict[str, list]:
    """Return NiiVue's colour table of a mask: nothing at 0, at 1 the colour of its outline in still pictures."""
    from matplotlib.colors import to_rgb

    red, green, blue = (round(255 * part) for part in to_rgb(look(name, number).outline))
    return {"R": [0, red], "G": [0, green], "B": [0, blue], "A": [0, 255], "I": [0, 1], "labels": ["", _short(name)]}


def _volume(name: str, data: NDArray, affine: NDArray, colour: str, highest: float) -> dict[str, Any]:
    return {
        "data": nifti_bytes(data, affine),
        "name": f"{name}.nii",
        "colormap": colour,
        "cal_min": min(5.0, highest / 2),
        "cal_max": float(highest),
        "colorbar_visible": False,
    }


def _choice_of_view(viewer: Any, in_3d: bool) -> Any:
    import ipywidgets as widgets
    from ipyniivue import SliceType

    options = [("all views", SliceType.MULTIPLANAR), ("axial", SliceType.AXIAL)]
    options += [("coronal", SliceType.CORONAL), ("sagittal", SliceType.SAGITTAL)]
    options += [("3D", SliceType.RENDER)] if in_3d else []
    choice = widgets.Dropdown(options=options, description="view")
    choice.observe(lambda change: viewer.set_slice_type(change["new"]), "value")
    return choice


def _short(name: str) -> str:
    return look(name).label.split(" (")[0][:16]
