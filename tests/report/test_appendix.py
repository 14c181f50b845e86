"""The table of faults: written by tests, counted, shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flairnb.report.appendix import FAULTS, MARKS, fault_counts, faults_markdown, not_available, update_faults

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    ("fault", "case", "tried", "result", "what happened"),
    ("bad input", "zero bytes", 1, "refused", "error: FLAIR: expected"),
    ("bad input", "8 bit", 1, "works", "works"),
    ("killed", "flairnb train", 5, "went on", "the same weights"),
    ("a test failed", "test_x", 1, "FAILED", ""),
]


def test_faults_are_counted_by_kind(tmp_path):
    table = tmp_path / "reports" / "faults.tsv"
    (tmp_path / "README.md").write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    update_faults(table, ROWS)
    assert fault_counts(table)[1:] == [
        ["a test failed", "1", "1", "0", "0", "0", "1"],
        ["bad input", "2", "2", "1", "1", "0", "0"],
        ["killed", "1", "5", "0", "0", "1", "0"],
    ]
    text = (tmp_path / "README.md").read_text()
    assert text == f"before\n{MARKS[0]}\n{faults_markdown(table)}\n{MARKS[1]}\nafter\n" and "| bad input | 2 | 2 | 1 |" in text


def test_a_later_run_replaces_its_own_rows_and_keeps_the_others(tmp_path):
    update_faults(tmp_path / "faults.tsv", ROWS)
    update_faults(
        tmp_path / "faults.tsv", [ROWS[0], ("killed", "flairnb train", 9, "went on", ""), ("killed", "flairnb run", 2, "went on", "")]
    )
    assert fault_counts(tmp_path / "faults.tsv")[1:] == [
        ["bad input", "2", "2", "1", "1", "0", "0"],
        ["killed", "2", "11", "0", "0", "2", "0"],
    ]


def test_no_table_is_a_head_row_only_and_no_readme_is_no_fault(tmp_path):
    assert len(fault_counts(tmp_path / "none.tsv")) == 1
    update_faults(tmp_path / "a" / "faults.tsv", ROWS)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_readme_shows_the_committed_table_and_no_test_failed():
    if not (ROOT / FAULTS).is_file():
        pytest.skip("no table of faults was written yet: make faults")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{MARKS[0]}\n{faults_markdown()}\n{MARKS[1]}" in text
    assert all(row[-1] == "0" for row in fault_counts()[1:])


def test_the_articles_appendix_is_listed():
    assert len(not_available()) >= 8 and not_available().notna().all(axis=None)
