"""BIDS file names: entities in BIDS order, the suffix last."""

from __future__ import annotations

import os
import re
from pathlib import Path

_EXTENSION = re.compile(r"\.(nii|hdr|img)(\.(gz|bz2|zst))?$", re.IGNORECASE)


def flair_stem(path: str | os.PathLike) -> str:
    """Return a FLAIR's file name without extension and trailing ``_FLAIR``.

    Examples
    --------
    >>> flair_stem("in/sub-07_ses-1_FLAIR.nii.gz")
    'sub-07_ses-1'
    >>> flair_stem("brain.nii.bz2")
    'brain'
    """
    return re.sub(r"_FLAIR$", "", _EXTENSION.sub("", Path(path).name))


def derivative_name(
    stem: str,
    suffix: str,
    *,
    space: str | None = None,
    label: str | None = None,
    desc: str | None = None,
    extension: str = ".nii.gz",
) -> str:
    """Return a derivative's file name, e.g. ``sub-1_label-lesion_desc-unet_mask.nii.gz``.

    Examples
    --------
    >>> derivative_name("sub-1", "mask", label="lesion", desc="unet")
    'sub-1_label-lesion_desc-unet_mask.nii.gz'
    >>> derivative_name("sub-1", "FLAIR", space="work", desc="preproc")
    'sub-1_space-work_desc-preproc_FLAIR.nii.gz'
    """
    entities = [("space", space), ("label", label), ("desc", desc)]
    middle = "".join(f"_{key}-{value}" for key, value in entities if value)
    return f"{stem}{middle}_{suffix}{extension}"


def derivative_path(out_dir: str | os.PathLike, stem: str, suffix: str, **entities: str | None) -> Path:
    """Return `derivative_name` inside a folder."""
    return Path(out_dir) / derivative_name(stem, suffix, **entities)


def anat_dir(root: str | os.PathLike, participant_id: str) -> Path:
    """Return ``root/sub-*/anat`` of a participant."""
    return Path(root) / participant_id / "anat"


def raw_path(work_dir: str | os.PathLike, participant_id: str, suffix: str) -> Path:
    """Return the raw image of a participant, suffix ``FLAIR`` or ``T1w``."""
    return anat_dir(Path(work_dir) / "rawdata", participant_id) / f"{participant_id}_{suffix}.nii.gz"


def cohort_derivative(work_dir: str | os.PathLike, participant_id: str, suffix: str, **entities: str | None) -> Path:
    """Return a derivative of a participant inside a run's work folder."""
    return derivative_path(anat_dir(Path(work_dir) / "derivatives" / "flairnb", participant_id), participant_id, suffix, **entities)


def sidecar_path(path: str | os.PathLike) -> Path:
    """Return the JSON side-car beside an image or transform.

    Examples
    --------
    >>> sidecar_path("a/sub-1_desc-brain_mask.nii.gz").name
    'sub-1_desc-brain_mask.json'
    """
    path = Path(path)
    return path.with_name(re.sub(r"(\.nii)?(\.gz|\.nii|\.txt|\.keras|\.tsv)?$", "", path.name) + ".json")
