"""The papermill driver on two small notebooks of its own."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from flairnb.cli import call
from flairnb.errors import MissingDataError, SettingsError, WorkFailed
from flairnb.provenance import write_json
from flairnb.report import chapters as chapters_module
from flairnb.report import pipeline, record, sources, steps

HEADER = """# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""

PARAMETERS = """# %% tags=["parameters"]
profile: str = "demo"  # which profile
seed: int = 2019  # seed of all draws
data_dir: str = ""  # your data
out_dir: str = ""  # the work folder
overrides: str = ""  # settings to change

# %%
"""

FIRST = (
    HEADER
    + """# %% [markdown]
# # First chapter
#
# **Does the driver run notebooks?**

"""
    + PARAMETERS
    + """import json
import sys
from pathlib import Path

folder = Path(out_dir)
(folder / "runs").mkdir(parents=True, exist_ok=True)
count = folder / "count.txt"
count.write_text(count.read_text() + "x" if count.exists() else "x")
(folder / "seen.json").write_text(json.dumps({"python": sys.executable, "seed": seed, "profile": profile}))
(folder / "runs" / "07_numbers.json").write_text(json.dumps({"answer": 42}))
seed
"""
)

FAILS = FIRST.replace("First chapter", "Second chapter").replace("import json\n", "raise RuntimeError('no such luck')\n", 1)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A folder of notebooks with one chapter, 07, in it."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "07_first.py").write_text(FIRST, encoding="utf-8")
    monkeypatch.setattr(chapters_module, "notebooks_dir", lambda: folder)
    # These books leave nothing behind that the real chapters of their numbers do.
    monkeypatch.setattr(chapters_module, "MAKES", {})
    monkeypatch.setattr(chapters_module, "NEEDS", {})
    return folder


def run(tmp_path, *sets, which="all", **more):
    said = []
    result = pipeline.run_notebooks(
        which,
        profile="smoke",
        jobs=1,
        sets=[f"out_dir={tmp_path / 'work'}", *sets],
        reports_dir=tmp_path / "report",
        say=said.append,
        **more,
    )
    return result, said


@pytest.mark.slow
def test_a_run_leaves_page_index_numbers_and_record_and_the_second_run_skips(book, tmp_path):
    import sys

    result, _ = run(tmp_path, "seed=5", "train.epochs=1")
    report = tmp_path / "report"
    assert {path.name for path in report.iterdir()} == {"07_first.html", "index.html", "ledger.tsv", "numbers.json", "run.json"}
    assert result.index == report / "index.html"
    assert json.loads((report / "numbers.json").read_text()) == {"07_first": {"answer": 42}}
    seen = json.loads((tmp_path / "work" / "seen.json").read_text())
    assert seen == {"python": sys.executable, "seed": 5, "profile": "smoke"}

    written = json.loads((report / "run.json").read_text())
    assert written["settings"]["train"]["epochs"] == 1
    assert written["seed"] == 5 and written["status"] == {"07_first": "done"}
    assert written["peak_memory_gb"] > 0.02 and written["wall_seconds"]["07_first"] > 0
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", written["code"]["commit"])
    assert str(tmp_path) not in json.dumps(written)

    again, said = run(tmp_path, "seed=5", "train.epochs=1")
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] and "skipped, unchanged" in said[0]
    assert (tmp_path / "work" / "count.txt").read_text() == "x"
    assert json.loads((report / "run.json").read_text())["wall_seconds"] == written["wall_seconds"]

    changed, said = run(tmp_path, "seed=6", "train.epochs=1")
    assert [outcome.status for outcome in changed.outcomes] == ["done"] and "changed" in said[0]
    (book / "07_first.py").write_text(FIRST + "\n# %%\n1 + 1\n", encoding="utf-8")
    edited, _ = run(tmp_path, "seed=6", "train.epochs=1")
    assert edited.outcomes[0].status == "done"
    assert (tmp_path / "work" / "count.txt").read_text() == "xxx"


def test_the_report_says_of_each_chapter_which_code_it_ran_with(book, executed, tmp_path, monkeypatch):
    (book / "08_second.py").write_text(FIRST.replace("First chapter", "Second chapter").replace("07_", "08_"), encoding="utf-8")
    monkeypatch.setattr(record, "git_state", lambda: {"commit": "a" * 40, "dirty": False})
    run(tmp_path)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "aaaaaaaaaaaa" in page and "aaaaaaaaaaaa:" not in page and "in earlier runs" not in page

    monkeypatch.setattr(record, "git_state", lambda: {"commit": "b" * 40, "dirty": True})
    run(tmp_path, which=["08"], force=True)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "aaaaaaaaaaaa: chapter 07; bbbbbbbbbbbb (with local changes): chapter 08" in page and "chapter 07 in earlier runs" in page
    written = json.loads((tmp_path / "report" / "run.json").read_text())
    assert written["code_of_chapters"] == {"07_first": "aaaaaaaaaaaa", "08_second": "bbbbbbbbbbbb (with local changes)"}


def test_chapters_of_other_settings_are_named_and_their_numbers_left_out(book, executed, tmp_path):
    second = FIRST.replace("First chapter", "Second chapter").replace("07_", "08_").replace("42", "43")
    (book / "08_second.py").write_text(second, encoding="utf-8")
    report = tmp_path / "report"
    for number in ("07", "08"):
        write_json(tmp_path / "work" / "runs" / f"{number}_numbers.json", {"answer": 42})
    run(tmp_path, "train.epochs=1")
    assert set(json.loads((report / "numbers.json").read_text())) == {"07_first", "08_second"}

    run(tmp_path, "train.epochs=2", which=["07"])
    assert set(json.loads((report / "numbers.json").read_text())) == {"07_first"}
    assert json.loads((report / "run.json").read_text())["status"] == {"07_first": "done", "08_second": "outdated"}
    said = "Chapter 08 is from an earlier run with other settings, code or inputs. To bring it up to date: flairnb run 08"
    assert said in (report / "index.html").read_text() and said in (report / "08_second.html").read_text()
    assert "earlier run with other" not in (report / "07_first.html").read_text()

    run(tmp_path, "train.epochs=2", which=["08"])
    assert set(json.loads((report / "numbers.json").read_text())) == {"07_first", "08_second"}
    assert not any("earlier run with other" in path.read_text() for path in report.glob("*.html"))


def test_what_current_chapters_have_read_is_not_out_of_date_but_what_followed_from_old_ones_is(tmp_path, monkeypatch):
    """06 ran now; it read 05's table, which came from 04. 07 read the old 05, 09 nothing, 10 was never run."""
    monkeypatch.setattr(chapters_module, "MAKES", {"04": ("a",), "05": ("b",)})
    monkeypatch.setattr(chapters_module, "NEEDS", {"05": ("a",), "06": ("b",), "07": ("b",)})
    numbers = ("04", "05", "06", "07", "09", "10")
    chapters = [chapters_module.Chapter(number, tmp_path / f"{number}_x.py", "", "") for number in numbers]
    for chapter in chapters[:-1]:
        record.write_state(chapter, tmp_path, "new" if chapter.number == "06" else "old", record.Outcome(chapter, "done", 1.0))
    assert record.outdated(chapters, dict.fromkeys(numbers, "new"), tmp_path) == {"07", "09"}
    assert record.outdated(chapters, dict.fromkeys(numbers, "old"), tmp_path) == {"06"}


def test_a_chapter_run_ahead_of_those_it_reads_is_run_again_after_them(tmp_path, monkeypatch):
    """`flairnb run 06` after the table was changed, then `run all`: 06 had read the old scores under today's key."""
    monkeypatch.setattr(chapters_module, "MAKES", {"05": ("b",)})
    monkeypatch.setattr(chapters_module, "NEEDS", {"06": ("b",)})
    monkeypatch.setattr(chapters_module, "USES", {})
    chapters = [chapters_module.Chapter(number, tmp_path / f"{number}_x.py", "", "") for number in ("05", "06")]
    (tmp_path / "b").touch()
    for chapter, second in zip(chapters, (1, 2), strict=True):
        executed = record.executed_path(chapter, tmp_path)
        executed.parent.mkdir(exist_ok=True)
        executed.touch()
        monkeypatch.setattr(record, "now", lambda second=second: f"2026-01-01T00:00:0{second}Z")
        record.write_state(chapter, tmp_path, "new", record.Outcome(chapter, "done", 1.0))
    assert record.reason_to_run(chapters[1], "new", tmp_path) == ""
    monkeypatch.setattr(record, "now", lambda: "2026-01-01T00:00:03Z")
    record.write_state(chapters[0], tmp_path, "new", record.Outcome(chapters[0], "done", 1.0))
    assert record.reason_to_run(chapters[1], "new", tmp_path) == "chapter 05 was run since"
    assert record.reason_to_run(chapters[0], "new", tmp_path) == ""


def test_simulated_and_other_patients_never_share_a_work_folder(book, executed, tmp_path):
    """Every page of a report stands under one line that says whether its patients exist."""
    run(tmp_path)
    page = (tmp_path / "report" / "07_first.html").read_text()
    table = tmp_path / "cohort.tsv"
    table.write_text("participant_id\n")
    with pytest.raises(SettingsError, match=r"expected 'phantom', as the work folder work holds simulated patients.*out_dir") as caught:
        run(tmp_path, "cohort.source=manifest", f"cohort.manifest={table}")
    assert caught.value.exit_code == 2 and (tmp_path / "report" / "07_first.html").read_text() == page
    run(tmp_path)


@pytest.mark.slow
def test_a_failing_cell_stops_the_run_names_the_error_and_keeps_the_partial_notebook(book, tmp_path):
    (book / "08_second.py").write_text(FAILS, encoding="utf-8")
    (book / "09_third.py").write_text(FIRST, encoding="utf-8")
    with pytest.raises(WorkFailed, match=r"08_second failed in cell .*RuntimeError: no such luck.*partial-08_second\.ipynb") as caught:
        run(tmp_path)
    assert caught.value.exit_code == 1
    runs = tmp_path / "work" / "runs"
    assert (runs / "partial-08_second.ipynb").is_file() and not (runs / "08_second.ipynb").exists()
    assert not (runs / "09_third.ipynb").exists()
    page = (tmp_path / "report" / "index.html").read_text()
    assert "did not finish" in page and "07_first.html" in page and "08_second.html" not in page


def test_an_unknown_parameter_is_refused_with_the_nearest_name_before_anything_runs(book, tmp_path):
    with pytest.raises(SettingsError, match=r"no parameter 'sead'.*Did you mean 'seed'") as caught:
        run(tmp_path, "sead=3")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "report").exists()


def test_an_unknown_setting_is_refused_before_anything_runs(book, tmp_path):
    with pytest.raises(SettingsError, match=r"train\.epochs"):
        run(tmp_path, "train.epoch=3")
    assert not (tmp_path / "report").exists()


def test_a_value_that_a_setting_may_not_have_is_refused_before_anything_runs(book, tmp_path):
    with pytest.raises(SettingsError, match=r"evaluate\.specificity_over: expected 'brain' or 'grid', received 'Brain'"):
        run(tmp_path, "evaluate.specificity_over=Brain")
    assert not (tmp_path / "report").exists()


def test_the_profile_is_no_word_after_set_as_work_folder_and_report_would_be_another_profiles(executed, tmp_path):
    with pytest.raises(SettingsError) as caught:
        run(tmp_path, "train.epochs=3", "profile=demo")
    assert str(caught.value) == "--set profile: expected the profile as a word of its own. Write --profile demo."
    assert executed == [] and not (tmp_path / "report").exists() and not (tmp_path / "work").exists()


def test_a_seed_that_is_no_number_is_refused(book, tmp_path):
    with pytest.raises(SettingsError, match="whole number"):
        run(tmp_path, "seed=first")
    with pytest.raises(SettingsError, match="seed: expected 0 to"):
        run(tmp_path, "seed=-1")


def test_a_notebook_that_does_not_exist_is_refused(book, tmp_path):
    with pytest.raises(SettingsError, match="two digits"):
        run(tmp_path, which=["31"])


def test_numbers_choose_notebooks_in_reading_order_and_from_cuts_the_front(book):
    for name in ("08_b.py", "11_c.py"):
        (book / name).write_text(FIRST, encoding="utf-8")
    book_chapters = chapters_module.read_chapters(book)
    assert [c.number for c in chapters_module.choose(book_chapters, ["11", "7"])] == ["07", "11"]
    assert [c.number for c in chapters_module.choose(book_chapters, "all", from_="8")] == ["08", "11"]
    assert book_chapters[0].title == "First chapter" and book_chapters[0].question == "Does the driver run notebooks?"


def test_the_fingerprint_follows_imports_into_the_package_but_not_beyond_what_is_reached(tmp_path, monkeypatch):
    package = tmp_path / "flairnb"
    (package / "room").mkdir(parents=True)
    (package / "report").mkdir()
    for name in ("__init__.py", "room/__init__.py", "report/start.py", "unused.py"):
        (package / name).write_text("")
    (package / "room" / "near.py").write_text("def f():\n    from flairnb.room import far\n    return far\n")
    (package / "room" / "far.py").write_text("X = 1\n")
    monkeypatch.setattr(sources, "PACKAGE", package)
    text = "from flairnb.room.near import f\n"
    first = sources.code_fingerprint(text)
    (package / "unused.py").write_text("X = 2\n")
    assert sources.code_fingerprint(text) == first
    (package / "room" / "far.py").write_text("X = 2\n")
    assert sources.code_fingerprint(text) != first


def test_other_shipped_weights_make_what_loads_networks_run_again(tmp_path, monkeypatch):
    package = tmp_path / "flairnb"
    for folder in ("report", "network/shipped/robust"):
        (package / folder).mkdir(parents=True)
    for name in ("__init__.py", "report/start.py", "network/weights.py"):
        (package / name).write_text("")
    settings = package / "network" / "shipped" / "robust" / "settings.json"
    settings.write_text('{"sha256": "a"}')
    monkeypatch.setattr(sources, "PACKAGE", package)
    loading, other = "from flairnb.network.weights import load_network\n", "import flairnb\n"
    before = [sources.code_fingerprint(text) for text in (loading, other)]
    settings.write_text('{"sha256": "b"}')
    after = [sources.code_fingerprint(text) for text in (loading, other)]
    assert after[0] != before[0] and after[1] == before[1]


def test_set_words_without_an_equals_sign_are_refused():
    with pytest.raises(SettingsError, match="key=value"):
        sources.split_sets(["train.epochs"])


def data_key(data_dir, work_dir, **sets):
    from flairnb import settings
    from flairnb.report.record import data_key
    from flairnb.report.start import Run

    return data_key(Run("00", settings.load("smoke", sets), 1, work_dir, data_dir, 1))


def test_a_data_folder_without_a_manifest_counts_by_what_it_holds_not_by_its_place(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place / "simvent").mkdir(parents=True)
    here, there, none = (data_key(folder, tmp_path / "work") for folder in (tmp_path / "here", tmp_path / "there", None))
    assert here == there != none
    (tmp_path / "there" / "brats21").mkdir()
    assert data_key(tmp_path / "here", tmp_path / "work") != data_key(tmp_path / "there", tmp_path / "work")


def test_the_data_of_a_chapter_are_part_of_its_key():
    chapter = chapters_module.read_chapters()[0]
    keys = [record.chapter_key(chapter, "code", "settings", 1, data, ()) for data in ([], ["a"], ["b"], ["a"])]
    assert keys[1] == keys[3] and len(set(keys)) == 3


@pytest.fixture
def hospital(tmp_path):
    """A hospital's data folder: a table and the two files that it names."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for name in ("FLAIR.nii", "mask.nii"):
        (folder / "images" / name).write_bytes(b"as it was")
    rows = ["participant_id\tdiagnosis\tsplit\tflair\treference_mask", "sub-1\tMSA\ttrain\timages/FLAIR.nii\timages/mask.nii"]
    (folder / "cohort.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def executed(book, monkeypatch):
    """Leave out the notebook itself; the parameters that each execution was handed."""
    handed = []

    def execute(chapter, parameters, output, _jobs, _timeout):
        import nbformat

        handed.append(dict(parameters))
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(), output)

    monkeypatch.setattr(pipeline, "execute", execute)
    return handed


def edit(path, text, seconds=5):
    """Change a file without changing its size, later than it was written."""
    before = path.stat()
    path.write_bytes(text)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns + seconds * 10**9))


def test_a_corrected_table_or_mask_is_no_unchanged_input(executed, hospital, tmp_path):
    words = ["cohort.source=manifest", f"cohort.manifest={hospital / 'cohort.tsv'}"]

    def status():
        result, _ = run(tmp_path, *words)
        return result.outcomes[0].status

    assert [status(), status()] == ["done", "skipped"]
    edit(hospital / "images" / "mask.nii", b"corrected")
    assert [status(), status()] == ["done", "skipped"]
    (hospital / "notes.txt").write_text("not named by the table")
    assert status() == "skipped"
    table = hospital / "cohort.tsv"
    table.write_text(table.read_text().replace("MSA", "HGG"), encoding="utf-8")
    assert [status(), status()] == ["done", "skipped"]
    (hospital / "images" / "FLAIR.nii").unlink()
    assert status() == "done"


def test_a_hospitals_folder_counts_as_seen_from_the_work_folder(hospital, tmp_path):
    """Prepared cases keep the way to their FLAIR: they must be looked at again when it changes."""
    sets = {"cohort.source": "manifest", "cohort.manifest": "cohort.tsv"}
    first = data_key(hospital, tmp_path / "work", **sets)
    assert data_key(hospital, tmp_path / "other" / "work", **sets) != first
    (tmp_path / "all").mkdir()
    hospital.rename(tmp_path / "all" / "data")
    assert data_key(tmp_path / "all" / "data", tmp_path / "all" / "work", **sets) == first


def test_an_outside_tools_mask_that_was_made_again_is_no_unchanged_input(tmp_path):
    mask = tmp_path / "outside" / "sub-1_desc-lstai_mask.nii.gz"
    mask.parent.mkdir()
    mask.write_bytes(b"one")
    sets = {"baselines.external": str(mask.parent)}
    first = data_key(None, tmp_path / "work", **sets)
    assert data_key(None, tmp_path / "work", **sets) == first != data_key(None, tmp_path / "work")
    edit(mask, b"two")
    assert data_key(None, tmp_path / "work", **sets) != first


@pytest.mark.parametrize("by", ["word", "environment"])
def test_folders_are_the_callers_not_the_notebooks(by, executed, hospital, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLAIRNB_DATA_DIR", "data" if by == "environment" else "nowhere")
    words = ["data_dir=data"] if by == "word" else []
    pipeline.run_notebooks("all", "smoke", sets=["out_dir=here/work", "cohort.source=manifest", *words], reports_dir=tmp_path / "report")
    assert (executed[0]["data_dir"], executed[0]["out_dir"]) == (str(hospital), str(tmp_path / "here" / "work"))
    assert (tmp_path / "here" / "work" / "runs" / "07_first.ipynb").is_file()


@pytest.mark.parametrize("named", ["data/cohort.tsv", "{}/data/cohort.tsv", "~/data/cohort.tsv"])
def test_a_table_named_alone_brings_its_own_folder(named, executed, hospital, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    run(tmp_path, "cohort.source=manifest", f"cohort.manifest={named.format(tmp_path)}", "train.epochs=2")
    handed = executed[0]
    assert handed["data_dir"] == str(hospital)
    settings = pipeline.effective_settings("smoke", 1, handed["overrides"])
    assert (settings.cohort.manifest, settings.train.epochs) == ("cohort.tsv", 2)
    assert str(tmp_path) not in (tmp_path / "report" / "run.json").read_text()


@pytest.mark.parametrize("by", ["environment", "word"])
def test_a_table_named_by_its_whole_path_beside_another_data_folder(by, executed, hospital, tmp_path, monkeypatch):
    """It brings its own folder although public data lie elsewhere; a data folder that is named for the run counts more."""
    (tmp_path / "public").mkdir()
    words = ["data_dir=" + str(tmp_path / "public")] if by == "word" else []
    if by == "environment":
        monkeypatch.setenv("FLAIRNB_DATA_DIR", str(tmp_path / "public"))
    table = hospital / "cohort.tsv"
    run(tmp_path, "cohort.source=manifest", f"cohort.manifest={table}", *words)
    handed = executed[0]
    assert handed["data_dir"] == str(tmp_path / "public" if by == "word" else hospital)
    settings = pipeline.effective_settings("smoke", 1, handed["overrides"])
    assert settings.cohort.manifest == ("../data/cohort.tsv" if by == "word" else "cohort.tsv")
    seen = pipeline.Run("01", settings, 1, tmp_path / "work", Path(handed["data_dir"]), 1)
    assert steps.manifest_file(seen).samefile(table)
    assert str(tmp_path) not in (tmp_path / "report" / "run.json").read_text()


def test_a_table_below_the_data_folder_keeps_its_way_from_there(executed, hospital, tmp_path):
    (hospital / "tables").mkdir()
    (hospital / "cohort.tsv").rename(hospital / "tables" / "cohort.tsv")
    run(tmp_path, f"data_dir={hospital}", "cohort.source=manifest", f"cohort.manifest={hospital / 'tables' / 'cohort.tsv'}")
    settings = pipeline.effective_settings("smoke", 1, executed[0]["overrides"])
    assert (executed[0]["data_dir"], settings.cohort.manifest) == (str(hospital), "tables/cohort.tsv")
    run(tmp_path, f"data_dir={hospital}", "cohort.source=manifest", "cohort.manifest=tables/cohort.tsv")
    assert len(executed) == 1, "the same table, however it is named"


@pytest.mark.parametrize("name", ["2019", "true", "the table.tsv", 'M\u00fcller\'s "new".tsv'])
def test_a_table_may_have_any_name(name, executed, hospital, tmp_path):
    (hospital / "cohort.tsv").rename(hospital / name)
    run(tmp_path, "cohort.source=manifest", f"cohort.manifest={hospital / name}", "train.epochs=2")
    settings = pipeline.effective_settings("smoke", 1, executed[0]["overrides"])
    assert (settings.cohort.manifest, settings.train.epochs) == (name, 2)


def test_a_data_folder_that_is_not_there_is_refused_before_anything_runs(executed, tmp_path):
    with pytest.raises(MissingDataError, match="none at 'nowhere'"):
        run(tmp_path, f"data_dir={tmp_path / 'nowhere'}")
    assert executed == [] and not (tmp_path / "work").exists()


READS_A_COHORT = (
    HEADER
    + """# %% [markdown]
# # Cohort
#
# **Is the table read, and read again by the next chapter?**

"""
    + PARAMETERS
    + """import flairnb
from flairnb.report import steps

steps.make_cohort(flairnb.start("01", profile, seed, data_dir, out_dir, overrides))
run = flairnb.start("02", profile, seed, data_dir, out_dir, overrides)
cohort = steps.read_cohort(run)
run.save(cohort.assign(is_there=[(steps.data_root(run) / name).is_file() for name in cohort["flair"]]), "tables/seen.tsv")
"""
)


@pytest.mark.slow
def test_the_readmes_command_for_a_hospitals_cohort_works(book, hospital, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^flairnb (run .*cohort\.manifest=\S+)", readme, flags=re.MULTILINE)
    words = line.replace("/data/cohort.tsv", str(hospital / "cohort.tsv")).split()
    assert str(hospital) in words[-1] and "paper" in words
    (book / "07_first.py").unlink()
    (book / "01_cohort.py").write_text(READS_A_COHORT, encoding="utf-8")
    monkeypatch.setattr(pipeline, "repository_root", lambda: tmp_path)
    assert call([*words, "--set", f"out_dir={tmp_path / 'work'}"]) == 0
    seen = (tmp_path / "work" / "tables" / "seen.tsv").read_text().splitlines()
    assert len(seen) == 2 and seen[1].startswith("sub-1\t") and seen[1].endswith("\tTrue")
