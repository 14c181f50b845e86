"""Draw the phantom cohort's subjects so that Table 1 comes out as printed.

What the article prints is reproduced exactly, for every seed: sizes of both
samples, diagnoses of the validation sample, counts by field strength,
dimension and scanner model, minimum, median and maximum of TE and TR, sex,
and the range and median of age. What it does not print is chosen, here: how
these combine in one subject, cases of each disease in training, inversion
times, outside hospitals, machines. All subjects are simulated.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from flairnb.cohort.columns import NAMES, PATHS
from flairnb.cohort.diagnoses import DIAGNOSES, HEALTHY, find_diagnosis
from flairnb.cohort.phantom.signal import csf_null_ti_ms, relaxation
from flairnb.cohort.split import assign_splits
from flairnb.cohort.table1 import MODELS, PAPER_TABLE1, SAMPLES
from flairnb.settings import CohortSettings

FEMALES = 218
AGE_MIN, AGE_MEDIAN, AGE_MAX = 14, 53, 95

# Long nominal echo times (396, 398 ms) are those of 3D turbo spin echo with variable flip angles; on these models.
_MODELS_3D = ("Skyra", "Tim Trio", "Verio")
# "Patients with small lesions (in particular those with MS) more commonly undergo 3D acquisitions" (Results, Technical Factors).
_OFTEN_3D = ("MSA", "MSI", "MST", "NMO", "MIGRAINE", "SUSAC")
# Lesions were larger in cases from outside hospitals (Results, Technical Factors); their share is not printed, chosen.
_OUTSIDE_FRACTION = 0.2
_LARGE_GROUPS = ("neoplastic", "infectious", "metabolic")
_RARE_MODELS = ("Intera", "Titan", "Genesis Signa", "Symphony", "Symphony Tim", "Essenza")
_SUBJECTS_PER_MACHINE = 10

#: 2D echo and repetition times below and above the printed medians; shares of a sample chosen so that the medians hold.
_TE_BELOW, _TE_ABOVE = (88, 92, 100, 105, 110, 117, 120, 125, 130), (140, 141, 145, 147, 150)
_TE_3D = (378, 383, 388, 390, 393)
_TR_BELOW, _TR_ABOVE = (6000, 7000, 8000, 8500), (9500, 10000, 11000)
_SHARE_BELOW, _SHARE_ABOVE = 0.28, 0.18


def draw_roster(settings: CohortSettings, seed: int) -> pd.DataFrame:
    """Draw the phantom subjects of a profile.

    Parameters
    ----------
    settings : CohortSettings
        With `training_per_disease` 0, all 387 subjects; otherwise that many
        of each disease in training, `validation_per_disease` in validation
        (or all there are) and `healthy_training`: a subset of the 387 that
        spreads over scanner models and dimensions. `diagnoses` limits both to
        some diseases.
    seed : int
        Same seed, same subjects; a subset keeps their identifiers and data.

    Returns
    -------
    DataFrame
        One row a subject, columns of `flairnb.cohort.columns.COLUMNS`, paths
        empty (`build_cohort` fills them).
    """
    roster = draw_full_roster(seed)
    if settings.diagnoses:
        wanted = {*(find_diagnosis(key).key for key in settings.diagnoses), HEALTHY.key}
        roster = roster[roster["diagnosis"].isin(wanted)]
    if settings.training_per_disease > 0:
        roster = _subset(roster, settings)
    return roster.reset_index(drop=True)


def draw_full_roster(seed: int) -> pd.DataFrame:
    """Draw the 387 simulated subjects of the profile `phantom`."""
    diagnoses = [d.key for d in DIAGNOSES for _ in range(d.training_n + d.validation_n)] + [HEALTHY.key] * HEALTHY.training_n
    order = _stream(seed, "order").permutation(len(diagnoses))
    roster = pd.DataFrame({"diagnosis": np.array(diagnoses)[order]})
    roster["participant_id"] = [f"sub-ph{i + 1:03d}" for i in range(len(roster))]
    roster["split"] = assign_splits(roster["diagnosis"], seed)
    roster["age"] = _draw_ages(roster["diagnosis"], seed)
    roster["sex"] = _draw_sexes(roster["diagnosis"], seed)
    parts = [_draw_scanners(roster[roster["split"] == sample], sample, seed) for sample in SAMPLES]
    roster = roster.join(pd.concat(parts))
    roster["ti_ms"] = _draw_inversion_times(roster, seed)
    roster["hospital"] = _draw_hospitals(roster, seed)
    roster["scanner"] = _draw_machines(roster["model"], seed)
    for column in PATHS:
        roster[column] = ""
    return roster[list(NAMES)]


def _stream(seed: int, purpose: str) -> np.random.Generator:
    """Return a generator of its own for each purpose, so that one draw never shifts another."""
    return np.random.default_rng([seed, *purpose.encode()])


def _draw_ages(diagnoses: pd.Series, seed: int) -> np.ndarray:
    """Draw ages by disease, then stretch both halves to the printed minimum, median and maximum."""
    rng = _stream(seed, "age")
    known = [find_diagnosis(key) for key in diagnoses]
    raw = np.array([rng.normal(d.age_mean, d.age_sd) for d in known])
    healthy = np.array([d.key == HEALTHY.key for d in known])
    # Age-matched: a healthy subject has nearly the age of some patient.
    raw[healthy] = rng.choice(raw[~healthy], healthy.sum(), replace=False) + rng.normal(0, 2, healthy.sum())
    raw = np.clip(raw, AGE_MIN, AGE_MAX) + rng.uniform(0, 1e-3, len(raw))
    knots = [raw.min(), np.median(raw), raw.max()]
    return np.rint(np.interp(raw, knots, [AGE_MIN, AGE_MEDIAN, AGE_MAX])).astype(float)


def _draw_sexes(diagnoses: pd.Series, seed: int) -> np.ndarray:
    rng = _stream(seed, "sex")
    weights = np.array([find_diagnosis(key).female_fraction for key in diagnoses])
    women = rng.choice(len(weights), FEMALES, replace=False, p=weights / weights.sum())
    return np.where(np.isin(np.arange(len(weights)), women), "F", "M")


def _draw_scanners(sample_rows: pd.DataFrame, sample: str, seed: int) -> pd.DataFrame:
    """Return scanner and timing of one sample's subjects, with Table 1's counts."""
    rng = _stream(seed, f"scanner {sample}")
    models = [m for m in MODELS for _ in range(getattr(m, sample))]
    models = [models[i] for i in rng.permutation(len(models))]
    scanners = pd.DataFrame(
        {
            "manufacturer": [m.manufacturer for m in models],
            "model": [m.name for m in models],
            "field_strength_t": [m.field_strength_t for m in models],
        },
        index=sample_rows.index,
    )
    often = np.where(sample_rows["diagnosis"].isin(_OFTEN_3D), 3.0, 1.0) * scanners["model"].isin(_MODELS_3D)
    volume = rng.choice(len(models), int(_printed("Dimension", "3D", sample)), replace=False, p=often / often.sum())
    is_3d = np.isin(np.arange(len(models)), volume)
    scanners["dimension"] = np.where(is_3d, "3D", "2D")
    scanners["te_ms"] = _draw_times("TE (ms)", sample, is_3d, rng)
    scanners["tr_ms"] = _draw_times("TR (ms)", sample, is_3d, rng)
    return scanners


def _printed(section: str, label: str, sample: str) -> float:
    return next(getattr(row, sample) for row in PAPER_TABLE1 if (row.section, row.label) == (section, label))


def _draw_times(section: str, sample: str, is_3d: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw TE or TR of a sample, its minimum, median and maximum as printed.

    Fewer than half of the values lie below the median and fewer than half
    above it; all others equal it.
    """
    low, median, high = (_printed(section, label, sample) for label in ("Minimum", "Median", "Maximum"))
    echo = section.startswith("TE")
    below, above = (_TE_BELOW, _TE_ABOVE) if echo else (_TR_BELOW, _TR_ABOVE)
    times = np.full(len(is_3d), median, dtype=float)
    flat, volume = np.flatnonzero(~is_3d), np.flatnonzero(is_3d)
    flat = rng.permutation(flat)
    n_below, n_above = int(_SHARE_BELOW * len(times)), int(_SHARE_ABOVE * len(times))
    times[flat[:n_below]] = rng.choice(below, n_below)
    times[flat[n_below : n_below + n_above]] = rng.choice(above, n_above)
    times[volume] = rng.choice(_TE_3D, len(volume)) if echo else low
    if echo:
        times[flat[0]], times[volume[0]] = low, high
    else:
        times[flat[n_below]] = high
    return times


def _draw_inversion_times(roster: pd.DataFrame, seed: int) -> np.ndarray:
    """Draw inversion times near the one that nulls CSF at the subject's field and TR."""
    rng = _stream(seed, "inversion")
    null = [csf_null_ti_ms(relaxation("csf", f).t1_ms, tr) for f, tr in zip(roster["field_strength_t"], roster["tr_ms"], strict=True)]
    return np.round(np.array(null) + rng.normal(0, 30, len(null)), -1)


def _draw_hospitals(roster: pd.DataFrame, seed: int) -> np.ndarray:
    rng = _stream(seed, "hospital")
    groups = roster["diagnosis"].map(lambda key: find_diagnosis(key).group)
    weights = np.where(groups.isin(_LARGE_GROUPS), 2.0, 1.0) * np.where(roster["model"].isin(_RARE_MODELS), 4.0, 1.0)
    outside = rng.choice(len(roster), round(_OUTSIDE_FRACTION * len(roster)), replace=False, p=weights / weights.sum())
    return np.where(np.isin(np.arange(len(roster)), outside), "outside", "home")


def _draw_machines(models: pd.Series, seed: int) -> list[str]:
    """Draw which machine of a model was used; more than 30 in all (Methods, MR Imaging Parameters)."""
    rng = _stream(seed, "machine")
    machines = {m.name: max(1, round((m.train + m.validation) / _SUBJECTS_PER_MACHINE)) for m in MODELS}
    return [f"{name.lower().replace(' ', '-')}-{rng.integers(machines[name]) + 1}" for name in models]


def _subset(roster: pd.DataFrame, settings: CohortSettings) -> pd.DataFrame:
    """Keep some subjects of each diagnosis, the least used kind of scanner first."""
    per_disease = {"train": settings.training_per_disease, "validation": settings.validation_per_disease}
    kept = []
    for sample in SAMPLES:
        rows = roster[roster["split"] == sample]
        kinds = rows["model"] + " " + rows["dimension"]
        used = dict.fromkeys(kinds, 0)
        for key in dict.fromkeys(rows["diagnosis"].sort_values()):
            candidates = list(rows.index[rows["diagnosis"] == key])
            for _ in range(min(settings.healthy_training if key == HEALTHY.key else per_disease[sample], len(candidates))):
                best = min(candidates, key=lambda i: used[kinds[i]])
                candidates.remove(best)
                used[kinds[best]] += 1
                kept.append(best)
    return roster.loc[sorted(kept)]
