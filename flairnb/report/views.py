"""The figures of the notebooks: which cases they show, drawn by `present`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flairnb.errors import FlairnbError, GeometryError, WorkFailed
from flairnb.images import Image, read_image, read_mask
from flairnb.naming import cohort_derivative
from flairnb.report import steps

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.present.contact_sheet import SheetCase
    from flairnb.report.start import Run

logger = logging.getLogger(__name__)

#: Rows of the Figure 3 layout, the paper's diseases first (Duong et al., Figure 3).
FIGURE3 = ("MSI", "SVID", "LGG", "CNSL", "ALD", "TLE")


def contact_sheet(run: Run) -> Figure:
    """Draw one case of each diagnosis with the reference outline: the first that can be read.

    Raises
    ------
    WorkFailed
        When no examination can be read.
    """
    from flairnb.present import contact_sheet as sheets

    cohort = steps.read_cohort(run).sort_values("split", ascending=False, kind="stable")
    reasons: list[str] = []
    found = [_first_readable(run, rows, reasons) for _, rows in cohort.groupby("diagnosis", sort=True)]
    cases = [case for case in found if case is not None]
    if not cases:
        raise WorkFailed(f"cohort: expected examinations that can be read, found none of {len(cohort)}. First reason: {reasons[0]}")
    return sheets.contact_sheet(cases, columns=5, title=simulated(run, "One examination of each diagnosis"))


def _first_readable(run: Run, rows: pd.DataFrame, reasons: list[str]) -> SheetCase | None:
    """Read the first case that can be, None if none; add to `reasons` what is wrong with those before it."""
    for row in rows.to_dict("records"):
        try:
            return native_case(run, row, ("manual",))
        except (FlairnbError, OSError) as error:
            logger.warning("%s: not shown (%s)", row["participant_id"], type(error).__name__)
            reasons.append(str(error))
    return None


def volume_histogram(volumes: pd.DataFrame) -> Figure:
    """Draw how lesion volumes are distributed in training and validation (article, Figure 4F)."""
    from flairnb.present.charts import histogram

    groups = {name: volumes.loc[volumes["split"] == name, "volume_ml"] for name in ("train", "validation")}
    return histogram(groups, "Lesion volume (reader 1), ml", log=True)


def brain_outline(run: Run) -> Figure:
    """Draw the extracted brain on one validation FLAIR."""
    from flairnb.present.slices import mosaic

    case = _show_case(run)
    return mosaic(case.flair, {"brain": case.brain_native}, count=8, title=simulated(run, "FLAIR as acquired, extracted brain"))


def prepared_volume(run: Run) -> Figure:
    """Draw the same case on the work grid, normalised."""
    from flairnb.present.slices import mosaic

    case = _show_case(run)
    work = Image(case.work, case.work_grid.affine)
    edge = run.settings.prepare.spacing_mm
    title = simulated(run, f"The prepared volume: brain only, {edge:g} mm cubes, mean 0 and SD 1")
    return mosaic(work, {"brain": case.work_brain}, count=8, title=title)


def quality_chart(quality: pd.DataFrame) -> Figure:
    """Draw the brain volumes of all prepared cases."""
    from flairnb.present.charts import histogram

    return histogram({"extracted brains": quality["brain_ml"]}, "Brain volume, ml")


def architecture(run: Run) -> Figure:
    """Draw the network from the model that the settings build (article, Figure 2)."""
    from flairnb.network.onednn import configure
    from flairnb.network.unet import build_unet
    from flairnb.present.network_figure import network_figure

    configure(run.jobs)
    return network_figure(build_unet(run.settings.network), run.settings.train.patch)


def training_patches(run: Run, count: int = 8) -> Figure:
    """Draw some of the first epoch's augmented patches with their lesion outlines."""
    from flairnb.network.dataset import EpochPatches
    from flairnb.present.contact_sheet import SheetCase, contact_sheet

    patches = EpochPatches(steps.training_volumes(run), run.settings.train, run.settings.seed, 0)
    affine = np.diag([*[run.settings.prepare.spacing_mm] * 3, 1.0])
    found: dict[str, list[SheetCase]] = {"with lesion": [], "without lesion": []}
    for place in range(min(16 * count, len(patches))):
        image, mask = patches[place]
        kind = found["with lesion" if mask.any() else "without lesion"]
        if len(kind) < count // 2:
            kind.append(SheetCase("with lesion" if mask.any() else "without lesion", Image(image, affine), {"manual": mask > 0}))
        if all(len(kind) == count // 2 for kind in found.values()):
            break
    return contact_sheet(
        [case for kind in found.values() for case in kind], columns=4, title=simulated(run, "Patches as the network is fed them")
    )


def learning_curve(history: pd.DataFrame) -> Figure:
    """Draw loss and Dice of the training patches over epochs."""
    from flairnb.present.charts import training_curve

    return training_curve(history[["epoch", "loss", "dice", "learning_rate"]], labels={"dice": "Dice on training patches"})


def tuning_curves(tuning: pd.DataFrame) -> Figure:
    """Draw how the comparison methods' free values were chosen on training cases."""
    from flairnb.present.tuning_figure import tuning_figure

    return tuning_figure(tuning)


def segmentation_example(run: Run) -> Figure:
    """Draw the network's and the reader's outlines in the case of median lesion volume."""
    from flairnb.present.slices import mosaic

    timing = run.table("tables/timing.tsv")
    timing = timing[timing["status"] == "ok"].sort_values("lesion_volume_ml")
    participant = timing["participant_id"].iloc[len(timing) // 2]
    row = _row(run, participant)
    case = native_case(run, row, ("unet", "manual"))
    return mosaic(case.image, case.masks, count=8, title=simulated(run, f"{participant}, {row['diagnosis']}"))


def timing_chart(timing: pd.DataFrame) -> Figure:
    """Draw the seconds a case took, all steps together."""
    from flairnb.present.charts import histogram

    return histogram({"all steps": timing["seconds_total"]}, "Seconds for one patient, preparation included")


def dice_by_method(scores: pd.DataFrame, tests: pd.DataFrame | None = None) -> Figure:
    """Draw median Dice by method with the article's medians (article, Figure 1A)."""
    from flairnb.evaluate.summary import significance_marks, summarise_scores
    from flairnb.present import charts
    from flairnb.present.tables import ARTICLE_TABLE2, BESIDE

    summary = summarise_scores(scores, values=("dice",))
    printed = ARTICLE_TABLE2["Dice, median"]
    article = {method: printed[BESIDE[method]] for method in summary["method"] if method in BESIDE}
    return charts.dice_by_method(summary, {} if tests is None else significance_marks(tests), article)


def volume_scatter(scores: pd.DataFrame) -> Figure:
    """Draw predicted against true lesion volume (article, Figure 4A)."""
    from flairnb.evaluate.summary import usable
    from flairnb.present import charts

    return charts.volume_scatter(usable(scores))


def examples(run: Run, rows: int = 6) -> Figure:
    """Draw FLAIR, network and reference of several diseases (article, Figure 3)."""
    from flairnb.present.contact_sheet import comparison_sheet

    timing = run.table("tables/timing.tsv")
    ready = set(timing.loc[timing["status"] == "ok", "participant_id"])
    cohort = steps.read_cohort(run, "validation")
    cohort = cohort[cohort["participant_id"].isin(ready)].drop_duplicates("diagnosis")
    order = {key: place for place, key in enumerate(FIGURE3)}
    cohort = cohort.sort_values("diagnosis", key=lambda keys: keys.map(order).fillna(len(order)), kind="stable").head(rows)
    cases = [native_case(run, row, ("unet", "manual")) for row in cohort.to_dict("records")]
    return comparison_sheet(cases, ("unet", "manual"), simulated(run, "Validation cases"))


def _show_case(run: Run):
    from flairnb.prepare.cohort import read_prepared

    return read_prepared(run.work_dir, steps.prepared_ids(run, "validation")[0])


def _row(run: Run, participant: str) -> dict:
    cohort = steps.read_cohort(run)
    return cohort[cohort["participant_id"] == participant].iloc[0].to_dict()


def native_case(run: Run, row: dict, methods: tuple[str, ...]) -> SheetCase:
    """Read one case's FLAIR and the masks of some methods, on its own grid; empty ones where absent, or of an earlier cohort's grid."""
    from flairnb.cohort.diagnoses import find_diagnosis
    from flairnb.present.contact_sheet import SheetCase

    flair = read_image(steps.data_root(run) / row["flair"], "FLAIR")
    masks = {}
    for method in methods:
        path = cohort_derivative(run.work_dir, row["participant_id"], "mask", label=steps.LESION, desc=method)
        mask = _mask_on(path, flair, f"{method} mask")
        masks[method] = np.zeros(flair.shape, dtype=bool) if mask is None else mask
    brain = _mask_on(cohort_derivative(run.work_dir, row["participant_id"], "mask", desc="brain"), flair, "brain mask")
    if brain is not None:
        masks["brain"] = brain
    return SheetCase(find_diagnosis(row["diagnosis"]).abbreviation, replace(flair, header=None), masks)


def _mask_on(path: Path, flair: Image, what: str) -> NDArray[np.bool_] | None:
    """Read a mask; None where there is none, or one of an earlier run, before the FLAIR changed: the next preparation replaces it."""
    if not path.is_file():
        return None
    try:
        return read_mask(path, like=flair, what=what)
    except GeometryError:
        logger.info("%s: of an earlier cohort", path.name)
        return None


def simulated(run: Run, text: str) -> str:
    """Return a title that says so when the patients are phantoms."""
    return f"{text} (simulated)" if run.settings.cohort.source == "phantom" else text
