"""The privacy check finds what is planted, and our own report passes."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call
from flairnb.report.privacy import check_privacy

VOLUME = nib.Nifti1Image(np.zeros((5, 6, 7), np.uint8), np.diag([1, 1, 5, 1])).to_bytes()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


#: file name, content, kind that must be found
PLANTED = [
    ("a.html", "<p>Examined on 2019-05-04.</p>", "date"),
    ("a.html", "<p>untersucht am 4.5.2019</p>", "date"),
    ("a.html", "<p>05/14/2019 is 14/05/2019 here</p>", "date"),
    ("run.json", '{"StudyDate": "20190504"}', "date"),
    ("a.tsv", "participant\tbirth date\nsub-1\t19610203\nDOB\n", "date"),
    ("a.html", "series 1.2.840.113619.2.55.3.604688119.971", "UID"),
    ("run.json", '{"uid": "1.3.12.2.1107.5.2.32.35162.30000013061410235942100000011"}', "UID"),
    ("a.log", "(0010,0010) PN", "patient header"),
    ("run.json", '{"PatientName": "x"}', "patient header"),
    ("a.html", "Referring Physician Name", "patient header"),
    ("a.html", "MUELLER^ANNA", "patient header"),
    ("a.html", "read from /home" + "/anna/study/x.nii.gz", "path"),
    ("a.ipynb", '"source": ["data_dir = \'/mnt/pacs/export\'"]', "path"),
    ("run.json", r'{"out": "C:\\Users\\anna\\work"}', "path"),
    ("a.log", r"\\server\radiology", "path"),
    ("a.html", '<a href="file:' + '///home/x">', "path"),
    ("x.nii.gz", gzip.compress(VOLUME, mtime=0), "volume"),
    ("sub/x.dcm", b"anything", "volume"),
    ("picture.dat", VOLUME, "volume"),
    ("packed.bin", gzip.compress(VOLUME, mtime=0), "volume"),
    ("a.html", f'<script>var v = "data:application/octet-stream;base64,{encoded(VOLUME)}"</script>', "volume"),
    ("a.ipynb", f'"v": "{encoded(gzip.compress(VOLUME + np.random.default_rng(0).bytes(2000), mtime=0))}"', "volume"),
    ("a.svg.gz", gzip.compress(b"<text>/Users" + b"/anna/x</text>", mtime=0), "path"),
    ("a.html", "of Anna Müller, 61", "name"),
    ("figures/müller_qc.html", "nothing", "name"),
    ("a.tsv", "id\n0047110815\n", "name"),
]


@pytest.mark.parametrize(("name", "content", "kind"), PLANTED)
def test_what_is_planted_is_found(name, content, kind, tmp_path, capsys):
    path = tmp_path / "report" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = check_privacy(tmp_path / "report", ("Müller", "0047110815", ""))
    assert kind in {f.kind for f in found}, found
    assert all(f.file == name for f in found)
    code = call(["report", "--check-privacy", str(tmp_path / "report"), "--name", "müller", "--name", "0047110815"])
    shown = capsys.readouterr()
    assert code == 1 and shown.err.startswith("error: report: expected nothing that tells who a patient is")
    assert kind in shown.out and str(tmp_path) not in shown.out + shown.err


def test_what_a_report_needs_is_not_found(tmp_path, capsys):
    (tmp_path / "index.html").write_text(
        "<p>Finished 2026-11-24T08:00:00Z; AJNR 2019;40:1282-1290, doi 10.3174/ajnr.A6138; version 3.15.0; sub-ph001; 10/12 cases; "
        f'1 mm/voxel, work/demo/tables, and/or, https://example.org/home/x</p><img src="data:image/png;base64,{encoded(VOLUME)}">'
    )
    (tmp_path / "numbers.json").write_text('{"p": 0.00012345678, "times": [1.25, 3.5], "key": "a/b"}')
    assert check_privacy(tmp_path) == []
    assert call(["report", "--check-privacy", str(tmp_path)]) == 0
    assert "A search is no proof" in capsys.readouterr().out


def test_a_missing_folder_and_a_file_are_code_2(tmp_path, capsys):
    (tmp_path / "x").write_text("")
    assert call(["report", "--check-privacy", str(tmp_path / "none")]) == 2
    assert call(["report", "--check-privacy", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("error: --check-privacy: expected a folder") == 2


def test_the_committed_report_passes():
    report = Path(__file__).parents[2] / "reports" / "demo"
    if not report.is_dir():
        pytest.skip("reports/demo is not made yet: make report")
    assert [str(f) for f in check_privacy(report)] == []


def test_plotly_s_own_code_is_passed_over_but_nothing_beside_it(tmp_path):
    from plotly.offline import get_plotlyjs

    page = tmp_path / "explore.html"
    page.write_text(f"<script>{get_plotlyjs()}</script>\n<p>a chart</p>\n", encoding="utf-8")
    assert check_privacy(tmp_path) == []
    page.write_text(f"<script>{get_plotlyjs()}</script>\n<p>examined on 2019-05-04</p>\n", encoding="utf-8")
    (found,) = check_privacy(tmp_path)
    assert found.kind == "date" and found.line == page.read_text(encoding="utf-8").count("\n")
