"""Profiles and overrides."""

from __future__ import annotations

import dataclasses
import re

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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cohort.source=phantoms", "cohort.source: expected 'phantom' or 'manifest', received 'phantoms'; did you mean 'phantom'?"),
        ("cohort.validation_per_disease=0", "cohort.validation_per_disease: expected 1 or more, received 0."),
        ("cohort.healthy_training=-1", "cohort.healthy_training: expected 0 or more, received -1."),
        ("prepare.spacing_mm=0", "prepare.spacing_mm: expected above 0, received 0."),
        ("prepare.affine_iterations=[]", "prepare.affine_iterations: expected one or more numbers of 0 or more, received []."),
        ("prepare.syn_iterations=[20,-1]", "prepare.syn_iterations: expected numbers of 0 or more, received [20, -1]."),
        ("prepare.normalise_in=head", "prepare.normalise_in: expected 'brain', received 'head'."),
        (
            "network.dilation=stride1",
            "network.dilation: expected 'stride1_only', 'literal' or 'none', received 'stride1'; did you mean 'stride1_only'?",
        ),
        ("network.kernel=4", "network.kernel: expected an odd number of 1 or more, received 4."),
        (
            "train.loss=dice_entropy",
            "train.loss: expected 'cross_entropy' or 'dice_cross_entropy', received 'dice_entropy'; did you mean 'dice_cross_entropy'?",
        ),
        ("train.epochs=0", "train.epochs: expected 1 or more, received 0."),
        ("train.learning_rate=nan", "train.learning_rate: expected above 0, received nan."),
        ("train.lesion_fraction=1.5", "train.lesion_fraction: expected 0 to 1, received 1.5."),
        ("train.ema_momentum=1", "train.ema_momentum: expected 0 or more, below 1, received 1."),
        ("train.max_minutes=inf", "train.max_minutes: expected 0 or more, received inf."),
        ("infer.method=hole", "infer.method: expected 'tiled' or 'whole', received 'hole'; did you mean 'whole'?"),
        ("infer.step=0", "infer.step: expected 1 voxel or more, received 0."),
        ("infer.threshold=7", "infer.threshold: expected above 0, up to 1, received 7."),
        ("infer.coarser_look=0.5", "infer.coarser_look: expected 0, or above 1 up to 4, received 0.5."),
        ("baselines.knn_neighbours=0", "baselines.knn_neighbours: expected 1 or more, received 0."),
        ("evaluate.connectivity=5", "evaluate.connectivity: expected 6, 18 or 26, received 5."),
        ("evaluate.bootstrap=0", "evaluate.bootstrap: expected 1 or more, received 0."),
        (
            "evaluate.specificity_over=Brain",
            "evaluate.specificity_over: expected 'brain' or 'grid', received 'Brain'; did you mean 'brain'?",
        ),
        ("evaluate.specificity_over=head", "evaluate.specificity_over: expected 'brain' or 'grid', received 'head'."),
        ("audit.cases=-1", "audit.cases: expected 0 or more, received -1."),
    ],
)
def test_a_value_that_a_setting_may_not_have_is_refused_in_one_line(words, message):
    with pytest.raises(SettingsError) as caught:
        settings.load("demo", words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "last", "beyond"),
    [
        ("evaluate.connectivity", 6, 7),
        ("evaluate.connectivity", 18, 17),
        ("evaluate.bootstrap", 1, 0),
        ("infer.threshold", 1.0, 1.001),
        ("infer.coarser_look", 4.0, 4.001),
        ("train.augmentations", 0, -1),
        ("train.lesion_fraction", 0.0, -0.001),
        ("train.scaling_fraction", 0.999, 1.0),
        ("network.kernel", 1, -1),
        ("prepare.syn_iterations", (), (-1,)),
        ("prepare.affine_iterations", (0,), ()),
    ],
)
def test_the_last_value_that_a_setting_may_have_is_taken_and_the_next_is_refused(key, last, beyond):
    section, name = key.split(".")
    assert getattr(getattr(settings.load("paper", {key: last}), section), name) == last
    with pytest.raises(SettingsError, match=key):
        settings.load("paper", {key: beyond})


def fields():
    return {f"{section}.{f.name}": f for section, cls in settings._SECTIONS.items() for f in dataclasses.fields(cls)}


def test_all_settings_but_paths_switches_and_diagnoses_say_what_they_may_be():
    unchecked = {key for key, f in fields().items() if f.type != "bool" and f.metadata["allowed"] is None}
    assert unchecked == {"cohort.manifest", "cohort.diagnoses", "baselines.external"}


def test_choices_are_those_that_the_rooms_know():
    from flairnb.evaluate.components import CONNECTIVITY_RANK
    from flairnb.network import schedule, unet
    from flairnb.network.losses import LOSSES

    choices = {key: f.metadata["allowed"].choices for key, f in fields().items() if f.metadata["allowed"] is not None}
    assert set(choices["evaluate.connectivity"]) == set(CONNECTIVITY_RANK)
    assert set(choices["train.loss"]) == set(LOSSES) and set(choices["train.precision"]) == {"auto", *schedule.POLICIES}
    for name in ("dilation", "norm_in_blocks", "crosslink"):
        for choice in choices[f"network.{name}"]:
            unet._check(dataclasses.replace(settings.load("paper").network, **{name: choice}))
        with pytest.raises(SettingsError, match=", ".join(choices[f"network.{name}"])):
            unet._check(dataclasses.replace(settings.load("paper").network, **{name: "another"}))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(SettingsError, match=f"seed: expected 0 to 4294967295, received {seed}"):
        settings.load("demo", seed=seed)
    assert settings.load("demo", seed=settings.LARGEST_SEED).seed == 2**32 - 1


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(SettingsError, match=r"did you mean 'train\.epochs'"):
        settings.load("demo", "train.epoch=3")
    with pytest.raises(SettingsError, match="did you mean 'demo'"):
        settings.load("demos")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("train.patch=40", "train.patch: expected a multiple of 16 (network.levels=4), received 40."),
        ("infer.method=tiled infer.patch=40", "infer.patch: expected a multiple of 16 (network.levels=4), received 40."),
        (
            "infer.method=tiled infer.patch=32 infer.step=48",
            "infer.patch: expected a multiple of 16 and a step of 1 to patch, found patch 32, step 48.",
        ),
        ("network.levels=6 train.patch=96", "train.patch: expected a multiple of 64 (network.levels=6), received 96."),
    ],
)
def test_patches_that_do_not_fit_the_network_are_refused_before_any_work(overrides, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        settings.load("demo", overrides)
    settings.load("demo", "network.levels=3 train.patch=40 infer.method=whole infer.patch=41 infer.step=99")


def test_every_field_says_where_its_value_comes_from():
    rows = settings.describe()
    assert len(rows) == sum(len(dataclasses.fields(c)) for c in settings._SECTIONS.values())
    assert all(len(r["source"]) > 10 for r in rows)


def test_the_hash_changes_with_any_value_and_only_then():
    a, b = settings.load("demo").train, settings.load("demo", "train.epochs=99").train
    assert settings.settings_hash(a) == settings.settings_hash(settings.load("demo").train)
    assert settings.settings_hash(a) != settings.settings_hash(b)
