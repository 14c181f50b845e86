"""Fit the comparison methods to the training cases, and choose their cuts there: validation is never looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import FlairnbError, WorkFailed
from flairnb.naming import cohort_derivative
from flairnb.provenance import content_hash, read_json, sha256_file, write_json
from flairnb.report import steps
from flairnb.report.baselines import FOLDER, case_key, looked, t1w_path

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.baselines.lpa import LpaModel
    from flairnb.report.start import Run

TUNING = "tables/baseline_tuning.tsv"
#: Files of the fitted methods in `FOLDER`.
MODELS = ("lga03", "lga", "lpa", "bianca")
#: Where the points of BIANCA-style lie while its cut is chosen.
_ALL_POINTS = "bianca_tuning"


def fit_baselines(run: Run) -> pd.DataFrame:
    """Fit all comparison methods to the prepared training cases, and choose their cuts there.

    Returns
    -------
    DataFrame
        Columns of :data:`flairnb.baselines.tuning.COLUMNS`: for each method
        and value tried, the mean Dice over the tuning cases, and which value
        was chosen. Also ``tables/baseline_tuning.tsv``, ``tables/threshold.json``
        and the fitted methods in ``models/baselines``.

    Raises
    ------
    WorkFailed
        When no training case could be looked at.
    InputError
        When no training case has a lesion.

    Notes
    -----
    A cut is chosen on cases that the fitted values have not seen: BIANCA-style
    leaves the case's own points out, LPA-style fits on the other half of the
    cases. LGA and the plain threshold have nothing else to fit.
    """
    import pandas as pd

    cases = steps.prepared_ids(run, "train")
    key = content_hash([case_key(run, case) for case in cases], _reference_hashes(run, cases), _settings_key(run), run.settings.seed)
    known = run.path(f"{FOLDER}/fit.json")
    if known.is_file() and read_json(known).get("Key") == key and _all_there(run):
        return run.table(TUNING)
    train = _Training(run, cases)
    table = pd.concat([_fit_threshold(train), _fit_lga(train), _fit_lpa(train), _fit_bianca(train)], ignore_index=True)
    write_json(run.path("tables/threshold.json"), {"z": chosen(table, "threshold"), "learnt_on": len(train.tuning)})
    run.save(table, TUNING)
    write_json(known, {"Key": key, "Cases": train.cases, "TuningCases": train.tuning})
    return table


def _all_there(run: Run) -> bool:
    from flairnb.baselines import store

    models = [run.path(f"{FOLDER}/{name}.npz") for name in MODELS]
    return (run.work_dir / TUNING).is_file() and all(store.key_of(path) is not None for path in models)


def chosen(table: pd.DataFrame, method: str) -> float:
    """Return the value that was chosen for a method."""
    rows = table[(table["method"] == method) & table["chosen"].astype(bool)]
    return float(rows["value"].iloc[0])


class _Training:
    """The training cases of a run and those of them that cuts are chosen on."""

    def __init__(self, run: Run, cases: Sequence[str]) -> None:
        from flairnb.baselines.tuning import spread

        self.run = run
        with_lesion = [case for case in cases if _reference(run, case) is not None and _reference(run, case).any()]
        tuning = spread(with_lesion, run.settings.baselines.tuning_cases)
        fine = self.each(_try_to_look, cases, [(case in tuning,) for case in cases])
        self.cases = [case for case, good in zip(cases, fine, strict=True) if good]
        self.tuning = [case for case in tuning if case in self.cases]
        if not self.cases:
            raise WorkFailed(f"comparison methods: expected training cases to fit to, could look at none of {len(cases)}. Run notebook 02.")

    def each(self, work: Callable[..., Any], cases: Sequence[str], more: Sequence[tuple] | None = None) -> list[Any]:
        """Return ``work(run, case, *more)`` of several cases, done in parallel."""
        from flairnb.parallel import each_case

        more = more or [()] * len(cases)
        return each_case(work, [(self.run, case, *m) for case, m in zip(cases, more, strict=True)], self.run.jobs)

    def keep(self, name: str, model: Any) -> Path:
        """Write a fitted method."""
        from flairnb.baselines import store

        return store.save(self.run.path(f"{FOLDER}/{name}.npz"), model, "")


def _fit_threshold(train: _Training) -> pd.DataFrame:
    from flairnb.baselines.threshold import CANDIDATES
    from flairnb.baselines.tuning import tuning_table

    curves = train.each(_threshold_dice, train.tuning, [(CANDIDATES,)] * len(train.tuning))
    return tuning_table("threshold", {"": (CANDIDATES, np.array(curves))})


def _fit_lga(train: _Training) -> pd.DataFrame:
    import pandas as pd

    from flairnb.baselines.lga import KAPPAS, LgaModel
    from flairnb.baselines.tuning import COLUMNS, tuning_table

    published = train.run.settings.baselines.lga_kappa
    train.keep("lga03", LgaModel(published))
    with_t1w = [case for case in train.tuning if t1w_path(train.run, case)]
    if not with_t1w:
        train.keep("lga", LgaModel(published))
        return pd.DataFrame(columns=list(COLUMNS))
    table = tuning_table("lga", {"": (KAPPAS, np.array(train.each(_lga_dice, with_t1w, [(KAPPAS,)] * len(with_t1w))))})
    train.keep("lga", LgaModel(chosen(table, "lga")))
    return table


def _fit_lpa(train: _Training) -> pd.DataFrame:
    from dataclasses import replace

    from flairnb.baselines.lpa import CUTS, fit_lpa
    from flairnb.baselines.tuning import tuning_table

    rows = dict(zip(train.cases, train.each(_lpa_rows, train.cases), strict=True))

    def fit(cases: Sequence[str]) -> LpaModel:
        return fit_lpa(*(np.concatenate(part) for part in zip(*(rows[case] for case in cases), strict=True)))

    everything = fit(train.cases)
    fold = {case: n % 2 for n, case in enumerate(train.cases)}
    halves = [[case for case in train.cases if fold[case] != n] for n in (0, 1)]
    # With a handful of cases a half may hold no lesion; then nothing can be held out.
    models = [fit(half) if half and any(rows[case][1].any() for case in half) else everything for half in halves]
    curves = train.each(_lpa_dice, train.tuning, [(models[fold[case]], CUTS) for case in train.tuning])
    table = tuning_table("lpa", {"": (CUTS, np.array(curves))})
    train.keep("lpa", replace(everything, cut=chosen(table, "lpa")))
    return table


def _fit_bianca(train: _Training) -> pd.DataFrame:
    from dataclasses import replace

    from flairnb.baselines.bianca import CUTS, BiancaModel
    from flairnb.baselines.tuning import tuning_table

    settings = train.run.settings.baselines
    found = train.each(_bianca_points, train.cases)
    numbers = np.concatenate([np.full(len(points), n) for n, (points, _) in enumerate(found)])
    points, lesion = (np.concatenate(part) for part in zip(*found, strict=True))
    model = BiancaModel(points, lesion, numbers, settings.knn_neighbours, settings.knn_spatial_weight)
    # Jobs get the file and the number of their case: a copy of all points for each of them would not fit into memory.
    kept = train.keep(_ALL_POINTS, model)
    curves = train.each(_bianca_dice, train.tuning, [(kept, train.cases.index(case)) for case in train.tuning])
    kept.unlink()
    variants = {name: (CUTS, np.array([curve[name] for curve in curves])) for name in ("no mask", "exclusion mask")}
    table = tuning_table("bianca", variants)
    best = table[table["chosen"]].iloc[0]
    train.keep("bianca", replace(model, cut=float(best["value"]), masked=best["variant"] == "exclusion mask"))
    return table


def _try_to_look(run: Run, participant: str, tissue: bool) -> bool:
    try:
        looked(run, participant, tissue)
    except (FlairnbError, OSError):
        return False
    return True


def _threshold_dice(run: Run, participant: str, candidates: Sequence[float]) -> NDArray[np.float64]:
    from flairnb.baselines.tuning import dice_at_cuts

    view, reference = looked(run, participant), _reference(run, participant)
    return dice_at_cuts(np.where(view.brain, view.flair, -np.inf), view.part(reference), candidates, view.beyond(reference))


def _lga_dice(run: Run, participant: str, kappas: Sequence[float]) -> list[float]:
    from flairnb.baselines.lga import CUT, lesion_maps
    from flairnb.baselines.tuning import dice_of

    view, reference = looked(run, participant), _reference(run, participant)
    return [dice_of(found >= CUT, view.part(reference), view.beyond(reference)) for found in lesion_maps(view, kappas)]


def _lpa_rows(run: Run, participant: str) -> tuple[NDArray, NDArray, NDArray]:
    from flairnb.baselines.lpa import sample_rows

    view = looked(run, participant, tissue=False)
    return sample_rows(view, view.part(_lesion(run, participant)), _points(run), _stream(run, "lpa", participant))


def _lpa_dice(run: Run, participant: str, model: LpaModel, cuts: Sequence[float]) -> NDArray[np.float64]:
    from flairnb.baselines.lpa import lesion_probability
    from flairnb.baselines.tuning import dice_at_cuts

    view, reference = looked(run, participant), _reference(run, participant)
    return dice_at_cuts(lesion_probability(view, model), view.part(reference), cuts, view.beyond(reference))


def _bianca_points(run: Run, participant: str) -> tuple[NDArray, NDArray]:
    from flairnb.baselines.bianca import sample_points

    view = looked(run, participant, tissue=False)
    return sample_points(view, view.part(_lesion(run, participant)), _points(run), _stream(run, "bianca", participant))


def _bianca_dice(run: Run, participant: str, points: Path, number: int) -> dict[str, NDArray]:
    """Return a case's curves by the points of all other cases; `number` is the case's own."""
    from flairnb.baselines import store
    from flairnb.baselines.bianca import BiancaModel, curves

    view, reference = looked(run, participant), _reference(run, participant)
    others = store.load(points, BiancaModel).without(number)
    return curves(view, view.part(reference), others, beyond=view.beyond(reference))


def _points(run: Run) -> tuple[int, int]:
    return run.settings.baselines.knn_lesion_points, run.settings.baselines.knn_other_points


def _stream(run: Run, purpose: str, participant: str) -> np.random.Generator:
    """Return a generator for one case and purpose: no case's draw depends on another's."""
    return np.random.default_rng([run.settings.seed, *f"{purpose} {participant}".encode()])


def _reference(run: Run, participant: str) -> NDArray[np.bool_] | None:
    from flairnb.images import read_mask

    path = _reference_path(run, participant)
    return read_mask(path, what="reference mask") if path.is_file() else None


def _lesion(run: Run, participant: str) -> NDArray[np.bool_]:
    """Return the reference mask; a training case without one is healthy."""
    from flairnb.prepare.cohort import read_prepared

    found = _reference(run, participant)
    return np.zeros(read_prepared(run.work_dir, participant).work.shape, dtype=bool) if found is None else found


def _reference_path(run: Run, participant: str) -> Path:
    return cohort_derivative(run.work_dir, participant, "mask", space="work", label=steps.LESION, desc="manual")


def _reference_hashes(run: Run, cases: Sequence[str]) -> list[str]:
    paths = [_reference_path(run, case) for case in cases]
    return [sha256_file(path) if path.is_file() else "" for path in paths]


def _settings_key(run: Run) -> str:
    from dataclasses import replace

    from flairnb.settings import settings_hash

    # Masks of outside tools change nothing of ours.
    return settings_hash(replace(run.settings.baselines, external=""))
