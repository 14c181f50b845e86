"""Chapter 12: the paper says, we get. Its numbers against each other, its open words, what its tests could find."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.report import steps
from flairnb.report.ledger import paper_values_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.readings import Influence
    from flairnb.report.start import Run

#: Edge of the patch on which the readings of the dilation are compared, in voxels: the article's, or the profile's if smaller.
LARGEST_PATCH = 96


def checks() -> pd.DataFrame:
    """Return the article's numbers checked against each other."""
    from flairnb.evaluate.consistency import checks as of
    from flairnb.evaluate.ledger import read_paper_values

    return of(read_paper_values(paper_values_file()))


def volume_question(run: Run) -> pd.DataFrame:
    """Return the printed volume errors beside what Table 2 implies, and ours by the standard formula."""
    from flairnb.evaluate.consistency import volume_errors
    from flairnb.evaluate.ledger import read_paper_values
    from flairnb.present.tables import BESIDE

    table = volume_errors(read_paper_values(paper_values_file()))
    ours = run.table("tables/volumes.tsv").set_index("method")["rmdspe_percent"]
    beside = {theirs: method for method, theirs in reversed(BESIDE.items())}
    table["our_method"] = table["method"].map(beside)
    table["our_percent"] = table["our_method"].map(ours)
    return table


def power_table() -> pd.DataFrame:
    """Return what a paired t test can find at the article's numbers of cases.

    Returns
    -------
    DataFrame
        `n`, `where`, `detectable` (difference in SD, P < .05, 80% power), `detectable_corrected` (P < .05 over 19
        diseases), `power_large` (power for a difference of 0.8 SD, which is called large).
    """
    import pandas as pd

    from flairnb.evaluate.power import detectable_dz, power_paired_t

    where = ((2, "Susac syndrome"), (5, "every other disease"), (16, "heterogeneous cases"), (92, "all validation cases"))
    rows = [(n, text, detectable_dz(n), detectable_dz(n, 0.05 / 19), power_paired_t(0.8, n)) for n, text in where]
    return pd.DataFrame(rows, columns=["n", "where", "detectable", "detectable_corrected", "power_large"])


def power_chart() -> Figure:
    """Draw what a paired t test can find over the number of cases."""
    import pandas as pd

    from flairnb.evaluate.power import detectable_dz
    from flairnb.present.charts_audit import detectable_effect

    levels = (("P < .05", 0.05), ("P < .05 over 19 diseases", 0.05 / 19))
    counts = (2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 92)
    rows = [(n, name, detectable_dz(n, alpha)) for name, alpha in levels for n in counts]
    curves = pd.DataFrame(rows, columns=["n", "level", "detectable"])
    return detectable_effect(curves, [(2, "Susac"), (5, "a disease"), (92, "all cases")])


def dilations(run: Run) -> list[Influence]:
    """Find what the centre of the output sees, for each reading of the dilation."""
    from flairnb.network.onednn import configure
    from flairnb.report.quiet import quiet_stderr
    from flairnb.report.readings import DILATIONS, influence

    with quiet_stderr():
        configure(run.jobs)
        patch = min(LARGEST_PATCH, 2 * run.settings.train.patch)
        return [one for dilation in DILATIONS for one in influence(run.settings.network, dilation, patch)]


def dilation_maps(found: list[Influence]) -> Figure:
    """Draw the plane through the middle voxel for each reading, for the literal one at an even and an odd voxel."""
    from flairnb.present.charts_audit import influence_maps

    names = {"none": "no dilation", "stride1_only": "stride-1 layers only", "literal": "all layers, literally"}
    shown = {f"{names[one.dilation]},\n{'odd' if one.odd else 'even'} voxel": one for one in found if one.odd or one.dilation == "literal"}
    planes = {name: one.mask[:, :, one.voxel[2]] for name, one in shown.items()}
    return influence_maps(planes, {name: one.voxel[:2] for name, one in shown.items()})


def dilation_table(run: Run, found: list[Influence]) -> pd.DataFrame:
    """Return parameters, arithmetic and reach of the readings."""
    from flairnb.report.readings import dilation_table as of

    return of(run.settings.network, found)


def widths() -> pd.DataFrame:
    """Return what the width of the network costs in training as published, whatever this run's profile."""
    from flairnb.report.readings import width_table
    from flairnb.settings import load

    published = load("paper")
    return width_table(published.network, published.train, 295)


def choices_chart(table: pd.DataFrame, line: str = "participant_id") -> Figure:
    """Draw the ablations in one row; lines join the values of one participant (or seed)."""
    from flairnb.present.charts_audit import choices

    return choices(table, line=line)


def numbers(run: Run, found: list[Influence], ablation: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers: the audit's, and what the ledger needs of cohort, settings and network."""
    table = checks()
    power = power_table().set_index("n")
    cost = widths().set_index("width")
    result: dict[str, Any] = {
        "checks": len(table),
        "checks_failed": int((~table["agrees"]).sum()),
        "detectable_sd_at_5": power.loc[5, "detectable"],
        "detectable_sd_at_5_corrected": power.loc[5, "detectable_corrected"],
        "gib_outputs_width_16": cost.loc[16, "gib_outputs"],
        "gib_outputs_width_32": cost.loc[32, "gib_outputs"],
    }
    result |= {f"seen_{one.dilation}_{'odd' if one.odd else 'even'}": one.share_of_patch for one in found}
    for row in ablation.itertuples():
        if row.choice != "as run":
            result[f"change_{_slug(row.ablation)}_{_slug(row.choice)}"] = float(row.change)
    return result | cohort_numbers(run) | setting_numbers(run) | prepared_numbers(run)


def cohort_numbers(run: Run) -> dict[str, Any]:
    """Return the cohort's counts and Table 1, number by number, as the ledger names them; NaN for what no row of it gives."""
    from flairnb.cohort.table1 import count_given

    cohort = steps.read_cohort(run)
    diseased = cohort[cohort["diagnosis"] != "HEALTHY"]
    trained = diseased[diseased["split"] == "train"]
    scanners = cohort["scanner"].replace("", np.nan) if "scanner" in cohort else cohort["model"]
    result = {
        "cohort_female": count_given(cohort["sex"], cohort["sex"] == "F"),
        "cohort_male": count_given(cohort["sex"], cohort["sex"] == "M"),
        "cohort_age_lowest": cohort["age"].min(),
        "cohort_age_highest": cohort["age"].max(),
        "cohort_age_median": cohort["age"].median(),
        "cohort_examinations": len(cohort) / cohort["participant_id"].nunique(),
        "cohort_sequences": 1 + int((cohort["t1w"].fillna("") != "").all()),
        "cohort_diagnoses": int(diseased["diagnosis"].nunique()),
        "cohort_healthy": int((cohort["diagnosis"] == "HEALTHY").sum()),
        "cohort_scanners": int(scanners.nunique()) or np.nan,
        "cohort_models": int(cohort["model"].replace("", np.nan).nunique()) or np.nan,
        "training_per_diagnosis": len(trained) / max(1, trained["diagnosis"].nunique()),
    }
    return result | _table1_numbers(cohort)


def _table1_numbers(cohort: pd.DataFrame) -> dict[str, float]:
    from flairnb.cohort.table1 import table1

    result: dict[str, float] = {}
    for row in table1(cohort).iloc[1:].itertuples():
        kind = {"TE (ms)": "te_", "TR (ms)": "tr_"}.get(row.section, "")
        if "not in the article" in row.section:
            continue
        for sample in ("training", "validation"):
            count, percent = _cell(getattr(row, sample))
            result[f"table1_{kind}{_slug(row.summary)}_{sample}"] = count
            if not kind:
                result[f"table1_{kind}{_slug(row.summary)}_{sample}_percent"] = percent
    return result


def _cell(text: str) -> tuple[float, float]:
    """Return count and percentage of a cell such as "1,234 (5.6%)"; "0" stands for both where nobody is in the sample, "-" for NaN."""
    found = re.fullmatch(r"([\d,.]+)(?: \(([\d.]+)%\))?", text)
    if not found:
        return float("nan"), float("nan")
    return float(found[1].replace(",", "")), float(found[2] or 0.0)


def setting_numbers(run: Run) -> dict[str, Any]:
    """Return this run's settings that the article prints a value for."""
    s = run.settings
    edge = s.prepare.spacing_mm
    cases = len(steps.prepared_ids(run, "train"))
    return {
        "setting_cohort_validation_per_disease": s.cohort.validation_per_disease,
        "setting_prepare_voxel_mm3": edge**3,
        "setting_train_patch_mm": s.train.patch * edge,
        "setting_train_patches_per_case": s.train.patches_per_case,
        "setting_train_augmentations": s.train.augmentations,
        "setting_train_patches_augmented": s.train.patches_per_case * s.train.augmentations,
        "setting_train_lesion_fraction": s.train.lesion_fraction,
        "setting_train_batch": s.train.batch,
        "setting_train_learning_rate": s.train.learning_rate,
        "setting_train_epochs": s.train.epochs,
        "setting_infer_step_mm": s.infer.step * edge,
        "setting_infer_overlap_mm": (s.infer.patch - s.infer.step) * edge,
        "setting_network_levels": s.network.levels,
        "setting_network_kernel": s.network.kernel,
        "setting_network_head_convolutions": s.network.head_convolutions,
        "training_patches": cases * s.train.patches_per_case * s.train.augmentations,
    }


def prepared_numbers(run: Run) -> dict[str, Any]:
    """Return mean and SD of a prepared brain, and stride, dilation and match of the network as it is built."""
    from flairnb.network.unet import build_unet
    from flairnb.prepare.cohort import read_prepared
    from flairnb.report.readings import built_facts

    case = read_prepared(run.work_dir, steps.prepared_ids(run, "validation")[0])
    inside = case.work[case.work_brain]
    facts = built_facts(build_unet(run.settings.network))
    prepared = {"prepared_mean": round(float(inside.mean()), 4) + 0.0, "prepared_sd": round(float(inside.std()), 4)}
    return prepared | {f"network_{name}": value for name, value in facts.items()}


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "_", text.lower().replace("+", "plus ").replace("-", "minus " if text.startswith("-") else " ")).strip("_")
