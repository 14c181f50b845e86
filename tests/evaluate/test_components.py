from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flairnb.errors import InputError
from flairnb.evaluate.components import (
    LESION_COLUMNS,
    label_lesions,
    lesion_table,
    max_in_plane_diameter_mm,
    slice_axis,
    touched_labels,
)

SHAPE = (27, 28, 9)


def two_blocks():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:5, 3:7, 1:3] = True
    mask[15:17, 20:22, 5] = True
    return mask


def test_each_lesion_has_its_closed_form_row(oblique_affine):
    mask = two_blocks()
    table = lesion_table(mask, oblique_affine)
    assert tuple(table.columns) == LESION_COLUMNS
    assert table["lesion"].tolist() == [1, 2]
    assert table["voxels"].tolist() == [3 * 4 * 2, 2 * 2]
    np.testing.assert_allclose(table["volume_ml"], np.array([24, 4]) * 0.9 * 1.1 * 5.0 / 1000)
    for row, centre in zip(table.itertuples(), ([3, 4.5, 1.5], [15.5, 20.5, 5.0]), strict=True):
        expected = oblique_affine @ [*centre, 1.0]
        np.testing.assert_allclose([row.centroid_r_mm, row.centroid_a_mm, row.centroid_s_mm], expected[:3])


def test_the_diameter_of_a_block_spans_its_slice_only(oblique_affine):
    table = lesion_table(two_blocks(), oblique_affine)
    # Between midpoints of pixel sides: along the longer diagonal of the octagon inside a 3 x 4 pixel block.
    i_mm, j_mm = 0.9, 1.1
    expected = max(np.hypot(3 * i_mm, 3 * j_mm), np.hypot(2 * i_mm, 4 * j_mm))
    assert table["max_in_plane_diameter_mm"].iloc[0] == pytest.approx(expected)


def test_one_voxel_measures_its_longer_side(oblique_affine):
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[2, 3, 4] = True
    assert lesion_table(mask, oblique_affine)["max_in_plane_diameter_mm"].item() == pytest.approx(1.1)


def test_a_sphere_measures_its_diameter_and_volume():
    shape, affine = (51, 52, 17), np.diag([-0.5, 0.5, 1.5, 1.0])
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    sphere = (0.5 * (i - 25)) ** 2 + (0.5 * (j - 25)) ** 2 + (1.5 * (k - 8)) ** 2 <= 10.0**2
    row = lesion_table(sphere, affine).iloc[0]
    assert row["max_in_plane_diameter_mm"] == pytest.approx(20.0, abs=0.75)
    assert row["volume_ml"] == pytest.approx(4 / 3 * np.pi * 1.0, rel=0.03)


def test_the_diameter_equals_brute_force_over_all_side_midpoints(rng):
    affine = np.diag([0.9, 1.1, 5.0, 1.0])
    blob = ndimage.gaussian_filter(rng.random((19, 18, 7)), 1.2)
    mask = blob > np.quantile(blob, 0.9)
    labels, count = label_lesions(mask)
    table = lesion_table(mask, affine).set_index(lesion_table(mask, affine).index)
    for number in range(1, count + 1):
        longest = 0.0
        for k in range(mask.shape[2]):
            i, j = np.nonzero(labels[:, :, k] == number)
            points = np.concatenate([np.stack([(i + a) * 0.9, (j + b) * 1.1], 1) for a, b in [(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)]])
            if len(points):
                longest = max(longest, np.linalg.norm(points[:, None] - points[None], axis=-1).max())
        assert table.loc[number, "max_in_plane_diameter_mm"] == pytest.approx(longest)


def test_mean_probability_is_taken_over_each_lesion(rng, oblique_affine):
    mask, probability = two_blocks(), rng.random(SHAPE).astype(np.float32)
    labels, count = label_lesions(mask)
    expected = ndimage.mean(probability, labels, range(1, count + 1))
    got = lesion_table(mask, oblique_affine, probability).sort_index()["mean_probability"]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert lesion_table(mask, oblique_affine)["mean_probability"].isna().all()


def test_volumes_add_up_to_the_mask(rng, oblique_affine):
    mask = rng.random((17, 18, 19)) > 0.93
    table = lesion_table(mask, oblique_affine)
    assert table["volume_ml"].sum() == pytest.approx(mask.sum() * 0.9 * 1.1 * 5.0 / 1000)
    assert table["voxels"].is_monotonic_decreasing


def test_an_empty_mask_has_no_rows_and_the_same_columns(oblique_affine):
    table = lesion_table(np.zeros((7, 8, 9), bool), oblique_affine)
    assert len(table) == 0
    assert tuple(table.columns) == LESION_COLUMNS


@pytest.mark.parametrize(("offset", "joined_by"), [((1, 0, 0), 6), ((1, 1, 0), 18), ((1, 1, 1), 26)])
def test_connectivity_joins_faces_then_edges_then_corners(offset, joined_by):
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[3, 3, 3] = mask[tuple(np.add(3, offset))] = True
    for connectivity in (6, 18, 26):
        assert label_lesions(mask, connectivity)[1] == (1 if connectivity >= joined_by else 2)


def test_an_unknown_connectivity_is_refused():
    with pytest.raises(InputError, match="6, 18 or 26"):
        label_lesions(np.zeros((7, 8, 9), bool), 8)


def test_a_probability_on_another_grid_is_refused(oblique_affine):
    with pytest.raises(InputError, match="probability"):
        lesion_table(two_blocks(), oblique_affine, np.zeros((7, 8, 9)))


def test_touched_labels_names_the_lesions_that_overlap():
    labels, count = label_lesions(two_blocks())
    other = np.zeros(SHAPE, dtype=bool)
    other[16, 21, 5] = True
    assert touched_labels(labels, count, other).tolist() == [False, True]
    assert touched_labels(labels, count, np.zeros(SHAPE, bool)).tolist() == [False, False]


def test_the_slice_axis_is_the_thick_one_or_else_the_axial_one(oblique_affine):
    assert slice_axis(oblique_affine) == 2
    sagittal = np.array([[0, 0, 5.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert slice_axis(sagittal) == 2
    isotropic = np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    assert slice_axis(isotropic) == 1


def test_empty_slices_do_not_disturb_the_diameter():
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[2, 1:4, 2] = mask[2, 2, 6] = True
    assert max_in_plane_diameter_mm(mask, np.diag([0.9, 1.1, 5.0, 1.0]), axis=2) == pytest.approx(3.3)
