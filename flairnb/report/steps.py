"""The steps that notebooks ask for: whole-cohort work, in order, resumable.

Each takes the notebook's run, does its work through the rooms, leaves files
in the work folder and returns a table to look at. One case that fails is a
row with its reason and never stops the others.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from flairnb.errors import WorkFailed
from flairnb.naming import cohort_derivative
from flairnb.provenance import content_hash, read_json, sha256_file, write_json, write_sidecar

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.evaluate.cohort import CohortScores
    from flairnb.network.volumes import VolumeRecord
    from flairnb.report.start import Run

logger = logging.getLogger(__name__)

MODEL = "models/unet"
LESION = "lesion"


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
    """
    from flairnb.cohort.build import build_cohort
    from flairnb.cohort.manifest import read_manifest, write_manifest
    from flairnb.settings import as_dict

    if run.settings.cohort.source == "phantom":
        manifest = build_cohort(run.settings, run.work_dir, run.jobs)
    else:
        manifest = read_manifest(_manifest_file(run), run.data_dir)
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
    """Return the folder that the manifest's paths start from."""
    return run.data_dir or run.work_dir


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


def train_network(run: Run, init: str | Path | None = None) -> pd.DataFrame:
    """Train the network on the prepared training cases, or go on where a run stopped.

    Parameters
    ----------
    run : Run
    init : str or path, optional
        Name of shipped weights or a ``.keras`` file to start from (fine-tuning).

    Returns
    -------
    DataFrame
        One row an epoch, see :func:`flairnb.network.training.train`; also
        ``models/unet/history.csv``.

    Notes
    -----
    What the weights follow from (volumes, settings, seed) is kept as a hash
    beside them: when it changes, training starts again from the beginning.
    """
    from flairnb.network.onednn import configure
    from flairnb.network.training import train
    from flairnb.settings import settings_hash

    configure(run.jobs)
    records = training_volumes(run)
    settings = run.settings
    key = content_hash(
        volume_hashes(records), settings_hash(settings.network, settings.train), settings.seed, *([str(init)] if init else [])
    )
    model_dir, known = run.path(f"{MODEL}/history.csv").parent, run.path(f"{MODEL}/inputs.json")
    same = known.is_file() and read_json(known)["Key"] == key
    if not same:
        write_json(known, {"Key": key, "Volumes": [record.name for record in records]})
    history = train(records, settings, model_dir, resume=same, init=init)
    history.to_csv(model_dir / "history.csv", index=False)
    return history


def training_volumes(run: Run) -> list[VolumeRecord]:
    """Write the prepared training cases as arrays that training maps into memory."""
    from flairnb.network.volumes import FolderSource, write_volume
    from flairnb.prepare.cohort import read_work

    folder, wanted = run.path("models/volumes/README").parent, set(prepared_ids(run, "train"))
    for participant in sorted(wanted):
        write_volume(folder, participant, *read_work(run.work_dir, participant))
    found = FolderSource(folder, run.settings.prepare.spacing_mm).records()
    return [record for record in found if record.name in wanted]


def volume_hashes(records: list[VolumeRecord]) -> list[str]:
    """Return the SHA-256 of every training volume's image and mask."""
    return [sha256_file(path) for record in records for path in (record.image, record.mask)]


def score_validation(run: Run) -> CohortScores:
    """Score all methods' native masks against the reference, and write the tables."""
    from flairnb.evaluate.cohort import score_cohort
    from flairnb.settings import as_dict

    take_over_masks(run)
    scores = score_cohort(read_cohort(run, "validation"), run.settings.evaluate, run.work_dir, jobs=run.jobs)
    for path in scores.write(run.path("tables/scores.tsv").parent):
        write_sidecar(path, ["manifest.tsv"], as_dict(run.settings.evaluate), {"Notebook": run.notebook})
    return scores


def take_over_masks(run: Run) -> int:
    """Copy readers' masks of a manifest to where native masks are scored.

    Phantoms have theirs there already. A mask that was corrected since is
    copied again; the copy of one that the manifest no longer names is removed.
    A mask on another grid than its FLAIR is refused by name.

    Returns
    -------
    int
        Masks written.
    """
    from flairnb.prepare.cohort import drop_native_mask

    written = 0
    for row in read_cohort(run, "validation").itertuples():
        for column, name in (("reference_mask", "manual"), ("second_reader_mask", "manual2")):
            source = str(getattr(row, column, "") or "")
            target = cohort_derivative(run.work_dir, row.participant_id, "mask", label=LESION, desc=name)
            if source:
                written += _take_over(data_root(run) / source, target, data_root(run) / row.flair, f"{row.participant_id} {column}")
            else:
                drop_native_mask(target)
    return written


def _take_over(source: Path, target: Path, flair_path: Path, what: str) -> bool:
    """Copy one reader's mask unless that is done; return whether it was written."""
    from flairnb.images import read_image, read_mask
    from flairnb.prepare.cohort import is_taken_over, write_native_mask

    if is_taken_over(target, source):
        return False
    flair, sha256 = read_image(flair_path, "FLAIR"), sha256_file(source)
    write_native_mask(target, read_mask(source, like=flair, what=what), flair, source, sha256)
    return True


def _manifest_file(run: Run) -> Path:
    given = run.settings.cohort.manifest
    if given and Path(given).is_absolute():
        return Path(given)
    return data_root(run) / (given or "manifest.tsv")
