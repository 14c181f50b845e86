"""Make a trained network the one that ships: calibrate it, write its card, store it as float16.

For maintainers; `CONTRIBUTING.md` says when. Calibration looks at the
development cases (real patients that were never trained on).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError

if TYPE_CHECKING:
    from flairnb.network.confidence import Calibration
    from flairnb.network.weights import Network
    from flairnb.report.start import Run

#: Voxels of one case that the temperature is fitted on; every case counts alike.
VOXELS = 200_000


def ship_network(  # noqa: PLR0913 (the last four have defaults)
    run: Run,
    model_dir: str | Path,
    target_dir: str | Path,
    card: Mapping[str, Any],
    coarser_look: float = 2.0,
    threshold: float = 0.35,
    sharpening: float = 1.5,
    smoothing_mm: float = 1.0,
    min_lesion_ml: float = 0.01,
    rim_mm: float = 5.0,
) -> Path:
    """Calibrate a trained network on the real cases on disk and write it for shipping.

    Parameters
    ----------
    run : Run
        Says where the real cases lie (see :mod:`flairnb.report.real`).
    model_dir : path
        From :func:`flairnb.network.training.train`.
    target_dir : path
        ``flairnb/network/shipped/<name>``; its last part is the network's name.
    card : mapping
        Added to the card that training wrote: data, licences, limits, what was tried.
    coarser_look : float
        Stored with the weights; see ``infer.coarser_look``.
    threshold : float
        Stored with the weights: lesion from this (calibrated) probability on.
    sharpening : float
        Stored with the weights; see :func:`flairnb.network.sharpen.sharpen`.
    smoothing_mm : float
        Stored with the weights; see :func:`flairnb.network.sharpen.smooth_thin`.
    min_lesion_ml : float
        Stored with the weights; see ``infer.min_lesion_ml``. Sharpening leaves
        specks: without those below 0.01 ml the development cases' Dice does not
        fall and lesion-wise F1 of the 3D examination doubles.
    rim_mm : float
        Stored with the weights; see :func:`flairnb.network.rim.at_the_rim`.

    Returns
    -------
    Path
        The ``.keras`` file.

    Raises
    ------
    InputError
        No real case with a reference mask is on disk.
    """
    import pandas as pd

    from flairnb.network.weights import load_network, save_network

    use = {"coarser_look": coarser_look, "threshold": threshold, "sharpening": sharpening, "smoothing_mm": smoothing_mm, "rim_mm": rim_mm}
    network = replace(load_network(model_dir), **use)
    found = predict_real(run, network)
    calibration = calibrate(found, network.threshold)
    history = pd.read_csv(Path(model_dir) / "history.csv").round(4).to_dict("records")
    learned = {name: value for name, value in network.card.items() if name != "calibration"}  # an inherited one; this one is fitted
    target = Path(target_dir)
    return save_network(
        network.model,
        target,
        network=network.network,
        spacing_mm=network.spacing_mm,
        name=target.name,
        threshold=network.threshold,
        card={**learned, **card, "history": history},
        half=True,
        calibration=calibration,
        coarser_look=coarser_look,
        sharpening=sharpening,
        smoothing_mm=smoothing_mm,
        min_lesion_ml=min_lesion_ml,
        rim_mm=rim_mm,
    )


def average_networks(sources: Sequence[str | Path], target_dir: str | Path, card: Mapping[str, Any]) -> Path:
    """Write the network whose weights are the mean of several that continue each other.

    Weights of runs from one start lie in one valley, and their mean is often
    better than each (Wortsman et al., ICML 2022;162:23965). Batch statistics are
    averaged with them.

    Parameters
    ----------
    sources : sequence of str or path
        Shipped names, folders or ``.keras`` files; of one architecture.
    target_dir : path
        Gets weights and settings, to hand on to `ship_network`.
    card : mapping
        Of the new network.

    Raises
    ------
    InputError
        Architectures or voxel sizes differ, or there is no source.
    """
    from flairnb.network.weights import load_network, save_network

    networks = [load_network(source) for source in sources]
    if len({(repr(network.network), network.spacing_mm) for network in networks}) != 1:
        raise InputError("average: expected networks of one architecture and voxel size. Name runs that continue each other.")
    first = networks[0]
    first.model.set_weights([np.mean(parts, axis=0) for parts in zip(*(n.model.get_weights() for n in networks), strict=True)])
    target = Path(target_dir)
    return save_network(
        first.model, target, network=first.network, spacing_mm=first.spacing_mm, name=target.name, threshold=first.threshold, card=card
    )


def retune(  # noqa: PLR0913 (what was chosen, one by one)
    run: Run,
    target_dir: str | Path,
    card: Mapping[str, Any],
    threshold: float,
    sharpening: float,
    smoothing_mm: float,
    min_lesion_ml: float,
    rim_mm: float,
) -> Path:
    """Choose cut, sharpening, smoothing and rim of a network that ships already, and calibrate it again; the weights stay as they are.

    Parameters
    ----------
    run, target_dir, card, threshold, sharpening, smoothing_mm, min_lesion_ml, rim_mm
        As for :func:`ship_network`.

    Returns
    -------
    Path
        The ``settings.json`` that was written anew.
    """
    from dataclasses import asdict

    from flairnb.network.weights import SETTINGS_FILE, load_network
    from flairnb.provenance import read_json, write_json

    chosen = {"threshold": threshold, "sharpening": sharpening, "smoothing_mm": smoothing_mm, "rim_mm": rim_mm}
    network = replace(load_network(target_dir), **chosen)
    calibration = calibrate(predict_real(run, network), threshold)
    path = Path(target_dir) / SETTINGS_FILE
    content = read_json(path)
    write_json(
        path, {**content, **chosen, "min_lesion_ml": min_lesion_ml, "calibration": asdict(calibration), "card": {**content["card"], **card}}
    )
    return path


def predict_real(run: Run, network: Network) -> dict[str, tuple[NDArray[np.float32], NDArray[np.bool_], float]]:
    """Return probability and reference of the brain voxels of every real case with a reference, on the FLAIR's own grid.

    Smoothed and sharpened as the network asks for, not tempered. The third is the agreement of the network's looks.
    """
    from flairnb.images import read_image, read_mask
    from flairnb.network.confidence import Calibration
    from flairnb.report.patient import segment_image, settings_for
    from flairnb.report.real import find_cases

    prepare, infer = settings_for(network, None)
    found = {}
    for row in find_cases(run).itertuples():
        if not row.reference_mask:
            continue
        flair = read_image(row.flair, "FLAIR")
        t1w = read_image(row.t1w, "T1w") if row.t1w else None
        answer = segment_image(flair, replace(network, calibration=Calibration()), prepare, infer, t1w=t1w)[1]
        reference = read_mask(row.reference_mask, like=flair, what="reference mask")
        found[row.participant_id] = answer.probability[answer.brain], reference[answer.brain], answer.agreement
    if not found:
        raise InputError("calibration: expected real cases with a reference mask, found none. Run `flairnb fetch simvent` first.")
    return found


def calibrate(found: Mapping[str, tuple[NDArray, NDArray, float]], threshold: float = 0.5) -> Calibration:
    """Fit temperature and expected Dice on cases with a reference.

    Parameters
    ----------
    found : mapping
        Case to its brain voxels' probability and reference, two (n,) arrays,
        and the agreement of the looks (NaN where there is one only).
    threshold : float
        Where the calibrated probability is cut.

    Notes
    -----
    Expected Dice is a line through (0, 0), its slope the ratio of sums over
    the cases: with a handful of cases a second number cannot be had.
    """
    from flairnb.network.confidence import Calibration, expected_dice, fit_temperature, temper

    rng = np.random.default_rng(0)
    parts = []
    for probability, lesion, _ in found.values():
        pick = rng.choice(probability.size, min(VOXELS, probability.size), replace=False)
        parts.append((probability[pick], lesion[pick], np.full(pick.size, 1.0 / pick.size)))
    temperature = fit_temperature(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    stated, true = [], []
    for probability, lesion, _ in found.values():
        tempered = temper(probability, temperature)
        mask = tempered >= threshold
        if mask.any():
            stated.append(expected_dice(tempered, mask))
            true.append(2 * np.count_nonzero(mask & lesion) / (np.count_nonzero(mask) + np.count_nonzero(lesion)))
    slope = float(np.sum(true) / np.sum(stated)) if stated else 1.0
    words = f"{len(found)} real development cases, none of them trained on"
    agreements = [agreement for *_, agreement in found.values() if np.isfinite(agreement)]
    usual = round(min(agreements), 4) if len(agreements) == len(found) else 0.0
    return Calibration(temperature=round(temperature, 4), slope=round(slope, 4), fitted_on=words, usual_agreement=usual)
