"""What a fresh process of `flairnb bench` does, so that its start, its imports and its memory are its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from flairnb.errors import InputError, WorkFailed

_LAST = "flairnb-bench:"


def measure(task: str, **given: Any) -> dict[str, Any]:
    """Do one task in a fresh process.

    Parameters
    ----------
    task : str
        Of `TASKS`.
    **given
        What the task wants; ``onednn=False`` leaves TensorFlow's own settings.

    Returns
    -------
    dict
        What the task returns, `wall_s` (the process's start and imports
        included) and `peak_gb` of that process.

    Raises
    ------
    WorkFailed
        It ended badly; carries its last line.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
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


def segment(flair: str, out: str, **words: Any) -> dict[str, Any]:
    """Segment one patient; return the seconds of each stage."""
    from flairnb.report.patient import segment_patient

    summary = segment_patient(flair, out_dir=out, **words)
    return {"stages": summary["seconds"], "lesion_ml": summary["lesion_volume_ml"]}


def products(size: int = 2048, repeats: int = 5) -> dict[str, Any]:
    """Return the best rate of float32 matrix products by TensorFlow, GFLOP a second."""
    import tensorflow as tf

    a = tf.random.normal((size, size), seed=1)
    times = timed(lambda: tf.matmul(a, a).numpy(), repeats)
    return {"gflop_s": 2e-9 * size**3 / min(times)}


def whole(shape: list[int], width: int = 0, repeats: int = 3) -> dict[str, Any]:
    """Apply the shipped network (or one of another width) to a full box of noise, one pass; return the seconds of each repeat."""
    from dataclasses import replace

    import numpy as np

    from flairnb.network.inference import predict
    from flairnb.network.operations import operations
    from flairnb.network.weights import default_weights, load_network
    from flairnb.report.patient import settings_for

    network = load_network(default_weights())
    infer = replace(settings_for(network, "whole")[1], coarser_look=0.0, memory_gb=64.0)
    model, layout = network.model, network.network
    if width:
        from flairnb.network.unet import build_unet

        layout = replace(layout, width=width)
        model = build_unet(layout)
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    times = timed(lambda: predict(model, volume, np.ones(shape, bool), infer), repeats)
    return {"seconds": times, "gflop": operations(layout, shape).gflop, "voxels": int(np.prod(shape))}


def training(width: int, patch: int, batch: int, steps: int = 6) -> dict[str, Any]:
    """Time updates fed by the input pipeline and the same updates on one constant batch."""
    import tempfile

    import numpy as np

    from flairnb.network.dataset import EpochPatches
    from flairnb.network.learner import Learner
    from flairnb.network.operations import operations
    from flairnb.network.volumes import FolderSource, write_volume
    from flairnb.settings import load

    words = f"network.width={width} train.patch={patch} train.batch={batch} train.patches_per_case={batch * (steps + 2)}"
    settings = load("demo", words)
    learner = Learner(settings)
    rng = np.random.default_rng(1)
    shape = (patch + 24,) * 3
    with tempfile.TemporaryDirectory() as folder:
        image = rng.normal(size=shape).astype(np.float32)
        write_volume(folder, "noise", image, image > 2.5, np.ones(shape, bool))
        records = FolderSource(folder, settings.prepare.spacing_mm).records()
        feed = iter(learner.distribute(EpochPatches(records, settings.train, 1, 0).dataset()))
        constant = next(feed)
        learner.step(*constant, 1e-4, 1)  # compiles
        still = timed(lambda: learner.step(*constant, 1e-4, 2), steps, warm=1)
        fed = timed(lambda: learner.step(*next(feed), 1e-4, 2), steps, warm=1)
    forward = operations(settings.network, (patch,) * 3).gflop * batch
    return {"constant_s": still, "pipeline_s": fed, "gflop_step": 3 * forward, "batch": batch, "patch": patch, "width": width}


def timed(work: Callable[[], Any], repeats: int, warm: int = 1) -> list[float]:
    """Return the seconds of each repeat, after `warm` that do not count."""
    for _ in range(warm):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(round(time.perf_counter() - start, 4))
    return seconds


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"segment": segment, "products": products, "whole": whole, "training": training}


def main(task: str, given: str) -> None:
    """Do a task and write what it found as the last line."""
    from flairnb.provenance import peak_memory_gb

    if task not in TASKS:
        raise InputError(f"bench: expected one of {', '.join(TASKS)}, found {task!r}.")
    found = TASKS[task](**json.loads(given))
    sys.stdout.write(f"\n{_LAST}{json.dumps({**found, 'peak_gb': round(peak_memory_gb(), 3)}, default=float)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
