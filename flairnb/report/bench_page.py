"""What notebook 09 shows of the committed benchmark: tables, ratios, a figure, and what follows for many patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.provenance import read_json
from flairnb.report.bench_parts import FIRST, INPUTS, WITHOUT_ONEDNN
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Where the committed benchmark lies.
FOLDER = "reports/bench"
COLUMNS = ("part", "case", "what", "value", "low", "high", "n", "unit")
#: MR studies a year in the United States and the part of them that is of the central nervous system (article, Introduction).
STUDIES_A_YEAR, NERVOUS_SYSTEM, YEAR_S = 36e6, 0.65, 365.25 * 86400
#: 3840 cores x 2 operations x 1.582 GHz (NVIDIA's data sheet of the TITAN Xp), and how much of it convolutions are assumed to get.
TITAN_XP_TFLOPS, ASSUMED_EFFICIENCY = 12.15, 0.3
_NOT_STAGES = ("everything", "processor time", "network arithmetic", "peak memory")


def read(folder: str | Path | None = None) -> pd.DataFrame:
    """Return the committed measurements; no rows where none are committed."""
    import pandas as pd

    path = (repository_root() / FOLDER if folder is None else Path(folder)) / "bench.tsv"
    return pd.read_csv(path, sep="\t", keep_default_na=False) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))


def machine(folder: str | Path | None = None) -> pd.DataFrame:
    """Return on what each part was measured: processor, cores, memory, load before, versions, the code's commit."""
    import pandas as pd

    path = (repository_root() / FOLDER if folder is None else Path(folder)) / "bench.json"
    parts = read_json(path)["parts"] if path.is_file() else {}
    rows = []
    for part, found in parts.items():
        used = {name: found["versions"].get(name, "") for name in ("python", "tensorflow")}
        rows.append({"part": part, **found["machine"], **used, "code": found.get("code", "not recorded")})
    return pd.DataFrame(rows)


def value(rows: pd.DataFrame, part: str, case: str, what: str) -> float:
    """Return one measurement's median; NaN if it was not made."""
    found = rows[(rows["part"] == part) & (rows["case"] == case) & (rows["what"] == what)]
    return float(found["value"].iloc[0]) if len(found) else float("nan")


def patients(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a kind of input: seconds with their extremes, preparation, the network's step and its floor, peak memory.

    Preparation is the whole of it, also what is done while the network loads.
    The floor is the network's arithmetic for this brain by the machine's rate of matrix products: algorithms that do with
    fewer multiplications (Winograd's) could get below it.
    """
    import pandas as pd

    rate = value(rows, "network", "matrix product, 2048 x 2048", "rate")
    steps = rows[(rows["part"] == "segment") & rows["what"].str.startswith("prepare: ")]
    found = []
    for case in INPUTS:
        total = rows[(rows["part"] == "segment") & (rows["case"] == case) & (rows["what"] == "everything")]
        for row in total.itertuples():
            found.append(
                {
                    "input": case,
                    "seconds": row.value,
                    "low": row.low,
                    "high": row.high,
                    "runs": row.n,
                    "preparation_s": float(steps.loc[steps["case"] == case, "value"].sum()),
                    "network_s": value(rows, "segment", case, "network"),
                    "floor_s": value(rows, "segment", case, "network arithmetic") / rate,
                    "processor_s": value(rows, "segment", case, "processor time"),
                    "peak_gb": value(rows, "segment", case, "peak memory"),
                }
            )
    columns = ["input", "seconds", "low", "high", "runs", "preparation_s", "network_s", "floor_s", "processor_s", "peak_gb"]
    return pd.DataFrame(found, columns=columns)


def stages(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of each stage of each kind of input, one after the other.

    The steps of preparation are not among them: they are done while the network loads, and `prepare` is what is left of them then.
    """
    mine = rows[(rows["part"] == "segment") & (rows["unit"] == "s") & ~rows["what"].isin(_NOT_STAGES)]
    mine = mine[~mine["what"].str.startswith("prepare: ")]
    return mine.rename(columns={"case": "input", "what": "stage", "value": "seconds"})[["input", "stage", "seconds", "low", "high"]]


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ours against each other way to the same kind of result, for a clinical 2D T1w and FLAIR.

    `times ours` above 1: ours takes less. What was not measured is NaN.
    """
    import pandas as pd

    first = patients(rows).set_index("input")
    mine = first.loc[FIRST] if FIRST in first.index else pd.Series(dtype=float)
    total, network, floor = (float(mine.get(name, np.nan)) for name in ("seconds", "network_s", "floor_s"))
    others = [
        ("the floor (network only)", floor, network),
        ("the article's dense cubes (network only)", value(rows, "ways", f"{FIRST}, tiled", "network"), network),
        ("the article's dense cubes", value(rows, "ways", f"{FIRST}, tiled", "everything"), total),
        (f"{WITHOUT_ONEDNN} (network only)", value(rows, "ways", f"{FIRST}, {WITHOUT_ONEDNN}", "network"), network),
        (WITHOUT_ONEDNN, value(rows, "ways", f"{FIRST}, {WITHOUT_ONEDNN}", "everything"), total),
    ]
    for name, words in (("threshold", "plain threshold"), ("lga", "LGA"), ("lpa", "LPA-style"), ("bianca", "BIANCA-style")):
        others.append((f"{words}, one thread", value(rows, "baselines", name, "everything"), total))
    others += [(f"the article's {name}", seconds, total) for name, seconds in article().items()]
    table = pd.DataFrame(others, columns=["against", "seconds", "ours_s"])
    table["times ours"] = table["seconds"] / table["ours_s"]
    return table


def article() -> dict[str, float]:
    """Return the article's seconds a case by what took them."""
    from flairnb.report.timing import printed_seconds

    printed = {name: seconds for name, seconds, _ in printed_seconds().values()}
    return {"U-Net, Titan Xp": printed["CNN"], "LST": printed["LST"], "BIANCA": printed["BIANCA"]}


def tries(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each way to do the network's pass over one simulated head, the shipped one first; none where none was tried.

    Returns
    -------
    DataFrame
        way, one pass (s), of the shipped way's seconds, peak memory (GB),
        largest difference of probability, Dice with the mask as shipped.
    """
    import pandas as pd

    from flairnb.report.bench_tries import AS_SHIPPED, PART

    mine = rows[rows["part"] == PART]
    table = mine.pivot_table(index="case", columns="what", values="value", sort=False).reset_index(names="way")
    if table.empty:
        return pd.DataFrame(columns=["way"])
    shipped = value(rows, PART, AS_SHIPPED, "one pass")
    table.insert(2, "of the shipped way's", table["one pass"] / shipped)
    return (
        table.drop(columns="first pass")
        .rename(columns={"one pass": "one pass, s", "peak memory": "peak memory, GB"})
        .rename_axis(columns=None)
    )


def laws(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how seconds and memory grow: by voxels, by cases, and the agreement with the slow path where it was measured."""
    keep = rows["case"].isin(["by voxels", "by cases"]) | ((rows["part"] == "agreement") & rows["case"].str.endswith(" cases"))
    return rows.loc[keep, ["part", "case", "what", "value", "low", "high", "n", "unit"]].reset_index(drop=True)


def updates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a size of update: seconds on a constant batch and with the input pipeline, their ratio, throughput, memory."""
    mine = rows[(rows["part"] == "training") & rows["case"].str.startswith("width")]
    if mine.empty:
        return mine
    units = dict(zip(mine["what"], mine["unit"], strict=True))
    table = mine.pivot_table(index="case", columns="what", values="value", sort=False)
    table["pipeline / constant"] = table["step, input pipeline"] / table["step, constant batch"]
    names = {name: f"{name}, {unit}" for name, unit in units.items() if unit}
    return table.rename(columns=names).rename_axis(columns=None).reset_index()


def full_training() -> pd.DataFrame:
    """Return the hours of the article's training on 1 and 8 GPUs, by its operation count.

    At an assumed efficiency and with ideal scaling (`MirroredStrategy` on one machine, `MultiWorkerMirroredStrategy` on several):
    a lower bound for 8. A batch has to divide over the GPUs: the article's six patches do not over 8, so there it is 8. An
    update costs three times a forward pass; 295 cases (275 patients, 20 healthy brains), 240 patches each, 50 epochs.
    """
    import pandas as pd

    from flairnb.network.operations import operations
    from flairnb.settings import load

    paper = load("paper")
    train = paper.train
    patches = 295 * train.patches_per_case * train.augmentations * train.epochs
    petaflop = 3 * operations(paper.network, (train.patch,) * 3).gflop * patches / 1e6
    rows = []
    for gpus in (1, 8):
        hours = petaflop * 1e3 / (TITAN_XP_TFLOPS * ASSUMED_EFFICIENCY * gpus) / 3600
        batch = -(-train.batch // gpus) * gpus
        rows.append({"gpus": gpus, "batch": batch, "patches": patches, "petaflop": petaflop, "hours": hours})
    return pd.DataFrame(rows)


def a_year(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the article's studies of the nervous system in a year would take, by the measured seconds of each kind of input."""
    import pandas as pd

    studies = STUDIES_A_YEAR * NERVOUS_SYSTEM
    found: list[dict[str, Any]] = []
    for row in patients(rows).itertuples():
        cores = studies * row.processor_s / YEAR_S
        machines = studies * row.seconds / YEAR_S
        found.append({"input": row.input, "machines like this, all year": round(machines), "cores, all year": round(cores)})
    return pd.DataFrame(found, columns=["input", "machines like this, all year", "cores, all year"])


def chart(rows: pd.DataFrame) -> Figure:
    """Draw the seconds of each kind of input beside the article's."""
    from flairnb.present.charts_bench import seconds_by_input

    floors = {row.input: row.floor_s for row in patients(rows).itertuples() if np.isfinite(row.floor_s)}
    beside = {name: seconds for name, seconds in article().items() if name != "LST"}
    return seconds_by_input(stages(rows), floors, beside)
