"""Train the U-Net; stop and resume anywhere on the same curve."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import InputError, MissingDataError, SettingsError, WorkFailed
from flairnb.network.checkpoint import FILE as CHECKPOINT
from flairnb.network.checkpoint import Progress, read_progress, restore_variables, save_checkpoint
from flairnb.network.confidence import Calibration, temper
from flairnb.network.dataset import EpochPatches
from flairnb.network.learner import Learner
from flairnb.network.schedule import learning_rate
from flairnb.network.volumes import VolumeRecord, VolumeSource, as_source
from flairnb.network.weights import inherited_use, save_network, stored_settings
from flairnb.provenance import atomic_path, read_json, write_json
from flairnb.settings import Settings, as_dict

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.settings import InferSettings

log = logging.getLogger(__name__)

HISTORY_FILE = "history.csv"
START_FILE = "start.json"
CHECKPOINT_SECONDS = 600.0


def train(  # noqa: PLR0913 (all but three have defaults)
    volumes: VolumeSource | Sequence[VolumeRecord],
    settings: Settings,
    model_dir: str | Path,
    resume: bool = True,
    init: str | Path | None = None,
    max_minutes: float | None = None,
    validation: Sequence[VolumeRecord] = (),
    use: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = log.info,
) -> pd.DataFrame:
    """Train the network, or go on with a training that was interrupted.

    Parameters
    ----------
    volumes : VolumeSource or sequence of VolumeRecord
        Training volumes; a source is asked again at the start of every epoch,
        so it may grow while training runs.
    settings : Settings
        ``network``, ``train``, ``infer`` (for validation, and the threshold
        where neither `use` nor `init` has one), ``prepare.spacing_mm`` and
        ``seed`` count.
    model_dir : path
        Gets ``<name>.keras`` and ``settings.json`` (usable after every epoch),
        ``history.csv`` and ``checkpoint.npz``, and ``start.json`` where the new
        weights take over how others are used; its last part is the name.
    resume : bool
        Go on from ``checkpoint.npz``; with False it and ``history.csv`` are removed.
    init : str or path, optional
        Weights to start from (fine-tuning); ignored when resuming.
    max_minutes : float, optional
        Training time after which to stop, over all resumed parts together;
        ``train.max_minutes`` if absent, 0 for no limit. In the ``robust``
        recipe the learning rate then falls with the clock if the clock is
        ahead of the plan, so that a slow machine also ends with small steps.
    validation : sequence of VolumeRecord
        Scored after every epoch by one pass over each volume.
    use : mapping, optional
        How the new weights are to be used, as
        :func:`flairnb.network.weights.inherited_use` gives it; that of `init` if
        absent. A run that goes on keeps what it began with.
    say : callable
        Receives a line on how the new weights will be used, where that is taken
        over from others, and a line after every epoch.

    Returns
    -------
    DataFrame
        One row an epoch (the last may be cut short by time): epoch, updates, cases, patches, loss, dice,
        validation_dice, learning_rate, seconds, patches_per_second,
        waiting_fraction. `dice` is that of all training patches' voxels
        together, at 0.5, while the weights change; `waiting_fraction` the part
        of the time in which the network waited for data.

    Raises
    ------
    InputError
        No volumes, or the checkpoint is of a run with other settings.
    WorkFailed
        The loss is no longer finite.

    Notes
    -----
    Without a time limit the curve is a function of the volumes, the settings
    and the seed only: all draws derive from (seed, epoch, volume). On a CPU
    with ``tf.config.experimental.enable_op_determinism()`` a resumed run equals
    an uninterrupted one bit for bit.
    """
    source, folder = as_source(volumes), Path(model_dir)
    check_training(settings, source.records())
    limit = settings.train.max_minutes if max_minutes is None else max_minutes
    identity = _identity(settings, source)
    progress = read_progress(folder, identity) if resume else None
    learner = Learner(settings, init if progress is None else None)
    if not resume:
        _forget(folder)
    begun = _begin(folder, init, use, again=progress is not None)
    run = _Run(settings, folder, learner, progress or Progress(), limit * 60, begun, say, identity)
    if progress is None:
        _say_use(run, None)
        progress = run.progress
    else:
        restore_variables(folder, learner.variables())
        log.info("going on from epoch %d, step %d", progress.epoch + 1, progress.step)
        if progress.epoch > settings.train.epochs:
            say(f"trained for {progress.epoch} epochs already, not {settings.train.epochs}: for fewer choose another folder")
        _say_use(run, use)
    while progress.epoch < settings.train.epochs and not run.out_of_time():
        run.epoch(source.records(), validation)
    return history_frame(progress)


def history_frame(progress: Progress) -> pd.DataFrame:
    """Return the finished epochs as a table, and the one that time cut short as its last row."""
    import pandas as pd

    rows = progress.history + ([progress.partial] if progress.partial else [])
    return pd.DataFrame(rows, columns=list(_HISTORY))


_HISTORY = (
    "epoch", "updates", "cases", "patches", "loss", "dice", "validation_dice",
    "learning_rate", "seconds", "patches_per_second", "waiting_fraction",
)  # fmt: skip


@dataclasses.dataclass
class _Run:
    """One call of `train`: the parts that every epoch needs."""

    settings: Settings
    folder: Path
    learner: Learner
    progress: Progress
    limit_s: float
    begun: dict[str, Any]
    say: Callable[[str], None]
    identity: dict[str, Any]

    def use(self) -> dict[str, Any]:
        """Return the settings of use that the weights are saved with; without a network to take them from, the cut alone."""
        return self.begun.get("use") or {"threshold": self.settings.infer.threshold}

    def out_of_time(self) -> bool:
        return 0 < self.limit_s <= self.progress.total_seconds

    def epoch(self, records: Sequence[VolumeRecord], validation: Sequence[VolumeRecord]) -> None:
        """Train one epoch (or the rest of it), then write history, weights, checkpoint."""
        progress, train = self.progress, self.settings.train
        if progress.names:
            by_name = {r.name: r for r in records}
            missing = [n for n in progress.names if n not in by_name]
            if missing:
                raise InputError(f"training: volumes of the epoch under way are gone: {', '.join(missing[:5])}.")
            records = [by_name[n] for n in progress.names]
        progress.names = [r.name for r in records]
        patches = EpochPatches(records, train, self.settings.seed, progress.epoch)
        self._steps(patches)
        score = self.learner.validate(validation, self._validation_infer()) if validation else float("nan")
        row = self._row(score)
        if progress.step < patches.steps:
            log.info("stopped after %.1f minutes, in epoch %d", progress.total_seconds / 60, progress.epoch + 1)
            progress.partial = row
        else:
            found = "" if np.isnan(score) else f", validation Dice {score:.3f}"
            self.say(f"epoch {row['epoch']}: loss {row['loss']:.4f}, dice {row['dice']:.3f}{found}, {row['seconds']:.0f} s")
            progress.history.append(row)
            progress.next_epoch()
        self._save(score)
        _write_history(self.folder / HISTORY_FILE, history_frame(progress))
        self._checkpoint()

    def _steps(self, patches: EpochPatches) -> None:
        """Run the epoch's remaining steps, or as many as there is time for."""
        progress, settings = self.progress, self.settings
        batches = iter(self.learner.distribute(patches.dataset(progress.step)))
        last_checkpoint = time.monotonic()
        for step in range(progress.step, patches.steps):
            started = time.perf_counter()
            image, mask = next(batches)
            waited = time.perf_counter() - started
            rate = learning_rate(settings.train, self._fraction(step, patches.steps))
            loss, both, either = self.learner.step(image, mask, rate, progress.updates)
            if not np.isfinite(loss):
                raise WorkFailed(f"training: the loss is {loss} in epoch {progress.epoch + 1}. Try a smaller train.learning_rate.")
            took = time.perf_counter() - started
            progress.step, progress.updates = step + 1, progress.updates + 1
            progress.loss_sum += loss
            progress.overlap, progress.voxels = progress.overlap + both, progress.voxels + either
            progress.waited, progress.seconds = progress.waited + waited, progress.seconds + took
            progress.total_seconds += took
            progress.patches += settings.train.batch
            if self.out_of_time():
                return
            if time.monotonic() - last_checkpoint > CHECKPOINT_SECONDS:
                self._checkpoint()
                last_checkpoint = time.monotonic()

    def _fraction(self, step: int, steps: int) -> float:
        """Return how much of the training is done, by plan or by clock, whichever is ahead."""
        planned = (self.progress.epoch + step / steps) / self.settings.train.epochs
        clock = self.progress.total_seconds / self.limit_s if self.limit_s > 0 else 0.0
        return max(planned, clock)

    def _validation_infer(self) -> InferSettings:
        """Return how to validate. The cut is one of calibrated probabilities: brought back to the network's own."""
        use = self.use()
        heat = use.get("calibration", Calibration()).temperature
        return dataclasses.replace(self.settings.infer, threshold=float(temper(use["threshold"], 1 / heat)))

    def _row(self, validation_dice: float) -> dict[str, Any]:
        progress = self.progress
        values = (
            progress.epoch + 1, progress.updates, len(progress.names), progress.patches,
            progress.loss_sum / progress.step,
            2 * progress.overlap / progress.voxels if progress.voxels else float("nan"),
            validation_dice, self.learner.rate, round(progress.seconds, 2),
            round(progress.patches / max(progress.seconds, 1e-9), 4), round(progress.waited / max(progress.seconds, 1e-9), 4),
        )  # fmt: skip
        return dict(zip(_HISTORY, values, strict=True))

    def _checkpoint(self) -> None:
        save_checkpoint(self.folder, self.progress, self.learner.variables(), self.identity)

    def _save(self, validation_dice: float) -> None:
        settings, progress = self.settings, self.progress
        card = {
            "trained_by": "flairnb.network.training.train",
            "profile": settings.profile,
            "seed": settings.seed,
            "train": as_dict(settings.train),
            "epochs_done": len(progress.history),
            "updates": progress.updates,
            "minutes": round(progress.total_seconds / 60, 2),
            "cases": (progress.partial or progress.history[-1])["cases"],
            "validation_dice": None if np.isnan(validation_dice) else validation_dice,
            **self.begun.get("card", {}),
        }
        with self.learner.averaged():
            save_network(
                self.learner.model,
                self.folder,
                network=settings.network,
                spacing_mm=settings.prepare.spacing_mm,
                name=self.folder.name,
                card=card,
                **self.use(),
            )


def _begin(folder: Path, init: str | Path | None, use: Mapping[str, Any] | None, again: bool) -> dict[str, Any]:
    """Return what the weights take over from others: {"use": ..., "card": ...}, or nothing.

    Kept in ``start.json``, so that a run that goes on `again` has it, whatever
    became of the other weights. Going on from weights other than those that the
    run began with is refused.
    """
    path = folder / START_FILE
    if again:
        _check_start(folder, init)
        return _with_calibration(read_json(path)) if path.is_file() else {}
    path.unlink(missing_ok=True)
    use = inherited_use(init) if use is None and init is not None else use
    if use is None:
        return {}
    card = {"calibration": use["calibration"].fitted_on}
    if init is not None:
        card["started_from"] = _started_from(init)
    write_json(path, {"use": {**use, "calibration": dataclasses.asdict(use["calibration"])}, "card": card})
    return _with_calibration(read_json(path))


def check_going_on(source: VolumeSource, settings: Settings, model_dir: str | Path, init: str | Path | None = None) -> None:
    """Refuse at once what `train` refuses when its volumes are there; for volumes that take long to make.

    Raises
    ------
    SettingsError
        As `check_training`.
    InputError
        The folder holds a training with other settings, of volumes made from
        something else, or that began with other weights; or a damaged one.
    """
    check_settings(settings)
    folder = Path(model_dir)
    if read_progress(folder, _identity(settings, source)) is not None:
        _check_start(folder, init)


def _check_start(folder: Path, init: str | Path | None) -> None:
    path = folder / START_FILE
    before = (read_json(path) if path.is_file() else {}).get("card", {}).get("started_from", "no weights")
    try:
        now = before if init is None else _started_from(init)
    except MissingDataError:  # whatever became of them, what is needed of them is kept
        return
    if now != before:
        raise InputError(
            f"init: the training in {folder.name} began with {before}, found {now}. "
            "Choose another folder (flairnb train: another --out), or leave init out to go on."
        )


def _started_from(init: str | Path) -> str:
    start = stored_settings(init)
    return f"{start['name']}, sha256 {start['sha256'][:12]}..."


def _with_calibration(begun: dict[str, Any]) -> dict[str, Any]:
    use = begun["use"]
    return {**begun, "use": {**use, "calibration": Calibration(**use["calibration"])}}


#: How each setting of use is said.
_SAID = {
    "threshold": "lesion from {:g} on", "coarser_look": "second look {:g}", "sharpening": "sharpening {:g}",
    "smoothing_mm": "smoothing {:g} mm", "min_lesion_ml": "smallest lesion {:g} ml", "rim_mm": "rim {:g} mm",
}  # fmt: skip


def _say_use(run: _Run, asked: Mapping[str, Any] | None) -> None:
    """Say how the weights will be used, where that is taken over; of a run that goes on, also what was `asked` for in vain."""
    use = run.use()
    if "use" in run.begun:
        run.say(f"the new weights are used so: {_use_in_words(use)}; calibration {use['calibration'].fitted_on or 'none'}")
    vain = {name: asked.get(name, 0.0) for name in _SAID if asked and asked.get(name, 0.0) != use.get(name, 0.0)}
    if vain:
        run.say(f"this training keeps how it began, not: {_use_in_words(vain)}. For that, train anew in another folder (--out)")


def _use_in_words(use: Mapping[str, Any]) -> str:
    return ", ".join(words.format(use[name]) for name, words in _SAID.items() if name in use)


def _forget(folder: Path) -> None:
    """Remove what a training would go on from: killed before its first save, a new one must not become the old one."""
    for name in (CHECKPOINT, HISTORY_FILE):
        (folder / name).unlink(missing_ok=True)


#: The end of a training: to be moved while it goes on.
END = ("epochs", "max_minutes")


def _identity(settings: Settings, source: VolumeSource) -> dict[str, Any]:
    """Return what two parts of one run must share; the end of the run may be moved."""
    values = {"prepare.spacing_mm": settings.prepare.spacing_mm}
    values.update({f"network.{k}": v for k, v in as_dict(settings.network).items()})
    values.update({f"train.{k}": v for k, v in as_dict(settings.train).items() if k not in END})
    made_from = getattr(source, "made_from", "")
    return {"seed": settings.seed, **values, **({"volumes made from": made_from} if made_from else {})}


def check_training(settings: Settings, records: Sequence[VolumeRecord]) -> None:
    """Refuse settings that no training can have (`SettingsError`), and a training without volumes (`InputError`)."""
    check_settings(settings)
    if not records:
        raise InputError("training: expected at least one prepared training volume, found none. Run notebook 02 first.")


def check_settings(settings: Settings) -> None:
    """Refuse settings that no training can have (`SettingsError`)."""
    multiple = 2**settings.network.levels
    if settings.train.patch % multiple:
        raise SettingsError(f"train.patch: expected a multiple of {multiple}, found {settings.train.patch}.")
    for name in ("batch", "epochs", "patches_per_case"):
        if getattr(settings.train, name) < 1:
            raise SettingsError(f"train.{name}: expected at least 1, found {getattr(settings.train, name)}.")


def _write_history(path: Path, history: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        history.to_csv(temporary, index=False)
