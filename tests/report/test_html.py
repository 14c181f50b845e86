"""Pages that need no network, no script and no kernel."""

from __future__ import annotations

import base64

import nbformat.v4 as v4
import pytest

from flairnb.errors import WorkFailed
from flairnb.report.html import LONG_TABLE, Page, banner_for, fetches, render_notebook

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


@pytest.mark.parametrize("source", ["phantom", "manifest"])
def test_the_chapter_of_real_patients_never_says_that_nobody_exists(source):
    assert banner_for(source, "13") == "Real patients: public, anonymous examinations. Not for clinical use."


@pytest.mark.parametrize("chapter", ["09", "14"])
def test_chapters_with_real_examinations_beside_phantoms_say_both(chapter):
    said = banner_for("phantom", chapter)
    assert "Simulated patients" in said and "real, public examinations" in said and said.endswith("Not for clinical use.")
    assert "do not exist" not in said and banner_for("manifest", chapter) == banner_for("manifest")


def test_all_other_chapters_have_the_banner_of_their_cohort():
    assert banner_for("phantom", "05") == banner_for("phantom") and "do not exist" in banner_for("phantom")


def test_every_page_of_a_report_gets_its_own_banner(tmp_path, monkeypatch):
    from types import SimpleNamespace

    import nbformat

    from flairnb.report import html, index, ledger, pipeline, record
    from flairnb.report.chapters import Chapter

    chapters = [Chapter(number, tmp_path / f"{number}_x.py", "A title", "?") for number in ("05", "13")]
    for chapter in chapters:
        path = record.executed_path(chapter, tmp_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(v4.new_notebook(), path)
    pages = []
    monkeypatch.setattr(html, "write_page", lambda notebook, page, path: pages.append(page.banner))
    monkeypatch.setattr(ledger, "write_ledger", lambda *_: None)
    monkeypatch.setattr(index, "write_index", lambda *_: tmp_path / "index.html")
    monkeypatch.setattr(record, "run_record", lambda *_: {})
    settings = SimpleNamespace(cohort=SimpleNamespace(source="phantom"), profile="demo")
    pipeline.write_report(chapters, [], settings, {}, tmp_path, tmp_path / "report")
    assert pages == [banner_for("phantom", "05"), banner_for("phantom", "13")] and pages[0] != pages[1]


def test_a_warning_keeps_the_name_of_its_file_but_not_its_folder():
    text = "/home/dr who/flairnb/present/charts.py:92: UserWarning: no artists in /data/x\n  legend()\n"
    output = v4.new_output("stream", name="stderr", text=text)
    page = render_notebook(v4.new_notebook(cells=[v4.new_code_cell("1", outputs=[output])]), PAGE)
    assert "charts.py:92: UserWarning: no artists in /data/x" in page and "dr who" not in page and "/home" not in page


BAR = "phantoms:   0%|          | 0/58 [00:00<?, ?it/s]"
CHATTER = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795804161.475421    9730 port.cc:153] oneDNN custom operations are on. You may see slightly different results.\n"
    "I0000 00:00:1795804161.477009    9730 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\n"
    "E0000 00:00:1795804165.692003    9730 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (303)\n"
    "2026-11-27 07:34:30.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized.\n"
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate compiler flags.\n"
)
REAL = (
    "UserWarning: 3 of 58 cases failed\n"
    "E0000 00:00:1795804165.692003    9730 cuda_executor.cc:52] failed to allocate 2.1GiB: CUDA_ERROR_OUT_OF_MEMORY\n"
    "W0000 00:00:1795804165.692003    9730 shape.cc:52] rank is unknown\n"
)


def test_bars_of_progress_and_notes_on_absent_graphics_cards_are_left_out():
    widget = shown({"text/plain": BAR, "application/vnd.jupyter.widget-view+json": {"model_id": "x"}})
    stream = v4.new_output("stream", name="stderr", text=f"\r{BAR}\rphantoms: 100%|####| 58/58 [01:10<00:00,  1.20s/it]\n")
    text = render_notebook(notebook(widget, stream, v4.new_output("stream", name="stderr", text=CHATTER)), PAGE)
    assert "phantoms" not in text and "it/s" not in text and "cuInit" not in text and "absl" not in text and "<summary>log" not in text


def test_real_warnings_stay_where_noise_was():
    text = render_notebook(notebook(v4.new_output("stream", name="stderr", text=CHATTER + REAL + BAR)), PAGE)
    assert "<summary>log</summary>" in text and "cuInit" not in text and "phantoms" not in text
    assert "3 of 58 cases failed" in text and "CUDA_ERROR_OUT_OF_MEMORY" in text and "rank is unknown" in text


def test_other_outputs_are_no_noise():
    outputs = shown({"text/plain": "100% of 58/58 cases"}), v4.new_output("stream", name="stdout", text=BAR)
    text = render_notebook(notebook(*outputs), PAGE)
    assert "100% of 58/58 cases" in text and "phantoms" in text


@pytest.mark.parametrize(("rows", "framed"), [(LONG_TABLE - 1, False), (66, True)])
def test_a_long_table_scrolls_in_a_frame_that_says_how_long_it_is(rows, framed):
    body = "".join(f"<tr><td>{n}</td></tr>" for n in range(rows))
    data = {"text/html": f'<div><table border="1" class="dataframe"><thead><tr><th>n</th></tr></thead><tbody>{body}</tbody></table></div>'}
    text = render_notebook(notebook(shown(data)), PAGE)
    assert ('<div class="long" tabindex="0"><table class="dataframe">' in text) is framed
    assert (f"{rows} rows: scroll inside the frame" in text) is framed
    assert text.count("<td>") == rows and ".long { max-height:" in text
