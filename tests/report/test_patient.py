"""`segment_patient`: files on exactly the input's grid, together or not at all."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.errors import FlairnbError, GeometryError, InputError, MissingDataError, SettingsError, WorkFailed
from flairnb.geometry import isotropic_grid
from flairnb.network.confidence import Calibration
from flairnb.report import patient, patient_files, patient_input
from flairnb.resampling import resample

SHAPE = (37, 41, 9)


@pytest.fixture
def flair(tmp_path, rng, oblique_affine):
    """An oblique FLAIR with a bright box, on disk."""
    data = rng.uniform(80, 120, SHAPE).astype(np.float32)
    data[10:20, 12:22, 3:6] = 400
    image = nib.Nifti1Image(data, oblique_affine)
    image.set_sform(oblique_affine, 1)
    image.set_qform(oblique_affine, 2)
    path = tmp_path / "in" / "sub-07_ses-1_FLAIR.nii.gz"
    path.parent.mkdir()
    nib.save(image, path)
    return path


@pytest.fixture
def fake_rooms(monkeypatch):
    """Replace preparation and network by closed forms: bright is lesion, all but the border is brain."""
    from flairnb.network import inference
    from flairnb.prepare import case as case_module

    def prepare_case(flair, t1w=None, brain_mask=None, skull_stripped=False, settings=None, seed=0, threads=2):
        grid = isotropic_grid(flair.shape, flair.affine, settings.spacing_mm)
        brain = np.zeros(flair.shape, dtype=bool)
        brain[1:-1, 1:-1, 1:-1] = True
        brain = brain if brain_mask is None else brain_mask
        work = resample(flair.data, flair.affine, grid)
        work_brain = resample(brain.astype(np.float32), flair.affine, grid) > 0.5
        return case_module.PreparedCase(flair, brain, work, work_brain, grid, 0.0, 1.0, notes=("a note",))

    def predict(model, work, brain, infer):
        return ((work > 250) & brain).astype(np.float32)

    network = SimpleNamespace(
        model=None,
        spacing_mm=1.0,
        threshold=0.5,
        sha256="0" * 64,
        name="fake",
        card={},
        calibration=Calibration(),
        coarser_look=0.0,
        sharpening=0.0,
        smoothing_mm=0.0,
        min_lesion_ml=0.0,
        rim_mm=0.0,
        trained_patch=0,
    )
    monkeypatch.setattr(case_module, "prepare_case", prepare_case)
    monkeypatch.setattr(inference, "predict", predict)
    monkeypatch.setattr(inference, "predict_spread", lambda *given: (predict(*given), np.zeros(given[1].shape, np.float32)))
    monkeypatch.setattr(inference, "size_multiple", lambda model: 16)
    monkeypatch.setattr(patient, "_load_network", lambda weights, threads: network)
    monkeypatch.setattr(patient, "_find_weights", lambda weights: "fake")
    monkeypatch.setattr("flairnb.network.weights.stored_spacing", lambda weights: 1.0)
    monkeypatch.setattr(patient_input, "check_heads", lambda *_args, **_words: None)  # the image here is smaller than a head


def test_all_files_are_written_on_exactly_the_input_grid(flair, fake_rooms, tmp_path, oblique_affine):
    summary = patient.segment_patient(flair, out_dir=tmp_path / "out")
    stem = "sub-07_ses-1"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{stem}_label-lesion_desc-unet_mask.nii.gz",
        f"{stem}_label-lesion_desc-unet_probseg.nii.gz",
        f"{stem}_desc-brain_mask.nii.gz",
        f"{stem}_desc-lesions.tsv",
        f"{stem}_desc-summary.json",
        f"{stem}_desc-qc.png",
    }
    source = nib.load(flair)
    kinds = {"label-lesion_desc-unet_mask": np.uint8, "label-lesion_desc-unet_probseg": np.float32, "desc-brain_mask": np.uint8}
    for name, dtype in kinds.items():
        image = nib.load(tmp_path / "out" / f"{stem}_{name}.nii.gz")
        assert image.shape == SHAPE and image.get_data_dtype() == dtype
        np.testing.assert_array_equal(image.affine, source.affine)
        assert image.header["sform_code"] == 1 and image.header["qform_code"] == 2
        np.testing.assert_allclose(image.get_qform(), source.get_qform(), atol=1e-5)

    mask = np.asarray(nib.load(tmp_path / "out" / f"{stem}_label-lesion_desc-unet_mask.nii.gz").dataobj) > 0
    truth = np.zeros(SHAPE, dtype=bool)
    truth[10:20, 12:22, 3:6] = True
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9
    voxel_ml = abs(np.linalg.det(oblique_affine[:3, :3])) / 1000
    assert summary["lesion_volume_ml"] == pytest.approx(mask.sum() * voxel_ml, abs=1e-3)
    table = pd.read_csv(tmp_path / "out" / f"{stem}_desc-lesions.tsv", sep="\t")
    assert len(table) == summary["lesion_count"] == 1
    assert table["volume_ml"].sum() == pytest.approx(summary["lesion_volume_ml"], abs=1e-3)


def test_the_summary_says_what_was_used(flair, fake_rooms, tmp_path):
    patient.segment_patient(flair, out_dir=tmp_path / "out", method="tiled")
    summary = json.loads((tmp_path / "out" / "sub-07_ses-1_desc-summary.json").read_text())
    assert summary["weights"]["sha256"] == "0" * 64 and summary["weights"]["name"] == "fake"
    assert summary["settings"]["infer"]["method"] == "tiled" and summary["settings"]["infer"]["patch"] == 96
    assert {"read", "load network", "prepare", "network", "back to native", "write", "total"} <= set(summary["seconds"])
    assert summary["peak_memory_gb"] > 0 and "a note" in summary["notes"]
    assert "not for clinical use" in summary["intended_use"].lower() and "python" in summary["versions"]
    assert str(tmp_path) not in json.dumps(summary)


def test_the_memory_asked_for_reaches_the_network(flair, fake_rooms, tmp_path):
    usual = patient.segment_patient(flair, out_dir=tmp_path / "usual")["settings"]["infer"]["memory_gb"]
    little = patient.segment_patient(flair, out_dir=tmp_path / "little", memory_gb=1.5)
    assert little["settings"]["infer"]["memory_gb"] == 1.5 != usual
    assert set(little["preparation_seconds"]) <= {"read", "resample", "n4", "register", "brain", "normalise"}


def test_a_network_that_learned_on_small_patches_gets_tiles_of_their_size(flair, fake_rooms, tmp_path):
    patient._load_network("fake", 1).trained_patch = 32
    used = patient.segment_patient(flair, out_dir=tmp_path / "usual")["settings"]["infer"]
    assert (used["method"], used["patch"], used["step"]) == ("tiled", 32, 16)
    asked = patient.segment_patient(flair, out_dir=tmp_path / "asked", method="whole")
    assert asked["settings"]["infer"]["method"] == "whole"


def test_a_given_brain_mask_bounds_lesions(flair, fake_rooms, tmp_path, oblique_affine):
    brain = np.zeros(SHAPE, dtype=np.uint8)
    brain[:15] = 1
    nib.save(nib.Nifti1Image(brain, oblique_affine), tmp_path / "brain.nii.gz")
    patient.segment_patient(flair, brain_mask=tmp_path / "brain.nii.gz", out_dir=tmp_path / "out")
    mask = np.asarray(nib.load(tmp_path / "out" / "sub-07_ses-1_label-lesion_desc-unet_mask.nii.gz").dataobj)
    assert mask[:15].any() and not mask[15:].any()


def test_no_lesion_gives_an_empty_mask_and_a_table_without_rows(tmp_path, fake_rooms, rng, oblique_affine):
    path = tmp_path / "sub-08_FLAIR.nii.gz"
    nib.save(nib.Nifti1Image(rng.uniform(80, 120, SHAPE).astype(np.float32), oblique_affine), path)
    summary = patient.segment_patient(path, out_dir=tmp_path / "out")
    assert summary["lesion_volume_ml"] == 0 and summary["lesion_count"] == 0
    assert len(pd.read_csv(tmp_path / "out" / "sub-08_desc-lesions.tsv", sep="\t")) == 0
    assert summary["expected_dice"] is None
    assert any("no lesion was found; the highest probability was 0.00" in note for note in summary["notes"])


def test_a_result_the_network_is_unsure_of_carries_a_warning(flair, fake_rooms, tmp_path, monkeypatch):
    sure = patient.segment_patient(flair, out_dir=tmp_path / "sure")
    assert sure["expected_dice"] > 0.8 and not any("unsure" in note for note in sure["notes"])
    network = patient._load_network("fake", 1)
    network.calibration = Calibration(slope=1.0, intercept=-0.6)
    monkeypatch.setattr(patient, "_load_network", lambda weights, threads: network)
    unsure = patient.segment_patient(flair, out_dir=tmp_path / "unsure")
    assert unsure["expected_dice"] == pytest.approx(sure["expected_dice"] - 0.6, abs=1e-3)
    assert any(f"expected Dice {unsure['expected_dice']:.2f}, below 0.50" in note for note in unsure["notes"])


def test_a_network_s_smoothing_sharpening_and_calibration_meet_the_probability_on_the_flair_s_own_grid(flair, fake_rooms):
    from flairnb.images import read_image
    from flairnb.network.confidence import temper
    from flairnb.network.sharpen import sharpen, smooth_thin
    from flairnb.prepare import case as case_module

    network = SimpleNamespace(threshold=0.4, sharpening=1.5, smoothing_mm=1.2, rim_mm=0.0, calibration=Calibration(temperature=1.6))
    image = read_image(flair)
    case = case_module.prepare_case(image, settings=settings.load("paper").prepare)
    soft = np.clip((case.work - 150) / 300, 0, 1).astype(np.float32)
    raw = patient.back_to_native(soft, case, 0.4, 0.0)
    found = patient.back_to_native(soft, case, 0.4, 0.0, network)
    smooth = smooth_thin(raw.probability, raw.brain, image.spacing_mm, 1.2)
    expected = temper(sharpen(smooth, image.data, raw.brain, 0.4, 1.5), 1.6)
    np.testing.assert_array_equal(found.probability, expected)
    assert np.isnan(raw.expected_dice) and 0 < found.expected_dice <= 1


def test_less_is_expected_where_looks_disagree_and_nothing_of_a_brain_that_no_head_holds(flair, fake_rooms, monkeypatch):
    from flairnb.images import read_image
    from flairnb.prepare import case as case_module

    network = SimpleNamespace(threshold=0.4, sharpening=0.0, smoothing_mm=0.0, rim_mm=0.0, calibration=Calibration(usual_agreement=0.5))
    image = read_image(flair)
    case = case_module.prepare_case(image, settings=settings.load("paper").prepare)
    soft = np.clip((case.work - 150) / 300, 0, 1).astype(np.float32)
    sure, torn = (patient.back_to_native(soft, case, 0.4, 0.0, network, agreement) for agreement in (0.8, 0.05))
    assert torn.agreement == 0.05 and torn.expected_dice == pytest.approx(sure.expected_dice / 10)
    np.testing.assert_array_equal(torn.mask, sure.mask)
    monkeypatch.setattr("flairnb.prepare.brain.BRAIN_LIMITS_ML", (0.0, 0.9 * np.count_nonzero(case.brain_native) * image.voxel_volume_ml))
    assert patient.back_to_native(soft, case, 0.4, 0.0, network, 0.8).expected_dice == 0


def test_a_failure_late_in_the_work_leaves_nothing_behind(flair, fake_rooms, tmp_path, monkeypatch):
    def broken(*_):
        raise WorkFailed("no picture")

    monkeypatch.setattr(patient_files, "_write_picture", broken)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(WorkFailed):
        patient.segment_patient(flair, out_dir=tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == before


def bad_inputs(tmp_path, flair, affine):
    """Name, arguments, expected error."""
    data = np.asarray(nib.load(flair).dataobj)
    four = tmp_path / "four.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([data, data], axis=-1), affine), four)
    nan = tmp_path / "nan.nii.gz"
    holes = data.copy()
    holes[3, 3, 3] = np.nan
    nib.save(nib.Nifti1Image(holes, affine), nan)
    empty = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=np.float32), affine), empty)
    other = tmp_path / "other.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((37, 41, 8), dtype=np.uint8), affine), other)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(flair.read_bytes()[: flair.stat().st_size // 2])
    nothing = tmp_path / "nothing.nii.gz"
    nothing.write_bytes(b"")
    return [
        ({"flair_path": tmp_path / "absent.nii.gz"}, MissingDataError),
        ({"flair_path": four}, InputError),
        ({"flair_path": nan}, InputError),
        ({"flair_path": empty}, InputError),
        ({"flair_path": cut}, InputError),
        ({"flair_path": nothing}, InputError),
        ({"flair_path": flair, "t1w": tmp_path / "absent.nii.gz"}, MissingDataError),
        ({"flair_path": flair, "t1w": four}, InputError),
        ({"flair_path": flair, "brain_mask": other}, GeometryError),
        ({"flair_path": flair, "brain_mask": empty}, InputError),
        ({"flair_path": flair, "brain_mask": other, "skull_stripped": True}, InputError),
        ({"flair_path": flair, "method": "both"}, InputError),
    ]


def test_bad_input_is_refused_with_exit_code_2_and_nothing_written(flair, fake_rooms, tmp_path, oblique_affine):
    for arguments, kind in bad_inputs(tmp_path, flair, oblique_affine):
        with pytest.raises(kind) as caught:
            patient.segment_patient(out_dir=tmp_path / "out", **arguments)
        assert isinstance(caught.value, FlairnbError) and caught.value.exit_code == 2, arguments
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".flairnb-partial-*"))


def test_an_output_folder_that_is_a_file_is_refused(flair, fake_rooms, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="--out"):
        patient.segment_patient(flair, out_dir=tmp_path / "out")


NAME = "sub-07_ses-1"
RESULTS = (
    "label-lesion_desc-unet_mask.nii.gz",
    "label-lesion_desc-unet_probseg.nii.gz",
    "desc-brain_mask.nii.gz",
    "desc-lesions.tsv",
    "desc-qc.png",
    "desc-summary.json",
)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def not_loaded(monkeypatch):
    """Fail when an image or a network is read."""

    def loaded(*_args, **_words):
        raise AssertionError("something was loaded")

    monkeypatch.setattr(patient_input, "read_inputs", loaded)
    monkeypatch.setattr(patient, "_load_network", loaded)


@pytest.mark.parametrize("name", RESULTS)
def test_a_file_of_ones_own_with_the_name_of_a_result_is_not_written_over(name, flair, fake_rooms, not_loaded):
    (flair.parent / f"{NAME}_{name}").write_bytes(b'{"mine": 1}')
    before = files_of(flair.parent)
    with pytest.raises(InputError, match=rf"--out: expected results of an earlier run or none, found {NAME}_{name}, which") as caught:
        patient.segment_patient(flair, out_dir=flair.parent)
    assert "\n" not in str(caught.value) and files_of(flair.parent) == before


def test_the_brain_mask_that_is_given_is_not_written_over(flair, fake_rooms, not_loaded, oblique_affine):
    mine = flair.parent / f"{NAME}_desc-brain_mask.nii.gz"
    nib.save(nib.Nifti1Image(np.full(SHAPE, 7, np.int16), oblique_affine), mine)
    before = files_of(flair.parent)
    with pytest.raises(InputError, match=r"found .*_desc-brain_mask\.nii\.gz"):
        patient.segment_patient(flair, brain_mask=mine, out_dir=flair.parent)
    assert files_of(flair.parent) == before


def test_the_same_folder_serves_again_until_a_result_is_changed(flair, fake_rooms, monkeypatch):
    for method in (None, "tiled", None):
        patient.segment_patient(flair, out_dir=flair.parent, method=method)
    assert {path.name for path in flair.parent.iterdir()} == {flair.name, *(f"{NAME}_{name}" for name in RESULTS)}
    (flair.parent / f"{NAME}_desc-qc.png").unlink()
    patient.segment_patient(flair, brain_mask=flair.parent / f"{NAME}_desc-brain_mask.nii.gz", out_dir=flair.parent)
    mask = flair.parent / f"{NAME}_label-lesion_desc-unet_mask.nii.gz"
    image = nib.load(mask)
    nib.save(nib.Nifti1Image(1 - np.asarray(image.dataobj), image.affine), mask)
    corrected = files_of(flair.parent)
    with pytest.raises(InputError, match=rf"found {mask.name}"):
        patient.segment_patient(flair, out_dir=flair.parent)
    assert files_of(flair.parent) == corrected
    patient.segment_patient(flair.rename(flair.with_name("sub-08_FLAIR.nii.gz")), out_dir=mask.parent)  # other names are no matter
    assert mask.read_bytes() == corrected[mask.name]


def test_results_of_another_patients_flair_are_not_replaced(flair, fake_rooms, tmp_path, monkeypatch):
    """As in `for p in */; do flairnb segment $p/FLAIR.nii.gz --out results; done`."""
    from flairnb.provenance import sha256_file

    out, other = tmp_path / "results", tmp_path / "other" / flair.name
    image = nib.load(flair)
    other.parent.mkdir()
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), other)
    for _ in range(2):
        assert patient.segment_patient(flair, out_dir=out)["input"]["sha256"] == sha256_file(flair)
    before = files_of(out)
    monkeypatch.setattr(patient, "_load_network", lambda *_: pytest.fail("the work was begun"))
    with pytest.raises(InputError, match=r"--out: .* found those of another FLAIR .*Name a folder of its own") as caught:
        patient.segment_patient(other, out_dir=out)
    assert "\n" not in str(caught.value) and files_of(out) == before


def test_a_summary_of_before_that_does_not_say_of_which_flair_it_is_serves_as_before(flair, fake_rooms, tmp_path):
    out = tmp_path / "results"
    patient.segment_patient(flair, out_dir=out)
    path = out / f"{NAME}_desc-summary.json"
    content = json.loads(path.read_text())
    del content["input"]["sha256"]
    path.write_text(json.dumps(content))
    image = nib.load(flair)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), flair)
    assert patient.segment_patient(flair, out_dir=out)["input"]["sha256"] != ""


def test_the_summary_tells_the_t1w_by_its_hash(flair, fake_rooms, tmp_path, rng, oblique_affine):
    from flairnb.provenance import sha256_file

    nib.save(nib.Nifti1Image(rng.uniform(80, 120, SHAPE).astype(np.float32), oblique_affine), tmp_path / "T1w.nii.gz")
    told = patient.segment_patient(flair, t1w=tmp_path / "T1w.nii.gz", out_dir=tmp_path / "out")["input"]
    assert (told["t1w"], told["t1w_sha256"]) == ("T1w.nii.gz", sha256_file(tmp_path / "T1w.nii.gz"))


@pytest.mark.parametrize("kind", ["folder", "link", "broken link"])
def test_what_stands_in_a_results_place_is_no_result(kind, flair, fake_rooms, not_loaded):
    place = flair.parent / f"{NAME}_desc-qc.png"
    place.mkdir() if kind == "folder" else place.symlink_to(flair if kind == "link" else "nowhere")
    with pytest.raises(InputError, match=rf"found {place.name}"):
        patient.segment_patient(flair, out_dir=flair.parent)


def test_all_files_of_a_result_are_known_beforehand(flair, fake_rooms, tmp_path):
    patient.segment_patient(flair, out_dir=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(patient_files.result_names(NAME, dicom=False))


def test_weights_are_shipped_if_they_lie_in_the_package_and_only_then(tmp_path, monkeypatch):
    from flairnb.network import weights

    shipped = tmp_path / "package" / "shipped"
    for folder in (shipped / "robust", tmp_path / "here" / "shipped" / "mine"):
        folder.mkdir(parents=True)
        (folder / weights.SETTINGS_FILE).write_text("{}")
        (folder / "net.keras").write_bytes(b"")
    monkeypatch.setattr(weights, "SHIPPED", shipped)
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "link").symlink_to(shipped / "robust")
    (tmp_path / "here" / "robust").mkdir()  # a folder of the user's, in which there is no network
    for named in ("robust", shipped / "robust", shipped / "robust" / "net.keras", "link", "link/net.keras"):
        assert patient_files.is_shipped(named), named
    for named in ("shipped/mine", tmp_path / "here" / "shipped" / "mine" / "net.keras"):
        assert not patient_files.is_shipped(named), named
    (tmp_path / "here" / "robust" / weights.SETTINGS_FILE).write_text("{}")
    assert not patient_files.is_shipped("robust")


def test_small_lesions_are_dropped_only_when_asked(flair, fake_rooms):
    from flairnb.images import read_image
    from flairnb.prepare import case as case_module

    case = case_module.prepare_case(read_image(flair), settings=settings.load("paper").prepare)
    probability = np.zeros(case.work.shape, dtype=np.float32)
    centre = np.array(case.work.shape) // 2
    probability[tuple(slice(c, c + 6) for c in centre)] = 1
    kept = patient.back_to_native(probability, case, 0.5, 0.0)
    dropped = patient.back_to_native(probability, case, 0.5, 5.0)
    assert len(kept.lesions) == 1 and kept.mask.any()
    assert len(dropped.lesions) == 0 and not dropped.mask.any()


def test_what_is_set_comes_before_what_is_stored_with_the_weights(flair, fake_rooms, tmp_path):
    network = patient._load_network("fake", 1)
    network.threshold, network.min_lesion_ml, network.coarser_look = 0.55, 50.0, 2.0
    stored = patient.segment_patient(flair, out_dir=tmp_path / "stored")
    assert stored["lesion_count"] == 0 and "set" not in stored["settings"]
    sets = ["infer.min_lesion_ml=0.05", "infer.threshold=0.4", "infer.flips=true", "infer.coarser_look=0"]
    found = patient.segment_patient(flair, out_dir=tmp_path / "set", sets=sets)
    assert found["lesion_count"] == 1
    expected = {"min_lesion_ml": 0.05, "threshold": 0.4, "flips": True, "coarser_look": 0.0}
    assert found["settings"]["set"] == expected
    assert {**stored["settings"]["infer"], **expected} == found["settings"]["infer"]
    note = "set by hand: infer.min_lesion_ml=0.05, infer.threshold=0.4, infer.flips=true, infer.coarser_look=0.0"
    assert any(n.startswith(note) for n in found["notes"]) and not any("set by hand" in n for n in stored["notes"])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("train.epochs=3", "expected one of infer.threshold, .* received 'train.epochs'"),
        ("infer.method=tiled", "received 'infer.method'"),
        ("infer.shipped_spacing_mm=1.5", "received 'infer.shipped_spacing_mm'"),
        ("threshold=0.4", "received 'threshold'"),
        ("infer.threshold", "expected section.name=value"),
        ("infer.threshold=0", "infer.threshold: expected above 0, up to 1, received 0"),
        ("infer.threshold=1.2", "expected above 0, up to 1, received 1.2"),
        ("infer.threshold=nan", "received nan"),
        ("infer.threshold=half", "expected float, found 'half'"),
        ("infer.min_lesion_ml=-1", "expected 0 or more ml, received -1"),
        ("infer.min_lesion_ml=inf", "received inf"),
        ("infer.flips=1", "expected bool, found 1"),
        ("infer.coarser_look=0.5", "expected 0, or above 1 up to 4, received 0.5"),
        ("infer.patch=0", "expected 1 voxel or more"),
        ("infer.patch=64", "expected tiles, found one pass over the brain"),
    ],
)
def test_what_may_not_be_set_is_refused_in_one_line_and_nothing_written(word, says, flair, fake_rooms, tmp_path):
    with pytest.raises(SettingsError, match=says) as caught:
        patient.segment_patient(flair, out_dir=tmp_path / "out", sets=[word])
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2 and not (tmp_path / "out").exists()


def test_tiles_may_have_another_size(flair, fake_rooms, tmp_path):
    used = patient.segment_patient(flair, out_dir=tmp_path / "out", method="tiled", sets=["infer.patch=64", "infer.step=16"])["settings"]
    assert (used["infer"]["patch"], used["infer"]["step"]) == (64, 16)


def test_small_tiles_without_a_step_of_their_own_leave_no_gaps(flair, fake_rooms, tmp_path):
    used = patient.segment_patient(flair, out_dir=tmp_path / "out", method="tiled", sets=["infer.patch=16"])["settings"]
    assert (used["infer"]["patch"], used["infer"]["step"]) == (16, 16)


@pytest.mark.parametrize("word", ["infer.patch=100", "infer.step=200"])
def test_tiles_that_no_network_can_have_are_refused_before_the_work(word, flair, fake_rooms, tmp_path, monkeypatch):
    monkeypatch.setattr(patient, "segment_prepared", lambda *_args, **_words: pytest.fail("the network was applied"))
    with pytest.raises(SettingsError, match="expected a multiple of"):
        patient.segment_patient(flair, out_dir=tmp_path / "out", method="tiled", sets=[word])


SPREAD = f"{NAME}_label-lesion_desc-spread_probseg.nii.gz"


@pytest.fixture
def two_looks(fake_rooms, monkeypatch):
    """A spread of 0.25 in the front half of the working grid, and 0.125 in the other."""
    from flairnb.network import inference

    def predict_spread(model, work, brain, infer):
        spread = np.full(work.shape, 0.125, np.float32)
        spread[: len(work) // 2] = 0.25
        return inference.predict(model, work, brain, infer), spread

    monkeypatch.setattr(inference, "predict_spread", predict_spread)


def test_the_spread_lies_on_the_flairs_grid_and_its_mean_over_lesions_in_the_summary(flair, two_looks, tmp_path):
    words = {"sets": ["infer.flips=true"], "out_dir": tmp_path / "out"}
    summary = patient.segment_patient(flair, spread=True, **words)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == set(patient_files.result_names(NAME, dicom=False, spread=True))
    image, source = nib.load(out / SPREAD), nib.load(flair)
    spread = np.asarray(image.dataobj)
    np.testing.assert_array_equal(image.affine, source.affine)
    assert spread.shape == SHAPE and image.get_data_dtype() == np.float32
    brain, mask = (
        np.asarray(nib.load(out / f"{NAME}_{what}_mask.nii.gz").dataobj) > 0 for what in ("desc-brain", "label-lesion_desc-unet")
    )
    assert not spread[~brain].any() and set(np.round(np.unique(spread[brain][[0, -1]]), 3)) == {0.125, 0.25}
    assert summary["spread_in_lesions"] == pytest.approx(spread[mask].mean(), abs=1e-4) and summary["files"][SPREAD]
    without = patient.segment_patient(flair, **words)
    assert "spread_in_lesions" not in without and not (out / SPREAD).exists(), "no summary would speak of it"
    assert patient.segment_patient(flair, spread=True, **words)["spread_in_lesions"] == summary["spread_in_lesions"]


def test_a_spread_that_was_changed_since_stays_and_is_in_the_way_of_another_only(flair, two_looks, tmp_path):
    words = {"sets": ["infer.flips=true"], "out_dir": tmp_path / "out"}
    patient.segment_patient(flair, spread=True, **words)
    (tmp_path / "out" / SPREAD).write_bytes(b"mine")
    patient.segment_patient(flair, **words)
    assert (tmp_path / "out" / SPREAD).read_bytes() == b"mine"
    with pytest.raises(InputError, match=f"found {SPREAD}"):
        patient.segment_patient(flair, spread=True, **words)


def test_a_spread_of_a_single_look_is_refused(flair, two_looks, tmp_path):
    with pytest.raises(SettingsError, match="--spread: expected two looks or more"):
        patient.segment_patient(flair, spread=True, out_dir=tmp_path / "out")
    patient.segment_patient(flair, spread=True, method="tiled", out_dir=tmp_path / "out")


def test_the_summary_tells_the_brain_mask_by_its_hash(flair, fake_rooms, tmp_path, oblique_affine):
    from flairnb.provenance import sha256_file

    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), oblique_affine), tmp_path / "brain.nii.gz")
    told = patient.segment_patient(flair, brain_mask=tmp_path / "brain.nii.gz", out_dir=tmp_path / "out")["input"]
    assert (told["brain_mask"], told["brain_mask_sha256"]) == ("brain.nii.gz", sha256_file(tmp_path / "brain.nii.gz"))


def test_the_registration_is_kept_beside_the_hash_of_the_t1w(flair, tmp_path):
    from flairnb.images import read_image
    from flairnb.provenance import sha256_file

    image, xfm = read_image(flair), np.eye(4) + np.array([[0, 0, 0, 1.23456789]] + [[0] * 4] * 3)
    case, dicom = SimpleNamespace(t1w_xfm=xfm), SimpleNamespace()
    facts = patient_files.t1w_facts(image, case, flair)
    assert facts["t1w"] == flair.name and facts["t1w_sha256"] == sha256_file(flair) and facts["flair_to_t1w"][0][3] == 1.234568
    assert patient_files.t1w_facts(image, case, flair, dicom) == {name: facts[name] for name in ("t1w_sha256", "flair_to_t1w")}
    assert patient_files.t1w_facts(image, SimpleNamespace(t1w_xfm=None), None, dicom) == {"t1w_sha256": patient_files.voxels_sha256(image)}
    assert patient_files.t1w_facts(None, case) == patient_files.brain_mask_facts(None) == {}
    assert patient_files.brain_mask_facts(flair, dicom) == {"brain_mask_sha256": sha256_file(flair)}
