"""Same input, settings and machine: the same mask, bit for bit, whatever the threads and workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

# Minutes of repeats: only `make faults` asks for them.
pytestmark = pytest.mark.skipif(not os.environ.get("FLAIRNB_FAULTS_TABLE"), reason="takes many minutes: run by `make faults`")

#: Largest difference of a probability between machines or numbers of threads, where sums are taken in another order.
TOLERANCE = 1e-4


def segment(flair: Path, out: Path, *words: str) -> dict[str, bytes]:
    """Run `flairnb segment` in a process of its own; return the voxels of its images."""
    program = "import sys; from flairnb.cli import call; sys.exit(call(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "segment", str(flair), "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr[-2000:]
    return {p.name: np.asarray(nib.load(p).dataobj) for p in sorted(out.glob("*.nii.gz"))}


@pytest.fixture(scope="module")
def flair(tmp_path_factory):
    """A small phantom's FLAIR with lesions."""
    from flairnb.cohort.build import build_cohort
    from flairnb.settings import load

    folder = tmp_path_factory.mktemp("phantom")
    sets = {"cohort.diagnoses": ["MSA"], "cohort.healthy_training": 0, "cohort.training_per_disease": 0, "cohort.head_spacing_mm": 4.0}
    table = build_cohort(load("smoke", sets), folder)
    return folder / table["flair"].iloc[0]


@pytest.mark.slow
def test_masks_are_the_same_bit_for_bit_run_to_run_and_on_one_or_two_threads(flair, tmp_path):
    two = segment(flair, tmp_path / "a", "--threads", "2")
    again = segment(flair, tmp_path / "b", "--threads", "2")
    one = segment(flair, tmp_path / "c", "--threads", "1")
    assert list(two) == list(again) == list(one) and len(two) == 3
    for name in two:
        np.testing.assert_array_equal(two[name], again[name], err_msg=name)
        if "probseg" in name:
            np.testing.assert_allclose(two[name], one[name], atol=TOLERANCE, err_msg=name)
        else:
            np.testing.assert_array_equal(two[name], one[name], err_msg=name)
    mask = next(values for name, values in two.items() if "label-lesion" in name and name.endswith("_mask.nii.gz"))
    assert mask.any(), "nothing was found: the comparison says nothing"


@pytest.mark.slow
def test_a_preparation_is_the_same_with_one_and_two_workers(tmp_path):
    import pandas as pd

    from flairnb.prepare.cohort import prepare_cohort
    from flairnb.settings import load

    rng = np.random.default_rng(4)
    shape, affine = (46, 52, 24), np.diag([-3.6, 3.9, 6.5, 1.0])
    affine[:3, 3] = (80, -100, -75)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(0))
    rows = []
    for n in range(3):
        data = np.where(radius < 0.95, 90, 3) + 60 * (radius < 0.8) + rng.normal(0, 5, shape)
        nib.save(nib.Nifti1Image(data.astype(np.float32), affine), tmp_path / f"{n}.nii.gz")
        rows.append({"participant_id": f"sub-{n}", "flair": f"{n}.nii.gz", "t1w": ""})
    settings = load("smoke").prepare  # brain extraction by ANTs included
    found = []
    for jobs in (1, 2):
        table = prepare_cohort(pd.DataFrame(rows), settings, tmp_path / str(jobs), jobs, tmp_path)
        assert list(table["status"]) == ["ok"] * 3, list(table["reason"])
        files = sorted((tmp_path / str(jobs)).rglob("*.nii.gz"))
        found.append({p.name: np.asarray(nib.load(p).dataobj).tobytes() for p in files})
    assert found[0] == found[1] and len(found[0]) == 9
