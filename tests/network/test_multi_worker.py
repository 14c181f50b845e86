"""Training on several machines: two worker processes of TensorFlow on this one, against one process with the same batches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

CODE = """
import json, sys
from dataclasses import replace
from flairnb.network import onednn
onednn.configure(1)
from flairnb.network.learner import Learner
from flairnb.settings import load
settings = load("smoke", "network.width=2 network.levels=1 network.convolutions_per_block=1 train.batch=4")
settings = replace(settings, network=replace(settings.network, norm_in_blocks="none", head_convolutions=0))
settings = replace(settings, train=replace(settings.train, ema_momentum=0.9, loss="cross_entropy", clip_norm=0.0))
learner = Learner(settings)
import numpy as np
import tensorflow as tf
rng = np.random.default_rng(1)
image = rng.normal(size=(12, 8, 8, 8, 1)).astype("float32")
mask = (image[..., 0] > 1).astype("uint8")
data = tf.data.Dataset.from_tensor_slices((image, mask)).batch(4, drop_remainder=True).repeat()
batches = iter(learner.distribute(data))
steps = [learner.step(*next(batches), 0.02, n) for n in range(6)]
weights = [float(np.abs(w).sum()) for w in learner.model.get_weights()]
average = [float(np.abs(v.numpy()).sum()) for v in learner.average]
print(json.dumps({"replicas": learner.strategy.num_replicas_in_sync, "steps": steps, "weights": weights, "average": average}))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def results(count: int) -> list[dict]:
    """Run the same program as `count` workers that know of each other by TF_CONFIG."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
    started = []
    for index in range(count):
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        if count > 1:
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        started.append(
            subprocess.Popen([sys.executable, "-c", CODE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    try:
        ended = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * count, ended[0][1][-3000:]
    return [json.loads(out.strip().splitlines()[-1]) for out, _ in ended]


@pytest.mark.slow
def test_two_workers_learn_what_one_learns_from_the_same_batches():
    (alone,) = results(1)
    both = results(2)
    assert alone["replicas"] == 1 and [one["replicas"] for one in both] == [2, 2]
    assert alone["steps"][0][0] > alone["steps"][-1][0], "it learns, or this test shows nothing"
    for one in both:
        np.testing.assert_allclose(one["steps"], alone["steps"], rtol=1e-3)
        np.testing.assert_allclose(one["weights"], alone["weights"], rtol=1e-3)
        np.testing.assert_allclose(one["average"], alone["average"], rtol=1e-3)
