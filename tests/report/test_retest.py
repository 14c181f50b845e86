"""Chapter 14: rows of repeats, what they come to, and two sessions, on methods and volumes that are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.errors import InputError
from flairnb.geometry import isotropic_grid
from flairnb.images import Image
from flairnb.prepare.case import PreparedCase
from flairnb.present.style import to_png
from flairnb.report import real, retest, retest_summary, sessions
from flairnb.report.patient import Segmentation
from flairnb.report.perturb import REPEATS, Repeat


@pytest.fixture
def subject(oblique_affine, rng):
    """A head with one bright lesion, thirty intensities above the rest."""
    shape = (41, 43, 21)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    lesion = np.sqrt(((at - 0.2) ** 2).sum(0)) < 0.3
    data = np.where(np.sqrt((at**2).sum(0)) < 0.9, 100.0, 2.0) + 200 * lesion
    head = Repeat(Image(data.astype(np.float32), oblique_affine), np.sqrt((at**2).sum(0)) < 0.85)
    return retest.Subject("ph1", "simulated", head, lesion, None)


def above(fraction):
    """Return a method that marks what is brighter than a multiple of the brain's median."""

    def segment(again: Repeat) -> SimpleNamespace:
        cut = fraction * np.median(again.flair.data[again.brain])
        return SimpleNamespace(mask=(again.flair.data > cut) & again.brain)

    return segment


def broken(again):
    raise InputError("no such luck")


def test_every_method_meets_every_repeat_and_a_failure_is_a_row(subject):
    rows = pd.DataFrame(retest.repeat_subject(subject, {"good": above(2.0), "bad": broken}, 1), columns=list(retest.COLUMNS))
    assert list(rows.loc[rows["method"] == "good", "repeat"]) == ["first", *REPEATS]
    assert set(rows.loc[rows["method"] == "bad", "status"]) == {"failed"}
    good = rows[rows["method"] == "good"].set_index("repeat")
    for same in ("again", "re-oriented", "rescaled"):
        assert good.loc[same, "dice_between"] == good.loc[same, "dice"] == 1
        assert good.loc[same, "change"] == pytest.approx(0, abs=1e-12)
    assert (good["dice_between"] > 0.85).all() and (good["change"].abs() < 0.15).all()
    truth = subject.reference.sum() * subject.head.flair.voxel_volume_ml
    assert good.loc["first", "volume_ml"] == pytest.approx(truth)


def test_a_repeat_is_seen_with_the_intensities_of_the_image_whatever_it_counts_them_from(subject):
    """LGA and LPA divide by tissue means: intensities that begin at 100 instead of 0 must not change what they see."""
    from flairnb.baselines.case import BaselineCase
    from flairnb.prepare.case import prepare_case
    from flairnb.settings import load

    settings, seen = load("demo").prepare, []
    for offset in (0.0, 100.0):
        flair = Image(subject.head.flair.data + np.float32(offset), subject.head.flair.affine)
        case = prepare_case(flair, brain_mask=subject.head.brain, settings=settings, doubt_mask=False)
        view = BaselineCase(
            case.work, case.work_brain, None, None, case.work_grid, np.eye(4), 0.0, 1.0, (slice(None),) * 3, case.work.shape
        )
        seen.append(retest.carried_over(view, case).intensity)
    np.testing.assert_allclose(seen[0], seen[1], atol=2.5)
    assert np.median(seen[1][seen[1] > 0]) == pytest.approx(100.0, abs=5)


ROOT = Path(__file__).resolve().parents[2]
DISTURBED = [kind for kind in REPEATS if kind not in retest_summary.NOT_DISTURBED]


def table(volumes, method="shipped", source="simulated", voxel_ml=0.01, kinds=("again", *DISTURBED)):
    """Fabricate repeats: volumes by case, first and repeats in order."""
    rows = []
    for name, values in volumes.items():
        for kind, volume in zip(["first", *kinds], values, strict=False):
            change = volume / values[0] - 1 if values[0] else math.nan
            rows.append((name, source, method, kind, "ok", "", volume, change, 0.9, 0.8 if kind == "first" else 0.7, voxel_ml))
    return pd.DataFrame(rows, columns=list(retest.COLUMNS))


def test_the_second_run_on_the_same_image_is_no_repeat():
    found = retest_summary.summarise(table({"a": [10, 10, 10 * math.e, 10], "b": [50, 50, 50, 50]}))
    row = found.iloc[0]
    assert (row["cases"], row["measurements"], row["scale"]) == (2, 6, "log")
    assert row["within_sd"] == pytest.approx(math.sqrt((2 / 3) / 4))
    assert row["smallest_increase"] == pytest.approx(math.expm1(row["coefficient"]))
    assert (row["dice_between_median"], row["dice_first"], row["dice_lowest"], row["not_found"]) == (0.9, 0.8, 0.7, 0)


def test_what_should_not_change_does_not_make_the_scatter_smaller(rng):
    truth, sd = rng.uniform(1, 50, 400), 0.05
    scatter = {kind: np.exp(rng.normal(0, sd, 400)) for kind in ("first", *DISTURBED)}
    scatter |= dict.fromkeys(retest_summary.NOT_DISTURBED, scatter["first"])
    cases = {f"c{n}": [truth[n] * scatter[kind][n] for kind in ("first", *REPEATS)] for n in range(400)}
    row = retest_summary.summarise(table(cases, kinds=tuple(REPEATS))).iloc[0]
    assert row["measurements"] == 400 * (1 + len(DISTURBED)) and len(DISTURBED) == 4
    assert row["within_sd_low"] < sd < row["within_sd_high"] and row["within_sd"] == pytest.approx(sd, rel=0.06)


def test_only_a_public_run_of_every_declared_patient_is_published(tmp_path, monkeypatch):
    monkeypatch.setattr(retest_summary, "repository_root", lambda: tmp_path)
    monkeypatch.setattr(real, "declared_with_masks", lambda: {"a", "b"})
    public = SimpleNamespace(settings=SimpleNamespace(profile="public"))
    two = table({"a": [10, 10, 11], "b": [200, 200, 190]}, source="real")
    summary = retest_summary.summarise(pd.concat([two, table({"c": [1, 1, 2]})]))
    demo = SimpleNamespace(settings=SimpleNamespace(profile="demo"))
    assert not retest_summary.publish(demo, summary)
    assert not retest_summary.publish(public, retest_summary.summarise(table({"a": [10, 10, 11]}, source="real")))
    assert not list(tmp_path.rglob("*.tsv"))
    assert retest_summary.publish(public, summary)
    written = pd.read_csv(tmp_path / retest_summary.PUBLISHED, sep="\t")
    assert written["source"].tolist() == ["real"]
    sd = math.sqrt((math.log(1.1) ** 2 + math.log(0.95) ** 2) / 4)
    assert written.loc[0, "increase_fraction"] == pytest.approx(math.expm1(1.96 * math.sqrt(2) * sd), abs=1e-4)


def test_readme_quotes_the_committed_repeatability():
    rows = pd.read_csv(ROOT / retest_summary.PUBLISHED, sep="\t").set_index("method")["increase_fraction"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    words = {"shipped": "the shipped network cannot", "lpa": "LPA-style", "bianca": "BIANCA-style", "threshold": "the plain threshold"}
    assert f"below a rise of {rows['shipped']:.0%} in lesion volume {words['shipped']}" in text
    for method in ("lpa", "bianca", "threshold"):
        assert f"{words[method]} {rows[method]:.0%}" in text, method


def test_what_was_not_found_counts_and_takes_the_voxel_as_its_volume():
    found = retest_summary.summarise(table({"a": [1.0, 1.0, 0.0, 1.0]})).iloc[0]
    assert found["not_found"] == 1
    assert found["within_sd"] == pytest.approx(np.std([0, math.log(0.01), 0], ddof=1))


def test_changes_are_shown_by_repeat_and_numbers_have_their_interval():
    both = pd.concat([table({"a": [10, 10, 11], "b": [10, 10, 6]}), table({"a": [1, 1, 1]}, "threshold", "real")])
    shown = retest_summary.by_repeat(both).set_index(["source", "repeat"])
    assert shown.loc[("simulated", DISTURBED[0]), "volume_change_percent_largest"] == pytest.approx(-40)
    assert shown.loc[("simulated", DISTURBED[0]), "volume_change_percent_median"] == pytest.approx(-15)
    assert shown.loc[("simulated", DISTURBED[0]), "dice_change_median"] == pytest.approx(-0.1)
    numbers = retest_summary.numbers(both)
    assert (numbers["simulated_cases"], numbers["real_cases"], numbers["failed"], numbers["measurements"]) == (2, 1, 0, 9)
    measured = numbers["within_sd_simulated_shipped"]
    assert measured.low < measured.value < measured.high
    assert numbers["largest_change_same_image"] == 0 and "smallest_increase_real_threshold" in numbers


def test_the_chart_shows_every_method_and_ratios_beyond_its_edge():
    both = pd.concat([table({"a": [10, 10, 11, 100, 0.1]}), table({"a": [1, 1, 1.1]}, "threshold", "real")])
    figure = retest_summary.chart(both)
    assert [axes.get_title() for axes in figure.axes] == ["Shipped U-Net", "Plain threshold"]
    beyond = {mark: sum(len(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == mark) for mark in "^v"}
    assert beyond == {"^": 1, "v": 1} and to_png(figure)


def test_nothing_repeated_is_an_empty_table_and_no_number_fails():
    empty = table({})
    assert retest_summary.summarise(empty).empty and retest_summary.by_repeat(empty).empty
    assert math.isnan(retest_summary.numbers(empty)["largest_change_same_image"])


def test_cases_are_spread_over_all_volumes():
    assert retest.spread(9, 3) == [1, 4, 7] and retest.spread(2, 3) == [0, 1] and retest.spread(0, 3) == [] and retest.spread(5, 1) == [2]


def examination(oblique_affine, lesion, shift_mm=0.0):
    affine = oblique_affine.copy()
    affine[0, 3] += shift_mm
    flair = Image(np.ones((20, 20, 9), np.float32), affine)
    brain = np.ones(flair.shape, bool)
    case = PreparedCase(flair, brain, flair.data, brain, isotropic_grid(flair.shape, affine, 2.0), 0.0, 1.0)
    mask = np.zeros(flair.shape, bool)
    mask[lesion] = True
    return case, Segmentation(mask, brain, mask.astype(np.float32), pd.DataFrame({"lesion": [1]}))


def test_two_sessions_are_compared_where_registration_lays_them(oblique_affine):
    first = examination(oblique_affine, np.s_[5:9, 5:9, 3:5])
    second = examination(oblique_affine, np.s_[5:9, 5:11, 3:5], shift_mm=30.0)
    xfm = np.eye(4)
    xfm[0, 3] = 30.0
    found = sessions.compared(first[1], second[1], (first[0], second[0]), xfm)
    ml = first[0].flair.voxel_volume_ml
    assert found["volume_1_ml"] == pytest.approx(32 * ml) and found["volume_2_ml"] == pytest.approx(48 * ml)
    assert found["dice"] == pytest.approx(2 * 32 / 80)
    assert (found["both_ml"], found["only_1_ml"], found["only_2_ml"]) == pytest.approx((32 * ml, 0, 16 * ml))


def test_a_change_is_held_against_the_repeats():
    limit, where = sessions.limit_of(table({"a": [10, 10, 11, 10.5], "b": [20, 20, 22, 21]}))
    assert where == "simulated"
    row = {"volume_1_ml": 4.0, "volume_2_ml": 4.0 * math.exp(limit.coefficient) * 1.01}
    assert sessions.verdict(row, limit, where, 0.01)["says"].startswith("more than")
    row["volume_2_ml"] = 4.0 * math.exp(limit.coefficient) * 0.99
    assert sessions.verdict(row, limit, where, 0.01)["says"].startswith("within")
    assert sessions.limit_of(table({"a": [1, 1, 1]}, "threshold")) == (None, "")
    assert sessions.verdict(row, None, "", 0.01)["says"].startswith("no repeats")
    real = pd.concat([table({"a": [1, 1, 2], "b": [1, 1, 1]}, source="real"), table({"c": [1, 1, 1]})])
    assert sessions.limit_of(real)[1] == "real" and sessions.limit_of(real[real["participant_id"] != "b"])[1] == "simulated"


@pytest.fixture
def plain():
    """Repeats of 14 cases whose scatter grows with the volume on both scales, so that the plain one is taken."""
    found = table({f"c{n}": [10 * n, 10 * n, 10 * n * (1 + 0.01 * n), 10 * n / (1 + 0.01 * n)] for n in range(1, 15)}, source="real")
    assert retest_summary.summarise(found).loc[0, "scale"] == "plain" and retest_summary.summarise(found).loc[0, "coefficient"] > 10
    return found


def test_where_the_summary_is_in_ml_a_change_is_still_held_against_a_ratio(plain):
    limit, where = sessions.limit_of(plain)
    assert (limit.scale, where) == ("log", "real")
    sd = math.sqrt(sum(2 * math.log(1 + 0.01 * n) ** 2 for n in range(1, 15)) / (14 * 2))
    assert limit.coefficient == pytest.approx(1.96 * math.sqrt(2) * sd)

    def says(first, second):
        return sessions.verdict({"volume_1_ml": first, "volume_2_ml": second}, limit, where, 0.01)

    for first, second in ((1.03, 3.41), (8.97, 0.0), (13.0, 26.0)):
        assert says(first, second)["says"].startswith("more than"), (first, second)
    edge = math.exp(limit.coefficient)
    assert says(1.0, 0.99 * edge)["says"].startswith("within") and says(100.0, 101 * edge)["says"].startswith("more than")
    found = says(1.0, edge)
    assert found["change"] == pytest.approx(found["smallest_increase"]) and found["smallest_decrease"] == pytest.approx(1 / edge - 1)


def test_the_chart_draws_its_limits_whatever_scale_the_summary_has(plain):
    lines = retest_summary.chart(plain).axes[0].lines
    edge = math.exp(sessions.limit_of(plain)[0].coefficient)
    assert sorted(line.get_ydata()[0] for line in lines if line.get_linestyle() == ":") == pytest.approx([1 / edge, edge])


def test_absent_sessions_are_said_in_a_sentence(monkeypatch, tmp_path):
    from flairnb.report import real

    run = SimpleNamespace(settings=SimpleNamespace(profile="demo"))
    monkeypatch.setattr(real, "data_folder", lambda _run: tmp_path)
    assert "flairnb fetch openms" in sessions.compare_sessions(run, table({})).data
    assert sessions.numbers(sessions.compare_sessions(run, table({}))) == {}
    run.settings.profile = "smoke"
    assert "left out" in sessions.compare_sessions(run, table({})).data


def test_not_found_is_counted_among_the_measurements():
    found = retest_summary.summarise(table({"a": [0.0] * 8, "b": [0.0] + [5.0] * 7}, kinds=tuple(REPEATS))).iloc[0]
    assert (found["measurements"], found["not_found"]) == (2 * (1 + len(DISTURBED)), 1 + len(DISTURBED) + 1)


def test_a_hospitals_own_cases_are_counted_and_not_called_simulated():
    both = pd.concat([table({"a": [10, 10, 11], "b": [10, 10, 6]}, source="cohort"), table({"c": [1, 1, 1]}, source="real")])
    numbers = retest_summary.numbers(both)
    assert (numbers["cohort_cases"], numbers["real_cases"]) == (2, 1) and "simulated_cases" not in numbers
    assert retest_summary.numbers(table({"a": [10, 10, 11]}))["simulated_cases"] == 1
