"""One patient from FLAIR to lesion mask, volumes and a page to check by eye."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import InputError
from flairnb.images import Image, read_image, read_mask, write_image
from flairnb.naming import derivative_path, flair_stem
from flairnb.provenance import StageTimer, machine, peak_memory_gb, versions, write_json

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.settings import InferSettings, PrepareSettings

logger = logging.getLogger(__name__)

#: The paper's cubes and step in mm; in voxels they follow the network's voxel size.
PATCH_MM, STEP_MM = 96.0, 32.0


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
    """

    mask: NDArray[np.bool_]
    brain: NDArray[np.bool_]
    probability: NDArray[np.float32]
    lesions: pd.DataFrame


def segment_patient(  # noqa: PLR0913 - one argument for each word of the command line
    flair_path: str | os.PathLike,
    t1w: str | os.PathLike | None = None,
    brain_mask: str | os.PathLike | None = None,
    skull_stripped: bool = False,
    out_dir: str | os.PathLike = ".",
    weights: str | os.PathLike | None = None,
    method: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Segment the lesions of one FLAIR examination and write the results.

    Parameters
    ----------
    flair_path : path
        FLAIR, NIfTI, 2D or 3D acquisition, any orientation.
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
        One pass over the brain (default), or the paper's overlapping cubes.
    threads : int, optional
        Processor threads; all.

    Returns
    -------
    dict
        The content of ``<stem>_desc-summary.json``.

    Raises
    ------
    InputError, GeometryError, MissingDataError
        For an input that cannot be used; nothing is written then.

    Notes
    -----
    All files are written to a temporary folder beside `out_dir` and moved in
    when the last one is complete.
    """
    timer = StageTimer()
    threads = int(threads or machine()["cores"])
    with timer("read"):
        flair, given = _read_inputs(flair_path, t1w, brain_mask, skull_stripped)
        weights = _find_weights(weights)
        _check_out_dir(out_dir)
    with timer("load network"):
        network = _load_network(weights, threads)
    prepare, infer = _settings_for(network, method)
    case, segmentation = segment_image(flair, network, prepare, infer, timer=timer, threads=threads, **given)
    summary = _summary(flair, network, case, segmentation, (prepare, infer), weights)
    _write_all(Path(out_dir), flair_stem(flair_path), flair, segmentation, summary, timer)
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
    from flairnb.network.inference import predict
    from flairnb.prepare.case import prepare_case

    timer = StageTimer() if timer is None else timer
    with timer("prepare"):
        case = prepare_case(flair, settings=prepare, threads=threads, **given)
    with timer("network"):
        probability = predict(network.model, case.work, case.work_brain, infer)
    with timer("back to native"):
        segmentation = back_to_native(probability, case, infer.threshold, infer.min_lesion_ml)
    return case, segmentation


def back_to_native(probability: NDArray[np.float32], case: PreparedCase, threshold: float, min_ml: float) -> Segmentation:
    """Bring a probability map to the FLAIR's own grid and cut it there.

    Parameters
    ----------
    probability : work-grid float32 array
    case : PreparedCase
    threshold : float
        Lesion from this probability on.
    min_ml : float
        Smallest lesion kept, ml; 0 keeps all.

    Notes
    -----
    The probability is interpolated linearly and thresholded afterwards, so
    that the outline does not show the working grid's steps (the paper resamples
    "back into native space", Methods, Statistical Analysis, and leaves open how).
    """
    from flairnb.evaluate.components import label_lesions, lesion_table
    from flairnb.prepare.native import to_native

    flair = case.flair
    brain = np.asarray(case.brain_native, dtype=bool)
    native = np.clip(to_native(probability, case, order=1), 0.0, 1.0).astype(np.float32)
    native[~brain] = 0.0
    mask = native >= threshold
    if min_ml > 0 and mask.any():
        labels, count = label_lesions(mask)
        keep = np.bincount(labels.ravel(), minlength=count + 1) * flair.voxel_volume_ml >= min_ml
        keep[0] = False
        mask = keep[labels]
    return Segmentation(mask, brain, native, lesion_table(mask, flair.affine, native))


def _read_inputs(
    flair_path: str | os.PathLike,
    t1w: str | os.PathLike | None,
    brain_mask: str | os.PathLike | None,
    skull_stripped: bool,
) -> tuple[Image, dict[str, Any]]:
    if brain_mask is not None and skull_stripped:
        raise InputError(
            "expected --brain-mask or --skull-stripped, received both. Give the mask alone: it already says where the brain is."
        )
    flair = read_image(flair_path, "FLAIR")
    mask = None
    if brain_mask is not None:
        mask = read_mask(brain_mask, like=flair, what="brain mask")
        if not mask.any():
            raise InputError(f"brain mask: expected voxels above 0, found none in {Path(brain_mask).name}. Give another mask.")
    head = read_image(t1w, "T1w") if t1w is not None else None
    return flair, {"t1w": head, "brain_mask": mask, "skull_stripped": skull_stripped}


def _find_weights(weights: str | os.PathLike | None) -> Path | str:
    from flairnb.network.weights import default_weights
    from flairnb.report.chapters import repository_root

    return default_weights(repository_root() / "work") if weights is None else os.fspath(weights)


def _load_network(weights: Path | str, threads: int) -> Network:
    from flairnb.network.onednn import configure
    from flairnb.network.weights import load_network
    from flairnb.report.quiet import quiet_stderr

    with quiet_stderr():
        configure(threads)
        return load_network(weights)


def _check_out_dir(out_dir: str | os.PathLike) -> None:
    path = Path(out_dir)
    if path.exists() and not path.is_dir():
        raise InputError(f"--out: expected a folder, found the file {path.name}. Name a folder; it is made if absent.")


def _settings_for(network: Network, method: str | None) -> tuple[PrepareSettings, InferSettings]:
    from flairnb import settings
    from flairnb.network.inference import size_multiple

    paper = settings.load("paper")
    multiple = size_multiple(network.model)
    patch = max(multiple, round(PATCH_MM / network.spacing_mm / multiple) * multiple)
    step = max(1, round(STEP_MM / network.spacing_mm))
    if method not in (None, "whole", "tiled"):
        raise InputError(f"--method: expected 'whole' or 'tiled', received {method!r}.")
    infer = replace(paper.infer, method=method or "whole", patch=patch, step=min(step, patch), threshold=network.threshold)
    return replace(paper.prepare, spacing_mm=network.spacing_mm), infer


def _summary(
    flair: Image,
    network: Network,
    case: PreparedCase,
    segmentation: Segmentation,
    used: tuple[PrepareSettings, InferSettings],
    weights: Path | str,
) -> dict[str, Any]:
    from flairnb.settings import as_dict

    shipped = Path(weights).parent.name == "shipped" or not Path(weights).exists()
    notes = [*case.notes]
    if not shipped:
        notes.append(
            "These weights were made by a run on this computer, not shipped with flairnb. A network of the demo profile has seen "
            "simulated patients only, for a few minutes: its outlines on real patients show that the steps work, not how well."
        )
    voxel_ml = flair.voxel_volume_ml
    return {
        "lesion_volume_ml": round(float(np.count_nonzero(segmentation.mask)) * voxel_ml, 4),
        "lesion_count": len(segmentation.lesions),
        "brain_volume_ml": round(float(np.count_nonzero(segmentation.brain)) * voxel_ml, 1),
        "intended_use": "Research and teaching only, not for clinical use.",
        "notes": notes,
        "weights": {
            "name": network.name,
            "sha256": network.sha256,
            "shipped": shipped,
            "spacing_mm": network.spacing_mm,
            "card": network.card,
        },
        "input": {
            "flair": flair.path.name if flair.path else "",
            "shape": list(flair.shape),
            "spacing_mm": [round(float(edge), 4) for edge in flair.spacing_mm],
        },
        "settings": {"prepare": as_dict(used[0]), "infer": as_dict(used[1])},
        "versions": versions(),
        "machine": machine(),
    }


def _write_all(out_dir: Path, stem: str, flair: Image, segmentation: Segmentation, summary: dict[str, Any], timer: StageTimer) -> None:
    out_dir = out_dir.absolute()
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    waiting = Path(tempfile.mkdtemp(prefix=".flairnb-partial-", dir=out_dir.parent))
    try:
        with timer("write"):
            _write_images(waiting, stem, flair, segmentation)
            table = segmentation.lesions.round(4)
            table.to_csv(waiting / f"{stem}_desc-lesions.tsv", sep="\t", index=False, na_rep="n/a", lineterminator="\n")
        with timer("picture"):
            _write_picture(waiting / f"{stem}_desc-qc.png", flair, segmentation, summary)
        summary["seconds"] = {**timer.seconds, "total": round(sum(timer.seconds.values()), 3)}
        summary["peak_memory_gb"] = peak_memory_gb()
        write_json(waiting / f"{stem}_desc-summary.json", summary)
        out_dir.mkdir(exist_ok=True)
        for path in sorted(waiting.iterdir()):
            path.replace(out_dir / path.name)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


def _write_images(folder: Path, stem: str, flair: Image, segmentation: Segmentation) -> None:
    lesion = {"label": "lesion", "desc": "unet"}
    write_image(derivative_path(folder, stem, "mask", **lesion), segmentation.mask, flair, np.uint8)
    write_image(derivative_path(folder, stem, "probseg", **lesion), segmentation.probability, flair, np.float32)
    write_image(derivative_path(folder, stem, "mask", desc="brain"), segmentation.brain, flair, np.uint8)


def _write_picture(path: Path, flair: Image, segmentation: Segmentation, summary: dict[str, Any]) -> None:
    from flairnb.present.qc import qc_picture
    from flairnb.present.style import save_figure

    figure = qc_picture(
        flair,
        segmentation.mask,
        segmentation.brain,
        volume_ml=summary["lesion_volume_ml"],
        lesion_count=summary["lesion_count"],
        warnings=summary["notes"],
    )
    save_figure(figure, path, formats=("png",))
