"""Chapter 08: the scanner. Its model, its maker, its field; slices or volumes; home or outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flairnb.evaluate import technical as tests
from flairnb.evaluate.ledger import Measured
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.start import Run

ALPHA = 0.05


def models(run: Run, cases: pd.DataFrame) -> pd.DataFrame:
    """Summarise Dice by scanner model with the model's number of training cases."""
    return tests.by_model(cases, steps.read_cohort(run, "train")["model"])


def by_model(table: pd.DataFrame, cases: pd.DataFrame) -> Figure:
    """Draw Dice by scanner model (article, Figure 5A)."""
    from flairnb.present.charts_technical import dice_by_model

    return dice_by_model(table, cases)


def by_training(table: pd.DataFrame) -> Figure:
    """Draw Dice against the number of training cases of the model (article, Figure 5B)."""
    from flairnb.present.charts_technical import dice_by_training

    found = tests.against_training(table)
    line = found.line
    note = f"r² = {line.r_squared:.3f}, {_p_text(line.p_value)}, {line.n} models"
    return dice_by_training(table, line.slope, line.intercept, note if line.p_value == line.p_value else f"{line.n} models: no line")


def by_factor(cases: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw Dice by field strength, acquisition and hospital (article, Figure 5C)."""
    from flairnb.present.charts_technical import two_groups

    p_values = table.set_index("factor")["p_value"]
    panels, marks = {}, {}
    for column, factor, names in tests.FACTORS:
        found = tests.groups_of(cases, column)
        panels[factor] = {name: found[name] for name in names if name in found}
        p = p_values.get(factor, float("nan"))
        marks[factor] = "" if not p == p else f"{'* ' if p < ALPHA else ''}{_p_text(p)}"
    return two_groups(panels, marks)


def _p_text(p: float) -> str:
    return "P < .001" if p < 0.001 else f"P = {p:.3f}" if p < 0.1 else f"P = {p:.2f}"


def numbers(cases: pd.DataFrame, models: pd.DataFrame, factors: pd.DataFrame, outside: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers."""
    by_factor = factors.set_index("factor")
    training = tests.against_training(models)
    adjusted = outside.set_index("accounting for")
    result: dict[str, Any] = {
        "models": len(models) or float("nan"),
        "manufacturers": int(cases.loc[cases["manufacturer"] != "", "manufacturer"].nunique()) or float("nan"),
        "training_r2": Measured(training.line.r_squared, n=training.line.n),
        "training_p": Measured(training.line.p_value, n=training.line.n),
        "training_r2_detectable": training.detectable_r_squared,
        "alpha": ALPHA,
    }
    for name, factor in (("model", "scanner model"), ("manufacturer", "manufacturer")):
        row = by_factor.loc[factor]
        result |= {f"{name}_f": Measured(row["statistic"], n=int(row["n"])), f"{name}_p": Measured(row["p_value"], n=int(row["n"]))}
        result[f"{name}_f_detectable"] = row["detectable"]
    for name, factor in (("field", "field strength"), ("dimension", "acquisition"), ("outside", "hospital")):
        row = by_factor.loc[factor]
        result |= {f"{name}_p": Measured(row["p_value"], n=int(row["n"])), f"{name}_difference": row["difference"]}
        result[f"{name}_d_detectable"] = row["detectable"]
    size = adjusted.loc["mean lesion size"]
    result["outside_adjusted_p"] = Measured(size["p_value"], n=int(size["n"]))
    result["outside_adjusted_difference"] = Measured(size["coefficient"], size["ci_low"], size["ci_high"], int(size["n"]))
    return result
