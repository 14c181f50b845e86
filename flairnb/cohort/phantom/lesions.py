"""Shapes of lesions, each placed where its disease places it.

Every function returns a soft membership (0 to 1) on the anatomy's grid; the
reference mask is membership above one half. Shapes are random fields cut at a
level that gives the wanted volume, or ellipsoids with ragged outlines. Masses
that displace the brain are in `masses`, shapes of public masks in
`mni_shapes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flairnb.cohort.phantom.anatomy import Anatomy
from flairnb.cohort.phantom.noise import fractal_field, smooth_field
from flairnb.cohort.phantom.tissue import CORTEX, is_in


@dataclass
class LesionMap:
    """What is ill in a head.

    Attributes
    ----------
    weight : (I, J, K) float32 array
        Membership 0 to 1, soft at the edges.
    signal : (I, J, K) float32 array
        How much of a full lesion's FLAIR excess a voxel has (about 0.3 to 1.5).
    dark : (I, J, K) float32 array
        Share of necrosis or cyst (fluid) in a voxel, 0 to 1.
    anatomy : Anatomy
        The head after mass effect.
    kinds : list of str
        What was put in, in order.
    """

    weight: NDArray[np.float32]
    signal: NDArray[np.float32]
    dark: NDArray[np.float32]
    anatomy: Anatomy
    kinds: list[str] = field(default_factory=list)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Reference mask on the head's grid."""
        return self.weight > 0.5

    @property
    def volume_ml(self) -> float:
        """Volume of the reference mask in ml."""
        return float(self.mask.sum()) * self.anatomy.spacing_mm**3 / 1000

    def only_in_tissue(self) -> LesionMap:
        """Return the map without what lies outside grey and white matter, which has no lesion's signal."""
        return replace(self, weight=np.where(self.anatomy.parenchyma, self.weight, np.float32(0)))

    def add(self, weight: NDArray[np.float32], signal: NDArray[np.float32] | float, kind: str) -> None:
        """Lay another lesion over what is there; the stronger membership wins its signal."""
        stronger = weight > self.weight
        self.signal = np.where(stronger, signal, self.signal).astype(np.float32)
        self.weight = np.maximum(self.weight, weight)
        self.kinds.append(kind)


def empty_map(anatomy: Anatomy) -> LesionMap:
    """Return a map without lesions."""
    zero = np.zeros(anatomy.shape, dtype=np.float32)
    return LesionMap(zero, np.ones(anatomy.shape, dtype=np.float32), zero.copy(), anatomy)


def soften(mask: NDArray[np.bool_], sigma_vox: float) -> NDArray[np.float32]:
    """Blur a mask into a membership that still crosses one half at its edge."""
    return ndimage.gaussian_filter(mask.astype(np.float32), sigma_vox)


def white_matter_field(  # noqa: PLR0913 (a lesion pattern's properties, keywords with defaults)
    anatomy: Anatomy,
    rng: np.random.Generator,
    volume_ml: float,
    *,
    periventricular: float = 1.0,
    reach_mm: float = 8.0,
    texture_mm: tuple[float, ...] = (12.0, 5.0, 2.5),
    cortex_margin_mm: float = 2.5,
    symmetric: float = 0.5,
) -> NDArray[np.bool_]:
    """Cut a random field in white matter at the level that gives a volume.

    Gives caps, bands, confluent areas and scattered foci in one go, as in
    small-vessel disease: the field is high near the ventricles and has
    structure at several scales.

    Parameters
    ----------
    anatomy : Anatomy
    rng : numpy.random.Generator
    volume_ml : float
        Wanted volume.
    periventricular : float
        Weight of the closeness to the ventricles against the random texture.
    reach_mm : float
        How far from the ventricles that closeness falls to a third.
    texture_mm : tuple of float
        Scales of the random texture.
    cortex_margin_mm : float
        U-fibres spared: no lesion closer than this to cortex.
    symmetric : float
        0 to 1, share of the texture that is mirrored between the sides.
    """
    allowed = anatomy.white_matter & (anatomy.distance_to_cortex_mm > cortex_margin_mm)
    step = anatomy.spacing_mm
    texture = fractal_field(rng, anatomy.shape, tuple(max(1.0, t / step) for t in texture_mm), fall=0.8)
    if symmetric > 0:
        texture = (1 - 0.5 * symmetric) * texture + 0.5 * symmetric * texture[::-1]
    level = texture + periventricular * 3.0 * np.exp(-anatomy.distance_to_ventricle_mm / reach_mm)
    count = int(volume_ml * 1000 / step**3)
    values = level[allowed]
    if count < 1 or not values.size:
        return np.zeros(anatomy.shape, dtype=bool)
    count = min(count, int(0.85 * values.size))
    cut = np.partition(values, values.size - count)[values.size - count]
    return allowed & (level >= cut)


def periventricular_band(anatomy: Anatomy, rng: np.random.Generator, thickness_mm: float) -> NDArray[np.bool_]:
    """Return caps and a band of uneven thickness along the lateral ventricles."""
    uneven = thickness_mm * (1 + 0.6 * fractal_field(rng, anatomy.shape, (14 / anatomy.spacing_mm, 6 / anatomy.spacing_mm)))
    _, y, z = anatomy.world
    ends = 1 + 0.8 * np.exp(-(((np.abs(y) - 38) / 14.0) ** 2)) + 0 * z
    return (anatomy.distance_to_ventricle_mm < uneven * ends) & anatomy.white_matter & (z > -22)


def foci(  # noqa: PLR0913 (a lesion pattern's properties, keywords with defaults)
    anatomy: Anatomy,
    rng: np.random.Generator,
    where: NDArray[np.bool_],
    count: int,
    radius_mm: tuple[float, float],
    *,
    elongated: float = 1.6,
    ragged: float = 0.2,
    toward_ventricle: bool = False,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Scatter ellipsoids with ragged outlines.

    Parameters
    ----------
    where : (I, J, K) bool array
        Where centres may lie.
    count : int
    radius_mm : (low, high)
        Drawn log-uniformly.
    elongated : float
        Largest ratio of half-axes.
    ragged : float
        Unevenness of the outline as a share of the radius.
    toward_ventricle : bool
        Long axis points at the ventricle's wall, across it (Dawson's fingers).

    Returns
    -------
    mask : (I, J, K) bool array
    strength : (I, J, K) float32 array
        One random factor per focus (0.5 to 1.3).
    """
    mask = np.zeros(anatomy.shape, dtype=bool)
    strength = np.ones(anatomy.shape, dtype=np.float32)
    places = np.flatnonzero(where.ravel())
    if not places.size or count < 1:
        return mask, strength
    centres = np.array(np.unravel_index(rng.choice(places, size=count), anatomy.shape)).T
    for centre in centres:
        radius = float(np.exp(rng.uniform(np.log(radius_mm[0]), np.log(radius_mm[1])))) / anatomy.spacing_mm
        axes = radius * np.exp(rng.uniform(-0.5, 0.5, 3) * np.log(elongated))
        rotation = random_rotation(rng)
        if toward_ventricle:
            axes = radius * np.array([elongated, 0.8, 0.8])
            rotation = _frame_of(_gradient(anatomy.distance_to_ventricle_mm, centre), rng)
        half = int(np.ceil(axes.max() * 1.5)) + 2
        box = tuple(slice(max(0, c - half), min(n, c + half + 1)) for c, n in zip(centre, anatomy.shape, strict=True))
        offsets = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) - c for s, c in zip(box, centre, strict=True)], indexing="ij"), -1)
        reach = np.linalg.norm((offsets @ rotation) / axes, axis=-1)
        if radius > 1.2:
            reach = reach + ragged * smooth_field(rng, reach.shape, max(1.5, radius * 0.7))
        inside = reach < 1
        mask[box] |= inside
        strength[box][inside] = rng.uniform(0.5, 1.3)
    return mask, strength


def _gradient(distance: NDArray, at: NDArray) -> NDArray[np.float64]:
    out = np.zeros(3)
    for axis in range(3):
        low, high = list(at), list(at)
        low[axis], high[axis] = max(0, at[axis] - 1), min(distance.shape[axis] - 1, at[axis] + 1)
        out[axis] = distance[tuple(high)] - distance[tuple(low)]
    return out if np.linalg.norm(out) > 1e-6 else np.array([1.0, 0.0, 0.0])


def _frame_of(direction: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    matrix = np.column_stack([direction / np.linalg.norm(direction), rng.standard_normal(3), rng.standard_normal(3)])
    q, _ = np.linalg.qr(matrix)
    return q


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random orthogonal (3, 3) matrix."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


def tract_region(
    anatomy: Anatomy, rng: np.random.Generator, centre_mm: tuple[float, float, float], extent_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Return the white matter inside a ragged ellipsoid given in head coordinates, mirrored to both sides."""
    x, y, z = anatomy.world
    reach = np.sqrt(
        ((np.abs(x) - centre_mm[0]) / extent_mm[0]) ** 2
        + ((y - centre_mm[1]) / extent_mm[1]) ** 2
        + ((z - centre_mm[2]) / extent_mm[2]) ** 2
    )
    reach = reach + 0.2 * fractal_field(rng, anatomy.shape, (10 / anatomy.spacing_mm, 4 / anatomy.spacing_mm))
    return (reach < 1) & anatomy.white_matter


def territory(anatomy: Anatomy, rng: np.random.Generator, volume_ml: float, side: int | None = None) -> NDArray[np.bool_]:
    """Return a wedge of cortex and the white matter under it, as an infarct takes."""
    cortex = is_in(anatomy.tissue, *CORTEX)
    x, _, z = anatomy.world
    side = side if side is not None else int(rng.choice((-1, 1)))
    allowed = cortex & (x * side > 8) & (z > -40)
    if not allowed.any():
        return np.zeros(anatomy.shape, dtype=bool)
    places = np.flatnonzero(allowed.ravel())
    centre = np.array(np.unravel_index(rng.choice(places), anatomy.shape))
    tissue_ok = anatomy.parenchyma & (x * side > -2)
    grids = np.meshgrid(
        *[np.arange(n, dtype=np.float32) - c for n, c in zip(anatomy.shape, centre, strict=True)], indexing="ij", sparse=True
    )
    stretch = np.exp(rng.uniform(-0.35, 0.35, 3)).astype(np.float32)
    reach = np.sqrt(sum((g * anatomy.spacing_mm / s) ** 2 for g, s in zip(grids, stretch, strict=True)))
    radius = (volume_ml * 1000 * 3 / (4 * np.pi) / 0.55) ** (1 / 3)
    reach = reach + 0.22 * radius * fractal_field(
        rng, anatomy.shape, (14 / anatomy.spacing_mm, 6 / anatomy.spacing_mm, 3 / anatomy.spacing_mm)
    )
    return cut_to_volume(reach, tissue_ok, volume_ml, anatomy.spacing_mm)


def cut_to_volume(reach: NDArray, allowed: NDArray[np.bool_], volume_ml: float, step: float) -> NDArray[np.bool_]:
    """Return the allowed voxels of lowest `reach` that make up a volume; `step` is the voxel edge in mm."""
    values = reach[allowed]
    if not values.size:
        return np.zeros(reach.shape, dtype=bool)
    count = int(np.clip(volume_ml * 1000 / step**3, 1, values.size - 1))
    cut = np.partition(values, count)[count]
    return allowed & (reach <= cut)
