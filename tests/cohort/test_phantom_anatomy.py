"""Heads: plausible volumes, sides, reproducibility."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.cohort.phantom.anatomy import _age, draw_anatomy
from flairnb.cohort.phantom.heads import head_from_label_map, head_from_templates
from flairnb.cohort.phantom.noise import fractal_field, smooth_field
from flairnb.cohort.phantom.tissue import PARENCHYMA, Tissue, is_in
from flairnb.errors import InputError, MissingDataError

SPACING = 3.0


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(np.random.default_rng(5), SPACING, age=50)


def test_the_same_seed_gives_the_same_head(anatomy):
    again = draw_anatomy(np.random.default_rng(5), SPACING, age=50)
    np.testing.assert_array_equal(again.tissue, anatomy.tissue)
    other = draw_anatomy(np.random.default_rng(6), SPACING, age=50)
    assert other.tissue.shape != anatomy.tissue.shape or (other.tissue != anatomy.tissue).any()


@pytest.fixture(scope="module")
def brains():
    """Eight heads cropped to their brains, coarse."""
    return [draw_anatomy(np.random.default_rng(seed), 4.0, age=50, whole_head=False) for seed in range(8)]


def test_brain_volumes_are_those_of_people(brains):
    """With their fluid adults' brains have about 1.45 litres with an SD of 0.15; the templates unscaled would have 1.9."""
    ml = np.array([head.brain.sum() * 4.0**3 / 1000 for head in brains])
    assert 1250 < np.median(ml) < 1500
    assert np.sum((ml > 1000) & (ml < 1600)) >= 7 and ml.min() > 1000 and ml.max() < 2000


def test_the_brain_lies_whole_and_central_in_its_grid(anatomy, brains):
    for head, farthest_mm in ((anatomy, 20), *((brain, 12) for brain in brains)):
        inside = np.argwhere(head.brain)
        assert (inside.min(axis=0) > 0).all() and (inside.max(axis=0) < np.array(head.shape) - 1).all()
        middle = head.affine @ [*inside.mean(axis=0), 1.0]
        assert np.abs(middle[:3]).max() < farthest_mm


def test_the_brain_is_wrapped_in_csf_skull_and_scalp(anatomy):
    for tissue in (Tissue.CSF, Tissue.VENTRICLE, Tissue.SKULL, Tissue.FAT, Tissue.SKIN_MUSCLE, Tissue.EYE, Tissue.WM, Tissue.CEREBELLUM_GM):
        assert (anatomy.tissue == tissue).any(), tissue.name
    parenchyma = is_in(anatomy.tissue, *PARENCHYMA)
    assert (parenchyma & ~anatomy.brain).sum() < 0.01 * parenchyma.sum()
    assert not (anatomy.brain & is_in(anatomy.tissue, Tissue.SKULL, Tissue.FAT)).any()


def test_right_is_at_higher_x_in_the_template(anatomy):
    head = head_from_templates(2.5)
    i = np.arange(head.tissue.shape[0])[:, None, None] * np.ones(head.tissue.shape)
    assert i[head.right_side].mean() > i[~head.right_side].mean()
    assert np.isclose(head.right_side.mean(), 0.5, atol=0.1)


def test_old_heads_have_larger_ventricles_on_average():
    def ventricle_ml(age):
        heads = [draw_anatomy(np.random.default_rng(s), SPACING, age=age, whole_head=False) for s in range(4)]
        return np.mean([(h.tissue == Tissue.VENTRICLE).sum() for h in heads])

    assert ventricle_ml(88) > 1.2 * ventricle_ml(22)


def test_distances_are_in_millimetres(anatomy):
    ventricle = np.argwhere(is_in(anatomy.tissue, Tissue.VENTRICLE, Tissue.CHOROID))
    for at in np.argwhere(anatomy.white_matter)[::4000]:
        nearest = np.sqrt(((ventricle - at) ** 2).sum(axis=1).min()) * SPACING
        found = anatomy.distance_to_ventricle_mm[tuple(at)]
        assert found == pytest.approx(nearest, rel=1e-4) if nearest <= 30 else found > 30


def test_smooth_fields_have_unit_spread_and_get_smoother(rng):
    rough, smooth = (smooth_field(rng, (31, 27, 22), s) for s in (2.0, 9.0))
    for field in (rough, smooth, fractal_field(rng, (31, 27, 22), (8, 3))):
        assert field.shape == (31, 27, 22) and field.dtype == np.float32
        assert abs(field.mean()) < 0.5 and field.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.5 * np.abs(np.diff(rough, axis=0)).mean()


def test_a_label_map_that_is_absent_or_no_brain_is_refused(tmp_path):
    import nibabel as nib

    with pytest.raises(MissingDataError, match="label map"):
        head_from_label_map(tmp_path / "absent.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), dtype=np.int16), np.eye(4)), tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match="FreeSurfer codes 2 and 41"):
        head_from_label_map(tmp_path / "x.nii.gz")


@pytest.mark.realdata
def test_a_public_label_map_becomes_a_head(realdata):
    path = sorted((realdata / "labelmaps" / "synthseg").glob("*.nii.gz"))[0]
    head = head_from_label_map(path, 2.5)
    assert {int(t) for t in (Tissue.WM, Tissue.GM, Tissue.VENTRICLE, Tissue.SKULL, Tissue.FAT, Tissue.EYE)} <= set(np.unique(head.tissue))
    i = np.arange(head.tissue.shape[0])[:, None, None] * np.ones(head.tissue.shape)
    assert i[head.right_side].mean() > i[~head.right_side].mean()


@pytest.mark.parametrize(
    ("fluid", "wall", "width_mm"),
    [
        (Tissue.CSF, Tissue.GM, lambda drawn: 0.4 + 0.4 * drawn),
        (Tissue.VENTRICLE, Tissue.WM, lambda drawn: 2.5 * (1 + 0.3 * drawn)),
    ],
)
def test_fluid_widens_by_the_width_that_was_drawn_whatever_the_voxel_size(monkeypatch, fluid, wall, width_mm):
    """A slab of fluid in tissue: at each wall as much tissue goes as the mean drawn width says, not a voxel more or less."""
    from flairnb.cohort.phantom import anatomy as module

    class Fixed:
        """Draws the mean of every normal distribution."""

        def normal(self, mean, _sd):
            return mean

    rng = np.random.default_rng(0)
    for spacing in (0.5, 1.0):
        n = round(40 / spacing)
        field = rng.standard_normal((n, n, n)).astype(np.float32)
        monkeypatch.setattr(module, "smooth_field", lambda _rng, _shape, _size, field=field: field)
        tissue = np.full((n, n, n), int(wall), np.uint8)
        tissue[n // 2 : n // 2 + round(2 / spacing)] = fluid
        aged = _age(Fixed(), tissue, spacing, 85)
        lost_mm = (is_in(tissue, wall).sum() - is_in(aged, wall).sum()) * spacing / (2 * n * n)
        assert lost_mm == pytest.approx(np.clip(width_mm(rng.standard_normal(200_000)), 0, None).mean(), abs=0.08)
