"""Open a notebook's run: its settings, its folders, its inputs, its numbers."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import MissingDataError, SettingsError
from flairnb.provenance import atomic_path, write_json, write_sidecar
from flairnb.report.chapters import MAKES, NEEDS, maker_of, notebooks_dir, repository_root

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.settings import Settings

#: Resolution of the report's figures: legible, and the whole report stays under 15 MB.
FIGURE_DPI = 110


@dataclass(frozen=True)
class Run:
    """What a notebook knows of its surroundings.

    Attributes
    ----------
    notebook : str
        Two digits.
    settings : Settings
        The effective ones: the profile with the overrides applied.
    seed : int
    work_dir : Path
        Everything the notebooks make; files are handed on through it.
    data_dir : Path or None
        Real patients' data: those of a hospital's cohort or, beside a
        simulated one, of notebooks 13 and 14. None if none is named.
    jobs : int
        Cases at a time.
    """

    notebook: str
    settings: Settings
    seed: int
    work_dir: Path
    data_dir: Path | None
    jobs: int

    def path(self, name: str) -> Path:
        """Return a path in the work folder; its folder is made if needed."""
        path = self.work_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table(self, name: str) -> pd.DataFrame:
        """Read a tab-separated table of the work folder.

        Raises
        ------
        MissingDataError
            When it is absent; says which notebook makes it.
        """
        import pandas as pd

        path = self.work_dir / name
        if not path.is_file():
            raise MissingDataError(_absent(name, self.notebook))
        return pd.read_csv(path, sep="\t", keep_default_na=True)

    def save(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write a table, tab-separated, with its side-car, and hand it back to be shown."""
        from flairnb.settings import settings_hash

        with atomic_path(self.path(name)) as temporary:
            table.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
        made_by = {"Notebook": self.notebook, "SettingsHash": settings_hash(self.settings), "Seed": self.seed}
        write_sidecar(self.path(name), NEEDS.get(self.notebook, ()), extra=made_by)
        return table

    def keep(self, figure: Figure, name: str) -> Any:
        """Write a figure as ``figures/<name>.png`` and show exactly that picture.

        Charts are also written as ``.svg``, for slides and print; pictures of
        brains are not, for they would hold their pixels a second time.
        """
        from IPython.display import Image

        from flairnb.present.style import save_figure

        is_chart = not any(axes.images for axes in figure.axes)
        formats = ("png", "svg") if is_chart else ("png",)
        written = save_figure(figure, self.path(f"figures/{name}"), formats=formats, dpi=FIGURE_DPI)
        return Image(filename=str(written[0]))

    def finish(self, numbers: Mapping[str, Any]) -> pd.DataFrame:
        """Write the notebook's numbers and check that it made what it promises.

        Parameters
        ----------
        numbers : mapping
            Name to number (or short text), or to a `Measured` with its
            interval. A name is written once, by one notebook.

        Returns
        -------
        DataFrame
            The numbers as a table, to end the notebook with.

        Raises
        ------
        MissingDataError
            When a file that later notebooks count on was not made.
        """
        import pandas as pd

        missing = [name for name in MAKES.get(self.notebook, ()) if not (self.work_dir / name).is_file()]
        if missing:
            raise MissingDataError(
                f"Notebook {self.notebook} should leave {', '.join(missing)} in the work folder, but did not. "
                "Run its cells from the top; if that does not help, the step above failed for every case."
            )
        plain = {name: _plain(getattr(value, "value", value)) for name, value in numbers.items()}
        intervals = {name: _interval(value) for name, value in numbers.items() if hasattr(value, "low")}
        write_json(self.path(f"runs/{self.notebook}_numbers.json"), plain)
        write_json(self.path(f"runs/{self.notebook}_intervals.json"), intervals)
        table = pd.DataFrame({"number": list(plain), "value": [_shown(value) for value in plain.values()]})
        if intervals:
            table["95% interval"] = [_shown_interval(intervals.get(name)) for name in plain]
        return table

    def _patients(self) -> str:
        """Say whom the chapter is about: the run's cohort, or beside it the public examinations of `flairnb fetch`."""
        cohort = "phantom (simulated)" if self.settings.cohort.source == "phantom" else "your manifest"
        public = "public examinations of real people"
        return {"13": f"none of this run; {public}", "14": f"{cohort}; {public} where the profile asks for them and they are here"}.get(
            self.notebook, cohort
        )

    def _repr_html_(self) -> str:
        rows = [
            ("profile", self.settings.profile),
            ("seed", self.seed),
            ("cohort", self._patients()),
            ("cases at a time", self.jobs),
            ("reads", ", ".join(NEEDS.get(self.notebook, ())) or "nothing made before"),
            ("makes", ", ".join(MAKES.get(self.notebook, ())) or "nothing on disk"),
        ]
        body = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>" for key, value in rows)
        return f"<table>{body}</table>"


def start(
    notebook: str,
    profile: str = "demo",
    seed: int = 2019,
    data_dir: str = "",
    out_dir: str = "",
    overrides: str = "",
) -> Run:
    """Open the run of a notebook and check its inputs.

    Parameters
    ----------
    notebook : str
        ``"03"`` or ``"03_training"``.
    profile : str
        A profile of ``profiles.toml``.
    seed : int
        Every random draw of the run follows from it.
    data_dir : str
        Root of a hospital's own data with its ``manifest.tsv``; ``""`` for the
        folder of the table that ``cohort.manifest`` names by its whole path,
        else the environment variable ``FLAIRNB_DATA_DIR``. It makes no cohort
        of them: ``cohort.source`` says whether that is simulated, and notebooks
        13 and 14 then look for public examinations here.
    out_dir : str
        Work folder; ``""`` for ``work/<profile>`` in the checkout.
    overrides : str
        Settings to change, such as ``"train.epochs=3 network.width=8"``.

    Returns
    -------
    Run

    Raises
    ------
    SettingsError
        For an unknown profile, setting or notebook, or a value that a setting
        may not have.
    MissingDataError
        When an input is absent; says which notebook makes it.
    """
    from joblib import cpu_count

    from flairnb.present.style import name_second_reader
    from flairnb.present.tables import show_whole_tables

    number = str(notebook).split("_", 1)[0]
    if number not in MAKES:
        raise SettingsError(f"Expected a notebook number out of {', '.join(MAKES)}, received {notebook!r}.")
    settings = effective_settings(profile, seed, overrides)
    run = Run(
        notebook=number,
        settings=settings,
        seed=seed,
        work_dir=work_dir_of(profile, out_dir),
        data_dir=data_dir_of(settings, data_dir),
        jobs=cpu_count(),
    )
    absent = [name for name in NEEDS.get(number, ()) if not (run.work_dir / name).exists()]
    if absent:
        raise MissingDataError(_absent(absent[0], number))
    run.work_dir.mkdir(parents=True, exist_ok=True)
    show_whole_tables()
    name_second_reader(settings.cohort.source == "phantom")
    return run


def effective_settings(profile: str, seed: int, overrides: str | Sequence[str] = "") -> Settings:
    """Return a profile's settings with the seed and the overrides (one text, or its words) applied."""
    from flairnb import settings

    return settings.load(profile, overrides, seed=seed)


def work_dir_of(profile: str, out_dir: str = "") -> Path:
    """Return the work folder of a profile."""
    return Path(os.path.realpath(Path(out_dir).expanduser())) if out_dir else repository_root() / "work" / profile


def data_dir_of(settings: Settings, data_dir: str = "") -> Path | None:
    """Return the folder of a hospital's own data; None without one.

    `data_dir` comes first, then the folder of a table that is named by its
    whole path, then ``FLAIRNB_DATA_DIR``, where public data may lie as well.

    Raises
    ------
    MissingDataError
        There is no such folder.
    """
    given = data_dir
    if not given and settings.cohort.source == "manifest":
        table = Path(settings.cohort.manifest).expanduser()
        given = str(table.parent) if table.is_absolute() else os.environ.get("FLAIRNB_DATA_DIR", "")
    if not given:
        return None
    path = Path(os.path.realpath(Path(given).expanduser()))
    if not path.is_dir():
        raise MissingDataError(
            f"Expected a folder of patients' data, found none at {path.name!r}. "
            "Set data_dir (or FLAIRNB_DATA_DIR) to the folder that the manifest's paths start from."
        )
    return path


def _absent(name: str, reader: str) -> str:
    maker = maker_of(name)
    if maker is None:
        return f"Notebook {reader} needs {name} in the work folder, which does not exist."
    stem = next((path.stem for path in notebooks_dir().glob(f"{maker}_*.py")), maker)
    return (
        f"Notebook {reader} needs {name}, which notebook {stem} makes and which does not exist yet. "
        f"Run that notebook first, or: flairnb run {maker}"
    )


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    value = item() if callable(item) else value
    if not isinstance(value, float):
        return value
    # JSON has no NaN: a number that a run cannot have is null. Six digits after the point hide small learning rates.
    return (round(value, 6) or float(f"{value:.6g}")) if math.isfinite(value) else None


def _interval(measured: Any) -> dict[str, Any]:
    note = {"note": measured.note} if measured.note else {}
    return {"low": _plain(measured.low), "high": _plain(measured.high), "n": int(measured.n), **note}


def _shown(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _shown_interval(interval: Mapping[str, Any] | None) -> str:
    if interval is None or interval["low"] is None or interval["high"] is None:
        return ""
    return f"{_shown(interval['low'])} to {_shown(interval['high'])} (n = {interval['n']})"
