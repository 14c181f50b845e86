"""The examples in docstrings are run, all of them, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "flairnb"
EXAMPLE = re.compile(r"^\s*>>> ", re.MULTILINE)
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if EXAMPLE.search(path.read_text(encoding="utf-8"))]


def run(module, name: str) -> tuple[int, str]:
    """Return how many examples a module's docstrings hold, and what those that fail say."""
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    tests = doctest.DocTestFinder().find(module, name)
    for test in tests:
        runner.run(test, out=said.append)
    return sum(len(test.examples) for test in tests), "".join(said)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).with_suffix("").as_posix())
def test_the_examples_give_what_they_say(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = ".".join(("flairnb", *path.relative_to(PACKAGE).with_suffix("").parts))
    count, failures = run(importlib.import_module(name), name)
    assert not failures, failures
    assert count == len(EXAMPLE.findall(path.read_text(encoding="utf-8"))), "examples that doctest does not find"
    assert not list(tmp_path.iterdir()), "an example left a file"


def test_a_wrong_example_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "with_examples.py").write_text('def double(n):\n    """Double.\n\n    >>> double(2)\n    5\n    """\n    return 2 * n\n')
    monkeypatch.syspath_prepend(tmp_path)
    count, failures = run(importlib.import_module("with_examples"), "with_examples")
    assert count == 1 and "Got:\n    4" in failures
