"""The training generator: prepared, reproducible, honest masks."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.cohort.phantom import training
from flairnb.cohort.phantom.anatomy import draw_anatomy
from flairnb.cohort.phantom.contrast import draw_contrast
from flairnb.cohort.phantom.degrade import along, rician, slice_matrices
from flairnb.cohort.phantom.recipes import RECIPES
from flairnb.cohort.phantom.tissue import Tissue
from flairnb.cohort.phantom.training import FAMILIES, Sources, draw_head, draw_training_lesions


@pytest.fixture(scope="module")
def heads():
    return [draw_head(np.random.default_rng(s), Sources(), 3.0) for s in range(6)]


def test_the_same_seed_gives_the_same_head(heads):
    again = draw_head(np.random.default_rng(0), Sources(), 3.0)
    np.testing.assert_array_equal(again.image, heads[0].image)
    np.testing.assert_array_equal(again.mask, heads[0].mask)


def test_images_are_z_scored_in_the_brain_and_zero_outside(heads):
    for head in heads:
        inside = head.image != 0
        assert 0.05 < inside.mean() < 0.9
        assert head.image[inside].mean() == pytest.approx(0, abs=0.02)
        assert head.image[inside].std() == pytest.approx(1, abs=0.02)
        assert not head.mask[~inside].any()
        assert head.mask.dtype == np.uint8 and set(np.unique(head.mask)) <= {0, 1}


def test_lesions_are_brighter_than_the_rest_in_every_head(heads):
    brighter = [h.image[h.mask > 0].mean() > h.image[(h.mask == 0) & (h.image != 0)].mean() for h in heads if h.mask.sum() > 20]
    assert len(brighter) >= 3
    assert all(brighter)


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(np.random.default_rng(3), 3.0, 60.0, whole_head=False)


def test_shares_of_families_are_shares_and_every_family_is_drawn(anatomy):
    assert sum(FAMILIES.values()) == pytest.approx(1)
    for family in FAMILIES:
        drawn = [draw_training_lesions(np.random.default_rng(s), anatomy, family, Sources()) for s in range(3)]
        assert any(one.mask.any() for one in drawn) == (family != "healthy"), family


def test_the_family_of_diseases_draws_all_19_recipes(anatomy, monkeypatch):
    """Which recipe is drawn, and that its lesions come from it, is seen at recipes that only say their name."""

    def named(key):
        def recipe(lesions, _rng, disease):
            assert disease.key == key
            lesions.add(anatomy.white_matter.astype(np.float32), 1.0, f"by {key}")
            return lesions

        return recipe

    for key in list(RECIPES):
        monkeypatch.setitem(RECIPES, key, named(key))
    found = [draw_training_lesions(np.random.default_rng(s), anatomy, "disease", Sources()).kinds for s in range(250)]
    assert {kinds[0] for kinds in found} == set(RECIPES) and len(RECIPES) == 19
    assert all(kinds[1] == f"by {kinds[0]}" for kinds in found)


def test_every_stroke_head_has_an_infarct_and_most_a_real_shape_where_there_are_some(anatomy, monkeypatch):
    taken = []

    def shape(anatomy, rng, path, *rest):
        taken.append(path)
        return anatomy.white_matter

    monkeypatch.setattr(training, "from_mni_mask", shape)
    heads = [draw_training_lesions(np.random.default_rng(s), anatomy, "stroke", Sources(stroke_masks=("a", "b"))) for s in range(24)]
    assert all("infarct" in head.kinds for head in heads)
    assert 8 <= len(taken) < 24 and set(taken) == {"a", "b"}


def test_white_matter_is_one_and_csf_dark_in_every_contrast(rng):
    for _ in range(30):
        contrast = draw_contrast(rng)
        assert contrast.means[Tissue.WM] == pytest.approx(1.0, abs=1e-5)
        assert contrast.means[Tissue.VENTRICLE] < 0.9
        assert contrast.lesion_excess > 0.2


@pytest.mark.parametrize("thickness", [3.0, 6.5])
def test_slices_keep_constants_and_the_place_of_a_ramp(thickness):
    down, up = slice_matrices(60, 1.5, thickness, thickness, 0.2)
    np.testing.assert_allclose(up @ (down @ np.ones(60)), 1, atol=1e-5)
    ramp = np.arange(60, dtype=np.float32)
    inner = slice(8, -8)
    np.testing.assert_allclose((up @ (down @ ramp))[inner], ramp[inner], atol=0.35)


@pytest.mark.parametrize("thickness", [3.0, 6.0])
def test_a_slice_is_as_thick_as_it_says_at_half_height(thickness):
    """Weights are those of a Gaussian that has fallen to one half at half the thickness: 0.5 ** (2 d / thickness) ** 2."""
    down, _ = slice_matrices(240, 0.5, thickness, 6.0, 0.0)
    assert down.shape == (20, 240)
    for number in (5, 12):
        centre_mm = (number + 0.5) * 6.0 - 0.25
        away = np.abs(np.arange(240) * 0.5 - centre_mm)
        expected = 0.5 ** ((2 * away / thickness) ** 2)
        np.testing.assert_allclose(down[number], expected / expected.sum(), atol=1e-4)


def test_along_equals_einsum(rng):
    data = rng.normal(size=(5, 6, 7)).astype(np.float32)
    matrix = rng.normal(size=(3, 6)).astype(np.float32)
    np.testing.assert_allclose(along(matrix, data, 1), np.einsum("sj,ijk->isk", matrix, data), rtol=1e-4, atol=1e-5)


def test_rician_noise_raises_the_background_and_never_goes_negative(rng):
    noisy = rician(rng, np.zeros((20, 21, 22), np.float32), 0.1, 1.5)
    assert noisy.min() >= 0
    assert noisy.mean() > 0.05
