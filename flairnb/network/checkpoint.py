"""The state of a training run in one file, so that a killed run goes on exactly."""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flairnb.errors import InputError
from flairnb.provenance import atomic_path

log = logging.getLogger(__name__)

FILE = "checkpoint.npz"


@dataclass
class Progress:
    """Where a run is: everything that is not a network's or an optimizer's variable.

    `epoch` and `step` are what comes next. The sums belong to the epoch under
    way; `names` are its volumes (a source may have grown since) and `partial`
    is its row of the history if time ran out within it. No generator state is
    needed: every draw is a function of (seed, epoch, volume).
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    overlap: float = 0.0
    voxels: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    patches: int = 0
    total_seconds: float = 0.0
    names: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    partial: dict[str, Any] | None = None

    def next_epoch(self) -> None:
        """Clear the epoch's sums and move on."""
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum = self.overlap = self.voxels = self.seconds = self.waited = 0.0
        self.patches, self.names, self.partial = 0, [], None


def save_checkpoint(folder: Path, progress: Progress, groups: Mapping[str, Sequence[Any]], identity: Mapping[str, Any]) -> Path:
    """Write progress and all variables atomically.

    Parameters
    ----------
    folder : Path
        Model folder.
    progress : Progress
        Counters, sums and history.
    groups : mapping of str to sequence of variables
        For example ``{"model": ..., "optimizer": ..., "average": ...}``.
    identity : mapping
        What must be the same for the run to go on (settings, seed).
    """
    about = json.dumps({"progress": asdict(progress), "identity": dict(identity)})
    arrays = {f"{group}/{n:04d}": v.numpy() for group, values in groups.items() for n, v in enumerate(values)}
    path = Path(folder) / FILE
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, about=np.array(about), **arrays)
    return path


def read_progress(folder: Path, identity: Mapping[str, Any]) -> Progress | None:
    """Return the progress of an earlier run, or None if there is none.

    Raises
    ------
    InputError
        The earlier run had other settings: going on would mix two runs. Or
        the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    with _whole(path), np.load(path, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        before, progress = about["identity"], Progress(**about["progress"])
    # What an earlier version did not write down is no difference.
    changed = sorted(k for k in {*before, *identity} if before.get(k, identity.get(k)) != identity.get(k))
    if changed:
        changes = ", ".join(f"{k}: {before.get(k)!r} then, {identity.get(k)!r} now" for k in changed)
        raise InputError(
            f"training: the checkpoint in {path.parent.name} is of a run with other settings ({changes}). "
            "Choose another folder (flairnb train: another --out), delete this one, or train with resume=False."
        )
    return progress


def restore_variables(folder: Path, groups: Mapping[str, Sequence[Any]]) -> None:
    """Assign the stored values to the variables; names and shapes must fit.

    Raises
    ------
    InputError
        The file holds other variables (made by another version), or is
        damaged.
    """
    path = Path(folder) / FILE
    with _whole(path), np.load(path, allow_pickle=False) as stored:
        for group, values in groups.items():
            keys = [k for k in stored.files if k.startswith(f"{group}/")]
            if len(keys) != len(values):
                raise InputError(f"training: {path.name} holds {len(keys)} {group} variables, expected {len(values)}. Train anew.")
            for key, variable in zip(sorted(keys), values, strict=True):
                array = stored[key]
                if tuple(array.shape) != tuple(variable.shape):
                    raise InputError(f"training: {path.name}: {key} has shape {array.shape}, expected {tuple(variable.shape)}.")
                variable.assign(array)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into one line that says what to do."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as problem:
        why = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(
            f"training: expected a whole {path.name} in {path.parent.name}, could not read it ({why}). "
            "Delete it, or train with resume=False."
        ) from None
