"""itkwidgets: volume rendering and slices with agreement and errors as colours on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.present.case_view import COMPARED, ERRORS, READERS, Packed, compared, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flairnb.present.case_view import Case

#: NIfTI's world is right-anterior-superior, ITK's left-posterior-superior.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Lesions shine through the brain in 3D, and the brain is still seen; near 1 the brain fades away.
BLEND = 0.6
#: Dark, but not black: a brain seen through its lesions is dim.
BACKGROUND = (0.15, 0.16, 0.2)
NOT_MASKS = ("T1w", "probability", *ERRORS)


def itk_widget(case: Case, head: bool = False) -> Any:
    """Return the viewer with a slider that blends image and masks, and a choice of view.

    Parameters
    ----------
    case : Case
        The method's mask is compared with the reference: both, reference only,
        method only. A single mask is shown as it is.
    head : bool
        Also show what is outside the brain.

    Returns
    -------
    ipywidgets.VBox
        `viewer` is the itkwidgets viewer, `blend` and `mode` its controls.
    """
    import ipywidgets as widgets
    from itkwidgets import view

    packed = pack(case, head)
    labels, names = label_map(packed)
    # None raises a TraitError in itkwidgets 0.32.4: one weight for each value that occurs, the background included.
    weights = np.ones(len(np.unique(labels)), dtype=np.float32)
    marked = {"label_image": itk_image(labels, packed.affine), "label_image_names": names, "label_image_weights": weights}
    viewer = view(
        image=itk_image(packed.image, packed.affine),
        mode="v",
        ui_collapsed=True,
        gradient_opacity=0.1,
        background=BACKGROUND,
        vmin=[float(packed.window[0])],
        vmax=[float(packed.window[1])],
        **({**marked, "label_image_blend": BLEND} if labels.any() else {}),
    )
    blend = widgets.FloatSlider(BLEND, min=0.0, max=1.0, step=0.05, description="masks")
    mode = widgets.Dropdown(options=[("3D", "v"), ("axial", "z"), ("coronal", "y"), ("sagittal", "x")], description="view")
    widgets.link((blend, "value"), (viewer, "label_image_blend"))
    widgets.link((mode, "value"), (viewer, "mode"))
    box = widgets.VBox([widgets.HBox([mode, blend]), viewer])
    box.viewer, box.blend, box.mode, box.packed = viewer, blend, mode, packed
    return box


def label_map(packed: Packed) -> tuple[NDArray[np.uint8], list[tuple[int, str]]]:
    """Return one label for each voxel, and what each value means (the background is 0)."""
    masks = {name: layer for name, layer in packed.layers.items() if name not in NOT_MASKS}
    names = list(masks)
    if len(names) < 2:
        only = masks[names[0]] if names else np.zeros_like(packed.image)
        return only, [(0, "none"), *[(1, name) for name in names]]
    other = next((name for name in names[1:] if name not in READERS), names[1])
    labels = compared(masks[names[0]], masks[other])
    return labels, [(0, "none"), *[(value, text) for value, text in COMPARED.items() if (labels == value).any()]]


def itk_image(data: NDArray, affine: NDArray) -> Any:
    """Return a volume as an ITK image, its world turned from RAS to LPS.

    Parameters
    ----------
    data : (I, J, K) uint8 array
    affine : (4, 4) array
        Voxel to RAS+ world, mm.
    """
    import itk

    lps = RAS_TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(data.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    return image
