"""A whole examination: given mask, stripped, with skull; errors and notes."""

import dataclasses

import numpy as np
import pytest

from flairnb.errors import GeometryError, InputError
from flairnb.images import Image
from flairnb.prepare.case import normalise, prepare_case
from flairnb.prepare.native import to_native
from flairnb.settings import load

pytest.importorskip("ants")
FAST = dataclasses.replace(load("demo").prepare, spacing_mm=3.0, working_spacing_mm=5.0, n4=False)


def test_normalise_gives_mean_zero_and_sd_one_inside_and_zero_outside(rng):
    data, brain = rng.normal(80, 12, (7, 8, 9)), rng.random((7, 8, 9)) < 0.6
    out, mean, sd = normalise(data, brain)
    np.testing.assert_allclose(out[brain] * sd + mean, data[brain], rtol=1e-5)
    assert out[brain].mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert out[brain].std(dtype=float) == pytest.approx(1, abs=1e-6)
    assert not out[~brain].any()


def test_normalise_of_an_empty_or_flat_mask_is_finite():
    flat = np.full((7, 8, 9), 5.0)
    assert normalise(flat, np.zeros(flat.shape, bool))[1:] == (0.0, 1.0)
    out, mean, sd = normalise(flat, np.ones(flat.shape, bool))
    assert (mean, sd) == (5.0, 1.0) and not out.any()


def test_given_mask_is_kept_exactly_and_normalises_the_work_image(head):
    flair, brain = head
    case = prepare_case(flair, brain_mask=brain, settings=FAST)
    np.testing.assert_array_equal(case.brain_native, brain)
    assert case.brain_source == "given" and case.notes == ()
    np.testing.assert_allclose(case.work_grid.spacing_mm, 3.0)
    assert case.work[case.work_brain].mean(dtype=float) == pytest.approx(0, abs=1e-5)
    assert case.work[case.work_brain].std(dtype=float) == pytest.approx(1, abs=1e-5)
    assert not case.work[~case.work_brain].any()
    back = to_native(case.work_brain.astype(np.float32), case) >= 0.5
    assert 2 * (back & brain).sum() / (back.sum() + brain.sum()) > 0.97


def test_head_with_skull_gives_its_brain_and_the_same_bits_twice(head):
    flair, brain = head
    first = prepare_case(flair, settings=FAST)
    second = prepare_case(flair, settings=FAST)
    assert first.brain_source == "flair"
    # An ellipsoid has no anatomy that a template could find: inside is enough here, real heads have their own tests.
    assert (first.brain_native & brain).sum() / first.brain_native.sum() > 0.95
    assert (first.brain_native & brain).sum() / brain.sum() > 0.3
    np.testing.assert_array_equal(first.work, second.work)
    again = prepare_case(flair, brain_mask=first.brain_native, settings=FAST)
    np.testing.assert_array_equal(first.work, again.work)


def test_t1w_of_the_same_head_is_registered_and_used(head, simulated_head):
    flair, brain = head
    affine = np.diag([2.5, 2.5, 2.5, 1.0])
    affine[:3, 3] = (-98, -120, -98)
    t1w = Image(simulated_head((79, 97, 79), affine, "t1w")[0].astype(np.float32), affine)
    case = prepare_case(flair, t1w, settings=FAST)
    assert case.brain_source == "t1w"
    assert 2 * (case.brain_native & brain).sum() / (case.brain_native.sum() + brain.sum()) > 0.7
    centre = case.t1w_xfm @ np.array([0, 0, 0, 1.0])
    assert np.linalg.norm(centre[:3]) < 4.0


def test_stripped_input_keeps_its_brain(head):
    flair, brain = head
    stripped = Image(np.where(brain, flair.data, 0).astype(np.float32), flair.affine)
    case = prepare_case(stripped, skull_stripped=True, settings=FAST)
    assert (case.brain_native == brain).mean() > 0.999
    assert case.brain_source == "stripped" and case.notes == ()
    unsaid = prepare_case(stripped, settings=FAST)
    assert "skull-stripped already" in unsaid.notes[0]


def test_mask_of_another_grid_or_empty_is_refused(head):
    flair, brain = head
    with pytest.raises(GeometryError):
        prepare_case(flair, brain_mask=brain[:, :, :-1], settings=FAST)
    with pytest.raises(InputError, match="empty mask"):
        prepare_case(flair, brain_mask=np.zeros_like(brain), settings=FAST)


def test_a_given_mask_that_the_image_contradicts_is_noted_and_kept(head, monkeypatch):
    """Moved by `n` slices along k, an overlap by counting; and none is asked for where the image itself gives no brain."""
    from flairnb.prepare import find_brain

    flair, brain = head
    monkeypatch.setattr(find_brain, "_own_mask", lambda *_: brain)
    for n in (1, 8):
        moved = np.roll(brain, n, axis=2)
        overlap = 2 * (moved & brain).sum() / (moved.sum() + brain.sum())
        case = prepare_case(flair, brain_mask=moved, settings=FAST)
        np.testing.assert_array_equal(case.brain_native, moved)
        assert any(f"Dice {overlap:.2f}" in note for note in case.notes) == (overlap < 0.8) == (n == 8)

    def fails(*_):
        raise RuntimeError("no registration")

    for own in (lambda *_: np.zeros_like(brain), fails):
        monkeypatch.setattr(find_brain, "_own_mask", own)
        assert prepare_case(flair, brain_mask=moved, settings=FAST).notes == ()


def test_a_stripped_brain_contradicts_a_mask_out_of_place(head):
    flair, brain = head
    alone = dataclasses.replace(flair, data=np.where(brain, flair.data, 0).astype(np.float32))
    assert prepare_case(alone, brain_mask=brain, settings=FAST).notes == ()
    (note,) = prepare_case(alone, brain_mask=np.roll(brain, 8, axis=2), settings=FAST).notes
    assert "hardly agree" in note


def test_holes_of_a_given_mask_are_noted(head):
    """Lesions cut out of a brain mask, as some tools do: nothing is found there, and the volume alone says nothing."""
    flair, brain = head
    alone = dataclasses.replace(flair, data=np.where(brain, flair.data, 0).astype(np.float32))
    middle = tuple(int(n) for n in np.argwhere(brain).mean(axis=0))
    for size, noted in (((20, 20, 6), True), ((2, 2, 1), False)):
        holed = brain.copy()
        holed[tuple(slice(at - n // 2, at - n // 2 + n) for at, n in zip(middle, size, strict=True))] = False
        notes = prepare_case(alone, brain_mask=holed, settings=FAST).notes
        volume = np.prod(size) * flair.voxel_volume_ml
        assert [note for note in notes if f"holes of {volume:.0f} ml" in note] == list(notes) and bool(notes) is noted


def test_a_whole_head_that_is_called_stripped_is_noted(head):
    flair, brain = head
    notes = prepare_case(flair, skull_stripped=True, settings=FAST).notes
    assert any("is this a whole head?" in note for note in notes)
    alone = dataclasses.replace(flair, data=np.where(brain, flair.data, 0).astype(np.float32))
    assert prepare_case(alone, skull_stripped=True, settings=FAST).notes == ()


def test_tiny_mask_is_noted(head):
    flair, brain = head
    small = np.zeros_like(brain)
    small[35:45, 40:50, 14:18] = True
    assert "ml are usual" in prepare_case(flair, brain_mask=small, settings=FAST).notes[0]


@pytest.mark.parametrize("n4_flair", [False, True])
def test_neither_a_factor_nor_a_constant_changes_the_prepared_head(head, n4_flair):
    flair, brain = head
    settings = dataclasses.replace(FAST, n4_flair=n4_flair)
    raw = prepare_case(flair, settings=settings)
    mean, sd = float(flair.data[brain].mean()), float(flair.data[brain].std())
    for factor, constant in ((1 / sd, -mean / sd), (1 / 400, -1.0)):
        moved = dataclasses.replace(flair, data=(factor * flair.data + constant).astype(np.float32))
        case = prepare_case(moved, settings=settings)
        a, b = case.brain_native, raw.brain_native
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.99
        again = prepare_case(moved, brain_mask=b, settings=settings)
        np.testing.assert_allclose(again.work, raw.work, atol=2e-2 if n4_flair else 1e-3)
        assert again.mean == pytest.approx(factor * raw.mean + constant, abs=0.01 * factor * raw.mean)
        assert again.sd == pytest.approx(factor * raw.sd, rel=1e-2)


def test_what_shines_outside_the_brain_does_not_shine_into_it(head):
    """Fat of any brightness beyond the mask: on thick slices the work grid lies between brain and scalp."""
    flair, brain = head
    outside = ~brain & (flair.data > 0)
    seen = []
    for factor in (1.0, 5.0):
        data = np.where(outside, np.maximum(flair.data, np.median(flair.data[brain])) * factor, flair.data).astype(np.float32)
        case = prepare_case(dataclasses.replace(flair, data=data), brain_mask=brain, settings=FAST)
        seen.append((case.work, case.mean, case.sd))
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    assert seen[0][1:] == seen[1][1:]


def test_saturated_voxels_stay_the_brightest_of_the_work_image(head):
    flair, brain = head
    export = np.clip(flair.data / np.percentile(flair.data[brain], 98) * 65535, 0, 65535).astype(np.uint16).astype(np.float32)
    assert (export[brain] == 65535).mean() > 0.01
    case = prepare_case(dataclasses.replace(flair, data=export), brain_mask=brain, settings=FAST)
    raw = prepare_case(flair, brain_mask=brain, settings=FAST)
    bright = raw.work > np.percentile(raw.work[raw.work_brain], 99)
    assert case.work[bright].min() > 0
    assert np.corrcoef(case.work[case.work_brain], raw.work[raw.work_brain])[0, 1] > 0.99


def test_a_small_head_on_zeros_is_extracted_and_not_taken_whole(head):
    flair, _ = head
    affine = flair.affine.copy()
    affine[:3] *= 0.8
    small = Image(np.where(flair.data > 40, flair.data, 0).astype(np.float32), affine)
    case = prepare_case(small, settings=FAST)
    assert case.brain_source in ("flair", "guess")
    assert not any("skull-stripped" in note for note in case.notes)
