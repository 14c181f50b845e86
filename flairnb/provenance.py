"""Where a file came from: hashes, side-cars, versions, time and memory."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

#: How the name of a file begins that is still being written.
PARTIAL = ".partial-"
PACKAGES = ("flairnb", "tensorflow", "keras", "antspyx", "nibabel", "numpy", "scipy", "pandas", "statsmodels")


def sha256_file(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush and rename it there.

    A reader sees the old file or the whole new one, never half of it. The
    temporary name keeps the extension, as some writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(re.findall(r"\.nii\.gz$|\.[A-Za-z0-9]+$", path.name))
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


_UMASK = threading.Lock()


def _umask() -> int:
    """Return the process's umask. It can only be asked for by changing it, which two threads must not do at once; Linux also tells it."""
    try:
        found = re.search(r"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1], 8)
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask


def write_json(path: str | os.PathLike, content: Any) -> Path:
    """Write JSON atomically, keys in the given order, numpy scalars as numbers."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.name
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def content_hash(*parts: Any) -> str:
    """Return 12 hexadecimal digits that change when any part changes.

    Parts are JSON-like values, arrays (shape, type and bytes count) or paths
    (the file's content counts).
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, Path):
            digest.update(sha256_file(part).encode())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=_plain).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def write_sidecar(
    path: str | os.PathLike,
    sources: Sequence[str | os.PathLike],
    settings: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the BIDS JSON side-car of a derived file.

    Holds `Sources` (file names, no folders), `GeneratedBy`, the settings with
    their hash, the versions of what computed it, and the file's own SHA-256, so
    that a later run can tell whether the file is whole and up to date. `extra`
    adds what is special to a file, such as `WeightsSha256`.
    """
    from flairnb.naming import sidecar_path

    content = {
        "Sources": [Path(s).name for s in sources],
        "GeneratedBy": [{"Name": "flairnb", "Version": versions().get("flairnb", "unknown")}],
        "Settings": settings,
        "SettingsHash": None if settings is None else content_hash(settings),
        "SoftwareVersions": versions(),
        "Sha256": sha256_file(path),
        **(extra or {}),
    }
    return write_json(sidecar_path(path), content)


def is_current(path: str | os.PathLike, **expected: Any) -> bool:
    """Tell whether a file exists, is whole, and its side-car holds `expected`."""
    from flairnb.naming import sidecar_path

    path, sidecar = Path(path), sidecar_path(path)
    if not path.exists() or not sidecar.exists():
        return False
    try:
        content = read_json(sidecar)
    except (ValueError, OSError):
        return False
    return all(content.get(key) == value for key, value in expected.items()) and content.get("Sha256") == sha256_file(path)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that change results."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


@functools.cache
def _version(name: str) -> str:
    """Return a package's version; read from disk once, as every side-car asks for it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def machine() -> dict[str, Any]:
    """Return processor, core count, memory in GB and system; no host name."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else float("nan")
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory_gb, 1),
    }


def processor_flags(path: str | os.PathLike = "/proc/cpuinfo") -> frozenset[str]:
    """Return what this processor can do by Linux's names (``avx2``, ``avx512_bf16``); empty where there is no such file."""
    cpuinfo = Path(path)
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(next((value.split() for name, _, value in lines if name.strip() in ("flags", "Features")), ()))


def peak_memory_gb(children: bool = False) -> float:
    """Return the peak resident memory of this process (or its children) in GB."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1e9 if sys.platform == "darwin" else 1e6), 3)


class StageTimer:
    """Collect wall seconds by stage name, in the order the stages ran.

    Examples
    --------
    >>> timer = StageTimer()
    >>> with timer("read"):
    ...     pass
    >>> list(timer.seconds)
    ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a ``with`` block; the same stage twice adds up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)
