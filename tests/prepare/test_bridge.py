"""Coordinates and transforms survive the way to ANTs and back."""

import subprocess
import sys

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.prepare import bridge


def test_image_returns_from_ants_with_its_oblique_grid(rng, oblique_affine):
    pytest.importorskip("ants")
    data = rng.random((7, 8, 9)).astype(np.float32)
    back, affine = bridge.from_ants(bridge.to_ants(data, oblique_affine))
    np.testing.assert_array_equal(back, data)
    np.testing.assert_allclose(affine, oblique_affine, atol=1e-5)


def test_transform_file_repeats_the_matrix(tmp_path, oblique_affine):
    matrix = oblique_affine / 3
    matrix[3] = (0, 0, 0, 1)
    back = bridge.read_xfm(bridge.write_xfm(tmp_path / "a_xfm.txt", matrix))
    np.testing.assert_allclose(back, matrix, rtol=0, atol=1e-12)


def test_transform_file_is_left_posterior_as_itk_expects(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, 2.0, 3.0)
    text = bridge.write_xfm(tmp_path / "a_xfm.txt", matrix).read_text()
    assert text.splitlines()[3].endswith("-1.0 -2.0 3.0")


def test_transform_with_a_centre_of_rotation_is_understood(tmp_path):
    quarter = "0 -1 0 1 0 0 0 0 1"
    path = tmp_path / "c.txt"
    path.write_text(f"#Insight Transform File V1.0\nTransform: x\nParameters: {quarter} 0 0 0\nFixedParameters: 10 0 0\n")
    moved = bridge.read_xfm(path) @ np.array([-10.0, 0, 0, 1])
    np.testing.assert_allclose(moved[:3], (-10, 0, 0), atol=1e-12)


def test_other_text_is_refused_as_transform(tmp_path):
    path = tmp_path / "no.txt"
    path.write_text("Parameters: 1 2 3\n")
    with pytest.raises(InputError, match="12 parameters"):
        bridge.read_xfm(path)


def test_ants_comes_without_what_nothing_calls_and_all_of_it_works_afterwards(tmp_path):
    program = """
import sys
import numpy as np
from flairnb.prepare.bridge import load_ants, to_ants
ants = load_ants()
loaded = {name.partition(".")[0] for name in sys.modules} & {"matplotlib", "mpl_toolkits", "pandas", "requests", "sklearn", "statsmodels"}
assert not loaded and "scipy.stats" not in sys.modules, f"loaded: {loaded}"

rng = np.random.default_rng(3)
first, second = (to_ants(rng.random((12, 13, 14)), np.eye(4)) for _ in range(2))
assert ants.label_stats(first, (second > 0.5) * 1)["LabelValue"].nunique() == 2, "pandas"
assert ants.rank_intensity(first).numpy().max() > 0.9, "scipy.stats"
assert abs(ants.regression_match_image(first, first).numpy() - first.numpy()).max() < 1e-3, "sklearn"
import matplotlib
matplotlib.use("Agg")
ants.plot(first, filename=sys.argv[1])

from ants.learn import decomposition
import pandas as pd
import scipy.stats
import statsmodels.api as sm
import statsmodels.formula.api as smf
assert decomposition.pearsonr([1, 2, 3], [2, 4, 6])[0] == scipy.stats.pearsonr([1, 2, 3], [2, 4, 6])[0]
assert decomposition.sm.OLS is sm.OLS and callable(smf.ols) and type(sm).__name__ == "module"
assert decomposition.pd.concat is pd.concat and decomposition.pd.DataFrame is pd.DataFrame
assert isinstance(decomposition.DataFrame({"a": [1]}), pd.DataFrame)
"""
    picture = tmp_path / "plot.png"
    done = subprocess.run([sys.executable, "-c", program, str(picture)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 1000
