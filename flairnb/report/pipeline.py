"""Run the notebooks one after the other and leave a report.

papermill executes; this module adds what papermill leaves open: unknown
parameters are refused, unchanged notebooks are skipped, the kernel is this
very interpreter, and what was run is written down.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import FlairnbError, SettingsError, WorkFailed
from flairnb.provenance import write_json
from flairnb.report import html, record, sources
from flairnb.report.chapters import Chapter, choose, maker_of, read_chapters, repository_root
from flairnb.report.lock import only_run_in
from flairnb.report.record import Outcome
from flairnb.report.start import Run, data_dir_of, effective_settings, work_dir_of

if TYPE_CHECKING:
    from flairnb.settings import Settings

logger = logging.getLogger(__name__)

OUTDATED = "from an earlier run with other settings, code or inputs"
#: Longest time one cell may take, in seconds; none where training takes days.
CELL_TIMEOUT_S = {"smoke": 600, "demo": 3600}


@dataclass(frozen=True)
class RunResult:
    """What `run_notebooks` left.

    Attributes
    ----------
    index : Path
        The report's first page.
    outcomes : tuple of Outcome
    """

    index: Path
    outcomes: tuple[Outcome, ...]


def run_notebooks(  # noqa: PLR0913 - one argument for each word of the command line
    which: str | list[str] = "all",
    profile: str = "demo",
    jobs: int | None = None,
    from_: str | None = None,
    sets: Iterable[str] = (),
    *,
    reports_dir: str | Path = "",
    force: bool = False,
    say: Callable[[str], None] = logger.info,
) -> RunResult:
    """Run notebooks and write ``reports/<profile>/``.

    Parameters
    ----------
    which : "all" or list of str
        Notebook numbers.
    profile : str
    jobs : int, optional
        Cases at a time; all processors.
    from_ : str, optional
        Leave out the notebooks before this number.
    sets : iterable of str
        ``key=value``: a notebook parameter (``seed=3``), or a setting when the
        key has a dot (``train.epochs=3``). Not `profile`: it names the work
        folder and the report, too.
    reports_dir : str or Path
        Where the report goes; ``reports/<profile>`` in the checkout.
    force : bool
        Run also what has not changed.
    say : callable
        Receives one line of progress at a time.

    Returns
    -------
    RunResult

    Raises
    ------
    SettingsError
        For an unknown notebook, profile, setting or parameter, a value that a
        setting may not have, for the profile among `sets`, and for simulated
        patients where the work folder holds real ones, or the reverse.
    EnvironmentProblem
        When pages could not be rendered.
    WorkFailed
        When a notebook fails: carries the cell's error and where the partly
        executed notebook is. The report of what did run is written first.
    """
    chapters = read_chapters()
    chosen = choose(chapters, which, from_)
    parameters = _parameters(chosen, profile, sets)
    settings = _place(parameters)
    work_dir = work_dir_of(profile, str(parameters["out_dir"]))
    report = Path(reports_dir) if reports_dir else repository_root() / "reports" / profile
    run = Run("", settings, settings.seed, work_dir, data_dir_of(settings, str(parameters["data_dir"])), jobs or 1)
    keys = _keys(chapters, run)
    html.check_templates()
    with only_run_in(work_dir):
        record.keep_source(settings.cohort.source, work_dir)
        outcomes, failure = _run_chosen(chosen, parameters, keys, work_dir, jobs, force, say)
        index = write_report(chapters, _with_earlier(outcomes, chapters, keys, work_dir), settings, parameters, work_dir, report)
    if failure is not None:
        raise failure
    say(f"report: {index.name} in {report.parent.name}/{report.name}")
    return RunResult(index, tuple(outcomes))


def _run_chosen(  # noqa: PLR0913 - the words of the command line again
    chosen: list[Chapter],
    parameters: Mapping[str, Any],
    keys: Mapping[str, str],
    work_dir: Path,
    jobs: int | None,
    force: bool,
    say: Callable[[str], None],
) -> tuple[list[Outcome], FlairnbError | None]:
    """Run chapters until one fails; return how each went and the failure."""
    failure: FlairnbError | None = None
    outcomes: list[Outcome] = []
    for chapter in chosen:
        why = "asked to" if force else record.reason_to_run(chapter, keys[chapter.number], work_dir)
        if not why:
            outcomes.append(_before(chapter, work_dir, "skipped", "unchanged since it was last run"))
            say(f"{chapter.stem}: skipped, unchanged since it was last run")
            continue
        say(f"{chapter.stem}: running ({why})")
        outcome, failure = _run_one(chapter, parameters, keys[chapter.number], work_dir, jobs, why)
        outcomes.append(outcome)
        if failure is not None:
            break
        say(f"{chapter.stem}: done in {outcome.seconds:.0f} s")
    return outcomes, failure


def execute(
    chapter: Chapter,
    parameters: Mapping[str, Any],
    output: Path,
    jobs: int | None = None,
    cell_timeout_s: float | None = None,
) -> Any:
    """Execute one notebook with papermill.

    Parameters
    ----------
    chapter : Chapter
    parameters : mapping
        Only names that the notebook declares.
    output : Path
        Where the executed notebook goes; a failed one stays beside it with
        ``partial-`` before its name.
    jobs : int, optional
    cell_timeout_s : float, optional

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    WorkFailed
        Carries the failing cell's error and the name of the partial notebook.
    """
    import papermill
    from joblib import cpu_count
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    from flairnb.report.kernel import kernel_manager_for

    notebook = sources.read_source(chapter)
    known = sources.parameters_of(notebook)
    sources.check_parameters(parameters, known, f"notebook {chapter.stem}")
    if "interactive" in known:
        # Nobody is there to click: still pictures stand in.
        parameters = {"interactive": False, **parameters}
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f"partial-{output.name}")
    try:
        executed = papermill.execute_notebook(
            notebook,
            str(partial),
            parameters=dict(parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            cwd=str(chapter.path.parent),
            start_timeout=180,
            execution_timeout=cell_timeout_s,
            store_widget_state=False,
            kernel_manager_class=kernel_manager_for(jobs or cpu_count()),
        )
    except papermill.PapermillExecutionError as error:
        raise WorkFailed(
            f"notebook {chapter.stem} failed in cell {error.exec_count}: {error.ename}: {error.evalue} "
            f"The notebook up to there is {partial.name} in the work folder's runs/."
        ) from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise WorkFailed(
            f"notebook {chapter.stem} was stopped: {type(error).__name__}: {str(error).splitlines()[0]} "
            f"The notebook up to there is {partial.name} in the work folder's runs/."
        ) from error
    partial.replace(output)
    return executed


def write_report(
    chapters: list[Chapter],
    outcomes: list[Outcome],
    settings: Any,
    parameters: Mapping[str, Any],
    work_dir: Path,
    report: Path,
) -> Path:
    """Write the pages, ``numbers.json``, ``ledger.tsv``, ``run.json`` and ``index.html``.

    Every chapter that has ever been run in this work folder gets its page, so
    that running one notebook again does not thin the report out. One whose
    outcome is "outdated" or "failed" says so, and its numbers stay out of
    ``numbers.json`` and the ledger.
    """
    import nbformat

    from flairnb.present.style import name_second_reader
    from flairnb.report import index, ledger

    name_second_reader(settings.cohort.source == "phantom")
    report.mkdir(parents=True, exist_ok=True)
    shown = [chapter for chapter in chapters if record.executed_path(chapter, work_dir).is_file()]
    stale = {outcome.chapter.number for outcome in outcomes if outcome.status in ("outdated", "failed")}
    current = [chapter for chapter in shown if chapter.number not in stale]
    for place, chapter in enumerate(shown):
        page = html.Page(
            title=chapter.title,
            profile=settings.profile,
            banner=html.banner_for(settings.cohort.source, chapter.number),
            warning=html.outdated([chapter.number]) if chapter.number in stale else "",
            previous=shown[place - 1].html if place else "",
            next=shown[place + 1].html if place + 1 < len(shown) else "",
        )
        notebook = nbformat.read(record.executed_path(chapter, work_dir), as_version=4)
        html.write_page(notebook, page, report / chapter.html)
    write_json(report / "numbers.json", record.read_numbers(current, work_dir))
    ledger.write_ledger(current, work_dir, report / "ledger.tsv")
    first = index.write_index(report, shown, outcomes, settings, work_dir)
    content = record.run_record(settings, outcomes, parameters)
    write_json(report / "run.json", {**content, "files": record.hashes_of(report)})
    return first


def _with_earlier(outcomes: list[Outcome], chapters: list[Chapter], keys: Mapping[str, str], work_dir: Path) -> list[Outcome]:
    """Return how each chapter went that has a page: now, or in earlier runs, by number."""
    went = {outcome.chapter.number: outcome for outcome in outcomes}
    stale = record.outdated(chapters, keys, work_dir)
    for chapter in chapters:
        if chapter.number not in went and record.executed_path(chapter, work_dir).is_file():
            status, reason = ("outdated", OUTDATED) if chapter.number in stale else ("earlier", "from an earlier run")
            went[chapter.number] = _before(chapter, work_dir, status, reason)
    return [went[number] for number in sorted(went)]


def _run_one(
    chapter: Chapter, parameters: Mapping[str, Any], key: str, work_dir: Path, jobs: int | None, why: str
) -> tuple[Outcome, FlairnbError | None]:
    from flairnb.report.memory import MemoryWatch

    start, code = time.perf_counter(), record.code_name(record.git_state())
    timeout = CELL_TIMEOUT_S.get(str(parameters["profile"]))
    with MemoryWatch() as watch:
        try:
            execute(chapter, parameters, record.executed_path(chapter, work_dir), jobs, timeout)
        except WorkFailed as error:
            return Outcome(chapter, "failed", time.perf_counter() - start, str(error), watch.peak_gb, code), error
    outcome = Outcome(chapter, "done", time.perf_counter() - start, why, watch.peak_gb, code)
    record.write_state(chapter, work_dir, key, outcome)
    return outcome, None


def _before(chapter: Chapter, work_dir: Path, status: str, reason: str) -> Outcome:
    state = record.read_state(chapter, work_dir)
    seconds, peak_gb = (float(state.get(name, 0.0)) for name in ("seconds", "peak_memory_gb"))
    return Outcome(chapter, status, seconds, reason, peak_gb, state.get("code", "unknown"))


def _parameters(chosen: list[Chapter], profile: str, sets: Iterable[str]) -> dict[str, Any]:
    given, overrides = sources.split_sets(sets)
    if "profile" in given:
        raise SettingsError(f"--set profile: expected the profile as a word of its own. Write --profile {given['profile']}.")
    parameters: dict[str, Any] = {"profile": profile, "seed": 2019, "data_dir": "", "out_dir": "", "overrides": ""}
    for chapter in chosen:
        known = sources.parameters_of(sources.read_source(chapter))
        sources.check_parameters(given, known, f"notebook {chapter.stem}")
    parameters.update(given)
    parameters["overrides"] = " ".join(filter(None, [str(parameters["overrides"]), overrides]))
    parameters["seed"] = _whole_number("seed", parameters["seed"])
    return parameters


def _place(parameters: dict[str, Any]) -> Settings:
    """Return the effective settings, and write all folders out in the parameters: a notebook stands in another folder than its caller.

    A cohort table that is named without a data folder has its own folder for one; the report keeps its name as seen from there.
    """
    profile, seed = str(parameters["profile"]), int(parameters["seed"])
    settings = effective_settings(profile, seed, str(parameters["overrides"]))
    folder, named = data_dir_of(settings, str(parameters["data_dir"])), Path(settings.cohort.manifest).expanduser()
    if settings.cohort.source == "manifest" and settings.cohort.manifest and (folder is None or named.is_absolute()):
        place = os.path.realpath(named.parent)
        folder = folder or data_dir_of(settings, place)
        parameters["overrides"] = _with_table(str(parameters["overrides"]), os.path.relpath(Path(place, named.name), folder))
        settings = effective_settings(profile, seed, parameters["overrides"])
    parameters["data_dir"] = str(folder or "")
    if parameters["out_dir"]:
        parameters["out_dir"] = str(work_dir_of(profile, str(parameters["out_dir"])))
    return settings


def _with_table(overrides: str, name: str) -> str:
    """Return overrides with another name of the cohort table, as a TOML string: a table may be called 2019."""
    from flairnb.settings import split_words

    others = [word for word in split_words(overrides) if not word.startswith("cohort.manifest=")]
    return " ".join([*others, f"cohort.manifest={json.dumps(name, ensure_ascii=False)}"])


def _whole_number(name: str, value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise SettingsError(f"{name}: expected a whole number, received {value!r}.") from None


def _keys(chapters: list[Chapter], run: Run) -> dict[str, str]:
    from flairnb.settings import settings_hash

    keys: dict[str, str] = {}
    data = record.data_key(run)
    for chapter in chapters:
        fingerprint = sources.code_fingerprint(chapter.path.read_text(encoding="utf-8"))
        before = {keys[maker] for name in chapter.needs if (maker := maker_of(name)) in keys}
        keys[chapter.number] = record.chapter_key(chapter, fingerprint, settings_hash(run.settings), run.seed, data, before)
    return keys
