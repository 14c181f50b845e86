"""The article's tables with its values beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from flairnb.present.style import look

if TYPE_CHECKING:
    from pandas import DataFrame

#: Table 2 as printed (Duong et al. 2019). RMdSPE is printed in per cent; see `flairnb.evaluate.statistics`.
ARTICLE_METHODS = {"human": "Human", "cnn": "CNN", "lst": "LST", "bianca": "BIANCA"}
ARTICLE_TABLE2: dict[str, dict[str, float]] = {
    "Dice, median": {"human": 0.805, "cnn": 0.789, "lst": 0.562, "bianca": 0.410},
    "Dice, SEM": {"human": 0.017, "cnn": 0.022, "lst": 0.026, "bianca": 0.027},
    "Sensitivity, median": {"human": 0.800, "cnn": 0.767, "lst": 0.599, "bianca": 0.556},
    "Sensitivity, SEM": {"human": 0.017, "cnn": 0.025, "lst": 0.026, "bianca": 0.020},
    "Specificity, median": {"human": 0.999, "cnn": 0.999, "lst": 0.999, "bianca": 0.997},
    "Specificity, SEM": {"human": 0.000, "cnn": 0.000, "lst": 0.000, "bianca": 0.000},
    "PPV, median": {"human": 0.824, "cnn": 0.769, "lst": 0.690, "bianca": 0.335},
    "PPV, SEM": {"human": 0.018, "cnn": 0.018, "lst": 0.030, "bianca": 0.034},
    "NPV, median": {"human": 0.999, "cnn": 0.999, "lst": 0.999, "bianca": 0.999},
    "NPV, SEM": {"human": 0.000, "cnn": 0.000, "lst": 0.001, "bianca": 0.001},
    "RMdSPE, % as printed": {"human": 0.97, "cnn": 1.38, "lst": 3.80, "bianca": 6.56},
    "Spearman \N{GREEK SMALL LETTER RHO} of volumes": {"human": 0.991, "cnn": 0.985, "lst": 0.862, "bianca": 0.655},
}
#: Which of our methods stands beside which of the article's.
BESIDE = {"manual2": "human", "unet": "cnn", "lga": "lst", "lga03": "lst", "lpa": "lst", "bianca": "bianca"}

_ROWS = (
    ("Dice", "dice"),
    ("Sensitivity", "sensitivity"),
    ("Specificity", "specificity"),
    ("PPV", "ppv"),
    ("NPV", "npv"),
    ("Lesion recall", "lesion_recall"),
    ("Lesion precision", "lesion_precision"),
    ("Lesion F1", "lesion_f1"),
    ("HD95, mm", "hd95_mm"),
)
_VOLUME_ROWS = (
    ("RMdSPE, % as printed", "rmdspe_article_reading"),
    ("RMdSPE, % by the formula", "rmdspe_percent"),
    ("RMSPE, % by the formula", "rmspe_percent"),
    ("Spearman \N{GREEK SMALL LETTER RHO} of volumes", "spearman_rho"),
    ("Slope of volumes", "slope"),
)


def table2(summary: DataFrame, volumes: DataFrame) -> DataFrame:
    """Lay out Table 2, the article's value beside ours for every method that has one.

    Parameters
    ----------
    summary : DataFrame
        From `flairnb.evaluate.summary.summarise_scores` by method.
    volumes : DataFrame
        From `flairnb.evaluate.summary.summarise_volumes`.

    Returns
    -------
    DataFrame
        Index: the article's rows, then ours. Columns: (method, "ours") and, where the article has the method, (method,
        "article"). Float; NaN where a value does not exist. "Cases" is how many were scored; a score that some of them
        cannot have (PPV where nothing was marked) has a row of its own, such as "PPV, cases", with how many have it.
    """
    by_score = summary.set_index(["method", "score"])
    by_volume = volumes.set_index("method")
    cases = by_score["n"].groupby("method").max()
    partly = {score for (method, score), n in by_score["n"].items() if n < cases[method]}
    columns = {}
    for method in summary["method"].drop_duplicates():
        ours = {"Cases": float(cases[method])}
        for label, score in _ROWS:
            if (method, score) in by_score.index:
                row = by_score.loc[(method, score)]
                ours |= {f"{label}, median": row["median"], f"{label}, SEM": row["sem"]}
                ours |= {f"{label}, cases": float(row["n"])} if score in partly else {}
        ours |= {label: by_volume.loc[method, name] for label, name in _VOLUME_ROWS if method in by_volume.index}
        columns[(look(method).label, "ours")] = ours
        if method in BESIDE:
            theirs = {row: values[BESIDE[method]] for row, values in ARTICLE_TABLE2.items()}
            columns[(look(method).label, f"article ({ARTICLE_METHODS[BESIDE[method]]})")] = {"Cases": 92.0, **theirs}
    table = pd.DataFrame({name: pd.Series(values, dtype=float) for name, values in columns.items()})
    table.columns = pd.MultiIndex.from_tuples(list(columns), names=["method", "source"])
    scores = [f"{label}, {kind}" for label, _ in _ROWS for kind in ("median", "SEM", "cases")]
    order = ["Cases", *scores, *(label for label, _ in _VOLUME_ROWS)]
    return table.reindex([row for row in order if row in table.index])


def table1(rows: DataFrame) -> DataFrame:
    """Lay out Table 1 for reading.

    Parameters
    ----------
    rows : DataFrame
        From `flairnb.cohort.table1.table1`: section, summary, training, training_paper, validation, validation_paper,
        note.

    Returns
    -------
    DataFrame
        Index: (section, summary). Columns: (sample, "ours"), (sample, "article") and a note where one is needed.
    """
    table = rows.set_index(["section", "summary"])
    columns = {
        "training": ("Training", "ours"),
        "training_paper": ("Training", "article"),
        "validation": ("Validation", "ours"),
        "validation_paper": ("Validation", "article"),
        "note": ("", "note"),
    }
    if not table["note"].astype(bool).any():
        columns.pop("note")
    table = table[list(columns)]
    table.columns = pd.MultiIndex.from_tuples(list(columns.values()))
    return table


def show_whole_tables() -> None:
    """Let pandas show a notebook's tables whole; the report's pages give long ones a frame that scrolls.

    Otherwise ten of sixty settings are shown, and fifty letters of where each value comes from.
    """
    for name in ("max_rows", "max_columns", "max_colwidth"):
        pd.set_option(f"display.{name}", None)


class HtmlTable(str):
    """HTML text that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def to_html(table: DataFrame, caption: str = "", formats: Mapping[str, str] | None = None, missing: str = "\N{EM DASH}") -> HtmlTable:
    """Return a table as a self-contained HTML fragment.

    Parameters
    ----------
    table : DataFrame
        Shown with its index. Two levels of columns become two header rows; of two levels of index the first becomes
        headings between the rows.
    caption : str
        Above the table; plain text.
    formats : mapping of row label to str, optional
        Format of the decimal numbers in a row, for example ``{"Cases": ".0f"}``; three decimals otherwise, none for cases.
    missing : str
        For NaN and None.
    """
    counts = {str(label): ".0f" for label in table.index if str(label).endswith(", cases")}
    formats = {"Cases": ".0f", **counts, **(formats or {})}
    head = "".join(_header_row(table, level) for level in range(table.columns.nlevels))
    body, section = [], None
    for label, row in zip(table.index, table.astype(object).itertuples(index=False, name=None), strict=True):
        if isinstance(label, tuple):
            if label[0] != section:
                section = label[0]
                body.append(f'<tr class="section"><th colspan="{table.shape[1] + 1}">{escape(str(section))}</th></tr>')
            label = label[-1]
        cells = "".join(f"<td>{escape(_cell(value, formats.get(str(label)), missing))}</td>" for value in row)
        body.append(f'<tr><th scope="row">{escape(str(label))}</th>{cells}</tr>')
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return HtmlTable(f'<table class="flairnb">{title}<thead>{head}</thead><tbody>{"".join(body)}</tbody></table>')


def _header_row(table: DataFrame, level: int) -> str:
    labels = [str(label) for label in table.columns.get_level_values(level)]
    cells, start = ["<th></th>"], 0
    while start < len(labels):
        end = start + 1
        while level < table.columns.nlevels - 1 and end < len(labels) and labels[end] == labels[start]:
            end += 1
        span = f' colspan="{end - start}"' if end - start > 1 else ""
        cells.append(f'<th scope="col"{span}>{escape(labels[start])}</th>')
        start = end
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: object, form: str | None, missing: str) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return missing
    if isinstance(value, float):
        return format(value, form or ".3f")
    return str(value)
