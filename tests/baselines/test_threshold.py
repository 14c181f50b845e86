from __future__ import annotations

import numpy as np
import pytest

from flairnb.baselines.threshold import CANDIDATES, fit_threshold, threshold_mask
from flairnb.errors import InputError


def case(rng, shape=(17, 18, 9)):
    brain = np.zeros(shape, dtype=bool)
    brain[2:-2, 2:-2, 1:-1] = True
    reference = np.zeros(shape, dtype=bool)
    reference[5:9, 6:10, 3:6] = True
    work = np.where(brain, rng.normal(size=shape), 0.0) + 3.0 * reference
    return work.astype(np.float32), brain, reference


def test_the_fit_equals_trying_every_threshold(rng):
    cases = [case(rng) for _ in range(3)]

    def dice(work, brain, reference, z):
        mask = (work >= z) & brain
        return 2 * (mask & reference).sum() / (mask.sum() + reference.sum())

    means = [np.mean([dice(*one, z) for one in cases]) for z in CANDIDATES]
    assert fit_threshold(iter(cases)) == pytest.approx(CANDIDATES[int(np.argmax(means))])


def test_separable_lesions_are_found_exactly(rng):
    work, brain, reference = case(rng)
    work = np.where(reference, 5.02, np.clip(work, -2, 1.97)).astype(np.float32)
    z = fit_threshold([(work, brain, reference)])
    assert z == pytest.approx(2.0)
    np.testing.assert_array_equal(threshold_mask(work, brain, z), reference)


def test_lesion_outside_the_brain_counts_as_missed(rng):
    work, brain, reference = case(rng)
    reference[0, 0, 0] = True
    z = fit_threshold([(work, brain, reference)])
    assert not threshold_mask(work, brain, z)[0, 0, 0]


def test_healthy_cases_are_skipped_and_only_healthy_ones_refused(rng):
    work, brain, reference = case(rng)
    healthy = work, brain, np.zeros_like(reference)
    assert fit_threshold([healthy, (work, brain, reference)]) == fit_threshold([(work, brain, reference)])
    with pytest.raises(InputError, match="lesions"):
        fit_threshold([healthy])


def test_small_components_are_removed_by_their_volume(rng):
    _, brain, reference = case(rng)
    speck = np.zeros_like(reference)
    speck[12, 12, 2] = True
    work = np.where(reference | speck, 5.0, 0.0)
    kept = threshold_mask(work, brain, 2.0, min_ml=0.02, voxel_volume_ml=0.008)
    np.testing.assert_array_equal(kept, reference)
    np.testing.assert_array_equal(threshold_mask(work, brain, 2.0), reference | speck)
    assert not threshold_mask(np.zeros_like(work), brain, 2.0, min_ml=0.02).any()
