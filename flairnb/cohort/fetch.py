"""Fetch public images that `data_manifest/registry.tsv` declares, by SHA-256.

A file is downloaded to a temporary name, its hash is compared, and only then
it gets its own name: a file under its own name is the published one.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from flairnb.errors import InputError, MissingDataError, WorkFailed
from flairnb.provenance import atomic_path, sha256_file

REGISTRY_COLUMNS = ("dataset", "name", "url", "sha256", "licence", "citation", "kind")
#: Longest silence of a server in seconds, and how often a download is begun again.
SILENCE_S, ATTEMPTS = 60.0, 3
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What became of one file: "present", "fetched" or "failed", and why."""

    name: str
    status: str
    reason: str = ""


def default_registry() -> Path:
    """Return `data_manifest/registry.tsv` of the working folder or of the checkout that the package runs from."""
    places = [Path.cwd(), Path(__file__).resolve().parents[2]]
    for place in places:
        if (place / "data_manifest" / "registry.tsv").is_file():
            return place / "data_manifest" / "registry.tsv"
    raise MissingDataError(
        "data_manifest/registry.tsv: expected in the working folder or beside the package, found none. Run inside a checkout."
    )


def default_data_dir() -> Path:
    """Return the folder for fetched data: `FLAIRNB_DATA_DIR`, else ``data`` in the working folder."""
    return Path(os.environ.get("FLAIRNB_DATA_DIR") or "data")


def read_registry(path: str | os.PathLike) -> pd.DataFrame:
    """Read a registry of public files.

    Parameters
    ----------
    path : path-like
        Tab-separated, columns `REGISTRY_COLUMNS`; `name` is the path of the
        file below the data folder.

    Raises
    ------
    MissingDataError, InputError
        No such file; a column is missing, a hash is not one, a name occurs
        twice or leads out of the data folder.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"{path.name}: expected a registry of data files, found no such file.")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    absent = [c for c in REGISTRY_COLUMNS if c not in table.columns]
    if absent:
        raise InputError(f"{path.name}: expected the columns {', '.join(REGISTRY_COLUMNS)}, found none called {', '.join(absent)}.")
    for problem, bad in (
        ("sha256 of 64 hexadecimal digits", ~table["sha256"].str.fullmatch(r"[0-9a-f]{64}")),
        ("each name once", table["name"].duplicated()),
        ("names that stay inside the data folder", ~table["name"].map(_is_inside)),
    ):
        if bad.any():
            raise InputError(f"{path.name}: expected {problem}, found {table.loc[bad, 'name'].iloc[0]!r} otherwise. Correct that line.")
    return table


def datasets(registry: pd.DataFrame, data_dir: str | os.PathLike) -> pd.DataFrame:
    """Return one row a data set: dataset, files, present (in `data_dir`, unchecked), kind, licence, citation."""
    here = registry.assign(present=[(Path(data_dir) / name).is_file() for name in registry["name"]])
    return (
        here.groupby("dataset")
        .agg(
            files=("name", "size"),
            present=("present", "sum"),
            kind=("kind", lambda kinds: ", ".join(sorted(set(kinds)))),
            licence=("licence", "first"),
            citation=("citation", "first"),
        )
        .reset_index()
    )


def fetch_dataset(dataset: str, registry: pd.DataFrame, data_dir: str | os.PathLike, mirror: str = "") -> list[Fetched]:
    """Fetch the files of a data set; files that are there already are checked, not fetched again.

    Parameters
    ----------
    dataset : str
        A name in the registry's column `dataset`.
    registry : DataFrame
        As `read_registry` returns it.
    data_dir : path-like
        Folder that the names are relative to; made if absent.
    mirror : str
        Address or folder that holds the files under the same names, for
        machines that cannot reach the publisher. Hashes count as ever.

    Returns
    -------
    list of Fetched
        One a file, in the registry's order.

    Raises
    ------
    InputError
        Unknown data set.
    WorkFailed
        A file could not be had, or was not the published one; the others
        were fetched all the same.
    """
    rows = registry[registry["dataset"] == dataset]
    if rows.empty:
        raise InputError(
            f"data set {dataset!r}: expected one of {', '.join(sorted(set(registry['dataset'])))}. `flairnb fetch` lists them."
        )
    results = [_fetch_one(row, Path(data_dir), mirror) for row in rows.to_dict("records")]
    failed = [r for r in results if r.status == "failed"]
    if failed:
        raise WorkFailed(
            f"{dataset}: expected {len(rows)} files, could not get {len(failed)}; first: {failed[0].name} ({failed[0].reason}). "
            "Check the connection or give --mirror; what arrived is kept."
        )
    return results


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _fetch_one(row: dict[str, str], data_dir: Path, mirror: str) -> Fetched:
    target = data_dir / row["name"]
    if target.is_file() and sha256_file(target) == row["sha256"]:
        return Fetched(row["name"], "present")
    try:
        if mirror and "://" not in mirror:
            _copy(Path(mirror) / row["name"], target, row["sha256"])
        else:
            _download(f"{mirror.rstrip('/')}/{row['name']}" if mirror else row["url"], target, row["sha256"])
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _LOG.warning("%s: %s", row["name"], reason)
        return Fetched(row["name"], "failed", reason)
    return Fetched(row["name"], "fetched")


def _copy(source: Path, target: Path, sha256: str) -> None:
    if not source.is_file():
        raise FileNotFoundError("not in the mirror")
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        _check(temporary, sha256)


def _download(url: str, target: Path, sha256: str) -> None:
    """Let pooch's downloader (requests) write to a temporary name; begin again when the connection breaks.

    What arrived of a broken download is thrown away: the files are small, and
    half of one cannot be checked. A file that arrived whole but is not the
    published one is not asked for again.
    """
    import pooch
    from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

    with atomic_path(target) as temporary:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                pooch.HTTPDownloader(progressbar=False, timeout=SILENCE_S)(url, str(temporary), None)
                break
            except (ChunkedEncodingError, ConnectionError, Timeout) as error:
                if attempt == ATTEMPTS:
                    raise
                _LOG.info("%s: %s, beginning again", target.name, type(error).__name__)
        _check(temporary, sha256)


def _check(path: Path, sha256: str) -> None:
    found = sha256_file(path)
    if found != sha256:
        raise ValueError(f"sha256 is {found[:12]}..., expected {sha256[:12]}...")
