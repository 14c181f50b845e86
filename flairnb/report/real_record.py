"""What is kept of the real patients' results: the committed table, the training's record, a picture on screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flairnb.provenance import atomic_path
from flairnb.report import real
from flairnb.report.chapters import repository_root
from flairnb.report.model_card import write_model_card

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run

TRAINING = "reports/robust/training.md"


def segment_or_recall(run: Run, cases: pd.DataFrame, baselines_mm: Sequence[float] = real.BASELINES_MM) -> pd.DataFrame:
    """Segment and score the real cases on disk (`flairnb.report.real.segment_cases`); without any, return the committed table."""
    if len(cases):
        return real.segment_cases(run, cases, baselines_mm)
    return run.save(real.published(), "tables/real_cases.tsv")


def show_examples(run: Run, cases: pd.DataFrame, table: pd.DataFrame) -> Any:
    """Show best, median and worst case; in words where there is no image on disk.

    Pictures of real patients stay in the work folder and out of a report that
    is passed on: only the `public` profile, whose images may be shown, keeps
    them on its page.
    """
    from IPython.display import Markdown

    if not len(cases):
        return Markdown("No images on disk: nothing to show. `flairnb fetch simvent` and `flairnb fetch openms_mni` get some.")
    if run.settings.profile != "public":
        return Markdown("Pictures of real patients are shown by `flairnb run 13 --profile public`.")
    figure = real.best_median_worst(run, cases, table)
    return run.keep(figure, "real_patients") if figure is not None else Markdown("No case with a reader's mask on disk.")


def training_summary() -> pd.DataFrame:
    """Return how the shipped network was trained, from its card."""
    import pandas as pd

    card = shipped_card()
    rows = {key: value for key, value in card.items() if not isinstance(value, (dict, list))}
    return pd.Series(rows, name="shipped network", dtype=object).to_frame()


def shipped_card() -> dict[str, Any]:
    """Return the shipped network's card; empty where none ships."""
    from flairnb.network.weights import SETTINGS_FILE, SHIPPED, shipped_names
    from flairnb.provenance import read_json

    names = shipped_names()
    return dict(read_json(SHIPPED / names[-1] / SETTINGS_FILE)["card"]) if names else {}


def publish(run: Run, table: pd.DataFrame) -> str:
    """Write the committed record, if this run may; say in words what was done."""
    if not real.publish(run, table):
        return "The committed record was left alone: it takes the public profile, every declared case and shipped weights."
    target = repository_root() / TRAINING
    with atomic_path(target) as temporary:
        temporary.write_text(training_page(shipped_card(), real.summarise(table)), encoding="utf-8")
    card = write_model_card(real.published())
    return f"Written: {real.PUBLISHED}, {TRAINING}, {card.name} of the weights"


def training_page(card: dict[str, Any], summary: pd.DataFrame) -> str:
    """Return the page on the training: what was done, how the loss fell, what was tried, what it gave."""
    lines = ["# How the shipped network was trained", "", "Written by notebook 13 from the card of the weights. Not for clinical use.", ""]
    lines += ["| what | value |", "|---|---|"]
    lines += [
        f"| {key.replace('_', ' ')} | {'not measured' if value is None else value} |"
        for key, value in card.items()
        if not isinstance(value, (dict, list))
    ]
    lines += ["", "## Settings of the last run", "", "| setting | value |", "|---|---|"]
    lines += [f"| train.{key} | {value} |" for key, value in card.get("train", {}).items()]
    lines += [
        "",
        "## Course",
        "",
        "| epoch | updates | heads | loss | training Dice | patches a second | waiting for data |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in card.get("history", []):
        cells = (row[k] for k in ("epoch", "updates", "cases", "loss", "dice", "patches_per_second", "waiting_fraction"))
        lines.append("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")
    lines += ["", "## What was tried", "", *[f"- {line}" for line in card.get("tried", [])]]
    lines += [
        "",
        "## Development cases (real patients, never trained on)",
        "",
        "| method | family | cases | median Dice | lowest |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {r.method} | {r.family} | {r.cases} | {r.dice_median:.3f} | {r.dice_lowest:.3f} |" for r in summary.itertuples()]
    return "\n".join(lines) + "\n"
