"""Patterns of what tells who a patient is, and the ways in which a text may be written."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

_DATE_WORDS = re.compile(
    r"(?:birth|study|series|acquisition|scan|exam)[\s_-]*(?:date|day)\W{0,4}\d[\d.:/-]{4,}|\bdate[\s_-]*of[\s_-]*birth\b|\bDOB\b|\bgeboren\b",
    re.I,
)
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
#: A run's own time stamp (2019-05-04T12:00:00Z) tells when the report was made, not when a patient was examined.
_DATE = re.compile(
    rf"(?<![\w.-])(?:{_YEAR}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\dT])|{_YEAR}/{_MONTH}/{_DAY}"
    rf"|{_DAY}([./-]){_MONTH}\1{_YEAR}|{_MONTH}([./-]){_DAY}\2{_YEAR})(?![\w-])"
)
_MONTH_NAME = (
    r"(?:jan(?:uary|uar)?|jän(?:ner)?|feb(?:ruary|ruar)?|mar(?:ch)?|mär(?:z)?|mrz|apr(?:il)?|may|mai|jun[ei]?|jul[iy]?"
    r"|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)"
)
_DATE_IN_WORDS = re.compile(
    rf"(?<![\w.-]){_DAY}(?:st|nd|rd|th)?[.\s-]{{1,3}}(?:of\s+)?{_MONTH_NAME}[.,\s-]{{1,3}}{_YEAR}(?!\w)"
    rf"|\b{_MONTH_NAME}[.\s-]{{1,3}}{_DAY}(?:st|nd|rd|th)?[,\s-]{{1,3}}{_YEAR}(?!\w)",
    re.I,
)
#: Only in the name of a file: eight digits in a text may be any number.
_DATE_IN_DIGITS = re.compile(rf"(?<![\w.]){_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\w)")
_UID = re.compile(r"(?<![\w.])[0-2]\.(?:\d+\.){4,}\d+(?!\w|\.\d)")
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
_PATTERNS = {"date": (_DATE_WORDS, _DATE, _DATE_IN_WORDS), "UID": (_UID,), "patient header": (_DICOM,), "path": (_PATH,)}
_IN_NAMES = {"date": (_DATE_WORDS, _DATE, _DATE_IN_WORDS, _DATE_IN_DIGITS), "UID": (_UID,), "patient header": (_DICOM,)}
_CODE_POINT = re.compile(r"\\u([0-9A-Fa-f]{4})")
#: What joins words in the name of a file, as in MRI_2019-05-04.
_JOINT = re.compile(r"_|(?<=[^\W\d_])-")


def patterns_of_names(names: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each given name: whole words, upper and lower case alike, whatever stands between its words."""
    words = [[re.escape(word) for word in unicodedata.normalize("NFC", name).split()] for name in names]
    written = [r"[\W_]+".join(parts) for parts in words if parts]
    return tuple(re.compile(rf"(?<![^\W_]){name}(?![^\W_])", re.IGNORECASE) for name in written)


def hits_in_line(line: str, wanted: tuple[re.Pattern[str], ...]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of what a line holds, each text once; as it is written, and as an editor or a browser shows it."""
    forms = _forms(line)
    for kind, patterns in (*_PATTERNS.items(), ("name", wanted)):
        yield from ((kind, text) for text in dict.fromkeys(hit[0] for p in patterns for form in forms for hit in p.finditer(form)))


def hits_in_name(path: str, wanted: tuple[re.Pattern[str], ...], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield kind and text of what the name of a file or folder tells; what is told by what lies above it is said there.

    Parameters
    ----------
    path : str
        With / between folders.
    wanted : tuple of patterns
        As `patterns_of_names` returns them.
    above : str
        With what `path` begins, and what was searched before.
    """
    path = unicodedata.normalize("NFC", path)
    start = len(unicodedata.normalize("NFC", above))
    forms = (path, _JOINT.sub(" ", path))
    for kind, patterns in (*_IN_NAMES.items(), ("name", wanted)):
        hits = (hit for p in patterns for form in forms for hit in p.finditer(form) if hit.end() > start)
        yield from ((kind, text) for text in dict.fromkeys(path[hit.start() : hit.end()] for hit in hits))


def _forms(line: str) -> list[str]:
    forms = [unicodedata.normalize("NFC", line)]
    if "\\u" in line:
        forms.append(_CODE_POINT.sub(lambda hit: chr(int(hit[1], 16)), line))
    if "&" in line:
        forms.append(html.unescape(forms[-1]))
    if "%" in line:
        forms.append(unquote(line))
    return list(dict.fromkeys(unicodedata.normalize("NFC", form) for form in forms))
