"""Which typed names say that a contrast agent was given: many languages and spellings, and names that say nothing of the kind."""

from __future__ import annotations

import pytest

from flairnb.prepare.dicom_names import names_contrast_agent, typed

ENHANCED = [
    "T1 INJ", "AX T1 SE INJECTE", "T1 injecté", "T1 après injection", "FLAIR INJECTÉE", "FLAIR 3D INJ", "T1 GADO", "T1 Gadovist",
    "T1 Dotarem", "T1 SE gd", "T1 avec PDC", "t1ce", "t1wce", "T1c", "T1Gd", "FLAIRGd", "T1KM", "MPRAGE-KM", "AX T1 KM+", "T1 nach KM",
    "T1 mit Kontrastmittel", "T1 vor und nach KM", "T1 con mdc", "T1 dopo m.d.c.", "T1 con contraste", "T1 inyectado", "T1 CIV",
    "T1 po kontraście", "T1 с контрастом", "T1增强", "T1增強", "造影後T1", "T1 조영증강", "Ｔ１ ＋Ｃ", "T1+C", "T1_+C", "T1 C+",
    "T1W 3D TFE CE", "AX FLAIR post contrast", "T1 postcontrast", "T1 POSTGD", "T1 pre post gd", "T1 IV contrast", "T1 enhanced",
    "T1 W WO CONTRAST",
]  # fmt: skip
PLAIN = [
    "T1 before contrast", "T1 vor KM", "T1 ohne KM", "T1 ohne Kontrastmittel", "T1 sans injection", "T1 sans injection de gado",
    "T1 avant injection", "T1 sans injection de produit de contraste", "T1 non injecté", "T1 ss inj", "T1 senza mdc",
    "T1 prima di mdc", "T1 sin contraste", "T1 sem contraste", "T1 zonder contrast", "T1 без контраста", "T1平扫", "T1 增强前",
    "T1 未增强", "T1 造影なし", "T1 비조영", "T1 pre Gd", "T1 without contrast", "w/o contrast T1", "T1 wo contrast",
    "T1 no IV contrast", "T1 non contrast", "T1 noncontrast", "T1 unenhanced", "T1 nativ", "T1 head injury", "SAG T1 scène",
]  # fmt: skip
#: Of the other tests, with what was found before other spellings were known.
AS_BEFORE = {
    **dict.fromkeys(
        (
            "AX T2 FLAIR", "SAG MPRAGE", "AX T2 TSE", "t2 tirm tra dark fluid", "spc ir sag", "sub 01 flair", "t1 se",
            "ax fspgr bravo", "cor stir", "sag t1 flair", "ep2d diff b1000", "flair planning", "3 plane scout", "tof 3d t1", "swi t1",
            "t1 pre contrast", "t1 without gd", "t2 space flair", "", "brain mra stroke", "brain with perfusion",
            "AX FLAIR XQ17 Fabricated", "T2 FLAIR 横断", "sag dir flair brain",
        ),
        False,
    ),
    **dict.fromkeys(
        (
            "sag mprage km", "ax t2 flair post gd", "ax flair +c", "T1 POST GD", "post fossa flair", "BRAIN W WO CONTRAST MRA STROKE",
            "T1 post",
        ),
        True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENHANCED)
def test_a_contrast_agent_is_known_in_many_spellings(name):
    assert names_contrast_agent(typed(name))


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_that_denies_a_contrast_agent_or_speaks_of_none_is_plain(name):
    assert not names_contrast_agent(typed(name))


@pytest.mark.parametrize(("name", "enhanced"), AS_BEFORE.items())
def test_ordinary_names_are_taken_as_before(name, enhanced):
    assert names_contrast_agent(typed(name)) is enhanced


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  AX T2_FLAIR/fs (tra) +C", "ax t2 flair fs tra +c"),
        ("Axiale Größe, après", "axiale grosse apres"),
        ("FLAIR横断T1", "flair 横断 t1"),
        ("DWI轴位", "dwi 轴位"),
        ("ＦＬＡＩＲ Ⅱ", "flair ii"),
        ("조영 が", "조영 が"),
        ("*tfl3d1_16ns", "tfl3d1 16ns"),
        ("", ""),
    ],
)
def test_typed_text_becomes_words_in_small_letters(text, words):
    assert typed(text) == words
