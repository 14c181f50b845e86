"""Where the slices of a DICOM series lie, and which of them each voxel of a converted volume comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.errors import GeometryError

# Positions are written with few digits; a slice that is nearer to its place than this is in it.
_POSITION_MM, _POSITION_FRACTION = 0.02, 0.02
_ANGLE = 1e-3
_OFF_VOXEL = 0.05
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Frame:
    """One slice: its file, its place in a multi-frame file, and where it lies in the patient (DICOM's LPS, mm)."""

    path: Path
    index: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_mm: tuple[float, ...]
    rows: int
    columns: int


@dataclass(frozen=True)
class Stack:
    """The slices of a series as one volume.

    Attributes
    ----------
    frames : tuple of Frame
        In the order of their positions along the normal of the slices.
    affine : (4, 4) float array
        (slice, row, column) to RAS+ world, mm.
    """

    frames: tuple[Frame, ...]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        return len(self.frames), self.frames[0].rows, self.frames[0].columns


def stack_frames(frames: Sequence[Frame]) -> Stack:
    """Put the slices of a series in order and check that they make a volume.

    Raises
    ------
    GeometryError
        Slices of several sizes or directions, several at one place, uneven
        distances (a slice is missing), or a stack that leans.
    """
    first = frames[0]
    if len({(f.rows, f.columns) for f in frames}) > 1 or any(not _near(f.pixel_mm, first.pixel_mm, _ANGLE) for f in frames):
        raise GeometryError("slices of several sizes")
    if any(not _near(f.orientation, first.orientation, _ANGLE) for f in frames):
        raise GeometryError("slices of several orientations")
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    lengths = [float(np.linalg.norm(v)) for v in (across, down)]
    if not _near(lengths, (1, 1), 0.01) or abs(float(across @ down)) > 0.01:
        raise GeometryError("row and column directions that are not at right angles")
    if len(frames) < 2:
        raise GeometryError("a single slice")
    normal = np.cross(across, down)
    order = sorted(frames, key=lambda f: float(normal @ np.array(f.position)))
    positions = np.array([f.position for f in order], dtype=float)
    step = _even_step(positions, normal)
    lps = np.eye(4)
    lps[:3, :3] = np.column_stack([step, down * first.pixel_mm[0], across * first.pixel_mm[1]])
    lps[:3, 3] = positions[0]
    return Stack(tuple(order), _LPS_TO_RAS @ lps)


def orientation_word(orientation: ArrayLike) -> str:
    """Return ``axial``, ``sagittal``, ``coronal`` or, beyond some 37 degrees of all three, ``oblique``.

    Examples
    --------
    >>> orientation_word([1, 0, 0, 0, 0.98, 0.17])
    'axial'
    """
    cosines = np.asarray(orientation, dtype=float)
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())] if normal.max() >= 0.8 else "oblique"


@dataclass(frozen=True)
class WayBack:
    """How a volume's axes go over into (slice, row, column) of its source: by an exchange and by flips, nothing else.

    Attributes
    ----------
    axes : tuple of int
        ``axes[n]`` is the volume's axis along the source's axis n.
    flips : tuple of int
        The source's axes that run the other way in the volume.
    """

    axes: tuple[int, ...]
    flips: tuple[int, ...]

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return a (I, J, K) array as (slice, row, column)."""
        return np.flip(np.transpose(data, self.axes), self.flips)

    def affine(self, stack: Stack) -> NDArray[np.float64]:
        """Return the volume's (4, 4) voxel-to-RAS matrix, mm, as the positions of all slices have it."""
        index = np.diag([0.0, 0.0, 0.0, 1.0])  # of the volume to that of the source
        for n, axis in enumerate(self.axes):
            index[n, axis], index[n, 3] = (-1, stack.shape[n] - 1) if n in self.flips else (1, 0)
        return stack.affine @ index


def way_back(stack: Stack, shape: Sequence[int], affine: ArrayLike) -> WayBack:
    """Return the way from a converted volume to its source slices.

    Parameters
    ----------
    stack : Stack
    shape : (3,) int
        Of the volume.
    affine : (4, 4) array_like
        The volume's voxel-to-RAS matrix, mm.

    Raises
    ------
    GeometryError
        Not every voxel of the volume belongs to the pixel of a source slice.

    Notes
    -----
    A converter takes the distance of the slices from two of them, whose
    positions are rounded. So the volume has to lie on the slice at one end of
    the stack, and its distance to be right as far as positions are: far from
    that end it may lie beside its slices (see :meth:`WayBack.affine`).
    """
    source = np.array(stack.shape)
    volume = np.asarray(affine, dtype=float)
    turned = np.round(np.linalg.inv(_directions(volume)) @ _directions(stack.affine))
    fits = np.array_equal(np.abs(turned).sum(0), [1, 1, 1]) and np.array_equal(np.abs(turned).sum(1), [1, 1, 1])
    axes = tuple(int(a) for a in np.abs(turned).argmax(0)) if fits else (0, 1, 2)
    way = WayBack(axes, tuple(n for n in range(3) if turned[axes[n], n] < 0))
    off = _off_voxels(stack, way, volume)
    step_mm = float(np.linalg.norm(stack.affine[:3, 0]))
    is_on = off[1:].max() <= _OFF_VOXEL and off[0].min() <= _OFF_VOXEL
    is_even = abs(float(np.linalg.norm(volume[:3, axes[0]])) - step_mm) <= _position_tolerance(step_mm)
    is_whole = tuple(shape[a] for a in axes) == tuple(source)
    if not (fits and is_on and is_even and is_whole):
        beside = "turned against them" if not fits else f"up to {min(off.max(), 1e3):.2f} voxels beside them" if is_whole else "another one"
        raise GeometryError(
            f"DICOM: expected a converted volume on the pixels of its {source[0]} slices of {source[1]} x {source[2]}, found shape "
            f"{tuple(int(n) for n in shape)}, {beside}. Convert it by hand and give the NIfTI file."
        )
    return way


def _directions(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def _off_voxels(stack: Stack, way: WayBack, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far a volume lies beside its source, voxels: (3, 2) for the source's axes, in its first and last slice."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in stack.shape], indexing="ij")).reshape(3, -1)
    found, expected = (np.linalg.inv(matrix) @ stack.affine for matrix in (affine, way.affine(stack)))
    off = np.abs((found - expected)[:3] @ np.vstack([corners, np.ones(8)]))
    return off[list(way.axes)].reshape(3, 2, 4).max(axis=2)


def _position_tolerance(step_mm: float) -> float:
    return max(_POSITION_MM, _POSITION_FRACTION * step_mm)


def _even_step(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    along = np.diff(positions @ normal)
    usual = float(np.median(along))
    tolerance = _position_tolerance(usual)
    if along.min() < tolerance:
        raise GeometryError("several images at one slice position")
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    if along.max() > usual + tolerance or along.min() < usual - tolerance:
        kind = "missing slices" if along.max() > 1.5 * usual else "uneven distances between slices"
        raise GeometryError(f"{kind} ({along.max():.2f} mm apart at one place, {usual:.2f} mm at others)")
    if np.linalg.norm(step - normal * (normal @ step)) * (len(positions) - 1) > 2 * tolerance + 0.05:
        raise GeometryError("slices that are shifted against each other")
    fit = positions[0] + np.arange(len(positions))[:, None] * step
    if np.abs(positions - fit).max() > 2 * tolerance:
        raise GeometryError("slices that do not lie on a line")
    return step


def _near(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=0, atol=tolerance))
