"""Reading and writing NIfTI images, with every check a user's file needs."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike, NDArray

from flairnb.errors import GeometryError, InputError
from flairnb.geometry import Grid, check_same_grid, spacing_mm, voxel_volume_mm3
from flairnb.nifti import copy_forms, open_nifti, orientation_notes, read_voxels
from flairnb.provenance import atomic_path, sha256_file

if TYPE_CHECKING:
    import nibabel as nib

#: Stands in the header of every image that is written, for whoever meets it alone.
DESCRIPTION = b"flairnb: research and teaching only, not for clinical use"

# Label maps of whole brains hold up to some 200 structures; an image given as a mask holds far more values.
_MAX_LABELS = 256
# Labels to 1300 in scaled 16-bit integers, to 5 in 8-bit ones, are not farther from whole numbers.
_LABEL_ERROR = 0.01


@dataclass(frozen=True)
class Image:
    """A 3D image in its own voxel grid.

    Attributes
    ----------
    data : (I, J, K) float32 array
    affine : (4, 4) float array
        Voxel to RAS+ world, mm.
    header : nibabel header
        Kept so that derivatives repeat qform, sform and their codes.
    path : Path or None
    notes : tuple of str
        What a reader should know of how the header places the image; empty
        when all is as it should be.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    header: nib.Nifti1Header | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        return self.data.shape  # type: ignore[return-value]

    @property
    def grid(self) -> Grid:
        """The image's voxel grid."""
        return Grid(tuple(int(n) for n in self.data.shape), np.asarray(self.affine, dtype=float))

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel edges in mm, shape (3,)."""
        return spacing_mm(self.affine)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml."""
        return voxel_volume_mm3(self.affine) / 1000.0


def read_image(path: str | os.PathLike, what: str = "FLAIR") -> Image:
    """Read a 3D scalar image and check that it can be used.

    Parameters
    ----------
    path : path
        NIfTI file (``.nii`` or ``.nii.gz``). A 4D file with one volume is
        taken as 3D.
    what : str
        Word for the messages ("FLAIR", "T1w", "mask").

    Returns
    -------
    Image
        float32 data with the header's scaling applied; NaN and infinite voxels
        are refused.

    Raises
    ------
    MissingDataError
        The file does not exist.
    InputError
        Not a NIfTI image, unreadable, not 3D, empty, constant, complex, RGB,
        NaN, or a voxel size that no head examination has.
    """
    path = Path(path)
    image = open_nifti(path, what)
    data = read_voxels(image, path, what)
    if not np.isfinite(data).all():
        n = int((~np.isfinite(data)).sum())
        raise InputError(f"{what}: expected finite intensities, found {n} NaN or infinite voxels in {path.name}. Export it again.")
    if data.size and data.min() == data.max():
        raise InputError(f"{what}: expected an image, found one value ({data.flat[0]:g}) everywhere in {path.name}. Export it again.")
    return Image(data, np.asarray(image.affine, dtype=float), image.header, path, orientation_notes(image.header, what))


def read_mask(path: str | os.PathLike, like: Image | None = None, what: str = "mask") -> NDArray[np.bool_]:
    """Read a binary mask; with `like`, check that it lies on that image's grid.

    Returns
    -------
    (I, J, K) bool array
        True where the file is above zero: 0/1, 0/255 and label maps all serve,
        in scaled integers too. An all-zero mask is allowed.

    Raises
    ------
    MissingDataError, InputError
        As `read_image`; also for negative values, for fractions (a probability
        map has no outline until someone cuts it) and for the many values of an
        image.
    GeometryError
        The mask lies on another grid than `like`.
    """
    path = Path(path)
    image = open_nifti(path, what)
    if like is not None:
        check_same_grid(like.grid, Grid(image.shape[:3], image.affine), f"{what} {path.name}")
    data = read_voxels(image, path, what)
    if not np.isfinite(data).all():
        raise InputError(f"{what}: expected 0 and 1, found NaN or infinite voxels in {path.name}. Export it again.")
    return _outline(data, f"in {path.name}", what)


def _outline(data: NDArray[np.float32], where: str, what: str) -> NDArray[np.bool_]:
    """Mark what is above zero; refuse what is no mask: negative values, fractions, or as many values as an image has.

    Scaled integers hold labels with a small error, and a background that is
    not quite 0: whole numbers are meant by what lies near them.
    """
    labels = np.round(data)
    is_whole = bool(labels.any()) and bool((np.abs(data - labels) <= _LABEL_ERROR).all())
    if (labels if is_whole else data).min(initial=0) < 0:
        raise InputError(f"{what}: expected 0 and 1, found values down to {data.min():g} {where}. Give a mask.")
    mask = (labels if is_whole else data) > 0
    positive = data[mask]
    if positive.size == 0 or (positive == positive[0]).all():
        return mask
    if not is_whole:
        raise InputError(f"{what}: expected 0 and 1, found fractions {where}: a probability map? Cut it at a threshold first.")
    if (n := np.unique(labels[mask]).size) > _MAX_LABELS:
        raise InputError(f"{what}: expected 0 and 1, or labels, found {n} different values {where}: an image? Give a mask.")
    return mask


def image_sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of an image's file; of the hashes of both where header and voxels lie in two (.hdr, .img)."""
    path = Path(path)
    if not re.search(r"\.(hdr|img)(\.gz)?$", path.name, flags=re.IGNORECASE):
        return sha256_file(path)
    import nibabel as nib

    # Where nibabel looks for the other file, capitals included.
    pair = nib.Nifti1Pair.filespec_to_file_map(path)
    hashes = [sha256_file(pair[which].filename) for which in ("header", "image") if Path(pair[which].filename).is_file()]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def write_image(path: str | os.PathLike, data: NDArray, like: Image, dtype: DTypeLike = np.float32) -> Path:
    """Write an array on exactly the grid of `like`, atomically.

    The affine, the sform and qform with their codes, and the units are those
    of `like`; intensities are stored without scaling.

    Parameters
    ----------
    path : path
        Target, ``.nii.gz``.
    data : (I, J, K) array
        On the grid of `like`.
    like : Image
        Where the header comes from.
    dtype : dtype
        Storage type (uint8 for masks, float32 for probabilities).
    """
    import nibabel as nib

    if tuple(data.shape) != tuple(like.shape):
        raise GeometryError(f"{Path(path).name}: expected shape {like.shape}, found {data.shape}. This is a bug; please report it.")
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header["descrip"] = DESCRIPTION
    header.set_xyzt_units("mm")
    image = nib.Nifti1Image(np.asarray(data, dtype=dtype), like.affine, header)
    if isinstance(like.header, nib.Nifti1Header):
        copy_forms(like.header, image.header)
    path = Path(path)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path
