from __future__ import annotations

import numpy as np
import pytest

from flairnb.errors import SettingsError
from flairnb.network.losses import cross_entropy, dice_cross_entropy, loss_function, soft_dice


@pytest.fixture
def example(rng):
    labels = (rng.random((2, 7, 8, 9)) < 0.2).astype(np.uint8)
    return labels, rng.normal(size=(2, 7, 8, 9, 2)).astype(np.float32)


def lesion_probability(logits):
    e = np.exp(logits.astype(float))
    return e[..., 1] / e.sum(-1)


def test_cross_entropy_agrees_with_its_formula(example):
    labels, logits = example
    p = lesion_probability(logits)
    expected = -np.mean(np.where(labels == 1, np.log(p), np.log(1 - p)))
    assert float(cross_entropy(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_soft_dice_agrees_with_its_formula(example):
    labels, logits = example
    p = lesion_probability(logits)
    expected = (2 * (p * labels).sum() + 1) / (p.sum() + labels.sum() + 1)
    assert float(soft_dice(labels, logits)) == pytest.approx(expected, rel=1e-5)
    assert float(dice_cross_entropy(labels, logits)) == pytest.approx(float(cross_entropy(labels, logits)) + 1 - expected, rel=1e-5)


def test_an_uninformed_network_costs_log_2_a_voxel(example):
    labels, logits = example
    assert float(cross_entropy(labels, np.zeros_like(logits))) == pytest.approx(np.log(2))


def test_soft_dice_is_1_for_an_empty_answer_to_an_empty_mask():
    logits = np.zeros((1, 7, 8, 9, 2), dtype=np.float32)
    logits[..., 0] = 60
    assert float(soft_dice(np.zeros((1, 7, 8, 9), np.uint8), logits)) == pytest.approx(1)


def test_a_voxel_that_is_badly_wrong_still_has_a_gradient():
    import tensorflow as tf

    logits = tf.constant([[[[[200.0, -200.0]]]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(np.ones((1, 1, 1, 1), np.uint8), logits)
    np.testing.assert_allclose(tape.gradient(loss, logits).numpy().ravel(), [1, -1])


def test_an_unknown_loss_names_those_that_exist():
    with pytest.raises(SettingsError, match="cross_entropy"):
        loss_function("focal")
