"""Chapter 12: choices of training that the article leaves open, each trained anew for a few epochs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from flairnb.provenance import atomic_path, content_hash, read_json, write_json
from flairnb.report import steps
from flairnb.report.ablation import USUAL
from flairnb.report.chapters import repository_root
from flairnb.settings import Settings, settings_hash

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from flairnb.report.start import Run

#: The choices, as settings; the run's own stands beside each kind.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "dilation": {name: {"network.dilation": name} for name in ("none", "stride1_only", "literal")},
    "patches with lesion": {f"{share:.0%}": {"train.lesion_fraction": share} for share in (0.25, 0.5, 0.75)},
}
#: Each choice is trained from so many seeds: what differs between seeds is no choice's doing.
SEEDS = 2
COLUMNS = ["ablation", "choice", "seed", "updates", "cases", "dice"]
#: The committed result, shown where a run's minutes do not allow it.
PUBLISHED = "reports/ablations/training.tsv"


def trained_ablations(run: Run) -> pd.DataFrame:
    """Train the network once for each choice and seed, and score it on the validation cases.

    Every training sees the same volumes for the same number of updates
    (``audit.training_epochs`` epochs, no limit of time); one that was stopped
    goes on, one that is done is not repeated.

    Returns
    -------
    DataFrame
        `ablation`, `choice`, `seed`, `updates`, `cases`, `dice` (median over
        validation cases with a lesion). The run's own choice is called "as
        run". Without epochs to train, the committed table; empty where there
        is none.
    """
    import pandas as pd

    if run.settings.audit.training_epochs < 1:
        return published()
    rows = []
    for ablation, choices in VARIANTS.items():
        for choice, changes in choices.items():
            settings, usual = _changed(run.settings, changes)
            name = f"{choice}, {USUAL}" if usual else choice
            rows += [(ablation, name, *_trained(run, settings, run.seed + extra)) for extra in range(SEEDS)]
    return pd.DataFrame(rows, columns=COLUMNS)


def published() -> pd.DataFrame:
    """Return the committed table; empty where none was committed."""
    import pandas as pd

    path = repository_root() / PUBLISHED
    return pd.read_csv(path, sep="\t") if path.is_file() else pd.DataFrame(columns=COLUMNS)


def publish(run: Run, table: pd.DataFrame) -> bool:
    """Write the committed table from a demo run that trained; return whether it did."""
    if run.settings.audit.training_epochs < 1 or run.settings.profile != "demo":
        return False
    target = repository_root() / PUBLISHED
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        table.round(4).to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    return True


def _changed(settings: Settings, changes: dict[str, Any]) -> tuple[Settings, bool]:
    """Return settings for a timed-by-epochs training with one choice changed, and whether that choice is the run's own."""
    usual = all(getattr(getattr(settings, key.split(".")[0]), key.split(".")[1]) == value for key, value in changes.items())
    train = dataclasses.replace(settings.train, epochs=settings.audit.training_epochs, max_minutes=0.0)
    settings = dataclasses.replace(settings, train=train)
    for key, value in changes.items():
        section, name = key.split(".")
        settings = dataclasses.replace(settings, **{section: dataclasses.replace(getattr(settings, section), **{name: value})})
    return settings, usual


def _trained(run: Run, settings: Settings, seed: int) -> tuple[int, int, int, float]:
    """Train or recall one network; return seed, updates, validation cases and their median Dice."""
    from flairnb.network.onednn import configure
    from flairnb.network.training import train

    records = steps.training_volumes(run)
    key = content_hash(steps.volume_hashes(records), settings_hash(settings.network, settings.train, settings.infer), seed)
    folder = run.path(f"models/ablations/{key[:12]}/scores.json").parent
    done = folder / "scores.json"
    if not done.is_file():
        configure(run.jobs)
        history = train(records, dataclasses.replace(settings, seed=seed), folder)
        write_json(done, {"updates": int(history["updates"].iloc[-1]), **_scores(run, folder, settings)})
    found = read_json(done)
    return seed, found["updates"], found["cases"], found["dice"]


def _scores(run: Run, model: Path, settings: Settings) -> dict[str, Any]:
    import numpy as np

    from flairnb.evaluate.metrics import dice
    from flairnb.images import read_mask
    from flairnb.naming import cohort_derivative
    from flairnb.network.inference import predict, suited
    from flairnb.network.weights import load_network
    from flairnb.prepare.cohort import read_prepared
    from flairnb.report.patient import back_to_native

    network, found = load_network(model), []
    infer = suited(dataclasses.replace(settings.infer, method="whole"), network.model, network.trained_patch)
    for participant in steps.prepared_ids(run, "validation"):
        case = read_prepared(run.work_dir, participant)
        path = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc="manual")
        if not path.is_file():  # a healthy brain that nobody marked has no Dice
            continue
        reference = read_mask(path, like=case.flair, what="reference mask")
        if reference.any():
            probability = predict(network.model, case.work, case.work_brain, infer)
            found.append(dice(reference, back_to_native(probability, case, infer.threshold, infer.min_lesion_ml).mask))
    return {"cases": len(found), "dice": float(np.median(found)) if found else float("nan")}
