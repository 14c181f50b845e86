"""The comparison methods of a run as they are applied: what they look at, and the fitted methods on disk.

``models/baselines/`` holds one file a method (see
:mod:`flairnb.report.baseline_fit`) and, under ``cases/``, what the methods
look at of each head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.naming import cohort_derivative
from flairnb.provenance import content_hash, read_json, sha256_file
from flairnb.report import steps
from flairnb.report.methods import Found

if TYPE_CHECKING:
    from flairnb.baselines.case import BaselineCase
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.start import Run

FOLDER = "models/baselines"


def model_key(run: Run, method: str) -> str:
    """Return what a method's masks follow from, beside the case."""
    return content_hash(method, read_json(run.path(f"{FOLDER}/fit.json"))["Key"])


def finder(run: Run, participant: str, method: str) -> Callable[[PreparedCase], Found]:
    """Return the function that applies a fitted method to one case of the run."""

    def find(case: PreparedCase) -> Found:
        if method == "threshold":
            return find_in(run.work_dir, method, None, case)
        return find_in(run.work_dir, method, looked(run, participant), case)

    return find


def find_in(work_dir: Path, method: str, view: BaselineCase | None, case: PreparedCase) -> Found:
    """Apply a method that was fitted in a work folder to one prepared case.

    Parameters
    ----------
    work_dir : Path
    method : {"threshold", "lga", "lga03", "lpa", "bianca"}
        ``lga03`` is LGA at the setting ``baselines.lga_kappa``, ``lga`` at the
        kappa chosen on training cases.
    view : BaselineCase or None
        None for the plain threshold.
    case : PreparedCase
    """
    from flairnb.baselines import bianca, lga, lpa
    from flairnb.baselines.threshold import threshold_mask

    if method == "threshold":
        z = float(read_json(Path(work_dir) / "tables/threshold.json")["z"])
        return Found(threshold_mask(case.work, case.work_brain, z).astype(np.float32))
    folder = Path(work_dir) / FOLDER
    if method in ("lga", "lga03"):
        kappa = _model(folder / f"{method}.npz", lga.LgaModel).kappa
        return Found(view.whole(lga.lesion_map(view, kappa)), lga.CUT, seconds=view.seconds + view.tissue_seconds)
    if method == "lpa":
        model = _model(folder / "lpa.npz", lpa.LpaModel)
        return Found(view.whole(lpa.lesion_probability(view, model)), model.cut, seconds=view.seconds)
    mask = bianca.segment(view, _model(folder / "bianca.npz", bianca.BiancaModel))
    return Found(view.whole(mask.astype(np.float32)), seconds=view.seconds)


def looked(run: Run, participant: str, tissue: bool = True) -> BaselineCase:
    """Return what the comparison methods look at of one case, from disk where it is current.

    Parameters
    ----------
    run : Run
    participant : str
    tissue : bool
        With the tissue classes that LGA needs.
    """
    from flairnb.baselines import store
    from flairnb.baselines.case import look_at
    from flairnb.images import read_image
    from flairnb.prepare.cohort import read_prepared

    path = run.path(f"{FOLDER}/cases/{participant}.npz")
    key = case_key(run, participant)
    ready = store.key_of(path)
    if ready not in ((f"{key} tissue",) if tissue else (f"{key} tissue", key)):
        name = t1w_path(run, participant)
        t1w = read_image(name, "T1w") if name else None
        view = look_at(read_prepared(run.work_dir, participant), t1w, n4=run.settings.prepare.n4, tissue=tissue)
        store.save(path, view, f"{key} tissue" if tissue else key)
    # Always from disk: what is kept is rounded, and a second run must see what the first one saw.
    return _read_case(path, path.stat().st_mtime_ns)


def t1w_path(run: Run, participant: str) -> Path | None:
    """Return a participant's T1w; None without one."""
    manifest = run.path("manifest.tsv")
    name = _t1w_names(manifest, steps.data_root(run), manifest.stat().st_mtime_ns).get(participant, "")
    return steps.data_root(run) / name if name else None


@functools.lru_cache(maxsize=2)
def _t1w_names(manifest: Path, root: Path, changed_ns: int) -> dict[str, str]:
    from flairnb.cohort.manifest import read_manifest

    table = read_manifest(manifest, root)
    return {row.participant_id: str(getattr(row, "t1w", "") or "") for row in table.itertuples()}


def case_key(run: Run, participant: str) -> str:
    """Return a hash of what `looked` follows from."""
    source = cohort_derivative(run.work_dir, participant, "FLAIR", space="work", desc="preproc")
    t1w = t1w_path(run, participant)
    return content_hash(sha256_file(source), sha256_file(t1w) if t1w else "", run.settings.prepare.n4, code_hash())


@functools.lru_cache(maxsize=1)
def code_hash() -> str:
    """Return a hash of the room `baselines`: other code, other masks."""
    import flairnb.baselines

    folder = Path(flairnb.baselines.__file__).parent
    return content_hash([path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))])


@functools.lru_cache(maxsize=1)
def _read_case(path: Path, changed_ns: int) -> BaselineCase:
    """Read a case; the last one stays, as several methods look at it in turn and share its priors."""
    from flairnb.baselines import store
    from flairnb.baselines.case import BaselineCase

    return store.load(path, BaselineCase)


@functools.lru_cache(maxsize=8)
def _read_model(path: Path, kind: type, changed_ns: int) -> Any:
    from flairnb.baselines import store

    return store.load(path, kind)


def _model(path: Path, kind: type) -> Any:
    """Read a fitted method, once a process and version of the file."""
    return _read_model(path, kind, path.stat().st_mtime_ns if path.is_file() else 0)
