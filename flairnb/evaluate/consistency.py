"""Do the article's numbers agree with each other? Arithmetic on what is printed, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from flairnb.cohort.table1 import PAPER_N, PAPER_TABLE1

if TYPE_CHECKING:
    from flairnb.evaluate.ledger import PaperValue

#: The article's methods in the order of its Table 2.
METHODS = ("human", "cnn", "lst", "bianca")
#: Diseases with training cases: 19 less Susac syndrome (Methods, Diseases and Training/Validation Assignment).
TRAINED_DISEASES = 18


def checks(values: Iterable[PaperValue]) -> pd.DataFrame:
    """Recompute what one printed number says about another.

    Parameters
    ----------
    values : iterable of PaperValue
        From `flairnb.evaluate.ledger.read_paper_values`.

    Returns
    -------
    DataFrame
        `what`, `printed`, `follows` (what the other numbers give), `agrees`.
    """
    v = {value.id: value.value for value in values}
    rows = [*_samples(v), *_percentages(), *_patches(v), *_tests(v)]
    return pd.DataFrame(rows, columns=["what", "printed", "follows", "agrees"])


def _row(what: str, printed: float, follows: float, tolerance: float, form: str = "g") -> tuple[str, str, str, bool]:
    return what, format(printed, form), format(follows, form), bool(abs(printed - follows) <= tolerance)


def _samples(v: dict[str, float]) -> list[tuple]:
    diseased = v["abstract.training"] - v["assignment.healthy"]
    each = diseased / TRAINED_DISEASES
    printed = v["discussion.training_per_diagnosis"]
    cases = (v["assignment.diseases"] - 1) * v["assignment.per_disease"] + v["disease.susac_cases"]
    rows = [
        _row("training and validation make all subjects", v["subjects.all"], v["abstract.training"] + v["abstract.validation"], 0),
        _row("women and men make all subjects", v["subjects.all"], v["subjects.female"] + v["subjects.male"], 0),
        _row("18 diseases with five cases and Susac syndrome with two make validation", v["abstract.validation"], cases, 0),
        ("training cases a diagnosis (Discussion), as a mean", f"at most {printed:g}", f"{each:.1f}", bool(each <= printed)),
    ]
    for section in ("Field strength", "Dimension", "Manufacturer/model"):
        for sample, n in PAPER_N.items():
            total = sum(getattr(row, sample) for row in PAPER_TABLE1 if row.section.startswith(section))
            rows.append(_row(f"Table 1, {section.lower()}, sum of {'training' if sample == 'train' else sample}", n, total, 0))
    return rows


def _percentages() -> list[tuple]:
    rows = []
    for row in PAPER_TABLE1:
        for sample, printed in (("train", row.train_percent), ("validation", row.validation_percent)):
            share = 100 * getattr(row, sample) / PAPER_N[sample]
            if not np.isnan(printed) and abs(share - printed) > 0.051:
                rows.append(_row(f"Table 1, {row.label}, % of {sample}", printed, share, 0.051, ".1f"))
    return rows


def _patches(v: dict[str, float]) -> list[tuple]:
    patches = v["preprocessing.patches"] * v["preprocessing.augmentations"]
    return [
        _row("patches a case, augmented", v["preprocessing.patches_augmented"], patches, 0),
        _row("training patches", v["preprocessing.training_patches"], patches * v["abstract.training"], 0),
        _row("overlap of the tiles", v["preprocessing.overlap"], v["preprocessing.patch"] - v["preprocessing.step"], 0),
    ]


def _tests(v: dict[str, float]) -> list[tuple]:
    models, n = v["technical.models"], v["abstract.validation"]
    makers = v["technical.manufacturers"]
    # The largest SD of the paired differences that still gives P < .01 for the printed means, and what the printed standard errors allow.
    difference = v["accuracy.dice_mean.human"] - v["accuracy.dice_mean.cnn"]
    largest = difference * np.sqrt(n) / stats.t.isf(v["accuracy.p_human_cnn"] / 2, n - 1)
    spreads = [v[f"accuracy.dice_mean_sem.{method}"] * np.sqrt(n) for method in ("human", "cnn")]
    possible = abs(spreads[0] - spreads[1])
    return [
        _p_row(
            "P of F over scanner models",
            v["technical.model_p"],
            v["technical.model_f"],
            0.005,
            lambda f: stats.f.sf(f, models - 1, n - models),
        ),
        _p_row(
            "P of F over makers",
            v["technical.manufacturer_p"],
            v["technical.manufacturer_f"],
            0.005,
            lambda f: stats.f.sf(f, makers - 1, n - makers),
        ),
        _p_row(
            "P of r squared over scanner models",
            v["technical.training_p"],
            v["technical.training_r2"],
            0.0005,
            lambda r2: _p_of_r2(r2, models),
        ),
        (
            "second reader against CNN, P < .01: SD of the differences",
            f"below {largest:.2f}",
            f"{possible:.2f} or more",
            bool(possible < largest),
        ),
    ]


def _p_row(what: str, printed: float, statistic: float, half: float, p_of: Callable[[float], float]) -> tuple:
    """Compare a printed P with those that the printed statistic gives over the width of its own rounding."""
    low, high = sorted((p_of(statistic - half), p_of(statistic + half)))
    return what, f"{printed:.2f}", f"{low:.3f} to {high:.3f}", bool(low - 0.005 <= printed <= high + 0.005)


def _p_of_r2(r2: float, n: float) -> float:
    return float(2 * stats.t.sf(np.sqrt(r2 * (n - 2) / (1 - r2)), n - 2))


def volume_errors(values: Iterable[PaperValue]) -> pd.DataFrame:
    """Set the printed volume errors beside what the rest of Table 2 says about the volumes.

    Returns
    -------
    DataFrame
        One row a method: `dice`, `rho`, `printed_percent` (RMdSPE), `inside_root_percent` (the same if the per cent
        sign went inside the root: ten times as large), `predicted_over_true` (median sensitivity over median PPV, the
        ratio of volumes if the medians were those of one patient) and `implied_percent` (its distance from 1).
    """
    v = {value.id: value.value for value in values}
    rows = []
    for method in METHODS:
        ratio = v[f"table2.sensitivity_median.{method}"] / v[f"table2.ppv_median.{method}"]
        printed = v[f"table2.rmdspe.{method}"]
        rows.append(
            (method, v[f"table2.dice_median.{method}"], v[f"table2.rho.{method}"], printed, 10 * printed, ratio, 100 * abs(ratio - 1))
        )
    columns = ["method", "dice", "rho", "printed_percent", "inside_root_percent", "predicted_over_true", "implied_percent"]
    return pd.DataFrame(rows, columns=columns)
