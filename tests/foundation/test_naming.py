"""BIDS names."""

from __future__ import annotations

import pytest

from flairnb import naming


@pytest.mark.parametrize(
    ("path", "stem"),
    [("a/sub-1_FLAIR.nii.gz", "sub-1"), ("sub-1_ses-2_FLAIR.nii", "sub-1_ses-2"), ("x.nii.gz", "x"), ("my_FLAIR_2.NII.GZ", "my_FLAIR_2")],
)
def test_stem(path, stem):
    assert naming.flair_stem(path) == stem


def test_entities_come_in_bids_order():
    name = naming.derivative_name("sub-1", "mask", desc="unet", label="lesion", space="work")
    assert name == "sub-1_space-work_label-lesion_desc-unet_mask.nii.gz"


def test_a_cohort_derivative_lies_in_its_bids_folder():
    path = naming.cohort_derivative("work/demo", "sub-07", "mask", desc="brain")
    assert path.as_posix() == "work/demo/derivatives/flairnb/sub-07/anat/sub-07_desc-brain_mask.nii.gz"


@pytest.mark.parametrize("name", ["a_mask.nii.gz", "a_mask.nii", "a_mask.txt"])
def test_side_car_name(name):
    assert naming.sidecar_path(name).name == "a_mask.json"
