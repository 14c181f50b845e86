"""Chart of repeated measurements (chapter 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from flairnb.present.style import drawing, look, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Volume ratios beyond these are drawn at the edge, as triangles.
RANGE = (0.25, 4.0)


def volume_ratios(table: pd.DataFrame, limits: Mapping[tuple[str, str], float], title: str = "") -> Figure:
    """Draw volume of repeat over volume of first, one panel a method.

    Parameters
    ----------
    table : DataFrame
        `source`, `method`, `repeat`, `participant_id`, `change` (a fraction); one row a point.
    limits : mapping of (source, method) to float
        Repeatability coefficient of the log volume: 95% of the ratios of two
        single measurements lie within exp of plus and minus this.
    title : str
    """
    methods, kinds = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["repeat"]))
    sources = list(dict.fromkeys(table["source"]))
    with drawing():
        figure = new_figure(1.6 + 2.1 * max(len(methods), 1), 3.6)
        axes = None
        for place, method in enumerate(methods, start=1):
            axes = figure.add_subplot(1, len(methods), place, sharey=axes)
            for number, source in enumerate(sources):
                mine = table[(table["method"] == method) & (table["source"] == source)]
                _points(axes, mine, kinds, 0.3 * (number - (len(sources) - 1) / 2), "o" if source != "real" else "s", source)
                if (source, method) in limits:
                    edge = np.exp(min(limits[source, method], 5.0))
                    style = {"color": look(method).fill, "ls": "--" if source != "real" else ":", "lw": 1.1}
                    for height in (edge, 1 / edge):
                        axes.axhline(float(np.clip(height, *RANGE)), **style)
            axes.axhline(1.0, color="black", lw=0.8)
            axes.set(yscale="log", ylim=(RANGE[0] / 1.08, RANGE[1] * 1.08), title=look(method, place).label)
            axes.set_xticks(range(len(kinds)), kinds, rotation=45, ha="right")
            axes.set_yticks([0.25, 0.5, 0.8, 1, 1.25, 2, 4], ["0.25", "0.5", "0.8", "1", "1.25", "2", "4"])
            axes.tick_params(labelleft=place == 1)
            axes.minorticks_off()
            axes.yaxis.grid(True, color="0.9")
            if place == 1:
                axes.set_ylabel("Volume of repeat / volume of first")
                figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(title)
    return figure


def _points(axes: object, rows: pd.DataFrame, kinds: list[str], shift: float, marker: str, label: str) -> None:
    """Draw one point a case; ratios beyond the range at its edge."""
    rows = rows[rows["change"].notna()]
    at = np.array([kinds.index(kind) for kind in rows["repeat"]], dtype=float)
    at += shift + (np.arange(len(rows)) % 3 - 1) * 0.07
    ratio = 1 + rows["change"].to_numpy(dtype=float)
    inside = (ratio >= RANGE[0]) & (ratio <= RANGE[1])
    plain = {"mfc": "white", "mec": "black", "ls": "", "mew": 0.7}
    axes.plot(at[inside], ratio[inside], marker, ms=3.4, label=label, **plain)
    for beyond, mark, edge in ((ratio > RANGE[1], "^", RANGE[1]), (ratio < RANGE[0], "v", RANGE[0])):
        axes.plot(at[beyond], np.full(int(beyond.sum()), edge), mark, ms=4.5, **plain)
