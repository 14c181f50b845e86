"""Tiny networks and volumes: width 2, two levels, patches of 16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.network import onednn
from flairnb.network.volumes import VolumeRecord
from flairnb.settings import NetworkSettings, Settings, load


@pytest.fixture(scope="session", autouse=True)
def fast_tensorflow() -> None:
    """Set the CPU options before the first import of TensorFlow."""
    onednn.configure()


@pytest.fixture
def tiny() -> NetworkSettings:
    """Return the paper's network, shrunk, with batch norm in the blocks."""
    return replace(load("paper").network, width=2, levels=2, norm_in_blocks="batch")


@pytest.fixture
def tiny_settings(tiny) -> Settings:
    """Return settings that train a tiny network within a second."""
    settings = load("smoke", "train.patch=16 train.patches_per_case=4 train.batch=3 train.epochs=4 train.ema_momentum=0.9 infer.patch=16")
    return replace(settings, network=tiny)


def blobs(seed: int, shape=(19, 22, 17), lesions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Make a noisy volume (simulated) with bright spheres, and their mask."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    mask = np.zeros(shape, dtype=np.uint8)
    for _ in range(lesions):
        centre = [rng.uniform(4, n - 4) for n in shape]
        mask |= (sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < rng.uniform(2, 3.5) ** 2).astype(np.uint8)
    return (rng.normal(size=shape) + 4 * mask).astype(np.float32), mask


@pytest.fixture
def volumes() -> list[VolumeRecord]:
    """Return three volumes, one of them without lesion."""
    return [VolumeRecord(f"case{n}", *blobs(n, lesions=count), spacing_mm=2.0) for n, count in enumerate((3, 2, 0))]
