"""Synthetic heads: the MNI152 maps seen through a known affine, with one bright lesion in white matter."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.baselines.atlas import load_atlas, mni_coordinates, to_head
from flairnb.baselines.case import BaselineCase
from flairnb.baselines.tissue import partial_volume
from flairnb.geometry import Grid
from flairnb.prepare.case import normalise
from flairnb.prepare.register import about, rotation

#: Intensities of CSF, grey matter, white matter, lesion.
FLAIR, T1W = (25.0, 125.0, 100.0, 210.0), (30.0, 80.0, 120.0, 72.0)
SHAPE, EDGE_MM = (45, 53, 44), 4.0


def head_grid() -> Grid:
    """Return a slightly turned grid of 4 mm over a head; its centre is the world's origin."""
    affine = np.eye(4)
    affine[:3, :3] = rotation((5.0, -3.0, 4.0)) * EDGE_MM
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return Grid(SHAPE, affine)


def known_map() -> np.ndarray:
    """Return the affine from the head's world to MNI world that the heads are made with."""
    return about((0, 0, 0), np.diag([1.04, 0.97, 1.02]) @ rotation((-3.0, 2.0, 1.0)), (1.0, -18.0, 6.0))


def make_head(seed: int = 0, centre=(28.0, -12.0, 26.0), radius_mm: float = 11.0, noise: float = 3.0):
    """Return FLAIR and T1w intensities, brain, lesion, the tissue posteriors, grid and map of one head."""
    rng = np.random.default_rng(seed)
    grid, to_mni = head_grid(), known_map()
    gm, wm = (to_head(m, grid, to_mni) for m in (load_atlas().gm, load_atlas().wm))
    place = mni_coordinates(grid, to_mni, np.ones(SHAPE, bool)).reshape(*SHAPE, 3)
    ventricle = (np.abs(place[..., 0]) < 22) & (np.abs(place[..., 1] + 10) < 35) & (np.abs(place[..., 2] - 12) < 12)
    brain = (gm + wm > 0.25) | ventricle
    posterior = np.stack([np.clip(1 - gm - wm, 0, 1), gm, wm]) * brain
    lesion = brain & (np.linalg.norm(place - np.array(centre), axis=-1) < radius_mm)
    images = []
    for levels in (FLAIR, T1W):
        image = np.tensordot(levels[:3], posterior, 1)
        image[lesion] = levels[3]
        images.append(np.where(brain, np.maximum(image + rng.normal(0, noise, SHAPE), 1), 0).astype(np.float32))
    return images[0], images[1], brain, lesion, posterior, grid, to_mni


def make_case(seed: int = 0, **more):
    """Return a `BaselineCase` of such a head and its lesion."""
    flair, t1w, brain, lesion, posterior, grid, to_mni = make_head(seed, **more)
    # A lesion is dark on T1w: a segmentation calls it grey matter.
    posterior[:, lesion] = np.array([0.0, 0.9, 0.1])[:, None]
    z, mean, sd = normalise(flair, brain)
    tissue = partial_volume(posterior, t1w, flair, brain)
    box = tuple(slice(0, n) for n in SHAPE)
    case = BaselineCase(z, brain, normalise(t1w, brain)[0], tissue, grid, to_mni, mean, sd, box, SHAPE)
    return case, lesion


@pytest.fixture(scope="session")
def heads():
    """Three heads with a lesion at other places each, as (case, lesion)."""
    return [make_case(1), make_case(2, centre=(-27.0, 8.0, 25.0)), make_case(3, centre=(26.0, -38.0, 28.0), radius_mm=13.0)]
