"""The network that learns: one update, its optimizer and its averaged weights."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import SettingsError
from flairnb.network.losses import loss_function
from flairnb.network.normalisation import fuse_normalisation
from flairnb.network.schedule import average_momentum, make_optimizer, precision_policy
from flairnb.network.unet import build_unet

if TYPE_CHECKING:
    from flairnb.network.volumes import VolumeRecord
    from flairnb.settings import InferSettings, Settings

log = logging.getLogger(__name__)


class Learner:
    """A U-Net under training, on one device or mirrored on several GPUs.

    Parameters
    ----------
    settings : Settings
        ``network``, ``train`` and ``seed`` count.
    init : str or path, optional
        Weights to start from.
    devices : sequence of str, optional
        Devices to mirror over; all GPUs if there is more than one. Where the
        environment's ``TF_CONFIG`` names several workers, all of their devices:
        start the same program on each, with a model folder of its own.

    Raises
    ------
    SettingsError
        ``train.batch`` does not divide over the devices.
    """

    def __init__(self, settings: Settings, init: str | Path | None = None, devices: Sequence[str] | None = None) -> None:
        import keras
        import tensorflow as tf

        # Several workers meet before TensorFlow looks at its devices; later is too late.
        several = tf.distribute.MultiWorkerMirroredStrategy() if worker_count() > 1 and devices is None else None
        gpus = tf.config.list_logical_devices("GPU")
        mirrored = devices or (gpus and len(gpus) > 1)
        one = tf.distribute.MirroredStrategy(devices) if mirrored and several is None else tf.distribute.get_strategy()
        self.strategy = several or one
        self.train = settings.train
        _check_batch(settings.train.batch, self.strategy.num_replicas_in_sync)
        self.policy = precision_policy(settings.train.precision, bool(gpus))
        self.rate = settings.train.learning_rate
        keras.utils.set_random_seed(settings.seed)
        with self.strategy.scope():
            self.model = fuse_normalisation(build_unet(settings.network, dtype=self.policy))
            if init is not None:
                self._start_from(init)
            # The loss wants logits; they are the softmax's input. Both models share all layers.
            self._logits = keras.Model(self.model.input, self.model.get_layer("logits").output)
            self.optimizer = make_optimizer(settings.train, self.policy)
            self.optimizer.build(self.model.trainable_variables)
            self._averaged_variables = [v for v in self.model.variables if v.dtype == "float32"]
            averaging = settings.train.recipe == "robust" and settings.train.ema_momentum > 0
            self.average = [tf.Variable(v.numpy(), trainable=False) for v in self._averaged_variables] if averaging else []
        self._compiled = tf.function(self._distributed_step, reduce_retracing=True)
        self._compiled_average = tf.function(self._update_average)

    def step(self, image: Any, mask: Any, rate: float, updates: int) -> tuple[float, float, float]:
        """Make one update.

        Returns
        -------
        loss, overlap, voxels : float
            Mean loss of the batch; voxels that are lesion in both; lesion
            voxels of the mask plus those of the answer (Dice is 2 a / b).
        """
        import tensorflow as tf

        self.rate = float(rate)
        self.optimizer.learning_rate = self.rate
        loss, both, either = self._compiled(image, mask)
        if self.average:
            self._compiled_average(tf.constant(average_momentum(self.train, updates), tf.float32))
        return float(loss), float(both), float(either)

    def distribute(self, dataset: Any) -> Any:
        """Split each batch over the devices, if there are several; of several workers each keeps its part of every batch."""
        if self.strategy.num_replicas_in_sync == 1:
            return dataset
        if worker_count() > 1:
            return self.strategy.distribute_datasets_from_function(lambda context: _share(dataset, context))
        return self.strategy.experimental_distribute_dataset(dataset)

    def variables(self) -> dict[str, list[Any]]:
        """Return all variables that make up the state, in groups."""
        return {"model": self.model.variables, "optimizer": self.optimizer.variables, "average": self.average}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the averaged weights within a ``with`` block, if there are any."""
        if not self.average:
            yield
            return
        present = [v.numpy() for v in self._averaged_variables]
        for variable, mean in zip(self._averaged_variables, self.average, strict=True):
            variable.assign(mean.numpy())
        try:
            yield
        finally:
            for variable, value in zip(self._averaged_variables, present, strict=True):
                variable.assign(value)

    def validate(self, records: Sequence[VolumeRecord], infer: InferSettings) -> float:
        """Return the mean Dice over volumes, one pass each (tiles after small patches); a volume without lesion does not count."""
        import dataclasses

        from flairnb.network.inference import predict, suited

        infer = suited(dataclasses.replace(infer, method="whole"), self.model, self.train.patch)
        scores = []
        with self.averaged():
            for record in records:
                image = np.asarray(record.open_image(), dtype=np.float32)
                mask = np.asarray(record.open_mask()) > 0
                if not mask.any():
                    continue
                found = predict(self.model, image, image != 0, infer) >= infer.threshold
                scores.append(2 * np.count_nonzero(found & mask) / (np.count_nonzero(found) + np.count_nonzero(mask)))
        return float(np.mean(scores)) if scores else float("nan")

    def _start_from(self, init: str | Path) -> None:
        from flairnb.errors import InputError
        from flairnb.network.weights import load_network

        start = load_network(init)
        try:
            self.model.set_weights(start.model.get_weights())
        except ValueError as problem:
            raise InputError(f"init {start.name}: its weights do not fit network settings: {problem}") from None

    def _distributed_step(self, image: Any, mask: Any) -> Any:
        import tensorflow as tf

        results = self.strategy.run(self._replica_step, args=(image, mask))
        return tuple(self.strategy.reduce(tf.distribute.ReduceOp.SUM, r, axis=None) for r in results)

    def _replica_step(self, image: Any, mask: Any) -> tuple[Any, Any, Any]:
        import tensorflow as tf

        loss_of = loss_function(self.train.loss)
        with tf.GradientTape() as tape:
            logits = self._logits(image, training=True)
            loss = loss_of(mask, logits) / self.strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        found = tf.cast(logits[..., 1] > logits[..., 0], tf.float32)
        truth = tf.cast(mask, tf.float32)
        return loss, tf.reduce_sum(found * truth), tf.reduce_sum(found) + tf.reduce_sum(truth)

    def _update_average(self, momentum: Any) -> None:
        for variable, mean in zip(self._averaged_variables, self.average, strict=True):
            mean.assign(momentum * mean + (1 - momentum) * variable)


def worker_count() -> int:
    """Return the number of TensorFlow workers that the environment's ``TF_CONFIG`` names; 1 without it."""
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    return max(1, len(cluster.get("worker", ())) + len(cluster.get("chief", ())))


def _check_batch(batch: int, devices: int) -> None:
    """Refuse a batch that leaves a device without its share: it would train on nothing, or patches would be dropped."""
    if batch % devices:
        below = batch // devices * devices
        fits = f"{below} or {below + devices}" if below else f"{devices}"
        raise SettingsError(
            f"train.batch: expected a multiple of the {devices} devices that train together, found {batch}. "
            f"Set train.batch to {fits}, or let fewer GPUs be seen with CUDA_VISIBLE_DEVICES."
        )


def _share(dataset: Any, context: Any) -> Any:
    """Return one worker's part of every batch, in pieces of one device's size; the batch divides over all devices."""
    size = dataset.element_spec[0].shape[0]
    part = size // context.num_input_pipelines
    first = context.input_pipeline_id * part
    own = dataset.map(lambda *batch: tuple(x[first : first + part] for x in batch))
    return own.rebatch(size // context.num_replicas_in_sync, drop_remainder=True)
