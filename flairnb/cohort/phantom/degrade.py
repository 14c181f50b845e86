"""What a scanner, its slices and an imperfect brain mask do to a training head.

All steps keep the isotropic grid: slices are averaged along an axis and
brought back by linear interpolation, as `prepare` does with thick slices; the
lesion mask takes the same way, because readers draw on the slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.cohort.phantom.anatomy import Anatomy
from flairnb.cohort.phantom.noise import smooth_field
from flairnb.cohort.phantom.tissue import PARENCHYMA, Tissue, is_in
from flairnb.geometry import near_distance


@dataclass(frozen=True)
class Slicing:
    """Thickness and distance of slices along one axis, both in mm; in-plane pixel in mm."""

    axis: int
    thickness_mm: float
    distance_mm: float
    pixel_mm: float


def draw_slicing(rng: np.random.Generator, spacing_mm: float) -> Slicing:
    """Draw 2D slices of 2 to 8 mm (mostly axial) or a 3D acquisition."""
    if rng.random() < 0.38:
        edge = rng.uniform(0.9, 1.4)
        return Slicing(2, float(edge), float(edge), float(edge))
    axis = int(rng.choice(3, p=(0.08, 0.08, 0.84)))
    thickness = float(rng.choice((rng.uniform(2, 3.5), rng.uniform(3.5, 6), rng.uniform(6, 8))))
    return Slicing(axis, thickness, thickness * float(rng.choice((1.0, rng.uniform(1.0, 1.3)))), float(rng.uniform(0.45, 1.6)))


def slice_matrices(
    length: int, spacing_mm: float, thickness_mm: float, distance_mm: float, offset: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the matrices that average into slices and interpolate back.

    Returns
    -------
    down : (S, N) float32 array
        Smooth slice profile (Gaussian with the thickness as its full width at
        half maximum); rows add up to 1.
    up : (N, S) float32 array
        Linear interpolation between slice centres, constant beyond them.
    """
    extent = length * spacing_mm
    count = max(2, int(extent // distance_mm))
    centres = (np.arange(count) + 0.5 + offset) * distance_mm - 0.5 * spacing_mm
    positions = np.arange(length) * spacing_mm
    sigma = max(thickness_mm / 2.355, 0.3 * spacing_mm)
    down = np.exp(-0.5 * ((positions[None] - centres[:, None]) / sigma) ** 2)
    down /= down.sum(axis=1, keepdims=True) + 1e-12
    at = np.clip((positions - centres[0]) / distance_mm, 0, count - 1)
    low = np.minimum(at.astype(int), count - 2)
    up = np.zeros((length, count))
    up[np.arange(length), low] = 1 - (at - low)
    up[np.arange(length), low + 1] = at - low
    return down.astype(np.float32), up.astype(np.float32)


def along(matrix: NDArray[np.float32], data: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Multiply a matrix into one axis of a volume."""
    return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix, data, axes=(1, axis)), 0, axis))


def acquire_isotropic(
    rng: np.random.Generator, image: NDArray[np.float32], weight: NDArray[np.float32], anatomy: Anatomy
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Scan a head and prepare it.

    Parameters
    ----------
    image : (I, J, K) float32 array
        Noiseless FLAIR, white matter near 1.
    weight : (I, J, K) float32 array
        Lesion membership.
    anatomy : Anatomy

    Returns
    -------
    image, mask, brain : (I, J, K) arrays
        Degraded image; lesion mask as drawn on the slices; imperfect brain mask.
    """
    step = anatomy.spacing_mm
    slicing = draw_slicing(rng, step)
    image = image * np.exp(
        rng.choice((rng.uniform(0, 0.08), rng.uniform(0, 0.28)), p=(0.6, 0.4)) * smooth_field(rng, image.shape, rng.uniform(40, 80) / step)
    )
    if slicing.pixel_mm > 0.6 * step:
        image = ndimage.gaussian_filter(image, 0.35 * slicing.pixel_mm / step)
    level = rng.uniform(0.38, 0.55)  # how generous the reader is with partial volume
    noise_sd = float(np.exp(rng.uniform(np.log(0.005), np.log(0.09))))
    if slicing.distance_mm > 1.2 * step:
        down, up = slice_matrices(image.shape[slicing.axis], step, slicing.thickness_mm, slicing.distance_mm, rng.uniform(-0.5, 0.5))
        image, weight = along(down, image, slicing.axis), along(down, weight, slicing.axis)
        image = _artefacts(rng, image, slicing.axis)
        image = rician(rng, image, noise_sd, step)
        image = along(up, image, slicing.axis)
        mask = along(up, (weight > level).astype(np.float32), slicing.axis) > 0.5
    else:
        image = rician(rng, _artefacts(rng, image, 2), noise_sd, step)
        mask = ndimage.gaussian_filter(weight, 0.3) > level
    brain = imperfect_brain(rng, anatomy)
    return _store(rng, image, brain), mask, brain


def rician(rng: np.random.Generator, image: NDArray[np.float32], sd: float, step: float) -> NDArray[np.float32]:
    """Add Rician noise; at coarse voxels it has been averaged, at times it is correlated."""
    real, imaginary = (rng.standard_normal(image.shape, dtype=np.float32) * sd for _ in range(2))
    if rng.random() < 0.5:
        sigma = rng.uniform(0.3, 0.8)
        real, imaginary = (ndimage.gaussian_filter(n, sigma) * (1 + 1.5 * sigma) for n in (real, imaginary))
    return np.hypot(image + real, imaginary)


def _artefacts(rng: np.random.Generator, image: NDArray[np.float32], slice_axis: int) -> NDArray[np.float32]:
    phase = int(rng.choice([a for a in range(3) if a != slice_axis]))
    if rng.random() < 0.15:  # ghosts: shifted, faint copies along the phase direction
        shift = image.shape[phase] // int(rng.integers(2, 5))
        image = image + rng.uniform(0.01, 0.06) * np.roll(image, shift, axis=phase)
    if rng.random() < 0.12:  # motion: some phase-encoding lines see a moved head
        image = _motion(rng, image, phase)
    if rng.random() < 0.3 and slice_axis == 2:  # slice-to-slice gain, as interleaved 2D shows
        gains = 1 + rng.normal(0, rng.uniform(0.005, 0.03), image.shape[slice_axis]).astype(np.float32)
        shape = [1, 1, 1]
        shape[slice_axis] = -1
        image = image * gains.reshape(shape)
    return image


def _motion(rng: np.random.Generator, image: NDArray[np.float32], phase: int) -> NDArray[np.float32]:
    n = image.shape[phase]
    spectrum = np.fft.fft(image, axis=phase)
    frequency = np.fft.fftfreq(n)
    moved = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        start = rng.uniform(0.03, 0.4)
        moved[(np.abs(frequency) > start) & (np.abs(frequency) < start + rng.uniform(0.02, 0.12))] = rng.normal(0, 1.5)
    shape = [1, 1, 1]
    shape[phase] = -1
    turn = np.exp(-2j * np.pi * frequency * moved).reshape(shape)
    return np.abs(np.fft.ifft(spectrum * turn, axis=phase)).astype(np.float32)


def imperfect_brain(rng: np.random.Generator, anatomy: Anatomy) -> NDArray[np.bool_]:
    """Return the brain mask with the mistakes of real brain extraction."""
    step = anatomy.spacing_mm
    style = rng.random()
    brain = anatomy.brain
    if style < 0.2:  # tight masks cut away the outer CSF
        inside = is_in(anatomy.tissue, *PARENCHYMA, Tissue.VENTRICLE, Tissue.CHOROID)
        brain = ndimage.binary_fill_holes(ndimage.binary_closing(inside, iterations=max(1, round(2 / step))))
    if style > 0.45:  # uneven surface: cut in here, scalp or dura left in there
        reach = int(np.ceil(7.0 / step))
        signed = (near_distance(brain, reach) - near_distance(~brain, reach)) * step
        offset = rng.normal(0, 1.5) + rng.uniform(0.3, 2.5) * smooth_field(rng, brain.shape, rng.uniform(12, 35) / step)
        brain = signed < np.clip(offset, -4.5, 6.0)
    if rng.random() < 0.25:  # the neck and the lowest brain are often cut
        low = np.flatnonzero(brain.any((0, 1)))[0]
        brain = brain.copy()
        brain[:, :, : low + int(rng.uniform(0, 22) / step)] = False
    if rng.random() < 0.05:  # partial field of view at the top
        high = np.flatnonzero(brain.any((0, 1)))[-1]
        brain = brain.copy()
        brain[:, :, high - int(rng.uniform(0, 15) / step) :] = False
    return brain


def _store(rng: np.random.Generator, image: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Gamma, clipping and 8-bit storage, as some archives have it."""
    top = max(float(np.percentile(image[brain], 99.9)), 1e-3)
    if rng.random() < 0.3:
        image = top * np.clip(image / top, 0, None) ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.25:
        ceiling = np.percentile(image[brain], rng.uniform(98.5, 99.9))
        image = np.round(np.clip(image / ceiling, 0, 1) * 255) / 255 * ceiling
    return image.astype(np.float32)
