"""A page for each case that `flairnb segment` wrote, and a list of them; each page is one file that loads nothing."""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flairnb.errors import EnvironmentProblem, FlairnbError, InputError, MissingDataError, WorkFailed
from flairnb.provenance import atomic_path
from flairnb.report.case_files import read_lesions, read_summary, refuse_foreign
from flairnb.report.html import FOOTER, check_self_contained, style
from flairnb.report.patient_folder import SUMMARY
from flairnb.report.review_files import case_names, find_flair, stem_of, visible_below

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from flairnb.images import Image

PAGE, INDEX = "_desc-report.html", "index.html"
NOT_CLINICAL = "Research and teaching only. Not for clinical use."
#: Of living adults; outside, brain extraction has failed or the patient is a child.
BRAIN_ML = (800.0, 2000.0)
LARGEST_LESIONS = 15
_LOG = logging.getLogger(__name__)
#: By what our own pages are known, whatever version wrote them.
_OURS = "<footer>Made by flairnb"
_OUR_INDEX, _OUR_PAGE = (_OURS, "<title>Cases</title>"), (_OURS, "<h2>How it was made</h2>")
_COLUMNS = {"lesion": "no.", "volume_ml": "ml", "max_in_plane_diameter_mm": "longest in plane, mm", "mean_probability": "mean probability"}


def write_case_reports(folder: Path, data_dir: Path | None = None, pdf: bool = False) -> list[Path]:
    """Write a page beside each case's results, and ``index.html`` over them.

    Where several results have one file stem, as all from DICOM have, titles and
    index name them by their folders, too (:func:`flairnb.report.review_files.case_names`).
    A case whose summary or table of lesions cannot be used is passed over; the
    log and the index name it, and say why.

    Parameters
    ----------
    folder : Path
        Results of `flairnb segment`; folders in it are searched, too.
    data_dir : Path, optional
        Where the FLAIRs lie, if neither beside the results nor one folder up.
        Without a FLAIR a page shows the picture that `flairnb segment` left.
    pdf : bool
        Also write ``.pdf``, by an installed Chromium.

    Returns
    -------
    list of Path
        The index first.

    Raises
    ------
    MissingDataError
        When there are no results.
    InputError
        When none of them can be used, or where a page or the index would
        replace a file that is not ours; nothing was written then.
    EnvironmentProblem
        For `pdf` without Chromium.
    """
    folder = Path(folder)
    summaries = visible_below(folder, f"*{SUMMARY}") if folder.is_dir() else []
    if not summaries:
        raise MissingDataError(
            f"case-report: expected results of flairnb segment in {folder.name}/, found no file *{SUMMARY}. Run flairnb segment first."
        )
    browser = _browser() if pdf else ""
    index = folder / INDEX
    refuse_foreign(index, _OUR_INDEX)
    for path in summaries:
        refuse_foreign(_page_of(path), _OUR_PAGE)
    pages, rows, passed = [], [], []
    for name, path in zip(case_names(folder, summaries), summaries, strict=True):
        try:
            summary = read_summary(path)
            text = case_page(path.parent, stem_of(path), summary, data_dir, name)
        except InputError as error:
            _LOG.warning("case-report: passed over %s: %s", name, error)
            passed.append((name, str(error)))
            continue
        page = _page_of(path)
        _write(page, text, name)
        pages.append(page)
        rows.append(_index_row(page.relative_to(folder), name, summary))
        if pdf:
            _print(browser, page)
    if not pages:
        raise InputError(f"case-report: expected results that can be read, found none; first: {passed[0][1]} Run flairnb segment again.")
    _write(index, _index(rows, passed), "index")
    return [index, *pages]


def _page_of(summary: Path) -> Path:
    return summary.with_name(f"{stem_of(summary)}{PAGE}")


def _index(rows: list[str], passed: list[tuple[str, str]]) -> str:
    """Return the list of cases; below it, those that were passed over, and why."""
    head = "<tr><th>case</th><th>lesions</th><th>ml</th><th>expected Dice</th><th>warnings</th></tr>"
    body = f"<h1>{len(rows)} cases</h1><p class='banner'>{NOT_CLINICAL}</p><table>{head}{''.join(rows)}</table>"
    if passed:
        body += f"<h2>{len(passed)} passed over</h2><p>Their results are damaged. Run flairnb segment on them again.</p>{_table(passed)}"
    return _document("Cases", body)


def case_page(folder: Path, stem: str, summary: Mapping[str, Any], data_dir: Path | None = None, name: str = "") -> str:
    """Return the page of one case as HTML.

    Parameters
    ----------
    folder : Path
        Where the case's results are.
    stem : str
        With what the names of its files begin.
    summary : mapping
        Content of its ``_desc-summary.json``.
    data_dir : Path, optional
    name : str
        Of the case, in the title; "" for the stem.

    Raises
    ------
    InputError
        The table of lesions cannot be read, or is not the one of the summary.
    """
    name, lesions = name or stem, _lesions(folder, stem, summary)
    images = _images(folder, stem, summary, data_dir)
    notes = [*warnings_of(summary)]
    if images is None:
        notes.append(
            "the FLAIR that was segmented was not found beside the results: the picture is the one that flairnb segment left, "
            "without thumbnails"
        )
    shown = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f"<p class='banner'>{NOT_CLINICAL}</p>",
        _facts(summary),
        f"<h2>Warnings</h2><ul>{shown}</ul>" if notes else "<h2>Warnings</h2><p>None.</p>",
        "<h2>Slices</h2>",
        _mosaic(folder, stem, images),
        "<h2>Lesions</h2>",
        _lesion_rows(lesions, images, summary["lesion_count"]),
        "<h2>How it was made</h2>",
        _provenance(summary),
    ]
    return _document(name, "".join(parts))


def warnings_of(summary: Mapping[str, Any]) -> list[str]:
    """Return the notes of a summary, and whether its brain has a brain's volume."""
    notes = [str(note) for note in summary.get("notes", [])]
    brain = summary.get("brain_volume_ml")
    low, high = BRAIN_ML
    if brain is not None and not low <= float(brain) <= high:
        notes.append(f"the extracted brain has {float(brain):.0f} ml, expected {low:.0f} to {high:.0f}: look at its outline")
    return notes


def _facts(summary: Mapping[str, Any]) -> str:
    expected = summary.get("expected_dice")
    rows = [
        ("Lesion volume", f"{float(summary['lesion_volume_ml']):.2f} ml"),
        ("Lesions", str(summary["lesion_count"])),
        ("Expected Dice", "undefined" if expected is None else f"{float(expected):.2f} (the network's own guess, made without a reader)"),
        ("Brain volume", f"{float(summary['brain_volume_ml']):.0f} ml" if "brain_volume_ml" in summary else "not known"),
        ("Voxels", " x ".join(f"{edge:.3g}" for edge in summary.get("input", {}).get("spacing_mm", [])) + " mm"),
    ]
    return _table(rows)


def _provenance(summary: Mapping[str, Any]) -> str:
    weights = summary.get("weights", {})
    rows = [
        ("FLAIR", str(summary.get("input", {}).get("flair", ""))),
        ("Weights", f"{weights.get('name', '')} {weights.get('sha256', '')[:16]}"),
    ]
    rows += [("Seconds", ", ".join(f"{name} {value:.1f}" for name, value in summary.get("seconds", {}).items()))]
    rows += [("Versions", ", ".join(f"{name} {version}" for name, version in summary.get("versions", {}).items()))]
    settings = html.escape(json.dumps(summary.get("settings", {}), indent=1))
    return f"{_table(rows)}<details><summary>Settings</summary><pre>{settings}</pre></details>"


def _images(folder: Path, stem: str, summary: Mapping[str, Any], data_dir: Path | None) -> dict[str, Any] | None:
    from flairnb.images import read_image, read_mask

    path = find_flair(folder, summary, data_dir)
    if path is None:
        return None
    try:
        flair = read_image(path, "FLAIR")
        names = {"lesion": "label-lesion_desc-unet_mask", "brain": "desc-brain_mask"}
        masks = {name: read_mask(folder / f"{stem}_{file}.nii.gz", like=flair, what=f"{name} mask") for name, file in names.items()}
    except FlairnbError:  # no usable image, or results half deleted: the picture on disk still stands
        return None
    return {"flair": flair, **masks}


def _mosaic(folder: Path, stem: str, images: dict[str, Any] | None) -> str:
    if images is not None:
        from flairnb.present.slices import mosaic
        from flairnb.present.style import to_png

        return _img(
            to_png(mosaic(images["flair"], {"brain": images["brain"], "lesion": images["lesion"]}, count=16), dpi=110), "slices", 900
        )
    kept = folder / f"{stem}_desc-qc.png"
    return _img(kept.read_bytes(), "slices", 900) if kept.is_file() else "<p>No picture.</p>"


def _lesions(folder: Path, stem: str, summary: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the table of lesions; None where it was taken away."""
    path = folder / f"{stem}_desc-lesions.tsv"
    return read_lesions(path, summary["lesion_count"]) if path.is_file() else None


def _lesion_rows(lesions: pd.DataFrame | None, images: dict[str, Any] | None, count: int) -> str:
    if lesions is None and count:
        return f"<p>{count} were found; their table is not beside this page any more.</p>"
    if lesions is None or lesions.empty:
        return "<p>None was found. An empty mask is not a healthy brain.</p>"
    rows = []
    for row in lesions.head(LARGEST_LESIONS).to_dict("records"):
        cells = "".join(f"<td>{row[name]:.3g}</td>" for name in _COLUMNS)
        rows.append(f"<tr>{cells}<td>{_thumbnail(row, images)}</td></tr>")
    head = "".join(f"<th>{words}</th>" for words in (*_COLUMNS.values(), "" if images is None else "R on the left, 50 mm"))
    rest = len(lesions) - LARGEST_LESIONS
    more = f"<p>And {rest} smaller ones, in the table beside this page.</p>" if rest > 0 else ""
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{more}"


def _thumbnail(row: Mapping[str, Any], images: dict[str, Any] | None) -> str:
    if images is None:
        return ""
    from flairnb.present.thumbnails import lesion_thumbnail

    flair: Image = images["flair"]
    centre = [row["centroid_r_mm"], row["centroid_a_mm"], row["centroid_s_mm"]]
    return _img(lesion_thumbnail(flair, images["lesion"], centre, images["brain"]), f"lesion {row['lesion']}")


def _img(png: bytes, what: str, width: int | None = None) -> str:
    size = f' style="max-width:100%;width:{width}px"' if width else ""
    return f'<img alt="{html.escape(what)}"{size} src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _table(rows: list[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in rows) + "</table>"


def _index_row(page: Path, name: str, summary: Mapping[str, Any]) -> str:
    expected = summary.get("expected_dice")
    values = [
        str(summary["lesion_count"]),
        f"{float(summary['lesion_volume_ml']):.2f}",
        "" if expected is None else f"{float(expected):.2f}",
    ]
    cells = "".join(f"<td>{value}</td>" for value in [*values, str(len(warnings_of(summary)))])
    link = quote(os.fsencode(page.as_posix()))
    return f'<tr><td><a href="{html.escape(link)}">{html.escape(name)}</a></td>{cells}</tr>'


def _document(title: str, body: str) -> str:
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{style()}</style>"
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body><main>{body}</main><footer>{FOOTER}</footer></body></html>\n"


def _write(path: Path, text: str, what: str) -> None:
    check_self_contained(text, what)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")  # a folder's name need not be UTF-8


def _browser() -> str:
    from flairnb.report.doctor import BROWSERS

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise EnvironmentProblem(
            "--pdf: expected chromium or chrome on the PATH, found none. Install one, or print the page from a browser."
        )
    return found


def _print(browser: str, page: Path) -> None:
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--no-pdf-header-footer"]
        command = [browser, *words, f"--print-to-pdf={target}", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, timeout=180, check=False)
    if done.returncode or not target.is_file():
        raise WorkFailed(f"{page.name}: expected a PDF from {Path(browser).name}, received none. Print the page from a browser instead.")
