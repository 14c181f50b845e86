"""`flairnb train` and `run`, killed (SIGKILL) at random points or out of memory: run again they end as if undisturbed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

HEAVY = ("tensorflow", "keras", "ants", "joblib", "pandas", "scipy.ndimage", "papermill", "pandera")
# Minutes of kills: only `make faults` asks for them.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("FLAIRNB_FAULTS_TABLE"), reason="takes many minutes: run by `make faults`"),
]
RNG = np.random.default_rng(int(os.environ.get("FLAIRNB_KILL_SEED", 23)))


def whole_images(folder: Path) -> dict[str, bytes]:
    """Read every image below a folder; one that is cut off fails here."""
    found = sorted(p for p in folder.rglob("*.nii.gz") if not p.name.startswith(".partial"))
    return {str(p.relative_to(folder)): np.asarray(nib.load(p).dataobj).tobytes() for p in found}


def kill_and_go_on(command, words, folder: Path, length: float, kills: int, check=lambda: None) -> int:
    """Kill the command at random points of its time; return how often it was still at work.

    Where it had ended before, its folder is removed and it starts anew, to be killed sooner.
    """
    killed = 0
    for _ in range(kills):
        ended = command(*words, folder, seconds=RNG.uniform(0.1, 0.9) * length)
        assert ended.killed or ended.code == 0, ended.log[-2000:]
        killed += ended.killed
        check()
        if not ended.killed:
            length = 0.6 * ended.seconds
            shutil.rmtree(folder)
    return killed


def test_a_training_killed_or_starved_many_times_ends_with_the_same_weights(command, cohort, tmp_path, fault):
    sets = "train.epochs=8 train.patches_per_case=4 network.levels=2 prepare.spacing_mm=6"
    words = ("train", "--cohort", cohort, "--profile", "smoke", "--set", sets, "--out")
    calm = command(*words, tmp_path / "calm")
    assert calm.code == 0, calm.log[-2000:]

    def check():
        path = tmp_path / "killed" / "models" / "unet" / "checkpoint.npz"
        if path.exists():
            with np.load(path) as stored:
                assert all(np.isfinite(stored[key]).all() for key in stored.files if key != "about")

    killed = kill_and_go_on(command, words, tmp_path / "killed", calm.seconds, 6, check)
    assert killed >= 2, "the kills came too late to mean anything"
    assert command(*words, tmp_path / "killed").code == 0
    assert_same_training(tmp_path / "calm", tmp_path / "killed")
    fault("killed (SIGKILL)", "flairnb train", "went on; the same weights, bit for bit", "went on", killed)

    starved = 0
    for memory_mb in (64, 512, 1024, 2048, 3072, 4096):  # of address space, beyond the imports
        ended = command(*words, tmp_path / "starved", memory_mb=memory_mb)
        starved += ended.code != 0
    assert starved >= 3, "there was memory enough every time"
    done = command(*words, tmp_path / "starved")
    assert done.code == 0, done.log[-2000:]
    assert_same_training(tmp_path / "calm", tmp_path / "starved")
    fault("out of memory", "flairnb train", "went on; the same weights, bit for bit", "went on", starved)


def assert_same_training(one: Path, other: Path) -> None:
    """Fail unless two work folders hold the same curve, the same variables and the same images, bit for bit."""
    history = [pd.read_csv(folder / "models" / "unet" / "history.csv") for folder in (one, other)]
    assert list(history[1]["epoch"]) == list(range(1, 9))
    np.testing.assert_array_equal(history[0][["loss", "dice"]], history[1][["loss", "dice"]])
    with np.load(one / "models/unet/checkpoint.npz") as a, np.load(other / "models/unet/checkpoint.npz") as b:
        assert a.files == b.files
        for key in a.files:
            if key != "about":
                np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    assert whole_images(other) == whole_images(one)


def test_a_run_of_notebooks_killed_many_times_ends_as_if_undisturbed(command, tmp_path, fault):
    sets = ("cohort.training_per_disease=1", "cohort.healthy_training=0", 'cohort.diagnoses=["MSA"]', "cohort.head_spacing_mm=4")
    words = ["run", "01", "02", "--profile", "smoke", "--jobs", "1"]
    for word in sets:
        words += ["--set", word]
    cwd = Path(__file__).resolve().parents[2]

    def run(name, **more):
        return command(*words, "--set", f"out_dir={tmp_path / name}", cwd=cwd, reports=tmp_path / f"{name}-report", **more)

    calm = run("calm")
    assert calm.code == 0, calm.log[-2000:]
    killed = 0
    for _ in range(4):
        ended = run("killed", seconds=RNG.uniform(0.15, 0.85) * calm.seconds)
        assert ended.killed or ended.code == 0, ended.log[-2000:]
        killed += ended.killed
        whole_images(tmp_path / "killed")
    assert killed >= 2
    done = run("killed")
    assert done.code == 0, done.log[-2000:]
    assert whole_images(tmp_path / "killed") == whole_images(tmp_path / "calm")
    tables = [pd.read_csv(tmp_path / name / "manifest.tsv", sep="\t") for name in ("calm", "killed")]
    pd.testing.assert_frame_equal(*tables)
    assert (tmp_path / "killed-report" / "index.html").is_file()
    fault("killed (SIGKILL)", "flairnb run", "went on; the same images and tables", "went on", killed)
