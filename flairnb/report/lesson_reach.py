"""The lesson's part on context: how much of the head one voxel of each block has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flairnb.report.lesson import seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flairnb.report.lesson import Lesson
    from flairnb.settings import NetworkSettings


def reach(lesson: Lesson, block: int = 2) -> Figure:
    """Draw on the patient's slice what one voxel has seen after each block on the way down.

    Parameters
    ----------
    lesson : Lesson
    block : int
        0 the first features, 1 to 4 the blocks after it.
    """
    from flairnb.present.lesson_pictures import reach_figure

    image, brain, truth = lesson.read
    network = lesson.network.network if lesson.network is not None else lesson.run.settings.network
    spacing = lesson.read_spacing_mm
    k = int(truth.sum(axis=(0, 1)).argmax())
    plane = seen(truth, k)
    # A voxel of the largest lesion: the one deepest inside the mask.
    from scipy import ndimage

    at = np.unravel_index(ndimage.distance_transform_edt(plane).argmax(), plane.shape)
    picture = seen(np.where(brain, image, image.min()), k)
    widths = [voxels * spacing for voxels in reach_vox(network)]
    return reach_figure(picture, (int(at[0]), int(at[1])), spacing, widths, min(int(block), len(widths) - 1))


def reach_vox(network: NetworkSettings) -> list[int]:
    """Return the edge of the cube of input voxels that one voxel depends on, after the first features and each down block.

    A convolution adds one voxel of its own grid on each side, and a voxel of
    a grid halved n times stands for 2 ** n of the input's. Dilation, where the
    settings ask for it, spreads the taps of layers without stride twice as far.

    Examples
    --------
    >>> from flairnb.settings import load
    >>> from dataclasses import replace
    >>> reach_vox(replace(load("paper").network, convolutions_per_block=2, dilation="none"))
    [5, 11, 23, 47, 95]
    """
    step = (network.kernel - 1) * (1 if network.dilation == "none" else 2)
    stride_step = (network.kernel - 1) * (2 if network.dilation == "literal" else 1)
    seen_so_far = 1 + network.convolutions_per_block * step
    widths = [seen_so_far]
    for level in range(1, network.levels + 1):
        seen_so_far += stride_step * 2 ** (level - 1) + (network.convolutions_per_block - 1) * step * 2**level
        widths.append(seen_so_far)
    return widths
