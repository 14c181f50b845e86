"""The report's first page, for a reader who will never see the code."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

from flairnb.present.style import to_jpeg
from flairnb.provenance import atomic_path
from flairnb.report.chapters import Chapter
from flairnb.report.explore import write_explore
from flairnb.report.html import FOOTER, TEMPLATES, banner_for, check_self_contained, outdated, style
from flairnb.report.record import Outcome, codes_of, lock_hash, now

#: Figures of the work folder that the first page shows, with their captions.
FIGURES = (
    (
        "examples",
        "One slice of several validation cases: the FLAIR image alone, the network's lesion outlines, and the "
        "reference reader's (layout of the paper's Figure 3). Radiological convention: the patient's right (R) is on the left.",
    ),
    (
        "dice_by_method",
        "Median Dice over the validation cases by method, with one standard error of the mean (layout of the paper's Figure 1A). "
        "Dice is the overlap of two outlines: 1 when they are the same, 0 when they share no voxel. Open diamonds: the paper's "
        "medians, on real patients. *: the network's mean Dice is higher (paired t test, P < .05); #: the second reader's mean differs. "
        "A mean can be lower although the median is higher, where a method fails completely in some patients.",
    ),
)

#: Notebook that leaves `FIGURES` and `TABLE` for this page; they are left out where it is out of date.
RESULTS = "05"
TABLE = "tables/key_numbers.tsv"


def write_index(report: Path, chapters: list[Chapter], outcomes: list[Outcome], settings: Any, work_dir: Path) -> Path:
    """Write ``index.html``.

    Parameters
    ----------
    report : Path
        Folder of the report.
    chapters : list of Chapter
        Those that have a page.
    outcomes : list of Outcome
        Times and states, by chapter.
    settings : Settings
    work_dir : Path
        Where the key figures and the key table are read from; what a run has
        not made yet is left out.

    Returns
    -------
    Path
    """
    explore = write_explore(Path(report), settings, Path(work_dir))
    text = render_index(chapters, outcomes, settings, work_dir, explore.name if explore else "")
    check_self_contained(text, "index.html")
    path = Path(report) / "index.html"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    publish_figures(Path(work_dir), Path(report))
    return path


def publish_figures(work_dir: Path, report: Path) -> list[Path]:
    """Copy the run's figures into ``figures/`` of the report, for slides and for the README."""
    copies = []
    for source in sorted([*(work_dir / "figures").glob("*.png"), *(work_dir / "figures").glob("*.svg")]):
        target = report / "figures" / source.name
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        copies.append(target)
    return copies


def render_index(chapters: list[Chapter], outcomes: list[Outcome], settings: Any, work_dir: Path, explore: str = "") -> str:
    """Return the first page as text; `explore` is the name of the page of charts to point at."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(str(TEMPLATES)), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    by_number = {outcome.chapter.number: outcome for outcome in outcomes}
    rows = [
        {
            "number": chapter.number,
            "href": chapter.html,
            "title": chapter.title,
            "question": chapter.question,
            "minutes": f"{by_number[chapter.number].seconds / 60:.1f}" if chapter.number in by_number else "",
        }
        for chapter in chapters
    ]
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    stale = [outcome.chapter.number for outcome in outcomes if outcome.status == "outdated"]
    results = RESULTS not in [*stale, *(outcome.chapter.number for outcome in failed)]
    return environment.get_template("index.html.j2").render(
        style=style(),
        footer=FOOTER,
        banner=banner_for(settings.cohort.source),
        simulated=settings.cohort.source == "phantom",
        profile=settings.profile,
        chapters=rows,
        explore=explore,
        failed=[f"{outcome.chapter.stem}: {outcome.reason}" for outcome in failed],
        outdated=outdated(stale) if stale else "",
        figures=_figures(work_dir) if results else [],
        table=_key_table(work_dir) if results else None,
        facts=_facts(outcomes, settings),
    )


def _figures(work_dir: Path) -> list[dict[str, str]]:
    found = []
    for name, caption in FIGURES:
        path = work_dir / "figures" / f"{name}.png"
        if path.is_file():
            data = base64.b64encode(to_jpeg(path.read_bytes(), 90)).decode()  # without loss in ``figures/``
            found.append({"src": f"data:image/jpeg;base64,{data}", "caption": caption})
    return found


def _key_table(work_dir: Path) -> dict[str, Any] | None:
    path = work_dir / TABLE
    if not path.is_file():
        return None
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {"columns": lines[0], "rows": lines[1:]}


def _facts(outcomes: list[Outcome], settings: Any) -> list[tuple[str, str]]:
    from flairnb.provenance import machine, versions
    from flairnb.settings import settings_hash

    host, installed = machine(), versions()
    before = [outcome.chapter.number for outcome in outcomes if outcome.status in ("earlier", "outdated", "skipped")]
    earlier = f", {_listed(before)} in earlier runs" if before else ""
    peak = max((outcome.peak_gb for outcome in outcomes), default=0.0)
    return [
        ("Finished", now()),
        ("Profile, seed", f"{settings.profile}, {settings.seed}"),
        ("Settings", settings_hash(settings)),
        ("Code", _code(outcomes)),
        ("Locked packages", lock_hash()[:12]),
        ("Machine", f"{host['cores']} cores, {host['memory_gb']} GB, {host['system']} {host['architecture']}"),
        ("Time", f"{sum(outcome.seconds for outcome in outcomes) / 60:.1f} minutes in all{earlier}"),
        ("Peak memory", f"{peak:.1f} GB"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in installed.items())),
    ]


def _code(outcomes: list[Outcome]) -> str:
    """Name the code of all chapters; where some ran with another, each with its chapters."""
    codes = codes_of(outcomes)
    if len(codes) < 2:
        return next(iter(codes), "unknown")
    return "; ".join(f"{code}: {_listed(numbers)}" for code, numbers in codes.items())


def _listed(numbers: list[str]) -> str:
    return f"chapter{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
