"""Executed notebooks to pages that need no network, no script, no kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flairnb.errors import EnvironmentProblem, WorkFailed
from flairnb.provenance import atomic_path

TEMPLATES = Path(__file__).parent / "templates"

FOOTER = (
    "Made by flairnb, an independent reconstruction of Duong et al., AJNR Am J Neuroradiol 2019;40:1282-1290. "
    "Research and teaching only, not for clinical use."
)

#: Chapters of real patients whatever the cohort is, and those that show some beside it.
REAL_CHAPTERS = ("13",)
MIXED_CHAPTERS = ("09", "14")
#: Characters of an embedded PNG from which a JPEG is tried.
LARGE_PICTURE = 200_000
#: Rows of a table, its head among them, above which it scrolls in a frame of its own.
LONG_TABLE = 31
#: Static pictures win over interactive forms of the same output.
PRIORITY = ["image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "text/plain"]

_FETCHES = re.compile(
    r"""<(?:script|iframe|object|embed|audio|video|source)\b|<link\b(?![^>]*\bhref=["']?data:)[^>]*>"""
    r"""|<img\b[^>]*\bsrc=(?!["']?data:)[^>]*>|@import\b|url\(\s*["']?(?:https?:)?//""",
    flags=re.IGNORECASE,
)
_TABLE = re.compile(r"<table\b.*?</table>", flags=re.IGNORECASE | re.DOTALL)
#: A bar of tqdm: "phantoms:  12%|#2  | 7/58 [00:03<00:21, 2.4it/s]", or without a known end "7it [00:03, 2.4it/s]".
_PROGRESS = re.compile(r"\d+%\|.*\| *[\d.]+\S*/\S+ \[|\b\d+it \[\d\d:\d\d")
#: A line of TensorFlow's C++ code, in both forms: its level (information, warning, error) and the rest.
_NATIVE_LOG = re.compile(r"(?:([IWEF])\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: ([IWEF]) )(\S+:\d+\] .*)", flags=re.DOTALL)
#: What it calls warnings and errors where there is no graphics card; a card that fails (memory, kernels) is another matter.
_NO_CARD = re.compile(
    r"failed call to cuInit|cuda drivers|cuda_diagnostics|Unable to register cu\w+ factory|\bTensorRT\b", flags=re.IGNORECASE
)
#: Where a warning of Python's comes from, with the folder on this machine.
_WARNED = re.compile(r"^.*[/\\]([^/\\\n]+\.py:\d+: \w*Warning: )")
_CODE = re.compile(r"<(pre|code)\b.*?</\1>", flags=re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """What the template says around a notebook's cells.

    Attributes
    ----------
    title, profile, banner, warning : str
        `banner` says what kind of data the page shows, `warning` what is wrong
        with it; empty for none.
    previous, next : str
        File names of the neighbouring chapters, ``""`` at the ends.
    """

    title: str
    profile: str
    banner: str = ""
    previous: str = ""
    next: str = ""
    warning: str = ""


def outdated(numbers: list[str]) -> str:
    """Return the line over chapters that do not belong to the rest of their report.

    Examples
    --------
    >>> outdated(["06", "07"])
    'Chapters 06, 07 are from an earlier run with other settings, code or inputs. To bring them up to date: flairnb run 06 07'
    """
    several = len(numbers) > 1
    who, them = (f"Chapters {', '.join(numbers)} are", "them") if several else (f"Chapter {numbers[0]} is", "it")
    return f"{who} from an earlier run with other settings, code or inputs. To bring {them} up to date: flairnb run {' '.join(numbers)}"


def banner_for(source: str, chapter: str = "") -> str:
    """Return the line over a page: what data it shows, and what it is not for.

    Parameters
    ----------
    source : str
        Of the run's cohort.
    chapter : str
        Number of the page's notebook; ``""`` for pages that show the run's cohort alone.
    """
    if chapter in REAL_CHAPTERS:
        return "Real patients: public, anonymous examinations. Not for clinical use."
    if source == "phantom" and chapter in MIXED_CHAPTERS:
        return "Simulated patients (phantom data), but for tables that say they are of real, public examinations. Not for clinical use."
    if source == "phantom":
        return "Simulated patients (phantom data): our images and numbers are of people who do not exist. Not for clinical use."
    return "Research and teaching only. Not for clinical use."


def render_notebook(notebook: Any, page: Page) -> str:
    """Render an executed notebook as one self-contained page.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Executed; widget state and stray metadata are dropped.
    page : Page

    Returns
    -------
    str
        HTML with the pictures embedded and the code folded.

    Raises
    ------
    WorkFailed
        When an output would make a browser fetch something.
    """
    import copy

    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    _shorten_folders(notebook)
    _drop_noise(notebook)
    _lighten_pictures(notebook)
    _frame_long_tables(notebook)
    context = {
        "title": page.title,
        "profile": page.profile,
        "banner": page.banner,
        "warning": page.warning,
        "previous": page.previous,
        "next": page.next,
        "footer": FOOTER,
        "style": style(),
    }
    text, _ = _exporter().from_notebook_node(notebook, resources={"page": context})
    check_self_contained(text, page.title)
    return text


def check_templates() -> None:
    """Raise `EnvironmentProblem` where pages could not be rendered: known before hours of work, not after them."""
    try:
        _exporter().template  # noqa: B018 (reading it finds all templates)
    except (ImportError, OSError, ValueError, LookupError) as problem:
        said = (str(problem).splitlines() or [type(problem).__name__])[0].removesuffix(" found in the following paths:")
        raise EnvironmentProblem(
            f"report: expected nbconvert's templates beside this Python, found none that work ({said}). Install flairnb again: make setup."
        ) from None


def _exporter() -> Any:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.NbConvertBase.display_data_priority = PRIORITY
    return HTMLExporter(config=config, template_name="flairnb", extra_template_basedirs=[str(TEMPLATES)])


def _shorten_folders(notebook: Any) -> None:
    """Show the last part only of the folders that were handed to a notebook: a page names no folder of a machine."""
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = re.sub(
                r'^((?:data|out)_dir\s*=\s*)(["\'])(.+)\2',
                lambda m: f"{m[1]}{m[2]}{Path(m[3]).name}{m[2]}  # shortened",
                cell.source,
                flags=re.MULTILINE,
            )


def _drop_noise(notebook: Any) -> None:
    """Leave out bars of progress, TensorFlow's notes on itself and on absent graphics cards, and the folders of code that warns."""
    for cell in notebook.cells:
        if "outputs" not in cell:
            continue
        for output in cell.outputs:
            if output.get("name") == "stderr":
                lines = (line for line in output.text.splitlines(keepends=True) if not _is_noise(line))
                output.text = "".join(_WARNED.sub(r"\1", line) for line in lines)
        cell.outputs = [output for output in cell.outputs if not _is_empty(output)]


def _is_noise(line: str) -> bool:
    """Whether a line of the error stream says nothing about the run.

    Examples
    --------
    >>> _is_noise("E0000 00:00:17.6 97 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error")
    True
    >>> _is_noise("E0000 00:00:17.6 97 cuda_executor.cc:52] CUDA_ERROR_OUT_OF_MEMORY"), _is_noise("UserWarning: 3 cases failed")
    (False, False)
    """
    native = _NATIVE_LOG.match(line)
    if native:
        return (native[1] or native[2]) == "I" or bool(_NO_CARD.search(native[3]))
    about_itself = line.startswith(("WARNING: All log messages before absl", "To enable the following instructions:"))
    return about_itself or bool(_PROGRESS.search(line))


def _is_empty(output: Any) -> bool:
    """Whether nothing of an output is left to show: a stream without lines, or the still picture of a bar of progress."""
    if output.output_type == "stream":
        return not output.text.strip()
    data = output.get("data", {})
    shown = [kind for kind in PRIORITY if kind in data]
    return shown == ["text/plain"] and bool(_PROGRESS.search(data["text/plain"]))


def _frame_long_tables(notebook: Any) -> None:
    """Put tables of more than a screen's rows into a frame that scrolls, and say how many rows they have."""

    def framed(match: re.Match[str]) -> str:
        rows = match[0].count("<tr")
        if rows <= LONG_TABLE:
            return match[0]
        return f'<p class="rows">{rows - 1} rows: scroll inside the frame</p><div class="long" tabindex="0">{match[0]}</div>'

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = _TABLE.sub(framed, data["text/html"])


def _lighten_pictures(notebook: Any) -> None:
    """Embed large pictures of images as JPEG where that is much smaller; ``figures/`` has them without loss."""
    import base64

    from flairnb.present.style import to_jpeg

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if len(data.get("image/png", "")) > LARGE_PICTURE:
                jpeg = base64.b64encode(to_jpeg(base64.b64decode(data["image/png"]), 90)).decode()
                if len(jpeg) < 0.7 * len(data["image/png"]):
                    del data["image/png"]
                    data["image/jpeg"] = jpeg


def write_page(notebook: Any, page: Page, path: Path) -> Path:
    """Render a notebook and write the page atomically."""
    text = render_notebook(notebook, page)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def style() -> str:
    """Return the style sheet that chapters and index share."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


def fetches(text: str) -> list[str]:
    """List the elements of a page that would run or load something.

    Text inside ``<pre>`` and ``<code>`` is shown, not run, and does not count;
    a plain ``<a href>`` fetches nothing by itself.

    Examples
    --------
    >>> fetches('<p><a href="https://doi.org/10">paper</a></p>')
    []
    >>> fetches('<script src="https://cdn/x.js"></script>')
    ['<script']
    """
    return [match.group(0)[:120] for match in _FETCHES.finditer(_CODE.sub("", text))]


def check_self_contained(text: str, what: str) -> None:
    """Refuse a page that would fetch anything.

    Raises
    ------
    WorkFailed
        With the first offending elements.
    """
    found = fetches(text)
    if found:
        raise WorkFailed(
            f"{what}: expected a page that loads nothing, found {len(found)} element(s) that run or fetch, "
            f"first {found[0]!r}. Show a static picture instead of a widget or a script in that notebook."
        )
