from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from flairnb.errors import GeometryError, InputError
from flairnb.evaluate.metrics import dice, hd95_mm, lesion_counts, score_masks, surface

SPACING_MM = (0.9, 1.1, 5.0)
SHAPE = (17, 18, 9)
#: Turned, and each slice lies 2.5 mm further along the second axis than the one below it, as by a tilted gantry.
SHEARED = np.array([[0, -1.1, -2.5, 7.0], [0.9, 0, 0, -3.0], [0, 0, 5.0, 11.0], [0, 0, 0, 1.0]])


def cuboid(corner=(3, 4, 2), size=(5, 6, 3), shape=SHAPE):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))] = True
    return mask


def brute_force_hd95(a, b, affine):
    """`affine` may be three spacings."""
    steps_mm = np.diag(affine) if np.ndim(affine) == 1 else np.asarray(affine)[:3, :3]

    def surface_points(mask):
        points = []
        for voxel in np.argwhere(mask):
            for axis, step in itertools.product(range(3), (-1, 1)):
                other = voxel.copy()
                other[axis] += step
                if other[axis] < 0 or other[axis] >= mask.shape[axis] or not mask[tuple(other)]:
                    points.append(steps_mm @ voxel)
                    break
        return points

    points_a, points_b = surface_points(a), surface_points(b)
    a_to_b = [min(math.dist(p, q) for q in points_b) for p in points_a]
    b_to_a = [min(math.dist(p, q) for q in points_a) for p in points_b]
    return max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95))


def test_a_mask_scored_against_itself_is_perfect():
    mask = cuboid()
    scores = score_masks(mask, mask, SPACING_MM)
    assert (scores.dice, scores.sensitivity, scores.ppv, scores.false_discovery_rate) == (1.0, 1.0, 1.0, 0.0)
    assert (scores.specificity, scores.npv, scores.hd95_mm, scores.volume_error_ml) == (1.0, 1.0, 0.0, 0.0)
    assert (scores.lesion_recall, scores.lesion_precision, scores.lesion_f1) == (1.0, 1.0, 1.0)
    assert scores.empty == "neither"


def test_a_cuboid_has_its_closed_form_volume():
    scores = score_masks(cuboid(size=(5, 6, 3)), cuboid(size=(5, 6, 2)), SPACING_MM)
    assert scores.reference_ml == pytest.approx(5 * 6 * 3 * 0.9 * 1.1 * 5.0 / 1000)
    assert scores.predicted_ml == pytest.approx(5 * 6 * 2 * 0.9 * 1.1 * 5.0 / 1000)
    assert scores.volume_error_fraction == pytest.approx(-1 / 3)
    assert scores.absolute_volume_error_fraction == pytest.approx(1 / 3)
    assert scores.volume_error_ml == pytest.approx(-scores.absolute_volume_error_ml)


@pytest.mark.parametrize(("axis", "step"), [(0, 1), (0, 2), (1, 2), (2, 1)])
def test_a_shifted_cuboid_has_closed_form_scores(axis, step):
    size = (5, 6, 3)
    corner = [3, 4, 2]
    reference = cuboid(corner, size)
    corner[axis] += step
    scores = score_masks(reference, cuboid(corner, size), SPACING_MM)
    kept = (size[axis] - step) / size[axis]
    assert scores.dice == pytest.approx(kept)
    assert scores.sensitivity == pytest.approx(kept)
    assert scores.ppv == pytest.approx(kept)
    assert scores.false_discovery_rate == pytest.approx(1 - kept)
    missed = math.prod(size) * (1 - kept)
    negatives = math.prod(SHAPE) - math.prod(size)
    assert scores.specificity == pytest.approx(1 - missed / negatives)
    assert scores.npv == pytest.approx(1 - missed / negatives)


def test_hd95_of_a_thin_plate_is_its_shift_in_mm():
    # Every voxel of a one-slice plate is a surface voxel at the same distance from the shifted plate.
    reference, predicted = cuboid(size=(5, 6, 1)), cuboid(corner=(3, 4, 4), size=(5, 6, 1))
    assert hd95_mm(reference, predicted, SPACING_MM) == pytest.approx(10.0)


def test_hd95_of_nested_spheres_is_the_difference_of_their_radii():
    shape, spacing = (61, 62, 31), (0.5, 0.5, 1.0)
    centre = np.array([15.0, 15.5, 15.0])
    grid_mm = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    radius = np.linalg.norm(grid_mm - centre, axis=-1)
    scores = score_masks(radius <= 12.0, radius <= 8.0, spacing)
    assert scores.hd95_mm == pytest.approx(4.0, abs=0.6)
    assert scores.reference_ml == pytest.approx(4 / 3 * np.pi * 12.0**3 / 1000, rel=0.02)
    ratio = (8 / 12) ** 3
    assert scores.dice == pytest.approx(2 * ratio / (1 + ratio), abs=0.01)


@settings(max_examples=40, deadline=None)
@given(
    a=hnp.arrays(bool, (7, 8, 9), elements=st.sampled_from([False, False, False, True])),
    b=hnp.arrays(bool, (7, 8, 9), elements=st.sampled_from([False, False, False, True])),
)
def test_hd95_equals_brute_force_over_all_pairs_of_surface_voxels(a, b):
    a[3, 4, 5] = b[2, 2, 2] = True
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(brute_force_hd95(a, b, SPACING_MM))


@settings(max_examples=40, deadline=None)
@given(
    a=hnp.arrays(bool, (7, 8, 9), elements=st.sampled_from([False, False, False, True])),
    b=hnp.arrays(bool, (7, 8, 9), elements=st.sampled_from([False, False, False, True])),
)
def test_hd95_on_a_sheared_grid_equals_brute_force_over_world_points(a, b):
    a[3, 4, 5] = b[2, 2, 2] = True
    assert hd95_mm(a, b, SHEARED) == pytest.approx(brute_force_hd95(a, b, SHEARED))
    assert score_masks(a, b, SHEARED).hd95_mm == hd95_mm(a, b, SHEARED)


def test_a_sheared_voxel_has_its_determinants_volume_and_its_slices_lie_askew():
    scores = score_masks(cuboid(size=(5, 6, 3)), cuboid(size=(5, 6, 2)), SHEARED)
    assert scores.reference_ml == pytest.approx(5 * 6 * 3 * 0.9 * 1.1 * 5.0 / 1000)  # shear moves slices and leaves volumes
    assert scores.volume_error_ml == pytest.approx(-5 * 6 * 0.9 * 1.1 * 5.0 / 1000)
    below, above = cuboid((3, 6, 2), (1, 1, 1)), cuboid((3, 6, 3), (1, 1, 1))
    assert hd95_mm(below, above, SHEARED) == pytest.approx(math.hypot(2.5, 5.0))
    assert hd95_mm(below, cuboid((3, 4, 3), (1, 1, 1)), SHEARED) == pytest.approx(math.hypot(2.5 - 2 * 1.1, 5.0))


@pytest.mark.parametrize("stored", [np.float64, np.float32])
def test_on_a_turned_grid_without_shear_an_affine_gives_the_bits_of_its_spacing(rng, oblique_affine, stored):
    """Also one that was rounded to single precision, as in a NIfTI header."""
    a, b = rng.random((2, 7, 8, 9)) > 0.8
    affine = oblique_affine.astype(stored)
    spacing = np.linalg.norm(affine.astype(float)[:3, :3], axis=0)
    assert score_masks(a, b, affine).as_dict() == score_masks(a, b, spacing).as_dict()


def test_hd95_equals_the_distance_map_on_random_blobs(rng):
    blobs = [ndimage.gaussian_filter(rng.random((23, 24, 11)), 1.5) for _ in range(2)]
    a, b = (blob > np.quantile(blob, 0.85) for blob in blobs)
    surfaces = surface(a), surface(b)
    maps = [ndimage.distance_transform_edt(~s, sampling=SPACING_MM) for s in surfaces]
    expected = max(np.percentile(maps[1][surfaces[0]], 95), np.percentile(maps[0][surfaces[1]], 95))
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(expected)


def test_the_surface_of_a_block_leaves_out_its_inside_and_includes_the_grid_edge():
    mask = np.ones((5, 6, 7), dtype=bool)
    inside = np.zeros_like(mask)
    inside[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_array_equal(surface(mask), ~inside)


@settings(max_examples=40, deadline=None)
@given(
    a=hnp.arrays(bool, (5, 6, 7)),
    b=hnp.arrays(bool, (5, 6, 7)),
    brain=hnp.arrays(bool, (5, 6, 7)),
)
def test_voxel_scores_equal_counting_one_voxel_at_a_time(a, b, brain):
    tp = fp = fn = tn = brain_fp = brain_fn = brain_tn = 0
    for in_a, in_b, in_brain in zip(a.flat, b.flat, brain.flat, strict=True):
        tp += in_a and in_b
        fp += in_b and not in_a
        fn += in_a and not in_b
        tn += not in_a and not in_b
        brain_fp += in_brain and in_b and not in_a
        brain_fn += in_brain and in_a and not in_b
        brain_tn += in_brain and not in_a and not in_b
    scores = score_masks(a, b, SPACING_MM, brain)

    def close(value, numerator, denominator):
        return math.isnan(value) if denominator == 0 else value == pytest.approx(numerator / denominator)

    assert close(scores.dice, 2 * tp, 2 * tp + fp + fn)
    assert close(scores.sensitivity, tp, tp + fn)
    assert close(scores.ppv, tp, tp + fp)
    assert close(scores.false_discovery_rate, fp, tp + fp)
    assert close(scores.specificity_grid, tn, tn + fp)
    assert close(scores.npv_grid, tn, tn + fn)
    assert close(scores.specificity, brain_tn, brain_tn + brain_fp)
    assert close(scores.npv, brain_tn, brain_tn + brain_fn)


def test_dice_alone_equals_dice_among_the_scores(rng):
    a, b = rng.random((2, 7, 8, 9)) > 0.6
    assert dice(a, b) == score_masks(a, b, SPACING_MM).dice


EMPTY = np.zeros(SHAPE, dtype=bool)
NAN = float("nan")
POLICY = {
    "both": (EMPTY, EMPTY, {"dice": NAN, "sensitivity": NAN, "ppv": NAN, "false_discovery_rate": NAN,
                            "volume_error_fraction": NAN, "volume_error_ml": 0.0, "lesion_recall": NAN,
                            "lesion_precision": NAN, "lesion_f1": NAN, "hd95_mm": NAN, "specificity": 1.0, "npv": 1.0}),
    "predicted": (cuboid(), EMPTY, {"dice": 0.0, "sensitivity": 0.0, "ppv": NAN, "false_discovery_rate": NAN,
                                    "volume_error_fraction": -1.0, "lesion_recall": 0.0, "lesion_precision": NAN,
                                    "lesion_f1": 0.0, "hd95_mm": NAN, "specificity": 1.0}),
    "reference": (EMPTY, cuboid(), {"dice": 0.0, "sensitivity": NAN, "ppv": 0.0, "false_discovery_rate": 1.0,
                                    "volume_error_fraction": NAN, "lesion_recall": NAN, "lesion_precision": 0.0,
                                    "lesion_f1": 0.0, "hd95_mm": NAN, "npv": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("which", POLICY)
def test_empty_masks_follow_the_stated_policy(which):
    reference, predicted, expected = POLICY[which]
    scores = score_masks(reference, predicted, SPACING_MM)
    assert scores.empty == which
    got = {name: getattr(scores, name) for name in expected}
    assert got == pytest.approx(expected, nan_ok=True)


def test_a_full_reference_has_no_specificity():
    full = np.ones((5, 6, 7), dtype=bool)
    assert math.isnan(score_masks(full, full, SPACING_MM).specificity)


def test_specificity_counts_the_brain_when_it_is_given():
    reference, predicted, brain = cuboid(), cuboid(corner=(4, 4, 2)), cuboid((2, 2, 1), (9, 10, 5))
    scores = score_masks(reference, predicted, SPACING_MM, brain)
    false_positive = 6 * 3
    assert scores.specificity_over == "brain"
    assert scores.specificity == pytest.approx(1 - false_positive / (brain.sum() - reference.sum()))
    assert scores.specificity_grid == pytest.approx(1 - false_positive / (brain.size - reference.sum()))
    assert score_masks(reference, predicted, SPACING_MM).specificity_over == "grid"


def test_lesions_are_found_by_any_overlap():
    reference = cuboid((1, 1, 1), (2, 2, 2)) | cuboid((6, 6, 1), (2, 2, 2)) | cuboid((12, 12, 5), (2, 2, 2))
    one_over_two = cuboid((2, 2, 1), (5, 5, 1))
    false_alarm = cuboid((14, 1, 7), (1, 1, 1))
    counts = lesion_counts(reference, one_over_two | false_alarm)
    assert (counts.reference, counts.reference_hit, counts.predicted, counts.predicted_hit) == (3, 2, 2, 1)
    assert counts.recall == pytest.approx(2 / 3)
    assert counts.precision == pytest.approx(1 / 2)
    assert counts.f1 == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))


def test_lesions_that_miss_each_other_have_f1_of_zero():
    assert lesion_counts(cuboid((1, 1, 1), (2, 2, 2)), cuboid((9, 9, 5), (2, 2, 2))).f1 == 0.0


def test_connectivity_decides_whether_corner_neighbours_are_one_lesion():
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[2, 2, 2] = mask[3, 3, 3] = True
    assert lesion_counts(mask, mask, connectivity=26).reference == 1
    assert lesion_counts(mask, mask, connectivity=6).reference == 2


@pytest.mark.parametrize("turn", [lambda m: m[::-1], lambda m: m[:, ::-1], lambda m: m[:, :, ::-1]])
def test_flipping_both_masks_changes_no_score(rng, turn):
    a, b = rng.random((2, 7, 8, 9)) > 0.8
    before, after = score_masks(a, b, SPACING_MM), score_masks(turn(a), turn(b), SPACING_MM)
    assert after.as_dict() == pytest.approx(before.as_dict())


def test_turning_masks_and_spacing_together_changes_no_score(rng):
    a, b = rng.random((2, 7, 8, 9)) > 0.8
    before = score_masks(a, b, SPACING_MM)
    after = score_masks(np.moveaxis(a, 0, 2), np.moveaxis(b, 0, 2), (1.1, 5.0, 0.9))
    assert after.as_dict() == pytest.approx(before.as_dict())


def test_swapping_the_masks_swaps_sensitivity_with_ppv_and_recall_with_precision(rng):
    a, b = rng.random((2, 7, 8, 9)) > 0.9
    one, other = score_masks(a, b, SPACING_MM), score_masks(b, a, SPACING_MM)
    assert (one.dice, one.hd95_mm, one.lesion_f1) == pytest.approx((other.dice, other.hd95_mm, other.lesion_f1))
    assert (one.sensitivity, one.lesion_recall) == (other.ppv, other.lesion_precision)


def test_labels_above_one_count_as_lesion():
    mask = cuboid()
    assert score_masks(mask.astype(np.uint8) * 4, mask, SPACING_MM).dice == 1.0


def test_different_shapes_are_refused_with_both_shapes_named():
    with pytest.raises(GeometryError, match=r"\(17, 18, 9\).*\(7, 8, 9\)"):
        score_masks(cuboid(), np.zeros((7, 8, 9), bool), SPACING_MM)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, np.nan, 1.0)])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(InputError, match="spacing_mm"):
        score_masks(cuboid(), cuboid(), spacing)


SINGULAR = np.array([[1.0, 2.0, 0, 0], [0, 0, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("affine", [SINGULAR, np.diag([1.0, 0.0, 1.0, 1.0]), np.diag([1.0, np.nan, 1.0, 1.0]), np.eye(3), SHEARED[:3]])
def test_an_affine_that_is_none_is_refused_in_one_line(affine):
    for score in (score_masks, hd95_mm):
        with pytest.raises(InputError, match=r"affine: expected a \(4, 4\) matrix") as caught:
            score(cuboid(), cuboid(), affine)
        assert "\n" not in str(caught.value)


def test_four_dimensional_masks_are_refused():
    with pytest.raises(InputError, match="three-dimensional"):
        dice(np.zeros((2, 3, 4, 5)), np.zeros((2, 3, 4, 5)))
