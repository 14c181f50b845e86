"""A small stand-in for the head generator, shared by the phantom's tests."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def small_heads():
    """Replace the head and lesion generators by an ellipsoid head with ball lesions (fast, volumes known)."""
    from flairnb.cohort.phantom import lesions, subject
    from flairnb.cohort.phantom.anatomy import Anatomy
    from flairnb.cohort.phantom.tissue import Tissue

    def draw_anatomy(rng, spacing_mm=3.0, age=None):
        shape = (61, 73, 67)
        affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing_mm
        grid = [np.arange(n) * spacing_mm + o for n, o in zip(shape, affine[:3, 3], strict=True)]
        x, y, z = np.meshgrid(*grid, indexing="ij", sparse=True)
        r = np.sqrt((x / 70) ** 2 + (y / 88) ** 2 + (z / 72) ** 2) * (1 + 0.02 * rng.random())
        tissue = np.zeros(shape, dtype=np.uint8)
        for outer, code in ((1.2, Tissue.FAT), (1.1, Tissue.SKULL), (1.0, Tissue.CSF), (0.96, Tissue.GM), (0.88, Tissue.WM)):
            tissue[r < outer] = code
        tissue[np.sqrt((x / 12) ** 2 + (y / 30) ** 2 + (z / 12) ** 2) < 1] = Tissue.VENTRICLE
        return Anatomy(tissue, np.broadcast_to(x > 0, shape), float(spacing_mm), affine)

    def draw_lesions(anatomy, key, rng):
        found = lesions.empty_map(anatomy)
        if key == "HEALTHY":
            return found
        i, j, k = (np.arange(n) for n in anatomy.shape)
        i, j, k = i[:, None, None], j[None, :, None], k[None, None, :]
        for centre, radius in (((42, 40, 36), 4.0), ((20, 30, 40), 2.5)):
            distance = np.sqrt(sum((a - c) ** 2 for a, c in zip((i, j, k), centre, strict=True)))
            found.add(np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32), 1.0, f"ball {key}")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "draw_anatomy", draw_anatomy)
        patch.setattr(subject, "draw_lesions", draw_lesions)
        yield subject


@pytest.fixture(scope="module")
def phantom_row():
    """Return a roster row of a 2D examination."""
    return {
        "participant_id": "sub-ph007",
        "age": 61.0,
        "sex": "F",
        "diagnosis": "MSA",
        "split": "train",
        "manufacturer": "GE Healthcare",
        "model": "Signa HDxt",
        "field_strength_t": 1.5,
        "dimension": "2D",
        "te_ms": 136.0,
        "tr_ms": 9000.0,
        "ti_ms": 2481.0,
    }
