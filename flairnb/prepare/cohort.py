"""Prepare every case of a manifest, on several processes, resumable."""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flairnb.errors import FlairnbError, MissingDataError
from flairnb.geometry import Grid
from flairnb.images import Image, read_image, read_mask, write_image
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.nifti import open_nifti
from flairnb.parallel import each_case
from flairnb.prepare.bridge import read_xfm, write_xfm
from flairnb.prepare.case import PreparedCase, prepare_case
from flairnb.prepare.plausible import check_heads
from flairnb.prepare.slabs import mask_to_work
from flairnb.provenance import content_hash, is_current, read_json, sha256_file, write_json, write_sidecar
from flairnb.settings import PrepareSettings, as_dict, settings_hash

log = logging.getLogger(__name__)

COLUMNS = ["participant_id", "status", "reason", "brain_source", "brain_ml", "mean", "sd", "seconds", "notes"]
_INPUTS = ("flair", "t1w", "brain_mask", "reference_mask")
_NO_BRAIN_SETTINGS = ("spacing_mm", "normalise_in")


def prepare_cohort(
    manifest: pd.DataFrame,
    settings: PrepareSettings,
    work_dir: str | os.PathLike,
    jobs: int = 1,
    data_root: str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Prepare the cases that are not there yet.

    Parameters
    ----------
    manifest : DataFrame
        One row a case, columns as `flairnb.cohort.columns`.
    settings : PrepareSettings
    work_dir : path
        Gets ``derivatives/flairnb/sub-*/anat``: brain masks, prepared FLAIRs,
        reference masks on the FLAIR's own and the work grid, transforms, JSON
        side-cars. Reference masks follow the table: a reader's mask that was
        corrected is taken over again, one that the table no longer names goes.
        A second reader's mask is only tried here, at each call: one that cannot
        be used is a note, known before a network is trained. It is copied when
        it is scored.
    jobs : int
        Processes; results do not depend on it, nor on a cluster's workers
        (:func:`flairnb.parallel.each_case`).
    data_root : path, optional
        What the manifest's paths are relative to; `work_dir` if absent.

    Returns
    -------
    DataFrame
        One row a case: participant_id, status ("ok" or "failed"), reason,
        brain_source, brain_ml, mean, sd, seconds, notes. A bad case is a row,
        never an exception.
    """
    root = Path(work_dir if data_root is None else data_root)
    rows = manifest.to_dict("records")
    done = each_case(_prepare_row, [(row, settings, Path(work_dir), root) for row in rows], jobs)
    return pd.DataFrame(done, columns=COLUMNS)


def read_prepared(work_dir: str | os.PathLike, participant_id: str) -> PreparedCase:
    """Read a case that `prepare_cohort` wrote.

    Raises
    ------
    MissingDataError
        It was not prepared, or its FLAIR is gone.
    """
    path = cohort_derivative(work_dir, participant_id, "FLAIR", space="work", desc="preproc")
    if not path.exists() or not sidecar_path(path).exists():
        raise MissingDataError(f"{participant_id}: expected a prepared FLAIR, found none. Run notebook 02 first.")
    facts = read_json(sidecar_path(path))
    work = read_image(path, "prepared FLAIR")
    flair = read_image(Path(work_dir).resolve() / facts["Flair"], "FLAIR")
    brain_native = read_mask(cohort_derivative(work_dir, participant_id, "mask", desc="brain"), flair, "brain mask")
    work_brain = read_mask(cohort_derivative(work_dir, participant_id, "mask", space="work", desc="brain"), work, "brain mask")
    xfm = _xfm_path(Path(work_dir), participant_id)
    return PreparedCase(
        flair,
        brain_native,
        work.data,
        work_brain,
        work.grid,
        facts["Mean"],
        facts["Sd"],
        read_xfm(xfm) if facts["HasTransform"] and xfm.exists() else None,
        facts["Row"]["brain_source"],
        dict(facts["Seconds"]),
        tuple(facts["Notes"]),
    )


def read_work(work_dir: str | os.PathLike, participant_id: str) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Read what training and its checks need of a prepared case: FLAIR, reference mask and brain mask, all (A, B, C) on the work grid.

    The reference is empty where no reader has marked the case.

    Raises
    ------
    MissingDataError
        It was not prepared.
    """
    work = read_image(cohort_derivative(work_dir, participant_id, "FLAIR", space="work", desc="preproc"), "prepared FLAIR")
    lesion = _work_reference(Path(work_dir), participant_id)
    reference = read_mask(lesion, work, "reference mask") if lesion.is_file() else np.zeros(work.data.shape, dtype=bool)
    brain = read_mask(cohort_derivative(work_dir, participant_id, "mask", space="work", desc="brain"), work, "brain mask")
    return work.data, reference, brain


def is_taken_over(native: Path, source: Path) -> bool:
    """Tell whether a native mask holds what its reader's mask holds now, or is that file itself (phantoms)."""
    if not source.is_file():
        return False
    return (native.is_file() and native.samefile(source)) or is_current(native, SourceSha256=sha256_file(source))


def write_native_mask(native: Path, mask: NDArray[np.bool_], flair: Image, source: Path, sha256: str, settings: Any = None) -> None:
    """Write a reader's mask to where native masks are scored; `sha256` is the source's, taken before it was read."""
    write_image(native, mask, flair, np.uint8)
    write_sidecar(native, [source], settings, {"Type": "Lesion", "Manual": True, "SourceSha256": sha256})


def drop_derivative(path: Path) -> None:
    """Remove a file that an earlier run has made or copied, and its side-car; one that this package did not write (phantoms) stays."""
    about = sidecar_path(path)
    try:
        is_ours = about.is_file() and "Sha256" in read_json(about)
    except (ValueError, TypeError):
        return
    if is_ours:
        path.unlink(missing_ok=True)  # first, so that it is never left without what tells that it is ours
        about.unlink()


def _prepare_row(row: dict[str, Any], settings: PrepareSettings, work_dir: Path, root: Path) -> dict[str, Any]:
    participant = str(row["participant_id"])
    try:
        found = _prepare_one(row, settings, work_dir, root)
        found["notes"] = "; ".join(filter(None, [found["notes"], _second_reader_note(row, root)]))
        return {"participant_id": participant, "status": "ok", "reason": "", **found}
    except (FlairnbError, OSError, RuntimeError, ValueError, MemoryError) as error:
        log.warning("%s: preparation failed (%s)", participant, type(error).__name__)
        return dict.fromkeys(COLUMNS, np.nan) | {
            "participant_id": participant,
            "status": "failed",
            "reason": str(error) or type(error).__name__,
            "brain_source": "",
            "notes": "",
        }


def _second_reader_note(row: dict[str, Any], root: Path) -> str:
    """Return why a second reader's mask cannot be used, "" where it can or none is named; it costs its score, not the case."""
    second = row.get("second_reader_mask")
    if not isinstance(second, str) or not second:
        return ""
    try:
        flair = open_nifti(root / row["flair"], "FLAIR")
        like: Any = SimpleNamespace(grid=Grid(flair.shape[:3], np.asarray(flair.affine, dtype=float)))
        read_mask(root / second, like, "second reader mask")
    except (FlairnbError, OSError) as error:
        log.warning("%s: the second reader's mask cannot be used (%s)", row["participant_id"], type(error).__name__)
        return str(error).replace(f"{root}{os.sep}", "")
    return ""


@dataclass(frozen=True)
class _Job:
    """One case: where its inputs are, what they are, and what to do."""

    participant: str
    work_dir: Path
    settings: PrepareSettings
    paths: dict[str, Path]
    hashes: dict[str, str]


def _prepare_one(row: dict[str, Any], settings: PrepareSettings, work_dir: Path, root: Path) -> dict[str, Any]:
    participant = str(row["participant_id"])
    paths = {name: root / row[name] for name in _INPUTS if isinstance(row.get(name), str) and row[name]}
    hashes = {name: sha256_file(path) if path.exists() else "absent" for name, path in paths.items()}
    key = content_hash(settings_hash(settings), hashes, code_hash())
    target = cohort_derivative(work_dir, participant, "FLAIR", space="work", desc="preproc")
    if is_current(target, Key=key) and _are_current(work_dir, participant, paths.get("reference_mask")):
        return _known_row(target, _way_to(paths["flair"], work_dir))
    flair = read_image(paths["flair"], "FLAIR")
    t1w = read_image(paths["t1w"], "T1w") if "t1w" in paths else None
    mask = read_mask(paths["brain_mask"], flair, "brain mask") if "brain_mask" in paths else None
    check_heads(flair, t1w, whole=mask is None)
    reference = read_mask(paths["reference_mask"], flair, "reference mask") if "reference_mask" in paths else None
    job = _Job(participant, work_dir, settings, paths, hashes)
    case, facts = _with_stored_brain(job, flair, t1w, mask)
    _write(job, case, facts, reference, key)
    return facts["Row"]


def _known_row(target: Path, flair: str) -> dict[str, Any]:
    """Return the row of a case that is prepared; the way to its FLAIR is written anew where the same image now lies elsewhere."""
    about = sidecar_path(target)
    known = read_json(about)
    if known["Flair"] != flair:
        write_json(about, {**known, "Flair": flair})
    return dict(known["Row"])


def _way_to(flair: Path, work_dir: Path) -> str:
    """Return the path of a FLAIR as seen from the work folder.

    Real folders on both sides: ``..`` of a path through a link leads elsewhere. A link to the FLAIR itself keeps its name.
    """
    return os.path.relpath(flair.parent.resolve() / flair.name, work_dir.resolve())


def _with_stored_brain(job: _Job, flair: Image, t1w: Image | None, mask: NDArray[np.bool_] | None) -> tuple[PreparedCase, dict[str, Any]]:
    """Prepare a case; an earlier run's brain mask is taken when nothing that it depends on has changed."""
    settings = job.settings
    affects = {k: v for k, v in as_dict(settings).items() if k not in _NO_BRAIN_SETTINGS}
    brain_key = content_hash(affects, {k: v for k, v in job.hashes.items() if k != "reference_mask"}, code_hash())
    stored = cohort_derivative(job.work_dir, job.participant, "mask", desc="brain")
    if is_current(stored, BrainKey=brain_key):
        known = read_json(sidecar_path(stored))
        case = prepare_case(flair, brain_mask=read_mask(stored, flair, "brain mask"), settings=settings, doubt_mask=False)
        source, notes, has_xfm = known["BrainSource"], known["Notes"], known["HasTransform"]
        seconds = {**known["Seconds"], **case.seconds}
    else:
        case = prepare_case(flair, t1w, mask, settings=settings)
        source, notes, has_xfm, seconds = case.brain_source, list(case.notes), case.t1w_xfm is not None, case.seconds
    row = {
        "brain_source": source,
        "brain_ml": round(float(case.brain_native.sum()) * flair.voxel_volume_ml, 2),
        "mean": case.mean,
        "sd": case.sd,
        "seconds": round(sum(seconds.values()), 3),
        "notes": "; ".join(notes),
    }
    return case, {"Row": row, "Seconds": seconds, "Notes": notes, "HasTransform": has_xfm, "BrainKey": brain_key}


def _write(job: _Job, case: PreparedCase, facts: dict[str, Any], reference: NDArray[np.bool_] | None, key: str) -> None:
    """Write all files of a case; the prepared FLAIR last, as the mark that it is whole."""
    paths, work_dir, participant = job.paths, job.work_dir, job.participant
    sources = [paths[name] for name in ("flair", "t1w", "brain_mask") if name in paths]
    plain = as_dict(job.settings)
    like = Image(case.work, case.work_grid.affine)
    brain = cohort_derivative(work_dir, participant, "mask", desc="brain")
    write_image(brain, case.brain_native, case.flair, np.uint8)
    known = {name: facts[name] for name in ("BrainKey", "Seconds", "Notes", "HasTransform")}
    write_sidecar(brain, sources, plain, {**known, "BrainSource": facts["Row"]["brain_source"], "Type": "Brain"})
    if case.t1w_xfm is not None:
        xfm = write_xfm(_xfm_path(work_dir, participant), case.t1w_xfm)
        write_sidecar(xfm, sources, plain, {"Direction": "maps FLAIR points to T1w points (ITK)"})
    work_brain = cohort_derivative(work_dir, participant, "mask", space="work", desc="brain")
    write_image(work_brain, case.work_brain, like, np.uint8)
    write_sidecar(work_brain, [brain], plain, {"Type": "Brain"})
    _write_reference(job, case, reference, like)
    target = cohort_derivative(work_dir, participant, "FLAIR", space="work", desc="preproc")
    write_image(target, case.work, like, np.float32)
    more = {"Flair": _way_to(paths["flair"], work_dir), **{name: facts[name] for name in ("Row", "Seconds", "Notes", "HasTransform")}}
    write_sidecar(target, sources, plain, {"Key": key, "Mean": case.mean, "Sd": case.sd, **more})


def _write_reference(job: _Job, case: PreparedCase, reference: NDArray[np.bool_] | None, like: Image) -> None:
    """Write the reader's mask on both grids; remove both where the table names none."""
    work, native = _work_reference(job.work_dir, job.participant), _native_reference(job.work_dir, job.participant)
    if reference is None:
        work.unlink(missing_ok=True)
        sidecar_path(work).unlink(missing_ok=True)
        drop_derivative(native)
        return
    source, plain = job.paths["reference_mask"], as_dict(job.settings)
    write_image(work, mask_to_work(reference, case.flair.affine, case.work_grid), like, np.uint8)
    write_sidecar(work, [source], plain, {"Type": "Lesion"})
    if not is_taken_over(native, source):
        write_native_mask(native, reference, case.flair, source, job.hashes["reference_mask"], plain)


def _are_current(work_dir: Path, participant: str, reference: Path | None) -> bool:
    """Tell whether the files beside a prepared FLAIR are whole, and its reference mask the reader's."""
    files = [
        cohort_derivative(work_dir, participant, "mask", desc="brain"),
        cohort_derivative(work_dir, participant, "mask", space="work", desc="brain"),
    ]
    if reference is not None:
        files.append(_work_reference(work_dir, participant))
        if not is_taken_over(_native_reference(work_dir, participant), reference):
            return False
    return all(is_current(path) for path in files)


def _native_reference(work_dir: Path, participant: str) -> Path:
    return cohort_derivative(work_dir, participant, "mask", label="lesion", desc="manual")


def _work_reference(work_dir: Path, participant: str) -> Path:
    return cohort_derivative(work_dir, participant, "mask", space="work", label="lesion", desc="manual")


def _xfm_path(work_dir: Path, participant: str) -> Path:
    name = cohort_derivative(work_dir, participant, "xfm", extension=".txt")
    return name.with_name(f"{participant}_from-T1w_to-FLAIR_mode-image_xfm.txt")


@functools.lru_cache(maxsize=1)
def code_hash() -> str:
    """Return a hash of this room's code: other code, other results, prepare again."""
    return content_hash([p.read_text(encoding="utf-8") for p in sorted(Path(__file__).parent.glob("*.py"))])
