"""What a case costs on this machine: the measurements of `flairnb bench`, part by part, resumable."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flairnb.errors import InputError, WorkFailed
from flairnb.provenance import machine, read_json, versions, write_json
from flairnb.report.bench_child import measure

#: Where public cases lie in the data folder, by the kind of input that they stand for.
INPUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a: 2D FLAIR + T1w": (
        "openms/sub-oms01/ses-1/anat/sub-oms01_ses-1_FLAIR.nii.gz",
        {"t1w": "openms/sub-oms01/ses-1/anat/sub-oms01_ses-1_T1w.nii.gz"},
    ),
    "b: 2D FLAIR alone": ("openms/sub-oms01/ses-1/anat/sub-oms01_ses-1_FLAIR.nii.gz", {}),
    "c: 3D FLAIR": ("healthy3d/sub-h01/anat/sub-h01_FLAIR.nii.gz", {}),
    "d: already stripped": ("brats21/sub-gl01/anat/sub-gl01_desc-brain_FLAIR.nii.gz", {"skull_stripped": True}),
}
#: Edges in voxels of the boxes that cost is fitted over; multiples of the network's 16.
EDGES = (48, 64, 80, 96)
#: Width, patch and batch of the updates that are timed: one of each is changed at a time.
UPDATES = ((8, 48, 2), (8, 48, 4), (8, 64, 2), (16, 48, 2))
#: 3840 cores x 2 operations x 1.582 GHz (NVIDIA's data sheet of the TITAN Xp), and how much of it convolutions are assumed to get.
TITAN_XP_TFLOPS, ASSUMED_EFFICIENCY = 12.15, 0.3
PATCHES_A_CASE = 240


@dataclass(frozen=True)
class Row:
    """One measurement: `value` is the median of `n`, `low` and `high` the extremes."""

    part: str
    case: str
    what: str
    value: float
    low: float
    high: float
    n: int
    unit: str = "s"


def run_bench(
    out: str | os.PathLike,
    parts: tuple[str, ...] = (),
    data_dir: str = "",
    repeats: int = 3,
    say: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Measure, and write ``bench.json`` and ``bench.tsv``.

    Parameters
    ----------
    out : path
        Folder; a part that is asked for replaces what is there, others stay.
    parts : tuple of str
        Of `PARTS`; all that are not there yet if empty.
    data_dir : str
        Folder of the public data. A kind of input that is absent is left out
        and named in the result.
    repeats : int
        Runs of each measurement, each with a fresh process where it says so.
    say : callable
        Receives one line of progress at a time.

    Returns
    -------
    Path
        ``bench.json``.

    Raises
    ------
    InputError
        An unknown part, or fewer than one run.
    """
    import pandas as pd

    unknown = [part for part in parts if part not in PARTS]
    if unknown or repeats < 1:
        raise InputError(f"bench: expected parts of {', '.join(PARTS)} and at least 1 run, found {', '.join(unknown) or repeats}.")
    folder = Path(out)
    target = folder / "bench.json"
    known = read_json(target) if target.is_file() else {"parts": {}}
    for part in parts or tuple(part for part in PARTS if part not in known["parts"]):
        say(f"{part}: measuring")
        rows, notes = [], []
        for found in PARTS[part](Path(data_dir), repeats):
            (rows if isinstance(found, Row) else notes).append(found)
            say(f"{part}: {found if isinstance(found, str) else f'{found.case}, {found.what}: {found.value:.3g} {found.unit}'}")
        record = {"rows": [asdict(row) for row in rows], "notes": notes, "machine": describe(), "versions": versions()}
        known["parts"][part] = record
        folder.mkdir(parents=True, exist_ok=True)
        write_json(target, known)
        table = pd.DataFrame([row for one in known["parts"].values() for row in one["rows"]])
        table.to_csv(folder / "bench.tsv", sep="\t", index=False)
    return target


def describe() -> dict[str, Any]:
    """Return the machine, its processor's name, and the load (1 minute) that it was under."""
    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.is_file() else []
    )
    return {**machine(), "processor": names[0] if names else "unknown", "load": round(os.getloadavg()[0], 2)}


def summarise(part: str, case: str, what: str, values: list[float], unit: str = "s") -> Row:
    """Return the median and the extremes of several runs as a row."""
    return Row(part, case, what, float(np.median(values)), float(min(values)), float(max(values)), len(values), unit)


def exponent(sizes: list[float], costs: list[float]) -> float:
    """Return b of cost = a * size ** b, fitted by least squares of the logarithms.

    Examples
    --------
    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def full_training(gpus: int, cases: int, epochs: int) -> float:
    """Return the hours of the article's training by its operation count, at the assumed efficiency and with ideal scaling."""
    from flairnb.network.operations import operations
    from flairnb.settings import load

    paper = load("paper")
    forward = operations(paper.network, (paper.train.patch,) * 3).gflop
    return 3 * forward * PATCHES_A_CASE * cases * epochs / (TITAN_XP_TFLOPS * 1e3 * ASSUMED_EFFICIENCY * gpus) / 3600


def _segment(data: Path, repeats: int) -> Iterator[Row | str]:
    for case, (flair, words) in INPUTS.items():
        given = {name: str(data / value) if name == "t1w" else value for name, value in words.items()}
        paths = [data / flair, *(Path(given[name]) for name in ("t1w",) if name in given)]
        if not all(path.is_file() for path in paths):
            yield f"{case}: left out, {flair} is not in the data folder"
            continue
        for method in ("whole", "tiled"):
            yield from _segment_once(f"{case}, {method}", repeats, flair=str(data / flair), method=method, **given)
        if case.startswith("a"):
            yield from _segment_once(f"{case}, whole, default TensorFlow", repeats, flair=str(data / flair), onednn=False, **given)


def _segment_once(case: str, repeats: int, **given: Any) -> Iterator[Row | str]:
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            try:
                runs.append(measure("segment", out=out, **given))
            except WorkFailed as problem:
                yield f"{case}: {problem}"
                return
    inside = [run["stages"].pop("total") for run in runs]
    yield summarise("segment", case, "everything", [run["wall_s"] for run in runs])
    yield summarise("segment", case, "start and imports", [run["wall_s"] - sum_s for run, sum_s in zip(runs, inside, strict=True)])
    for stage in runs[0]["stages"]:
        yield summarise("segment", case, stage, [run["stages"][stage] for run in runs])
    yield summarise("segment", case, "peak memory", [run["peak_gb"] for run in runs], "GB")


def _network(_data: Path, repeats: int) -> Iterator[Row | str]:
    rate = measure("products", repeats=repeats)["gflop_s"]
    yield Row("network", "matrix product", "rate", rate, rate, rate, repeats, "GFLOP/s")
    for onednn, case in ((True, "96 voxels, ours"), (False, "96 voxels, default TensorFlow")):
        found = measure("whole", shape=[96, 96, 96], repeats=repeats, onednn=onednn)
        yield summarise("network", case, "one pass", found["seconds"])
        yield summarise("network", case, "peak memory", [found["peak_gb"]], "GB")
        if onednn:
            floor = found["gflop"] / rate
            yield Row("network", case, "floor", floor, floor, floor, 1)


def _training(_data: Path, repeats: int) -> Iterator[Row | str]:
    for width, patch, batch in UPDATES:
        found = measure("training", width=width, patch=patch, batch=batch, steps=max(2, 2 * repeats))
        case = f"width {width}, patch {patch}, batch {batch}"
        constant, fed = found["constant_s"], found["pipeline_s"]
        yield summarise("training", case, "step, constant batch", constant)
        yield summarise("training", case, "step, input pipeline", fed)
        yield summarise("training", case, "throughput", [batch * patch**3 / s / 1e6 for s in fed], "million voxels/s")
        yield summarise("training", case, "arithmetic", [found["gflop_step"] / s for s in constant], "GFLOP/s")
        yield summarise("training", case, "peak memory", [found["peak_gb"]], "GB")


def _scaling(_data: Path, repeats: int) -> Iterator[Row | str]:
    medians = []
    for edge in EDGES:
        found = measure("whole", shape=[edge] * 3, repeats=repeats)
        row = summarise("scaling", f"{edge} voxels", "one pass", found["seconds"])
        medians.append(row.value)
        yield row
        yield summarise("scaling", f"{edge} voxels", "peak memory", [found["peak_gb"]], "GB")
    slope = exponent([float(edge) ** 3 for edge in EDGES], medians)
    yield Row("scaling", "by voxels", "exponent", slope, slope, slope, len(EDGES), "")


PARTS: dict[str, Callable[[Path, int], Iterator[Row | str]]] = {
    "segment": _segment,
    "network": _network,
    "training": _training,
    "scaling": _scaling,
}
