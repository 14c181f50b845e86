"""What notebook 10 shows: the reading room, a case standing still, and what readers said so far."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flairnb.report import reading_log, review_cases
from flairnb.report.reading_log import FILE
from flairnb.report.review_session import Session

#: As many fit into one line above a picture.
TITLE_LETTERS = 90

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flairnb.report.start import Run


def start_session(run: Run, cases: pd.DataFrame, reader: str = "", blinded: bool = False) -> Session:
    """Open a session whose verdicts go to ``review/`` of the run's work folder."""
    return Session(cases, run.path(f"review/{FILE}").parent, reader, blinded, run.seed)


def room(session: Session, interactive: bool = True) -> object:
    """Return the reading room, or a sentence where nobody is there to click."""
    if not interactive:
        return _sentence("The reading room needs a running kernel: `make lab`, open 10_case_review, run its cells.")
    from flairnb.report.review_room import ReviewRoom

    return ReviewRoom(session, later=True)


def still(session: Session, place: int = 0) -> Figure:
    """Draw a case with the outlines that its reader would see first; lesion volume in ml.

    The masks are as they were read, without strokes; what is open in the session stays open.

    Raises
    ------
    FlairnbError
        When the case cannot be read.
    """
    from flairnb.present import viewer
    from flairnb.present.style import look

    own = _own(session)
    case = own.open(place)
    first = next(iter(own.names()))
    # Whose volume it is: the picture shows the readers' outlines beside it.
    title = f"{case.name}, {look(first).label}:", own.measure(first)
    between = " " if len(" ".join(title)) <= TITLE_LETTERS else "\n"
    return viewer.still(replace(own.seen(first), name=between.join(title)))


def disagreement(session: Session, place: int = 0) -> object:
    """Return for each mask of a case how much it shares with the reference, misses and adds, in ml; a sentence while blinded.

    The masks are as they were read, without strokes; what is open in the session stays open.

    Raises
    ------
    FlairnbError
        When the case cannot be read.
    """
    import pandas as pd

    from flairnb.present.case_view import BOTH, EXTRA, MISSED, compared

    if session.blinded:
        return _sentence("Blinded: what each mask shares with the reference is told when blinded is switched off.")
    case = _own(session).open(place, extras=False)
    rows = []
    for method in case.masks:
        if "manual" in case.masks and method != "manual":
            labels = compared(case.masks["manual"], case.masks[method])
            both, missed, extra = (np.count_nonzero(labels == value) * case.flair.voxel_volume_ml for value in (BOTH, MISSED, EXTRA))
            rows.append({"method": method, "both_ml": both, "missed_ml": missed, "extra_ml": extra})
    return pd.DataFrame(rows, columns=["method", "both_ml", "missed_ml", "extra_ml"]).round(2)


def so_far(session: Session) -> object:
    """Return who gave which verdict on what, a row for each reader and method, or a sentence while nobody gave any.

    While blinded, a row for each reader: `masks` counts what was judged, and
    no method is named. `seconds_median` is from opening a case to the verdict.
    """
    log = session.log()
    if log.empty:
        return _sentence("No verdict yet: this cell shows them once there are some.")
    if not session.blinded:
        return reading_log.summary(log)
    last = reading_log.latest(log)
    # Every mask counts for itself, whosever it is.
    nameless = last.assign(case=last["case"] + "/" + last["method"], method="")
    return reading_log.summary(nameless).drop(columns="method").rename(columns={"cases": "masks"})


def together(session: Session) -> object:
    """Return how readers agree, or a sentence while fewer than two read the same."""
    table = reading_log.agreement(session.log())
    if table.empty:
        return _sentence("Fewer than two readers so far.")
    return table.round(2)


def verdicts_and_dice(session: Session) -> object:
    """Return the Dice (0 to 1) of what got which verdict, or a sentence while there is none of both, or while blinded.

    Last verdicts on a network's masks count, each with the Dice of that very
    mask; those of masks without a score are left out.
    """
    import pandas as pd

    if session.blinded:
        return _sentence("Blinded: which Dice got which verdict is told when blinded is switched off.")
    last = reading_log.latest(session.log())
    last = last[last["method"].isin(review_cases.SORTED_BY)].merge(review_cases.scores_of(session.all_cases), on=["case", "method"])
    if last.empty:
        return _sentence("No verdict yet on a network's mask with a known Dice.")
    found = last.groupby("verdict")["dice"].agg(["count", "min", "median", "max"]).reindex(list(reading_log.VERDICTS))
    return pd.DataFrame(found.assign(count=found["count"].fillna(0).astype(int))).round(2)


def numbers(session: Session) -> dict[str, float]:
    """Return notebook 10's numbers: cases to read, lesions marked in the first, and verdicts.

    Raises
    ------
    FlairnbError
        When the first case cannot be read.
    """
    own = _own(session)
    own.open(0, extras=False)
    lesions = own.lesions(next(iter(own.names())))
    return {"review_cases": len(session.cases), "review_lesions": len(lesions), "readings": len(session.log())}


def _own(session: Session) -> Session:
    """Return a copy of a session that may open what it likes: place, case and corrections of the reader's stay as they are."""
    own = copy.copy(session)
    own.corrections = {}
    return own


def _sentence(text: str) -> object:
    from IPython.display import Markdown

    return Markdown(f"*{text}*")
