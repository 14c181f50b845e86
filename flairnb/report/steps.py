"""The steps that notebooks ask for: whole-cohort work, in order, resumable.

Each takes the notebook's run, does its work through the rooms, leaves files
in the work folder and returns a table to look at. One case that fails is a
row with its reason and never stops the others.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import FlairnbError, InputError, WorkFailed
from flairnb.naming import cohort_derivative
from flairnb.provenance import content_hash, read_json, sha256_file, write_json, write_sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from flairnb.evaluate.cohort import CohortScores
    from flairnb.network.volumes import VolumeRecord
    from flairnb.report.start import Run
    from flairnb.settings import Settings

logger = logging.getLogger(__name__)

MODEL = "models/unet"
LESION = "lesion"
#: Columns of a manifest with readers' masks, and the ``desc`` of their copies.
READERS = (("reference_mask", "manual"), ("second_reader_mask", "manual2"))
#: Of the key that names the folder of a network that was put aside.
_DIGITS = 12


def make_cohort(run: Run) -> pd.DataFrame:
    """Build the phantom cohort, or check and take over a hospital's manifest.

    Returns
    -------
    DataFrame
        The manifest, also written to ``manifest.tsv`` of the work folder.

    Raises
    ------
    ManifestError
        With all problems of the manifest at once.

    Notes
    -----
    A hospital's table that lies ready while the cohort is simulated is no
    error, for real patients stand beside such a cohort in notebooks 13 and 14;
    a line in the log says that it is not used here.
    """
    from flairnb.cohort.build import build_cohort
    from flairnb.cohort.manifest import read_manifest, write_manifest
    from flairnb.settings import as_dict

    if run.settings.cohort.source == "phantom":
        if _is_table_given(run):
            logger.warning("cohort.source=phantom: a simulated cohort, not the table that is given. Set cohort.source=manifest to use it")
        manifest = build_cohort(run.settings, run.work_dir, run.jobs)
    else:
        manifest = read_manifest(manifest_file(run), data_root(run))
    write_manifest(manifest, run.path("manifest.tsv"))
    write_sidecar(run.path("manifest.tsv"), [], as_dict(run.settings.cohort), {"Seed": run.seed, "Notebook": run.notebook})
    return manifest


def read_cohort(run: Run, split: str | None = None) -> pd.DataFrame:
    """Return the run's manifest, all of it or one split.

    Parameters
    ----------
    run : Run
    split : {"train", "validation"}, optional
    """
    from flairnb.cohort.manifest import read_manifest

    manifest = read_manifest(run.path("manifest.tsv"), data_root(run))
    return manifest if split is None else manifest[manifest["split"] == split].reset_index(drop=True)


def data_root(run: Run) -> Path:
    """Return the folder that the manifest's paths start from.

    Of a simulated cohort the work folder, where it was made, whatever the data
    folder: that is where real patients lie beside it. Of a hospital's cohort
    the data folder, else that of its table.
    """
    if run.settings.cohort.source == "phantom":
        return run.work_dir
    return run.data_dir or manifest_file(run).parent


def manifest_file(run: Run) -> Path:
    """Return a hospital's cohort table; one that is not named by its whole path lies in the data folder, else in the work folder."""
    given = Path(run.settings.cohort.manifest or "manifest.tsv").expanduser()
    return (run.data_dir or run.work_dir) / given


def _is_table_given(run: Run) -> bool:
    """Tell whether a table is named, or lies in the data folder by the name that is looked for there."""
    return bool(run.settings.cohort.manifest) or (run.data_dir is not None and manifest_file(run).is_file())


def prepare_images(run: Run) -> pd.DataFrame:
    """Prepare every examination of the cohort.

    Returns
    -------
    DataFrame
        One row a case with `status`, `reason` and seconds; also
        ``tables/preparation.tsv``.

    Raises
    ------
    WorkFailed
        When not one case could be prepared.
    """
    from flairnb.prepare.cohort import prepare_cohort

    table = prepare_cohort(read_cohort(run), run.settings.prepare, run.work_dir, run.jobs, data_root(run))
    run.save(table, "tables/preparation.tsv")
    if not (table["status"] == "ok").any():
        raise WorkFailed(f"preparation: expected prepared cases, found none of {len(table)}. First reason: {table['reason'].iloc[0]}")
    return table


def prepared_ids(run: Run, split: str) -> list[str]:
    """Return the participants of a split that were prepared without failure."""
    table = run.table("tables/preparation.tsv")
    ready = set(table.loc[table["status"] == "ok", "participant_id"])
    return [participant for participant in read_cohort(run, split)["participant_id"] if participant in ready]


def train_network(
    run: Run,
    init: str | Path | None = None,
    validation: Sequence[VolumeRecord] = (),
    use: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = logger.info,
) -> pd.DataFrame:
    """Train the network on the prepared training cases, or go on where a run stopped.

    Parameters
    ----------
    run : Run
    init : str or path, optional
        Name of shipped weights or a ``.keras`` file to start from (fine-tuning).
    validation : sequence of VolumeRecord
        Scored after every epoch; none in the paper's run, as the article has no such scores.
    use, say
        See :func:`flairnb.network.training.train`.

    Returns
    -------
    DataFrame
        One row an epoch, see :func:`flairnb.network.training.train`; also
        ``models/unet/history.csv``.

    Raises
    ------
    InputError
        No training case, or `init` names weights of the folder that is trained.

    Notes
    -----
    What the weights follow from (volumes, settings, seed) is kept as a hash
    beside them: when it changes, training starts again from the beginning, and
    the network that was there waits in ``models/before`` and comes back when
    its inputs do. The end (``train.epochs``, ``train.max_minutes``) is not in
    it: a training goes on when its end is moved. One that is already beyond it
    stays as it is, and says so.
    """
    from flairnb.network.onednn import configure
    from flairnb.network.training import HISTORY_FILE, check_training, train

    configure(run.jobs)
    records = training_volumes(run)
    settings = run.settings
    check_training(settings, records)
    key, former = _training_keys(records, settings, init)
    model_dir, known = run.path(f"{MODEL}/history.csv").parent, run.path(f"{MODEL}/inputs.json")
    same = _is_of(known, key) or _is_of(known, former) or _change_places(model_dir, key, init)
    if not _is_of(known, key):
        write_json(known, {"Key": key, "Volumes": [record.name for record in records]})
    history = train(records, settings, model_dir, resume=same, init=init, validation=validation, use=use, say=say)
    history.to_csv(model_dir / HISTORY_FILE, index=False)
    return history


def _training_keys(records: list[VolumeRecord], settings: Settings, init: str | Path | None) -> tuple[str, str]:
    """Return the hash of what weights follow from, and the one that earlier versions wrote: it held the end of the training, too."""
    from flairnb.network.training import END
    from flairnb.settings import settings_hash

    hashes, rest = volume_hashes(records), (settings.seed, *([str(init)] if init else []))
    endless = replace(settings.train, **dict.fromkeys(END, 0))
    now, former = (content_hash(hashes, settings_hash(settings.network, train), *rest) for train in (endless, settings.train))
    return now, former


def _is_of(inputs: Path, key: str) -> bool:
    return inputs.is_file() and read_json(inputs)["Key"] == key


def _change_places(model_dir: Path, key: str, init: str | Path | None) -> bool:
    """Put aside what other inputs have made, and bring back what these have, if that was put aside before.

    Whenever a run is stopped, what lies in the model's folder belongs to its key. What was there waits in ``models/before``, under
    the first digits of its own key: a mistyped setting costs nothing once it is corrected.

    Returns
    -------
    bool
        Whether something was brought back; else the folder is empty.
    """
    from flairnb.network.checkpoint import FILE as CHECKPOINT

    if init and Path(init).resolve().is_relative_to(model_dir.resolve()):
        raise InputError(f"init: expected weights outside the folder that is trained, found {Path(init).name} in it. Copy them elsewhere.")
    inputs, before = model_dir / "inputs.json", model_dir.parent / "before"
    if any((model_dir / name).is_file() for name in (f"{model_dir.name}.keras", CHECKPOINT)):
        own = str(read_json(inputs)["Key"]) if inputs.is_file() else "unknown"
        _free_place(before / own[:_DIGITS] / model_dir.name, model_dir)
    shutil.rmtree(model_dir, ignore_errors=True)  # nothing was learnt in what is left
    waiting = before / key[:_DIGITS] / model_dir.name
    if _is_of(waiting / inputs.name, key):
        waiting.rename(model_dir)
        return True
    model_dir.mkdir(parents=True)
    return False


def _free_place(place: Path, model_dir: Path) -> None:
    """Move a model's folder to a place, or beside it where another one waits there already."""
    number = 1
    while place.exists():
        number += 1
        place = place.parent.with_name(f"{place.parent.name.split('-')[0]}-{number}") / place.name
    place.parent.mkdir(parents=True, exist_ok=True)
    model_dir.rename(place)


def training_volumes(run: Run) -> list[VolumeRecord]:
    """Write the prepared training cases as arrays that training maps into memory."""
    return _volumes(run, prepared_ids(run, "train"))


def validation_volumes(run: Run) -> list[VolumeRecord]:
    """Write the prepared validation cases that a reader has marked as arrays, too."""
    marked = read_cohort(run, "validation").set_index("participant_id")["reference_mask"]
    return _volumes(run, [case for case in prepared_ids(run, "validation") if marked[case]])


def _volumes(run: Run, participants: Iterable[str]) -> list[VolumeRecord]:
    from flairnb.network.volumes import FolderSource, write_volume
    from flairnb.prepare.cohort import read_work

    folder, wanted = run.path("models/volumes/README").parent, set(participants)
    for participant in sorted(wanted):
        write_volume(folder, participant, *read_work(run.work_dir, participant))
    found = FolderSource(folder, run.settings.prepare.spacing_mm).records()
    return [record for record in found if record.name in wanted]


def volume_hashes(records: list[VolumeRecord]) -> list[str]:
    """Return the SHA-256 of every training volume's image and mask."""
    return [sha256_file(path) for record in records for path in (record.image, record.mask)]


def score_validation(run: Run) -> CohortScores:
    """Score all methods' native masks against the reference, and write the tables.

    Only prepared cases whose reference could be read are scored; of the others, each
    method has a row with status "failed" and the reason, whatever masks an
    earlier run has left of them. A method that left no mask has its own reason.
    """
    from flairnb.evaluate.cohort import score_cohort, without_folders
    from flairnb.settings import as_dict

    cases, taken = read_cohort(run, "validation"), take_over_masks(run)
    failed = taken[taken["status"] == "failed"]
    refused = _not_prepared(run, cases) | _reasons(failed, "manual")
    second = _reasons(failed, "manual2")
    methods = _methods(run, second)
    usable = cases[~cases["participant_id"].isin(refused)]
    found = score_cohort(usable, run.settings.evaluate, run.work_dir, methods, run.jobs)
    table = _refuse(_why_missing(run, found.scores), cases, methods, refused)
    for case, reason in second.items():
        row = (table["participant_id"] == case) & (table["method"] == "manual2")
        table.loc[row, ["status", "reason"]] = "failed", without_folders(reason)
    scores = replace(found, scores=table)
    for path in scores.write(run.path("tables/scores.tsv").parent):
        write_sidecar(path, ["manifest.tsv"], as_dict(run.settings.evaluate), {"Notebook": run.notebook})
    return scores


def take_over_masks(run: Run) -> pd.DataFrame:
    """Copy readers' masks of the prepared validation cases to where native masks are scored.

    Phantoms have theirs there already. A mask that was corrected since is
    copied again; the copy of one that the manifest no longer names, or that
    cannot be read any more, is removed.

    Returns
    -------
    DataFrame
        One row a case and reader: participant_id, method ("manual" or
        "manual2"), status ("written", "unchanged", "none" where no mask is
        named, or "failed") and reason.
    """
    import pandas as pd

    ready = set(prepared_ids(run, "validation"))
    rows = [
        (row["participant_id"], name, *_take_over(run, row, column, name))
        for row in read_cohort(run, "validation").to_dict("records")
        if row["participant_id"] in ready
        for column, name in READERS
    ]
    return pd.DataFrame(rows, columns=["participant_id", "method", "status", "reason"])


def _take_over(run: Run, row: dict[str, Any], column: str, name: str) -> tuple[str, str]:
    """Copy one reader's mask unless that is done; return status and reason."""
    from flairnb.images import read_image, read_mask
    from flairnb.prepare.cohort import drop_derivative, is_taken_over, write_native_mask

    participant, given = row["participant_id"], str(row.get(column) or "")
    target = cohort_derivative(run.work_dir, participant, "mask", label=LESION, desc=name)
    if not given:
        drop_derivative(target)
        return "none", ""
    source = data_root(run) / given
    try:
        if is_taken_over(target, source):
            return "unchanged", ""
        flair, sha256 = read_image(data_root(run) / row["flair"], "FLAIR"), sha256_file(source)
        write_native_mask(target, read_mask(source, like=flair, what=f"{participant} {column}"), flair, source, sha256)
    except (FlairnbError, OSError) as error:
        logger.warning("%s, %s: %s", participant, column, type(error).__name__)
        drop_derivative(target)
        return "failed", str(error)
    return "written", ""


def native_masks(run: Run, method: str = "*") -> list[Path]:
    """Return the native lesion masks that the work folder holds, of one method (the ``desc``) or all."""
    folder = run.work_dir / "derivatives" / "flairnb"
    return sorted(folder.glob(f"sub-*/anat/sub-*_label-{LESION}_desc-{method}_mask.nii.gz"))


def _not_prepared(run: Run, cases: pd.DataFrame) -> dict[str, str]:
    """Return why validation cases are not prepared, by participant."""
    table = run.table("tables/preparation.tsv")
    known = table[table["status"] != "ok"].set_index("participant_id")["reason"].to_dict()
    ready = set(prepared_ids(run, "validation"))
    return {
        case: str(known.get(case, f"{case}: expected a prepared case, found none. Run notebook 02 again."))
        for case in cases["participant_id"]
        if case not in ready
    }


def _why_missing(run: Run, scores: pd.DataFrame) -> pd.DataFrame:
    """Give rows without a mask the reason that their method gave in chapter 04, instead of that no mask is there."""
    from flairnb.evaluate.cohort import without_folders

    gave = {}
    for name, method in (("tables/timing.tsv", "unet"), ("tables/baselines.tsv", None)):  # the first names the way of inference
        table = run.table(name) if run.path(name).is_file() else scores.head(0)
        for row in table[table["status"] == "failed"].to_dict("records"):
            gave[row["participant_id"], method or row["method"]] = without_folders(str(row["reason"]))
    absent = scores["status"] == "missing"
    pairs = zip(scores["participant_id"], scores["method"], scores["reason"], strict=True)
    reasons = [gave.get((case, method), reason) for case, method, reason in pairs]
    return scores.assign(reason=scores["reason"].mask(absent, reasons))


def _reasons(failed: pd.DataFrame, method: str) -> dict[str, str]:
    return failed[failed["method"] == method].set_index("participant_id")["reason"].to_dict()


def _methods(run: Run, second: dict[str, str]) -> list[str]:
    """Return the methods to score: those that left masks, and the second reader also where no mask of theirs can be used."""
    from flairnb.evaluate.cohort import find_methods

    found = list(find_methods(run.work_dir))
    return found if not second or "manual2" in found else ["manual2", *found]


def _refuse(table: pd.DataFrame, cases: pd.DataFrame, methods: list[str], reasons: dict[str, str]) -> pd.DataFrame:
    """Add a row for each refused case and method; all in the order of the manifest."""
    import pandas as pd

    from flairnb.evaluate.cohort import without_folders

    if not reasons or not methods:
        return table
    carried = cases[cases["participant_id"].isin(reasons)][[name for name in cases.columns if name in table.columns]]
    rows = [
        {**row, "method": method, "status": "failed", "reason": without_folders(reasons[row["participant_id"]])}
        for row in carried.to_dict("records")
        for method in methods
    ]
    order = {case: place for place, case in enumerate(cases["participant_id"])}
    both = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    return both.sort_values("participant_id", key=lambda names: names.map(order), kind="stable", ignore_index=True)
