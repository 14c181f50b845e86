"""The fast path against a slow one on the same case: what does speed cost in Dice?

The slow path is as slow as this package's settings reach: N4 at 1 mm with a
shrink factor of 2 (usual: 2 mm and 4), registration of the T1w and both
refinements of the mask at 1 mm (2 mm, then 1 mm), the template's fit at 2 mm
with SyN of 100, 70 and 50 steps (4 mm; 20 steps at the coarser level), and the
article's dense cubes (one pass). N4 and SyN at full resolution, as antsBrainExtraction runs them,
are not reached: hours on two cores.

How well the cubes agree with themselves, at half the step, says how much agreement with them can mean.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from flairnb.errors import WorkFailed
from flairnb.provenance import read_json, write_json
from flairnb.report.bench_child import measure
from flairnb.report.bench_rows import Bench, Row, summarise
from flairnb.report.record import code_name, git_state

PART = "agreement"
#: Of the slow path; see above.
SLOW = {"working_spacing_mm": 1.0, "n4_shrink": 2, "affine_iterations": (200, 100, 50), "syn_iterations": (100, 70, 50)}
SLOW_FIT_MM = 2.0
#: So little memory that brains are done in pieces.
SPLIT_GB = 1.5
COMPARED = (
    "Dice of brain masks", "Dice of lesion masks, network", "Dice of lesion masks, split for memory", "Dice of lesion masks, preparation",
    "Dice of lesion masks, all", "Dice of lesion masks, cubes at half the step",
)  # fmt: skip
_NOT_DECLARED = {
    "oms01": "openms/sub-oms01/ses-1/anat/sub-oms01_ses-1",
    "oms03": "openms/sub-oms03/ses-2/anat/sub-oms03_ses-2",
    "oms04": "openms/sub-oms04/ses-1/anat/sub-oms04_ses-1",
}


def cases(data: Path) -> dict[str, dict[str, Any]]:
    """Return the real development cases on disk: the declared ones, and heads with skull of OpenMS that no reader outlined for us."""
    import pandas as pd

    from flairnb.report.chapters import repository_root

    tables = [
        pd.read_csv(p, sep="\t", dtype=str, keep_default_na=False)
        for p in sorted((repository_root() / "data_manifest").glob("public*.tsv"))
    ]
    found = {}
    for row in pd.concat(tables).itertuples():
        name = row.participant_id.removeprefix("sub-")
        found[name] = {"flair": row.flair, "t1w": row.t1w, "reference": row.reference_mask, "skull_stripped": "desc-brain" in row.flair}
    for name, stem in _NOT_DECLARED.items():
        found[name] = {"flair": f"{stem}_FLAIR.nii.gz", "t1w": f"{stem}_T1w.nii.gz", "reference": "", "skull_stripped": False}
    ready = {}
    for name, case in found.items():
        if (data / case["flair"]).is_file():
            ready[name] = {key: str(data / value) if value and isinstance(value, str) else value for key, value in case.items()}
    return ready


def part(bench: Bench) -> Iterator[Row | str]:
    """Compare all cases; one that is done is kept in ``agreement.json`` and not done again."""
    target = bench.out / "agreement.json"
    known = read_json(target) if target.is_file() else {}
    for name, case in cases(bench.data).items():
        if name not in known:
            try:
                known[name] = {**measure(PART, **case), "code": code_name(git_state())}
            except WorkFailed as problem:
                yield f"{name}: {problem}"
                continue
            write_json(target, known)
        yield from _rows(name, known[name])
    if not known:
        yield "agreement: left out, no public case is in the data folder"
    for what in COMPARED:
        values = [found["dice"][what] for found in known.values() if found["dice"].get(what) is not None]
        if values:
            yield summarise(PART, f"{len(values)} cases", what, values, "")


def _rows(name: str, found: dict[str, Any]) -> Iterator[Row]:
    for what, value in found["dice"].items():
        if value is not None:
            yield summarise(PART, name, what, [value], "")
    for what, value in found["ml"].items():
        yield summarise(PART, name, what, [value], "ml")


def compare(flair_path: str, t1w_path: str, reference_path: str, skull_stripped: bool) -> dict[str, Any]:
    """Segment a case the fast and the slow way; return Dice between them, Dice with the reader where there is one, and volumes."""
    from flairnb.evaluate.metrics import dice
    from flairnb.images import read_image, read_mask
    from flairnb.network.inference import predict
    from flairnb.network.weights import default_weights, load_network
    from flairnb.prepare.case import prepare_case
    from flairnb.report.patient import back_to_native, segment_image, settings_for

    flair = read_image(flair_path)
    t1w = read_image(t1w_path, "T1w") if t1w_path else None
    reader = read_mask(reference_path, like=flair) if reference_path else None
    network = load_network(default_weights())
    prepare, infer = settings_for(network, "whole")
    given = {"t1w": None if skull_stripped else t1w, "skull_stripped": skull_stripped}
    start = time.perf_counter()
    case, fast = segment_image(flair, network, prepare, infer, **given)
    seconds = {"fast": time.perf_counter() - start}

    def dense(prepared: Any, times: int = 1) -> Any:
        tiled = settings_for(network, "tiled")[1]
        probability = predict(network.model, prepared.work, prepared.work_brain, replace(tiled, step=tiled.step // times))
        return back_to_native(probability, prepared, infer.threshold, infer.min_lesion_ml, network)

    def split(prepared: Any) -> Any:
        probability = predict(network.model, prepared.work, prepared.work_brain, replace(infer, memory_gb=SPLIT_GB))
        return back_to_native(probability, prepared, infer.threshold, infer.min_lesion_ml, network)

    results = {"fast": fast, "split": split(case), "dense": dense(case)}
    if not skull_stripped:
        results["denser"] = dense(case, 2)
        start = time.perf_counter()
        slow_case = _prepare_slowly(prepare_case, flair, given, replace(prepare, **SLOW))
        results["slow"] = dense(slow_case)
        once = predict(network.model, slow_case.work, slow_case.work_brain, infer)
        results["slow, one pass"] = back_to_native(once, slow_case, infer.threshold, infer.min_lesion_ml, network)
        seconds["slow"] = time.perf_counter() - start
    found: dict[str, float | None] = {
        "Dice of lesion masks, network": dice(fast.mask, results["dense"].mask),
        "Dice of lesion masks, split for memory": dice(fast.mask, results["split"].mask),
    }
    if "slow" in results:
        found["Dice of lesion masks, cubes at half the step"] = dice(results["dense"].mask, results["denser"].mask)
        found["Dice of brain masks"] = dice(fast.brain, results["slow"].brain)
        found["Dice of lesion masks, preparation"] = dice(fast.mask, results["slow, one pass"].mask)
        found["Dice of lesion masks, all"] = dice(fast.mask, results["slow"].mask)
    if reader is not None:
        found |= {f"Dice with the reader, {name}": dice(reader, one.mask) for name, one in results.items()}
    plain = {what: None if np.isnan(value) else round(value, 4) for what, value in found.items()}
    volumes = {f"lesion volume, {name}": float(one.mask.sum()) * flair.voxel_volume_ml for name, one in results.items()}
    return {"dice": plain, "ml": volumes, "seconds": seconds, "settings": asdict(replace(prepare, **SLOW))}


def _prepare_slowly(prepare_case: Any, flair: Any, given: dict[str, Any], settings: Any) -> Any:
    """Prepare with the template's fit at `SLOW_FIT_MM`, which no setting reaches; this process does nothing else afterwards."""
    from flairnb.prepare import brain

    usual, brain._FIT_MM = brain._FIT_MM, SLOW_FIT_MM
    try:
        return prepare_case(flair, settings=settings, **given)
    finally:
        brain._FIT_MM = usual
