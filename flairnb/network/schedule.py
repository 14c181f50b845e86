"""Learning rate and precision: what the recipes `paper` and `robust` mean."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from flairnb.errors import SettingsError
from flairnb.provenance import processor_flags

if TYPE_CHECKING:
    import keras

    from flairnb.settings import TrainSettings

log = logging.getLogger(__name__)

POLICIES = {"float32": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
#: Either of them makes bfloat16 worth having on an x86 processor.
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
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
    """Return the Keras dtype policy: ``auto`` is float16 on a GPU and float32 on a CPU.

    ``bfloat16`` becomes float32 on a CPU that cannot multiply such numbers.
    oneDNN has no kernels for it there and TensorFlow's own took 25 times as
    long: 11.9 instead of 0.46 s for an update of the demo, 78 instead of 3.7 s
    for one of the recipe ``robust`` (EPYC with AVX2 alone).
    """
    if precision == "auto":
        precision = "float16" if has_gpu else "float32"
    if precision not in POLICIES:
        raise SettingsError(f"train.precision: expected auto, {', '.join(POLICIES)}; found {precision!r}.")
    if precision == "bfloat16" and not has_gpu and not processor_flags() & BFLOAT16_FLAGS:
        log.info("this processor has no bfloat16 arithmetic (%s): training in float32", ", ".join(sorted(BFLOAT16_FLAGS)))
        precision = "float32"
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
