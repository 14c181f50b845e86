"""Apply methods to the validation cases: the network, and what it is compared with.

One way for all: look at a prepared case, find a map on its work grid, bring it
back to the FLAIR's own grid, write the mask with a side-car. A case whose
side-car says that nothing has changed is not done again; a case that fails is
a row with its reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import FlairnbError
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.provenance import content_hash, is_current, read_json, sha256_file, write_sidecar
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.start import Run
    from flairnb.settings import InferSettings, PrepareSettings

logger = logging.getLogger(__name__)

#: The comparison methods of this package: the ``desc`` of their masks.
BASELINES = ("lga", "lga03", "lpa", "bianca", "threshold")


@dataclass(frozen=True)
class Found:
    """What a method says of one case.

    Attributes
    ----------
    values : (I, J, K) float array
        On the work grid; lesion from `cut` on.
    cut : float
    min_ml : float
        Smallest lesion kept, ml.
    seconds : float
        Preparation that the method needs for itself, beside finding the map.
    keep : bool
        Also write the map, as ``_probseg``.
    weights : str
        SHA-256 of the network's weights; "" for other methods.
    network : Network, optional
        Whose calibration and sharpening the map still needs.
    infer : InferSettings, optional
        How the network was applied; None for other methods.
    case : PreparedCase, optional
        Whose work grid `values` lie on, if not the run's own.
    """

    values: NDArray[np.floating]
    cut: float = 0.5
    min_ml: float = 0.0
    seconds: float = 0.0
    keep: bool = False
    case: PreparedCase | None = None
    weights: str = ""
    network: Network | None = None
    infer: InferSettings | None = None


def segment_validation(run: Run) -> pd.DataFrame:
    """Apply the trained network to every validation case and write native masks.

    Cases run one after the other, as one pass keeps all cores busy by itself;
    on a cluster, on all of its workers.

    Returns
    -------
    DataFrame
        One row a case: participant_id, method, status, reason, the seconds of
        preparation, network and the way back, lesion_volume_ml, lesion_count.
        `method` is the one of inference that was used, "tiled" or "whole":
        where it is not ``infer.method`` (`own_infer`), a line in the log says
        so. Also ``tables/timing.tsv``.
    """
    import pandas as pd

    from flairnb.parallel import each_case

    folder = run.path(steps.MODEL)
    network = _network_in(folder)
    infer = own_infer(run, network)
    if infer != run.settings.infer:
        asked, used, learnt = _way(run.settings.infer), _way(infer), network.trained_patch
        logger.warning("infer.method: %s asked for, %s used, as this run's network learnt on patches of %d voxels", asked, used, learnt)
    rows = each_case(_network_of, [(run, case, folder) for case in steps.prepared_ids(run, "validation")])
    table = pd.DataFrame(rows).rename(columns={"seconds_method": "seconds_network"})
    table["method"] = infer.method
    prepared = run.table("tables/preparation.tsv").set_index("participant_id")
    table["seconds_prepare"] = table["participant_id"].map(prepared["seconds"])
    table["seconds_total"] = table[["seconds_prepare", "seconds_network", "seconds_native"]].sum(axis=1)
    return run.save(table, "tables/timing.tsv")


def own_infer(run: Run, network: Network) -> InferSettings:
    """Return how a run applies its own network: as set, but in tiles where it learnt on small patches.

    See :func:`flairnb.network.inference.suited`.
    """
    from flairnb.network.inference import suited

    return suited(run.settings.infer, network.model, network.trained_patch)


def _way(infer: InferSettings) -> str:
    return "one pass" if infer.method == "whole" else f"tiles of {infer.patch} voxels every {infer.step}"


def segment_with_shipped(run: Run) -> pd.DataFrame:
    """Apply the network that ships with the package to every validation case and write native masks.

    Brains are those of the run; the FLAIR is resampled anew, at
    ``infer.shipped_spacing_mm``. Cases run one after the other, as in
    `segment_validation`: side by side, each on one core, the demo took 50
    seconds instead of 42.

    Returns
    -------
    DataFrame
        One row a case, as `apply_baselines` has them; no rows (and no masks of
        an earlier run) where nothing ships or the setting is 0.
    """
    import pandas as pd

    from flairnb.network.weights import SHIPPED, shipped_names
    from flairnb.parallel import each_case
    from flairnb.prepare.cohort import drop_derivative

    names, spacing = shipped_names(), run.settings.infer.shipped_spacing_mm
    if not names or not spacing:
        for mask in steps.native_masks(run, "shipped"):
            drop_derivative(mask)
        return pd.DataFrame(columns=["participant_id", "method", "status", "reason"])
    cases = steps.prepared_ids(run, "validation")
    return pd.DataFrame(each_case(_network_of, [(run, case, SHIPPED / names[-1], spacing) for case in cases]))


def apply_baselines(run: Run, methods: Sequence[str] = BASELINES) -> pd.DataFrame:
    """Apply the fitted comparison methods to every validation case and write native masks.

    Parameters
    ----------
    run : Run
    methods : sequence of str
        Of `BASELINES`.

    Returns
    -------
    DataFrame
        One row a case and method: participant_id, method, status, reason,
        seconds_method (its own preparation included), seconds_native,
        seconds_total (with the preparation that all methods share),
        lesion_volume_ml, lesion_count. Also ``tables/baselines.tsv``. Masks of
        outside tools, where ``baselines.external`` names a folder, follow.
    """
    import pandas as pd

    from flairnb.parallel import each_case
    from flairnb.report.external import take_over_external

    cases = steps.prepared_ids(run, "validation")
    done = each_case(_baselines_of, [(run, case, tuple(methods)) for case in cases], run.jobs)
    table = pd.DataFrame([row for rows in done for row in rows])
    prepared = run.table("tables/preparation.tsv").set_index("participant_id")
    shared = table["participant_id"].map(prepared["seconds"])
    table["seconds_total"] = shared + table[["seconds_method", "seconds_native"]].sum(axis=1)
    return run.save(pd.concat([table, take_over_external(run)], ignore_index=True), "tables/baselines.tsv")


def compare_methods_of_inference(run: Run, cases: int = 3) -> pd.DataFrame:
    """Apply the network both ways, tiled and whole, to a few validation cases.

    Returns
    -------
    DataFrame
        participant_id, largest and mean absolute difference of probability
        inside the brain, Dice between the two masks, seconds of each way.
    """
    from dataclasses import replace

    import pandas as pd

    from flairnb.evaluate.metrics import dice
    from flairnb.network.inference import predict
    from flairnb.network.weights import load_network
    from flairnb.prepare.cohort import read_prepared

    network = load_network(run.path(steps.MODEL))
    infer = run.settings.infer
    rows = []
    for participant in steps.prepared_ids(run, "validation")[:cases]:
        case = read_prepared(run.work_dir, participant)
        found: dict[str, NDArray[np.float32]] = {}
        seconds: dict[str, float] = {}
        for method in ("tiled", "whole"):
            start = time.perf_counter()
            found[method] = predict(network.model, case.work, case.work_brain, replace(infer, method=method))
            seconds[method] = time.perf_counter() - start
        gap = np.abs(found["tiled"] - found["whole"])[case.work_brain]
        rows.append(
            {
                "participant_id": participant,
                "largest_difference": float(gap.max()),
                "mean_difference": float(gap.mean()),
                "dice_between": dice(found["tiled"] >= infer.threshold, found["whole"] >= infer.threshold),
                "seconds_tiled": seconds["tiled"],
                "seconds_whole": seconds["whole"],
            }
        )
    return pd.DataFrame(rows)


def _network_of(run: Run, participant: str, folder: Path, shipped_mm: float = 0.0) -> dict[str, Any]:
    """Apply a network to one case; a process loads it once, whatever the number of its cases."""
    from flairnb.settings import as_dict

    network = _network_in(folder)
    stored = (network.threshold, network.coarser_look, network.sharpening, network.smoothing_mm, network.min_lesion_ml, network.rim_mm)
    key = content_hash(network.sha256, *stored, as_dict(network.calibration), as_dict(run.settings.infer))
    if shipped_mm:
        return _apply(run, participant, "shipped", key, _shipped(run, network, shipped_mm))
    return _apply(run, participant, "unet", key, _network(run, network))


def _network_in(folder: Path) -> Network:
    return _loaded(folder, (folder / "settings.json").stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _loaded(folder: Path, changed_ns: int) -> Network:
    """Load a network once a process; `changed_ns` tells other weights in the same folder apart."""
    from flairnb.network.onednn import configure
    from flairnb.network.weights import load_network
    from flairnb.report.quiet import quiet_stderr

    with quiet_stderr():
        configure()
        return load_network(folder)


def _network(run: Run, network: Network) -> Callable[[PreparedCase], Found]:
    from flairnb.network.inference import predict

    infer = own_infer(run, network)

    def find(case: PreparedCase) -> Found:
        return Found(
            predict(network.model, case.work, case.work_brain, infer),
            infer.threshold,
            infer.min_lesion_ml,
            keep=True,
            weights=network.sha256,
            infer=infer,
        )

    return find


def _shipped(run: Run, network: Network, spacing_mm: float) -> Callable[[PreparedCase], Found]:
    from flairnb.network.inference import predict
    from flairnb.prepare.case import prepare_case

    prepare, infer = settings_beside(run, network, spacing_mm)

    def find(case: PreparedCase) -> Found:
        fine = prepare_case(case.flair, brain_mask=case.brain_native, settings=prepare, doubt_mask=False)
        probability = predict(network.model, fine.work, fine.work_brain, infer)
        return Found(probability, infer.threshold, infer.min_lesion_ml, case=fine, weights=network.sha256, network=network, infer=infer)

    return find


def settings_beside(run: Run, network: Network, spacing_mm: float) -> tuple[PrepareSettings, InferSettings]:
    """Return how a run prepares and applies a network that is not its own: in one pass, and as it is stored with that network.

    Cut, smallest lesion and second look are the network's, as in `flairnb segment`; the cut was chosen with both looks. The
    second look is as many times coarser as there, so at another `spacing_mm` it has other voxels, too (demo: 1.5 and 3 mm). In
    its 19 validation patients a median Dice of 0.70 with and without, the mean 0.59 with and 0.60 without.
    """
    own = {"threshold": network.threshold, "min_lesion_ml": network.min_lesion_ml, "coarser_look": network.coarser_look}
    return replace(run.settings.prepare, spacing_mm=spacing_mm), replace(run.settings.infer, method="whole", **own)


def _baselines_of(run: Run, participant: str, methods: tuple[str, ...]) -> list[dict[str, Any]]:
    """Apply several baselines to one case (in a process of its own)."""
    from flairnb.report.baselines import finder, model_key

    return [_apply(run, participant, name, model_key(run, name), finder(run, participant, name)) for name in methods]


def _apply(run: Run, participant: str, method: str, key: str, find: Callable[[PreparedCase], Found]) -> dict[str, Any]:
    """Return the row of one case and method; a failure is a row too, and what an earlier run found goes."""
    from flairnb.prepare.cohort import drop_derivative

    row = {"participant_id": participant, "method": method, "status": "ok", "reason": ""}
    try:
        return {**row, **_segment(run, participant, method, key, find)}
    except (FlairnbError, OSError) as error:
        logger.warning("%s, %s: %s", participant, method, type(error).__name__)
        for suffix in ("mask", "probseg"):
            drop_derivative(cohort_derivative(run.work_dir, participant, suffix, label=steps.LESION, desc=method))
        nothing = dict.fromkeys(("seconds_method", "seconds_native", "lesion_volume_ml", "lesion_count"), np.nan)
        return {**row, "status": "failed", "reason": str(error), **nothing}


def _segment(run: Run, participant: str, method: str, key: str, find: Callable[[PreparedCase], Found]) -> dict[str, Any]:
    from flairnb.images import write_image
    from flairnb.prepare.cohort import read_prepared
    from flairnb.report.patient import back_to_native
    from flairnb.settings import as_dict

    target = cohort_derivative(run.work_dir, participant, "mask", label=steps.LESION, desc=method)
    source = cohort_derivative(run.work_dir, participant, "FLAIR", space="work", desc="preproc")
    expected = {"Key": content_hash(key, sha256_file(source))}
    if is_current(target, **expected):
        return dict(read_json(sidecar_path(target))["Row"])
    case = read_prepared(run.work_dir, participant)
    start = time.perf_counter()
    answer = find(case)
    middle = time.perf_counter()
    found = back_to_native(np.asarray(answer.values, np.float32), answer.case or case, answer.cut, answer.min_ml, answer.network)
    end = time.perf_counter()
    settings, weights = as_dict(run.settings.baselines if answer.infer is None else answer.infer), {}
    if answer.weights:
        weights = {"WeightsSha256": answer.weights}
    if answer.keep:
        path = cohort_derivative(run.work_dir, participant, "probseg", label=steps.LESION, desc=method)
        write_image(path, found.probability, case.flair, np.float32)
        write_sidecar(path, [source], settings, {**weights, "Method": method})
    row = {
        "seconds_method": round(middle - start + answer.seconds, 3),
        "seconds_native": round(end - middle, 3),
        "lesion_volume_ml": round(float(np.count_nonzero(found.mask)) * case.flair.voxel_volume_ml, 4),
        "lesion_count": len(found.lesions),
    }
    write_image(target, found.mask, case.flair, np.uint8)
    write_sidecar(target, [source], settings, {**expected, **weights, "Method": method, "Row": row})
    return row


def write_mask(target: Path, mask: NDArray[np.bool_], case: PreparedCase, source: Path, extra: dict[str, Any]) -> None:
    """Write a native lesion mask and its side-car."""
    from flairnb.images import write_image

    write_image(target, mask, case.flair, np.uint8)
    write_sidecar(target, [source], extra=extra)
