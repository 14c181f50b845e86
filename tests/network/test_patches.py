from __future__ import annotations

import numpy as np

from flairnb.network.patches import LesionLoad, sample_patch_corners

SHAPE = (40, 51, 37)


def counts(corners, patch, lesions):
    """Count by hand, voxel by voxel."""
    offsets = [np.rint(lesions) - corner for corner in corners]
    return np.array([np.count_nonzero(((offset >= 0) & (offset < patch)).all(axis=1)) for offset in offsets])


def test_running_sums_count_what_counting_by_hand_does(rng):
    lesions = rng.normal(12, 9, (300, 3))  # some of them outside of the volume, some in the same voxel
    corners = rng.integers(-30, 50, (200, 3))
    for patch in (1, 5, 16, 70):
        assert [LesionLoad(lesions).count(corner, patch) for corner in corners] == counts(corners, patch, lesions).tolist()
    assert LesionLoad(np.empty((0, 3))).count((1, 2, 3), 16) == 0


def test_half_of_the_patches_hold_lesion_and_half_do_not(rng):
    lesions = np.argwhere(np.indices(SHAPE).sum(0) < 9)
    corners = sample_patch_corners(rng, SHAPE, 16, lesions, 80, 0.5)
    held = counts(corners, 16, lesions)
    assert (held[:40] > 0).all()
    assert (held[40:] == 0).all()


def test_an_odd_number_is_balanced_on_average(rng):
    lesions = np.array([[20, 20, 20]])
    held = [counts(sample_patch_corners(rng, SHAPE, 8, lesions, 1, 0.5), 8, lesions)[0] for _ in range(400)]
    assert 0.4 < np.mean(held) < 0.6


def test_a_healthy_brain_gives_lesion_free_patches_only(rng):
    corners = sample_patch_corners(rng, SHAPE, 16, np.empty((0, 3)), 10, 0.5)
    assert corners.shape == (10, 3)
    assert (corners >= 0).all()
    assert (corners + 16 <= SHAPE).all()


def test_a_lesion_can_be_anywhere_in_its_patch(rng):
    lesions = np.array([[20, 25, 18]])
    corners = sample_patch_corners(rng, SHAPE, 16, lesions, 400, 1.0)
    at = lesions - corners
    assert at.min() == 0
    assert at.max() == 15


def test_where_every_patch_holds_lesion_the_least_is_taken(rng):
    lesions = np.argwhere(np.indices((20, 20, 20))[0] < 20)
    corners = sample_patch_corners(rng, (20, 20, 20), 16, lesions, 6, 0.0)
    assert (counts(corners, 16, lesions) < 16**3 * 0.75).all()


def test_a_volume_smaller_than_the_patch_lies_inside_it(rng):
    corners = sample_patch_corners(rng, (7, 8, 9), 16, np.array([[3, 3, 3]]), 20, 1.0)
    assert (corners <= 0).all()
    assert (corners + 16 >= (7, 8, 9)).all()
