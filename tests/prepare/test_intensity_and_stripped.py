"""Wrapped, negative and stripped intensities."""

import numpy as np
import pytest

from flairnb.images import Image
from flairnb.prepare.intensity import head_mask, otsu, tame
from flairnb.prepare.stripped import looks_stripped, stripped_mask


def test_wrapped_voxels_become_background(rng):
    data = rng.uniform(100, 800, (7, 8, 9)).astype(np.float32)
    data[:, :, -1] = 65535
    out = tame(data)
    assert (out[:, :, -1] == 0).all()
    assert out[:, :, :-1].max() == 1.0
    assert np.median(out[:, :, :-1]) == pytest.approx(0.5, abs=0.1)


def test_tamed_image_lies_between_zero_and_one_and_ignores_negatives(rng):
    data = rng.normal(0, 50, (9, 8, 7)).astype(np.float32)
    out = tame(data)
    assert out.min() == 0.0 and out.max() == 1.0
    assert (out[data <= 0] == 0).all()


def test_constant_image_gives_zeros():
    assert not tame(np.zeros((7, 8, 9))).any()


def test_otsu_splits_two_peaks(rng):
    data = np.concatenate([rng.normal(1, 0.2, 500), rng.normal(7, 0.2, 300)])
    assert 1.5 < otsu(data) < 6.5


def test_head_mask_fills_the_dark_skull(head):
    image, brain = head
    mask = head_mask(tame(image.data))
    assert mask[brain].mean() > 0.99
    assert not mask[0, 0, 0]


def brain_only():
    shape = (81, 97, 37)
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    i, j, k = np.indices(shape)
    r = np.sqrt(((i - 40) * 2 / 65) ** 2 + ((j - 48) * 2 / 80) ** 2 + ((k - 18) * 5 / 70) ** 2)
    return shape, affine, r < 1, (np.abs(i - 40) < 4) & (np.abs(j - 48) < 12) & (np.abs(k - 18) < 3)


def test_stripped_mask_ignores_negative_background_and_fills_ventricles(rng):
    shape, affine, brain, ventricle = brain_only()
    data = np.where(brain, 100.0, 0.0) + np.where(brain, rng.normal(0, 5, shape), 0)
    data[ventricle] = 0.0
    ring = rng.random(shape) < 0.3
    data[~brain & ring] = rng.uniform(-1.0, 0.5, int((~brain & ring).sum()))
    mask = stripped_mask(Image(data.astype(np.float32), affine))
    np.testing.assert_array_equal(mask, brain)


def test_stripped_brain_is_recognised_and_a_head_is_not(head):
    _shape, affine, brain, _ = brain_only()
    assert looks_stripped(Image(np.where(brain, 90, 0).astype(np.float32), affine))
    assert not looks_stripped(head[0])


def test_empty_image_gives_an_empty_mask():
    assert not stripped_mask(Image(np.zeros((7, 8, 9), np.float32), np.eye(4))).any()
