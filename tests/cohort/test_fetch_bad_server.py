"""Fetching from a server that cuts off, stalls, lies and redirects."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from flairnb.cohort import fetch
from flairnb.errors import WorkFailed

CONTENT = b"\x1f\x8b" + bytes(range(256)) * 400


class BadHandler(BaseHTTPRequestHandler):
    """Do on each path what its name says; `asked` counts requests by path."""

    asked: ClassVar[dict[str, int]] = {}
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def do_GET(self):
        kind = self.path.strip("/")
        count = self.asked[kind] = self.asked.get(kind, 0) + 1
        self.close_connection = True
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
                self.end_headers()
            case "error":
                self.send_error(503)
            case "nonsense":
                self.wfile.write(b"no HTTP at all\r\n\r\n")
            case _:
                self.answer(CONTENT)

    def start(self, length: int):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, content: bytes):
        self.start(len(content))
        self.wfile.write(content)


@pytest.fixture
def address(monkeypatch):
    BadHandler.asked.clear()
    monkeypatch.setattr(fetch, "SILENCE_S", 0.4)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), BadHandler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def fetch_from(address: str, kind: str, folder: Path) -> list[fetch.Fetched]:
    row = ("set", "set/a.nii.gz", f"{address}/{kind}", hashlib.sha256(CONTENT).hexdigest(), "MIT", "nobody", "image")
    return fetch.fetch_dataset("set", pd.DataFrame([row], columns=list(fetch.REGISTRY_COLUMNS)), folder)


@pytest.mark.parametrize("kind", ["good", "moved", "cut-twice"])
def test_what_arrives_whole_in_the_end_is_used(kind, address, tmp_path):
    assert [r.status for r in fetch_from(address, kind, tmp_path)] == ["fetched"]
    assert (tmp_path / "set" / "a.nii.gz").read_bytes() == CONTENT
    assert len(list((tmp_path / "set").iterdir())) == 1


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("cut", 3), ("stall", 3), ("nonsense", 3), ("long", 1), ("lie", 1), ("page", 1), ("empty", 1), ("short-length", 1)],
)
def test_what_is_not_the_published_file_never_gets_its_name(kind, asked, address, tmp_path):
    old = tmp_path / "set" / "a.nii.gz"
    old.parent.mkdir()
    old.write_bytes(b"old")
    with pytest.raises(WorkFailed, match=r"could not get 1; first: set/a.nii.gz") as caught:
        fetch_from(address, kind, tmp_path)
    assert caught.value.exit_code == 1
    assert old.read_bytes() == b"old" and len(list(old.parent.iterdir())) == 1
    assert BadHandler.asked[kind] == asked


@pytest.mark.parametrize("kind", ["loop", "to-file", "error"])
def test_a_server_that_leads_nowhere_is_a_failure(kind, address, tmp_path):
    with pytest.raises(WorkFailed, match="Check the connection or give --mirror"):
        fetch_from(address, kind, tmp_path)
    assert not (tmp_path / "set" / "a.nii.gz").exists()
