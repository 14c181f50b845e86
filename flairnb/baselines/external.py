"""Masks made by any outside tool (LST-AI, nnU-Net, the real LST or BIANCA), read from a folder by BIDS name.

flairnb runs none of these programs: run them yourself on the FLAIRs, write
their masks on the FLAIR's own grid, and name the folder in
``baselines.external``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError, MissingDataError
from flairnb.folders import files_below
from flairnb.images import Image, read_mask

_NAME = re.compile(r"(?P<participant>sub-[A-Za-z0-9]+)(?:_[A-Za-z]+-[A-Za-z0-9]+)*?_desc-(?P<tool>[A-Za-z0-9]+)_mask\.nii(\.gz)?")
#: Names that flairnb's own masks have, in whatever case; an outside tool may not pose as one.
RESERVED = frozenset({"manual", "manual2", "unet", "shipped", "lga", "lga03", "lpa", "bianca", "threshold", "brain"})


def find_tools(folder: str | os.PathLike) -> dict[str, dict[str, Path]]:
    """List the masks of a folder by tool and participant.

    Parameters
    ----------
    folder : path
        Searched with all folders below it, links followed, for
        ``sub-<label>[_<entities>]_desc-<tool>_mask.nii.gz``.

    Returns
    -------
    dict
        Tool name (the ``desc`` of the file) to participant to file.

    Raises
    ------
    MissingDataError
        There is no such folder.
    InputError
        A tool has one of the `RESERVED` names, or two masks for one person;
        or there is no mask.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingDataError(f"baselines.external: expected a folder of masks, found none named {folder.name!r}. Check the path.")
    tools: dict[str, dict[str, Path]] = {}
    for path in sorted(files_below(folder)):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        tool, participant = match["tool"], match["participant"]
        if is_reserved(tool):
            raise InputError(
                f"{path.name}: expected the name of an outside tool after desc-, found {tool!r}, which is flairnb's own. Rename it, "
                f"for example desc-{tool}tool."
            )
        if participant in tools.setdefault(tool, {}):
            other = tools[tool][participant].name
            raise InputError(f"{participant}: expected one mask of {tool}, found {other} and {path.name}. Leave one in the folder.")
        tools[tool][participant] = path
    if not tools:
        raise InputError(
            f"baselines.external: expected masks named sub-<label>_desc-<tool>_mask.nii.gz, found none in {folder.name!r}. Rename them, "
            "or name no folder."
        )
    return tools


def is_reserved(tool: str) -> bool:
    """Tell whether a name is one of flairnb's own; some disks take "UNET" and "unet" for one file.

    Examples
    --------
    >>> is_reserved("Shipped"), is_reserved("lstai")
    (True, False)
    """
    return tool.lower() in RESERVED


def read_external(path: str | os.PathLike, flair: Image, participant: str) -> NDArray[np.bool_]:
    """Read an outside tool's mask and check that it lies on the FLAIR's grid.

    Raises
    ------
    GeometryError
        It lies on another grid (a registered copy of the FLAIR, for example).
    InputError, MissingDataError
        It cannot be read.
    """
    return read_mask(path, like=flair, what=f"{participant}: outside mask")
