"""Fabricated scores of a cohort like the article's: 92 cases, 19 diseases, 16 scanner models, several methods.

Made from the article's roster without any image, so that statistics and figures can be looked at in a second. No number
of it means anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from flairnb.cohort.roster import draw_full_roster
from flairnb.evaluate.cohort import CASE_COLUMNS

#: How much of the reachable Dice a method gets, its noise, the slope of its volumes.
METHODS = {
    "manual2": (0.97, 0.04, 0.99),
    "unet": (0.90, 0.06, 0.96),
    "lga": (0.68, 0.12, 0.5),
    "lga03": (0.6, 0.12, 0.45),
    "lpa": (0.66, 0.12, 0.6),
    "bianca": (0.5, 0.13, 0.3),
    "threshold": (0.35, 0.15, 0.8),
}
SIZE_ML = {"MSI": 0.3, "MSA": 0.5, "MIGRAINE": 0.1, "SUSAC": 0.12, "NMO": 0.6, "HGG": 40, "LGG": 20, "CNSL": 15, "PML": 8, "METS": 6}


@dataclass(frozen=True)
class Fabricated:
    """`manifest`: 387 subjects; `scores` and `lesions`: of the 92 validation cases."""

    manifest: pd.DataFrame
    scores: pd.DataFrame
    lesions: pd.DataFrame


def fabricate(seed: int = 7, methods: tuple[str, ...] = tuple(METHODS)) -> Fabricated:
    """Fabricate a cohort's scores; the same for the same seed."""
    rng = np.random.default_rng(seed)
    manifest = draw_full_roster(seed)
    validation = manifest[manifest["split"] == "validation"]
    scores, lesions = [], []
    for row in validation.to_dict("records"):
        sizes = SIZE_ML.get(row["diagnosis"], 2.0) * rng.lognormal(0, 0.7, rng.integers(1, 9))
        reachable = np.clip(0.86 + 0.07 * np.log10(sizes.mean()) - 0.02 * (sizes.mean() < 0.3), 0.2, 0.97)
        reachable = np.clip(reachable + rng.normal(0, 0.09), 0.05, 0.97)
        case = {name: row[name] for name in ("participant_id", *CASE_COLUMNS)}
        reference = {"participant_id": row["participant_id"], "method": "manual"}
        found = {}
        for method in methods:
            share, noise, slope = METHODS[method]
            dice = float(np.clip(reachable * share + rng.normal(0, noise), 0.01, 0.97))
            predicted = float(sizes.sum() ** (0.5 + slope / 2) * rng.lognormal(0, 2 * noise))
            overlap = dice * (predicted + sizes.sum()) / 2
            overlap = min(overlap, predicted, sizes.sum())
            ppv, sensitivity = overlap / predicted, overlap / sizes.sum()
            error = (predicted - sizes.sum()) / sizes.sum()
            values = {
                "dice": dice,
                "sensitivity": sensitivity,
                "specificity": 1 - (predicted - overlap) / 1400,
                "ppv": ppv,
                "npv": 1 - (sizes.sum() - overlap) / 1400,
                "false_discovery_rate": 1 - ppv,
                "lesion_recall": np.sqrt(sensitivity),
                "lesion_precision": np.sqrt(ppv),
                "lesion_f1": dice**0.7,
                "hd95_mm": 20 * (1 - dice),
                "reference_ml": sizes.sum(),
                "predicted_ml": predicted,
                "volume_error_ml": predicted - sizes.sum(),
                "volume_error_fraction": error,
                "absolute_volume_error_fraction": abs(error),
            }
            scores.append({**case, "method": method, "status": "ok", "reason": "", **values, "empty": "neither"})
            found[method] = rng.random(len(sizes)) < np.clip(sensitivity + 0.1 * np.log10(sizes / 0.1), 0, 1)
        lesions += [
            {**reference, "volume_ml": size, **{f"found_by_{m}": bool(found[m][place]) for m in methods}}
            for place, size in enumerate(sizes)
        ]
    return Fabricated(manifest, pd.DataFrame(scores), pd.DataFrame(lesions))
