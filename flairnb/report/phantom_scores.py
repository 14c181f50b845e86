"""Score the shipped network on simulated patients of each of the 19 diseases, for its model card.

For maintainers; `CONTRIBUTING.md` says when::

    python -m flairnb.report.phantom_scores

draws two subjects of each disease by the phantom cohort's generator (1 mm heads,
a seed that nothing else uses), saves them as scanner images, segments each by
`flairnb segment`'s own function (whole head with skull, FLAIR and T1w) and
scores its mask on the FLAIR's own grid. It leaves ``phantoms.tsv`` and
``phantoms.json`` (commit and settings) in ``reports/robust`` and writes the
model card anew. Stopped and started again, it goes on where it was, unless
commit or settings have changed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.cohort.diagnoses import DIAGNOSES, find_diagnosis
from flairnb.errors import InputError
from flairnb.provenance import atomic_path, read_json, versions, write_json
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.settings import CohortSettings

logger = logging.getLogger(__name__)

#: Where the committed scores lie.
FOLDER = "reports/robust"
TABLE, ABOUT = "phantoms.tsv", "phantoms.json"
#: Apart from the seeds of the cohorts (2019), of the training heads (2019, 2026, 2027, 2031) and of tests.
SEED = 70119
#: The roster's validation sample has five of each disease (Susac syndrome: two).
MOST = 5
SCORES = ("dice", "sensitivity", "ppv", "reference_ml", "predicted_ml", "missed_ml", "false_ml")
COLUMNS = ("participant_id", "diagnosis", "status", "reason", *SCORES, "seconds", "weights_sha256")


def score_phantoms(
    subjects: int = 2,
    diagnoses: Sequence[str] = (),
    jobs: int = 2,
    out: str | Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> pd.DataFrame:
    """Make, segment and score simulated subjects; a row is written as soon as its subject is done.

    Parameters
    ----------
    subjects : int
        Of each disease, 1 to 5 (of Susac syndrome two at most).
    diagnoses : sequence of str
        Keys of :data:`flairnb.cohort.diagnoses.DIAGNOSES`; all 19 if empty.
    jobs : int
        Processes, each with one thread.
    out : path, optional
        Folder of ``phantoms.tsv`` and ``phantoms.json``; `FOLDER` if absent.
        Subjects that a table of the same commit and settings holds already are
        not done again, but for those that failed.
    say : callable
        Receives one line a subject.

    Returns
    -------
    DataFrame
        One row a subject, columns `COLUMNS`, volumes in ml; a subject that
        fails is a row with its reason. Also the rows that were there before.

    Raises
    ------
    InputError, ManifestError
        Another number of subjects, or a disease that there is not.
    MissingDataError
        No network ships.
    """
    from flairnb.parallel import on_processes
    from flairnb.settings import load

    cohort, rows = load("phantom").cohort, draw_subjects(subjects, diagnoses)
    folder = repository_root() / FOLDER if out is None else Path(out)
    done = _known(folder, settings_of(cohort))
    waiting = [row for row in rows if done.get(row["participant_id"], {}).get("status") != "ok"]
    for number, found in enumerate(on_processes(score_subject, [(row, cohort) for row in waiting], jobs), 1):
        done[found["participant_id"]] = found
        _write(folder / TABLE, done)
        what = f"Dice {found['dice']:.2f}" if found["status"] == "ok" else f"failed: {found['reason']}"
        say(f"{number} of {len(waiting)}, {found['participant_id']}: {what}")
    return published(folder)


def draw_subjects(subjects: int, diagnoses: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the roster rows of the first validation subjects of each disease, named after it (``sub-hgg1``)."""
    from flairnb.cohort.roster import draw_full_roster

    if not 1 <= subjects <= MOST:
        raise InputError(f"--subjects: expected 1 to {MOST} of each disease, found {subjects}.")
    wanted = [find_diagnosis(key).key for key in diagnoses] or [d.key for d in DIAGNOSES]
    roster = draw_full_roster(SEED)
    roster = roster[roster["split"] == "validation"]
    rows = []
    for key in wanted:
        mine = roster[roster["diagnosis"] == key].head(subjects).to_dict("records")
        rows += [{**row, "participant_id": f"sub-{key.lower()}{number}"} for number, row in enumerate(mine, 1)]
    return rows


def settings_of(cohort: CohortSettings) -> dict[str, Any]:
    """Return what the scores depend on, as ``phantoms.json`` holds it: commit, seed, heads, weights with what is stored with them."""
    from flairnb.cohort.build import generator_hash
    from flairnb.network.weights import SETTINGS_FILE, default_weights

    weights = read_json(default_weights(repository_root() / "work") / SETTINGS_FILE)
    return {
        "Simulated": True,
        "Command": "python -m flairnb.report.phantom_scores",
        "Commit": _commit(),
        "Seed": SEED,
        "HeadSpacingMm": cohort.head_spacing_mm,
        "Generator": generator_hash(),
        "Weights": {name: value for name, value in weights.items() if name not in ("card", "versions", "network")},
        "Versions": versions(),
    }


def score_subject(row: dict[str, Any], cohort: CohortSettings) -> dict[str, Any]:
    """Make, segment and score one subject (in a process of its own); whatever goes wrong is the row's reason."""
    named = {"participant_id": row["participant_id"], "diagnosis": row["diagnosis"]}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = {"status": "ok", "reason": "", **_segment_and_score(row, Path(folder), cohort)}
        except Exception as error:  # as for a cohort's phantoms: one that fails must not stop the others
            logger.exception("%s: not scored", row["participant_id"])
            reason = f"{type(error).__name__}: {error}".replace(folder, "").splitlines()[0]
            found = {"status": "failed", "reason": reason, **dict.fromkeys(SCORES, np.nan), "weights_sha256": ""}
    return {**named, **found, "seconds": round(time.perf_counter() - start, 1)}


def _segment_and_score(row: dict[str, Any], folder: Path, cohort: CohortSettings) -> dict[str, Any]:
    from flairnb.cohort.phantom.subject import write_subject
    from flairnb.evaluate.metrics import score_masks
    from flairnb.images import read_image, read_mask
    from flairnb.naming import derivative_path
    from flairnb.report.patient import segment_patient

    made = write_subject(row, folder, SEED, cohort)
    summary = segment_patient(folder / made["flair"], t1w=folder / made["t1w"], out_dir=folder / "out", threads=1)
    flair = read_image(folder / made["flair"], "FLAIR")
    reference = read_mask(folder / made["reference_mask"], flair, "reference mask")
    mask = read_mask(derivative_path(folder / "out", row["participant_id"], "mask", label="lesion", desc="unet"), flair, "mask")
    scores = score_masks(reference, mask, flair.spacing_mm).as_dict()
    apart = {"missed_ml": reference & ~mask, "false_ml": mask & ~reference}
    volumes = {name: float(np.count_nonzero(part)) * flair.voxel_volume_ml for name, part in apart.items()}
    return {name: {**scores, **volumes}[name] for name in SCORES} | {"weights_sha256": summary["weights"]["sha256"]}


def published(folder: str | Path | None = None) -> pd.DataFrame:
    """Return the committed scores (or those of another folder); no rows where there are none."""
    import pandas as pd

    path = (repository_root() / FOLDER if folder is None else Path(folder)) / TABLE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)


def by_disease(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a disease, in the order of `DIAGNOSES`.

    Returns
    -------
    DataFrame
        diagnosis, name, n (subjects that were scored), and the medians of
        dice (NaN where no subject has one), reference_ml, missed_ml, false_ml.
    """
    import pandas as pd

    good = table[table["status"] == "ok"]
    values = ["dice", "reference_ml", "missed_ml", "false_ml"]
    rows = []
    for disease in DIAGNOSES:
        mine = good[good["diagnosis"] == disease.key]
        if len(mine):
            rows.append({"diagnosis": disease.key, "name": disease.name, "n": len(mine), **mine[values].median().to_dict()})
    return pd.DataFrame(rows, columns=["diagnosis", "name", "n", *values])


def _known(folder: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of a table of the same settings by subject; else begin a new one."""
    about = folder / ABOUT
    plain = write_json(about.with_suffix(".new.json"), settings)  # as it reads back: tuples are lists there
    if not (about.is_file() and read_json(about) == read_json(plain)):
        (folder / TABLE).unlink(missing_ok=True)
    plain.replace(about)
    return {row["participant_id"]: row for row in published(folder).to_dict("records")}


def _write(path: Path, done: dict[str, dict[str, Any]]) -> None:
    """Write all rows, ordered by disease; whole at any moment."""
    import pandas as pd

    order = {disease.key: number for number, disease in enumerate(DIAGNOSES)}
    rows = sorted(done.values(), key=lambda row: (order[row["diagnosis"]], row["participant_id"]))
    with atomic_path(path) as temporary:
        table = pd.DataFrame(rows, columns=list(COLUMNS)).round(4)
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")


def _commit() -> str:
    """Return the checkout's commit, with ``-changed`` where files other than reports differ from it; "unknown" outside a checkout."""
    from flairnb.report.record import git_state

    state = git_state()
    return state["commit"][:7] + ("-changed" if state["dirty"] else "")


def main(words: Sequence[str] | None = None) -> None:
    """Score, and write the model card anew where the committed table was written."""
    parser = argparse.ArgumentParser(prog="python -m flairnb.report.phantom_scores", description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=2, help="of each disease")
    parser.add_argument("--diagnosis", action="append", default=[], help="one disease only, by its key; can be given several times")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", default=None, help=f"folder instead of {FOLDER}; the model card is left alone then")
    asked = parser.parse_args(words)
    score_phantoms(asked.subjects, asked.diagnosis, asked.jobs, asked.out, say=lambda line: sys.stdout.write(line + "\n"))
    if asked.out is None:
        from flairnb.report import real
        from flairnb.report.model_card import write_model_card

        sys.stdout.write(f"Written: {FOLDER}/{TABLE}, {write_model_card(real.published()).name} of the weights\n")


if __name__ == "__main__":
    from flairnb.report import phantom_scores  # so that the other processes find the functions by their module's name

    phantom_scores.main()
