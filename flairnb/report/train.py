"""Train without a notebook: on a hospital's own cohort, or on the generator's heads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flairnb.errors import InputError, MissingDataError
from flairnb.report import steps
from flairnb.report.lock import only_run_in
from flairnb.report.start import Run, effective_settings, work_dir_of


def train_on_cohort(  # noqa: PLR0913 (all but one have defaults)
    cohort: str | os.PathLike,
    init: str | None = None,
    profile: str = "paper",
    sets: Iterable[str] = (),
    out_dir: str | os.PathLike = "",
    say: Callable[[str], None] = lambda _line: None,
    seed: int = 2019,
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
    seed : int
        Of the first weights, the patches and their augmentation.

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

    table = Path(os.path.realpath(cohort))  # resolve() does not survive a loop of links
    if not table.is_file():
        raise MissingDataError(f"{table.name}: expected a cohort table, found no such file. Check the path; see data_manifest/README.md.")
    settings = effective_settings(profile, seed, list(sets))
    settings = dataclasses.replace(settings, cohort=dataclasses.replace(settings.cohort, source="manifest", manifest=str(table)))
    work_dir = work_dir_of(f"train-{table.stem}", str(out_dir))
    run = Run("03", settings, settings.seed, work_dir, table.parent, cpu_count())
    with only_run_in(work_dir):
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


def train_on_generated(  # noqa: PLR0913 (all but one have defaults)
    heads: int,
    data_dir: str | os.PathLike = "",
    init: str | None = None,
    profile: str = "robust",
    sets: Iterable[str] = (),
    out_dir: str | os.PathLike = "",
    say: Callable[[str], None] = lambda _line: None,
    seed: int = 2019,
) -> dict[str, Any]:
    """Draw simulated heads and train on them: how the shipped network was made.

    Parameters
    ----------
    heads : int
        Heads to draw. Head number n is a function of seed and n only, so a
        larger number adds to the ones that are there.
    data_dir : path-like
        Where `flairnb fetch` put ``labelmaps/`` and ``lesionmasks/``; its
        default if absent. Without label maps the installed templates serve, and
        the network will have seen fewer anatomies.
    init : str, optional
        Shipped name or ``.keras`` file to start from.
    profile, sets, out_dir, say
        As in `train_on_cohort`.
    seed : int
        Of the heads too: another one draws other heads.

    Returns
    -------
    dict
        weights (Path), epochs, cases, loss of the last epoch.

    Raises
    ------
    InputError
        Fewer than one head.
    """
    from joblib import cpu_count

    from flairnb.cohort.fetch import default_data_dir
    from flairnb.network.heads import find_sources, heads_folder, make_heads
    from flairnb.network.onednn import configure
    from flairnb.network.training import train
    from flairnb.network.volumes import FolderSource

    if heads < 1:
        raise InputError(f"--generated: expected at least 1 head, found {heads}.")
    settings = effective_settings(profile, seed, list(sets))
    folder = Path(data_dir) if data_dir else default_data_dir()
    sources = find_sources(folder if data_dir or folder.is_dir() else None)
    work_dir = work_dir_of("generated", str(out_dir))
    spacing = settings.prepare.spacing_mm
    say(
        f"drawing {heads} simulated heads at {spacing:g} mm from {len(sources.label_maps) or 'no'} label maps, "
        f"{len(sources.stroke_masks)} stroke and {len(sources.ms_masks)} MS masks"
    )
    with only_run_in(work_dir):
        drawn = heads_folder(work_dir / "heads", sources, spacing)
        make_heads(drawn, heads, settings.seed, sources, spacing, jobs=cpu_count())
        say(f"training for {settings.train.max_minutes or 'unlimited'} minutes or {settings.train.epochs} epochs")
        configure(cpu_count())
        model_dir = work_dir / steps.MODEL
        history = train(FolderSource(drawn, spacing), settings, model_dir, init=init)
    last = history.iloc[-1]
    return {"weights": model_dir / "unet.keras", "epochs": len(history), "cases": int(last["cases"]), "loss": float(last["loss"])}
