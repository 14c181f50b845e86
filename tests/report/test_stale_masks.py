"""Masks of an earlier run go when their method fails, is left out, or has nothing more to stand on."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.errors import InputError
from flairnb.evaluate.cohort import find_methods
from flairnb.images import Image, read_mask, write_image
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.prepare.cohort import prepare_cohort
from flairnb.provenance import write_sidecar
from flairnb.report import methods, steps
from flairnb.report.external import take_over_external
from flairnb.report.start import Run

pytest.importorskip("ants")
SHAPE = (40, 44, 9)
CASES = ("sub-1", "sub-2")
PREPARE = dataclasses.replace(settings.load("demo").prepare, spacing_mm=4.0, working_spacing_mm=5.0, n4=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A work folder with two small prepared cases."""
    root, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(5)
    affine, brain = np.diag([-4.0, 4.2, 11.0, 1.0]), np.zeros(SHAPE, bool)
    brain[4:-4, 4:-4, 1:-1] = True
    rows = []
    for who in CASES:
        flair = Image(rng.uniform(80, 120, SHAPE).astype(np.float32), affine)
        write_image(root / f"rawdata/{who}_FLAIR.nii.gz", flair.data, flair)
        write_image(root / f"rawdata/{who}_brain.nii.gz", brain, flair, np.uint8)
        files = {"flair": f"rawdata/{who}_FLAIR.nii.gz", "brain_mask": f"rawdata/{who}_brain.nii.gz"}
        rows.append({"participant_id": who, "diagnosis": "HEALTHY", "split": "validation", **files})
    table = pd.DataFrame(rows)
    table.to_csv(root / "manifest.tsv", sep="\t", index=False)
    done = prepare_cohort(table, PREPARE, root)
    assert done["status"].tolist() == ["ok", "ok"], done["reason"].tolist()
    (root / "tables").mkdir()
    done.to_csv(root / "tables" / "preparation.tsv", sep="\t", index=False)
    return root


@pytest.fixture
def work(made, tmp_path):
    """A copy of it, to leave masks in."""
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def make_run(work, **sets) -> Run:
    return Run("04", settings.load("smoke", sets), 2019, work, None, 1)


def place(work, method, who="sub-1", suffix="mask"):
    return cohort_derivative(work, who, suffix, label="lesion", desc=method)


def there(work, method, who="sub-1", suffix="mask") -> list[bool]:
    path = place(work, method, who, suffix)
    return [path.exists(), sidecar_path(path).exists()]


def finds(case):
    return methods.Found(np.where(case.work_brain, case.work > 1, 0), keep=True)


def fails(case):
    raise InputError("T1w: expected one, found none.")


def test_a_method_that_fails_now_leaves_no_mask_of_an_earlier_run(work):
    run = make_run(work)
    for method in ("lga", "lpa"):
        assert methods._apply(run, "sub-1", method, "first", finds)["status"] == "ok"
    assert there(work, "lga") == there(work, "lga", suffix="probseg") == [True, True]
    row = methods._apply(run, "sub-1", "lga", "second", fails)
    assert (row["status"], row["reason"]) == ("failed", "T1w: expected one, found none.")
    assert there(work, "lga") == there(work, "lga", suffix="probseg") == [False, False]
    assert there(work, "lpa") == [True, True] and find_methods(work) == ("lpa",)


def test_a_mask_that_this_package_did_not_make_stays(work):
    place(work, "lga").write_bytes(b"by hand")
    methods._apply(make_run(work), "sub-1", "lga", "key", fails)
    assert place(work, "lga").read_bytes() == b"by hand"


def test_the_shipped_networks_masks_go_where_it_is_left_out(work):
    for who in CASES:
        methods._apply(make_run(work), who, "shipped", "key", finds)
        methods._apply(make_run(work), who, "unet", "key", finds)
    assert methods.segment_with_shipped(make_run(work, **{"infer.shipped_spacing_mm": 0.0})).empty
    assert find_methods(work) == ("unet",)


@pytest.fixture
def outside(work, tmp_path):
    """A folder with a tool's masks of both cases, taken over once, beside a mask of ours and one laid there by hand."""
    folder = tmp_path / "outside"
    for who in CASES:
        flair = cohort_flair(work, who)
        for tool in ("lstai", "nnunet"):
            write_image(folder / f"{who}_desc-{tool}_mask.nii.gz", flair.data > 110, flair, np.uint8)
    methods._apply(make_run(work), "sub-1", "threshold", "key", finds)
    for name, extra in (("byhand", None), ("corrected", {"SourceSha256": {}})):
        shutil.copy(folder / "sub-1_desc-lstai_mask.nii.gz", place(work, name))
        if extra is not None:
            write_sidecar(place(work, name), [], extra=extra)
    assert take_over(work, folder) == dict.fromkeys([(who, tool) for who in CASES for tool in ("lstai", "nnunet")], "ok")
    return folder


def cohort_flair(work, who):
    from flairnb.images import read_image

    return read_image(work / f"rawdata/{who}_FLAIR.nii.gz")


def take_over(work, folder) -> dict[tuple[str, str], str]:
    table = take_over_external(make_run(work, **{"baselines.external": str(folder)}))
    return {(row.participant_id, row.method): row.status for row in table.itertuples()}


def others_stay(work) -> bool:
    return all(place(work, name).exists() for name in ("threshold", "byhand", "corrected"))


def test_a_copy_goes_with_its_mask_and_with_its_tool(outside, work):
    (outside / "sub-1_desc-lstai_mask.nii.gz").unlink()
    for who in CASES:
        (outside / f"{who}_desc-nnunet_mask.nii.gz").unlink()
    assert take_over(work, outside) == {("sub-1", "lstai"): "failed", ("sub-2", "lstai"): "ok"}
    assert there(work, "lstai") == [False, False] and there(work, "lstai", "sub-2") == [True, True]
    assert "nnunet" not in find_methods(work) and others_stay(work)
    assert take_over(work, "") == {}
    assert find_methods(work) == ("threshold", "byhand", "corrected") and others_stay(work)


def test_a_mask_that_was_exported_again_on_another_grid_leaves_no_older_copy(outside, work):
    flair = cohort_flair(work, "sub-1")
    moved = flair.affine + np.array([[0, 0, 0, 3.0], *[[0] * 4] * 3])
    write_image(outside / "sub-1_desc-lstai_mask.nii.gz", flair.data > 110, Image(flair.data, moved), np.uint8)
    assert take_over(work, outside)["sub-1", "lstai"] == "failed"
    assert there(work, "lstai") == [False, False] and others_stay(work)


def test_a_copy_that_is_current_is_left_as_it_is(outside, work):
    before = place(work, "lstai").stat().st_mtime_ns
    take_over(work, outside)
    assert place(work, "lstai").stat().st_mtime_ns == before
    np.testing.assert_array_equal(read_mask(place(work, "lstai")), cohort_flair(work, "sub-1").data > 110)


def test_the_copy_of_a_case_that_is_no_longer_prepared_goes(outside, work):
    table = pd.read_csv(work / "tables" / "preparation.tsv", sep="\t").assign(status=["ok", "failed"])
    table.to_csv(work / "tables" / "preparation.tsv", sep="\t", index=False)
    assert steps.prepared_ids(make_run(work), "validation") == ["sub-1"]
    take_over(work, outside)
    assert there(work, "lstai") == [True, True] and there(work, "lstai", "sub-2") == [False, False]
