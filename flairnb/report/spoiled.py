"""Does the network notice? Real examinations spoiled on purpose, and the Dice that it then expects of itself.

For maintainers; `CONTRIBUTING.md` says when::

    python -m flairnb.report.spoiled --data data

segments each public development case as it is and in each of `SPOILINGS` by
`flairnb segment`'s own function, scores the mask by the reader's and keeps the
expected Dice and the warnings. It leaves ``spoiled.tsv`` in
``reports/robust``, which notebook 13 shows. A row is written as soon as it is
known; stopped and started again, it goes on where it was, unless weights or
code have changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.images import Image
from flairnb.provenance import atomic_path
from flairnb.report import perturb
from flairnb.report.chapters import repository_root
from flairnb.report.record import code_name, git_state

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.network.weights import Network

FOLDER, TABLE = "reports/robust", "spoiled.tsv"
COLUMNS = (
    "participant_id", "family", "spoiled", "dice", "expected_dice", "predicted_ml", "unsure", "warnings", "weights_sha256", "code",
)  # fmt: skip
AS_IT_IS = "as it is"
#: How far `brain_mask_too_high` lifts the mask, mm; a third of the brain's lower half then lacks.
LIFT_MM = 20.0
#: Width at half height of `blurred`'s Gaussian, mm.
BLUR_MM = 7.0
#: SD of `noisy`'s noise and range of `shaded`'s field, as parts of the brain's mean.
NOISE, SHADE = 0.3, 1.0


@dataclass(frozen=True)
class Examination:
    """One case as it is: FLAIR, T1w if there is one, the brain that was found and the reader's lesions, both on the FLAIR's grid."""

    flair: Image
    t1w: Image | None
    brain: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    stripped: bool


@dataclass(frozen=True)
class Spoiled:
    """What is segmented instead: an image, what is given beside it, and the reader's lesions on its grid."""

    flair: Image
    given: dict[str, Any]
    reference: NDArray[np.bool_]


def t1w_for_flair(case: Examination, _rng: np.random.Generator) -> Spoiled | None:
    """Return the T1w in the FLAIR's place, alone (wrong sequence); None without one."""
    if case.t1w is None:
        return None
    return Spoiled(case.t1w, {}, perturb.mask_on(case.t1w.grid, case.reference, case.flair.affine))


def skull_left_in(case: Examination, _rng: np.random.Generator) -> Spoiled | None:
    """Return the FLAIR with the whole head given as its brain; None where there is no skull."""
    from flairnb.prepare.intensity import head_mask, tame

    if case.stripped:
        return None
    return Spoiled(case.flair, {"brain_mask": head_mask(tame(case.flair.data))}, case.reference)


def brain_mask_too_high(case: Examination, _rng: np.random.Generator) -> Spoiled:
    """Return the FLAIR with its brain mask `LIFT_MM` too high."""
    from flairnb.resampling import resample

    lifted = np.eye(4)
    lifted[2, 3] = -LIFT_MM
    brain = resample(case.brain, case.flair.affine, case.flair.grid, world=lifted) >= 0.5
    return Spoiled(case.flair, {"brain_mask": brain}, case.reference)


def noisy(case: Examination, rng: np.random.Generator) -> Spoiled:
    """Return the FLAIR with an SD of noise of `NOISE` of the brain's mean; the brain as it was found."""
    return _in_place(case, perturb.renoised(perturb.Repeat(case.flair, case.brain), rng, NOISE).flair)


def shaded(case: Examination, rng: np.random.Generator) -> Spoiled:
    """Return the FLAIR under a field that ranges over about `SHADE` of its mean; the brain as it was found."""
    return _in_place(case, perturb.biased(perturb.Repeat(case.flair, case.brain), rng, SHADE).flair)


def blurred(case: Examination, _rng: np.random.Generator) -> Spoiled:
    """Return the FLAIR blurred to `BLUR_MM` along all axes, as if the patient had moved; the brain as it was found."""
    from scipy import ndimage

    sigma = BLUR_MM / np.sqrt(8 * np.log(2)) / case.flair.spacing_mm
    return _in_place(case, replace(case.flair, data=ndimage.gaussian_filter(case.flair.data.astype(np.float32), sigma)))


def _in_place(case: Examination, flair: Image) -> Spoiled:
    return Spoiled(flair, {"brain_mask": case.brain}, case.reference)


#: Name and function of everything that is done to a case, in the order in which it is shown.
SPOILINGS: dict[str, Callable[[Examination, np.random.Generator], Spoiled | None]] = {
    "T1w in the FLAIR's place": t1w_for_flair,
    "skull left in": skull_left_in,
    "brain mask 20 mm too high": brain_mask_too_high,
    "noise, SD 30%": noisy,
    "shading over 100%": shaded,
    "blurred to 7 mm": blurred,
}


def measure(
    cases: pd.DataFrame,
    network: Network,
    out: Path,
    say: Callable[[str], None] = lambda _line: None,
) -> pd.DataFrame:
    """Segment all cases as they are and spoiled; write `TABLE` after each.

    Parameters
    ----------
    cases : DataFrame
        As by :func:`flairnb.report.real.find_cases`.
    network : Network
    out : path
        The table; rows that it holds of other weights or code are dropped.
    say : callable
        Receives one line a result.

    Returns
    -------
    DataFrame
        `COLUMNS`; `dice` is NaN where no reader marked anything, `unsure`
        whether the network itself gave the warning, `warnings` all in number.
    """
    made_by = {"weights_sha256": network.sha256, "code": code_name(git_state())}
    rows = [row for row in recall(out).to_dict("records") if made_by.items() <= row.items()]
    for number, named in enumerate(cases.to_dict("records")):
        known = {row["spoiled"] for row in rows if row["participant_id"] == named["participant_id"]}
        if known >= {AS_IT_IS, *SPOILINGS}:
            continue
        rows = [row for row in rows if row["participant_id"] != named["participant_id"]]
        for found in _one_case(named, network, number):
            rows.append({**found, **made_by})
            say(f"{found['participant_id']}, {found['spoiled']}: Dice {found['dice']:.2f}, expected {found['expected_dice']:.2f}")
            _write(out, rows)
    return recall(out)


def _one_case(named: dict[str, Any], network: Network, number: int) -> Any:
    """Yield the rows of one case: as it is, then each spoiling that applies (others with NaN)."""
    from flairnb.images import read_image, read_mask
    from flairnb.prepare.stripped import looks_stripped

    flair = read_image(named["flair"], "FLAIR")
    t1w = read_image(named["t1w"], "T1w") if named["t1w"] else None
    reference = read_mask(named["reference_mask"], flair, "reference mask") if named["reference_mask"] else np.zeros(flair.shape, bool)
    who = {"participant_id": named["participant_id"], "family": named["family"]}
    found, brain = _segment(Spoiled(flair, {"t1w": t1w}, reference), network)
    yield {**who, "spoiled": AS_IT_IS, **found}
    case = Examination(flair, t1w, brain, reference, looks_stripped(flair))
    for name, spoil in SPOILINGS.items():
        spoiled = spoil(case, np.random.default_rng([number, 7]))
        nothing = {"dice": np.nan, "expected_dice": np.nan, "predicted_ml": np.nan, "unsure": "", "warnings": 0}
        yield {**who, "spoiled": name, **(nothing if spoiled is None else _segment(spoiled, network)[0])}


def _segment(spoiled: Spoiled, network: Network) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Return scores and warnings of one image, and its brain mask."""
    from flairnb.evaluate.metrics import dice
    from flairnb.report.doubts import doubts_of_input, doubts_of_result
    from flairnb.report.patient import segment_image, settings_for

    case, found = segment_image(spoiled.flair, network, *settings_for(network, None), **spoiled.given)
    unsure = doubts_of_result(found, network)
    warnings = [*case.notes, *doubts_of_input(case, spoiled.given.get("t1w")), *unsure]
    scores = {
        "dice": dice(spoiled.reference, found.mask) if spoiled.reference.any() else np.nan,
        "expected_dice": found.expected_dice,
        "predicted_ml": float(np.count_nonzero(found.mask)) * spoiled.flair.voxel_volume_ml,
        "unsure": "yes" if unsure else "no",
        "warnings": len(warnings),
    }
    return scores, found.brain


def recall(path: Path | None = None) -> pd.DataFrame:
    """Return the committed table (or another one); no rows where there is none."""
    import pandas as pd

    path = repository_root() / FOLDER / TABLE if path is None else path
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    dtype = {"participant_id": str, "weights_sha256": str, "code": str}
    return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False, dtype=dtype)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each way of spoiling, in their order.

    Returns
    -------
    DataFrame
        spoiled, n (results), median Dice and median expected Dice of patients
        with a reader's mask (an empty mask counts as 0 in both), `unsure` and `warned` (number of results in which
        the network, or anything, warned).
    """
    import pandas as pd

    rows = []
    done = table[table["unsure"].isin(("yes", "no"))]
    for name in (AS_IT_IS, *SPOILINGS):
        mine = done[done["spoiled"] == name]
        scored = mine[mine["dice"].notna()]
        if len(mine):
            unsure, warned = int((mine["unsure"] == "yes").sum()), int((mine["warnings"] > 0).sum())
            rows.append((name, len(mine), scored["dice"].median(), scored["expected_dice"].fillna(0.0).median(), unsure, warned))
    return pd.DataFrame(rows, columns=["spoiled", "n", "median Dice", "median expected Dice", "network unsure", "any warning"])


def missed_alarms(table: pd.DataFrame, bad: float = 0.5) -> dict[str, int]:
    """Count results with a Dice below `bad`, those of them without a warning, and warnings where the Dice is `bad` or better.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"dice": [0.1, 0.2, 0.8, 0.9], "unsure": ["yes", "no", "no", "no"], "warnings": [1, 0, 0, 2]})
    >>> missed_alarms(rows)
    {'bad': 2, 'silent': 1, 'good': 2, 'warned': 1}
    """
    scored = table[table["dice"].notna() & table["unsure"].isin(("yes", "no"))]
    low, warned = scored["dice"] < bad, scored["warnings"] > 0
    return {
        "bad": int(low.sum()),
        "silent": int((low & ~warned).sum()),
        "good": int((~low).sum()),
        "warned": int((~low & warned).sum()),
    }


def show() -> pd.DataFrame:
    """Say of the committed table how many bad results came without a warning; return its `summarise`."""
    from IPython.display import Markdown, display

    table = recall()
    count = missed_alarms(table)
    if count["bad"] + count["good"]:
        display(
            Markdown(
                f"Of {count['bad']} results with a Dice below 0.5, **{count['silent']}** came without any warning; "
                f"of {count['good']} better ones, {count['warned']} with one."
            )
        )
    return summarise(table).round(2)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    with atomic_path(path) as temporary:
        table = pd.DataFrame(rows, columns=list(COLUMNS)).round(4)
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")


def main(words: Sequence[str] | None = None) -> None:
    """Measure the shipped network on the cases below a data folder."""
    parser = argparse.ArgumentParser(prog="python -m flairnb.report.spoiled", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="where `flairnb fetch` put the public cases")
    parser.add_argument("--out", default=None, help=f"table to write instead of {FOLDER}/{TABLE}")
    asked = parser.parse_args(words)
    from flairnb.network.onednn import configure

    configure()
    from flairnb.network.weights import load_network
    from flairnb.report.real import cases_below

    out = repository_root() / FOLDER / TABLE if asked.out is None else Path(asked.out)
    measure(cases_below(Path(asked.data)), load_network("robust"), out, say=lambda line: sys.stdout.write(line + "\n"))
    sys.stdout.write(summarise(recall(out)).round(2).to_string(index=False) + "\n")


if __name__ == "__main__":
    main()
