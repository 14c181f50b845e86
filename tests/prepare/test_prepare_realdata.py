"""Real clinical examinations against what their publishers computed."""

import numpy as np
import pytest

from flairnb.images import read_image, read_mask
from flairnb.prepare.bridge import read_xfm
from flairnb.prepare.case import prepare_case
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


def test_stripped_brain_with_negative_background_is_taken_whole(realdata):
    folder = realdata / "openms_mni" / "sub-omx26" / "anat"
    flair = read_image(folder / "sub-omx26_space-MNI152_desc-brain_FLAIR.nii.gz")
    case = prepare_case(flair, skull_stripped=True, settings=load("paper").prepare)
    assert 1000 < case.brain_native.sum() * flair.voxel_volume_ml < 2000
    lesion = read_mask(folder / "sub-omx26_space-MNI152_label-lesion_desc-consensus_mask.nii.gz", flair)
    assert case.brain_native[lesion].mean() > 0.99
