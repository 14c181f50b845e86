"""Which series is the FLAIR and which the T1w, from header values alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flairnb.errors import GeometryError, InputError
from flairnb.prepare.dicom_series import Series, judge, pick

ORIGINAL = frozenset({"ORIGINAL", "PRIMARY", "M", "NORM"})
FLAIR = Series(
    "4", "1.2.4", "ax t2 flair", kinds=ORIGINAL, tr_ms=9000, te_ms=120, ti_ms=2500, inversion=True, slices=24, orientation="axial",
    spacing_mm=(0.9, 0.9, 5.0),
)  # fmt: skip
T1W = replace(
    FLAIR, label="2", uid="1.2.2", names="sag mprage", tr_ms=2300, te_ms=3, ti_ms=900, spin_echo=False, is_3d=True, slices=176,
    orientation="sagittal", spacing_mm=(1.0, 1.0, 1.0),
)  # fmt: skip


def other(label="9", base=FLAIR, **values):
    return replace(base, label=label, uid=f"1.2.{label}", **values)


#: name, values that differ from the FLAIR's, what it is. Timings are those that vendors' protocols print.
ROWS = [
    ("2D FLAIR, 3 T", {}, "FLAIR"),
    ("dark-fluid TIRM, named as such", {"names": "t2 tirm tra dark fluid", "ti_ms": 2370, "te_ms": 81, "tr_ms": 8000}, "FLAIR"),
    ("3D, variable flip angles", {"names": "spc ir sag", "ti_ms": 1800, "te_ms": 388, "tr_ms": 5000, "is_3d": True}, "FLAIR"),
    ("no name at all", {"names": ""}, "FLAIR"),
    ("name without timing", {"tr_ms": None, "te_ms": None, "ti_ms": None, "inversion": False}, "FLAIR"),
    ("name without inversion time", {"ti_ms": None}, "FLAIR"),
    ("1.5 T", {"ti_ms": 2200, "te_ms": 140, "tr_ms": 8000}, "FLAIR"),
    ("reformatted FLAIR", {"kinds": frozenset({"DERIVED", "SECONDARY", "MPR"})}, "FLAIR"),
    ("posterior fossa FLAIR", {"names": "post fossa flair"}, "FLAIR"),
    ("name of a subject", {"names": "sub 01 flair"}, "FLAIR"),
    ("MPRAGE", {"names": "mprage", "ti_ms": 900, "te_ms": 3, "tr_ms": 2300, "spin_echo": False}, "T1w"),
    ("MPRAGE without name", {"names": "", "ti_ms": 900, "te_ms": 3, "tr_ms": 2300, "spin_echo": False}, "T1w"),
    ("spin echo T1w", {"names": "t1 se", "ti_ms": None, "te_ms": 12, "tr_ms": 550, "inversion": False}, "T1w"),
    ("spoiled gradient echo", {"names": "ax fspgr bravo", "ti_ms": 450, "te_ms": 3, "tr_ms": 8, "spin_echo": False}, "T1w"),
    ("T1 FLAIR", {"names": "sag t1 flair", "ti_ms": 860, "te_ms": 24, "tr_ms": 2200}, "T1w"),
    ("STIR", {"names": "cor stir", "ti_ms": 160, "te_ms": 60, "tr_ms": 5000}, ""),
    ("STIR named TIRM", {"names": "t2 tirm cor", "ti_ms": 160, "te_ms": 60, "tr_ms": 5000}, ""),
    ("T2w", {"names": "ax t2 tse", "ti_ms": None, "te_ms": 95, "tr_ms": 5000, "inversion": False}, ""),
    ("T2w with an inversion time left in its header", {"names": "ax t2 tse", "inversion": False}, ""),
    ("PDw", {"names": "pd tse", "ti_ms": None, "te_ms": 12, "tr_ms": 3000, "inversion": False}, ""),
    ("diffusion by name", {"names": "ep2d diff b1000"}, ""),
    ("diffusion by b-value", {"names": "x", "diffusion": True}, ""),
    ("apparent diffusion coefficient", {"names": "", "kinds": frozenset({"DERIVED", "PRIMARY", "ADC"})}, ""),
    ("projection of a FLAIR", {"kinds": frozenset({"DERIVED", "SECONDARY", "MIP"})}, ""),
    ("phase image", {"kinds": frozenset({"ORIGINAL", "PRIMARY", "P"})}, ""),
    ("double inversion", {"names": "sag dir flair"}, ""),
    ("localizer", {"names": "flair planning", "kinds": frozenset({"ORIGINAL", "PRIMARY", "LOCALIZER"})}, ""),
    ("scout", {"names": "3 plane scout"}, ""),
    ("angiography", {"names": "tof 3d t1", "te_ms": 3.6, "tr_ms": 21, "ti_ms": None, "spin_echo": False}, ""),
    ("susceptibility", {"names": "swi t1", "te_ms": 20, "tr_ms": 28, "ti_ms": None, "spin_echo": False}, ""),
    ("gradient echo without a name", {"names": "", "te_ms": 4, "tr_ms": 250, "ti_ms": None, "spin_echo": False, "inversion": False}, ""),
    ("CT", {"modality": "CT"}, ""),
    ("named FLAIR, timed as T2w", {"te_ms": 95, "ti_ms": 0, "tr_ms": 2000}, ""),
    ("three slices", {"slices": 3}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("values", "kind"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_series_is_known_by_its_header(values, kind):
    found, why = judge(replace(FLAIR, **values))
    assert found == kind and why


def test_reasons_repeat_no_typed_text():
    for _, values, _ in ROWS:
        series = replace(FLAIR, **{**values, "names": f"{values.get('names', FLAIR.names)} miller xq17"})
        shown = f"{judge(series)} {series} {series!r} {series.properties()}"
        assert "miller" not in shown and "xq17" not in shown and series.uid not in shown


@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        ({"kinds": frozenset({"DERIVED", "SECONDARY", "MPR"})}, "derived"),
        ({"contrast": True}, "after contrast agent"),
        ({"names": "ax t2 flair post gd"}, "after contrast agent"),
        ({"names": "ax flair +c"}, "after contrast agent"),
        ({"slices": 18, "spacing_mm": (0.5, 0.5, 2.0)}, "covers 36 mm across its slices only"),
        ({"slices": 176, "orientation": "sagittal", "is_3d": True, "spacing_mm": (1.0, 1.0, 1.0)}, "sagittal, not axial"),
        ({"ti_ms": None}, "name only"),
        ({"kinds": frozenset({"ORIGINAL", "PRIMARY", "M"})}, "not intensity-corrected"),
        ({"spacing_mm": (0.5, 0.5, 6.0)}, "thicker slices (6.0 mm)"),
    ],
)
def test_the_better_flair_is_taken_and_the_reason_said(worse, reason):
    for series in ([FLAIR, other(**worse)], [other(**worse), FLAIR]):
        choice = pick(series)
        assert choice.flair is FLAIR and choice.t1w is None
        ((rejected, why),) = choice.rejected
        assert rejected.label == "9" and reason in why


def test_a_worse_flair_is_taken_when_there_is_no_other():
    derived = other(kinds=frozenset({"DERIVED", "SECONDARY", "MPR"}), contrast=True)
    assert pick([T1W, derived]).flair is derived


def test_without_contrast_is_no_contrast():
    assert not other(names="t1 pre contrast").is_enhanced and not other(names="t1 without gd").is_enhanced
    assert not other(names="t2 space flair").is_enhanced


def test_t1w_after_contrast_agent_is_not_taken():
    after = other("7", T1W, names="sag mprage km")
    choice = pick([FLAIR, after])
    assert choice.t1w is None and choice.rejected == ((after, "T1w after contrast agent"),)
    assert pick([FLAIR, after, T1W]).t1w is T1W


def test_of_t1w_the_original_3d_one_is_taken():
    flat = other("1", T1W, is_3d=False, spacing_mm=(1.0, 1.0, 5.0))
    derived = other("3", T1W, kinds=frozenset({"DERIVED", "MPR"}))
    choice = pick([flat, derived, FLAIR, T1W])
    assert choice.t1w is T1W
    assert [why for _, why in choice.rejected] == [
        "T1w, but series 2 suits better (2D, not 3D)",
        "T1w, but series 2 suits better (derived from another series)",
    ]


INNER_EAR = other("7", T1W, names="ax t1 iac", is_3d=False, slices=18, orientation="axial", spacing_mm=(0.4, 0.4, 2.0))
HEAD_2D = other("5", T1W, names="ax t1 se", is_3d=False, slices=24, orientation="axial", spacing_mm=(0.9, 0.9, 5.0))


def test_a_t1w_of_the_whole_head_comes_before_a_thin_slab_of_it():
    for series in ([FLAIR, HEAD_2D, INNER_EAR], [INNER_EAR, HEAD_2D, FLAIR]):
        choice = pick(series)
        assert choice.t1w is HEAD_2D and choice.spare[0][0] is INNER_EAR
        assert choice.rejected == ((INNER_EAR, "T1w, but series 5 suits better (covers 36 mm across its slices only)"),)
    slab_3d = replace(INNER_EAR, is_3d=True)
    assert pick([FLAIR, slab_3d, HEAD_2D]).t1w is HEAD_2D
    derived = replace(HEAD_2D, kinds=frozenset({"DERIVED", "MPR"}))
    assert pick([FLAIR, INNER_EAR, derived]).t1w is INNER_EAR, "whether it covers the FLAIR is looked at before it is used"


def test_what_counts_as_a_whole_head_is_slices_times_their_distance():
    assert not other(slices=100, spacing_mm=(1, 1, 1.0)).is_slab and other(slices=99, spacing_mm=(1, 1, 1.0)).is_slab
    assert not FLAIR.is_slab and FLAIR.covered_mm == 120.0


def test_a_slab_is_used_where_there_is_nothing_else_and_the_line_says_that_it_is_one():
    choice = pick([other(slices=18), INNER_EAR])
    assert choice.lines() == [
        "FLAIR: series 9 (axial 2D, 18 slices): inversion recovery with TI 2500 ms, TE 120 ms, TR 9000 ms, and named so; "
        "covers 90 mm across its slices only",
        "T1w: series 7 (axial 2D, 18 slices): TI 900 ms, TE 3 ms, TR 2300 ms, and named so; covers 36 mm across its slices only",
    ]
    assert pick([FLAIR, other(slices=18)], "9").flair_why == "chosen by --series; covers 90 mm across its slices only"


def test_after_a_t1w_that_cannot_be_used_the_next_best_is_taken():
    choice = pick([FLAIR, INNER_EAR, T1W, HEAD_2D])
    assert [choice.t1w, *(s for s, _ in choice.spare)] == [T1W, HEAD_2D, INNER_EAR]
    second = choice.without_t1w("damaged")
    assert second.t1w is HEAD_2D and second.t1w_line().startswith("T1w: series 5 (axial 2D, 24 slices): TI 900 ms")
    assert dict((s.label, why) for s, why in second.rejected) == {
        "7": "T1w, but series 5 suits better (covers 36 mm across its slices only)",
        "2": "T1w, but damaged",
    }
    none = second.without_t1w("cut off").without_t1w("of a finger")
    assert none.t1w is None and none.t1w_line() == "T1w: none of the series; of a finger" and none.spare == ()
    assert {s.label: why for s, why in none.rejected} == {"2": "T1w, but damaged", "5": "T1w, but cut off", "7": "T1w, but of a finger"}
    assert none.without_t1w("again") is none


def test_beside_a_t1w_that_is_given_as_a_file_none_is_said_to_be_missing():
    for series in ([FLAIR], [FLAIR, INNER_EAR, T1W]):
        choice = pick(series).with_t1w_of_a_file()
        assert choice.t1w is None and choice.t1w_line() == "T1w: none of the series; a file was given"
        assert {why for _, why in choice.rejected} <= {"T1w, but another file was given"}


def test_no_flair_lists_what_there_is():
    with pytest.raises(InputError, match=r"found none among 2: series 2 \(sagittal 3D, 176 slices\).*series 9.*TE 95 ms") as caught:
        pick([T1W, other(names="ax t2", te_ms=95, ti_ms=None, tr_ms=5000, inversion=False)])
    assert caught.value.exit_code == 2


def test_equally_good_flairs_are_not_chosen_between():
    with pytest.raises(InputError, match=r"2 equally good: series 4 .*series 9.*--series"):
        pick([FLAIR, other()])
    for wanted in ("9", "1.2.9"):
        choice = pick([FLAIR, other(), T1W], wanted)
        assert choice.flair.label == "9" and choice.flair_why == "chosen by --series" and choice.t1w is T1W


def test_a_series_that_is_asked_for_is_taken_for_the_flair():
    assert pick([FLAIR, T1W], "2").flair is T1W
    with pytest.raises(InputError, match=r"There are: 4, 2\."):
        pick([FLAIR, T1W], "17")
    with pytest.raises(InputError, match="expected an MR series"):
        pick([FLAIR, other(modality="SEG")], "9")
    with pytest.raises(GeometryError, match="missing slices"):
        pick([FLAIR, other(fault="missing slices")], "9")


def test_patients_and_studies_are_not_mixed():
    with pytest.raises(InputError, match=r"found 2 patients.*4 \(study 1\), 9 \(study 2\)"):
        pick([FLAIR, other(patient=2, study=2)])
    with pytest.raises(InputError, match="found 2 studies of one patient"):
        pick([FLAIR, other(study=2)])
    choice = pick([FLAIR, T1W, other(study=2), other("8", T1W, study=2)], "9")
    assert choice.t1w is not None and choice.t1w.label == "8"
    assert {why for _, why in choice.rejected} == {"of another study or patient"}
    assert pick([FLAIR, other(study=2, modality="SR")]).flair is FLAIR


def test_a_flair_with_missing_slices_is_not_taken():
    broken = other("3", fault="missing slices (10.00 mm apart at one place, 5.00 mm at others)", spacing_mm=(0.9, 0.9, 1.0))
    assert pick([broken, FLAIR]).flair is FLAIR
    assert "missing slices" in pick([broken, FLAIR]).rejected[0][1]
    with pytest.raises(GeometryError, match="series 3 .*missing slices"):
        pick([broken, T1W])


@pytest.mark.parametrize("protocol", ["brain mra stroke", "brain with perfusion", "brain dwi stroke"])
def test_a_series_described_and_timed_as_flair_is_one_whatever_its_protocol_is_called(protocol):
    said = {"names": f"ax t2 flair {protocol}", "own_names": "ax t2 flair"}
    assert judge(replace(FLAIR, **said))[0] == "FLAIR"
    assert pick([replace(FLAIR, **said)]).flair.label == "4"
    for less in ({"ti_ms": None}, {"te_ms": None}, {"te_ms": 12}, {"own_names": "ax t2"}, {"own_names": ""}, {"own_names": "t1 flair"}):
        assert judge(replace(FLAIR, **{**said, **less}))[0] == "", less


@pytest.mark.parametrize(
    "but",
    [
        {"own_names": "sag dir flair"},
        {"diffusion": True},
        {"kinds": frozenset({"ORIGINAL", "PRIMARY", "LOCALIZER"})},
        {"slices": 3},
        {"modality": "CT"},
    ],
)
def test_what_the_series_itself_says_against_a_flair_still_counts(but):
    assert judge(replace(FLAIR, **{"names": "sag dir flair brain", "own_names": "ax t2 flair", **but}))[0] == ""
