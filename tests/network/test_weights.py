from __future__ import annotations

import os
from dataclasses import asdict, replace

import nibabel as nib
import numpy as np
import pytest

from flairnb.errors import InputError, MissingDataError
from flairnb.network import weights
from flairnb.network.unet import build_unet
from flairnb.network.weights import default_weights, load_network, save_network
from flairnb.provenance import read_json, sha256_file, write_json


@pytest.fixture
def x(rng):
    return rng.normal(size=(1, 8, 12, 16, 1)).astype("float32")


@pytest.fixture
def saved(tiny, tmp_path):
    model = build_unet(tiny)
    path = save_network(model, tmp_path / "unet", network=tiny, spacing_mm=1.5, threshold=0.4, card={"data": "phantom"})
    return model, path


def test_a_network_built_from_code_with_the_files_weights_gives_the_same_output(saved, x):
    model, path = saved
    loaded = load_network(path)
    np.testing.assert_array_equal(loaded.model(x), model(x))
    assert (loaded.spacing_mm, loaded.threshold, loaded.name, loaded.card) == (1.5, 0.4, "unet", {"data": "phantom"})
    assert loaded.sha256 == sha256_file(path)


@pytest.mark.parametrize(("card", "patch"), [({"train": {"patch": 64}}, 64), ({"train": {}}, 0), ({}, 0), ({"train": "by hand"}, 0)])
def test_the_size_of_the_training_patches_is_read_from_the_card(card, patch, tiny, tmp_path):
    save_network(build_unet(tiny), tmp_path, network=tiny, spacing_mm=1.0, card=card)
    assert load_network(tmp_path).trained_patch == patch


def test_the_file_alone_is_a_whole_model(saved, x):
    import keras

    model, path = saved
    np.testing.assert_array_equal(keras.saving.load_model(path, safe_mode=True)(x), model(x))


def test_literal_layers_survive_saving(tiny, tmp_path, x):
    network = replace(tiny, dilation="literal")
    model = build_unet(network)
    save_network(model, tmp_path, network=network, spacing_mm=1.0)
    np.testing.assert_array_equal(load_network(tmp_path).model(x), model(x))


def test_half_storage_is_smaller_and_close(tmp_path, tiny, x):
    network = replace(tiny, width=8)
    model = build_unet(network)
    whole = save_network(model, tmp_path / "whole", network=network, spacing_mm=1.0)
    half = save_network(model, tmp_path / "half", network=network, spacing_mm=1.0, half=True)
    assert half.stat().st_size < 0.75 * whole.stat().st_size
    loaded = load_network(tmp_path / "half")
    assert {w.dtype.name for w in loaded.model.get_weights()} == {"float32"}
    np.testing.assert_allclose(loaded.model(x), model(x), atol=0.02)


def test_a_changed_file_is_refused(saved):
    _, path = saved
    with path.open("r+b") as stream:
        stream.seek(200)
        stream.write(b"x")
    with pytest.raises(InputError, match="sha256"):
        load_network(path)


def test_weights_that_do_not_fit_their_settings_are_refused(saved):
    _, path = saved
    about = read_json(path.parent / "settings.json")
    about["network"]["width"] = 3
    write_json(path.parent / "settings.json", about)
    with pytest.raises(InputError, match="do not fit"):
        load_network(path)


WHOLE = '{"name": "unet", "file": "unet.keras", "sha256": "0", "spacing_mm": 1.0, "threshold": 0.5, "network": {}, "calibration": {}}'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "could not read it"),
        (WHOLE[:60].encode(), "could not read it"),
        (b"\x93NUMPY\xff\x00", "could not read it"),
        (b"[1, 2]", "found a list"),
        (b"{}", "found no usable name, file, sha256, spacing_mm, threshold, network"),
        (WHOLE.replace('"sha256": "0"', '"sha256": null').encode(), "found no usable sha256"),
        (WHOLE.replace("1.0", '"one"').encode(), "found no usable spacing_mm"),
        (WHOLE.replace("unet.keras", "../unet/unet.keras").encode(), "expected the name of a file beside"),
        (WHOLE.replace("unet.keras", "other.keras").encode(), "it is absent"),
        (WHOLE.encode(), "expected sha256 0"),
    ],
)
def test_broken_settings_end_in_one_line(content, says, tmp_path, capsys):
    from flairnb.cli import call

    flair = tmp_path / "x_FLAIR.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(1).normal(100, 20, (40, 44, 30)), np.diag([5, 5, 6, 1.0])), flair)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "settings.json").write_bytes(content)
    (tmp_path / "unet" / "unet.keras").write_bytes(b"weights")
    assert call(["segment", str(flair), "--out", str(tmp_path / "out"), "--weights", str(tmp_path / "unet" / "unet.keras")]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: weights ") and shown.err.count("\n") == 1 and says in shown.err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_network_and_a_neighbour_are_refused(saved):
    _, path = saved
    about = read_json(path.parent / "settings.json")
    other = path.with_name("other.keras")
    other.write_bytes(b"zip")
    with pytest.raises(InputError, match="describes unet.keras"):
        load_network(other)
    path.write_bytes(b"no zip at all")
    write_json(path.parent / "settings.json", about | {"sha256": sha256_file(path)})
    with pytest.raises(InputError, match="expected a Keras network"):
        load_network(path)


def test_an_unknown_calibration_is_refused(saved):
    _, path = saved
    about = read_json(path.parent / "settings.json")
    write_json(path.parent / "settings.json", about | {"calibration": {"heat": 2}})
    with pytest.raises(InputError, match="expected a calibration"):
        load_network(path)


def test_a_file_without_settings_and_an_unknown_name_are_missing_data(saved, tmp_path):
    _, path = saved
    (path.parent / "settings.json").unlink()
    with pytest.raises(MissingDataError, match=r"settings\.json"):
        load_network(path)
    with pytest.raises(MissingDataError, match="shipped name"):
        load_network("no-such-network")


def test_a_slip_in_a_files_name_does_not_load_the_network_beside_it(saved):
    _, path = saved
    assert load_network(path.parent / "settings.json").name == "unet"
    for wrong in ("ubet.keras", "unet.h5", "setting.json"):
        with pytest.raises(MissingDataError, match=wrong):
            load_network(path.with_name(wrong))
    path.unlink()
    with pytest.raises(MissingDataError, match="unet.keras"):
        load_network(path)


def test_shipped_networks_come_first_then_those_of_demo_runs(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
    with pytest.raises(MissingDataError, match="flairnb run"):
        default_weights(tmp_path / "work")
    model = build_unet(tiny)
    for number, profile in enumerate(("demo", "smoke")):
        folder = tmp_path / "work" / profile / "models" / "unet"
        save_network(model, folder, network=tiny, spacing_mm=2.0)
        os.utime(folder / "settings.json", (number, number))
    assert default_weights(tmp_path / "work").parts[-3] == "demo"
    save_network(model, tmp_path / "shipped" / "any-disease", network=tiny, spacing_mm=1.0, name="any-disease")
    assert default_weights(tmp_path / "work").name == "any-disease"
    assert load_network("any-disease").name == "any-disease"


def test_how_the_shipped_network_is_used_is_known_by_its_name_alone():
    about, use = read_json(weights.SHIPPED / "robust" / "settings.json"), weights.inherited_use("robust")
    stated = use.pop("calibration")
    assert use == {name: about[name] for name in ("threshold", "coarser_look", "sharpening", "smoothing_mm", "min_lesion_ml", "rim_mm")}
    assert use["threshold"] == load_network("robust").threshold != 0.5
    words = f"inherited from robust (fitted there on {about['calibration']['fitted_on']}), not fitted on these weights"
    assert asdict(stated) == about["calibration"] | {"fitted_on": words}


def test_a_network_without_a_calibration_has_none_to_inherit(saved):
    use = weights.inherited_use(saved[1])
    assert use == {
        "threshold": 0.4, "coarser_look": 0, "sharpening": 0, "smoothing_mm": 0, "min_lesion_ml": 0, "rim_mm": 0,
        "calibration": weights.Calibration(),
    }  # fmt: skip


def test_the_shipped_networks_load(rng):
    x = rng.normal(size=(1, 16, 32, 16, 1)).astype(np.float32)  # four levels: multiples of 16
    for name in weights.shipped_names():
        assert load_network(name).model(x).shape == (1, 16, 32, 16, 2)
