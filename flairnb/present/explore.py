"""Charts to point at: which patient is this dot, and which scanner?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.present.style import look

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

#: Matplotlib's markers of the house's style and plotly's words for them.
_SYMBOLS = {
    "o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross", "h": "hexagon",
    "p": "pentagon", "X": "x", "*": "star", "_": "line-ew",
}  # fmt: skip
_CLICK = """document.getElementById("{plot_id}").on("plotly_click", function (event) {
  const facts = event.points[0].customdata;
  if (facts) window.location.href = "%s#" + encodeURIComponent(facts[0]);
});"""
_HOVER = (
    "<b>%{customdata[0]}</b>, %{customdata[1]}<br>%{customdata[2]}<br>"
    "Dice %{customdata[3]}, PPV %{customdata[4]}<br>reader %{customdata[5]} ml, method %{customdata[6]} ml"
)


def explore_cases(scores: pd.DataFrame, names: Mapping[str, str], article_identity: bool = True) -> go.Figure:
    """Draw every case and method three times: volume against volume, Dice against volume, Dice by scanner.

    Parameters
    ----------
    scores : DataFrame
        One row a case and method (``tables/scores.tsv``): participant_id,
        diagnosis, manufacturer, model, field_strength_t, dimension, method,
        dice, ppv, reference_ml, predicted_ml.
    names : mapping of str to str
        What a participant is called on the page.
    article_identity : bool
        Draw the line of equal volumes, as the article's Figure 4A.

    Returns
    -------
    plotly.graph_objects.Figure
        Pointing at a dot names the case, its disease and scanner, and its
        scores; a click in the legend hides a method. Volumes are on a
        logarithmic axis; an empty mask is drawn at the axis' left or lower end.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("Volume: method against reader", "Dice against the reader's volume", "Dice by scanner model")
    figure = make_subplots(rows=3, cols=1, subplot_titles=titles, vertical_spacing=0.09)
    table = scores[scores["reference_ml"].notna()]
    least = _least(table)
    for position, (method, group) in enumerate(table.groupby("method", sort=False)):
        how = look(str(method), position)
        marker = {"color": how.fill, "symbol": _SYMBOLS.get(how.marker, "circle"), "size": 8, "line": {"color": "black", "width": 0.7}}
        shared: dict[str, Any] = {
            "mode": "markers", "marker": marker, "name": how.label, "legendgroup": str(method),
            "customdata": _facts(group, names), "hovertemplate": f"{_HOVER}<extra>{how.label}</extra>",
            "visible": True if method in ("unet", "shipped", "manual2") else "legendonly",
        }  # fmt: skip
        reference, predicted = group["reference_ml"].clip(lower=least), group["predicted_ml"].clip(lower=least)
        figure.add_trace(go.Scatter(x=reference, y=predicted, **shared), row=1, col=1)
        figure.add_trace(go.Scatter(x=reference, y=group["dice"], showlegend=False, **shared), row=2, col=1)
        figure.add_trace(go.Scatter(x=_given(group["model"]), y=group["dice"], showlegend=False, **shared), row=3, col=1)
    if article_identity and len(table):
        ends = [least, float(table[["reference_ml", "predicted_ml"]].to_numpy(dtype=float).max())]
        line = {"color": "gray", "dash": "dash", "width": 1}
        figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=line, name="equal volumes", hoverinfo="skip"), row=1, col=1)
    for row in (1, 2):
        figure.update_xaxes(type="log", title_text="reader's lesion volume, ml", row=row, col=1)
    figure.update_yaxes(type="log", title_text="method's lesion volume, ml", row=1, col=1)
    figure.update_yaxes(range=[-0.03, 1.03], title_text="Dice", row=2, col=1)
    figure.update_yaxes(range=[-0.03, 1.03], title_text="Dice", row=3, col=1)
    figure.update_xaxes(categoryorder="category ascending", row=3, col=1)
    figure.update_layout(template="plotly_white", height=1350, hovermode="closest", margin={"l": 70, "r": 20, "t": 50, "b": 120})
    return figure


def explore_page(figure: go.Figure, title: str, banner: str, cases: str = "") -> str:
    """Return a page that works without a network: the chart and plotly's own code in one file.

    A click on a dot opens the page `cases` at the case's name, if one is given.
    """
    from html import escape

    config = {"displaylogo": False, "responsive": True}
    chart = figure.to_html(full_html=False, include_plotlyjs=True, config=config, post_script=_CLICK % cases if cases else None)
    click = " Click it: the case itself." if cases else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        '<link rel="icon" href="data:,"></head><body style="font-family:sans-serif;max-width:1000px;margin:1rem auto;padding:0 1rem">'
        f"<h1>{escape(title)}</h1><p><strong>{escape(banner)}</strong></p>"
        f"<p>Point at a dot: the case, its disease, its scanner, its scores.{click} Click a method in the legend to show or hide it.</p>"
        f'{chart}<p><a href="index.html">Back to the report</a></p></body></html>\n'
    )


def scanner_words(case: Mapping[str, Any]) -> str:
    """Return maker, model, field and acquisition of a case in words, without what is not given.

    Examples
    --------
    >>> scanner_words({"manufacturer": "Siemens", "model": "Skyra", "field_strength_t": 3.0, "dimension": float("nan")})
    'Siemens Skyra, 3 T'
    >>> scanner_words({})
    'scanner not given'
    """

    def text(name: str, form: str = "{}") -> str:
        value = case.get(name)
        return "" if value is None or value != value or value == "" else form.format(value)

    scanner = " ".join(filter(None, [text("manufacturer"), text("model")]))
    return ", ".join(filter(None, [scanner, text("field_strength_t", "{:g} T"), text("dimension")])) or "scanner not given"


def _given(models: pd.Series) -> pd.Series:
    """Return the models as places on an axis: a dot without one would not be drawn."""
    return models.astype(object).where(models.notna() & (models != ""), "not given")


def _least(table: pd.DataFrame) -> float:
    """Return where an empty mask is drawn: below the smallest volume there is."""
    volumes = table[["reference_ml", "predicted_ml"]].to_numpy(dtype=float)
    above = volumes[volumes > 0]
    return float(above.min()) / 2 if above.size else 0.01


def _facts(group: pd.DataFrame, names: Mapping[str, str]) -> np.ndarray:
    """Return what a dot says of itself, as text; a Dice that is not defined says so."""

    def number(value: float, digits: int) -> str:
        return "not defined" if np.isnan(value) else f"{value:.{digits}f}"

    rows = [
        (
            names.get(row["participant_id"], row["participant_id"]), row["diagnosis"], scanner_words(row), number(row["dice"], 2),
            number(row["ppv"], 2), number(row["reference_ml"], 1), number(row["predicted_ml"], 1),
        )
        for row in group.to_dict("records")
    ]  # fmt: skip
    return np.array(rows, dtype=object)
