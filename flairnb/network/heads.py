"""Fill a folder with simulated training heads, in parallel and resumable.

Head number n of a folder is a pure function of (seed, n), whichever worker
draws it and however often the work was interrupted.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from flairnb.cohort.phantom.training import Sources, draw_head
from flairnb.errors import InputError
from flairnb.network.volumes import MASK_SUFFIX, write_volume
from flairnb.provenance import content_hash

STROKE_FOLDER = "lesionmasks/lesymap"
MS_FOLDER = "lesionmasks/openms_mni"
LABEL_FOLDER = "labelmaps/synthseg"
# The mask of this patient belongs to a development case and must not lend its shape.
HELD_OUT = ("patient26_mask.nii.gz",)


def find_sources(data_dir: str | os.PathLike | None) -> Sources:
    """Return the public label maps and lesion masks below a folder; empty where there are none.

    Parameters
    ----------
    data_dir : path or None
        Where `flairnb fetch` put them: ``labelmaps/``, ``lesionmasks/``.
    """
    if not data_dir:
        return Sources()
    root = Path(data_dir)
    if not root.is_dir():
        raise InputError(
            f"data folder: expected a folder with labelmaps/ and lesionmasks/, found none at {root.name}. Run `flairnb fetch`."
        )
    found = [
        tuple(p for p in sorted((root / f).glob("*.nii.gz")) if p.name not in HELD_OUT) for f in (LABEL_FOLDER, STROKE_FOLDER, MS_FOLDER)
    ]
    return Sources(*found)


def heads_folder(root: str | os.PathLike, sources: Sources, spacing_mm: float) -> Path:
    """Return the folder for heads of one voxel size and one set of source files, by their names.

    Heads of another voxel size or of other sources in the same place would be
    taken for these.

    Examples
    --------
    >>> heads_folder("heads", Sources(), 1.5).name
    '1.5mm-70a4a2ea'
    """
    return Path(root) / f"{spacing_mm:g}mm-{_hash(sources)}"


def sources_key(sources: Sources) -> str:
    """Return one line that differs where the source files differ, by their names.

    Examples
    --------
    >>> sources_key(Sources())
    '0 label maps, 0 stroke masks, 0 MS masks: 70a4a2ea'
    """
    counts = f"{len(sources.label_maps)} label maps, {len(sources.stroke_masks)} stroke masks, {len(sources.ms_masks)} MS masks"
    return f"{counts}: {_hash(sources)}"


def _hash(sources: Sources) -> str:
    names = [[path.name for path in paths] for paths in (sources.label_maps, sources.stroke_masks, sources.ms_masks)]
    return content_hash(names)[:8]


def head_prefix(seed: int) -> str:
    """Return how the names of a seed's heads begin, and of no other seed's."""
    return f"head{seed:05d}_"


def make_head(folder: str | os.PathLike, number: int, seed: int, sources: Sources, spacing_mm: float) -> Path:
    """Draw head `number` and write it (float16 image, uint8 mask); nothing happens where it exists.

    Returns
    -------
    Path
        The mask's file.
    """
    name = f"{head_prefix(seed)}{number:06d}"
    target = Path(folder) / f"{name}{MASK_SUFFIX}"
    if target.exists():
        return target
    head = draw_head(np.random.default_rng([seed, number]), sources, spacing_mm)
    return write_volume(folder, name, head.image, head.mask, brain=head.image != 0, half=True)


def make_heads(  # noqa: PLR0913 (the last two have defaults)
    folder: str | os.PathLike, count: int, seed: int, sources: Sources, spacing_mm: float, jobs: int = 2, first: int = 0
) -> list[Path]:
    """Draw heads `first` to `first + count - 1` in `jobs` worker processes.

    A folder holds heads of one voxel size and one set of sources (see
    `heads_folder`). A label map is read and prepared once a worker, so numbers
    go to workers in chunks. Returns the mask files.
    """
    from joblib import Parallel, delayed

    numbers = range(first, first + count)
    return Parallel(n_jobs=jobs, batch_size=8)(delayed(make_head)(folder, n, seed, sources, spacing_mm) for n in numbers)
