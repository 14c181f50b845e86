"""What scanner, storage and brain extraction do to a training head: each step does what it says, and does something."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from flairnb.cohort.phantom import degrade, lesions, training
from flairnb.cohort.phantom.anatomy import Anatomy, draw_anatomy
from flairnb.cohort.phantom.tissue import CORTEX, NUCLEI, PARENCHYMA, Tissue, is_in
from flairnb.cohort.phantom.training import Sources

NO = 0.99  # a draw that leaves a step out


class Scripted:
    """A generator whose draws are written down, in order, by kind; `choice` takes the first of what is offered."""

    def __init__(self, **draws):
        self.draws = {kind: list(values) for kind, values in draws.items()}

    def __getattr__(self, kind):
        return lambda *_args, **_words: self.draws[kind].pop(0)

    def choice(self, offered, **_words):
        return offered[0]


@pytest.fixture
def ones():
    return np.ones((20, 14, 9), np.float32)


def test_a_ghost_is_a_faint_copy_at_half_a_third_or_a_fourth_of_the_field_of_view(ones):
    """Phase along axis 1 of slices along axis 0: 14 voxels, a third of them is 4; the copy has 5%, and wraps round."""
    image = 0 * ones
    image[3, 12, 4] = 2.0
    found = degrade._artefacts(Scripted(random=[0.0, NO, NO], integers=[3], uniform=[0.05]), image, 0)
    assert {tuple(at): round(float(found[tuple(at)]), 6) for at in np.argwhere(found)} == {(3, 12, 4): 2.0, (3, 2, 4): 0.1}


def test_no_artefact_is_no_change_and_the_slice_axis_is_never_the_phase(rng, ones):
    image = rng.random(ones.shape, dtype=np.float32)
    assert degrade._artefacts(Scripted(random=[NO, NO, NO]), image, 2) is image
    for seed in range(60):
        spot = 0 * ones
        spot[10, 7, 4] = 1.0
        found = degrade._artefacts(np.random.default_rng(seed), spot, 2)
        assert not np.delete(found, 4, axis=2).any(), seed


def test_interleaved_slices_differ_in_gain_and_by_nothing_else(rng, ones):
    image = rng.uniform(0.5, 1.5, ones.shape).astype(np.float32)
    gains = np.linspace(-0.04, 0.04, 9)
    found = degrade._artefacts(Scripted(random=[NO, NO, 0.0], uniform=[0.03], normal=[gains]), image, 2)
    np.testing.assert_allclose(found / image, np.broadcast_to(1 + gains, image.shape), rtol=1e-5)


def test_artefacts_change_about_four_in_ten_images_by_some_percent(rng):
    image = rng.uniform(0.5, 1.5, (24, 22, 20)).astype(np.float32)
    images = [degrade._artefacts(np.random.default_rng(seed), image, 2) for seed in range(200)]
    changes = np.array([np.sqrt(np.mean((found - image) ** 2)) / image.mean() for found in images])
    # 1 - 0.85 * 0.88 * 0.7 = 0.476 of axial slices.
    assert 0.38 < np.mean(changes > 0) < 0.58
    assert 0.003 < np.median(changes[changes > 0]) < 0.1 and changes.max() < 0.4


def test_motion_shifts_the_waves_of_the_lines_that_saw_it_and_leaves_the_others():
    """Shift theorem: of two waves along the phase axis only the one within the band moves, by 1.5 voxels; the mean stays."""
    x = np.arange(40)
    slow, fast = (lambda at, n=n: 0.3 * np.cos(2 * np.pi * n * at / 40) for n in (2, 6))
    image = np.tile((1 + slow(x) + fast(x)).astype(np.float32)[None, :, None], (3, 1, 2))
    found = degrade._motion(Scripted(integers=[1], uniform=[0.1, 0.1], normal=[1.5]), image, 1)
    expected = 1 + slow(x) + fast(x - 1.5)
    np.testing.assert_allclose(found, np.broadcast_to(expected[None, :, None], found.shape), atol=1e-5)


def test_motion_keeps_the_mean_and_changes_a_head_by_some_percent():
    """The centre of k-space sees no motion; where the image stays positive, its magnitude has the same mean."""
    i, j, k = np.ogrid[-1:1:48j, -1:1:41j, -1:1:20j]
    head = 0.8 + 1.0 * (i**2 + j**2 + k**2 < 0.7) + 0.8 * (i**2 + j**2 + k**2 < 0.2)
    for seed in range(20):
        found = degrade._motion(np.random.default_rng(seed), head.astype(np.float32), 1)
        assert found.mean() == pytest.approx(head.mean(), rel=2e-3)
        assert 0.001 < np.sqrt(np.mean((found - head) ** 2)) / head.mean() < 0.2, seed


@pytest.fixture
def stored_head(rng):
    """An image with a tail of bright voxels, and the mask of its middle."""
    image = np.exp(rng.normal(0, 0.4, (24, 22, 20))).astype(np.float32)
    brain = np.zeros(image.shape, bool)
    brain[4:-4, 4:-4, 4:-4] = True
    return image, brain


def test_eight_bits_hold_at_most_256_values_and_clip_the_brightest(stored_head):
    image, brain = stored_head
    found = degrade._store(Scripted(random=[NO, 0.0], uniform=[99.0]), image, brain)
    ceiling = np.percentile(image[brain], 99.0)
    assert 200 < len(np.unique(found)) <= 256 and found.max() == pytest.approx(ceiling, rel=1e-6)
    assert np.abs(found - np.minimum(image, ceiling)).max() <= 0.5 * ceiling / 255 + 1e-6
    assert np.count_nonzero(image[brain] > found.max()) == pytest.approx(0.01 * brain.sum(), abs=2)


def test_gamma_bends_around_the_brightest_of_the_brain(stored_head):
    image, brain = stored_head
    top = np.percentile(image[brain], 99.9)
    found = degrade._store(Scripted(random=[0.0, NO], uniform=[1.25]), image, brain)
    np.testing.assert_allclose(found, top * (image / top) ** 1.25, rtol=1e-4)
    below = image < 0.9 * top
    assert (found[below] < image[below]).all() and (found[image > 1.1 * top] > image[image > 1.1 * top]).all()


def test_storage_changes_about_half_of_the_images_and_never_their_order(stored_head):
    image, brain = stored_head
    changed = 0
    for seed in range(60):
        found = degrade._store(np.random.default_rng(seed), image, brain)
        changed += not np.array_equal(found, image)
        assert (np.diff(found.ravel()[np.argsort(image.ravel())]) >= 0).all() and found.dtype == np.float32
    assert 0.3 < changed / 60 < 0.65  # 1 - 0.7 * 0.75 = 0.475


@pytest.fixture(scope="module")
def ball() -> Anatomy:
    """A head of nested balls round a ventricle: white matter to 44 mm, cortex to 50, CSF to 53, a skull; a cleft of CSF."""
    step, half = 1.5, 42
    axis = np.arange(-half, half + 1) * step
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    r = np.sqrt(x**2 + y**2 + z**2)
    tissue = np.zeros(r.shape, np.uint8)
    for outer, code in ((58, Tissue.SKULL), (53, Tissue.CSF), (50, Tissue.GM), (44, Tissue.WM), (10, Tissue.VENTRICLE)):
        tissue[r < outer] = code
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -half * step
    return Anatomy(tissue, np.broadcast_to(x > 0, r.shape), step, affine)


def test_a_brain_mask_is_wrong_at_its_surface_only_by_4_5_mm_inwards_and_6_outwards(ball):
    """Uneven surfaces alone: style 0.9, no cut through the neck or the top."""
    depth_mm = ndimage.distance_transform_edt(ball.brain) * ball.spacing_mm
    away_mm = ndimage.distance_transform_edt(~ball.brain) * ball.spacing_mm
    grown, shrunk = [], []
    for seed in range(12):
        real = np.random.default_rng(seed)
        draws = Scripted(random=[0.9, NO, NO])
        draws.normal, draws.uniform, draws.standard_normal = real.normal, real.uniform, real.standard_normal
        found = degrade.imperfect_brain(draws, ball)
        # A voxel more: the signed distance has no zero between the mask's last voxel and the first outside.
        assert found[depth_mm > 4.5 + 2 * ball.spacing_mm].all() and not found[away_mm > 6.0 + 2 * ball.spacing_mm].any()
        grown.append(np.count_nonzero(found & ~ball.brain))
        shrunk.append(np.count_nonzero(ball.brain & ~found))
        assert grown[-1] + shrunk[-1] > 0
    assert np.median(grown) > 0.002 * ball.brain.sum() and np.median(shrunk) > 0.002 * ball.brain.sum()
    assert max(grown + shrunk) < 0.45 * ball.brain.sum()


def test_a_tight_mask_loses_outer_csf_and_no_brain():
    """A sulcus 6 mm wide, open to the outside: closing by 2 mm does not bridge it, the true brain's closing by 4 mm does."""
    step = 1.0
    tissue = np.full((40, 41, 42), Tissue.CSF, np.uint8)
    tissue[8:-8, 8:-8, 8:-8] = Tissue.WM
    tissue[8:20, 18:24, 8:-8] = Tissue.CSF
    anatomy = Anatomy(tissue, np.zeros(tissue.shape, bool), step, np.diag([step, step, step, 1.0]))
    found = degrade.imperfect_brain(Scripted(random=[0.1, NO, NO]), anatomy)
    assert found[is_in(tissue, *PARENCHYMA)].all()
    assert not found[9:18, 20:22, 12:-12].any() and anatomy.brain[9:18, 20:22, 12:-12].any()


@pytest.mark.parametrize("mm", [0.0, 9.0, 21.9])
def test_what_the_neck_and_the_top_lose_is_cut_straight(ball, mm):
    low, high = np.flatnonzero(ball.brain.any((0, 1)))[[0, -1]]
    neck = degrade.imperfect_brain(Scripted(random=[0.3, 0.0, NO], uniform=[mm]), ball)
    cut = low + int(mm / ball.spacing_mm)
    assert not neck[:, :, :cut].any()
    np.testing.assert_array_equal(neck[:, :, cut:], ball.brain[:, :, cut:])
    top = degrade.imperfect_brain(Scripted(random=[0.3, NO, 0.0], uniform=[0.6 * mm]), ball)
    cut = high - int(0.6 * mm / ball.spacing_mm)
    assert not top[:, :, cut:].any()
    np.testing.assert_array_equal(top[:, :, :cut], ball.brain[:, :, :cut])


def test_most_brain_masks_are_not_the_true_one(ball):
    masks = [degrade.imperfect_brain(np.random.default_rng(seed), ball) for seed in range(40)]
    same = np.mean([np.array_equal(mask, ball.brain) for mask in masks])
    # Neither tight (0.2) nor uneven (0.55), nor cut below (0.25) or above (0.05): 0.25 * 0.75 * 0.95 = 0.18 (on a ball, tight may be true).
    assert same < 0.5 and all(mask.any() for mask in masks)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return draw_anatomy(np.random.default_rng(3), 3.0, 60.0, [], whole_head=False)


def test_haze_lies_in_white_matter_most_of_it_at_the_ventricles_and_below_half_a_lesion(anatomy):
    near, far, highest = [], [], []
    deep = anatomy.white_matter & (anatomy.distance_to_cortex_mm > 4)
    outside = ndimage.distance_transform_edt(~anatomy.white_matter) * anatomy.spacing_mm > 6
    for seed in range(20):
        haze = training._haze(np.random.default_rng(seed), anatomy)
        assert haze.min() >= 0 and haze.max() <= 0.5 and not haze[outside].any()
        near.append(haze[deep & (anatomy.distance_to_ventricle_mm < 6)].mean())
        far.append(haze[deep & (anatomy.distance_to_ventricle_mm > 20)].mean())
        highest.append(haze.max())
    assert np.mean(near) > 1.5 * np.mean(far) and np.median(highest) > 0.15 and min(highest) > 0.01


def test_bright_grey_matter_lies_in_grey_matter_and_is_at_most_six_tenths_of_a_lesion(anatomy):
    grey = is_in(anatomy.tissue, *CORTEX, *NUCLEI, Tissue.CEREBELLUM_GM)
    away = ndimage.distance_transform_edt(~grey) * anatomy.spacing_mm > 9
    highest = []
    for seed in range(20):
        bright = training._bright_grey(np.random.default_rng(seed), anatomy)
        assert bright.min() >= 0 and bright.max() <= 0.6 and not bright[away].any()
        assert bright[grey].mean() > 2 * bright[~grey].mean()
        highest.append(bright.max())
    assert np.median(highest) > 0.15


@pytest.mark.parametrize("name", ["_haze", "_bright_grey"])
def test_what_readers_leave_out_is_brighter_and_in_no_mask(name, anatomy, monkeypatch):
    """The same draws with and without it: the image is brighter just there; a healthy head's mask stays empty."""
    real, kept = getattr(training, name), []

    def recorded(share):
        monkeypatch.setattr(training, name, lambda *args: share * (kept.append(real(*args)) or kept[-1]))

    contrast = training.draw_contrast(np.random.default_rng(1))
    empty = lesions.empty_map(anatomy)
    seed = next(s for s in range(50) if _draws(recorded, kept, s, empty, contrast) and kept[-1].max() > 0.2)
    images = {}
    for share in (0.0, 1.0):
        recorded(share)
        images[share] = training.paint(np.random.default_rng(seed), empty, contrast)
    gain = images[1.0] - images[0.0]
    there = kept[-1] > 0.1
    assert gain.min() >= -1e-5 and np.abs(gain[kept[-1] == 0]).max() < 1e-5
    assert np.mean(gain[there] > 0.05 * contrast.lesion_excess) > 0.9

    monkeypatch.setattr(training, "draw_anatomy", lambda *_args, **_words: anatomy)
    monkeypatch.setattr(training, "draw_training_lesions", lambda *_args: lesions.empty_map(anatomy))
    kept.clear()
    heads = [training.draw_head(np.random.default_rng(s), Sources(), 3.0) for s in range(8)]
    assert len(kept) >= 2 and not any(head.mask.any() for head in heads)


def _draws(recorded, kept, seed, empty, contrast) -> bool:
    recorded(1.0)
    before = len(kept)
    training.paint(np.random.default_rng(seed), empty, contrast)
    return len(kept) > before
