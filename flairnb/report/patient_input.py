"""What `flairnb segment` is given: read and judged before anything heavy is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from flairnb.errors import InputError
from flairnb.images import Image, read_image, read_mask
from flairnb.naming import derivative_name, flair_stem
from flairnb.provenance import read_json, sha256_file

_LONGEST_NAME = 255
# Air is -1000 in Hounsfield units, and no darker than some -10 in any magnitude or z-scored MR image.
_CT_BACKGROUND = -500.0


def read_inputs(
    flair_path: str | os.PathLike,
    t1w: str | os.PathLike | None,
    brain_mask: str | os.PathLike | None,
    skull_stripped: bool,
) -> tuple[Image, dict[str, Any], tuple[str, ...]]:
    """Read the images of one examination and refuse what cannot be used.

    Returns
    -------
    flair : Image
    given : dict
        `t1w`, `brain_mask` and `skull_stripped` for
        :func:`flairnb.prepare.case.prepare_case`.
    notes : tuple of str
        What a reader should know of the files.

    Raises
    ------
    MissingDataError, InputError, GeometryError
        A file is absent, unreadable or cannot be what it is given as.
    """
    _refuse_both(brain_mask, skull_stripped)
    flair = read_image(flair_path, "FLAIR")
    head = read_image(t1w, "T1w") if t1w is not None else None
    return accept(flair, head, brain_mask, skull_stripped)


def accept(
    flair: Image, head: Image | None, brain_mask: str | os.PathLike | None, skull_stripped: bool
) -> tuple[Image, dict[str, Any], tuple[str, ...]]:
    """Read the brain mask of images that have been read, and judge them together; see `read_inputs`."""
    _refuse_both(brain_mask, skull_stripped)
    mask = None
    if brain_mask is not None:
        mask = read_mask(brain_mask, like=flair, what="brain mask")
        if not mask.any():
            raise InputError(f"brain mask: expected voxels above 0, found none in {Path(brain_mask).name}. Give another mask.")
    check_heads(flair, head, whole=mask is None and not skull_stripped)
    notes = flair.notes + (head.notes if head is not None else ())
    return flair, {"t1w": head, "brain_mask": mask, "skull_stripped": skull_stripped}, notes


def _refuse_both(brain_mask: str | os.PathLike | None, skull_stripped: bool) -> None:
    if brain_mask is not None and skull_stripped:
        raise InputError(
            "expected --brain-mask or --skull-stripped, received both. Give the mask alone: it already says where the brain is."
        )


def check_heads(flair: Image, t1w: Image | None, whole: bool) -> None:
    """Refuse images that cannot be MR images of one head.

    Parameters
    ----------
    flair, t1w : Image
    whole : bool
        The brain is to be extracted, so that whole heads are needed.

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
        return
    try:
        check_field_of_view(flair, "FLAIR")
    except InputError:
        if not looks_stripped(flair):  # a cropped brain may be smaller than a head
            raise
        return
    if t1w is not None:
        check_field_of_view(t1w, "T1w")


def check_out_dir(out_dir: str | os.PathLike, flair_path: str | os.PathLike) -> None:
    """Refuse a folder that results cannot be written to, before the work and not after it.

    Parameters
    ----------
    out_dir : path
    flair_path : path
        The FLAIR, whose name the results get; `flairnb.report.patient_dicom.FLAIR_NAME` itself for a folder of DICOM files.

    Raises
    ------
    InputError
        A file is in the way, the folder may not be written to, the names of
        the results would be too long for a file system, or a file of such a
        name is there that no earlier run has left as it is now: an input, for
        example, or a mask that was corrected by hand.
    """
    path = Path(out_dir)
    longest = derivative_name(flair_stem(flair_path), "probseg", label="lesion", desc="unet")
    if len(os.fsencode(longest)) > _LONGEST_NAME:
        raise InputError(
            f"FLAIR: expected a file name that leaves room for the results' names, found one of {len(os.fsencode(Path(flair_path).name))} "
            "bytes. Copy the file under a shorter name."
        )
    try:
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise InputError(f"--out: expected a folder, found no usable path ({error.strerror}). Name another folder.") from error
    if not there.is_dir() or (path.is_symlink() and not path.exists()):
        name = path.name if path.is_symlink() else there.name
        raise InputError(f"--out: expected a folder, found the file {name}. Name a folder; it is made if absent.")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise InputError(f"--out: expected a folder to write to, may not write to {there.name}. Change its permissions or name another.")
    _keep_others_files(path, flair_path)


def _keep_others_files(out_dir: Path, flair_path: str | os.PathLike) -> None:
    """Refuse to write over a file unless the summary in the folder lists it with its hash: repeating a run works."""
    from flairnb.report.patient_dicom import FLAIR_NAME
    from flairnb.report.patient_files import result_names

    # A file of the user's is never called FLAIR_NAME alone by the command line: there it is a Path.
    *names, summary = result_names(flair_stem(flair_path), dicom=flair_path == FLAIR_NAME)
    left = _left_files(out_dir / summary)
    there = [name for name in (*names, summary) if os.path.lexists(out_dir / name)]
    others = [name for name in there if not (name == summary and left) and not _has_hash(out_dir / name, left.get(name))]
    if others:
        raise InputError(
            f"--out: expected results of an earlier run or none, found {others[0]}, which no run of flairnb segment left as it is now. "
            "Name another folder, or move the file away."
        )


def _left_files(summary: Path) -> dict[str, str]:
    """Return names and hashes of the files that an earlier run left; none without its summary."""
    try:
        files = read_json(summary)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def _has_hash(path: Path, expected: str | None) -> bool:
    try:
        return expected is not None and sha256_file(path) == expected
    except OSError:
        return False


def _name(image: Image) -> str:
    return image.path.name if image.path else "the image"
