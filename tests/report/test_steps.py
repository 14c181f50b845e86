"""The steps of a run that copy readers' masks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import GeometryError
from flairnb.images import Image, read_mask, write_image
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.provenance import is_current, sha256_file, write_json
from flairnb.report import steps

SHAPE = (7, 8, 9)


@pytest.fixture
def cohort(tmp_path, rng, oblique_affine, monkeypatch):
    """A hospital's case with two readers; `mark` writes a reader's mask, `row` is the manifest's only row."""
    data = tmp_path / "data"
    flair = Image(rng.uniform(80, 120, SHAPE).astype(np.float32), oblique_affine)
    write_image(data / "FLAIR.nii.gz", flair.data, flair)

    def mark(name: str, voxels: int, affine=oblique_affine) -> None:
        mask = np.zeros(SHAPE, np.uint8)
        mask.flat[:voxels] = 1
        write_image(data / name, mask, Image(flair.data, affine), np.uint8)

    mark("one.nii.gz", 3)
    mark("two.nii.gz", 5)
    row = {"participant_id": "sub-1", "flair": "FLAIR.nii.gz", "reference_mask": "one.nii.gz", "second_reader_mask": "two.nii.gz"}
    run = SimpleNamespace(work_dir=tmp_path / "work", data_dir=data)
    monkeypatch.setattr(steps, "read_cohort", lambda _run, _split: pd.DataFrame([row]))
    return SimpleNamespace(run=run, row=row, mark=mark, data=data)


def target(run, name):
    return cohort_derivative(run.work_dir, "sub-1", "mask", label="lesion", desc=name)


def voxels(run, name):
    return int(np.count_nonzero(read_mask(target(run, name))))


def test_masks_are_copied_once_and_again_after_a_correction(cohort):
    assert steps.take_over_masks(cohort.run) == 2 and steps.take_over_masks(cohort.run) == 0
    assert (voxels(cohort.run, "manual"), voxels(cohort.run, "manual2")) == (3, 5)
    cohort.mark("two.nii.gz", 11)
    assert steps.take_over_masks(cohort.run) == 1 and voxels(cohort.run, "manual2") == 11
    assert is_current(target(cohort.run, "manual2"), SourceSha256=sha256_file(cohort.data / "two.nii.gz"))


def test_the_copy_of_a_mask_that_is_no_longer_named_goes(cohort):
    steps.take_over_masks(cohort.run)
    cohort.row["second_reader_mask"] = ""
    assert steps.take_over_masks(cohort.run) == 0
    assert not target(cohort.run, "manual2").exists() and not sidecar_path(target(cohort.run, "manual2")).exists()
    assert voxels(cohort.run, "manual") == 3


def test_phantoms_masks_stay_as_they_are(cohort):
    place = target(cohort.run, "manual2")
    place.parent.mkdir(parents=True)
    (cohort.data / "two.nii.gz").rename(place)
    write_json(sidecar_path(place), {"Type": "Lesion", "Simulated": True})
    before = place.read_bytes(), sidecar_path(place).read_bytes()
    cohort.run.data_dir = cohort.run.work_dir
    for name in ("FLAIR.nii.gz", "one.nii.gz"):
        (cohort.data / name).rename(cohort.run.work_dir / name)
    for named in (str(place.relative_to(cohort.run.work_dir)), ""):
        cohort.row["second_reader_mask"] = named
        steps.take_over_masks(cohort.run)
        assert (place.read_bytes(), sidecar_path(place).read_bytes()) == before


def test_a_mask_on_another_grid_is_refused_by_name(cohort, oblique_affine):
    cohort.mark("two.nii.gz", 5, oblique_affine @ np.diag([1, 1, 1.2, 1]))
    with pytest.raises(GeometryError, match="sub-1 second_reader_mask"):
        steps.take_over_masks(cohort.run)
