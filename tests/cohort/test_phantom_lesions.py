"""Lesions: volumes, places, diseases."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from flairnb.cohort.diagnoses import DIAGNOSES
from flairnb.cohort.phantom import lesions as shapes
from flairnb.cohort.phantom.anatomy import draw_anatomy
from flairnb.cohort.phantom.masses import MassPlan, add_mass
from flairnb.cohort.phantom.mni_shapes import from_mni_mask
from flairnb.cohort.phantom.recipes import RECIPES, draw_lesions
from flairnb.cohort.phantom.tissue import CORTEX, Tissue, is_in
from flairnb.errors import InputError

SPACING = 2.5


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(np.random.default_rng(11), SPACING, age=50, whole_head=False)


def ml(mask):
    return mask.sum() * SPACING**3 / 1000


@pytest.mark.parametrize("volume", [2.0, 20.0, 60.0])
def test_a_white_matter_field_has_the_volume_asked_for_and_stays_in_white_matter(anatomy, rng, volume):
    mask = shapes.white_matter_field(anatomy, rng, volume)
    assert ml(mask) == pytest.approx(volume, rel=0.05)
    assert not (mask & ~anatomy.white_matter).any()


def test_a_field_tied_to_the_ventricles_lies_nearer_to_them(anatomy):
    near, far = (shapes.white_matter_field(anatomy, np.random.default_rng(1), 15, periventricular=p, reach_mm=6) for p in (5.0, 0.0))
    assert anatomy.distance_to_ventricle_mm[near].mean() < 0.7 * anatomy.distance_to_ventricle_mm[far].mean()


def test_foci_start_where_they_may_and_none_are_drawn_for_none(anatomy, rng):
    where = anatomy.tissue == Tissue.BRAINSTEM
    mask, strength = shapes.foci(anatomy, rng, where, 3, (3.0, 4.0))
    assert (mask & where).any()
    assert ((strength >= 0.5) & (strength <= 1.3)).all()
    assert not shapes.foci(anatomy, rng, where, 0, (3.0, 4.0))[0].any()
    assert not shapes.foci(anatomy, rng, np.zeros_like(where), 3, (3.0, 4.0))[0].any()


def test_a_mass_pushes_the_ventricles_and_has_its_volume(anatomy, rng):
    x, _, z = anatomy.world
    for side in (1, -1):
        beside = anatomy.white_matter & (side * x > 15) & (side * x < 30) & (z > 5)
        out = add_mass(shapes.empty_map(anatomy), rng, MassPlan(60, 40, effect=0.9, necrosis=0.3), where=beside)
        assert out.volume_ml == pytest.approx(100, rel=0.25)
        before, after = (np.argwhere(head.tissue == Tissue.VENTRICLE)[:, 0].mean() * SPACING for head in (anatomy, out.anatomy))
        assert 1 < side * (before - after) < 15, "mm, away from the mass"
    assert (out.dark > 0.5).sum() > 0
    assert not (out.dark > 0.5)[out.weight < 0.3].any()


def test_oedema_spares_cortex_when_told_to(anatomy):
    def share(infiltrates):
        out = add_mass(shapes.empty_map(anatomy), np.random.default_rng(3), MassPlan(5, 60, effect=0, infiltrates_cortex=infiltrates))
        return is_in(out.anatomy.tissue, *CORTEX)[out.mask].mean()

    assert share(0.0) < 0.6 * share(1.0)


def test_a_mass_fills_the_sulci_that_its_reference_closes():
    """At the surface, with much swelling: no fluid inside the reference, and as much more tissue as fluid went."""
    fine = draw_anatomy(np.random.default_rng(2), 1.5, age=75, whole_head=False)
    surface = fine.white_matter & (fine.distance_to_cortex_mm < 5)
    out = add_mass(shapes.empty_map(fine), np.random.default_rng(4), MassPlan(20, 80, effect=0, effaces_mm=4.0), where=surface)
    was_fluid = out.mask & is_in(fine.tissue, Tissue.CSF, Tissue.VENTRICLE, Tissue.CHOROID, Tissue.VESSEL)
    assert was_fluid.sum() > 0.01 * out.mask.sum(), "else this shows nothing"
    assert out.anatomy.parenchyma[was_fluid].mean() > 0.97
    assert not ((out.anatomy.tissue != fine.tissue) & ~was_fluid & (out.weight < 0.3)).any()


@pytest.mark.parametrize("key", ["LGG", "HGG", "PRES", "MST", "CNSL", "METS"])
def test_every_reference_lies_in_tissue_since_only_tissue_shows_a_lesion(anatomy, key):
    for seed in range(3):
        out = draw_lesions(anatomy, key, np.random.default_rng(seed))
        assert not (out.mask & ~out.anatomy.parenchyma).any()


@pytest.mark.parametrize("dx", [d for d in DIAGNOSES if d.key != "HEALTHY"], ids=lambda d: d.key)
def test_every_diagnosis_has_a_recipe_that_gives_lesions_of_its_size(anatomy, dx):
    found = [draw_lesions(anatomy, dx.key, np.random.default_rng(s)) for s in range(2)]
    volumes = [f.volume_ml for f in found]
    assert min(volumes) > 0
    assert max(volumes) < 350
    if dx.key in ("MIGRAINE", "SUSAC"):
        assert max(volumes) < 6
    for f in found:
        assert f.weight.min() >= 0 and f.weight.max() <= 1.0001
        assert f.mask.any() and f.signal[f.mask].mean() > 0.2


def test_healthy_has_none_and_an_unknown_diagnosis_is_named(anatomy, rng):
    assert not draw_lesions(anatomy, "HEALTHY", rng).mask.any()
    with pytest.raises(InputError, match="GOUT"):
        draw_lesions(anatomy, "GOUT", rng)
    assert sorted(RECIPES) == sorted(d.key for d in DIAGNOSES if d.key != "HEALTHY")


def test_lymphoma_is_symmetric_less_often_than_hiv_encephalopathy(anatomy):
    def asymmetry(key):
        values = []
        for s in range(3):
            f = draw_lesions(anatomy, key, np.random.default_rng(s))
            right, left = (f.mask & f.anatomy.right_side).sum(), (f.mask & ~f.anatomy.right_side).sum()
            values.append(abs(right - left) / (right + left))
        return np.mean(values)

    assert asymmetry("HIVE") < asymmetry("CNSL")


def test_a_mni_mask_lands_at_its_place(anatomy, tmp_path):
    mask = np.zeros((91, 109, 91), dtype=np.uint8)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-90, -126, -72)
    index = np.rint(np.linalg.inv(affine) @ [30, -70, 10, 1]).astype(int)[:3]
    mask[tuple(slice(i - 5, i + 6) for i in index)] = 1
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "m.nii.gz")
    # The box of MNI152's brain, 144 x 180 x 154 mm, becomes the box of this one.
    inside = np.argwhere(anatomy.brain)
    low, high = inside.min(axis=0), inside.max(axis=0)
    here, mirrored = (low + (high - low) * (np.array([x, -70, 10]) - (-72, -107, -72)) / (144, 180, 154) for x in (30, -30))
    sides = []
    for seed in range(12):
        moved = from_mni_mask(anatomy, np.random.default_rng(seed), tmp_path / "m.nii.gz", jitter_mm=0.5)
        assert ml(moved) == pytest.approx(2.2**3 * np.prod((high - low) * SPACING / (144, 180, 154)), rel=0.25)
        away = [np.abs(np.argwhere(moved).mean(axis=0) - place).max() * SPACING for place in (here, mirrored)]
        assert min(away) < 3
        sides.append(int(np.argmin(away)))
    assert 2 <= sum(sides) <= 10, "half of them are mirrored: fewer or more of 12 once in 150"


def test_the_stronger_lesion_wins_its_signal(anatomy):
    out = shapes.empty_map(anatomy)
    a, b = np.zeros(anatomy.shape, np.float32), np.zeros(anatomy.shape, np.float32)
    a[5, 5, 5], b[5, 5, 5], b[6, 6, 6] = 0.9, 0.4, 0.7
    out.add(a, 0.5, "a")
    out.add(b, 1.5, "b")
    assert out.signal[5, 5, 5] == 0.5 and out.signal[6, 6, 6] == 1.5
    assert out.kinds == ["a", "b"]
    assert dataclasses.is_dataclass(out)
