"""The 19 diagnoses of the article, and healthy: names, groups, likelihoods.

The article prints 16 of the 19 names; its appendix lists all, and is not
available to us. The three others, and the likelihood of each imaging feature
given each diagnosis, are those of the same group's Bayes network of
white-matter diagnoses (github.com/jeffduda/aries-app, WhiteMatterNetwork.py,
commit 8c924fe): 19 diagnoses, 18 of equal prior and Susac syndrome rarer in
just the ratio 2 to 5 of this article's validation sample. That the two lists
are the same is inferred, not stated anywhere.

Ages, sex ratios and numbers of training cases are chosen by us (see
`Diagnosis`): the article gives them for the whole cohort only.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from flairnb.errors import ManifestError


@dataclass(frozen=True)
class Likelihoods:
    """Probability of an imaging feature given the diagnosis, 0 to 1.

    Set by experts for the Bayes network named in the module's docstring.

    Attributes
    ----------
    multiple : float
        More than one lesion.
    extensive : float
        Much of the white matter is involved.
    small, large : float
        Typical lesion is small, or large (the rest: medium).
    symmetric, periventricular, juxtacortical, cortex, corpus_callosum, anterior_temporal : float
        Where lesions lie.
    mass_effect, large_ventricles, t1_dark : float
        What they do to their neighbours, and how they look on T1w.
    """

    multiple: float
    extensive: float
    small: float
    large: float
    symmetric: float
    periventricular: float
    juxtacortical: float
    cortex: float
    corpus_callosum: float
    anterior_temporal: float
    mass_effect: float
    large_ventricles: float
    t1_dark: float


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis.

    Attributes
    ----------
    key : str
        Short name used in files and tables.
    name, abbreviation : str
        In words, and as the article's figures have it (for the three that the
        article does not name: as we have it).
    group : str
        For summaries: inflammatory, vascular, neoplastic, infectious,
        metabolic, healthy.
    named_in_paper : bool
        Whether the article's text or figures name it.
    validation_n, training_n : int
        Cases in each sample. Validation: Methods, "Diseases and
        Training/Validation Assignment". Training: the total of 275 is the
        article's; the share of each disease stands in its appendix, which we
        do not have, and is chosen by how common the disease is in a
        tertiary-care archive.
    age_mean, age_sd : float
        Years; chosen from the usual age at presentation.
    female_fraction : float
        Share of women; chosen from usual epidemiology.
    likelihoods : Likelihoods
        Imaging features.
    """

    key: str
    name: str
    abbreviation: str
    group: str
    named_in_paper: bool
    validation_n: int
    training_n: int
    age_mean: float
    age_sd: float
    female_fraction: float
    likelihoods: Likelihoods


#: Row by row: key; name; abbreviation; group; named; validation, training; age mean, sd; female; likelihoods in field order.
_ROWS = """
ADEM    ; Acute disseminated encephalomyelitis        ; ADEM     ; inflammatory; 1; 5 10; 33 14; .50; .6 .5 .3 .3 .5 .7 .7 .2 .5 .2 .2 .2 .3
ALD     ; Adrenoleukodystrophy                        ; ALD      ; metabolic   ; 1; 5 6 ; 33 12; .15; .5 .8 .2 .6 .8 .7 .5 .5 .8 .2 .1 .3 .4
CADASIL ; CADASIL                                     ; CADASIL  ; vascular    ; 0; 5 5 ; 54 11; .50; .9 .8 .2 .5 .8 .7 .8 .2 .5 .7 .1 .5 .4
CNSL    ; Primary CNS lymphoma                        ; CNSL     ; neoplastic  ; 1; 5 15; 63 12; .45; .6 .8 .2 .5 .5 .7 .6 .5 .7 .2 .5 .6 .5
HGG     ; High-grade glioma                           ; hg glioma; neoplastic  ; 1; 5 25; 60 13; .42; .2 .8 .1 .6 .4 .7 .9 .8 .8 .2 .9 .3 .4
HIVE    ; HIV encephalopathy                          ; HIV      ; infectious  ; 0; 5 8 ; 47 11; .35; .5 .8 .2 .5 .9 .7 .8 .2 .4 .3 .1 .7 .4
LGG     ; Low-grade glioma                            ; lg glioma; neoplastic  ; 1; 5 18; 41 13; .45; .1 .2 .15 .35 .2 .3 .9 .8 .2 .2 .5 .2 .6
METS    ; Metastatic disease                          ; mets     ; neoplastic  ; 0; 5 20; 61 12; .55; .7 .5 .3 .4 .5 .7 .7 .6 .5 .2 .5 .2 .3
MIGRAINE; Migraine                                    ; Migraine ; vascular    ; 1; 5 15; 41 13; .78; .7 .1 .7 .1 .6 .7 .8 .2 .3 .2 .1 .3 .45
MSA     ; Multiple sclerosis, active                  ; aMS      ; inflammatory; 1; 5 22; 39 12; .72; .8 .4 .5 .2 .5 .7 .8 .2 .6 .2 .1 .4 .6
MSI     ; Multiple sclerosis, inactive                ; iMS      ; inflammatory; 1; 5 25; 48 12; .72; .8 .4 .7 .1 .5 .7 .8 .2 .6 .2 .1 .2 .35
MST     ; Multiple sclerosis, tumefactive             ; tMS      ; inflammatory; 1; 5 8 ; 40 13; .65; .7 .7 .1 .5 .2 .7 .8 .4 .5 .2 .4 .2 .4
NMO     ; Neuromyelitis optica                        ; NMO      ; inflammatory; 1; 5 12; 43 14; .85; .5 .3 .3 .3 .7 .7 .7 .2 .6 .2 .1 .1 .3
PML     ; Progressive multifocal leukoencephalopathy  ; PML      ; infectious  ; 1; 5 14; 51 13; .42; .7 .7 .1 .6 .2 .7 .8 .6 .4 .2 .2 .5 .6
PRES    ; Posterior reversible encephalopathy syndrome; PRES     ; vascular    ; 1; 5 18; 49 17; .65; .7 .5 .1 .4 .8 .5 .9 .7 .2 .2 .1 .3 .4
SUSAC   ; Susac syndrome                              ; Susac S  ; inflammatory; 1; 2 0 ; 33 10; .75; .7 .2 .3 .3 .6 .7 .7 .1 .8 .2 .1 .2 .5
SVID    ; Small-vessel ischemic disease               ; SVID     ; vascular    ; 1; 5 25; 71 10; .52; .8 .5 .2 .4 .8 .7 .7 .1 .2 .2 .1 .7 .4
TLE     ; Toxic leukoencephalopathy                   ; TLE      ; metabolic   ; 1; 5 9 ; 49 15; .48; .5 .8 .1 .6 .8 .7 .8 .5 .8 .3 .3 .3 .5
VASC    ; Vascular disease (ischemia, infarct)        ; Vasc     ; vascular    ; 1; 5 20; 66 13; .48; .7 .5 .1 .4 .6 .7 .7 .5 .2 .2 .2 .7 .4
"""  # noqa: E501 - a table, one row a diagnosis


def _parse(row: str) -> Diagnosis:
    key, name, abbreviation, group, named, counts, age, female, likelihoods = (cell.strip() for cell in row.split(";"))
    validation_n, training_n = map(int, counts.split())
    age_mean, age_sd = map(float, age.split())
    return Diagnosis(
        key=key,
        name=name,
        abbreviation=abbreviation,
        group=group,
        named_in_paper=named == "1",
        validation_n=validation_n,
        training_n=training_n,
        age_mean=age_mean,
        age_sd=age_sd,
        female_fraction=float(female),
        likelihoods=Likelihoods(*map(float, likelihoods.split())),
    )


#: The 19 diagnoses, in alphabetical order of their keys.
DIAGNOSES: tuple[Diagnosis, ...] = tuple(_parse(row) for row in _ROWS.strip().splitlines())

#: Brains without abnormality on FLAIR, age-matched; training only.
HEALTHY = Diagnosis("HEALTHY", "Healthy brain", "healthy", "healthy", True, 0, 20, 53.0, 18.0, 0.55, Likelihoods(*[0.0] * 13))

#: Every value that the manifest's column `diagnosis` may have.
DIAGNOSIS_KEYS: tuple[str, ...] = (*(d.key for d in DIAGNOSES), HEALTHY.key)


def find_diagnosis(key: str) -> Diagnosis:
    """Return the diagnosis of a key.

    Raises
    ------
    ManifestError
        Unknown key; the message has the nearest known one.

    Examples
    --------
    >>> find_diagnosis("SUSAC").validation_n
    2
    """
    for diagnosis in (*DIAGNOSES, HEALTHY):
        if diagnosis.key == key:
            return diagnosis
    nearest = nearest_diagnosis(key)
    hint = f"; did you mean {nearest}?" if nearest else ""
    raise ManifestError(f"diagnosis {key!r}: expected one of {', '.join(DIAGNOSIS_KEYS)}{hint}")


def nearest_diagnosis(word: str) -> str:
    """Return the key whose key, abbreviation or name is most like `word`; "" if none is.

    Examples
    --------
    >>> nearest_diagnosis("Suzac"), nearest_diagnosis("lg glioma"), nearest_diagnosis("qqq")
    ('SUSAC', 'LGG', '')
    """
    names = {}
    for d in (*DIAGNOSES, HEALTHY):
        names.update({d.key.lower(): d.key, d.abbreviation.lower(): d.key, d.name.lower(): d.key})
    match = difflib.get_close_matches(str(word).strip().lower(), list(names), n=1, cutoff=0.6)
    return names[match[0]] if match else ""
