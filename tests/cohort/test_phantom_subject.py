from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from flairnb.cohort.phantom import scanner
from flairnb.images import read_image, read_mask
from flairnb.settings import load

SETTINGS = load("smoke").cohort


def _world_centre(weight, affine):
    return (affine @ [*ndimage.center_of_mass(weight), 1.0])[:3]


@pytest.fixture(scope="module")
def written(small_heads, phantom_row, tmp_path_factory):
    """Write one subject: (folder, what `write_subject` returned)."""
    folder = tmp_path_factory.mktemp("phantom")
    return folder, small_heads.write_subject(phantom_row, folder, 3, SETTINGS)


def test_subject_is_written_as_bids_with_truth_on_the_flair_grid(written):
    tmp_path, made = written
    flair = read_image(tmp_path / made["flair"])
    assert made["flair"] == "rawdata/sub-ph007/anat/sub-ph007_FLAIR.nii.gz"
    assert made["second_reader_mask"] == "derivatives/flairnb/sub-ph007/anat/sub-ph007_label-lesion_desc-manual2_mask.nii.gz"
    brain = read_mask(tmp_path / made["brain_mask"], flair)
    manual = read_mask(tmp_path / made["reference_mask"], flair)
    manual2 = read_mask(tmp_path / made["second_reader_mask"], flair)
    assert manual.sum() * flair.voxel_volume_ml == pytest.approx(made["lesion_ml"], rel=0.1)
    assert not (manual & ~brain).any() and manual2.any()
    # The ellipsoid's volume is 4/3 pi abc, less the jitter of its size.
    assert brain.sum() * flair.voxel_volume_ml == pytest.approx(4 / 3 * np.pi * 7.0 * 8.8 * 7.2 * 0.96**3, rel=0.12)
    normal = ndimage.binary_erosion(brain, iterations=3) & ~ndimage.binary_dilation(manual, iterations=3)
    assert np.median(flair.data[manual]) > 1.3 * np.median(flair.data[normal])


def test_raw_images_are_int16_with_scanner_codes_and_bids_fields_in_si_units(written):
    tmp_path, made = written
    image = nib.load(tmp_path / made["flair"])
    assert image.get_data_dtype() == np.int16 and int(image.header["qform_code"]) > 0
    assert np.allclose(image.affine, image.header.get_qform(), atol=1e-3)
    side = json.loads((tmp_path / made["flair"].replace(".nii.gz", ".json")).read_text())
    assert (side["EchoTime"], side["RepetitionTime"], side["InversionTime"]) == (0.136, 9.0, 2.481)
    assert side["Manufacturer"] == "GE Healthcare" and side["MagneticFieldStrength"] == 1.5
    assert side["MRAcquisitionType"] == "2D" and side["Simulated"] is True
    t1w = json.loads((tmp_path / made["t1w"].replace(".nii.gz", ".json")).read_text())
    assert t1w["Simulated"] is True and t1w["EchoTime"] < 0.02
    manual2 = json.loads((tmp_path / made["second_reader_mask"].replace(".nii.gz", ".json")).read_text())
    assert "Simulated second reader" in manual2["Description"]


def test_same_row_and_seed_write_the_same_voxels_and_another_seed_does_not(written, small_heads, phantom_row, tmp_path):
    folders = [written[0], tmp_path / "again", tmp_path / "other"]
    made = [written[1], *(small_heads.write_subject(phantom_row, f, s, SETTINGS) for f, s in zip(folders[1:], (3, 6), strict=True))]
    for key in ("flair", "t1w", "reference_mask", "second_reader_mask"):
        one, again, other = (nib.load(f / m[key]) for f, m in zip(folders, made, strict=True))
        assert np.array_equal(np.asanyarray(one.dataobj), np.asanyarray(again.dataobj))
        assert one.shape != other.shape or not np.array_equal(np.asanyarray(one.dataobj), np.asanyarray(other.dataobj))


def test_recorded_movement_brings_the_flair_onto_the_t1w(small_heads, phantom_row):
    for seed in (1, 2):
        lesions, rngs = small_heads.draw_subject(phantom_row, seed, SETTINGS)
        scans = small_heads.scan_subject(lesions, phantom_row, rngs)
        in_flair = _world_centre(scans.lesion_fraction, scans.flair_acquisition.grid.affine)
        fraction = scanner.sample_fraction(scans.t1w_acquisition, lesions.mask, lesions.anatomy.affine)
        in_t1w = _world_centre(fraction, scans.t1w_acquisition.grid.affine)
        predicted = (scans.flair_to_t1w @ [*in_flair, 1.0])[:3]
        assert np.abs(predicted - in_t1w).max() < 0.5


def test_healthy_subject_has_empty_masks_and_no_reader_dice(small_heads, phantom_row, tmp_path):
    made = small_heads.write_subject({**phantom_row, "diagnosis": "HEALTHY"}, tmp_path, 3, SETTINGS)
    assert made["lesion_ml"] == 0 and made["reader_dice"] is None
    assert not np.asanyarray(nib.load(tmp_path / made["reference_mask"]).dataobj).any()
    assert not np.asanyarray(nib.load(tmp_path / made["second_reader_mask"]).dataobj).any()


def test_three_dimensional_subject_is_near_isotropic(small_heads, phantom_row):
    row = {**phantom_row, "dimension": "3D", "te_ms": 390.0, "tr_ms": 5000.0, "ti_ms": 1800.0, "field_strength_t": 3.0, "age": float("nan")}
    lesions, rngs = small_heads.draw_subject(row, 1, SETTINGS)
    scans = small_heads.scan_subject(lesions, row, rngs)
    assert scans.flair_acquisition.grid.spacing_mm.max() <= 1.2
    assert scans.flair.dtype == np.int16


@pytest.mark.slow
def test_real_generator_makes_a_plausible_subject(phantom_row, tmp_path):
    from flairnb.cohort.phantom import subject

    made = subject.write_subject(phantom_row, tmp_path, 1, SETTINGS)
    flair = read_image(tmp_path / made["flair"])
    brain = read_mask(tmp_path / made["brain_mask"], flair)
    assert 900 < brain.sum() * flair.voxel_volume_ml < 2200
    assert made["reference_ml"] > 0
