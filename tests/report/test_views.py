"""Figures of a cohort in which images change or cannot be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.cohort.columns import NAMES
from flairnb.errors import InputError, WorkFailed
from flairnb.images import Image, read_image, write_image
from flairnb.naming import cohort_derivative
from flairnb.prepare.cohort import write_native_mask
from flairnb.provenance import sha256_file
from flairnb.report import steps, views
from flairnb.report.start import Run

SHAPE = (7, 8, 9)
CASES = {"sub-1": "MSA", "sub-2": "MSA", "sub-3": "SVID"}


def export(data, who: str, shape=SHAPE, voxels: int = 4) -> None:
    """Write an examination and its reader's mask, of so many voxels, on a grid of a shape."""
    rng = np.random.default_rng(7)
    flair = Image(rng.uniform(80, 120, shape).astype(np.float32), np.diag([-0.9, 1.1, 5.0, 1.0]))
    mask = np.zeros(shape, np.uint8)
    mask[2, 2 : 2 + voxels, 4] = 1
    write_image(data / f"{who}_FLAIR.nii.gz", flair.data, flair)
    write_image(data / f"{who}_mask.nii.gz", mask, flair, np.uint8)


@pytest.fixture
def run(tmp_path) -> Run:
    data = tmp_path / "data"
    rows = []
    for who, diagnosis in CASES.items():
        export(data, who)
        files = {"flair": f"{who}_FLAIR.nii.gz", "reference_mask": f"{who}_mask.nii.gz"}
        rows.append({"participant_id": who, "diagnosis": diagnosis, "split": "validation", **files})
    pd.DataFrame(rows).reindex(columns=NAMES).to_csv(data / "manifest.tsv", sep="\t", index=False)
    found = Run("01", settings.load("smoke", {"cohort.source": "manifest"}), 2019, tmp_path / "work", data, 1)
    steps.make_cohort(found)
    return found


def copy_masks(run: Run, who: str) -> None:
    """Leave what an earlier run has left of a case: the copy of its reader's mask, and a brain."""
    flair, source = read_image(run.data_dir / f"{who}_FLAIR.nii.gz"), run.data_dir / f"{who}_mask.nii.gz"
    mask = read_image(source).data > 0
    native = cohort_derivative(run.work_dir, who, "mask", label="lesion", desc="manual")
    write_native_mask(native, mask, flair, source, sha256_file(source))
    write_image(cohort_derivative(run.work_dir, who, "mask", desc="brain"), np.ones(flair.shape), flair, np.uint8)


def row_of(run: Run, who: str) -> dict:
    return steps.read_cohort(run).set_index("participant_id", drop=False).loc[who].to_dict()


def pictures(figure) -> int:
    return len(figure.axes[0].images)


def test_a_case_exported_again_on_another_grid_is_drawn_without_the_masks_of_before(run):
    copy_masks(run, "sub-1")
    case = views.native_case(run, row_of(run, "sub-1"), ("manual",))
    assert case.masks["manual"].sum() == 4 and case.masks["brain"].all()
    export(run.data_dir, "sub-1", shape=(8, 9, 10), voxels=5)
    case = views.native_case(run, row_of(run, "sub-1"), ("manual",))
    assert case.image.shape == case.masks["manual"].shape == (8, 9, 10)
    assert not case.masks["manual"].any() and "brain" not in case.masks
    assert pictures(views.contact_sheet(run)) == 2
    copy_masks(run, "sub-1")  # as chapter 02 does next
    assert views.native_case(run, row_of(run, "sub-1"), ("manual",)).masks["manual"].sum() == 5


def test_an_examination_that_cannot_be_read_gives_its_place_to_the_next_of_its_diagnosis(run, monkeypatch):
    shown = []
    read = views.native_case
    monkeypatch.setattr(views, "native_case", lambda run, row, methods: [read(run, row, methods), shown.append(row["participant_id"])][0])
    assert pictures(views.contact_sheet(run)) == 2 and shown == ["sub-1", "sub-3"]
    shown.clear()
    (run.data_dir / "sub-1_FLAIR.nii.gz").write_bytes(b"half")
    assert pictures(views.contact_sheet(run)) == 2 and shown == ["sub-2", "sub-3"]
    shown.clear()
    (run.data_dir / "sub-2_FLAIR.nii.gz").write_bytes(b"half")
    assert pictures(views.contact_sheet(run)) == 1 and shown == ["sub-3"]
    with pytest.raises(InputError):  # one case by itself is no sheet: its fault is told
        read(run, row_of(run, "sub-1"), ("manual",))


def test_a_cohort_of_which_nothing_can_be_read_says_so(run):
    for who in CASES:
        (run.data_dir / f"{who}_FLAIR.nii.gz").write_bytes(b"half")
    with pytest.raises(WorkFailed, match=r"expected examinations that can be read, found none of 3\. First reason: .*FLAIR"):
        views.contact_sheet(run)
