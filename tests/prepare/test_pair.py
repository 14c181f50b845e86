"""A T1w narrower than the head: used where it covers enough, left out where it does not, refused where it is of another head."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from flairnb.errors import InputError
from flairnb.geometry import Grid, isotropic_grid
from flairnb.images import Image
from flairnb.prepare.bridge import load_ants
from flairnb.prepare.case import prepare_case
from flairnb.prepare.intensity import smooth_sample, tame
from flairnb.prepare.pair import check_head_sizes, covered_fraction, is_cut_at_side, on_flair_grid, register_t1w
from flairnb.prepare.register import about, rotation
from flairnb.settings import load

COARSE = replace(load("demo").prepare, spacing_mm=4.0, working_spacing_mm=4.0, n4=False)


@pytest.fixture(scope="module")
def t1w(simulated_head):
    """A simulated T1w of the head, 2.5 mm, 205 mm wide."""
    affine = np.diag([2.5, 2.5, 2.5, 1.0])
    affine[:3, 3] = (-101, -120, -98)
    return Image(simulated_head((82, 97, 79), affine, "t1w")[0].astype(np.float32), affine)


@pytest.fixture(scope="module")
def work(head):
    """The FLAIR on a working grid of 4 mm."""
    flair = head[0]
    grid = isotropic_grid(flair.shape, flair.affine, 4.0)
    return smooth_sample(tame(flair.data), flair.affine, grid), grid


def slab(image, width_mm, off_mm=0.0):
    """Sagittal slices of an image, so many mm wide, off the middle."""
    edge = image.spacing_mm[0]
    n = round(width_mm / edge)
    first = (image.shape[0] - n) // 2 + round(off_mm / edge)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 0] * first
    return Image(image.data[first : first + n], affine)


def moving(image):
    own = isotropic_grid(image.shape, image.affine, 4.0)
    return smooth_sample(tame(image.data), image.affine, own)


def test_a_head_is_cut_where_a_side_of_its_volume_runs_through_it(t1w):
    assert not is_cut_at_side(moving(t1w))
    assert not is_cut_at_side(moving(slab(t1w, 160)))
    assert is_cut_at_side(moving(slab(t1w, 110)))
    assert is_cut_at_side(moving(slab(t1w, 70, off_mm=55)))
    ghost = moving(t1w)
    ghost[0, 20:24, 20:24] = 1.0
    assert not is_cut_at_side(ghost)
    assert not is_cut_at_side(np.zeros((7, 8, 9), np.float32))


def test_widths_are_compared_only_between_whole_heads(t1w, work):
    flair_work, _ = work
    check_head_sizes(moving(t1w), flair_work, 4.0, t1w)
    check_head_sizes(moving(slab(t1w, 105)), flair_work, 4.0, t1w)
    # The same the other way round: few sagittal slices of a FLAIR beside a T1w of the whole head.
    check_head_sizes(moving(t1w), moving(slab(t1w, 105)), 4.0, t1w)
    small = t1w.affine.copy()
    small[:3] *= 0.6
    child = Image(t1w.data, small)
    with pytest.raises(InputError, match="mm wide"):
        check_head_sizes(moving(child), flair_work, 4.0, child)


def test_the_covered_part_of_a_head_is_counted():
    head = np.zeros((21, 25, 23), np.float32)
    head[4:16, 4:20, 4:18] = 1.0
    covered = np.zeros(head.shape, bool)
    covered[:10] = True
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    assert covered_fraction(head, covered, affine) == pytest.approx(0.5, abs=0.06)
    assert covered_fraction(head, np.ones(head.shape, bool), affine) == 1.0
    assert covered_fraction(np.zeros(head.shape, np.float32), covered, affine) == 0.0


def test_a_neck_in_the_flair_alone_does_not_speak_against_a_t1w():
    """A head of 150 mm above a neck of 130 mm, wider than the head as shoulders are."""
    head = np.zeros((40, 50, 80), np.float32)
    head[8:32, 8:42, 36:74] = 1.0
    head[2:38, 4:46, 3:36] = 1.0
    affine = np.array([[4.0, 0, 0.3, -80], [0, 3.9, -0.9, -100], [-0.3, 0.9, 3.9, -150], [0, 0, 0, 1]])
    covered = np.zeros(head.shape, bool)
    covered[:, :, 36:] = True
    assert covered[head > 0].mean() < 0.45 and covered_fraction(head, covered, affine) > 0.9
    covered[:, :, 46:] = False
    assert covered_fraction(head, covered, affine) < 0.4


def axial(image, height_mm, above_mm=0.0):
    """Axial slices of an image, so many mm high, above the middle."""
    n = round(height_mm / image.spacing_mm[2])
    first = (image.shape[2] - n) // 2 + round(above_mm / image.spacing_mm[2])
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    return Image(image.data[:, :, first : first + n], affine)


@pytest.mark.parametrize(("height_mm", "used"), [(36, False), (130, True)])
def test_a_t1w_as_wide_as_the_head_is_left_out_where_it_covers_a_slab_of_it(height_mm, used, t1w, work):
    """As one of the inner ear, in which the head is as wide as in the FLAIR."""
    pytest.importorskip("ants")
    load_ants(0)
    flair_work, grid = work
    part = axial(t1w, height_mm)
    check_head_sizes(moving(part), flair_work, 4.0, part)
    pair = register_t1w(part, flair_work, grid, COARSE)
    covered = covered_fraction(flair_work, pair.covered, grid.affine)
    assert pair.matches is used and (covered > 0.75) is used
    assert pair.notes == (() if used else (f"the T1w covers {covered:.0%} of the FLAIR's head only and was not used",))


def test_a_narrow_t1w_of_the_same_head_is_used_where_it_covers_and_left_out_where_not(t1w, work):
    pytest.importorskip("ants")
    load_ants(0)
    flair_work, grid = work
    pair = register_t1w(slab(t1w, 115), flair_work, grid, COARSE)
    assert pair.matches and pair.notes == ()
    assert np.linalg.norm((pair.xfm @ [0, 0, 0, 1])[:3]) < 4.0
    assert 0.7 < covered_fraction(flair_work, pair.covered, grid.affine) < 0.95
    pair = register_t1w(slab(t1w, 60), flair_work, grid, COARSE)
    assert not pair.matches
    assert "of the FLAIR's head only and was not used" in pair.notes[0]


def test_a_case_with_a_t1w_of_few_sagittal_slices_goes_on_without_it(head, t1w):
    pytest.importorskip("ants")
    case = prepare_case(head[0], slab(t1w, 60), settings=COARSE)
    assert case.brain_source == "flair" and case.t1w_xfm is None
    assert "of the FLAIR's head only and was not used" in case.notes[0]
    alone = prepare_case(head[0], settings=COARSE)
    np.testing.assert_array_equal(case.brain_native, alone.brain_native)


def test_a_registered_t1w_on_finer_voxels_keeps_its_place():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-40, -44, -42)
    world = np.tensordot(affine[:3, :3], np.indices((40, 44, 42)), 1) + affine[:3, 3, None, None, None]
    blob = np.exp(-((world - np.array([5.0, -3, 4])[:, None, None, None]) ** 2).sum(0) / 200).astype(np.float32)
    xfm = about((3, 2, 1), rotation((5, -8, 11)), (4, -3, 6))
    fine = np.eye(4)
    fine[:3, 3] = (-50, -50, -50)
    found, covered = on_flair_grid(Image(blob, affine), Grid((100, 101, 102), fine), xfm)
    peak = fine[:3, :3] @ ndimage.center_of_mass(found) + fine[:3, 3]
    np.testing.assert_allclose(peak, (np.linalg.inv(xfm) @ [5, -3, 4, 1])[:3], atol=0.3)
    there = np.tensordot(xfm @ fine, np.concatenate([np.indices(found.shape), np.ones((1, *found.shape))]), 1)[:3]
    voxel = np.tensordot(np.linalg.inv(affine)[:3, :3], there - affine[:3, 3, None, None, None], 1)
    limit = np.array([39, 43, 41])[:, None, None, None]
    assert covered[((voxel > 0.1) & (voxel < limit - 0.1)).all(axis=0)].all()
    assert not covered[((voxel < -1) | (voxel > limit + 1)).any(axis=0)].any()
