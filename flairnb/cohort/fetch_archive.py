"""Unpack an archive into its own folder, and nothing beside it."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from flairnb.provenance import read_json, write_json

#: Most bytes and files that an archive may unpack to.
LIMIT_BYTES, LIMIT_FILES = 20_000_000_000, 100_000
#: Written into the folder when all is there; holds the archive's hash.
STAMP = ".unpacked.json"
_ENDINGS = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip")
_CHUNK = 1 << 20


def archive_stem(name: str) -> str:
    """Return an archive's name without its ending: the folder that it is unpacked into.

    Raises
    ------
    ValueError
        No ending of an archive.

    Examples
    --------
    >>> archive_stem("study 1.tar.gz")
    'study 1'
    """
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    raise ValueError(f"expected an archive ({', '.join(_ENDINGS)}), found {name}")


def unpack(archive: Path, folder: Path, sha256: str) -> bool:
    """Unpack a .zip or .tar archive whose hash was checked.

    Parameters
    ----------
    archive : Path
    folder : Path
        Gets the files; an earlier content is replaced as a whole.
    sha256 : str
        The archive's hash; a folder that was unpacked from it is left alone.

    Returns
    -------
    bool
        Whether anything was unpacked.

    Raises
    ------
    ValueError
        No archive, or one that leads out of its folder, holds links or
        devices, names a file twice, or unpacks to more than `LIMIT_BYTES`.
        Nothing is left then.
    """
    if _is_done(folder, sha256):
        return False
    waiting = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        written, count = 0, 0
        for name, stream in _members(archive):
            count += 1
            if count > LIMIT_FILES:
                raise ValueError(f"expected at most {LIMIT_FILES} files in the archive, found more")
            written += _write(waiting, name, stream, LIMIT_BYTES - written)
        write_json(waiting / STAMP, {"Archive": archive.name, "Sha256OfArchive": sha256, "Files": count})
        waiting.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        waiting.rename(folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"expected a whole archive, could not read it ({error})") from None
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return True


def _is_done(folder: Path, sha256: str) -> bool:
    try:
        return read_json(folder / STAMP)["Sha256OfArchive"] == sha256
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of every file; folders are made as they are needed."""
    yield from _in_zip(archive) if zipfile.is_zipfile(archive) else _in_tar(archive)


def _in_zip(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = (member.external_attr >> 16) & 0o170000
            if kind not in (0, 0o100000, 0o040000):
                raise ValueError(f"expected files and folders in the archive, found a link or device: {member.filename!r}")
            if not member.is_dir():
                with opened.open(member) as stream:
                    yield member.filename, stream


def _in_tar(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        for member in opened:
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"expected files and folders in the archive, found a link or device: {member.name!r}")
            stream = opened.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name, stream


def _write(folder: Path, name: str, stream: IO[bytes], room: int) -> int:
    """Write one file below a folder; return its size."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0] or name.startswith(STAMP):
        raise ValueError(f"expected names that stay inside the archive's folder, found {name!r}")
    target = folder / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        out = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"expected every name once in the archive, found {name!r} twice, or as file and folder") from None
    size = 0
    with out:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > room:
                raise ValueError(f"expected at most {LIMIT_BYTES} bytes in the archive, found more")
            out.write(chunk)
    return size
