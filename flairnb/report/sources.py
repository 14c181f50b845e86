"""Read a notebook's source, its parameters, and the code it stands on."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flairnb.errors import SettingsError
from flairnb.report.chapters import Chapter

PACKAGE = Path(__file__).resolve().parents[1]


def read_source(chapter: Chapter) -> Any:
    """Read a py:percent source as an unexecuted notebook."""
    import jupytext

    return jupytext.read(chapter.path)


def parameters_of(notebook: Any) -> dict[str, str]:
    """Return the parameters that a notebook declares, with their help.

    Raises
    ------
    SettingsError
        When no cell is tagged ``parameters``.
    """
    from papermill import inspect_notebook

    found = inspect_notebook(notebook)
    if not found:
        raise SettingsError("Expected a cell tagged 'parameters' in the notebook, found none or an empty one.")
    return {name: entry.get("help", "") for name, entry in found.items()}


def check_parameters(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse parameters that a notebook does not declare.

    papermill itself only warns and goes on with the default value.

    Raises
    ------
    SettingsError
        Names the nearest declared parameter.
    """
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"{where} has no parameter {name!r}; it has {', '.join(known)}.{hint} "
                "Settings are changed with a dot, for example: --set train.epochs=3"
            )


def split_sets(sets: Iterable[str]) -> tuple[dict[str, str], str]:
    """Split ``key=value`` words into notebook parameters and settings overrides.

    Returns
    -------
    parameters : dict
        Keys without a dot.
    overrides : str
        The dotted ones, joined by blanks.

    Examples
    --------
    >>> split_sets(["seed=3", "train.epochs=2"])
    ({'seed': '3'}, 'train.epochs=2')
    """
    parameters: dict[str, str] = {}
    overrides: list[str] = []
    for word in sets:
        key, equals, value = str(word).partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"Expected key=value after --set, received {word!r}. Example: --set train.epochs=3")
        if "." in key:
            overrides.append(f"{key.strip()}={value.strip()}")
        else:
            parameters[key.strip()] = value
    return parameters, " ".join(overrides)


def code_fingerprint(source: str) -> str:
    """Return a hash of a notebook's text and of every flairnb module it can reach.

    Imports are followed inside functions too, so that a change in a module
    that the notebook never loads does not make it run again. Where they reach
    the module that loads networks, the shipped ones count as well.

    Parameters
    ----------
    source : str
        Python text of the notebook (py:percent is valid Python).

    Returns
    -------
    str
        12 hexadecimal digits.
    """
    digest = hashlib.sha256(source.encode())
    reached: set[Path] = set()
    waiting = [*_modules(ast.parse(source), ""), PACKAGE / "report" / "start.py"]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            name = path.relative_to(PACKAGE.parent).with_suffix("")
            waiting += _modules(ast.parse(path.read_text(encoding="utf-8")), ".".join(name.parts[:-1]))
    if PACKAGE / "network" / "weights.py" in reached:
        # Holds the weights' sha256, threshold and calibration.
        reached.update((PACKAGE / "network" / "shipped").glob("*/settings.json"))
    for path in sorted(reached):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _modules(tree: ast.AST, package: str) -> list[Path]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module or ""]))
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return [path for name in sorted(names) for path in _files(name)]


def _files(name: str) -> list[Path]:
    parts = name.split(".")
    if parts[0] != PACKAGE.name or name == PACKAGE.name:
        return []
    found = []
    for depth in range(2, len(parts) + 1):
        stem = PACKAGE.parent.joinpath(*parts[:depth])
        found += [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return found
