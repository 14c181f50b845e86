"""`flairnb segment --cohort`: every FLAIR of a table, one after the other or side by side, each as `flairnb segment` does it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb import parallel
from flairnb.cohort import manifest
from flairnb.cohort.diagnoses import HEALTHY
from flairnb.errors import FlairnbError, InputError, ManifestError
from flairnb.images import image_sha256
from flairnb.naming import flair_stem
from flairnb.provenance import atomic_path, machine, versions, write_sidecar
from flairnb.report import patient, patient_files
from flairnb.report.patient_folder import SUMMARY, has_hash, summary_in, summary_name
from flairnb.report.patient_input import check_out_dir
from flairnb.report.patient_settings import check_method, check_spread, chosen_settings, settings_for

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.network.weights import Network

log = logging.getLogger(__name__)

TABLE = "segmented.tsv"
COLUMNS = ("participant_id", "status", "reason", "lesion_volume_ml", "lesion_count", "expected_dice", "seconds", "warnings")
THERE = "there already, nothing has changed"
#: What segmentation needs of a cohort table; other columns are not read, so that they cannot be wrong.
_NEEDED = ("participant_id", "flair", "t1w", "brain_mask")
#: What a summary calls the contents of the images.
_HASHES = ("sha256", "t1w_sha256", "brain_mask_sha256")


@dataclass(frozen=True)
class Options:
    """The words of the command line that hold for every case; see :func:`flairnb.report.patient.segment_patient`."""

    weights: str | None = None
    method: str | None = None
    threads: int | None = None
    memory_gb: float | None = None
    sets: tuple[str, ...] = ()
    spread: bool = False


@dataclass(frozen=True)
class Row:
    """One case of a table; `problem` is what is wrong with its line."""

    participant_id: str
    flair: Path
    t1w: Path | None = None
    brain_mask: Path | None = None
    problem: str = ""


def segment_cohort(
    table: str | os.PathLike,
    out_dir: str | os.PathLike,
    options: Options | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = lambda _line: None,
) -> pd.DataFrame:
    """Segment every FLAIR of a cohort table.

    Parameters
    ----------
    table : path
        Cohort table (`data_manifest/README.md`); paths in it are relative to
        its folder. `participant_id`, `flair`, `t1w` and `brain_mask` are read.
    out_dir : path
        Gets the results in a folder for each participant, as
        :func:`flairnb.report.patient.segment_patient` leaves them, and
        ``segmented.tsv`` when all are done.
    options : Options, optional
    jobs : int
        Cases at a time, each with the memory of a process of its own (2 to 3
        GB) and, unless `options.threads` says otherwise, its share of the
        processors. A cluster's workers count instead where
        :func:`flairnb.parallel.on_cluster` names one.
    say : callable
        Told of every case when it is done, in the order in which they end.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row a case in the table's order. A bad case is a
        row with status "failed" and the reason, never an exception.

    Raises
    ------
    ManifestError, MissingDataError, InputError, SettingsError
        The table, the weights or a setting cannot be used; nothing is
        segmented then.

    Notes
    -----
    A case whose results are there, as they were written, of the same images,
    network, settings and version, is not done again: a run that was stopped
    goes on. The network is loaded once in each process. For a number of
    threads the results are those of the cases one by one, to the bit.
    """
    import pandas as pd

    table, out = Path(table).absolute(), Path(out_dir).absolute()
    rows = read_rows(table)
    jobs = max(1, min(jobs, len(rows)))
    options = _checked(options or Options(), jobs)
    check_out_dir(out, TABLE)
    _keep_others_table(out / TABLE)
    calls = [(row, out, options, f"{number} of {len(rows)}", say) for number, row in enumerate(rows, start=1)]
    found = pd.DataFrame(parallel.each_case(segment_row, calls, jobs), columns=list(COLUMNS)).astype({"lesion_count": "Int64"})
    with atomic_path(out / TABLE) as temporary:
        found.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    write_sidecar(out / TABLE, [table])
    others = sorted({path.parent.name for path in out.glob(f"*/*{SUMMARY}")} - {row.participant_id for row in rows})
    if others:
        say(f"{out.name} also holds results of {len(others)} not in this table: {', '.join(others[:5])}{' ...' if others[5:] else ''}")
    return found


def read_rows(table: str | os.PathLike) -> list[Row]:
    """Read what segmentation needs of a cohort table.

    Whom results belong to must be clear before anything is segmented: ids that
    are absent, malformed or given twice are an error. A path that cannot be
    used is the problem of its own row.

    Raises
    ------
    ManifestError, MissingDataError, InputError
        As :func:`flairnb.cohort.manifest.read_manifest`, but only of the columns that are needed.
    """
    table = Path(table)
    text = manifest.read_text_table(table)
    text = text[[name for name in _NEEDED if name in text.columns]].replace(list(manifest.NO_VALUE), "")
    # The other columns that the schema asks for say nothing to segmentation: any value that passes.
    problems = manifest.find_problems(text.assign(diagnosis=HEALTHY.key, split="validation"), table.parent)
    fatal = problems[(problems["row"] == 1) | (problems["column"] == "participant_id")]
    if len(fatal):
        first = fatal.iloc[0]
        raise ManifestError(
            f"{table.name}: expected a participant_id and a flair for each row, found {len(fatal)} problems; first: line {first['row']}, "
            f"{first['column'] or 'table'} {first['value']!r}: {first['problem']}. {first['what_to_do']}",
            fatal,
        )
    rows = []
    for line, cells in zip(text.index + 2, text.to_dict("records"), strict=True):
        flair, *others = (table.parent / cells[name] if cells.get(name) else None for name in _NEEDED[1:])
        rows.append(Row(cells["participant_id"], flair or table.parent, *others, problem=_problem_of(line, problems)))
    return rows


def _problem_of(line: int, problems: pd.DataFrame) -> str:
    for first in problems[problems["row"] == line].to_dict("records"):
        return f"line {line} of the table, {first['column']} {first['value']!r}: {first['problem']}. {first['what_to_do']}"
    return ""


def segment_row(row: Row, out: Path, options: Options, number: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Segment one case of a table, unless its results are there; return its row of ``segmented.tsv``.

    Raises
    ------
    FlairnbError
        For the network or the settings, which are every case's.
    """
    network, weights = patient.network_once(options.weights, options.threads)
    used = settings_for(network, options.method, options.memory_gb, chosen_settings(options.sets))
    check_spread(used[1], options.spread)
    made = {"weights": patient_files.weights_facts(network, weights), "settings": patient_files.settings_facts(used)}
    done: dict[str, Any] = {"participant_id": row.participant_id, "status": "ok", "reason": ""}
    try:
        _refuse_other_stems(row, out / row.participant_id)
        summary = _summary_there(row, out / row.participant_id, made, options.spread)
        if summary:
            done["reason"] = THERE
        else:
            summary = _segment(row, out / row.participant_id, options, network)
        done |= {name: summary[name] for name in ("lesion_volume_ml", "lesion_count", "expected_dice")}
        done |= {"seconds": summary["seconds"]["total"], "warnings": "; ".join(summary["notes"])}
    except Exception as error:  # whatever it is: the others go on
        done |= {"status": "failed", "reason": _reason(error)}
    said = done["reason"] or f"{done['lesion_count']} lesions, {done['lesion_volume_ml']:.2f} ml, {done['seconds']:.0f} s"
    say(f"{row.participant_id} ({number}): {'failed: ' if done['status'] == 'failed' else ''}{said}")
    return done


def spoken(found: pd.DataFrame) -> str:
    """Return the end of a cohort's segmentation in words."""
    failed = found[found["status"] == "failed"]
    there = int((found["reason"] == THERE).sum())
    words = f"{len(found) - len(failed) - there} segmented, {there} there already, {len(failed)} failed"
    return f"{words} (first: {failed.iloc[0]['participant_id']}: {failed.iloc[0]['reason'].rstrip('.')})" if len(failed) else words


def _segment(row: Row, folder: Path, options: Options, network: Network) -> dict[str, Any]:
    if row.problem:
        raise InputError(row.problem)
    words = {f.name: getattr(options, f.name) for f in fields(options)}
    return patient.segment_patient(row.flair, row.t1w, row.brain_mask, out_dir=folder, network=network, **words)


def _refuse_other_stems(row: Row, folder: Path) -> None:
    """Raise `InputError` where a participant's folder holds results of a FLAIR of another name: another patient's, it may be."""
    others = sorted(path.name.removesuffix(SUMMARY) for path in folder.glob(f"*{SUMMARY}"))
    if row.problem or not (others := [stem for stem in others if stem != flair_stem(row.flair)]):
        return
    raise InputError(
        f"--out: expected no results of another FLAIR in {folder.name}, found {', '.join(others[:3])}. "
        f"Not {folder.name}'s? Move or delete them, then run again."
    )


def _summary_there(row: Row, folder: Path, made: dict[str, Any], spread: bool) -> dict[str, Any]:
    """Return the summary of whole results of the same images, network, settings and version; nothing where there are none."""
    stem = flair_stem(row.flair)
    summary = summary_in(folder, stem)
    names = set(patient_files.result_names(stem, dicom=False, spread=spread)) - {summary_name(stem)}
    if row.problem or not names <= set(summary.get("files", {})):
        return {}
    there = {name: summary.get(name) for name in made} | {"version": summary.get("versions", {}).get("flairnb")}
    there["settings"] = {name: value for name, value in there["settings"].items() if name != "set"}
    there |= {name: summary["input"].get(name) for name in _HASHES}
    wanted = json.loads(json.dumps(made)) | {"version": versions()["flairnb"]}
    wanted |= {name: path and image_sha256(path) for name, path in zip(_HASHES, (row.flair, row.t1w, row.brain_mask), strict=True)}
    whole = all(has_hash(folder / name, {sha256}) for name, sha256 in summary["files"].items())
    return summary if whole and there == wanted else {}


def _checked(options: Options, jobs: int) -> Options:
    """Refuse what no case could be segmented with; return the options as other processes and machines understand them."""
    check_method(options.method)
    chosen_settings(options.sets)
    patient.check_weights(options.weights)
    if options.weights is not None and not patient_files.is_shipped(options.weights):
        options = replace(options, weights=str(Path(options.weights).absolute()))
    if options.threads is None and not os.environ.get(parallel.DASK):
        options = replace(options, threads=max(1, machine()["cores"] // jobs))
    return options


def _keep_others_table(path: Path) -> None:
    try:
        header = path.read_text(encoding="utf-8").partition("\n")[0] if os.path.lexists(path) else "\t".join(COLUMNS)
    except (OSError, UnicodeDecodeError):
        header = ""
    if header != "\t".join(COLUMNS):
        raise InputError(f"--out: expected a {path.name} of flairnb or none, found another one. Name another folder, or move it away.")


def _reason(error: Exception) -> str:
    """Return an error in one line, without the folders that the system's own errors name."""
    if isinstance(error, FlairnbError):
        return " ".join(str(error).split())
    log.warning("%s", type(error).__name__, exc_info=not isinstance(error, OSError | MemoryError))
    said = error.strerror if isinstance(error, OSError) else str(error)
    return " ".join(f"{type(error).__name__}: {said or 'no reason given'}".split())
