"""Unpack an archive into its own folder, and nothing beside it."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from flairnb.provenance import read_json, sha256_file, write_json

#: Most bytes and files that an archive may unpack to.
LIMIT_BYTES, LIMIT_FILES = 20_000_000_000, 100_000
#: Written into the folder when all is there; holds the archive's hash, and name and hash of every file.
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
        Its ending tells which of the two it is.
    folder : Path
        Gets the files. What an earlier call put there is replaced as a whole;
        a folder that holds anything else is left as it is.
    sha256 : str
        The archive's hash; a folder that was unpacked from it, and whose files
        are all there and unchanged, is left alone.

    Returns
    -------
    bool
        Whether anything was unpacked.

    Raises
    ------
    ValueError
        No archive, or one that leads out of its folder, holds links or
        devices, names a file twice, or unpacks to more than `LIMIT_BYTES`; or
        the folder holds what was not unpacked here. Nothing is left then.
    """
    sha256_before, before = _read_stamp(folder)
    if sha256_before == sha256 and _is_whole(folder, before):
        return False
    waiting = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        files = _unpack_into(waiting, archive)
        write_json(waiting / STAMP, {"Archive": archive.name, "Sha256OfArchive": sha256, "Files": files})
        # A stamp of an earlier version has no names: those of the same archive are known by now.
        _refuse_others(folder, before or (files if sha256_before == sha256 else {}), bool(sha256_before))
        waiting.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        waiting.rename(folder)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return True


def _unpack_into(folder: Path, archive: Path) -> dict[str, str]:
    """Write the files of an archive; return the SHA-256 of each by its name."""
    files: dict[str, str] = {}
    room = LIMIT_BYTES
    try:
        for name, stream in _members(archive):
            if len(files) == LIMIT_FILES:
                raise ValueError(f"expected at most {LIMIT_FILES} files in the archive, found more")
            target = _place(folder, name)
            size, files[_key(folder, target)] = _write(target, name, stream, room)
            room -= size
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise ValueError(f"expected a whole archive, could not read it ({reason})") from None
    return files


def _read_stamp(folder: Path) -> tuple[str, dict[str, str]]:
    """Return from what a folder was unpacked, and its files; "" and none where no stamp of ours says so."""
    try:
        stamp = read_json(folder / STAMP)
        files = stamp["Files"] if isinstance(stamp["Files"], dict) else {}
        return str(stamp["Sha256OfArchive"]), files
    except (OSError, ValueError, KeyError, TypeError):
        return "", {}


def _is_whole(folder: Path, files: dict[str, str]) -> bool:
    here = {_key(folder, path): path for path in folder.rglob("*") if path.is_file()}
    return bool(files) and all(name in here and sha256_file(here[name]) == known for name, known in files.items())


def _refuse_others(folder: Path, files: dict[str, str], is_stamped: bool) -> None:
    """Refuse to replace a folder that holds anything but the files of our own stamp; an empty one may be replaced."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"expected to unpack into the folder {folder.name}, found a link or a file of that name; move or rename it")
    ours = {STAMP} if is_stamped else set()
    for name in files:
        ours |= {name, *(str(above) for above in PurePosixPath(name).parents)}
    other = next((key for key in sorted(_key(folder, path) for path in folder.rglob("*")) if key not in ours), "")
    if other:
        raise ValueError(f"expected a folder {folder.name} that holds only what was unpacked, found {other} in it; move or rename it")


def _key(folder: Path, path: Path) -> str:
    """Return the path of a file below a folder as a text that every file can hold, also where it is not UTF-8."""
    return path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of every file; folders are made as they are needed."""
    # Not by the content: a tar file whose last member is a zip file looks like one.
    yield from _in_zip(archive) if archive.name.lower().endswith(".zip") else _in_tar(archive)


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
        # The checksum of what was packed stands at its end.
        while opened.fileobj is not None and opened.fileobj.read(_CHUNK):
            pass


def _place(folder: Path, name: str) -> Path:
    """Return where a member is written, below the folder."""
    path = PurePosixPath(name)
    parts = path.parts
    if not parts or path.is_absolute() or ".." in parts or "\\" in name or ":" in parts[0] or parts[0].startswith(STAMP):
        raise ValueError(f"expected names that stay inside the archive's folder, found {name!r}")
    return folder / path


def _write(target: Path, name: str, stream: IO[bytes], room: int) -> tuple[int, str]:
    """Write one file; return its size and SHA-256."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        out = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"expected every name once in the archive, found {name!r} twice, or as file and folder") from None
    except OSError as error:
        raise ValueError(f"could not write {name[:60]!r} ({error.strerror})") from None
    size, digest = 0, hashlib.sha256()
    with out:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > room:
                raise ValueError(f"expected at most {LIMIT_BYTES} bytes in the archive, found more")
            out.write(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()
