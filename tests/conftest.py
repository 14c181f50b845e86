"""Shared fixtures. Shapes are odd, voxels anisotropic, affines oblique: cubes and identities hide mistakes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")


#: What tests that try to break something found: fault, case, times tried, result, what happened. See `make faults`.
FAULTS: list[list[object]] = []
FAULTS_HEADER = ("fault", "case", "tried", "result", "what happened")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what tests report of faults (also from other workers); a test that fails is a row too."""
    if report.when == "call":
        FAULTS.extend(list(value) for name, value in report.user_properties if name == "fault")
    if report.failed:
        FAULTS.append(["a test failed", report.nodeid.rpartition("/")[2], 1, "FAILED", ""])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table of faults where FLAIRNB_FAULTS_TABLE says, and its summary into the README beside it."""
    path = os.environ.get("FLAIRNB_FAULTS_TABLE")
    if not path or hasattr(session.config, "workerinput"):
        return
    from flairnb.report.appendix import update_faults

    update_faults(Path(path), [FAULTS_HEADER, *FAULTS])


#: Tests that one worker does, one after the other: they share a server, a run of the notebooks, or the time of both cores.
TOGETHER = ("tests/browser/", "tests/notebooks/test_smoke_run.py", "tests/faults/test_killed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keep `TOGETHER` together by their paths: with pytest 9.2, xdist 3.8 no longer sees its own mark for that (`xdist_group`)."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPath(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((start for start in TOGETHER if nodeid.startswith(start)), nodeid)

    return ByPath(config, log)


@pytest.fixture
def fault(record_property: Callable) -> Callable[..., None]:
    """Return a function that reports what was tried and what happened, for the table of faults."""

    def _fault(kind: str, case: str, what: str, result: str, tried: int = 1) -> None:
        record_property("fault", [kind, case, int(tried), result, " ".join(what.split())])

    return _fault


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 512 KB of its own; skips where none may be made."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small disk takes the rights to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[..., BaseHTTPRequestHandler]], str]]:
    """Return a function that starts a server on this machine with a handler and returns its address; all end with the test."""
    servers = []

    def _serve(handler: Callable[..., BaseHTTPRequestHandler]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True  # a client that went away may leave one waiting
        server.handle_error = lambda *_request: None  # that it went away is what some tests are about
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield _serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines: tests need no network, and must not begin to."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("localhost", "127.0.0.1", "::1"):
            raise OSError(f"tests may not use the network; this one asked for {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded generator."""
    return np.random.default_rng(42)


@pytest.fixture
def oblique_affine() -> np.ndarray:
    """Return an oblique, anisotropic (0.9, 1.1, 5.0 mm) affine with flipped i axis."""
    angle = np.deg2rad(11.0)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-0.9, 1.1, 5.0])
    affine[:3, 3] = (90.0, -110.0, -40.0)
    return affine


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Return the folder of real images, or skip where it is absent."""
    root = Path(os.environ.get("FLAIRNB_REALDATA", Path(__file__).resolve().parents[2] / "shared" / "realdata"))
    if not root.is_dir():
        pytest.skip("real images are absent: set FLAIRNB_REALDATA to a folder as data_manifest/README.md describes")
    return root


def load_module(name: str, path: Path):
    """Load a file of helpers beside the tests, which are no package, under a name."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fabricated():
    """Return fabricated scores of 92 cases, 19 diseases, 16 scanner models and seven methods; see tests/fabricated.py."""
    return load_module("fabricated", Path(__file__).with_name("fabricated.py")).fabricate()


@pytest.fixture(scope="session")
def synthetic_heads():
    """Return the module that makes the synthetic heads of tests/baselines."""
    return load_module("synthetic_heads", Path(__file__).with_name("baselines") / "conftest.py")
