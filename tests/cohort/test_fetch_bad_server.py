"""Fetching from a server that cuts off, stalls, lies, redirects, resumes, and resumes with something else."""

from __future__ import annotations

import hashlib
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from flairnb.cohort import fetch
from flairnb.errors import WorkFailed

CONTENT = b"\x1f\x8b" + bytes(range(256)) * 400
OTHER = CONTENT[::-1]
HASH = hashlib.sha256(CONTENT).hexdigest()


class BadHandler(BaseHTTPRequestHandler):
    """Do on each path what its name says; `asked` counts requests by path."""

    asked: ClassVar[dict[str, int]] = {}
    ranges: ClassVar[list[tuple[str, str]]] = []
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def do_GET(self):
        kind = self.path.strip("/")
        count = self.asked[kind] = self.asked.get(kind, 0) + 1
        self.close_connection = True
        self.ranges.append((self.headers.get("Range", ""), self.headers.get("If-Range", "")))
        if kind.startswith("range"):
            self.by_range(kind, count)
            return
        match kind:
            case "cut" | "cut-twice" | "stall":
                if kind == "cut-twice" and count > 2:
                    self.answer(CONTENT)
                    return
                self.start(len(CONTENT))
                self.wfile.write(CONTENT[: len(CONTENT) // 2])
                self.wfile.flush()
                if kind == "stall":
                    time.sleep(1.5)
            case "long" | "lie" | "page" | "empty":
                self.answer({"long": CONTENT + b"more", "lie": CONTENT[::-1], "page": b"<html>log in</html>", "empty": b""}[kind])
            case "short-length":
                self.start(len(CONTENT) // 2)
                self.wfile.write(CONTENT)
            case "moved" | "loop" | "to-file":
                self.send_response(302)
                self.send_header("Location", {"moved": "/good", "loop": "/loop", "to-file": "file:" + "///etc/passwd"}[kind])
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close")  # else the next request may still go to the connection that ends
                self.end_headers()
            case "endless":
                self.send_response(200)
                self.end_headers()
                for _ in range(40):
                    self.wfile.write(CONTENT)
            case "error":
                self.send_error(503)
            case "nonsense":
                self.wfile.write(b"no HTTP at all\r\n\r\n")
            case _:
                self.answer(CONTENT)

    def by_range(self, kind: str, count: int):
        """Cut the first answer; then answer ranges, rightly or not."""
        changed = "changed" in kind and count > 1
        content = OTHER if changed else CONTENT
        etag = "" if "no-etag" in kind else 'W/"weak"' if "weak" in kind else f'"{hashlib.md5(content).hexdigest()}"'
        first = int(self.headers["Range"][6:-1]) if self.headers.get("Range") else 0
        if first and (self.headers.get("If-Range") not in (None, etag) and "careless" not in kind):
            first = 0  # the file changed since: all of it
        if first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            start = first + 7 if "astray" in kind else first
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        piece = (
            content[first : first + 30000] if "piecemeal" in kind else content[first : len(content) // 2] if count == 1 else content[first:]
        )
        self.wfile.write(piece)
        self.wfile.flush()

    def start(self, length: int):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, content: bytes):
        self.start(len(content))
        self.wfile.write(content)


@pytest.fixture
def address(monkeypatch, serve):
    BadHandler.asked.clear()
    BadHandler.ranges.clear()
    monkeypatch.setattr(fetch, "SILENCE_S", 0.4)
    return serve(BadHandler)


def fetch_from(address: str, kind: str, folder: Path, size: int | str = "") -> list[fetch.Fetched]:
    row = ("set", "set/a.nii.gz", f"{address}/{kind}", HASH, "MIT", "nobody", "image", str(size))
    return fetch.fetch_dataset("set", pd.DataFrame([row], columns=[*fetch.REGISTRY_COLUMNS, "bytes"]), folder)


def parts(folder: Path) -> set[str]:
    return {path.name for path in (folder / "set").iterdir()}


HALF = len(CONTENT) // 2 // 8192 * 8192  # what is kept of half a file: whole reads
PART = {".a.nii.gz.part", ".a.nii.gz.part.json"}


@pytest.mark.parametrize("kind", ["good", "moved", "cut-twice"])
def test_what_arrives_whole_in_the_end_is_used(kind, address, tmp_path, fault):
    assert [r.status for r in fetch_from(address, kind, tmp_path)] == ["fetched"]
    assert (tmp_path / "set" / "a.nii.gz").read_bytes() == CONTENT
    assert parts(tmp_path) == {"a.nii.gz"}
    fault("bad server: flairnb fetch", kind, "the published file arrives", "works")


@pytest.mark.parametrize(
    ("kind", "asked", "kept"),
    [
        ("cut", 3, PART), ("stall", 3, PART), ("nonsense", 3, set()), ("long", 1, set()), ("lie", 1, set()), ("page", 1, set()),
        ("empty", 1, set()), ("short-length", 1, set()),
    ],
)  # fmt: skip
def test_what_is_not_the_published_file_never_gets_its_name(kind, asked, kept, address, tmp_path, fault):
    old = tmp_path / "set" / "a.nii.gz"
    old.parent.mkdir()
    old.write_bytes(b"old")
    with pytest.raises(WorkFailed, match=r"could not get 1; first: set/a.nii.gz") as caught:
        fetch_from(address, kind, tmp_path)
    assert caught.value.exit_code == 1
    assert old.read_bytes() == b"old" and parts(tmp_path) == {"a.nii.gz", *kept}
    assert BadHandler.asked[kind] == asked
    fault("bad server: flairnb fetch", kind, str(caught.value).replace(address, "http://server"), "refused")


@pytest.mark.parametrize("kind", ["loop", "to-file", "error"])
def test_a_server_that_leads_nowhere_is_a_failure(kind, address, tmp_path, fault):
    with pytest.raises(WorkFailed, match="Check the connection or give --mirror") as caught:
        fetch_from(address, kind, tmp_path)
    assert parts(tmp_path) == set()
    said = str(caught.value).replace(address, "http://server").replace("file:" + "///", "file: ")
    fault("bad server: flairnb fetch", kind, said, "refused")


def test_a_broken_download_goes_on_where_it_broke(address, tmp_path):
    assert fetch_from(address, "range", tmp_path)[0].status == "fetched"
    assert (tmp_path / "set" / "a.nii.gz").read_bytes() == CONTENT and parts(tmp_path) == {"a.nii.gz"}
    etag = f'"{hashlib.md5(CONTENT).hexdigest()}"'
    assert BadHandler.ranges == [("", ""), (f"bytes={HALF}-", etag)]


def test_the_next_call_goes_on_where_the_last_one_gave_up(address, tmp_path):
    with pytest.raises(WorkFailed):
        fetch_from(address, "range-piecemeal", tmp_path)  # 30000 bytes a connection, 24576 of them in whole reads
    assert (tmp_path / "set" / ".a.nii.gz.part").stat().st_size == 3 * 24576
    assert fetch_from(address, "range-piecemeal", tmp_path)[0].status == "fetched"
    assert (tmp_path / "set" / "a.nii.gz").read_bytes() == CONTENT and parts(tmp_path) == {"a.nii.gz"}
    assert [first for first, _ in BadHandler.ranges] == ["", "bytes=24576-", "bytes=49152-", "bytes=73728-"]


@pytest.mark.parametrize("kind", ["range-no-etag", "range-weak"])
def test_without_a_strong_validator_the_hash_decides(kind, address, tmp_path):
    assert fetch_from(address, kind, tmp_path)[0].status == "fetched"
    assert BadHandler.ranges[1] == (f"bytes={HALF}-", "")


@pytest.mark.parametrize("kind", ["range-changed", "range-changed-careless", "range-changed-no-etag", "range-astray"])
def test_parts_of_two_files_are_never_put_together(kind, address, tmp_path, fault):
    """The server's file changes between the two halves, or its ranges are wrong."""
    if kind == "range-astray":
        assert fetch_from(address, kind, tmp_path)[0].status == "fetched"
        assert (tmp_path / "set" / "a.nii.gz").read_bytes() == CONTENT
        fault("bad server: flairnb fetch", kind, "begun again; the published file arrives", "works")
        return
    with pytest.raises(WorkFailed, match="sha256 is"):
        fetch_from(address, kind, tmp_path)
    assert parts(tmp_path) == set()
    fault("bad server: flairnb fetch", kind, "begun again, and refused: not the published file", "refused")


def test_a_part_that_is_whole_already_is_not_asked_for(address, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".a.nii.gz.part").write_bytes(CONTENT)
    assert fetch_from(address, "range", tmp_path)[0].status == "fetched"
    assert BadHandler.asked == {} and parts(tmp_path) == {"a.nii.gz"}


@pytest.mark.parametrize("rest", [b"x" * (len(CONTENT) - 1), b"x" * len(CONTENT), b"x" * (len(CONTENT) + 9), b"x"])
def test_a_part_of_something_else_is_begun_again(rest, address, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".a.nii.gz.part").write_bytes(rest)
    BadHandler.asked["range"] = 1  # answer whole from now on
    assert fetch_from(address, "range", tmp_path)[0].status == "fetched"
    assert (tmp_path / "set" / "a.nii.gz").read_bytes() == CONTENT and parts(tmp_path) == {"a.nii.gz"}


def test_more_than_the_declared_size_is_never_taken(address, tmp_path):
    assert fetch_from(address, "good", tmp_path / "exact", len(CONTENT))[0].status == "fetched"
    with pytest.raises(WorkFailed, match=f"expected the published {len(CONTENT)} bytes, the server sends {len(CONTENT) + 4}"):
        fetch_from(address, "long", tmp_path / "long", len(CONTENT))
    assert parts(tmp_path / "long") == set()


def test_an_endless_file_is_stopped_at_the_limit(address, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "LIMIT_BYTES", 200_000)
    with pytest.raises(WorkFailed, match="expected at most 200000 bytes"):
        fetch_from(address, "endless", tmp_path)
    assert parts(tmp_path) == set()


def test_two_fetches_of_one_file_do_not_write_into_each_other(address, tmp_path):
    import fcntl

    (tmp_path / "set").mkdir()
    with (tmp_path / "set" / ".a.nii.gz.part").open("wb") as stream:
        stream.write(CONTENT[:5])
        stream.flush()
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(WorkFailed, match="another fetch is at work"):
            fetch_from(address, "good", tmp_path)
    assert (tmp_path / "set" / ".a.nii.gz.part").read_bytes() == CONTENT[:5]
    assert fetch_from(address, "good", tmp_path)[0].status == "fetched"
