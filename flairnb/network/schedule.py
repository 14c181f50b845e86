"""Learning rate and precision: what the recipes `paper` and `robust` mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flairnb.errors import SettingsError

if TYPE_CHECKING:
    import keras

    from flairnb.settings import TrainSettings

POLICIES = {"float32": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
LAST_FRACTION = 0.01


def learning_rate(train: TrainSettings, progress: float) -> float:
    """Return the learning rate at a fraction of the whole training.

    ``paper``: constant (article, CNN Model Architecture: 1e-5). ``robust``:
    linear warm-up over ``warmup_fraction``, then half a cosine down to 1 % of
    the peak.

    Examples
    --------
    >>> from flairnb.settings import load
    >>> learning_rate(load("paper").train, 0.7)
    1e-05
    """
    if train.recipe == "paper":
        return train.learning_rate
    progress = min(max(progress, 0.0), 1.0)
    if progress < train.warmup_fraction:
        return train.learning_rate * (0.01 + 0.99 * progress / train.warmup_fraction)
    along = (progress - train.warmup_fraction) / max(1e-9, 1 - train.warmup_fraction)
    return train.learning_rate * (LAST_FRACTION + (1 - LAST_FRACTION) * 0.5 * (1 + math.cos(math.pi * along)))


def precision_policy(precision: str, has_gpu: bool) -> str:
    """Return the Keras dtype policy: ``auto`` is float16 on a GPU and float32 on a CPU."""
    if precision == "auto":
        precision = "float16" if has_gpu else "float32"
    if precision not in POLICIES:
        raise SettingsError(f"train.precision: expected auto, {', '.join(POLICIES)}; found {precision!r}.")
    return POLICIES[precision]


def make_optimizer(train: TrainSettings, policy: str) -> keras.optimizers.Optimizer:
    """Return Adam (paper) or AdamW (robust), with loss scaling under float16."""
    import keras

    if train.recipe not in ("paper", "robust"):
        raise SettingsError(f"train.recipe: expected 'paper' or 'robust', found {train.recipe!r}.")
    clip = train.clip_norm if train.clip_norm > 0 else None
    if train.recipe == "paper":
        optimizer = keras.optimizers.Adam(train.learning_rate, global_clipnorm=clip)
    else:
        optimizer = keras.optimizers.AdamW(train.learning_rate, weight_decay=train.weight_decay, global_clipnorm=clip)
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer


def average_momentum(train: TrainSettings, update: int) -> float:
    """Return the weight of the past in the averaged weights after `update` updates.

    Short at first, so that the random start is forgotten: (1 + n) / (10 + n)
    up to ``ema_momentum``.
    """
    return min(train.ema_momentum, (1 + update) / (10 + update))
