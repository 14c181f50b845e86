"""Brain extraction: a whole-head template is brought to the head, its mask comes along."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flairnb.geometry import Grid, isotropic_grid, resample
from flairnb.prepare import bridge
from flairnb.prepare.intensity import head_mask, tame
from flairnb.prepare.refine import refine_brain
from flairnb.prepare.register import about, best_start, refine_linear, rotation
from flairnb.prepare.template import load_template

BRAIN_LIMITS_ML = (700.0, 2200.0)


@dataclass(frozen=True)
class BrainExtraction:
    """What brain extraction found.

    Attributes
    ----------
    probability : (I, J, K) float32 array
        0..1 on the working grid; 0.5 is the brain's surface.
    volume_ml : float
    template_xfm : (4, 4) float array
        Head world to template world, RAS mm (the affine part).
    notes : tuple of str
        What a reader should know; empty when all went well.
    """

    probability: NDArray[np.float32]
    volume_ml: float
    template_xfm: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def extract_brain(
    channels: Sequence[NDArray],
    grid: Grid,
    affine_iterations: Sequence[int] = (200, 100, 50),
    syn_iterations: Sequence[int] = (40, 20, 10),
    refine: bool = True,
    t1w_first: bool = True,
) -> BrainExtraction:
    """Find the brain in a head with skull.

    Parameters
    ----------
    channels : sequence of (I, J, K) arrays
        Images of one head on one isotropic working grid, scaled to 0..1 (see
        `intensity.tame`). The first leads the registration; all of them
        refine the mask.
    grid : Grid
        The working grid.
    affine_iterations, syn_iterations : sequence of int
        Steps a level, coarse to fine; no SyN when empty.
    refine : bool
        Move the mask's surface to where the head's own intensities put it.
    t1w_first : bool
        The first channel has T1w contrast.

    Notes
    -----
    The template is T1w; for a FLAIR mutual information (affine) and local
    correlation squared (SyN) do not mind the other contrast.
    """
    lead = np.asarray(channels[0], np.float32)
    head = head_mask(lead)
    template = load_template()
    template_head = tame(template.head)
    start = template_start(lead, head, grid, template_head, template.affine, template.brain)
    matrix = refine_linear((lead, grid.affine), (template_head, template.affine), start, "Affine", affine_iterations)
    notes: list[str] = []
    if not is_plausible_affine(matrix, start):
        notes.append("the template's affine fit was implausible; the start was kept")
        matrix = start
    prior = warp_mask(lead, grid, matrix, syn_iterations)
    probability = refine_brain(channels, prior, grid.spacing_mm[0], head) if refine else prior
    volume = float((probability > 0.5).sum()) * float(np.prod(grid.spacing_mm)) / 1000
    return BrainExtraction(probability, volume, matrix, tuple(notes))


def template_start(
    lead: NDArray, head: NDArray[np.bool_], grid: Grid, template_head: NDArray, template_affine: NDArray, brain: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the best of a grid of rigid starts, head world to template world.

    The brain's centre lies some 75 mm below the vertex; pitch and depth are
    searched because clinical slices are tilted and fields of view differ.
    """
    centre = head_centre(head, grid)
    target = (template_affine @ np.array([*np.argwhere(brain).mean(axis=0), 1.0]))[:3]
    starts = [
        about(centre, rotation((pitch, 0, 0)), target - centre + np.array([0.0, y, z]))
        for pitch, y, z in itertools.product((-24, -12, 0, 12, 24), (-16, 0, 16), (-48, -32, -16, 0, 16, 32))
    ]
    return best_start(lead * head, grid.affine, template_head, template_affine, starts)[0]


def head_centre(head: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Return the middle of the head's top 150 mm in world mm, shape (3,)."""
    where = np.argwhere(head)
    if len(where) == 0:
        where = np.array([[0, 0, 0], np.array(grid.shape) - 1])
    world = where @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    top = np.percentile(world[:, 2], 99.9)
    upper = world[world[:, 2] > top - 150.0]
    centre = (np.percentile(upper, 2, axis=0) + np.percentile(upper, 98, axis=0)) / 2
    return np.array([centre[0], centre[1], top - 75.0])


def is_plausible_affine(matrix: NDArray, start: NDArray) -> bool:
    """Tell whether an affine keeps a head's size (scales 0.7 to 1.4) and stays within 60 mm of its start."""
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    drift = np.linalg.norm(matrix[:3, 3] - start[:3, 3] - (start[:3, :3] - matrix[:3, :3]) @ np.zeros(3))
    return bool(scales.min() > 0.7 and scales.max() < 1.4 and np.isfinite(matrix).all() and drift < 120)


def warp_mask(lead: NDArray, grid: Grid, matrix: NDArray, syn_iterations: Sequence[int]) -> NDArray[np.float32]:
    """Bring the template's brain to the head: affine, then SyN if asked; values 0..1."""
    import ants

    template = load_template()
    brain = template.brain.astype(np.float32)
    if not syn_iterations:
        return resample(brain, template.affine, grid, world=matrix)
    levels = len(syn_iterations)
    fixed = bridge.to_ants(lead, grid.affine)
    with bridge.scratch_folder() as folder:
        first = str(bridge.write_xfm(folder + "affine.txt", matrix))
        found = ants.registration(
            fixed,
            bridge.to_ants(tame(template.head), template.affine),
            "SyNOnly",
            initial_transform=[first],
            outprefix=folder + "syn",
            syn_metric="mattes",
            syn_sampling=32,
            reg_iterations=tuple(syn_iterations),
        )
        warped = ants.apply_transforms(fixed, bridge.to_ants(brain, template.affine), found["fwdtransforms"], "linear")
        out = warped.numpy().astype(np.float32)
    del levels
    return np.clip(out, 0, 1)


def work_grid_of(shape: tuple[int, ...], affine: NDArray, spacing: float) -> Grid:
    """Return the isotropic grid on which the head is worked on."""
    return isotropic_grid(shape, affine, spacing)
