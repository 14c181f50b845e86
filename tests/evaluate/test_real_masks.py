from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from flairnb.evaluate.components import lesion_table
from flairnb.evaluate.files import score_files
from flairnb.images import read_mask

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module", params=["sub-sv01", "sub-sv02", "sub-sv03"])
def folder(request, realdata):
    return realdata / "simvent" / "derivatives" / "published" / request.param / "anat"


def mask_path(folder, label):
    return folder / f"{folder.parent.name}_space-FLAIR_label-{label}_desc-manual_mask.nii.gz"


def test_a_published_part_of_a_mask_scores_as_a_part_of_it(folder):
    scores = score_files(mask_path(folder, "lesion"), mask_path(folder, "periventricular"))
    part = scores.predicted_ml / scores.reference_ml
    assert scores.ppv == pytest.approx(1.0)
    assert scores.specificity == 1.0
    assert scores.sensitivity == pytest.approx(part)
    assert scores.dice == pytest.approx(2 * part / (1 + part))
    assert scores.lesion_precision == 1.0
    assert scores.hd95_mm > 0


def test_lesions_of_a_real_mask_add_up_and_lie_inside_the_head(folder):
    path = mask_path(folder, "lesion")
    mask, affine = read_mask(path), nib.load(path).affine
    table = lesion_table(mask, affine)
    assert table["volume_ml"].sum() == pytest.approx(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    centre = affine[:3, :3] @ ((np.array(mask.shape) - 1) / 2) + affine[:3, 3]
    offset = np.abs(table[["centroid_r_mm", "centroid_a_mm", "centroid_s_mm"]].to_numpy() - centre)
    assert offset.max() < 110
    assert table["max_in_plane_diameter_mm"].between(0.5, 120).all()
