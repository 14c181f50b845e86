"""What lies in a folder that `flairnb segment` wrote: which results, under which name, and of which images."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.images import image_sha256
from flairnb.report.patient_folder import SUMMARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Where a summary's `input` holds the hash of an image.
_HASHES = {"flair": "sha256", "t1w": "t1w_sha256"}


def stem_of(summary: Path) -> str:
    """Return with what the names of a result's files begin, from the path of its summary."""
    return summary.name.removesuffix(SUMMARY)


def case_names(folder: Path, summaries: Sequence[Path]) -> list[str]:
    """Return what to call each result: its file stem, with the folders it lies in where several have one stem.

    Every result made from DICOM has the stem "dicom", so that only the folder
    says whose it is.

    Parameters
    ----------
    folder : Path
        What is reviewed; the names of folders count from here.
    summaries : sequence of Path
        All that are reviewed together, in `folder` or below.

    Returns
    -------
    list of str
        No two are the same. A stem that is the only one of its kind is never
        changed, so that what was logged under it still belongs to it.

    Examples
    --------
    >>> names = ["patient1/dicom", "patient2/dicom", "patient2/sub-7"]
    >>> case_names(Path("out"), [Path("out") / f"{name}_desc-summary.json" for name in names])
    ['patient1_dicom', 'patient2_dicom', 'sub-7']
    """
    stems = [stem_of(path) for path in summaries]
    often = Counter(stems)
    parts = [path.relative_to(folder).parent.parts for path in summaries]
    # One blank for several: the log of verdicts keeps no more.
    long = [" ".join("_".join([*above, stem]).split()) for above, stem in zip(parts, stems, strict=True)]
    names = [stem if often[stem] == 1 else name for stem, name in zip(stems, long, strict=True)]
    # a_b/dicom and a/b/dicom would still be one.
    same = Counter(names)
    return [
        name if often[stem] == 1 or same[name] == 1 else f"{name}-{_digits(path.relative_to(folder))}"
        for name, stem, path in zip(names, stems, summaries, strict=True)
    ]


def _digits(path: Path) -> str:
    """Return what tells one path from others, the same whichever the others are."""
    return hashlib.sha256(path.as_posix().encode()).hexdigest()[:6]


def visible_below(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a name in a folder and the folders in it, sorted; what is hidden may be half a result and is left out."""
    found = folder.rglob(pattern)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def find_flair(folder: Path, summary: Mapping[str, Any], data_dir: Path | None = None, which: str = "flair") -> Path | None:
    """Return the FLAIR (or "t1w") of a summary, from the folder, the one above it or `data_dir`; None if in none of them.

    Many patients' files may have one name: where the summary holds the file's
    hash, no file of another content is returned.
    """
    name = str(summary.get("input", {}).get(which, ""))
    if not name:
        return None
    places = [folder / name, folder.parent / name]
    if data_dir is not None:
        places += visible_below(data_dir, glob.escape(name))
    return next((place for place in places if place.is_file() and _is_it(place, summary, which)), None)


def _is_it(path: Path, summary: Mapping[str, Any], which: str) -> bool:
    """Tell whether a file is the one that a summary speaks of; an older flairnb kept no hash to tell it by."""
    known = summary["input"].get(_HASHES[which])
    # What was converted from DICOM was written with the results; the summary's own hash is that of its voxels.
    return known is None or _hash_of(path) in (known, summary.get("files", {}).get(path.name))


def _hash_of(path: Path) -> str:
    """Return the SHA-256 of an image; one that has not changed is read once, for many summaries ask for the same file."""
    if ".hdr" in path.name.lower() or ".img" in path.name.lower():  # header and voxels lie in two files, and only one is seen here
        return image_sha256(path)
    about = path.stat()
    return _hash_of_state(path, about.st_size, about.st_mtime_ns)


@cache
def _hash_of_state(path: Path, _size: int, _mtime_ns: int) -> str:
    return image_sha256(path)
