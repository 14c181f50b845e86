"""Scores of simulated patients by disease: who they are, what is kept, what the model card says of them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from flairnb.cohort.diagnoses import DIAGNOSES
from flairnb.cohort.phantom import subject
from flairnb.errors import InputError, ManifestError
from flairnb.images import Image, write_image
from flairnb.network.weights import SETTINGS_FILE, SHIPPED, shipped_names
from flairnb.report import patient, phantom_scores, real
from flairnb.report.model_card import CARD, model_card
from flairnb.settings import load

COHORT = load("phantom").cohort
ABOUT = json.loads((SHIPPED / shipped_names()[-1] / SETTINGS_FILE).read_text())
HEADING = "## Simulated patients, by disease"


def test_two_subjects_of_each_of_the_19_diseases_are_drawn_and_named_after_it():
    rows = phantom_scores.draw_subjects(2)
    assert [row["diagnosis"] for row in rows] == [d.key for d in DIAGNOSES for _ in range(2)]
    names = [row["participant_id"] for row in rows]
    assert len(set(names)) == 38 and names[8:10] == ["sub-hgg1", "sub-hgg2"]
    assert {row["split"] for row in rows} == {"validation"} and COHORT.head_spacing_mm == 1.0
    assert [row["participant_id"] for row in phantom_scores.draw_subjects(5, ["SUSAC"])] == ["sub-susac1", "sub-susac2"]


def test_nobody_else_draws_from_their_seed():
    """No setting, notebook or record of the training holds it."""
    root = phantom_scores.repository_root()
    code = [path for kind in ("flairnb/**/*.py", "flairnb/*.toml", "notebooks/*.py") for path in root.glob(kind)]
    places = [*code, root / "reports/robust/training.md"]
    holding = [path.name for path in places if str(phantom_scores.SEED) in path.read_text(encoding="utf-8")]
    assert holding == ["phantom_scores.py"] and str(phantom_scores.SEED) not in json.dumps(ABOUT["card"])


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="expected 1 to 5 of each disease, found 6"):
        phantom_scores.draw_subjects(6)
    with pytest.raises(ManifestError, match="HGG"):
        phantom_scores.draw_subjects(1, ["HGGG"])


def in_a_row(first: int, last: int) -> np.ndarray:
    mask = np.zeros((20, 7, 5), bool)
    mask[first:last, 3, 2] = True
    return mask


@pytest.fixture
def fakes(monkeypatch):
    """A reader's ten voxels; a network that marks eight, six of them among the ten; voxels of 0.9 x 1.1 x 5 mm."""
    asked = {}
    like = Image(np.arange(700, dtype=np.float32).reshape(20, 7, 5), np.diag([-0.9, 1.1, 5.0, 1.0]))

    def write_subject(row, folder, seed, cohort):
        asked.update(seed=seed, head_mm=cohort.head_spacing_mm)
        for name, data in (("flair", like.data), ("t1w", like.data), ("reference_mask", in_a_row(2, 12))):
            write_image(folder / f"{row['participant_id']}_{'FLAIR' if name == 'flair' else name}.nii.gz", data, like)
        return {name: f"{row['participant_id']}_{name}.nii.gz" for name in ("t1w", "reference_mask")} | {
            "flair": f"{row['participant_id']}_FLAIR.nii.gz"
        }

    def segment_patient(flair, out_dir, **words):
        asked.update(words, flair=flair.name)
        write_image(out_dir / "sub-hgg1_label-lesion_desc-unet_mask.nii.gz", in_a_row(6, 14), like, np.uint8)
        return {"weights": {"sha256": "abc"}}

    monkeypatch.setattr(subject, "write_subject", write_subject)
    monkeypatch.setattr(patient, "segment_patient", segment_patient)
    return asked


def test_a_subject_is_segmented_like_a_patient_and_scored_on_its_own_grid(fakes):
    row = phantom_scores.score_subject(phantom_scores.draw_subjects(1, ["HGG"])[0], COHORT)
    voxel_ml = 0.9 * 1.1 * 5 / 1000
    assert row["status"] == "ok" and row["weights_sha256"] == "abc"
    assert (row["dice"], row["sensitivity"], row["ppv"]) == pytest.approx((12 / 18, 0.6, 0.75))
    volumes = [row[name] / voxel_ml for name in ("reference_ml", "predicted_ml", "missed_ml", "false_ml")]
    assert volumes == pytest.approx([10, 8, 4, 2], rel=1e-5)
    # Whole head with FLAIR and T1w: no brain mask is given, and nothing is said to be stripped.
    assert (fakes["flair"], fakes["t1w"].name) == ("sub-hgg1_FLAIR.nii.gz", "sub-hgg1_t1w.nii.gz")
    assert set(fakes) == {"seed", "head_mm", "flair", "t1w", "threads"} and (fakes["seed"], fakes["head_mm"]) == (phantom_scores.SEED, 1.0)


def test_a_subject_that_fails_is_a_row_with_its_reason_and_no_path(fakes, monkeypatch):
    def refuse(flair, **words):
        raise InputError(f"FLAIR: expected a head in {flair}, found none.")

    monkeypatch.setattr(patient, "segment_patient", refuse)
    row = phantom_scores.score_subject(phantom_scores.draw_subjects(1, ["HGG"])[0], COHORT)
    assert row["status"] == "failed" and np.isnan(row["dice"])
    assert row["reason"] == "InputError: FLAIR: expected a head in /sub-hgg1_FLAIR.nii.gz, found none."


@pytest.fixture
def counted(monkeypatch):
    """Stand-ins: who was scored, in order; the second subject of all fails at its first try, the fifth is never finished."""
    calls = []

    def score_subject(row, cohort):
        calls.append(row["participant_id"])
        if len(calls) == 5:
            raise KeyboardInterrupt
        failed = len(calls) == 2
        numbers = dict.fromkeys(phantom_scores.SCORES, np.nan if failed else 0.5)
        named = {name: row[name] for name in ("participant_id", "diagnosis")}
        what = {"status": "failed", "reason": "OSError: full"} if failed else {"status": "ok", "reason": ""}
        return {**named, **what, **numbers, "seconds": 1.0, "weights_sha256": "" if failed else "abc"}

    monkeypatch.setattr(phantom_scores, "score_subject", score_subject)
    monkeypatch.setattr(phantom_scores, "_commit", lambda: "one")
    return calls


def test_a_stopped_run_goes_on_where_it_was_and_tries_what_failed_again(counted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        phantom_scores.score_phantoms(1, ["CNSL", "ADEM", "HGG", "MSA", "LGG", "SVID"], 1, tmp_path)
    table = phantom_scores.published(tmp_path)
    assert table["diagnosis"].tolist() == ["ADEM", "CNSL", "HGG", "MSA"]
    assert table.set_index("diagnosis")["status"].to_dict() == {"ADEM": "failed", "CNSL": "ok", "HGG": "ok", "MSA": "ok"}
    assert json.loads((tmp_path / "phantoms.json").read_text())["Commit"] == "one"
    table = phantom_scores.score_phantoms(1, ["CNSL", "ADEM", "HGG", "MSA", "LGG", "SVID"], 1, tmp_path)
    assert counted[5:] == ["sub-adem1", "sub-lgg1", "sub-svid1"]
    assert len(table) == 6 and set(table["status"]) == {"ok"} and table["dice"].tolist() == [0.5] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phantoms.json", "phantoms.tsv"]


def test_rows_of_another_commit_are_not_mixed_with_these(counted, tmp_path, monkeypatch):
    phantom_scores.score_phantoms(1, ["HGG"], 1, tmp_path)
    monkeypatch.setattr(phantom_scores, "_commit", lambda: "two")
    counted.clear()
    table = phantom_scores.score_phantoms(1, ["LGG"], 1, tmp_path)
    assert counted == ["sub-lgg1"] and table["diagnosis"].tolist() == ["LGG"]


def some_scores(sha256: str) -> pd.DataFrame:
    rows = [
        ("sub-hgg1", "HGG", "ok", "", 0.9, 0.9, 0.9, 50.0, 51.0, 4.0, 5.0, 20.0, sha256),
        ("sub-hgg2", "HGG", "ok", "", 0.8, 0.9, 0.7, 30.0, 35.0, 2.0, 8.0, 20.0, sha256),
        ("sub-migraine1", "MIGRAINE", "ok", "", 0.1, 0.1, 0.2, 0.4, 0.3, 0.36, 0.2, 20.0, sha256),
        ("sub-migraine2", "MIGRAINE", "failed", "OSError: full", *[np.nan] * 8, ""),
        ("sub-nmo1", "NMO", "ok", "", *[np.nan] * 3, 0.0, 0.0, 0.0, 0.0, 20.0, sha256),
    ]
    return pd.DataFrame(rows, columns=list(phantom_scores.COLUMNS))


def test_the_card_has_a_line_for_each_disease_and_names_the_poor_ones():
    page = model_card(ABOUT, real.published(), some_scores(ABOUT["sha256"]))
    section = page.split(HEADING)[1]
    assert "| High-grade glioma | 2 | 0.85 | 40.0 | 3.0 | 6.5 |\n" in section
    assert "| Migraine | 1 | 0.10 | 0.4 | 0.4 | 0.2 |\n" in section
    assert "| Neuromyelitis optica | 1 | - | 0.0 | 0.0 | 0.0 |\n" in section
    assert "Below a median Dice of 0.3, simulated: Migraine.\n" in section and "something failed: sub-migraine2.\n" in section
    assert section.lower().count("simulated") >= 4 and page.index("## Development cases") < page.index(HEADING)


def test_the_card_says_nothing_of_scores_that_are_absent_or_of_other_weights():
    table = real.published()
    without = model_card(ABOUT, table, some_scores("other").head(0))
    assert HEADING not in without and model_card(ABOUT, table, some_scores("other")) == without


def test_the_committed_card_agrees_with_the_committed_scores_of_these_weights():
    """All 19 diseases, two subjects each, with the settings that ship; where none are committed the card says nothing of them."""
    table, page = phantom_scores.published(), (SHIPPED / shipped_names()[-1] / CARD).read_text(encoding="utf-8")
    if table.empty:
        assert HEADING not in page
        return
    about = json.loads((phantom_scores.repository_root() / phantom_scores.FOLDER / phantom_scores.ABOUT).read_text())
    assert about["Seed"] == phantom_scores.SEED and about["Simulated"] is True
    stored = {name: value for name, value in ABOUT.items() if name not in ("card", "versions", "network")}
    assert about["Weights"] == stored, "the weights changed: run `python -m flairnb.report.phantom_scores` again"
    assert set(table["weights_sha256"].dropna()) - {""} == {ABOUT["sha256"]}
    assert table["diagnosis"].value_counts().to_dict() == {d.key: 2 for d in DIAGNOSES}
    section = page.split(HEADING)[1]
    for disease in DIAGNOSES:
        mine = table[(table["diagnosis"] == disease.key) & (table["status"] == "ok")]
        line = next(text for text in section.splitlines() if text.startswith(f"| {disease.name} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        dice, *volumes = (mine[name].median() for name in ("dice", "reference_ml", "missed_ml", "false_ml"))
        assert int(cells[1]) == len(mine) and (cells[2] == "-" if np.isnan(dice) else abs(float(cells[2]) - dice) < 0.00501)
        assert [float(cell) for cell in cells[3:]] == pytest.approx(volumes, abs=0.0501)
        assert (dice < 0.3) == (disease.name in section.split("simulated: ")[1].splitlines()[0])
