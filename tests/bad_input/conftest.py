"""A small head on disk, ways to spoil it, and the command line around it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call
from flairnb.geometry import isotropic_grid
from flairnb.resampling import resample

SHAPE = (45, 58, 22)
SPACING_MM = (4.0, 3.5, 6.5)
NOBODY = 65534


def oblique(spacing_mm=SPACING_MM, degrees=9.0, flip=-1.0, shape=SHAPE) -> np.ndarray:
    """Return an oblique affine, centred on the head."""
    a = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.diag(spacing_mm)
    affine[:3, 0] *= flip
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def head(shape=SHAPE) -> np.ndarray:
    """Return a scalp around a brain with one bright lesion, as (I, J, K) float32."""
    rng = np.random.default_rng(7)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(0))
    data = np.where(radius < 0.95, 90.0, 3.0) + rng.normal(0, 2, shape)
    data[radius < 0.8] += 60
    lesion = tuple(slice(n // 2, n // 2 + 5) for n in shape)
    data[lesion] = 600
    return data.astype(np.float32)


@dataclass
class Bench:
    """A folder with a good FLAIR's data, and ways to write files into it."""

    folder: Path
    data: np.ndarray = field(default_factory=head)
    affine: np.ndarray = field(default_factory=oblique)

    def save(self, name="sub-01_FLAIR.nii.gz", data=None, affine=None, kind=nib.Nifti1Image, header=None, **fields) -> Path:
        """Write an image; `fields` are then set in the header as they are, valid or not."""
        image = kind(self.data if data is None else data, self.affine if affine is None else affine, header)
        path = self.folder / name
        if not fields:
            nib.save(image, path)
            return path
        plain = path.with_name(f"plain-{path.stem}.nii")
        nib.save(image, plain)
        with plain.open("rb") as stream:
            header = type(image.header).from_fileobj(stream, check=False)
        for key, value in fields.items():
            header[key] = value
        content = header.binaryblock + plain.read_bytes()[len(header.binaryblock) :]
        plain.unlink()
        return self.raw(name, content)

    def raw(self, name: str, content: bytes) -> Path:
        """Write bytes, packed if the name ends in .gz."""
        import gzip

        path = self.folder / name
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        return path

    def bytes(self, name: str, content: bytes) -> Path:
        """Write bytes as they are."""
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def mask(self, value=1, dtype=np.uint8, name="sub-01_mask.nii.gz", affine=None) -> Path:
        """Write a mask of the middle of the head."""
        data = np.zeros(self.data.shape, dtype)
        data[tuple(slice(n // 5, -(n // 5)) for n in data.shape)] = value
        return self.save(name, data, affine)


@pytest.fixture
def bench(tmp_path) -> Bench:
    """Return a bench in an own folder."""
    (tmp_path / "in").mkdir()
    return Bench(tmp_path / "in")


@pytest.fixture
def rooms(monkeypatch) -> SimpleNamespace:
    """Replace ANTs and the network by closed forms; `loaded` counts the calls that would have been heavy."""
    from flairnb.network import inference
    from flairnb.network.weights import Network
    from flairnb.prepare import case as case_module
    from flairnb.report import patient, patient_files

    seen = SimpleNamespace(loaded=0)

    def prepare_case(flair, t1w=None, brain_mask=None, skull_stripped=False, settings=None, seed=0, threads=2):
        grid = isotropic_grid(flair.shape, flair.affine, 4.0)
        low, high = flair.data.min(), flair.data.max()
        brain = flair.data > low + 0.2 * (high - low) if brain_mask is None else brain_mask
        work = resample(flair.data, flair.affine, grid)
        return case_module.PreparedCase(flair, brain, work, np.ones(grid.shape, bool), grid, 0.0, 1.0)

    def predict(model, work, brain, infer):
        low, high = work.min(), work.max()
        return (work > low + 0.6 * (high - low)).astype(np.float32)

    network = Network(model=None, network=None, spacing_mm=4.0, threshold=0.5, sha256="0" * 64, name="fake")

    def load(weights, threads):
        seen.loaded += 1
        return network

    monkeypatch.setattr(case_module, "prepare_case", prepare_case)
    monkeypatch.setattr(inference, "predict", predict)
    monkeypatch.setattr(inference, "size_multiple", lambda model: 16)
    monkeypatch.setattr(patient, "_load_network", load)
    monkeypatch.setattr(patient, "_find_weights", lambda weights: "fake")
    monkeypatch.setattr("flairnb.network.weights.stored_spacing", lambda weights: 4.0)
    monkeypatch.setattr(patient_files, "_write_picture", lambda path, *_: path.write_bytes(b"picture"))
    return seen


def tree(folder: Path) -> set[str]:
    """Return all that lies below a folder; links are not followed."""
    return {f"{base}/{name}" for base, folders, files in os.walk(folder) for name in (*folders, *files)}


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Return a function that runs words which must fail in one line and leave nothing behind."""

    def _refused(words: list, code: int, folder: Path) -> str:
        before = tree(folder)
        found = call([str(w) for w in words])
        shown = capsys.readouterr()
        lines = shown.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), shown.err
        assert found == code, lines[0]
        assert "Traceback" not in shown.err
        assert tree(folder) == before
        return lines[0]

    return _refused


@contextmanager
def as_nobody(*folders: Path, closed: Path | None = None):
    """Give up root's rights for a while (root may read and write anything); nobody may enter `closed`."""
    for folder in folders:
        for place in (folder, *folder.parents):
            if place.stat().st_uid == os.getuid() and place != Path("/"):
                place.chmod(place.stat().st_mode | 0o055)
    if closed is not None:
        closed.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        if closed is not None:
            closed.chmod(0o755)


@pytest.fixture
def nobody():
    """Return the context in which this process has the rights of a plain user."""
    return as_nobody


@pytest.fixture
def listing():
    """Return the function that lists all below a folder."""
    return tree
