from __future__ import annotations

import numpy as np
import pytest

from flairnb.baselines.threshold import CANDIDATES, threshold_mask
from flairnb.baselines.tuning import dice_at_cuts, dice_of, tuning_table
from flairnb.errors import InputError


def case(rng, shape=(17, 18, 9)):
    brain = np.zeros(shape, dtype=bool)
    brain[2:-2, 2:-2, 1:-1] = True
    reference = np.zeros(shape, dtype=bool)
    reference[5:9, 6:10, 3:6] = True
    work = np.where(brain, rng.normal(size=shape), 0.0) + 3.0 * reference
    return work.astype(np.float32), brain, reference


def fitted(cases):
    """Choose a threshold as a run does: the first of the best by mean Dice."""
    dice = [dice_at_cuts(np.where(brain, work, -np.inf), reference, CANDIDATES) for work, brain, reference in cases]
    table = tuning_table("threshold", {"": (CANDIDATES, np.array(dice))})
    return float(table.loc[table["chosen"], "value"].item())


def test_the_fit_equals_trying_every_threshold(rng):
    cases = [case(rng) for _ in range(3)]

    def dice(work, brain, reference, z):
        mask = threshold_mask(work, brain, z)
        return 2 * (mask & reference).sum() / (mask.sum() + reference.sum())

    means = [np.mean([dice(*one, z) for one in cases]) for z in CANDIDATES]
    assert fitted(cases) == pytest.approx(CANDIDATES[int(np.argmax(means))])


def test_separable_lesions_are_found_exactly(rng):
    work, brain, reference = case(rng)
    work = np.where(reference, 5.02, np.clip(work, -2, 1.97)).astype(np.float32)
    z = fitted([(work, brain, reference)])
    assert z == pytest.approx(2.0)
    np.testing.assert_array_equal(threshold_mask(work, brain, z), reference)


def test_lesion_outside_the_brain_counts_as_missed(rng):
    work, brain, reference = case(rng)
    found = np.where(brain, np.where(reference, 5.0, 0.0), -np.inf)
    inside = np.count_nonzero(reference)
    reference[0, :4, 0] = True
    assert dice_at_cuts(found, reference, (2.0,))[0] == pytest.approx(2 * inside / (inside + inside + 4))
    assert dice_at_cuts(found[1:], reference[1:], (2.0,), beyond=4)[0] == pytest.approx(2 * inside / (inside + inside + 4))
    assert dice_at_cuts(found[1:], np.zeros_like(reference[1:]), (2.0,), beyond=4)[0] == 0
    assert dice_of(found >= 2, reference) == dice_of(found[1:] >= 2, reference[1:], beyond=4) < 1
    assert not threshold_mask(work, brain, -9.0)[0, 0, 0]


def test_healthy_cases_are_skipped_and_only_healthy_ones_refused(rng):
    work, brain, reference = case(rng)
    healthy = work, brain, np.zeros_like(reference)
    assert fitted([healthy, (work, brain, reference)]) == fitted([(work, brain, reference)])
    with pytest.raises(InputError, match="lesions"):
        fitted([healthy])


def test_small_components_are_removed_by_their_volume(rng):
    _, brain, reference = case(rng)
    speck = np.zeros_like(reference)
    speck[12, 12, 2] = True
    work = np.where(reference | speck, 5.0, 0.0)
    kept = threshold_mask(work, brain, 2.0, min_ml=0.02, voxel_volume_ml=0.008)
    np.testing.assert_array_equal(kept, reference)
    np.testing.assert_array_equal(threshold_mask(work, brain, 2.0), reference | speck)
    assert not threshold_mask(np.zeros_like(work), brain, 2.0, min_ml=0.02).any()
