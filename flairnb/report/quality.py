"""Checks of a run's intermediate results, as tables."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.naming import anat_dir, cohort_derivative, derivative_path
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run

logger = logging.getLogger(__name__)


def status_summary(table: pd.DataFrame, by: str | None = None, **more: float) -> pd.DataFrame:
    """Count the cases that went well and those that did not, with the reasons.

    Parameters
    ----------
    table : DataFrame
        With `status` and `reason`.
    by : str, optional
        Count within each value of this column.
    **more : float
        Further rows, such as a learnt threshold.

    Returns
    -------
    DataFrame
        One row a status (and group): cases, first reason.
    """
    import pandas as pd

    keys = [by, "status"] if by else ["status"]
    groups = table.groupby(keys, sort=True)["reason"]
    summary = groups.agg(cases="size", first_reason="first").reset_index()
    extra = pd.DataFrame([{keys[0]: name.replace("_", " "), "cases": round(float(value), 3)} for name, value in more.items()])
    return pd.concat([summary, extra], ignore_index=True).fillna("") if len(extra) else summary


def preparation_summary(preparation: pd.DataFrame) -> pd.DataFrame:
    """Return cases, failures and seconds of the preparation, over all cases."""
    import pandas as pd

    ok = preparation["status"] == "ok"
    seconds = preparation.loc[ok, "seconds"]
    reasons = sorted(set(preparation.loc[~ok, "reason"].astype(str)))
    rows = {
        "cases prepared": int(ok.sum()),
        "cases that failed": int((~ok).sum()),
        "reasons": "; ".join(reasons) or "none",
        "seconds a case, median": f"{seconds.median():.1f}",
        "seconds a case, longest": f"{seconds.max():.1f}",
    }
    return pd.Series(rows, name="this run").to_frame()


def reference_volumes(run: Run) -> pd.DataFrame:
    """Return the lesion volume that the reference reader marked, by case.

    Returns
    -------
    DataFrame
        participant_id, diagnosis, split, volume_ml (NaN without a mask that can be read), note (why a mask cannot be read, else "").
    """
    table = steps.read_cohort(run)[["participant_id", "diagnosis", "split", "reference_mask"]].copy()
    found = [_volume_ml(steps.data_root(run) / name) if name else (np.nan, "") for name in table["reference_mask"].fillna("")]
    volumes, notes = zip(*found, strict=True) if found else ((), ())
    return table.drop(columns="reference_mask").assign(volume_ml=volumes, note=notes)


def _volume_ml(path: Path) -> tuple[float, str]:
    """Return the volume of a mask and "", or NaN and why it cannot be read."""
    from flairnb.evaluate.cohort import without_folders
    from flairnb.geometry import voxel_volume_mm3

    try:
        mask, affine = _mask(path)
    except (FlairnbError, OSError) as error:
        logger.warning("%s: %s", path.name, type(error).__name__)
        return np.nan, without_folders(str(error))
    return np.count_nonzero(mask) * voxel_volume_mm3(affine) / 1000.0, ""


def unread_masks(volumes: pd.DataFrame) -> Any:
    """Say for which cases the reader's mask could not be read, and why; that all could, if so.

    Parameters
    ----------
    volumes : DataFrame
        From `reference_volumes`.
    """
    from IPython.display import Markdown

    bad = volumes[volumes["note"] != ""]
    if bad.empty:
        return Markdown("Every reference mask that the cohort names could be read.")
    reasons = "".join(f"\n- {row.participant_id}: {row.note}" for row in bad.itertuples())
    return Markdown(f"The reference mask of {len(bad)} of {len(volumes)} cases cannot be read; their volume is unknown:\n{reasons}")


def preparation_quality(run: Run) -> pd.DataFrame:
    """Compare each extracted brain with the phantom's true one, where it is known.

    Returns
    -------
    DataFrame
        participant_id, brain_ml, brain_dice (NaN where no truth exists), mean
        and SD inside the brain after normalisation.
    """
    import pandas as pd

    from flairnb.parallel import each_case

    cases = [(run, participant) for split in ("train", "validation") for participant in steps.prepared_ids(run, split)]
    return pd.DataFrame(each_case(_quality_of, cases, run.jobs))


def _quality_of(run: Run, participant: str) -> dict[str, Any]:
    from flairnb.evaluate.metrics import dice
    from flairnb.prepare.cohort import read_prepared

    case = read_prepared(run.work_dir, participant)
    truth = derivative_path(anat_dir(run.work_dir / "derivatives" / "phantom", participant), participant, "mask", desc="brain")
    inside = case.work[case.work_brain]
    return {
        "participant_id": participant,
        "brain_ml": float(np.count_nonzero(case.brain_native)) * case.flair.voxel_volume_ml,
        "brain_dice": dice(_mask(truth)[0], case.brain_native) if truth.is_file() else np.nan,
        "mean_in_brain": float(inside.mean()),
        "sd_in_brain": float(inside.std()),
    }


def round_trip(run: Run) -> pd.DataFrame:
    """Send each validation case's reference mask to the work grid and back.

    Returns
    -------
    DataFrame
        participant_id, dice of the mask with itself after the round trip:
        :func:`flairnb.prepare.native.there_and_back`.
    """
    import pandas as pd

    from flairnb.parallel import each_case

    rows = each_case(_round_trip_of, [(run, participant) for participant in steps.prepared_ids(run, "validation")], run.jobs)
    return pd.DataFrame([row for row in rows if row], columns=["participant_id", "dice"])


def _round_trip_of(run: Run, participant: str) -> dict[str, Any] | None:
    from flairnb.evaluate.metrics import dice
    from flairnb.prepare.cohort import read_prepared
    from flairnb.prepare.native import there_and_back

    native = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc="manual")
    if not native.is_file():
        return None
    reference, case = _mask(native)[0], read_prepared(run.work_dir, participant)
    return {"participant_id": participant, "dice": dice(reference, there_and_back(reference, case.flair, case.work_grid))}


def _mask(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel as nib

    from flairnb.images import read_mask

    return read_mask(path, what="mask"), np.asarray(nib.load(path).affine, dtype=float)
