"""How a patient's FLAIR is prepared and the network applied: the article's values, the network's own, and what a user sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flairnb.errors import InputError, SettingsError

if TYPE_CHECKING:
    from flairnb.network.weights import Network
    from flairnb.settings import InferSettings, PrepareSettings

#: The paper's cubes and step in mm; in voxels they follow the network's voxel size.
PATCH_MM, STEP_MM = 96.0, 32.0
#: What `--set` may change; `flairnb.settings` knows the values that make sense. The method and the memory have words of their own.
_CHOSEN = ("threshold", "min_lesion_ml", "flips", "coarser_look", "patch", "step")


def settings_for(
    network: Network, method: str | None, memory_gb: float | None = None, chosen: dict[str, Any] | None = None
) -> tuple[PrepareSettings, InferSettings]:
    """Return how to prepare and infer for a network: the article's values at the network's own voxel size.

    One pass unless `method` is "tiled"; after small training patches tiles of their size (`flairnb.network.inference.suited`),
    unless "whole" is asked for. What a user has `chosen` (of `chosen_settings`) comes last.

    Raises
    ------
    SettingsError
        A patch or a step is chosen where there are no tiles, or one that no tiles can have.
    """
    from flairnb import settings
    from flairnb.network.inference import check_tiles, size_multiple, suited

    paper = settings.load("paper")
    multiple = size_multiple(network.model)
    patch = max(multiple, round(PATCH_MM / network.spacing_mm / multiple) * multiple)
    step = max(1, round(STEP_MM / network.spacing_mm))
    check_method(method)
    infer = replace(paper.infer, method=method or "whole", patch=patch, step=min(step, patch), threshold=network.threshold)
    infer = replace(infer, coarser_look=network.coarser_look, min_lesion_ml=network.min_lesion_ml)
    infer = replace(infer, memory_gb=memory_gb or infer.memory_gb)
    if method != "whole":
        infer = suited(infer, network.model, network.trained_patch)
    if infer.method != "tiled" and {"patch", "step"} & set(chosen or {}):
        raise SettingsError("--set infer.patch, infer.step: expected tiles, found one pass over the brain. Add --method tiled.")
    infer = replace(infer, **(chosen or {}))
    if "step" not in (chosen or {}):
        infer = replace(infer, step=min(infer.step, infer.patch))
    if infer.method == "tiled":
        check_tiles(infer.patch, infer.step, multiple)
    return replace(paper.prepare, spacing_mm=network.spacing_mm), infer


def check_method(method: str | None) -> None:
    """Raise `InputError` unless a method of inference is known."""
    if method not in (None, "whole", "tiled"):
        raise InputError(f"--method: expected 'whole' or 'tiled', received {method!r}.")


def chosen_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return what ``infer.name=value`` words set, by name and typed.

    Raises
    ------
    SettingsError
        Another key than those that `flairnb segment` lets a user set, or a value that makes no sense.

    Examples
    --------
    >>> chosen_settings(["infer.threshold=0.4", "infer.flips=true"])
    {'threshold': 0.4, 'flips': True}
    """
    from flairnb import settings

    keys = [word.partition("=")[0].strip() for word in words]
    known = [f"infer.{name}" for name in _CHOSEN]
    for key in keys:
        if key not in known:
            raise SettingsError(f"--set: expected one of {', '.join(known)}, received {key!r}. flairnb segment --help has the other words.")
    infer = settings.load("paper", list(words)).infer
    return {name: getattr(infer, name) for name in (key.removeprefix("infer.") for key in keys)}


def check_spread(infer: InferSettings, wanted: bool) -> None:
    """Raise `SettingsError` where a spread is wanted but the network looks once only, so that there is nothing to compare."""
    if wanted and not (infer.flips or infer.coarser_look > 1 or (infer.method == "tiled" and infer.step < infer.patch)):
        raise SettingsError("--spread: expected two looks or more at each voxel, found one. Add --set infer.flips=true.")


def note_on(chosen: dict[str, Any]) -> tuple[str, ...]:
    """Return what a reader should know of what a user has set."""
    if not chosen:
        return ()
    words = ", ".join(f"infer.{name}={str(value).lower()}" for name, value in chosen.items())
    return (f"set by hand: {words}; the expected Dice was calibrated without",)
