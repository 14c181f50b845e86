from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flairnb.baselines.tissue import partial_volume, rescale, tissue_posteriors


def row_of_voxels(posteriors, t1w, flair):
    """Put voxels into the middle of a padded line, so that the border rule does not touch them."""
    n = len(t1w)
    shape = (n + 2, 3, 3)
    p = np.zeros((3, *shape))
    one, two, brain = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    p[:, 1:-1, 1, 1], one[1:-1, 1, 1], two[1:-1, 1, 1], brain[1:-1, 1, 1] = np.array(posteriors).T, t1w, flair, True
    return partial_volume(p, one, two, brain)[1:-1, 1, 1]


def test_partial_volume_labels_are_piecewise_linear_in_the_posterior():
    posteriors = [
        (0.9, 0.1, 0.0),  # surest CSF: 1
        (0.5, 0.5, 0.0),  # CSF by argmax's first of equals, least sure: 1.5
        (0.3, 0.7, 0.0),  # GM darker than GM's mean: between 1.5 and 2
        (0.0, 1.0, 0.0),  # surest dark GM: 2
        (0.0, 0.6, 0.4),  # least sure bright GM: 2.5
        (0.0, 0.8, 0.2),  # surest bright GM: 2
        (0.0, 0.2, 0.8),  # least sure WM: 2.5
        (0.0, 0.0, 1.0),  # surest WM: 3
        (0.1, 0.0, 0.9),  # half way: 2.75
    ]
    t1w = [10, 12, 60, 70, 95, 90, 120, 130, 125]
    labels = row_of_voxels(posteriors, t1w, np.full(9, 50.0))
    np.testing.assert_allclose(labels, [1.0, 1.5, 1.5, 2.0, 2.5, 2.0, 2.5, 3.0, 2.75], atol=1e-6)


def test_bright_csf_becomes_2_4_and_grows_into_the_brightest_grey_matter():
    csf = [(0.95, 0.05, 0.0), (0.9, 0.1, 0.0)]
    grey = [(0.0, 0.9, 0.1)] * 30
    unsure_csf = [(0.6, 0.4, 0.0)]
    # Dark CSF, bright CSF, the brightest grey matter beside it, other grey matter (another bright voxel far off), dark CSF.
    flair = np.array([20.0, 300.0, 280.0, *([100.0] * 28), 260.0, 30.0])
    labels = row_of_voxels([*csf, *grey, *unsure_csf], np.linspace(60, 90, 33), flair)
    assert labels[0] == 1.0
    assert labels[1] == pytest.approx(2.4) and labels[2] == pytest.approx(2.4)
    assert not np.isclose(labels[3:], 2.4).any()


def test_the_outermost_voxels_are_nothing(rng):
    p = rng.dirichlet((1, 1, 1), size=(5, 6, 7)).transpose(3, 0, 1, 2)
    labels = partial_volume(p, rng.normal(size=(5, 6, 7)), rng.normal(size=(5, 6, 7)), np.ones((5, 6, 7), bool))
    inner = np.zeros(labels.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    assert (labels[~inner] == 0).all() and (labels[inner] > 0).all()


def test_equal_values_land_on_the_sure_end():
    assert rescale(np.array([0.4, 0.4]), 1.5, 2.0).tolist() == [2.0, 2.0]
    assert rescale(np.empty(0), 1.5, 2.0).size == 0


def test_atropos_finds_the_classes_again_and_leaves_no_files(heads, tmp_path, monkeypatch):
    pytest.importorskip("ants")
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    case, lesion = heads[0]
    posterior = tissue_posteriors(case)
    np.testing.assert_allclose(posterior.sum(axis=0)[case.brain], 1, atol=1e-3)
    truth = np.argmax(np.stack([case.csf, case.gm, case.wm]), axis=0)
    sure = case.brain & ~lesion & (np.max(np.stack([case.csf, case.gm, case.wm]), axis=0) > 0.8)
    assert (np.argmax(posterior, axis=0) == truth)[sure].mean() > 0.9
    assert list(Path(tmp_path).iterdir()) == []
    np.testing.assert_array_equal(tissue_posteriors(case), posterior)
