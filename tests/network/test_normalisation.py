from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.network.normalisation import fuse_normalisation
from flairnb.network.unet import build_unet


@pytest.fixture(autouse=True)
def same_first_weights():
    """Draw the same network every time: how far rounding carries in float32 depends on the draw."""
    import keras

    keras.utils.set_random_seed(7)


@pytest.fixture
def networks(tiny, rng):
    """Return the same network, random averages and scales included, with Keras' normalisation and with the fused one."""
    plain = build_unet(replace(tiny, norm_in_blocks="batch", dilation="none"))
    plain.set_weights([w + rng.uniform(0.1, 0.5, w.shape).astype("float32") * (w.ndim == 1) for w in plain.get_weights()])
    return plain, fuse_normalisation(plain)


def gradients(model, x, target):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        out = model(x, training=True)
        loss = tf.reduce_sum((out - target) ** 2)
    return out.numpy(), [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]


def test_weights_and_their_names_are_the_same(networks):
    plain, fused = networks
    assert [w.path for w in fused.weights] == [w.path for w in plain.weights]
    for a, b in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert type(fused.get_layer("down1_stride_norm")) is not type(plain.get_layer("down1_stride_norm"))


def test_prediction_is_the_same(networks, rng):
    plain, fused = networks
    x = rng.normal(size=(2, 8, 12, 16, 1)).astype("float32")
    np.testing.assert_allclose(fused(x, training=False), plain(x, training=False), atol=1e-4)


def test_training_gives_the_same_output_gradients_and_running_averages(networks, rng):
    plain, fused = networks
    x, target = rng.normal(size=(2, 8, 12, 16, 1)).astype("float32"), rng.uniform(size=(2, 8, 12, 16, 2)).astype("float32")
    before = plain.get_weights()
    expected, found = gradients(plain, x, target), gradients(fused, x, target)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    for a, b in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * max(1.0, float(np.abs(b).max())))
    assert any((a != b).any() for a, b in zip(plain.get_weights(), before, strict=True)), "running averages have moved"
    for a, b in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_statistics_of_a_known_batch(rng):
    """Mean and variance over all voxels of all volumes, by NumPy; the running averages take a twentieth of them."""
    import keras

    x = (3 + 2 * rng.normal(size=(2, 4, 6, 8, 5))).astype("float32")
    flair = keras.Input((None, None, None, 5))
    model = fuse_normalisation(keras.Model(flair, keras.layers.BatchNormalization(momentum=0.95)(flair)))
    mean, variance = x.mean((0, 1, 2, 3)), x.var((0, 1, 2, 3))
    np.testing.assert_allclose(model(x, training=True), (x - mean) / np.sqrt(variance + 1e-3), atol=1e-5)
    running = dict(zip(("mean", "variance"), model.non_trainable_variables, strict=True))
    np.testing.assert_allclose(running["mean"], 0.05 * mean, rtol=1e-5)
    np.testing.assert_allclose(running["variance"], 0.95 + 0.05 * variance, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_are_float32_under_mixed_precision(tiny, rng, policy):
    plain = build_unet(replace(tiny, norm_in_blocks="batch", dilation="none"), dtype=policy)
    fused = fuse_normalisation(plain)
    x = rng.normal(size=(2, 8, 8, 8, 1)).astype("float32")
    plain(x, training=True), fused(x, training=True)
    for a, b in zip(fused.non_trainable_variables, plain.non_trainable_variables, strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a, b, rtol=0.02, atol=0.02)


def test_a_frozen_layer_keeps_its_averages(networks, rng):
    _, fused = networks
    fused.trainable = False
    before = fused.get_weights()
    fused(rng.normal(size=(2, 8, 8, 8, 1)).astype("float32"), training=True)
    for a, b in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
