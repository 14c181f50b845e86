"""What passes for a skull-stripped brain: no head, however small, and any brain, however scaled."""

import numpy as np
import pytest

from flairnb.geometry import fill_holes, mask_box
from flairnb.images import Image, read_image
from flairnb.prepare.intensity import head_mask, tame
from flairnb.prepare.stripped import dark_shell, looks_stripped, stripped_mask

SHAPE, SPACING = (101, 121, 27), (2.1, 1.9, 7.0)


def phantom(simulated_head, spacing=SPACING, shape=SHAPE, noise=8.0):
    """A simulated FLAIR of a head on 0, and its brain, on thick slices."""
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    data, brain = simulated_head(shape, affine)
    head = data > 0
    data = np.abs(data + np.random.default_rng(7).normal(0, noise, shape))
    return Image(np.where(head, data, 0).astype(np.float32), affine), brain


def scaled(image, factor):
    """The same voxels on a head that is larger or smaller."""
    affine = image.affine.copy()
    affine[:3] *= factor
    return Image(image.data, affine)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def volume_ml(image):
    return stripped_mask(image).sum() * image.voxel_volume_ml


@pytest.mark.parametrize(("spacing", "shape"), [(SPACING, SHAPE), ((2.2, 2.4, 2.6), (97, 105, 81)), ((6.5, 1.9, 2.1), (31, 121, 101))])
def test_a_small_head_on_an_empty_background_is_no_brain(simulated_head, spacing, shape):
    image, brain = phantom(simulated_head, spacing, shape)
    small = scaled(image, 0.8)
    assert 1000 < volume_ml(small) < 1950
    assert not looks_stripped(small)
    assert looks_stripped(Image(np.where(brain, small.data, 0), small.affine))


def test_a_head_covered_in_part_is_no_brain(simulated_head):
    image, brain = phantom(simulated_head)
    top = Image(image.data[:, :, -13:], image.affine)
    assert 700 < volume_ml(top) < 1950
    assert not looks_stripped(top)
    assert looks_stripped(Image(np.where(brain, image.data, 0)[:, :, -13:], image.affine))


def test_the_air_around_a_slab_of_a_brain_cropped_close_is_not_in_its_mask(simulated_head):
    image, brain = phantom(simulated_head)
    slab = np.s_[:, :, 11:17]
    box = mask_box(brain[slab])
    cropped, true = np.where(brain, image.data, 0)[slab][box], brain[slab][box]
    faces = [cropped[0], cropped[-1], cropped[:, 0], cropped[:, -1], cropped[:, :, 0], cropped[:, :, -1]]
    assert np.median(np.concatenate([f.ravel() for f in faces])) > 0  # most of the border is brain
    assert dice(stripped_mask(Image(cropped, image.affine)), true) > 0.99


def test_the_dark_shell_of_a_head_does_not_depend_on_scale_or_constant(simulated_head):
    image, brain = phantom(simulated_head)
    mask = stripped_mask(image)
    share = dark_shell(image, mask)
    assert share > 0.3
    for factor, constant in ((1 / 300, -1.0), (4.0, 200.0)):
        moved = Image((factor * image.data + constant).astype(np.float32), image.affine)
        np.testing.assert_array_equal(stripped_mask(moved), mask)
        assert dark_shell(moved, mask) == pytest.approx(share, abs=0.01)
        assert not looks_stripped(scaled(moved, 0.8))
    alone = Image(np.where(brain, image.data, 0), image.affine)
    assert dark_shell(alone, brain) < 0.05


def test_a_shell_of_known_depth_is_measured():
    shape, affine = (81, 83, 85), np.diag([2.0, 2.0, 2.0, 1.0])
    r = 2.0 * np.sqrt(sum((v - (n - 1) / 2) ** 2 for v, n in zip(np.indices(shape), shape, strict=True)))
    ball = r < 75
    whole = 71**3 - 58**3
    for outer, inner, share in (
        (75, 55, 1),
        (68, 62, (68**3 - 62**3) / whole),
        (65, 60, (65**3 - 60**3) / whole),
        (75, 74, 0),
        (50, 40, 0),
    ):
        data = np.where(ball, 100.0, 0.0)
        data[(r < outer) & (r >= inner)] = 10
        assert dark_shell(Image(data.astype(np.float32), affine), ball) == pytest.approx(share, abs=0.12), (outer, inner)


def test_where_nothing_is_deep_or_a_mask_has_no_surface_there_is_no_shell():
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    full = np.ones((21, 23, 25), bool)
    assert dark_shell(Image(full.astype(np.float32), affine), full) == 0.0
    thin = np.zeros(full.shape, bool)
    thin[8:12] = True
    assert dark_shell(Image(thin.astype(np.float32), affine), thin) == 0.0
    assert not looks_stripped(Image(np.zeros(full.shape, np.float32), affine))


def test_a_brain_with_wide_ventricles_and_fluid_around_it_is_still_a_brain(simulated_head):
    image, brain = phantom(simulated_head)
    x, y, z = (v - (n - 1) / 2 for v, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    wide = ((x * 2.1 / 30) ** 2 + (y * 1.9 / 50) ** 2 + (z * 7 / 30) ** 2 < 1) & brain
    with_fluid = np.where(image.data > 80, image.data, 0)
    assert looks_stripped(Image(np.where(wide, 60, np.where(brain, image.data, 0)).astype(np.float32), image.affine))
    # Some 3 mm of fluid around the brain, as loose extraction leaves it.
    shell = (np.sqrt((x * 2.1 / 68) ** 2 + (y * 1.9 / 86) ** 2 + (z * 7 / 74) ** 2) < 1) & ~brain
    loose = np.where(shell, 100, np.where(brain, with_fluid, 0)).astype(np.float32)
    assert looks_stripped(Image(loose, image.affine))


@pytest.mark.parametrize(("factor", "constant"), [(1.0, 0.0), (37.0, 0.0), (1.0, -3.0), (0.2, 1.0)])
def test_a_z_scored_brain_on_a_background_amid_its_intensities_is_whole(rng, simulated_head, factor, constant):
    image, brain = phantom(simulated_head)
    z = np.where(brain, (image.data - image.data[brain].mean()) / image.data[brain].std(), 0)
    assert 0.2 < (z[brain] < 0).mean() < 0.8
    moved = Image((factor * z + constant).astype(np.float32), image.affine)
    mask = stripped_mask(moved)
    assert not mask[~brain].any()
    assert mask[brain].mean() > 0.97
    assert looks_stripped(moved)


def test_a_scaled_brain_gives_the_same_mask(simulated_head):
    image, brain = phantom(simulated_head)
    alone = np.where(brain, image.data, 0)
    for factor, constant in ((1.0, 0.0), (1e-4, 0.0), (1 / 500, -1.0), (2.0, 100.0), (-1.0, 0.0)):
        np.testing.assert_array_equal(stripped_mask(Image((factor * alone + constant).astype(np.float32), image.affine)), brain)


@pytest.mark.realdata
@pytest.mark.parametrize(("subject", "session"), [("oms01", "ses-1"), ("oms03", "ses-2"), ("oms04", "ses-1")])
def test_small_clinical_heads_are_no_brains(realdata, subject, session):
    flair = read_image(realdata / "openms" / f"sub-{subject}" / session / "anat" / f"sub-{subject}_{session}_FLAIR.nii.gz")
    head = head_mask(tame(flair.data))
    zeroed = Image(np.where(head, flair.data, 0), flair.affine)
    for image in (scaled(zeroed, 0.95), scaled(zeroed, 0.85), Image(zeroed.data[:, :, -25:], flair.affine)):
        assert 700 < volume_ml(image) < 2300
        assert not looks_stripped(image)


@pytest.mark.realdata
def test_public_brains_are_known_as_such_and_kept_whole_when_z_scored(realdata):
    paths = sorted(realdata.glob("*/*/anat/*_desc-brain_FLAIR.nii.gz"))
    assert len(paths) >= 5
    for path in (paths[0], paths[2], paths[-1]):
        image = read_image(path)
        mask = stripped_mask(image)
        assert looks_stripped(image) and dark_shell(image, mask) < 0.05, path.name
        z = np.where(mask, (image.data - image.data[mask].mean()) / image.data[mask].std(), 0).astype(np.float32)
        assert dice(stripped_mask(Image(z, image.affine)), fill_holes(mask)) > 0.99, path.name
        assert looks_stripped(Image(z, image.affine)), path.name
