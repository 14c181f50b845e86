"""Fetch public images that `data_manifest/registry.tsv` declares, by SHA-256.

A file is downloaded to a temporary name, its hash is compared, and only then
it gets its own name: a file under its own name is the published one. What a
broken connection left is gone on with (`flairnb.cohort.fetch_http`).
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from flairnb.cohort.fetch_archive import archive_stem, unpack
from flairnb.cohort.fetch_http import Download
from flairnb.cohort.fetch_registry import REGISTRY_COLUMNS, read_registry
from flairnb.errors import InputError, MissingDataError, WorkFailed
from flairnb.provenance import atomic_path, sha256_file

__all__ = ["REGISTRY_COLUMNS", "Fetched", "datasets", "default_data_dir", "default_registry", "fetch_dataset", "read_registry"]

#: Longest silence of a server in seconds, and how often a connection is begun.
SILENCE_S, ATTEMPTS = 60.0, 3
#: Most bytes that are taken of a file whose size the registry does not declare.
LIMIT_BYTES = 2_000_000_000
#: Kind of a file that is unpacked into a folder beside it.
ARCHIVE = "archive"
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
        Unknown data set, or a mirror that is neither an address nor a folder.
    WorkFailed
        A file could not be had, or was not the published one; the others
        were fetched all the same.
    """
    rows = registry[registry["dataset"] == dataset]
    if rows.empty:
        raise InputError(
            f"data set {dataset!r}: expected one of {', '.join(sorted(set(registry['dataset'])))}. `flairnb fetch` lists them."
        )
    if mirror and "://" not in mirror and not Path(mirror).is_dir():
        raise InputError(f"--mirror: expected an address or a folder, found neither at {mirror!r}. Check it.")
    results = [_fetch_one(row, Path(data_dir), mirror) for row in rows.to_dict("records")]
    failed = [r for r in results if r.status == "failed"]
    if failed:
        raise WorkFailed(
            f"{dataset}: expected {len(rows)} files, could not get {len(failed)}; first: {failed[0].name} ({failed[0].reason}). "
            "Check the connection or give --mirror; what arrived is kept."
        )
    return results


def _fetch_one(row: dict[str, str], data_dir: Path, mirror: str) -> Fetched:
    target = data_dir / row["name"]
    try:
        status = "present" if target.is_file() and sha256_file(target) == row["sha256"] else "fetched"
        if status == "fetched":
            _get(row, target, mirror)
        if row["kind"] == ARCHIVE:
            unpack(target, target.with_name(archive_stem(target.name)), row["sha256"])
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _LOG.warning("%s: %s", row["name"], reason)
        return Fetched(row["name"], "failed", reason)
    return Fetched(row["name"], status)


def _get(row: dict[str, str], target: Path, mirror: str) -> None:
    if mirror and "://" not in mirror:
        _copy(Path(mirror) / row["name"], target, row["sha256"])
        return
    url = f"{mirror.rstrip('/')}/{quote(row['name'])}" if mirror else row["url"]
    size = int(row.get("bytes") or 0)
    Download(url, target, row["sha256"], size or LIMIT_BYTES, bool(size), SILENCE_S, ATTEMPTS).run()


def _copy(source: Path, target: Path, sha256: str) -> None:
    if not source.is_file():
        raise FileNotFoundError("not in the mirror")
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        found = sha256_file(temporary)
        if found != sha256:
            raise ValueError(f"sha256 is {found[:12]}..., expected {sha256[:12]}...")
