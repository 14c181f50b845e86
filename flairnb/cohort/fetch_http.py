"""Download one file over HTTP: go on where a connection broke, stop at a size, trust only the hash.

What has arrived lies in ``.<name>.part`` beside the target, with the server's
validator (ETag or Last-Modified) in ``.<name>.part.json``. A file gets its own
name only when its SHA-256 is the published one.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.provenance import read_json, sha256_file

if TYPE_CHECKING:
    import requests

_LOG = logging.getLogger(__name__)
#: Bytes a read; as much at most is lost of what arrived before a connection broke.
_CHUNK = 1 << 13
#: A full disk is not helped by keeping what filled it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Download:
    """One file to download.

    Attributes
    ----------
    url : str
    target : Path
        Where it goes when it is whole.
    sha256 : str
        64 hexadecimal digits.
    limit : int
        Most bytes that are taken.
    exact : bool
        Whether `limit` is the published size.
    silence_s : float
        Longest silence of the server, seconds.
    attempts : int
        How often a connection is begun.
    """

    url: str
    target: Path
    sha256: str
    limit: int
    exact: bool = False
    silence_s: float = 60.0
    attempts: int = 3
    _went_on: bool = field(default=False, init=False)

    @property
    def part(self) -> Path:
        """Where bytes wait until the file is whole."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def about(self) -> Path:
        """Where the validator of these bytes is kept."""
        return self.target.with_name(f".{self.target.name}.part.json")

    def run(self) -> None:
        """Download, check and rename.

        Raises
        ------
        OSError, ValueError
            The server cannot be reached or answers with an error, the file is
            larger than allowed, or it is not the published one. What arrived
            of it before a broken connection is kept for the next call.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.part):
            try:
                if not self._have() or sha256_file(self.part) != self.sha256:
                    self._get()
                if self._went_on and sha256_file(self.part) != self.sha256:
                    _LOG.info("%s: the parts do not fit together, beginning again", self.target.name)
                    self._drop()
                    self._get()
                self._accept()
            except OSError as error:
                if error.errno in _FULL:
                    self._drop()
                raise

    def _accept(self) -> None:
        found = sha256_file(self.part)
        if found != self.sha256:
            size = self.part.stat().st_size
            self._drop()
            expected = f", {self.limit} bytes" if self.exact else ""
            raise ValueError(f"sha256 is {found[:12]}... of {size} bytes, expected {self.sha256[:12]}...{expected}")
        with self.part.open("rb") as stream:
            os.fsync(stream.fileno())
        self.part.replace(self.target)
        self.about.unlink(missing_ok=True)

    def _get(self) -> None:
        """Connect until everything the server has is here, `attempts` times at most."""
        from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

        for attempt in range(1, self.attempts + 1):
            try:
                self._connect()
                return
            except (ChunkedEncodingError, ConnectionError, Timeout) as error:
                if attempt == self.attempts:
                    raise
                _LOG.info("%s: %s after %d bytes, connecting again", self.target.name, type(error).__name__, self._have())

    def _connect(self) -> None:
        """Ask for the file, or for the rest of it, and write what comes."""
        import requests

        have = self._have()
        # No compression on the way: ranges count bytes of the file itself.
        headers = {"Accept-Encoding": "identity"}
        validator = self._validator()
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        with requests.get(self.url, headers=headers, stream=True, timeout=self.silence_s) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable and have:
                self._whole_already(answer, have)
                return
            answer.raise_for_status()
            goes_on = have > 0 and answer.status_code == requests.codes.partial_content and _starts_at(answer, have)
            if have and not goes_on:
                self._drop()
                have = 0
                if answer.status_code == requests.codes.partial_content:
                    raise requests.exceptions.ConnectionError("the server sent another part than was asked for")
            self._went_on = self._went_on or goes_on
            self._remember(answer)
            self._write(answer, have)

    def _whole_already(self, answer: requests.Response, have: int) -> None:
        """Nothing is left to send: either all is here, or another file is."""
        import requests

        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        self._went_on = True
        if total.isdigit() and int(total) != have:
            self._drop()
            raise requests.exceptions.ConnectionError("the file on the server has another size by now")

    def _write(self, answer: requests.Response, have: int) -> None:
        import requests

        announced = int(answer.headers["Content-Length"]) if answer.headers.get("Content-Length", "").isdigit() else 0
        self._refuse_larger(have + announced)
        with self.part.open("ab" if have else "wb") as stream:
            got = 0
            for chunk in answer.iter_content(_CHUNK):
                stream.write(chunk)
                got += len(chunk)
                self._refuse_larger(have + got)
        if announced and got < announced and "Content-Encoding" not in answer.headers:
            raise requests.exceptions.ConnectionError(f"{got} of {announced} bytes arrived")

    def _refuse_larger(self, size: int) -> None:
        if size > self.limit:
            self._drop()
            what = f"the published {self.limit}" if self.exact else f"at most {self.limit}"
            raise ValueError(f"expected {what} bytes, the server sends {size} or more")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _drop(self) -> None:
        """Throw away what arrived."""
        self._went_on = False
        self.about.unlink(missing_ok=True)
        # The name stays, empty: it is what keeps a second fetch away while this one runs.
        with self.part.open("wb"):
            pass

    def _validator(self) -> str:
        """Return the ETag (or Last-Modified) under which the part arrived from this address, "" if unknown."""
        try:
            known: Any = read_json(self.about)
            return str(known["validator"]) if known["url"] == self.url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _remember(self, answer: requests.Response) -> None:
        etag = answer.headers.get("ETag", "")
        validator = answer.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
        # Under its own name at once: a kill in between leaves no stray file, and a torn one counts as unknown.
        self.about.write_text(json.dumps({"url": self.url, "validator": validator}), encoding="utf-8")


def _starts_at(answer: requests.Response, have: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold a part for one fetch; remove it afterwards if nothing is in it.

    Raises
    ------
    OSError
        Another fetch is at work on it.
    """
    handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows
            pass
        except BlockingIOError:
            raise OSError("another fetch is at work on this file; wait until it ends") from None
        yield
    finally:
        if part.is_file() and os.fstat(handle).st_size == 0 and _is_same(part, handle):
            part.unlink(missing_ok=True)
            part.with_name(f"{part.name}.json").unlink(missing_ok=True)
        os.close(handle)


def _is_same(path: Path, handle: int) -> bool:
    a, b = path.stat(), os.fstat(handle)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
