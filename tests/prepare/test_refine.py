"""The surface moves to where the intensities change."""

import numpy as np
import pytest
from scipy import ndimage

from flairnb.prepare.refine import Refinement, clean_shape, largest_part, refine_brain, signed_distance


def ball(radius, spacing=3.0, n=57, centre=None):
    centre = np.full(3, n // 2) if centre is None else np.asarray(centre)
    index = np.indices((n, n - 2, n + 2))
    return np.sqrt(sum(((index[a] - centre[a]) * spacing) ** 2 for a in range(3))) < radius


def test_too_small_and_shifted_prior_grows_to_the_true_surface(rng):
    brain, prior = ball(60), ball(54, centre=(27, 28, 29))
    image = np.where(brain, 0.6, np.where(ball(70), 0.05, 0.4)) + rng.normal(0, 0.03, brain.shape)
    out = refine_brain([np.clip(image, 0, 1)], prior.astype(np.float32), 3.0) > 0.5
    dice_before = 2 * (prior & brain).sum() / (prior.sum() + brain.sum())
    dice_after = 2 * (out & brain).sum() / (out.sum() + brain.sum())
    assert dice_before < 0.95 < 0.985 < dice_after


def test_eye_joined_by_a_thin_nerve_is_cut_off(rng):
    brain, eye = ball(55), ball(8, centre=(28, 52, 28))
    nerve = np.zeros_like(brain)
    nerve[28, 44:52, 28] = True
    image = np.where(brain | eye | nerve, 0.6, 0.1) + rng.normal(0, 0.03, brain.shape)
    out = refine_brain([np.clip(image, 0, 1)], brain.astype(np.float32), 3.0) > 0.5
    assert not out[eye & ~brain].any()


def test_prior_without_core_is_returned_unchanged():
    prior = np.zeros((17, 18, 19), np.float32)
    prior[8, 8, 8] = 1
    np.testing.assert_array_equal(refine_brain([np.zeros(prior.shape)], prior, 3.0), prior)


def test_signed_distance_is_exact_for_a_slab():
    mask = np.zeros((3, 4, 12), bool)
    mask[:, :, 4:9] = True
    expected = 2.0 * np.array([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5])
    np.testing.assert_allclose(signed_distance(mask, 2.0)[1, 1], expected)


def test_cleaning_fills_holes_and_keeps_one_part():
    mask = ball(50)
    mask[28, 27, 29] = False
    mask[1:3, 1:3, 1:3] = True
    out = clean_shape(mask, 3.0, Refinement())
    assert out[28, 27, 29] and not out[1, 1, 1]
    assert ndimage.label(out)[1] == 1


def test_largest_part_of_nothing_is_nothing():
    assert not largest_part(np.zeros((3, 4, 5), bool)).any()


@pytest.mark.parametrize("channels", [1, 2])
def test_refinement_repeats_bit_for_bit(rng, channels):
    images = [rng.random((31, 32, 33)).astype(np.float32) for _ in range(channels)]
    prior = ball(40, 3.0, 33)[:31, :31, :33]
    images = [i[:31, :31, :33] for i in images]
    a, b = (refine_brain(images, prior.astype(np.float32), 3.0) for _ in range(2))
    np.testing.assert_array_equal(a, b)
