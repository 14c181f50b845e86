from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.baselines.lga import CUT, belief_maps, find_seeds, lesion_map, lesion_maps, mode
from flairnb.baselines.tuning import dice_of
from flairnb.errors import InputError


def test_the_lesion_is_found(heads):
    for case, lesion in heads:
        assert dice_of(lesion_map(case, 0.1) >= CUT, lesion) > 0.8


def test_a_smaller_kappa_finds_no_less(heads):
    case, _ = heads[0]
    volumes = [(found >= CUT).sum() for found in lesion_maps(case, (0.05, 0.2, 0.6, 50.0))]
    assert volumes == sorted(volumes, reverse=True)
    assert volumes[0] > 0 and volumes[-1] == 0


def test_the_same_head_gives_the_same_bits(heads):
    case, _ = heads[1]
    np.testing.assert_array_equal(lesion_map(case, 0.1), lesion_map(case, 0.1))


def test_a_head_without_t1w_is_refused(heads):
    with pytest.raises(InputError, match="T1w"):
        lesion_map(replace(heads[0][0], t1w=None, tissue=None))


def test_belief_is_label_times_excess_times_prior():
    p0, flair, prior = np.full((3, 3, 3), 2.0), np.full((3, 3, 3), 1.0), np.full((3, 3, 3), 0.5)
    flair[1, 1, 1] = flair[2, 1, 1] = 3.7
    mean = flair.mean()
    belief = 2.0 * (3.7 - mean) * 0.5
    initial, total = belief_maps(flair, p0, prior)
    assert initial[1, 1, 1] == pytest.approx(belief * belief / 6)
    assert total[1, 1, 1] == pytest.approx(belief / 6)
    assert np.count_nonzero(initial) == 2


def test_seeds_need_two_seed_neighbours():
    initial = np.zeros((5, 5, 3))
    initial[1, 1:4, 1] = 1.0
    assert np.argwhere(find_seeds(initial, 0.3)).tolist() == [[1, 2, 1]]


def test_the_mode_is_the_peak(rng):
    assert mode(np.concatenate([rng.normal(100, 5, 20_000), rng.normal(160, 5, 4000), [0, 0]])) == pytest.approx(100, abs=3)
    assert mode(np.zeros(4)) == 1.0
