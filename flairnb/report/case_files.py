"""What a case page is made from, read with care, and whose a page is that lies there already."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import InputError
from flairnb.provenance import read_json

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = {"lesion_volume_ml": Real, "lesion_count": int}
_OPTIONAL = {
    "expected_dice": Real, "brain_volume_ml": Real, "notes": list, "input": dict, "files": dict, "weights": dict, "seconds": dict,
    "versions": dict,
}  # fmt: skip
#: Columns of a table of lesions that a page shows, or finds its thumbnails by.
_CENTRE = ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm")
LESION_COLUMNS = ("lesion", "volume_ml", "max_in_plane_diameter_mm", "mean_probability", *_CENTRE)


def read_summary(path: Path) -> dict[str, Any]:
    """Read a summary of `flairnb segment`; an entry that is null is left out.

    Raises
    ------
    InputError
        It cannot be read, is cut off, or is not of `flairnb segment`.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name}: expected a summary of flairnb segment, could not read it ({_reason(error)}).") from error
    known = {key: value for key, value in content.items() if value is not None} if isinstance(content, dict) else {}
    wrong = _wrong_entry(known)
    if wrong:
        raise InputError(f"{path.name}: expected a summary of flairnb segment, found none or another value of {wrong}.")
    return known


def _wrong_entry(summary: Mapping[str, Any]) -> str:
    """Return the first entry that is absent or of another kind, "" if there is none."""
    for key, kind in _NEEDED.items():
        if not isinstance(summary.get(key), kind):
            return key
    for key, kind in _OPTIONAL.items():
        if key in summary and not isinstance(summary[key], kind):
            return key
    spacing = summary.get("input", {}).get("spacing_mm", [])
    if not isinstance(spacing, list) or not all(isinstance(edge, Real) for edge in spacing):
        return "input.spacing_mm"
    return "" if all(isinstance(value, Real) for value in summary.get("seconds", {}).values()) else "seconds"


def read_lesions(path: Path, count: int) -> pd.DataFrame:
    """Read a case's table of lesions; `LESION_COLUMNS` are numbers.

    Raises
    ------
    InputError
        It is empty, cut off, another table, or has not as many rows as the
        summary counts lesions.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
        numbers = table[list(LESION_COLUMNS)].apply(pd.to_numeric)
        if len(table) != count or numbers[list(_CENTRE)].isna().any(axis=None):
            raise ValueError(f"{len(table)} rows or fewer for {count} lesions")
    except (OSError, ValueError, KeyError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path.name}: expected the table of lesions, could not read it ({_reason(error)}).") from error
    return table


def refuse_foreign(page: Path, signs: tuple[str, ...]) -> None:
    """Refuse to replace a file that was not written by `flairnb case-report`.

    Parameters
    ----------
    page : Path
        Where a page shall be written; nothing need be there.
    signs : tuple of str
        What every page of ours holds.

    Raises
    ------
    InputError
        Something else is there.
    """
    try:
        text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    except OSError as error:
        text = _reason(error)
    if (page.exists() or page.is_symlink()) and not all(sign in text for sign in signs):
        raise InputError(
            f"case-report: expected to write {page.name}, found a file of that name in {page.absolute().parent.name}/ that flairnb "
            "case-report did not make. Move or rename it."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
