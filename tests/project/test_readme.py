"""The README names only what exists."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_picture_and_file_that_the_readme_links_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_readme_says_what_is_simulated_and_what_it_is_not_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "simulated" in text
    assert "not for clinical use" in text


def test_the_simulated_table_quotes_the_committed_demo_and_the_article():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    demo = json.loads((ROOT / "reports/demo/numbers.json").read_text())["05_accuracy"]
    ours = next(line for line in lines if line.startswith("| ours, simulated "))
    columns = ("unet", "manual2", "lga", "bianca", "threshold")
    assert re.findall(r"0\.\d\d", ours) == [f"{demo[f'dice_median_{name}']:.2f}" for name in columns]
    assert f"| {demo['cases']} |" in ours
    sections = tomllib.loads((ROOT / "data_manifest/paper_values.toml").read_text())["section"]
    printed = {one["id"]: one["value"] for section in sections for one in section["values"]}
    theirs = next(line for line in lines if line.startswith("| the paper, patients "))
    assert re.findall(r"0\.\d\d", theirs) == [f"{printed[f'abstract.dice_{name}']:.2f}" for name in ("cnn", "human", "lst", "bianca")]
    means = next(line for line in "\n".join(lines).split("\n- ") if line.startswith("In the committed demo"))
    for name in ("unet", "threshold", "bianca", "shipped"):
        assert f"{demo[f'dice_mean_{name}']:.2f}" in means
