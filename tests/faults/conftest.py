"""Commands that run in their own process and can be killed; a limit to the size of files; a small cohort."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

#: Loads everything heavy once, then runs each command in a fork of itself, until it ends or is killed with all of its
#: children. TensorFlow is imported here but not yet at work, so that forks may use it.
SERVER = """
import functools, json, os, signal, sys, time
import flairnb.cli
for name in sys.argv[1:]:
    __import__(name)
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        os.chdir(asked["cwd"])
        if asked["memory_mb"] is not None:
            import resource
            with open("/proc/self/statm") as stream:
                used = int(stream.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + asked["memory_mb"] * 2**20,) * 2)
        code = 99
        try:
            if asked["reports"]:
                from flairnb.report import pipeline
                pipeline.run_notebooks = functools.partial(pipeline.run_notebooks, reports_dir=asked["reports"])
            code = flairnb.cli.call(asked["words"])
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    try:
        os.setpgid(child, child)  # here too: whoever comes first, there is a group to kill
    except OSError:
        pass
    status, killed = None, False
    while status is None:
        found, status_now = os.waitpid(child, os.WNOHANG)
        if found:
            status = status_now
        elif asked["seconds"] is not None and time.perf_counter() - start > asked["seconds"] and not killed:
            os.killpg(child, signal.SIGKILL)
            killed = True
        else:
            time.sleep(0.005)
    done = {"code": os.waitstatus_to_exitcode(status), "seconds": time.perf_counter() - start}
    print(json.dumps(done), flush=True)
"""


@dataclass
class Ended:
    """How a command ended: exit code (negative: the signal), seconds, what it wrote."""

    code: int
    seconds: float
    log: str

    @property
    def killed(self) -> bool:
        return self.code == -9


@pytest.fixture(scope="module")
def command(request, tmp_path_factory):
    """Return a function that runs `flairnb` words in a process of their own.

    It can be killed after some seconds, or get no more than some memory beyond what its imports take.
    """
    heavy = getattr(request.module, "HEAVY", ())
    environment = os.environ | {"TF_DETERMINISTIC_OPS": "1", "CUDA_VISIBLE_DEVICES": ""}
    log = tmp_path_factory.mktemp("log") / "log.txt"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, *heavy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout.readline() == "ready\n"

    def run(
        *words: object, seconds: float | None = None, memory_mb: int | None = None, cwd: Path | str = ".", reports: Path | str = ""
    ) -> Ended:
        log.write_text("")  # a process may be killed before it opens it
        asked = {"words": [str(w) for w in words], "seconds": seconds, "memory_mb": memory_mb}
        asked |= {"log": str(log), "cwd": str(cwd), "reports": str(reports)}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        done = json.loads(server.stdout.readline())
        return Ended(done["code"], done["seconds"], log.read_text(errors="replace"))

    yield run
    server.stdin.close()
    server.wait(60)


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse to write more than so many bytes to a file, for a while."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)


@pytest.fixture
def limited():
    """Return the context in which files may not grow beyond a size."""
    return no_file_larger_than


def write_cohort(folder: Path, cases: int = 3) -> Path:
    """Write small heads with brain masks and one lesion each, and their table."""
    rng = np.random.default_rng(8)
    shape = (46, 52, 24)
    affine = np.diag([-3.6, 3.9, 6.5, 1.0])
    affine[:3, 3] = (80, -100, -75)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(0))
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["participant_id\tdiagnosis\tsplit\tflair\tbrain_mask\treference_mask"]
    for n in range(1, cases + 1):
        lesion = np.sqrt(((at - np.array([0.3, -0.2 * n / 3, 0.1]).reshape(3, 1, 1, 1)) ** 2).sum(0)) < 0.16
        data = np.where(radius < 0.95, 90, 3) + 60 * (radius < 0.8) + 90 * lesion + rng.normal(0, 5, shape)
        names = []
        for kind, values, dtype in (("FLAIR", data, np.float32), ("brain", radius < 0.8, np.uint8), ("lesion", lesion, np.uint8)):
            names.append(f"sub-{n}_{kind}.nii.gz")
            nib.save(nib.Nifti1Image(values.astype(dtype), affine), folder / names[-1])
        rows.append("\t".join([f"sub-{n}", "MSA", "train" if n < cases else "validation", *names]))
    table = folder / "cohort.tsv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture
def cohort(tmp_path) -> Path:
    """Return the table of three small heads."""
    return write_cohort(tmp_path / "cohort")
