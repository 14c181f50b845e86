"""A batch and the devices that share it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from flairnb.errors import SettingsError
from flairnb.network.learner import Learner, _share


class Strategy(SimpleNamespace):
    """Stands for a strategy of several devices; a batch that does not fit is refused before anything is asked of it."""

    num_replicas_in_sync = 4


@pytest.mark.parametrize(("batch", "fits"), [(6, "4 or 8"), (3, "4"), (10, "8 or 12")])
@pytest.mark.parametrize("several_machines", [False, True])
def test_a_batch_that_does_not_divide_over_the_devices_is_refused(batch, fits, several_machines, tiny_settings, monkeypatch):
    import tensorflow as tf

    settings = replace(tiny_settings, train=replace(tiny_settings.train, batch=batch))
    if several_machines:
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}))
        monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", Strategy)
    else:
        monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: Strategy())
    with pytest.raises(SettingsError, match=rf"train\.batch: .* 4 devices .* found {batch}\. .* to {fits}, .*CUDA_VISIBLE_DEVICES"):
        Learner(settings, devices=None if several_machines else ["GPU:0", "GPU:1", "GPU:2", "GPU:3"])


@pytest.mark.parametrize(("workers", "devices"), [(1, 4), (2, 4), (4, 4), (4, 8)])
def test_several_workers_share_every_patch_of_a_batch_once(workers, devices):
    import tensorflow as tf

    batch = np.arange(8)
    data = tf.data.Dataset.from_tensors((batch, 10 * batch))
    found = []
    for number in range(workers):
        context = SimpleNamespace(num_input_pipelines=workers, input_pipeline_id=number, num_replicas_in_sync=devices)
        pieces = [tuple(x.numpy().tolist() for x in piece) for piece in _share(data, context)]
        assert [len(image) for image, _ in pieces] == [8 // devices] * (devices // workers)
        assert all(mask == [10 * n for n in image] for image, mask in pieces)
        found += [n for image, _ in pieces for n in image]
    assert found == batch.tolist()
