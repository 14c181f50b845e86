"""Real clinical examinations against what their publishers computed."""

from dataclasses import replace

import numpy as np
import pytest

from flairnb.geometry import canonical_axes
from flairnb.images import Image, read_image, read_mask
from flairnb.prepare import brain
from flairnb.prepare.bridge import read_xfm
from flairnb.prepare.case import prepare_case
from flairnb.prepare.intensity import head_mask, tame
from flairnb.settings import load

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
OPENMS = [("oms01", "ses-1"), ("oms01", "ses-2"), ("oms03", "ses-2"), ("oms04", "ses-1")]


@pytest.mark.parametrize(("subject", "session"), OPENMS)
def test_clinical_pair_matches_the_published_mask_and_transform(realdata, subject, session):
    stem = f"sub-{subject}_{session}"
    folder = realdata / "openms" / f"sub-{subject}" / session / "anat"
    published = realdata / "openms" / "derivatives" / "published" / f"sub-{subject}" / session / "anat"
    flair, t1w = read_image(folder / f"{stem}_FLAIR.nii.gz"), read_image(folder / f"{stem}_T1w.nii.gz", "T1w")
    case = prepare_case(flair, t1w, settings=load("paper").prepare)
    assert case.brain_source == "t1w" and case.notes == ()
    mask_path = published / f"{stem}_space-FLAIR_desc-brain_mask.nii.gz"
    if mask_path.exists():
        reference = read_mask(mask_path, flair)
        assert 2 * (case.brain_native & reference).sum() / (case.brain_native.sum() + reference.sum()) > 0.94
    expected = read_xfm(published / f"{stem}_from-T1w_to-FLAIR_mode-image_xfm.txt")
    points = np.c_[np.argwhere(case.brain_native), np.ones(case.brain_native.sum())] @ flair.affine.T
    assert np.linalg.norm(((case.t1w_xfm - expected) @ points.T)[:3], axis=0).mean() < 1.0


@pytest.mark.parametrize(("subject", "session"), [("oms01", "ses-1"), ("oms04", "ses-1")])
def test_flair_alone_comes_close_to_the_published_mask(realdata, subject, session):
    stem = f"sub-{subject}_{session}"
    flair = read_image(realdata / "openms" / f"sub-{subject}" / session / "anat" / f"{stem}_FLAIR.nii.gz")
    published = realdata / "openms" / "derivatives" / "published" / f"sub-{subject}" / session / "anat"
    reference = read_mask(published / f"{stem}_space-FLAIR_desc-brain_mask.nii.gz", flair)
    case = prepare_case(flair, settings=load("paper").prepare)
    assert 2 * (case.brain_native & reference).sum() / (case.brain_native.sum() + reference.sum()) > 0.93


@pytest.mark.parametrize("subject", ["sv01", "sv02", "sv03"])
@pytest.mark.parametrize("with_t1w", [True, False])
def test_thick_slices_keep_ventricles_and_lesions_inside_the_brain(realdata, subject, with_t1w):
    published = realdata / "simvent" / "derivatives" / "published" / f"sub-{subject}" / "anat"
    flair = read_image(realdata / "simvent" / f"sub-{subject}" / "anat" / f"sub-{subject}_FLAIR.nii.gz")
    t1w = read_image(published / f"sub-{subject}_space-FLAIR_T1w.nii.gz", "T1w") if with_t1w else None
    case = prepare_case(flair, t1w, settings=load("paper").prepare)
    volume_ml = case.brain_native.sum() * flair.voxel_volume_ml
    assert 1000 < volume_ml < 1750
    for label in ("ventricle", "lesion"):
        part = read_mask(published / f"sub-{subject}_space-FLAIR_label-{label}_desc-manual_mask.nii.gz")
        assert case.brain_native[part].mean() > 0.97


def test_noise_does_not_eat_into_the_brain_of_a_flair_alone(realdata, rng):
    """Of an SD of 15% of the brain's mean, as of fast 3D sequences; it took 30% of this brain, and half of a clinical one at 20%."""
    flair = read_image(realdata / "healthy3d" / "sub-h01" / "anat" / "sub-h01_FLAIR.nii.gz")
    settings = load("paper").prepare
    brain = prepare_case(flair, settings=settings).brain_native
    sd = 0.15 * flair.data[brain].mean()
    noise = [rng.normal(0, sd, flair.shape) for _ in range(2)]
    noisy = replace(flair, data=np.hypot(flair.data + noise[0], noise[1]).astype(np.float32))
    found = prepare_case(noisy, settings=settings).brain_native
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.985


@pytest.mark.parametrize("with_t1w", [True, False])
def test_the_brain_hardly_depends_on_where_the_template_put_it(realdata, monkeypatch, with_t1w):
    published = realdata / "simvent" / "derivatives" / "published" / "sub-sv02" / "anat"
    flair = read_image(realdata / "simvent" / "sub-sv02" / "anat" / "sub-sv02_FLAIR.nii.gz")
    t1w = read_image(published / "sub-sv02_space-FLAIR_T1w.nii.gz", "T1w") if with_t1w else None
    masks = []
    for fit_mm in (4.0, 2.5):
        monkeypatch.setattr(brain, "_FIT_MM", fit_mm)
        masks.append(prepare_case(flair, t1w, settings=load("paper").prepare).brain_native)
    assert 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()) > 0.99


def test_stripped_brain_with_negative_background_is_taken_whole(realdata):
    folder = realdata / "openms_mni" / "sub-omx26" / "anat"
    flair = read_image(folder / "sub-omx26_space-MNI152_desc-brain_FLAIR.nii.gz")
    case = prepare_case(flair, skull_stripped=True, settings=load("paper").prepare)
    assert 1000 < case.brain_native.sum() * flair.voxel_volume_ml < 2000
    lesion = read_mask(folder / "sub-omx26_space-MNI152_label-lesion_desc-consensus_mask.nii.gz", flair)
    assert case.brain_native[lesion].mean() > 0.99


def clinical(realdata, subject="oms01", session="ses-1"):
    """Return FLAIR, T1w and the published brain mask of a clinical examination."""
    stem = f"sub-{subject}_{session}"
    folder = realdata / "openms" / f"sub-{subject}" / session / "anat"
    published = realdata / "openms" / "derivatives" / "published" / f"sub-{subject}" / session / "anat"
    flair, t1w = read_image(folder / f"{stem}_FLAIR.nii.gz"), read_image(folder / f"{stem}_T1w.nii.gz", "T1w")
    return flair, t1w, read_mask(published / f"{stem}_space-FLAIR_desc-brain_mask.nii.gz", flair)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("way", ["-1 to 1", "z-scored"])
def test_a_flair_with_negative_intensities_gives_the_same_brain(realdata, way):
    flair, _, reference = clinical(realdata)
    inside = flair.data[reference]
    factor, constant = (2 / flair.data.max(), -1) if way == "-1 to 1" else (1 / inside.std(), -inside.mean() / inside.std())
    moved = replace(flair, data=(factor * flair.data + constant).astype(np.float32))
    found, raw = prepare_case(moved).brain_native, prepare_case(flair).brain_native
    assert dice(found, raw) > 0.99
    assert dice(found, reference) > 0.95


def test_a_small_head_with_a_zeroed_background_is_extracted(realdata):
    flair, _, reference = clinical(realdata)
    affine = flair.affine.copy()
    affine[:3, :3] *= 0.95
    head = Image(np.where(head_mask(tame(flair.data)), flair.data, 0), affine)
    case = prepare_case(head)
    assert case.brain_source == "flair" and case.notes == ()
    assert dice(case.brain_native, reference) > 0.94


@pytest.mark.parametrize(("width_mm", "source"), [(105, "t1w"), (60, "flair")])
def test_a_t1w_of_few_sagittal_slices_does_not_end_the_run(realdata, width_mm, source):
    flair, t1w, reference = clinical(realdata)
    axis = canonical_axes(t1w.affine)[0][0]
    n = int(width_mm / t1w.spacing_mm[axis])
    first = (t1w.shape[axis] - n) // 2
    affine = t1w.affine.copy()
    affine[:3, 3] += affine[:3, axis] * first
    case = prepare_case(flair, Image(np.take(t1w.data, range(first, first + n), axis), affine))
    assert case.brain_source == source
    assert len(case.notes) == (source == "flair")
    assert dice(case.brain_native, reference) > 0.94
