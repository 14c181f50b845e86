"""What stands beside the scores of real patients: small tables of a run, and where each of them is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flairnb.provenance import atomic_path
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run

RELIABILITY, ERRORS, GRID = "tables/reliability.tsv", "tables/real_errors.tsv", "tables/real_grid.tsv"
#: The run's table to the committed one. Counts and volumes only, no image.
COMMITTED = {RELIABILITY: "reports/robust/reliability.tsv", ERRORS: "reports/robust/errors.tsv", GRID: "reports/robust/grid.tsv"}


def recall(run: Run, table: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return one of this run's tables, else the committed one; where there is neither, an empty one with these columns."""
    import pandas as pd

    for path in (run.path(table), repository_root() / COMMITTED[table]):
        if path.is_file():
            return pd.read_csv(path, sep="\t", na_values=["n/a"])
    return pd.DataFrame(columns=list(columns))


def publish(run: Run) -> None:
    """Write the tables that this run has where they are committed; leave the others alone."""
    for table, committed in COMMITTED.items():
        if run.path(table).is_file():
            target = repository_root() / committed
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target) as temporary:
                recall(run, table, ()).round(5).to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
