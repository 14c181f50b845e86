"""Chapter 12: what the choices that the article leaves open do to Dice, without training again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from flairnb.naming import cohort_derivative
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.start import Run
    from flairnb.settings import InferSettings

#: How far the brain's border is moved, in mm; 0 is the run as it was.
BRAIN_STEPS_MM = (-4.0, -2.0, 0.0, 2.0, 4.0)
THRESHOLDS = (0.3, 0.4, 0.6, 0.7)
COLUMNS = ["ablation", "choice", "participant_id", "dice", "seconds"]
USUAL = "as run"


@dataclass(frozen=True)
class _Subject:
    """One validation case with what all ablations share."""

    run: Run
    network: Network
    participant: str
    case: PreparedCase
    reference: NDArray[np.bool_]
    infer: InferSettings
    probability: NDArray[np.float32]

    def row(self, ablation: str, choice: str, make: Callable[[], NDArray[np.bool_]], is_timed: bool = True) -> tuple:
        """Return a choice's row; its seconds are NaN unless `make` does the same work as the other choices' does."""
        from flairnb.evaluate.metrics import dice

        start = time.perf_counter()
        mask = make()
        seconds = time.perf_counter() - start if is_timed else float("nan")
        return ablation, choice, self.participant, dice(self.reference, mask), seconds

    def predict(self, infer: InferSettings, case: PreparedCase | None = None) -> NDArray[np.float32]:
        from flairnb.network.inference import predict

        case = case or self.case
        return predict(self.network.model, case.work, case.work_brain, infer)

    def native(
        self, probability: NDArray[np.float32], case: PreparedCase | None = None, threshold: float | None = None
    ) -> NDArray[np.bool_]:
        """Return the mask of a map on the work grid as the run makes it: cut inside the brain on the FLAIR's grid, no small lesion kept."""
        from flairnb.report.patient import back_to_native

        level = self.infer.threshold if threshold is None else threshold
        return back_to_native(probability, case or self.case, level, self.infer.min_lesion_ml).mask


def ablations(run: Run) -> pd.DataFrame:
    """Change one choice at a time in a few validation cases.

    Parameters
    ----------
    run : Run
        ``audit.cases`` validation cases of median lesion volume and around it are tried.

    Returns
    -------
    DataFrame
        `ablation`, `choice`, `participant_id`, `dice` with the reader, `seconds` of that choice's own work
        on this case's share of the cores; cases run side by side. NaN where the run as it was is not timed: its
        network has run before, once for all ablations, and what is left here is no time to compare.
    """
    import pandas as pd

    from flairnb.parallel import each_case

    cases = _middle(run, run.settings.audit.cases)
    threads = max(1, run.jobs // max(1, len(cases)))
    done = each_case(_ablate, [(run, participant, threads) for participant in cases], run.jobs)
    return pd.DataFrame([row for rows in done for row in rows], columns=COLUMNS)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return median Dice, its median change against the run as it was, and mean seconds of every choice."""
    usual = table[table["choice"] == USUAL].set_index(["ablation", "participant_id"])["dice"]
    keys = table.set_index(["ablation", "participant_id"]).index
    change = table["dice"].to_numpy() - usual.reindex(keys).to_numpy()
    groups = table.assign(change=change).groupby(["ablation", "choice"], sort=False)
    found = groups.agg(cases=("dice", "count"), dice=("dice", "median"), change=("change", "median"), seconds=("seconds", "mean"))
    return found.reset_index()


def _ablate(run: Run, participant: str, threads: int) -> list[tuple]:
    """Return the rows of one case (in a process of its own)."""
    from flairnb.images import read_mask
    from flairnb.network.inference import predict
    from flairnb.network.onednn import configure
    from flairnb.network.weights import load_network
    from flairnb.prepare.cohort import read_prepared
    from flairnb.report.methods import own_infer
    from flairnb.report.quiet import quiet_stderr

    with quiet_stderr():
        configure(threads)
        network = load_network(run.path(steps.MODEL))
    case = read_prepared(run.work_dir, participant)
    path = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc="manual")
    reference = read_mask(path, like=case.flair, what="reference mask")
    infer = own_infer(run, network)
    probability = predict(network.model, case.work, case.work_brain, infer)
    subject = _Subject(run, network, participant, case, reference, infer, probability)
    return [*_tiles(subject), *_way_back(subject), *_brain(subject), *_thresholds(subject)]


def _middle(run: Run, cases: int) -> list[str]:
    """Return the cases around the median true volume."""
    scores = run.table("tables/scores.tsv")
    network = scores[(scores["method"] == "unet") & (scores["status"] == "ok") & (scores["reference_ml"] > 0)].sort_values("reference_ml")
    first = max(0, (len(network) - cases) // 2)
    return network["participant_id"].iloc[first : first + cases].tolist()


def _tiles(subject: _Subject) -> Iterator[tuple]:
    infer = subject.infer
    edge_mm = subject.run.settings.prepare.spacing_mm
    choices = {f"tiles every {step * edge_mm:g} mm": replace(infer, method="tiled", step=step) for step in _steps(infer.patch)}
    choices["one pass"] = replace(infer, method="whole")
    for name, setting in choices.items():
        if setting == infer:
            continue  # that is the run as it was

        def make(setting=setting) -> NDArray[np.bool_]:
            return subject.native(subject.predict(setting))

        yield subject.row("tile step", name, make)
    yield subject.row("tile step", USUAL, lambda: subject.native(subject.probability), is_timed=False)


def _steps(patch: int) -> tuple[int, ...]:
    """Return a third, a half and the whole of a patch in voxels: 32, 48 and 96 of the article's."""
    return patch // 3, patch // 2, patch


def _way_back(subject: _Subject) -> Iterator[tuple]:
    cut = (subject.probability >= subject.infer.threshold).astype(np.float32)
    yield subject.row("way back", USUAL, lambda: subject.native(subject.probability))
    yield subject.row("way back", "cut, then linear", lambda: subject.native(cut, threshold=0.5))
    yield subject.row("way back", "nearest, then cut", lambda: _nearest(subject))


def _nearest(subject: _Subject) -> NDArray[np.bool_]:
    """Return what `_Subject.native` returns, but for the nearest voxel of the work grid in place of the mean between voxels."""
    from flairnb.evaluate.components import lesion_table, without_small
    from flairnb.prepare.native import to_native

    affine, infer = subject.case.flair.affine, subject.infer
    native = to_native(subject.probability, subject.case, order=0)
    mask = without_small((native >= infer.threshold) & subject.case.brain_native, affine, infer.min_lesion_ml)
    lesion_table(mask, affine, native)  # for the clock: the other ways describe their lesions, too
    return mask


def _brain(subject: _Subject) -> Iterator[tuple]:
    for step in BRAIN_STEPS_MM:

        def make(step=step) -> NDArray[np.bool_]:
            return _with_other_brain(subject, step) if step else subject.native(subject.probability)

        yield subject.row("brain mask", f"{step:+g} mm" if step else USUAL, make, is_timed=bool(step))


def _with_other_brain(subject: _Subject, step_mm: float) -> NDArray[np.bool_]:
    """Move the border of the native brain mask, prepare and segment again."""
    from flairnb.prepare.case import prepare_case

    brain = moved_border(subject.case.brain_native, step_mm, subject.case.flair.affine)
    if not brain.any():
        return np.zeros(brain.shape, dtype=bool)
    case = prepare_case(subject.case.flair, brain_mask=brain, settings=subject.run.settings.prepare, doubt_mask=False)
    return subject.native(subject.predict(subject.infer, case), case)


def moved_border(mask: NDArray[np.bool_], step_mm: float, affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask whose border lies `step_mm` further out (in, if negative), within and across slices.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), bool); mask[2:7, 2:7, 2:7] = True
    >>> int(moved_border(mask, -1.0, np.eye(4)).sum())
    27
    """
    from scipy import ndimage

    from flairnb.geometry import spacing_mm

    inside = step_mm < 0
    distance = ndimage.distance_transform_edt(mask if inside else ~mask, sampling=spacing_mm(affine))
    return mask & (distance > abs(step_mm)) if inside else mask | (distance <= step_mm)


def _thresholds(subject: _Subject) -> Iterator[tuple]:
    yield subject.row("threshold", USUAL, lambda: subject.native(subject.probability))
    for level in THRESHOLDS:
        yield subject.row("threshold", f"{level:g}", lambda level=level: subject.native(subject.probability, threshold=level))
