"""What a method's voxel size alone costs on real patients: the reader's own mask, taken to the work grid and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.report import real_kept

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from flairnb.images import Image
    from flairnb.report.start import Run

COLUMNS = ("participant_id", "family", "voxel_mm", "dice")


def grid_rows(case: dict[str, str], reference: NDArray[np.bool_], flair: Image, sizes: Iterable[float]) -> list[dict[str, Any]]:
    """Return the Dice of one case's mask with itself after :func:`flairnb.prepare.native.there_and_back`, as rows of `COLUMNS`.

    One for each edge of the work grid's voxels in `sizes`, mm.
    """
    from flairnb.evaluate.metrics import dice
    from flairnb.geometry import isotropic_grid
    from flairnb.prepare.native import there_and_back

    rows = []
    for size in sorted(set(sizes)):
        back = there_and_back(reference, flair, isotropic_grid(flair.shape, flair.affine, size))
        rows.append({"participant_id": case["participant_id"], "family": case["family"], "voxel_mm": size, "dice": dice(reference, back)})
    return rows


def beside_others(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case: the network's Dice, the best other one at each voxel size, and what each grid leaves of the reader's mask.

    Parameters
    ----------
    run : Run
        Its grid's cost, or the committed one.
    table : DataFrame
        Scores by :func:`flairnb.report.real.segment_cases`; one committed
        before voxel sizes were kept has no column ``voxel_mm``.
    """
    from flairnb.report.real import SHIPPED, plain_name

    scored = _scored(table)
    case = ["family", "participant_id"]
    rows = scored[scored["method"] == SHIPPED].set_index(case)[["dice"]].round(2).rename(columns={"dice": "network"})
    others = scored[scored["method"] != SHIPPED]
    best = others.loc[others.groupby([*case, "size"], sort=False)["dice"].idxmax()]
    said = best["dice"].map("{:.2f}".format) + " (" + best["method"].map(plain_name) + ")"
    for size in sorted(best["size"].unique()):
        rows[f"best other, {size}"] = best.assign(said=said)[best["size"] == size].set_index(case)["said"]
    grid = real_kept.recall(run, real_kept.GRID, COLUMNS)
    for size, part in grid.groupby("voxel_mm"):
        rows[f"reader's own mask, {size:g} mm"] = part.set_index(case)["dice"].round(2)
    return rows.reset_index()


def verdict(table: pd.DataFrame) -> Markdown:
    """Say in how many cases the network has the highest Dice, and at which voxel sizes the others worked."""
    from IPython.display import Markdown

    from flairnb.report.real import SHIPPED

    scored = _scored(table)
    network = scored["method"] == SHIPPED
    best = scored[~network].groupby("participant_id")["dice"].max()
    if best.empty:
        return Markdown("No comparison method was run here.")
    mine = scored[network].set_index("participant_id")["dice"].reindex(best.index)
    sizes = " and ".join(sorted(scored.loc[~network, "size"].unique()))
    return Markdown(
        f"The network has the highest Dice in **{int((mine > best).sum())} of {len(best)}** cases, "
        f"against each case's best comparison method (voxel sizes: {sizes}; the network's: {scored.loc[network, 'size'].iloc[0]})."
    )


def _scored(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a Dice, and `size`, their voxel size in words."""
    rows = table[(table["status"] == "ok") & table["dice"].notna()]
    sizes = rows["voxel_mm"] if "voxel_mm" in rows else rows["dice"] * float("nan")
    return rows.assign(size=sizes.map(lambda size: f"{size:g} mm" if size == size else "size not recorded"))
