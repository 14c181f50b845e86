"""The reading room: what is written belongs to the case that is shown, whatever else happens to the session."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from flairnb.errors import InputError, MissingDataError
from flairnb.images import Image, read_image, write_image
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


@pytest.mark.parametrize("way", ["next case", "before", "list", "key", "choice"])
def test_a_comment_that_was_not_sent_stays_with_its_patient(room, session, way):
    room.comment.value = "recall patient"
    {
        "next case": lambda: step(room, "next case"),
        "before": lambda: step(room, "before"),
        "list": lambda: setattr(room.case, "value", 2),
        "key": lambda: room._pressed("n"),
        "choice": lambda: (setattr(session, "all_cases", session.all_cases.iloc[1:].reset_index(drop=True)), room._choose()),
    }[way]()
    assert room.name != "sub-1" and room.comment.value == ""
    room.verdicts[0].click()
    assert session.log()["comment"].fillna("").tolist() == [""]


def test_a_comment_does_not_pass_over_a_case_that_cannot_be_read(room, session, unreadable):
    unreadable()
    room.comment.value = "recall patient"
    step(room, "next case")
    assert blank(room) and room.comment.value == ""


def test_a_comment_stays_while_its_case_is_opened_once_more(blinded):
    blinded.comment.value = "rim"
    blinded.reader.value = "ef"
    assert blinded.comment.value == "rim"
    blinded.blinded.value = False
    blinded.mask.value = "lga"
    assert blinded.comment.value == "rim" and works(blinded, "sub-1")


@pytest.fixture
def small_brain(results):
    """Brain masks that leave most of each head out."""
    for stem, shape in SHAPES.items():
        brain = np.zeros(shape, dtype=bool)
        brain[5:9, 8:12, 3:5] = True
        path = results / f"{stem}_desc-brain_mask.nii.gz"
        write_image(path, brain, read_image(results / f"{stem}_FLAIR.nii.gz"), np.uint8)
    return results


def test_a_stroke_outside_the_brain_is_seen_where_it_was_drawn(small_brain, session):
    room = ReviewRoom(session)
    room._displayed = True
    room._draw_viewer()
    room.folds.selected_index = 0
    packed, before = room.edit._packed, session.case.masks["unet"].sum()
    assert room.shown.packed is packed
    (spot,) = np.argwhere(~packed.inside)[:1]
    room.edit.radius.value = 0.5
    sent = []
    room.shown.loaded["unet"].send = lambda content, buffers: sent.append(np.frombuffer(buffers[1], np.uint8).sum())
    draw(room, packed.affine[:3, :3] @ spot + packed.affine[:3, 3] + np.zeros((1, 3)))
    added = session.corrections["unet"].mask.sum() - before
    assert added >= 1 and np.unpackbits(np.frombuffer(room.edit.pad.mask, np.uint8)).sum() == before + added
    assert sent == [added]


def test_what_is_added_beyond_the_slices_shown_is_refused_in_one_line(small_brain, session):
    room = ReviewRoom(session, way="static")
    room.folds.selected_index = 0
    packed = room.edit._packed
    room.edit.depth.value, room.edit.radius.value = False, 15.0
    edge = packed.affine[:3, 3][None]
    draw(room, edge)
    one = session.corrections["unet"]
    assert "error: correction: expected a change within the slices that are shown" in room.says.value
    assert one.edits == [] and not one.unsaved and packed.beyond(one.mask, one.flair.affine) == 0
    room.edit.depth.value, room.edit.radius.value = True, 0.5
    draw(room, edge)
    assert len(one.edits) == 1 and "error" not in room.says.value


def test_undo_brings_a_lesion_back_also_to_where_nothing_was_shown(small_brain, session):
    far = read_image(small_brain / "sub-1_FLAIR.nii.gz")
    mask = np.zeros(SHAPES["sub-1"], dtype=bool)
    mask[6, 9, 4] = mask[16, 18, 7] = True
    write_image(small_brain / "sub-1_label-lesion_desc-unet_mask.nii.gz", mask, far, np.uint8)
    room = ReviewRoom(session, way="static")
    room._displayed = True
    room.folds.selected_index = 0
    room.edit.stroke("erase lesion", centre(session, (16, 18, 7)))
    room.mask.value = "lga"
    room.mask.value = "unet"
    assert room.edit._packed.beyond(mask, far.affine) == 1
    room.edit._undo()
    assert room.edit._packed.beyond(mask, far.affine) == 0
    assert np.unpackbits(np.frombuffer(room.edit.pad.mask, np.uint8)).sum() == 2 == len(room.lesion.options)


def told(room, fraction) -> None:
    """Say what the browser says when the mouse moved the viewer's cross."""
    viewer = room.shown.viewer
    where = {"frac": fraction, "values": [{"id": viewer.volumes[0].id}]}
    viewer._handle_custom_msg({"event": "location_change", "data": where}, [])


@pytest.fixture
def moving(session):
    """A room with a viewer in it."""
    room = ReviewRoom(session)
    room._displayed = True
    room._draw_viewer()
    return room


def test_the_slice_to_paint_on_is_the_one_the_mouse_went_to(moving):
    told(moving, [0.5, 0.5, 0.1])
    moving.folds.selected_index = 0
    depth = moving.edit.pad.shape[0]
    assert moving.edit.pad.k == round(0.1 * depth - 0.5) != depth // 2
    step(moving, "next case")
    assert abs(moving.edit.pad.k - (0.5 * depth - 0.5)) <= 0.5, "the cross of the case before"


@pytest.mark.parametrize("how", ["key", "list"])
def test_the_only_lesion_can_be_gone_back_to_after_the_mouse_went_elsewhere(moving, how):
    (place,) = (place for _, place in moving.lesion.options)
    for _ in range(2):
        moving._pressed("l") if how == "key" else moving.lesion.set_trait("index", 0)
        assert moving.lesion.value == place
        np.testing.assert_allclose(moving.cross_mm(), place)
        told(moving, [0.1, 0.1, 0.1])
        assert moving.lesion.value is None and not np.allclose(moving.cross_mm(), place)


def test_next_lesion_means_the_one_after_the_last_though_the_mouse_moved_on(results, session):
    mask = np.zeros(SHAPES["sub-1"], dtype=bool)
    mask[3:8, 4, 3] = mask[3:7, 10, 3] = mask[3:6, 14, 3] = True
    write_image(results / "sub-1_label-lesion_desc-unet_mask.nii.gz", mask, read_image(results / "sub-1_FLAIR.nii.gz"), np.uint8)
    room = ReviewRoom(session)
    room._displayed = True
    room._draw_viewer()
    gone_to = []
    for key in "lllkl":
        room._pressed(key)
        gone_to.append(room.lesion.index)
        told(room, [0.3, 0.3, 0.3])
    assert gone_to == [0, 1, 2, 1, 2]


def test_the_slice_to_paint_on_goes_back_to_the_only_lesion_by_its_key(room):
    room.folds.selected_index = 0
    room._pressed("l")
    at = room.edit.pad.k
    room.edit.pad.k = at + 2  # the wheel
    room._pressed("l")
    assert room.edit.pad.k == at


def test_every_key_that_was_pressed_counts_however_fast_they_came(room):
    for _ in range(4):
        room.keys._handle_custom_msg({"key": "n"}, [])
    assert room.name == "sub-2"
    room.keys._handle_custom_msg({"key": "p"}, [])
    assert room.name == "sub-1"


def test_a_walk_through_the_cases_leaves_nothing_in_memory(moving):
    from ipywidgets.widgets.widget import _instances as widgets

    moving.folds.selected_index = 0
    counts = []
    for _ in range(9):
        step(moving, "next case")
        moving._pressed("e")
        moving._pressed("e")
        counts.append(len(widgets))
    assert counts[2:5] == counts[5:8], counts


def test_the_still_pictures_sliders_are_there_whenever_it_is(room, monkeypatch):
    import ipywidgets

    from flairnb.present import viewer
    from flairnb.present.viewer import CaseView

    room._displayed = True
    real = viewer.show_case
    for way, seen in (("static", True), ("itkwidgets", True), ("niivue", False)):
        fake = lambda case, way, **more: CaseView(None, ipywidgets.HTML(), way, "")  # noqa: E731
        monkeypatch.setattr(viewer, "show_case", fake if way == "itkwidgets" else real)
        room.way.value = way
        assert [part.layout.display != "none" for part in (room.picture, room.grey)] == [seen, seen], way


def test_a_long_name_of_a_case_leaves_its_picture_whole(results, tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    name = "Radiologie_Nord_2024_patient_000123_studie_1_dicom"
    for path in results.glob("sub-1_*"):
        path.rename(path.with_name(path.name.replace("sub-1", name)))
    told = read_json(results / f"{name}_desc-summary.json")
    write_json(results / f"{name}_desc-summary.json", told | {"input": {"flair": f"{name}_FLAIR.nii.gz"}})
    cases = review_cases.find_cases(source=str(results), order="case")
    figure = review.still(Session(cases, tmp_path / "review", "ab"), cases["case"].tolist().index(name))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    title = figure.texts[0]
    assert title.get_text().startswith(f"{name}, U-Net:\n0.")
    assert title.get_window_extent(canvas.get_renderer()).x1 <= figure.bbox.width


def test_in_a_narrow_window_rows_break_and_no_button_or_slider_is_squeezed(moving):
    import ipywidgets as w

    def inside(widget):
        return [widget, *(one for child in getattr(widget, "children", ()) for one in inside(child))]

    found = inside(moving.box)
    assert all(one.layout.flex == "0 0 auto" for one in found if isinstance(one, w.Button))
    shown = [*moving.shown.window, *moving.shown.sliders.values()]
    assert all(slider.layout.flex == "0 0 auto" for slider in shown)
    rows = [one for one in found if isinstance(one, w.HBox) and any(not isinstance(child, w.Button) for child in one.children)]
    assert len(rows) >= 8 and all(row.layout.flex_flow == "row wrap" for row in rows)
