"""Small pictures of single lesions for a table."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.case_view import ras_affine, to_bytes
from flairnb.present.slices import grey_window, to_ras

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from flairnb.images import Image

SIDE_MM, SIDE_PX = 50.0, 110
OUTLINE = (240, 228, 66)


def lesion_thumbnail(flair: Image, mask: NDArray[np.bool_], centre_mm: ArrayLike, brain: NDArray[np.bool_] | None = None) -> bytes:
    """Draw `SIDE_MM` around a lesion's centre in its axial slice, outlined, as PNG bytes.

    Parameters
    ----------
    flair : Image
    mask : (I, J, K) bool array
        Lesions, on the FLAIR's grid.
    centre_mm : (3,) array_like
        World, RAS+.
    brain : (I, J, K) bool array, optional
        Sets the grey window.

    Returns
    -------
    bytes
        Radiological: the patient's right is on the left.
    """
    from PIL import Image as Picture

    affine = ras_affine(flair.affine, flair.shape)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    data, lesion = to_ras(flair.data, flair.affine), to_ras(mask, flair.affine)
    voxel = np.round(np.linalg.inv(affine) @ [*np.asarray(centre_mm, dtype=float), 1.0])[:3].astype(int)
    i, j, k = np.clip(voxel, 0, np.array(data.shape) - 1)
    half = np.maximum(1, np.round(SIDE_MM / 2 / spacing[:2]).astype(int))
    box = slice(max(0, i - half[0]), i + half[0] + 1), slice(max(0, j - half[1]), j + half[1] + 1)
    grey = to_bytes(data[:, :, k][box], grey_window(flair.data, brain))[::-1, ::-1].T
    inside = lesion[:, :, k][box][::-1, ::-1].T
    size = (max(1, round(grey.shape[1] * spacing[0] / SIDE_MM * SIDE_PX)), max(1, round(grey.shape[0] * spacing[1] / SIDE_MM * SIDE_PX)))
    large = np.asarray(Picture.fromarray(grey).resize(size, Picture.Resampling.BILINEAR))
    marked = np.asarray(Picture.fromarray(inside.astype(np.uint8)).resize(size, Picture.Resampling.NEAREST)) > 0
    colour = np.repeat(large[..., None], 3, axis=2)
    colour[_rim(marked)] = OUTLINE
    buffer = io.BytesIO()
    Picture.fromarray(colour).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    return ndimage.binary_dilation(mask) & ~mask
