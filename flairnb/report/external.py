"""Take over masks of outside tools, to be scored beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.naming import cohort_derivative
from flairnb.provenance import is_current, sha256_file
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run

_COLUMNS = ("participant_id", "method", "status", "reason", "seconds_method", "seconds_native", "lesion_volume_ml", "lesion_count")


def take_over_external(run: Run) -> pd.DataFrame:
    """Copy outside tools' masks of the validation cases to where native masks are scored.

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

    folder = run.settings.baselines.external
    if not folder:
        return pd.DataFrame(columns=list(_COLUMNS))
    place = Path(folder) if Path(folder).is_absolute() else steps.data_root(run) / folder
    rows = []
    for tool, files in find_tools(place).items():
        rows += [_take_over(run, participant, tool, files) for participant in steps.prepared_ids(run, "validation")]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _take_over(run: Run, participant: str, tool: str, files: dict[str, Path]) -> dict[str, Any]:
    from flairnb.baselines.external import read_external
    from flairnb.evaluate.components import label_lesions
    from flairnb.prepare.cohort import read_prepared
    from flairnb.report.methods import write_mask

    row: dict[str, Any] = {"participant_id": participant, "method": tool, "status": "failed"}
    if participant not in files:
        return {**row, "reason": f"{participant}: expected a mask of {tool}, found none. Add it to the folder of outside masks."}
    target = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc=tool)
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
