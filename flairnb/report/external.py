"""Take over masks of outside tools, to be scored beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.provenance import is_current, read_json, sha256_file
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run

_COLUMNS = ("participant_id", "method", "status", "reason", "seconds_method", "seconds_native", "lesion_volume_ml", "lesion_count")


def take_over_external(run: Run) -> pd.DataFrame:
    """Copy outside tools' masks of the validation cases to where native masks are scored.

    Copies of an earlier run that none of these masks stands behind any more are
    removed: of a tool or case that the folder no longer holds, or of a mask
    that was refused.

    Returns
    -------
    DataFrame
        One row a validation case and tool, as
        :func:`flairnb.report.methods.apply_baselines`; a mask that is absent
        or on another grid is a row with its reason. Empty where
        ``baselines.external`` names no folder.
    """
    import pandas as pd

    from flairnb.baselines.external import find_tools

    place, rows = outside_folder(run), []
    for tool, files in (find_tools(place) if place else {}).items():
        rows += [_take_over(run, participant, tool, files) for participant in steps.prepared_ids(run, "validation")]
    _drop_stale(run, [(row["participant_id"], row["method"]) for row in rows if row["status"] == "ok"])
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def outside_folder(run: Run) -> Path | None:
    """Return the folder of outside tools' masks; None where ``baselines.external`` names none."""
    folder = run.settings.baselines.external
    return steps.data_root(run) / Path(folder).expanduser() if folder else None


def _target(run: Run, participant: str, tool: str) -> Path:
    return cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc=tool)


def _drop_stale(run: Run, good: list[tuple[str, str]]) -> None:
    """Remove all copies of outside masks but the good ones, by participant and tool."""
    from flairnb.prepare.cohort import drop_derivative

    keep = {_target(run, participant, tool) for participant, tool in good}
    for path in steps.native_masks(run):
        if path not in keep and _is_copy(path):
            drop_derivative(path)


def _is_copy(path: Path) -> bool:
    """Tell whether a mask was taken over from a tool: unlike a mask made here its side-car has a key, and no row of results."""
    about = sidecar_path(path)
    try:
        known = read_json(about) if about.is_file() else {}
    except ValueError:
        return False
    return "Key" in known and "Row" not in known


def _take_over(run: Run, participant: str, tool: str, files: dict[str, Path]) -> dict[str, Any]:
    from flairnb.baselines.external import read_external
    from flairnb.evaluate.components import label_lesions
    from flairnb.prepare.cohort import read_prepared
    from flairnb.report.methods import write_mask

    row: dict[str, Any] = {"participant_id": participant, "method": tool, "status": "failed"}
    if participant not in files:
        return {**row, "reason": f"{participant}: expected a mask of {tool}, found none. Add it to the folder of outside masks."}
    target = _target(run, participant, tool)
    try:
        key = {"Key": sha256_file(files[participant])}
        case = read_prepared(run.work_dir, participant)
        mask = read_external(files[participant], case.flair, participant)
        if not is_current(target, **key):
            write_mask(target, mask, case, files[participant], key)
    except (FlairnbError, OSError) as error:
        return {**row, "reason": str(error)}
    volume = round(float(np.count_nonzero(mask)) * case.flair.voxel_volume_ml, 4)
    return {**row, "status": "ok", "reason": "", "lesion_volume_ml": volume, "lesion_count": label_lesions(mask)[1]}
