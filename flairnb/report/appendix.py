"""What the article leaves to its on-line appendix, which we do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: Item of the appendix, what the article's text says of it, what we do instead.
NOT_AVAILABLE: tuple[tuple[str, str, str], ...] = (
    (
        "The 19 diseases",
        "16 can be read off the figures; the list itself is in the appendix",
        "the other three (CADASIL, HIV encephalopathy, metastases) are inferred from the same group's public diagnosis network",
    ),
    (
        "Training cases of each disease",
        "275 diseased cases over 18 diseases (none of Susac syndrome)",
        "shared out as evenly as the total allows",
    ),
    (
        "How diagnoses were confirmed, how the 20 healthy brains were matched by age",
        "from the electronic medical record; 'age-matched'",
        "phantoms have their diagnosis by construction; healthy ages are drawn from the same range",
    ),
    (
        "How lesions were outlined by hand",
        "ITK-SNAP, one radiologist; a second radiologist independently",
        "the phantom's true lesion is the reference; the second reader is simulated and marked so",
    ),
    (
        "Settings of LST and BIANCA",
        "named with their references; versions, thresholds and training set not given",
        "own code after the methods' papers, named re-implementation or -style; free values chosen on training cases",
    ),
    (
        "Definition of the volume errors RMdSPE and RMSPE",
        "'root median (mean) squared percentage error'",
        "the usual definition in per cent, and beside it the reading that fits the printed values",
    ),
    (
        "Further statistics",
        "'additional statistical comparisons are discussed in the On-line Appendix'",
        "what the article's main text reports, and beside it intervals, effect sizes, a mixed model and power, marked as ours",
    ),
    (
        "On-line Figures 1 and 2",
        "false positive and negative voxels by lesion size; 16 cases with heterogeneous lesions",
        "both drawn from the text (chapters 07 and 06); the heterogeneous cases are those of largest signal spread, not picked by eye",
    ),
)


def not_available() -> pd.DataFrame:
    """Return the list as a table: item, what the article says, what we do."""
    import pandas as pd

    return pd.DataFrame(NOT_AVAILABLE, columns=["in the appendix", "what the article's text says", "what we do"])
