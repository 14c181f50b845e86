"""The .ipynb beside each source is its output-free twin."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
from jupytext.compare import NotebookDifference, compare_notebooks

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))


def test_the_notebooks_of_the_walk_through_are_there():
    expected = ["00_start_here", "01_cohort", "02_preprocessing", "03_training", "04_inference", "05_accuracy"]
    expected += ["06_disease", "07_lesion_volume", "08_technical_factors", "09_inference_time"]
    assert [path.stem for path in SOURCES][: len(expected)] == expected
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {path.stem for path in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])
def test_source_and_twin_say_the_same(source):
    compare_notebooks(jupytext.read(source), jupytext.read(source.with_suffix(".ipynb")), "py:percent")


@pytest.mark.parametrize("source", SOURCES[:1], ids=[path.stem for path in SOURCES[:1]])
def test_the_comparison_would_catch_one_changed_word(source):
    twin = jupytext.read(source.with_suffix(".ipynb"))
    twin.cells[0].source = twin.cells[0].source.replace("paper", "article", 1)
    with pytest.raises(NotebookDifference):
        compare_notebooks(jupytext.read(source), twin, "py:percent")


@pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])
def test_the_twin_is_valid_and_holds_no_output(source):
    twin = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(twin)
    for cell in twin.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert "widgets" not in twin.metadata and twin.metadata.kernelspec.name == "python3"
