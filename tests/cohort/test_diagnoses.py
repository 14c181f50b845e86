"""The 19 diagnoses against what the article prints."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from flairnb.cohort.diagnoses import DIAGNOSES, DIAGNOSIS_KEYS, HEALTHY, find_diagnosis, nearest_diagnosis
from flairnb.errors import ManifestError


def test_there_are_nineteen_diagnoses_of_which_the_article_names_sixteen():
    assert len(DIAGNOSES) == len({d.key for d in DIAGNOSES}) == 19
    assert [d.key for d in DIAGNOSES if not d.named_in_paper] == ["CADASIL", "HIVE", "METS"]


def test_samples_have_the_articles_sizes():
    assert sum(d.validation_n for d in DIAGNOSES) == 92
    assert sum(d.training_n for d in DIAGNOSES) == 275
    assert HEALTHY.training_n == 20 and HEALTHY.validation_n == 0


def test_only_susac_has_fewer_than_five_cases_and_all_of_them_validate():
    assert {d.key: (d.validation_n, d.training_n) for d in DIAGNOSES if d.validation_n != 5} == {"SUSAC": (2, 0)}
    assert all(d.training_n > 0 for d in DIAGNOSES if d.key != "SUSAC")


def test_likelihoods_are_probabilities_and_agree_with_the_published_table_where_spot_checked():
    for d in DIAGNOSES:
        assert len(astuple(d.likelihoods)) == 13
        assert all(0 <= p <= 1 for p in astuple(d.likelihoods))
        assert d.likelihoods.small + d.likelihoods.large <= 1
    assert find_diagnosis("HGG").likelihoods.mass_effect == 0.9
    assert find_diagnosis("CADASIL").likelihoods.anterior_temporal == 0.7
    assert find_diagnosis("LGG").likelihoods.small == 0.15
    assert find_diagnosis("MIGRAINE").likelihoods.t1_dark == 0.45
    assert find_diagnosis("VASC").likelihoods.large_ventricles == 0.7
    assert find_diagnosis("ADEM").likelihoods.multiple == 0.6


def test_ages_and_sexes_are_of_humans():
    assert all(14 < d.age_mean < 95 and d.age_sd > 0 and 0 < d.female_fraction < 1 for d in (*DIAGNOSES, HEALTHY))


def test_an_unknown_diagnosis_names_the_nearest():
    with pytest.raises(ManifestError, match=r"'SUZAC': expected one of ADEM, .*did you mean SUSAC\?"):
        find_diagnosis("SUZAC")
    with pytest.raises(ManifestError, match="HEALTHY$"):
        find_diagnosis("qqqq")


@pytest.mark.parametrize("d", [*DIAGNOSES, HEALTHY], ids=lambda d: d.key)
def test_key_name_and_abbreviation_all_lead_to_the_key(d):
    assert d.key in DIAGNOSIS_KEYS
    assert {nearest_diagnosis(word) for word in (d.key, d.name, d.abbreviation, f" {d.key.lower()} ")} == {d.key}
