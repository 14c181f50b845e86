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
    monkeypatch.setattr(steps, "prepare_images", lambda run: heard.append(("prepare", run.data_dir, run.seed, run.settings.seed)))
    monkeypatch.setattr(steps, "prepared_ids", lambda _run, split: ["sub-1"] if split == "train" else [])

    def train_network(run, init):
        heard.append(("train", init, run.settings.train.epochs, run.settings.network.width, run.settings.profile))
        return pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.25]})

    monkeypatch.setattr(steps, "train_network", train_network)
    words = [
        "train",
        "--cohort",
        str(table),
        "--init",
        "mine.keras",
        "--set",
        "train.epochs=2",
        "--seed",
        "7",
        "--out",
        str(tmp_path / "out"),
    ]
    assert call(words) == 0
    assert heard == [("prepare", tmp_path, 7, 7), ("train", "mine.keras", 2, 16, "paper")]
    shown = capsys.readouterr()
    assert shown.out.startswith("2 epochs on 1 cases, loss 0.250; weights: ")
    assert "1 examinations to train on" in shown.err
    assert len(pd.read_csv(tmp_path / "out" / "manifest.tsv", sep="\t")) == 2


def test_train_takes_settings_with_blanks(table, tmp_path, monkeypatch):
    heard = []

    def prepare_images(run):
        heard.append((run.settings.baselines.external, run.settings.train.epochs))

    monkeypatch.setattr(steps, "prepare_images", prepare_images)
    monkeypatch.setattr(steps, "prepared_ids", lambda *_: ["sub-1"])
    monkeypatch.setattr(steps, "train_network", lambda *_: pd.DataFrame({"epoch": [1], "loss": [0.9]}))
    sets = ["baselines.external=/data/other masks", "train.epochs=2"]
    for words in (["--set", sets[0], "--set", sets[1]], ["--set", " ".join(sets)]):
        assert call(["train", "--cohort", str(table), "--out", str(tmp_path / "out"), *words]) == 0
    assert heard == [("/data/other masks", 2)] * 2


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


@pytest.mark.parametrize("words", [[], ["--cohort", "a.tsv", "--generated", "3"], ["--generated", "0"]])
def test_train_wants_a_cohort_or_a_number_of_heads(words, tmp_path, capsys):
    assert call(["train", *words, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_train_on_generated_heads_makes_weights_and_adds_heads_to_those_there(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no fetched data here: the installed templates serve
    words = ["train", "--profile", "smoke", "--out", str(tmp_path / "out"), "--set", "train.recipe=robust train.epochs=1"]
    assert call([*words, "--generated", "1"]) == 0
    first = (tmp_path / "out" / "heads").rglob("*.mask.npy")
    stamp = {path.name: path.stat().st_mtime_ns for path in first}
    assert call([*words, "--generated", "2", "--set", "train.epochs=2"]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "heads").rglob("*.mask.npy")}
    assert len(stamp) == 1 and len(after) == 2 and stamp.items() <= after.items()
    assert (tmp_path / "out" / "models" / "unet" / "unet.keras").is_file()
    assert "from no label maps" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuning_from_the_shipped_weights_starts_better_than_from_nothing(tmp_path, capsys):
    from flairnb.cohort.build import build_cohort
    from flairnb.settings import load

    build_cohort(load("smoke", {"cohort.diagnoses": ["HGG"], "cohort.training_per_disease": 2}), tmp_path / "data")
    words = ["train", "--cohort", str(tmp_path / "data" / "manifest.tsv"), "--profile", "smoke"]
    sets = ["--set", "network.width=16 network.dilation=none train.epochs=1 train.learning_rate=1e-4"]
    losses = {}
    for name, more in (("nothing", []), ("shipped", ["--init", "robust"])):
        assert call([*words, *sets, *more, "--out", str(tmp_path / name)]) == 0
        losses[name] = float(pd.read_csv(tmp_path / name / "models" / "unet" / "history.csv")["loss"].iloc[0])
        capsys.readouterr()
    assert losses["shipped"] < 0.8 * losses["nothing"]
