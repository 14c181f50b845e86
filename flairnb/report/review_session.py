"""A reading session: which case is open, what the reader sees of it, and where verdicts and corrections go."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flairnb.errors import InputError, MissingDataError
from flairnb.present.case_view import READERS
from flairnb.report import reading_log, review_cases
from flairnb.report.correction import Correction
from flairnb.report.reading_log import FILE, Reading

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.present.case_view import Case

LESION_COLUMNS = ("lesion", "volume_ml", "max_in_plane_diameter_mm", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm")
#: Whose mask is opened first.
FIRST = ("unet", "shipped", "lesion")
#: Who corrected, where nobody said so and the work would be lost.
UNNAMED = "unnamed"
#: What reading and drawing the first picture takes: a second of imports, better spent before the room opens.
FIRST_PICTURE = ("nibabel", "matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.Image", "flairnb.evaluate.components")


class Session:
    """One reader going through cases; knows nothing of widgets.

    What writes takes the name of the case that its caller shows, and refuses
    when another is open: a verdict must never go to another patient.

    Parameters
    ----------
    cases : DataFrame
        Of :func:`flairnb.report.review_cases.find_cases`.
    folder : Path
        Gets ``review.tsv`` and corrected masks.
    reader : str
        Initials or a pseudonym; needed before the first verdict.
    blinded : bool
        Methods appear as A, B, C in an order of their own for each case and
        reader; scores and the reference are not shown.
    seed : int
    """

    def __init__(self, cases: pd.DataFrame, folder: Path, reader: str = "", blinded: bool = False, seed: int = 2019) -> None:
        if cases.empty:
            raise MissingDataError("review: expected cases to read, found none. Widen the choice.")
        self.all_cases = self.cases = cases
        self.folder, self.reader, self.blinded, self.seed = Path(folder), reader, blinded, seed
        self.place = -1
        self.case: Case | None = None
        self._whole = True
        self.corrections: dict[str, Correction] = {}
        self._opened = time.monotonic()
        for name in FIRST_PICTURE:
            importlib.import_module(name)

    @property
    def log_path(self) -> Path:
        """File of the verdicts."""
        return self.folder / FILE

    def open(self, place: int = 0, extras: bool = True) -> Case:
        """Open a case by its place in the list (the last is followed by the first) and start the clock.

        Strokes on the case before that were not saved are saved first; those
        on a case that is opened once more stay. Without `extras`, T1w and
        probability wait until `complete` is called.

        Raises
        ------
        FlairnbError
            When the case cannot be read or has no mask. Then none is open, and
            `next` goes on from its place.
        """
        place %= len(self.cases)
        if self.case is None or place != self.place:
            self.leave()
            self.place = place
            self.case, self._whole = self._read(extras), extras
        self._opened = time.monotonic()
        return self.case

    def _read(self, extras: bool) -> Case:
        case = review_cases.load_case(self.cases.iloc[self.place], extras=extras)
        if not case.masks:
            raise MissingDataError(f"{case.name}: expected a mask to judge, found none. Make one: flairnb run 04, or flairnb segment.")
        return case

    def check_open(self, case_name: str | None = None) -> Case:
        """Return the open case.

        Parameters
        ----------
        case_name : str, optional
            Of the case that the caller shows, "" while it shows none.

        Raises
        ------
        InputError
            When none is open, or another than the one shown.
        """
        if self.case is None or case_name == "":
            raise InputError("review: expected an open case, found none. Open one: 'next case' in the room, or session.open(0).")
        if case_name is not None and case_name != self.case.name:
            raise InputError(
                f"review: expected the case that is shown, {case_name}, to be open, found {self.case.name}, which something else opened. "
                "Nothing was written; press 'next case' and 'before' to open the shown one again."
            )
        return self.case

    def complete(self) -> None:
        """Read what the open case lacks: T1w and probability."""
        if not self._whole and self.case is not None:
            self.case, self._whole = review_cases.add_extras(self.case, self.cases.iloc[self.place]), True

    def leave(self) -> list[Path]:
        """Save corrections that were not saved, as `UNNAMED` without a reader, and close the case."""
        saved = [self._save(method, self.reader.strip() or UNNAMED) for method, one in self.corrections.items() if one.unsaved]
        self.corrections, self.case = {}, None
        return saved

    def next(self, step: int = 1) -> Case:
        """Open the next case, or the one before by a step of -1; raises as `open` does, and then goes on from there."""
        return self.open(self.place + step)

    def choose(self, split: str = "", diagnosis: str = "", order: str = "dice") -> pd.DataFrame:
        """Narrow and sort the cases ("" for all); none is open then, and `next` opens their first.

        Raises
        ------
        MissingDataError
            When none is left; the choice before then stays.
        """
        kept = review_cases.arrange(self.all_cases, split, diagnosis, order)
        if kept.empty:
            raise MissingDataError(f"review: expected cases of split {split or 'any'}, diagnosis {diagnosis or 'any'}; found none.")
        self.leave()
        self.cases, self.place = kept, -1
        return self.cases

    def names(self) -> dict[str, str]:
        """Return what the reader may judge: the shown name to the true one."""
        case = self.check_open()
        methods = [name for name in case.masks if name not in READERS or self.blinded]
        methods = sorted(methods or case.masks, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        if not self.blinded:
            return {name: name for name in methods}
        return reading_log.letters(sorted(methods), case.name, self.reader, self.seed)

    def others(self, shown_name: str) -> list[str]:
        """Return the masks that may be laid beside a method's; none for a blinded reader."""
        if self.blinded:
            return []
        return [name for name in self.check_open().masks if name not in READERS and name != self._method(shown_name)]

    def seen(self, shown_name: str, beside_name: str = "") -> Case:
        """Return the case as the reader sees it: blinded, one mask under its letter; else the readers' masks beside it.

        A mask being corrected is seen as it is now. `beside_name` adds one of `others`.
        """
        case, method = self.check_open(), self._method(shown_name)
        mask = self.corrections[method].mask if method in self.corrections else case.masks[method]
        if self.blinded:
            return replace(case, masks={shown_name: mask}, probability=None)
        beside = {name: case.masks[name] for name in READERS if name in case.masks and name != method}
        more = {beside_name: case.masks[beside_name]} if beside_name in self.others(shown_name) else {}
        return replace(case, masks={**beside, method: mask, **more})

    def lesions(self, shown_name: str) -> pd.DataFrame:
        """Return the lesions of a mask, the largest first: volume, longest in-plane diameter, centre in mm."""
        from flairnb.evaluate.components import lesion_table
        from flairnb.geometry import box_affine, mask_box

        case, method = self.check_open(), self._method(shown_name)
        mask = self.corrections[method].mask if method in self.corrections else case.masks[method]
        # Only the part of the volume in which something is marked is searched.
        box = mask_box(mask)
        return lesion_table(mask[box], box_affine(case.flair.affine, box))[list(LESION_COLUMNS)].reset_index(drop=True)

    def measure(self, shown_name: str, table: pd.DataFrame | None = None) -> str:
        """Return volume, number of lesions and longest diameter in words; `table` is what `lesions` returned, if known."""
        table = self.lesions(shown_name) if table is None else table
        if table.empty:
            return "nothing marked"
        longest = table["max_in_plane_diameter_mm"].max()
        lesions = "1 lesion" if len(table) == 1 else f"{len(table)} lesions"
        return f"{table['volume_ml'].sum():.2f} ml in {lesions}, longest in-plane diameter {longest:.0f} mm"

    def judge(self, shown_name: str, verdict: str, comment: str = "", case_name: str | None = None) -> Reading:
        """Write a verdict to ``review.tsv`` at once, with the seconds since the case was opened.

        Parameters
        ----------
        shown_name : str
            Of the mask, a key of `names`.
        verdict : {"accept", "minor edits", "major edits"}
        comment : str
        case_name : str, optional
            Of the case that the reader sees.

        Raises
        ------
        InputError
            Without a reader, for an unknown verdict or mask, or when another
            case than the one shown is open; nothing is written.
        """
        case, method = self.check_open(case_name), self._method(shown_name)
        seconds = time.monotonic() - self._opened
        files = review_cases.hashes_of(self.cases.iloc[self.place])
        reading = Reading(self.reader, case.name, method, verdict, seconds, self.blinded, comment, files)
        reading_log.append(self.log_path, reading)
        return reading

    def correct(self, shown_name: str, case_name: str | None = None) -> Correction:
        """Return the correction of a mask, started if need be.

        Raises
        ------
        InputError
            For an unknown mask, or when another case than `case_name`, the one
            that the reader sees, is open.
        """
        case, method = self.check_open(case_name), self._method(shown_name)
        if method not in self.corrections:
            self.corrections[method] = Correction(case.flair, case.masks[method], method)
        return self.corrections[method]

    def save_correction(self, shown_name: str, case_name: str | None = None) -> Path:
        """Write the corrected mask as a new file into ``corrected/`` beside the log.

        Raises
        ------
        InputError
            When nothing was changed, without a reader, or when another case
            than `case_name`, the one that the reader sees, is open.
        """
        self.check_open(case_name)
        method = self._method(shown_name)
        if method not in self.corrections or not self.corrections[method].edits:
            raise InputError("correction: expected a change to save, found none. Add or erase something first.")
        return self._save(method, self.reader)

    def _save(self, method: str, reader: str) -> Path:
        source = review_cases.files_of(self.cases.iloc[self.place])[f"mask:{method}"]
        return self.corrections[method].save(self.folder / "corrected", self.check_open().name, reader, source)

    def progress(self) -> str:
        """Return how many of the cases the reader has judged, in words."""
        log = self.log()
        read = set(log.loc[log["reader"] == self.reader.strip(), "case"]) & set(self.cases["case"])
        return f"{len(read)} of {len(self.cases)} cases read"

    def log(self) -> pd.DataFrame:
        """Return everything said so far by anyone."""
        return reading_log.read(self.log_path)

    def _method(self, shown_name: str) -> str:
        names = self.names()
        if shown_name not in names:
            raise InputError(f"mask: expected one of {', '.join(names)}, received {shown_name!r}.")
        return names[shown_name]
