from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.baselines.lpa import LATTICE, features, fit_lpa, lattice_weights, lesion_probability, sample_rows
from flairnb.baselines.mixture import relabel
from flairnb.baselines.prune import drop_isolated, drop_near, drop_small, fill, join_bright, outer_csf, prune
from flairnb.baselines.tuning import dice_of
from flairnb.geometry import Grid


def fitted(heads):
    rows = [sample_rows(case, lesion, (300, 1500), np.random.default_rng(n)) for n, (case, lesion) in enumerate(heads)]
    return fit_lpa(*(np.concatenate(part) for part in zip(*rows, strict=True)))


def test_the_lesion_of_a_new_head_is_found_without_t1w(heads):
    model = fitted(heads[:2])
    case, lesion = heads[2]
    probability = lesion_probability(replace(case, t1w=None, tissue=None), model)
    assert probability.min() >= 0 and probability.max() <= 1
    assert dice_of(probability >= 0.3, lesion) > 0.6
    assert model.slope > 0


def test_the_fit_repeats_bit_for_bit(heads):
    one, two = fitted(heads), fitted(heads)
    assert one.slope == two.slope and one.intercept == two.intercept
    np.testing.assert_array_equal(one.spatial, two.spatial)


def test_rows_stand_for_all_voxels_of_the_head(heads, rng):
    case, lesion = heads[0]
    _, labels, weight = sample_rows(case, lesion, (20, 50), rng)
    assert weight[labels].sum() == pytest.approx((lesion & case.brain).sum())
    assert weight[~labels].sum() == pytest.approx((case.brain & ~lesion).sum())


def test_lattice_weights_sum_to_one_and_do_not_tell_left_from_right(rng):
    place = rng.uniform((-70, -100, -60), (70, 70, 80), (200, 3))
    weights = lattice_weights(place)
    assert weights.shape == (200, np.prod(LATTICE))
    np.testing.assert_allclose(np.asarray(weights.sum(axis=1)).ravel(), 1)
    np.testing.assert_allclose(weights.toarray(), lattice_weights(place * [-1, 1, 1]).toarray())


def test_the_lesion_is_brighter_than_its_surroundings(heads):
    case, lesion = heads[0]
    found = features(case)
    assert found.weighted[lesion].mean() > 10 * found.weighted[case.brain & ~lesion].mean()
    assert (found.labels[~case.brain] == 0).all()


def test_relabelling_recovers_three_classes(rng):
    truth = rng.integers(0, 3, 6000)
    values = np.array([20.0, 120.0, 90.0])[truth] + rng.normal(0, 4, 6000)
    priors = np.full((3, 6000), 0.15)
    priors[truth, np.arange(6000)] = 0.7
    assert (relabel(values, priors) == truth).mean() > 0.99


def test_csf_that_outshines_grey_matter_is_grey_matter(rng):
    values = np.concatenate([rng.normal(20, 3, 500), rng.normal(120, 3, 500), rng.normal(90, 3, 500), [500.0]])
    priors = np.zeros((3, 1501)) + 0.02
    for k in range(3):
        priors[k, 500 * k : 500 * (k + 1)] = 0.96
    priors[0, 1500] = 0.96
    assert relabel(values, priors)[1500] == 1


def test_white_matter_stays_white_matter_beside_a_large_tumour(rng):
    """On FLAIR grey and white matter hardly differ, and a tumour outshines both: only their places keep the classes apart."""
    truth = rng.choice(4, 20000, p=(0.1, 0.48, 0.3, 0.12))  # the last: tumour in white matter
    values = rng.normal(np.array([40, 100, 94, 155])[truth], np.array([8, 14, 9, 12])[truth])
    priors = np.full((3, truth.size), 0.15)
    priors[np.minimum(truth, 2), np.arange(truth.size)] = 0.7
    found = relabel(values, priors)
    assert (found == 2).mean() == pytest.approx(0.42, abs=0.12)
    assert values[found == 2].mean() < 1.3 * values[found == 1].mean()
    assert (found[truth == 2] == 2).mean() > 0.7


def brain_voxel(case, mni):
    place = case.mni(np.ones(case.brain.shape, bool)).reshape(*case.brain.shape, 3)
    return tuple(int(n) for n in np.unravel_index(np.linalg.norm(place - mni, axis=-1).argmin(), case.brain.shape))


def test_pruning_takes_all_steps_in_their_order(heads):
    """At 4 mm the blur of 1 mm changes nothing, so that the result is known voxel by voxel."""
    case, _ = heads[0]
    values, raw = np.zeros(case.brain.shape), np.zeros(case.brain.shape)
    labels = np.where(case.brain, 3, 0)
    # A weak lesion below CSF outside of the ventricles' box: its upper layer lies within 4 mm and is taken away.
    i, j, k = brain_voxel(case, (24.0, -20.0, 44.0))
    values[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = 0.3
    labels[i - 1 : i + 2, j - 1 : j + 2, k + 2] = 1
    # A lesion beside the ventricle, which takes nothing, with a hole, which is filled; one bright voxel above it is joined.
    a, b, c = brain_voxel(case, (-30.0, -20.0, 20.0))
    values[a - 2 : a + 3, b - 2 : b + 3, c - 2 : c + 3] = 0.9
    values[a, b, c] = 0.0
    labels[a + 3, b, c - 2] = 1
    raw[a, b, c + 3] = 0.7
    expected = values.copy()
    expected[i - 1 : i + 2, j - 1 : j + 2, k + 1] = 0
    expected[a, b, c] = expected[a, b, c + 3] = 0.9
    # A voxel alone, two faint ones and a faint one at a lesion are dropped.
    lone = brain_voxel(case, (28.0, 30.0, 10.0))
    faint = brain_voxel(case, (-28.0, 30.0, 10.0))
    values[lone], values[faint], values[faint[0] + 1, faint[1], faint[2]] = 0.9, 0.09, 0.09
    values[i, j, k - 2] = 0.09
    assert case.brain[(values > 0) | (labels == 1) | (raw > 0)].all()
    np.testing.assert_allclose(prune(values, raw, labels, case), expected)


def test_pruning_drops_specks(heads):
    """At 1.5 mm two voxels hold 0.007 ml, four 0.014 ml: 0.009 ml is the least."""
    case, _ = heads[0]
    affine = case.grid.affine.copy()
    affine[:3, :3] *= 1.5 / 4.0
    fine = replace(case, grid=Grid(case.grid.shape, affine))
    i, j, k = (n // 2 for n in case.brain.shape)
    values = np.zeros(case.brain.shape)
    values[i, j, k : k + 2] = values[i + 6, j, k : k + 4] = 0.5
    found = prune(values, np.zeros_like(values), np.where(case.brain, 3, 0), fine)
    assert not found[: i + 3].any() and (found[i + 6, j, k : k + 4] > 0.4).all()


@pytest.mark.parametrize("edge", [1.0, 2.0])
def test_pruning_does_at_fine_voxels_what_its_steps_do(heads, edge):
    """Smoothing must not leave a trace around what is kept: each step asks whether a voxel is above 0."""
    case, _ = heads[0]
    affine = np.diag([edge, edge, edge, 1.0])
    shape = (40, 36, 34)
    fine = replace(case, grid=Grid(shape, affine), brain=np.ones(shape, bool), t1w=None, tissue=None)
    labels, none = np.full(shape, 3), np.zeros(shape)
    block = np.zeros(shape)
    block[12:22, 12:22, 12:22] = 0.9
    # A hole within a lesion is filled by its neighbours' mean.
    holed = block.copy()
    holed[17, 17, 17] = 0.05
    assert prune(holed, none, labels, fine)[17, 17, 17] > 0.7
    # Single voxels go, however sure they are and though others are near.
    specks = none.copy()
    specks[10, 10, 10] = specks[10, 10, 13] = specks[12, 11, 10] = 0.9
    assert not prune(specks, none, labels, fine).any()
    # Bright voxels in a shell around a lesion are joined, all but those that too few neighbours hold.
    bright = none.copy()
    bright[11:23, 11:23, 11:23] = 1.0
    found = prune(block, bright, labels, fine) > 0
    assert found[11, 14:20, 14:20].all() and found.sum() > 1400 and not found[bright == 0].any()
    # Nothing is marked outside of what was there, where nothing bright is.
    np.testing.assert_array_equal(prune(block, none, labels, fine) > 0, block > 0)


def test_a_sure_lesion_at_the_rim_is_given_back_at_fine_voxels_too(heads):
    """All but its innermost layer lies within 4 mm of outer CSF: by itself the rest would be too weak, so the whole comes back."""
    case, _ = heads[0]
    shape = (40, 36, 34)
    brain = np.ones(shape, bool)
    brain[:, :, :9] = False
    fine = replace(case, grid=Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0])), brain=brain, t1w=None, tissue=None)
    values, labels = np.zeros(shape), np.where(brain, 3, 0)
    values[10:16, 10:16, 10:13] = 0.9
    labels[:, :, 9] = 1
    assert (outer_csf(labels, fine) == (labels == 1)).all()
    found = prune(values, np.zeros(shape), labels, fine)
    np.testing.assert_array_equal(found > 0, values > 0)


def test_pruning_steps_one_by_one():
    values = np.zeros((9, 9, 7))
    values[2:5, 2:5, 3] = 0.8
    values[7, 7, 5] = 0.9
    assert drop_isolated(values)[7, 7, 5] == 0 and drop_isolated(values)[3, 3, 3] == 0.8
    assert drop_small(values, 0.002)[7, 7, 5] == 0 and drop_small(values, 0.002)[3, 3, 3] == 0.8
    holed = np.ones((3, 3, 3))
    holed[1, 1, 1] = 0
    assert fill(holed)[1, 1, 1] == 1.0
    bright = np.zeros(values.shape, bool)
    bright[3, 3, 4] = True
    assert join_bright(values, bright)[3, 3, 4] == pytest.approx(0.8)
    assert np.count_nonzero(join_bright(values, bright)) == np.count_nonzero(values) + 1


def test_a_strong_lesion_that_the_rim_would_weaken_is_given_back():
    values, near = np.zeros((8, 8, 6)), np.zeros((8, 8, 6), bool)
    values[1:5, 2, 2] = (0.9, 0.9, 0.9, 0.3)
    values[1:3, 6, 4] = 0.3
    near[1:4, 2, 2] = near[1, 6, 4] = True
    found = drop_near(values, near)
    np.testing.assert_allclose(found[1:5, 2, 2], (0.9, 0.9, 0.9, 0.3))
    assert found[1, 6, 4] == 0 and found[2, 6, 4] == 0.3
    near[4, 2, 2] = True
    assert not drop_near(values, near)[1:5, 2, 2].any()


def test_the_ventricles_are_not_outer_csf(heads):
    case, _ = heads[0]
    place = case.mni(np.ones(case.brain.shape, bool)).reshape(*case.brain.shape, 3)
    outer = outer_csf(np.where(case.brain, 1, 0), case)
    inside = case.brain & (np.abs(place - [8, 5, 12]) < 4).all(axis=-1)
    top = case.brain & (place[..., 2] > 60)
    assert inside.any() and not outer[inside].any()
    assert outer[top].all()
