from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from flairnb.baselines.bianca import BORDER_MM, CUTS, BiancaModel, curves, excluded, lesion_share, sample_points, segment, voxel_features
from flairnb.baselines.tuning import dice_of


def fitted(heads, **more):
    found = [sample_points(case, lesion, (200, 1000), np.random.default_rng(n)) for n, (case, lesion) in enumerate(heads)]
    points, lesion = (np.concatenate(part) for part in zip(*found, strict=True))
    return BiancaModel(points, lesion, np.repeat(np.arange(len(found)), [len(p) for p, _ in found]), **more)


@pytest.mark.parametrize("with_t1w", [True, False])
def test_the_share_is_that_of_scikit_learn(heads, with_t1w):
    from sklearn.neighbors import KNeighborsClassifier

    model = fitted(heads[:2], neighbours=7, spatial_weight=2.0)
    case = heads[2][0] if with_t1w else replace(heads[2][0], t1w=None, tissue=None)
    columns = [0, 1, 2, 3, 4] if with_t1w else [0, 2, 3, 4]
    scale = np.array([1, 1, 2, 2, 2])[columns]
    judge = KNeighborsClassifier(7, algorithm="brute").fit(model.points[:, columns] * scale, model.lesion)
    some = case.brain & (np.random.default_rng(0).random(case.brain.shape) < 0.02)
    expected = judge.predict_proba(voxel_features(case, some)[:, columns] * scale)[:, 1]
    np.testing.assert_allclose(lesion_share(case, model)[some], expected, atol=1e-6)


def test_the_lesion_of_a_new_head_is_found(heads):
    model = fitted(heads[:2], neighbours=15, cut=0.6)
    case, lesion = heads[2]
    assert dice_of(segment(case, model), lesion) > 0.7
    assert not lesion_share(case, model)[~case.brain].any()


def test_no_point_is_drawn_at_a_lesions_border(heads, rng):
    case, lesion = heads[0]
    points, labels = sample_points(case, lesion, (50, 10**6), rng)
    assert labels.sum() == 50
    distance = ndimage.distance_transform_edt(~lesion, sampling=case.edge_mm)
    assert (~labels).sum() == (case.brain & (distance > BORDER_MM)).sum()
    assert points.shape == (len(labels), 5)


def test_a_case_can_be_left_out_of_its_own_tuning(heads):
    model = fitted(heads)
    rest = model.without(1)
    assert set(rest.case) == {0, 2}
    assert len(rest.points) == len(rest.lesion) == (model.case != 1).sum()
    assert rest.tree(True).n == len(rest.points)


def test_the_mask_rules_out_grey_matter_and_the_cerebellum_only(heads):
    case, lesion = heads[0]
    out = excluded(case)
    place = case.mni(np.ones(case.brain.shape, bool)).reshape(*case.brain.shape, 3)
    cerebellum = case.brain & (place[..., 1] < -55) & (place[..., 2] < -35)
    assert cerebellum.any() and out[cerebellum].all()
    assert (out & lesion).sum() < 0.05 * lesion.sum()
    assert not out[(case.wm > 0.8) & (place[..., 2] > 10)].any()


def test_curves_hold_a_dice_for_every_cut_with_and_without_mask(heads):
    model = fitted(heads[:2], neighbours=15)
    case, lesion = heads[2]
    found = curves(case, lesion, model, cuts=(0.5, 0.7, 0.9))
    assert set(found) == {"no mask", "exclusion mask"}
    share = lesion_share(case, model)
    assert found["no mask"][1] == pytest.approx(dice_of(share >= 0.7, lesion))
    assert found["exclusion mask"][2] == pytest.approx(dice_of((share >= 0.9) & ~excluded(case), lesion))


def test_a_cut_means_the_same_mask_in_tuning_and_in_use(heads):
    """26 of 40 neighbours are 0.65, but below it as a float32 that is compared in float64."""
    model = fitted(heads[:2], neighbours=40)
    case, lesion = heads[2]
    found = curves(case, lesion, model)["no mask"]
    used = [dice_of(segment(case, replace(model, cut=cut, masked=False)), lesion) for cut in CUTS]
    np.testing.assert_allclose(found, used, atol=1e-12)


def test_training_without_lesions_finds_none(heads):
    model = fitted([(heads[0][0], np.zeros_like(heads[0][1]))])
    assert not lesion_share(heads[1][0], model).any()
