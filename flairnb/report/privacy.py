"""Look for what could tell who a patient is in files that are to be shown to others."""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flairnb.errors import InputError, MissingDataError, WorkFailed

_VOLUMES = (".nii", ".nii.gz", ".mgz", ".mgh", ".dcm", ".nrrd", ".mha", ".mhd", ".hdr", ".img", ".npy", ".npz", ".h5")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".woff", ".woff2", ".pdf", ".ico", ".keras")
_LONGEST = 64 * 1024 * 1024

_BASE64 = re.compile(r"(?:data:([\w.+/-]*)[^,\"'\s]{0,60},\s*)?([A-Za-z0-9+/]{400,}={0,2})")
_DATE_WORDS = re.compile(
    r"(?:birth|study|series|acquisition|scan|exam)[\s_-]*(?:date|day)\W{0,4}\d[\d.:/-]{4,}|\bdate[\s_-]*of[\s_-]*birth\b|\bDOB\b|\bgeboren\b",
    re.I,
)
#: A run's own time stamp (2019-05-04T12:00:00Z) tells when the report was made, not when a patient was examined.
_DATE = re.compile(
    r"(?<![\w.-])(?:(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\dT])"
    r"|(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|1[0-2])[./](?:19|20)\d\d)(?!\w)"
)
_UID = re.compile(r"(?<![\w.])[0-2]\.(?:\d+\.){4,}\d+(?![\w.])")
_DICOM = re.compile(
    r"\b(?:Patient'?s?|Referring|Performing|Operators?|Physician|Institution)[\s_-]*"
    r"(?:Name|ID|BirthDate|Birth Date|Address|Sex|Comments)\b"
    r"|\(0010,\s*[0-9A-Fa-f]{4}\)|\b[A-ZÀ-Þ][^\W\d_]+\^[A-ZÀ-Þ][^\W\d_]+"
)
_PATH = re.compile(
    r"(?<![\w.:/<])/(?:home|Users|root|mnt|media|data|srv|scratch|tmp|var|work|opt|nfs|net|private|Volumes)/[\w.@~+-]+[\w./@~+-]*"
    r"|[A-Za-z]:\\{1,2}(?:Users|Documents and Settings|data|home)\\[^\s\"'<>]+"
    r"|(?<!\w)\\\\[\w.-]+\\[\w$.-]+|file://[^\s\"'<>]+"
)
_PATTERNS = {"date": (_DATE_WORDS, _DATE), "UID": (_UID,), "patient header": (_DICOM,), "path": (_PATH,)}
_MAGIC = {b"n+1\0": 344, b"ni1\0": 344, b"n+2\0": 4, b"DICM": 128}


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
        Searched to its bottom. Compressed text is unpacked; pictures and
        not looked into.
    names : tuple of str
        Names, hospital numbers and identifiers that must not occur, upper and
        lower case alike.

    Returns
    -------
    list of Finding
        Dates, DICOM UIDs, patient header fields, absolute paths, embedded or
        loose image volumes, and the given names; in the order of the files.

    Raises
    ------
    MissingDataError, InputError
        No such folder, or it is a file.

    Notes
    -----
    A search finds patterns, not meanings: an empty list is no proof. Years
    alone and a run's own time stamps (2019-05-04T12:00:00Z) do not count.
    """
    folder = Path(folder)
    if not folder.exists():
        raise MissingDataError(f"--check-privacy: expected a folder, found nothing at {folder}. Check the path.")
    if not folder.is_dir():
        raise InputError(f"--check-privacy: expected a folder, found the file {folder.name}. Name the folder that holds it.")
    wanted = [re.compile(rf"(?<![^\W_]){re.escape(n)}(?![^\W_])", re.IGNORECASE) for n in names if n.strip()]
    found: list[Finding] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        found += [Finding(name, 0, "name", _short(hit[0])) for w in wanted if (hit := w.search(name))]
        found += _of_file(path, name, wanted)
    return found


def refuse_findings(found: list[Finding], folder: str | Path) -> None:
    """Raise `WorkFailed` when something was found."""
    if found:
        kinds = ", ".join(sorted({f.kind for f in found}))
        raise WorkFailed(
            f"{Path(folder).name}: expected nothing that tells who a patient is, found {len(found)} places ({kinds}); first: {found[0]}. "
            "Remove them before you hand the folder on."
        )


def _of_file(path: Path, name: str, wanted: list[re.Pattern[str]]) -> Iterator[Finding]:
    if path.name.lower().endswith(_VOLUMES):
        yield Finding(name, 0, "volume", "an image volume")
        return
    if path.stat().st_size > _LONGEST:
        yield Finding(name, 0, "unread", f"{path.stat().st_size / 1e6:.0f} MB, too long to search")
        return
    content = _unpacked(path.read_bytes())
    if _is_volume(content):
        yield Finding(name, 0, "volume", "an image volume under another name")
    elif not path.name.lower().endswith(_PICTURES):
        yield from _of_text(content.decode("utf-8", errors="replace"), name, wanted)


def _without_plotly(text: str) -> str:
    """Take out plotly's own code where it stands letter for letter; it holds dates, of nobody."""
    if "plotly.js" not in text:
        return text
    from plotly.offline import get_plotlyjs

    code = get_plotlyjs()
    return text.replace(code, "\n" * code.count("\n"))


def _of_text(text: str, name: str, wanted: list[re.Pattern[str]]) -> Iterator[Finding]:
    text = _without_plotly(text)
    for hit in _BASE64.finditer(text):
        if not (hit[1] or "").startswith(("image/", "font/")) and _is_volume(_unpacked(_decoded(hit[2]))):
            yield Finding(name, text.count("\n", 0, hit.start()) + 1, "volume", "an image volume inside the text")
    # Encoded pictures are long and meaningless: a pattern found in one means nothing.
    plain = _BASE64.sub(lambda hit: "" if "\n" not in hit[0] else "\n" * hit[0].count("\n"), text)
    for number, line in enumerate(plain.splitlines(), start=1):
        for kind, patterns in _PATTERNS.items():
            for pattern in patterns:
                yield from (Finding(name, number, kind, _short(hit[0])) for hit in pattern.finditer(line))
        yield from (Finding(name, number, "name", _short(hit[0])) for pattern in wanted for hit in pattern.finditer(line))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text[: len(text) - len(text) % 4])
    except binascii.Error:
        return b""


def _unpacked(content: bytes) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        # Cut off: the beginning tells what it is.
        return zlib.decompressobj(31).decompress(content, 4096)


def _is_volume(content: bytes) -> bool:
    return any(content[at : at + len(magic)] == magic for magic, at in _MAGIC.items()) or content[:6] == b"\x93NUMPY"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
