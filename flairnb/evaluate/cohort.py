"""Score every case and method of a run's work folder, in native space.

The masks are read from ``derivatives/flairnb/sub-*/anat/sub-*_label-lesion_desc-<method>_mask.nii.gz``; the reference
is the method ``manual``, and a healthy brain for which no reader's mask is named has no lesion. A case that cannot be
scored becomes a row with `status` and `reason`, never a gap.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flairnb.cohort.diagnoses import HEALTHY
from flairnb.errors import FlairnbError, MissingDataError
from flairnb.evaluate.components import describe_labels, label_lesions, touched_labels
from flairnb.evaluate.metrics import score_masks
from flairnb.geometry import Grid, check_same_grid
from flairnb.images import read_mask
from flairnb.naming import cohort_derivative
from flairnb.provenance import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flairnb.settings import EvaluateSettings

logger = logging.getLogger(__name__)

REFERENCE = "manual"
#: Order of known methods in tables and figures; others follow by name.
METHOD_ORDER = ("manual2", "unet", "shipped", "lga", "lga03", "lpa", "bianca", "threshold")
#: Columns taken over from the manifest where it has them.
CASE_COLUMNS = ("diagnosis", "split", "manufacturer", "model", "field_strength_t", "dimension", "hospital")

_METHOD_NAME = re.compile(r"^(?P<participant>sub-[A-Za-z0-9]+)_label-lesion_desc-(?P<method>[A-Za-z0-9]+)_mask\.nii\.gz$")


@dataclass(frozen=True)
class CohortScores:
    """`scores`: one row a case and method; `lesions`: one row a lesion of every mask, the reference's included."""

    scores: pd.DataFrame
    lesions: pd.DataFrame

    def write(self, tables_dir: str | os.PathLike) -> tuple[Path, Path]:
        """Write ``scores.tsv`` and ``lesions.tsv`` (NaN as "n/a", as BIDS asks) and return their paths."""
        folder = Path(tables_dir)
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "scores.tsv", folder / "lesions.tsv"
        for path, table in zip(paths, (self.scores, self.lesions), strict=True):
            with atomic_path(path) as temporary:
                table.to_csv(temporary, sep="\t", index=False, na_rep="n/a")
        return paths


def read_scores(tables_dir: str | os.PathLike) -> CohortScores:
    """Read what `CohortScores.write` wrote.

    Raises
    ------
    MissingDataError
        If a table is absent.
    """
    tables = []
    for name in ("scores.tsv", "lesions.tsv"):
        path = Path(tables_dir) / name
        if not path.is_file():
            msg = f"{name}: expected the table of scores, found none in {path.parent.name}/. Run notebook 05 first."
            raise MissingDataError(msg)
        tables.append(pd.read_csv(path, sep="\t", na_values=["n/a"]))
    return CohortScores(*tables)


def find_methods(work_dir: str | os.PathLike) -> tuple[str, ...]:
    """Return the methods that left at least one native mask, in the order of `METHOD_ORDER`."""
    root = Path(work_dir) / "derivatives" / "flairnb"
    matches = (_METHOD_NAME.match(path.name) for path in root.glob("sub-*/anat/*_label-lesion_desc-*_mask.nii.gz"))
    found = {match["method"] for match in matches if match} - {REFERENCE}
    known = [method for method in METHOD_ORDER if method in found]
    return (*known, *sorted(found.difference(known)))


def score_cohort(
    manifest: pd.DataFrame,
    settings: EvaluateSettings,
    work_dir: str | os.PathLike,
    methods: Sequence[str] | None = None,
    jobs: int = 1,
) -> CohortScores:
    """Score every case of a manifest by every method.

    Parameters
    ----------
    manifest : DataFrame
        `participant_id` of the cases to score (the caller chooses the split); the columns of `CASE_COLUMNS` are
        carried over to the scores. `diagnosis` and `reference_mask` tell which healthy brains have no lesion.
    settings : EvaluateSettings
        Connectivity, and whether specificity and NPV count "brain" voxels or the whole "grid".
    work_dir : path
        A run's work folder.
    methods : sequence of str, optional
        Methods (the ``desc-`` of the masks); all that the folder holds if not given.
    jobs : int
        Cases scored at the same time.

    Returns
    -------
    CohortScores
        `scores` columns: participant_id, the manifest's, method, status ("ok", "missing" or "failed"), reason, then
        the fields of `flairnb.evaluate.metrics.Scores`. `lesions` columns: participant_id, method, the columns of
        `lesion_table`, and `overlaps` (with the reference, or for the reference's own lesions one column
        `found_by_<method>`). Not written to disk; call `write`.
    """
    from joblib import Parallel, delayed

    work_dir = Path(work_dir)
    methods = tuple(methods) if methods is not None else find_methods(work_dir)
    cases = manifest["participant_id"].tolist()
    unmarked = _healthy_unmarked(manifest)
    results = Parallel(n_jobs=jobs, prefer="threads")(
        delayed(_score_case)(work_dir, case, methods, settings, case in unmarked) for case in cases
    )
    rows = [row for scores, _ in results for row in scores]
    tables = [table for _, lesions in results for table in lesions]
    scores = pd.DataFrame(rows, columns=None if rows else ["participant_id", "method", "status", "reason"])
    carried = [column for column in CASE_COLUMNS if column in manifest.columns]
    scores = manifest[["participant_id", *carried]].merge(scores, on="participant_id", how="right")
    bad = scores[scores["status"] != "ok"]
    if len(bad):
        logger.warning("%d of %d case-method pairs could not be scored; see the column reason", len(bad), len(scores))
    lesions = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["participant_id", "method"])
    return CohortScores(scores, lesions)


#: The folders of an absolute path, whose names may hold blanks inside ("/data/Anna M 1970/").
_FROM_ROOT = re.compile(r"(?<![\w/\\])(?:/|[A-Za-z]:[/\\])(?:[^/\\\n:;,\"']*[^/\\\n:;,\"'\s][/\\])*")


def without_folders(reason: str) -> str:
    """Return a reason as it may stand in a report: it names the file, not where this machine keeps it.

    Examples
    --------
    >>> without_folders("mask: expected a file, found nothing at /data/Anna M 1970/work/sub-1_mask.nii.gz. Check the path.")
    'mask: expected a file, found nothing at sub-1_mask.nii.gz. Check the path.'
    """
    return re.sub(r"\S*[/\\]", "", _FROM_ROOT.sub("", reason))


def _healthy_unmarked(manifest: pd.DataFrame) -> set[str]:
    """Return the healthy participants for whom the manifest names no reader's mask: they have no lesion."""
    if "diagnosis" not in manifest:
        return set()
    healthy = manifest["diagnosis"] == HEALTHY.key
    if "reference_mask" in manifest:
        healthy &= manifest["reference_mask"].fillna("") == ""
    return set(manifest.loc[healthy, "participant_id"])


def _score_case(
    work_dir: Path, participant_id: str, methods: tuple[str, ...], settings: EvaluateSettings, unmarked: bool
) -> tuple[list[dict], list[pd.DataFrame]]:
    try:
        reference, grid = _reference(work_dir, participant_id, unmarked)
        brain = _brain(work_dir, participant_id, grid) if settings.specificity_over == "brain" else None
    except (FlairnbError, OSError) as error:
        return [_failure(participant_id, method, error) for method in methods], []
    labels, count = label_lesions(reference, settings.connectivity)
    of_reference = describe_labels(labels, count, grid.affine)
    rows, tables = [], []
    for method in methods:
        try:
            predicted, predicted_grid = _native_mask(work_dir, participant_id, method)
            check_same_grid(grid, predicted_grid, f"{participant_id}: {REFERENCE} and {method} masks")
            scores = score_masks(reference, predicted, grid.affine, brain, settings.connectivity)
        except (FlairnbError, OSError) as error:
            rows.append(_failure(participant_id, method, error))
            continue
        rows.append({"participant_id": participant_id, "method": method, "status": "ok", "reason": "", **scores.as_dict()})
        found = touched_labels(labels, count, predicted)
        of_reference[f"found_by_{method}"] = found[of_reference.index.to_numpy() - 1]
        tables.append(_predicted_lesions(participant_id, method, predicted, reference, grid, settings.connectivity))
    of_reference.insert(0, "participant_id", participant_id)
    of_reference.insert(1, "method", REFERENCE)
    return rows, [of_reference, *tables]


def _predicted_lesions(
    participant_id: str,
    method: str,
    predicted: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    grid: Grid,
    connectivity: int,
) -> pd.DataFrame:
    labels, count = label_lesions(predicted, connectivity)
    table = describe_labels(labels, count, grid.affine)
    table["overlaps"] = touched_labels(labels, count, reference)[table.index.to_numpy() - 1]
    table.insert(0, "participant_id", participant_id)
    table.insert(1, "method", method)
    return table


def _reference(work_dir: Path, participant_id: str, unmarked: bool) -> tuple[NDArray[np.bool_], Grid]:
    """Return the reader's mask and its grid; of a healthy brain that nobody marked, no voxel on its FLAIR's grid (the brain mask's)."""
    path = cohort_derivative(work_dir, participant_id, "mask", label="lesion", desc=REFERENCE)
    if not unmarked or path.is_file():
        return _native_mask(work_dir, participant_id, REFERENCE)
    brain, grid = _mask_and_grid(cohort_derivative(work_dir, participant_id, "mask", desc="brain"), f"{participant_id}: brain mask")
    return np.zeros_like(brain), grid


def _native_mask(work_dir: Path, participant_id: str, method: str) -> tuple[NDArray[np.bool_], Grid]:
    path = cohort_derivative(work_dir, participant_id, "mask", label="lesion", desc=method)
    return _mask_and_grid(path, f"{participant_id}: {method} lesion mask")


def _brain(work_dir: Path, participant_id: str, grid: Grid) -> NDArray[np.bool_] | None:
    path = cohort_derivative(work_dir, participant_id, "mask", desc="brain")
    if not path.is_file():
        return None
    brain, brain_grid = _mask_and_grid(path, f"{participant_id}: brain mask")
    check_same_grid(grid, brain_grid, f"{participant_id}: {REFERENCE} and brain masks")
    return brain


def _mask_and_grid(path: Path, what: str) -> tuple[NDArray[np.bool_], Grid]:
    import nibabel as nib

    mask = read_mask(path, what=what)
    return mask, Grid(mask.shape, nib.load(path).affine)


def _failure(participant_id: str, method: str, error: Exception) -> dict:
    status = "missing" if isinstance(error, FileNotFoundError) else "failed"
    return {"participant_id": participant_id, "method": method, "status": status, "reason": without_folders(str(error))}
