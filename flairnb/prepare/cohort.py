"""Prepare every examination of a cohort, and read a prepared one back.

A case's files carry a key made of its inputs, the settings and this room's
code; what is there and current is not made again.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import MissingDataError
from flairnb.geometry import Grid, resample
from flairnb.images import Image, read_image, read_mask, write_image
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.prepare.case import PreparedCase, prepare_case
from flairnb.provenance import content_hash, is_current, read_json, sha256_file, write_sidecar
from flairnb.settings import PrepareSettings, as_dict

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_INPUTS = ("flair", "t1w", "brain_mask", "reference_mask")


def prepare_cohort(
    manifest: pd.DataFrame,
    settings: PrepareSettings,
    work_dir: str | os.PathLike,
    jobs: int = 1,
    data_root: str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Prepare every examination of a manifest; one that fails stops no other.

    Parameters
    ----------
    manifest : DataFrame
        `participant_id`, `split` and the paths of the images.
    settings : PrepareSettings
    work_dir : path
        Gets ``derivatives/flairnb/sub-*/anat/``.
    jobs : int
        Cases at a time; results do not depend on it.
    data_root : path, optional
        Folder that the manifest's paths start from; `work_dir` if absent.

    Returns
    -------
    DataFrame
        One row a case: participant_id, split, status ("ok" or "failed"),
        reason, seconds, brain_source, brain_ml, notes.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    work_dir = Path(work_dir)
    root = work_dir if data_root is None else Path(data_root)
    calls = (delayed(ensure_prepared)(row, settings, work_dir, root) for row in manifest.to_dict("records"))
    rows = Parallel(n_jobs=max(1, int(jobs)))(calls)
    columns = ["participant_id", "split", "status", "reason", "seconds", "brain_source", "brain_ml", "notes"]
    return pd.DataFrame(rows, columns=columns)


def ensure_prepared(row: Mapping[str, Any], settings: PrepareSettings, work_dir: Path, data_root: Path) -> dict[str, Any]:
    """Prepare one case unless its files are there, whole, and made from the same inputs, settings and code."""
    name = str(row["participant_id"])
    about = {"participant_id": name, "split": row.get("split", "")}
    try:
        paths = {key: data_root / str(row[key]) for key in _INPUTS if _given(row.get(key))}
        if "flair" not in paths:
            raise MissingDataError(f"{name}: expected the path of a FLAIR in the manifest, found none. Fill in the column flair.")
        key = _key(paths, settings)
        targets = _targets(work_dir, name, with_reference="reference_mask" in paths)
        if all(is_current(target, Key=key) for target in targets.values()):
            return {**about, **read_json(sidecar_path(targets["work"]))["Row"]}
        return {**about, **_prepare_one(paths, settings, targets, key)}
    except Exception as error:
        # Whatever goes wrong with one case must not stop the others; the row says what it was.
        log.warning("%s: preparation failed (%s)", name, type(error).__name__)
        reason = re.sub(r"\S*[/\\]", "", f"{type(error).__name__}: {error}".splitlines()[0])
        return {**about, "status": "failed", "reason": reason, "seconds": np.nan, "brain_source": "", "brain_ml": np.nan, "notes": ""}


def read_prepared(work_dir: str | os.PathLike, participant_id: str) -> PreparedCase:
    """Read back a case that `prepare_cohort` prepared.

    Raises
    ------
    MissingDataError
        It was not prepared.
    """
    work_dir = Path(work_dir)
    targets = _targets(work_dir, participant_id, with_reference=False)
    for target in targets.values():
        if not target.is_file():
            raise MissingDataError(f"{participant_id}: expected {target.name}, found none. Run notebook 02 first.")
    about = read_json(sidecar_path(targets["work"]))
    flair = read_image(work_dir / about["Flair"], "FLAIR")
    work = read_image(targets["work"], "prepared FLAIR")
    return PreparedCase(
        flair=flair,
        brain_native=read_mask(targets["brain"], like=flair, what="brain mask"),
        work=work.data,
        work_brain=read_mask(targets["work_brain"], like=work, what="brain mask on the work grid"),
        work_grid=work.grid,
        mean=float(about["Mean"]),
        sd=float(about["SD"]),
        t1w_xfm=None if about["T1wTransform"] is None else np.asarray(about["T1wTransform"], dtype=float),
        brain_source=about["Row"]["brain_source"],
        seconds=dict(about["Seconds"]),
        notes=tuple(filter(None, about["Row"]["notes"].split("; "))),
    )


def _prepare_one(paths: Mapping[str, Path], settings: PrepareSettings, targets: Mapping[str, Path], key: str) -> dict[str, Any]:
    flair = read_image(paths["flair"], "FLAIR")
    t1w = read_image(paths["t1w"], "T1w") if "t1w" in paths else None
    brain_mask = read_mask(paths["brain_mask"], like=flair, what="brain mask") if "brain_mask" in paths else None
    case = prepare_case(flair, t1w, brain_mask, settings=settings, threads=1)
    row = {
        "status": "ok",
        "reason": "",
        "seconds": round(sum(case.seconds.values()), 2),
        "brain_source": case.brain_source,
        "brain_ml": round(float(np.count_nonzero(case.brain_native)) * flair.voxel_volume_ml, 1),
        "notes": "; ".join(case.notes),
    }
    work_dir = targets["work"].parents[4]
    extra = {
        "Key": key,
        "Flair": os.path.relpath(paths["flair"], work_dir),
        "Mean": case.mean,
        "SD": case.sd,
        "T1wTransform": None if case.t1w_xfm is None else np.asarray(case.t1w_xfm).tolist(),
        "Seconds": case.seconds,
        "Row": row,
        "SpatialReference": targets["work"].name,
    }
    like = Image(case.work, case.work_grid.affine)
    sources = list(paths.values())
    _write(targets["brain"], case.brain_native, flair, np.uint8, sources, settings, {"Key": key})
    _write(targets["work_brain"], case.work_brain, like, np.uint8, sources, settings, {"Key": key})
    if "reference" in targets:
        reference = read_mask(paths["reference_mask"], like=flair, what="reference mask")
        _write(targets["reference"], on_work_grid(reference, flair, case.work_grid), like, np.uint8, sources, settings, {"Key": key})
    # Last, because it carries the row: without it nothing else counts as there.
    _write(targets["work"], case.work, like, np.float32, sources, settings, extra)
    return row


def on_work_grid(mask: np.ndarray, flair: Image, grid: Grid) -> np.ndarray:
    """Sample a native mask on the work grid: linear, then one half."""
    return resample(mask.astype(np.float32), flair.affine, grid, order=1) > 0.5


def _write(  # noqa: PLR0913 - a file and what its side-car says
    path: Path, data: np.ndarray, like: Image, dtype: type, sources: list[Path], settings: PrepareSettings, extra: dict[str, Any]
) -> None:
    write_image(path, data, like, dtype)
    write_sidecar(path, sources, as_dict(settings), extra)


def _targets(work_dir: Path, name: str, with_reference: bool) -> dict[str, Path]:
    targets = {
        "brain": cohort_derivative(work_dir, name, "mask", desc="brain"),
        "work_brain": cohort_derivative(work_dir, name, "mask", space="work", desc="brain"),
        "work": cohort_derivative(work_dir, name, "FLAIR", space="work", desc="preproc"),
    }
    if with_reference:
        targets["reference"] = cohort_derivative(work_dir, name, "mask", space="work", label="lesion", desc="manual")
    return targets


def _key(paths: Mapping[str, Path], settings: PrepareSettings) -> str:
    for path in paths.values():
        if not path.is_file():
            raise MissingDataError(f"expected an image, found nothing at {path.name}. Check the manifest's path.")
    return content_hash(as_dict(settings), {key: sha256_file(path) for key, path in paths.items()}, _code_hash())


@lru_cache(maxsize=1)
def _code_hash() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return content_hash([file.name for file in files], *files)


def _given(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
