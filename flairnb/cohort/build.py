"""Build the phantom cohort on disk: BIDS raw data, masks and the manifest."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.cohort.columns import COLUMNS
from flairnb.cohort.manifest import write_manifest
from flairnb.cohort.roster import draw_roster
from flairnb.errors import SettingsError, WorkFailed
from flairnb.naming import anat_dir, derivative_path
from flairnb.provenance import atomic_path, content_hash, read_json, sha256_file, versions, write_json

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.settings import Settings

logger = logging.getLogger(__name__)

_FILES = ("flair", "t1w", "reference_mask", "second_reader_mask", "brain_mask", "truth")
#: Modules of the phantom package that only the network's training generator uses.
_TRAINING_ONLY = ("training", "contrast", "degrade", "mni_shapes")
_IN_MANIFEST = ("flair", "t1w", "reference_mask", "second_reader_mask")


def build_cohort(settings: Settings, work_dir: str | os.PathLike, jobs: int = 1) -> pd.DataFrame:
    """Draw the phantom subjects of a profile and write whatever is not there yet.

    Parameters
    ----------
    settings : Settings
        `seed` and `cohort` count.
    work_dir : path-like
        Gets ``rawdata/``, ``derivatives/`` and ``manifest.tsv``; paths in the
        manifest are relative to it.
    jobs : int
        Processes. Results do not depend on it.

    Returns
    -------
    DataFrame
        The manifest, one row a subject. The true brain mask stays out of it,
        so that brain extraction has real work.

    Raises
    ------
    SettingsError
        The profile's cohort is not a phantom.
    WorkFailed
        Some subjects could not be made (all others were written, and are kept
        for the next run); names them.
    """
    if settings.cohort.source != "phantom":
        raise SettingsError(
            f"cohort.source: expected 'phantom' to build a cohort, found {settings.cohort.source!r}. "
            "Read a hospital's own table with flairnb.cohort.manifest.read_manifest."
        )
    work_dir = Path(work_dir)
    roster = draw_roster(settings.cohort, settings.seed)
    done = _write_subjects(roster.to_dict("records"), work_dir, settings, jobs)
    failed = [f"{d['participant_id']} ({d['reason']})" for d in done if d["status"] != "done"]
    if failed:
        raise WorkFailed(
            f"phantom cohort: expected {len(done)} subjects, {len(failed)} failed: {'; '.join(failed[:10])}"
            f"{' ...' if len(failed) > 10 else ''}. The others are kept; correct the cause and run again."
        )
    manifest = roster.copy()
    for column in _IN_MANIFEST:
        manifest[column] = [d[column] for d in done]
    _write_descriptions(manifest, work_dir, settings.seed)
    write_manifest(manifest, work_dir / "manifest.tsv")
    return manifest


def _write_subjects(rows: list[dict[str, Any]], work_dir: Path, settings: Settings, jobs: int) -> list[dict[str, Any]]:
    from tqdm.auto import tqdm

    from flairnb.parallel import on_processes

    calls = ((row, work_dir, settings.seed, settings.cohort) for row in rows)
    done = on_processes(ensure_subject, calls, max(1, int(jobs)))
    return list(tqdm(done, total=len(rows), desc="phantoms", leave=False, disable=None))


def ensure_subject(row: dict[str, Any], work_dir: Path, seed: int, settings: Any) -> dict[str, Any]:
    """Write a subject unless its files are there, whole, and made from the same row, seed, settings and code.

    Returns
    -------
    dict
        `participant_id`, `status` ("done" or "failed"), `reason`, and what
        `write_subject` returns.
    """
    from flairnb.cohort.phantom.subject import write_subject

    name = str(row["participant_id"])
    key = subject_key(row, seed, settings)
    record = record_path(work_dir, name)
    kept = _read_record(record, work_dir, key)
    if kept is not None:
        return {"participant_id": name, "status": "done", "reason": "", **kept}
    record.unlink(missing_ok=True)
    try:
        made = write_subject(row, work_dir, seed, settings)
    except Exception as error:
        # Whatever went wrong with one subject must not stop the others; the caller reports it by name.
        logger.exception("%s: phantom failed", name)
        return {"participant_id": name, "status": "failed", "reason": f"{type(error).__name__}: {error}"}
    write_json(record, {"Key": key, "Sha256": {f: sha256_file(work_dir / made[f]) for f in _FILES}, "Made": made})
    return {"participant_id": name, "status": "done", "reason": "", **made}


def subject_key(row: dict[str, Any], seed: int, settings: Any) -> str:
    """Return a hash that changes when the subject would come out differently."""
    plain = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
    return content_hash(plain, int(seed), {"head_spacing_mm": settings.head_spacing_mm}, generator_hash())


@lru_cache(maxsize=1)
def generator_hash() -> str:
    """Return a hash of the code that makes a subject: changed code makes new phantoms."""
    from flairnb.cohort import phantom

    files = sorted(f for f in Path(phantom.__file__).parent.glob("*.py") if f.stem not in _TRAINING_ONLY)
    return content_hash([f.name for f in files], *files)


def record_path(work_dir: Path, participant_id: str) -> Path:
    """Return where a finished subject's key and file hashes are kept."""
    return derivative_path(anat_dir(work_dir / "derivatives" / "phantom", participant_id), participant_id, "record", extension=".json")


def _read_record(record: Path, work_dir: Path, key: str) -> dict[str, Any] | None:
    try:
        content = read_json(record)
        made = content["Made"]
        whole = content["Key"] == key and all(sha256_file(work_dir / made[f]) == h for f, h in content["Sha256"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if whole else None


def _write_descriptions(manifest: pd.DataFrame, work_dir: Path, seed: int) -> None:
    """Write participants.tsv and the dataset descriptions that BIDS asks for."""
    described = [c for c in COLUMNS if c.kind != "path" and c.name in manifest.columns]
    table = manifest[[c.name for c in described]]
    with atomic_path(work_dir / "rawdata" / "participants.tsv") as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    write_json(
        work_dir / "rawdata" / "participants.json",
        {c.name: {"Description": c.meaning, **({"Units": c.unit} if c.unit else {})} for c in described},
    )
    generated = {"Name": "flairnb", "Version": versions()["flairnb"]}
    base = {"BIDSVersion": "1.9.0", "License": "CC0", "Simulated": True}
    write_json(
        work_dir / "rawdata" / "dataset_description.json",
        {"Name": "flairnb phantom cohort (simulated, no patients)", **base, "DatasetType": "raw", "Seed": seed, "GeneratedBy": [generated]},
    )
    for folder, what in (("flairnb", "masks and prepared images"), ("phantom", "simulated truth")):
        write_json(
            work_dir / "derivatives" / folder / "dataset_description.json",
            {"Name": f"flairnb phantom cohort: {what}", **base, "DatasetType": "derivative", "GeneratedBy": [generated]},
        )
