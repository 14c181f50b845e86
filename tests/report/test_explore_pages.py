"""The two pages beside the first one: every dot's link has a place to go to, nobody real is shown."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flairnb.evaluate.cohort import CohortScores
from flairnb.report.explore import CASES, cases_page, write_explore
from flairnb.report.html import fetches
from flairnb.settings import load


@pytest.fixture
def work(tmp_path, fabricated):
    (tmp_path / "work/tables").mkdir(parents=True)
    CohortScores(fabricated.scores, fabricated.lesions).write(tmp_path / "work/tables")
    pd.DataFrame({"participant_id": [], "split": [], "flair": []}).to_csv(tmp_path / "work/manifest.tsv", sep="\t", index=False)
    (tmp_path / "report").mkdir()
    return tmp_path


def test_every_case_of_the_charts_has_its_place_and_all_methods(work, fabricated):
    settings = load("smoke")
    settings = dataclasses.replace(settings, cohort=dataclasses.replace(settings.cohort, source="manifest"))
    page = write_explore(work / "report", settings, work / "work")
    assert page.name == "explore.html"
    cases = (work / "report" / CASES).read_text()
    people = fabricated.scores["participant_id"].unique()
    assert re.findall(r'<section id="([^"]+)"', cases) == [f"case-{n}" for n in range(1, len(people) + 1)]
    assert not any(name in cases for name in people), "a real person's label"
    assert "<img" not in cases and fetches(cases) == []
    assert cases.count("<tr><td>") == len(fabricated.scores)
    assert 'cases.html#"' in page.read_text()


def test_a_case_shows_its_picture_facts_and_scores(fabricated):
    scores = fabricated.scores.head(2).assign(dice=[0.5, np.nan])
    first = scores.iloc[0]
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    names = {name: name for name in scores["participant_id"]}
    page = cases_page(scores, names, "Simulated.", {first["participant_id"]: picture.getvalue()})
    assert page.count("<img") == 1 and str(first["model"]) in page and "Simulated." in page
    assert '<td class="number">0.50</td>' in page and "not defined" in page


def test_a_case_without_a_scanner_says_so_and_never_nan(fabricated):
    scores = fabricated.scores.head(2).assign(manufacturer=np.nan, model=np.nan, field_strength_t=np.nan, dimension=np.nan, diagnosis="MSA")
    names = {name: name for name in scores["participant_id"]}
    page = cases_page(scores, names, "Simulated.", {})
    assert "MSA; scanner not given" in page and "nan" not in page.split("<body>")[1]
    known = cases_page(scores.assign(model="Skyra", field_strength_t=3.0), names, "Simulated.", {})
    assert "MSA; Skyra, 3 T<" in known


def test_before_any_scores_there_is_no_page(tmp_path):
    assert write_explore(tmp_path, load("smoke"), tmp_path) is None
