"""All notebooks, executed in the `smoke` profile; their numbers against tests/expected/smoke.toml."""

from __future__ import annotations

import fnmatch
import json
import math
import re
import tomllib
from pathlib import Path

import pytest

from flairnb.report.chapters import read_chapters
from flairnb.report.html import fetches
from flairnb.report.pipeline import run_notebooks
from flairnb.report.privacy import check_privacy
from flairnb.report.verify import verify_folder

EXPECTED = Path(__file__).resolve().parents[1] / "expected" / "smoke.toml"
CHAPTERS = read_chapters()
#: Pictures that each chapter must show.
IMAGES = {
    "00": 0, "01": 2, "02": 3, "03": 3, "04": 3, "05": 2, "06": 2, "07": 7, "08": 3, "09": 2, "10": 1, "11": 6, "12": 4, "13": 1, "14": 1,
}  # fmt: skip

# One worker runs the notebooks, once, for all tests of this module: see TOGETHER in tests/conftest.py.
pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run everything once; the folder of the report, the work folder, the result."""
    root = tmp_path_factory.mktemp("smoke")
    result = run_notebooks("all", profile="smoke", jobs=2, sets=[f"out_dir={root / 'work'}"], reports_dir=root / "report")
    return root / "report", root / "work", result


@pytest.fixture(scope="module")
def numbers(run):
    return json.loads((run[0] / "numbers.json").read_text())


def expectations():
    table = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))
    return [(chapter, name, entry) for chapter, names in table.items() for name, entry in names.items()]


def test_every_chapter_ran_and_left_its_page(run):
    report, _, result = run
    assert [outcome.status for outcome in result.outcomes] == ["done"] * len(CHAPTERS)
    files = {"index.html", "explore.html", "cases.html", "numbers.json", "ledger.tsv", "run.json", "figures"}
    assert {path.name for path in report.iterdir()} == {c.html for c in CHAPTERS} | files


@pytest.mark.parametrize(("chapter", "name", "entry"), expectations(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_number_is_what_it_was(numbers, chapter, name, entry):
    matching = {key: value for key, value in numbers[chapter].items() if fnmatch.fnmatchcase(key, name)}
    assert matching or entry.get("optional")
    for key, found in matching.items():
        if found is None:
            assert entry.get("null"), f"{key} is null"
        elif "low" not in entry and "value" not in entry:
            raise AssertionError(f"{key} is {found}, expected none")
        elif "low" in entry:
            assert entry["low"] <= found <= entry["high"], key
        else:
            assert math.isclose(found, entry["value"], rel_tol=entry.get("rel", 0.0), abs_tol=entry.get("abs", 0.0)), key


def test_every_number_of_the_run_is_expected(numbers):
    listed: dict[str, list[str]] = {}
    for chapter, name, _ in expectations():
        listed.setdefault(chapter, []).append(name)
    for chapter, names in numbers.items():
        unexpected = [name for name in names if not any(fnmatch.fnmatchcase(name, known) for known in listed.get(chapter, []))]
        assert unexpected == [], chapter


def test_the_ledger_sets_this_runs_numbers_beside_the_articles(run, numbers):
    rows = [line.split("\t") for line in (run[0] / "ledger.tsv").read_text(encoding="utf-8").splitlines()]
    table = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    assert len(table) == len(rows) - 1 > 200
    assert table["abstract.validation"]["ours"] == str(numbers["01_cohort"]["validation"])
    assert math.isclose(float(table["abstract.dice_cnn"]["ours"]), numbers["05_accuracy"]["dice_median_unet"], rel_tol=1e-3, abs_tol=1e-6)
    assert all(row["ours"] or row["note"] for row in table.values())
    assert sum(bool(row["ours"]) for row in table.values()) > 150


def test_pages_show_their_pictures_and_load_nothing(run):
    for chapter in CHAPTERS:
        text = (run[0] / chapter.html).read_text(encoding="utf-8")
        assert text.count("<img") >= IMAGES.get(chapter.number, 0), chapter.stem
        assert fetches(text) == [], chapter.stem
        assert not re.search(r"<(script|link)[^>]*https?://", text)
        assert "application/vnd.jupyter.widget" not in text and "MathJax" not in text
        assert len(text) < 5_000_000, chapter.stem
        assert "Traceback (most recent call last)" not in text


def test_pages_name_no_folder_of_this_machine_and_only_simulated_people(run):
    report, work, _ = run
    known = set(re.findall(r"sub-[A-Za-z0-9]+", (work / "manifest.tsv").read_text()))
    for path in [*report.glob("*.html"), *report.glob("*.json")]:
        text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
        assert str(work) not in text and str(Path.home()) not in text, path.name
        assert set(re.findall(r"\bsub-[A-Za-z0-9]+", text)) <= known, path.name
    assert [str(finding) for finding in check_privacy(report)] == []
    assert {v.status for v in verify_folder(report)} == {"ok"}


def test_the_first_page_has_the_key_figure_the_table_and_the_chapters(run):
    text = (run[0] / "index.html").read_text(encoding="utf-8")
    assert text.count("<img") == 2 and fetches(text) == []
    assert "phantom (simulated)" in text and "Paper: CNN" in text and "Not for clinical use" in text
    for chapter in CHAPTERS:
        assert f'href="{chapter.html}"' in text and chapter.title in text


def test_the_record_says_what_was_run(run):
    record = json.loads((run[0] / "run.json").read_text())
    assert record["profile"] == "smoke" and set(record["wall_seconds"]) == {c.stem for c in CHAPTERS}
    assert 0.1 < record["peak_memory_gb"] < 8 and len(record["lock_sha256"]) in (6, 64)
    assert record["settings"]["train"]["epochs"] >= 1 and record["code"]["commit"]


def test_masks_lie_on_the_grid_of_their_flair(run):
    import nibabel as nib
    import numpy as np

    _, work, _ = run
    found = sorted(work.glob("derivatives/flairnb/sub-*/anat/*_label-lesion_desc-unet_mask.nii.gz"))
    assert found
    for path in found:
        participant = path.name.split("_")[0]
        flair = nib.load(work / "rawdata" / participant / "anat" / f"{participant}_FLAIR.nii.gz")
        mask = nib.load(path)
        assert mask.shape == flair.shape and np.allclose(mask.affine, flair.affine, atol=1e-5)


def test_a_second_run_skips_every_chapter(run):
    _, work, _ = run
    said = []
    again = run_notebooks("all", profile="smoke", jobs=2, sets=[f"out_dir={work}"], reports_dir=run[0].parent / "again", say=said.append)
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] * len(CHAPTERS)
    assert sum("skipped" in line for line in said) == len(CHAPTERS)
    first, second = (json.loads((folder / "numbers.json").read_text()) for folder in (run[0], run[0].parent / "again"))
    assert first == second


def test_choices_of_training_are_trained_once_and_scored(run, monkeypatch):
    import flairnb
    from flairnb.network import training
    from flairnb.report import ablation_training

    monkeypatch.setattr(ablation_training, "VARIANTS", {"dilation": {n: {"network.dilation": n} for n in ("stride1_only", "literal")}})
    monkeypatch.setattr(ablation_training, "SEEDS", 1)
    started = flairnb.start("12", "smoke", 2019, "", str(run[1]), "audit.training_epochs=1")
    table = ablation_training.trained_ablations(started)
    assert table["choice"].tolist() == ["stride1_only, as run", "literal"] and table["seed"].tolist() == [2019, 2019]
    assert (table["updates"] == 8).all() and (table["cases"] == 3).all() and table["dice"].between(0, 1).all()
    assert not ablation_training.publish(started, table)  # smoke proves nothing
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained again"))
    pytest.importorskip("pandas").testing.assert_frame_equal(ablation_training.trained_ablations(started), table)
