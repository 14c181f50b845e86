"""A cohort: rows, resuming, and a bad case that stops nobody."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import MissingDataError
from flairnb.images import write_image
from flairnb.naming import cohort_derivative
from flairnb.prepare.cohort import prepare_cohort, read_prepared
from flairnb.settings import load

pytest.importorskip("ants")
FAST = dataclasses.replace(load("demo").prepare, spacing_mm=4.0, working_spacing_mm=5.0, n4=False)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, head):
    root = tmp_path_factory.mktemp("work")
    flair, brain = head
    lesion = np.zeros_like(brain)
    lesion[38:44, 45:52, 15:18] = True
    write_image(root / "rawdata/sub-1_FLAIR.nii.gz", flair.data, flair)
    write_image(root / "rawdata/sub-1_brain.nii.gz", brain, flair, np.uint8)
    write_image(root / "rawdata/sub-1_lesion.nii.gz", lesion, flair, np.uint8)
    row = {"t1w": "", "brain_mask": "rawdata/sub-1_brain.nii.gz", "reference_mask": "rawdata/sub-1_lesion.nii.gz"}
    table = pd.DataFrame(
        [
            {"participant_id": "sub-1", "flair": "rawdata/sub-1_FLAIR.nii.gz", **row},
            {"participant_id": "sub-2", "flair": "rawdata/absent_FLAIR.nii.gz", **row},
        ]
    )
    return root, table, prepare_cohort(table, FAST, root)


def test_bad_case_becomes_a_row_with_its_reason(cohort):
    _, _, done = cohort
    assert list(done["status"]) == ["ok", "failed"]
    assert "absent_FLAIR" in done["reason"][1]
    assert 1300 < done["brain_ml"][0] < 1900


def test_prepared_case_is_read_back_as_it_was(cohort, head):
    root, _, done = cohort
    case = read_prepared(root, "sub-1")
    np.testing.assert_array_equal(case.brain_native, head[1])
    assert case.work[case.work_brain].std(dtype=float) == pytest.approx(1, abs=1e-4)
    assert case.mean == pytest.approx(done["mean"][0])
    assert case.flair.path.name == "sub-1_FLAIR.nii.gz"


def test_lesions_lie_on_the_work_grid_with_their_volume(cohort, head):
    from flairnb.images import read_image

    root, table, _ = cohort
    path = cohort_derivative(root, "sub-1", "mask", space="work", label="lesion", desc="manual")
    lesion = read_image(path, "lesion")
    native = read_image(root / table["reference_mask"][0], "lesion")
    assert lesion.shape == read_prepared(root, "sub-1").work.shape
    assert lesion.data.sum() * lesion.voxel_volume_ml == pytest.approx(native.data.sum() * native.voxel_volume_ml, rel=0.25)


def test_second_run_touches_nothing_and_returns_the_same_rows(cohort):
    root, table, done = cohort
    target = cohort_derivative(root, "sub-1", "FLAIR", space="work", desc="preproc")
    before = target.stat().st_mtime_ns
    pd.testing.assert_frame_equal(prepare_cohort(table, FAST, root), done)
    assert target.stat().st_mtime_ns == before


def test_damaged_file_is_made_again(cohort):
    root, table, _ = cohort
    mask = cohort_derivative(root, "sub-1", "mask", space="work", desc="brain")
    good = mask.read_bytes()
    mask.write_bytes(good[:100])
    prepare_cohort(table.iloc[:1], FAST, root)
    assert read_prepared(root, "sub-1").work_brain.any()


def test_other_spacing_prepares_again_and_keeps_the_brain(cohort):
    root, table, _ = cohort
    other = dataclasses.replace(FAST, spacing_mm=5.0)
    done = prepare_cohort(table.iloc[:1], other, root)
    case = read_prepared(root, "sub-1")
    np.testing.assert_allclose(case.work_grid.spacing_mm, 5.0, atol=1e-5)
    assert done["brain_source"][0] == "given"
    prepare_cohort(table.iloc[:1], FAST, root)


def test_unprepared_case_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="sub-9"):
        read_prepared(tmp_path, "sub-9")
