"""A cohort: rows, resuming, and a bad case that stops nobody."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import MissingDataError
from flairnb.images import Image, read_mask, write_image
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.prepare.cohort import prepare_cohort, read_prepared, read_work
from flairnb.provenance import read_json, write_json
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


SMALL = (40, 44, 9)


@pytest.fixture
def small(tmp_path, rng):
    """Return a folder with a small examination, its table, and a function that writes the reader's mask of so many voxels."""
    affine = np.diag([-4.0, 4.2, 11.0, 1.0])
    flair = Image(rng.uniform(80, 120, SMALL).astype(np.float32), affine)
    brain = np.zeros(SMALL, bool)
    brain[4:-4, 4:-4, 1:-1] = True
    data = tmp_path / "data"
    write_image(data / "sub-1_FLAIR.nii.gz", flair.data, flair)
    write_image(data / "brain.nii.gz", brain, flair, np.uint8)

    def mark(voxels: int) -> None:
        mask = np.zeros(SMALL, np.uint8)
        mask[10 : 10 + voxels, 20, 4] = 1
        write_image(data / "lesion.nii.gz", mask, flair, np.uint8)

    mark(4)
    row = {"flair": "sub-1_FLAIR.nii.gz", "t1w": "", "brain_mask": "brain.nii.gz", "reference_mask": "lesion.nii.gz"}
    return data, pd.DataFrame([{"participant_id": "sub-1", **row}]), mark


def native_of(work, name="manual"):
    return cohort_derivative(work, "sub-1", "mask", label="lesion", desc=name)


def prepare(table, work, data):
    done = prepare_cohort(table, FAST, work, data_root=data)
    assert done["status"].tolist() == ["ok"], done["reason"].tolist()


def test_a_corrected_reference_mask_is_taken_over_on_both_grids(small, tmp_path):
    data, table, mark = small
    for voxels in (4, 13):
        mark(voxels)
        prepare(table, tmp_path / "work", data)
        assert np.count_nonzero(read_mask(native_of(tmp_path / "work"))) == voxels
    larger = np.count_nonzero(read_work(tmp_path / "work", "sub-1")[1])
    mark(4)
    prepare(table, tmp_path / "work", data)
    assert 0 < np.count_nonzero(read_work(tmp_path / "work", "sub-1")[1]) < larger


def test_a_native_mask_that_is_gone_or_damaged_is_made_again(small, tmp_path):
    data, table, _ = small
    native = native_of(tmp_path / "work")
    for spoil in (native.unlink, lambda: native.write_bytes(b"half"), lambda: sidecar_path(native).unlink()):
        prepare(table, tmp_path / "work", data)
        spoil()
        prepare(table, tmp_path / "work", data)
        assert np.count_nonzero(read_mask(native)) == 4


def test_a_reference_mask_that_the_table_names_no_longer_goes_on_both_grids(small, tmp_path):
    data, table, _ = small
    prepare(table, tmp_path / "work", data)
    prepare(table.assign(reference_mask=""), tmp_path / "work", data)
    assert not read_work(tmp_path / "work", "sub-1")[1].any()
    assert list((tmp_path / "work").rglob("*manual*")) == []


@pytest.mark.parametrize("named", [True, False])
def test_a_readers_own_file_at_the_place_of_native_masks_is_left_as_it_is(named, small, tmp_path):
    """Phantoms' masks lie there: the source is the target."""
    data, table, _ = small
    native = native_of(data)
    native.parent.mkdir(parents=True)
    shutil.copy(data / "lesion.nii.gz", native)
    write_json(sidecar_path(native), {"Type": "Lesion", "Simulated": True})
    before = native.read_bytes(), sidecar_path(native).read_bytes(), native.stat().st_mtime_ns
    prepare(table.assign(reference_mask=str(native.relative_to(data)) if named else ""), data, data)
    assert (native.read_bytes(), sidecar_path(native).read_bytes(), native.stat().st_mtime_ns) == before


@pytest.mark.parametrize("linked", ["work", "data", "both"])
def test_prepared_cases_are_read_through_links_to_their_folders(linked, small, tmp_path):
    data, table, _ = small
    project = tmp_path / "project"
    project.mkdir()
    for name in ("work", "data"):
        real = tmp_path / "disk" / name / "deep" / "er"
        real.parent.mkdir(parents=True)
        real.mkdir() if name == "work" else data.rename(real)
        if linked in (name, "both"):
            (project / name).symlink_to(real)
        else:
            real.rename(project / name)
    prepare(table, project / "work" / "demo", project / "data")
    case = read_prepared(project / "work" / "demo", "sub-1")
    assert case.flair.shape == SMALL and case.flair.path.name == "sub-1_FLAIR.nii.gz"


def test_a_flair_that_is_itself_a_link_keeps_its_name(small, tmp_path):
    data, table, _ = small
    (tmp_path / "store").mkdir()
    (data / "sub-1_FLAIR.nii.gz").rename(tmp_path / "store" / "4711.nii.gz")
    (data / "sub-1_FLAIR.nii.gz").symlink_to(tmp_path / "store" / "4711.nii.gz")
    prepare(table, tmp_path / "work", data)
    assert read_prepared(tmp_path / "work", "sub-1").flair.path.name == "sub-1_FLAIR.nii.gz"


def test_a_flair_that_was_moved_is_found_again_and_nothing_is_computed_anew(small, tmp_path):
    data, table, _ = small
    prepare(table, tmp_path / "work", data)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.nii.gz")}
    (data / "renamed").mkdir()
    (data / "sub-1_FLAIR.nii.gz").rename(data / "renamed" / "4711.nii.gz")
    prepare(table.assign(flair="renamed/4711.nii.gz"), tmp_path / "work", data)
    assert read_prepared(tmp_path / "work", "sub-1").flair.path.name == "4711.nii.gz"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.nii.gz")} == files
    data.rename(tmp_path / "elsewhere")
    prepare(table.assign(flair="renamed/4711.nii.gz"), tmp_path / "work", tmp_path / "elsewhere")
    assert read_prepared(tmp_path / "work", "sub-1").flair.shape == SMALL


def refused(table, work, data) -> str:
    done = prepare_cohort(table, FAST, work, data_root=data)
    assert done["status"].tolist() == ["failed"]
    return done["reason"].iloc[0]


def test_what_one_patient_is_refused_for_is_refused_in_a_cohort(small, tmp_path):
    from flairnb.images import read_image

    data, table, _ = small
    shutil.copy(data / "sub-1_FLAIR.nii.gz", data / "copy.nii.gz")
    for t1w in ("sub-1_FLAIR.nii.gz", "copy.nii.gz"):
        assert "expected another image than the FLAIR" in refused(table.assign(t1w=t1w), tmp_path / "work", data)
    flair = read_image(data / "sub-1_FLAIR.nii.gz")
    hounsfield = np.where(read_mask(data / "brain.nii.gz"), 40.0, -1000.0) + flair.data / 100
    write_image(data / "ct.nii.gz", hounsfield.astype(np.float32), flair)
    assert "a CT in Hounsfield units" in refused(table.assign(flair="ct.nii.gz"), tmp_path / "work", data)
    assert "T1w: expected an MR image" in refused(table.assign(t1w="ct.nii.gz"), tmp_path / "work", data)


def test_a_second_readers_mask_that_cannot_be_used_is_known_before_training(small, tmp_path):
    data, table, _ = small
    brain = read_mask(data / "brain.nii.gz")
    brain[:, 12:] = False  # so small that there is a note already
    write_image(data / "brain.nii.gz", brain, Image(brain.astype(np.float32), np.diag([-4.0, 4.2, 11.0, 1.0])), np.uint8)
    write_image(data / "two.nii.gz", brain, Image(brain.astype(np.float32), np.diag([-4.0, 4.2, 12.0, 1.0])), np.uint8)
    named, work = table.assign(second_reader_mask="two.nii.gz"), tmp_path / "work"

    def note() -> str:
        done = prepare_cohort(named, FAST, work, data_root=data)
        assert done["status"].tolist() == ["ok"] and done["reason"].tolist() == [""], "the case is trained on all the same"
        return done["notes"].iloc[0]

    usual = prepare_cohort(table, FAST, tmp_path / "alone", data_root=data)["notes"].iloc[0]
    assert "ml are usual" in usual and note().startswith(f"{usual}; second reader mask two.nii.gz: expected one voxel grid")
    assert np.count_nonzero(read_mask(native_of(work))) == 4 and read_work(work, "sub-1")[1].any()
    files = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    shutil.copy(data / "lesion.nii.gz", data / "two.nii.gz")
    assert note() == usual, "the note follows the mask"
    (data / "two.nii.gz").write_bytes(b"half")
    assert "two.nii.gz" in note() and str(data) not in note()
    (data / "two.nii.gz").unlink()
    assert "two.nii.gz" in note() and str(data) not in note()
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()} == files, "nothing was prepared again"
    named = table
    assert note() == usual


def test_another_second_reader_leaves_the_stored_brain_current(small, tmp_path):
    data, table, _ = small
    about = sidecar_path(cohort_derivative(tmp_path / "work", "sub-1", "mask", desc="brain"))
    prepare(table, tmp_path / "work", data)
    before = read_json(about)["BrainKey"]
    shutil.copy(data / "lesion.nii.gz", data / "two.nii.gz")
    prepare(table.assign(second_reader_mask="two.nii.gz"), tmp_path / "work", data)
    assert read_json(about)["BrainKey"] == before


def test_a_brain_mask_of_an_earlier_run_is_not_doubted_again(small, tmp_path, monkeypatch):
    """The check extracts the brain anew: what the stored mask saves."""
    from flairnb.prepare import find_brain

    data, table, _ = small
    prepare(table, tmp_path / "work", data)
    asked = []
    monkeypatch.setattr(find_brain, "_contradicted", lambda *_: asked.append(1) or ())
    other = dataclasses.replace(FAST, spacing_mm=5.0)
    done = prepare_cohort(table, other, tmp_path / "work", data_root=data)
    assert done["status"].tolist() == ["ok"] and not asked
    prepare_cohort(table, other, tmp_path / "new", data_root=data)
    assert asked


def test_a_case_that_needs_more_memory_than_there_is_is_a_row(small, tmp_path, monkeypatch):
    from flairnb.prepare import cohort as module

    data, table, _ = small

    def too_much(*_args, **_words):
        raise MemoryError

    monkeypatch.setattr(module, "prepare_case", too_much)
    done = prepare_cohort(table, FAST, tmp_path / "work", data_root=data)
    assert done[["status", "reason"]].values.tolist() == [["failed", "MemoryError"]]
