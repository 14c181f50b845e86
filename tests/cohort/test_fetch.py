"""Fetching from a real HTTP server on this machine, and from a mirror folder."""

from __future__ import annotations

import hashlib
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from flairnb.cohort.fetch import REGISTRY_COLUMNS, datasets, default_data_dir, default_registry, fetch_dataset, read_registry
from flairnb.errors import InputError, MissingDataError, WorkFailed

FILES = {"set/sub-1/a_FLAIR.nii.gz": b"\x1f\x8b image", "set/mask.nii.gz": b"\x1f\x8b mask" * 9000}


class QuietHandler(SimpleHTTPRequestHandler):
    """Serve files without a word; count what was asked for."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *_args):
        self.asked.append(self.path)


@pytest.fixture
def published(tmp_path) -> Path:
    folder = tmp_path / "published"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def server(published, serve):
    QuietHandler.asked.clear()
    return serve(partial(QuietHandler, directory=str(published)))


@pytest.fixture
def registry(server) -> pd.DataFrame:
    rows = [
        ("set", name, f"{server}/{name}", hashlib.sha256(content).hexdigest(), "MIT", "nobody 2026", "image")
        for name, content in FILES.items()
    ]
    return pd.DataFrame(rows, columns=list(REGISTRY_COLUMNS))


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_arrive_under_their_names_and_nothing_else(registry, tmp_path):
    results = fetch_dataset("set", registry, tmp_path / "data")
    assert [r.status for r in results] == ["fetched", "fetched"]
    assert files_in(tmp_path / "data") == FILES


def test_what_is_there_is_checked_and_not_fetched_again(registry, tmp_path):
    fetch_dataset("set", registry, tmp_path / "data")
    QuietHandler.asked.clear()
    assert [r.status for r in fetch_dataset("set", registry, tmp_path / "data")] == ["present", "present"]
    assert QuietHandler.asked == []


def test_a_damaged_file_is_replaced(registry, tmp_path):
    fetch_dataset("set", registry, tmp_path / "data")
    (tmp_path / "data" / "set" / "mask.nii.gz").write_bytes(b"half")
    assert [r.status for r in fetch_dataset("set", registry, tmp_path / "data")] == ["present", "fetched"]
    assert files_in(tmp_path / "data") == FILES


def test_a_wrong_hash_is_never_used_and_the_others_are_kept(registry, published, tmp_path):
    (published / "set" / "mask.nii.gz").write_bytes(b"altered")
    with pytest.raises(WorkFailed, match=r"set: expected 2 files, could not get 1; first: set/mask.nii.gz \(sha256 is"):
        fetch_dataset("set", registry, tmp_path / "data")
    assert list(files_in(tmp_path / "data")) == ["set/sub-1/a_FLAIR.nii.gz"]


def test_a_wrong_hash_leaves_the_old_file_as_it_was(registry, published, tmp_path):
    old = tmp_path / "data" / "set" / "mask.nii.gz"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    (published / "set" / "mask.nii.gz").write_bytes(b"altered")
    with pytest.raises(WorkFailed):
        fetch_dataset("set", registry, tmp_path / "data")
    assert old.read_bytes() == b"old"


def test_a_file_that_is_there_and_cannot_be_read_does_not_stop_the_others(registry, tmp_path, monkeypatch):
    from flairnb.cohort import fetch

    old = tmp_path / "data" / "set" / "sub-1" / "a_FLAIR.nii.gz"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"mine")

    def sha256_file(path):
        if path == old:
            raise PermissionError(13, "Permission denied")
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    monkeypatch.setattr(fetch, "sha256_file", sha256_file)
    with pytest.raises(WorkFailed, match=r"could not get 1; first: set/sub-1/a_FLAIR\.nii\.gz \(.*Permission denied"):
        fetch_dataset("set", registry, tmp_path / "data")
    assert files_in(tmp_path / "data") == {"set/sub-1/a_FLAIR.nii.gz": b"mine", "set/mask.nii.gz": FILES["set/mask.nii.gz"]}


def test_a_missing_file_is_said(registry, published, tmp_path):
    (published / "set" / "mask.nii.gz").unlink()
    with pytest.raises(WorkFailed, match="404"):
        fetch_dataset("set", registry, tmp_path / "data")


def test_a_mirror_address_is_asked_instead_of_the_publisher(registry, server, tmp_path):
    registry["url"] = "http://127.0.0.1:9/never"
    assert {r.status for r in fetch_dataset("set", registry, tmp_path / "data", mirror=server + "/")} == {"fetched"}
    assert files_in(tmp_path / "data") == FILES


def test_a_mirror_folder_is_copied_by_hash(registry, published, tmp_path):
    registry["url"] = "http://127.0.0.1:9/never"
    fetch_dataset("set", registry, tmp_path / "data", mirror=str(published))
    assert files_in(tmp_path / "data") == FILES
    (published / "set" / "mask.nii.gz").write_bytes(b"altered")
    (published / "set" / "sub-1" / "a_FLAIR.nii.gz").unlink()
    with pytest.raises(WorkFailed, match="could not get 2; first: .* [(]not in the mirror[)]"):
        fetch_dataset("set", registry, tmp_path / "other", mirror=str(published))
    assert files_in(tmp_path / "other") == {}


def test_an_unreachable_publisher_is_a_failure_with_advice(registry, tmp_path):
    registry["url"] = "http://127.0.0.1:9/never"
    with pytest.raises(WorkFailed, match="Check the connection or give --mirror"):
        fetch_dataset("set", registry, tmp_path / "data")
    assert files_in(tmp_path / "data") == {}


def test_a_mirror_that_is_nowhere_is_refused(registry, tmp_path):
    with pytest.raises(InputError, match="--mirror: expected an address or a folder"):
        fetch_dataset("set", registry, tmp_path / "data", mirror=str(tmp_path / "none"))
    assert not (tmp_path / "data").exists()


def test_an_unknown_data_set_is_named(registry, tmp_path):
    with pytest.raises(InputError, match="'sett': expected one of set"):
        fetch_dataset("sett", registry, tmp_path)


def test_the_list_counts_what_is_there(registry, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mask.nii.gz").touch()
    assert datasets(registry, tmp_path)[["dataset", "files", "present"]].values.tolist() == [["set", 2, 1]]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("sha256", "abc", "expected sha256 of 64 hexadecimal digits"),
        ("name", "../x.nii.gz", "expected names that stay inside"),
        ("name", "/x.nii.gz", "expected names that stay inside"),
        ("name", ".", "expected names that stay inside"),
        ("name", "set/mask.nii.gz", "expected each name once"),
        ("bytes", "12 MB", "expected a size in bytes"),
    ],
)
def test_a_bad_registry_is_refused(registry, tmp_path, column, value, message):
    registry["bytes"] = ""
    registry.loc[0, column] = value
    registry.to_csv(tmp_path / "registry.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=message):
        read_registry(tmp_path / "registry.tsv")


def test_a_registry_needs_its_columns_and_to_exist(registry, tmp_path):
    registry.drop(columns="sha256").to_csv(tmp_path / "registry.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="found none called sha256"):
        read_registry(tmp_path / "registry.tsv")
    with pytest.raises(MissingDataError):
        read_registry(tmp_path / "none.tsv")


@pytest.mark.parametrize("citation", ['"Lesjak et al', 'x "quoted', 'y"', '"'])
def test_a_quotation_mark_in_a_registry_is_a_letter_and_no_row_is_lost(registry, tmp_path, citation):
    registry["citation"] = [citation, 'z"']
    lines = ["\t".join(row) for row in [REGISTRY_COLUMNS, *registry.values.tolist()]]
    (tmp_path / "registry.tsv").write_bytes(("\ufeff" + "\r\n".join([*lines, "", ""])).encode())
    found = read_registry(tmp_path / "registry.tsv")
    assert found["citation"].tolist() == [citation, 'z"'] and found["name"].tolist() == list(FILES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a line for every file, found none"),
        ("\t".join(REGISTRY_COLUMNS).encode(), "expected a line for every file, found none"),
        ("\t".join(REGISTRY_COLUMNS).encode() + b"\ns\tM\xfcller\n", "expected .* in UTF-8, could not read it .*xfc' is not UTF-8"),
        (b"name\tname\nx\ty\n", "expected each column once, found 'name' more than once"),
        ("\t".join(REGISTRY_COLUMNS).encode() + b"\n" + b"x\t" * 7 + b"x\n", "expected rows of 7 cells.* found 8 in line 2"),
        ("\t".join(REGISTRY_COLUMNS).encode() + b"\n\n" + b"x\t" * 9 + b"x\n", "expected rows of 7 cells.* found 10 in line 3"),
    ],
)
def test_what_is_no_registry_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "registry.tsv").write_bytes(content)
    with pytest.raises(InputError, match=rf"registry\.tsv: {message}") as caught:
        read_registry(tmp_path / "registry.tsv")
    assert "\n" not in str(caught.value)


def test_names_are_quoted_in_the_address_of_a_mirror(published, server, tmp_path):
    name = "set/case #1 50%25?.nii.gz"
    (published / name).write_bytes(b"image")
    row = ("set", name, "http://127.0.0.1:9/never", hashlib.sha256(b"image").hexdigest(), "MIT", "nobody", "image")
    fetch_dataset("set", pd.DataFrame([row], columns=list(REGISTRY_COLUMNS)), tmp_path / "data", mirror=server)
    assert files_in(tmp_path / "data") == {name: b"image"}


def test_the_projects_registry_is_pinned_licensed_and_cited():
    registry = read_registry(default_registry())
    assert len(registry) == 210
    assert registry["url"].str.fullmatch(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/\S+").all()
    assert (registry[["licence", "citation", "kind", "bytes"]] != "").all(axis=None)


def test_data_go_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("FLAIRNB_DATA_DIR", "elsewhere")
    assert default_data_dir() == Path("elsewhere")
    monkeypatch.delenv("FLAIRNB_DATA_DIR")
    assert default_data_dir() == Path("data")


@pytest.mark.realdata
def test_the_registrys_hashes_are_those_of_the_real_files(realdata, tmp_path):
    registry = read_registry(default_registry())
    small = registry[registry["dataset"].isin(["healthy3d", "openms_mni"])]
    for dataset in ("healthy3d", "openms_mni"):
        results = fetch_dataset(dataset, small, tmp_path, mirror=str(realdata))
        assert {r.status for r in results} == {"fetched"}
        for row in small[small["dataset"] == dataset].itertuples():
            assert (tmp_path / row.name).stat().st_size == int(row.bytes)
