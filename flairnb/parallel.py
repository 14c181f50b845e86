"""Many cases at once: on this machine's processes, or on a Dask cluster; the same code and the same results."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from typing import Any

from flairnb.errors import EnvironmentProblem, InputError, WorkFailed

log = logging.getLogger(__name__)

#: Address of a Dask scheduler; `flairnb run --dask` hands it to the notebooks' kernels by this name.
DASK = "FLAIRNB_DASK"
_CONNECT_S = 30
_LEAST_WAITING = 64
_SCHEMES = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")


def each_case(work: Callable[..., Any], calls: Iterable[tuple], jobs: int = 1, dask: str | None = None) -> list[Any]:
    """Return ``work(*call)`` of every call, in the order of the calls.

    Parameters
    ----------
    work : callable
        One case's work. It turns a bad case into a row with its reason by
        itself, and may run again from the beginning where a worker was lost.
    calls : iterable of tuple
        Arguments, a tuple a case; small ones (paths, settings), as they travel.
        Taken a few at a time: a generator of any length is held nowhere.
    jobs : int
        Processes on this machine. Not used on a cluster, whose workers count.
    dask : str, optional
        Address of a Dask scheduler; the environment's `FLAIRNB_DASK` if
        absent. The workers need this package and see the same folders.

    Raises
    ------
    InputError
        The address has no scheme, such as ``tcp://``.
    EnvironmentProblem
        The extra ``cluster`` is not installed, or nothing answers there.
    WorkFailed
        One case was lost together with its worker again and again.

    Examples
    --------
    >>> each_case(pow, [(2, 3), (3, 2)])
    [8, 9]
    """
    address = os.environ.get(DASK, "") if dask is None else dask
    if address:
        with _connected(address) as client:
            return _on_workers(client, work, calls)
    jobs = max(1, min(int(jobs), len(calls) if isinstance(calls, Sized) else int(jobs)))
    return list(on_processes(work, calls, jobs))


def on_processes(work: Callable[..., Any], calls: Iterable[tuple], jobs: int) -> Iterator[Any]:
    """Yield ``work(*call)`` of every call in order, done by so many processes of this machine.

    A process that has grown large is replaced between two cases. joblib warns of it; no case is lost, and the warning, which
    names a folder of this machine, does not belong into a report.

    Raises
    ------
    WorkFailed
        A process was lost in the middle of a case.
    """
    import warnings

    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    try:
        yield from Parallel(n_jobs=jobs, return_as="generator")(delayed(work)(*call) for call in calls)
    except BrokenProcessPool:
        raise WorkFailed(
            f"cases: expected {jobs} processes to the end, lost one of them. Out of memory? Use fewer jobs, run again; "
            "what was finished is kept."
        ) from None


def side_by_side(*calls: Callable[[], Any]) -> list[Any]:
    """Return the results of calls, in order, each done on a thread: for NumPy and SciPy work, which lets go of Python's lock.

    Examples
    --------
    >>> side_by_side(lambda: 2**3, lambda: 3**2)
    [8, 9]
    """
    from concurrent.futures import ThreadPoolExecutor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # those it may use
    with ThreadPoolExecutor(max(1, min(len(calls), cores))) as pool:
        return list(pool.map(lambda call: call(), calls))


@contextmanager
def begun(work: Callable[..., Any], *args: Any, aside: bool = True, **words: Any) -> Iterator[Callable[[], Any]]:
    """Begin one piece of work in a second process, and go on with something else until its result is needed.

    For what neither threads nor a second library do side by side: ANTs and the import of TensorFlow both hold Python's
    lock. The process is gone after the ``with`` block.

    Parameters
    ----------
    work : callable
    *args, **words
        Its arguments; they travel to the process and the result back.
    aside : bool
        With False nothing is begun: the work is done here when it is asked for.

    Yields
    ------
    callable
        Waits for the result, or raises what the work raised. If the process was
        lost (memory), the work is done here.
    """
    if not aside:
        yield lambda: work(*args, **words)
        return
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(max_workers=1, initializer=_end_with, initargs=(os.getpid(),))
    future = pool.submit(work, *args, **words)

    def result() -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            log.warning("the process that worked ahead was lost; its work is done again here")
            return work(*args, **words)
        finally:
            pool.shutdown(wait=True, kill_workers=True)  # its memory is needed for what follows

    try:
        yield result
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _end_with(parent: int) -> None:
    """Let this process end soon after its parent, which may be killed without a chance to say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def _on_workers(client: Any, work: Callable[..., Any], calls: Iterable[tuple]) -> list[Any]:
    """Do the calls on a cluster; all others are done before a lost one is reported.

    Dask's own futures, so that each case's failure can be looked at by itself. Only so many calls wait on the scheduler
    as keep the workers busy, and a future is let go when its result has come: a cohort of any size takes no more.
    """
    from distributed import KilledWorker, as_completed

    waiting, numbers, results, lost = enumerate(calls), {}, {}, {}

    def submit(count: int) -> Iterator[Any]:
        for number, call in islice(waiting, max(0, count)):
            future = client.submit(work, *call, pure=False)
            numbers[future.key] = number, call
            yield future

    under_way = as_completed(list(submit(_room(client))), loop=client.loop)
    for future in under_way:
        number, call = numbers.pop(future.key)
        try:
            results[number] = future.result()
        except KilledWorker:
            lost[number] = call
        for following in submit(_room(client) - len(numbers)):
            under_way.add(following)
    _one_by_one(client, work, lost, results)
    if lost:
        raise WorkFailed(
            f"cluster: expected {len(results) + len(lost)} results, found {len(results)}: every worker that took one of the others died "
            f"({distributed_tries()} tries; number {min(lost) + 1} in the list is the first). Out of memory? Give workers more, run again; "
            "what was finished is kept."
        )
    return [results[number] for number in sorted(results)]


def _one_by_one(client: Any, work: Callable[..., Any], lost: dict[int, tuple], results: dict[int, Any]) -> None:
    """Try lost cases again, each alone: it may only have waited at a worker that another one brought down."""
    from distributed import KilledWorker

    for number, call in sorted(lost.items()):
        try:
            results[number] = client.submit(work, *call, pure=False).result()
        except KilledWorker:
            continue
        del lost[number]


def _room(client: Any) -> int:
    """Return how many calls may wait on the scheduler: enough for all workers, also for those that come later."""
    return max(_LEAST_WAITING, 4 * sum(client.nthreads().values()))


def distributed_tries() -> int:
    """Return how many workers a case may lose before it counts as failed (Dask's ``allowed-failures`` and one)."""
    import dask

    return int(dask.config.get("distributed.scheduler.allowed-failures", 3)) + 1


@contextmanager
def slurm_workers(workers: int, cores: int = 2, memory_gb: float = 8.0, log_dir: str | os.PathLike = ".") -> Iterator[str]:
    """Start Dask workers as Slurm jobs, and stop them at the end.

    Parameters
    ----------
    workers : int
        Jobs; each does one case at a time.
    cores, memory_gb
        What each job asks for.
    log_dir : path
        Where Slurm leaves the jobs' logs.

    Yields
    ------
    str
        Address for `each_case`.

    Raises
    ------
    EnvironmentProblem
        The extra ``cluster`` is not installed, or this machine has no ``sbatch``.
    """
    import shutil

    if shutil.which("sbatch") is None:
        raise EnvironmentProblem("--slurm: expected the command sbatch, found none. Call it on a machine that submits Slurm jobs.")
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise _not_installed("--slurm") from None
    with SLURMCluster(**slurm_options(cores, memory_gb, log_dir)) as cluster:
        cluster.scale(jobs=int(workers))
        yield str(cluster.scheduler_address)


def slurm_options(cores: int, memory_gb: float, log_dir: str | os.PathLike) -> dict[str, Any]:
    """Return what `dask_jobqueue.SLURMCluster` is made with: one process and one case a job, all of its cores for that case."""
    return {
        "cores": 1,
        "processes": 1,
        "job_cpu": int(cores),
        "memory": f"{memory_gb:g}GB",
        "log_directory": os.fspath(log_dir),
        "job_script_prologue": [f"export OMP_NUM_THREADS={int(cores)}", "export TF_ENABLE_ONEDNN_OPTS=1"],
    }


@contextmanager
def on_cluster(dask: str = "", slurm: int = 0) -> Iterator[None]:
    """Let `each_case`, here and in processes started from here, use a cluster within a ``with`` block.

    Parameters
    ----------
    dask : str
        Address of a scheduler; "" for none.
    slurm : int
        Slurm jobs to start, instead of an address; 0 for none. Queue, account
        and time limit come from dask-jobqueue's own settings file.

    Raises
    ------
    InputError
        Both are given, or the address has no scheme.
    """
    if dask and slurm:
        raise InputError("--dask and --slurm: expected one of them, found both. Leave one out.")
    if slurm:
        with slurm_workers(slurm) as address, on_cluster(address):
            yield
        return
    before = os.environ.get(DASK)
    if dask:
        os.environ[DASK] = check_address(dask)
    try:
        yield
    finally:
        if dask:
            os.environ.pop(DASK)
            if before is not None:
                os.environ[DASK] = before


def check_address(address: str) -> str:
    """Return the address of a scheduler as it is, or raise `InputError`."""
    if not address.startswith(_SCHEMES):
        raise InputError(f"--dask: expected the address of a scheduler, such as tcp://host:8786, received {address!r}.")
    return address


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    check_address(address)
    try:
        from distributed import Client
    except ImportError:
        raise _not_installed("--dask") from None
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError):
        raise EnvironmentProblem(f"--dask: expected a scheduler at {address}, none answers. Start it with `dask scheduler`.") from None
    with client:
        yield client


def _not_installed(word: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f'{word}: expected the packages of the extra "cluster", found none. Install them: pip install -e ".[cluster]"'
    )
