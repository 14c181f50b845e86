"""`flairnb train`: from a cohort table to weights."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from flairnb.cli import call
from flairnb.report import steps


@pytest.fixture
def table(tmp_path) -> Path:
    """A table of two healthy examinations, one to train on."""
    rows = ["participant_id\tdiagnosis\tsplit\tflair"]
    for who, split in (("sub-1", "train"), ("sub-2", "validation")):
        (tmp_path / f"{who}_FLAIR.nii.gz").touch()
        rows.append(f"{who}\tHEALTHY\t{split}\t{who}_FLAIR.nii.gz")
    path = tmp_path / "our cohort.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_train_checks_prepares_and_trains_in_this_order(table, tmp_path, monkeypatch, capsys):
    heard = []
    monkeypatch.setattr(steps, "prepare_images", lambda run: heard.append(("prepare", run.data_dir)))
    monkeypatch.setattr(steps, "prepared_ids", lambda _run, split: ["sub-1"] if split == "train" else [])

    def train_network(run, init):
        heard.append(("train", init, run.settings.train.epochs, run.settings.network.width, run.settings.profile))
        return pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.25]})

    monkeypatch.setattr(steps, "train_network", train_network)
    words = ["train", "--cohort", str(table), "--init", "mine.keras", "--set", "train.epochs=2", "--out", str(tmp_path / "out")]
    assert call(words) == 0
    assert heard == [("prepare", tmp_path), ("train", "mine.keras", 2, 16, "paper")]
    shown = capsys.readouterr()
    assert shown.out.startswith("2 epochs on 1 cases, loss 0.250; weights: ")
    assert "1 examinations to train on" in shown.err
    assert len(pd.read_csv(tmp_path / "out" / "manifest.tsv", sep="\t")) == 2


@pytest.mark.parametrize("fault", ["no table", "bad table", "bad setting"])
def test_train_refuses_bad_input_before_it_writes(fault, table, tmp_path, capsys):
    if fault == "bad table":
        (tmp_path / "sub-1_FLAIR.nii.gz").unlink()
    cohort = tmp_path / "none.tsv" if fault == "no table" else table
    sets = ["--set", "train.epoch=2"] if fault == "bad setting" else []
    assert call(["train", "--cohort", str(cohort), "--out", str(tmp_path / "out"), *sets]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_train_makes_weights_from_a_cohort_that_lies_elsewhere(tmp_path, capsys):
    from flairnb.cohort.build import build_cohort
    from flairnb.settings import load

    build_cohort(load("smoke", {"cohort.diagnoses": ["MSA"]}), tmp_path / "data")
    words = ["train", "--cohort", str(tmp_path / "data" / "manifest.tsv"), "--profile", "smoke", "--out", str(tmp_path / "out")]
    assert call([*words, "--set", "train.epochs=1"]) == 0
    assert capsys.readouterr().out.startswith("1 epochs on 2 cases, loss ")
    assert (tmp_path / "out" / "models" / "unet" / "unet.keras").stat().st_size > 10_000
    assert not (tmp_path / "data" / "models").exists()
