"""Table 1 of the article, and the same table of any cohort beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

SAMPLES = ("train", "validation")
PAPER_N = {"train": 295, "validation": 92}
#: Stands for a count, or a time, of which no row says anything.
NOT_GIVEN = "-"


@dataclass(frozen=True)
class Model:
    """One scanner model of Table 1.

    Attributes
    ----------
    manufacturer, name : str
        As used in cohort tables; the article prints "Phillips" for Philips.
    printed : str
        As the article prints the model.
    field_strength_t : float
        1.5 or 3; the article does not pair models with fields, the makers do.
    train, validation : int
        Subjects, as printed.
    """

    manufacturer: str
    name: str
    printed: str
    field_strength_t: float
    train: int
    validation: int


#: In the article's order. With the makers' field strengths the two margins of Table 1 agree exactly: the four 3 T models
#: add up to 65 and 35 subjects. (Signa Excite and HDxt were sold at 1.5 and 3 T; here all are 1.5 T.)
MODELS: tuple[Model, ...] = (
    Model("GE Healthcare", "Discovery MR750w", "Discovery MR750w", 3.0, 4, 3),
    Model("GE Healthcare", "Genesis Signa", "Genesis Signa", 1.5, 20, 6),
    Model("GE Healthcare", "Optima MR450w", "Optima MR450w", 1.5, 15, 1),
    Model("GE Healthcare", "Signa Excite", "Signa Excite", 1.5, 20, 7),
    Model("GE Healthcare", "Signa HDxt", "Signa HDxt", 1.5, 14, 7),
    Model("Philips", "Intera", "Intera", 1.5, 2, 1),
    Model("Siemens", "Aera", "Magnetom Aera", 1.5, 15, 2),
    Model("Siemens", "Avanto", "Avanto", 1.5, 39, 8),
    Model("Siemens", "Espree", "Magnetom Espree", 1.5, 83, 19),
    Model("Siemens", "Essenza", "Magnetom Essenza", 1.5, 9, 1),
    Model("Siemens", "Skyra", "Magnetom Skyra", 3.0, 8, 8),
    Model("Siemens", "Symphony", "Magnetom Symphony", 1.5, 4, 3),
    Model("Siemens", "Symphony Tim", "Magnetom Symphony Tim", 1.5, 5, 1),
    Model("Siemens", "Tim Trio", "Tim Trio", 3.0, 37, 11),
    Model("Siemens", "Verio", "Magnetom Verio", 3.0, 16, 13),
    Model("Toshiba", "Titan", "Titan", 1.5, 4, 1),
)


@dataclass(frozen=True)
class Row:
    """One row of the printed table.

    Attributes
    ----------
    section, label : str
        As printed (spelling of the maker corrected).
    train, validation : float
        Count, or milliseconds in the TE and TR sections.
    train_percent, validation_percent : float
        As printed; NaN where the table has none.
    """

    section: str
    label: str
    train: float
    validation: float
    train_percent: float = np.nan
    validation_percent: float = np.nan


_PRINTED_PERCENT = {
    "Discovery MR750w": (1.4, 3.3),
    "Genesis Signa": (6.8, 6.5),
    "Optima MR450w": (5.1, 1.1),
    "Signa Excite": (6.8, 7.6),
    "Signa HDxt": (4.7, 7.6),
    "Intera": (0.7, 1.1),
    "Magnetom Aera": (5.1, 2.2),
    "Avanto": (13.2, 8.7),
    "Magnetom Espree": (28.1, 20.1),
    "Magnetom Essenza": (3.1, 1.1),
    "Magnetom Skyra": (2.7, 8.7),
    "Magnetom Symphony": (1.4, 3.3),
    "Magnetom Symphony Tim": (1.7, 1.1),
    "Tim Trio": (12.5, 20.0),
    "Magnetom Verio": (5.4, 14.1),
    "Titan": (1.4, 1.1),
}

#: Table 1 as printed, misprints included.
PAPER_TABLE1: tuple[Row, ...] = (
    Row("Field strength", "1.5T", 230, 57, 78.0, 62.0),
    Row("Field strength", "3T", 65, 35, 22.0, 38.0),
    Row("Dimension", "2D", 287, 81, 97.3, 88.0),
    Row("Dimension", "3D", 8, 11, 2.7, 12.0),
    *(Row(f"Manufacturer/model: {m.manufacturer}", m.printed, m.train, m.validation, *_PRINTED_PERCENT[m.printed]) for m in MODELS),
    Row("TE (ms)", "Minimum", 86, 82),
    Row("TE (ms)", "Median", 136, 136),
    Row("TE (ms)", "Maximum", 396, 398),
    Row("TR (ms)", "Minimum", 5000, 5000),
    Row("TR (ms)", "Median", 9000, 9000),
    Row("TR (ms)", "Maximum", 12000, 12000),
)


def model_name(written: str) -> str:
    """Return Table 1's name of a scanner model however its DICOM header or a table writes it; else the text itself.

    Examples
    --------
    >>> model_name("MAGNETOM Aera"), model_name("GENESIS_SIGNA"), model_name("TrioTim"), model_name("Ingenia")
    ('Aera', 'Genesis Signa', 'Tim Trio', 'Ingenia')
    """
    bare = re.sub("[^a-z0-9]|magnetom", "", written.lower())
    known = {re.sub("[^a-z0-9]", "", m.name.lower()): m.name for m in MODELS} | {"triotim": "Tim Trio", "trio": "Tim Trio"}
    return known.get(bare, written)


def maker_name(written: str, model: str) -> str:
    """Return one name of a maker however a table writes it: Table 1's of a known model or maker, else the text in one spelling.

    Parameters
    ----------
    written : str
        "" where it is not given.
    model : str
        The scanner model, in any spelling.

    Examples
    --------
    >>> maker_name("Siemens Healthineers", "Prisma"), maker_name("", "TrioTim"), maker_name(" hitachi  medical", "")
    ('Siemens', 'Siemens', 'Hitachi Medical')
    >>> maker_name("GE MEDICAL SYSTEMS", ""), maker_name("General Electric", ""), maker_name("uih", "")
    ('GE Healthcare', 'GE Healthcare', 'UIH')
    """
    of_model = {m.name: m.manufacturer for m in MODELS}.get(model_name(model))
    bare = re.sub(r"^(general electric|gehealthcare|g e)\b", "ge", " ".join(re.findall(r"[^\W_]+", written.lower())))
    known = {m.manufacturer.split()[0].lower(): m.manufacturer for m in MODELS}
    # Up to three letters are taken for an abbreviation, in whatever case they stand.
    words = [word.upper() if len(word) <= 3 else word.title() for word in written.split()]
    return of_model or known.get(bare.split(" ")[0], " ".join(words))


def count_given(column: pd.Series, chosen: ArrayLike) -> float:
    """Return how many rows are chosen; NaN where the column is empty in all rows: what is not given is not 0.

    Examples
    --------
    >>> sex = pd.Series(["F", "", "M"])
    >>> count_given(sex, sex == "O"), count_given(sex.head(0), [])
    (0, nan)
    """
    given = column.notna() & (column.astype(str) != "")
    return int(np.sum(np.asarray(chosen))) if given.any() else np.nan


def table1(cohort: pd.DataFrame) -> pd.DataFrame:
    """Make Table 1 of a cohort in the article's layout, with the article's values beside it.

    Parameters
    ----------
    cohort : DataFrame
        Rows as `read_manifest` returns them.

    Returns
    -------
    DataFrame
        Columns section, summary, training, training_paper, validation,
        validation_paper (texts such as ``"230 (78.0%)"``), note. The first
        row holds the number of subjects; scanner models that Table 1 does not
        list follow in a section of their own. "-" where a sample's column is
        empty in all rows. Notes say so, and flag what the article misprints,
        recomputed from its own counts.

    Examples
    --------
    >>> rows = table1(pd.DataFrame({"split": ["train"], "field_strength_t": [3.0], "dimension": ["2D"],
    ...                             "model": ["Skyra"], "te_ms": [90.0], "tr_ms": [9000.0]}))
    >>> rows.loc[2, ["summary", "training", "training_paper"]].tolist()
    ['3T', '1 (100.0%)', '65 (22.0%)']
    """
    cohort = cohort.assign(model=cohort["model"].map(model_name))
    samples = {s: cohort[cohort["split"] == s] for s in SAMPLES}
    sizes = {s: len(samples[s]) for s in SAMPLES}
    rows = [("Subjects", "n", str(sizes["train"]), str(PAPER_N["train"]), str(sizes["validation"]), str(PAPER_N["validation"]), "")]
    for paper in PAPER_TABLE1:
        ours = [_our_cell(samples[s], paper) for s in SAMPLES]
        printed = [_cell(paper.train, paper.train_percent), _cell(paper.validation, paper.validation_percent)]
        absent = ", ".join(name for name, cell in zip(("training", "validation"), ours, strict=True) if cell == NOT_GIVEN)
        note = "; ".join(filter(None, [f"not given in this cohort ({absent})" if absent else "", _note(paper)]))
        rows.append((paper.section, paper.label, ours[0], printed[0], ours[1], printed[1], note))
    for model in sorted(set(cohort["model"]) - {m.name for m in MODELS}):
        ours = [_share(int((samples[s]["model"] == model).sum()), sizes[s]) for s in SAMPLES]
        rows.append(("Manufacturer/model: not in the article", model or "(not given)", ours[0], "-", ours[1], "-", ""))
    columns = ["section", "summary", "training", "training_paper", "validation", "validation_paper", "note"]
    return pd.DataFrame(rows, columns=columns)


def _our_cell(sample: pd.DataFrame, paper: Row) -> str:
    if paper.section in ("TE (ms)", "TR (ms)"):
        times = sample["te_ms" if paper.section.startswith("TE") else "tr_ms"].dropna()
        how = {"Minimum": "min", "Median": "median", "Maximum": "max"}[paper.label]
        return NOT_GIVEN if times.empty else f"{times.agg(how):,.0f}"
    if paper.section == "Field strength":
        column = sample["field_strength_t"].astype(float)
        # Headers say 1.494 or 2.894 T where the maker says 1.5 or 3 T.
        chosen = np.isclose(column, float(paper.label.removesuffix("T")), rtol=0, atol=0.2)
    elif paper.section == "Dimension":
        column = sample["dimension"]
        chosen = column == paper.label
    else:
        column = sample["model"]
        chosen = column == next(m.name for m in MODELS if m.printed == paper.label)
    return _share(count_given(column, chosen), len(sample))


def _share(count: float, total: int) -> str:
    if not total:
        return "0"
    return NOT_GIVEN if np.isnan(count) else _cell(count, 100 * count / total)


def _cell(value: float, percent: float) -> str:
    return f"{value:,.0f}" if np.isnan(percent) else f"{value:,.0f} ({percent:.1f}%)"


def _note(paper: Row) -> str:
    """Say where the printed percentage is not the printed count over the sample's size."""
    notes = []
    for sample, count, printed in (
        ("training", paper.train, paper.train_percent),
        ("validation", paper.validation, paper.validation_percent),
    ):
        total = PAPER_N["train" if sample == "training" else "validation"]
        right = 100 * count / total
        if not np.isnan(printed) and abs(right - printed) > 0.051:
            notes.append(f"misprint in the article: {count:g} of {total} is {right:.1f}%, printed {printed:.1f}% ({sample})")
    return "; ".join(notes)
