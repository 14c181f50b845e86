"""Shared fixtures. Shapes are odd, voxels anisotropic, affines oblique: cubes and identities hide mistakes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")


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


@pytest.fixture(scope="session")
def fabricated():
    """Return fabricated scores of 92 cases, 19 diseases, 16 scanner models and seven methods; see tests/fabricated.py."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("fabricated", Path(__file__).with_name("fabricated.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["fabricated"] = module
    spec.loader.exec_module(module)
    return module.fabricate()
