"""Losses on logits: the paper's cross-entropy, and Dice + cross-entropy.

Both take logits rather than probabilities: the logarithm of a softmax is
exact there, so a voxel that is badly wrong still has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flairnb.errors import SettingsError


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Return the mean cross-entropy over all voxels of a batch.

    Parameters
    ----------
    labels : (batch, i, j, k) integer tensor
        Class of each voxel, 0 background, 1 lesion.
    logits : (batch, i, j, k, classes) float tensor
        The network's output before the softmax.

    Returns
    -------
    scalar float32 tensor
        In nats a voxel (article, CNN Model Architecture).
    """
    import tensorflow as tf

    logits = tf.cast(logits, tf.float32)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits))


def soft_dice(labels: Any, logits: Any, smooth: float = 1.0) -> Any:
    """Return the soft Dice coefficient of the lesion class over a whole batch.

    ``(2 sum(p y) + s) / (sum(p) + sum(y) + s)``: the sums run over the batch,
    so that lesion-free patches count as false positives only; a batch without
    any lesion gives ``s / (sum(p) + s)``, 1 for a perfectly empty answer.
    """
    import tensorflow as tf

    lesion = tf.nn.softmax(tf.cast(logits, tf.float32))[..., 1]
    truth = tf.cast(tf.equal(tf.cast(labels, tf.int32), 1), tf.float32)
    both = tf.reduce_sum(lesion * truth)
    return (2.0 * both + smooth) / (tf.reduce_sum(lesion) + tf.reduce_sum(truth) + smooth)


def dice_cross_entropy(labels: Any, logits: Any) -> Any:
    """Return cross-entropy plus (1 - soft Dice); the robust recipe's loss."""
    return cross_entropy(labels, logits) + 1.0 - soft_dice(labels, logits)


LOSSES: dict[str, Callable[[Any, Any], Any]] = {"cross_entropy": cross_entropy, "dice_cross_entropy": dice_cross_entropy}


def loss_function(name: str) -> Callable[[Any, Any], Any]:
    """Return the loss of that name, or say which exist."""
    if name not in LOSSES:
        raise SettingsError(f"train.loss: expected one of {', '.join(LOSSES)}, found {name!r}.")
    return LOSSES[name]
