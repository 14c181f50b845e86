"""Atomic files, hashes, side-cars."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from flairnb import naming, provenance


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "a.json"
    with pytest.raises(RuntimeError), provenance.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert not target.exists()
    assert not list(target.parent.iterdir())
    with provenance.atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\nbugs\t: spectre\n\nprocessor\t: 1\nflags\t: fpu\n", {"fpu", "avx2"}),
        ("processor : 0\nFeatures : asimd bf16\n", {"asimd", "bf16"}),
        ("vmx flags\t: ept avx2\n", set()),
        (None, set()),
    ],
)
def test_a_processors_flags_are_read_from_its_own_line(text, flags, tmp_path):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert provenance.processor_flags(tmp_path / "cpuinfo") == flags


def test_an_interrupted_write_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), provenance.atomic_path(target) as temporary:
        temporary.write_text("new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"


def test_the_hash_of_a_known_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert provenance.sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_content_hashes_see_values_types_and_files(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    base = provenance.content_hash({"a": 1}, np.arange(3), tmp_path / "x")
    assert base == provenance.content_hash({"a": 1}, np.arange(3), tmp_path / "x")
    assert base != provenance.content_hash({"a": 2}, np.arange(3), tmp_path / "x")
    assert base != provenance.content_hash({"a": 1}, np.arange(3).astype(np.float64), tmp_path / "x")
    (tmp_path / "x").write_bytes(b"abe")
    assert base != provenance.content_hash({"a": 1}, np.arange(3), tmp_path / "x")


def test_a_side_car_tells_current_from_stale_and_from_damaged(tmp_path):
    image = tmp_path / "sub-1_desc-brain_mask.nii.gz"
    image.write_bytes(b"voxels")
    assert not provenance.is_current(image)
    provenance.write_sidecar(image, [tmp_path / "sub-1_FLAIR.nii.gz"], settings={"a": 1}, extra={"Hash": "x"})
    assert provenance.is_current(image, Hash="x")
    assert not provenance.is_current(image, Hash="y")
    side = provenance.read_json(naming.sidecar_path(image))
    assert side["Sources"] == ["sub-1_FLAIR.nii.gz"] and side["GeneratedBy"][0]["Name"] == "flairnb"
    assert side["SettingsHash"] == provenance.content_hash({"a": 1}) and side["SoftwareVersions"] == provenance.versions()
    image.write_bytes(b"voxelz")
    assert not provenance.is_current(image, Hash="x")


def test_json_holds_no_folder_of_this_machine(tmp_path):
    provenance.write_json(tmp_path / "a.json", {"file": tmp_path / "b.nii.gz", "n": np.int64(3), "v": np.arange(2.0)})
    assert provenance.read_json(tmp_path / "a.json") == {"file": "b.nii.gz", "n": 3, "v": [0.0, 1.0]}


def test_stage_times_add_up():
    timer = provenance.StageTimer()
    for _ in range(2):
        with timer("n4"):
            pass
    assert list(timer.seconds) == ["n4"] and timer.seconds["n4"] >= 0


def test_the_umask_is_read_without_changing_it(monkeypatch, tmp_path):
    """Changing it to read it, as POSIX alone offers, leaves 0 behind when two threads do so at once."""
    if "Umask:" not in (Path("/proc/self/status").read_text() if Path("/proc/self/status").exists() else ""):
        pytest.skip("only Linux tells a process's umask")
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda _mask: pytest.fail("the umask was changed"))
            path = provenance.write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
