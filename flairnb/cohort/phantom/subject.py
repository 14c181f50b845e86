"""One phantom subject: head, lesions, two series, readers, all on disk as BIDS.

Everything is simulated, and the side-cars say so. Each stage draws from its
own stream, so that a change in one leaves the others as they were.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flairnb.cohort.phantom import kspace, protocol, reader, scanner, signal
from flairnb.cohort.phantom.anatomy import Anatomy, draw_anatomy
from flairnb.cohort.phantom.lesions import LesionMap
from flairnb.cohort.phantom.noise import fractal_field, smooth_field
from flairnb.cohort.phantom.recipes import draw_lesions
from flairnb.cohort.phantom.tissue import PARENCHYMA, Tissue, is_in
from flairnb.geometry import Grid
from flairnb.images import Image, write_image
from flairnb.naming import anat_dir, cohort_derivative, derivative_path, raw_path, sidecar_path
from flairnb.provenance import write_json
from flairnb.settings import CohortSettings

NOTE = "Simulated phantom, no person: made by flairnb.cohort.phantom"
_STAGES = ("anatomy", "lesions", "tissue", "protocol", "pose", "texture", "flair", "t1w", "reader")


@dataclass(frozen=True)
class Scans:
    """A scanned phantom, in memory.

    Attributes
    ----------
    flair, t1w : int16 arrays
        On the grids of their acquisitions.
    flair_acquisition, t1w_acquisition : Acquisition
    lesion_fraction, brain : float and bool arrays
        Truth on the FLAIR's grid.
    manual, manual2 : bool arrays
        Reference and simulated second reader, on the FLAIR's grid.
    flair_to_t1w : (4, 4) array
        The FLAIR's world to the T1w's world (head movement between series), mm.
    lesions : LesionMap
        Truth on the head's grid.
    """

    flair: NDArray[np.int16]
    t1w: NDArray[np.int16]
    flair_acquisition: scanner.Acquisition
    t1w_acquisition: scanner.Acquisition
    lesion_fraction: NDArray[np.float32]
    brain: NDArray[np.bool_]
    manual: NDArray[np.bool_]
    manual2: NDArray[np.bool_]
    flair_to_t1w: NDArray[np.float64]
    lesions: LesionMap


def streams(participant_id: str, seed: int) -> dict[str, np.random.Generator]:
    """Return one generator a stage, the same for the same participant and seed."""
    root = np.random.SeedSequence([int(seed), zlib.crc32(participant_id.encode())])
    return {name: np.random.default_rng(s) for name, s in zip(_STAGES, root.spawn(len(_STAGES)), strict=True)}


def draw_subject(row: Mapping[str, Any], seed: int, settings: CohortSettings) -> tuple[LesionMap, dict[str, np.random.Generator]]:
    """Draw a subject's head and lesions; return them with the streams that are left.

    Parameters
    ----------
    row : mapping
        Roster row: `participant_id`, `diagnosis` and `age` count here.
    seed : int
        The cohort's seed.
    settings : CohortSettings
        `head_spacing_mm`.
    """
    rngs = streams(str(row["participant_id"]), seed)
    age = float(row["age"]) if row.get("age") is not None and np.isfinite(float(row["age"])) else None
    anatomy = draw_anatomy(rngs["anatomy"], settings.head_spacing_mm, age=age)
    return draw_lesions(anatomy, str(row["diagnosis"]), rngs["lesions"]), rngs


def scan_subject(lesions: LesionMap, row: Mapping[str, Any], rngs: Mapping[str, np.random.Generator]) -> Scans:
    """Scan a head: FLAIR by the row's protocol, T1w by a drawn one after a small movement.

    Parameters
    ----------
    lesions : LesionMap
        Head and lesions.
    row : mapping
        Roster row.
    rngs : mapping
        Streams from `draw_subject`.
    """
    anatomy = lesions.anatomy
    table = signal.draw_tissue_table(float(row["field_strength_t"]), rngs["tissue"])
    wanted = {
        "FLAIR": protocol.draw_flair_protocol(row, rngs["protocol"]),
        "T1w": protocol.draw_t1w_protocol(row, rngs["protocol"]),
    }
    pose = scanner.draw_pose(rngs["pose"])
    movement = scanner.draw_movement(rngs["pose"])
    placed = {
        "FLAIR": scanner.prescribe(wanted["FLAIR"], anatomy.brain, anatomy.affine, pose, rngs["pose"]),
        "T1w": scanner.prescribe(wanted["T1w"], anatomy.brain, anatomy.affine, movement @ pose, rngs["pose"]),
    }
    strength, texture = _strength(lesions, rngs["texture"])
    images = {}
    for contrast, acquisition in placed.items():
        sequence, rng = acquisition.protocol.sequence, rngs[contrast.lower()]
        head = signal.head_signal(anatomy.tissue, table, sequence, strength, lesions.dark)
        head *= texture
        white_matter = float(signal.tissue_signal(table, sequence)[Tissue.WM])
        if acquisition.protocol.flow > 0:
            fluid = is_in(anatomy.tissue, Tissue.CSF, Tissue.VENTRICLE) & anatomy.brain
            head = kspace.add_csf_inflow(head, fluid, 2.5 * white_matter, acquisition.protocol.flow, rng)
        images[contrast] = scanner.acquire(acquisition, head, anatomy.affine, white_matter, rng)
    flair = placed["FLAIR"]
    fraction = scanner.sample_fraction(flair, lesions.mask, anatomy.affine)
    brain = scanner.sample_fraction(flair, anatomy.brain, anatomy.affine) > 0.5
    manual = reader.reference_mask(fraction, flair.grid.spacing_mm)
    manual2 = manual.copy()
    if manual.any():
        bright = images["FLAIR"] > np.percentile(images["FLAIR"][brain], 85)
        manual2 = reader.second_reader(manual, flair.grid.spacing_mm, brain, rngs["reader"], bright=bright)
    return Scans(images["FLAIR"], images["T1w"], flair, placed["T1w"], fraction, brain, manual, manual2, movement, lesions)


def _strength(lesions: LesionMap, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return lesion strength, with what is bright in everyone, and the tissue's texture.

    One factor a subject says how conspicuous the lesions are. Its range was
    changed three times after looking at the demo's Dice scores; the present one
    was set by comparison with patients instead: in the four public development
    cases of MS the mean lesion voxel lies 1.3 to 1.6 brain SDs above the
    brain's mean (2.0 to 2.3 away from the lesions' edges), in four gliomas 0.2
    to 2.0, while phantoms of the range before had 0.3 to 0.7 in a third of the
    cases.
    """
    anatomy: Anatomy = lesions.anatomy
    strength = lesions.weight * lesions.signal * np.float32(rng.uniform(1.2, 1.6))
    # Everyone has these (loose ependyma and slow fluid at the ventricles, limbic cortex, the pyramidal tract): no lesions.
    distance = anatomy.distance_to_ventricle_mm
    normal = np.where(anatomy.white_matter, rng.uniform(0.05, 0.3) * np.exp(-distance / rng.uniform(0.7, 1.6)), 0).astype(np.float32)
    uneven = np.clip(1 + 0.5 * smooth_field(rng, anatomy.shape, 14.0 / anatomy.spacing_mm), 0, 2)
    normal[is_in(anatomy.tissue, Tissue.LIMBIC_GM)] = rng.uniform(0.0, 0.2)
    x, y, z = anatomy.world
    tract = ((np.abs(x) - 23) / 4) ** 2 + ((y + 12) / 6) ** 2 + ((z - 8) / 16) ** 2 < 1
    normal[tract & anatomy.white_matter] += np.float32(rng.uniform(0.0, 0.12))
    strength = np.maximum(strength, normal * uneven)
    parenchyma = is_in(anatomy.tissue, *PARENCHYMA)
    scales = (12.0 / anatomy.spacing_mm, 3.2 / anatomy.spacing_mm)
    texture = 1 + np.float32(rng.uniform(0.025, 0.05)) * fractal_field(rng, anatomy.shape, scales)
    texture[~parenchyma] = 1 + 4 * (texture[~parenchyma] - 1)
    return strength, np.clip(texture, 0.5, 1.5).astype(np.float32)


def write_subject(row: Mapping[str, Any], out_dir: str | Path, seed: int, settings: CohortSettings) -> dict[str, Any]:
    """Draw, scan and write one phantom subject.

    Parameters
    ----------
    row : mapping
        Roster row.
    out_dir : path
        Work folder: ``rawdata/``, ``derivatives/flairnb/`` and
        ``derivatives/phantom/`` grow in it.
    seed : int
    settings : CohortSettings

    Returns
    -------
    dict
        `flair`, `t1w`, `reference_mask`, `second_reader_mask`, `brain_mask`
        and `truth`: paths relative to `out_dir`; `lesion_ml`, `reference_ml`
        and `reader_dice`: numbers.
    """
    out_dir, name = Path(out_dir), str(row["participant_id"])
    lesions, rngs = draw_subject(row, seed, settings)
    scans = scan_subject(lesions, row, rngs)
    like = {"FLAIR": _like(scans.flair_acquisition), "T1w": _like(scans.t1w_acquisition)}
    paths = {
        "flair": raw_path(out_dir, name, "FLAIR"),
        "t1w": raw_path(out_dir, name, "T1w"),
        "reference_mask": cohort_derivative(out_dir, name, "mask", label="lesion", desc="manual"),
        "second_reader_mask": cohort_derivative(out_dir, name, "mask", label="lesion", desc="manual2"),
        "brain_mask": derivative_path(anat_dir(out_dir / "derivatives" / "phantom", name), name, "mask", desc="brain"),
        "truth": derivative_path(anat_dir(out_dir / "derivatives" / "phantom", name), name, "truth", extension=".json"),
    }
    write_image(paths["flair"], scans.flair, like["FLAIR"], np.int16)
    write_image(paths["t1w"], scans.t1w, like["T1w"], np.int16)
    write_image(paths["reference_mask"], scans.manual, like["FLAIR"], np.uint8)
    write_image(paths["second_reader_mask"], scans.manual2, like["FLAIR"], np.uint8)
    write_image(paths["brain_mask"], scans.brain, like["FLAIR"], np.uint8)
    for contrast, acquisition in (("flair", scans.flair_acquisition), ("t1w", scans.t1w_acquisition)):
        write_json(sidecar_path(paths[contrast]), _bids_fields(acquisition, row))
    for key, who in (("reference_mask", "manual"), ("second_reader_mask", "manual2")):
        write_json(sidecar_path(paths[key]), _mask_fields(who, paths["flair"].name))
    numbers = _numbers(scans)
    truth = {"Simulated": True, "Note": NOTE, **numbers, "lesion_kinds": list(lesions.kinds)}
    truth["flair_world_to_t1w_world"] = scans.flair_to_t1w
    truth["head_world_to_flair_world"] = scans.flair_acquisition.pose
    write_json(paths["truth"], truth)
    return {**{key: path.relative_to(out_dir).as_posix() for key, path in paths.items()}, **numbers}


def _like(acquisition: scanner.Acquisition) -> Image:
    """Return an empty image whose header has the grid and codes of an acquisition."""
    import nibabel as nib

    grid: Grid = acquisition.grid
    header = nib.Nifti1Header()
    header.set_data_shape(grid.shape)
    header.set_data_dtype(np.int16)
    header.set_xyzt_units("mm", "sec")
    qform_code, sform_code = acquisition.protocol.codes
    header.set_qform(grid.affine, qform_code, strip_shears=False)
    header.set_sform(grid.affine, sform_code)
    return Image(np.broadcast_to(np.float32(0), grid.shape), header.get_best_affine(), header)


def _numbers(scans: Scans) -> dict[str, float]:
    voxel_ml = float(np.prod(scans.flair_acquisition.grid.spacing_mm)) / 1000.0
    total = int(scans.manual.sum() + scans.manual2.sum())
    dice = 2.0 * int((scans.manual & scans.manual2).sum()) / total if total else float("nan")
    return {
        "lesion_ml": round(scans.lesions.volume_ml, 4),
        "reference_ml": round(float(scans.manual.sum()) * voxel_ml, 4),
        "reader_dice": round(dice, 4) if total else None,
    }


def _bids_fields(acquisition: scanner.Acquisition, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the side-car of a raw image: BIDS acquisition fields, seconds and tesla."""
    p = acquisition.protocol
    flair = p.contrast == "FLAIR"
    fields = {
        "Modality": "MR",
        "Manufacturer": str(row["manufacturer"]),
        "ManufacturersModelName": str(row.get("model", "")),
        "MagneticFieldStrength": float(row["field_strength_t"]),
        "MRAcquisitionType": p.dimension,
        "EchoTime": round((float(row["te_ms"]) if flair else p.sequence.te_ms) / 1000, 6),
        "RepetitionTime": round(p.sequence.tr_ms / 1000, 6),
        "SliceThickness": p.slice_mm,
        "SpacingBetweenSlices": round(p.slice_mm + p.gap_mm, 4),
        "Simulated": True,
        "SimulationNote": NOTE,
    }
    if p.sequence.ti_ms > 0:
        fields["InversionTime"] = round(p.sequence.ti_ms / 1000, 6)
    if p.sequence.kind in ("mprage", "spgr"):
        fields["FlipAngle"] = round(p.sequence.flip_deg, 2)
    return fields


def _mask_fields(who: str, flair_name: str) -> dict[str, Any]:
    said = {
        "manual": "Reference: half or more of a voxel is simulated lesion; a lower share where a thick slice dilutes it",
        "manual2": "Simulated second reader, calibrated to the article's human Dice of 0.805; no person drew it",
    }[who]
    return {"Type": "Lesion", "Sources": [flair_name], "Simulated": True, "Description": said}
