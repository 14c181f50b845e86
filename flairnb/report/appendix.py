"""The report's appendix: what the article leaves to its own, which we do not have; and what was tried to break flairnb."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flairnb.provenance import atomic_path
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd

#: Item of the appendix, what the article's text says of it, what we do instead.
NOT_AVAILABLE: tuple[tuple[str, str, str], ...] = (
    (
        "The 19 diseases",
        "16 can be read off the figures; the list itself is in the appendix",
        "the other three (CADASIL, HIV encephalopathy, metastases) are inferred from the same group's public diagnosis network",
    ),
    (
        "Training cases of each disease",
        "275 diseased cases over 18 diseases (none of Susac syndrome)",
        "5 to 25 each, by how common the disease is in a tertiary archive; chosen",
    ),
    (
        "How diagnoses were confirmed, how the 20 healthy brains were matched by age",
        "from the electronic medical record; 'age-matched'",
        "phantoms have their diagnosis by construction; each healthy age is that of a random patient, give or take two years",
    ),
    (
        "How lesions were outlined by hand",
        "ITK-SNAP, one radiologist; a second radiologist independently",
        "the phantom's true lesion is the reference; the second reader is simulated and marked so",
    ),
    (
        "Settings of LST and BIANCA",
        "named with their references; versions, thresholds and training set not given",
        "own code after the methods' papers, named re-implementation or -style; free values chosen on training cases",
    ),
    (
        "Definition of the volume errors RMdSPE and RMSPE",
        "'root median (mean) squared percentage error'",
        "the usual definition in per cent, and beside it the reading that fits the printed values",
    ),
    (
        "Further statistics",
        "'additional statistical comparisons are discussed in the On-line Appendix'",
        "what the article's main text reports, and beside it intervals, effect sizes, a mixed model and power, marked as ours",
    ),
    (
        "On-line Figures 1 and 2",
        "false positive and negative voxels by lesion size; 16 cases with heterogeneous lesions",
        "both drawn from the text (chapters 07 and 06); the heterogeneous cases are those of largest signal spread, not picked by eye",
    ),
)


def not_available() -> pd.DataFrame:
    """Return the list as a table: item, what the article says, what we do."""
    import pandas as pd

    return pd.DataFrame(NOT_AVAILABLE, columns=["in the appendix", "what the article's text says", "what we do"])


#: Written by the tests (`make faults`), never by hand.
FAULTS = "reports/faults.tsv"
#: The README's part between these lines is written by the tests, too.
MARKS = ("<!-- faults: written by make faults -->", "<!-- faults end -->")
_COLUMNS = ("fault", "cases", "times", "works", "refused in one line", "went on, same end", "FAILED")
#: What a test reports to the column that counts it.
_RESULTS = {"works": 3, "refused": 4, "kept": 5, "goes on": 5, "went on": 5, "FAILED": 6}


def fault_counts(path: str | Path | None = None) -> list[list[str]]:
    """Count what the tests tried and what happened, by kind of fault.

    Parameters
    ----------
    path : path, optional
        Table of faults; ``reports/faults.tsv`` of the checkout.

    Returns
    -------
    list of list of str
        Head row and one row a kind: cases, times tried, and how many of the
        cases worked, were refused in one line, went on to the same end as an
        undisturbed run, or failed. No rows without a table.
    """
    path = repository_root() / FAULTS if path is None else Path(path)
    if not path.is_file():
        return [list(_COLUMNS)]
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    kinds = list(dict.fromkeys(row["fault"] for row in rows))
    counted = []
    for kind in kinds:
        mine = [row for row in rows if row["fault"] == kind]
        results = Counter(_RESULTS[row["result"]] for row in mine)
        counted.append([kind, str(len(mine)), str(sum(int(row["tried"]) for row in mine)), *(str(results[n]) for n in (3, 4, 5, 6))])
    return [list(_COLUMNS), *counted]


def faults() -> pd.DataFrame:
    """Return `fault_counts` as a table to show."""
    import pandas as pd

    head, *rows = fault_counts()
    return pd.DataFrame(rows, columns=head)


def faults_markdown(path: str | Path | None = None) -> str:
    """Return `fault_counts` as the README shows them."""
    head, *rows = fault_counts(path)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines)


def update_faults(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write the table of faults and, where a README with the marks stands one folder above it, its summary there.

    Parameters
    ----------
    path : Path
    rows : iterable of rows
        The head row first: fault, case, times tried, result, what happened.
        They take the place of rows of the same fault and case; other rows of
        an earlier run stay, failed tests excepted, so that slow tests can be
        run by themselves.
    """
    head, *new = [[str(cell) for cell in row] for row in rows]
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            before = list(csv.reader(stream, delimiter="\t"))[1:]
        again = {tuple(row[:2]) for row in new}
        new += [row for row in before if tuple(row[:2]) not in again and row[3] != "FAILED"]
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([head, *sorted(new)])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    readme = path.absolute().parent.parent / "README.md"
    if not readme.is_file() or not all(mark in readme.read_text(encoding="utf-8") for mark in MARKS):
        return
    before, _, rest = readme.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    with atomic_path(readme) as temporary:
        temporary.write_text(f"{before}{MARKS[0]}\n{faults_markdown(path)}\n{MARKS[1]}{after}", encoding="utf-8")
