from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import InputError, MissingDataError, SettingsError
from flairnb.geometry import Grid
from flairnb.images import Image
from flairnb.network.confidence import Calibration, temper
from flairnb.network.inference import predict
from flairnb.network.learner import Learner
from flairnb.network.training import START_FILE, check_going_on, train
from flairnb.network.unet import build_unet
from flairnb.network.volumes import ListSource
from flairnb.network.weights import inherited_use, load_network, save_network
from flairnb.prepare.case import PreparedCase
from flairnb.provenance import read_json, write_json
from flairnb.report.patient import back_to_native, settings_for

CURVE = ["epoch", "updates", "cases", "patches", "loss", "dice", "learning_rate"]


class Killed(BaseException):
    """Stands for the kill signal."""


class DiesAt:
    """A source that dies when it is asked for the n-th time."""

    def __init__(self, records, number):
        self.items, self.left = records, number

    def records(self):
        if self.left == 0:
            raise Killed
        self.left -= 1
        return self.items


@pytest.fixture
def tiny_settings(tiny_settings):
    """The smallest network that has every part: compiling it is what these tests take time for."""
    small = replace(tiny_settings.network, levels=1, convolutions_per_block=1, head_convolutions=1)
    return replace(tiny_settings, network=small)


@pytest.fixture(scope="module", autouse=True)
def determinism():
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    tf.config.experimental.enable_op_determinism()


def weights_of(folder):
    return load_network(folder).model.get_weights()


def test_four_epochs_straight_equal_two_a_kill_and_two_more(tmp_path, volumes, tiny_settings):
    straight = train(volumes, tiny_settings, tmp_path / "straight")
    # The source is asked once at the start and once an epoch: the fourth question comes in epoch 3.
    with pytest.raises(Killed):
        train(DiesAt(volumes, 3), tiny_settings, tmp_path / "killed")
    assert len(pd.read_csv(tmp_path / "killed" / "history.csv")) == 2
    resumed = train(volumes, tiny_settings, tmp_path / "killed")
    pd.testing.assert_frame_equal(straight[CURVE], resumed[CURVE], check_exact=True)
    for a, b in zip(weights_of(tmp_path / "straight"), weights_of(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(a, b)
    # A finished training is not repeated.
    written = (tmp_path / "straight" / "straight.keras").stat().st_mtime_ns
    pd.testing.assert_frame_equal(straight, train(volumes, tiny_settings, tmp_path / "straight"))
    assert (tmp_path / "straight" / "straight.keras").stat().st_mtime_ns == written


def test_a_stop_in_the_middle_of_an_epoch_goes_on_with_the_next_step(tmp_path, volumes, tiny_settings):
    settings = replace(tiny_settings, train=replace(tiny_settings.train, recipe="paper", epochs=1))
    straight = train(volumes, settings, tmp_path / "straight")
    history = train(volumes, settings, tmp_path / "stopped", max_minutes=1e-9)
    assert history["patches"].tolist() == [3], "one batch; the row of an epoch that time cut short"
    assert (tmp_path / "stopped" / "stopped.keras").exists(), "a network to use, however short the time"
    # The source has grown in the meantime; the epoch under way keeps its volumes.
    extra = replace(volumes[0], name="late")
    resumed = train(ListSource((extra, *volumes)), settings, tmp_path / "stopped")
    pd.testing.assert_frame_equal(straight[CURVE], resumed[CURVE], check_exact=True)


def test_training_learns_bright_spheres(tmp_path, volumes, tiny_settings):
    settings = replace(
        tiny_settings,
        network=replace(tiny_settings.network, width=4),
        train=replace(tiny_settings.train, patches_per_case=12, epochs=6, learning_rate=0.02, scaling_fraction=0.05),
    )
    history = train(volumes, settings, tmp_path / "unet", validation=volumes)
    assert history["dice"].iloc[-1] > 0.6, "while the weights still change"
    assert history["validation_dice"].iloc[-1] > 0.8
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    written = pd.read_csv(tmp_path / "unet" / "history.csv")
    assert list(written) == [*CURVE[:6], "validation_dice", "learning_rate", "seconds", "patches_per_second", "waiting_fraction"]
    card = load_network(tmp_path / "unet").card
    assert card["epochs_done"] == 6
    assert card["cases"] == 3
    # On a trained network the paper's tiles and one pass give nearly the same mask.
    model, work = load_network(tmp_path / "unet").model, volumes[0].image
    ways = (replace(settings.infer, method="whole"), replace(settings.infer, method="tiled", patch=16, step=8))
    whole, tiled = (predict(model, work, np.ones(work.shape, bool), way) >= 0.5 for way in ways)
    assert 2 * np.count_nonzero(whole & tiled) / (np.count_nonzero(whole) + np.count_nonzero(tiled)) > 0.9


def test_fine_tuning_starts_from_the_given_weights(tmp_path, volumes, tiny_settings):
    network = tiny_settings.network
    start = build_unet(network)
    save_network(start, tmp_path / "first", network=network, spacing_mm=2.0)
    gentle = replace(tiny_settings, train=replace(tiny_settings.train, recipe="paper", epochs=1, learning_rate=1e-12))
    train(volumes, gentle, tmp_path / "second", init=tmp_path / "first")
    tuned = load_network(tmp_path / "second").model
    for a, b in zip(start.trainable_variables, tuned.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


CALIBRATION = Calibration(temperature=1.6, slope=1.05, doubtful_below=0.4, fitted_on="9 cases")
USE = {"threshold": 0.2, "coarser_look": 2.0, "sharpening": 1.2, "smoothing_mm": 1.1, "min_lesion_ml": 0.05, "rim_mm": 5.0}


def save_first(model, tmp_path, tiny_settings):
    """Write a network that is used in its own way, as the shipped one is."""
    save_network(model, tmp_path / "first", network=tiny_settings.network, spacing_mm=2.0, name="first", calibration=CALIBRATION, **USE)
    return tmp_path / "first"


@pytest.fixture
def first(tmp_path, tiny_settings):
    return save_first(build_unet(tiny_settings.network), tmp_path, tiny_settings)


def still(tiny_settings, **more):
    """Return settings that train without learning anything."""
    return replace(tiny_settings, train=replace(tiny_settings.train, epochs=1, learning_rate=1e-12, **more))


def marked(network, volume, oblique_affine):
    image = volume.open_image()
    flair, brain = Image(image, oblique_affine), np.ones(image.shape, bool)
    case = PreparedCase(flair, brain, image, brain, Grid(image.shape, oblique_affine), 0.0, 1.0)
    infer = settings_for(network, None)[1]
    return back_to_native(predict(network.model, image, brain, infer), case, infer.threshold, infer.min_lesion_ml, network).mask


def test_fine_tuned_weights_are_used_as_those_that_they_start_from(tmp_path, volumes, tiny_settings, oblique_affine):
    learning = replace(tiny_settings.train, patches_per_case=12, epochs=3, learning_rate=0.02)
    train(volumes, replace(tiny_settings, train=learning), tmp_path / "raw")
    first = save_first(load_network(tmp_path / "raw").model, tmp_path, tiny_settings)
    train(volumes, still(tiny_settings), tmp_path / "second", init=first)
    start, tuned = load_network(first), load_network(tmp_path / "second")
    assert {name: getattr(tuned, name) for name in USE} == USE
    words = "inherited from first (fitted there on 9 cases), not fitted on these weights"
    assert tuned.calibration == replace(CALIBRATION, fitted_on=words)
    assert tuned.card["calibration"] == words and tuned.card["started_from"] == f"first, sha256 {start.sha256[:12]}..."
    # Without a rate nothing is learned, but batch normalisation still follows the patches that it sees, by its running averages.
    for a, b in zip(start.model.trainable_variables, tuned.model.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
    running = zip(start.model.non_trainable_variables, tuned.model.non_trainable_variables, strict=True)
    assert any(np.abs(a.numpy() - b.numpy()).max() > 1e-4 for a, b in running)
    before, after = (marked(network, volumes[0], oblique_affine) for network in (start, tuned))
    assert 2 * np.count_nonzero(before & after) / (np.count_nonzero(before) + np.count_nonzero(after)) > 0.9
    # With the averages of the start they are the same network, and mark the same; without its settings of use another lot.
    for a, b in zip(start.model.non_trainable_variables, tuned.model.non_trainable_variables, strict=True):
        b.assign(a)
    np.testing.assert_array_equal(marked(tuned, volumes[0], oblique_affine), before)
    plain = replace(start, threshold=0.5, coarser_look=0.0, sharpening=0.0, min_lesion_ml=0.0, rim_mm=0.0, calibration=Calibration())
    assert (marked(plain, volumes[0], oblique_affine) != before).any()


def test_a_fine_tuning_that_was_interrupted_keeps_how_its_weights_are_used(first, tmp_path, volumes, tiny_settings):
    folder = tmp_path / "second"
    train(volumes, still(tiny_settings), folder, init=first, max_minutes=1e-9)
    (folder / "settings.json").unlink()
    shutil.rmtree(first)
    train(volumes, still(tiny_settings), folder, init=first)
    tuned = load_network(folder)
    assert {name: getattr(tuned, name) for name in USE} == USE and "first" in tuned.calibration.fitted_on
    assert tuned.card["started_from"].startswith("first, ")
    # Tuned once more, the words still name the network that was calibrated.
    assert inherited_use(folder) == {**USE, "calibration": tuned.calibration}


def test_a_training_does_not_go_on_from_other_weights_than_it_began_with(first, tmp_path, volumes, tiny_settings):
    folder = tmp_path / "second"
    train(volumes, still(tiny_settings), folder, init=first, max_minutes=1e-9)
    about = read_json(first / "settings.json")
    write_json(first / "settings.json", {**about, "sha256": "0" * 64})
    with pytest.raises(InputError, match="began with first, sha256"):
        train(volumes, still(tiny_settings), folder, init=first)
    train(volumes, still(tiny_settings), folder)


def test_a_network_from_the_beginning_keeps_its_own_cut_and_nothing_else(tmp_path, volumes, tiny_settings):
    settings = still(replace(tiny_settings, infer=replace(tiny_settings.infer, threshold=0.45)))
    write_json(tmp_path / "new" / START_FILE, {"use": {**USE, "calibration": {}}, "card": {"calibration": "of an earlier run"}})
    train(volumes, settings, tmp_path / "new")
    new = load_network(tmp_path / "new")
    assert [getattr(new, name) for name in USE] == [0.45, 0, 0, 0, 0, 0]
    assert new.calibration == Calibration() and not {"calibration", "started_from"} & new.card.keys()
    assert not (tmp_path / "new" / START_FILE).exists()


def test_validation_cuts_where_the_calibrated_probability_is_cut_and_is_told(first, tmp_path, volumes, tiny_settings, monkeypatch):
    cuts, lines = [], []

    def validate(_learner, records, infer):
        assert records is volumes
        cuts.append(infer.threshold)
        return 0.625

    monkeypatch.setattr(Learner, "validate", validate)
    history = train(volumes, still(tiny_settings), tmp_path / "second", init=first, validation=volumes, say=lines.append)
    assert float(temper(cuts[0], CALIBRATION.temperature)) == pytest.approx(USE["threshold"], abs=1e-6)
    assert history["validation_dice"].tolist() == [0.625]
    said = "lesion from 0.2 on, second look 2, sharpening 1.2, smoothing 1.1 mm, smallest lesion 0.05 ml, rim 5 mm"
    assert (
        lines.pop(0)
        == f"the new weights are used so: {said}; calibration inherited from first (fitted there on 9 cases), not fitted on these weights"
    )
    assert len(lines) == 1 and lines[0].startswith("epoch 1: loss ") and ", validation Dice 0.625, " in lines[0]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, volumes, tiny_settings):
    settings = replace(tiny_settings, train=replace(tiny_settings.train, epochs=1))
    train(volumes, settings, tmp_path / "unet", max_minutes=1e-9)
    other = replace(settings, train=replace(settings.train, learning_rate=0.5))
    with pytest.raises(InputError, match=r"learning_rate: 0\.002 then, 0\.5 now"):
        train(volumes, other, tmp_path / "unet")
    coarse = replace(settings, prepare=replace(settings.prepare, spacing_mm=settings.prepare.spacing_mm + 0.5))
    with pytest.raises(InputError, match=r"prepare\.spacing_mm: (.+) then, (.+) now"):
        train(volumes, coarse, tmp_path / "unet")


def test_a_training_anew_that_is_killed_before_its_first_save_leaves_nothing_of_the_old_one_to_go_on_from(
    first, tmp_path, volumes, tiny_settings, monkeypatch
):
    folder, settings = tmp_path / "unet", still(tiny_settings)
    train(volumes, settings, folder)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "step", killed)
        with pytest.raises(Killed):
            train(volumes, settings, folder, resume=False, init=first)
    assert not (folder / "checkpoint.npz").exists() and not (folder / "history.csv").exists()
    assert train(volumes, settings, folder, init=first)["epoch"].tolist() == [1]
    assert load_network(folder).card["started_from"].startswith("first, ")


def test_weights_that_are_not_there_leave_the_training_that_they_were_to_replace(tmp_path, volumes, tiny_settings):
    train(volumes, still(tiny_settings), tmp_path / "unet")
    with pytest.raises(MissingDataError):
        train(volumes, still(tiny_settings), tmp_path / "unet", resume=False, init="rubust")
    assert (tmp_path / "unet" / "checkpoint.npz").exists() and (tmp_path / "unet" / "history.csv").exists()


def test_a_training_goes_on_with_volumes_made_from_the_same_only(tmp_path, volumes, tiny_settings):
    def source(made_from):
        return SimpleNamespace(records=lambda: volumes, made_from=made_from)

    settings = still(tiny_settings)
    train(volumes, settings, tmp_path / "unet", max_minutes=1e-9)  # as an earlier version left it: it does not say
    train(source("one mask"), settings, tmp_path / "unet", max_minutes=2e-9)
    train(source("one mask"), settings, tmp_path / "unet")
    for check in (train, check_going_on):
        with pytest.raises(InputError, match=r"volumes made from: 'one mask' then, 'two masks' now"):
            check(source("two masks"), settings, tmp_path / "unet")


def test_a_training_beyond_the_end_that_is_asked_for_says_so(tmp_path, volumes, tiny_settings):
    two, one = (replace(tiny_settings, train=replace(tiny_settings.train, epochs=epochs)) for epochs in (2, 1))
    train(volumes, two, tmp_path / "unet")
    lines = []
    assert len(train(volumes, one, tmp_path / "unet", say=lines.append)) == 2
    assert len(lines) == 1 and lines[0].startswith("trained for 2 epochs already, not 1: ")
    train(volumes, two, tmp_path / "unet", say=lines.append)
    assert len(lines) == 1


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_mixed_precision_trains(precision, tmp_path, volumes, tiny_settings):
    settings = replace(tiny_settings, train=replace(tiny_settings.train, epochs=2, precision=precision))
    history = train(volumes, settings, tmp_path / "unet")
    # In float32 it falls by 0.026; without updates (all gradients overflow, or are lost below the least number) it stays.
    assert history["loss"].diff().iloc[1] == pytest.approx(-0.026, abs=0.002)
    assert load_network(tmp_path / "unet").model.dtype_policy.name == "float32"


def test_nothing_to_train_on_and_impossible_patches_are_errors(tmp_path, volumes, tiny_settings):
    with pytest.raises(InputError, match="notebook 02"):
        train([], tiny_settings, tmp_path)
    with pytest.raises(SettingsError, match=r"train\.patch"):
        train(volumes, replace(tiny_settings, train=replace(tiny_settings.train, patch=17)), tmp_path)
