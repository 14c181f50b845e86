"""What is committed, and the two commands that do everything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flairnb import __version__

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# Above 500 kB by nature: the lock, the committed report, shipped weights (a few MB each).
LARGE = re.compile(r"requirements\.lock|reports/demo/.*|flairnb/network/shipped/.*")
# An index address, or a path of the machine that somebody worked on. Spelled in pieces, so that this file passes too.
FORBIDDEN = re.compile(
    r"(?<![\w.~-])/(?:work|farm|root|home/\w+|Users/\w+)/\w" r"|https?://\S+/sim" r"ple\b|--(?:extra-)?index" r"-url|file" r":///"
)
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".txt",
    ".tsv",
    ".csv",
    ".json",
    ".cff",
    ".ipynb",
    ".html",
    ".lock",
    ".j2",
    ".css",
    ".js",
    "",
}


def committed() -> list[Path]:
    git = shutil.which("git")
    done = (
        subprocess.run([git or "git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        if git
        else None
    )
    if done is None or done.returncode:
        pytest.skip("not a git checkout: nothing says what is committed")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_an_index_or_a_machines_path():
    found = []
    for path in committed():
        if path.suffix in TEXT and path.stat().st_size < 20_000_000:
            hit = FORBIDDEN.search(path.read_text(encoding="utf-8", errors="replace"))
            found += [f"{path.relative_to(ROOT)}: {hit.group(0)}"] if hit else []
    assert found == []


@pytest.mark.parametrize("text", ["see /ro" + "ot/x", "https://pypi.org/sim" + "ple", "--index" + "-url", "'/home/me" + "/data'"])
def test_the_search_finds_what_it_looks_for(text):
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize(
    "text", ["work/demo/tables", "../shared/realdata", "rawdata/sub-01", "https://doi.org/10.3174/ajnr.A6138", "~/work/x"]
)
def test_the_search_lets_ordinary_paths_pass(text):
    assert not FORBIDDEN.search(text)


def test_no_large_file_and_no_image_is_committed():
    images = re.compile(r"\.(nii|nii\.gz|dcm|mgz|mgh|npy|npz|h5|pkl|pickle)$")
    names = {str(p.relative_to(ROOT)): p.stat().st_size for p in committed()}
    assert [n for n, size in names.items() if size > 500_000 and not LARGE.fullmatch(n)] == []
    assert [n for n in names if images.search(n)] == []


def test_the_large_file_guard_says_which_file(tmp_path):
    (tmp_path / "big.bin").write_bytes(b"0" * 600_000)
    (tmp_path / "small.bin").write_bytes(b"0")
    command = [sys.executable, "-m", "tests.project.large_files", tmp_path / "big.bin", tmp_path / "small.bin"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1 and "big.bin: 600 kB" in done.stderr and "small.bin" not in done.stderr


def test_make_has_the_targets_that_people_rely_on():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("setup", "report", "test", "lint", "lab", "lock", "clean"):
        assert re.search(rf"^{target}:", text, re.M), target
    assert "flairnb run all --profile $(PROFILE)" in text and "PROFILE ?= demo" in text


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_second_setup_installs_nothing(checkout):
    stamp = checkout / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    done = subprocess.run(
        ["make", "setup"], cwd=checkout, capture_output=True, text=True, check=True, timeout=300, env={"PATH": "/nowhere:" + os.defpath}
    )
    assert "Installing" not in done.stdout
    os.utime(checkout / "requirements.lock", (stamp.stat().st_mtime + 9,) * 2)
    assert subprocess.run(["make", "-q", "setup"], cwd=checkout, check=False, timeout=300).returncode == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_setup_without_a_fitting_python_says_what_to_do(checkout, tmp_path):
    make = shutil.which("make")
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "python3"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    done = subprocess.run(
        [make, "setup"], cwd=checkout, capture_output=True, text=True, check=False, timeout=300, env={"PATH": str(tmp_path / "bin")}
    )
    assert done.returncode == 2
    assert "error: expected Python 3.11, 3.12 or 3.13" in done.stderr and not (checkout / ".venv").exists()


def test_ci_calls_make_test_and_passes_its_exit_code_on(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    (tmp_path / "Makefile").write_text('test:\n\t@test "$$CI" = true && ! read -r line && exit 7\n')
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [tmp_path / ".ci" / "run"], cwd="/", capture_output=True, text=True, check=False, timeout=300, env=environment, input="text"
    )
    assert done.returncode == 2 and "Error 7" in done.stderr  # make's own code for a failed recipe


def test_pre_commit_runs_local_tools_that_are_installed():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {h["id"] for h in hooks} >= {"ruff-check", "ruff-format", "codespell", "large-files", "notebook-drift"}
    for hook in hooks:
        assert hook["language"] == "system"
        assert (BIN / hook["entry"].split()[0].removeprefix(".venv/bin/")).exists(), hook["entry"]


def test_citation_prefers_the_article_and_carries_this_version():
    path = ROOT / "CITATION.cff"
    citation = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    article = citation["preferred-citation"]
    assert (article["doi"], article["year"], article["start"], len(article["authors"])) == ("10.3174/ajnr.A6138", 2019, "1282", 7)
    subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.citation-file-format", path], check=True, timeout=300, capture_output=True
    )


def test_contributing_has_four_recipes_of_five_steps():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipes = re.split(r"^## ", text, flags=re.M)[1:]
    assert [r.splitlines()[0] for r in recipes] == ["Add a notebook", "Add a metric", "Add a data set", "Train and ship new weights"]
    for recipe in recipes:
        assert re.findall(r"^(\d)\. ", recipe, re.M) == list("12345")


def test_the_licence_covers_code_and_text():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License") and "CC BY 4.0" in text


def test_tests_that_must_not_meet_are_run_by_one_worker(tmp_path):
    pytest.importorskip("xdist")
    (tmp_path / "tests" / "browser").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    code = "import os, pathlib, pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n"
    code += f"    with open({str(tmp_path / 'workers')!r}, 'a') as f: f.write(os.environ['PYTEST_XDIST_WORKER'] + chr(10))\n"
    for name in ("a", "b"):
        (tmp_path / "tests" / "browser" / f"test_{name}.py").write_text(code)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout[-2000:]
    workers = (tmp_path / "workers").read_text().split()
    assert len(workers) == 8 and len(set(workers)) == 1
