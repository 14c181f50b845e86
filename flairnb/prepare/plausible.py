"""What can be images of one head, judged before any work; the same for one patient and for a cohort."""

from __future__ import annotations

import numpy as np

from flairnb.errors import InputError
from flairnb.images import Image

# Air is -1000 in Hounsfield units, and no darker than some -10 in any magnitude or z-scored MR image.
_CT_BACKGROUND = -500.0


def check_heads(flair: Image, t1w: Image | None, whole: bool) -> None:
    """Refuse images that cannot be MR images of one head.

    Parameters
    ----------
    flair, t1w : Image
    whole : bool
        The brain is to be extracted, so that whole heads are needed; a brain
        may be cropped.

    Raises
    ------
    InputError
        A CT, one image given twice, or a field of view that holds no head.
    """
    from flairnb.prepare.pair import check_field_of_view
    from flairnb.prepare.stripped import background, looks_stripped

    for image, what in ((flair, "FLAIR"), (t1w, "T1w")):
        if image is not None and background(image.data) < _CT_BACKGROUND:
            raise InputError(
                f"{what}: expected an MR image, found a background of {background(image.data):.0f} in {_name(image)}: a CT in Hounsfield "
                "units? Give the MR image."
            )
    if t1w is not None and t1w.shape == flair.shape and np.array_equal(t1w.data, flair.data):
        raise InputError(f"T1w: expected another image than the FLAIR, found the same voxels in {_name(t1w)}. Give the T1w, or none.")
    if not whole:
        check_field_of_view(flair, "FLAIR", whole=False)
        return
    try:
        check_field_of_view(flair, "FLAIR")
    except InputError:
        if not looks_stripped(flair):  # a cropped brain may be smaller than a head
            raise
        return
    if t1w is not None:
        check_field_of_view(t1w, "T1w")


def _name(image: Image) -> str:
    return image.path.name if image.path else "the image"
