"""Look for what could tell who a patient is in files that are to be shown to others."""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flairnb.errors import InputError, MissingDataError, WorkFailed
from flairnb.report.privacy_content import LONGEST, ZIP, as_text, from_base64, is_volume, unpack_gzip, unread_kind
from flairnb.report.privacy_patterns import hits_in_line, hits_in_name, patterns_of_names

_VOLUMES = (".nii", ".nii.gz", ".mgz", ".mgh", ".dcm", ".nrrd", ".mha", ".mhd", ".hdr", ".img", ".npy", ".npz", ".h5")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".woff", ".woff2", ".ico")
#: Trained weights are a zip archive of numbers.
_WEIGHTS = ".keras"
#: What tells an Office file among the members of a zip archive.
_OFFICE = ("[Content_Types].xml", "mimetype")
_BASE64 = re.compile(r"(?:data:([\w.+/-]*)[^,\"'\s]{0,60},\s*)?([A-Za-z0-9+/]{400,}={0,2})")
#: Archives in archives in archives.
_DEEPEST = 3

Wanted = tuple[re.Pattern[str], ...]


@dataclass(frozen=True)
class Finding:
    """One suspicious place: the file (relative), the line, the kind and the text."""

    file: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.text}"


def check_privacy(folder: str | Path, names: tuple[str, ...] = ()) -> list[Finding]:
    """Search a report, or any folder, for what could tell who a patient is.

    Parameters
    ----------
    folder : path
        Searched to its bottom, the names of files and folders included. Text
        may be packed by gzip or zip, and be in UTF-8, UTF-16 or Latin-1;
        pictures and trained weights are not looked into.
    names : tuple of str
        Names, hospital numbers and identifiers that must not occur, upper and
        lower case alike.

    Returns
    -------
    list of Finding
        Dates, DICOM UIDs, patient header fields, absolute paths, embedded or
        loose image volumes, and the given names; in the order of the files.
        What cannot be searched (a PDF, an Office file, an archive other than
        zip, what is damaged, locked or a link to a folder) is one of the kind
        "unread".

    Raises
    ------
    MissingDataError, InputError
        No such folder, or it is a file.

    Notes
    -----
    A search finds patterns, not meanings: an empty list is no proof. Years
    alone, years of two digits and a run's own time stamps
    (2019-05-04T12:00:00Z) do not count.
    """
    folder = Path(folder)
    if not folder.exists():
        raise MissingDataError(f"--check-privacy: expected a folder, found nothing at {folder}. Check the path.")
    if not folder.is_dir():
        raise InputError(f"--check-privacy: expected a folder, found the file {folder.name}. Name the folder that holds it.")
    wanted = patterns_of_names(names)
    found: list[Finding] = []
    for path, is_folder, trouble in sorted(_everything_in(folder)):
        name = path.relative_to(folder).as_posix()
        found += _of_name(name, wanted, name[: name.rfind("/") + 1])
        if trouble:
            found.append(Finding(name, 0, "unread", trouble))
        elif not is_folder:
            found += _of_file(path, name, wanted)
    return found


def refuse_findings(found: list[Finding], folder: str | Path) -> None:
    """Raise `WorkFailed` when something was found."""
    if found:
        kinds = ", ".join(sorted({f.kind for f in found}))
        unread = " Look through what is unread yourself." if any(f.kind == "unread" for f in found) else ""
        raise WorkFailed(
            f"{Path(folder).name}: expected nothing that tells who a patient is, found {len(found)} places ({kinds}); first: {found[0]}. "
            f"Remove them before you hand the folder on.{unread}"
        )


def _everything_in(folder: Path) -> list[tuple[Path, bool, str]]:
    """Return all that lies below a folder, whether it is a folder, and why it was not entered ("" if it was)."""
    reasons: dict[Path, str] = {}

    def remember(error: OSError) -> None:
        reasons[Path(error.filename)] = f"the folder cannot be read ({error.strerror})"

    places = {}
    for above, folders, files in os.walk(folder, onerror=remember):
        places |= {Path(above) / name: True for name in folders} | {Path(above) / name: False for name in files}
        reasons |= {Path(above) / name: "a link to a folder, not followed" for name in folders if _is_link(Path(above) / name)}
    places |= {place: True for place in reasons}  # the folder itself, if it is locked
    return [(place, is_folder, reasons.get(place, "")) for place, is_folder in places.items()]


def _is_link(place: Path) -> bool:
    try:
        return place.is_symlink()
    except OSError:  # a folder whose names may be listed, but no more
        return False


def _of_name(name: str, wanted: Wanted, above: str) -> Iterator[Finding]:
    yield from (Finding(name, 0, kind, _short(text)) for kind, text in hits_in_name(name, wanted, above))


def _of_file(path: Path, name: str, wanted: Wanted) -> Iterator[Finding]:
    if path.name.lower().endswith(_VOLUMES):
        yield Finding(name, 0, "volume", "an image volume")
        return
    try:
        about = path.stat()
        is_plain = stat.S_ISREG(about.st_mode)
        content = path.read_bytes() if is_plain and about.st_size <= LONGEST else b""
    except OSError as error:
        yield Finding(name, 0, "unread", f"the file cannot be read ({error.strerror})")
        return
    if not is_plain:
        yield Finding(name, 0, "unread", "neither a file nor a folder")
    elif about.st_size > LONGEST:
        yield Finding(name, 0, "unread", f"{about.st_size / 1e6:.0f} MB, too long to search")
    else:
        yield from _of_content(content, name, wanted)


def _of_content(content: bytes, name: str, wanted: Wanted, depth: int = 0) -> Iterator[Finding]:
    """Search one file, or one member of an archive."""
    content, trouble = unpack_gzip(content)
    if trouble:
        yield Finding(name, 0, "unread", trouble)
    if is_volume(content):
        yield Finding(name, 0, "volume", "an image volume under another name")
    elif content.startswith(ZIP) and not name.lower().endswith(_WEIGHTS):
        yield from _of_zip(content, name, wanted, depth)
    elif kind := unread_kind(content, name):
        yield Finding(name, 0, "unread", f"{kind}, not searched")
    elif not name.lower().endswith((*_PICTURES, _WEIGHTS)):
        yield from _of_text(as_text(content), name, wanted)


def _of_zip(content: bytes, name: str, wanted: Wanted, depth: int) -> Iterator[Finding]:
    """Search the members of a zip archive, their names included; one that holds an Office file is unread besides."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if any(member.filename in _OFFICE for member in members):
                # A name may be cut into pieces there.
                yield Finding(name, 0, "unread", "an Office file, not searched well")
            if depth >= _DEEPEST or sum(member.file_size for member in members) > LONGEST:
                yield Finding(name, 0, "unread", "an archive, too large or too deep to search")
                return
            for member in members:
                inside = f"{name}/{member.filename.rstrip('/')}"
                yield from _of_name(inside, wanted, f"{name}/")
                if inside.lower().endswith(_VOLUMES):
                    yield Finding(inside, 0, "volume", "an image volume")
                elif not member.is_dir():
                    yield from _of_content(archive.read(member), inside, wanted, depth + 1)
    # A password is a RuntimeError, an unknown way to pack a NotImplementedError, which is one.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        yield Finding(name, 0, "unread", "an archive, damaged or locked")


def _without_plotly(text: str) -> str:
    """Take out plotly's own code where it stands letter for letter; it holds dates, of nobody."""
    if "plotly.js" not in text:
        return text
    from plotly.offline import get_plotlyjs

    code = get_plotlyjs()
    return text.replace(code, "\n" * code.count("\n"))


def _of_text(text: str, name: str, wanted: Wanted) -> Iterator[Finding]:
    text = _without_plotly(text)
    for hit in _BASE64.finditer(text):
        kind, what = _encoded_kind(hit)
        if kind:
            yield Finding(name, text.count("\n", 0, hit.start()) + 1, kind, what)
    # Encoded pictures are long and meaningless: a pattern found in one means nothing.
    plain = _BASE64.sub(lambda hit: "" if "\n" not in hit[0] else "\n" * hit[0].count("\n"), text)
    for number, line in enumerate(plain.splitlines(), start=1):
        yield from (Finding(name, number, kind, _short(shown)) for kind, shown in hits_in_line(line, wanted))


def _encoded_kind(hit: re.Match[str]) -> tuple[str, str]:
    """Return the kind and the words of a finding for what base64 encodes; two empty texts for pictures, fonts and numbers."""
    if (hit[1] or "").startswith(("image/", "font/")):
        return "", ""
    content, _ = unpack_gzip(from_base64(hit[2]))
    if is_volume(content):
        return "volume", "an image volume inside the text"
    what = "an archive" if content.startswith(ZIP) else unread_kind(content)
    return ("unread", f"{what} inside the text, not searched") if what else ("", "")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
