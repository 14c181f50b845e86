from __future__ import annotations

from dataclasses import replace

import pytest

from flairnb.errors import SettingsError
from flairnb.network import schedule
from flairnb.network.schedule import average_momentum, learning_rate, make_optimizer, precision_policy
from flairnb.settings import load


def test_the_paper_uses_adam_at_a_constant_rate():
    train = load("paper").train
    optimizer = make_optimizer(train, "float32")
    assert type(optimizer).__name__ == "Adam"
    assert {learning_rate(train, p) for p in (0.0, 0.3, 1.0)} == {1e-5}


def test_the_robust_rate_warms_up_and_then_falls_along_a_cosine():
    train = replace(load("demo").train, recipe="robust", learning_rate=1.0, warmup_fraction=0.1)
    assert learning_rate(train, 0.0) == pytest.approx(0.01)
    assert learning_rate(train, 0.05) == pytest.approx(0.505)
    assert learning_rate(train, 0.1) == pytest.approx(1.0)
    assert learning_rate(train, 0.55) == pytest.approx(0.505)
    assert learning_rate(train, 1.0) == pytest.approx(0.01)
    assert learning_rate(train, 1.7) == pytest.approx(0.01)


def test_robust_means_adamw_with_clipping():
    train = replace(load("demo").train, recipe="robust", weight_decay=0.02, clip_norm=0.7)
    optimizer = make_optimizer(train, "float32")
    assert type(optimizer).__name__ == "AdamW"
    assert optimizer.weight_decay == 0.02
    assert optimizer.global_clipnorm == 0.7


def test_auto_precision_follows_the_device():
    assert precision_policy("auto", has_gpu=True) == "mixed_float16"
    assert precision_policy("auto", has_gpu=False) == "float32"
    with pytest.raises(SettingsError, match=r"train\.precision"):
        precision_policy("half", has_gpu=True)


@pytest.mark.parametrize(
    ("flags", "gpu", "policy"),
    [
        ({"avx2", "avx512f", "avx512_bf16"}, False, "mixed_bfloat16"),
        ({"avx2", "amx_bf16"}, False, "mixed_bfloat16"),
        ({"avx2", "avx512f"}, False, "float32"),
        ({"avx2"}, False, "float32"),
        (set(), False, "float32"),
        ({"avx2"}, True, "mixed_bfloat16"),
    ],
)
def test_a_processor_without_bfloat16_trains_in_float32(flags, gpu, policy, monkeypatch):
    monkeypatch.setattr(schedule, "processor_flags", lambda: frozenset(flags))
    assert precision_policy("bfloat16", has_gpu=gpu) == policy
    assert precision_policy("float32", has_gpu=gpu) == "float32"


def test_float16_scales_the_loss():
    assert type(make_optimizer(load("paper").train, "mixed_float16")).__name__ == "LossScaleOptimizer"


def test_the_average_forgets_the_random_start():
    train = replace(load("demo").train, ema_momentum=0.99)
    remains = 1.0
    for update in range(100):
        remains *= average_momentum(train, update)
    assert remains < 1e-6
    assert average_momentum(train, 10_000) == 0.99


def test_an_unknown_recipe_is_named():
    with pytest.raises(SettingsError, match=r"train\.recipe"):
        make_optimizer(replace(load("demo").train, recipe="fast"), "float32")
