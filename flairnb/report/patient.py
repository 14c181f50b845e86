"""One patient from FLAIR to lesion mask, volumes and a page to check by eye."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError
from flairnb.images import Image, image_sha256
from flairnb.naming import flair_stem
from flairnb.provenance import StageTimer, machine, sha256_file
from flairnb.report import patient_dicom, patient_input
from flairnb.report.doubts import doubts_of_input
from flairnb.report.patient_settings import check_method, check_spread, chosen_settings, note_on, settings_for

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.settings import InferSettings, PrepareSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segmentation:
    """What one examination gives, all on the FLAIR's own grid.

    Attributes
    ----------
    mask, brain : (I, J, K) bool array
    probability : (I, J, K) float32 array
        Lesion probability, 0 outside the brain.
    lesions : DataFrame
        One row a lesion, the largest first.
    expected_dice : float
        What the calibrated probabilities promise; NaN if no lesion was found.
    agreement : float
        Of the network's looks (:func:`flairnb.network.confidence.look_agreement`); NaN where there is one only.
    spread : (I, J, K) float32 array, optional
        How far the looks lie apart that the network's probability is the mean
        of (:func:`flairnb.network.inference.predict_spread`); 0 outside the brain.
    """

    mask: NDArray[np.bool_]
    brain: NDArray[np.bool_]
    probability: NDArray[np.float32]
    lesions: pd.DataFrame
    expected_dice: float = float("nan")
    agreement: float = float("nan")
    spread: NDArray[np.float32] | None = None


def segment_patient(  # noqa: PLR0913 - one argument for each word of the command line
    flair_path: str | os.PathLike,
    t1w: str | os.PathLike | None = None,
    brain_mask: str | os.PathLike | None = None,
    skull_stripped: bool = False,
    out_dir: str | os.PathLike = ".",
    weights: str | os.PathLike | None = None,
    method: str | None = None,
    threads: int | None = None,
    series: str | None = None,
    say: Callable[[str], None] | None = None,
    memory_gb: float | None = None,
    sets: Sequence[str] = (),
    spread: bool = False,
    network: Network | None = None,
) -> dict[str, Any]:
    """Segment the lesions of one FLAIR examination and write the results.

    Parameters
    ----------
    flair_path : path
        FLAIR, NIfTI, 2D or 3D acquisition, any orientation; or a folder of
        DICOM files, of which FLAIR and T1w are picked by their headers. The
        mask is then written as DICOM-SEG on the FLAIR's slices, too.
    t1w : path, optional
        T1-weighted image of the same head, any grid; makes brain extraction
        better.
    brain_mask : path, optional
        Brain mask on the FLAIR's grid, used instead of brain extraction.
    skull_stripped : bool
        The FLAIR shows the brain only.
    out_dir : path
        Folder of the results, made if absent.
    weights : str or path, optional
        Shipped name, or a ``.keras`` file; the default network if absent.
    method : {"whole", "tiled"}, optional
        One pass over the brain (default), or the paper's overlapping cubes
        (default for a network that learned on small patches, of their size).
    threads : int, optional
        Processor threads; all.
    series : str, optional
        Of a DICOM folder: number or UID of the series to take as FLAIR.
    say : callable, optional
        Is told, line by line, which DICOM series are used and why.
    memory_gb : float, optional
        Memory for the network, its runtime included; a brain that needs more
        in one pass is done in overlapping pieces. ``infer.memory_gb`` if
        absent.
    sets : sequence of str
        ``infer.name=value`` words, used instead of what is stored with the
        weights: :func:`flairnb.report.patient_settings.chosen_settings`.
    spread : bool
        Also write how far the network's looks lie apart, voxel by voxel.
    network : Network, optional
        The network of `weights`, if it is in memory already.

    Returns
    -------
    dict
        The content of ``<stem>_desc-summary.json``.

    Raises
    ------
    InputError, GeometryError, MissingDataError, SettingsError
        For an input that cannot be used; nothing is written then.

    Notes
    -----
    All files are written to a temporary folder on the disk of `out_dir` and
    moved in when the last one is complete. The summary's ``input.sha256`` says
    of which FLAIR they are (its file; of DICOM, its voxels): results of another
    one are not replaced.

    With two threads or more, a brain to extract and a network to load, the examination is
    prepared in a second process while this one loads TensorFlow and the
    network and compiles it: the stage ``prepare`` is what is left of it then,
    ``preparation_seconds`` the whole of it.
    """
    from flairnb import parallel
    from flairnb.prepare.case import prepare_case
    from flairnb.prepare.stripped import looks_stripped
    from flairnb.report.patient_files import brain_mask_facts, summary_of, t1w_facts, write_all

    timer = StageTimer()
    threads = int(threads or machine()["cores"])
    with timer("read"):
        examination, name = None, flair_path
        if patient_dicom.is_folder(flair_path):
            name = patient_dicom.FLAIR_NAME  # a folder may be called after a patient
            patient_input.check_out_dir(out_dir, name, spread)
            examination, (flair, given, notes) = patient_dicom.read_inputs(flair_path, t1w, brain_mask, skull_stripped, series or "", say)
            sha256 = examination.sha256
        else:
            if series:
                raise InputError("--series: expected a folder of DICOM files as FLAIR, found something else. Leave --series out.")
            patient_input.check_out_dir(out_dir, name, spread)
            flair, given, notes = patient_input.read_inputs(flair_path, t1w, brain_mask, skull_stripped)
            sha256 = image_sha256(flair_path)
        patient_input.check_same_flair(out_dir, name, sha256)
        weights = _find_weights(weights)
        check_method(method)
        chosen = chosen_settings(sets)
        prepare = _prepare_settings(weights)
    # A second process costs some two seconds; without a brain to extract (a given mask is checked by one) or a network to load
    # it would not earn them.
    aside = network is None and threads > 1 and not given["skull_stripped"] and not looks_stripped(flair)
    with parallel.begun(prepare_case, flair, settings=prepare, threads=threads, aside=aside, **given) as prepared:
        with timer("load network"):
            network = network or _load_network(weights, threads)
            prepare, infer = settings_for(network, method, memory_gb, chosen)
            check_spread(infer, spread)
        with timer("prepare"):
            case = prepared()
    segmentation = segment_prepared(case, network, infer, timer, spread)
    summary = summary_of(flair, network, case, segmentation, (prepare, infer), weights)
    summary["preparation_seconds"] = {stage: round(seconds, 3) for stage, seconds in case.seconds.items()}
    summary["settings"] |= {"set": chosen} if chosen else {}
    summary["input"]["sha256"] = sha256
    summary["input"] |= t1w_facts(given["t1w"], case, t1w, examination) | brain_mask_facts(brain_mask, examination)
    with timer("look for doubts"):
        summary["notes"] = [*notes, *note_on(chosen), *doubts_of_input(case, given["t1w"]), *summary["notes"]]
    if examination is not None:
        summary["dicom"] = examination.summary()

    def check() -> None:
        patient_input.check_out_dir(out_dir, name, spread)
        patient_input.check_same_flair(out_dir, name, sha256)

    write_all(Path(out_dir), flair_stem(name), flair, segmentation, summary, timer, examination, check)
    return summary


def segment_image(
    flair: Image,
    network: Network,
    prepare: PrepareSettings,
    infer: InferSettings,
    *,
    timer: StageTimer | None = None,
    threads: int = 2,
    **given: Any,
) -> tuple[PreparedCase, Segmentation]:
    """Prepare one FLAIR, apply the network and come back to the FLAIR's grid.

    Parameters
    ----------
    flair : Image
    network : Network
    prepare, infer : settings
    timer : StageTimer, optional
        Collects the seconds of each stage.
    threads : int
    **given
        `t1w`, `brain_mask`, `skull_stripped` of
        :func:`flairnb.prepare.case.prepare_case`.
    """
    from flairnb.prepare.case import prepare_case

    timer = StageTimer() if timer is None else timer
    with timer("prepare"):
        case = prepare_case(flair, settings=prepare, threads=threads, **given)
    return case, segment_prepared(case, network, infer, timer)


def segment_prepared(
    case: PreparedCase, network: Network, infer: InferSettings, timer: StageTimer, wants_spread: bool = False
) -> Segmentation:
    """Apply the network to a prepared examination and come back to its FLAIR's grid; with the looks' spread if it is wanted."""
    from flairnb.network import inference
    from flairnb.network.confidence import look_agreement
    from flairnb.prepare.native import to_native

    spread, agreement = None, float("nan")
    with timer("network"):
        if wants_spread or infer.coarser_look > 1:
            probability, spread = inference.predict_spread(network.model, case.work, case.work_brain, infer)
        else:
            probability = inference.predict(network.model, case.work, case.work_brain, infer)
        if infer.coarser_look > 1:
            agreement = look_agreement(probability, spread)
    with timer("back to native"):
        found = back_to_native(probability, case, infer.threshold, infer.min_lesion_ml, network, agreement)
        if not wants_spread or spread is None:
            return found
        return replace(found, spread=np.where(found.brain, to_native(spread, case, order=1), 0).clip(0, 0.5).astype(np.float32))


def back_to_native(
    probability: NDArray[np.float32],
    case: PreparedCase,
    threshold: float,
    min_ml: float,
    network: Network | None = None,
    agreement: float = float("nan"),
) -> Segmentation:
    """Bring a probability map to the FLAIR's own grid and cut it there.

    Parameters
    ----------
    probability : work-grid float32 array
    case : PreparedCase
    threshold : float
        Lesion from this probability on.
    min_ml : float
        Smallest lesion kept, ml; 0 keeps all.
    network : Network, optional
        What gave the probability. Its smoothing, sharpening and calibration are applied on
        the FLAIR's own grid, before the cut, and give the expected Dice; what
        it marks at the brain's surface alone is left out, probability included.
    agreement : float
        Of the looks that the map is the mean of; NaN where it is not known.

    Notes
    -----
    The probability is interpolated linearly and thresholded afterwards, so
    that the outline does not show the working grid's steps (the paper resamples
    "back into native space", Methods, Statistical Analysis, and leaves open how).
    """
    from flairnb.evaluate.components import lesion_table, without_small
    from flairnb.network.confidence import temper
    from flairnb.network.rim import at_the_rim
    from flairnb.network.sharpen import sharpen, smooth_thin
    from flairnb.prepare.native import to_native

    flair = case.flair
    brain = np.asarray(case.brain_native, dtype=bool)
    native = np.clip(to_native(probability, case, order=1), 0.0, 1.0).astype(np.float32)
    native[~brain] = 0.0
    if network is not None:
        native = smooth_thin(native, brain, flair.spacing_mm, network.smoothing_mm)
        native = temper(sharpen(native, flair.data, brain, network.threshold, network.sharpening), network.calibration.temperature)
    mask = native >= threshold
    if network is not None:
        rim = at_the_rim(mask, brain, flair.affine, network.rim_mm)
        native[rim], mask = 0.0, mask & ~rim
    mask = without_small(mask, flair.affine, min_ml)
    expected = float("nan") if network is None else _expected_dice(native, mask, case, network, agreement)
    return Segmentation(mask, brain, native, lesion_table(mask, flair.affine, native), expected, agreement)


def _expected_dice(native: NDArray[np.float32], mask: NDArray[np.bool_], case: PreparedCase, network: Network, agreement: float) -> float:
    """Return the calibrated expectation; 0 where the brain mask is larger than any brain (a skull left in), however sure the network is."""
    from flairnb.prepare.brain import BRAIN_LIMITS_ML

    if mask.any() and np.count_nonzero(case.brain_native) * case.flair.voxel_volume_ml > BRAIN_LIMITS_ML[1]:
        return 0.0
    return network.calibration.expect(native, mask, agreement)


def _find_weights(weights: str | os.PathLike | None) -> Path | str:
    from flairnb.network.weights import default_weights
    from flairnb.report.chapters import repository_root

    return default_weights(repository_root() / "work") if weights is None else os.fspath(weights)


def check_weights(weights: str | os.PathLike | None) -> None:
    """Raise `InputError` or `MissingDataError` where no network is described."""
    _prepare_settings(_find_weights(weights))


def network_once(weights: str | os.PathLike | None, threads: int | None = None) -> tuple[Network, Path | str]:
    """Return the network of `weights`, loaded once in a process for as long as its files are the same, and where it was found."""
    from flairnb.network.weights import SETTINGS_FILE
    from flairnb.report.patient_files import weights_folder

    found = _find_weights(weights)
    about = weights_folder(found) / SETTINGS_FILE  # holds the SHA-256 of the weights, too
    return _kept_network(found, int(threads or machine()["cores"]), sha256_file(about) if about.is_file() else ""), found


@lru_cache(maxsize=1)
def _kept_network(weights: Path | str, threads: int, _sha256: str) -> Network:
    return _load_network(weights, threads)


def _load_network(weights: Path | str, threads: int) -> Network:
    """Load and compile: all that can be done before there is a prepared examination."""
    from flairnb.network.inference import compile_for
    from flairnb.network.onednn import configure
    from flairnb.network.weights import load_network
    from flairnb.report.quiet import quiet_stderr, without_collection

    with quiet_stderr(), without_collection():
        configure(threads)
        network = load_network(weights)
        compile_for(network.model)
    return network


def _prepare_settings(weights: Path | str) -> PrepareSettings:
    """Return how to prepare for a network that is not loaded yet."""
    from flairnb import settings
    from flairnb.network.weights import stored_spacing

    return replace(settings.load("paper").prepare, spacing_mm=stored_spacing(weights))
