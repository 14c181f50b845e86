from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from flairnb.errors import EnvironmentProblem, InputError, WorkFailed
from flairnb.images import Image, write_image
from flairnb.parallel import DASK, begun, check_address, each_case, on_cluster, slurm_options, slurm_workers

PROGRAM = Path(__file__).with_name("cluster_program.py")


def test_results_come_in_the_order_of_the_calls_whatever_the_jobs():
    calls = [(base, 2) for base in range(7)]
    assert each_case(pow, calls) == each_case(pow, calls, jobs=2) == [n * n for n in range(7)]
    assert each_case(pow, [], jobs=4) == []


def test_an_address_without_a_scheme_is_refused_before_anything_starts():
    with pytest.raises(InputError, match="tcp://host:8786, received 'node7'"):
        check_address("node7")
    with pytest.raises(InputError, match="found both"), on_cluster("tcp://node7:8786", 3):
        pass


def test_a_cluster_is_known_within_its_block_only(monkeypatch):
    monkeypatch.delenv(DASK, raising=False)
    with on_cluster("tcp://node7:8786"):
        assert os.environ[DASK] == "tcp://node7:8786"
    assert DASK not in os.environ
    with on_cluster():
        assert DASK not in os.environ


def test_slurm_without_sbatch_says_where_to_go(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentProblem, match="sbatch"), slurm_workers(2):
        pass


def test_a_slurm_job_is_one_case_with_its_cores_and_memory(tmp_path):
    pytest.importorskip("dask_jobqueue")
    code = (
        "from dask_jobqueue.slurm import SLURMJob; from flairnb.parallel import slurm_options\n"
        f"print(SLURMJob(scheduler='tcp://127.0.0.1:1', name='w', **slurm_options(4, 8.0, {str(tmp_path)!r})).job_script())"
    )
    script = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout
    assert "#SBATCH --cpus-per-task=4" in script and "#SBATCH --mem=8G" in script
    assert "--nthreads 1" in script and "export OMP_NUM_THREADS=4" in script
    assert slurm_options(2, 8.0, ".")["processes"] == 1


def _raw(folder: Path) -> None:
    """Write three small heads that are brain only, and their table."""
    rng, rows = np.random.default_rng(4), []
    affine = np.diag([-4.0, -4.0, 5.0, 1.0])
    affine[:3, 3] = (70, 80, -50)
    centre = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (36, 42, 25)), indexing="ij"))
    brain = (centre**2).sum(axis=0) < 0.8
    for number in (1, 2, 3):
        flair = Image((brain * rng.normal(100, 10, brain.shape)).astype(np.float32), affine)
        write_image(folder / f"sub-{number}_FLAIR.nii.gz", flair.data, flair, np.float32)
        write_image(folder / f"sub-{number}_brain.nii.gz", brain, flair, np.uint8)
        rows.append({"participant_id": f"sub-{number}", "flair": f"sub-{number}_FLAIR.nii.gz", "t1w": ""})
        rows[-1]["brain_mask"] = f"sub-{number}_brain.nii.gz"
    rows.append({"participant_id": "sub-4", "flair": "absent.nii.gz", "t1w": "", "brain_mask": ""})
    pd.DataFrame(rows).to_csv(folder / "cases.tsv", sep="\t", index=False)


def _voxels(folder: Path) -> dict[str, bytes]:
    found = [p for p in folder.rglob("*.nii.gz") if ".partial" not in p.name]
    return {str(p.relative_to(folder)): np.asarray(nib.load(p).dataobj).tobytes() for p in found}


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_in_the_middle_finds_what_one_process_finds(tmp_path):
    pytest.importorskip("distributed")
    _raw(tmp_path / "raw")
    with (tmp_path / "log.txt").open("w") as log:
        program = subprocess.Popen([sys.executable, str(PROGRAM), str(tmp_path)], stdout=log, stderr=log, start_new_session=True)
        try:
            code = program.wait(600)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)  # its workers too
    assert code == 0, (tmp_path / "log.txt").read_text()[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["workers"] == 3 and len(found["pids"]) == 2, "two workers died, one in each cohort"
    assert found["cluster"] == found["alone"] and [n for n, _ in found["alone"]] == list(range(12))
    assert found["streamed"] and found["ahead"] <= 64, "a cohort's calls wait with the driver, not on the scheduler"
    assert found["prepared"] == found["prepared_alone"] == ["ok", "ok", "ok", "failed"]
    assert len(_voxels(tmp_path / "alone")) == 9
    assert _voxels(tmp_path / "cluster") == _voxels(tmp_path / "alone")
    assert "expected 3 results, found 2" in found["lost"] and "2 tries; number 2 in the list" in found["lost"]


def test_a_case_lost_beside_a_fatal_one_is_rescued_and_the_fatal_one_is_not():
    distributed = pytest.importorskip("distributed")
    from flairnb.parallel import _one_by_one

    class Future:
        def __init__(self, work, call):
            self.work, self.call = work, call

        def result(self):
            if self.call == (1,):
                raise distributed.KilledWorker("1", None, 2)
            return self.work(*self.call)

    asked = []

    class Client:
        def submit(self, work, *call, pure):
            assert not pure, "a result that Dask remembers would be the lost one"
            asked.append(call)
            return Future(work, call)

    lost, results = {2: (2,), 1: (1,), 5: (5,)}, {0: 0}
    _one_by_one(Client(), abs, lost, results)
    assert lost == {1: (1,)} and results == {0: 0, 2: 2, 5: 5}
    assert asked == [(1,), (2,), (5,)]


def _own_process(value: int) -> tuple[int, int]:
    return os.getpid(), value + 1


def _refuse(what: str) -> None:
    raise InputError(f"{what}: expected a head, found none.")


def _die_elsewhere(parent: int) -> int:
    if os.getpid() != parent:
        os._exit(9)
    return 7


def test_work_that_is_begun_is_done_in_another_process_or_here_when_asked_to():
    with begun(_own_process, 1) as result:
        process, value = result()
    assert value == 2 and process != os.getpid()
    with begun(_own_process, 1, aside=False) as result:
        assert result() == (os.getpid(), 2)


def test_an_error_of_work_that_is_begun_arrives_as_itself():
    with pytest.raises(InputError, match="T1w: expected a head"), begun(_refuse, "T1w") as result:
        result()


def test_work_whose_process_is_lost_is_done_here(caplog):
    with begun(_die_elsewhere, os.getpid()) as result:
        assert result() == 7
    assert "lost" in caplog.text


def test_a_lost_process_ends_in_one_line_that_says_what_to_do():
    with pytest.raises(WorkFailed, match="expected 2 processes to the end, lost one of them.*fewer jobs.*what was finished is kept"):
        each_case(_die_elsewhere, [(os.getpid(),), (os.getpid(),)], 2)


def test_no_process_is_left_behind_when_the_block_fails():
    import psutil

    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with pytest.raises(ZeroDivisionError), begun(time.sleep, 600):
        _ = 1 / 0
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before and "resource_tracker" not in " ".join(p.cmdline())]
    assert left == []


def test_the_second_process_ends_after_a_parent_that_was_killed(tmp_path):
    import psutil

    program = """
import os, sys, time
from pathlib import Path
from flairnb.parallel import begun

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with begun(work, sys.argv[1]) as result:
        result()
"""
    told = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", program, str(told)])
    until = time.monotonic() + 120
    while not (told.is_file() and told.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    child = psutil.Process(int(told.read_text()))
    parent.kill()
    parent.wait(timeout=60)
    child.wait(timeout=60)
