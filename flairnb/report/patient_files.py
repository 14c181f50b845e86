"""What `flairnb segment` leaves in its folder: images, table, summary, picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.images import Image, image_sha256, write_image
from flairnb.naming import derivative_name, derivative_path
from flairnb.provenance import StageTimer, machine, peak_memory_gb, sha256_file, versions, write_json
from flairnb.report.doubts import doubts_of_result
from flairnb.report.patient_folder import move_in, nobody_else_in, summary_name, waiting_folder

if TYPE_CHECKING:
    from flairnb.network.weights import Network
    from flairnb.prepare.case import PreparedCase
    from flairnb.report.patient import Segmentation
    from flairnb.report.patient_dicom import DicomExamination
    from flairnb.settings import InferSettings, PrepareSettings


def summary_of(
    flair: Image,
    network: Network,
    case: PreparedCase,
    segmentation: Segmentation,
    used: tuple[PrepareSettings, InferSettings],
    weights: Path | str,
) -> dict[str, Any]:
    """Return the content of ``<stem>_desc-summary.json``, but for seconds and memory.

    `used` are the settings of preparation and inference, `weights` what was
    asked for.
    """
    about = weights_facts(network, weights)
    notes = [*case.notes, *_doubts_of_weights(network, about["shipped"]), *doubts_of_result(segmentation, network)]
    voxel_ml = flair.voxel_volume_ml
    expected = segmentation.expected_dice
    return {
        "lesion_volume_ml": round(float(np.count_nonzero(segmentation.mask)) * voxel_ml, 4),
        "lesion_count": len(segmentation.lesions),
        "brain_volume_ml": round(float(np.count_nonzero(segmentation.brain)) * voxel_ml, 1),
        "expected_dice": None if np.isnan(expected) else round(expected, 3),
        "look_agreement": None if np.isnan(segmentation.agreement) else round(segmentation.agreement, 3),
        **_spread_facts(segmentation),
        "intended_use": "Research and teaching only, not for clinical use.",
        "notes": notes,
        "weights": about,
        "input": {
            "flair": flair.path.name if flair.path else "",
            "shape": list(flair.shape),
            "spacing_mm": [round(float(edge), 4) for edge in flair.spacing_mm],
        },
        "settings": settings_facts(used),
        "versions": versions(),
        "machine": machine(),
    }


def _doubts_of_weights(network: Network, shipped: bool) -> list[str]:
    from flairnb.network.weights import INHERITED

    if shipped:
        return []
    if network.calibration.fitted_on.startswith(INHERITED):
        return [
            f"These weights were made by a run on this computer; the Dice to expect is by a calibration {network.calibration.fitted_on}."
        ]
    return [
        "These weights were made by a run on this computer, not shipped with flairnb. A network of the demo profile has seen "
        "simulated patients only, for a few minutes: its outlines on real patients show that the steps work, not how well."
    ]


def weights_facts(network: Network, weights: Path | str) -> dict[str, Any]:
    """Return the summary's entry on a network: which it is, and what is done with its probabilities."""
    return {
        "name": network.name,
        "sha256": network.sha256,
        "shipped": is_shipped(weights),
        "spacing_mm": network.spacing_mm,
        "sharpening": network.sharpening,
        "smoothing_mm": network.smoothing_mm,
        "rim_mm": network.rim_mm,
        "calibration": asdict(network.calibration),
        "card": network.card,
    }


def settings_facts(used: tuple[PrepareSettings, InferSettings]) -> dict[str, Any]:
    """Return the summary's entry on the settings that were used, those of the network and of the user included."""
    from flairnb.settings import as_dict

    return {"prepare": as_dict(used[0]), "infer": as_dict(used[1])}


def _spread_facts(segmentation: Segmentation) -> dict[str, Any]:
    """Return the mean spread between the network's looks over the marked voxels; nothing where it was not asked for."""
    if segmentation.spread is None:
        return {}
    marked = segmentation.spread[segmentation.mask]
    return {"spread_in_lesions": round(float(marked.mean(dtype=np.float64)), 4) if marked.size else None}


def weights_folder(weights: Path | str) -> Path:
    """Return the folder that weights are loaded from (`flairnb.network.weights.load_network`)."""
    from flairnb.network.weights import SETTINGS_FILE, SHIPPED

    asked = Path(weights)
    places = (asked, asked.parent if asked.suffix == ".keras" else asked)
    return next((place for place in places if (place / SETTINGS_FILE).is_file()), SHIPPED / asked.name)


def is_shipped(weights: Path | str) -> bool:
    """Tell whether the folder that weights are loaded from came with the package."""
    from flairnb.network.weights import SHIPPED

    return weights_folder(weights).resolve().parent == SHIPPED.resolve()


def t1w_facts(
    t1w: Image | None, case: PreparedCase, path: str | os.PathLike | None = None, examination: DicomExamination | None = None
) -> dict[str, Any]:
    """Return the summary's entries on the T1w and its registration, for those who want to look at both.

    Parameters
    ----------
    t1w : Image or None
    case : PreparedCase
    path : path, optional
        The T1w's file; None where it was picked from the DICOM folder.
    examination : DicomExamination, optional
        Where the FLAIR is DICOM: the file's name, that may name the patient,
        is left out.

    Returns
    -------
    dict
        Empty without a T1w. `t1w_sha256` is that of the file; of DICOM, of the
        converted voxels. `flair_to_t1w`: (4, 4), FLAIR world to T1w world, RAS
        mm; absent where the T1w was not used.
    """
    if t1w is None:
        return {}
    name = {"t1w": Path(path).name} if path is not None and examination is None else {}
    xfm = {} if case.t1w_xfm is None else {"flair_to_t1w": np.round(case.t1w_xfm, 6).tolist()}
    return {**name, "t1w_sha256": voxels_sha256(t1w) if path is None else image_sha256(path), **xfm}


def brain_mask_facts(brain_mask: str | os.PathLike | None, examination: DicomExamination | None = None) -> dict[str, Any]:
    """Return the summary's entries on the brain mask's file; without its name where the FLAIR is DICOM (see `t1w_facts`)."""
    if brain_mask is None:
        return {}
    name = {"brain_mask": Path(brain_mask).name} if examination is None else {}
    return {**name, "brain_mask_sha256": image_sha256(brain_mask)}


def voxels_sha256(image: Image) -> str:
    """Return the SHA-256 of an image's voxels, for one that was converted from DICOM: many files, copied and renamed at will, made it."""
    return hashlib.sha256(np.ascontiguousarray(image.data)).hexdigest()


def result_names(stem: str, dicom: bool, spread: bool = False) -> tuple[str, ...]:
    """Return the names of all files that `write_all` leaves, the summary last.

    Two more for an examination read from DICOM, one more where the spread between the network's looks is wanted.
    """
    lesion = {"label": "lesion", "desc": "unet"}
    more: tuple[str, ...] = (_spread_name(stem),) if spread else ()
    more += (f"{stem}_FLAIR.nii.gz", derivative_name(stem, "seg", **lesion, extension=".dcm")) if dicom else ()
    return (
        derivative_name(stem, "mask", **lesion),
        derivative_name(stem, "probseg", **lesion),
        derivative_name(stem, "mask", desc="brain"),
        *more,
        f"{stem}_desc-lesions.tsv",
        f"{stem}_desc-qc.png",
        summary_name(stem),
    )


def _spread_name(stem: str) -> str:
    return derivative_name(stem, "probseg", label="lesion", desc="spread")


def write_all(  # noqa: PLR0913 - one examination, all that is known of it
    out_dir: Path,
    stem: str,
    flair: Image,
    segmentation: Segmentation,
    summary: dict[str, Any],
    timer: StageTimer,
    examination: DicomExamination | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write everything to a temporary folder, then move it to `out_dir`; with the DICOM-SEG if DICOM was read.

    Just before, and while no other run may do the same, `check` can refuse: another run may have ended there since this one began.
    """
    out_dir = out_dir.absolute()
    with waiting_folder(out_dir) as waiting:
        with timer("write"):
            _write_images(waiting, stem, flair, segmentation)
            if examination is not None:
                examination.write(waiting, segmentation, summary["weights"])
            table = segmentation.lesions.round(4)
            table.to_csv(waiting / f"{stem}_desc-lesions.tsv", sep="\t", index=False, na_rep="n/a", lineterminator="\n")
        with timer("picture"):
            _write_picture(waiting / f"{stem}_desc-qc.png", flair, segmentation, summary)
        summary["seconds"] = {**timer.seconds, "total": round(sum(timer.seconds.values()), 3)}
        summary["peak_memory_gb"] = peak_memory_gb()
        summary["files"] = {path.name: sha256_file(path) for path in sorted(waiting.iterdir())}
        write_json(waiting / summary_name(stem), summary)
        with nobody_else_in(out_dir):
            check()
            move_in(waiting, out_dir, stem)


def _write_images(folder: Path, stem: str, flair: Image, segmentation: Segmentation) -> None:
    lesion = {"label": "lesion", "desc": "unet"}
    write_image(derivative_path(folder, stem, "mask", **lesion), segmentation.mask, flair, np.uint8)
    write_image(derivative_path(folder, stem, "probseg", **lesion), segmentation.probability, flair, np.float32)
    write_image(derivative_path(folder, stem, "mask", desc="brain"), segmentation.brain, flair, np.uint8)
    if segmentation.spread is not None:
        write_image(folder / _spread_name(stem), segmentation.spread, flair, np.float32)


def _write_picture(path: Path, flair: Image, segmentation: Segmentation, summary: dict[str, Any]) -> None:
    from flairnb.present.qc import qc_picture
    from flairnb.present.style import save_figure

    figure = qc_picture(
        flair,
        segmentation.mask,
        segmentation.brain,
        volume_ml=summary["lesion_volume_ml"],
        lesion_count=summary["lesion_count"],
        expected_dice=summary["expected_dice"],
        warnings=summary["notes"],
    )
    save_figure(figure, path, formats=("png",))
