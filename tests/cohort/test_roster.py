"""The phantom roster against everything the article prints about its subjects."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from flairnb.cohort.columns import NAMES, PATHS, schema
from flairnb.cohort.diagnoses import DIAGNOSES, find_diagnosis
from flairnb.cohort.phantom.signal import csf_null_ti_ms
from flairnb.cohort.roster import draw_full_roster, draw_roster
from flairnb.cohort.table1 import MODELS, PAPER_TABLE1
from flairnb.errors import ManifestError
from flairnb.settings import load

SEEDS = [0, 1, 2019, 987654321]


@pytest.fixture(scope="module", params=SEEDS)
def roster(request) -> pd.DataFrame:
    return draw_full_roster(request.param)


def test_ages_and_sexes_are_as_printed(roster):
    assert len(roster) == 387
    assert roster["sex"].value_counts().to_dict() == {"F": 218, "M": 169}
    assert (roster["age"].min(), roster["age"].median(), roster["age"].max()) == (14, 53, 95)


def test_diagnoses_are_as_printed(roster):
    validation = roster[roster["split"] == "validation"]["diagnosis"].value_counts().to_dict()
    assert validation == {d.key: d.validation_n for d in DIAGNOSES}
    training = roster[roster["split"] == "train"]["diagnosis"]
    assert (training != "HEALTHY").sum() == 275 and (training == "HEALTHY").sum() == 20
    assert "SUSAC" not in set(training) and training.nunique() == 19


@pytest.mark.parametrize("sample", ["train", "validation"])
def test_scanners_are_counted_as_printed(roster, sample):
    rows = roster[roster["split"] == sample]
    assert rows["model"].value_counts().to_dict() == {m.name: getattr(m, sample) for m in MODELS}
    for label, expected in {r.label: getattr(r, sample) for r in PAPER_TABLE1 if r.section == "Dimension"}.items():
        assert (rows["dimension"] == label).sum() == expected
    assert (rows["field_strength_t"] == 3.0).sum() == {"train": 65, "validation": 35}[sample]
    made = {m.name: (m.manufacturer, m.field_strength_t) for m in MODELS}
    assert all(made[r.model] == (r.manufacturer, r.field_strength_t) for r in rows.itertuples())


@pytest.mark.parametrize("sample", ["train", "validation"])
@pytest.mark.parametrize(("column", "section"), [("te_ms", "TE (ms)"), ("tr_ms", "TR (ms)")])
def test_times_have_the_printed_minimum_median_and_maximum(roster, sample, column, section):
    times = roster.loc[roster["split"] == sample, column]
    printed = [getattr(r, sample) for r in PAPER_TABLE1 if r.section == section]
    assert [times.min(), times.median(), times.max()] == printed


def test_volumes_are_3_tesla_with_long_echo_and_short_repetition(roster):
    volumes, slices = roster[roster["dimension"] == "3D"], roster[roster["dimension"] == "2D"]
    assert (volumes["field_strength_t"] == 3.0).all() and (volumes["te_ms"] > 370).all() and (volumes["tr_ms"] == 5000).all()
    assert slices["te_ms"].max() <= 150 and slices["tr_ms"].min() > 5000


def test_inversion_times_lie_near_the_one_that_nulls_csf(roster):
    null = np.array([csf_null_ti_ms(4300, tr) for tr in roster["tr_ms"]])
    assert np.abs(roster["ti_ms"] - null).max() < 150
    assert np.abs((roster["ti_ms"] - null).mean()) < 10


def test_more_than_thirty_machines_and_two_kinds_of_hospital(roster):
    assert roster["scanner"].nunique() > 30
    assert roster.groupby("scanner")["model"].nunique().max() == 1
    assert 0.15 < (roster["hospital"] == "outside").mean() < 0.25


def test_the_roster_is_a_cohort_table_without_files(roster):
    assert list(roster.columns) == list(NAMES)
    assert (roster[list(PATHS)] == "").all(axis=None)
    assert roster["participant_id"].is_unique
    schema().validate(roster.assign(flair=roster["participant_id"] + ".nii.gz"), lazy=True)


def test_same_seed_same_subjects_and_another_seed_others():
    pd.testing.assert_frame_equal(draw_full_roster(5), draw_full_roster(5))
    assert not draw_full_roster(5)["age"].equals(draw_full_roster(6)["age"])


def test_identifiers_say_nothing_of_the_diagnosis(roster):
    first = roster.head(60)["diagnosis"]
    assert first.nunique() > 10


def test_women_and_the_old_are_where_their_diseases_are():
    together = pd.concat([draw_full_roster(s) for s in range(8)])
    women = (together["sex"] == "F").groupby(together["diagnosis"]).mean()
    ages = together.groupby("diagnosis")["age"].mean()
    assert women["NMO"] > women["SVID"] > women["ALD"]
    assert ages["SVID"] > ages["VASC"] > ages["MSA"] > ages["ADEM"]
    for key in ("SVID", "LGG", "MSI"):
        assert abs(ages[key] - find_diagnosis(key).age_mean) < 5


def test_demo_has_every_disease_in_the_numbers_of_its_settings():
    settings = load("demo").cohort
    demo = draw_roster(settings, 2019)
    counts = demo.groupby(["split", "diagnosis"]).size()
    for d in DIAGNOSES:
        assert counts["validation", d.key] == min(settings.validation_per_disease, d.validation_n)
        assert counts.get(("train", d.key), 0) == min(settings.training_per_disease, d.training_n)
    assert counts["train", "HEALTHY"] == settings.healthy_training
    assert demo["model"].nunique() >= 12 and set(demo["dimension"]) == {"2D", "3D"}


def test_a_subset_keeps_the_subjects_of_the_whole():
    whole = draw_full_roster(3).set_index("participant_id")
    part = draw_roster(load("demo").cohort, 3).set_index("participant_id")
    pd.testing.assert_frame_equal(part, whole.loc[part.index])


def test_smoke_is_a_handful_of_its_diseases():
    settings = load("smoke").cohort
    smoke = draw_roster(settings, 2019)
    assert set(smoke["diagnosis"]) == {*settings.diagnoses, "HEALTHY"}
    assert len(smoke) == 7


def test_profile_phantom_is_the_whole_roster():
    pd.testing.assert_frame_equal(draw_roster(load("phantom").cohort, 4), draw_full_roster(4))


def test_an_unknown_diagnosis_in_the_settings_is_named():
    settings = dataclasses.replace(load("smoke").cohort, diagnoses=("MSA", "GLIOMA"))
    with pytest.raises(ManifestError, match="'GLIOMA': expected one of"):
        draw_roster(settings, 1)
