"""The ledger of a run: the article's numbers, those of the chapters beside them, as a file and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.report import record
from flairnb.report.chapters import Chapter, read_chapters, repository_root

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run


def paper_values_file() -> Path:
    """Return where the article's numbers are declared."""
    return repository_root() / "data_manifest" / "paper_values.toml"


def make_ledger(chapters: list[Chapter], work_dir: Path, more: Mapping[str, Any] | None = None, notebook: str = "") -> pd.DataFrame:
    """Join the article's numbers with those of the chapters that have run.

    Parameters
    ----------
    chapters : list of Chapter
    work_dir : Path
    more : mapping, optional
        Numbers of `notebook` that are not on disk yet.
    notebook : str
        Two digits.
    """
    from flairnb.evaluate.ledger import join, read_paper_values

    measured = record.read_measured(chapters, work_dir)
    measured |= {f"{notebook}.{name}": record.as_measured(_plain(value)) for name, value in (more or {}).items()}
    return join(read_paper_values(paper_values_file()), measured)


def write_ledger(chapters: list[Chapter], work_dir: Path, path: Path) -> Path:
    """Write ``ledger.tsv``."""
    from flairnb.evaluate.ledger import tidy
    from flairnb.provenance import atomic_path

    with atomic_path(path) as temporary:
        tidy(make_ledger(chapters, work_dir)).to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    return path


def ledger_of(run: Run, numbers: Mapping[str, Any]) -> pd.DataFrame:
    """Return the whole ledger from within a notebook that has not written its own numbers yet."""
    return make_ledger(read_chapters(), run.work_dir, numbers, run.notebook)


def beside(run: Run, numbers: Mapping[str, Any]) -> Any:
    """Return this chapter's rows of the ledger: what the article prints, what we get, why they may differ.

    A number that the article prints more than once (in the abstract, rounded) appears once, as printed most exactly.
    """
    from flairnb.evaluate.ledger import read_paper_values, tidy
    from flairnb.present.tables import to_html

    keys = {value.id: value.ours for value in read_paper_values(paper_values_file())}
    ledger = ledger_of(run, numbers)
    own = ledger[ledger["notebook"] == run.notebook]
    own = own.assign(key=own["id"].map(keys), digits=own["paper"].str.len(), table=own["section"].str.startswith("Table"))
    best = own.sort_values(["digits", "table"], ascending=False, kind="stable").drop_duplicates("key").index
    table = tidy(own.loc[own.index.isin(best)]).set_index(["section", "what"])
    table = table[["unit", "paper", "ours", "low", "high", "n", "note"]]
    return to_html(table.rename(columns={"low": "95% from", "high": "to"}), "What the article prints, and this run", missing="")


def page(ledger: pd.DataFrame) -> Any:
    """Return the ledger's counts and the whole ledger as tables for a page; pandas would cut them."""
    from flairnb.evaluate.ledger import counts, tidy
    from flairnb.present.tables import HtmlTable, to_html

    table = tidy(ledger).drop(columns=["notebook"]).set_index(["section", "what"])
    table = table[["unit", "paper", "ours", "low", "high", "n", "note"]].rename(columns={"low": "95% from", "high": "to"})
    short = to_html(counts(ledger).set_index("section"), "Numbers that the article prints, that this run has, and with an interval")
    return HtmlTable(short + to_html(table, "What the article prints, and this run", missing=""))


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    return item() if callable(item) else value
