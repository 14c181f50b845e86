"""The lesson's parts on learning: a small network that learns while one watches, and tiles that overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.report.lesson import LARGE, no_network, open_lesson, seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.report.lesson import Lesson

#: A network that learns within seconds: 4 features, 2 halvings, a slab of the head at voxels of 4 mm.
WIDTH, LEVELS, SPACING_MM, SLAB = 4, 2, 4.0, 16
STEPS, EVERY, RATE = 60, 5, 0.01
PATCH, SLICES = 32, 32


@dataclass(frozen=True)
class Learned:
    """What was seen while the small network learned.

    Attributes
    ----------
    loss, other_loss : (STEPS / EVERY + 1,) float arrays
        Of the patient it learns from, and of another whom it never learns from.
    steps : (STEPS / EVERY + 1,) int array
    maps : list of (rows, columns) arrays
        Lesion probability in the other patient's slice, after each of `steps`.
    picture, truth : (rows, columns) arrays
        That slice, and where its lesions are.
    """

    loss: NDArray[np.float64]
    other_loss: NDArray[np.float64]
    steps: NDArray[np.int64]
    maps: list[NDArray[np.float32]]
    picture: NDArray[np.float32]
    truth: NDArray[np.bool_]


def learning(lesson: Lesson, steps: int = STEPS) -> Figure:
    """Draw a small network's loss up to a step, and what it then says of a patient it does not learn from."""
    from flairnb.present.lesson_pictures import learning_figure

    known = lesson.learned
    at = int(np.flatnonzero(known.steps <= steps)[-1])
    return learning_figure(known.steps, (known.loss, known.other_loss), at, known.maps, (known.picture, known.truth))


def learn(lesson: Lesson) -> Learned:
    """Train the package's own U-Net, made small, by the package's own loss, on one slab of a head with large lesions."""
    import keras
    import tensorflow as tf

    from flairnb.network.losses import dice_cross_entropy
    from flairnb.network.unet import build_unet

    seed = lesson.run.seed
    (image, truth), (image_2, truth_2) = (slab(open_lesson(with_seed(lesson.run, seed + n), patient=LARGE)) for n in (0, 1))
    keras.utils.set_random_seed(seed)
    small = replace(lesson.run.settings.network, width=WIDTH, levels=LEVELS, norm_in_blocks="batch")
    whole = build_unet(small)
    model = keras.Model(whole.input, whole.get_layer("logits").output)
    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build(model.trainable_variables)

    @tf.function
    def update() -> None:
        with tf.GradientTape() as tape:
            loss = dice_cross_entropy(truth, model(image, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True))

    def look() -> tuple[float, float, NDArray]:
        # In training mode: so few steps leave the averages of the batch normalisation far behind.
        logits = model(image_2, training=True)
        losses = [float(dice_cross_entropy(t, o)) for t, o in ((truth, model(image, training=True)), (truth_2, logits))]
        return losses[0], losses[1], seen(np.asarray(tf.nn.softmax(logits))[0, ..., 1], SLAB // 2)

    kept = [look()]
    for step in range(1, STEPS + 1):
        update()
        kept += [look()] if step % EVERY == 0 else []
    loss, other_loss, maps = zip(*kept, strict=True)
    at = np.arange(0, STEPS + 1, EVERY)
    views = seen(image_2[0, ..., 0], SLAB // 2), seen(truth_2[0] > 0, SLAB // 2)
    return Learned(np.array(loss), np.array(other_loss), at, list(maps), *views)


def slab(lesson: Lesson) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return image (1, i, j, SLAB, 1) and lesions (1, i, j, SLAB) around the slice with most lesion, at `SPACING_MM`."""
    from flairnb.geometry import isotropic_grid
    from flairnb.resampling import resample

    anatomy = lesson.lesions.anatomy
    grid = isotropic_grid(anatomy.shape, anatomy.affine, SPACING_MM)
    image = resample(lesson.examined, anatomy.affine, grid)
    truth = resample(lesson.truth.astype(np.float32), anatomy.affine, grid) > 0.5
    first = int(np.clip(truth.sum(axis=(0, 1)).argmax() - SLAB // 2, 0, truth.shape[2] - SLAB))
    multiple = 2**LEVELS
    cut = tuple(slice(0, n - n % multiple) for n in truth.shape[:2]) + (slice(first, first + SLAB),)
    return image[cut][None, ..., None].astype(np.float32), truth[cut][None].astype(np.int32)


def with_seed(run: Any, seed: int) -> Any:
    """Return what the lesson needs of a run, with another seed."""
    from types import SimpleNamespace

    return SimpleNamespace(seed=seed, settings=run.settings, work_dir=run.work_dir, jobs=run.jobs)


def overlap(lesson: Lesson, parts: int = 2) -> Any:
    """Draw the network's answer from tiles side by side, and averaged from tiles that overlap.

    Parameters
    ----------
    lesson : Lesson
    parts : int
        Tiles begin every `PATCH` / `parts` voxels.
    """
    from flairnb.present.lesson_pictures import overlap_figure

    if lesson.network is None:
        return no_network()
    lesson = lesson.large
    image, brain, truth = lesson.read
    middle = int(truth.sum(axis=(0, 1)).argmax())
    first = int(np.clip(middle - SLICES // 2, 0, max(0, truth.shape[2] - SLICES)))
    cut = (slice(None), slice(None), slice(first, first + SLICES))
    answers = [_tiled(lesson, image[cut], brain[cut], every) for every in (PATCH, max(1, PATCH // int(parts)))]
    k = middle - first
    dice = [_dice(answer > 0.5, truth[cut]) for answer in answers]
    return overlap_figure([seen(answer, k) for answer in answers], dice, seams(brain[cut]), int(parts))


def seams(brain: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Return between which rows and columns of a seen slice tiles side by side meet."""
    from flairnb.geometry import mask_box
    from flairnb.network.inference import tile_starts

    at = []
    for side, length in zip(mask_box(brain)[:2], brain.shape[:2], strict=True):
        at.append([length - start - 0.5 for start in tile_starts(side, PATCH, PATCH)[1:]])
    return at[1], at[0]


def _tiled(lesson: Lesson, image: NDArray[np.float32], brain: NDArray[np.bool_], every: int) -> NDArray[np.float32]:
    from flairnb.network.inference import predict

    plain = replace(lesson.run.settings.infer, method="tiled", patch=PATCH, step=every, flips=False, coarser_look=0.0)
    return predict(lesson.network.model, np.ascontiguousarray(image), np.ascontiguousarray(brain), plain)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")
