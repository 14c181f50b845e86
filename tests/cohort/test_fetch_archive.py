"""Archives: unpacked whole into their own folder, or not at all."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import tarfile
import zipfile

import pandas as pd
import pytest

from flairnb.cohort import fetch, fetch_archive
from flairnb.cohort.fetch_archive import archive_stem, unpack
from flairnb.errors import WorkFailed
from flairnb.provenance import write_json

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


ENDING = {zipped: ".zip", tarred: ".tar.gz"}


def content_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != fetch_archive.STAMP}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [zipped, tarred])
class TestPacked:
    def test_a_good_archive_is_unpacked_once(self, pack, tmp_path):
        archive = pack(tmp_path / f"study{ENDING[pack]}", GOOD.items())
        assert unpack(archive, tmp_path / "study", "aa")
        assert content_of(tmp_path / "study") == GOOD
        assert not unpack(archive, tmp_path / "study", "aa")
        (tmp_path / "study" / "sub-1" / "a.nii.gz").unlink()
        assert unpack(archive, tmp_path / "study", "bb")  # another archive: all of it anew
        assert (tmp_path / "study" / "sub-1" / "a.nii.gz").is_file()

    @pytest.mark.parametrize(
        "name",
        [
            "../out.txt",
            "a/../../out.txt",
            "/etc/out.txt",
            "..\\out.txt",
            "C:/out.txt",
            "a/b/../../../out.txt",
            ".",
            "./" + fetch_archive.STAMP,
            fetch_archive.STAMP,
        ],
    )
    def test_what_leads_out_is_refused_and_nothing_is_left(self, pack, name, tmp_path, fault):
        archive = pack(tmp_path / f"study{ENDING[pack]}", [("fine.txt", b"x"), (name, b"evil")])
        before = set(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="stay inside the archive's folder"):
            unpack(archive, tmp_path / "study", "aa")
        assert set(tmp_path.rglob("*")) == before and not (tmp_path.parent / "out.txt").exists()
        fault("bad archive: flairnb fetch", f"{pack.__name__}: {name}", "nothing unpacked", "refused")

    @pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"changed")])
    def test_a_file_that_was_lost_or_changed_is_unpacked_again(self, pack, spoil, tmp_path):
        archive = pack(tmp_path / f"study{ENDING[pack]}", GOOD.items())
        unpack(archive, tmp_path / "study", "aa")
        spoil(tmp_path / "study" / "sub-1" / "b" / "c.txt")
        assert unpack(archive, tmp_path / "study", "aa") and content_of(tmp_path / "study") == GOOD

    @pytest.mark.parametrize("name", ["mine.tsv", "sub-1/mine.tsv", "sub-1/mine/"])
    def test_what_was_not_unpacked_here_is_never_deleted(self, pack, name, tmp_path):
        archive = pack(tmp_path / f"study{ENDING[pack]}", GOOD.items())
        place = tmp_path / "study" / name
        for is_stamped in (False, True):
            if is_stamped:
                shutil.rmtree(tmp_path / "study")
                unpack(archive, tmp_path / "study", "aa")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir() if name.endswith("/") else place.write_bytes(b"mine")
            before = set(tmp_path.rglob("*"))
            with pytest.raises(ValueError, match=r"holds only what was unpacked, found (sub-1|mine).* in it; move or rename it") as caught:
                unpack(archive, tmp_path / "study", "bb")
            assert set(tmp_path.rglob("*")) == before and "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["study", "other"])
    def test_a_link_or_a_file_in_the_folders_place_is_left_alone(self, pack, name, tmp_path):
        archive = pack(tmp_path / f"study{ENDING[pack]}", GOOD.items())
        (tmp_path / name).mkdir() if name == "other" else (tmp_path / name).write_bytes(b"mine")
        if name == "other":
            (tmp_path / "study").symlink_to(tmp_path / "other")
        before = set(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="found a link or a file of that name"):
            unpack(archive, tmp_path / "study", "aa")
        assert set(tmp_path.rglob("*")) == before

    def test_an_earlier_versions_stamp_without_names_is_renewed(self, pack, tmp_path):
        archive = pack(tmp_path / f"study{ENDING[pack]}", GOOD.items())
        unpack(archive, tmp_path / "study", "aa")
        write_json(tmp_path / "study" / fetch_archive.STAMP, {"Archive": "study", "Sha256OfArchive": "aa", "Files": 3})
        assert unpack(archive, tmp_path / "study", "aa") and not unpack(archive, tmp_path / "study", "aa")
        write_json(tmp_path / "study" / fetch_archive.STAMP, {"Archive": "study", "Sha256OfArchive": "aa", "Files": 3})
        with pytest.raises(ValueError, match="holds only what was unpacked"):
            unpack(archive, tmp_path / "study", "bb")  # of another archive: nothing tells which files were ours

    @pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b", "a"]])
    def test_a_name_twice_is_refused(self, pack, names, tmp_path):
        with pytest.raises(ValueError, match="every name once"):
            unpack(pack(tmp_path / f"x{ENDING[pack]}", [(name, b"1") for name in names]), tmp_path / "x", "aa")
        assert [p.name for p in tmp_path.iterdir()] == [f"x{ENDING[pack]}"]

    def test_a_bomb_is_stopped(self, pack, tmp_path, monkeypatch):
        monkeypatch.setattr(fetch_archive, "LIMIT_BYTES", 1_000_000)
        with pytest.raises(ValueError, match="at most 1000000 bytes"):
            unpack(pack(tmp_path / f"x{ENDING[pack]}", [("a", bytes(600_000)), ("b", bytes(600_000))]), tmp_path / "x", "aa")
        monkeypatch.setattr(fetch_archive, "LIMIT_FILES", 2)
        with pytest.raises(ValueError, match="at most 2 files"):
            unpack(pack(tmp_path / f"x{ENDING[pack]}", GOOD.items()), tmp_path / "x", "aa")
        assert [p.name for p in tmp_path.iterdir()] == [f"x{ENDING[pack]}"]

    def test_a_cut_archive_is_refused(self, pack, tmp_path):
        archive = pack(tmp_path / f"x{ENDING[pack]}", [("a", bytes(range(256)) * 999)])
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


def test_a_tar_file_whose_last_member_is_a_zip_file_is_a_tar_file(tmp_path):
    inner = zipped(tmp_path / "inner.zip", [("inner.txt", b"inner")]).read_bytes()
    with tarfile.open(tmp_path / "study.tar", "w") as out:
        for name, content in (("sub-1/flair.nii.gz", b"x" * 1000), ("code.zip", inner)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    unpack(tmp_path / "study.tar", tmp_path / "study", "aa")
    assert content_of(tmp_path / "study") == {"sub-1/flair.nii.gz": b"x" * 1000, "code.zip": inner}


@pytest.mark.parametrize(("ending", "mode"), [(".tar.gz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz"), (".zip", "")])
def test_a_damaged_archive_is_refused_in_one_line(ending, mode, rng, tmp_path):
    archive, noise = tmp_path / f"x{ending}", rng.bytes(200_000)
    if mode:
        with tarfile.open(archive, mode) as out:
            info = tarfile.TarInfo("a")
            info.size = len(noise)
            out.addfile(info, io.BytesIO(noise))
    else:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as out:
            out.writestr("a", noise)
    content = bytearray(archive.read_bytes())
    content[100_000:100_010] = bytes(10)
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a whole archive, could not read it \(.+\)$") as caught:
        unpack(archive, tmp_path / "x", "aa")
    assert "\n" not in str(caught.value) and [p.name for p in tmp_path.iterdir()] == [archive.name]


def test_a_name_that_is_too_long_is_said_in_a_short_line(tmp_path):
    archive = tarred(tmp_path / "x.tar.gz", [("a" * 300, b"x")])
    with pytest.raises(ValueError, match=r"^could not write 'a{60}' \(File name too long\)$"):
        unpack(archive, tmp_path / "x", "aa")


def test_names_that_are_not_utf_8_can_be_unpacked_and_checked(tmp_path):
    archive = tarred(tmp_path / "x.tar.gz", [(b"M\xfcller.txt".decode("utf-8", "surrogateescape"), b"x")])
    assert unpack(archive, tmp_path / "x", "aa") and not unpack(archive, tmp_path / "x", "aa")


def test_what_is_no_archive_has_no_folder():
    assert archive_stem("A.TAR.XZ") == "A"
    for name in ("a.nii.gz", ".zip", "zip"):
        with pytest.raises(ValueError, match="expected an archive"):
            archive_stem(name)
