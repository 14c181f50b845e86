"""Which way to the brain mask: given, stripped input, T1w, FLAIR alone, or a guess."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import FlairnbError, InputError
from flairnb.geometry import Grid, fill_holes, isotropic_grid
from flairnb.images import Image
from flairnb.prepare.brain import BRAIN_LIMITS_ML, BrainExtraction, extract_brain
from flairnb.prepare.intensity import head_mask, smooth_sample, tame
from flairnb.prepare.n4 import bias_field, spread_field
from flairnb.prepare.pair import check_field_of_view, on_flair_grid, register_t1w
from flairnb.prepare.refine import Channels
from flairnb.prepare.slabs import sample_slabs
from flairnb.prepare.stripped import MAX_DARK_SHELL, dark_shell, looks_stripped, stripped_mask
from flairnb.provenance import StageTimer
from flairnb.settings import PrepareSettings

log = logging.getLogger(__name__)

# Dice of a given brain mask with the one found by the FLAIR alone. In nine real examinations the brain's own mask has 0.86 to 0.91 with
# itself 10 mm higher, 0.72 to 0.80 with itself 20 mm higher.
_LEAST_OVERLAP = 0.8
# Part of a given mask's volume that its holes must have to be worth a word; single voxels are missing in many.
_LARGE_HOLES = 0.01


@dataclass(frozen=True)
class FoundBrain:
    """A brain mask and how it was found.

    Attributes
    ----------
    mask : (I, J, K) bool array
        On the FLAIR's own grid.
    source : str
        ``"t1w"``, ``"flair"``, ``"given"``, ``"stripped"`` or ``"guess"``.
    t1w_xfm : (4, 4) float array or None
        FLAIR world to T1w world, RAS mm.
    notes : tuple of str
    """

    mask: NDArray[np.bool_]
    source: str
    t1w_xfm: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def find_brain(
    flair: Image,
    t1w: Image | None,
    brain_mask: NDArray[np.bool_] | None,
    skull_stripped: bool,
    settings: PrepareSettings,
    timer: StageTimer,
) -> FoundBrain:
    """Find the brain on the way that the input allows; see `prepare_case`."""
    notes: tuple[str, ...] = ()
    if brain_mask is not None:
        found = given_brain(flair, brain_mask)
        return replace(found, notes=(*found.notes, *_holes(flair, found.mask), *_contradicted(flair, found.mask, settings, timer)))
    if skull_stripped:
        with timer("brain"):
            mask = stripped_mask(flair)
            return _given(flair, mask, "stripped", _skull_below(flair, mask))
    if looks_stripped(flair):
        notes = ("the FLAIR looks skull-stripped already and was taken as such",)
        with timer("brain"):
            return _given(flair, stripped_mask(flair), "stripped", notes)
    check_field_of_view(flair, "FLAIR")
    grid = isotropic_grid(flair.shape, flair.affine, settings.working_spacing_mm)
    with timer("resample"):
        tamed = Image(tame(flair.data), flair.affine)
        flair_work = smooth_sample(tamed.data, flair.affine, grid)
    found = None
    if t1w is not None:
        found, xfm, more = _from_t1w(t1w, tamed, flair_work, grid, settings, timer)
        notes += more
    if found is not None:
        return FoundBrain(_to_flair(found, flair), "t1w", xfm, notes)
    found = _from_flair(tamed, flair_work, grid, settings, timer)
    source = "flair"
    if not is_plausible(found):
        source = "guess"
        notes += (f"brain extraction gave {found.volume_ml:.0f} ml, which no brain has: look at the brain mask before anything else",)
    return FoundBrain(_to_flair(found, flair), source, None, notes)


def given_brain(flair: Image, brain_mask: NDArray[np.bool_]) -> FoundBrain:
    """Return a given mask as the brain, with a note where no brain has its volume; the image is not asked."""
    return _given(flair, np.asarray(brain_mask) > 0, "given")


def _skull_below(flair: Image, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say so where what is called skull-stripped has a dark shell below its surface: a whole head may have a brain's volume."""
    if not mask.any() or dark_shell(flair, mask) < MAX_DARK_SHELL:
        return ()
    return ("the FLAIR was called skull-stripped, but something dark as a skull runs below its surface: is this a whole head?",)


def _holes(flair: Image, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say so where a given mask has large holes, as of ventricles or lesions cut out: no lesion is found in them."""
    holes_ml = float(np.count_nonzero(fill_holes(mask) & ~mask)) * flair.voxel_volume_ml
    if holes_ml < _LARGE_HOLES * np.count_nonzero(mask) * flair.voxel_volume_ml:
        return ()
    return (f"the brain mask given has holes of {holes_ml:.0f} ml, in which no lesion can be found: look at the brain outline",)


def _contradicted(flair: Image, mask: NDArray[np.bool_], settings: PrepareSettings, timer: StageTimer) -> tuple[str, ...]:
    """Say so where a given mask and the brain that is found in the image itself hardly agree: a mask out of place, or with skull in it.

    The network cannot tell: with a mask 20 mm too high it was as sure of itself
    as ever. Nothing is said where no brain is found, for that is no reason to
    doubt the mask.
    """
    try:
        with timer("check the brain mask"):
            own = _own_mask(flair, settings)
    except (FlairnbError, RuntimeError, ValueError) as problem:
        log.info("the given brain mask was not checked: %s", problem)
        return ()
    total = int(mask.sum()) + int(own.sum())
    overlap = 2 * int((mask & own).sum()) / total if own.any() else 1.0
    if overlap >= _LEAST_OVERLAP:
        return ()
    return (f"the brain mask given and the brain found in the image hardly agree (Dice {overlap:.2f}): look at the brain outline",)


def _own_mask(flair: Image, settings: PrepareSettings) -> NDArray[np.bool_]:
    """Return the brain by the image alone, on its own grid; empty where nothing plausible is found."""
    found = find_brain(flair, None, None, False, settings, StageTimer())
    return np.zeros_like(found.mask) if found.source == "guess" else found.mask


def _to_flair(found: BrainExtraction, flair: Image) -> NDArray[np.bool_]:
    return sample_slabs(found.probability, found.grid.affine, flair.grid) > 0.5


def _given(flair: Image, mask: NDArray[np.bool_], source: str, notes: tuple[str, ...] = ()) -> FoundBrain:
    if not mask.any():
        raise InputError("brain mask: expected some brain, found an empty mask. Give another mask, or none to have the brain extracted.")
    volume = float(mask.sum()) * flair.voxel_volume_ml
    if not BRAIN_LIMITS_ML[0] <= volume <= BRAIN_LIMITS_ML[1]:
        notes += (f"the brain mask holds {volume:.0f} ml; {BRAIN_LIMITS_ML[0]:.0f} to {BRAIN_LIMITS_ML[1]:.0f} ml are usual",)
    return FoundBrain(mask, source, None, notes)


def _field_of(data: NDArray, grid: Grid, settings: PrepareSettings, timer: StageTimer) -> NDArray[np.float32]:
    """Return a head's bias field on the working grid; ones where N4 is off."""
    if not settings.n4:
        return np.ones(grid.shape, dtype=np.float32)
    with timer("n4"):
        return bias_field(data, grid.affine, head_mask(data), settings.n4_shrink)


def _corrected(data: NDArray, field: NDArray, grid: Grid, on: Grid, settings: PrepareSettings) -> NDArray[np.float32]:
    """Return an image on some grid without the bias field of the working grid, scaled to 0..1."""
    if not settings.n4:
        return data
    return tame(data / (field if on is grid else spread_field(field, grid, on)), 0, 99.5)


def _from_t1w(
    t1w: Image, flair: Image, flair_work: NDArray, grid: Grid, settings: PrepareSettings, timer: StageTimer
) -> tuple[BrainExtraction | None, NDArray[np.float64] | None, tuple[str, ...]]:
    """Return the brain (None where T1w does not help), FLAIR world to T1w world, and notes."""
    check_field_of_view(t1w, "T1w")
    with timer("register"):
        pair = register_t1w(t1w, flair_work, grid, settings)
    if not pair.matches:
        return None, None, pair.notes
    field = _field_of(pair.t1w_work, grid, settings, timer)

    def channels(on: Grid) -> Channels:
        if on is grid:
            return [_corrected(pair.t1w_work, field, grid, on, settings), flair_work], pair.covered
        fine, seen = on_flair_grid(pair.t1w, on, pair.xfm)
        return [_corrected(fine, field, grid, on, settings), smooth_sample(flair.data, flair.affine, on)], seen

    with timer("brain"):
        found = _extract(channels, grid, settings)
    if not is_plausible(found):
        return None, None, (*pair.notes, f"brain extraction from T1w gave {found.volume_ml:.0f} ml; the FLAIR alone was used")
    return found, pair.xfm, pair.notes


def _from_flair(flair: Image, flair_work: NDArray, grid: Grid, settings: PrepareSettings, timer: StageTimer) -> BrainExtraction:
    field = _field_of(flair_work, grid, settings, timer)

    def channels(on: Grid) -> Channels:
        data = flair_work if on is grid else smooth_sample(flair.data, flair.affine, on)
        return [_corrected(data, field, grid, on, settings)], None

    with timer("brain"):
        return _extract(channels, grid, settings)


def _extract(channels: Callable[[Grid], Channels], grid: Grid, settings: PrepareSettings) -> BrainExtraction:
    return extract_brain(channels, grid, settings.affine_iterations, settings.syn_iterations, settings.refine_mask)


def is_plausible(found: BrainExtraction) -> bool:
    """Tell whether a brain has a brain's volume."""
    return BRAIN_LIMITS_ML[0] <= found.volume_ml <= BRAIN_LIMITS_ML[1]
