"""Open a NIfTI file and judge its header, before any voxel is read."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError, MissingDataError
from flairnb.geometry import spacing_mm, voxel_volume_mm3

if TYPE_CHECKING:
    import nibabel as nib

MIN_VOXELS_PER_AXIS = 4
MAX_VOXELS = 1024**3
SPACING_LIMITS_MM = (0.1, 25.0)

# The volume of a voxel over the product of its edges: 1 for right angles, 0.87 for a gantry tilted by 30 degrees.
_MIN_VOXEL_FRACTION = 0.1
# Deflate never packs more than 1032 bytes into one; bzip2 and Zstandard have no such limit.
_PACKING = {".nii": 1, ".img": 1, ".gz": 1040}
_FORMS_APART_MM = 1.0
_SFORM_FIELDS = ("sform_code", "srow_x", "srow_y", "srow_z")
_QFORM_FIELDS = ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")


def open_nifti(path: Path, what: str) -> nib.spatialimages.SpatialImage:
    """Open a file and check all that its header says; no voxel is read.

    Raises
    ------
    MissingDataError
        The file does not exist.
    InputError
        It is no NIfTI file, cannot be read, is shorter than its header says,
        or holds no 3D scalar image with the voxels of a head examination.
    """
    _check_file(path, what)
    image = _load(path, what)
    _check_type(image, path, what)
    _check_shape(image, path, what)
    _check_length(image, path, what)
    _check_affine(np.asarray(image.affine, dtype=float), path, what)
    return image


def read_voxels(image: nib.spatialimages.SpatialImage, path: Path, what: str) -> NDArray[np.float32]:
    """Read the voxels, scaled as the header says, as a (I, J, K) float32 array.

    Raises
    ------
    InputError
        The file ends early or is damaged.
    """
    try:
        _check_gzip(image, path)
        # A value beyond float32 becomes infinite and is refused with the other infinite ones.
        with np.errstate(over="ignore", invalid="ignore"):
            data = np.asanyarray(image.dataobj)
            data = data.reshape(data.shape[:3])
            return np.ascontiguousarray(data, dtype=np.float32)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"{what}: expected {np.prod(image.shape)} voxels, cannot read them from {path.name} ({_reason(error, path)}). "
            "Copy or export it again."
        ) from error


def orientation_notes(header: nib.Nifti1Header, what: str) -> tuple[str, ...]:
    """Say what a reader should know about how a header places its image.

    Returns
    -------
    tuple of str
        Empty when sform and qform, as far as they are set, say the same.
    """
    codes = {name: int(header[f"{name}_code"]) > 0 for name in ("sform", "qform")}
    if not any(codes.values()):
        return (f"{what}: the header holds no orientation (sform and qform code 0): left and right, front and back may be exchanged",)
    if not all(codes.values()):
        return ()
    sform, qform = header.get_sform(), _qform(header)
    if qform is None:
        return (f"{what}: the header's qform is no rotation, or not of finite numbers; its sform was used",)
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        return (f"{what}: the header's sform and qform disagree about left and right; the sform was used. Check the side of every lesion",)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in header.get_data_shape()[:3]], indexing="ij")).reshape(3, -1)
    apart = float(np.linalg.norm(((sform - qform) @ np.vstack([corners, np.ones(8)]))[:3], axis=0).max())
    if apart > _FORMS_APART_MM:
        return (f"{what}: the header's sform and qform differ by up to {apart:.0f} mm; the sform was used",)
    return ()


def copy_forms(source: nib.Nifti1Header, target: nib.Nifti1Header) -> None:
    """Repeat a header's placement field by field: sform, qform, their codes, voxel edges and units.

    A qform that places nothing, and edges that are no numbers, are not
    repeated: the qform's code is 0 then, the edges stay the target's own.
    """
    is_placed = _qform(source) is not None
    for name in _SFORM_FIELDS:
        target[name] = source[name]
    for name in _QFORM_FIELDS:
        target[name] = source[name] if is_placed else 0
    if np.isfinite(source["pixdim"][:4]).all():
        target["pixdim"][:4] = source["pixdim"][:4]
    target["xyzt_units"] = source["xyzt_units"]


def _qform(header: nib.Nifti1Header) -> NDArray[np.float64] | None:
    """Return a header's qform, (4, 4), whatever its code; None if it is no rotation or not finite."""
    try:
        with np.errstate(all="ignore"):
            qform = header.get_qform()
    except ValueError:
        return None
    return qform if np.isfinite(qform).all() else None


def _check_file(path: Path, what: str) -> None:
    try:
        is_there, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
    except PermissionError as error:
        raise InputError(f"{what}: expected a readable file, may not enter the folder of {path.name}. Change permissions.") from error
    except OSError as error:
        name = path.name if len(path.name) < 80 else f"{path.name[:77]}..."
        raise InputError(f"{what}: expected a NIfTI file, found no usable path in {name!r} ({error.strerror}). Rename it.") from error
    if not is_there:
        raise MissingDataError(f"{what}: expected a NIfTI file, found nothing at {path}. Check the path.")
    if is_folder:
        raise InputError(f"{what}: expected a NIfTI file, found the folder {path.name}. Name the .nii.gz file in it.")
    if not is_file:
        raise InputError(f"{what}: expected a NIfTI file, found a device or pipe at {path.name}. Save the image to a file first.")
    try:
        path.open("rb").close()  # nibabel takes a file that it may not read for one of unknown type
    except OSError as error:
        raise InputError(f"{what}: expected a readable file, may not read {path.name}. Change its permissions.") from error


def _load(path: Path, what: str) -> nib.spatialimages.SpatialImage:
    import nibabel as nib

    try:
        with _quiet(nib.imageglobals.logger), np.errstate(all="ignore"):
            image = nib.load(path)
    except Exception as error:
        raise InputError(f"{what}: expected a NIfTI file (.nii, .nii.gz), cannot read {path.name} ({_reason(error, path)}).") from error
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair)):
        raise InputError(f"{what}: expected a NIfTI file, found {type(image).__name__} in {path.name}. Convert it to .nii.gz.")
    return image


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep nibabel's word on repaired headers off stderr, where a problem is to take one line."""
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _check_type(image: nib.spatialimages.SpatialImage, path: Path, what: str) -> None:
    try:
        dtype = image.get_data_dtype()
    except Exception as error:
        raise InputError(f"{what}: expected a known number type, found another in {path.name} ({_reason(error, path)}).") from error
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise InputError(f"{what}: expected one real number per voxel, found {dtype} in {path.name}. Export magnitude images.")


def _check_shape(image: nib.spatialimages.SpatialImage, path: Path, what: str) -> None:
    shape = image.shape
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


def _check_length(image: nib.spatialimages.SpatialImage, path: Path, what: str) -> None:
    """Refuse a file that cannot hold its voxels, before memory is asked for them."""
    begin, least = int(image.dataobj.offset), int(getattr(image.header, "single_vox_offset", 0))
    if image.header["magic"].item().startswith(b"n+") and begin < least:
        raise InputError(
            f"{what}: expected voxels from byte {least} on, found a header that places them at byte {begin} in {path.name}: "
            "they would be read out of the header. Export it again."
        )
    wanted = float(np.prod([float(n) for n in image.shape])) * image.get_data_dtype().itemsize
    holder = Path(image.file_map["image"].filename or path)
    length = holder.stat().st_size if holder.is_file() else 0
    packing = _PACKING.get(holder.suffix.lower(), np.inf)
    if length * packing < begin + wanted:
        raise InputError(
            f"{what}: expected {wanted:.0f} bytes of voxels for shape {image.shape}, found {length} bytes in {path.name}: "
            "it was cut off. Copy or export it again."
        )


def _check_gzip(image: nib.spatialimages.SpatialImage, path: Path) -> None:
    """Unpack a compressed file to its end: the checksum stands there, and readers stop before it."""
    holder = Path(image.file_map["image"].filename or path)
    if holder.suffix.lower() == ".gz":
        with gzip.open(holder) as stream:
            while stream.read(1 << 22):
                pass


def _check_affine(affine: NDArray[np.float64], path: Path, what: str) -> None:
    edges = spacing_mm(affine) if np.isfinite(affine).all() else np.zeros(3)
    if edges.min() <= 0 or voxel_volume_mm3(affine) < max(1e-9, _MIN_VOXEL_FRACTION * float(edges.prod())):
        raise InputError(f"{what}: expected an invertible voxel-to-world matrix, found a singular one in {path.name}. Export it again.")
    low, high = SPACING_LIMITS_MM
    if edges.min() < low or edges.max() > high:
        raise InputError(
            f"{what}: expected voxel edges of {low:g} to {high:g} mm, found {' x '.join(f'{e:.3g}' for e in edges)} mm in {path.name}. "
            "Check the header's units."
        )


def _reason(error: Exception, path: Path) -> str:
    """Return an error's first line, without the folder of the file: folders may bear a patient's name, and reasons stand on pages."""
    folder = "" if path.parent == Path() else f"{path.parent}{os.sep}"
    text = (str(error).replace(folder, "") if folder else str(error)).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:120]
