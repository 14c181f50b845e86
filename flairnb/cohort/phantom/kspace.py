"""What a scanner adds to a perfect image: fields, motion, ghosts, noise, inflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flairnb.cohort.phantom.protocol import Protocol


def receive_field(shape: tuple[int, ...], protocol: Protocol, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a smooth positive field, mean about 1: drift of the coils, and brightening of the centre."""
    u, v, w = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    linear = rng.normal(0, protocol.bias, 3).astype(np.float32)
    square = rng.normal(0, protocol.bias, 6).astype(np.float32)
    log_field = linear[0] * u + linear[1] * v + linear[2] * w
    log_field = log_field + square[0] * u * v + square[1] * v * w + square[2] * u * w
    log_field = log_field + square[3] * u * u + square[4] * v * v + 0.7 * square[5] * w * w
    radius = u * u + v * v + w * w * (0.3 if protocol.dimension == "2D" else 1.0)
    log_field = log_field + np.float32(protocol.centre) * (np.exp(-radius / np.float32(0.25)) - np.float32(0.35))
    return np.exp(log_field - log_field.mean())


def through_k_space(image: NDArray[np.float32], protocol: Protocol, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the magnitude image (rows, columns, slices) on the reconstructed matrix."""
    from scipy import fft

    lines, reads = protocol.matrix
    k = fft.fft2(np.ascontiguousarray(image.transpose(2, 0, 1)), axes=(1, 2))
    f_line, f_read = fft.fftfreq(lines).astype(np.float32), fft.fftfreq(reads).astype(np.float32)
    if protocol.motion > 0:
        _displace_lines(k, f_line, f_read, protocol, rng)
    if protocol.ghost > 0:
        period = int(rng.integers(2, 6))
        order = np.argsort(np.argsort(f_line))
        k *= (1 + protocol.ghost * np.cos(2 * np.pi * order / period + rng.uniform(0, 6.28))).astype(np.float32)[None, :, None]
    # White noise of the acquired matrix; its size refers to the image before the filter.
    sigma = np.float32(np.sqrt(lines * reads) / protocol.snr)
    noise = rng.standard_normal((2, *k.shape), dtype=np.float32)
    k += sigma * (noise[0] + 1j * noise[1])
    # A scanner's mild apodisation: rolls off beyond `start` of the sampled band.
    start = 0.35 + 0.6 * protocol.gibbs
    radius = np.maximum(np.abs(2 * f_line)[:, None], np.abs(2 * f_read)[None, :])
    roll = np.clip((radius - start) / max(1e-3, 1.15 - start), 0, 1)
    k *= (np.cos(0.5 * np.pi * roll) ** 2).astype(np.float32)[None]
    rows, columns = protocol.reconstruction
    if (rows, columns) != (lines, reads):
        k = _zero_fill(k, rows, columns)
    out = np.abs(fft.ifft2(k, axes=(1, 2))) * np.float32(rows * columns / (lines * reads))
    return np.ascontiguousarray(out.transpose(1, 2, 0))


def _zero_fill(k: NDArray, rows: int, columns: int) -> NDArray:
    out = np.zeros((k.shape[0], rows, columns), dtype=k.dtype)
    a, b = min(rows, k.shape[1]) // 2, min(columns, k.shape[2]) // 2
    for i in (slice(0, a), slice(-a, None)):
        for j in (slice(0, b), slice(-b, None)):
            out[:, i, j] = k[:, i, j]
    return out


def _displace_lines(k: NDArray, f_line: NDArray, f_read: NDArray, protocol: Protocol, rng: np.random.Generator) -> None:
    """Shift the head during a share of the outer phase-encoding lines, in place (2D: some slices only)."""
    outer = np.flatnonzero(np.abs(f_line) > 0.06)
    for s in range(k.shape[0]):
        if protocol.dimension == "2D" and rng.random() < 0.4:
            continue
        n = max(2, int(protocol.motion * len(f_line)))
        first = int(rng.integers(0, max(1, len(outer) - n)))
        moved = outer[first : first + n]
        shift = rng.normal(0, 1.5, 2)
        phase = np.exp(-2j * np.pi * (f_line[moved][:, None] * shift[0] + f_read[None, :] * shift[1]))
        k[s, moved] *= phase.astype(np.complex64)


def add_csf_inflow(
    signal: NDArray[np.float32], fluid: NDArray[np.bool_], full: float, amount: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a FLAIR signal with bright CSF where fresh fluid flowed in.

    Patches of the ventricles and cisterns, more of them low in the head (basal
    cisterns, fourth and third ventricle), as 2D FLAIR shows.

    Parameters
    ----------
    signal : (I, J, K) float32 array
        K runs from inferior to superior.
    fluid : (I, J, K) bool array
        CSF.
    full : float
        Signal of CSF that was never inverted, capped by the caller as it likes.
    amount : float
        0 none to 1: share of `full` in the strongest patches.
    """
    from scipy import ndimage

    at = np.flatnonzero(fluid.ravel())
    if amount <= 0 or not len(at):
        return signal
    where = np.array(np.unravel_index(at, fluid.shape), dtype=np.float32)
    coarse = ndimage.gaussian_filter(rng.standard_normal([max(4, n // 8) for n in fluid.shape]), 1.0)
    coarse /= coarse.std()
    scale = np.array([(c - 1) / max(1, n - 1) for c, n in zip(coarse.shape, fluid.shape, strict=True)], dtype=np.float32)
    patch = ndimage.map_coordinates(coarse, where * scale[:, None], order=1, mode="nearest")
    height = (where[2] - where[2].min()) / max(1.0, float(np.ptp(where[2])))
    low = np.clip(1.25 - 1.6 * height, 0.0, 1.0)
    out = signal.copy()
    out.ravel()[at] += (amount * full * low * np.clip(patch - 0.4, 0, 1.2)).astype(np.float32)
    return out
