"""requirements.lock, pyproject.toml and environment.yml agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED_FOR = "jupyterlab jupytext papermill tensorflow antspyx nibabel pandas statsmodels plotly ipywidgets itkwidgets".split()


def locked() -> dict[str, set[Version]]:
    """Versions of each locked package; some have one for each Python."""
    found: dict[str, set[Version]] = {}
    for line in LOCK.splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip(" \\"))
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found.setdefault(canonicalize_name(requirement.name), set()).add(Version(pin.version))
    return found


def direct() -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"], *PROJECT["optional-dependencies"]["lint"]]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_each_direct_dependency_is_locked_within_its_bounds(requirement):
    versions = locked()[canonicalize_name(requirement.name)]
    assert versions and all(v in requirement.specifier for v in versions)


def test_every_locked_package_has_hashes():
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK)[1:]
    assert len(blocks) > 100
    assert [b.split()[0] for b in blocks if "--hash=sha256:" not in b] == []


def test_widgets_are_the_versions_that_work_offline_in_lab():
    versions = locked()
    assert all(v >= Version("8") for v in versions["ipywidgets"])
    assert versions["itkwidgets"] == {Version("0.32.4")}


def test_the_lock_names_no_address_and_says_how_it_was_made():
    assert "://" not in LOCK and "index" not in LOCK.split("\n", 3)[1]
    assert "make lock" in LOCK.splitlines()[1]


def test_environment_yml_installs_the_lock_and_a_python_that_the_package_allows():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "flairnb"
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.lock"], "an editable install beside hashes is refused by pip; see the file's head"
    (python,) = [d.removeprefix("python=") for d in plain if d.startswith("python=")]
    assert Version(python) in SpecifierSet(PROJECT["requires-python"])
    assert {d for d in plain if not d.startswith("python=")} == {"pip"}


def test_environment_ymls_named_packages_are_in_the_lock():
    head = (ROOT / "environment.yml").read_text(encoding="utf-8")
    for name in ASKED_FOR:
        assert name in head and name in locked()


def test_gpu_users_have_an_extra():
    (gpu,) = PROJECT["optional-dependencies"]["gpu"]
    assert Requirement(gpu).extras == {"and-cuda"}
    plain = next(Requirement(t) for t in PROJECT["dependencies"] if t.startswith("tensorflow"))
    assert Requirement(gpu).specifier == plain.specifier
