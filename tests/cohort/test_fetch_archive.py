"""Archives: unpacked whole into their own folder, or not at all."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile

import pandas as pd
import pytest

from flairnb.cohort import fetch, fetch_archive
from flairnb.cohort.fetch_archive import archive_stem, unpack
from flairnb.errors import WorkFailed

GOOD = {"sub-1/a.nii.gz": b"image" * 99, "sub-1/b/c.txt": b"", "Zürich 1.tsv": b"x\n"}


def zipped(path, names, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            out.writestr(info, content)
    return path


def tarred(path, names, kind=tarfile.REGTYPE, target=""):
    with tarfile.open(path, "w:gz") as out:
        for name, content in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(content) if kind == tarfile.REGTYPE else 0
            out.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [zipped, tarred])
class TestPacked:
    def test_a_good_archive_is_unpacked_once(self, pack, tmp_path):
        archive = pack(tmp_path / "study.zip", GOOD.items())
        assert unpack(archive, tmp_path / "study", "aa")
        found = {str(p.relative_to(tmp_path / "study")): p.read_bytes() for p in (tmp_path / "study").rglob("*") if p.is_file()}
        assert {name: content for name, content in found.items() if name != fetch_archive.STAMP} == GOOD
        assert not unpack(archive, tmp_path / "study", "aa")
        (tmp_path / "study" / "sub-1" / "a.nii.gz").unlink()
        assert unpack(archive, tmp_path / "study", "bb")  # another archive: all of it anew
        assert (tmp_path / "study" / "sub-1" / "a.nii.gz").is_file()

    @pytest.mark.parametrize(
        "name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "..\\out.txt", "C:/out.txt", "a/b/../../../out.txt", fetch_archive.STAMP]
    )
    def test_what_leads_out_is_refused_and_nothing_is_left(self, pack, name, tmp_path, fault):
        archive = pack(tmp_path / "study.zip", [("fine.txt", b"x"), (name, b"evil")])
        before = set(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="stay inside the archive's folder"):
            unpack(archive, tmp_path / "study", "aa")
        assert set(tmp_path.rglob("*")) == before and not (tmp_path.parent / "out.txt").exists()
        fault("bad archive: flairnb fetch", f"{pack.__name__}: {name}", "nothing unpacked", "refused")

    @pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b", "a"]])
    def test_a_name_twice_is_refused(self, pack, names, tmp_path):
        with pytest.raises(ValueError, match="every name once"):
            unpack(pack(tmp_path / "x.zip", [(name, b"1") for name in names]), tmp_path / "x", "aa")
        assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]

    def test_a_bomb_is_stopped(self, pack, tmp_path, monkeypatch):
        monkeypatch.setattr(fetch_archive, "LIMIT_BYTES", 1_000_000)
        with pytest.raises(ValueError, match="at most 1000000 bytes"):
            unpack(pack(tmp_path / "x.zip", [("a", bytes(600_000)), ("b", bytes(600_000))]), tmp_path / "x", "aa")
        monkeypatch.setattr(fetch_archive, "LIMIT_FILES", 2)
        with pytest.raises(ValueError, match="at most 2 files"):
            unpack(pack(tmp_path / "x.zip", GOOD.items()), tmp_path / "x", "aa")
        assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]

    def test_a_cut_archive_is_refused(self, pack, tmp_path):
        archive = pack(tmp_path / "x.zip", [("a", bytes(range(256)) * 999)])
        archive.write_bytes(archive.read_bytes()[:-40])
        with pytest.raises(ValueError, match="whole archive"):
            unpack(archive, tmp_path / "x", "aa")
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind, tmp_path):
    with pytest.raises(ValueError, match="found a link or device"):
        unpack(tarred(tmp_path / "x.tar.gz", [("a", b"")], kind, "/etc/passwd"), tmp_path / "x", "aa")
    with pytest.raises(ValueError, match="found a link or device"):
        unpack(zipped(tmp_path / "x.zip", [("a", b"/etc/passwd")], stat.S_IFLNK | 0o777), tmp_path / "x", "aa")
    assert not (tmp_path / "x").exists()


def test_fetching_an_archive_unpacks_it_beside_itself(tmp_path):
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    archive = zipped(tmp_path / "mirror" / "set" / "study.zip", GOOD.items())
    row = ("set", "set/study.zip", "http://127.0.0.1:9/x", hashlib.sha256(archive.read_bytes()).hexdigest(), "MIT", "nobody", "archive")
    registry = pd.DataFrame([row], columns=list(fetch.REGISTRY_COLUMNS))
    for status in ("fetched", "present"):
        results = fetch.fetch_dataset("set", registry, tmp_path / "data", str(tmp_path / "mirror"))
        assert results[0].status == status
        assert (tmp_path / "data" / "set" / "study" / "sub-1" / "a.nii.gz").read_bytes() == GOOD["sub-1/a.nii.gz"]
    evil = zipped(archive, [("../../out", b"x")])
    registry["sha256"] = hashlib.sha256(evil.read_bytes()).hexdigest()
    with pytest.raises(WorkFailed, match="stay inside"):
        fetch.fetch_dataset("set", registry, tmp_path / "data", str(tmp_path / "mirror"))
    assert not (tmp_path / "out").exists() and not (tmp_path / "data" / "out").exists()


def test_what_is_no_archive_has_no_folder():
    assert archive_stem("A.TAR.XZ") == "A"
    for name in ("a.nii.gz", ".zip", "zip"):
        with pytest.raises(ValueError, match="expected an archive"):
            archive_stem(name)
