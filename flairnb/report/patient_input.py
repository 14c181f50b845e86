"""What `flairnb segment` is given: read and judged before anything heavy is loaded."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

from flairnb.errors import InputError
from flairnb.images import Image, read_image, read_mask
from flairnb.naming import flair_stem
from flairnb.prepare.plausible import check_heads
from flairnb.report.patient_folder import WAITING, has_hash, is_summary, runs_in, summary_name

_LONGEST_NAME = 255


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


def check_out_dir(out_dir: str | os.PathLike, flair_path: str | os.PathLike, spread: bool = False) -> None:
    """Refuse a folder that results cannot be written to, before the work and not after it.

    Parameters
    ----------
    out_dir : path
    flair_path : path
        The FLAIR, whose name the results get; `flairnb.report.patient_dicom.FLAIR_NAME` itself for a folder of DICOM files.
    spread : bool
        The spread between the network's looks will be written, too.

    Raises
    ------
    InputError
        A file is in the way, the folder may not be written to, the names of
        the results would be too long for a file system, or a file of such a
        name is there that no earlier run has left as it is now: an input, for
        example, or a mask that was corrected by hand.
    """
    path = Path(out_dir)
    if max(len(os.fsencode(name)) for name in _result_names(flair_path, spread)) > _LONGEST_NAME:
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
    _try_to_write(there)
    _keep_others_files(path, flair_path, spread)


def check_same_flair(out_dir: str | os.PathLike, flair_path: str | os.PathLike, sha256: str) -> None:
    """Refuse a folder in which results of another FLAIR lie under the same names: another patient's, most likely.

    Parameters
    ----------
    out_dir, flair_path : path
        As in `check_out_dir`.
    sha256 : str
        Of the FLAIR, as its summary will say. Results of an older flairnb,
        which do not say whose they are, are replaced.

    Raises
    ------
    InputError
        Results of another FLAIR are there.
    """
    there = _results_there(Path(out_dir), flair_path)
    before = [run.get("input", {}).get("sha256") for run in runs_in(Path(out_dir), flair_stem(flair_path))]
    if there and any(other not in (None, sha256) for other in before):
        raise InputError(
            f"--out: expected results of this FLAIR or none, found those of another FLAIR under the same name ({there[-1]}). "
            "Name a folder of its own for each examination, or move the results away."
        )


def _try_to_write(folder: Path) -> None:
    """Make and remove a folder in which the results could wait: permissions alone do not tell on every disk."""
    try:
        with tempfile.TemporaryDirectory(prefix=WAITING, dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # no fault of the words that were typed
            raise
        raise InputError(
            f"--out: expected a folder to write to, may not write to {folder.name or folder} ({error.strerror}). "
            "Change its permissions or name another."
        ) from error


def _result_names(flair_path: str | os.PathLike, spread: bool) -> tuple[str, ...]:
    """Return what a run would write, the summary last."""
    from flairnb.report.patient_dicom import FLAIR_NAME
    from flairnb.report.patient_files import result_names

    # A file of the user's is never called FLAIR_NAME alone by the command line: there it is a Path.
    return result_names(flair_stem(flair_path), flair_path == FLAIR_NAME, spread)


def _results_there(out_dir: Path, flair_path: str | os.PathLike, spread: bool = False) -> list[str]:
    return [name for name in _result_names(flair_path, spread) if os.path.lexists(out_dir / name)]


def _keep_others_files(out_dir: Path, flair_path: str | os.PathLike, spread: bool) -> None:
    """Refuse to write over a file unless a run of ours has left it as it is: repeating a run works, also a killed one."""
    stem = flair_stem(flair_path)
    left: dict[str, set[str]] = {}
    for run in runs_in(out_dir, stem):
        for name, sha256 in run["files"].items():
            left.setdefault(name, set()).add(str(sha256))
    ours = {summary_name(stem)} if is_summary(out_dir / summary_name(stem)) else set()
    there = _results_there(out_dir, flair_path, spread)
    others = [name for name in there if name not in ours and not has_hash(out_dir / name, left.get(name))]
    if others:
        raise InputError(
            f"--out: expected results of an earlier run or none, found {others[0]}, which no run of flairnb segment left as it is now. "
            "Name another folder, or move the file away."
        )
