"""Feed the network: every batch is a pure function of (seed, epoch, step).

Patches are cut ahead of time by a pool of threads (SciPy's interpolation
releases Python's lock) and handed to `tf.data`, which keeps batches ready.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError
from flairnb.network.augment import IDENTITY, Transform, apply_transform, draw_transform, push
from flairnb.network.patches import sample_patch_corners
from flairnb.network.volumes import VolumeRecord

if TYPE_CHECKING:
    import tensorflow as tf

    from flairnb.settings import TrainSettings

ORDER, DRAW = 0, 1
# Enough voxels to stand for a lesion load where patches only have to hold some of it; those that must hold none need them all.
LESION_VOXELS = 4000
PREFETCH = 2


class EpochPatches:
    """The patches of one epoch, in their shuffled order.

    Parameters
    ----------
    records : sequence of VolumeRecord
        The volumes of this epoch.
    train : TrainSettings
        Patch size and number, augmentation, batch.
    seed, epoch : int
        Together with a record's name they fix every draw.

    Notes
    -----
    Each volume gets ``augmentations`` random transformations, drawn afresh in
    every epoch (the article draws 3 a case and does not say how often), and
    from each of them ``patches_per_case`` patches: 80 x 3 = 240 a case.
    ``augmentations = 0`` means untransformed volumes.
    """

    def __init__(self, records: Sequence[VolumeRecord], train: TrainSettings, seed: int, epoch: int) -> None:
        if not records:
            raise InputError("training: expected at least one volume, found none.")
        self.records, self.train, self.seed, self.epoch = list(records), train, seed, epoch
        rounds = max(1, train.augmentations)
        total = len(self.records) * rounds * train.patches_per_case
        order = np.random.default_rng([seed, epoch, ORDER]).permutation(total)
        self.items = np.stack(np.unravel_index(order, (len(self.records), rounds, train.patches_per_case)), axis=1)
        self.draw = lru_cache(maxsize=None)(self._draw)
        for record in self.records:
            record.read_headers()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def steps(self) -> int:
        """Batches in the epoch; the last is filled up from the start of the order."""
        return -(-len(self) // self.train.batch)

    def _draw(self, record: int, augmentation: int) -> tuple[Transform, NDArray[np.int64]]:
        """Draw one augmentation of one volume and its patches' corners."""
        volume = self.records[record]
        rng = np.random.default_rng([self.seed, self.epoch, DRAW, volume.key, augmentation])
        mask = volume.open_mask()
        lesions = np.argwhere(np.asarray(mask))
        elsewhere = "any" if self.train.recipe == "robust" else "free"
        if elsewhere == "any" and len(lesions) > LESION_VOXELS:
            lesions = lesions[np.sort(rng.choice(len(lesions), LESION_VOXELS, replace=False))]
        transform = IDENTITY
        if self.train.augmentations > 0:
            transform = draw_transform(rng, self.train, np.asarray(mask.shape) * volume.spacing_mm, volume.spacing_mm)
            centre = (np.asarray(mask.shape) - 1) / 2
            lesions = push(transform, (lesions - centre) * volume.spacing_mm) / volume.spacing_mm + centre
        count, fraction = self.train.patches_per_case, self.train.lesion_fraction
        # With larger voxels the head fills only the middle of its old array; patches come from there.
        shape = tuple(int(np.ceil(n / transform.coarser)) for n in mask.shape)
        first = (np.asarray(mask.shape) - shape) // 2
        lesions = np.asarray(lesions, dtype=float).reshape(-1, 3) - first
        return transform, sample_patch_corners(rng, shape, self.train.patch, lesions, count, fraction, elsewhere) + first

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Cut patch `number` of the shuffled order: (p, p, p) image and mask."""
        record, augmentation, patch = (int(n) for n in self.items[number % len(self)])
        transform, corners = self.draw(record, augmentation)
        volume = self.records[record]
        image, mask = volume.open_image(), volume.open_mask()
        return apply_transform(image, mask, transform, volume.spacing_mm, corners[patch], self.train.patch)

    def batches(self, first_step: int = 0, workers: int | None = None) -> Iterator[tuple[NDArray, NDArray]]:
        """Yield batches from `first_step` on, cut ahead by a pool of threads.

        Yields
        ------
        image : (batch, p, p, p, 1) float32 array
        mask : (batch, p, p, p) uint8 array
        """
        size, workers = self.train.batch, workers or default_workers()
        numbers = iter(range(first_step * size, self.steps * size))
        with ThreadPoolExecutor(workers, thread_name_prefix="patch") as pool:
            waiting: deque = deque()
            try:
                for _ in range(first_step, self.steps):
                    while len(waiting) < 2 * size + workers and (number := next(numbers, None)) is not None:
                        waiting.append(pool.submit(self.__getitem__, number))
                    pairs = [waiting.popleft().result() for _ in range(size)]
                    yield np.stack([p[0] for p in pairs])[..., None], np.stack([p[1] for p in pairs])
            finally:
                for future in waiting:
                    future.cancel()

    def dataset(self, first_step: int = 0, workers: int | None = None) -> tf.data.Dataset:
        """Return the batches as a `tf.data.Dataset` that keeps a few ready.

        Keep this object for as long as the dataset is read. TensorFlow holds
        the functions of its datasets until the process ends, and must not
        hold every epoch's draws with them.
        """
        import tensorflow as tf

        size, patch = self.train.batch, self.train.patch
        signature: Any = (
            tf.TensorSpec((size, patch, patch, patch, 1), tf.float32),
            tf.TensorSpec((size, patch, patch, patch), tf.uint8),
        )
        weak = weakref.proxy(self)
        data = tf.data.Dataset.from_generator(lambda: weak.batches(first_step, workers), output_signature=signature)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        options.deterministic = True
        return data.with_options(options).prefetch(PREFETCH)


def default_workers() -> int:
    """Return half the cores this process may use, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(np.clip(cores // 2, 1, 8))
