"""A slice to paint on: the picture and the mask go to the browser, strokes come back as points in mm."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from flairnb.present.case_view import Packed

WIDTH_PX = 560
#: What a click or a stroke does.
TOOLS = {"add": "add", "erase": "erase", "grow": "add region", "erase lesion": "erase region"}
_SCRIPT = Path(__file__).with_name("templates") / "brush_pad.js"


def brush_pad(packed: Packed, mask: NDArray[np.uint8], on_stroke: Callable[[str, NDArray[np.float64]], None]) -> Any:
    """Return the pad.

    Parameters
    ----------
    packed : Packed
        The picture, in right-anterior-superior order.
    mask : (I, J, K) uint8 array
        Of the packed volume (`Packed.fit`).
    on_stroke : callable
        Called with the tool and the (n, 3) points of the stroke, RAS+ mm; all
        lie in one slice.

    Returns
    -------
    AnyWidget
        `show_mask` takes a changed mask, `go_to` a point in mm.
    """
    step = np.linalg.norm(packed.affine[:3, :3], axis=0)
    pad = _pad_class()(
        image=seen_stack(packed.image).tobytes(),
        mask=bits_of(mask),
        shape=[packed.image.shape[2], packed.image.shape[1], packed.image.shape[0]],
        step_mm=[float(step[1]), float(step[0])],
        z_mm=packed.z_mm.tolist(),
        low=float(packed.window[0]),
        high=float(packed.window[1]),
        k=packed.image.shape[2] // 2,
        width_px=WIDTH_PX,
    )
    pad.on_msg(lambda _, content, __: on_stroke(content["tool"], points_of(packed, content["stroke"], content["k"])))
    pad.show_mask = lambda changed: setattr(pad, "mask", bits_of(changed))
    pad.go_to = lambda world_mm: _go_to(pad, packed, world_mm)
    return pad


def seen_stack(volume: NDArray) -> NDArray:
    """Return a volume (I, J, K) as slices as a radiologist sees them, (K, rows, columns).

    Row 0 is the front, column 0 the patient's right.
    """
    return np.ascontiguousarray(volume[::-1, ::-1].transpose(2, 1, 0))


def bits_of(mask: NDArray) -> bytes:
    """Return a mask as the pad wants it: `seen_stack`, eight voxels a byte, the first in the highest bit."""
    return np.packbits(seen_stack(mask) > 0).tobytes()


def points_of(packed: Packed, stroke: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return where a stroke's (row, column) points in slice `k` lie, (n, 3) in RAS+ mm."""
    row, column = np.asarray(stroke, dtype=float).reshape(-1, 2).T
    i, j = packed.image.shape[0] - 1 - column, packed.image.shape[1] - 1 - row
    voxels = np.stack([i, j, np.full_like(i, float(k))])
    return (packed.affine[:3, :3] @ voxels + packed.affine[:3, 3:]).T


def _go_to(pad: Any, packed: Packed, world_mm: ArrayLike) -> None:
    voxel = (np.linalg.inv(packed.affine) @ [*np.asarray(world_mm, dtype=float), 1.0])[:3]
    k = int(np.clip(round(voxel[2]), 0, packed.image.shape[2] - 1))
    pad.cross = [float(packed.image.shape[1] - 1 - voxel[1]), float(packed.image.shape[0] - 1 - voxel[0]), float(k)]
    pad.k = k


@cache
def _pad_class() -> type:
    import anywidget
    import traitlets as t

    class BrushPad(anywidget.AnyWidget):
        """The slice."""

        _esm = _SCRIPT.read_text(encoding="utf-8")
        image = t.Bytes(b"").tag(sync=True)
        mask = t.Bytes(b"").tag(sync=True)
        shape = t.List().tag(sync=True)
        step_mm = t.List().tag(sync=True)
        z_mm = t.List().tag(sync=True)
        colour = t.List([240, 228, 66]).tag(sync=True)
        cross = t.List([-1.0, -1.0, -1.0]).tag(sync=True)
        tool = t.Unicode("add").tag(sync=True)
        radius_mm = t.Float(3.0).tag(sync=True)
        opacity = t.Float(0.45).tag(sync=True)
        low = t.Float(0.0).tag(sync=True)
        high = t.Float(255.0).tag(sync=True)
        k = t.Int(0).tag(sync=True)
        width_px = t.Int(WIDTH_PX).tag(sync=True)

    return BrushPad
