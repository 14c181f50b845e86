"""Correct a lesion mask by a few strokes, and save it as a new mask that says where it came from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.errors import InputError
from flairnb.geometry import canonical_axes, spacing_mm

if TYPE_CHECKING:
    import os

    from flairnb.images import Image

#: A region that grows farther than this has left the lesion.
REACH_MM = 25.0
#: Nor is more than this added at a time. Erased is as much as there is.
LARGEST_ML = 200.0


class Correction:
    """A lesion mask being corrected.

    Points are world coordinates in RAS+ mm, as the viewers show them; the
    mask lies on the FLAIR's own grid.

    Parameters
    ----------
    flair : Image
    mask : (I, J, K) bool array
        What is corrected; never changed itself.
    method : str
        Whose mask it is.
    """

    def __init__(self, flair: Image, mask: NDArray[np.bool_], method: str) -> None:
        self.flair, self.method = flair, method
        self.mask: NDArray[np.bool_] = np.array(mask, dtype=bool)
        self._before: list[NDArray[np.bool_]] = []
        self.edits: list[dict[str, Any]] = []
        self._saved: NDArray[np.bool_] = self.mask

    @property
    def unsaved(self) -> bool:
        """Whether the mask differs from what was given or last saved."""
        return not np.array_equal(self.mask, self._saved)

    def brush(self, centre_mm: ArrayLike, radius_mm: float, add: bool = True) -> float:
        """Add or erase a ball; return by how many ml the mask changed.

        The voxel at the centre always counts, however thick its slice is.
        """
        if not 0 < radius_mm <= REACH_MM:
            raise InputError(f"brush: expected a radius above 0 and up to {REACH_MM:g} mm, received {radius_mm:g}.")
        ball = self._distance(centre_mm) <= radius_mm
        ball[self._voxel(centre_mm)] = True
        return self._change(self.mask | ball if add else self.mask & ~ball, "add" if add else "erase", centre_mm, radius_mm=radius_mm)

    def stroke(self, points_mm: ArrayLike, radius_mm: float, add: bool = True, in_slice: bool = True) -> float:
        """Add or erase what a brush touches on its way along points; return by how many ml the mask changed.

        Parameters
        ----------
        points_mm : (n, 3) array_like
            The brush's way, straight from point to point; 1 point is a dab.
            Points outside the image are left out, with the way to and from them.
        radius_mm : float
        add : bool
            False erases.
        in_slice : bool
            Only the axial slice that the first point lies in; else a ball
            goes along, through slices.

        Raises
        ------
        InputError
            When no point lies in the image, or for a radius that is no brush's.
        """
        if not 0 < radius_mm <= REACH_MM:
            raise InputError(f"brush: expected a radius above 0 and up to {REACH_MM:g} mm, received {radius_mm:g}.")
        way = np.asarray(points_mm, dtype=float).reshape(-1, 3)
        parts = self._inside(way)
        touched = np.zeros(self.mask.shape, dtype=bool)
        for part in parts:
            starts, ends = (part, part) if len(part) == 1 else (part[:-1], part[1:])
            for start, end in zip(starts, ends, strict=True):
                self._touch(touched, start, end, radius_mm, in_slice)
        changed, action = (self.mask | touched, "paint") if add else (self.mask & ~touched, "wipe")
        points = sum(map(len, parts))
        return self._change(changed, action, parts[0][0], radius_mm=radius_mm, points=points, in_slice=in_slice)

    def _inside(self, way: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Return the parts of a way that run inside the image, at least one: no line joins where it left and where it came back."""
        inside = np.array([self._is_inside(self._nearest(point)) for point in way], dtype=bool)
        if not inside.any():
            raise InputError(f"correction: expected a stroke inside the image, received {len(way)} points outside. Draw on the slice.")
        cuts = np.flatnonzero(np.diff(inside)) + 1
        return [part for part, kept in zip(np.split(way, cuts), np.split(inside, cuts), strict=True) if kept[0]]

    def _touch(self, touched: NDArray[np.bool_], start: NDArray, end: NDArray, radius_mm: float, in_slice: bool) -> None:
        """Mark the voxels within the radius of a line; the voxels at its ends always."""
        first, last = (np.array(self._voxel(point)) for point in (start, end))
        reach = np.ceil(radius_mm / spacing_mm(self.flair.affine)).astype(int) + 1
        low = np.maximum(np.minimum(first, last) - reach, 0)
        high = np.minimum(np.maximum(first, last) + reach + 1, self.mask.shape)
        if in_slice:
            axis = int(canonical_axes(self.flair.affine)[0][2])
            low[axis], high[axis] = first[axis], first[axis] + 1
        at = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), axis=-1)
        world = at @ self.flair.affine[:3, :3].T + self.flair.affine[:3, 3]
        along = end - start
        share = np.clip((world - start) @ along / max(float(along @ along), 1e-9), 0.0, 1.0)
        away = np.linalg.norm(world - start - share[..., None] * along, axis=-1)
        touched[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= away <= radius_mm
        touched[tuple(first)] = True
        if not in_slice:
            touched[tuple(last)] = True

    def erase_lesion(self, at_mm: ArrayLike) -> float:
        """Erase the whole connected region at a point; nothing where there is none."""
        from flairnb.evaluate.components import label_lesions

        labels, _ = label_lesions(self.mask)
        number = labels[self._voxel(at_mm)]
        return self._change(self.mask & (labels != number) if number else self.mask, "erase lesion", at_mm)

    def grow(self, at_mm: ArrayLike, tolerance_fraction: float = 0.15) -> float:
        """Add the connected region around a point whose voxels are about as bright as it.

        Parameters
        ----------
        at_mm : (3,) array_like
        tolerance_fraction : float
            Of the point's brightness (median with its neighbours in its slice).
        """
        from scipy import ndimage

        from flairnb.evaluate.components import slice_axis

        at, across = self._voxel(at_mm), slice_axis(self.flair.affine)
        near = tuple(slice(n, n + 1) if axis == across else slice(max(0, n - 1), n + 2) for axis, n in enumerate(at))
        bright = float(np.median(self.flair.data[near]))
        alike = np.abs(self.flair.data - bright) <= tolerance_fraction * abs(bright)
        alike &= self._distance(at_mm) <= REACH_MM
        alike[at] = True
        labels, _ = ndimage.label(alike)
        return self._change(self.mask | (labels == labels[at]), "grow", at_mm, tolerance_fraction=tolerance_fraction)

    def undo(self) -> bool:
        """Take the last change back; False when there is none."""
        if not self._before:
            return False
        self.mask = self._before.pop()
        self.edits.pop()
        return True

    def save(self, folder: str | os.PathLike, stem: str, reader: str, source: str | os.PathLike) -> Path:
        """Write the corrected mask and its side-car; an earlier one is never overwritten.

        Parameters
        ----------
        folder : path
        stem : str
            The case's file stem.
        reader : str
        source : path
            File of the mask that was corrected.

        Returns
        -------
        Path
            ``<stem>_label-lesion_desc-corrected_mask.nii.gz``, or
            ``desc-corrected2`` and so on. On the FLAIR's grid: a row's
            `reference_mask` in a cohort for `flairnb train --init`.
        """
        from flairnb.images import write_image
        from flairnb.naming import derivative_path
        from flairnb.provenance import sha256_file, write_sidecar

        if not reader.strip():
            raise InputError("reader: expected initials or a pseudonym, received nothing. Fill in who reads.")
        number, path = 1, derivative_path(folder, stem, "mask", label="lesion", desc="corrected")
        while path.exists():
            number += 1
            path = derivative_path(folder, stem, "mask", label="lesion", desc=f"corrected{number}")
        write_image(path, self.mask, self.flair, np.uint8)
        sources = [source, *([self.flair.path] if self.flair.path else [])]
        extra = {
            "CorrectedFrom": self.method,
            "SourceSha256": {Path(name).name: sha256_file(name) for name in sources},
            "Reader": reader.strip(),
            "TimeUtc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Edits": self.edits,
        }
        write_sidecar(path, sources, extra=extra)
        self._saved = self.mask
        return path

    def _change(self, changed: NDArray[np.bool_], action: str, at_mm: ArrayLike, **how: Any) -> float:
        ml = (int(changed.sum()) - int(self.mask.sum())) * self.flair.voxel_volume_ml
        if ml > LARGEST_ML:
            raise InputError(
                f"{action}: expected the mask to grow by up to {LARGEST_ML:g} ml at a time, found {ml:.0f} ml. "
                "Lower the tolerance, or take a smaller brush."
            )
        self._before.append(self.mask)
        self.mask = changed
        self.edits.append({"action": action, "at_mm": [round(float(v), 2) for v in np.asarray(at_mm)], **how, "ml": round(ml, 4)})
        return ml

    def _voxel(self, world_mm: ArrayLike) -> tuple[int, int, int]:
        voxel = self._nearest(world_mm)
        if not self._is_inside(voxel):
            raise InputError(f"correction: expected a point inside the image, received {np.round(np.asarray(world_mm), 1).tolist()} mm.")
        return voxel

    def _nearest(self, world_mm: ArrayLike) -> tuple[int, int, int]:
        """Return the voxel at a point, maybe one that the image does not have."""
        voxel = np.linalg.inv(self.flair.affine) @ [*np.asarray(world_mm, dtype=float), 1.0]
        i, j, k = np.round(voxel[:3]).astype(int)
        return int(i), int(j), int(k)

    def _is_inside(self, voxel: tuple[int, int, int]) -> bool:
        return all(0 <= n < size for n, size in zip(voxel, self.flair.shape, strict=True))

    def _distance(self, world_mm: ArrayLike) -> NDArray[np.float64]:
        """Return each voxel's distance from a point in mm; infinite outside the reach, to be quick."""
        centre = np.array(self._voxel(world_mm))
        steps = np.ceil(REACH_MM / spacing_mm(self.flair.affine)).astype(int) + 1
        box = tuple(slice(max(0, c - s), c + s + 1) for c, s in zip(centre, steps, strict=True))
        out = np.full(self.flair.shape, np.inf)
        at = np.stack(np.meshgrid(*[np.arange(b.start, min(b.stop, n)) for b, n in zip(box, self.flair.shape, strict=True)], indexing="ij"))
        away = np.tensordot(self.flair.affine[:3, :3], at, axes=1) + (self.flair.affine[:3, 3] - np.asarray(world_mm))[:, None, None, None]
        out[box] = np.linalg.norm(away, axis=0)
        return out
