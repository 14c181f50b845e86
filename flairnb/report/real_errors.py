"""How the shipped network errs on real patients: what it misses, what it marks that the reader did not, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.report import real_kept

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from flairnb.report.start import Run

MISSED, FALSE = "missed", "falsely marked"
#: What lies no deeper than this below the border of the brain mask counts as near the brain's surface, mm.
SURFACE_MM = 5.0
COLUMNS = (
    "participant_id", "family", "error", "ml", "of_ml", "border_ml", "further_ml", "whole_ml", "whole", "lesions", "surface_ml",
)  # fmt: skip


def split_errors(
    reference: NDArray[np.bool_], predicted: NDArray[np.bool_], brain: NDArray[np.bool_], affine: ArrayLike
) -> list[dict[str, Any]]:
    """Split missed and falsely marked volume by where it lies.

    Parameters
    ----------
    reference, predicted, brain : (I, J, K) bool array
        The reader's mask, the method's, and the brain, on one grid.
    affine : (4, 4) array_like
        Voxel to mm.

    Returns
    -------
    list of dict
        One for `MISSED`, one for `FALSE`: `ml`; `of_ml`, the volume of the
        reader's mask or of the method's; `whole_ml`, in lesions (joined by
        face, edge or corner) that the other mask does not touch, `whole` of
        `lesions` in number; `border_ml`, in touched lesions and no farther
        from what both marked than the diagonal of a voxel in its slice;
        `further_ml`, the rest of touched lesions; and, across all these,
        `surface_ml`, outside the brain mask or no deeper than `SURFACE_MM`
        below its border. Where the field of view cuts the brain off there is
        no border.

    Notes
    -----
    Nothing is said about ventricles: what is kept of a case does not show
    where they are.
    """
    from scipy import ndimage

    from flairnb.evaluate.components import slice_axis
    from flairnb.geometry import mask_box, spacing_mm
    from flairnb.network.rim import depth_in_brain

    reference, predicted, brain = (np.asarray(mask, dtype=bool) for mask in (reference, predicted, brain))
    affine = np.asarray(affine, dtype=float)
    step = spacing_mm(affine)
    head = mask_box(brain | reference | predicted)
    shallow = depth_in_brain(brain, head, affine) <= SURFACE_MM
    reference, predicted = reference[head], predicted[head]
    box = mask_box(reference | predicted)
    shallow, reference, predicted = shallow[box], reference[box], predicted[box]
    both = reference & predicted
    reach = float(np.hypot(*np.delete(step, slice_axis(affine)))) * 1.001  # distances are sums of rounded squares
    near = ndimage.distance_transform_edt(~both, sampling=step) <= reach if both.any() else both
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000
    pairs = ((MISSED, reference, predicted), (FALSE, predicted, reference))
    return [{"error": error, **_by_place(mask, other, near, shallow, voxel_ml)} for error, mask, other in pairs]


def _by_place(mask: NDArray, other: NDArray, near: NDArray, shallow: NDArray, voxel_ml: float) -> dict[str, Any]:
    from flairnb.evaluate.components import label_lesions

    labels, count = label_lesions(mask)
    touched = np.zeros(count + 1, dtype=bool)
    touched[labels[mask & other]] = True
    wrong = mask & ~other
    whole = wrong & ~touched[labels]
    parts = {"ml": wrong, "of_ml": mask, "border_ml": wrong & near & ~whole, "further_ml": wrong & ~near & ~whole, "whole_ml": whole}
    volumes = {name: int(np.count_nonzero(part)) * voxel_ml for name, part in {**parts, "surface_ml": wrong & shallow}.items()}
    return {**volumes, "whole": int(count - np.count_nonzero(touched[1:])), "lesions": count}


def error_rows(case: dict[str, str], found: Any, reference: NDArray[np.bool_] | None, affine: ArrayLike) -> list[dict[str, Any]]:
    """Return `split_errors` of one case as rows of `COLUMNS`; a healthy case without a reader's mask has no lesion, another one no row.

    `found` is a :class:`flairnb.report.patient.Segmentation`.
    """
    if reference is None:
        if case["family"] != "healthy":
            return []
        reference = np.zeros(found.mask.shape, dtype=bool)
    who = {"participant_id": case["participant_id"], "family": case["family"]}
    return [{**who, **row} for row in split_errors(reference, found.mask, found.brain, affine)]


def recall(run: Run) -> pd.DataFrame:
    """Return this run's table of errors, or the committed one; no row where there is neither."""
    return real_kept.recall(run, real_kept.ERRORS, COLUMNS)


def sentences(rows: pd.DataFrame) -> Markdown:
    """Say in a sentence or two a case what went wrong and where, the case with the largest share of errors first, healthy ones last."""
    import pandas as pd
    from IPython.display import Markdown

    if rows.empty:
        return Markdown("No real case with a reader's mask, here or in the committed record: nothing to say.")
    sums = rows.assign(sick=rows["of_ml"].where(rows["error"] == MISSED, 0.0) > 0).groupby("participant_id", sort=False)
    share = pd.DataFrame({"sick": sums["sick"].any(), "share": sums["ml"].sum() / sums["of_ml"].sum()})
    order = share.sort_values(["sick", "share"], ascending=False, kind="stable").index
    return Markdown("\n".join(f"- {sentence(rows[rows['participant_id'] == name])}" for name in order))


def sentence(rows: pd.DataFrame) -> str:
    """Return the sentence on one case's two rows.

    A share is left out where there is nothing that it would be a share of.
    """
    by_error = rows.set_index("error")
    missed, false = by_error.loc[MISSED], by_error.loc[FALSE]
    return f"**{missed['participant_id']}** ({missed['family']}): {_missed(missed)}; {_false(false)}.{_at_the_surface(missed, false)}"


def _missed(row: pd.Series) -> str:
    if row["of_ml"] == 0:
        return "nothing to find"
    if row["ml"] == 0:
        return f"misses nothing of {row['of_ml']:.1f} ml"
    whole = f"{row['whole']:.0f} of {row['lesions']:.0f} lesions missed whole ({row['whole_ml']:.1f} ml)"
    return (
        f"misses {row['ml']:.1f} of {row['of_ml']:.1f} ml, {_share(row, 'border_ml')} of it at the border of lesions that it found, {whole}"
    )


def _false(row: pd.Series) -> str:
    if row["ml"] == 0:
        return "marks nothing that the reader did not"
    whole = f"{row['whole']:.0f} of {row['lesions']:.0f} marked spots wholly false ({row['whole_ml']:.1f} ml)"
    return f"marks {row['ml']:.1f} ml that the reader did not, {_share(row, 'border_ml')} of it at such borders, {whole}"


def _at_the_surface(missed: pd.Series, false: pd.Series) -> str:
    said = [f"{_share(row, 'surface_ml')} of what is {row.name}" for row in (missed, false) if row["ml"] > 0]
    return f" Within {SURFACE_MM:g} mm of the brain's surface: {' and '.join(said)}." if said else ""


def _share(row: pd.Series, part: str) -> str:
    return f"{100 * row[part] / row['ml']:.0f}%"
