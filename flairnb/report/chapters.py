"""The notebooks as chapters: their files, what they need, what they make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flairnb.errors import MissingDataError, SettingsError

#: What each chapter leaves in the work folder, by notebook number. The first
#: maker of a file is the notebook that a reader is sent to when it is absent.
MAKES: dict[str, tuple[str, ...]] = {
    "00": ("tables/settings.tsv",),
    "01": ("manifest.tsv", "tables/cohort.tsv", "tables/table1.tsv"),
    "02": ("tables/preparation.tsv",),
    "03": ("models/unet/unet.keras", "models/unet/settings.json", "models/unet/history.csv"),
    "04": ("tables/timing.tsv", "tables/threshold.json", "tables/baseline_tuning.tsv", "tables/baselines.tsv"),
    "05": ("tables/scores.tsv", "tables/lesions.tsv", "tables/table2.tsv"),
    "06": ("tables/diseases.tsv", "tables/heterogeneous.tsv"),
    "07": ("tables/volumes.tsv", "tables/volume_bins.tsv", "tables/lesion_bins.tsv"),
    "08": ("tables/technical.tsv", "tables/scanner_models.tsv"),
    "09": ("tables/inference_time.tsv", "tables/inference_stages.tsv"),
    "10": ("tables/review_cases.tsv",),
    "11": (),
    "12": ("tables/checks.tsv", "tables/ablations.tsv", "tables/ledger.tsv"),
    "13": ("tables/real_cases.tsv",),
    "14": ("tables/retest.tsv", "tables/repeatability.tsv"),
}

#: What each chapter reads of what earlier chapters made.
NEEDS: dict[str, tuple[str, ...]] = {
    "02": ("manifest.tsv",),
    "03": ("manifest.tsv", "tables/preparation.tsv"),
    "04": ("manifest.tsv", "tables/preparation.tsv", "models/unet/unet.keras"),
    "05": ("manifest.tsv", "tables/timing.tsv"),
    "06": ("manifest.tsv", "tables/scores.tsv", "tables/lesions.tsv"),
    "07": ("manifest.tsv", "tables/scores.tsv", "tables/lesions.tsv"),
    "08": ("manifest.tsv", "tables/scores.tsv", "tables/lesions.tsv"),
    "09": ("manifest.tsv", "tables/preparation.tsv", "tables/timing.tsv"),
    "12": (
        "manifest.tsv",
        "models/unet/unet.keras",
        "tables/scores.tsv",
        "tables/diseases.tsv",
        "tables/volumes.tsv",
        "tables/technical.tsv",
        "tables/inference_time.tsv",
    ),
}

#: What a chapter reads where it is there, and can do without.
USES: dict[str, tuple[str, ...]] = {
    "10": ("manifest.tsv", "tables/scores.tsv", "tables/real_cases.tsv"),
    "11": ("models/unet/unet.keras",),
    "14": ("manifest.tsv", "tables/preparation.tsv", "models/unet/unet.keras", "tables/threshold.json"),
}

if TYPE_CHECKING:
    import pandas as pd

_FILE = re.compile(r"(\d\d)_[a-z0-9_]+\.py")


@dataclass(frozen=True)
class Chapter:
    """One notebook.

    Attributes
    ----------
    number : str
        Two digits, ``"03"``.
    path : Path
        The py:percent source.
    title, question : str
        First heading, and the bold question under it.
    """

    number: str
    path: Path
    title: str
    question: str

    @property
    def stem(self) -> str:
        """File name without extension, such as ``03_training``."""
        return self.path.stem

    @property
    def html(self) -> str:
        """Name of the chapter's page in the report."""
        return f"{self.stem}.html"

    @property
    def makes(self) -> tuple[str, ...]:
        """Files the chapter leaves, relative to the work folder."""
        return MAKES.get(self.number, ())

    @property
    def needs(self) -> tuple[str, ...]:
        """Files the chapter reads, relative to the work folder; those it can do without too."""
        return (*NEEDS.get(self.number, ()), *USES.get(self.number, ()))


def repository_root() -> Path:
    """Return the checkout that holds this package, else the one we stand in."""
    root = Path(__file__).resolve().parents[2]
    if (root / "notebooks").is_dir():
        return root
    here = Path.cwd()
    return here.parent if here.name == "notebooks" else here


def notebooks_dir() -> Path:
    """Return the folder of the notebooks.

    Raises
    ------
    MissingDataError
        When neither the checkout nor the current folder has one.
    """
    folder = repository_root() / "notebooks"
    if not folder.is_dir():
        raise MissingDataError(
            f"Expected a folder 'notebooks' beside the package or in {Path.cwd().name}/, found none. "
            "Run the command from a checkout of the repository."
        )
    return folder


def read_chapters(folder: Path | None = None) -> list[Chapter]:
    """List the notebooks in reading order.

    Parameters
    ----------
    folder : Path, optional
        Where the ``NN_name.py`` files are; the checkout's ``notebooks``.

    Returns
    -------
    list of Chapter
    """
    folder = notebooks_dir() if folder is None else Path(folder)
    chapters = []
    for path in sorted(folder.glob("[0-9][0-9]_*.py")):
        match = _FILE.fullmatch(path.name)
        if match:
            title, question = _title_and_question(path.read_text(encoding="utf-8"))
            chapters.append(Chapter(match.group(1), path, title or path.stem, question))
    return chapters


def choose(chapters: list[Chapter], which: str | list[str] = "all", from_: str | None = None) -> list[Chapter]:
    """Pick the chapters to run.

    Parameters
    ----------
    chapters : list of Chapter
    which : "all" or list of str
        Numbers such as ``["01", "2"]``, or file stems.
    from_ : str, optional
        Leave out what comes before this number.

    Raises
    ------
    SettingsError
        When a number names no notebook.
    """
    wanted = [which] if isinstance(which, str) else list(which)
    by_number = {chapter.number: chapter for chapter in chapters}
    if not wanted or wanted == ["all"]:
        chosen = list(chapters)
    else:
        chosen = [by_number[_number(name, by_number)] for name in wanted]
        chosen.sort(key=lambda chapter: chapter.number)
    if from_:
        first = _number(from_, by_number)
        chosen = [chapter for chapter in chosen if chapter.number >= first]
    return chosen


def chapter_table() -> pd.DataFrame:
    """Return the chapters as a table: title, question, what each leaves."""
    import pandas as pd

    rows = [(chapter.stem, chapter.question, ", ".join(chapter.makes)) for chapter in read_chapters()]
    return pd.DataFrame(rows, columns=["chapter", "question", "leaves in the work folder"])


def maker_of(name: str) -> str | None:
    """Return the number of the notebook that makes a file of the work folder."""
    return next((number for number, files in MAKES.items() if name in files), None)


def _number(name: str, known: dict[str, Chapter]) -> str:
    digits = str(name).split("_", 1)[0].zfill(2)
    if digits not in known:
        raise SettingsError(
            f"Expected 'all' or notebook numbers out of {', '.join(known) or 'none'}, received {name!r}. "
            "Name the notebooks by their two digits, for example: flairnb run 01 02"
        )
    return digits


def _title_and_question(source: str) -> tuple[str, str]:
    heading = re.search(r"^# # (.+)$", source, flags=re.MULTILINE)
    question = re.search(r"^# \*\*(?:Question\.?\*\*\s*)?(.+?)(?:\*\*)?\s*$", source, flags=re.MULTILINE)
    return (heading.group(1).strip() if heading else "", question.group(1).strip(" *") if question else "")
