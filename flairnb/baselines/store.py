"""Fitted models and looked-at cases as files: arrays and numbers of a frozen dataclass, never pickles."""

from __future__ import annotations

import dataclasses
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from flairnb.errors import InputError, MissingDataError
from flairnb.geometry import Grid
from flairnb.provenance import atomic_path

T = TypeVar("T")

#: What reading a damaged or a foreign file raises.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def save(path: str | os.PathLike, value: Any, key: str) -> Path:
    """Write a dataclass of arrays and numbers with the key of what it follows from.

    Fields that are not compared (caches) are left out; float32 images of a
    case are kept as float16, whose error of a two-thousandth is far below the
    noise.
    """
    arrays: dict[str, Any] = {"_key": np.array(key)}
    for f in dataclasses.fields(value):
        content = getattr(value, f.name)
        if not f.compare or content is None:
            continue
        arrays[f.name] = _pack(content)
    path = Path(path)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    return path


def key_of(path: str | os.PathLike) -> str | None:
    """Return the key that a file was written with; None without a readable file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return str(stored["_key"])
    except _DAMAGED:
        return None


def load(path: str | os.PathLike, kind: type[T]) -> T:
    """Read a dataclass that `save` wrote; fields without a value are None or their default.

    Raises
    ------
    MissingDataError
        There is no such file.
    InputError
        It is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"expected the fitted comparison methods, found no {path.name}. Run notebook 04 first.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {f.name: _unpack(f.name, stored[f.name]) for f in dataclasses.fields(kind) if f.name in stored}  # type: ignore[arg-type]
    except _DAMAGED:
        raise InputError(f"expected fitted values in {path.name}, could not read it. Delete it and run notebook 04 again.") from None
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]
        if f.compare and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            values.setdefault(f.name, None)
    return kind(**values)


def _pack(content: Any) -> Any:
    if isinstance(content, Grid):
        return np.vstack([np.asarray(content.affine, float), [[*content.shape, 0]]])
    if isinstance(content, tuple) and content and isinstance(content[0], slice):
        return np.array([[s.start, s.stop] for s in content])
    packed = np.asarray(content)
    return packed.astype(np.float16) if packed.dtype == np.float32 and packed.ndim == 3 else packed


def _unpack(name: str, content: Any) -> Any:
    if name == "grid":
        return Grid(tuple(int(n) for n in content[4, :3]), content[:4])
    if name == "box":
        return tuple(slice(int(a), int(b)) for a, b in content)
    if name == "work_shape":
        return tuple(int(n) for n in content)
    if content.dtype == np.float16:
        return content.astype(np.float32)
    return content.item() if content.ndim == 0 else content
