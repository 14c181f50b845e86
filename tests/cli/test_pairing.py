"""Twins of notebooks: written from the source, checked against it."""

from __future__ import annotations

import json

import pytest

from flairnb.errors import WorkFailed
from flairnb.report.pairing import check_twins, sync_twins

SOURCE = """# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A title

# %% tags=["parameters"]
profile: str = "demo"  # which settings

# %%
1 + 1

# %%
1 + 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "01_one.py").write_text(SOURCE)
    return tmp_path


def test_a_twin_is_written_once_and_then_left_alone(folder):
    assert [p.name for p in sync_twins(folder)] == ["01_one.ipynb"]
    first = (folder / "01_one.ipynb").read_bytes()
    assert sync_twins(folder) == [] and check_twins(folder) == 1
    (folder / "01_one.ipynb").unlink()
    sync_twins(folder)
    assert (folder / "01_one.ipynb").read_bytes() == first


def test_the_twin_keeps_tags_and_has_unique_ids_that_outlive_an_insertion(folder):
    sync_twins(folder)
    before = json.loads((folder / "01_one.ipynb").read_text())["cells"]
    assert before[1]["metadata"]["tags"] == ["parameters"]
    assert len({c["id"] for c in before}) == 4 and all(c.get("outputs", []) == [] for c in before)
    (folder / "01_one.py").write_text(SOURCE.replace("# %% tags", "# %% [markdown]\n# New words.\n\n# %% tags"))
    sync_twins(folder)
    after = json.loads((folder / "01_one.ipynb").read_text())["cells"]
    assert [c["id"] for c in after if c["id"] in {b["id"] for b in before}] == [b["id"] for b in before]


def test_one_changed_word_an_output_and_a_missing_source_are_all_named(folder):
    (folder / "02_two.py").write_text(SOURCE)
    sync_twins(folder)
    (folder / "01_one.py").write_text(SOURCE.replace("title", "word"))
    twin = json.loads((folder / "02_two.ipynb").read_text())
    twin["cells"][2]["execution_count"] = 1
    (folder / "02_two.ipynb").write_text(json.dumps(twin))
    (folder / "03_three.ipynb").write_text(json.dumps(twin))
    with pytest.raises(WorkFailed, match="01_one: the .ipynb differs; 02_two: the .ipynb holds outputs; 03_three: no .py source"):
        check_twins(folder)


def test_a_missing_twin_is_named(folder):
    with pytest.raises(WorkFailed, match="01_one: no .ipynb.*flairnb notebooks sync"):
        check_twins(folder)
