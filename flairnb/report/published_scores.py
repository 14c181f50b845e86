"""What others publish on the same kinds of patients: `data_manifest/published_scores.tsv`, as context and never merged with ours.

One row a printed number: the tool or the readers, the data, the family of
disease, the images it looks at, the measure, and the value or the range that
is printed ("above 0.62" has only `low`), with its source. Facts, no sentences.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import ManifestError, MissingDataError
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd

TABLE = "data_manifest/published_scores.tsv"
WORDS, NUMBERS = ("tool", "data", "family", "input", "measure", "source"), ("value", "low", "high")
#: Families in the order shown, and measures with the column of our scores that they stand beside.
FAMILIES, MEASURES = ("MS", "glioma", "small-vessel disease"), {"Dice": "dice", "lesion F1": "lesion_f1"}


def read_published(path: Path | None = None) -> pd.DataFrame:
    """Read and check the table.

    Returns
    -------
    DataFrame
        `WORDS` as text, `NUMBERS` as float (NaN for none), in the file's order.

    Raises
    ------
    MissingDataError
        There is no table.
    ManifestError
        Columns are missing, or lines are wrong; says all of them at once.
    """
    import pandas as pd

    path = path or repository_root() / TABLE
    if not path.is_file():
        raise MissingDataError(f"{TABLE}: expected the table of published scores, found none. Run inside a checkout.")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if absent := [name for name in (*WORDS, *NUMBERS) if name not in table.columns]:
        raise ManifestError(f"{path.name}: expected the columns {', '.join((*WORDS, *NUMBERS))}, found no {', '.join(absent)}.")
    numbers = table[list(NUMBERS)].apply(pd.to_numeric, errors="coerce")
    broken = (numbers.isna() & (table[list(NUMBERS)] != "")).any(axis=1)
    table = table[list(WORDS)].join(numbers)
    problems = [f"line {at + 2}: {fault}" for at, row in enumerate(table.to_dict("records")) for fault in _faults(row, bool(broken[at]))]
    if problems:
        raise ManifestError(f"{path.name}: {'; '.join(problems)}.")
    return table


def _faults(row: dict[str, Any], broken: bool) -> list[str]:
    given = [row[name] for name in ("low", "value", "high") if row[name] == row[name]]
    checks = {
        **{f"expected a word on {name}, found none": not row[name].strip() for name in WORDS},
        f"expected a family of {', '.join(FAMILIES)}, found {row['family']!r}": row["family"] not in FAMILIES,
        f"expected a measure of {', '.join(MEASURES)}, found {row['measure']!r}": row["measure"] not in MEASURES,
        "expected numbers from 0 to 1": broken or any(not 0 <= number <= 1 for number in given),
        "expected a value or a range, found neither": not given,
        "expected low, value, high in rising order": given != sorted(given),
    }
    return [fault for fault, wrong in checks.items() if wrong]


def context(table: pd.DataFrame, published: pd.DataFrame | None = None) -> pd.DataFrame:
    """Put what others publish and our few cases below each other, by family; each in a column of its own.

    Parameters
    ----------
    table : DataFrame
        Scores by :func:`flairnb.report.real.segment_cases`; the shipped
        network's rows count.
    published : DataFrame, optional
        Of `read_published`.

    Returns
    -------
    DataFrame
        family, measure, who, data, input, published, ours; text.
    """
    import pandas as pd

    published = read_published() if published is None else published
    rows: list[dict[str, str]] = []
    for family in FAMILIES:
        there = published[published["family"] == family]
        for measure in (name for name in MEASURES if name in set(there["measure"])):
            both = {"family": family, "measure": measure}
            for row in there[there["measure"] == measure].to_dict("records"):
                rows.append({**both, "who": row["tool"], "data": row["data"], "input": row["input"], "published": printed(row), "ours": ""})
            rows.append({**both, **_ours(table, family, measure)})
    return pd.DataFrame(rows, columns=["family", "measure", "who", "data", "input", "published", "ours"])


def printed(row: dict[str, Any]) -> str:
    """Return a published number as it is printed.

    Examples
    --------
    >>> none = float("nan")
    >>> [printed(dict(value=v, low=a, high=b)) for v, a, b in ((0.8895, none, none), (none, 0.62, none), (none, 0.59, 0.65))]
    ['0.89', 'above 0.62', '0.59 to 0.65']
    """
    value, low, high = (f"{row[name]:.2f}" if row[name] == row[name] else "" for name in NUMBERS)
    spread = f"{low} to {high}" if low and high else f"above {low}" if low else f"below {high}" if high else ""
    return f"{value} ({spread})" if value and spread else value or spread


def _ours(table: pd.DataFrame, family: str, measure: str) -> dict[str, str]:
    from flairnb.report.real import SHIPPED

    scores = table.loc[(table["method"] == SHIPPED) & (table["family"] == family), MEASURES[measure]].dropna()
    ours = f"{scores.median():.2f} ({scores.min():.2f} to {scores.max():.2f})" if len(scores) else "no real case"
    data = f"{len(scores)} public development case{'' if len(scores) == 1 else 's'}, median and range" if len(scores) else ""
    return {"who": "shipped network", "data": data, "input": "FLAIR (T1w for the brain mask)", "published": "", "ours": ours}
