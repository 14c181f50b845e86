"""Who imports whom, and that importing flairnb stays light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flairnb"
HEAVY = {"tensorflow", "keras", "ants", "plotly", "papermill", "sklearn", "matplotlib", "IPython", "nilearn"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def loaded_by(code: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has loaded after `code`."""
    report = "import json, sys; sys.stderr.write(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stderr.strip().splitlines()[-1]))


def test_import_flairnb_loads_nothing_heavy():
    assert not loaded_by("import flairnb") & (HEAVY | {"pandas", "scipy", "nibabel", "ipywidgets"})


@pytest.mark.parametrize("words", [["--help"], ["segment", "--help"], ["cohort", "check", "none.tsv"]], ids=" ".join)
def test_help_and_wrong_input_load_nothing_heavy(words):
    assert not loaded_by(f"import flairnb.cli; flairnb.cli.call({words!r})") & HEAVY


def module_level_imports(path: Path) -> set[str]:
    """Top-level names that running the module's body imports, `if TYPE_CHECKING` aside."""
    found, queue = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            queue += list(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_imports_heavy_libraries_when_imported(path):
    assert not module_level_imports(path) & HEAVY


def test_the_scan_sees_imports_in_classes_and_branches_but_not_in_functions(tmp_path):
    code = """
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import keras
else:
    import plotly.express
class A:
    import ants
def late():
    import tensorflow
try:
    from sklearn.svm import SVC
except ImportError:
    pass
"""
    (tmp_path / "m.py").write_text(code)
    assert module_level_imports(tmp_path / "m.py") & HEAVY == {"plotly", "ants", "sklearn"}


def test_every_room_stands_in_the_layers():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
    listed = {name.strip().removeprefix("flairnb.") for layer in contract["layers"] for name in layer.split("|")}
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")} | {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert listed == rooms


def test_a_room_imports_only_rooms_to_its_left():
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
