"""Apply a trained network to one brain: the paper's tiles, or one pass."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError, SettingsError
from flairnb.geometry import Grid, box_affine, mask_box
from flairnb.resampling import resample

if TYPE_CHECKING:
    import keras

    from flairnb.settings import InferSettings

log = logging.getLogger(__name__)

HALO_VOX = 32
# How far smoothing before a coarser look can reach.
_REACH_VOX = 4
# By so much the box of a coarser look is larger than its brain's.
COARSER_MARGIN_VOX = 2
# Below this many voxels at its deepest level, a training patch is all border there: see `suited`.
FEWEST_AT_DEPTH = 4
# Peak memory of one pass, measured at width 4 to 16: this many float32 maps of `width` channels at full resolution.
MAPS_AT_ONCE = 7.5
RUNTIME_GB = 0.8

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Box = tuple[slice, slice, slice]


def predict(model: keras.Model, work: NDArray[np.float32], brain: NDArray[np.bool_], infer: InferSettings) -> NDArray[np.float32]:
    """Return the lesion probability of every brain voxel.

    Parameters
    ----------
    model : keras.Model
        From :func:`flairnb.network.unet.build_unet`, trained.
    work : (I, J, K) float32 array
        FLAIR on the work grid, z-scored inside the brain.
    brain : (I, J, K) bool array
        Brain mask on the same grid.
    infer : InferSettings
        ``tiled``: cubes of ``patch`` voxels every ``step`` voxels, averaged
        where they overlap (article, Image Preprocessing; 96 and 32).
        ``whole``: one pass over the brain's box, split with a halo where one
        pass would need more than ``memory_gb``. ``flips``: the mean of this and
        of the same for the mirrored volume (axis 0). ``coarser_look``: the mean
        of this and of the volume seen with voxels that many times larger.

    Returns
    -------
    (I, J, K) float32 array
        0 to 1 inside the brain, 0 outside. The same input, settings, machine
        and thread count give the same bits.

    Raises
    ------
    InputError
        The two arrays do not share a shape, or are not 3D.
    SettingsError
        Unknown method, or a patch the network cannot halve often enough.
    """
    return _apply(model, work, brain, infer, False)[0]


def predict_spread(
    model: keras.Model, work: NDArray[np.float32], brain: NDArray[np.bool_], infer: InferSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what `predict` returns, to the bit, and how far the looks that it is the mean of lie apart.

    Parameters and errors as in `predict`. The looks are the brain as it is, its
    mirror image (``flips``) and larger voxels (``coarser_look``).

    Returns
    -------
    probability, spread : (I, J, K) float32 array
        `spread` is the standard deviation (over n, not n - 1) of all that is
        known of a voxel, each look counting the same; in tiles, those that
        overlap there differ, too: the variance is that of the looks' means and
        the mean of their own. 0 to 0.5, 0 outside the brain and where there is
        one look only.
    """
    return _apply(model, work, brain, infer, True)


class Look(NamedTuple):
    """What one look at a brain's box gives: (i, j, k) lesion probability, and its variance between overlapping tiles (0 without)."""

    mean: NDArray[np.float32]
    variance: NDArray[np.float64] | float = 0.0

    def through(self, change: Callable[[NDArray], NDArray]) -> Look:
        """Return both arrays changed."""
        return Look(change(self.mean), change(self.variance) if isinstance(self.variance, np.ndarray) else self.variance)


def _apply(
    model: keras.Model, work: NDArray[np.float32], brain: NDArray[np.bool_], infer: InferSettings, wants_spread: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean of all looks and, if it is wanted, their spread (else zeros, and no look is kept)."""
    if work.ndim != 3 or work.shape != brain.shape:
        raise InputError(f"expected a 3D volume and its brain mask, found shapes {work.shape} and {brain.shape}.")
    if infer.method not in ("tiled", "whole"):
        raise SettingsError(f"infer.method: expected 'tiled' or 'whole', found {infer.method!r}.")
    if infer.method == "tiled":
        check_tiles(infer.patch, infer.step, size_multiple(model))
    brain = np.asarray(brain, dtype=bool)
    probability, spread = (np.zeros(work.shape, dtype=np.float32) for _ in range(2))
    if not brain.any():
        return probability, spread
    looks = _looks(model, np.where(brain, work, 0).astype(np.float32), brain, infer, wants_spread)
    if wants_spread:
        kept = list(looks)
        spread[brain] = _spread_of(kept)[brain]
        looks = iter(kept)
    found = next(looks).mean
    for look in looks:
        found = (found + look.mean) / 2
    probability[brain] = found[brain]
    return probability, spread


def check_tiles(patch: int, step: int, multiple: int) -> None:
    """Raise `SettingsError` for tiles that the network cannot halve often enough, or that leave gaps."""
    if patch % multiple or not 0 < step <= patch:
        raise SettingsError(f"infer.patch: expected a multiple of {multiple} and a step of 1 to patch, found patch {patch}, step {step}.")


def _looks(
    model: keras.Model, volume: NDArray[np.float32], brain: NDArray[np.bool_], infer: InferSettings, variance: bool
) -> Iterator[Look]:
    yield _once(model, volume, brain, infer, variance)
    if infer.flips:
        yield _once(model, volume[::-1], brain[::-1], infer, variance).through(lambda found: found[::-1])
    if infer.coarser_look > 1:
        yield _coarser(model, volume, brain, infer, variance)


def _spread_of(looks: Sequence[Look]) -> NDArray[np.float64]:
    between = np.var([look.mean for look in looks], axis=0, dtype=np.float64)
    return np.sqrt(between + sum(look.variance for look in looks) / len(looks))


def suited(infer: InferSettings, model: keras.Model, trained_patch: int) -> InferSettings:
    """Return the settings with tiles of the training patch's size where the network has only ever seen small patches.

    Parameters
    ----------
    infer : InferSettings
    model : keras.Model
    trained_patch : int
        Edge of the training patches, voxels; 0 if unknown.

    Returns
    -------
    InferSettings
        Tiles of the training patch's size at half its step, instead of one
        pass or of larger tiles, where that patch has fewer than
        `FEWEST_AT_DEPTH` voxels at the deepest level; else as given.

    Notes
    -----
    A patch of 32 voxels is 2 voxels wide at the deepest of four levels. With
    dilation 2 all taps but the central one of the convolution there lie
    outside, get no gradient and keep their random first values; one pass over
    a brain puts voxels under them. Two trainings of the demo had, on its 19
    simulated validation patients, a median Dice of 0.67 and 0.68 in tiles, but
    0.68 and 0.13 in one pass (means 0.47 and 0.45, 0.48 and 0.17).
    """
    if not 0 < trained_patch < FEWEST_AT_DEPTH * size_multiple(model) or (infer.method == "tiled" and infer.patch <= trained_patch):
        return infer
    return replace(infer, method="tiled", patch=trained_patch, step=max(1, trained_patch // 2))


def _once(
    model: keras.Model,
    volume: NDArray[np.float32],
    brain: NDArray[np.bool_],
    infer: InferSettings,
    variance: bool,
    margin_vox: int = 0,
) -> Look:
    """Look at the brain's box with a margin; the answer has the volume's shape."""
    multiple = size_multiple(model)
    box = look_box(brain, infer, multiple, margin_vox)
    beyond = [(0, max(0, side.stop - n)) for side, n in zip(box, volume.shape, strict=True)]
    inner = np.pad(volume, beyond)[box]
    if infer.method == "tiled":
        look = _tiled(forward_of(model), inner, (infer.patch, infer.step), variance)
    else:
        look = Look(_whole(forward_of(model), inner, infer.memory_gb, multiple, _width(model)))

    def back(part: NDArray) -> NDArray:
        out = np.zeros([n + after for n, (_, after) in zip(volume.shape, beyond, strict=True)], part.dtype)
        out[box] = part
        return out[tuple(slice(n) for n in volume.shape)]

    return look.through(back)


def look_box(brain: NDArray[np.bool_], infer: InferSettings, multiple: int, margin_vox: int = 0) -> Box:
    """Return what one look at a brain covers, in tiles or whole; it may stick out of the volume at its end."""
    box = mask_box(brain, margin_vox)
    return tiled_box(box, infer.patch, infer.step) if infer.method == "tiled" else lattice_box(box, multiple)


def look_boxes(brain: NDArray[np.bool_], infer: InferSettings, multiple: int) -> list[Box]:
    """Return what each look of `predict` covers, each on its own grid: as it is, its mirror image, with larger voxels."""
    boxes = [look_box(brain, infer, multiple)]
    if infer.flips:
        boxes.append(look_box(brain[::-1], infer, multiple))
    if infer.coarser_look > 1:
        inside = _coarser_brain(brain, infer.coarser_look)
        boxes += [look_box(inside, infer, multiple, COARSER_MARGIN_VOX)] if inside.any() else []
    return boxes


def lattice_box(box: Sequence[slice], multiple: int) -> Box:
    """Return a box, grown until its sides lie on multiples of a number of voxels; it may stick out of the volume at its end.

    So a voxel always lies at the same place in the cells that the network
    pools. With the brain's own box, a mask one voxel wider moved all of them:
    lesion masks from two brain masks that agree by 0.99 agreed by 0.96 only
    (0.99 now).

    Examples
    --------
    >>> lattice_box((slice(17, 20), slice(2, 33), slice(0, 48)), 16)
    (slice(16, 32, None), slice(0, 48, None), slice(0, 48, None))
    """
    return tuple(slice(side.start // multiple * multiple, -(-side.stop // multiple) * multiple) for side in box)  # type: ignore[return-value]


def tiled_box(box: Sequence[slice], patch: int, step: int) -> Box:
    """Return what the tiles over a box cover; it may stick out of the volume at its end."""
    starts = [tile_starts(side, patch, step) for side in box]
    return tuple(slice(one[0], one[-1] + patch) for one in starts)  # type: ignore[return-value]


def tile_starts(side: slice, patch: int, step: int) -> list[int]:
    """Return where the tiles over one side of a box begin: on multiples of the step, for the reason given at `lattice_box`.

    Examples
    --------
    >>> tile_starts(slice(10, 150), 96, 32)
    [0, 32, 64]
    >>> tile_starts(slice(40, 70), 96, 32)
    [32]
    """
    first = side.start // step * step
    return [first + step * number for number in range(-(-max(0, side.stop - first - patch) // step) + 1)]


def _coarser(model: keras.Model, volume: NDArray[np.float32], brain: NDArray[np.bool_], infer: InferSettings, variance: bool) -> Look:
    """Look at the brain with larger voxels, the first of both in one place, and bring the answer back to its own."""
    from scipy import ndimage

    factor, own = infer.coarser_look, Grid(volume.shape, np.eye(4))
    inside = _coarser_brain(brain, factor)
    if not inside.any():
        return Look(np.zeros(own.shape, np.float32))
    coarse, beyond = _coarser_grid(volume.shape, factor)
    volume, brain = (np.pad(part, beyond, mode="edge") for part in (volume, brain))
    box = mask_box(brain, _REACH_VOX)
    small = resample(ndimage.gaussian_filter(volume[box], 0.3 * (factor - 1)), box_affine(own.affine, box), coarse)
    found = _once(model, np.where(inside, small, 0).astype(np.float32), inside, infer, variance, COARSER_MARGIN_VOX)
    return found.through(lambda part: resample(part, coarse.affine, own))


def _coarser_grid(shape: Sequence[int], factor: float) -> tuple[Grid, list[tuple[int, int]]]:
    """Return the grid of larger voxels, and by how much the volume must be padded for it."""
    # The last of the larger voxels reaches over the centre of the last small one; its own centre may lie farther out.
    coarse = Grid(tuple(int(np.ceil((n - 1) / factor + 0.5)) for n in shape), np.diag([factor, factor, factor, 1.0]))
    return coarse, [(0, max(0, int(np.ceil((m - 1) * factor - (n - 0.5))))) for m, n in zip(coarse.shape, shape, strict=True)]


def _coarser_brain(brain: NDArray[np.bool_], factor: float) -> NDArray[np.bool_]:
    """Return the brain in larger voxels."""
    coarse, beyond = _coarser_grid(brain.shape, factor)
    brain = np.pad(brain, beyond, mode="edge")
    box = mask_box(brain, _REACH_VOX)
    return resample(brain[box], box_affine(np.eye(4), box), coarse) > 0.5


def size_multiple(model: keras.Model) -> int:
    """Return the number that every input size must be a multiple of (16 for four levels)."""
    return 2 ** sum(layer.name.endswith("_deconv") for layer in model.layers)


def _width(model: keras.Model) -> int:
    return int(model.get_layer("logits").kernel.shape[-2])


def compile_for(model: keras.Model) -> None:
    """Compile a model for `predict` before there is a volume, by a pass over the smallest one that it takes."""
    forward_of(model)(np.zeros((size_multiple(model),) * 3, np.float32))


@lru_cache(maxsize=2)
def forward_of(model: keras.Model) -> Forward:
    """Compile the model once for all sizes; (i, j, k) in, lesion probability (i, j, k) out."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, None, 1), tf.float32)])
    def lesion(x: Any) -> Any:
        return model(x, training=False)[0, ..., 1]

    return lambda volume: lesion(tf.constant(volume[None, ..., None])).numpy()


def _tiled(forward: Forward, volume: NDArray[np.float32], cubes: tuple[int, int], variance: bool) -> Look:
    """Look tile by tile at a volume that they cover exactly."""
    patch, step = cubes
    total, tiles = (np.zeros(volume.shape, dtype=np.float32) for _ in range(2))
    squares = np.zeros(volume.shape if variance else (), dtype=np.float64)
    for corner in itertools.product(*(range(0, n - patch + 1, step) for n in volume.shape)):
        tile = tuple(slice(first, first + patch) for first in corner)
        if volume[tile].any():
            found = forward(volume[tile])
            total[tile] += found
            if variance:
                squares[tile] += np.square(found, dtype=np.float64)
        tiles[tile] += 1
    mean = total / tiles
    if not variance:
        return Look(mean)
    return Look(mean, np.clip(squares / tiles - np.square(mean, dtype=np.float64), 0, None))


def _whole(forward: Forward, volume: NDArray[np.float32], memory_gb: float, multiple: int, width: int) -> NDArray[np.float32]:
    found = np.empty(volume.shape, dtype=np.float32)
    counts = split_counts(volume.shape, memory_gb, multiple, width)
    if np.prod(counts) > 1:
        log.info("whole: %s pieces, as one pass would need %.1f GB", counts, memory_needed_gb(volume.shape, width))
    for core, region in _pieces(volume.shape, counts, multiple):
        piece = forward(volume[region])
        inner = tuple(slice(c.start - r.start, c.stop - r.start) for c, r in zip(core, region, strict=True))
        found[core] = piece[inner]
    return found


def memory_needed_gb(shape: Sequence[int], width: int) -> float:
    """Estimate the peak memory of one pass, TensorFlow included, in GB."""
    return RUNTIME_GB + float(np.prod(shape)) * width * 4 * MAPS_AT_ONCE / 1e9


def split_counts(shape: Sequence[int], memory_gb: float, multiple: int, width: int) -> list[int]:
    """Return into how many pieces each axis is cut so that one pass fits `memory_gb`.

    The axis with the longest pieces is cut first. Pieces are never thinner
    than `multiple`; below that the limit is exceeded rather than refused.
    """
    counts = [1, 1, 1]
    while memory_needed_gb(_piece_shape(shape, counts), width) > memory_gb:
        cores = [n / c if n // (c + 1) >= multiple else 0 for n, c in zip(shape, counts, strict=True)]
        if not any(cores):
            break
        counts[int(np.argmax(cores))] += 1
    return counts


def _piece_shape(shape: Sequence[int], counts: Sequence[int]) -> list[int]:
    return [min(n, -(-n // c) + (2 * HALO_VOX if c > 1 else 0)) for n, c in zip(shape, counts, strict=True)]


def _pieces(shape: Sequence[int], counts: Sequence[int], multiple: int) -> Iterator[tuple[Box, Box]]:
    """Yield (core, region with halo); all borders lie on multiples of `multiple`."""
    halo = -(-HALO_VOX // multiple) * multiple
    edges = [
        [multiple * round(number * n / (count * multiple)) for number in range(count + 1)] for n, count in zip(shape, counts, strict=True)
    ]
    for at in np.ndindex(*counts):
        core = tuple(slice(e[a], e[a + 1]) for e, a in zip(edges, at, strict=True))
        yield core, tuple(slice(max(0, c.start - halo), min(n, c.stop + halo)) for c, n in zip(core, shape, strict=True))
