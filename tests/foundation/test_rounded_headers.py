"""A header's matrix holds 32 bits: what a limit in mm or ml decides must not hang on how an image is tilted."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from flairnb.evaluate.components import slice_axis, without_small
from flairnb.network.rim import at_the_rim
from flairnb.network.sharpen import smooth_thin

TILTS = range(0, 41)


@pytest.fixture(params=["about i", "about j", "about k"])
def read_back(request, tmp_path):
    """Return an image's affine after a tilt and a round trip through a NIfTI file."""
    first, second = {"about i": (1, 2), "about j": (2, 0), "about k": (0, 1)}[request.param]

    def affine(degrees, edges_mm):
        angle, matrix = np.deg2rad(degrees), np.eye(4)
        matrix[[first, first, second, second], [first, second, first, second]] = [
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        ]
        matrix[:3, :3] = matrix[:3, :3] @ np.diag(edges_mm)
        path = tmp_path / "image.nii"
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), matrix), path)
        return nib.load(path).affine

    return affine


def test_a_lesion_as_deep_as_the_rim_is_left_out_at_every_tilt(read_back):
    brain = np.zeros((20, 20, 14), dtype=bool)
    brain[2:18, 2:18, 2:12] = True
    top = np.zeros_like(brain)
    top[8:12, 8:12, 11] = True  # one slice of 5 mm below the border
    assert all(at_the_rim(top, brain, read_back(tilt, (1, 1, 5)), 5.0).any() for tilt in TILTS)
    assert not any(at_the_rim(np.roll(top, -1, 2), brain, read_back(tilt, (1, 1, 5)), 5.0).any() for tilt in TILTS)


def test_slices_of_exactly_2_mm_are_smoothed_at_every_tilt(read_back):
    probability = np.random.default_rng(1).random((6, 6, 6)).astype(np.float32)
    brain = np.ones(probability.shape, dtype=bool)
    for tilt in TILTS:
        edges = np.linalg.norm(read_back(tilt, (1, 1, 2))[:3, :3], axis=0)
        assert smooth_thin(probability, brain, edges, 1.0) is not probability
    assert smooth_thin(probability, brain, [1, 1, 2.01], 1.0) is probability


def test_a_lesion_of_exactly_the_smallest_volume_stays_at_every_tilt(read_back):
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, :5, :2] = True  # 10 voxels of 1 mm3
    mask[5, 0:3, 0:3] = True  # 9
    assert all(without_small(mask, read_back(tilt, (1, 1, 1)), 0.01).sum() == 10 for tilt in TILTS)


def test_in_plane_is_the_same_plane_at_every_tilt(read_back):
    for tilt in TILTS:
        affine = read_back(tilt, (1.5, 1, 1))
        assert slice_axis(affine) == int(np.argmax(np.abs(affine[2, :3]) / np.linalg.norm(affine[:3, :3], axis=0)))
