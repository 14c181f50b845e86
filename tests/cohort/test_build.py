from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from flairnb.cohort import build
from flairnb.cohort.manifest import read_manifest
from flairnb.errors import SettingsError, WorkFailed
from flairnb.settings import load


@pytest.fixture
def real_write(small_heads):
    """Return the real writer, for the one test that needs images."""
    return small_heads.write_subject


@pytest.fixture
def two_rows(monkeypatch, small_heads, phantom_row):
    """Make the roster a patient and a healthy subject; count the subjects that are really made."""
    rows = [phantom_row, {**phantom_row, "participant_id": "sub-ph008", "diagnosis": "HEALTHY", "ti_ms": 2481.0}]
    empty = {"hospital": "home", "scanner": "a", "flair": "", "t1w": "", "reference_mask": "", "second_reader_mask": "", "brain_mask": ""}
    monkeypatch.setattr(build, "draw_roster", lambda settings, seed: pd.DataFrame([{**r, **empty} for r in rows]))
    made = []

    def writes_small_files(row, out_dir, seed, settings):
        name = row["participant_id"]
        made.append(name)
        paths = {}
        for key in ("flair", "t1w", "reference_mask", "second_reader_mask", "brain_mask", "truth"):
            paths[key] = f"rawdata/{name}/{name}_{key}.nii.gz"
            (out_dir / paths[key]).parent.mkdir(parents=True, exist_ok=True)
            (out_dir / paths[key]).write_bytes(f"{name} {key} {seed}".encode() * 100)
        return {**paths, "lesion_ml": 1.0}

    monkeypatch.setattr(small_heads, "write_subject", writes_small_files)
    return made


def test_cohort_is_complete_valid_and_bids_described(real_write, two_rows, small_heads, monkeypatch, tmp_path):
    monkeypatch.setattr(small_heads, "write_subject", real_write)
    manifest = build.build_cohort(load("smoke"), tmp_path, 1)
    table = read_manifest(tmp_path / "manifest.tsv")
    assert list(table["participant_id"]) == ["sub-ph007", "sub-ph008"] == list(manifest["participant_id"])
    assert (table["brain_mask"] == "").all()
    assert all((tmp_path / p).is_file() for column in ("flair", "t1w", "reference_mask") for p in table[column])
    people = pd.read_csv(tmp_path / "rawdata" / "participants.tsv", sep="\t")
    assert list(people["diagnosis"]) == ["MSA", "HEALTHY"] and "flair" not in people
    described = json.loads((tmp_path / "rawdata" / "dataset_description.json").read_text())
    assert described["Simulated"] is True and "simulated" in described["Name"] and described["BIDSVersion"]
    assert not list(tmp_path.rglob(".partial-*"))


def test_second_run_makes_nothing_and_gives_the_same_manifest(two_rows, tmp_path):
    first = build.build_cohort(load("smoke"), tmp_path, 1)
    assert two_rows == ["sub-ph007", "sub-ph008"]
    again = build.build_cohort(load("smoke"), tmp_path, 1)
    assert two_rows == ["sub-ph007", "sub-ph008"]
    pd.testing.assert_frame_equal(first, again)


def test_damaged_subject_and_changed_settings_are_made_again(two_rows, tmp_path):
    settings = load("smoke")
    manifest = build.build_cohort(settings, tmp_path, 1)
    flair = tmp_path / manifest["flair"][1]
    flair.write_bytes(flair.read_bytes()[:1000])
    build.build_cohort(settings, tmp_path, 1)
    assert two_rows == ["sub-ph007", "sub-ph008", "sub-ph008"]
    build.build_cohort(dataclasses.replace(settings, seed=7), tmp_path, 1)
    assert two_rows[3:] == ["sub-ph007", "sub-ph008"]


def test_failed_subject_is_named_and_the_others_are_kept(two_rows, small_heads, monkeypatch, tmp_path):
    working = small_heads.write_subject

    def breaks(row, *rest):
        if row["participant_id"] == "sub-ph007":
            raise ValueError("no ventricles")
        return working(row, *rest)

    monkeypatch.setattr(small_heads, "write_subject", breaks)
    with pytest.raises(WorkFailed, match=r"1 failed: sub-ph007 \(ValueError: no ventricles\)"):
        build.build_cohort(load("smoke"), tmp_path, 1)
    assert not (tmp_path / "manifest.tsv").exists()
    monkeypatch.setattr(small_heads, "write_subject", working)
    build.build_cohort(load("smoke"), tmp_path, 1)
    assert two_rows == ["sub-ph008", "sub-ph007"]


def test_hospital_profile_is_not_built():
    with pytest.raises(SettingsError, match="phantom"):
        build.build_cohort(load("paper"), "unused", 1)


def test_key_depends_on_row_seed_and_spacing_but_not_on_absent_numbers(phantom_row):
    cohort = load("smoke").cohort
    key = build.subject_key(phantom_row, 1, cohort)
    assert key == build.subject_key(dict(phantom_row), 1, cohort)
    assert key != build.subject_key(phantom_row, 2, cohort)
    assert key != build.subject_key({**phantom_row, "te_ms": 120.0}, 1, cohort)
    assert key != build.subject_key(phantom_row, 1, dataclasses.replace(cohort, head_spacing_mm=9.0))
    missing = {**phantom_row, "age": np.nan}
    assert build.subject_key(missing, 1, cohort) == build.subject_key(dict(missing), 1, cohort)


def test_training_only_modules_are_not_used_by_subjects():
    code = (
        "import sys, flairnb.cohort.phantom.subject;"
        "print([m for m in sys.modules if m.startswith('flairnb.cohort.phantom.') and m.split('.')[-1] in "
        f"{build._TRAINING_ONLY!r}])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout.strip()
    assert found == "[]"
