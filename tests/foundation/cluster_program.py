"""Run by test_parallel.py in a process of its own: a Dask cluster of worker processes, one of which is killed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import sys
from pathlib import Path


def digest(number: int, folder: str) -> tuple[int, str]:
    """Leave a file and return a hash; the first process that meets case 3 dies of it, half-way."""
    fuse = Path(folder) / "fuse"
    if number == 3 and not fuse.exists():
        fuse.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(folder) / f"done-{number}").write_text(str(os.getpid()))
    return number, hashlib.sha256(str(number).encode()).hexdigest()


def fatal(number: int) -> int:
    """Kill the worker, whenever and wherever."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def prepare_or_die(row, settings, work_dir, root):
    """Prepare a case; the first process that has written one's brain mask dies before it has written the rest."""
    from flairnb.prepare import cohort

    fuse = Path(work_dir) / "fuse"
    real = cohort.write_image

    def write(path, *rest):
        made = real(path, *rest)
        if row["participant_id"] == "sub-2" and not fuse.exists():
            fuse.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    cohort.write_image = write
    try:
        return cohort._prepare_row(row, settings, work_dir, root)
    finally:
        cohort.write_image = real


def counted(count: int, folder: Path, ahead: list[int]):
    """Yield calls of `touch`, and note how many were asked for before they were done."""
    for number in range(count):
        ahead.append(number - len(list(folder.glob("touched-*"))))
        yield number, str(folder)


def touch(number: int, folder: str) -> int:
    """Leave a file and return the number."""
    (Path(folder) / f"touched-{number}").touch()
    return number


def main(folder: Path) -> None:
    """Do the same work on a cluster, with a death in the middle, and in this process; print both."""
    import dask
    import pandas as pd
    from distributed import Client, LocalCluster

    from flairnb.errors import WorkFailed
    from flairnb.parallel import each_case, on_cluster
    from flairnb.prepare import cohort
    from flairnb.settings import load

    # Every worker that dies takes seconds to start again: two tries are enough to see what is done with a fatal case.
    dask.config.set({"distributed.scheduler.allowed-failures": 1})
    settings = dataclasses.replace(load("demo").prepare, spacing_mm=4.0, working_spacing_mm=5.0, n4=False)
    table = pd.read_csv(folder / "raw/cases.tsv", sep="\t", keep_default_na=False)
    real, found = cohort._prepare_row, {}
    with LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        found["workers"] = len(cluster.workers)
        with on_cluster(cluster.scheduler_address):
            found["cluster"] = each_case(digest, [(n, str(folder)) for n in range(12)])
            ahead: list[int] = []
            found["streamed"] = each_case(touch, counted(200, folder, ahead)) == list(range(200))
            found["ahead"] = max(ahead)
            cohort._prepare_row = prepare_or_die
            (folder / "cluster").mkdir()
            found["prepared"] = cohort.prepare_cohort(table, settings, folder / "cluster", 1, folder / "raw")["status"].tolist()
            try:
                each_case(fatal, [(n,) for n in range(3)])
            except WorkFailed as problem:
                found["lost"] = str(problem)
            # A cluster that is closed while a worker starts again trips over it. Now and then Dask gives a worker up that is
            # killed while it starts (dask/distributed issue 7312): then there is nobody to wait for, and all is found already.
            with Client(cluster) as client, contextlib.suppress(TimeoutError):
                client.wait_for_workers(3, timeout=30)
    cohort._prepare_row = real
    found["alone"] = each_case(digest, [(n, str(folder)) for n in range(12)])
    found["prepared_alone"] = cohort.prepare_cohort(table, settings, folder / "alone", 1, folder / "raw")["status"].tolist()
    found["pids"] = sorted({int((folder / "fuse").read_text()), int((folder / "cluster/fuse").read_text())})
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
