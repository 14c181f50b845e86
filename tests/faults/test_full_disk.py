"""A disk that is really full: one line, code 1, nothing half-written under its own name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from flairnb.cohort import fetch
from flairnb.errors import WorkFailed
from flairnb.images import Image, write_image
from flairnb.network.checkpoint import Progress, read_progress, save_checkpoint
from flairnb.provenance import atomic_path, write_json

FULL = "No space left on device"


def fill(folder: Path, leave: int) -> None:
    """Fill a small disk up to some bytes."""
    with (folder / "ballast").open("wb") as stream:
        stream.write(bytes(512 * 1024 - leave))


def listing(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"ballast"}


class Variable:
    shape = (300, 300)

    def numpy(self):
        return np.random.default_rng(0).normal(size=self.shape)


@pytest.mark.parametrize("what", ["image", "json", "table", "checkpoint"])
def test_a_file_that_does_not_fit_leaves_the_old_one(what, small_disk, fault):
    data = np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32)

    def write(size: int) -> None:
        if what == "image":
            write_image(small_disk / "a.nii.gz", data[:size], Image(data[:size], np.diag([2, 2, 3, 1.0])))
        elif what == "json":
            write_json(small_disk / "a.json", list(range(3000 * size)))
        elif what == "table":
            with atomic_path(small_disk / "a.tsv") as temporary:
                pd.DataFrame({"x": np.arange(3000 * size)}).to_csv(temporary)
        else:
            save_checkpoint(small_disk, Progress(epoch=size), {"model": [Variable()] * (0 if size == 1 else 1)}, {})

    write(1)
    before = {name: (small_disk / name).read_bytes() for name in listing(small_disk)}
    fill(small_disk, 60_000)
    with pytest.raises(OSError, match=FULL):
        write(60)
    assert {name: (small_disk / name).read_bytes() for name in listing(small_disk)} == before and len(before) == 1
    if what == "checkpoint":
        assert read_progress(small_disk, {}).epoch == 1
    fault("disk full", f"writing: {what}", "the old file stays; nothing half-written", "kept", 1)


def test_the_same_where_the_system_limits_the_size_of_files(tmp_path, limited):
    data = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    with limited(20_000), pytest.raises(OSError, match="File too large"):
        write_image(tmp_path / "a.nii.gz", data, Image(data, np.eye(4)))
    assert listing(tmp_path) == set()


def test_a_fetch_onto_a_full_disk_ends_in_one_line_and_leaves_nothing(small_disk, tmp_path, fault):
    contents = {"set/small.nii.gz": b"x" * 9000, "set/large.nii.gz": np.random.default_rng(1).bytes(700_000)}
    rows = []
    for name, content in contents.items():
        (tmp_path / "mirror" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / name).write_bytes(content)
        rows.append(("set", name, "http://127.0.0.1:9/", hashlib.sha256(content).hexdigest(), "MIT", "nobody", "image"))
    registry = pd.DataFrame(rows, columns=list(fetch.REGISTRY_COLUMNS))
    with pytest.raises(WorkFailed, match=f"could not get 1; first: set/large.nii.gz .*{FULL}") as caught:
        fetch.fetch_dataset("set", registry, small_disk / "data", str(tmp_path / "mirror"))
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)
    assert listing(small_disk) == {"data/set/small.nii.gz"}
    fault("disk full", "flairnb fetch --mirror", "one line, code 1; nothing half-written", "refused", 1)


def test_a_download_onto_a_full_disk_gives_the_space_back(small_disk, tmp_path, serve, fault):
    from functools import partial
    from http.server import SimpleHTTPRequestHandler

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    content = np.random.default_rng(1).bytes(900_000)
    (tmp_path / "a.nii.gz").write_bytes(content)
    url = f"{serve(partial(Quiet, directory=str(tmp_path)))}/a.nii.gz"
    row = ("set", "set/a.nii.gz", url, hashlib.sha256(content).hexdigest(), "MIT", "nobody", "image")
    with pytest.raises(WorkFailed, match=FULL):
        fetch.fetch_dataset("set", pd.DataFrame([row], columns=list(fetch.REGISTRY_COLUMNS)), small_disk)
    assert listing(small_disk) == set()
    fault("disk full", "flairnb fetch", "one line, code 1; nothing half-written", "refused", 1)


def test_a_preparation_on_a_full_disk_is_a_row_with_its_reason_and_goes_on_later(small_disk, cohort, fault):
    from flairnb.prepare.cohort import prepare_cohort
    from flairnb.settings import load

    settings = load("smoke", {"prepare.spacing_mm": 5.0}).prepare
    table = pd.read_csv(cohort, sep="\t")
    fill(small_disk, 30_000)
    found = prepare_cohort(table, settings, small_disk / "work", 1, cohort.parent)
    assert list(found["status"]) == ["failed"] * 3 and found["reason"].str.contains(FULL).all()
    for path in small_disk.rglob("*.nii.gz"):
        np.asarray(nib.load(path).dataobj)  # what has its own name is whole
    assert not [p for p in small_disk.rglob(".partial*")]
    (small_disk / "ballast").unlink()
    assert list(prepare_cohort(table.head(1), settings, small_disk / "work", 1, cohort.parent)["status"]) == ["ok"]
    fault("disk full", "cohort preparation", "each case a row with its reason; goes on when there is room", "goes on", 3)
