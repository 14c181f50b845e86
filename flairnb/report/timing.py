"""Chapter 09: time. What a case costs by method and by step, from what every run records beside its masks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.evaluate.ledger import Measured
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.provenance import read_json
from flairnb.report import results, steps

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.start import Run

PREFIX = "seconds_"
#: Printed times that stand beside a method: name, seconds, spread (Results, Inference Time).
PRINTED = {"unet": ("CNN", "time.cnn"), "lga": ("LST", "time.lst"), "bianca": ("BIANCA", "time.bianca")}
#: Order of the steps in tables and charts; others follow.
STAGES = ("read", "brain", "register", "resample", "n4", "normalise", "model loading", "network", "its own steps", "way back")
_WORDS = {"method": "its own steps", "native": "way back"}


def seconds_by_stage(run: Run) -> pd.DataFrame:
    """Collect the seconds of every step of every method and validation case.

    Preparation comes from the prepared FLAIR's side-car, a method's own steps from the fields ``seconds_*`` that its
    mask's side-car or a table ``timing*.tsv`` carries. Loading this run's network and the shipped one is measured here,
    once, and charged to every case, as the article does.

    Returns
    -------
    DataFrame
        `participant_id`, `method`, `stage`, `seconds`. A method that records no time of its own has no rows.
    """
    import pandas as pd

    from flairnb.evaluate.cohort import find_methods

    recorded = _tables(run)
    loading = {method: _loading_seconds(weights) for method, weights in _networks(run).items()}
    rows = []
    for participant in steps.prepared_ids(run, "validation"):
        preparation = _preparation(run, participant)
        for method in find_methods(run.work_dir):
            mask = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc=method)
            own = _own(mask) or recorded.get((participant, method), {})
            if method in loading and own:
                own = {
                    "model loading": loading[method],
                    **{("network" if stage == "its own steps" else stage): s for stage, s in own.items()},
                }
            if own:
                stages = {**preparation, **own}
                rows += [(participant, method, stage, float(seconds)) for stage, seconds in stages.items()]
    return pd.DataFrame(rows, columns=["participant_id", "method", "stage", "seconds"])


def _preparation(run: Run, participant: str) -> dict[str, float]:
    path = sidecar_path(cohort_derivative(run.work_dir, participant, "FLAIR", space="work", desc="preproc"))
    known = read_json(path) if path.is_file() else {}
    return {str(stage): float(seconds) for stage, seconds in known.get("Seconds", {}).items()}


def _own(mask: Path) -> dict[str, float]:
    path = sidecar_path(mask)
    row = read_json(path).get("Row", {}) if path.is_file() else {}
    return _stages(row)


def _tables(run: Run) -> dict[tuple[str, str], dict[str, float]]:
    """Return times that notebooks left in tables with the columns participant_id, method and seconds_*."""
    import pandas as pd

    found: dict[tuple[str, str], dict[str, float]] = {}
    for path in sorted(run.path("tables/scores.tsv").parent.glob("timing*.tsv")):
        table = pd.read_csv(path, sep="\t")
        if {"participant_id", "method"} <= set(table.columns):
            for row in table.to_dict("records"):
                found[(str(row["participant_id"]), str(row["method"]))] = _stages(row)
    return found


def _stages(row: dict[str, Any]) -> dict[str, float]:
    """Return the fields ``seconds_<step>`` of a row, sums and preparation left out."""
    kept = {}
    for name, value in row.items():
        stage = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and stage not in ("total", "prepare") and isinstance(value, int | float) and np.isfinite(value):
            kept[_WORDS.get(stage, stage.replace("_", " "))] = float(value)
    return kept


def _networks(run: Run) -> dict[str, Path | str]:
    from flairnb.network.weights import shipped_names

    own: dict[str, Path | str] = {"unet": run.path(steps.MODEL)}
    return own | ({"shipped": shipped_names()[-1]} if shipped_names() else {})


def _loading_seconds(weights: Path | str) -> float:
    from flairnb.network.weights import load_network
    from flairnb.report.quiet import quiet_stderr

    with quiet_stderr():
        import keras  # noqa: F401 - the program's own start is not what a loaded network costs

        start = time.perf_counter()
        load_network(weights)
        return time.perf_counter() - start


def summary(seconds: pd.DataFrame) -> pd.DataFrame:
    """Return mean, SD, median and number of cases of the total time by method."""
    from flairnb.evaluate.summary import methods_in

    totals = seconds.groupby(["participant_id", "method"])["seconds"].sum().reset_index()
    table = totals.groupby("method")["seconds"].agg(n="size", mean_s="mean", sd_s="std", median_s="median", longest_s="max").reset_index()
    order = {method: place for place, method in enumerate(methods_in(seconds))}
    return table.sort_values("method", key=lambda m: m.map(order), ignore_index=True)


def stages(seconds: pd.DataFrame) -> pd.DataFrame:
    """Return mean and SD of each step by method, in the order of the work.

    Returns
    -------
    DataFrame
        `method`, `stage`, `n` (cases that had the step), `mean_s`, `sd_s`: over all cases of the method, 0 where one had
        no such step, so that the steps of a method add up to its mean in `summary`.
    """
    wide = seconds.pivot(index=["method", "participant_id"], columns="stage", values="seconds")  # noqa: PD010
    cells = wide.melt(value_name="seconds", ignore_index=False).reset_index()
    cells["filled"] = cells["seconds"].fillna(0.0)
    groups = cells.groupby(["method", "stage"])
    table = groups.agg(n=("seconds", "count"), mean_s=("filled", "mean"), sd_s=("filled", "std")).reset_index()
    in_order = table[table["n"] > 0].sort_values("stage", key=_rank, kind="stable")
    return in_order.sort_values("method", kind="stable", ignore_index=True)


def _rank(stages: pd.Series) -> pd.Series:
    """Return the place of each step in the order of the work; unknown ones come last."""
    return stages.map({stage: place for place, stage in enumerate(STAGES)}).fillna(len(STAGES))


def printed_seconds() -> dict[str, tuple[str, float, float]]:
    """Return the article's times by the method of ours that stands beside each."""
    from flairnb.evaluate.ledger import read_paper_values
    from flairnb.report.ledger import paper_values_file

    values = {value.id: value for value in read_paper_values(paper_values_file())}
    found = {}
    for method, (name, key) in PRINTED.items():
        in_seconds = 60.0 if values[key].unit == "min" else 1.0
        found[method] = (name, values[key].value * in_seconds, values[f"{key}_spread"].value)
    return found


def chart(table: pd.DataFrame, by_stage: pd.DataFrame) -> Figure:
    """Draw time by method beside the article's, and by step."""
    from flairnb.present.charts_technical import seconds_by_method

    in_order = by_stage.sort_values("stage", key=_rank, kind="stable")
    return seconds_by_method(table, in_order, printed_seconds())


def numbers(run: Run, seconds: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers."""
    result: dict[str, Any] = {"methods": len(table)}
    totals = seconds.groupby(["method", "participant_id"])["seconds"].sum()
    for row in table.itertuples():
        result[f"seconds_mean_{row.method}"] = results.median_of(run, totals[row.method], "mean")
        result[f"seconds_sd_{row.method}"] = Measured(row.sd_s, n=int(row.n))
        mean = result[f"seconds_mean_{row.method}"]
        result[f"minutes_mean_{row.method}"] = Measured(mean.value / 60, mean.low / 60, mean.high / 60, mean.n)
    return result
