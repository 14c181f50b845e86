"""Brain extraction: a whole-head template is brought to the head, its mask comes along.

The fit runs at 4 mm: it only has to put the mask near the brain, since
`refine` then finds the surface, on the working grid and once more on voxels
half as large (measured on seven public heads: a fit at 2 mm, with SyN and N4
as long as `flairnb bench --part agreement` says, gives the same mask to 0.01
of Dice).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flairnb.geometry import Grid, isotropic_grid
from flairnb.prepare import bridge
from flairnb.prepare.intensity import head_mask, smooth_sample, tame
from flairnb.prepare.refine import Channels, refine_brain
from flairnb.prepare.register import about, best_start, mutual_information, refine_linear, rotation
from flairnb.prepare.template import load_template
from flairnb.resampling import resample

BRAIN_LIMITS_ML = (700.0, 2200.0)
_FIT_MM = 4.0


@dataclass(frozen=True)
class BrainExtraction:
    """What brain extraction found.

    Attributes
    ----------
    probability : (I, J, K) float32 array
        0..1; 0.5 is the brain's surface.
    grid : Grid
        Its voxels: a box around the brain, or the working grid where nothing was refined.
    volume_ml : float
    template_xfm : (4, 4) float array
        Head world to template world, RAS mm (the affine part).
    agreement : float
        Normalised mutual information of head and template after the affine.
    """

    probability: NDArray[np.float32]
    grid: Grid
    volume_ml: float
    template_xfm: NDArray[np.float64]
    agreement: float


def extract_brain(
    channels: Callable[[Grid], Channels],
    grid: Grid,
    affine_iterations: Sequence[int] = (100, 50),
    syn_iterations: Sequence[int] = (20, 0),
    refine: bool = True,
) -> BrainExtraction:
    """Find the brain in a head with skull.

    Parameters
    ----------
    channels : callable
        Gives the images of one head on a grid, scaled to 0..1 (see
        `intensity.tame`), and where the first has data. The first leads the
        registration; the first two refine the mask.
    grid : Grid
        The working grid, isotropic.
    affine_iterations, syn_iterations : sequence of int
        Steps a level, coarse to fine; no SyN when empty.
    refine : bool
        Move the mask's surface to where the head's own intensities put it.

    Notes
    -----
    The template is T1w. For a FLAIR this works too: mutual information does
    not mind the other contrast.
    """
    lead = np.asarray(channels(grid)[0][0], np.float32)
    coarse = isotropic_grid(grid.shape, grid.affine, max(_FIT_MM, float(grid.spacing_mm[0])))
    small = smooth_sample(lead, grid.affine, coarse)
    head, (template_head, template_brain, template_grid) = head_mask(small), _coarse_template()
    fixed, moving = (small, coarse.affine), (template_head, template_grid.affine)
    start = template_start(small, head, coarse, template_head, template_grid.affine)
    matrix, agreement = fit_template(fixed, moving, head, start, affine_iterations)
    probability = _warped_mask(fixed, moving, matrix, syn_iterations, template_brain, grid)
    if refine:
        probability, grid = refine_brain(channels, probability, grid)
    volume = float((probability > 0.5).sum()) * float(np.prod(grid.spacing_mm)) / 1000
    return BrainExtraction(probability, grid, volume, matrix, agreement)


def fit_template(
    fixed: tuple[NDArray, NDArray],
    moving: tuple[NDArray, NDArray],
    head: NDArray[np.bool_],
    start: NDArray,
    iterations: Sequence[int],
) -> tuple[NDArray[np.float64], float]:
    """Return the best affine, head world to template world, and its mutual information inside the head.

    A similarity by the whole image finds the head; then the head alone counts
    (by the whole image, a head whose vertex is cut off stretches the
    template). Where that leads astray, an affine by the whole image is tried.
    """
    inside = head.astype(np.float32)
    grid = Grid(fixed[0].shape, fixed[1])

    def score(matrix: NDArray) -> float:
        if not is_plausible_affine(matrix):
            return 0.0
        return mutual_information(fixed[0][head], resample(moving[0], moving[1], grid, world=matrix)[head])

    similar = refine_linear(fixed, moving, start, "Similarity", iterations)
    inner = refine_linear(fixed, moving, similar, "Similarity", iterations, fixed_mask=inside)
    inner = refine_linear(fixed, moving, inner, "Affine", iterations, fixed_mask=inside)
    found = [inner, similar]
    scores = [score(m) for m in found]
    if scores[0] <= scores[1]:
        found.append(refine_linear(fixed, moving, similar, "Affine", iterations))
        found.append(start)
        scores = [score(m) for m in found]
    best = int(np.argmax(scores))
    return found[best], scores[best]


def _coarse_template() -> tuple[NDArray[np.float32], NDArray[np.float32], Grid]:
    """Return the template's head (0..1) and brain at the spacing of the fit."""
    template = load_template()
    grid = isotropic_grid(template.head.shape, template.affine, _FIT_MM)
    head = smooth_sample(tame(template.head), template.affine, grid)
    return head, template.brain.astype(np.float32), grid


def template_start(
    lead: NDArray, head: NDArray[np.bool_], grid: Grid, template_head: NDArray, template_affine: NDArray
) -> NDArray[np.float64]:
    """Return the best of a lattice of rigid starts, head world to template world.

    The brain's centre lies some 75 mm below the vertex; pitch and depth are
    searched because clinical slices are tilted and fields of view differ.
    """
    template = load_template()
    centre = head_centre(head, grid)
    target = (template.affine @ np.array([*np.argwhere(template.brain).mean(axis=0), 1.0]))[:3]
    starts = [
        about(centre, rotation((pitch, 0, 0)), target - centre + np.array([0.0, y, z]))
        for pitch, y, z in itertools.product((-24, -12, 0, 12, 24), (-16, 0, 16), (-48, -32, -16, 0, 16, 32))
    ]
    return best_start(lead * head, grid.affine, template_head, template_affine, starts)[0]


def head_centre(head: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Return a point 75 mm below the head's top, mid of its upper 150 mm; world mm, shape (3,)."""
    where = np.argwhere(head)
    if len(where) == 0:
        where = np.array([[0, 0, 0], np.array(grid.shape) - 1])
    world = where @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    top = np.percentile(world[:, 2], 99.9)
    upper = world[world[:, 2] > top - 150.0]
    centre = (np.percentile(upper, 2, axis=0) + np.percentile(upper, 98, axis=0)) / 2
    return np.array([centre[0], centre[1], top - 75.0])


def is_plausible_affine(matrix: NDArray) -> bool:
    """Tell whether an affine scales a head by 0.7 to 1.35, and alike (within 1.4) along all directions."""
    if not np.isfinite(matrix).all():
        return False
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(scales.min() > 0.7 and scales.max() < 1.35 and scales.max() < 1.4 * scales.min())


def _warped_mask(
    fixed: tuple[NDArray, NDArray],
    moving: tuple[NDArray, NDArray],
    matrix: NDArray,
    syn_iterations: Sequence[int],
    brain: NDArray,
    grid: Grid,
) -> NDArray[np.float32]:
    """Bring the template's brain to the working grid: affine, then SyN if asked; values 0..1."""
    import ants

    template_affine = load_template().affine
    if not syn_iterations or not any(syn_iterations):
        return resample(brain, template_affine, grid, world=matrix)
    with bridge.scratch_folder() as folder:
        first = str(bridge.write_xfm(folder + "affine.txt", matrix))
        found = bridge.register(
            bridge.to_ants(*fixed),
            bridge.to_ants(*moving),
            type_of_transform="SyNOnly",
            initial_transform=[first],
            outprefix=folder + "syn",
            reg_iterations=tuple(syn_iterations),
        )
        target = bridge.to_ants(np.zeros(grid.shape, np.float32), grid.affine)
        warped = ants.apply_transforms(target, bridge.to_ants(brain, template_affine), found["fwdtransforms"], "linear")
    return np.clip(warped.numpy().astype(np.float32), 0, 1)
