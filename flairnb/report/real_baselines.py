"""The comparison methods on a real patient, as a run's phantoms taught them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flairnb.errors import MissingDataError
from flairnb.report.baseline_fit import TUNING
from flairnb.report.baselines import FOLDER, find_in
from flairnb.report.methods import BASELINES

if TYPE_CHECKING:
    from flairnb.images import Image
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.patient import Segmentation

#: Methods that need a T1w beside the FLAIR.
NEED_T1W = ("lga", "lga03")


def segment_with_baselines(
    fitted_in: str | os.PathLike,
    case: PreparedCase,
    t1w: Image | None = None,
    methods: Sequence[str] = BASELINES,
) -> dict[str, Segmentation]:
    """Apply comparison methods that were fitted in a run to one prepared real case.

    Parameters
    ----------
    fitted_in : path
        Work folder of a run whose notebook 04 is done.
    case : PreparedCase
        From :func:`flairnb.prepare.case.prepare_case`, at any voxel size: see
        :func:`flairnb.report.real.segment_cases`.
    t1w : Image, optional
        The same head's T1w, on its own grid, whole head or brain only. Without
        it LGA is left out, and BIANCA-style compares FLAIR and place alone.
    methods : sequence of str
        Of :data:`flairnb.report.methods.BASELINES`.

    Returns
    -------
    dict
        Method to its :class:`flairnb.report.patient.Segmentation` on the
        FLAIR's own grid; a method that cannot be applied is absent.

    Raises
    ------
    MissingDataError
        Nothing was fitted in that folder.

    Notes
    -----
    What the methods learnt (cuts, coefficients, neighbours) comes from the
    run's training cases: on phantoms, their Dice on patients says how well
    that carries over, not how good the published programs are.
    """
    from flairnb.baselines.case import look_at
    from flairnb.report.patient import back_to_native

    folder = Path(fitted_in)
    if not (folder / FOLDER / "fit.json").is_file() or not (folder / TUNING).is_file():
        raise MissingDataError(f"expected comparison methods fitted in {folder.name}, found none. Run its notebook 04 first.")
    view = look_at(case, t1w, tissue=any(name in NEED_T1W for name in methods))
    segmentations = {}
    for name in methods:
        if name in NEED_T1W and view.tissue is None:
            continue
        found = find_in(folder, name, view, case)
        segmentations[name] = back_to_native(np.asarray(found.values, np.float32), case, found.cut, found.min_ml)
    return segmentations
