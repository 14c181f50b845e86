"""The one picture that `flairnb segment` leaves beside its masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flairnb.present.slices import mosaic
from flairnb.present.style import CONVENTION, NOT_CLINICAL

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.images import Image

WRAP_AT = 105


def qc_picture(  # noqa: PLR0913 - one examination, all that its picture says
    flair: Image,
    lesion: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    *,
    volume_ml: float,
    lesion_count: int,
    expected_dice: float | None = None,
    warnings: Sequence[str] = (),
) -> Figure:
    """Draw one examination with the brain's and the lesions' outlines, for a quick look at whether it worked.

    Parameters
    ----------
    flair : Image
        The input, native grid.
    lesion, brain : (I, J, K) bool array
        Results on the same grid.
    volume_ml : float
        Total lesion volume, in the title.
    lesion_count : int
        Number of lesions, in the title.
    expected_dice : float, optional
        The Dice that the network expects of this mask, in the title; nothing is said where it is None or NaN.
    warnings : sequence of str
        Each on its own line under the title.
    """
    import math
    import textwrap

    expected = "" if expected_dice is None or math.isnan(expected_dice) else f", expected Dice {expected_dice:.2f}"
    title = f"Lesion volume {volume_ml:.1f} ml in {lesion_count} lesion{'' if lesion_count == 1 else 's'}{expected}. {NOT_CLINICAL}"
    lines = [line for warning in warnings for line in textwrap.wrap(f"Warning: {warning}", WRAP_AT, subsequent_indent="    ")]
    overlays = {"brain": brain, "lesion": lesion}
    return mosaic(flair, overlays, count=16, columns=4, title="\n".join([title, *lines]), footer=f"{CONVENTION} {NOT_CLINICAL}")
