from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
from flairnb.network import onednn
onednn.configure()
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from dataclasses import replace
import numpy as np
from flairnb.network.learner import Learner
from flairnb.settings import load
settings = load("smoke", "network.width=2 network.levels=1 network.convolutions_per_block=1 network.head_convolutions=1")
settings = replace(settings, network=replace(settings.network, norm_in_blocks="none", head_convolutions=0))
settings = replace(settings, train=replace(settings.train, ema_momentum=0.9, loss="cross_entropy", clip_norm=0.0))
rng = np.random.default_rng(1)
image = rng.normal(size=(4, 8, 8, 8, 1)).astype("float32")
mask = (image[..., 0] > 1).astype("uint8")
data = tf.data.Dataset.from_tensors((image, mask)).repeat()
results = []
for devices in (None, ["CPU:0", "CPU:1"]):
    learner = Learner(settings, devices=devices)
    batches = iter(learner.distribute(data))
    losses = [learner.step(*next(batches), 0.01, n) for n in range(3)]
    results.append((learner.strategy.num_replicas_in_sync, losses, learner.model.get_weights(), [v.numpy() for v in learner.average]))
(one, a, wa, ea), (two, b, wb, eb) = results
assert (one, two) == (1, 2)
np.testing.assert_allclose(a, b, rtol=1e-4)
for x, y in zip(wa + ea, wb + eb, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-4)
"""


@pytest.mark.slow
def test_training_mirrored_over_two_devices_equals_training_on_one():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
