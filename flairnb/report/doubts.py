"""When the result for one patient should not be taken at its face value, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flairnb.geometry import canonical_axes

if TYPE_CHECKING:
    from flairnb.images import Image
    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.patient import Segmentation

# The brain's cut surface at an image's edge over its largest cross-section along that axis. Below, a whole
# examination may end anywhere between brain stem and cerebellum.
_CUT_FRACTION = {"bottom": 0.4}
_CUT_FRACTION_ELSEWHERE = 0.15
_SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


def doubts_of_result(segmentation: Segmentation, network: Network) -> list[str]:
    """Return what speaks against a segmentation itself: nothing found, or a network that is unsure."""
    if not segmentation.mask.any():
        highest = float(segmentation.probability.max())
        return [f"no lesion was found; the highest probability was {highest:.2f}. Look at the images: an empty mask is not a healthy brain"]
    limit = network.calibration.doubtful_below
    if segmentation.expected_dice < limit:
        return [
            f"the network is unsure of this result (expected Dice {segmentation.expected_dice:.2f}, below {limit:.2f}): "
            "check that this is a FLAIR, that the brain outline fits, and every lesion"
        ]
    return []


def doubts_of_input(case: PreparedCase, t1w: Image | None = None) -> list[str]:
    """Return what speaks against the images: exchanged contrasts, a brain that is cut off.

    Parameters
    ----------
    case : PreparedCase
    t1w : Image, optional
        The T1w that was given.
    """
    from flairnb.prepare.contrast import contrast_of

    found = []
    flair = contrast_of(case.flair, case.brain_native, case.flair.affine)
    if flair is not None and flair.is_t1w:
        found.append("the image given as FLAIR has the contrast of a T1w: were the files exchanged?")
    if t1w is not None and case.t1w_xfm is not None:
        other = contrast_of(t1w, case.brain_native, case.flair.affine, case.t1w_xfm)
        if other is not None and other.is_flair:
            found.append("the image given as T1w has the contrast of a FLAIR: were the files exchanged?")
    sides = cut_sides(case.brain_native, case.flair.affine)
    if sides:
        found.append(f"the brain ends at the image's edge ({', '.join(sides)}): lesions outside the field of view are not counted")
    return found


def cut_sides(brain: NDArray[np.bool_], affine: NDArray[np.float64]) -> list[str]:
    """Name the sides of an image at which the brain is cut off.

    Examples
    --------
    >>> brain = np.zeros((6, 7, 8), bool)
    >>> brain[1:5, 1:6, 4:] = True
    >>> cut_sides(brain, np.diag([1.0, 1.0, 5.0, 1.0]))
    ['top']
    """
    found = []
    axes, signs = canonical_axes(affine)
    for names, axis, sign in zip(_SIDES, axes, signs, strict=True):
        areas = brain.sum(axis=tuple(a for a in range(3) if a != axis))
        ends = (areas[0], areas[-1]) if sign > 0 else (areas[-1], areas[0])
        for name, area in zip(names, ends, strict=True):
            if area > _CUT_FRACTION.get(name, _CUT_FRACTION_ELSEWHERE) * max(1, areas.max()):
                found.append(name)
    return found
