"""Real patients: what data_manifest/ declares and is on disk, segmented and scored.

The tables ``data_manifest/public*.tsv`` list the examinations; images lie where
`flairnb fetch` put them. Nothing here is used for training: these are the
cases by which the shipped network was chosen.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.images import read_image, read_mask
from flairnb.provenance import atomic_path
from flairnb.report import real_trust
from flairnb.report.chapters import repository_root

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.network.weights import Network
    from flairnb.present.contact_sheet import SheetCase
    from flairnb.report.start import Run

logger = logging.getLogger(__name__)

#: Diagnosis to the family of disease that results are summed up by.
FAMILIES = {"MSI": "MS", "MSA": "MS", "MST": "MS", "SVID": "small-vessel disease", "HGG": "glioma", "LGG": "glioma", "HEALTHY": "healthy"}
#: The committed result of this notebook, by which README and model card speak.
PUBLISHED = "reports/robust/real_cases.tsv"
SHIPPED = "shipped"
COLUMNS = (
    "participant_id", "family", "method", "status", "reason", "dice", "lesion_f1", "sensitivity", "ppv",
    "reference_ml", "predicted_ml", "expected_dice", "seconds", "weights_sha256",
)  # fmt: skip


def find_cases(run: Run) -> pd.DataFrame:
    """Return the declared examinations whose FLAIR is on disk.

    Returns
    -------
    DataFrame
        participant_id (without ``sub-``: pages tell simulated people by it), family, and flair, t1w, reference_mask as paths ("" for
        none); no rows where nothing was fetched.
    """
    import pandas as pd

    root = data_folder(run)
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
    """Return where fetched data lie: the run's `data_dir`, else `flairnb fetch`'s folder."""
    from flairnb.cohort.fetch import default_data_dir

    return run.data_dir or (repository_root() / default_data_dir())


def segment_cases(run: Run, cases: pd.DataFrame) -> pd.DataFrame:
    """Segment real cases by the shipped network and, where a run fitted them, by the comparison methods; score all.

    Masks are kept in ``real/`` of the work folder, never in the report.

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
    trust: list[pd.DataFrame] = []
    for case in cases.to_dict("records"):
        try:
            rows += _one_case(run, case, network, trust)
        except (FlairnbError, OSError) as error:
            logger.warning("%s: %s", case["participant_id"], type(error).__name__)
            rows.append({**_names(case, SHIPPED), "status": "failed", "reason": str(error)})
    if trust:
        run.save(pd.concat(trust, ignore_index=True), real_trust.TABLE)
    return run.save(pd.DataFrame(rows, columns=list(COLUMNS)), "tables/real_cases.tsv")


def _one_case(run: Run, case: dict[str, str], network: Network, trust: list[pd.DataFrame]) -> list[dict[str, Any]]:
    from flairnb.provenance import StageTimer
    from flairnb.report.patient import segment_image, settings_for
    from flairnb.report.real_baselines import segment_with_baselines

    flair = read_image(case["flair"], "FLAIR")
    t1w = read_image(case["t1w"], "T1w") if case["t1w"] else None
    reference = read_mask(case["reference_mask"], like=flair, what="reference mask") if case["reference_mask"] else None
    timer = StageTimer()
    prepare, infer = settings_for(network, None)
    prepared, found = segment_image(flair, network, prepare, infer, timer=timer, threads=run.jobs, t1w=t1w)
    _keep_for_review(run, case["participant_id"], prepared, found)
    results = {SHIPPED: found}
    if (fitted := fitted_in(run)) is not None:
        results |= segment_with_baselines(fitted, _prepared_coarse(flair, prepared.brain_native), t1w)
    if reference is not None:
        trust.append(real_trust.reliability_rows(case["participant_id"], found, reference, network))
    rows = []
    for method, segmentation in results.items():
        _keep_mask(run, case["participant_id"], method, segmentation.mask, flair)
        scores = _scores(reference, segmentation.mask, flair)
        extra = {"expected_dice": segmentation.expected_dice, "seconds": round(sum(timer.seconds.values()), 1)} if method == SHIPPED else {}
        weights = {"weights_sha256": network.sha256} if method == SHIPPED else {}
        rows.append({**_names(case, method), "status": "ok", "reason": "", **scores, **extra, **weights})
    return rows


def fitted_in(run: Run) -> Path | None:
    """Return the work folder whose comparison methods to use: the run's own, else the demo's."""
    folders = (run.work_dir, run.work_dir.parent / "demo")
    return next((folder for folder in folders if (folder / "models/baselines/fit.json").is_file()), None)


def _prepared_coarse(flair: Any, brain: Any) -> Any:
    """Prepare at the demo's voxel size, at which the comparison methods were fitted."""
    from flairnb.prepare.case import prepare_case
    from flairnb.settings import load

    return prepare_case(flair, brain_mask=brain, settings=load("demo").prepare)


def _scores(reference: Any, mask: Any, flair: Any) -> dict[str, Any]:
    from flairnb.evaluate.metrics import score_masks

    predicted_ml = float(np.count_nonzero(mask)) * flair.voxel_volume_ml
    if reference is None:
        return {"predicted_ml": predicted_ml, "reference_ml": 0.0}
    scores = score_masks(reference, mask, flair.spacing_mm).as_dict()
    return {name: scores[name] for name in ("dice", "lesion_f1", "sensitivity", "ppv", "reference_ml", "predicted_ml")}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the median Dice by method and family, with the lowest and the number of cases."""
    good = table[(table["status"] == "ok") & table["dice"].notna()]
    groups = good.groupby(["method", "family"], sort=False)["dice"]
    return groups.agg(cases="size", dice_median="median", dice_lowest="min").round(3).reset_index()


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case: reference volume, each method's Dice, the shipped network's volume and expected Dice."""
    good = table[table["status"] == "ok"]
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
    real_trust.publish(run)
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
