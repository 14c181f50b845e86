"""A fresh process for each thing that `flairnb bench` measures, so that start, imports and memory are its own."""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

from flairnb.errors import InputError, WorkFailed

_LAST = "flairnb-bench:"


def measure(task: str, **given: Any) -> dict[str, Any]:
    """Do one task in a fresh process.

    Parameters
    ----------
    task : str
        Of :data:`flairnb.report.bench_tasks.TASKS`.
    **given
        What the task wants; ``onednn=False`` switches oneDNN off,
        `environment` (names to values) is set for the process.

    Returns
    -------
    dict
        What the task returns, `wall_s` (the process's start and imports
        included), `cpu_s` and `peak_gb` of that process and those that it starts.

    Raises
    ------
    WorkFailed
        It ended badly; carries its last line.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= given.pop("environment", {})
    environment |= {"TF_ENABLE_ONEDNN_OPTS": "1" if given.pop("onednn", True) else "0", "TF_CPP_MIN_LOG_LEVEL": "2"}
    started = time.perf_counter()
    command = [sys.executable, "-m", "flairnb.report.bench_child", task, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall = time.perf_counter() - started
    lines = [line for line in done.stdout.splitlines() if line.startswith(_LAST)]
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkFailed(f"bench: {task} ended with code {done.returncode}: {last}")
    return {**json.loads(lines[-1].removeprefix(_LAST)), "wall_s": round(wall, 3)}


def main(task: str, given: str) -> None:
    """Do a task and write what it found as the last line."""
    from flairnb.provenance import peak_memory_gb
    from flairnb.report.bench_tasks import TASKS
    from flairnb.report.memory import MemoryWatch

    if task not in TASKS:
        raise InputError(f"bench: expected one of {', '.join(TASKS)}, found {task!r}.")
    with MemoryWatch(every_s=0.2) as watch:
        found = TASKS[task](**json.loads(given))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found |= {
        "peak_gb": max(round(peak_memory_gb(), 3), watch.peak_gb),
        "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in used), 2),
    }
    sys.stdout.write(f"\n{_LAST}{json.dumps(found, default=float)}\n")


if __name__ == "__main__":
    atexit.register(gc.freeze)  # as the command line does
    main(*sys.argv[1:])
