"""Compare two lesion masks on the same grid.

One policy for empty masks, used everywhere in the package
----------------------------------------------------------
A score that divides by nothing is NaN; it is never turned into 0 or 1, and a NaN is counted, not averaged.

=================  ====  ===========  ===  ====  ============  ========  ==========  ===  ====
which is empty     Dice  sensitivity  PPV  FDR   volume error  lesion    lesion      F1   HD95
                                                 (fraction)    recall    precision
=================  ====  ===========  ===  ====  ============  ========  ==========  ===  ====
neither            x     x            x    x     x             x         x           x    x
only predicted     0     0            NaN  NaN   -1            0         NaN         0    NaN
only reference     0     NaN          0    1     NaN           NaN       0           0    NaN
both               NaN   NaN          NaN  NaN   NaN           NaN       NaN         NaN  NaN
=================  ====  ===========  ===  ====  ============  ========  ==========  ===  ====

`Scores.empty` says which row applies. An empty prediction on a healthy brain is right: it shows in specificity, in the
volume error in ml (0) and in the count of "both" cases, not as a Dice of 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from flairnb.errors import GeometryError, InputError
from flairnb.evaluate.components import as_mask, label_lesions, touched_labels
from flairnb.geometry import spacing_mm, voxel_volume_mm3

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Empty = Literal["neither", "predicted", "reference", "both"]

#: Axes whose directions have a scalar product below this are at right angles: affines on disk are rounded to single precision.
_RIGHT_ANGLE = 1e-5
#: Voxels that fill less than this share of the box of their edges are flat: two axes run side by side.
_FLAT = 1e-6


@dataclass(frozen=True)
class Scores:
    """How well a predicted mask agrees with a reference mask.

    All voxel scores count voxels of the grid that the masks are on (the native grid in a cohort). Specificity and
    negative predictive value need a volume to count true negatives in, which the article does not name: `specificity`
    and `npv` use the brain mask, `specificity_grid` and `npv_grid` every voxel of the grid. Without a brain mask the
    first pair equals the second and `specificity_over` is "grid".
    """

    dice: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float
    false_discovery_rate: float
    specificity_grid: float
    npv_grid: float
    specificity_over: str
    reference_ml: float
    predicted_ml: float
    volume_error_ml: float
    volume_error_fraction: float
    absolute_volume_error_ml: float
    absolute_volume_error_fraction: float
    reference_lesions: int
    predicted_lesions: int
    lesion_recall: float
    lesion_precision: float
    lesion_f1: float
    hd95_mm: float
    empty: Empty

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the scores as a plain dictionary, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class LesionCounts:
    """Lesions found and missed, by the rule "any overlap of one voxel or more"."""

    reference: int
    predicted: int
    reference_hit: int
    predicted_hit: int

    @property
    def recall(self) -> float:
        """Share of reference lesions that the prediction touches."""
        return _ratio(self.reference_hit, self.reference)

    @property
    def precision(self) -> float:
        """Share of predicted lesions that touch the reference."""
        return _ratio(self.predicted_hit, self.predicted)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision; 0 when exactly one mask is empty."""
        if self.reference == 0 and self.predicted == 0:
            return float("nan")
        if self.reference_hit == 0 or self.predicted_hit == 0:
            return 0.0
        return 2.0 * self.recall * self.precision / (self.recall + self.precision)


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator) / float(denominator) if denominator else float("nan")


def _checked_pair(reference: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    reference, predicted = as_mask(reference, "reference mask"), as_mask(predicted, "predicted mask")
    if reference.shape != predicted.shape:
        msg = (
            f"masks are on different grids: reference {reference.shape}, predicted {predicted.shape}. "
            "Resample the prediction to the reference's grid."
        )
        raise GeometryError(msg)
    return reference, predicted


@dataclass(frozen=True)
class _Voxels:
    """How a grid's voxels lie: `steps_mm` (3, 3) has a column for the step along each axis; `volume_ml` is that of one voxel."""

    steps_mm: NDArray[np.float64]
    volume_ml: float


def _voxels(affine: ArrayLike) -> _Voxels:
    """Return steps and volume of an affine or of three spacings.

    A grid whose axes are at right angles is taken as unturned: distances are the same, and so are all digits of the scores.
    """
    given = np.asarray(affine, dtype=float)
    spacing = spacing_mm(given) if given.shape == (4, 4) else given
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        raise _no_grid(affine)
    if given.ndim == 1 or _has_right_angles(given[:3, :3] / spacing):
        return _Voxels(np.diag(spacing), float(np.prod(spacing)) / 1000.0)
    volume_mm3 = voxel_volume_mm3(given)
    if volume_mm3 < _FLAT * np.prod(spacing):
        raise _no_grid(affine)
    return _Voxels(given[:3, :3], volume_mm3 / 1000.0)


def _has_right_angles(directions: NDArray[np.float64]) -> bool:
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() < _RIGHT_ANGLE)


def _no_grid(affine: ArrayLike) -> InputError:
    return InputError(
        "affine: expected a (4, 4) matrix whose voxels have a volume, or a spacing_mm of three positive values, "
        f"received {np.asarray(affine).tolist()}. Check the image's header."
    )


def dice(reference: ArrayLike, predicted: ArrayLike) -> float:
    """Return the Dice coefficient, 2 |A and B| / (|A| + |B|); NaN when both masks are empty.

    Examples
    --------
    >>> a = np.zeros((3, 4, 5), bool); a[0, 0, :4] = True
    >>> b = np.zeros((3, 4, 5), bool); b[0, 0, 1:5] = True
    >>> dice(a, b)
    0.75
    """
    reference, predicted = _checked_pair(reference, predicted)
    overlap = np.count_nonzero(reference & predicted)
    return _ratio(2 * overlap, np.count_nonzero(reference) + np.count_nonzero(predicted))


def lesion_counts(reference: ArrayLike, predicted: ArrayLike, connectivity: int = 26) -> LesionCounts:
    """Count lesions found and missed; a lesion is found when one voxel of it overlaps.

    Recall counts reference lesions and precision predicted ones (the WMH challenge's rule), so one large predicted
    lesion that covers three reference lesions finds all three and is one true detection.
    """
    reference, predicted = _checked_pair(reference, predicted)
    reference_labels, n_reference = label_lesions(reference, connectivity)
    predicted_labels, n_predicted = label_lesions(predicted, connectivity)
    return LesionCounts(
        reference=n_reference,
        predicted=n_predicted,
        reference_hit=int(touched_labels(reference_labels, n_reference, predicted).sum()),
        predicted_hit=int(touched_labels(predicted_labels, n_predicted, reference).sum()),
    )


def surface(mask: ArrayLike) -> NDArray[np.bool_]:
    """Return the surface voxels: those with a face neighbour outside the mask or at the grid's edge.

    Parameters
    ----------
    mask : (I, J, K) bool array

    Returns
    -------
    (I, J, K) bool array
    """
    mask = as_mask(mask, "mask")
    return mask & ~ndimage.binary_erosion(mask, structure=ndimage.generate_binary_structure(3, 1), border_value=0)


def hd95_mm(reference: ArrayLike, predicted: ArrayLike, affine: ArrayLike) -> float:
    """Return the 95th-percentile Hausdorff distance in mm.

    For each surface voxel of one mask, the distance from its centre to the nearest surface voxel's centre of the
    other mask; the 95th percentile (linear interpolation) of each direction; the larger of the two. Surfaces are
    three-dimensional (see `surface`); the WMH challenge takes in-plane surfaces, so its values differ slightly.

    Parameters
    ----------
    reference, predicted : (I, J, K) bool array
        Masks on the same grid.
    affine : (4, 4) or (3,) float array
        Voxel to world, mm; shear counts. Of a grid without shear its three spacings are enough.

    Returns
    -------
    float
        mm; NaN when either mask is empty.

    Raises
    ------
    GeometryError
        If the masks differ in shape.
    InputError
        If a mask is not three-dimensional or the affine gives voxels no volume.

    Examples
    --------
    One slice up where each slice lies 3 mm further along the second axis than the one below:

    >>> below, above = np.zeros((3, 4, 5), bool), np.zeros((3, 4, 5), bool)
    >>> below[1, 1, 1] = above[1, 1, 2] = True
    >>> hd95_mm(below, above, [[1, 0, 0, 0], [0, 1, 3, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
    5.0
    """
    reference, predicted = _checked_pair(reference, predicted)
    return _hd95_mm(reference, predicted, _voxels(affine).steps_mm)


def _hd95_mm(reference: NDArray[np.bool_], predicted: NDArray[np.bool_], steps_mm: NDArray[np.float64]) -> float:
    if not reference.any() or not predicted.any():
        return float("nan")
    # Exact nearest neighbours of points: a distance map over the box of the union gives the same numbers, but costs
    # seconds when the two masks have specks far apart.
    of_reference, of_predicted = (np.argwhere(surface(mask)) @ steps_mm.T for mask in (reference, predicted))
    to_reference, _ = cKDTree(of_reference).query(of_predicted)
    to_predicted, _ = cKDTree(of_predicted).query(of_reference)
    return float(max(np.percentile(to_reference, 95), np.percentile(to_predicted, 95)))


def _specificity_and_npv(
    reference: NDArray[np.bool_], predicted: NDArray[np.bool_], inside: NDArray[np.bool_] | None
) -> tuple[float, float]:
    if inside is not None:
        reference, predicted = reference[inside], predicted[inside]
    n_voxels = reference.size
    n_negative = n_voxels - np.count_nonzero(reference)
    n_called_negative = n_voxels - np.count_nonzero(predicted)
    true_negative = n_voxels - np.count_nonzero(reference | predicted)
    return _ratio(true_negative, n_negative), _ratio(true_negative, n_called_negative)


def score_masks(
    reference: ArrayLike,
    predicted: ArrayLike,
    affine: ArrayLike,
    brain: ArrayLike | None = None,
    connectivity: int = 26,
) -> Scores:
    """Score a predicted mask against a reference mask.

    Parameters
    ----------
    reference : (I, J, K) bool array
        A reader's mask (the article's criterion standard), native grid.
    predicted : (I, J, K) bool array
        A method's or second reader's mask, same grid.
    affine : (4, 4) or (3,) float array
        Voxel to world, mm: volumes and distances count shear. Of a grid without shear its three spacings are enough.
    brain : (I, J, K) bool array, optional
        Volume for specificity and negative predictive value; the whole grid if not given. Lesion voxels outside the
        brain count in every other score.
    connectivity : {6, 18, 26}
        Which neighbours make one lesion.

    Returns
    -------
    Scores
        See the module's table for empty masks.

    Raises
    ------
    GeometryError
        If the masks differ in shape.
    InputError
        If a mask is not three-dimensional or the affine gives voxels no volume.
    """
    reference, predicted = _checked_pair(reference, predicted)
    voxels = _voxels(affine)
    if brain is not None:
        _, brain = _checked_pair(reference, brain)
    n_reference, n_predicted = int(np.count_nonzero(reference)), int(np.count_nonzero(predicted))
    overlap = np.count_nonzero(reference & predicted)
    reference_ml, predicted_ml = n_reference * voxels.volume_ml, n_predicted * voxels.volume_ml
    specificity, npv = _specificity_and_npv(reference, predicted, brain)
    specificity_grid, npv_grid = _specificity_and_npv(reference, predicted, None)
    lesions = lesion_counts(reference, predicted, connectivity)
    fraction = _ratio(n_predicted - n_reference, n_reference)
    return Scores(
        dice=_ratio(2 * overlap, n_reference + n_predicted),
        sensitivity=_ratio(overlap, n_reference),
        specificity=specificity,
        ppv=_ratio(overlap, n_predicted),
        npv=npv,
        false_discovery_rate=_ratio(n_predicted - overlap, n_predicted),
        specificity_grid=specificity_grid,
        npv_grid=npv_grid,
        specificity_over="grid" if brain is None else "brain",
        reference_ml=reference_ml,
        predicted_ml=predicted_ml,
        volume_error_ml=predicted_ml - reference_ml,
        volume_error_fraction=fraction,
        absolute_volume_error_ml=abs(predicted_ml - reference_ml),
        absolute_volume_error_fraction=abs(fraction),
        reference_lesions=lesions.reference,
        predicted_lesions=lesions.predicted,
        lesion_recall=lesions.recall,
        lesion_precision=lesions.precision,
        lesion_f1=lesions.f1,
        hd95_mm=_hd95_mm(reference, predicted, voxels.steps_mm),
        empty=_which_is_empty(n_reference, n_predicted),
    )


def _which_is_empty(n_reference: int, n_predicted: int) -> Empty:
    if n_reference and n_predicted:
        return "neither"
    if n_reference:
        return "predicted"
    return "reference" if n_predicted else "both"
