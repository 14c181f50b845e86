"""Simulated readers: the reference mask, and a second radiologist's.

The reference (`manual`) is what the slices show of the true lesion. The second
reader (`manual2`) is **simulated**: borders drawn a little elsewhere, some
small lesions missed, a few added. On all 92 simulated validation cases (seed
2019, heads of 2 mm) the median Dice between both readers is 0.812, the mean
0.762, the median sensitivity 0.824, the median PPV 0.825, where the article
prints 0.805, 0.759, 0.800 and 0.824 (Table 2). Its habits were calibrated on
earlier heads, every second case; the article's asymmetry (sensitivity 0.800
below PPV 0.824) is no longer reached. They are not a measurement of any person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.geometry import mask_box


@dataclass(frozen=True)
class ReaderHabits:
    """How a simulated second reader differs; calibrated, see the module.

    Attributes
    ----------
    border_mm : float
        Standard deviation of the border's local displacement.
    habit_mm : float
        Standard deviation over cases of the displacement of all borders
        (a generous or a strict day).
    strict_mm : float
        By how much the second reader's borders lie inside the first's on
        average (the article: sensitivity 0.800, PPV 0.824).
    depth_mm : float
        Half thickness of the lesions that these numbers are for; they grow with
        its square root, as large lesions have the less certain borders.
    smooth_mm : float
        How far along the border a displacement reaches.
    miss_ml : float
        Lesions of this volume are missed with `miss_fraction`; smaller ones
        more often, larger ones soon never.
    miss_fraction : float
    false_lesions : float
        Mean number of small lesions added to a case.
    """

    border_mm: float = 1.35
    habit_mm: float = 0.35
    strict_mm: float = 0.08
    depth_mm: float = 6.0
    smooth_mm: float = 5.0
    miss_ml: float = 0.1
    miss_fraction: float = 0.35
    false_lesions: float = 1.0


def reference_mask(
    fraction: NDArray[np.float32], spacing_mm: ArrayLike = (1.0, 1.0, 1.0), threshold: float = 0.5, visible: float = 0.3
) -> NDArray[np.bool_]:
    """Return the lesion as a reader outlines it on the slices.

    A reader draws the border half-way between lesion and surroundings. Where
    the lesion fills the slice that is half of a voxel's volume; where a thick
    slice dilutes it, less: the cut falls with the peak nearby (3 mm) from
    0.5 at a peak of 1 to 0.26 at `visible`, which keeps volumes right on
    average, and fainter spots are not seen. Where all is fainter, the strongest spot is outlined: the reader
    knows that the patient is ill and searches.

    Parameters
    ----------
    fraction : (I, J, K) float array
        Share of each voxel that is lesion (`scanner.sample_fraction`).
    spacing_mm : (3,) array_like
        Voxel edges.

    Returns
    -------
    (I, J, K) bool array
    """
    from scipy import ndimage

    mask = np.zeros(fraction.shape, dtype=bool)
    found = fraction > threshold * visible
    if found.any():
        box = mask_box(found)
        window = [2 * int(3.0 / s) + 1 for s in np.asarray(spacing_mm, dtype=float)]
        peak = ndimage.maximum_filter(fraction[box], size=window, mode="constant")
        mask[box] = (peak >= visible) & (fraction[box] > threshold * (0.3 + 0.7 * peak))
    return mask if mask.any() else fraction > max(float(fraction.max()) / 2, 0.01)


def second_reader(
    reference: NDArray[np.bool_],
    spacing_mm: ArrayLike,
    brain: NDArray[np.bool_],
    rng: np.random.Generator,
    habits: ReaderHabits | None = None,
    bright: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return a simulated second reader's mask.

    Parameters
    ----------
    reference : (I, J, K) bool array
        First reader, in the FLAIR's grid.
    spacing_mm : (3,) array_like
        Voxel edges.
    brain : (I, J, K) bool array
        Borders stay inside it.
    rng : Generator
    habits : ReaderHabits, optional
    bright : (I, J, K) bool array, optional
        Where a reader might believe in a lesion that is none; `brain` if absent.

    Returns
    -------
    (I, J, K) bool array
    """
    habits = habits or ReaderHabits()
    spacing = np.asarray(spacing_mm, dtype=float)
    seen = _forget_small(reference, float(spacing.prod()) / 1000.0, rng, habits)
    drawn = _redraw_borders(seen, spacing, rng, habits) & (brain | reference)
    for _ in range(int(rng.poisson(habits.false_lesions))):
        drawn |= _false_lesion(brain & ~reference, spacing, rng, bright)
    return drawn


def _forget_small(reference: NDArray[np.bool_], voxel_ml: float, rng: np.random.Generator, habits: ReaderHabits) -> NDArray[np.bool_]:
    from scipy import ndimage

    if not reference.any():
        return reference
    box = mask_box(reference)
    labels, n = ndimage.label(reference[box], structure=np.ones((3, 3, 3)))
    volume_ml = np.bincount(labels.ravel())[1:] * voxel_ml
    missed = rng.random(n) < habits.miss_fraction * np.exp(1.0 - volume_ml / habits.miss_ml)
    # Nobody returns an empty drawing for a patient with lesions: the largest is always seen.
    missed[int(volume_ml.argmax())] = False
    seen = np.zeros_like(reference)
    seen[box] = np.concatenate([[False], ~missed])[labels]
    return seen


def _redraw_borders(mask: NDArray[np.bool_], spacing: NDArray, rng: np.random.Generator, habits: ReaderHabits) -> NDArray[np.bool_]:
    """Move the border along its normal by a smooth random field; slices are drawn nearly one by one."""
    from scipy import ndimage

    out = np.zeros_like(mask)
    if not mask.any():
        return out
    reach = tuple(int(np.ceil(4.0 / s)) for s in spacing)
    box = mask_box(np.pad(mask, [(r, r) for r in reach]), max(reach))
    padded = np.pad(mask, [(r, r) for r in reach])[box]
    inside = ndimage.distance_transform_edt(padded, sampling=spacing)
    outside, nearest = ndimage.distance_transform_edt(~padded, sampling=spacing, return_indices=True)
    # Distances are to voxel centres; half the finest edge puts zero on the border.
    half = spacing.min() / 2
    signed = np.where(padded, inside - half, half - outside)
    labels, n = ndimage.label(padded, structure=np.ones((3, 3, 3)))
    depth = np.concatenate([[1.0], ndimage.maximum(inside, labels, np.arange(1, n + 1))])
    scale = np.clip(np.sqrt(depth / habits.depth_mm), 0.4, 2.0)[labels][tuple(nearest)].astype(np.float32)
    field = ndimage.gaussian_filter(rng.standard_normal(padded.shape).astype(np.float32), habits.smooth_mm / spacing)
    field *= habits.border_mm / max(float(field.std()), 1e-6)
    moved = signed + scale * (field + np.float32(rng.normal(-habits.strict_mm, habits.habit_mm))) > 0
    # A lesion that was seen keeps its core, however small it is.
    lost = 1 + np.flatnonzero(np.bincount(labels[moved], minlength=n + 1)[1:] == 0)
    if len(lost):
        deepest = ndimage.maximum_position(inside + 1e-3 * field, labels, lost)
        moved[tuple(np.array(deepest).T)] = True
    whole = np.zeros([n + 2 * r for n, r in zip(mask.shape, reach, strict=True)], dtype=bool)
    whole[box] = moved
    return whole[tuple(slice(r, r + n) for r, n in zip(reach, mask.shape, strict=True))]


def _false_lesion(
    candidates: NDArray[np.bool_], spacing: NDArray, rng: np.random.Generator, bright: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """A small ellipsoid around a candidate (a bright one), one or two slices high."""
    out = np.zeros_like(candidates)
    at = np.flatnonzero((candidates if bright is None else candidates & bright).ravel())
    if not len(at):
        return out
    centre = np.array(np.unravel_index(int(rng.choice(at)), candidates.shape))
    radius = np.maximum(rng.uniform(1.5, 3.0, 3), 0.6 * spacing)
    reach = np.ceil(radius / spacing).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, candidates.shape)
    grid = np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij", sparse=True)
    inside = sum(((g - c) * s / r) ** 2 for g, c, s, r in zip(grid, centre, spacing, radius, strict=True)) <= 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    out[box] = inside & candidates[box]
    return out
