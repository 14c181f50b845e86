"""Two examinations of one real patient, months apart: has the lesion load changed, or only been measured twice?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.report.retest import breadth
from flairnb.report.retest_summary import repeatabilities

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.evaluate.repeatability import Repeatability
    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.patient import Segmentation
    from flairnb.report.start import Run

PATIENT = "oms01"
#: FLAIR and T1w of both sessions, below the data folder (`flairnb fetch openms`).
FILES = tuple(tuple(f"openms/sub-{PATIENT}/ses-{n}/anat/sub-{PATIENT}_ses-{n}_{kind}.nii.gz" for kind in ("FLAIR", "T1w")) for n in (1, 2))
TABLE = "tables/sessions.tsv"


def compare_sessions(run: Run, repeats: pd.DataFrame) -> Any:
    """Segment both sessions with the shipped network, register, compare, and set the change against the repeats.

    Parameters
    ----------
    run : Run
    repeats : DataFrame
        From `flairnb.report.retest.repeat_cases`.

    Returns
    -------
    DataFrame or Markdown
        One column a quantity (see `compared`), also ``tables/sessions.tsv``; a
        sentence where there are no images, or the profile leaves them out.
    """
    from IPython.display import Markdown

    from flairnb.network.weights import shipped_names
    from flairnb.report.real import data_folder

    root = data_folder(run)
    if not breadth(run).sessions or not shipped_names():
        return Markdown("The two sessions are left out here: this profile is too short for them, or no network ships.")
    if not all((root / name).is_file() for pair in FILES for name in pair):
        return Markdown(f"The two sessions of {PATIENT} are not on disk: nothing to compare. `flairnb fetch openms` gets them.")
    limit, where = limit_of(repeats)
    return run.save(_two_sessions(run, root, limit, where), TABLE)


def limit_of(repeats: pd.DataFrame) -> tuple[Repeatability | None, str]:
    """Return the shipped network's repeatability, on real cases if there are two or more, and of which cases it is.

    On the log scale whatever the summary chose: a limit in ml that large tumours set says nothing of 1 ml of small lesions.
    """
    found = repeatabilities(repeats, "log")
    for source in ("real", "cohort", "simulated"):
        value = found.get((source, "shipped"))
        if value is not None and value.cases >= (2 if source == "real" else 1):
            return value, source
    return None, ""


def compared(first: Segmentation, second: Segmentation, pair: tuple[PreparedCase, PreparedCase], xfm: np.ndarray) -> dict[str, float]:
    """Return volumes of two examinations and how their masks lie on each other.

    Parameters
    ----------
    first, second : Segmentation
    pair : two PreparedCase
        Of the two examinations.
    xfm : (4, 4) array
        First FLAIR's world to the second's, RAS mm.

    Returns
    -------
    dict
        Volumes in ml and lesion counts on the examinations' own grids;
        `dice`, and the volumes marked in both, only in the first and only in
        the second, in ml on the first one's grid, within both brains.
    """
    from flairnb.evaluate.metrics import dice
    from flairnb.resampling import resample

    flair_1, flair_2 = pair[0].flair, pair[1].flair
    moved, brain = (
        resample(mask, flair_2.affine, flair_1.grid, order=0, world=xfm) > 0.5 for mask in (second.mask, np.asarray(pair[1].brain_native))
    )
    inside = brain & np.asarray(pair[0].brain_native, dtype=bool)
    a, b = first.mask & inside, moved & inside
    ml = flair_1.voxel_volume_ml
    return {
        "volume_1_ml": float(np.count_nonzero(first.mask)) * ml,
        "volume_2_ml": float(np.count_nonzero(second.mask)) * flair_2.voxel_volume_ml,
        "lesions_1": len(first.lesions),
        "lesions_2": len(second.lesions),
        "dice": dice(a, b),
        "both_ml": float(np.count_nonzero(a & b)) * ml,
        "only_1_ml": float(np.count_nonzero(a & ~b)) * ml,
        "only_2_ml": float(np.count_nonzero(b & ~a)) * ml,
    }


def register(first: PreparedCase, second: PreparedCase) -> np.ndarray:
    """Return the rigid map from the first examination's world to the second's, found inside the brain, mm."""
    from flairnb.prepare.bridge import load_ants
    from flairnb.prepare.register import best_start, refine_linear, rigid_starts

    load_ants()
    fixed, moving = ((case.work - case.work.min() * case.work_brain, case.work_grid.affine) for case in (first, second))
    start, _ = best_start(*fixed, *moving, rigid_starts(*fixed, *moving))
    return refine_linear(fixed, moving, start, "Rigid", (60, 30, 10))


def verdict(row: dict[str, float], limit: Repeatability | None, where: str, floor_ml: float) -> dict[str, Any]:
    """Return the change of volume, the smallest real change beside it (all as fractions of the first), and in words what that means."""
    change = row["volume_2_ml"] / row["volume_1_ml"] - 1 if row["volume_1_ml"] > 0 else float("nan")
    if limit is None:
        return {"change": change, "says": "no repeats to hold it against"}
    bounds = (limit.smallest_decrease, limit.smallest_increase)
    real = limit.is_real(row["volume_1_ml"], row["volume_2_ml"], floor_ml)
    says = "more than repeats of one image show" if real else "within what repeats of one image show"
    return {"change": change, "smallest_decrease": bounds[0], "smallest_increase": bounds[1], "repeats_of": where, "says": says}


def numbers(result: Any) -> dict[str, Any]:
    """Return the numbers of the two sessions; none where they were not compared."""
    if not hasattr(result, "iloc"):
        return {}
    row = result.iloc[0]
    return {f"sessions_{name}": float(row[name]) for name in ("volume_1_ml", "volume_2_ml", "change", "dice")}


def _two_sessions(run: Run, root: Path, limit: Repeatability | None, where: str) -> pd.DataFrame:
    import pandas as pd

    from flairnb.network.onednn import configure
    from flairnb.network.weights import SHIPPED, load_network, shipped_names

    configure(run.jobs)
    network = load_network(SHIPPED / shipped_names()[-1])
    done = [_segment(run, network, root, pair) for pair in FILES]
    cases = (done[0][0], done[1][0])
    row = compared(done[0][1], done[1][1], cases, register(*cases))
    floor = max(case.flair.voxel_volume_ml for case in cases)
    return pd.DataFrame([{"participant_id": PATIENT, **row, **verdict(row, limit, where, floor)}])


def _segment(run: Run, network: Network, root: Path, names: tuple[str, ...]) -> tuple[PreparedCase, Segmentation]:
    from flairnb.images import read_image
    from flairnb.report.patient import segment_image, settings_for

    flair, t1w = (read_image(root / name, kind) for name, kind in zip(names, ("FLAIR", "T1w"), strict=True))
    return segment_image(flair, network, *settings_for(network, None), threads=run.jobs, t1w=t1w)
