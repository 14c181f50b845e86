"""Train, or fine-tune, on a hospital's own cohort: one command, no notebook."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flairnb.errors import MissingDataError
from flairnb.report import steps
from flairnb.report.start import Run, effective_settings, work_dir_of


def train_on_cohort(
    cohort: str | os.PathLike,
    init: str | None = None,
    profile: str = "paper",
    sets: Iterable[str] = (),
    out_dir: str | os.PathLike = "",
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Check a cohort table, prepare its examinations and train on those whose split is "train".

    Parameters
    ----------
    cohort : path-like
        Cohort table; its paths are relative to its own folder.
    init : str, optional
        Shipped name or ``.keras`` file to start from.
    profile : str
        Where the settings come from; the article's by default.
    sets : iterable of str
        ``key=value`` words that change settings.
    out_dir : path-like
        Work folder; ``work/train-<name of the table>`` in the checkout. Called
        again with the same one, a stopped training goes on.
    say : callable
        Receives one line of progress at a time.

    Returns
    -------
    dict
        weights (Path), epochs, cases, loss of the last epoch.

    Raises
    ------
    MissingDataError, ManifestError
        No table, or one with problems.
    WorkFailed
        Not one case could be prepared.
    """
    from joblib import cpu_count

    table = Path(cohort).resolve()
    if not table.is_file():
        raise MissingDataError(f"{table.name}: expected a cohort table, found no such file. Check the path; see data_manifest/README.md.")
    settings = effective_settings(profile, 2019, " ".join(sets))
    settings = dataclasses.replace(settings, cohort=dataclasses.replace(settings.cohort, source="manifest", manifest=str(table)))
    work_dir = work_dir_of(f"train-{table.stem}", str(out_dir))
    run = Run("03", settings, settings.seed, work_dir, table.parent, cpu_count())
    training = int((steps.make_cohort(run)["split"] == "train").sum())
    say(f"{table.name}: no problems, {training} examinations to train on; preparing images")
    steps.prepare_images(run)
    prepared = len(steps.prepared_ids(run, "train"))
    say(f"{prepared} of {training} prepared; training for {settings.train.epochs} epochs")
    history = steps.train_network(run, init)
    return {
        "weights": run.path(f"{steps.MODEL}/unet.keras"),
        "epochs": len(history),
        "cases": prepared,
        "loss": float(history["loss"].iloc[-1]),
    }
