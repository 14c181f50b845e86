"""What the doctor says about this installation, and about broken ones."""

from __future__ import annotations

import json
import sys

import pytest

from flairnb.cli import call
from flairnb.provenance import sha256_file, write_json
from flairnb.report import doctor


def finding(name: str) -> doctor.Finding:
    return next(f for f in doctor.examine() if f.name == name)


def test_everything_promised_is_looked_at(capsys):
    call(["doctor"])
    text = capsys.readouterr().out
    for name in (
        "python",
        "packages",
        "lock",
        "processor",
        "oneDNN",
        "gpu",
        "memory",
        "disk",
        "browser",
        "lab",
        "kernel",
        "lab extensions",
        "viewers",
    ):
        assert f"  {name} " in text
    assert "head template" in text and "report templates" in text and "weights" in text


def test_json_has_the_findings_versions_and_machine_and_no_path_of_it(capsys):
    call(["doctor", "--json"])
    text = capsys.readouterr().out
    report = json.loads(text)
    assert {f["status"] for f in report["findings"]} <= {"ok", "note", "fail"}
    assert report["versions"]["tensorflow"].startswith("2.21") and report["machine"]["cores"] >= 1
    assert sys.prefix not in text


def test_the_doctor_fails_when_something_will_not_work(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_python", lambda: doctor.Finding("python", "fail", "2.7", "Use a newer one."))
    assert call(["doctor"]) == 1
    assert "-> Use a newer one." in capsys.readouterr().out


def test_templates_that_nbconvert_does_not_find_are_noticed_before_the_run_of_which_they_would_be_the_end(monkeypatch, tmp_path):
    """As in an environment laid over another one."""
    from nbconvert.exporters import templateexporter

    from flairnb.errors import EnvironmentProblem
    from flairnb.report import pipeline

    assert doctor._report_templates().status == "ok"
    monkeypatch.setattr(templateexporter, "jupyter_path", lambda *_: [])
    monkeypatch.setattr(templateexporter, "DEV_MODE", False)
    finding = doctor._report_templates()
    assert finding.status == "fail" and "No template sub-directory with name 'base'" in finding.found
    with pytest.raises(EnvironmentProblem, match="nbconvert's templates"):
        pipeline.run_notebooks(["00"], "smoke", sets=[f"out_dir={tmp_path / 'work'}"], reports_dir=tmp_path / "report")
    assert not (tmp_path / "work").exists() and not (tmp_path / "report").exists()


def test_onednn_switched_off_is_noticed(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert finding("oneDNN").status == "note"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    assert finding("oneDNN").status == "ok"


def test_a_lab_of_another_environment_is_noticed(monkeypatch, tmp_path):
    (tmp_path / "jupyter-lab").write_text("#!/bin/sh\n")
    (tmp_path / "jupyter-lab").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding("lab").status == "note"
    assert finding("browser").status == "note"


def test_a_kernel_of_another_environment_is_a_failure(monkeypatch, tmp_path):
    kernel = tmp_path / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/opt/other/bin/python", "-m", "ipykernel_launcher"]}))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert finding("kernel").status == "fail"
    assert finding("lab extensions").status == "fail"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"argv": []}', '{"argv": [3]}', '{"argv": null}', "\xff"])
def test_a_damaged_kernel_is_a_finding_with_advice(monkeypatch, tmp_path, content):
    kernel = tmp_path / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(content, encoding="latin-1")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = finding("kernel")
    assert (found.status, found.found) == ("fail", "its kernel.json is damaged") and "make setup" in found.advice


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A package with one network, as far as the doctor looks at it."""
    folder = tmp_path / "flairnb" / "network" / "shipped" / "unet"
    folder.mkdir(parents=True)
    (folder / "unet.keras").write_bytes(b"weights" * 99)
    write_json(folder / "settings.json", {"file": "unet.keras", "sha256": sha256_file(folder / "unet.keras")})
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "flairnb" / "report" / "doctor.py"))
    return folder


def test_whole_weights_are_well(shipped):
    assert doctor._weights() == doctor.Finding("weights", "ok", "unet.keras")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: (d / "unet.keras").write_bytes(b"weights" * 50), "unet: unet.keras is cut off or changed"),
        (lambda d: (d / "unet.keras").write_bytes(b""), "unet: unet.keras is cut off or changed"),
        (lambda d: (d / "unet.keras").unlink(), "unet: unet.keras is missing"),
        (lambda d: (d / "settings.json").unlink(), "unet: settings.json is missing or damaged"),
        (lambda d: (d / "settings.json").write_text("{"), "unet: settings.json is missing or damaged"),
        (lambda d: (d / "settings.json").write_text("[]"), "unet: settings.json is missing or damaged"),
    ],
)
def test_damaged_weights_are_a_failure_with_advice(shipped, spoil, words):
    spoil(shipped)
    found = doctor._weights()
    assert found.status == "fail" and found.found.startswith(words) and "Reinstall flairnb" in found.advice


def test_no_weights_are_a_note(shipped):
    for path in shipped.iterdir():
        path.unlink()
    assert doctor._weights().status == "note"


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_the_lock_is_read_for_this_python(version):
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    text = f"# made\nalpha==1.2 \\\n    --hash=sha256:00\nbeta==3 ; python_full_version == '{version}.*' \\\n    --hash=sha256:11\n"
    assert doctor.locked_versions(text) == ({"alpha": "1.2", "beta": "3"} if version == python else {"alpha": "1.2"})
