"""Notebooks 10 and 11 in JupyterLab, as a reader and a resident use them, and a case page; also takes the README's pictures."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flairnb.images import read_image, read_mask, write_image
from flairnb.naming import cohort_derivative
from flairnb.report import reading_log
from flairnb.report.chapters import notebooks_dir

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CANVAS = ".jp-OutputArea canvas"
ROOM = "(document.querySelector('.flairnb-room')?.innerText || '')"


def notebook(number: str, **values: str):
    """Return a notebook with other values in its cell of parameters, as a user would type them there."""
    import jupytext

    (path,) = notebooks_dir().glob(f"{number}_*.py")
    book = jupytext.read(path)
    (cell,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    for name, value in values.items():
        cell.source, found = re.subn(rf"^{name}: str = \".*?\"", f'{name}: str = "{value}"', cell.source, flags=re.MULTILINE)
        assert found == 1, name
    return book


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> tuple[str, Path]:
    """A run with a cohort and masks, and its profile: tiny phantoms; for pictures three of a demo run, segmented anew."""
    work = tmp_path_factory.mktemp("cohort")
    demo = Path(os.environ.get("FLAIRNB_DEMO", notebooks_dir().parent / "work" / "demo"))
    if os.environ.get("FLAIRNB_PICTURES"):
        assert (demo / "manifest.tsv").is_file(), "pictures need the cohort of a demo run: flairnb run 01 02 --profile demo"
        segment_some(demo, work)
        return "demo", work
    from flairnb.report import steps
    from flairnb.report.start import start

    run = replace(start("01", "smoke", out_dir=str(work)), jobs=1)
    for row in steps.make_cohort(run).itertuples():
        flair = read_image(work / row.flair)
        truth = read_mask(work / row.reference_mask, like=flair)
        found = np.roll(truth, 1, axis=0)
        for name, data, kind in (("mask", found, np.uint8), ("probseg", np.where(found, 0.9, 0.1 * truth), np.float32)):
            write_image(cohort_derivative(work, row.participant_id, name, label="lesion", desc="unet"), data.astype(kind), flair, kind)
        brain = cohort_derivative(work, row.participant_id, "mask", desc="brain")
        shutil.copy(work / "derivatives" / "phantom" / row.participant_id / "anat" / brain.name, brain)
    return "smoke", work


def segment_some(demo: Path, work: Path) -> None:
    """Take three patients of a demo run and give them the shipped network's masks."""
    import pandas as pd

    from flairnb.cli import call

    manifest = pd.read_csv(demo / "manifest.tsv", sep="\t", keep_default_na=False)
    chosen = manifest[manifest["split"] == "validation"].groupby("diagnosis", sort=False).head(1)
    chosen = chosen[chosen["diagnosis"].isin(["SVID", "HGG", "MSA"])]
    chosen.to_csv(work / "manifest.tsv", sep="\t", index=False)
    (work / "rawdata").symlink_to(demo / "rawdata", target_is_directory=True)
    for row in chosen.itertuples():
        name, anat = row.participant_id, cohort_derivative(work, row.participant_id, "mask", desc="brain").parent
        words = ["segment", str(work / row.flair), "--t1w", str(work / row.t1w), "--out", str(anat)]
        assert call(words) == 0
        # The readers' masks, and where the T1w lies.
        for pattern in ("_label-lesion_desc-manual*_mask.nii.gz", "_from-T1w_to-FLAIR_mode-image_xfm.txt"):
            for path in (demo / anat.relative_to(work)).glob(f"{name}{pattern}"):
                shutil.copy(path, anat)


def test_notebook_10_is_read_judged_and_summed_up(open_in_lab, cohort):
    profile, work = cohort
    tab = open_in_lab(notebook("10", profile=profile, out_dir=str(work)), "10_case_review")
    tab.run_all_cells(400)
    first = tab.picture_when(CANVAS, lambda shot: shot.max() > 150 and shot.std() > 8, 300, "a picture in the reading room")
    # A lesion of the list: the views go there.
    tab.evaluate(
        "(() => { const list = document.querySelector('.flairnb-room .widget-select select[size]'); list.selectedIndex = 0;"
        " list.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )
    first = tab.picture_when(CANVAS, lambda shot: differ(shot, first, 0.2), 120, "the largest lesion")
    tab.evaluate("document.querySelector('.flairnb-room').scrollIntoView()")
    tab.keep("10_room")
    tab.publish("review", tab.picture())
    before = str(tab.evaluate(ROOM))
    # A layer: the whole picture changes from outlines to errors, and a slider changes one of them.
    tab.click("errors")
    errors = tab.picture_when(CANVAS, lambda shot: differ(shot, first, 0.02), 120, "the errors")
    tab.push_slider("Missed", "Home")
    tab.picture_when(CANVAS, lambda shot: differ(shot, errors, 0.01), 120, "another opacity")
    tab.click("masks")
    tab.push_slider("window, %", "ArrowLeft", 12)
    tab.picture_when(CANVAS, lambda shot: differ(shot, first, 0.2), 120, "another grey window")
    # A verdict.
    tab.evaluate("[...document.querySelectorAll('.flairnb-room .widget-text input')][0].focus()")
    tab.call("Input.insertText", text="ab")
    tab.evaluate("document.activeElement.blur()")
    tab.click("minor edits")
    tab.wait_for(f"{ROOM}.includes('saved: ')", 60, "the verdict's line")
    log = reading_log.read(work / "review" / reading_log.FILE)
    assert log[["reader", "verdict"]].to_numpy().tolist() == [["ab", "minor edits"]] and log["case"][0] in before
    assert "minor" in tab.run_cell("review.so_far")
    # Another case.
    shown = tab.picture(CANVAS)
    tab.click("next case")
    tab.wait_for(f"{ROOM}.includes('1 of ') && !{ROOM}.includes('saved: ') && !{ROOM}.includes('loading')", 120, "the second case's line")
    tab.picture_when(CANVAS, lambda shot: shot.max() > 150 and differ(shot, shown, 0.5), 120, "the second case's picture")
    tab.keep("10_second_case")
    assert tab.left_this_machine() == [] and tab.real_errors() == [] and tab.failures() == []


def test_notebook_11_moves_and_answers(open_in_lab, cohort):
    profile, work = cohort
    coarse = "infer.shipped_spacing_mm=3.0" if profile == "smoke" else ""
    tab = open_in_lab(notebook("11", profile=profile, out_dir=str(work), overrides=coarse), "11_how_it_works")
    tab.run_all_cells(560)
    pictures = "[...document.querySelectorAll('.jp-OutputArea img.widget-image, .jp-OutputArea .widget-image img')]"
    tab.wait_for(f"{pictures}.length >= 9 && {pictures}.every(i => i.naturalWidth > 300)", 120, "the pictures with sliders")
    for label, key in (("TI, ms", "PageDown"), ("threshold", "ArrowLeft"), ("updates", "Home"), ("cut at", "End"), ("shift, mm", "End")):
        picture = beside(tab, label)
        before = tab.picture(picture)
        assert before.std() > 10, label
        tab.push_slider(label, key)
        tab.picture_when(picture, lambda shot, before=before: differ(shot, before, 0.1), 120, f"what {label} changes")
    tab.evaluate("document.querySelector('img.moved-threshold').closest('.jp-Cell').scrollIntoView({block: 'center'})")
    tab.keep("11_lesson")
    tab.publish("lesson", tab.picture())
    question = "CSF has a T1 of about 4.3 s"
    answer(tab, question, 0)
    tab.wait_for(f"{said(question)}.includes('Not quite')", 60, "that the answer is wrong")
    answer(tab, question, 1)
    tab.wait_for(f"{said(question)}.includes('Right.')", 60, "that the answer is right")
    hidden = "document.querySelector('.jp-OutputArea details img')"
    assert tab.evaluate(f"!{hidden}.checkVisibility()")
    tab.evaluate("document.querySelector('.jp-OutputArea details:has(img) summary').click()")
    assert tab.evaluate(f"{hidden}.checkVisibility() && {hidden}.naturalWidth > 300")
    assert tab.left_this_machine() == [] and tab.real_errors() == [] and tab.failures() == []


def test_a_case_page_is_one_file_that_shows_everything(new_tab, cohort, tmp_path):
    page = one_case(*cohort, tmp_path / "result")
    assert page.stat().st_size < 3_000_000
    tab = new_tab(width=1000, height=1000)
    tab.call("Page.navigate", url=page.as_uri())
    pictures = "[...document.images]"
    tab.wait_for(f"document.readyState === 'complete' && {pictures}.length > 2 && {pictures}.every(i => i.naturalWidth > 50)", 60, "a page")
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shot = tab.picture()
    assert shot.std() > 20
    tab.keep("case_page", shot)
    tab.publish("case_page", shot)
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == [] and tab.real_errors() == []


def one_case(profile: str, work: Path, folder: Path) -> Path:
    """Return the page of a case that was segmented, or (tiny phantoms) whose masks are there."""
    from flairnb.cohort.manifest import read_manifest
    from flairnb.evaluate.components import lesion_table
    from flairnb.provenance import write_json
    from flairnb.report.case_report import write_case_reports

    cohort = read_manifest(work / "manifest.tsv", work)
    row = cohort[(cohort["diagnosis"] == "SVID") & (cohort["split"] == "validation")].iloc[0]
    name = row["participant_id"]
    anat = cohort_derivative(work, name, "mask", desc="brain").parent
    shutil.copytree(anat, folder)
    if profile == "smoke":
        flair = read_image(work / row["flair"])
        table = lesion_table(read_mask(folder / f"{name}_label-lesion_desc-unet_mask.nii.gz"), flair.affine)
        table.to_csv(folder / f"{name}_desc-lesions.tsv", sep="\t", index=False, na_rep="n/a")
        known = {"lesion_volume_ml": table["volume_ml"].sum(), "lesion_count": len(table), "expected_dice": 0.7, "brain_volume_ml": 1300.0}
        write_json(folder / f"{name}_desc-summary.json", known | {"input": {"flair": Path(row["flair"]).name, "spacing_mm": [1, 1, 5]}})
    return write_case_reports(folder, data_dir=work / "rawdata")[1]


def beside(tab, label: str) -> str:
    """Mark the picture that a slider moves, and return its selector."""
    name = re.sub(r"\W", "", label)
    done = tab.evaluate(
        "(() => { const s = [...document.querySelectorAll('.widget-slider')].find(s =>"
        f" s.querySelector('.widget-label')?.textContent.trim() === {label!r}); const box = s?.closest('.jp-OutputArea-output');"
        f" const i = box?.querySelector('img'); i?.classList.add('moved-{name}'); return !!i; }})()"
    )
    assert done, label
    return f"img.moved-{name}"


def box_of(question: str) -> str:
    inner = f"[...document.querySelectorAll('.widget-html')].find(e => e.textContent.startsWith({question!r}))"
    return f"{inner}.closest('.widget-vbox')"


def answer(tab, question: str, number: int) -> None:
    tab.evaluate(f"{box_of(question)}.querySelectorAll('input[type=radio]')[{number}].click()")


def said(question: str) -> str:
    return f"{box_of(question)}.innerText"


def differ(one: np.ndarray, other: np.ndarray, by: float) -> bool:
    return one.shape != other.shape or float(np.abs(one.astype(float) - other).mean()) > by
