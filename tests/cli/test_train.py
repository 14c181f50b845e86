"""`flairnb train`: from a cohort table to weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.cli import call
from flairnb.network.weights import SHIPPED, inherited_use
from flairnb.provenance import read_json, write_json
from flairnb.report import steps
from flairnb.settings import as_dict, load


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


@pytest.fixture
def mine(tmp_path) -> Path:
    """Weights of a narrow network of the recipe `robust`, at 1.5 mm; only their settings are there to be read."""
    network = as_dict(replace(load("robust").network, width=12))
    about = {
        "name": "mine", "file": "mine.keras", "sha256": "5" * 64, "spacing_mm": 1.5, "threshold": 0.35, "network": network,
        "card": {"train": {"recipe": "robust"}}, "coarser_look": 2.0, "sharpening": 1.5, "smoothing_mm": 1.0,
        "min_lesion_ml": 0.01, "rim_mm": 5.0,
        "calibration": {"temperature": 1.27, "slope": 1.07, "fitted_on": "8 cases"},
    }  # fmt: skip
    write_json(tmp_path / "mine" / "settings.json", about)
    return tmp_path / "mine"


@pytest.fixture
def rooms(monkeypatch):
    """Replace preparation and training; list what they are asked."""
    heard = SimpleNamespace(prepared=[], trained=[], dice=0.734)
    monkeypatch.setattr(steps, "prepare_images", heard.prepared.append)
    monkeypatch.setattr(steps, "prepared_ids", lambda _run, split: ["sub-1"] if split == "train" else ["sub-2"])
    monkeypatch.setattr(steps, "validation_volumes", lambda _run: ["a validation volume"])

    def train_network(run, init, validation, use, say):
        assert len(heard.prepared) == len(heard.trained) + 1, "prepared before it is trained"
        heard.trained.append(SimpleNamespace(run=run, init=init, validation=validation, use=use))
        say("epoch 2: as training tells it")
        return pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.25], "validation_dice": [0.5, heard.dice]})

    monkeypatch.setattr(steps, "train_network", train_network)
    return heard


def test_train_checks_prepares_and_trains_in_this_order(table, tmp_path, rooms, capsys):
    words = ["train", "--cohort", str(table), "--set", "train.epochs=2", "--seed", "7", "--out", str(tmp_path / "out")]
    assert call(words) == 0
    (asked,) = rooms.trained
    run = asked.run
    assert rooms.prepared == [run] and (run.data_dir, run.seed, run.settings.seed) == (tmp_path, 7, 7)
    assert (run.settings.profile, run.settings.train.epochs, run.settings.network.width) == ("paper", 2, 16)
    assert (asked.init, asked.validation, asked.use) == (None, ["a validation volume"], None)
    shown = capsys.readouterr()
    weights = tmp_path / "out" / "models" / "unet" / "unet.keras"
    assert shown.out.splitlines() == [
        f"2 epochs on 1 cases, loss 0.250; validation Dice 0.734; weights: {weights}",
        f"flairnb segment FLAIR --out DIR --weights {weights} uses them.",
    ]
    assert "1 examinations to train on" in shown.err and "scored on 1 validation cases" in shown.err
    assert "epoch 2: as training tells it" in shown.err and "are used so" not in shown.err
    assert len(pd.read_csv(tmp_path / "out" / "manifest.tsv", sep="\t")) == 2


def test_train_says_when_there_was_nothing_to_validate_on(table, tmp_path, rooms, capsys):
    rooms.dice = float("nan")
    assert call(["train", "--cohort", str(table), "--out", str(tmp_path / "out")]) == 0
    assert "loss 0.250; no validation case with lesions; weights: " in capsys.readouterr().out


@pytest.mark.parametrize("card", [{"train": {"recipe": "robust"}}, {"train": {"recipe": "paper"}}, {"train": "by hand"}, {}])
@pytest.mark.parametrize("network", ["robust", "paper"])
def test_fine_tuning_needs_no_more_than_its_weights(card, network, table, mine, tmp_path, rooms):
    about = read_json(mine / "settings.json") | {"card": card, "network": as_dict(load(network).network)}
    write_json(mine / "settings.json", about)
    assert call(["train", "--cohort", str(table), "--init", str(mine), "--out", str(tmp_path / "out")]) == 0
    settings = rooms.trained[0].run.settings
    expected = "finetune" if network == "robust" or card == {"train": {"recipe": "robust"}} else "paper"
    assert settings.profile == expected and settings.train == load(expected).train
    assert settings.network == load(network).network and settings.prepare.spacing_mm == 1.5


def test_the_shipped_weights_are_fine_tuned_by_their_name(table, tmp_path, rooms, capsys):
    assert call(["train", "--cohort", str(table), "--init", "robust", "--out", str(tmp_path / "out")]) == 0
    (asked,) = rooms.trained
    assert asked.run.settings.train == load("finetune").train and asked.run.settings.network == load("robust").network
    assert asked.init == "robust" and asked.use == inherited_use("robust")
    assert "prepared; training for 20 epochs (profile finetune)" in capsys.readouterr().err


def test_of_profile_weights_and_words_the_words_win_and_the_network_is_the_weights(table, mine, tmp_path, rooms):
    words = ["train", "--cohort", str(table), "--init", str(mine), "--profile", "smoke", "--out", str(tmp_path / "out")]
    assert call([*words, "--set", "network.kernel=5 train.epochs=7", "--set", "infer.threshold=0.4"]) == 0
    (asked,) = rooms.trained
    settings, smoke = asked.run.settings, load("smoke")
    assert settings.profile == "smoke" and settings.prepare == smoke.prepare
    assert settings.train == replace(smoke.train, epochs=7)
    assert settings.network == replace(load("robust").network, width=12, kernel=5)
    assert asked.use == inherited_use(mine) | {"threshold": 0.4}


def test_train_takes_settings_with_blanks(table, tmp_path, rooms):
    sets = ["baselines.external=/data/other masks", "train.epochs=2"]
    for words in (["--set", sets[0], "--set", sets[1]], ["--set", " ".join(sets)]):
        assert call(["train", "--cohort", str(table), "--out", str(tmp_path / "out"), *words]) == 0
    heard = [(asked.run.settings.baselines.external, asked.run.settings.train.epochs) for asked in rooms.trained]
    assert heard == [("/data/other masks", 2)] * 2


@pytest.mark.parametrize("fault", ["no table", "bad table", "bad setting", "no weights"])
def test_train_refuses_bad_input_before_it_writes(fault, table, tmp_path, capsys):
    if fault == "bad table":
        (tmp_path / "sub-1_FLAIR.nii.gz").unlink()
    cohort = tmp_path / "none.tsv" if fault == "no table" else table
    sets = {"bad setting": ["--set", "train.epoch=2"], "no weights": ["--init", "rubust"]}.get(fault, [])
    assert call(["train", "--cohort", str(cohort), "--out", str(tmp_path / "out"), *sets]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_train_makes_weights_from_a_cohort_that_lies_elsewhere(tmp_path, capsys):
    from flairnb.cohort.build import build_cohort

    build_cohort(load("smoke", {"cohort.diagnoses": ["MSA"]}), tmp_path / "data")
    words = ["train", "--cohort", str(tmp_path / "data" / "manifest.tsv"), "--profile", "smoke", "--out", str(tmp_path / "out")]
    assert call([*words, "--set", "train.epochs=1"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("1 epochs on 2 cases, loss ") and "; validation Dice 0." in shown.out
    assert "epoch 1: loss " in shown.err and ", validation Dice 0." in shown.err
    assert (tmp_path / "out" / "models" / "unet" / "unet.keras").stat().st_size > 10_000
    assert not (tmp_path / "data" / "models").exists()


@pytest.mark.parametrize("words", [[], ["--cohort", "a.tsv", "--generated", "3"], ["--generated", "0"]])
def test_train_wants_a_cohort_or_a_number_of_heads(words, tmp_path, capsys):
    assert call(["train", *words, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Replace the drawing of heads by noise; list the voxel sizes that heads were drawn with."""
    from flairnb.network import heads
    from flairnb.network.volumes import write_volume

    sizes = []

    def make_heads(folder, count, seed, _sources, spacing_mm, **_more):
        sizes.append(spacing_mm)
        rng = np.random.default_rng(seed)
        for number in range(count):
            image, mask = rng.normal(size=(20, 18, 17)).astype(np.float32), rng.random((20, 18, 17)) > 0.9
            write_volume(folder, f"head{seed:05d}_{number:06d}", image, mask)

    monkeypatch.chdir(tmp_path)  # no fetched data here
    monkeypatch.setattr(heads, "make_heads", make_heads)
    return sizes


def generate(out: Path, epochs: int, *more: str) -> int:
    small = "network.levels=1 network.width=2 network.convolutions_per_block=1 network.head_convolutions=1 train.patch=16"
    words = ["train", "--generated", "1", "--profile", "smoke", "--out", str(out), "--set", f"{small} train.epochs={epochs}"]
    return call([*words, *more])


def made_in(out: Path) -> dict:
    return read_json(out / "models" / "unet" / "settings.json")


def other_data(folder: Path) -> list[str]:
    """Return the words for a data folder with one stroke mask; its name is all that counts here."""
    (folder / "lesionmasks" / "lesymap").mkdir(parents=True)
    (folder / "lesionmasks" / "lesymap" / "one.nii.gz").touch()
    return ["--data-dir", str(folder)]


@pytest.mark.parametrize("change", ["seed", "sources", "weights", "settings"])
def test_a_training_on_generated_heads_that_cannot_go_on_is_refused_before_any_is_drawn(change, drawn, tmp_path, capsys):
    out = tmp_path / "out"
    assert generate(out, 1) == 0
    before = made_in(out)
    more = {
        "seed": ["--seed", "7", "--init", str(out / "models" / "unet" / "unet.keras")],  # the README's way, in the same folder
        "sources": other_data(tmp_path / "elsewhere"),
        "weights": ["--init", str(out / "models" / "unet")],
        "settings": ["--set", "train.learning_rate=0.5"],
    }[change]
    capsys.readouterr()
    assert generate(out, 2, *more) == 2
    shown = capsys.readouterr().err
    assert len(drawn) == 1 and "drawing" not in shown and len(shown.splitlines()) == 1
    named = {"seed": "seed: 2019 then, 7 now", "sources": "1 stroke masks", "weights": "began with no weights", "settings": "rate: "}
    assert named[change] in shown and "another --out" in shown
    assert made_in(out) == before


def test_impossible_settings_are_refused_before_heads_are_drawn(drawn, tmp_path, capsys):
    assert generate(tmp_path / "out", 1, "--set", "train.patch=17") == 2
    assert drawn == [] and "train.patch" in capsys.readouterr().err


def test_going_on_from_generated_weights_with_another_seed_keeps_their_voxel_size(drawn, tmp_path):
    assert generate(tmp_path / "first", 1, "--set", "prepare.spacing_mm=3.5") == 0
    first = tmp_path / "first" / "models" / "unet" / "unet.keras"
    assert generate(tmp_path / "second", 1, "--seed", "7", "--init", str(first)) == 0
    assert generate(tmp_path / "third", 1, "--seed", "7", "--init", str(first), "--set", "prepare.spacing_mm=4") == 0
    assert drawn == [3.5, 3.5, 4.0]
    second = made_in(tmp_path / "second")
    assert second["spacing_mm"] == 3.5 and second["card"]["seed"] == 7 and second["card"]["started_from"].startswith("unet, ")
    assert second["sha256"] != made_in(tmp_path / "first")["sha256"]


def test_a_training_that_goes_on_says_which_settings_of_use_it_keeps(drawn, tmp_path, capsys):
    assert generate(tmp_path / "out", 1) == 0
    assert "are used so: lesion from 0.35 on, second look 2, " in capsys.readouterr().err
    assert generate(tmp_path / "out", 2, "--set", "infer.threshold=0.6") == 0
    shown = capsys.readouterr().err
    assert "are used so: lesion from 0.35 on, second look 2, " in shown
    assert "keeps how it began, not: lesion from 0.6 on. For that, train anew in another folder (--out)" in shown
    assert made_in(tmp_path / "out")["threshold"] == 0.35 and made_in(tmp_path / "out")["card"]["epochs_done"] == 2


@pytest.mark.parametrize(("more", "cut"), [([], None), (["--set", "infer.threshold=0.45"], 0.45)])
def test_a_network_of_generated_heads_is_used_as_the_shipped_one(more, cut, drawn, tmp_path, capsys):
    assert generate(tmp_path / "out", 1, *more) == 0
    made = made_in(tmp_path / "out")
    shipped = read_json(SHIPPED / "robust" / "settings.json")
    names = ("threshold", "coarser_look", "sharpening", "smoothing_mm", "min_lesion_ml", "rim_mm")
    assert [made[name] for name in names] == [cut or shipped["threshold"], *(shipped[name] for name in names[1:])]
    words = f"inherited from robust (fitted there on {shipped['calibration']['fitted_on']}), not fitted on these weights"
    assert made["calibration"] == shipped["calibration"] | {"fitted_on": words} and made["card"]["calibration"] == words
    assert "started_from" not in made["card"]
    assert "no validation case with lesions" in capsys.readouterr().out


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

    build_cohort(load("smoke", {"cohort.diagnoses": ["HGG"], "cohort.training_per_disease": 2}), tmp_path / "data")
    words = ["train", "--cohort", str(tmp_path / "data" / "manifest.tsv"), "--profile", "smoke"]
    sets = ["--set", "network.width=16 network.dilation=none train.epochs=1 train.learning_rate=1e-4"]  # the shipped one's, for "nothing"
    losses = {}
    for name, more in (("nothing", []), ("shipped", ["--init", "robust"])):
        assert call([*words, *sets, *more, "--out", str(tmp_path / name)]) == 0
        losses[name] = float(pd.read_csv(tmp_path / name / "models" / "unet" / "history.csv")["loss"].iloc[0])
        capsys.readouterr()
    assert losses["shipped"] < 0.8 * losses["nothing"]
