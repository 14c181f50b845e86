"""What a case costs on this machine: `flairnb bench` measures part by part, and goes on where it was stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flairnb.errors import InputError
from flairnb.provenance import atomic_path, machine, processor_flags, read_json, versions, write_json
from flairnb.report.bench_parts import PARTS, USUAL
from flairnb.report.bench_rows import Bench, Row
from flairnb.report.doctor import ARITHMETIC
from flairnb.report.record import code_name, git_state


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
        Of `PARTS`; those of `USUAL` that are not there yet if empty.
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
    bench = Bench(Path(data_dir), folder, repeats)
    for part in parts or tuple(part for part in USUAL if part not in known["parts"]):
        say(f"{part}: measuring")
        rows, notes, before, code = [], [], describe(), code_name(git_state())
        for found in PARTS[part](bench):
            (rows if isinstance(found, Row) else notes).append(found)
            say(f"{part}: {found if isinstance(found, str) else f'{found.case}, {found.what}: {found.value:.3g} {found.unit}'}")
        record = {"rows": [asdict(row) for row in rows], "notes": notes, "machine": before, "versions": versions(), "code": code}
        known["parts"][part] = record
        write_json(target, known)
        table = pd.DataFrame([row for one in known["parts"].values() for row in one["rows"]])
        with atomic_path(folder / "bench.tsv") as temporary:
            table.to_csv(temporary, sep="\t", index=False, lineterminator="\n", float_format="%.5g")
    return target


def describe() -> dict[str, Any]:
    """Return the machine, its processor's name and widest arithmetic, and the load (1 minute) that it is under."""
    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.is_file() else []
    )
    wide = [flag for flag in ARITHMETIC if flag in processor_flags()]
    return {**machine(), "processor": names[0] if names else "unknown", "instructions": wide, "load": round(os.getloadavg()[0], 2)}
