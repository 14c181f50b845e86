"""Preparation and checkpoints killed (SIGKILL) at random points: the end is that of an undisturbed run."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from flairnb.images import write_image
from flairnb.naming import sidecar_path
from flairnb.prepare.bridge import load_ants
from flairnb.prepare.cohort import prepare_cohort
from flairnb.provenance import is_current, read_json
from flairnb.settings import load

pytest.importorskip("ants")
FAST = dataclasses.replace(load("demo").prepare, spacing_mm=4.0, working_spacing_mm=5.0, n4=False)
KILLS = 12


@pytest.fixture
def raw(tmp_path, head):
    """Return raw images of three cases and their table."""
    flair, brain = head
    rows = []
    for name in ("sub-1", "sub-2", "sub-3"):
        lesion = np.zeros_like(brain)
        lesion[38:44, 45:52, 15:18] = True
        for suffix, data, dtype in (("FLAIR", flair.data, np.float32), ("brain", brain, np.uint8), ("lesion", lesion, np.uint8)):
            write_image(tmp_path / f"raw/{name}_{suffix}.nii.gz", data, flair, dtype)
        rows.append(
            {
                "participant_id": name,
                "flair": f"{name}_FLAIR.nii.gz",
                "t1w": "",
                "brain_mask": f"{name}_brain.nii.gz",
                "reference_mask": f"{name}_lesion.nii.gz",
            }
        )
    return tmp_path / "raw", pd.DataFrame(rows)


def killed_after(seconds: float, work) -> bool:
    """Run `work` in a child, kill it; tell whether it was still at work."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def voxels(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): np.asarray(nib.load(p).dataobj).tobytes() for p in folder.rglob("*.nii.gz") if ".partial" not in p.name
    }


@pytest.mark.slow
def test_a_preparation_killed_many_times_ends_as_if_undisturbed(raw, tmp_path, fault):
    root, table = raw
    load_ants()
    started = time.perf_counter()
    prepare_cohort(table, FAST, tmp_path / "calm", 1, root)
    length = time.perf_counter() - started
    rng = np.random.default_rng(int(os.environ.get("FLAIRNB_KILL_SEED", 11)))
    kills = 0
    for _ in range(KILLS):
        kills += killed_after(rng.uniform(0.02, 0.6) * length, lambda: prepare_cohort(table, FAST, tmp_path / "killed", 1, root))
        for path in (tmp_path / "killed").rglob("*.nii.gz"):
            if ".partial" not in path.name:
                np.asarray(nib.load(path).dataobj)  # under its own name a file is whole
                sidecar = sidecar_path(path)
                assert not sidecar.exists() or isinstance(read_json(sidecar), dict)
    assert kills >= KILLS // 4, "the kills came too late to mean anything"
    done = prepare_cohort(table, FAST, tmp_path / "killed", 1, root)
    assert list(done["status"]) == ["ok"] * 3
    assert voxels(tmp_path / "killed") == voxels(tmp_path / "calm")
    for path in (tmp_path / "killed").rglob("*_desc-preproc_FLAIR.nii.gz"):
        assert is_current(path)
    fault("killed (SIGKILL)", "cohort preparation", "went on; the same images, voxel for voxel", "went on", kills)


@pytest.mark.slow
def test_a_checkpoint_is_always_whole_whenever_it_is_killed(tmp_path, fault):
    from flairnb.network.checkpoint import Progress, read_progress, restore_variables, save_checkpoint

    class Variable:
        def __init__(self, value):
            self.value = np.full((200, 300), value, np.float32)
            self.shape = self.value.shape

        def numpy(self):
            return self.value

        def assign(self, value):
            self.value = value

    def save_forever():
        for epoch in range(100000):
            save_checkpoint(tmp_path, Progress(epoch=epoch), {"model": [Variable(epoch), Variable(2 * epoch)]}, {"seed": 1})

    rng = np.random.default_rng(5)
    seen = -1
    for _ in range(20):
        assert killed_after(rng.uniform(0.01, 0.15), save_forever)
        progress = read_progress(tmp_path, {"seed": 1})
        if progress is None:
            continue
        pair = [Variable(-1), Variable(-1)]
        restore_variables(tmp_path, {"model": pair})
        assert (pair[0].value == progress.epoch).all() and (pair[1].value == 2 * progress.epoch).all()
        seen = max(seen, progress.epoch)
    assert seen >= 0
    fault("killed (SIGKILL)", "writing checkpoints without pause", "every checkpoint whole", "went on", 20)
