"""Real patients: what data_manifest/ declares and is on disk, segmented and scored.

The tables ``data_manifest/public*.tsv`` list the examinations; images lie where
`flairnb fetch` put them. Nothing here is used for training: these are the
cases by which the shipped network was chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.images import read_image, read_mask
from flairnb.provenance import atomic_path
from flairnb.report import real_errors, real_grid, real_kept, real_trust
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.present.contact_sheet import SheetCase
    from flairnb.report.patient import Segmentation
    from flairnb.report.start import Run

logger = logging.getLogger(__name__)

#: Diagnosis to the family of disease that results are summed up by.
FAMILIES = {"MSI": "MS", "MSA": "MS", "MST": "MS", "SVID": "small-vessel disease", "HGG": "glioma", "LGG": "glioma", "HEALTHY": "healthy"}
#: The committed result of this notebook, by which README and model card speak.
PUBLISHED = "reports/robust/real_cases.tsv"
SHIPPED = "shipped"
#: Voxel sizes at which comparison methods are applied to real patients: the one they were fitted at, and the network's.
BASELINES_MM = (2.0, 1.0)
COLUMNS = (
    "participant_id", "family", "method", "status", "reason", "dice", "lesion_f1", "sensitivity", "ppv",
    "reference_ml", "predicted_ml", "expected_dice", "seconds", "weights_sha256", "voxel_mm",
)  # fmt: skip


def find_cases(run: Run) -> pd.DataFrame:
    """Return the declared examinations whose FLAIR is on disk.

    Returns
    -------
    DataFrame
        participant_id (without ``sub-``: pages tell simulated people by it), family, and flair, t1w, reference_mask as paths ("" for
        none); no rows where nothing was fetched.
    """
    return cases_below(data_folder(run))


def cases_below(root: Path) -> pd.DataFrame:
    """Return the declared examinations whose FLAIR is below a folder, as `find_cases` does."""
    import pandas as pd

    tables = [pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in sorted(_manifests())]
    table = pd.concat(tables, ignore_index=True)
    rows = []
    for row in table.itertuples():
        if (root / row.flair).is_file():
            paths = {name: _there(root, getattr(row, name)) for name in ("flair", "t1w", "reference_mask")}
            rows.append(
                {"participant_id": row.participant_id.removeprefix("sub-"), "family": FAMILIES.get(row.diagnosis, row.diagnosis), **paths}
            )
    return pd.DataFrame(rows, columns=["participant_id", "family", "flair", "t1w", "reference_mask"])


def data_folder(run: Run) -> Path:
    """Return where fetched data lie: the run's `data_dir` if declared examinations lie there, else `flairnb fetch`'s folder.

    The `data_dir` of a hospital's cohort is that of its table.
    """
    from flairnb.cohort.fetch import default_data_dir

    if run.data_dir is not None and any((run.data_dir / name).is_file() for name in _declared()["flair"]):
        return run.data_dir
    return repository_root() / default_data_dir()


def segment_cases(run: Run, cases: pd.DataFrame, baselines_mm: Sequence[float] = BASELINES_MM) -> pd.DataFrame:
    """Segment real cases by the shipped network and, where a run fitted them, by the comparison methods; score all.

    Masks are kept in ``real/`` of the work folder, never in the report; the
    tables of :mod:`flairnb.report.real_kept` stand beside the scores.

    Parameters
    ----------
    run : Run
    cases : DataFrame
        Of `find_cases`.
    baselines_mm : sequence of float
        Edges of the voxels that the comparison methods work on; at the first
        one they keep their names, at another one it is added
        (`at_another_size`). What they learnt (at the demo's 2 mm) are
        intensities, places in MNI space and beliefs, applied as they are;
        their distances and smallest volumes are in mm and ml. Only neighbours
        (the six or 26 around a voxel) and the rounds of growing (at most 50, a
        voxel each) are counted in voxels, as the methods' authors do it on
        voxels of about 1 mm.

    Returns
    -------
    DataFrame
        One row a case and method, columns `COLUMNS`. A healthy case has
        volumes only. A case that fails is a row with its reason.
    """
    import pandas as pd

    from flairnb.network.onednn import configure
    from flairnb.network.weights import default_weights, load_network

    configure(run.jobs)
    network = load_network(default_weights(run.work_dir.parent))
    rows: list[dict[str, Any]] = []
    kept: dict[str, list[pd.DataFrame]] = {}
    for case in cases.to_dict("records"):
        try:
            rows += _one_case(run, case, network, kept, baselines_mm)
        except (FlairnbError, OSError) as error:
            logger.warning("%s: %s", case["participant_id"], type(error).__name__)
            rows.append({**_names(case, SHIPPED), "status": "failed", "reason": str(error)})
    for name, parts in kept.items():
        run.save(pd.concat(parts, ignore_index=True), name)
    return run.save(pd.DataFrame(rows, columns=list(COLUMNS)), "tables/real_cases.tsv")


def _one_case(
    run: Run, case: dict[str, str], network: Network, kept: dict[str, list[pd.DataFrame]], baselines_mm: Sequence[float]
) -> list[dict[str, Any]]:
    from flairnb.provenance import StageTimer
    from flairnb.report.patient import segment_image, settings_for

    flair = read_image(case["flair"], "FLAIR")
    t1w = read_image(case["t1w"], "T1w") if case["t1w"] else None
    reference = read_mask(case["reference_mask"], like=flair, what="reference mask") if case["reference_mask"] else None
    timer = StageTimer()
    prepare, infer = settings_for(network, None)
    prepared, found = segment_image(flair, network, prepare, infer, timer=timer, threads=run.jobs, t1w=t1w)
    _keep_for_review(run, case["participant_id"], prepared, found)
    results = {SHIPPED: (network.spacing_mm, found), **_by_others(run, prepared, t1w, baselines_mm)}
    for name, part in _beside_the_scores(case, found, reference, flair, network, baselines_mm).items():
        kept.setdefault(name, []).append(part)
    rows = []
    for method, (edge, segmentation) in results.items():
        if method == plain_name(method):
            _keep_mask(run, case["participant_id"], method, segmentation.mask, flair)
        scores = _scores(reference, segmentation.mask, flair)
        extra = {"expected_dice": segmentation.expected_dice, "seconds": round(sum(timer.seconds.values()), 1)} if method == SHIPPED else {}
        weights = {"weights_sha256": network.sha256} if method == SHIPPED else {}
        rows.append({**_names(case, method), "status": "ok", "reason": "", **scores, **extra, **weights, "voxel_mm": edge})
    return rows


def _beside_the_scores(
    case: dict[str, str], found: Any, reference: Any, flair: Any, network: Network, baselines_mm: Sequence[float]
) -> dict[str, pd.DataFrame]:
    """Return what one case adds to the tables of `flairnb.report.real_kept`."""
    import pandas as pd

    errors = real_errors.error_rows(case, found, reference, flair.affine)
    parts = {real_kept.ERRORS: pd.DataFrame(errors, columns=list(real_errors.COLUMNS))} if errors else {}
    if reference is not None:
        parts[real_kept.RELIABILITY] = real_trust.reliability_rows(case["participant_id"], found, reference, network)
        sizes = (network.spacing_mm, *baselines_mm)
        parts[real_kept.GRID] = pd.DataFrame(real_grid.grid_rows(case, reference, flair, sizes), columns=list(real_grid.COLUMNS))
    return parts


def fitted_in(run: Run) -> Path | None:
    """Return the work folder whose comparison methods to use: the run's own, else the demo's."""
    folders = (run.work_dir, run.work_dir.parent / "demo")
    return next((folder for folder in folders if (folder / "models/baselines/fit.json").is_file()), None)


def _by_others(run: Run, prepared: PreparedCase, t1w: Any, baselines_mm: Sequence[float]) -> dict[str, tuple[float, Segmentation]]:
    """Return what the comparison methods find at each voxel size, and that size; nothing where none was fitted."""
    from flairnb.report.real_baselines import segment_with_baselines

    fitted, found = fitted_in(run), {}
    for edge in baselines_mm if fitted is not None else ():
        by_name = segment_with_baselines(fitted, prepared_at(prepared, edge), t1w)
        found |= {name if edge == baselines_mm[0] else at_another_size(name, edge): (edge, mask) for name, mask in by_name.items()}
    return found


def at_another_size(method: str, voxel_mm: float) -> str:
    """Return the name of a comparison method at another voxel size than the first.

    Examples
    --------
    >>> at_another_size("lpa", 1.0), plain_name("lpa (1 mm)"), plain_name("lpa")
    ('lpa (1 mm)', 'lpa', 'lpa')
    """
    return f"{method} ({voxel_mm:g} mm)"


def plain_name(method: str) -> str:
    """Return a method's name without its voxel size."""
    return method.split(" (")[0]


def prepared_at(prepared: PreparedCase, voxel_mm: float) -> PreparedCase:
    """Return a prepared case on a work grid of another voxel size, with the same brain mask and without a registration of the T1w.

    So that the comparison methods register it inside the brain, alike at all sizes.
    """
    from flairnb.prepare.case import prepare_case
    from flairnb.settings import load

    settings = replace(load("demo").prepare, spacing_mm=voxel_mm)
    return prepare_case(prepared.flair, brain_mask=prepared.brain_native, settings=settings, doubt_mask=False)


def _scores(reference: Any, mask: Any, flair: Any) -> dict[str, Any]:
    from flairnb.evaluate.metrics import score_masks

    predicted_ml = float(np.count_nonzero(mask)) * flair.voxel_volume_ml
    if reference is None:
        return {"predicted_ml": predicted_ml, "reference_ml": 0.0}
    scores = score_masks(reference, mask, flair.affine).as_dict()
    return {name: scores[name] for name in ("dice", "lesion_f1", "sensitivity", "ppv", "reference_ml", "predicted_ml")}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the median Dice by method and family, with the lowest and the number of cases."""
    good = table[(table["status"] == "ok") & table["dice"].notna()]
    groups = good.groupby(["method", "family"], sort=False)["dice"]
    return groups.agg(cases="size", dice_median="median", dice_lowest="min").round(3).reset_index()


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case: reference volume, each method's Dice, the shipped network's volume and expected Dice.

    Comparison methods at the first voxel size only; :func:`flairnb.report.real_grid.beside_others` has the others.
    """
    good = table[(table["status"] == "ok") & (table["method"] == table["method"].map(plain_name))]
    dice = good.pivot_table(index=["family", "participant_id"], columns="method", values="dice", sort=False, dropna=False)
    shipped = good[good["method"] == SHIPPED].set_index(["family", "participant_id"])
    first = shipped[["reference_ml", "predicted_ml", "expected_dice"]].round(2)
    order = [SHIPPED, *[name for name in dice.columns if name != SHIPPED]]
    return first.join(dice[[name for name in order if name in dice.columns]].round(3)).reset_index()


def publish(run: Run, table: pd.DataFrame) -> bool:
    """Write the committed table, if it is the shipped network's on every declared case.

    Returns
    -------
    bool
        Whether it was written; a run that lacks some of the data, masks included, leaves the committed one alone.

    Notes
    -----
    Comparison methods that this run had no fit for keep the rows that are committed: they do not depend on the weights.
    """
    from flairnb.network.weights import shipped_names

    declared = _declared()
    mine = table[(table["method"] == SHIPPED) & (table["status"] == "ok")]
    scored = set(mine.loc[mine["dice"].notna(), "participant_id"])
    complete = _names_of(declared) <= set(mine["participant_id"]) and declared_with_masks() <= scored
    if run.settings.profile != "public" or not complete or not shipped_names():
        return False
    target = repository_root() / PUBLISHED
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        with_committed_methods(table, published()).round(4).to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    real_kept.publish(run)
    return True


def declared_with_masks() -> set[str]:
    """Return the declared participants (without ``sub-``) that have a reader's mask."""
    declared = _declared()
    return _names_of(declared[declared["reference_mask"].fillna("") != ""])


def _declared() -> pd.DataFrame:
    import pandas as pd

    return pd.concat([pd.read_csv(path, sep="\t", dtype=str) for path in _manifests()])


def _names_of(declared: pd.DataFrame) -> set[str]:
    return set(declared["participant_id"].str.removeprefix("sub-"))


def with_committed_methods(table: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """Add the committed rows of comparison methods that a table has none of, each after its patient's other rows."""
    import pandas as pd

    missing = committed[~committed["method"].isin(table["method"])]
    order = {name: number for number, name in enumerate(dict.fromkeys(table["participant_id"]))}
    both = pd.concat([table, missing[missing["participant_id"].isin(order)]], ignore_index=True) if len(missing) else table
    return both.sort_values("participant_id", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)


def published() -> pd.DataFrame:
    """Return the committed table; empty where none was committed."""
    import pandas as pd

    path = repository_root() / PUBLISHED
    return pd.read_csv(path, sep="\t", na_values=["n/a"]) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))


def best_median_worst(run: Run, cases: pd.DataFrame, table: pd.DataFrame) -> Figure | None:
    """Draw the cases of best, median and worst Dice of the shipped network with the reader's and its own outline."""
    from flairnb.present.contact_sheet import comparison_sheet

    mine = table[(table["method"] == SHIPPED) & table["dice"].notna()].sort_values("dice", ascending=False)
    if mine.empty:
        return None
    picks = list(dict.fromkeys([mine.index[0], mine.index[len(mine) // 2], mine.index[-1]]))
    by_name = cases.set_index("participant_id")
    sheets = [_sheet(run, by_name.loc[mine.loc[at, "participant_id"]], float(mine.loc[at, "dice"])) for at in picks]
    return comparison_sheet(sheets, ["manual", "unet"], "Best, median and worst real case of the shipped network")


def _sheet(run: Run, row: pd.Series, dice: float) -> SheetCase:
    from flairnb.present.contact_sheet import SheetCase

    flair = read_image(row["flair"], "FLAIR")
    masks = {
        "manual": read_mask(row["reference_mask"], like=flair, what="reference mask"),
        "unet": read_mask(_mask_path(run, str(row.name), SHIPPED), like=flair, what="mask"),
    }
    return SheetCase(f"{row['family']}, Dice {dice:.2f}", replace(flair, header=None), masks)


def numbers(table: pd.DataFrame) -> dict[str, Any]:
    """Return notebook 13's numbers: real cases, and the shipped network's median Dice by family."""
    mine = summarise(table[table["method"] == SHIPPED])
    medians = {f"real_dice_{row.family.split()[0].lower()}": float(row.dice_median) for row in mine.itertuples()}
    return {"real_cases": int(mine["cases"].sum()), **medians}


def _manifests() -> list[Path]:
    return sorted((repository_root() / "data_manifest").glob("public*.tsv"))


def _there(root: Path, name: str) -> str:
    return str(root / name) if name and (root / name).is_file() else ""


def _names(case: dict[str, str], method: str) -> dict[str, str]:
    return {"participant_id": case["participant_id"], "family": case["family"], "method": method}


def _mask_path(run: Run, participant: str, method: str) -> Path:
    return run.path(f"real/sub-{participant}_label-lesion_desc-{method}_mask.nii.gz")


def _keep_for_review(run: Run, participant: str, prepared: Any, found: Any) -> None:
    """Keep brain, probability and registration, so that notebook 10 can show the case with T1w and in 3D."""
    from flairnb.images import write_image
    from flairnb.naming import derivative_path
    from flairnb.prepare.bridge import write_xfm
    from flairnb.provenance import write_sidecar

    flair, folder, stem = prepared.flair, _mask_path(run, participant, SHIPPED).parent, f"sub-{participant}"
    sources = [flair.path] if flair.path else []
    brain = write_image(derivative_path(folder, stem, "mask", desc="brain"), prepared.brain_native, flair, np.uint8)
    probability = derivative_path(folder, stem, "probseg", label="lesion", desc="unet")
    written = [brain, write_image(probability, found.probability, flair, np.float32)]
    if prepared.t1w_xfm is not None:
        written.append(write_xfm(folder / f"{stem}_from-T1w_to-FLAIR_mode-image_xfm.txt", prepared.t1w_xfm))
    for path in written:
        write_sidecar(path, sources, extra={"Method": SHIPPED})


def _keep_mask(run: Run, participant: str, method: str, mask: Any, flair: Any) -> None:
    from flairnb.images import write_image
    from flairnb.provenance import write_sidecar

    path = write_image(_mask_path(run, participant, method), mask, flair, np.uint8)
    write_sidecar(path, [flair.path] if flair.path else [], extra={"Method": method})
