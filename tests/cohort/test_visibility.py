"""Which simulated lesions count as seen: closed forms on balls, and the generator's heads judged by another measure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flairnb.cohort.phantom.contrast import draw_contrast
from flairnb.cohort.phantom.tissue import Tissue
from flairnb.cohort.phantom.training import FAINTEST_SEEN, Sources, draw_head
from flairnb.cohort.phantom.visibility import DARKEST_TISSUE, surroundings, visible


def ball(shape, centre, radius):
    return sum((x - c) ** 2 for x, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


SHAPE = (41, 37, 33)
BRAIN = ball(SHAPE, (20, 18, 16), 15)
LEFT, RIGHT = ball(SHAPE, (14, 18, 16), 3), ball(SHAPE, (26, 18, 16), 3)


@pytest.mark.parametrize("level", [-1.0, 0.0, 0.8])
@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_each_lesion_is_judged_by_itself_whatever_the_level_of_the_tissue(level, spacing):
    image = np.where(BRAIN, level, 0).astype(np.float32)
    image[LEFT] += 0.8
    image[RIGHT] += 0.5
    np.testing.assert_array_equal(visible(image, LEFT | RIGHT, BRAIN, spacing, 0.6), LEFT)
    np.testing.assert_array_equal(visible(image, LEFT | RIGHT, BRAIN, spacing, 0.35), LEFT | RIGHT)
    assert not visible(image, LEFT | RIGHT, BRAIN, spacing, 0.85).any()


def test_noise_alone_is_not_seen(rng):
    """The brighter half of noise of SD 0.6 lies 0.48 above its mean."""
    noise = np.where(BRAIN, rng.normal(0, 0.6, SHAPE), 0).astype(np.float32)
    assert noise[LEFT][noise[LEFT] > np.median(noise[LEFT])].mean() > 0.4
    assert not visible(noise, LEFT | RIGHT, BRAIN, 1.0, 0.4).any()


def test_a_dark_lesion_is_not_seen_and_one_with_a_bright_rim_is_seen_whole():
    image = np.zeros(SHAPE, np.float32)
    ring = ball(SHAPE, (27, 18, 16), 5)
    image[LEFT | ring] = -2.0
    image[ring & ~ball(SHAPE, (27, 18, 16), 3)] = 1.5
    np.testing.assert_array_equal(visible(image, LEFT | ring, BRAIN, 1.0, 0.6), ring)


def test_touching_corners_make_one_lesion():
    faint, bright = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    faint[18:20, 18:20, 16:18], bright[20:24, 20:24, 18:22] = True, True
    image = np.where(bright, 2.0, 0.0).astype(np.float32)
    np.testing.assert_array_equal(visible(image, faint | bright, BRAIN, 1.0, 0.6), faint | bright)
    assert not visible(image, faint, BRAIN, 1.0, 0.6).any()


def test_nothing_outside_the_brain_and_nothing_of_nothing():
    outside = ball(SHAPE, (2, 2, 2), 1)
    image = np.where(outside, 5.0, 0.0).astype(np.float32)
    assert not visible(image, outside, BRAIN, 1.0, 0.5).any()
    assert not visible(image, np.zeros(SHAPE, bool), BRAIN, 1.0, 0.5).any()


def test_fluid_and_the_lesion_itself_do_not_count_as_surroundings():
    image = np.full(SHAPE, 0.3, np.float32)
    image[RIGHT] = DARKEST_TISSUE - 1
    image[LEFT] = 9.0
    np.testing.assert_allclose(surroundings(image, LEFT, BRAIN, 1.0), 0.3, atol=1e-5)


def test_surroundings_follow_a_slow_change_and_reach_into_a_large_lesion():
    ramp = np.broadcast_to(np.linspace(-1, 1, SHAPE[0], dtype=np.float32)[:, None, None], SHAPE).copy()
    everywhere, nothing = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    near = surroundings(ramp, nothing, everywhere, 3.0)  # SD of 2 voxels
    np.testing.assert_allclose(near[6:-6], ramp[6:-6], atol=1e-3)  # a thousandth of the weight is everything's mean
    halves = np.where(np.arange(SHAPE[0]) < 20, -1.0, 1.0)[:, None, None] * np.ones(SHAPE)
    wide = surroundings(halves.astype(np.float32), ball(SHAPE, (20, 18, 16), 13), everywhere, 3.0)
    assert abs(wide[20, 18, 16]) < 0.2 and wide[2, 18, 16] < -0.95 and wide[-3, 18, 16] > 0.95


def test_every_lesion_of_a_training_head_is_brighter_than_its_ring():
    """Another measure than the code's: the median of the ring 2 to 5 voxels outside, without dark voxels."""
    judged = 0
    for seed in range(8):
        head = draw_head(np.random.default_rng([77, seed]), Sources(), 3.0)
        lesions = head.mask > 0
        away = (head.image != 0) & ~ndimage.binary_dilation(lesions) & (head.image > DARKEST_TISSUE)
        labels, count = ndimage.label(lesions, np.ones((3, 3, 3)))
        for number in range(1, count + 1):
            one = labels == number
            ring = ndimage.binary_dilation(one, iterations=5) & away
            if one.sum() >= 10 and ring.sum() >= 20:
                values = np.sort(head.image[one])
                judged += 1
                assert values[len(values) // 2 :].mean() > np.median(head.image[ring]) + FAINTEST_SEEN[0] / 2
    assert judged >= 5


def test_lesions_outshine_cortex_in_most_contrasts(rng):
    """A lesion of full strength in white matter against healthy cortex."""
    draws = [draw_contrast(rng) for _ in range(200)]
    above = [c.lesion_excess > c.means[Tissue.GM] - 1 for c in draws]
    assert np.mean(above) > 0.85
