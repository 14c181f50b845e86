"""Teach JupyterLab 4 the front-end of itkwidgets.

itkwidgets 0.32.4 is the newest release that accepts ipywidgets 8, but its
wheel holds a front-end for the classic notebook only. This module takes that
front-end out of the installed wheel, puts a small module of ours beside it
that hands it to JupyterLab, and writes both into the environment as a
labextension. Nothing is fetched, and nothing of itkwidgets is committed here.

``python -m flairnb.present.lab_extension`` installs it; ``make setup`` does so.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from flairnb.errors import EnvironmentProblem

NAME = "flairnb-itkwidgets"
#: Versions that were tried together in a browser. itkwidgets 0.32.5 drags ipywidgets back to 7; 1.0a loads from public addresses.
FITS = {"itkwidgets": "0.32.4", "ipywidgets": "8.", "jupyterlab": "4."}
INSTALL = "python -m flairnb.present.lab_extension"
SOURCE = Path(__file__).parent / "templates" / "itkwidgets" / "remoteEntry.js"
#: What our module replaces in the front-end, to tell it where its own files are.
PLACEHOLDER = 'n.p=""'


def install(prefix: Path | None = None) -> Path:
    """Write the labextension into an environment, replacing an older one.

    Parameters
    ----------
    prefix : Path, optional
        The environment; this interpreter's.

    Returns
    -------
    Path
        The extension's folder.

    Raises
    ------
    EnvironmentProblem
        When the installed versions do not fit together.
    """
    found = version_problems()
    if found:
        raise EnvironmentProblem(f"itkwidgets in JupyterLab: expected versions that fit, found: {'; '.join(found)}. make setup.")
    target = folder(prefix)
    target.parent.mkdir(parents=True, exist_ok=True)
    waiting = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=target.parent))
    try:
        shutil.copytree(front_end(), waiting / "static" / "itkwidgets", ignore=shutil.ignore_patterns("*.map"))
        (waiting / "static" / "remoteEntry.js").write_text(_module(), encoding="utf-8")
        (waiting / "package.json").write_text(json.dumps(_package(), indent=1) + "\n", encoding="utf-8")
        (waiting / "install.json").write_text(json.dumps({"packageManager": "python", "packageName": "flairnb"}) + "\n", encoding="utf-8")
        waiting.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        waiting.replace(target)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return target


def problems(prefix: Path | None = None) -> list[str]:
    """Say what keeps itkwidgets from showing in this environment's JupyterLab; empty when nothing does."""
    found = version_problems()
    package = folder(prefix) / "package.json"
    if not package.is_file():
        return [*found, f"its JupyterLab extension is not installed: {INSTALL}"]
    if json.loads(package.read_text(encoding="utf-8")) != _package() or _stale(prefix):
        found.append(f"its JupyterLab extension is of other versions: {INSTALL}")
    return found


def version_problems() -> list[str]:
    """List the packages whose versions do not fit together, and how."""
    found = []
    for name, wanted in FITS.items():
        installed = _version(name)
        if not installed.startswith(wanted):
            found.append(f"{name} {installed or 'absent'} (expected {wanted}{'x' if wanted.endswith('.') else ''})")
    if not found and PLACEHOLDER not in (front_end() / "index.js").read_text(encoding="utf-8", errors="replace"):
        found.append("a front-end of itkwidgets that is not the released one")
    return found


def folder(prefix: Path | None = None) -> Path:
    """Return where the labextension belongs in an environment."""
    return Path(prefix or sys.prefix) / "share" / "jupyter" / "labextensions" / NAME


def front_end() -> Path:
    """Return the folder with itkwidgets' prebuilt front-end, in the installed wheel; itkwidgets is not imported."""
    spec = importlib.util.find_spec("itkwidgets")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem("itkwidgets: expected it installed, found nothing. make setup.")
    return Path(spec.origin).parent / "static"


def _stale(prefix: Path | None) -> bool:
    entry = folder(prefix) / "static" / "remoteEntry.js"
    return not entry.is_file() or entry.read_text(encoding="utf-8") != _module()


def _module() -> str:
    return SOURCE.read_text(encoding="utf-8").replace("@VERSION@", _version("itkwidgets")).replace("@NAME@", NAME)


def _package() -> dict:
    return {
        "name": NAME,
        "version": _version("itkwidgets"),
        "description": "The front-end of itkwidgets for JupyterLab 4, installed by flairnb",
        "jupyterlab": {
            "extension": True,
            "outputDir": "static",
            "_build": {"load": "static/remoteEntry.js", "extension": "./extension"},
        },
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def main() -> int:
    """Install the extension from the command line; 0 done, 1 not possible here."""
    try:
        install()
    except EnvironmentProblem as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{NAME} {_version('itkwidgets')} is installed for JupyterLab\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
