from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from flairnb.errors import InputError, SettingsError
from flairnb.network.inference import (
    _pieces,
    compile_for,
    forward_of,
    lattice_box,
    memory_needed_gb,
    predict,
    predict_spread,
    size_multiple,
    split_counts,
    suited,
    tile_starts,
)
from flairnb.network.unet import build_unet
from flairnb.settings import PROFILES, load


@pytest.fixture
def model(tiny):
    """A network that marks what is brighter than its surroundings: every kernel random, small head."""
    import keras

    keras.utils.set_random_seed(3)
    return build_unet(tiny)


@pytest.fixture
def case(rng):
    work = rng.normal(size=(41, 37, 50)).astype(np.float32)
    grid = np.indices(work.shape)
    brain = sum(((g - n / 2) / (n / 2 - 3)) ** 2 for g, n in zip(grid, work.shape, strict=True)) < 1
    return np.where(brain, work, 0).astype(np.float32), brain


def infer(**changes):
    return replace(load("paper").infer, patch=16, step=8, **changes)


@pytest.mark.parametrize("method", ["tiled", "whole"])
def test_probability_covers_the_brain_and_is_zero_outside(model, case, method):
    work, brain = case
    found = predict(model, work, brain, infer(method=method))
    assert found.shape == work.shape
    assert found.dtype == np.float32
    assert (found[brain] > 0).all()
    assert not found[~brain].any()


@pytest.mark.parametrize("method", ["tiled", "whole"])
def test_a_second_run_gives_the_same_bits(model, case, method):
    first, second = (predict(model, *case, infer(method=method)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_compiling_ahead_changes_no_bit_and_leaves_nothing_to_compile(model, case, monkeypatch):
    before = predict(model, *case, infer(method="whole"))
    forward_of.cache_clear()
    compile_for(model)
    monkeypatch.setattr(type(model), "__call__", None)  # a second tracing would call the model again
    np.testing.assert_array_equal(predict(model, *case, infer(method="whole")), before)


def test_with_flips_a_mirrored_brain_gives_the_mirrored_answer(model, case):
    work, brain = case
    brain = brain & brain[::-1]
    settings = infer(method="whole", flips=True)
    both = predict(model, work, brain, settings)
    mirrored = predict(model, work[::-1], brain, settings)
    np.testing.assert_allclose(both, mirrored[::-1], atol=1e-5)
    once = [predict(model, volume, brain, infer(method="whole")) for volume in (work, work[::-1])]
    np.testing.assert_allclose(both, (once[0] + once[1][::-1]) / 2, atol=1e-6)
    assert np.abs(both - once[0]).max() > 1e-3


def test_a_coarser_look_is_half_of_the_answer_and_keeps_the_grid(model, case):
    work, brain = case
    plain, both = (predict(model, work, brain, infer(method="whole", coarser_look=look)) for look in (0.0, 1.5))
    assert both.shape == work.shape and not both[~brain].any()
    other = 2 * both - plain
    assert ((other[brain] > -1e-5) & (other[brain] < 1 + 1e-5)).all()
    assert np.abs(both - plain).max() > 1e-3


class ReturnsItsInput:
    """Stands for a network whose lesion probability is the image itself."""

    layers = ()

    def get_layer(self, name):
        return SimpleNamespace(kernel=np.zeros((1, 1, 1, 2, 2)))

    def __call__(self, x, training):
        import tensorflow as tf

        return tf.concat([1 - x, x], axis=-1)


@pytest.mark.parametrize("look", [1.5, 2.0])
def test_what_the_coarser_look_sees_lies_where_it_is(look):
    """A blob off centre along every axis, in a brain whose mirror images lack the blob's place; centres agree within half a voxel."""
    shape, at, sigma = (47, 60, 53), (14.0, 22.0, 36.0), 3.0
    grid = np.indices(shape)
    brain = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, (22, 31, 27), (20, 27, 24), strict=True)) < 1
    i, j, k = grid
    brain &= ~((i > 24) & (j < 29)) & ~((i < 20) & (j > 33)) & ~((i < 20) & (k < 20))
    blob = np.exp(-sum((g - c) ** 2 for g, c in zip(grid, at, strict=True)) / (2 * sigma**2)).astype(np.float32)
    plain, both = (predict(ReturnsItsInput(), blob, brain, infer(method="whole", coarser_look=c)) for c in (0.0, look))
    np.testing.assert_allclose(plain, np.where(brain, blob, 0))
    coarser = 2 * both - plain
    for volume in (plain, coarser):
        centre = [float((g * volume).sum() / volume.sum()) for g in grid]
        np.testing.assert_allclose(centre, at, atol=0.5)
    assert coarser.sum() == pytest.approx(plain.sum(), rel=0.1)
    assert 0.7 < coarser.max() < 1


def test_one_tile_over_the_whole_brain_equals_one_pass(model, rng):
    work = rng.normal(size=(32, 32, 32)).astype(np.float32)
    brain = np.ones(work.shape, dtype=bool)
    tiled = predict(model, work, brain, replace(load("paper").infer, method="tiled", patch=32, step=32))
    whole = predict(model, work, brain, infer(method="whole"))
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_tiles_and_one_pass_agree_away_from_tile_borders(tiny, rng):
    """A network that sees 8 voxels around: two tiles agree with one pass farther than that from their borders."""
    model = build_unet(replace(tiny, levels=1, convolutions_per_block=1, head_convolutions=1, dilation="none"))
    work = rng.normal(size=(64, 32, 32)).astype(np.float32)
    brain = np.ones(work.shape, dtype=bool)
    tiled = predict(model, work, brain, replace(load("paper").infer, method="tiled", patch=32, step=32))
    whole = predict(model, work, brain, infer(method="whole"))
    np.testing.assert_allclose(tiled[:24], whole[:24], atol=1e-6)
    np.testing.assert_allclose(tiled[40:], whole[40:], atol=1e-6)
    assert np.abs(tiled[31:33] - whole[31:33]).max() > 1e-4, "the border itself differs, or this test shows nothing"


def test_overlapping_tiles_are_averaged(tiny, rng):
    model = build_unet(tiny)
    work = rng.normal(size=(24, 16, 16)).astype(np.float32)
    brain = np.ones(work.shape, dtype=bool)
    found = predict(model, work, brain, infer(method="tiled"))
    a = model(work[None, :16, ..., None]).numpy()[0, ..., 1]
    b = model(work[None, 8:, ..., None]).numpy()[0, ..., 1]
    np.testing.assert_allclose(found[:8], a[:8], atol=1e-6)
    np.testing.assert_allclose(found[8:16], (a[8:] + b[:8]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[16:], b[8:], atol=1e-6)


@pytest.mark.parametrize("method", ["tiled", "whole"])
@pytest.mark.parametrize(("look", "least"), [(0.0, 0.0), (1.5, 0.25)])
def test_a_mask_one_voxel_wider_where_the_image_is_empty_changes_nothing(model, rng, method, look, least):
    """With a box around each mask, all that the network pools would move by a voxel. Larger voxels at the border change a little."""
    brain = np.zeros((44, 40, 38), bool)
    brain[6:38, 9:35, 5:30] = True
    work = np.where(brain, rng.normal(size=brain.shape), 0).astype(np.float32)
    wider = brain.copy()
    wider[5, 9:35, 5:30] = wider[6:38, 35, 5:30] = True
    settings = infer(method=method, coarser_look=look)
    found, other = (predict(model, work, mask, settings) for mask in (brain, wider))
    moved = np.roll(predict(model, np.roll(work, 1, 0), np.roll(brain, 1, 0), settings), -1, 0)
    place = np.abs(moved - found)[brain].mean()
    assert place > 1e-4, "no voxel's place in the cells matters, or this test shows nothing"
    assert np.abs(other - found)[brain].mean() <= least * place + 1e-7


def test_a_box_on_the_lattice_is_the_smallest_that_holds_it():
    assert lattice_box((slice(15, 17), slice(32, 33), slice(0, 64)), 16) == (slice(0, 32), slice(32, 48), slice(0, 64))


def test_a_brain_split_for_memory_agrees_with_one_pass(tiny, rng):
    """Without dilation this network sees 26 voxels far, less than the halo: the pieces must agree to rounding."""
    import keras

    keras.utils.set_random_seed(5)
    model = build_unet(replace(tiny, dilation="none"))
    work = rng.normal(size=(150, 17, 18)).astype(np.float32)
    brain = np.ones(work.shape, dtype=bool)
    limit = memory_needed_gb((140, 20, 20), 2)
    assert split_counts((152, 20, 20), limit, 4, 2) == [2, 1, 1]
    whole = predict(model, work, brain, infer(method="whole"))
    split = predict(model, work, brain, infer(method="whole", memory_gb=limit + 1e-6))
    np.testing.assert_allclose(split, whole, atol=1e-5)


@pytest.mark.slow
def test_the_shipped_network_finds_the_same_in_pieces_as_in_one_pass(rng):
    """It sees farther than the pieces' halo, so they agree nearly, not to rounding."""
    from scipy import ndimage

    from flairnb.evaluate.metrics import dice
    from flairnb.network.weights import default_weights, load_network

    network = load_network(default_weights())
    shape = (176, 64, 64)
    work = ndimage.gaussian_filter(rng.normal(size=shape), 2).astype(np.float32) * 4
    for centre in ((30, 30, 30), (84, 30, 34), (92, 36, 28), (140, 32, 30)):
        distance = sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True))
        work[distance < 64] = 4
    brain = np.ones(shape, dtype=bool)
    limit = memory_needed_gb((160, 64, 64), 16)
    assert np.prod(split_counts(shape, limit, 16, 16)) == 2
    settings = infer(method="whole", coarser_look=network.coarser_look)
    whole, pieces = (predict(network.model, work, brain, replace(settings, memory_gb=gb)) >= network.threshold for gb in (16.0, limit))
    assert whole.any() and dice(whole, pieces) > 0.98


def test_pieces_partition_the_volume_on_the_networks_lattice():
    shape, seen = (112, 96, 48), np.zeros((112, 96, 48), dtype=int)
    for core, region in _pieces(shape, [3, 2, 1], 16):
        seen[core] += 1
        assert all(r.start % 16 == 0 and r.stop % 16 == 0 for r in region)
        assert all(r.start <= c.start and c.stop <= r.stop for r, c in zip(region, core, strict=True))
    assert (seen == 1).all()


def test_splitting_brings_the_memory_under_the_limit_or_stops_at_the_smallest_piece():
    shape = (144, 176, 144)
    assert memory_needed_gb(shape, 16) > 2.0
    counts = split_counts(shape, 2.0, 16, 16)
    assert np.prod(counts) > 1
    assert split_counts((16, 16, 16), 0.0, 16, 16) == [1, 1, 1]


@pytest.mark.parametrize("first", [0, 1, 31, 32, 45])
@pytest.mark.parametrize("length", [1, 50, 96, 97, 128, 140, 176, 181])
def test_tiles_cover_the_box_from_multiples_of_the_step_on(first, length):
    starts = tile_starts(slice(first, first + length), 96, 32)
    assert all(start % 32 == 0 for start in starts) and set(np.diff(starts)) <= {32}
    assert first - 32 < starts[0] <= first
    assert starts[-1] + 96 >= first + length
    assert len(starts) == 1 or starts[-2] + 96 < first + length


def test_the_paper_tiles_a_brain_of_usual_size_in_some_36_cubes():
    assert np.prod([len(tile_starts(slice(32, 32 + n), 96, 32)) for n in (144, 176, 144)]) == 36


def test_an_empty_brain_gives_an_empty_answer(model):
    found = predict(model, np.zeros((7, 8, 9), np.float32), np.zeros((7, 8, 9), bool), infer(method="whole"))
    assert not found.any()


def test_a_network_knows_its_size_multiple(model, tiny):
    assert size_multiple(model) == 4
    assert size_multiple(build_unet(replace(tiny, dilation="literal", levels=3))) == 8


def test_wrong_shapes_and_methods_are_refused(model):
    with pytest.raises(InputError, match="shapes"):
        predict(model, np.zeros((7, 8, 9), np.float32), np.zeros((7, 8, 8), bool), infer(method="whole"))
    ones = np.ones((7, 8, 9))
    with pytest.raises(SettingsError, match="method"):
        predict(model, ones.astype(np.float32), ones > 0, infer(method="half"))
    with pytest.raises(SettingsError, match="multiple of 4"):
        predict(model, ones.astype(np.float32), ones > 0, replace(infer(method="tiled"), patch=18))
    for step in (0, 17):
        with pytest.raises(SettingsError, match=f"step {step}"):
            predict(model, ones.astype(np.float32), ones > 0, replace(infer(method="tiled"), step=step))


@pytest.mark.parametrize(("patch", "learns"), [(32, False), (64, True)])
def test_why_small_patches_need_tiles_the_outer_taps_of_the_deepest_convolution_learn_nothing(patch, learns, rng):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(4)
    model = build_unet(replace(load("demo").network, width=2))
    deepest = model.get_layer("down4_conv1").kernel
    with tf.GradientTape() as tape:
        answer = model(tf.constant(rng.normal(size=(1, patch, patch, patch, 1)), tf.float32), training=True)
        loss = tf.reduce_mean(answer[..., 1] ** 2)
    taps = np.abs(np.asarray(tape.gradient(loss, deepest))).sum(axis=(3, 4))
    outer = np.delete(taps.ravel(), 13)
    assert taps[1, 1, 1] > 0
    assert (outer > 0).all() if learns else not outer.any()


@pytest.mark.parametrize(
    ("method", "patch", "expected"),
    [
        ("whole", 32, ("tiled", 32, 16)),
        ("tiled", 32, ("tiled", 32, 16)),
        ("whole", 64, ("whole", 96, 32)),
        ("tiled", 64, ("tiled", 96, 32)),
        ("whole", 0, ("whole", 96, 32)),
    ],
)
def test_a_network_of_small_patches_is_shown_tiles_of_their_size(method, patch, expected):
    found = suited(replace(load("paper").infer, method=method), build_unet(replace(load("demo").network, width=1)), patch)
    assert (found.method, found.patch, found.step) == expected


def test_the_profiles_of_small_patches_ask_for_tiles_themselves():
    for profile in PROFILES:
        settings = load(profile)
        model = build_unet(replace(settings.network, width=1))
        assert suited(settings.infer, model, settings.train.patch) == settings.infer, profile
        if settings.infer.method == "tiled":
            assert settings.infer.patch == settings.train.patch, profile


def _stub(monkeypatch, answer):
    """Let `answer` be the network: (i, j, k) volume in, probability out; inputs may have any size."""
    from flairnb.network import inference

    monkeypatch.setattr(inference, "forward_of", lambda _model: answer)
    monkeypatch.setattr(inference, "size_multiple", lambda _model: 1)
    monkeypatch.setattr(inference, "_width", lambda _model: 1)


def test_the_spread_of_two_looks_is_half_of_what_lies_between_them(monkeypatch, case):
    """A network that says how far along axis 0 a voxel is: its mirror image says the rest of the way."""
    work, brain = case
    box = np.flatnonzero(brain.any((1, 2)))
    length = box[-1] - box[0] + 1
    way = np.linspace(0, 1, length, dtype=np.float32)[:, None, None]
    _stub(monkeypatch, lambda volume: np.broadcast_to(way, volume.shape))
    probability, spread = predict_spread(None, work, brain, infer(method="whole", flips=True))
    np.testing.assert_allclose(probability[brain], 0.5, atol=1e-6)
    expected = np.zeros_like(work)
    expected[box[0] : box[-1] + 1] = np.abs(way - way[::-1]) / 2
    np.testing.assert_allclose(spread, np.where(brain, expected, 0), atol=1e-6)
    assert spread.max() == pytest.approx(0.5, abs=0.05) and spread.dtype == np.float32


def test_three_looks_count_the_same_in_the_spread_whatever_they_count_in_the_mean(monkeypatch, case):
    """The looks come in the order fine, mirrored, coarser, and say 0.2, 0.8 and 0.65."""
    said = iter((0.2, 0.8, 0.65))
    _stub(monkeypatch, lambda volume: np.full(volume.shape, next(said), np.float32))
    probability, spread = predict_spread(None, *case, infer(method="whole", flips=True, coarser_look=1.5))
    _work, brain = case
    np.testing.assert_allclose(probability[brain], ((0.2 + 0.8) / 2 + 0.65) / 2, atol=1e-6)
    # Mean 0.55; deviations -0.35, 0.25, 0.10; squares 0.1225 + 0.0625 + 0.01 = 0.195, of three.
    np.testing.assert_allclose(spread[brain], np.sqrt(0.195 / 3), atol=1e-6)
    assert not spread[~brain].any()


def test_overlapping_tiles_differ_too(monkeypatch, rng):
    """Two tiles of 16 along axis 0 overlap in 6 voxels; the first says 0.1, the second 0.7."""
    work, brain = rng.normal(size=(26, 16, 16)).astype(np.float32), np.ones((26, 16, 16), bool)
    said = iter((0.1, 0.7))
    _stub(monkeypatch, lambda volume: np.full(volume.shape, next(said), np.float32))
    probability, spread = predict_spread(None, work, brain, replace(infer(method="tiled"), step=10))
    np.testing.assert_allclose(probability[:, 3, 5], [0.1] * 10 + [0.4] * 6 + [0.7] * 10, atol=1e-6)
    np.testing.assert_allclose(spread[:, 3, 5], [0.0] * 10 + [0.3] * 6 + [0.0] * 10, atol=1e-6)


@pytest.mark.parametrize("method", ["tiled", "whole"])
def test_asking_for_the_spread_changes_no_bit_of_the_probability(model, case, method):
    settings = infer(method=method, flips=True, coarser_look=1.5)
    probability, spread = predict_spread(model, *case, settings)
    np.testing.assert_array_equal(probability, predict(model, *case, settings))
    assert spread[case[1]].max() > 0 and not spread[~case[1]].any()


@pytest.mark.parametrize("look", [1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("edge", [23, 24, 25])
def test_the_larger_voxels_reach_the_last_plane(look, edge):
    work, brain = np.full((edge,) * 3, 0.8, np.float32), np.ones((edge,) * 3, dtype=bool)
    np.testing.assert_allclose(predict(ReturnsItsInput(), work, brain, infer(method="whole", coarser_look=look)), 0.8, atol=1e-5)
