"""The surface moves to where the intensities change."""

import numpy as np
import pytest
from scipy import ndimage

from flairnb.geometry import Grid, isotropic_grid
from flairnb.prepare.refine import (
    Refinement,
    Surface,
    clean_shape,
    largest_part,
    move_surface,
    refine_brain,
    signed_distance,
    template_surface,
    to_probability,
    without_fluid,
)
from flairnb.resampling import resample


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def refined(images, prior, edge=3.0):
    """Refine in both steps, the images being sampled for each; the brain on the prior's own voxels."""
    grid = Grid(prior.shape, np.diag([edge, edge, edge, 1.0]))
    probability, fine = refine_brain(lambda on: ([resample(image, grid.affine, on) for image in images], None), prior, grid)
    return resample(probability, fine.affine, grid) > 0.5


def ball(radius, spacing=3.0, n=57, centre=None):
    centre = np.full(3, n // 2) if centre is None else np.asarray(centre)
    index = np.indices((n, n - 2, n + 2))
    return np.sqrt(sum(((index[a] - centre[a]) * spacing) ** 2 for a in range(3))) < radius


def test_too_small_and_shifted_prior_grows_to_the_true_surface(rng):
    brain, prior = ball(60), ball(54, centre=(27, 28, 29))
    image = np.where(brain, 0.6, np.where(ball(70), 0.05, 0.4)) + rng.normal(0, 0.03, brain.shape)
    out = refined([np.clip(image, 0, 1)], prior)
    dice_before = 2 * (prior & brain).sum() / (prior.sum() + brain.sum())
    dice_after = 2 * (out & brain).sum() / (out.sum() + brain.sum())
    assert dice_before < 0.95 < 0.985 < dice_after


def test_eye_joined_by_a_thin_nerve_is_cut_off(rng):
    brain, eye = ball(55), ball(8, centre=(28, 52, 28))
    nerve = np.zeros_like(brain)
    nerve[28, 44:52, 28] = True
    image = np.where(brain | eye | nerve, 0.6, 0.1) + rng.normal(0, 0.03, brain.shape)
    out = refined([np.clip(image, 0, 1)], brain)
    assert not out[eye & ~brain].any()


def atrophied_head(rng):
    """A brain of 48 mm in fluid of 60 mm, dark bone and bright scalp around; a ventricle, a narrow sulcus, a lesion at the surface."""
    brain, skull = ball(48), ball(60)
    index = np.indices(brain.shape)
    sulcus = brain & ~ball(36) & (abs(index[1] - 27) < 1) & (index[0] > 28)
    fluid = (skull & ~brain) | ball(12) | sulcus
    lesion = brain & ball(9, centre=(28, 14, 28))
    t1w = np.where(fluid | lesion, 0.15, np.where(brain, 0.7, np.where(ball(66), 0.05, 0.9)))
    flair = np.where(fluid, 0.1, np.where(lesion, 0.9, np.where(brain, 0.5, np.where(ball(66), 0.05, 0.6))))
    noise = [rng.normal(0, 0.02, brain.shape) for _ in range(2)]
    return brain, lesion, sulcus, [np.clip(t1w + noise[0], 0, 1), np.clip(flair + noise[1], 0, 1)]


@pytest.mark.parametrize("noise", [0.02, 0.12, 0.2])
def test_noise_makes_no_gaps_in_a_brain(noise, rng):
    """Noise of a fifth of the brain's mean in a FLAIR alone: single dark voxels are no fluid, the fluid around the brain is.

    Averaging moves the surface by half a millimetre at most, of a ball of 48.
    """
    brain, prior = ball(48, spacing=1.5, n=77), ball(54, spacing=1.5, n=77)
    image = np.hypot(np.where(brain, 0.5, 0.08) + rng.normal(0, 0.5 * noise, brain.shape), rng.normal(0, 0.5 * noise, brain.shape))
    kept = without_fluid(prior, [image], signed_distance(prior, 1.5), 1.5, Refinement())
    assert overlap(kept, brain) > 0.98
    assert (kept & brain).sum() > (1 - 0.5 / 48) ** 3 * brain.sum()


def test_fluid_around_an_atrophied_brain_comes_off_and_what_it_encloses_stays(rng):
    brain, lesion, sulcus, images = atrophied_head(rng)
    prior = ball(57)
    kept = without_fluid(prior, images, signed_distance(prior, 3.0), 3.0, Refinement())
    dice = 2 * (kept & brain).sum() / (kept.sum() + brain.sum())
    assert 2 * (prior & brain).sum() / (prior.sum() + brain.sum()) < 0.8 and dice > 0.97
    assert kept[lesion].all() and kept[ball(12)].all() and kept[sulcus & ball(42)].all()


def test_two_priors_end_in_one_mask_where_fluid_surrounds_the_brain(rng):
    _, _, _, images = atrophied_head(rng)
    tight, wide = (refined(images, ball(radius)) for radius in (50, 57))
    assert overlap(tight, wide) > 0.99


def test_two_priors_end_in_one_mask_on_a_flair_alone(rng):
    brain, _, _, images = atrophied_head(rng)
    tight, wide = (refined(images[1:], ball(radius)) for radius in (50, 57))
    assert overlap(tight, wide) > 0.99 and overlap(tight, brain) > 0.97


def test_bright_tissue_behind_dark_bone_comes_off_a_flair_alone(rng):
    brain, neck = ball(48), ball(15, centre=(28, 5, 28))
    image = np.where(brain, 0.5, np.where(neck, 0.45, 0.05)) + rng.normal(0, 0.02, brain.shape)
    out = refined([np.clip(image, 0, 1)], brain | neck | ball(51))
    assert not out[neck].any() and overlap(out, brain) > 0.97


@pytest.mark.parametrize(("edge", "rim"), [(1.0, 1.0), (2.0, 1.0), (1.5, 4.0), (3.0, 0.0)])
def test_the_rim_is_given_back_to_the_millimetre(rng, edge, rim):
    mask = ndimage.gaussian_filter(rng.normal(size=(24, 21, 27)), 2.0) > 0
    expected = np.clip(0.5 + 0.5 * (signed_distance(mask, edge) + rim) / edge, 0, 1)
    np.testing.assert_allclose(to_probability(mask, edge, Refinement(rim_mm=rim)), expected, atol=1e-5)


def test_a_wrong_turn_on_coarse_voxels_is_taken_back_by_the_template():
    template, wrong = ball(48), ball(48) | ball(12, centre=(28, 9, 28))
    images = [np.full(template.shape, 0.5)]  # says nothing: the distances alone decide
    grid = Grid(template.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    right, misled = signed_distance(template, 3.0), signed_distance(wrong, 3.0)
    stays = move_surface(images, Surface(grid, misled, misled), Refinement())
    back = move_surface(images, Surface(grid, misled, right), Refinement())
    assert (stays & ~template).sum() > 3 * (back & ~template).sum() and overlap(back, template) > 0.98


def test_a_surface_keeps_its_place_on_another_grid():
    grid = Grid((12, 13, 14), np.array([[2.0, 0, 0, -5], [0, 2, 0, 3], [0, 0, 2, 7], [0, 0, 0, 1]]))
    plane = (np.indices(grid.shape)[0] * 2.0 - 5).astype(np.float32)  # mm from x = 0
    fine = isotropic_grid(grid.shape, grid.affine, 1.0)
    found = Surface(grid, plane, -plane).on(fine)
    x = (fine.affine @ np.array([*np.indices(fine.shape).reshape(3, -1), np.ones(np.prod(fine.shape))]))[0].reshape(fine.shape)
    inside = (slice(1, -1),) * 3
    np.testing.assert_allclose(found.distance[inside], x[inside], atol=1e-4)
    np.testing.assert_allclose(found.template, -found.distance, atol=1e-4)


@pytest.mark.parametrize(("edge", "finer"), [(3.0, 1.5), (1.0, 1.0)])
def test_the_second_look_has_half_the_voxel_and_finds_the_surface_better(rng, edge, finer):
    shape, middle = (int(150 / edge), int(144 / edge), int(156 / edge)), np.array([74.0, 71.0, 77.0])
    asked = []

    def channels(grid):
        asked.append(grid)
        at = np.tensordot(grid.affine[:3, :3], np.indices(grid.shape), 1) + grid.affine[:3, 3, None, None, None]
        radius = np.sqrt(((at - middle[:, None, None, None]) ** 2).sum(0))
        image = np.where(radius < 50.4, 0.6, np.where(radius < 62, 0.05, 0.4)) + rng.normal(0, 0.02, grid.shape)
        return [np.clip(image, 0, 1)], None

    grid = Grid(shape, np.diag([edge, edge, edge, 1.0]))
    at = np.indices(shape) * edge
    prior = (np.sqrt(((at - middle[:, None, None, None] - 3) ** 2).sum(0)) < 47).astype(np.float32)
    probability, fine = refine_brain(channels, prior, grid)
    assert fine is asked[-1] and np.allclose(fine.spacing_mm, finer)
    volume = (probability > 0.5).sum() * finer**3 / 1000
    with_rim = 4 / 3 * np.pi * (50.4 + Refinement().rim_mm) ** 3 / 1e6
    assert abs(volume / 1000 / with_rim - 1) < 0.03
    box, start = template_surface(prior, grid, Refinement())
    assert start.distance.shape == prior[box].shape


def test_where_the_first_image_has_no_data_the_second_says_what_is_fluid(rng):
    brain, _, _, images = atrophied_head(rng)
    covered = np.ones(brain.shape, dtype=bool)
    covered[:, :, 30:] = False
    images[0] = np.where(covered, images[0], 0)
    prior = ball(57)
    kept = without_fluid(prior, images, signed_distance(prior, 3.0), 3.0, Refinement(), covered)
    assert 2 * (kept & brain).sum() / (kept.sum() + brain.sum()) > 0.97


def test_without_a_core_no_fluid_is_looked_for():
    small = ball(8)
    images = [np.zeros(small.shape)] * 2
    np.testing.assert_array_equal(without_fluid(small, images, signed_distance(small, 3.0), 3.0, Refinement()), small)


def test_prior_without_core_is_returned_unchanged():
    prior = np.zeros((17, 18, 19), np.float32)
    prior[8, 8, 8] = 1
    grid = Grid(prior.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    out, same = refine_brain(lambda on: ([np.zeros(on.shape)], None), prior, grid)
    np.testing.assert_array_equal(out, prior)
    assert same is grid


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
    a, b = (refined(images, prior) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("spacing", [1.0, 1.7, 2.0, np.nextafter(2.0, 3), 4.0])
def test_clean_shape_opens_and_closes_by_balls_of_true_distance(rng, spacing):
    options = Refinement()
    mask = ndimage.gaussian_filter(rng.normal(size=(30, 27, 33)), 4.0 / spacing) > 0
    mask[:, :, 0] |= rng.random((30, 27)) < 0.5
    depth = ndimage.distance_transform_edt(mask) * spacing
    opened = largest_part(depth > options.opening_mm)
    kept = mask & (ndimage.distance_transform_edt(~opened) * spacing <= options.opening_mm)
    pad = int(np.ceil(options.closing_mm / spacing)) + 1
    grown = ndimage.distance_transform_edt(~np.pad(kept, pad)) * spacing <= options.closing_mm
    closed = (ndimage.distance_transform_edt(grown) * spacing > options.closing_mm)[pad:-pad, pad:-pad, pad:-pad]
    np.testing.assert_array_equal(clean_shape(mask, spacing, options), ndimage.binary_fill_holes(closed))
