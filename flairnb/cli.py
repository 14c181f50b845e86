"""The command line: each command is a few lines that call a room.

Exit codes: 0 done, 1 the work failed, 2 the input or the usage is wrong. A
problem gets one line on stderr that begins ``error:``.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal  # typer reads the annotations at run time

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Duong et al., AJNR 2019, made executable.")
cohort_app = typer.Typer(rich_markup_mode=None, help="Look at a cohort table.")
notebooks_app = typer.Typer(rich_markup_mode=None, help="Keep notebooks/*.ipynb equal to their .py sources.")
app.add_typer(cohort_app, name="cohort")
app.add_typer(notebooks_app, name="notebooks")

_INTERRUPTED = 130  # what typer makes of KeyboardInterrupt

Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command()
def run(
    which: Annotated[list[str] | None, typer.Argument(help="'all', or notebook numbers such as 01 02.")] = None,
    profile: Annotated[str, typer.Option(help="smoke, demo, phantom, public or paper.")] = "demo",
    jobs: Annotated[int | None, typer.Option(help="Cases at a time; all processors if left out.", min=1)] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Leave out the notebooks before this number.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as train.epochs=3; may be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run also what has not changed.")] = False,
    dask: Annotated[str, typer.Option(help="Address of a Dask scheduler whose workers do the cases.")] = "",
    slurm: Annotated[int, typer.Option(help="Start this many Slurm jobs that do the cases.", min=0)] = 0,
) -> None:
    """Run notebooks and write the report. Example: flairnb run all --profile demo."""
    from flairnb.parallel import on_cluster
    from flairnb.report.pipeline import run_notebooks

    with on_cluster(dask, slurm):
        result = run_notebooks(which or "all", profile, jobs=jobs, from_=from_, sets=_words(set_), force=force, say=_progress)
    typer.echo(f"Open {result.index} in a browser.")


@app.command()
def segment(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    flair: Annotated[Path | None, typer.Argument(help="FLAIR image, NIfTI; or a folder of DICOM files.")] = None,
    t1w: Annotated[Path | None, typer.Option(help="T1-weighted image of the same head; makes brain extraction better.")] = None,
    brain_mask: Annotated[Path | None, typer.Option(help="Brain mask on the FLAIR's grid.")] = None,
    skull_stripped: Annotated[bool, typer.Option("--skull-stripped", help="The FLAIR shows the brain only.")] = False,
    weights: Annotated[str | None, typer.Option(help="Name of shipped weights, or a .keras file.")] = None,
    method: Annotated[Literal["tiled", "whole"] | None, typer.Option(help="tiled: the paper's cubes; whole: one pass.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads.", min=1)] = None,
    memory_gb: Annotated[float | None, typer.Option(help="Memory for the network; larger brains are done in pieces.", min=1)] = None,
    series: Annotated[str | None, typer.Option(help="Of a DICOM folder: number or UID of the FLAIR series.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="infer.threshold, min_lesion_ml, flips, coarser_look, patch or step: infer.threshold=0.4; may be repeated."
        ),
    ] = None,
    spread: Annotated[bool, typer.Option("--spread", help="Also write how far the network's looks at a voxel lie apart.")] = False,
    cohort: Annotated[Path | None, typer.Option(help="Instead of a FLAIR: a cohort table; every FLAIR of it is segmented.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Cases of a cohort at a time, 2 to 3 GB each; 1 if left out.", min=1)] = None,
    dask: Annotated[str, typer.Option(help="Address of a Dask scheduler whose workers do a cohort's cases.")] = "",
    slurm: Annotated[int, typer.Option(help="Start this many Slurm jobs that do a cohort's cases.", min=0)] = 0,
) -> int:
    """Segment the lesions of one patient's FLAIR. Example: flairnb segment sub-01_FLAIR.nii.gz --out results.

    All FLAIRs of a table, each into a folder of its own: flairnb segment --cohort cohort.tsv --out results. Called again, it
    does what is missing. For --dask and --slurm see flairnb run.
    """
    from flairnb.parallel import on_cluster

    _refuse((flair is None) == (cohort is None), "segment: expected a FLAIR or --cohort TABLE, one of them. See flairnb segment --help.")
    _refuse(
        brain_mask is not None and skull_stripped, "--brain-mask and --skull-stripped: expected one of them, found both. Leave one out."
    )
    same = {"weights": weights, "method": method, "threads": threads, "memory_gb": memory_gb, "sets": tuple(_words(set_)), "spread": spread}
    if cohort is None:
        _refuse(bool(jobs or dask or slurm), "--jobs, --dask and --slurm: expected --cohort TABLE, found one FLAIR. Leave them out.")
        return _segment_one(flair, out, t1w=t1w, brain_mask=brain_mask, skull_stripped=skull_stripped, series=series, **same)
    _refuse(
        bool(t1w or brain_mask or skull_stripped or series),
        "--cohort: expected T1w and brain masks in the table, found --t1w, --brain-mask, --skull-stripped or --series. Leave them out.",
    )
    with on_cluster(dask, slurm):
        return _segment_cohort(cohort, out, jobs or 1, same)


def _segment_one(flair: Path | None, out: Path, **words: Any) -> int:
    from flairnb.report.patient import segment_patient

    summary = segment_patient(flair, out_dir=out, say=typer.echo, **words)
    for note in summary["notes"]:
        typer.echo(f"Warning: {note}")
    expected = "" if summary["expected_dice"] is None else f", expected Dice {summary['expected_dice']}"
    typer.echo(
        f"{summary['lesion_count']} lesions, {summary['lesion_volume_ml']:.2f} ml{expected}; results in {out}. Not for clinical use."
    )
    return 0


def _segment_cohort(cohort: Path, out: Path, jobs: int, words: dict[str, Any]) -> int:
    from flairnb.report.patients import TABLE, Options, segment_cohort, spoken

    found = segment_cohort(cohort, out, Options(**words), jobs, _progress)
    typer.echo(f"{spoken(found)}; all in {out / TABLE}. Not for clinical use.")
    return int((found["status"] == "failed").any())


@app.command()
def score(
    reference: Annotated[Path, typer.Argument(help="A reader's lesion mask.")],
    predicted: Annotated[Path, typer.Argument(help="The mask to score, on the same grid.")],
    as_json: Json = False,
) -> None:
    """Compare two lesion masks. Example: flairnb score reader.nii.gz network.nii.gz --json."""
    from flairnb.evaluate.files import score_files

    _show(score_files(reference, predicted).as_dict(), as_json)


@app.command("case-report")
def case_report(
    folder: Annotated[Path, typer.Argument(help="Folder that flairnb segment wrote.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the FLAIRs, if not beside the results.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also write PDF, by an installed Chromium.")] = False,
) -> None:
    """Write a page for each segmented case, and a list. Example: flairnb case-report results."""
    from flairnb.report.case_report import write_case_reports

    index, *pages = write_case_reports(folder, data_dir, pdf)
    typer.echo(f"{len(pages)} pages; open {index} in a browser. Not for clinical use.")


@app.command()
def fetch(
    dataset: Annotated[str | None, typer.Argument(help="Name of a data set; left out: list them.")] = None,
    mirror: Annotated[str, typer.Option(help="Address or folder with the same files under the same names.")] = "",
) -> None:
    """Fetch public data that data_manifest/ declares. Example: flairnb fetch openms."""
    from flairnb.cohort import fetch as room

    registry, folder = room.read_registry(room.default_registry()), room.default_data_dir()
    if dataset is None:
        typer.echo(room.datasets(registry, folder).to_string(index=False))
        return
    results = room.fetch_dataset(dataset, registry, folder, mirror)
    typer.echo(f"{dataset}: {len(results)} files in {folder}, {sum(r.status == 'fetched' for r in results)} of them fetched now.")


@cohort_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Cohort table, as data_manifest/README.md describes.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder that its paths are relative to; else the table's own.")] = None,
) -> None:
    """Check a cohort table and list all of its problems. Example: flairnb cohort check cohort.tsv."""
    from flairnb.cohort.manifest import read_manifest
    from flairnb.errors import ManifestError

    try:
        table = read_manifest(file, data_root)
    except ManifestError as error:
        if error.problems is not None:
            typer.echo(error.problems.to_string(index=False))
        raise
    counts = ", ".join(f"{n} {split}" for split, n in table["split"].value_counts().items())
    typer.echo(f"{file.name}: {len(table)} participants ({counts}), no problems.")


@app.command()
def train(
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Cohort table, as data_manifest/README.md describes.")] = None,
    generated: Annotated[int | None, typer.Option(help="Instead of a cohort: this many simulated heads.")] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from: a shipped name (robust) or a .keras file.")] = None,
    profile: Annotated[str, typer.Option(help="Settings. If left out: paper; finetune with --init; robust with --generated.")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as train.epochs=3; may be repeated.")] = None,
    data_dir: Annotated[str, typer.Option(help="With --generated: label maps and lesion masks; where flairnb fetch put them.")] = "",
    out: Annotated[str, typer.Option("--out", help="Work folder; a folder under work/ if left out. The same one resumes.")] = "",
    seed: Annotated[int, typer.Option(help="Another seed: other first weights, heads and patches.")] = 2019,
) -> None:
    """Train or fine-tune on your own cohort. Example: flairnb train --cohort cohort.tsv --init robust."""
    from flairnb.report.train import train_on_cohort, train_on_generated

    _refuse(
        (cohort is None) == (generated is None), "train: expected one of --cohort TABLE and --generated HEADS. See flairnb train --help."
    )
    if cohort is not None:
        done = train_on_cohort(cohort, init, profile, _words(set_), out, _progress, seed)
    else:
        done = train_on_generated(generated or 0, data_dir, init, profile, _words(set_), out, _progress, seed)
    dice = done["validation_dice"]
    score = f"validation Dice {dice:.3f}" if dice == dice else "no validation case with lesions"
    typer.echo(f"{done['epochs']} epochs on {done['cases']} cases, loss {done['loss']:.3f}; {score}; weights: {done['weights']}")
    typer.echo(f"flairnb segment FLAIR --out DIR --weights {done['weights']} uses them.")


@app.command()
def report(
    check_privacy: Annotated[Path, typer.Option("--check-privacy", help="Folder to search.")],
    name: Annotated[list[str] | None, typer.Option("--name", help="A name or number that must not occur; may be repeated.")] = None,
) -> None:
    """Search a report for what tells who a patient is. Example: flairnb report --check-privacy reports/demo."""
    from flairnb.report.privacy import check_privacy as search
    from flairnb.report.privacy import refuse_findings

    found = search(check_privacy, tuple(name or ()))
    for finding in found:
        typer.echo(str(finding))
    refuse_findings(found, check_privacy)
    typer.echo(f"{check_privacy.name}: no names, dates, UIDs, header fields, absolute paths or image volumes found. A search is no proof.")


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="Work folder, report, or a folder that flairnb segment wrote.")]) -> None:
    """Recompute the hashes of all that was made. Example: flairnb verify results."""
    from flairnb.report.verify import refuse_changed, verify_folder

    verdicts = verify_folder(folder)
    for verdict in verdicts:
        if verdict.status != "ok":
            typer.echo(f"{verdict.file}: {verdict.status}")
    refuse_changed(verdicts, folder)
    counts = {status: sum(v.status == status for v in verdicts) for status in ("ok", "no recipe", "not in this copy")}
    absent = f" {counts['not in this copy']} are not in this copy." if counts["not in this copy"] else ""
    typer.echo(f"{folder.name}: {counts['ok']} files are as they were made, {counts['no recipe']} have no recipe.{absent}")


@app.command()
def bench(
    out: Annotated[Path, typer.Option("--out", help="Folder of bench.json and bench.tsv; what is there is kept.")],
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="segment, ways, network, training, volume, cohort, baselines, tries, agreement (hours, by name only); may be repeated."
        ),
    ] = None,
    data_dir: Annotated[str, typer.Option(help="Folder of the public data; where flairnb fetch put them.")] = "",
    repeats: Annotated[int, typer.Option(help="Runs of each measurement.")] = 3,
) -> None:
    """Measure seconds and memory on this machine. Example: flairnb bench --part network --out work/bench."""
    from flairnb.cohort.fetch import default_data_dir
    from flairnb.report.bench import run_bench

    typer.echo(f"Results in {run_bench(out, tuple(part or ()), data_dir or str(default_data_dir()), repeats, _progress)}.")


@app.command()
def doctor(as_json: Json = False) -> int:
    """Look at the installation and the machine. Example: flairnb doctor --json."""
    from flairnb.report import doctor as room

    findings = room.examine()
    typer.echo(room.as_json(findings) if as_json else room.as_text(findings))
    return int(any(f.status == "fail" for f in findings))


@notebooks_app.command()
def sync() -> None:
    """Write the .ipynb twin of every notebook source. Example: flairnb notebooks sync."""
    from flairnb.report.chapters import notebooks_dir
    from flairnb.report.pairing import sync_twins

    written = sync_twins(notebooks_dir())
    typer.echo(f"written: {', '.join(p.name for p in written)}" if written else "all twins are up to date")


@notebooks_app.command("check")
def check_notebooks() -> None:
    """Compare every notebook with its source. Example: flairnb notebooks check."""
    from flairnb.report.chapters import notebooks_dir
    from flairnb.report.pairing import check_twins

    typer.echo(f"{check_twins(notebooks_dir())} notebooks say the same as their sources")


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    # Python ends by searching all that is left for cycles: 1.2 s once TensorFlow is loaded, and the memory goes back anyway.
    atexit.register(gc.freeze)
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command; write problems as one line on stderr.

    Returns
    -------
    int
        0 done, 1 the work failed, 2 the input or the usage is wrong. A bug of
        ours still shows its traceback.
    """
    from flairnb.errors import FlairnbError

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        result = app(arguments or ["--help"], prog_name="flairnb", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return _fail(f"{message} See flairnb --help." if message else "", getattr(error, "exit_code", 2))
    except FlairnbError as error:
        return _fail(str(error), error.exit_code)
    except (OSError, MemoryError) as error:
        return _fail(f"{type(error).__name__}: {error}", 1)
    if result == _INTERRUPTED:
        alone = arguments[0] == "segment" and not any(word.startswith("--cohort") for word in arguments)
        kept = "no result was complete; run it again" if alone else "what was finished is kept"
        return _fail(f"stopped by Ctrl-C; {kept}", 1)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    if message:
        typer.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _refuse(wrong: bool, message: str) -> None:
    from flairnb.errors import InputError

    if wrong:
        raise InputError(message)


def _words(texts: list[str] | None) -> list[str]:
    from flairnb.settings import split_words

    return [word for text in texts or [] for word in split_words(text)]


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _show(values: dict[str, Any], as_json: bool) -> None:
    """Write values as JSON (NaN as null) or as aligned lines."""
    plain = {key: None if value != value else value for key, value in values.items()}
    if as_json:
        typer.echo(json.dumps(plain, indent=2, default=float))
        return
    width = max(map(len, plain))
    for key, value in plain.items():
        typer.echo(f"{key:<{width}}  {'undefined' if value is None else f'{value:.4g}' if isinstance(value, float) else value}")


if __name__ == "__main__":
    main()
