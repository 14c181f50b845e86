"""Find the cases to review: of a run, of the real patients on disk, or of any folder that `flairnb segment` wrote."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import InputError, MissingDataError
from flairnb.geometry import Grid
from flairnb.images import read_image, read_mask
from flairnb.naming import cohort_derivative
from flairnb.nifti import open_nifti, read_voxels
from flairnb.provenance import read_json, sha256_file
from flairnb.report import steps
from flairnb.report.patient_folder import SUMMARY
from flairnb.report.review_files import case_names, find_flair, stem_of, visible_below

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from flairnb.present.case_view import Case
    from flairnb.report.start import Run

COHORT, REAL = "cohort", "real"
#: Sort by -> whether the worst come first when ascending.
ORDERS = {"dice": True, "expected_dice": True, "volume_error_ml": False, "volume_ml": False, "case": True}
SHOWN = ("case", "diagnosis", "split", "dice", "expected_dice", "volume_error_ml", "volume_ml")
#: The method that cases are sorted by: the first of these that has scores.
SORTED_BY = ("unet", "shipped")
_MASK = re.compile(r"_label-lesion_desc-([A-Za-z0-9]+)_mask\.nii(\.gz)?$")


def find_cases(
    run: Run | None = None, source: str = COHORT, split: str = "", diagnosis: str = "", order: str = "dice", data_dir: str = ""
) -> pd.DataFrame:
    """List the cases that can be reviewed, the most doubtful first.

    Parameters
    ----------
    run : Run, optional
        Needed for ``cohort`` and ``real``.
    source : str
        ``cohort``: the run's; ``real``: public patients of notebook 13; else a
        folder that `flairnb segment` wrote.
    split, diagnosis : str
        Keep these only; "" keeps all.
    order : str
        One of `ORDERS`; missing values come last.
    data_dir : str
        Where the FLAIRs of a folder lie, if not in it or beside it.

    Returns
    -------
    DataFrame
        `SHOWN` columns, and three that are not shown: `files`, JSON of where each image lies; `scores`, JSON of each
        method's own Dice (0 to 1), while `dice` is that of the first of `SORTED_BY` that the run has; and `simulated`,
        whether the patient is a phantom.

    Raises
    ------
    InputError, MissingDataError
        For an unknown order, an empty choice, or a folder without results.
    """
    import pandas as pd

    if order not in ORDERS:
        raise InputError(f"order: expected one of {', '.join(ORDERS)}, received {order!r}.")
    if source == COHORT:
        rows = _of_cohort(run)
    elif source == REAL:
        rows = _of_real(run)
    else:
        rows = of_folder(Path(source).expanduser(), Path(data_dir).expanduser() if data_dir else None)
    table = pd.DataFrame(rows, columns=[*SHOWN, "files", "scores", "simulated"])
    table["simulated"] = table["simulated"].eq(True)
    kept = arrange(table, split, diagnosis, order)
    if kept.empty:
        raise MissingDataError(
            f"review: expected cases of source {source if source in (COHORT, REAL) else 'folder'!r}, split {split or 'any'!r}, "
            f"diagnosis {diagnosis or 'any'!r}, found none. Widen the choice, or make masks first: flairnb run 04, or flairnb segment."
        )
    return kept


def arrange(table: pd.DataFrame, split: str = "", diagnosis: str = "", order: str = "dice") -> pd.DataFrame:
    """Return the cases of a split and a diagnosis ("" for all) in an order of `ORDERS` ("" as they are); maybe none."""
    for column, wanted in (("split", split), ("diagnosis", diagnosis)):
        table = table[table[column].str.lower() == wanted.lower()] if wanted else table
    if not order:
        return table.reset_index(drop=True)
    key = table["volume_error_ml"].abs() if order == "volume_error_ml" else table[order]
    return table.loc[key.sort_values(ascending=ORDERS[order], na_position="last", kind="stable").index].reset_index(drop=True)


def shown(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that a reader sees, rounded."""
    return cases[list(SHOWN)].round({"dice": 3, "expected_dice": 3, "volume_error_ml": 2, "volume_ml": 2})


def load_case(row: Any, methods: tuple[str, ...] = (), extras: bool = True) -> Case:
    """Read the images of one row of `find_cases`, all on the FLAIR's own grid.

    Parameters
    ----------
    row : Series or mapping
    methods : tuple of str
        Masks to read besides the readers'; () for all there are.
    extras : bool
        Also read T1w and probability, which no still picture shows.
    """
    from concurrent.futures import ThreadPoolExecutor

    from flairnb.present.case_view import Case

    files = files_of(row)
    header = open_nifti(Path(files["flair"]), "FLAIR")
    # The grid is known before the voxels: nothing has to wait for the FLAIR.
    flair: Any = SimpleNamespace(grid=Grid(header.shape[:3], np.asarray(header.affine, dtype=float)))
    wanted: dict[str, Any] = {"flair": partial(read_image, files["flair"], "FLAIR")}
    for name, path in files.items():
        if name.startswith("mask:") and (not methods or name[5:] in methods or name[5:].startswith("manual")):
            wanted[name] = partial(read_mask, path, like=flair, what=f"{name[5:]} mask")
    if "brain" in files:
        wanted["brain"] = partial(read_mask, files["brain"], like=flair, what="brain mask")
    if extras:
        wanted |= _extras(files, flair)
    # Unpacking is most of the work, and several files can be unpacked at a time.
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(wanted, pool.map(lambda read: read(), wanted.values()), strict=True))
    masks = {name[5:]: found[name] for name in found if name.startswith("mask:")}
    more = found.get("brain"), found.get("t1w"), found.get("probability")
    return Case(
        str(row["case"]), found["flair"], masks, *more, t1w_by_header="xfm" not in files, simulated=bool(row.get("simulated", False))
    )


def add_extras(case: Case, row: Any) -> Case:
    """Return a case that was read without extras with its T1w and its probability."""
    read = {name: get() for name, get in _extras(files_of(row), case.flair).items()}
    return replace(case, t1w=read.get("t1w"), probability=read.get("probability"))


def _extras(files: dict[str, str], flair: Any) -> dict[str, Any]:
    """Return what reads T1w and probability, of those that are there."""
    found: dict[str, Any] = {}
    if "probability" in files:
        found["probability"] = partial(read_probability, files["probability"])
    if "t1w" in files:
        found["t1w"] = partial(t1w_on, flair, files)
    return found


def read_probability(path: str) -> NDArray[np.float32]:
    """Read a probability map; unlike an image it may be 0 everywhere: the network saw no lesion at all."""
    return np.nan_to_num(read_voxels(open_nifti(Path(path), "probability"), Path(path), "probability"))


def files_of(row: Any) -> dict[str, str]:
    """Return where the images of a row lie, by "flair", "t1w", "brain", "probability" and "mask:<method>"."""
    return json.loads(row["files"])


def scores_of(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the Dice (0 to 1) of every mask that was scored: columns `case`, `method` and `dice`."""
    import pandas as pd

    rows = [(row["case"], *pair) for row in cases.to_dict("records") for pair in json.loads(row["scores"]).items()]
    return pd.DataFrame(rows, columns=["case", "method", "dice"])


def hashes_of(row: Any) -> dict[str, str]:
    """Return file name to the first 12 digits of its SHA-256: what exactly was looked at."""
    return {Path(path).name: sha256_file(path)[:12] for path in files_of(row).values()}


def of_folder(folder: Path, data_dir: Path | None = None) -> list[dict[str, Any]]:
    """List the results of `flairnb segment` in a folder and the folders in it, named as in :func:`case_names`.

    Raises
    ------
    MissingDataError
        When there is no result, or a FLAIR is not found: the very file that
        was segmented, where the summary holds its hash.
    """
    if not folder.is_dir():
        raise MissingDataError(f"review: expected 'cohort', 'real' or a folder, found no folder {folder.name!r}. Check its name.")
    summaries = visible_below(folder, f"*{SUMMARY}")
    if not summaries:
        raise MissingDataError(
            f"review: expected results of flairnb segment in {folder.name}/, found no file *{SUMMARY}. Run flairnb segment first."
        )
    rows = []
    for name, path in zip(case_names(folder, summaries), summaries, strict=True):
        summary = read_json(path)
        files = {"flair": str(_flair_of(path.parent, summary, name, data_dir)), **_results(path.parent, stem_of(path))}
        if (t1w := find_flair(path.parent, summary, data_dir, "t1w")) is not None:
            files |= {"t1w": str(t1w), **({"xfm": str(path)} if "flair_to_t1w" in summary["input"] else {})}
        rows.append(_row(name, "", "", files, expected_dice=summary.get("expected_dice"), volume_ml=summary.get("lesion_volume_ml")))
    return rows


def _flair_of(folder: Path, summary: dict[str, Any], case: str, data_dir: Path | None) -> Path:
    found = find_flair(folder, summary, data_dir)
    if found is None:
        raise MissingDataError(
            f"{case}: expected its FLAIR {summary.get('input', {}).get('flair', '')!r} in the folder of the results or the one above, "
            "found none that is the file that was segmented. Set data_dir to the folder that holds it."
        )
    return found


def _results(folder: Path, stem: str) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob(f"{stem}_label-lesion_desc-*_mask.nii.gz")):
        match = _MASK.search(path.name)
        if match:
            found[f"mask:{match.group(1)}"] = str(path)
    for key, name in (("brain", "desc-brain_mask"), ("probability", "label-lesion_desc-unet_probseg")):
        path = folder / f"{stem}_{name}.nii.gz"
        found |= {key: str(path)} if path.is_file() else {}
    xfm = folder / f"{stem}_from-T1w_to-FLAIR_mode-image_xfm.txt"
    return found | ({"xfm": str(xfm)} if xfm.is_file() else {})


def _of_cohort(run: Run | None) -> list[dict[str, Any]]:
    if run is None or not (run.work_dir / "manifest.tsv").is_file():
        raise MissingDataError("review: expected a cohort in the work folder, found none. Run notebook 01 to 05: flairnb run all.")
    scores, simulated = _scores(run), run.settings.cohort.source == "phantom"
    rows = []
    for entry in steps.read_cohort(run).to_dict("records"):
        participant = entry["participant_id"]
        anat = cohort_derivative(run.work_dir, participant, "mask", desc="brain").parent
        files = {"flair": str(steps.data_root(run) / entry["flair"]), **_results(anat, participant)}
        if entry.get("t1w"):
            files["t1w"] = str(steps.data_root(run) / entry["t1w"])
        known = scores.get(participant, {})
        found = _row(participant, entry["diagnosis"], entry["split"], files, **known, expected_dice=_expected(files))
        rows.append(found | {"simulated": simulated})
    return rows


def _scores(run: Run) -> dict[str, dict[str, Any]]:
    import pandas as pd

    path = run.work_dir / "tables" / "scores.tsv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    method = next((name for name in SORTED_BY if (table["method"] == name).any()), None)
    mine = table[(table["method"] == method) & (table["status"] == "ok")].set_index("participant_id")
    wanted = mine[["dice", "volume_error_ml", "predicted_ml"]].rename(columns={"predicted_ml": "volume_ml"})
    return _with_scores(wanted.to_dict("index"), table)


def _with_scores(known: dict[str, dict[str, Any]], table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what is known of each participant with `scores`: the Dice of each method that has one."""
    scored = table[table["status"] == "ok"].dropna(subset=["dice"])
    dice = {name: dict(zip(rows["method"], rows["dice"], strict=True)) for name, rows in scored.groupby("participant_id")}
    return {name: {**known.get(name, {}), "scores": dice.get(name, {})} for name in {**known, **dice}}


def _of_real(run: Run | None) -> list[dict[str, Any]]:
    from flairnb.report import real

    if run is None:
        raise MissingDataError("review: real patients need a run; call flairnb.start first.")
    path = run.work_dir / "tables" / "real_cases.tsv"
    scores = {}
    if path.is_file():
        table = run.table("tables/real_cases.tsv")
        scores = _with_scores(table[table["method"] == real.SHIPPED].set_index("participant_id").to_dict("index"), table)
    rows = []
    for case in real.find_cases(run).to_dict("records"):
        name = case["participant_id"]
        files = {"flair": case["flair"], **{key: case[key] for key in ("t1w",) if case[key]}}
        files |= {"mask:manual": case["reference_mask"]} if case["reference_mask"] else {}
        files |= _results(run.work_dir / "real", f"sub-{name}")
        known = scores.get(name, {})
        error = float(known.get("predicted_ml", np.nan)) - float(known.get("reference_ml", np.nan))
        values = {key: known.get(key) for key in ("dice", "expected_dice", "scores")} | {"volume_ml": known.get("predicted_ml")}
        rows.append(_row(name, case["family"], "validation", files, volume_error_ml=error, **values))
    return rows


def _expected(files: dict[str, str]) -> float:
    """Return the expected Dice of a run's own map and mask, NaN where there is none."""
    from flairnb.network.confidence import expected_dice

    if "probability" not in files or "mask:unet" not in files:
        return float("nan")
    return expected_dice(read_probability(files["probability"]), read_mask(files["mask:unet"]))


def _row(case: str, diagnosis: str, split: str, files: dict[str, str], **values: Any) -> dict[str, Any]:
    numbers = {name: _number(values.get(name)) for name in ("dice", "expected_dice", "volume_error_ml", "volume_ml")}
    ordered = sorted(files.items(), key=lambda item: (not item[0].startswith("mask:manual"), item[0]))
    scores = {method: float(dice) for method, dice in (values.get("scores") or {}).items()}
    return {
        "case": case, "diagnosis": diagnosis, "split": split, **numbers, "files": json.dumps(dict(ordered)), "scores": json.dumps(scores),
    }  # fmt: skip


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def t1w_on(flair: Any, files: dict[str, str]) -> NDArray[np.float32]:
    """Return the T1w on the FLAIR's grid, by the registration that was kept with the results.

    Parameters
    ----------
    flair : Image
        Only its `grid` counts.
    files : mapping
        "t1w", and "xfm": an ITK transform, or the summary of `flairnb segment`
        that holds one. Without it by what both headers say, which is wrong by
        as much as the patient moved.
    """
    from flairnb.prepare.bridge import read_xfm
    from flairnb.resampling import resample

    t1w, xfm = read_image(files["t1w"], "T1w"), files.get("xfm", "")
    world = None
    if xfm:
        world = np.array(read_json(xfm)["input"]["flair_to_t1w"]) if xfm.endswith(".json") else read_xfm(xfm)
    return resample(t1w.data, t1w.affine, flair.grid, world=world)
