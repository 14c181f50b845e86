"""Telling T1w from FLAIR: simulated tissue, and public pairs where they are at hand."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.images import Image, read_image
from flairnb.prepare.contrast import Contrast, contrast_of
from flairnb.prepare.stripped import stripped_mask
from flairnb.report.doubts import cut_sides

#: CSF, grey, white matter and lesion in units of white matter.
TISSUES = {"t1w": (0.25, 0.7, 1.0, 0.75), "flair": (0.2, 1.25, 1.0, 1.7)}


def brain(contrast: str, affine: np.ndarray, shape=(75, 90, 28)) -> tuple[Image, np.ndarray]:
    """Return a brain with folded cortex, ventricles, lesions, bias and noise, and its mask."""
    rng = np.random.default_rng(5)
    index = np.indices(shape).reshape(3, -1)
    x, y, z = ((affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]).reshape(3, *shape)
    radius = np.sqrt((x / 65) ** 2 + (y / 80) ** 2 + (z / 65) ** 2)
    folds = 0.22 * np.sin(x / 5) * np.sin(y / 6) * np.sin(z / 5)
    csf, grey, white, lesion = TISSUES[contrast]
    data = np.where(radius + folds < 0.74, white, grey)
    data[radius + folds > 0.97] = csf
    data[((np.abs(x) - 22) / 9) ** 2 + (y / 20) ** 2 + (z / 14) ** 2 < 1] = grey
    data[(x / 12) ** 2 + (y / 30) ** 2 + (z / 14) ** 2 < 1] = csf
    data[((x - 25) / 9) ** 2 + (y / 9) ** 2 + (z / 9) ** 2 < 1] = lesion
    inside = radius < 1
    noisy = 500 * data * (1 + 0.001 * x) + rng.normal(0, 8, shape)
    return Image(np.where(inside, noisy, 0).astype(np.float32), affine), inside


@pytest.fixture
def affine():
    """Return an oblique affine of 2 x 2 x 5.5 mm."""
    a = np.deg2rad(7)
    out = np.eye(4)
    out[:3, :3] = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.diag([-2.0, 2.0, 5.5])
    out[:3, 3] = -out[:3, :3] @ ((np.array((75, 90, 28)) - 1) / 2)
    return out


@pytest.mark.parametrize("kind", TISSUES)
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (0.01, 0), (3, -900)])
def test_simulated_brains_are_told_apart_whatever_their_scale(kind, scale, offset, affine):
    image, inside = brain(kind, affine)
    found = contrast_of(Image(image.data * scale + offset, affine), inside, affine)
    assert found.is_t1w == (kind == "t1w") and found.is_flair == (kind == "flair"), found


def test_too_little_brain_gives_no_verdict(affine):
    image, inside = brain("flair", affine)
    small = np.zeros_like(inside)
    small[35:40, 40:45, 12:15] = True
    assert contrast_of(image, small, affine) is None
    assert contrast_of(Image(np.ones_like(image.data), affine), inside, affine) is None


def test_a_verdict_needs_both_numbers():
    assert not Contrast(0.3, 0.0).is_t1w and not Contrast(0.6, -0.3).is_t1w
    assert not Contrast(0.3, 0.0).is_flair and not Contrast(0.6, -0.3).is_flair


def test_cut_sides_follow_the_affine(affine):
    _, inside = brain("flair", affine)
    assert cut_sides(inside, affine) == []
    assert cut_sides(inside[:40], affine) == ["left"]
    assert cut_sides(inside[40:], affine) == ["right"]
    assert cut_sides(inside[:, :, :18], affine) == ["top"]
    assert cut_sides(inside[:, :, 12:], affine) == ["bottom"]


@pytest.mark.realdata
def test_public_stripped_pairs_are_told_apart(realdata):
    pairs = [(f, f.with_name(f.name.replace("_FLAIR", "_T1w"))) for f in sorted(realdata.glob("*/*/anat/*_desc-brain_FLAIR.nii.gz"))]
    assert len(pairs) >= 5
    for flair_path, t1w_path in pairs:
        flair, t1w = read_image(flair_path), read_image(t1w_path)
        inside = stripped_mask(flair)
        flair_looks, t1w_looks = (contrast_of(image, inside, image.affine) for image in (flair, t1w))
        assert flair_looks.is_flair and not flair_looks.is_t1w, (flair_path.name, flair_looks)
        assert t1w_looks.is_t1w and not t1w_looks.is_flair, (t1w_path.name, t1w_looks)
