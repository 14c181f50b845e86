"""What the bytes of a file are: an image volume, a text, or something that a search for words cannot read."""

from __future__ import annotations

import base64
import binascii
import codecs
import gzip
import io
import zlib

#: Longest content that is searched, bytes, packed and unpacked.
LONGEST = 64 * 1024 * 1024
_STEP = 1 << 16
_VOLUME_MAGIC = {b"n+1\0": 344, b"ni1\0": 344, b"n+2\0": 4, b"DICM": 128}
ZIP = b"PK\x03\x04"
_UNREAD_MAGIC = (
    (b"%PDF-", 0, "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "an Office file"),
    (b"{\\rtf", 0, "an RTF file"),
    (b"ustar", 257, "an archive"),
    (b"PK\x05\x06", 0, "an empty archive"),
    (b"\x1f\x8b", 0, "an archive"),
    (b"BZh", 0, "an archive"),
    (b"\xfd7zXZ\0", 0, "an archive"),
    (b"7z\xbc\xaf\x27\x1c", 0, "an archive"),
    (b"Rar!\x1a\x07", 0, "an archive"),
    (b"\x28\xb5\x2f\xfd", 0, "an archive"),
    (b"\x89HDF\r\n", 0, "an HDF5 file"),
)
_UNREAD_ENDINGS = {
    (".pdf",): "a PDF",
    (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".doc", ".xls", ".ppt", ".msg", ".rtf"): "an Office file",
    (".tar", ".tar.gz", ".tgz", ".tbz2", ".txz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".lzma", ".lz4", ".z"): "an archive",
}
#: The longer marks first: UTF-32 begins as UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def unpack_gzip(content: bytes) -> tuple[bytes, str]:
    """Return what gzip packed, as far as it can be unpacked, and why no further; other content as it is."""
    if content[:2] != b"\x1f\x8b":
        return content, ""
    pieces, length = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            while piece := stream.read1(_STEP):
                pieces.append(piece)
                length += len(piece)
                if length > LONGEST:
                    return b"".join(pieces), "too long to search"
    except (OSError, EOFError, zlib.error):
        return b"".join(pieces), "damaged or cut off"
    return b"".join(pieces), ""


def is_volume(content: bytes) -> bool:
    """Tell whether content begins as a NIfTI, DICOM or NumPy file."""
    return any(content[at : at + len(magic)] == magic for magic, at in _VOLUME_MAGIC.items()) or content[:6] == b"\x93NUMPY"


def unread_kind(content: bytes, name: str = "") -> str:
    """Return what a file is whose words a search does not see; "" where it sees them.

    Parameters
    ----------
    content : bytes
        Its beginning is enough.
    name : str
        Of the file; its ending counts, too.
    """
    by_name = (words for endings, words in _UNREAD_ENDINGS.items() if name.lower().endswith(endings))
    by_content = (words for magic, at, words in _UNREAD_MAGIC if content[at : at + len(magic)] == magic)
    return next(by_content, "") or next(by_name, "")


def as_text(content: bytes) -> str:
    """Return content as text: by its byte order mark, as UTF-16 where half of it is zeros, as UTF-8, else as Latin-1."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, errors="replace")
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if content[first::2].count(0) > 0.4 * len(content) and content[1 - first :: 2].count(0) < 0.01 * len(content):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def from_base64(text: str) -> bytes:
    """Return what base64 encodes; nothing where it is none."""
    try:
        return base64.b64decode(text[: len(text) - len(text) % 4])
    except binascii.Error:
        return b""
