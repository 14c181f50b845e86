"""Chapter 14: measure the same head again, otherwise stored, placed, sampled, lit; what changes, and by how much.

Brain mask, and the registrations of the comparison methods, are found once
and carried along: what scatters here is the segmentation itself. Repeats are
images computed from one acquisition; a patient who gets up and lies down
again differs in more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import FlairnbError
from flairnb.report import steps
from flairnb.report.perturb import REPEATS, Repeat, mask_on

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.baselines.case import BaselineCase
    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.patient import Segmentation
    from flairnb.report.start import Run

logger = logging.getLogger(__name__)

FIRST = "first"
COLUMNS = ("participant_id", "source", "method", "repeat", "status", "reason", "volume_ml", "change", "dice_between", "dice", "voxel_ml")


@dataclass(frozen=True)
class Breadth:
    """How much a profile repeats: simulated and real cases, comparison methods, the two real sessions."""

    simulated: int
    real: int
    baselines: tuple[str, ...]
    sessions: bool


BREADTHS = {"smoke": Breadth(2, 0, ("threshold",), False), "demo": Breadth(2, 2, ("threshold", "lpa", "bianca"), True)}
FULL = Breadth(12, 99, ("threshold", "lpa", "bianca", "lga"), True)


@dataclass(frozen=True)
class Subject:
    """One head to repeat.

    Attributes
    ----------
    name, source : str
        `source` is ``"simulated"``, ``"cohort"`` (a hospital's own) or ``"real"`` (public development cases).
    head : Repeat
        The FLAIR as acquired and its brain mask.
    reference : (I, J, K) bool array or None
        The reader's mask on the FLAIR's grid.
    view : BaselineCase or None
        What the comparison methods look at, registered; None without any.
    """

    name: str
    source: str
    head: Repeat
    reference: NDArray[np.bool_] | None
    view: BaselineCase | None


def breadth(run: Run) -> Breadth:
    """Return how much the run's profile repeats."""
    return BREADTHS.get(run.settings.profile, FULL)


def repeat_cases(run: Run) -> pd.DataFrame:
    """Segment some cases of the run, and real ones on disk, as they are and in every repeat.

    Returns
    -------
    DataFrame
        One row a case, method and repeat: `volume_ml`, its `change` against
        the first as a fraction, `dice_between` repeat and first, `dice` with
        the reader; also ``tables/retest.tsv``. What fails is a row with its reason.
    """
    import pandas as pd

    from flairnb.parallel import each_case

    cases = subjects(run)
    threads = max(1, run.jobs // max(1, len(cases)))
    calls = [(run, source, name, threads) for source, name in cases]
    rows = [row for found in each_case(_repeat_one, calls, run.jobs) for row in found]
    return run.save(pd.DataFrame(rows, columns=list(COLUMNS)), "tables/retest.tsv")


def _repeat_one(run: Run, source: str, name: str, threads: int) -> list[dict[str, Any]]:
    """Return the rows of one case; none for a real one that cannot be read."""
    subject = _real(run, name) if source == "real" else _simulated(run, source, name)
    return [] if subject is None else repeat_subject(subject, _tools(run, threads).methods(subject), run.seed)


def repeat_subject(subject: Subject, methods: dict[str, Callable[[Repeat], Segmentation]], seed: int) -> list[dict[str, Any]]:
    """Return the rows of one case: every method on the examination itself and on each repeat."""
    rows, first = [], {}
    grid, voxel_ml = subject.head.flair.grid, subject.head.flair.voxel_volume_ml
    for name, disturb in {FIRST: lambda head, _rng: head, **REPEATS}.items():
        again = disturb(subject.head, np.random.default_rng([seed, *f"{subject.name} {name}".encode()]))
        for method, segment in methods.items():
            row = {"participant_id": subject.name, "source": subject.source, "method": method, "repeat": name, "voxel_ml": voxel_ml}
            try:
                mask = segment(again).mask
            except (FlairnbError, OSError) as error:
                logger.warning("%s, %s, %s: %s", subject.name, method, name, type(error).__name__)
                rows.append({**row, "status": "failed", "reason": str(error)})
                continue
            here = mask if name == FIRST else mask_on(grid, mask, again.flair.affine)
            volume = float(np.count_nonzero(mask)) * again.flair.voxel_volume_ml
            known = first.setdefault(method, (here, volume)) if name == FIRST else first.get(method)
            rows.append({**row, "status": "ok", "reason": "", "volume_ml": volume, **_against(known, here, volume, subject.reference)})
    return rows


def _against(first: tuple[NDArray, float] | None, mask: NDArray, volume: float, reference: NDArray | None) -> dict[str, float]:
    from flairnb.evaluate.metrics import dice

    nan = float("nan")
    change, between = nan, nan
    if first is not None:
        change = volume / first[1] - 1 if first[1] > 0 else nan
        between = dice(first[0], mask)
    return {"change": change, "dice_between": between, "dice": nan if reference is None else dice(reference, mask)}


def subjects(run: Run) -> list[tuple[str, str]]:
    """Return source and name of the cases to repeat: spread over the validation cases with a lesion by volume, then real ones on disk."""
    wanted = breadth(run)
    source = "simulated" if run.settings.cohort.source == "phantom" else "cohort"
    with_lesion = _by_volume(run)
    found = [(source, with_lesion[at]) for at in spread(len(with_lesion), wanted.simulated)]
    if wanted.real:
        diseased = _diseased(run)["participant_id"].tolist()
        found += [("real", diseased[at]) for at in spread(len(diseased), wanted.real)]
    return found


def _by_volume(run: Run) -> list[str]:
    """Return the prepared validation cases with a lesion, the smallest load first."""
    from flairnb.images import read_mask
    from flairnb.naming import cohort_derivative
    from flairnb.prepare.cohort import read_prepared

    if not (run.work_dir / "tables/preparation.tsv").is_file():
        return []
    found = []
    for participant in steps.prepared_ids(run, "validation"):
        path = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc="manual")
        voxels = int(np.count_nonzero(read_mask(path))) if path.is_file() else 0
        if voxels:
            found.append((voxels * read_prepared(run.work_dir, participant).flair.voxel_volume_ml, participant))
    return [participant for _, participant in sorted(found)]


def _simulated(run: Run, source: str, participant: str) -> Subject:
    from flairnb.images import read_mask
    from flairnb.naming import cohort_derivative
    from flairnb.prepare.cohort import read_prepared

    case = read_prepared(run.work_dir, participant)
    path = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc="manual")
    reference = read_mask(path, case.flair, "reference mask")
    view = _simulated_view(run, participant, breadth(run))
    return Subject(participant, source, Repeat(case.flair, case.brain_native), reference, view)


def spread(n: int, wanted: int) -> list[int]:
    """Return `wanted` of the places 0 to n - 1, the middles of so many equal shares.

    Not the ends: the smallest lesion load of a cohort is one that no method finds twice.

    Examples
    --------
    >>> spread(10, 2)
    [2, 7]
    >>> spread(2, 5)
    [0, 1]
    """
    count = min(n, wanted)
    return [int((place + 0.5) * n / count) for place in range(count)]


def _simulated_view(run: Run, participant: str, wanted: Breadth) -> BaselineCase | None:
    from flairnb.report.baselines import looked

    return looked(run, participant, tissue="lga" in wanted.baselines) if set(wanted.baselines) - {"threshold"} else None


def _diseased(run: Run) -> pd.DataFrame:
    from flairnb.report import real

    found = real.find_cases(run)
    return found[found["reference_mask"] != ""]


def _real(run: Run, name: str) -> Subject | None:
    from flairnb.baselines.case import look_at
    from flairnb.images import read_image, read_mask
    from flairnb.prepare.case import prepare_case
    from flairnb.settings import load

    row = _diseased(run).set_index("participant_id").loc[name]
    try:
        flair = read_image(row["flair"], "FLAIR")
        t1w = read_image(row["t1w"], "T1w") if row["t1w"] else None
        reference = read_mask(row["reference_mask"], flair, "reference mask")
        coarse = prepare_case(flair, t1w, settings=load("demo").prepare, threads=run.jobs)
        view = look_at(coarse, t1w, tissue="lga" in breadth(run).baselines)
    except (FlairnbError, OSError) as error:
        logger.warning("%s: left out (%s)", name, type(error).__name__)
        return None
    return Subject(name, "real", Repeat(flair, coarse.brain_native), reference, view)


@cache
def _tools(run: Run, threads: int) -> Tools:
    return Tools(run, threads)


class Tools:
    """The methods of a run, loaded once a process: the shipped network (the run's own where none serves) and the fitted ones."""

    def __init__(self, run: Run, threads: int) -> None:
        from flairnb.network.onednn import configure
        from flairnb.network.weights import SHIPPED, load_network, shipped_names
        from flairnb.report.quiet import quiet_stderr
        from flairnb.report.real import fitted_in

        self.run, self.wanted = run, breadth(run)
        names = shipped_names() if run.settings.infer.shipped_spacing_mm else []
        self.name = "shipped" if names else "unet"
        with quiet_stderr():
            configure(threads)
            self.network: Network = load_network(SHIPPED / names[-1] if names else run.path(steps.MODEL))
        self.fitted_in: Path | None = fitted_in(run)

    def methods(self, subject: Subject) -> dict[str, Callable[[Repeat], Segmentation]]:
        """Return each method as a function from an examination to its mask on that examination's grid."""
        found: dict[str, Callable[[Repeat], Segmentation]] = {self.name: lambda again: self._by_network(again, subject.source)}
        if self.fitted_in is None:
            return found
        shared: dict[int, PreparedCase] = {}
        for method in self.wanted.baselines:
            if method == "threshold" or (subject.view is not None and (method != "lga" or subject.view.tissue is not None)):
                found[method] = lambda again, method=method: self._by_baseline(again, method, subject, shared)
        return found

    def _by_network(self, again: Repeat, source: str) -> Segmentation:
        from flairnb.report.methods import settings_beside
        from flairnb.report.patient import segment_image, settings_for

        prepare, infer = settings_for(self.network, None)
        if source != "real":
            spacing = self.run.settings.infer.shipped_spacing_mm if self.name == "shipped" else self.network.spacing_mm
            prepare, infer = settings_beside(self.run, self.network, spacing)
        return segment_image(again.flair, self.network, prepare, infer, threads=self.run.jobs, brain_mask=again.brain, doubt_mask=False)[1]

    def _by_baseline(self, again: Repeat, method: str, subject: Subject, shared: dict[int, PreparedCase]) -> Segmentation:
        from flairnb.prepare.case import prepare_case
        from flairnb.report.baselines import find_in
        from flairnb.report.patient import back_to_native
        from flairnb.settings import load

        if id(again.flair) not in shared:
            settings = self.run.settings.prepare if subject.source != "real" else load("demo").prepare
            shared.clear()
            shared[id(again.flair)] = prepare_case(again.flair, brain_mask=again.brain, settings=settings, doubt_mask=False)
        case = shared[id(again.flair)]
        view = None if subject.view is None else carried_over(subject.view, case)
        found = find_in(self.fitted_in, method, view, case)
        return back_to_native(np.asarray(found.values, np.float32), case, found.cut, found.min_ml)


def carried_over(view: BaselineCase, case: PreparedCase) -> BaselineCase:
    """Return what a comparison method sees of a repeat, with the registrations, T1w and tissue classes of the first.

    Parameters
    ----------
    view : BaselineCase
        Of the examination itself.
    case : PreparedCase
        Of the repeat, in the same world.
    """
    from flairnb.baselines.case import BaselineCase
    from flairnb.geometry import Grid, mask_box
    from flairnb.prepare.intensity import lift
    from flairnb.resampling import resample

    box = mask_box(case.work_brain, 3)
    affine = np.asarray(case.work_grid.affine, float).copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start or 0 for part in box]
    brain = case.work_brain[box]
    grid = Grid(tuple(int(n) for n in brain.shape), affine)
    t1w, tissue = (
        None if old is None else np.where(brain, resample(old, view.grid.affine, grid), 0).astype(np.float32)
        for old in (view.t1w, view.tissue)
    )
    mean = case.mean - lift(case.flair.data)[1]
    return BaselineCase(case.work[box], brain, t1w, tissue, grid, view.to_mni, mean, case.sd, box, tuple(case.work.shape))
