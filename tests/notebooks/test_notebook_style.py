"""Notebooks tell, the package computes: the house rules, checked on the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))
PARAMETERS = ["profile", "seed", "data_dir", "out_dir", "overrides"]
FORBIDDEN_NAMES = {"print", "open", "exit", "quit", "eval", "exec", "globals", "chdir", "filterwarnings", "simplefilter"}
FORBIDDEN_NODES = {
    ast.FunctionDef: "def",
    ast.AsyncFunctionDef: "async def",
    ast.ClassDef: "class",
    ast.Lambda: "lambda",
    ast.While: "while",
    ast.Try: "try",
    ast.With: "with",
}

pytestmark = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])


def cells(source: Path, kind: str) -> list:
    return [cell for cell in jupytext.read(source).cells if cell.cell_type == kind]


def trees(source: Path) -> list[ast.Module]:
    return [ast.parse(cell.source) for cell in cells(source, "code")]


def test_there_is_no_logic_in_a_notebook(source):
    for tree in trees(source):
        for node in ast.walk(tree):
            assert type(node) not in FORBIDDEN_NODES, f"{source.name}: {FORBIDDEN_NODES[type(node)]} in {ast.unparse(node)[:80]!r}"


def test_loops_are_not_nested(source):
    for tree in trees(source):
        for node in ast.walk(tree):
            if isinstance(node, ast.For):
                inner = [n for n in ast.walk(node) if isinstance(n, ast.For) and n is not node]
                assert not inner, f"{source.name}: nested for"
            generators = getattr(node, "generators", [])
            assert len(generators) <= 1, f"{source.name}: nested comprehension"


def test_nothing_is_printed_opened_or_silenced(source):
    for tree in trees(source):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert name not in FORBIDDEN_NAMES, f"{source.name}: {name}(...)"
    text = "\n".join(cell.source for cell in cells(source, "code"))
    assert "sys.path" not in text and not re.search(r"^\s*[!%]", text, flags=re.MULTILINE)


def test_paths_come_from_the_run_only(source):
    for tree in trees(source):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("/", "~", "../")) and not re.match(r"[A-Za-z]:\\", node.value), node.value
            if isinstance(node, ast.ImportFrom):
                assert node.module != "pathlib" and node.module != "os", f"{source.name}: imports {node.module}"
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"os", "pathlib", "glob", "shutil", "subprocess"}


def test_the_notebook_opens_with_title_question_parameters_and_start(source):
    book = jupytext.read(source).cells
    assert book[0].cell_type == "markdown" and book[0].source.startswith("# ")
    assert "**" in book[0].source and "?" in book[0].source
    for word in ("Reads", "Leaves", "minute"):
        assert word in book[0].source, f"{source.name}: the first cell does not say {word!r}"
    assert "not for clinical use" in book[0].source.lower()
    assert book[1].metadata.get("tags") == ["parameters"]
    assert "flairnb.start(" in book[2].source
    assert "run.finish(" in [cell for cell in book if cell.cell_type == "code"][-1].source


def test_the_parameters_are_the_five_literals_each_with_its_help(source):
    (tree,) = [ast.parse(c.source) for c in cells(source, "code") if "parameters" in c.metadata.get("tags", [])]
    names = []
    for node in tree.body:
        assert isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant) and isinstance(node.annotation, ast.Name)
        names.append(node.target.id)
    assert [name for name in names if name != "interactive"] == PARAMETERS
    (cell,) = [c for c in cells(source, "code") if "parameters" in c.metadata.get("tags", [])]
    assert all("  # " in line and line.count("=") == 1 for line in cell.source.splitlines())


def test_papermill_sees_the_parameters_with_types_and_help(source):
    from papermill import inspect_notebook

    found = inspect_notebook(jupytext.read(source))
    assert set(PARAMETERS) <= set(found)
    assert all(entry["help"] and entry["inferred_type_name"] in ("str", "int", "bool") for entry in found.values())


def test_cells_are_few_short_and_show_something(source):
    book = jupytext.read(source).cells
    # The lesson is 45 minutes of asking first and showing then: each picture takes three cells.
    assert len(book) <= (45 if source.stem == "11_how_it_works" else 30), f"{source.name}: {len(book)} cells"
    for cell in cells(source, "code")[2:]:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 12, f"{source.name}: {len(lines)} lines in {lines[0]!r}"
        assert isinstance(ast.parse(cell.source).body[-1], ast.Expr), f"{source.name}: {lines[-1]!r} shows nothing"


def test_every_shown_result_stands_between_two_texts(source):
    book = jupytext.read(source).cells
    kinds = [cell.cell_type for cell in book]
    for place in range(3, len(book)):
        if kinds[place] == "code":
            assert kinds[place - 1] == "markdown", f"{source.name}: no words before {book[place].source[:60]!r}"
            if place + 1 < len(book):
                assert kinds[place + 1] == "markdown", f"{source.name}: no words after {book[place].source[:60]!r}"


def test_why_numbers_differ_is_said_of_the_profiles_it_is_true_of(source):
    for cell in cells(source, "markdown"):
        words = " ".join(cell.source.split())
        for place in re.finditer(r"Why (?:ours|they) may differ\W*", words):
            assert words[place.end() :].startswith("In the simulated profiles"), f"{source.name}: {words[place.start() :][:80]!r}"


def test_the_notebook_has_no_widgets_and_fetches_nothing(source):
    text = source.read_text(encoding="utf-8")
    for word in ("ipywidgets", "@interact", "requests", "urllib", "<script", "http://"):
        assert word not in text
