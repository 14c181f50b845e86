"""A notebook's run: settings, folders, inputs, numbers."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

import flairnb
from flairnb.errors import MissingDataError, SettingsError
from flairnb.report.chapters import MAKES, NEEDS, maker_of


def start(tmp_path, notebook="00", **more):
    return flairnb.start(notebook, profile="smoke", out_dir=str(tmp_path / "work"), **more)


def test_the_run_carries_the_effective_settings(tmp_path):
    run = start(tmp_path, seed=7, overrides="train.epochs=9 network.width=4")
    assert (run.settings.train.epochs, run.settings.network.width, run.settings.seed) == (9, 4, 7)
    assert run.work_dir == tmp_path / "work" and run.jobs >= 1 and run.data_dir is None


def test_an_unknown_setting_or_notebook_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"train\.epochs"):
        start(tmp_path, overrides="train.epoch=9")
    with pytest.raises(SettingsError, match="notebook number"):
        start(tmp_path, notebook="77")


def test_an_absent_input_names_the_notebook_that_makes_it(tmp_path):
    with pytest.raises(MissingDataError, match=r"needs manifest\.tsv, which notebook 01_cohort makes.*flairnb run 01"):
        start(tmp_path, notebook="02")


def test_every_input_of_a_notebook_is_made_by_an_earlier_one():
    for number, files in NEEDS.items():
        for name in files:
            assert maker_of(name) is not None and maker_of(name) < number


def test_finish_writes_numbers_and_insists_on_what_was_promised(tmp_path):
    run = start(tmp_path)
    with pytest.raises(MissingDataError, match=r"should leave tables/settings\.tsv"):
        run.finish(numbers={"a": 1})
    run.save(pd.DataFrame({"x": [1.0, None]}), "tables/settings.tsv")
    shown = run.finish(numbers={"a": pd.Series([1, 2]).sum(), "b": 0.123456789, "c": "word"})
    assert shown["value"].tolist() == ["3", "0.123", "word"]
    assert json.loads((tmp_path / "work/runs/00_numbers.json").read_text()) == {"a": 3, "b": 0.123457, "c": "word"}


def test_a_saved_table_comes_back_and_an_absent_one_names_its_maker(tmp_path):
    run = start(tmp_path)
    table = pd.DataFrame({"participant_id": ["sub-1"], "dice": [0.5]})
    assert run.save(table, "tables/x.tsv") is table
    pd.testing.assert_frame_equal(run.table("tables/x.tsv"), table)
    with pytest.raises(MissingDataError, match="05_accuracy"):
        run.table("tables/scores.tsv")


def test_a_data_folder_that_does_not_exist_is_refused_without_its_full_path(tmp_path):
    with pytest.raises(MissingDataError, match="'nowhere'") as caught:
        start(tmp_path, data_dir=str(tmp_path / "nowhere"))
    assert str(tmp_path) not in str(caught.value)


def test_a_table_named_by_its_whole_path_counts_more_than_the_folder_of_public_data(tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("hospital", "public", "given")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("FLAIRNB_DATA_DIR", str(folders["public"]))
    words = f"cohort.source=manifest cohort.manifest={folders['hospital'] / 'cohort.tsv'}"
    assert start(tmp_path, overrides=words).data_dir == folders["hospital"]
    assert start(tmp_path, overrides=words, data_dir=str(folders["given"])).data_dir == folders["given"]
    assert start(tmp_path, overrides="cohort.source=manifest cohort.manifest=cohort.tsv").data_dir == folders["public"]
    assert start(tmp_path).data_dir is None


def test_the_run_shows_itself_as_a_table_without_any_path(tmp_path):
    text = start(tmp_path)._repr_html_()
    assert "smoke" in text and "phantom (simulated)" in text and str(tmp_path) not in text


@pytest.mark.parametrize(("notebook", "own", "real"), [("00", True, False), ("13", False, True), ("14", True, True)])
def test_the_box_of_a_chapter_says_whose_images_it_shows(tmp_path, notebook, own, real):
    text = start(tmp_path, notebook)._repr_html_()
    assert ("phantom (simulated)" in text) == own and ("examinations of real people" in text) == real
    manifest = start(tmp_path, notebook, overrides="cohort.source=manifest")._repr_html_()
    assert ("your manifest" in manifest) == own and "phantom" not in manifest


def test_every_chapter_has_its_promises_listed():
    from flairnb.report.chapters import read_chapters

    assert {chapter.number for chapter in read_chapters()} <= set(MAKES)


def test_importing_the_package_loads_nothing_heavy():
    heavy = "tensorflow keras ants plotly papermill matplotlib sklearn IPython nilearn pandas"
    code = f"import sys, flairnb; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_version_is_the_project_s():
    from importlib.metadata import version

    assert flairnb.__version__ == version("flairnb")
