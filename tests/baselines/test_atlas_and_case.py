from __future__ import annotations

import numpy as np
import pytest

from flairnb.baselines.atlas import fit_atlas, load_atlas
from flairnb.baselines.case import look_at
from flairnb.geometry import Grid
from flairnb.images import Image
from flairnb.prepare.case import PreparedCase, normalise
from flairnb.prepare.register import about, rotation

from .conftest import make_head

pytest.importorskip("ants")


def worst_mm(found, expected, brain, affine):
    """Return how far apart two maps put the brain's voxels, 95th percentile in mm."""
    points = np.c_[np.argwhere(brain), np.ones(brain.sum())] @ affine.T
    return np.percentile(np.linalg.norm((points @ (found - expected).T)[:, :3], axis=1), 95)


def test_the_atlas_is_symmetric_and_holds_probabilities():
    atlas = load_atlas()
    np.testing.assert_allclose(atlas.wm, atlas.wm[::-1])
    assert 0 <= atlas.gm.min() and atlas.gm.max() <= 1
    middle = (atlas.grid.affine @ [(atlas.grid.shape[0] - 1) / 2, 0, 0, 1])[0]
    assert middle == pytest.approx(0, abs=1e-6)


def test_the_fit_finds_the_affine_that_the_head_was_made_with():
    _, t1w, brain, _, _, grid, to_mni = make_head(5)
    found = fit_atlas(t1w, brain, grid)
    assert worst_mm(found, to_mni, brain, grid.affine) < 6.0
    np.testing.assert_array_equal(fit_atlas(t1w, brain, grid), found)


@pytest.fixture(scope="module")
def prepared():
    flair, t1w, brain, lesion, _, grid, to_mni = make_head(6)
    z, mean, sd = normalise(flair, brain)
    image = Image(flair, grid.affine)
    return PreparedCase(image, brain, z, brain, grid, mean, sd), Image(t1w, grid.affine), lesion, to_mni


def test_a_case_is_looked_at_on_its_brains_box(prepared):
    case, t1w, lesion, _ = prepared
    view = look_at(case, t1w, xfm=np.eye(4), n4=False)
    assert view.whole(view.brain).sum() == case.work_brain.sum()
    np.testing.assert_array_equal(view.whole(view.flair), case.work)
    inside = view.part(lesion)
    assert view.tissue[inside].mean() == pytest.approx(2.0, abs=0.5)
    np.testing.assert_allclose(view.intensity[inside], case.flair.data[lesion], rtol=1e-3)


def test_a_t1w_of_unknown_place_is_registered_inside_the_brain(prepared):
    case, t1w, _, _ = prepared
    move = about((0, 0, 0), rotation((4.0, -2.0, 3.0)), (6.0, -5.0, 4.0))
    moved = Image(t1w.data, move @ t1w.affine)
    view = look_at(case, moved, n4=False, tissue=False)
    still = look_at(case, t1w, xfm=np.eye(4), n4=False, tissue=False)
    assert view.tissue is None
    assert np.corrcoef(view.t1w[view.brain], still.t1w[still.brain])[0, 1] > 0.9


def test_without_t1w_place_comes_from_the_flair(prepared):
    case, _, _, to_mni = prepared
    view = look_at(case)
    assert view.t1w is None and view.tissue is None
    assert worst_mm(view.to_mni, to_mni, view.brain, Grid(view.grid.shape, view.grid.affine).affine) < 12.0
