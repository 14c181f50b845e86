"""A simulated head with skull, shared by the preparation's tests."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.images import Image


def ellipsoid(x, y, z, radii, centre=(0, 0, 0)):
    """Return the normalised radius of an ellipsoid at each point."""
    return np.sqrt(sum(((v - c) / r) ** 2 for v, c, r in zip((x, y, z), centre, radii, strict=True)))


def _simulated_head(shape, affine, contrast="flair", shift=None):
    """Return a simulated head (scalp, skull, CSF, grey, white, ventricles) sampled on a grid, and its brain."""
    index = np.indices(shape).reshape(3, -1)
    world = (affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    if shift is not None:
        world = (shift @ np.vstack([world, np.ones(world.shape[1])]))[:3]
    x, y, z = (v.reshape(shape) for v in world)
    levels = {"t1w": (0.9, 0.08, 0.2, 0.5, 0.8, 0.15), "flair": (0.5, 0.05, 0.1, 0.7, 0.55, 0.08)}[contrast]
    out = np.zeros(shape, np.float32)
    out[ellipsoid(x, y, z, (80, 98, 90)) < 1] = levels[0]
    out[ellipsoid(x, y, z, (74, 92, 84)) < 1] = levels[1]
    out[ellipsoid(x, y, z, (68, 86, 76)) < 1] = levels[2]
    brain = ellipsoid(x, y, z, (65, 83, 71)) < 1
    out[brain] = levels[3]
    out[ellipsoid(x, y, z, (58, 76, 62)) < 1 + 0.05 * np.sin(x / 7) * np.cos(y / 9)] = levels[4]
    out[ellipsoid(x, y, z, (10, 26, 12), (0, 5, 8)) < 1] = levels[5]
    # A face and a nose, so that front and back differ.
    out[(ellipsoid(x, y, z, (16, 24, 30), (0, 92, -45)) < 1) & (out == 0)] = levels[0]
    return 1000 * out, brain


@pytest.fixture(scope="session")
def simulated_head():
    """Return the function that samples a simulated head on a grid."""
    return _simulated_head


@pytest.fixture(scope="session")
def thick_affine():
    """Return an oblique thick-slice affine (2.1, 2.3, 6.0 mm), i flipped."""
    a, b = np.deg2rad(8.0), np.deg2rad(-5.0)
    pitch = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    roll = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = pitch @ roll @ np.diag([-2.1, 2.3, 6.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array([83, 97, 33]) - 1) / 2)
    return affine


@pytest.fixture(scope="session")
def head(thick_affine):
    """Return a simulated FLAIR of a head with skull (thick, oblique slices) and its true brain."""
    data, brain = _simulated_head((83, 97, 33), thick_affine)
    noise = np.random.default_rng(3).normal(0, 8, data.shape)
    return Image(np.abs(data + noise).astype(np.float32), thick_affine), brain
