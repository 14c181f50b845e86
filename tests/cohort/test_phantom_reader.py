from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flairnb.cohort.phantom.reader import ReaderHabits, reference_mask, second_reader

SPACING = (0.9, 1.1, 5.0)
QUIET = ReaderHabits(border_mm=0.0, habit_mm=0.0, strict_mm=0.0, miss_fraction=0.0, false_lesions=0.0)


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def _ball(radius_mm, shape=(71, 63, 17), centre=(35, 30, 8)):
    grid = np.meshgrid(*[(np.arange(n) - c) * s for n, c, s in zip(shape, centre, SPACING, strict=True)], indexing="ij")
    return sum(g**2 for g in grid) < radius_mm**2


def test_reference_is_the_half_volume_voxels_of_a_large_lesion():
    fraction = np.zeros((9, 8, 7), dtype=np.float32)
    fraction[2:7, 2:6, 2:5] = 1.0
    fraction[1, 2:6, 2:5], fraction[7, 2:6, 2:5] = 0.4, 0.6
    assert np.array_equal(reference_mask(fraction), fraction > 0.5)


def test_diluted_small_lesion_is_outlined_at_a_lower_cut_and_an_invisible_one_is_not():
    fraction = np.zeros((9, 8, 7), dtype=np.float32)
    fraction[1, 1:4, 1] = (0.25, 0.4, 0.32)
    fraction[7, 6, 5] = 0.15
    expected = np.zeros(fraction.shape, dtype=bool)
    expected[1, 2:4, 1] = True
    assert np.array_equal(reference_mask(fraction), expected)


def test_patient_whose_lesions_are_all_faint_still_gets_the_strongest_outlined():
    fraction = np.zeros((9, 8, 7), dtype=np.float32)
    fraction[3, 4, 2:4] = (0.15, 0.06)
    assert np.argwhere(reference_mask(fraction)).tolist() == [[3, 4, 2]]
    assert np.argwhere(reference_mask(fraction / 2)).tolist() == [[3, 4, 2]]


def test_empty_fraction_gives_an_empty_reference():
    assert not reference_mask(np.zeros((7, 8, 9), dtype=np.float32)).any()


def test_second_reader_without_habits_agrees_exactly(rng):
    reference = _ball(14.0) | _ball(3.0, centre=(10, 10, 3))
    assert np.array_equal(second_reader(reference, SPACING, np.ones_like(reference), rng, QUIET), reference)


def test_second_reader_repeats_with_its_seed_and_differs_with_another():
    reference = _ball(14.0)
    everywhere = np.ones_like(reference)
    one, again, other = (second_reader(reference, SPACING, everywhere, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_agreement_is_better_on_large_lesions():
    def median(radius_mm):
        reference = _ball(radius_mm)
        return np.median(
            [_dice(reference, second_reader(reference, SPACING, reference | True, np.random.default_rng(s))) for s in range(15)]
        )

    assert median(4.0) < median(9.0) < median(22.0)
    assert median(22.0) > 0.85


def test_only_small_lesions_are_missed_and_never_all():
    habits = ReaderHabits(border_mm=0, habit_mm=0, strict_mm=0, miss_ml=0.1, miss_fraction=0.5, false_lesions=0)
    big, small = _ball(14.0), _ball(2.0, centre=(8, 8, 3))
    seen_small = 0
    for seed in range(40):
        drawn = second_reader(big | small, SPACING, big | True, np.random.default_rng(seed), habits)
        assert np.array_equal(drawn & big, big)
        seen_small += int((drawn & small).any())
        assert second_reader(small, SPACING, big | True, np.random.default_rng(seed), habits).any()
    assert 1 <= seen_small < 30


def test_false_lesions_are_small_inside_the_brain_and_centred_on_bright_voxels(rng):
    habits = ReaderHabits(border_mm=0, habit_mm=0, strict_mm=0, miss_fraction=0, false_lesions=4.0)
    reference = _ball(6.0)
    candidates = _ball(28.0)
    drawn = second_reader(reference, SPACING, candidates, rng, habits)
    added = drawn & ~reference
    assert added.any() and not (added & ~candidates).any()
    bright = _ball(5.0, centre=(35, 30, 12))
    lit = second_reader(reference, SPACING, candidates, rng, habits, bright) & ~reference
    assert np.abs(np.argwhere(lit).mean(axis=0) - (35, 30, 12)).max() < 3
    labels, n = ndimage.label(added, structure=np.ones((3, 3, 3)))
    assert (np.bincount(labels.ravel())[1:] * np.prod(SPACING) / 1000 < 0.6).all() and n >= 1


@pytest.mark.parametrize("corner", [(0, 0, 0), (70, 62, 16)])
def test_lesion_at_the_edge_of_the_image_is_redrawn_in_place(rng, corner):
    reference = _ball(9.0, centre=corner)
    drawn = second_reader(reference, SPACING, reference | True, rng)
    assert drawn.shape == reference.shape
    assert _dice(reference, drawn) > 0.4


def test_empty_reference_stays_empty_apart_from_false_lesions(rng):
    empty = np.zeros((7, 8, 9), dtype=bool)
    assert not second_reader(empty, SPACING, ~empty, rng, QUIET).any()
