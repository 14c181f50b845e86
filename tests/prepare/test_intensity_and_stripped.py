"""Wrapped, negative and stripped intensities."""

import numpy as np
import pytest

from flairnb.images import Image
from flairnb.prepare.intensity import head_mask, is_wrapped, lift, otsu, tame
from flairnb.prepare.stripped import looks_stripped, stripped_mask


def test_wrapped_voxels_become_background(rng):
    data = rng.uniform(100, 800, (7, 8, 9)).astype(np.float32)
    data[:, :, -1] = 65535
    out = tame(data)
    assert (out[:, :, -1] == 0).all()
    assert out[:, :, :-1].max() == 1.0
    assert np.median(out[:, :, :-1]) == pytest.approx(0.5, abs=0.1)


def bright_head(rng, top):
    """A smooth blob from 0 to `top` with noise, brightest in its middle, and its intensities in the dark around it."""
    i, j, k = np.indices((41, 45, 23))
    r = np.sqrt(((i - 20) / 17) ** 2 + ((j - 22) / 19) ** 2 + ((k - 11) / 10) ** 2)
    return np.where(r < 1, top * (1 - 0.6 * r**2) + rng.normal(0, 0.01 * top, r.shape), rng.uniform(0, 0.01 * top, r.shape)), r


@pytest.mark.parametrize("share", [0.3, 2.0, 10.0])
def test_saturated_voxels_stay_the_brightest(rng, share):
    data, r = bright_head(rng, 1000.0)
    export = np.clip(data / np.percentile(data, 100 - share) * 65535, 0, 65535).astype(np.uint16)
    assert (export == 65535).sum() > 50
    assert not is_wrapped(export).any()
    assert (tame(export)[export == 65535] == 1).all()
    assert r[export == 65535].max() < 0.8


def test_a_handful_of_saturated_voxels_does_not_lead_a_registration(rng):
    data, _ = bright_head(rng, 1000.0)
    export = np.clip(data / np.percentile(data, 99.9) * 65535, 0, 65535).astype(np.uint16)
    few = export >= 65000
    assert 0 < few.mean() < 0.002 and not is_wrapped(export).any()
    assert not tame(export)[few].any()
    assert (lift(export)[0][few] >= 65000).all()


def test_wrapped_voxels_are_found_beside_saturated_ones_in_an_image_that_fills_the_range(rng):
    data, r = bright_head(rng, 66000.0)
    signed = np.minimum(data, 65535)
    wrapped = np.zeros(r.shape, bool)
    wrapped[:, :, 0] = True
    wrapped |= (r > 1.1) & (rng.random(r.shape) < 0.02)
    signed[wrapped] = 65535 - rng.integers(0, 400, wrapped.sum())
    assert (signed >= 65000).sum() > wrapped.sum()
    np.testing.assert_array_equal(is_wrapped(signed), wrapped)


def test_what_lies_at_the_top_everywhere_or_beyond_sixteen_bits_is_not_wrapped():
    assert not is_wrapped(np.full((7, 8, 9), 65535)).any()
    data = np.zeros((7, 8, 9))
    data[3, 4, 5] = 65535
    assert is_wrapped(data).sum() == 1
    data[0, 0, 0] = 70000
    assert not is_wrapped(data).any()


def heads_of_three_backgrounds(head, rng):
    """The simulated head with noise around it, with 0 around it, and with noise that goes below 0."""
    data = head[0].data
    return {"noise": data, "zero": np.where(data > 40, data, 0), "signed": np.where(data > 40, data, rng.normal(0, 4, data.shape))}


@pytest.mark.parametrize("background", ["noise", "zero"])
@pytest.mark.parametrize(("factor", "constant"), [(1 / 350, -1.0), (1 / 120, -3.6), (0.5, -400.0), (3.0, 500.0), (1e-5, 0.0)])
def test_a_factor_and_a_constant_do_not_change_the_tamed_head(head, rng, background, factor, constant):
    data = heads_of_three_backgrounds(head, rng)[background]
    moved = (factor * data + constant).astype(np.float32)
    np.testing.assert_allclose(tame(moved), tame(data), atol=1e-3)
    np.testing.assert_array_equal(head_mask(tame(moved)), head_mask(tame(data)))
    lifted, floor = lift(moved)
    assert floor == pytest.approx(factor * data.min() + constant, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(lifted, factor * (data - data.min()), atol=1e-3 * factor * data.max())


@pytest.mark.parametrize(("background", "constant"), [("noise", 20.0), ("zero", -20.0)])
def test_a_small_constant_changes_nothing_where_the_same_voxels_stay_above_zero(head, rng, background, constant):
    data = heads_of_three_backgrounds(head, rng)[background]
    above = data > 0
    assert np.array_equal(data + constant > 0, above)  # all of the noise, and all of what stands in the emptiness
    np.testing.assert_allclose(tame(data + constant), tame(data), atol=1e-3)


@pytest.mark.parametrize(("background", "constant"), [("zero", 20.0), ("noise", -20.0)])
def test_a_small_constant_changes_which_voxels_count_for_the_limits(head, rng, background, constant):
    """By the docstring's words: 20 of 900 is 2% of the range, taken for noise or overshoot."""
    data = heads_of_three_backgrounds(head, rng)[background]
    moved = np.maximum(data + constant, 0)
    bottom, top = np.percentile(moved[moved > 0], [0.5, 99.5])
    np.testing.assert_allclose(tame(data + constant), np.clip((moved - bottom) / (top - bottom), 0, 1), atol=1e-3)
    assert np.abs(tame(data + constant) - tame(data)).max() > 0.01


@pytest.mark.parametrize("background", ["noise", "zero", "signed"])
def test_an_image_from_zero_is_not_lifted(head, rng, background):
    data = heads_of_three_backgrounds(head, rng)[background].astype(np.float32)
    lifted, floor = lift(data)
    assert floor == 0.0 and lifted.dtype == np.float32
    np.testing.assert_array_equal(lifted, np.maximum(data, 0))


def test_a_few_voxels_far_below_the_background_do_not_set_the_floor(head):
    data = np.where(head[0].data > 40, head[0].data, 0) / 200 - 3
    data[40, 48, 16] = -1000
    lifted, floor = lift(data)
    assert -3.6 < floor <= -3
    assert lifted.max() < 10


@pytest.mark.parametrize(("factor", "constant"), [(1.0, 0.0), (20.0, 0.0), (1.0, 5.0), (0.2, 1.0)])
def test_a_background_amid_the_intensities_becomes_the_lowest(rng, factor, constant):
    shape, _, brain, _ = brain_only()
    z = np.where(brain, rng.normal(0, 1, shape).clip(-4, 4), 0)
    lifted, floor = lift((factor * z + constant).astype(np.float32))
    assert floor == pytest.approx(factor * z.min() + constant, rel=1e-4, abs=1e-4 * factor)
    assert not lifted[~brain].any()
    np.testing.assert_allclose(lifted[brain], factor * (z - z.min())[brain], atol=1e-4 * factor)


def test_a_constant_image_has_no_intensities_above_the_lowest():
    for value in (0.0, 5.0, -5.0):
        assert not tame(np.full((7, 8, 9), value)).any()


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
