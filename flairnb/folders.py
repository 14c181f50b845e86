"""What lies in a folder that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of all folders in it, by name; links are followed, to each real folder once.

    A link to a folder that this one lies in leads to what is nobody's input,
    and is not followed.
    """
    seen = {os.path.realpath(parent) for parent in folder.resolve().parents}
    for base, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(base) / name for name in sorted(names))
