"""NiiVue: axial, coronal, sagittal and 3D views that move together, a layer for each mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.present.case_view import Packed, pack
from flairnb.present.style import look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flairnb.present.case_view import Case

HEIGHT_PX = 460
#: Layers that are pictures themselves: name to NiiVue's colour map.
PICTURES = {"T1w": "gray", "probability": "warm"}
OPACITY = 0.5


def niivue_widget(case: Case, head: bool = False) -> Any:
    """Return the viewer with a slider of opacity for each layer.

    Parameters
    ----------
    case : Case
    head : bool
        Also show what is outside the brain, in 3D too.

    Returns
    -------
    ipywidgets.VBox
        `viewer` is the NiiVue widget, `sliders` maps a layer's name to its
        slider, `packed` is what was loaded, `go_to` moves the cross.
    """
    import ipywidgets as widgets

    packed = pack(case, head)
    viewer, layers = _viewer(packed, head)
    sliders = {}
    for volume, (name, start) in zip(viewer.volumes[1:], layers, strict=True):
        slider = widgets.FloatSlider(start, min=0.0, max=1.0, step=0.05, description=_short(name), readout=False)
        widgets.jslink((slider, "value"), (volume, "opacity"))
        sliders[name] = slider
    view = _choice_of_view(viewer, packed.stripped or head)
    box = widgets.VBox([widgets.HBox([view, *sliders.values()], layout={"flex_flow": "row wrap"}), viewer])
    box.viewer, box.sliders, box.packed = viewer, sliders, packed
    box.go_to = lambda world_mm: go_to(viewer, packed, world_mm)
    return box


def go_to(viewer: Any, packed: Packed, world_mm: NDArray) -> None:
    """Move the cross of all views to a point (3,) in RAS+ mm."""
    viewer.scene.crosshair_pos = packed.fraction_of(world_mm)


def nifti_bytes(data: NDArray[np.uint8], affine: NDArray) -> bytes:
    """Return a volume as an uncompressed NIfTI file in memory, nothing written to disk."""
    import nibabel as nib

    return nib.Nifti1Image(data, affine).to_bytes()


def _viewer(packed: Packed, head: bool) -> tuple[Any, list[tuple[str, float]]]:
    from ipyniivue import NiiVue, ShowRender

    viewer = NiiVue(
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
    volumes = [_volume("FLAIR", packed.image, packed.affine, "gray", 255)]
    starts = []
    for name, layer in packed.layers.items():
        starts.append((name, 0.0 if name in PICTURES else OPACITY))
        volumes.append(
            {**_volume(name, layer, packed.affine, PICTURES.get(name, "red"), 255 if name in PICTURES else 1), "opacity": starts[-1][1]}
        )
    viewer.load_volumes(volumes)
    for number, (volume, name) in enumerate(zip(viewer.volumes[1:], packed.layers, strict=True)):
        if name not in PICTURES:
            volume.set_colormap_label(mask_colours(name, number))
    return viewer, starts


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
        "cal_min": 0.0 if name == "FLAIR" else min(5.0, highest / 2),
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
