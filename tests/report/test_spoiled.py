"""Examinations spoiled on purpose: what is spoiled, where the reader's lesions then lie, and the table that goes on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from flairnb.images import Image, write_image
from flairnb.network.weights import SETTINGS_FILE, default_weights
from flairnb.provenance import read_json
from flairnb.report import spoiled
from flairnb.report.spoiled import AS_IT_IS, SPOILINGS, Examination, measure, missed_alarms, summarise

SHAPE = (40, 46, 30)
# Oblique, slices first, and upside down along the third axis: 20 mm up are no axis of the voxels.
_TURN = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1.0]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = np.array([[1.0, 0, 0], [0, np.cos(0.2), np.sin(0.2)], [0, -np.sin(0.2), np.cos(0.2)]]) @ _TURN @ np.diag([4.5, 4.0, -6.0])


def world(mask, affine=AFFINE):
    return (affine @ [*np.argwhere(mask).mean(axis=0), 1.0])[:3]


@pytest.fixture
def case(rng):
    at = np.stack(np.meshgrid(*[(np.arange(n) - n / 2) * 2 / n for n in SHAPE], indexing="ij"))
    radius = np.linalg.norm(at, axis=0)
    brain, head = radius < 0.5, radius < 0.85
    data = np.where(brain, 400.0, np.where(head, 250.0, 0.0)) + rng.uniform(0, 4, SHAPE)
    reference = np.zeros(SHAPE, bool)
    reference[20:24, 18:22, 16:18] = True
    t1w = Image(ndimage.zoom(data, 0.5, order=1).astype(np.float32), AFFINE @ np.diag([2.0, 2.0, 2.0, 1.0]))
    return Examination(Image(data.astype(np.float32), AFFINE), t1w, brain, reference, stripped=False)


def test_a_mask_too_high_lies_that_many_millimetres_nearer_the_vertex(case, rng):
    moved = spoiled.brain_mask_too_high(case, rng).given["brain_mask"]
    np.testing.assert_allclose(world(moved) - world(case.brain), [0, 0, spoiled.LIFT_MM], atol=2.5)  # half a voxel along each axis


def test_the_whole_head_is_left_in_where_there_is_one(case, rng):
    given = spoiled.skull_left_in(case, rng).given["brain_mask"]
    assert not (case.brain & ~given).any() and given.sum() > 3 * case.brain.sum()
    assert spoiled.skull_left_in(Examination(case.flair, None, case.brain, case.reference, stripped=True), rng) is None


def test_a_t1w_stands_alone_and_the_reader_marked_the_same_place_on_it(case, rng):
    found = spoiled.t1w_for_flair(case, rng)
    assert found.flair is case.t1w and found.given == {} and found.reference.shape == case.t1w.shape
    np.testing.assert_allclose(world(found.reference, case.t1w.affine), world(case.reference), atol=6.0)
    assert spoiled.t1w_for_flair(Examination(case.flair, None, case.brain, case.reference, stripped=False), rng) is None


def test_noise_shading_and_blur_are_as_strong_as_they_say_and_leave_brain_and_reader_alone(case, rng):
    noise = spoiled.noisy(case, rng)
    inside = noise.flair.data[case.brain].std() / case.flair.data[case.brain].mean()
    assert inside == pytest.approx(spoiled.NOISE, rel=0.08)
    ratio = (spoiled.shaded(case, rng).flair.data / case.flair.data)[case.brain]
    low, high = np.percentile(np.log(ratio), [1, 99])
    assert high - low == pytest.approx(spoiled.SHADE, rel=0.1)
    point = np.zeros((41, 41, 41), np.float32)
    point[20, 20, 20] = 1.0
    blur = spoiled.blurred(Examination(Image(point, np.eye(4)), None, point > 0, point > 0, stripped=False), rng).flair.data
    assert blur[20, 20, 20] / 2 == pytest.approx(np.interp(spoiled.BLUR_MM / 2, np.arange(8), blur[20, 20, 20:28]), rel=0.05)
    for found in (noise, spoiled.shaded(case, rng), spoiled.blurred(case, rng)):
        assert found.given["brain_mask"] is case.brain and found.reference is case.reference


@pytest.fixture
def two_cases(case, tmp_path):
    flair, mask = tmp_path / "sub-a_FLAIR.nii.gz", tmp_path / "mask.nii.gz"
    write_image(flair, case.flair.data, case.flair, np.float32)
    write_image(mask, case.reference, case.flair, np.uint8)
    row = {"family": "MS", "flair": str(flair), "t1w": "", "reference_mask": str(mask)}
    return pd.DataFrame([{"participant_id": "a", **row}, {"participant_id": "b", **row, "reference_mask": ""}])


@pytest.fixture
def segmented(case, monkeypatch):
    """Replace the network: it finds the reader's lesions, and is unsure of everything but the case as it is."""
    seen = []

    def segment_image(flair, network, prepare, infer, **given):
        seen.append((flair, given))
        good = "t1w" in given
        answer = SimpleNamespace(
            mask=case.reference, brain=case.brain, probability=case.reference * 0.9, expected_dice=0.8 if good else 0.2
        )
        return SimpleNamespace(notes=(), brain_native=case.brain, flair=flair, t1w_xfm=None), answer

    from flairnb.report import doubts, patient

    monkeypatch.setattr(patient, "segment_image", segment_image)
    monkeypatch.setattr(patient, "settings_for", lambda network, chosen: (None, None))
    monkeypatch.setattr(doubts, "doubts_of_input", lambda case, t1w=None: [])
    return seen


def network(sha256="1"):
    return SimpleNamespace(sha256=sha256, calibration=SimpleNamespace(doubtful_below=0.5))


def test_every_case_is_done_once_and_other_weights_or_code_begin_anew(two_cases, segmented, tmp_path, monkeypatch):
    monkeypatch.setattr(spoiled, "git_state", lambda: {"commit": "one", "dirty": False})
    out = tmp_path / "spoiled.tsv"
    table = measure(two_cases.head(1), network(), out)
    assert list(table["spoiled"]) == [AS_IT_IS, *SPOILINGS]
    once = len(segmented)
    assert once == len(SPOILINGS)  # as it is, and all but the T1w that there is not
    table = measure(two_cases, network(), out)
    assert len(segmented) == 2 * once and len(table) == 2 * (len(SPOILINGS) + 1)
    measure(two_cases, network(), out)
    assert len(segmented) == 2 * once
    measure(two_cases, network("2"), out)
    assert len(segmented) == 4 * once and set(spoiled.recall(out)["weights_sha256"].astype(str)) == {"2"}
    monkeypatch.setattr(spoiled, "git_state", lambda: {"commit": "two", "dirty": False})
    measure(two_cases, network("2"), out)
    assert len(segmented) == 6 * once and set(spoiled.recall(out)["code"]) == {"two"}


def test_the_summary_counts_scored_patients_and_all_warnings(two_cases, segmented, tmp_path):
    table = measure(two_cases, network(), tmp_path / "spoiled.tsv")
    assert table.loc[table["participant_id"] == "b", "dice"].isna().all()
    summary = summarise(table).set_index("spoiled")
    assert "T1w in the FLAIR's place" not in summary.index
    assert summary.loc[AS_IT_IS].to_dict() == {
        "n": 2, "median Dice": 1.0, "median expected Dice": 0.8, "network unsure": 0, "any warning": 0,
    }  # fmt: skip
    assert summary.loc["skull left in", "network unsure"] == 2
    assert missed_alarms(table) == {"bad": 0, "silent": 0, "good": len(SPOILINGS), "warned": len(SPOILINGS) - 1}


def test_the_committed_table_is_of_the_shipped_weights_and_readme_counts_as_it_does():
    table = spoiled.recall()
    assert set(table["weights_sha256"]) == {read_json(default_weights() / SETTINGS_FILE)["sha256"]}
    assert set(table["spoiled"]) == {AS_IT_IS, *SPOILINGS} and table.groupby("participant_id").size().eq(len(SPOILINGS) + 1).all()
    scored = table[table["dice"].notna()]
    bad, unsure = scored["dice"] < 0.5, scored["unsure"] == "yes"
    count = missed_alarms(table)
    others = int((bad & ~unsure).sum()) - count["silent"]
    text = " ".join((spoiled.repository_root() / "README.md").read_text(encoding="utf-8").split())
    assert f"Of {count['bad']} results with a Dice below 0.5 it warned of {(bad & unsure).sum()} (and of " in text
    as_they_are = int((~bad & (scored["spoiled"] == AS_IT_IS)).sum())
    alarms = f"{(~bad & unsure).sum()} of {count['good']} better ones, {as_they_are} of which were not spoiled)"
    more = f"other warnings came with {others} more (and with {count['warned'] - int((~bad & unsure).sum())} better ones)"
    assert f"{alarms}, {more}" in text
    silent = scored[bad & (scored["warnings"] == 0)]["spoiled"].value_counts().to_dict()
    assert silent == {"blurred to 7 mm": 3, "T1w in the FLAIR's place": 1, "noise, SD 30%": 1, "shading over 100%": 1}
    assert "Nothing was said of 3 images blurred to 7 mm, of one T1w, of one very noisy and of one strongly shaded FLAIR." in text
