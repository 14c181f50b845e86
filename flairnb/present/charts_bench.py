"""Chart of what one patient costs on a machine, beside the article's times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flairnb.present.charts import EDGE
from flairnb.present.charts_technical import FILLS
from flairnb.present.style import drawing, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def seconds_by_input(stages: pd.DataFrame, floors: Mapping[str, float], article: Mapping[str, float]) -> Figure:
    """Draw the seconds of each kind of input, stage by stage.

    Parameters
    ----------
    stages : DataFrame
        `input`, `stage`, `seconds`; one after the other, drawn in the order of the rows.
    floors : mapping of input to float
        Seconds below which no implementation of the stage "network" gets there; drawn from where that stage starts.
    article : mapping of name to float
        The article's seconds, each a dashed line.
    """
    inputs = stages["input"].drop_duplicates().tolist()
    with drawing():
        figure = new_figure(8.0, 1.8 + 0.5 * len(inputs))
        axes = figure.add_subplot()
        start = dict.fromkeys(inputs, 0.0)
        network = dict.fromkeys(inputs, 0.0)
        for number, stage in enumerate(stages["stage"].drop_duplicates()):
            fill, hatch = FILLS[number % len(FILLS)]
            label: str | None = stage
            for row in stages[stages["stage"] == stage].itertuples():
                axes.barh(inputs.index(row.input), row.seconds, 0.55, left=start[row.input], color=fill, hatch=hatch, label=label, **EDGE)
                if stage == "network":
                    network[row.input] = start[row.input]
                start[row.input] += row.seconds
                label = None
        label = "floor of the network's step"
        for name, seconds in floors.items():
            edge, at = network[name] + seconds, inputs.index(name)
            axes.plot([edge] * 2, [at - 0.4, at + 0.4], color="black", lw=3, label=label)
            label = None
        for name, seconds in article.items():
            axes.axvline(seconds, color="black", ls="--", lw=1.0, zorder=1)
            axes.annotate(name, (seconds, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8)
        axes.set_yticks(range(len(inputs)), inputs)
        axes.set(xlabel="Seconds a case, median of the runs", ylim=(len(inputs) - 0.4, -0.6), xlim=(0, None))
        axes.grid(True, axis="x", color="0.9")
        if inputs:
            figure.legend(loc="outside lower center", ncols=4)
    return figure
