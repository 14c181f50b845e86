"""`flairnb verify`: whole, changed, missing, without a recipe."""

from __future__ import annotations

import numpy as np
import pytest

from flairnb.cli import call
from flairnb.provenance import sha256_file, write_json, write_sidecar
from flairnb.report.record import hashes_of
from flairnb.report.verify import verify_folder


@pytest.fixture
def made(tmp_path):
    """A folder with a side-car, a network, a segmentation and a report."""
    folder = tmp_path / "made"
    for name in ("anat/sub-1_desc-brain_mask.nii.gz", "models/unet/unet.keras", "out/a_mask.nii.gz", "report/index.html", "x_xfm.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(np.random.default_rng(len(name)).bytes(300))
    write_sidecar(folder / "anat/sub-1_desc-brain_mask.nii.gz", ["sub-1_FLAIR.nii.gz"])
    network = folder / "models/unet/unet.keras"
    write_json(network.with_name("settings.json"), {"file": network.name, "sha256": sha256_file(network)})
    write_json(folder / "out/a_desc-summary.json", {"files": {"a_mask.nii.gz": sha256_file(folder / "out/a_mask.nii.gz")}})
    write_json(folder / "report/run.json", {"files": hashes_of(folder / "report")})
    return folder


FILES = ["anat/sub-1_desc-brain_mask.nii.gz", "models/unet/unet.keras", "out/a_mask.nii.gz", "report/index.html"]


def test_a_whole_folder_passes_and_names_what_has_no_recipe(made, capsys):
    assert {v.file: v.status for v in verify_folder(made)} == dict.fromkeys(FILES, "ok") | {"x_xfm.txt": "no recipe"}
    assert call(["verify", str(made)]) == 0
    assert capsys.readouterr().out == "x_xfm.txt: no recipe\nmade: 4 files are as they were made, 1 have no recipe.\n"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", ["changed", "missing"])
def test_each_fault_is_named(made, name, fault, capsys):
    if fault == "changed":
        content = bytearray((made / name).read_bytes())
        content[100] ^= 1
        (made / name).write_bytes(bytes(content))
    else:
        (made / name).unlink()
    assert call(["verify", str(made)]) == 1
    shown = capsys.readouterr()
    assert f"{name}: {fault}" in shown.out.splitlines()
    assert shown.err.startswith(f"error: made: expected 5 files as they were made, found 1 that are not; first: {name} is {fault}") or (
        fault == "missing" and "found 1 that are not" in shown.err
    )


def test_the_record_of_a_simulated_patient_speaks_of_files_below_the_work_folder(made, capsys):
    raw = made / "rawdata/sub-1/sub-1_FLAIR.nii.gz"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"voxels")
    record = {"Made": {"flair": "rawdata/sub-1/sub-1_FLAIR.nii.gz"}, "Sha256": {"flair": sha256_file(raw)}}
    write_json(made / "derivatives/phantom/sub-1/sub-1_record.json", record)
    assert call(["verify", str(made)]) == 0
    raw.write_bytes(b"other voxels")
    assert call(["verify", str(made)]) == 1
    assert "rawdata/sub-1/sub-1_FLAIR.nii.gz: changed" in capsys.readouterr().out


def test_figures_that_a_clone_leaves_out_are_told_from_what_changed(made, capsys):
    figure = made / "report/figures/chart.png"
    figure.parent.mkdir()
    figure.write_bytes(b"picture")
    write_json(made / "report/run.json", {"files": hashes_of(made / "report")})
    assert {v.status for v in verify_folder(made / "report")} == {"ok"}
    figure.write_bytes(b"other picture")
    assert call(["verify", str(made / "report")]) == 1
    assert "figures/chart.png: changed" in capsys.readouterr().out
    figure.unlink()
    assert call(["verify", str(made / "report")]) == 0
    shown = capsys.readouterr().out
    assert shown == (
        "figures/chart.png: not in this copy\nreport: 1 files are as they were made, 0 have no recipe. 1 are not in this copy.\n"
    )


def test_half_a_file_of_a_killed_run_is_named_and_no_fault(made, capsys):
    (made / "anat/.partial-x1.nii.gz").write_bytes(b"half")
    assert call(["verify", str(made)]) == 0
    assert "anat/.partial-x1.nii.gz: left over" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["out", "."])
def test_results_of_a_killed_run_that_wait_are_named_and_no_fault(place, made, capsys):
    """Some were moved before the kill: the summary speaks of files that are elsewhere, or of another content by now."""
    waiting = made / place / ".flairnb-partial-ab12"
    waiting.mkdir()
    (waiting / "b_mask.nii.gz").write_bytes(b"whole")
    write_json(waiting / "b_desc-summary.json", {"files": {"b_mask.nii.gz": "0" * 64, "b_probseg.nii.gz": "1" * 64}})
    assert call(["verify", str(made)]) == 0
    shown = capsys.readouterr().out.splitlines()
    prefix = "out/" if place == "out" else ""
    assert [f"{prefix}.flairnb-partial-ab12/{name}: left over" for name in ("b_desc-summary.json", "b_mask.nii.gz")] == shown[:2]
    assert not any("probseg" in line for line in shown)


def test_the_committed_report_is_as_it_was_made():
    from flairnb.report.chapters import repository_root

    verdicts = verify_folder(repository_root() / "reports" / "demo")
    assert {v.status for v in verdicts} <= {"ok", "not in this copy", "no recipe"}


def test_a_recipe_cut_off_is_named(made, capsys):
    (made / "models/unet/settings.json").write_text('{"file": ')
    assert call(["verify", str(made)]) == 1
    assert "models/unet/settings.json: unreadable" in capsys.readouterr().out


def test_a_folder_of_others_is_code_2(tmp_path, capsys):
    (tmp_path / "note.txt").write_text("x")
    for place in (tmp_path, tmp_path / "none", tmp_path / "note.txt"):
        assert call(["verify", str(place)]) == 2
    assert capsys.readouterr().err.count("error: verify: expected") == 3
