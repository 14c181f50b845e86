"""Train without a notebook: on a hospital's own cohort, or on the generator's heads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import InputError, MissingDataError
from flairnb.report import steps
from flairnb.report.lock import only_run_in
from flairnb.report.start import Run, effective_settings, work_dir_of

if TYPE_CHECKING:
    from flairnb.settings import Settings


def train_on_cohort(  # noqa: PLR0913 (all but one have defaults)
    cohort: str | os.PathLike,
    init: str | None = None,
    profile: str = "",
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
        Shipped name or ``.keras`` file to start from. The network's layout
        comes from it, and how the new weights are used (cut, second look,
        sharpening, smallest lesion, rim, calibration).
    profile : str
        Where the settings come from. By default the article's; with `init`
        ``finetune`` after weights of the recipe ``robust``, and the voxel size
        of the weights.
    sets : iterable of str
        ``key=value`` words that change settings, whatever else they come from.
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
        weights (Path), epochs, cases; loss and validation_dice of the last
        epoch, the latter over the validation cases with lesions (NaN: none).

    Raises
    ------
    MissingDataError, ManifestError
        No table or weights, or a table with problems.
    WorkFailed
        Not one case could be prepared.
    """
    from joblib import cpu_count

    table = Path(os.path.realpath(cohort))  # resolve() does not survive a loop of links
    if not table.is_file():
        raise MissingDataError(f"{table.name}: expected a cohort table, found no such file. Check the path; see data_manifest/README.md.")
    sets = list(sets)
    settings = _settings(init, profile, sets, seed)
    use = _use(init, settings, sets)
    settings = dataclasses.replace(settings, cohort=dataclasses.replace(settings.cohort, source="manifest", manifest=str(table)))
    work_dir = work_dir_of(f"train-{table.stem}", str(out_dir))
    run = Run("03", settings, settings.seed, work_dir, table.parent, cpu_count())
    with only_run_in(work_dir):
        training = int((steps.make_cohort(run)["split"] == "train").sum())
        say(f"{table.name}: no problems, {training} examinations to train on; preparing images")
        steps.prepare_images(run)
        prepared = len(steps.prepared_ids(run, "train"))
        validation = steps.validation_volumes(run)
        say(
            f"{prepared} of {training} prepared; training for {settings.train.epochs} epochs (profile {settings.profile}), "
            f"scored on {len(validation)} validation cases"
        )
        history = steps.train_network(run, init, validation, use, say)
    return _done(run.path(f"{steps.MODEL}/unet.keras"), history.iloc[-1], len(history), prepared)


def train_on_generated(  # noqa: PLR0913 (all but one have defaults)
    heads: int,
    data_dir: str | os.PathLike = "",
    init: str | None = None,
    profile: str = "",
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
        Shipped name or ``.keras`` file to start from; layout and voxel size of
        the network come from it. Without it, the new weights are used as the
        shipped ones are (see `train_on_cohort`).
    profile, sets, out_dir, say
        As in `train_on_cohort`; ``robust`` by default.
    seed : int
        Of the heads too: another one draws other heads, and is another training,
        in a work folder of its own.

    Returns
    -------
    dict
        As of `train_on_cohort`, without validation.

    Raises
    ------
    InputError
        Fewer than one head; or, before any is drawn, a training in the work
        folder that this one cannot go on with (another seed, other settings,
        sources or weights to start from).
    """
    from joblib import cpu_count

    from flairnb.cohort.fetch import default_data_dir
    from flairnb.network.heads import find_sources, head_prefix, heads_folder, make_heads, sources_key
    from flairnb.network.onednn import configure
    from flairnb.network.training import check_going_on, train
    from flairnb.network.volumes import FolderSource
    from flairnb.network.weights import shipped_names

    if heads < 1:
        raise InputError(f"--generated: expected at least 1 head, found {heads}.")
    sets = list(sets)
    settings = _settings(init, profile or "robust", sets, seed, keeps_spacing=True)
    use = _use(init or next(reversed(shipped_names()), None), settings, sets)
    folder = Path(data_dir) if data_dir else default_data_dir()
    sources = find_sources(folder if data_dir or folder.is_dir() else None)
    work_dir = work_dir_of("generated", str(out_dir))
    spacing, model_dir = settings.prepare.spacing_mm, work_dir / steps.MODEL
    drawn = heads_folder(work_dir / "heads", sources, spacing)
    own = FolderSource(drawn, spacing, prefix=head_prefix(settings.seed), made_from=sources_key(sources))
    with only_run_in(work_dir):
        check_going_on(own, settings, model_dir, init)
        say(
            f"drawing {heads} simulated heads at {spacing:g} mm from {len(sources.label_maps) or 'no'} label maps, "
            f"{len(sources.stroke_masks)} stroke and {len(sources.ms_masks)} MS masks"
        )
        make_heads(drawn, heads, settings.seed, sources, spacing, jobs=cpu_count())
        say(f"training for {settings.train.max_minutes or 'unlimited'} minutes or {settings.train.epochs} epochs")
        configure(cpu_count())
        history = train(own, settings, model_dir, init=init, use=use, say=say)
    last = history.iloc[-1]
    return _done(model_dir / "unet.keras", last, len(history), int(last["cases"]))


def _settings(init: str | None, profile: str, sets: list[str], seed: int, keeps_spacing: bool = False) -> Settings:
    """Return what to train with: the profile, the layout of the weights to start from, and what was set, each over the one before.

    A profile that is named brings its own voxel size, unless that of the weights is kept (`keeps_spacing`).
    """
    from flairnb.network.weights import stored_settings

    if init is None:
        return effective_settings(profile or "paper", seed, sets)
    about = stored_settings(init)
    words = [f"network.{name}={value}" for name, value in about["network"].items()]
    if keeps_spacing or not profile:
        words.append(f"prepare.spacing_mm={about['spacing_mm']}")
    return effective_settings(profile or _profile_after(about), seed, [*words, *sets])


def _profile_after(about: Mapping[str, Any]) -> str:
    """Return the profile that goes on from weights, by their settings.json: ``finetune`` after the recipe or the network of ``robust``."""
    from flairnb.settings import as_dict, load

    train = about.get("card", {}).get("train", {})
    recipe = train.get("recipe") if isinstance(train, dict) else ""
    return "finetune" if recipe == "robust" or about["network"] == as_dict(load("robust").network) else "paper"


def _use(weights: str | None, settings: Settings, sets: list[str]) -> dict[str, Any] | None:
    """Return how new weights are used: as the given ones are, but for what was set."""
    from flairnb.network.weights import inherited_use

    if weights is None:
        return None
    use = inherited_use(weights)
    said = {word.partition("=")[0].strip().removeprefix("infer.") for word in sets if word.startswith("infer.")}
    return use | {name: getattr(settings.infer, name) for name in said & use.keys()}


def _done(weights: Path, last: Mapping[str, Any], epochs: int, cases: int) -> dict[str, Any]:
    score = float(last.get("validation_dice", float("nan")))
    return {"weights": weights, "epochs": epochs, "cases": cases, "loss": float(last["loss"]), "validation_dice": score}
