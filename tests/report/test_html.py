"""Pages that need no network, no script and no kernel."""

from __future__ import annotations

import base64

import nbformat.v4 as v4
import pytest

from flairnb.errors import WorkFailed
from flairnb.report.html import Page, banner_for, fetches, render_notebook

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n and the rest").decode()


def notebook(*outputs):
    cells = [
        v4.new_markdown_cell("# A title\n\nWords with <b>weight</b> and a [link](https://doi.org/10.3174/ajnr.A6138)."),
        v4.new_code_cell("profile = 'demo'", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("import numpy as np\nnp.ones(3)", outputs=list(outputs)),
    ]
    book = v4.new_notebook(cells=cells)
    book.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"secret": 1}}}
    return book


def shown(data):
    return v4.new_output("display_data", data=data)


PAGE = Page("A title & more", "demo", banner_for("phantom"), "00_before.html", "02_after.html")


def test_a_page_holds_title_banner_neighbours_and_folded_code():
    text = render_notebook(notebook(), PAGE)
    assert "<title>A title &amp; more</title>" in text
    assert "Simulated patients" in text and "Not for clinical use" in text
    assert 'href="00_before.html"' in text and 'href="02_after.html"' in text
    assert text.count('<details class="code">') == 2 and "<details open" not in text
    assert "https://doi.org/10.3174/ajnr.A6138" in text and fetches(text) == []


def test_widget_state_never_reaches_the_page():
    assert "secret" not in render_notebook(notebook(), PAGE)


def test_a_picture_wins_over_the_script_beside_it():
    both = {"text/html": "<script src='https://cdn.example/plotly.js'></script>", "image/png": PIXEL, "text/plain": "Figure"}
    text = render_notebook(notebook(shown(both)), PAGE)
    assert f"data:image/png;base64,{PIXEL}" in text and "cdn.example" not in text


@pytest.mark.parametrize(
    "html",
    [
        "<script src='https://cdn.example/x.js'></script>",
        "<script>alert(1)</script>",
        "<img src='https://example.org/a.png'>",
        "<img src='figures/a.png'>",
        "<link rel='stylesheet' href='https://example.org/a.css'>",
        "<iframe src='https://example.org'></iframe>",
        "<style>@import 'x.css';</style>",
        "<style>a { background: url(//example.org/a.png) }</style>",
    ],
)
def test_an_output_that_would_fetch_or_run_is_refused(html):
    with pytest.raises(WorkFailed, match="loads nothing"):
        render_notebook(notebook(shown({"text/html": html})), PAGE)


def test_code_that_speaks_of_scripts_is_shown_not_refused():
    book = notebook(v4.new_output("stream", name="stdout", text="<script src='https://x'></script>"))
    assert "&lt;script" in render_notebook(book, PAGE)


def test_tables_scroll_and_logs_are_folded():
    table = shown({"text/html": '<table border="1" class="dataframe"><tr><td>1</td></tr></table>', "text/plain": "1"})
    log = v4.new_output("stream", name="stderr", text="going on from epoch 2")
    text = render_notebook(notebook(table, log), PAGE)
    assert '<div class="scroll"><table class="dataframe">' in text
    assert "<summary>log</summary>" in text


def test_errors_are_shown_without_terminal_codes():
    error = v4.new_output("error", ename="ValueError", evalue="no", traceback=["\x1b[31mValueError\x1b[0m: no"])
    text = render_notebook(notebook(error), PAGE)
    assert "ValueError" in text and "\x1b" not in text


def test_real_data_pages_do_not_claim_to_be_simulated():
    assert "imulated" not in banner_for("manifest") and "clinical" in banner_for("manifest")


def test_figures_of_a_run_are_copied_beside_the_report(tmp_path):
    from flairnb.report.index import publish_figures

    (tmp_path / "work" / "figures").mkdir(parents=True)
    (tmp_path / "work" / "figures" / "examples.png").write_bytes(b"picture")
    assert publish_figures(tmp_path / "work", tmp_path / "report") == [tmp_path / "report" / "figures" / "examples.png"]
    assert (tmp_path / "report" / "figures" / "examples.png").read_bytes() == b"picture"
    assert publish_figures(tmp_path / "nothing", tmp_path / "report") == []


def test_injected_folders_are_shortened():
    import nbformat

    from flairnb.report import html

    cell = nbformat.v4.new_code_cell('profile = "demo"\nout_dir = "/somewhere/on/a/machine/work"\ndata_dir = ""')
    cell.metadata["tags"] = ["injected-parameters"]
    book = nbformat.v4.new_notebook(cells=[cell])
    html._shorten_folders(book)
    assert book.cells[0].source == 'profile = "demo"\nout_dir = "work"  # shortened\ndata_dir = ""'
