"""Reading and writing NIfTI images, with every check a user's file needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike, NDArray

from flairnb.errors import GeometryError, InputError, MissingDataError
from flairnb.geometry import Grid, check_same_grid, spacing_mm, voxel_volume_mm3
from flairnb.provenance import atomic_path

if TYPE_CHECKING:
    import nibabel as nib

MIN_VOXELS_PER_AXIS = 4
MAX_VOXELS = 1024**3
SPACING_LIMITS_MM = (0.1, 25.0)


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
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    header: nib.Nifti1Header | None = None
    path: Path | None = None

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
    image = _open(path, what)
    _check_header(image, path, what)
    data = _load(image, path, what)
    if not np.isfinite(data).all():
        n = int((~np.isfinite(data)).sum())
        raise InputError(f"{what}: expected finite intensities, found {n} NaN or infinite voxels in {path.name}. Export it again.")
    if data.size and data.min() == data.max():
        raise InputError(f"{what}: expected an image, found one value ({data.flat[0]:g}) everywhere in {path.name}. Export it again.")
    return Image(data, np.asarray(image.affine, dtype=float), image.header, path)


def read_mask(path: str | os.PathLike, like: Image | None = None, what: str = "mask") -> NDArray[np.bool_]:
    """Read a binary mask; with `like`, check that it lies on that image's grid.

    Returns
    -------
    (I, J, K) bool array
        True where the file is above zero. An all-zero mask is allowed.

    Raises
    ------
    MissingDataError, InputError
        As `read_image`.
    GeometryError
        The mask lies on another grid than `like`.
    """
    path = Path(path)
    image = _open(path, what)
    _check_header(image, path, what)
    data = _load(image, path, what)
    if not np.isfinite(data).all():
        raise InputError(f"{what}: expected 0 and 1, found NaN or infinite voxels in {path.name}. Export it again.")
    if like is not None:
        check_same_grid(like.grid, Grid(data.shape, image.affine), f"{what} {path.name}")
    return data > 0


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
    image = nib.Nifti1Image(np.asarray(data, dtype=dtype), like.affine, header)
    if isinstance(like.header, nib.Nifti1Header):
        source = like.header
        qform, qcode = source.get_qform(coded=True)
        sform, scode = source.get_sform(coded=True)
        if sform is not None or qform is not None:
            image.set_qform(qform, int(qcode), strip_shears=False)
            image.set_sform(sform, int(scode))
        image.header.set_xyzt_units(*source.get_xyzt_units())
        if image.header["pixdim"][1:4].min() <= 0 or not qcode:
            image.header["pixdim"][1:4] = source["pixdim"][1:4]
    path = Path(path)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path


def _open(path: Path, what: str) -> nib.spatialimages.SpatialImage:
    import nibabel as nib

    if not path.exists():
        raise MissingDataError(f"{what}: expected a NIfTI file, found nothing at {path}. Check the path.")
    if path.is_dir():
        raise InputError(f"{what}: expected a NIfTI file, found the folder {path.name}. Name the .nii.gz file in it.")
    try:
        image = nib.load(path)
    except PermissionError as error:
        raise InputError(f"{what}: expected a readable file, may not read {path.name}. Change its permissions.") from error
    except Exception as error:
        raise InputError(f"{what}: expected a NIfTI file (.nii, .nii.gz), cannot read {path.name} ({_first_line(error)}).") from error
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair)):
        raise InputError(f"{what}: expected a NIfTI file, found {type(image).__name__} in {path.name}. Convert it to .nii.gz.")
    return image


def _check_header(image: nib.spatialimages.SpatialImage, path: Path, what: str) -> None:
    shape = image.shape
    dtype = image.get_data_dtype()
    if dtype.fields is not None or np.issubdtype(dtype, np.complexfloating):
        raise InputError(f"{what}: expected one real number per voxel, found {dtype} in {path.name}. Export magnitude images.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{what}: expected a 3D image, found {len(shape)}D with shape {image.shape} in {path.name}. Give one volume.")
    if min(shape) < MIN_VOXELS_PER_AXIS:
        raise InputError(
            f"{what}: expected at least {MIN_VOXELS_PER_AXIS} voxels along each axis, found shape {shape} in {path.name}. "
            "Give the whole examination."
        )
    if np.prod([float(n) for n in shape]) > MAX_VOXELS:
        raise InputError(f"{what}: expected at most {MAX_VOXELS} voxels, found shape {shape} in {path.name}. Crop it to the head.")
    affine = np.asarray(image.affine, dtype=float)
    if not np.isfinite(affine).all() or voxel_volume_mm3(affine) < 1e-9:
        raise InputError(f"{what}: expected an invertible voxel-to-world matrix, found a singular one in {path.name}. Export it again.")
    low, high = SPACING_LIMITS_MM
    edges = spacing_mm(affine)
    if edges.min() < low or edges.max() > high:
        raise InputError(
            f"{what}: expected voxel edges of {low:g} to {high:g} mm, found {' x '.join(f'{e:.3g}' for e in edges)} mm in {path.name}. "
            "Check the header's units."
        )


def _load(image: nib.spatialimages.SpatialImage, path: Path, what: str) -> NDArray[np.float32]:
    try:
        data = np.asanyarray(image.dataobj)
    except Exception as error:
        raise InputError(
            f"{what}: expected {np.prod(image.shape)} voxels, cannot read them from {path.name} ({_first_line(error)}). "
            "Copy or export it again."
        ) from error
    while data.ndim > 3:
        data = data[..., 0]
    return np.ascontiguousarray(data, dtype=np.float32)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:120]
