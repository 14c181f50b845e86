"""The lesson's parts on doubt: two readers, how their volumes agree, and a hunt for planted errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flairnb.report.lesson import seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.report.lesson import Lesson

#: A second reader's lesion counts as the first reader's if it is within this distance.
SAME_MM = 8.0
BALL_MM = 7.0
#: Panels of the hunt, and how many of them hold an error.
PANELS, ERRORS = 6, 4
#: A panel's error shows in no slice farther away than this, and panels lie farther apart.
REACH = 2


def readers(lesson: Lesson, larger_mm: float = 0.0) -> Figure:
    """Draw two readers' outlines on one slice, and the Bland-Altman plot of their lesions' volumes.

    Parameters
    ----------
    lesson : Lesson
    larger_mm : float
        The second reader draws every outline so much farther out.
    """
    from flairnb.evaluate.agreement import bland_altman
    from flairnb.present.lesson_pictures import readers_figure

    first, second = lesson.truth, moved_outline(second_mask(lesson), larger_mm, lesson)
    one, two = lesion_volumes(first, second, lesson)
    picture = np.where(lesson.brain, lesson.examined, lesson.examined.min())
    k = lesson.slice_k
    both = 2 * int((first & second).sum()) / max(1, int(first.sum()) + int(second.sum()))
    totals = [int(mask.sum()) * lesson.lesions.anatomy.spacing_mm**3 / 1000 for mask in (first, second)]
    views = seen(picture, k), seen(first, k), seen(second, k)
    return readers_figure(views, (one, two), bland_altman(one, two), both, (totals[0], totals[1]))


def second_mask(lesson: Lesson) -> NDArray[np.bool_]:
    """Return the lesson's patient as a simulated second reader outlines them, on the head's grid."""
    from flairnb.cohort.phantom.reader import second_reader

    spacing = np.full(3, lesson.lesions.anatomy.spacing_mm)
    return second_reader(lesson.truth, spacing, lesson.brain, np.random.default_rng(lesson.run.seed))


def moved_outline(mask: NDArray[np.bool_], by_mm: float, lesson: Lesson) -> NDArray[np.bool_]:
    """Return a mask whose outline lies `by_mm` farther out, inside the brain; the outline is taken halfway between voxels."""
    from scipy import ndimage

    edge = lesson.lesions.anatomy.spacing_mm
    outside, inside = (ndimage.distance_transform_edt(part, sampling=edge) for part in (~mask, mask))
    signed = np.where(mask, edge / 2 - inside, outside - edge / 2)
    return (signed <= by_mm) & (lesson.brain | mask) if by_mm else mask


def lesion_volumes(first: NDArray[np.bool_], second: NDArray[np.bool_], lesson: Lesson) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the volumes in ml of each of the first reader's lesions by both readers; what is marked goes to the nearest."""
    from scipy import ndimage

    edge = lesson.lesions.anatomy.spacing_mm
    labels, count = ndimage.label(first, np.ones((3, 3, 3)))
    away, nearest = ndimage.distance_transform_edt(labels == 0, sampling=edge, return_indices=True)
    owner = np.where(away <= SAME_MM, labels[tuple(nearest)], 0)
    ml = edge**3 / 1000
    one, two = (np.bincount(values, minlength=count + 1)[1:] * ml for values in (labels.ravel(), owner[second]))
    return one, two


@dataclass(frozen=True)
class Planted:
    """An error put into a mask: what it is, and its voxel."""

    what: str
    at: tuple[int, int, int]


def hunt(lesson: Lesson, reveal: bool = False) -> Figure:
    """Draw six slices with outlines; four hold an error, which `reveal` rings and names."""
    from flairnb.present.lesson_pictures import hunt_figure

    lesson = lesson.small
    mask, errors = planted(lesson)
    slices = {error.at[2]: error for error in errors}
    right = right_slices(mask, lesson.truth, slices)[: PANELS - len(slices)]
    order = np.random.default_rng(lesson.run.seed).permutation([*slices, *right])
    picture = np.where(lesson.brain, lesson.flair(), 0.0)
    panels = []
    for k in map(int, order):
        # A mask that leaves the brain must be seen to: the picture shows the brain only, black around it.
        error = slices.get(k)
        place = None if error is None else (picture.shape[1] - 1 - error.at[1], picture.shape[0] - 1 - error.at[0])
        panels.append((seen(picture, k), seen(mask, k), place, "nothing wrong" if error is None else error.what))
    return hunt_figure(panels, reveal)


def right_slices(mask: NDArray[np.bool_], truth: NDArray[np.bool_], wrong: Iterable[int]) -> list[int]:
    """Return the slices that hold lesion and a mask that is right there, most lesion first; none beside a wrong one."""
    lesion, differs = truth.sum(axis=(0, 1)), (mask != truth).any(axis=(0, 1))
    far = [all(abs(k - other) > REACH for other in wrong) for k in range(len(lesion))]
    return [int(k) for k in np.argsort(-lesion, kind="stable") if lesion[k] and far[k] and not differs[k]]


def planted(lesson: Lesson) -> tuple[NDArray[np.bool_], list[Planted]]:
    """Return the true mask with four errors put in, each in a slice of its own, and what they are."""
    from scipy import ndimage

    edge, taken = lesson.lesions.anatomy.spacing_mm, []
    labels, _ = ndimage.label(lesson.truth, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    mask, errors = lesson.truth.copy(), []

    def plant(what: str, at: tuple[int, ...], voxels: NDArray[np.bool_], add: bool = True) -> None:
        mask[voxels] = add
        taken.append(int(at[2]))
        errors.append(Planted(what, (int(at[0]), int(at[1]), int(at[2]))))

    def free(k: int) -> bool:
        return all(abs(k - other) > REACH for other in taken)

    # Neither the largest nor a speck: a lesion that one can see, and can miss. Nor a tall one, which other panels would show.
    for number in np.argsort(-sizes[1:])[1:] + 1:
        voxels = np.argwhere(labels == number)
        k = int(np.bincount(voxels[:, 2]).argmax())
        at = tuple(np.round(voxels[voxels[:, 2] == k].mean(axis=0)).astype(int))
        if np.abs(voxels[:, 2] - k).max() > REACH:
            continue
        if not any(error.what.startswith("a lesion") for error in errors):
            plant("a lesion was left out", at, labels == number, add=False)
            continue
        mirror = (labels == number)[::-1]
        alone = not (ndimage.binary_dilation(mirror, iterations=3) & lesson.truth).any()
        if free(at[2]) and alone and lesson.brain[mirror].all():
            side = lesson.truth.shape[0] - 1 - at[0], at[1], at[2]
            mask[labels == number] = False
            plant("drawn on the wrong side", side, mirror)
            break
    # The slices that stay right are taken, too.
    taken += right_slices(mask, lesson.truth, taken)[: PANELS - ERRORS]
    smooth = ndimage.uniform_filter(lesson.flair() * lesson.brain, round(BALL_MM / edge))
    smooth[ndimage.binary_dilation(lesson.truth, iterations=3) | ~ndimage.binary_erosion(lesson.brain, iterations=2)] = 0
    smooth[:, :, [k for k in range(smooth.shape[2]) if not free(k)]] = 0
    at = np.unravel_index(smooth.argmax(), smooth.shape)
    plant("normal tissue, merely bright", at, _ball(mask.shape, at, BALL_MM / edge) & lesson.brain)
    areas = lesson.brain.sum(axis=(0, 1)) * np.array([free(k) for k in range(mask.shape[2])])
    k = int(areas.argmax())
    columns = np.flatnonzero(lesson.brain[:, :, k].any(axis=1))
    i = int(columns[-1])
    j = int(np.flatnonzero(lesson.brain[i, :, k]).mean())
    plant("the outline leaves the brain", (i, j, k), _ball(mask.shape, (i, j, k), BALL_MM / edge))
    return mask, errors


def _ball(shape: tuple[int, ...], at: tuple[int, ...], radius: float) -> NDArray[np.bool_]:
    """Return a ball, but only the three slices around its middle: other panels must not show it."""
    away = sum((np.arange(n).reshape([-1 if axis == a else 1 for a in range(3)]) - at[axis]) ** 2 for axis, n in enumerate(shape))
    near = np.abs(np.arange(shape[2]) - at[2]) <= 1
    return np.asarray((away <= radius**2) & near)
