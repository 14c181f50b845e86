"""The README names only what exists."""

from __future__ import annotations

import re
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
