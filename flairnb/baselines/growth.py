"""LGA's region growing: lesion belief spreads from seeds by a Markov random field.

Written from the description in Schmidt et al., NeuroImage 2012;59:3774, not
from the program. Voxels are worked on as a list with a table of their
neighbours: a fraction of a head can ever become lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

_FACES = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])
_TINY = 1e-12


@dataclass(frozen=True)
class Likelihoods:
    """Where the normal tissue's FLAIR intensities come from.

    Attributes
    ----------
    values : (n,) float array
        FLAIR of all voxels with a tissue label.
    classes : (n,) int array
        0 CSF, 1 grey, 2 white matter.
    at : (m,) int array
        Place of each candidate voxel in `values`, -1 for none.
    """

    values: NDArray[np.float64]
    classes: NDArray[np.intp]
    at: NDArray[np.intp]


def neighbour_sum(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the sum over the six face neighbours of each voxel (0 outside the array)."""
    padded = np.pad(np.asarray(values, dtype=np.float64), 1)
    inner = tuple(slice(1, -1) for _ in range(values.ndim))
    out = np.zeros(values.shape, dtype=np.float64)
    for axis in range(values.ndim):
        for shift in (0, 2):
            place = list(inner)
            place[axis] = slice(shift, shift + values.shape[axis])
            out += padded[tuple(place)]
    return out


def fit_gamma(values: NDArray[np.floating], tolerance: float = 1e-4) -> tuple[float, float]:
    """Fit a Gamma distribution by maximum likelihood (Newton steps).

    Parameters
    ----------
    values : (n,) float array
        Above 0, at least two different ones.
    tolerance : float
        Relative change of the shape at which to stop.

    Returns
    -------
    shape, rate : float
        The mean is shape / rate.
    """
    values = np.maximum(np.asarray(values, dtype=float), _TINY)
    mean = float(values.mean())
    gap = max(float(np.log(mean) - np.log(values).mean()), 1e-6)
    shape = 0.5 / gap
    for _ in range(100):
        step = (np.log(shape) - special.digamma(shape) - gap) / (1 / shape - special.polygamma(1, shape))
        new = shape - step if shape - step > 0 else shape / 2
        done = abs(new - shape) <= tolerance * shape
        shape = float(new)
        if done:
            break
    return shape, shape / mean


def gamma_density(values: NDArray[np.floating], shape: float, rate: float) -> NDArray[np.float64]:
    """Return the Gamma density of positive values."""
    values = np.maximum(values, _TINY)
    return np.exp(shape * np.log(rate) - special.gammaln(shape) + (shape - 1) * np.log(values) - rate * values)


def grow(
    belief: NDArray[np.floating], seeds: NDArray[np.bool_], flair: NDArray[np.floating], p0: NDArray[np.floating], phi: float = 1.0
) -> NDArray[np.float64]:
    """Grow lesion belief from seeds over voxels that may be lesion.

    Parameters
    ----------
    belief : (A, B, C) float array
        Smoothed belief map; only voxels above 0 can become lesion.
    seeds : (A, B, C) bool array
    flair : (A, B, C) float array
        Intensities, above 0 in tissue.
    p0 : (A, B, C) float array
        Partial-volume labels; voxels above 0 are tissue.
    phi : float
        Strength of the neighbours.

    Returns
    -------
    (A, B, C) float array
        0..1, lesion belief; 1 at seeds.

    Notes
    -----
    One round: Gamma(FLAIR) of voxels above .5, a mixture of three Gaussians
    of the others; voxels at the rim with belief get
    ``belief * gamma / mixture * exp(phi (2 s - 6))``, s the sum of their six
    neighbours, at most 1. Black fields of a chessboard first, white ones then
    see them; only rim voxels whose neighbours summed to more than 1 before
    the round take part. At most 50 rounds, or until none gains more than .01.
    """
    out = np.zeros(belief.shape, dtype=np.float64)
    if not seeds.any():
        return out
    may = (belief > 0) | seeds
    where = np.argwhere(may)
    flat = np.flatnonzero(may)
    number = np.full(belief.size + 1, len(flat), dtype=np.intp)
    number[flat] = np.arange(len(flat))
    level = np.append(seeds.ravel()[flat].astype(float), 0.0)
    tissue = _likelihoods(flair, p0, flat)
    neighbours = _neighbour_table(where, belief.shape, number)
    parity = where.sum(axis=1) % 2
    strength, bright = np.asarray(belief, float).ravel()[flat], np.asarray(flair, float).ravel()[flat]
    for _ in range(50):
        odds = _odds(level[:-1], strength, bright, tissue)
        if _round(level, odds, (neighbours, parity, strength > 0), phi) <= 0.01:
            break
    out.ravel()[flat] = level[:-1]
    return out


def _round(
    level: NDArray[np.float64],
    odds: NDArray[np.float64],
    layout: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]],
    phi: float,
) -> float:
    """Update `level` in place by one round of two half-passes; return the largest new value."""
    neighbours, parity, believed = layout
    before = level[neighbours].sum(axis=1)
    rim = (level[:-1] == 0) & believed & (before > 1)
    largest = 0.0
    for half in (0, 1):
        chosen = np.flatnonzero(rim & (parity == half))
        if chosen.size:
            around = level[neighbours[chosen]].sum(axis=1)
            new = np.minimum(odds[chosen] * np.exp(phi * (2 * around - 6)), 1.0)
            level[chosen] = new
            largest = max(largest, float(new.max()))
    return largest


def _neighbour_table(where: NDArray[np.intp], shape: tuple[int, ...], number: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for each listed voxel the list places of its six neighbours (the last place for none)."""
    size = int(np.prod(shape))
    table = np.empty((len(where), 6), dtype=np.intp)
    for n, step in enumerate(_FACES):
        beside = where + step
        inside = ((beside >= 0) & (beside < shape)).all(axis=1)
        index = np.full(len(where), size, dtype=np.intp)
        index[inside] = np.ravel_multi_index(tuple(beside[inside].T), shape)
        table[:, n] = number[index]
    return table


def _likelihoods(flair: NDArray[np.floating], p0: NDArray[np.floating], flat: NDArray[np.intp]) -> Likelihoods:
    labels, values = p0.ravel(), np.asarray(flair, float).ravel()
    tissue = np.flatnonzero(labels > 0)
    place = np.full(labels.size, -1, dtype=np.intp)
    place[tissue] = np.arange(len(tissue))
    classes = np.digitize(labels[tissue], [1.5, 2.5])
    return Likelihoods(values[tissue], classes, place[flat])


def _odds(level: NDArray, strength: NDArray, bright: NDArray, tissue: Likelihoods) -> NDArray[np.float64]:
    """Return belief times the likelihood ratio of lesion to normal tissue for each listed voxel."""
    lesion = level > 0.5
    values = bright[lesion]
    if values.size < 2 or np.ptp(values) < _TINY:
        return strength.copy()
    shape, rate = fit_gamma(values)
    normal = np.ones(tissue.values.size, dtype=bool)
    normal[tissue.at[lesion & (tissue.at >= 0)]] = False
    density = np.zeros(bright.shape)
    for k in range(3):
        members = tissue.values[normal & (tissue.classes == k)]
        if members.size > 1:
            sd = max(float(members.std()), 1e-6)
            weight = members.size / max(int(normal.sum()), 1)
            density += weight / (sd * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((bright - members.mean()) / sd) ** 2)
    return strength * gamma_density(bright, shape, rate) / np.maximum(density, _TINY)


def clean(level: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fill voxels that lesion surrounds, drop voxels that stand alone.

    A voxel below 1 with more than 18 of 26 neighbours above .01 becomes 1; a
    voxel without a face neighbour above .01 becomes 0.
    """
    on = level > 0.01
    around = ndimage.convolve(on.astype(np.int16), np.ones((3, 3, 3), np.int16), mode="constant") - on
    out = np.where((level < 1) & (around > 18), 1.0, level)
    return np.where(neighbour_sum(out > 0.01) > 0, out, 0.0)
