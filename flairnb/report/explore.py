"""Two pages beside the report's first one: charts to point at, and the cases that their dots lead to."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.provenance import atomic_path
from flairnb.report.html import banner_for, check_self_contained, style

if TYPE_CHECKING:
    import pandas as pd

EXPLORE, CASES = "explore.html", "cases.html"
#: Columns of a case's table: what the page calls them, digits.
MEASURES = {
    "dice": ("Dice", 2), "sensitivity": ("sensitivity", 2), "ppv": ("PPV", 2), "predicted_ml": ("volume, ml", 1),
    "reference_ml": ("reader's, ml", 1),
}  # fmt: skip


def write_explore(report: Path, settings: Any, work_dir: Path) -> Path | None:
    """Write ``explore.html`` and ``cases.html``; None before notebook 05 has scored anything.

    The first holds plotly's own code (5 MB) and is the one page of a report
    with a script; nothing in it loads anything. A click on a dot opens the
    case on the second. Real people are numbered, not named, and not shown.

    Parameters
    ----------
    report : Path
        Folder of the report.
    settings : Settings
    work_dir : Path
        With ``tables/scores.tsv``, images and masks.

    Returns
    -------
    Path or None
        Of ``explore.html``.
    """
    import pandas as pd

    from flairnb.present.explore import explore_cases, explore_page

    source = Path(work_dir) / "tables/scores.tsv"
    if not source.is_file():
        return None
    scores = pd.read_csv(source, sep="\t", na_values=["n/a"])
    people = list(dict.fromkeys(scores["participant_id"]))
    names = {name: name if settings.cohort.source == "phantom" else f"case-{number}" for number, name in enumerate(people, 1)}
    banner = banner_for(settings.cohort.source)
    cases = cases_page(scores, names, banner, _pictures(settings, Path(work_dir), people))
    check_self_contained(cases, CASES)
    pages = {CASES: cases, EXPLORE: explore_page(explore_cases(scores, names), "Cases to point at", banner, CASES)}
    for name, text in pages.items():
        with atomic_path(Path(report) / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return Path(report) / EXPLORE


def cases_page(scores: pd.DataFrame, names: Mapping[str, str], banner: str, pictures: Mapping[str, bytes]) -> str:
    """Return a page with disease, scanner, picture and every method's scores of each case.

    Parameters
    ----------
    scores : DataFrame
        ``tables/scores.tsv``.
    names : mapping of str to str
        What a participant is called; also the anchor of its place on the page.
    banner : str
    pictures : mapping of participant to JPEG bytes
        Participants without one have no picture.
    """
    from flairnb.present.explore import scanner_words

    parts = []
    for participant, rows in scores.groupby("participant_id", sort=False):
        name, first = html.escape(names[str(participant)]), rows.iloc[0]
        facts = html.escape(f"{first['diagnosis']}; {scanner_words(first)}")
        picture = pictures.get(str(participant))
        shown = f'<figure><img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}"></figure>' if picture else ""
        parts.append(f'<section id="{name}"><h2>{name}</h2><p>{facts}</p>{shown}{_table(rows)}</section>')
    title = "Case by case"
    shown = "FLAIR, the network's mask and the reader's, on the slice with most lesion (the patient's right is on the left). "
    intro = (
        f'<p>{shown if pictures else ""}How each method agrees with the reader. <a href="{EXPLORE}">Charts</a>, '
        '<a href="index.html">report</a></p>'
    )
    head = f'<meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,"><style>{style()}</style>'
    body = f'<h1>{title}</h1><p class="banner">{html.escape(banner)}</p>{intro}{"".join(parts)}'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _table(rows: pd.DataFrame) -> str:
    import pandas as pd

    from flairnb.present.style import look

    head = "".join(f'<th class="number">{title}</th>' for title, _ in MEASURES.values())
    lines = [f"<tr><th>method</th>{head}</tr>"]
    for place, row in enumerate(rows.to_dict("records")):
        values = ["not defined" if pd.isna(row[key]) else f"{row[key]:.{digits}f}" for key, (_, digits) in MEASURES.items()]
        cells = "".join(f'<td class="number">{value}</td>' for value in values)
        lines.append(f"<tr><td>{html.escape(look(row['method'], place).label)}</td>{cells}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _pictures(settings: Any, work_dir: Path, people: list[str]) -> dict[str, bytes]:
    """Draw the simulated cases whose images are there; of real people nobody asked for pictures."""
    from flairnb.report.start import Run

    if settings.cohort.source != "phantom":
        return {}
    run = Run("05", settings, settings.seed, work_dir, None, 1)
    return {name: picture for name in people if (picture := _picture(run, name))}


def _picture(run: Any, participant: str) -> bytes:
    """Return FLAIR, network's and reader's mask as JPEG; empty where there is no FLAIR."""
    from flairnb.present.contact_sheet import comparison_sheet
    from flairnb.present.style import to_jpeg, to_png
    from flairnb.report import steps, views

    cohort = steps.read_cohort(run, "validation")
    rows = cohort[cohort["participant_id"] == participant].to_dict("records")
    if not rows or not (steps.data_root(run) / rows[0]["flair"]).is_file():
        return b""
    figure = comparison_sheet([views.native_case(run, rows[0], ("unet", "manual"))], ("unet", "manual"))
    return to_jpeg(to_png(figure, dpi=100), 75)
