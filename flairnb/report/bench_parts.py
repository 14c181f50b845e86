"""The parts of `flairnb bench`: each is a generator of rows, and of words about what could not be measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flairnb.errors import WorkFailed
from flairnb.report import bench_agreement, bench_tries
from flairnb.report.bench_child import measure
from flairnb.report.bench_rows import Bench, Row, exponent, line, summarise

_OMS = "openms/sub-oms01/ses-1/anat/sub-oms01_ses-1"
#: Where public cases lie in the data folder, by the kind of input that they stand for.
INPUTS: dict[str, dict[str, Any]] = {
    "a: 2D FLAIR + T1w": {"flair": f"{_OMS}_FLAIR.nii.gz", "t1w": f"{_OMS}_T1w.nii.gz"},
    "b: 2D FLAIR alone": {"flair": f"{_OMS}_FLAIR.nii.gz"},
    "c: 3D FLAIR": {"flair": "healthy3d/sub-h01/anat/sub-h01_FLAIR.nii.gz"},
    "d: already stripped": {"flair": "brats21/sub-gl01/anat/sub-gl01_desc-brain_FLAIR.nii.gz", "skull_stripped": True},
}
FIRST = next(iter(INPUTS))
#: What a measurement is called that TensorFlow made with its own kernels: its default on processors without AVX-512.
WITHOUT_ONEDNN = "without oneDNN"
#: Edges in voxels of the boxes that cost is fitted over; multiples of the network's 16.
EDGES = (48, 64, 80, 96)
#: Cases in cohorts that cost is fitted over, prepared and segmented; and of trainings that memory is looked at.
COHORTS = (1, 2, 4, 8)
TRAINING_COHORTS = (6, 24, 96, 387)
#: Width, patch and batch of the updates that are timed: one of each is changed at a time; the last is the shipped network's.
UPDATES = ((8, 48, 2), (8, 48, 4), (8, 64, 2), (16, 48, 2), (16, 64, 2))
STEPS = 5


def _paths(case: str, data: Path) -> dict[str, Any] | None:
    """Return an input's words with paths in the data folder; None if one of its files is absent."""
    words = {name: str(data / value) if isinstance(value, str) else value for name, value in INPUTS[case].items()}
    return words if all(Path(words[name]).is_file() for name in ("flair", "t1w") if name in words) else None


def _absent(case: str) -> str:
    return f"{case}: left out, {INPUTS[case]['flair']} is not in the data folder"


def segment(bench: Bench) -> Iterator[Row | str]:
    """Segment each kind of input, one pass, as `flairnb segment` does it; a fresh process each time."""
    for case in INPUTS:
        words = _paths(case, bench.data)
        if words is None:
            yield _absent(case)
        else:
            yield from _segmented("segment", case, bench.repeats, method="whole", **words)


def ways(bench: Bench) -> Iterator[Row | str]:
    """Segment the first input the slow ways: the article's dense cubes, and without oneDNN."""
    words = _paths(FIRST, bench.data)
    if words is None:
        yield _absent(FIRST)
        return
    yield from _segmented("ways", f"{FIRST}, tiled", 1, method="tiled", **words)
    yield from _segmented("ways", f"{FIRST}, {WITHOUT_ONEDNN}", 1, method="whole", onednn=False, **words)


def _segmented(part: str, case: str, repeats: int, **given: Any) -> Iterator[Row | str]:
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            try:
                runs.append(measure("segment", out=str(Path(folder) / "out"), **given))
            except WorkFailed as problem:
                yield f"{case}: {problem}"
                return
    wall = [run["wall_s"] - run["aside_s"] for run in runs]
    inside = [run["stages"].pop("total") for run in runs]
    yield summarise(part, case, "everything", wall)
    starts = [total - seconds for total, seconds in zip(wall, inside, strict=True)]
    yield summarise(part, case, "start and imports", starts)
    for stage in runs[0]["stages"]:
        yield summarise(part, case, stage, [run["stages"][stage] for run in runs])
    for stage in runs[0]["preparation"]:
        yield summarise(part, case, f"prepare: {stage}", [run["preparation"][stage] for run in runs])
    yield summarise(part, case, "processor time", [run["cpu_s"] - run["aside_cpu_s"] for run in runs])
    yield summarise(part, case, "network arithmetic", [run["gflop"] for run in runs], "GFLOP")
    yield summarise(part, case, "peak memory", [run["peak_gb"] for run in runs], "GB")


def network(bench: Bench) -> Iterator[Row | str]:
    """Measure the machine's rate of matrix products, and one pass of the network beside the floor that follows from it."""
    rate = measure("products", repeats=2 * bench.repeats)["gflop_s"]
    yield summarise("network", "matrix product, 2048 x 2048", "rate", [rate], "GFLOP/s")
    for onednn, case in ((True, "ours"), (False, WITHOUT_ONEDNN)):
        found = measure("whole", edges=[EDGES[-1]], repeats=bench.repeats, onednn=onednn)
        (one,) = found["passes"]
        case = f"cube of {EDGES[-1]} voxels, {case}"
        yield summarise("network", case, "one pass", one["seconds"])
        yield summarise("network", case, "arithmetic", [one["gflop"] / seconds for seconds in one["seconds"]], "GFLOP/s")
        yield summarise("network", case, "peak memory", [found["peak_gb"]], "GB")
        if onednn:
            yield summarise("network", case, "floor", [one["gflop"] / rate])


def training(bench: Bench) -> Iterator[Row | str]:
    """Time updates by width, patch and batch, with the input pipeline and on a constant batch; look at memory by cases."""
    for width, patch, batch in UPDATES:
        found = measure("training", width=width, patch=patch, batch=batch, steps=max(2, min(STEPS, 2 * bench.repeats)))
        case = f"width {width}, patch {patch}, batch {batch}"
        constant, fed = found["constant_s"], found["pipeline_s"]
        yield summarise("training", case, "step, constant batch", constant)
        yield summarise("training", case, "step, input pipeline", fed)
        yield summarise("training", case, "throughput", [batch * patch**3 / s / 1e6 for s in fed], "million voxels/s")
        yield summarise("training", case, "arithmetic", [found["gflop_step"] / s for s in constant], "GFLOP/s")
        yield summarise("training", case, "peak memory", [found["peak_gb"]], "GB")
    peaks = []
    for cases in TRAINING_COHORTS:
        found = measure("training_cohort", cases=cases)
        peaks.append(found["peak_gb"])
        yield summarise("training", f"{cases} cases", "an epoch, one patch a case", [found["seconds"]])
        yield summarise("training", f"{cases} cases", "peak memory", [found["peak_gb"]], "GB")
    yield summarise("training", "by cases", "memory a further case", [1000 * line(TRAINING_COHORTS, peaks)[1]], "MB")


def volume(bench: Bench) -> Iterator[Row | str]:
    """Fit how one pass of the network costs with the number of voxels."""
    passes = measure("whole", edges=list(EDGES), repeats=bench.repeats)["passes"]
    rows = [summarise("volume", f"{one['edge']} voxels", "one pass", one["seconds"]) for one in passes]
    yield from rows
    yield summarise("volume", "by voxels", "exponent", [exponent([float(edge) ** 3 for edge in EDGES], [row.value for row in rows])], "")


def cohort(bench: Bench) -> Iterator[Row | str]:
    """Fit how preparation and inference in one process cost with the number of cases: seconds and peak memory.

    One patient is done again and again: of different ones the largest has the peak, and the more there are the larger it is. As
    many different ones stand beside the most repeats.
    """
    totals, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        made = measure("phantoms", folder=folder)["seconds"]
        yield summarise("cohort", "a phantom subject", "made", made)
        for cases, same in (*((cases, True) for cases in COHORTS), (COHORTS[-1], False)):
            found = measure("cohort", folder=folder, cases=cases, same=same)
            case = f"one patient {cases} times" if same else f"{cases} patients"
            if found["done"] != [cases, cases]:
                yield f"{case}: expected all prepared and segmented, found {found['done']}"
            both = found["prepare_s"] + found["network_s"]
            if same:
                totals.append(both)
                peaks.append(found["peak_gb"])
            for what, value in (("prepare", found["prepare_s"]), ("network and way back", found["network_s"]), ("both", both)):
                yield summarise("cohort", case, what, [value])
            yield summarise("cohort", case, "peak memory", [found["peak_gb"]], "GB")
    yield summarise("cohort", "by cases", "exponent", [exponent(COHORTS, totals)], "")
    yield summarise("cohort", "by cases", "seconds a further case", [line(COHORTS, totals)[1]])
    yield summarise("cohort", "by cases", "memory a further case", [1000 * line(COHORTS, peaks)[1]], "MB")


def baselines(bench: Bench) -> Iterator[Row | str]:
    """Apply each comparison method to the first input, at 1 mm."""
    words = _paths(FIRST, bench.data)
    if words is None:
        yield _absent(FIRST)
        return
    found = measure("baselines", flair=words["flair"], t1w=words["t1w"])
    yield summarise("baselines", "all", "preparation", [found["shared_s"]])
    for name, seconds in found["own_s"].items():
        yield summarise("baselines", name, "its own steps", [seconds])
        yield summarise("baselines", name, "everything", [seconds + found["shared_s"]])
    yield f"k nearest neighbours: {found['points']} training points"


PARTS: dict[str, Callable[[Bench], Iterator[Row | str]]] = {
    "segment": segment,
    "ways": ways,
    "network": network,
    "training": training,
    "volume": volume,
    "cohort": cohort,
    "baselines": baselines,
    bench_tries.PART: bench_tries.part,
    bench_agreement.PART: bench_agreement.part,
}
#: Measured where no part is named. Agreement takes an hour or more, depends on no clock, and is asked for by name.
USUAL = tuple(name for name in PARTS if name != bench_agreement.PART)
