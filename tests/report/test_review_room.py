"""The reading room: what is written belongs to the case that is shown, whatever else happens to the session."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from flairnb.errors import InputError, MissingDataError
from flairnb.images import Image, write_image
from flairnb.present.case_view import pack
from flairnb.provenance import read_json, write_json
from flairnb.report import reading_log, review, review_cases
from flairnb.report.review import Session
from flairnb.report.review_room import ReviewRoom

#: Of three patients; the last lies on another grid than the others.
SHAPES = {"sub-1": (17, 19, 8), "sub-2": (17, 19, 8), "sub-3": (15, 23, 9)}
CENTRE = (8, 9, 4)


@pytest.fixture
def results(rng, oblique_affine, tmp_path):
    """A folder as `flairnb segment` leaves it, with a reader's mask beside, and a lesion of a size of its own for each patient."""
    folder = tmp_path / "out"
    for size, (stem, shape) in enumerate(SHAPES.items(), start=1):
        flair = Image(rng.normal(100, 9, shape).astype(np.float32), oblique_affine)
        write_image(folder / f"{stem}_FLAIR.nii.gz", flair.data, flair)
        write_image(folder / f"{stem}_desc-brain_mask.nii.gz", np.ones(shape), flair, np.uint8)
        for moved, method in enumerate(("manual", "lga", "unet")):
            mask = np.zeros(shape, dtype=bool)
            mask[4 + moved : 6 + moved + size, 8:11, 3] = True
            write_image(folder / f"{stem}_label-lesion_desc-{method}_mask.nii.gz", mask, flair, np.uint8)
        summary = {"lesion_volume_ml": 0.1, "expected_dice": 0.5, "input": {"flair": f"{stem}_FLAIR.nii.gz"}}
        write_json(folder / f"{stem}_desc-summary.json", summary)
    return folder


@pytest.fixture
def session(results, tmp_path):
    return Session(review_cases.find_cases(source=str(results), order="case"), tmp_path / "review", "ab")


@pytest.fixture
def room(session):
    return ReviewRoom(session, way="static")


@pytest.fixture
def unreadable(results):
    """Take the second patient's mask away after the cases were listed."""
    return lambda: (results / "sub-2_label-lesion_desc-unet_mask.nii.gz").unlink()


def centre(session, voxel=CENTRE) -> np.ndarray:
    affine = session.case.flair.affine
    return (affine[:3, :3] @ voxel + affine[:3, 3])[None]


def draw(room, points_mm) -> None:
    """Do what the pad does when the mouse is let go."""
    packed = room.edit._packed
    voxel = (np.linalg.inv(packed.affine) @ [*points_mm[0], 1.0])[:3]
    stroke = [[packed.image.shape[1] - 1 - voxel[1], packed.image.shape[0] - 1 - voxel[0]]]
    for call in room.edit.pad._msg_callbacks.callbacks:
        call(room.edit.pad, {"tool": "add", "stroke": stroke, "k": round(voxel[2])}, [])


def step(room, words: str) -> None:
    (button,) = (one for one in room.box.children[1].children if getattr(one, "description", "") == words)
    button.click()


def saved(session) -> list[str]:
    return sorted(path.name for path in (session.folder / "corrected").glob("*.nii.gz"))


def blank(room) -> bool:
    """Whether nothing of any case is seen, and no verdict can be given."""
    nothing = room.name == "" and room.mask.options == room.beside.options == room.lesion.options == () and room.shown is None
    hidden = room.picture.value == b"" and room.picture.layout.visibility == "hidden" and room.edit.pad is None
    return nothing and hidden and all(button.disabled for button in room.verdicts)


def works(room, name: str) -> bool:
    """Whether a case is seen and can be judged."""
    seen = room.name == name == room.session.case.name and room.picture.layout.visibility == "visible"
    return seen and room.says.value.startswith(f"<i>{name}: ") and not any(button.disabled for button in room.verdicts)


CELLS = {
    "still": lambda session: review.still(session),
    "disagreement": lambda session: review.disagreement(session),
    "still of the last": lambda session: review.still(session, -1),
    "disagreement of the last": lambda session: review.disagreement(session, -1),
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_cell_run_again_leaves_the_rooms_case_open_with_its_strokes(cell, room, session):
    step(room, "next case")
    room.folds.selected_index = 0
    draw(room, centre(session))
    held = session.place, session.case, session.corrections, dict(session.corrections), session.corrections["unet"].mask
    assert session.corrections["unet"].unsaved
    cell(session)
    assert (session.place, session.case, session.corrections, dict(session.corrections), session.corrections["unet"].mask) == held
    draw(room, centre(session, (3, 3, 4)))
    room.edit.save_button.click()
    room.verdicts[0].click()
    assert saved(session) == ["sub-2_label-lesion_desc-corrected_mask.nii.gz"]
    assert session.log()[["case", "method"]].to_numpy().tolist() == [["sub-2", "unet"]]
    side = read_json(session.folder / "corrected" / "sub-2_label-lesion_desc-corrected_mask.json")
    assert len(side["Edits"]) == 2 and "sub-2_label-lesion_desc-unet_mask.nii.gz" in side["SourceSha256"]


def test_the_cells_show_the_case_they_are_asked_for_whatever_is_open(session):
    session.open(1)
    volume = np.prod((0.9, 1.1, 5.0)) / 1000
    for place, voxels in enumerate((9, 12, 15)):
        table = review.disagreement(session, place).set_index("method")
        np.testing.assert_allclose(
            table.loc["unet", ["both_ml", "missed_ml", "extra_ml"]], np.array([voxels - 6, 6, 6]) * volume, atol=0.006
        )
        assert review.still(session, place).texts[0].get_text().startswith(f"sub-{place + 1}, U-Net: {voxels * volume:.2f} ml")
    assert session.case.name == "sub-2"


def test_the_notebooks_numbers_are_of_the_first_case_and_of_its_mask_on_the_disk(session):
    session.open(1)
    session.correct("unet").brush(centre(session, (14, 3, 6))[0], 1.0)
    held = session.case, dict(session.corrections)
    assert len(session.lesions("unet")) == 2
    assert review.numbers(session) == {"review_cases": 3, "review_lesions": 1, "readings": 0}
    assert (session.case, dict(session.corrections)) == held and session.place == 1


def test_what_is_written_for_a_case_that_is_not_open_is_refused(room, session):
    room.folds.selected_index = 0
    shown = bytes(room.picture.value)
    session.open(1)  # another cell of the notebook
    for click in (room.verdicts[0].click, lambda: draw(room, centre(session)), room.edit.save_button.click, lambda: room.edit._undo()):
        room.say("")
        room.safely(click)
        assert "error: review: expected the case that is shown, sub-1, to be open, found sub-2" in room.says.value.replace("&#x27;", "'")
    assert session.log().empty and session.corrections == {} and saved(session) == []
    room.folds.selected_index = None
    room.edit.forget()
    for change in (
        lambda: setattr(room.folds, "selected_index", 0),
        lambda: setattr(room.mask, "value", "lga"),
        lambda: setattr(room.level, "value", 60.0),
    ):
        room.say("")
        change()
        assert bytes(room.picture.value) == shown and "found sub-2" in room.says.value and room.edit.pad is None
    step(room, "next case")
    step(room, "before")
    assert works(room, "sub-1")
    room.verdicts[0].click()
    assert session.log()["case"].tolist() == ["sub-1"]


def test_a_session_refuses_another_name_or_none_and_writes_nothing(session):
    calls = {
        "judge": lambda name: session.judge("unet", "accept", case_name=name),
        "correct": lambda name: session.correct("unet", name),
        "save": lambda name: session.save_correction("unet", name),
    }
    for call in calls.values():
        with pytest.raises(InputError, match="expected an open case, found none"):
            call("sub-1")
    session.open(1)
    session.correct("unet", "sub-2").brush(centre(session)[0], 2.0)
    for call in calls.values():
        with pytest.raises(InputError, match="shown, sub-1, to be open, found sub-2"):
            call("sub-1")
        with pytest.raises(InputError, match="found none"):
            call("")
    assert session.log().empty and saved(session) == []
    assert session.judge("unet", "accept", case_name="sub-2").case == "sub-2" and session.save_correction("unet", "sub-2").is_file()


def test_a_slice_that_does_not_fit_the_case_ends_in_a_line_not_in_a_traceback(room, session):
    room.folds.selected_index = 0
    room.edit._packed = pack(review_cases.load_case(session.cases.iloc[2]))
    draw(room, centre(session))
    assert "error: the slice that was drawn on does not fit the open case" in room.says.value


@pytest.mark.parametrize(
    "ask", [lambda s: s.names(), lambda s: s.judge("unet", "accept"), lambda s: s.correct("unet"), lambda s: s.seen("unet")]
)
def test_without_an_open_case_nothing_is_opened_behind_the_readers_back(session, ask):
    for _ in ("before the first", "after another choice"):
        with pytest.raises(InputError, match="found none"):
            ask(session)
        assert session.case is None and session.log().empty
        session.open(2)
        session.choose(order="case")
    assert session.next().name == "sub-1"


def test_a_session_goes_on_past_a_case_that_cannot_be_read(session, unreadable):
    session.open(0)
    unreadable()
    with pytest.raises(MissingDataError, match="unet"):
        session.next()
    assert session.case is None
    with pytest.raises(InputError, match="found none"):
        session.judge("unet", "accept")
    assert session.next().name == "sub-3"
    with pytest.raises(MissingDataError):
        session.next(-1)
    assert session.next(-1).name == "sub-1" and session.log().empty


@pytest.mark.parametrize("words", ["next case", "before"])
def test_a_case_that_cannot_be_read_is_blank_takes_no_verdict_and_is_passed(room, session, unreadable, words):
    unreadable()
    if words == "before":
        room.case.value = 2
    step(room, words)
    assert blank(room) and room.case.value == 1 and "error: " in room.says.value and "sub-2" in room.says.value
    room.folds.selected_index = 0
    room.verdicts[0].click()  # also a click that was on its way
    assert "found none" in room.says.value and session.log().empty
    room.edit.save_button.click()
    room.safely(room.edit._undo)
    for key in "lkmoeftwW":
        room._pressed(key)
    room.level.value, room.way.value = 60.0, "static"
    assert blank(room) and saved(session) == [] and room.edit.pad is None
    step(room, words)
    assert works(room, "sub-3" if words == "next case" else "sub-1")
    room.verdicts[0].click()
    assert session.log()["case"].tolist() == [room.name]


def test_strokes_are_saved_before_a_case_that_cannot_be_read(room, session, unreadable):
    room.folds.selected_index = 0
    draw(room, centre(session))
    unreadable()
    step(room, "next case")
    assert blank(room) and saved(session) == ["sub-1_label-lesion_desc-corrected_mask.nii.gz"] and session.corrections == {}


def test_a_room_that_begins_with_a_case_that_cannot_be_read_is_blank_until_the_next(session, unreadable):
    unreadable()
    session.cases = session.cases.iloc[1:].reset_index(drop=True)
    room = ReviewRoom(session, way="static", later=True)
    assert all(button.disabled for button in room.verdicts)
    room._ipython_display_()
    assert blank(room) and room.case.value == 0
    step(room, "next case")
    assert works(room, "sub-3")


def test_a_case_without_a_mask_is_none_to_judge(session, room):
    files = json.loads(session.cases.loc[1, "files"])
    session.cases.loc[1, "files"] = json.dumps({name: path for name, path in files.items() if not name.startswith("mask:")})
    step(room, "next case")
    assert blank(room) and "sub-2: expected a mask to judge" in room.says.value
    step(room, "next case")
    assert works(room, "sub-3")


def test_nothing_of_the_case_before_is_left_in_the_viewer_or_on_the_slice(session, results):
    """The last case's FLAIR can be read and its T1w cannot: the still picture stands, the viewer cannot be filled."""
    (results / "sub-3_T1w.nii.gz").write_bytes(b"no image")
    told = read_json(results / "sub-3_desc-summary.json")
    write_json(results / "sub-3_desc-summary.json", told | {"input": told["input"] | {"t1w": "sub-3_T1w.nii.gz"}})
    session.cases = review_cases.find_cases(source=str(results), order="case")
    room = ReviewRoom(session)
    room._displayed = True
    step(room, "next case")
    assert room.shown.packed.image.shape[2] == SHAPES["sub-2"][2]
    step(room, "next case")
    assert "error: " in room.says.value and room.shown is None and room._niivue.viewer.volumes == []
    assert room.name == "sub-3" and room.picture.layout.visibility == "visible" and room.picture.layout.display == ""
    room.lesion.value = room.lesion.options[0][1]
    np.testing.assert_allclose(room.cross_mm(), room.lesion.value)
    for key in "ef":
        room._pressed(key)
    assert room._niivue.viewer.volumes == []
    room.folds.selected_index = 0
    assert room.edit.pad.shape[0] == SHAPES["sub-3"][2]
    draw(room, centre(session))
    assert session.corrections["unet"].edits and session.case.name == "sub-3"


def test_a_full_disk_is_said_in_the_room_without_a_path(room, session, monkeypatch):
    def full(path, reading):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(reading_log, "append", full)
    room.comment.value = "rim"
    room.verdicts[0].click()
    assert "error: No space left on device" in room.says.value and "review" not in room.says.value and room.comment.value == "rim"


def test_another_choice_of_cases_in_a_cell_is_what_the_room_steps_through(room, session):
    session.cases = session.cases.iloc[::-1].reset_index(drop=True)
    step(room, "next case")
    assert "sub-2" in room.case.label and works(room, "sub-2") and room.case.options[0][0].startswith("1. sub-3")


@pytest.fixture
def blinded(session):
    session.blinded, session.reader = True, ""
    return ReviewRoom(session, way="static")


def test_initials_count_when_typed_to_their_end_and_strokes_stay_open(blinded, session):
    assert blinded.reader.continuous_update is False
    blinded.folds.selected_index = 0
    method = session.names()[blinded.mask.value]
    draw(blinded, centre(session))
    mask = session.corrections[method].mask
    letters = set()
    for name in ("a", "ab", "cd", "ef", "gh"):
        blinded.reader.value = name
        letters.add(blinded.mask.value)
        assert session.names()[blinded.mask.value] == method and session.reader == name
        assert session.corrections[method].mask is mask and saved(session) == []
    assert len(letters) > 1, "no reader had another letter: the names prove nothing"
    blinded.edit.save_button.click()
    assert read_json(session.folder / "corrected" / "sub-1_label-lesion_desc-corrected_mask.json")["Reader"] == "gh"
    assert len(saved(session)) == 1


def test_switching_blinded_keeps_strokes_open_and_the_case(blinded, session):
    step(blinded, "next case")
    blinded.folds.selected_index = 0
    draw(blinded, centre(session))
    ((method, one),) = session.corrections.items()
    for blind in (False, True):
        blinded.blinded.value = blind
        assert works(blinded, "sub-2") and session.corrections == {method: one} and one.unsaved and saved(session) == []
        assert blinded.mask.value == ("A" if blind else "unet")


METHODS = ("manual", "lga", "unet", "u-net")


def text_of(shown) -> str:
    return (shown.data if hasattr(shown, "data") else shown.to_string()).lower()


@pytest.mark.parametrize("cell", [review.disagreement, review.so_far, review.verdicts_and_dice])
def test_no_cell_names_a_method_or_its_score_to_a_blinded_reader(session, cell):
    session.all_cases["scores"] = '{"unet": 0.712345, "lga": 0.312345}'
    for reader in ("ab", "cd"):
        session.reader = reader
        session.blinded = False
        for place in (0, 1):
            session.open(place)
            for method in ("unet", "lga"):
                session.judge(method, "minor edits" if place else "accept")
        session.blinded = True
        said = text_of(cell(session))
        assert said and not any(name in said for name in METHODS) and "0.7" not in said and "0.3" not in said
    session.blinded = False
    assert text_of(cell(session)) != said


def test_a_blinded_reader_is_told_how_many_masks_got_which_verdict(session):
    session.blinded = True
    session.open(0)
    for letter, verdict in zip("ABC", ("accept", "accept", "major edits"), strict=True):
        session.judge(letter, verdict)
    session.judge("A", "minor edits")
    session.open(1)
    session.judge("A", "accept")
    (row,) = review.so_far(session).to_dict("records")
    expected = {"reader": "ab", "masks": 4, "accept": 2, "minor edits": 1, "major edits": 1}
    assert {name: row[name] for name in expected} == expected and set(row) == {*expected, "seconds_median"}
