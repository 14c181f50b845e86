"""Lesions at the brain's surface: a ball of known radius, anisotropic and oblique grids, a cut-off field of view."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.network.rim import at_the_rim

SPACING = np.array([1.0, 1.5, 3.0])
SHAPE = (61, 41, 21)


def at_mm() -> np.ndarray:
    """Return (3, I, J, K) mm from the middle."""
    middle = (np.array(SHAPE) - 1) / 2
    return (np.indices(SHAPE) - middle.reshape(3, 1, 1, 1)) * SPACING.reshape(3, 1, 1, 1)


@pytest.fixture
def ball() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A brain of 28 mm radius, the radius of each voxel, and an oblique affine."""
    radius = np.sqrt((at_mm() ** 2).sum(0))
    turn, _ = np.linalg.qr(np.array([[1, 0.2, 0.1], [-0.2, 1, 0.3], [0, -0.3, 1.0]]))
    affine = np.eye(4)
    affine[:3, :3] = turn * SPACING
    return radius < 28, radius, affine


def speck(from_mm: float, to_mm: float) -> np.ndarray:
    """Return a rod along the first axis, between two distances from the middle."""
    x, y, z = at_mm()
    return (x >= from_mm) & (x <= to_mm) & (np.abs(y) < 1) & (np.abs(z) < 2)


def test_only_what_stays_near_the_border_is_left_out_as_a_whole(ball):
    brain, _, affine = ball
    shallow, deep, reaching = speck(24, 27), np.roll(speck(5, 9), 8, axis=1) & brain, np.roll(speck(-27, -18), -8, axis=1) & brain
    found = at_the_rim(shallow | deep | reaching, brain, affine, 5.0)
    np.testing.assert_array_equal(found, shallow)


@pytest.mark.parametrize("depth", [2.2, 3.5, 6.3])
def test_it_is_the_deepest_voxel_that_counts_by_brute_force(ball, depth):
    brain, _, affine = ball
    outside = np.argwhere(~brain) * SPACING
    for start in range(16, 28):
        mask = speck(start, 27) & brain
        depths = [np.sqrt((((outside - voxel * SPACING) ** 2).sum(1)).min()) for voxel in np.argwhere(mask)]
        assert at_the_rim(mask, brain, affine, depth).any() == (max(depths) <= depth), start


def test_voxels_that_share_a_corner_are_one_lesion(ball):
    brain, _, affine = ball
    mask = np.zeros(SHAPE, dtype=bool)
    for n in range(8):
        mask[56 - n, 20 - n, 10] = True  # a diagonal from the surface inwards
    assert not at_the_rim(mask & brain, brain, affine, 5.0).any()


def test_the_edge_of_the_image_is_no_border_of_the_brain(ball):
    _, _, affine = ball
    brain = np.ones(SHAPE, dtype=bool)
    for at in ((0, 20, 10), (0, 0, 0), tuple(n - 1 for n in SHAPE)):
        mask = np.zeros(SHAPE, dtype=bool)
        mask[at] = True
        assert not at_the_rim(mask, brain, affine, 5.0).any(), at


def test_nothing_is_left_out_without_a_depth_or_without_lesions(ball):
    brain, _, affine = ball
    assert not at_the_rim(speck(24, 27), brain, affine, 0.0).any()
    assert not at_the_rim(np.zeros(SHAPE, dtype=bool), brain, affine, 5.0).any()
