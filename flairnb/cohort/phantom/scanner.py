"""Scanner model: slices placed on a patient, and the way from head to image.

Drawing is separate from applying: a `Protocol` (`protocol.py`) says what is
acquired, an `Acquisition` where the slices lie on this patient, and `acquire`
runs slice profile, k-space (`kspace.py`) and conversion to integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.cohort.phantom.kspace import receive_field, through_k_space
from flairnb.cohort.phantom.protocol import Protocol
from flairnb.errors import InputError
from flairnb.geometry import Grid, mask_box, spacing_mm

#: Direction of row, column and slice of an acquisition in RAS+ world.
_PLANES = {
    "axial": np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]).T,
    "sagittal": np.array([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]]).T,
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]]).T,
}
_SUBSLICE_MM = 1.3


@dataclass(frozen=True)
class Acquisition:
    """A protocol placed on a patient.

    Attributes
    ----------
    protocol : Protocol
    slices : int
    affine : (4, 4) float array
        Acquisition voxel (row, column, slice; *acquired* matrix) to scanner world, mm.
    pose : (4, 4) float array
        Head world (the anatomy's) to scanner world, mm; rigid.
    grid : Grid
        The stored image's grid in scanner world.
    """

    protocol: Protocol
    slices: int
    affine: NDArray[np.float64]
    pose: NDArray[np.float64]
    grid: Grid


def rigid(rotation_deg: ArrayLike, translation_mm: ArrayLike) -> NDArray[np.float64]:
    """Return a rigid (4, 4) matrix: rotations about x, y, z in degrees (applied x first), then a shift."""
    out = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(np.asarray(rotation_deg, dtype=float))):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(4)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[b, a], turn[a, b] = np.sin(angle), -np.sin(angle)
        out = turn @ out
    out[:3, 3] = translation_mm
    return out


def draw_pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw how the patient lies: head world to scanner world, (4, 4), mm."""
    return rigid(rng.normal(0, [5.0, 2.5, 3.0]), rng.normal(0, [4.0, 10.0, 12.0]))


def draw_movement(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a small movement between two series: scanner world to scanner world, (4, 4), mm."""
    return rigid(rng.normal(0, 1.2, 3), rng.normal(0, 1.5, 3))


def prescribe(protocol: Protocol, brain: NDArray[np.bool_], affine: ArrayLike, pose: NDArray, rng: np.random.Generator) -> Acquisition:
    """Place slices on a brain as a technologist does: centred, tilted a little, whole brain covered.

    Parameters
    ----------
    protocol : Protocol
    brain : (I, J, K) bool array
        Brain of the head to be scanned.
    affine : (4, 4) array_like
        Voxel of `brain` to head world, mm.
    pose : (4, 4) array
        Head world to scanner world.
    rng : Generator
        Draws tilt and off-centre.
    """
    if not brain.any():
        raise InputError("brain: expected a brain to place slices on, found an empty mask. Check the anatomy.")
    spread = [6.0, 1.5, 1.5] if protocol.dimension == "2D" else [1.5, 1.0, 1.0]
    tilt = rigid(rng.normal([-4.0 if protocol.dimension == "2D" else 0.0, 0, 0], spread), (0, 0, 0))[:3, :3]
    axes = pose[:3, :3] @ tilt @ _PLANES[protocol.plane]
    points = _corners(brain, np.asarray(affine, dtype=float))
    along = axes.T @ (pose @ np.vstack([points, np.ones(points.shape[1])]))[:3]
    low, high = along.min(axis=1), along.max(axis=1)
    # Nobody lets the head wrap: the field of view grows with it (scalp and skull take some 15 to 25 mm a side).
    room = [22.0 if abs(axis[0]) > 0.7 else 30.0 for axis in _PLANES[protocol.plane].T[:2]]
    view = tuple(float(max(v, h - w + 2 * r)) for v, h, w, r in zip(protocol.field_of_view_mm, high, low, room, strict=False))
    protocol = replace(protocol, field_of_view_mm=view)
    pitch = protocol.slice_mm + protocol.gap_mm
    margin = 6.0 if protocol.dimension == "2D" else 24.0
    slices = int(np.ceil((high[2] - low[2] + 2 * margin * rng.uniform(0.6, 1.2)) / pitch))
    slices = max(slices, 6)
    step = np.array([*(v / n for v, n in zip(protocol.field_of_view_mm, protocol.matrix, strict=True)), pitch])
    count = np.array([*protocol.matrix, slices])
    centre = (low + high) / 2 + rng.normal(0, [3.0, 4.0, 1.5])
    affine_acquired = np.eye(4)
    affine_acquired[:3, :3] = axes * step
    affine_acquired[:3, 3] = axes @ (centre - step * (count - 1) / 2)
    return Acquisition(protocol, slices, affine_acquired, np.asarray(pose, dtype=float), _stored_grid(protocol, affine_acquired, slices))


def _corners(mask: NDArray[np.bool_], affine: NDArray) -> NDArray:
    """World positions (3, N) of some surface voxels of a mask: enough for its extent along any axis."""
    at = np.argwhere(mask[::4, ::4, ::4]) * 4
    return (affine[:3, :3] @ at.T) + affine[:3, 3:4] if len(at) else (affine @ [*np.argwhere(mask)[0], 1.0])[:3, None]


def _storage_axes(storage: str, affine: NDArray) -> list[tuple[int, bool]]:
    """Return for each stored axis the acquisition axis and whether it is flipped."""
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    out = []
    for letter in storage:
        world = "LRPAIS".index(letter) // 2
        axis = int(np.abs(direction[world]).argmax())
        out.append((axis, (direction[world, axis] > 0) != (letter in "RAS")))
    return out


def _stored_grid(protocol: Protocol, acquired: NDArray, slices: int) -> Grid:
    # Zero filling keeps the first sample where it was and divides the step.
    recon = np.array([*protocol.reconstruction, slices])
    fine = acquired.copy()
    fine[:3, :3] *= np.array([*protocol.matrix, slices]) / recon
    axes = _storage_axes(protocol.storage, acquired)
    shape = tuple(int(recon[a]) for a, _ in axes)
    out = np.eye(4)
    for i, (a, flipped) in enumerate(axes):
        out[:3, i] = -fine[:3, a] if flipped else fine[:3, a]
    first = np.zeros(3)
    for a, flipped in axes:
        first[a] = recon[a] - 1 if flipped else 0
    out[:3, 3] = fine[:3, :3] @ first + fine[:3, 3]
    return Grid(shape, out)


def _store(data: NDArray, acquisition: Acquisition) -> NDArray:
    axes = _storage_axes(acquisition.protocol.storage, acquisition.affine)
    out = data.transpose([a for a, _ in axes])
    return np.ascontiguousarray(out[tuple(slice(None, None, -1) if f else slice(None) for _, f in axes)])


def slice_profile(protocol: Protocol, subslices: int) -> NDArray[np.float64]:
    """Return the weights of sub-slices around a slice's centre; odd length, sum 1.

    Parameters
    ----------
    protocol : Protocol
    subslices : int
        Sub-slices per slice distance (thickness plus gap).
    """
    if protocol.profile == "none":
        return np.ones(1)
    step = (protocol.slice_mm + protocol.gap_mm) / subslices
    reach = max(1, int(np.ceil(0.95 * protocol.slice_mm / step)))
    at = np.abs(np.arange(-reach, reach + 1) * step) / protocol.slice_mm
    weight = np.exp(-4 * np.log(2) * at**2) if protocol.profile == "gaussian" else np.clip((0.65 - at) / 0.3, 0, 1)
    return weight / weight.sum()


def _sample_acquired(acquisition: Acquisition, data: NDArray, affine: NDArray) -> NDArray[np.float32]:
    """Average a head map over each slice's profile, on the acquired matrix; zero outside the map."""
    from scipy import ndimage

    protocol = acquisition.protocol
    pitch = protocol.slice_mm + protocol.gap_mm
    subslices = 1 if protocol.profile == "none" else max(3, round(pitch / max(_SUBSLICE_MM, 0.9 * float(spacing_mm(affine).min()))))
    weight = slice_profile(protocol, subslices)
    reach = len(weight) // 2
    out = np.zeros((*protocol.matrix, acquisition.slices), dtype=np.float32)
    box = mask_box(data != 0, 1)
    to_head = np.linalg.inv(affine) @ np.linalg.inv(acquisition.pose) @ acquisition.affine
    window = _reached(box, to_head, out.shape, pitch)
    if window is None:
        return out
    fine = (window[2].stop - window[2].start - 1) * subslices + 1 + 2 * reach
    step = np.eye(4)
    step[2, 2] = 1.0 / subslices
    step[:3, 3] = [window[0].start, window[1].start, window[2].start - reach / subslices]
    matrix = to_head @ step
    offset = matrix[:3, 3] - [b.start for b in box]
    shape = (window[0].stop - window[0].start, window[1].stop - window[1].start, fine)
    source = np.ascontiguousarray(data[box], dtype=np.float32)
    # Slices first in memory: the weighted sum then runs over whole planes.
    planes = ndimage.affine_transform(
        source, matrix[:3, [2, 0, 1]], offset, output_shape=(shape[2], *shape[:2]), output=np.float32, order=1, mode="constant"
    )
    last = (window[2].stop - window[2].start - 1) * subslices + 1
    total = sum(w * planes[i : i + last : subslices] for i, w in enumerate(weight.astype(np.float32)))
    out[window] = total.transpose(1, 2, 0)
    return out


def _reached(box: tuple[slice, ...], to_head: NDArray, shape: tuple[int, ...], pitch: float) -> tuple[slice, slice, slice] | None:
    """Return the part of the acquisition that a box of the head can touch."""
    del pitch
    corners = np.array(np.meshgrid(*[(b.start - 1, b.stop) for b in box], indexing="ij")).reshape(3, -1)
    at = (np.linalg.inv(to_head) @ np.vstack([corners, np.ones(8)]))[:3]
    low = np.maximum(np.floor(at.min(axis=1)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(at.max(axis=1)).astype(int) + 2, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)) if (low < high).all() else None  # type: ignore[return-value]


def sample_fraction(acquisition: Acquisition, data: NDArray, affine: ArrayLike) -> NDArray[np.float32]:
    """Return a head map as the slices see it, without noise, on the stored grid.

    For a membership map (0 to 1) this is the partial-volume fraction of each
    stored voxel.

    Parameters
    ----------
    acquisition : Acquisition
    data : (I, J, K) array
        Map on the head's grid; zero outside.
    affine : (4, 4) array_like
        Head voxel to head world, mm.

    Returns
    -------
    (stored grid) float32 array
    """
    out = _sample_acquired(acquisition, data, np.asarray(affine, dtype=float))
    for axis, (acquired, wanted) in enumerate(zip(acquisition.protocol.matrix, acquisition.protocol.reconstruction, strict=True)):
        if acquired != wanted:
            at = np.minimum(np.arange(wanted) * (acquired / wanted), acquired - 1)
            low = np.minimum(at.astype(int), acquired - 2)
            share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            out = np.take(out, low, axis=axis) * (1 - share) + np.take(out, low + 1, axis=axis) * share
    return _store(out, acquisition)


def acquire(
    acquisition: Acquisition, signal: NDArray, affine: ArrayLike, white_matter: float, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Scan a head.

    Slice profile, receive field, k-space with motion and ghosts, filter and
    zero filling, complex noise (so the magnitude is Rician), integers.

    Parameters
    ----------
    acquisition : Acquisition
    signal : (I, J, K) float array
        Noise-free signal of the head (`signal.head_signal`).
    affine : (4, 4) array_like
        Head voxel to head world, mm.
    white_matter : float
        Signal of white matter, the reference for noise and scaling.
    rng : Generator

    Returns
    -------
    (stored grid) int16 array
    """
    protocol = acquisition.protocol
    image = _sample_acquired(acquisition, signal, np.asarray(affine, dtype=float)) / np.float32(white_matter)
    image *= receive_field(image.shape, protocol, rng)
    if protocol.dimension == "2D":
        image *= (1 + 0.01 * rng.standard_normal(acquisition.slices)).astype(np.float32)
    magnitude = through_k_space(image, protocol, rng)
    counts = np.clip(np.rint(magnitude * protocol.white_matter_counts), 0, 32767).astype(np.int16)
    return _store(counts, acquisition)
