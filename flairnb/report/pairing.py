"""Keep each notebook's .ipynb equal to its py:percent source, one way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flairnb.errors import WorkFailed
from flairnb.provenance import atomic_path


def sync_twins(folder: Path) -> list[Path]:
    """Write the output-free .ipynb of every NN_name.py that lacks one or differs from it.

    Cell identifiers come from the cells' content, so that the same source
    always gives the same file.

    Returns
    -------
    list of Path
        Files that were written.
    """
    import jupytext

    written = []
    for source in _sources(folder):
        twin = source.with_suffix(".ipynb")
        text = jupytext.writes(_with_stable_ids(jupytext.read(source)), fmt="ipynb") + "\n"
        if not twin.is_file() or twin.read_text(encoding="utf-8") != text:
            with atomic_path(twin) as temporary:
                temporary.write_text(text, encoding="utf-8")
            written.append(twin)
    return written


def check_twins(folder: Path) -> int:
    """Compare every source with its twin; return how many there are.

    Raises
    ------
    WorkFailed
        Names all twins that are absent, differ or hold outputs.
    """
    sources = _sources(folder)
    problems = [f"{source.stem}: {problem}" for source in sources if (problem := _difference(source))]
    problems += [f"{twin.stem}: no .py source" for twin in sorted(folder.glob("*.ipynb")) if not twin.with_suffix(".py").is_file()]
    if problems:
        raise WorkFailed(
            f"notebooks: expected every .ipynb to say what its .py says, found {'; '.join(problems)}. Run: flairnb notebooks sync"
        )
    return len(sources)


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def _difference(source: Path) -> str:
    import jupytext
    from jupytext.compare import NotebookDifference, compare_notebooks

    twin = source.with_suffix(".ipynb")
    if not twin.is_file():
        return "no .ipynb"
    notebook = jupytext.read(twin)
    if any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells):
        return "the .ipynb holds outputs"
    try:
        compare_notebooks(notebook, jupytext.read(source), "py:percent")
    except NotebookDifference:
        return "the .ipynb differs"
    return ""


def _with_stable_ids(notebook: Any) -> Any:
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        content = f"{cell.cell_type}\n{cell.source}"
        seen[content] = seen.get(content, 0) + 1
        cell["id"] = hashlib.sha256(f"{content}\n{seen[content]}".encode()).hexdigest()[:12]
    return notebook
