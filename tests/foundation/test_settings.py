"""Profiles and overrides."""

from __future__ import annotations

import dataclasses

import pytest

from flairnb import settings
from flairnb.errors import SettingsError


@pytest.mark.parametrize("profile", settings.PROFILES)
def test_every_profile_loads(profile):
    assert settings.load(profile).profile == profile


def test_the_paper_profile_holds_what_the_article_prints():
    paper = settings.load("paper")
    assert paper.train.patch == 96 and paper.train.patches_per_case == 80 and paper.train.augmentations == 3
    assert paper.train.batch == 6 and paper.train.epochs == 50 and paper.train.learning_rate == 1e-5
    assert paper.infer.step == 32 and paper.prepare.spacing_mm == 1.0
    assert paper.cohort.validation_per_disease == 5 and paper.cohort.healthy_training == 20
    assert paper.network.levels == 4 and paper.network.head_convolutions == 3 and paper.network.kernel == 3


def test_finetune_is_robust_but_for_what_its_name_says():
    found, robust = ({row["setting"]: row[name] for row in settings.describe()} for name in ("finetune", "robust"))
    assert {key for key in found if found[key] != robust[key]} == {"cohort.source", "train.epochs", "train.learning_rate"}
    train = settings.load("finetune").train
    assert train.epochs == 20 and 0 < train.learning_rate <= 5e-4
    # 40 cases: less than an hour at the slower of the measured speeds, 1.1 s an update.
    assert 40 * train.patches_per_case * train.augmentations / train.batch * train.epochs * 1.1 < 3600


def test_overrides_are_typed_by_their_field():
    s = settings.load("demo", "train.epochs=3 network.dilation=none train.learning_rate=1")
    assert s.train.epochs == 3
    assert s.network.dilation == "none"
    assert isinstance(s.train.learning_rate, float)
    assert settings.load("demo", {"prepare.syn_iterations": [1, 2]}).prepare.syn_iterations == (1, 2)
    assert settings.load("demo", ["prepare.n4=false"]).prepare.n4 is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("train.epochs=3 network.width=8", ["train.epochs=3", "network.width=8"]),
        ("  cohort.manifest=/data/my cohort/c.tsv ", ["cohort.manifest=/data/my cohort/c.tsv"]),
        ("data_dir=/my  data train.epochs=3\tseed=4", ["data_dir=/my  data", "train.epochs=3", "seed=4"]),
        ('cohort.diagnoses=["MSA", "HGG"] seed=4', ['cohort.diagnoses=["MSA", "HGG"]', "seed=4"]),
        ("train.epochs 3", ["train.epochs 3"]),
    ],
)
def test_blanks_belong_to_a_value_unless_another_word_follows(text, words):
    assert settings.split_words(text) == words
    assert settings.split_words(" ".join(words)) == words


def test_a_path_with_blanks_is_a_value_in_a_text_and_in_a_list():
    path, more = "cohort.manifest=/data/my cohort (2)/the table.tsv", "train.epochs=3"
    for overrides in (f"{path} {more}", f"{more} {path}", [path, more]):
        found = settings.load("demo", overrides)
        assert (found.cohort.manifest, found.train.epochs) == ("/data/my cohort (2)/the table.tsv", 3)
    assert settings.load("demo", 'cohort.diagnoses=["MSA", "HGG"]').cohort.diagnoses == ("MSA", "HGG")


@pytest.mark.parametrize("words", ["train.epochs=three", "train.epochs=1.5", "prepare.n4=1", "prepare.syn_iterations=4"])
def test_a_wrong_type_is_refused(words):
    with pytest.raises(SettingsError, match=words.split("=")[0]):
        settings.load("demo", words)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(SettingsError, match=r"did you mean 'train\.epochs'"):
        settings.load("demo", "train.epoch=3")
    with pytest.raises(SettingsError, match="did you mean 'demo'"):
        settings.load("demos")


def test_every_field_says_where_its_value_comes_from():
    rows = settings.describe()
    assert len(rows) == sum(len(dataclasses.fields(c)) for c in settings._SECTIONS.values())
    assert all(len(r["source"]) > 10 for r in rows)


def test_the_hash_changes_with_any_value_and_only_then():
    a, b = settings.load("demo").train, settings.load("demo", "train.epochs=99").train
    assert settings.settings_hash(a) == settings.settings_hash(settings.load("demo").train)
    assert settings.settings_hash(a) != settings.settings_hash(b)
