"""Training volumes on disk: arrays that are memory-mapped, never all in memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError
from flairnb.geometry import mask_box
from flairnb.provenance import atomic_path

IMAGE_SUFFIX = ".image.npy"
MASK_SUFFIX = ".mask.npy"


@dataclass(frozen=True)
class VolumeRecord:
    """One training volume: a name, its image and mask (arrays or ``.npy`` files), its voxel size.

    The image is z-scored FLAIR on the work grid, cropped to the brain's box, 0
    outside the brain, float16 or float32; the mask is uint8, 1 for lesion.
    """

    name: str
    image: NDArray | Path
    mask: NDArray | Path
    spacing_mm: float

    def open_image(self) -> NDArray:
        """Return the (I, J, K) image, memory-mapped if it is a file."""
        return _open(self.image)

    def open_mask(self) -> NDArray:
        """Return the (I, J, K) mask, memory-mapped if it is a file."""
        return _open(self.mask)

    def read_headers(self) -> None:
        """Read the files' headers once, so that `open_image` and `open_mask` do not: to be called before threads do.

        NumPy parses a header with `ast`, of which Python 3.11 can run one at a
        time only (cpython issue 106905): a training ended with "AST constructor
        recursion depth mismatch".
        """
        self.open_image()
        self.open_mask()

    @property
    def key(self) -> int:
        """A number from the name; random draws depend on it, not on the order of the records."""
        return zlib.crc32(self.name.encode())


class VolumeSource(Protocol):
    """Anything that lists training volumes; asked again at the start of every epoch."""

    def records(self) -> Sequence[VolumeRecord]:
        """Return the volumes there are now."""


@dataclass(frozen=True)
class ListSource:
    """A fixed list of records."""

    items: tuple[VolumeRecord, ...]

    def records(self) -> Sequence[VolumeRecord]:
        """Return the list."""
        return self.items


@dataclass(frozen=True)
class FolderSource:
    """All volumes in a folder, in the order of their names; it may grow while training runs.

    A volume is ``<name>.image.npy`` and ``<name>.mask.npy``; :func:`write_volume`
    writes the mask last, so a volume that is half written is not listed.

    Attributes
    ----------
    folder : Path
    spacing_mm : float
    prefix : str
        Only volumes whose names begin so.
    made_from : str
        What the volumes are made from, where that is known: a training goes on
        with volumes made from the same only.
    """

    folder: Path
    spacing_mm: float
    prefix: str = ""
    made_from: str = ""

    def records(self) -> Sequence[VolumeRecord]:
        """List the complete volumes."""
        found = []
        for mask in sorted(Path(self.folder).glob(f"[!.]*{MASK_SUFFIX}")):
            name = mask.name.removesuffix(MASK_SUFFIX)
            image = mask.with_name(name + IMAGE_SUFFIX)
            if name.startswith(self.prefix) and image.exists():
                found.append(VolumeRecord(name, image, mask, self.spacing_mm))
        return found


def write_volume(folder: str | Path, name: str, image: NDArray, mask: NDArray, brain: NDArray | None = None, half: bool = False) -> Path:
    """Crop a volume to its brain and write it for training.

    Parameters
    ----------
    folder, name
        Where, and as what; see :class:`FolderSource`.
    image : (I, J, K) float array
        Z-scored FLAIR on the work grid.
    mask : (I, J, K) bool or integer array
        Reference mask on the same grid; anything above 0 is lesion.
    brain : (I, J, K) bool array, optional
        Brain mask; where the image is not 0 if absent.
    half : bool
        Store the image as float16 (half the disk and page cache).

    Returns
    -------
    Path
        The mask's file, which is written last.
    """
    if image.shape != mask.shape or image.ndim != 3:
        raise InputError(f"{name}: expected a 3D image and its mask, found shapes {image.shape} and {mask.shape}.")
    inside = image != 0 if brain is None else np.asarray(brain, dtype=bool)
    box = mask_box(inside)
    cropped = np.where(inside[box], image[box], 0).astype(np.float16 if half else np.float32)
    folder = Path(folder)
    _save(folder / f"{name}{IMAGE_SUFFIX}", cropped)
    return _save(folder / f"{name}{MASK_SUFFIX}", (np.asarray(mask[box]) > 0).astype(np.uint8))


def as_source(volumes: VolumeSource | Sequence[VolumeRecord]) -> VolumeSource:
    """Accept a source or a plain sequence of records."""
    return volumes if hasattr(volumes, "records") else ListSource(tuple(volumes))


def _open(array: NDArray | Path) -> NDArray:
    if isinstance(array, np.ndarray):
        return array
    dtype, shape, offset, order = _layout(array, array.stat().st_mtime_ns)
    return np.memmap(array, dtype, "r", offset, shape, order)


@cache
def _layout(path: Path, _written_ns: int) -> tuple[np.dtype, tuple[int, ...], int, Literal["C", "F"]]:
    """Return type, shape, first byte and order of a ``.npy`` file's array."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.dtype, array.shape, array.offset, "F" if array.flags.fnc else "C"


def _save(path: Path, array: NDArray) -> Path:
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)
    return path
