"""The columns of a cohort table: meaning, unit and allowed values, said once.

`schema` turns them into a pandera schema, `columns_markdown` into the table
of `data_manifest/README.md`; a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flairnb.cohort.diagnoses import DIAGNOSIS_KEYS

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes
    ----------
    name, meaning, unit : str
        Unit is "" where there is none.
    kind : str
        "text", "number" or "path" (of a NIfTI file, relative to the data root).
    required : bool
        Whether every row needs a value; other columns may be empty or absent.
    choices : tuple of str
        Allowed values; empty for any.
    low, high : float
        Allowed range of a number, both ends included.
    pattern : str
        Regular expression that the whole value matches; "" for any.
    unique : bool
        Whether a value may stand in one row only.
    """

    name: str
    meaning: str
    kind: str = "text"
    unit: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    low: float = float("-inf")
    high: float = float("inf")
    pattern: str = ""
    unique: bool = False

    @property
    def allowed(self) -> str:
        """Allowed values in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind == "number":
            return f"{self.low:g} to {self.high:g}"
        if self.kind == "path":
            return "a .nii or .nii.gz file inside the data root"
        return "`sub-` and letters or digits" if self.pattern else "any text"


COLUMNS: tuple[Column, ...] = (
    Column("participant_id", "One row per participant; a pseudonym", required=True, pattern=r"sub-[0-9A-Za-z]+", unique=True),
    Column("age", "Age at the examination", "number", "years", low=0, high=120),
    Column("sex", "Sex as registered", choices=("F", "M", "O")),
    Column("diagnosis", "Final diagnosis, a key of the article's 19, or healthy", required=True, choices=DIAGNOSIS_KEYS),
    Column("split", "Sample: trains the network, or tests it", required=True, choices=SPLITS),
    Column("manufacturer", "Maker of the scanner"),
    Column("model", "Scanner model, as in Table 1"),
    Column("field_strength_t", "Static field", "number", "tesla", low=0.05, high=12),
    Column("dimension", "How the FLAIR was acquired: slice by slice, or as a volume", choices=("2D", "3D")),
    Column("te_ms", "Echo time of the FLAIR (effective)", "number", "ms", low=1, high=1000),
    Column("tr_ms", "Repetition time of the FLAIR", "number", "ms", low=1000, high=30000),
    Column("ti_ms", "Inversion time of the FLAIR", "number", "ms", low=300, high=10000),
    Column("hospital", "Where the examination was done", choices=("home", "outside")),
    Column("flair", "FLAIR image, whole head or skull-stripped", "path", required=True, unique=True),
    Column("t1w", "T1-weighted image of the same session, on any grid", "path"),
    Column("reference_mask", "A reader's lesion mask on the FLAIR's grid; every diseased row needs one", "path", unique=True),
    Column("second_reader_mask", "A second reader's lesion mask on the FLAIR's grid", "path", unique=True),
    Column("brain_mask", "Brain mask on the FLAIR's grid, if one exists already", "path"),
    Column("scanner", "Which machine, where a hospital has several of a model; a pseudonym"),
)

NAMES: tuple[str, ...] = tuple(c.name for c in COLUMNS)
NUMBERS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.kind == "number")
PATHS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.kind == "path")


def schema() -> DataFrameSchema:
    """Return the pandera schema of a table whose numbers are parsed and whose empty texts are ""."""
    import pandera.pandas as pa

    columns = {}
    for c in COLUMNS:
        checks = []
        if c.choices:
            values = c.choices if c.required else (*c.choices, "")
            checks.append(pa.Check.isin(values, error=f"expected one of {c.allowed}"))
        if c.kind == "number":
            checks.append(pa.Check.in_range(c.low, c.high, error=f"expected {c.allowed} {c.unit}"))
        if c.pattern:
            checks.append(pa.Check.str_matches(rf"(?:{c.pattern})\Z", error=f"expected {c.allowed}"))
        if c.required and not c.choices and not c.pattern:
            checks.append(pa.Check(lambda text: text != "", error="expected a value, found none"))
        columns[c.name] = pa.Column(float if c.kind == "number" else str, checks, nullable=c.kind == "number")
    return pa.DataFrameSchema(columns, strict=False)


def columns_markdown() -> str:
    """Return the columns as the Markdown table of `data_manifest/README.md`."""
    lines = ["| column | meaning | unit | allowed values | needed |", "|---|---|---|---|---|"]
    for c in COLUMNS:
        needed = "yes" if c.required else "no"
        once = ", each once" if c.unique else ""
        lines.append(f"| `{c.name}` | {c.meaning} | {c.unit or '-'} | {c.allowed}{once} | {needed} |")
    return "\n".join(lines)
