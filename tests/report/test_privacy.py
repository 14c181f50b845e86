"""The privacy check finds what is planted, and our own report passes."""

from __future__ import annotations

import base64
import errno
import gzip
import io
import json
import lzma
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call
from flairnb.report.privacy import check_privacy

VOLUME = nib.Nifti1Image(np.zeros((5, 6, 7), np.uint8), np.diag([1, 1, 5, 1])).to_bytes()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def damaged(content: bytes) -> bytes:
    return content[:40] + b"\xff\xff" + content[42:]


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
    ("a.txt", "seen 04-05-2019", "date"),
    ("a.txt", "seen 05/14/2019", "date"),
    ("a.txt", "seen 2019/05/04", "date"),
    ("a.txt", "seen on 4 May 2019.", "date"),
    ("a.txt", "seen on May 4th, 2019", "date"),
    ("a.txt", "am 4. März 2019", "date"),
    ("a.txt", "seen 04-MAY-2019", "date"),
    ("a.txt", "series 1.2.840.113619.2.55.3.604688119.971.", "UID"),
    ("MRI_2019-05-04_report.txt", "nothing", "date"),
    ("sub-1_20190504.txt", "nothing", "date"),
    ("1.2.840.113619.2.55.3.604688119.971.txt", "nothing", "UID"),
    ("MUELLER^ANNA.txt", "nothing", "patient header"),
    ("a.txt", "Anna Müller".encode("utf-16"), "name"),
    ("a.txt", "Anna Müller".encode("utf-16-le"), "name"),
    ("a.txt", "Anna Müller".encode("latin-1"), "name"),
    ("a.txt", unicodedata.normalize("NFD", "Anna Müller"), "name"),
    (unicodedata.normalize("NFD", "Müller.txt"), "nothing", "name"),
    ("a.json", json.dumps({"n": "Anna Müller"}), "name"),
    ("a.html", "<p>Anna M&uuml;ller</p>", "name"),
    ("a.html", '<a href="M%C3%BCller/x.html">1</a>', "name"),
    ("a.txt", "SCHMIDT_HANS", "name"),
    ("a.pdf", b"%PDF-1.7 x", "unread"),
    ("a.png", b"%PDF-1.7 x", "unread"),
    ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "unread"),
    ("a.tar", tarred("a.txt", b"x"), "unread"),
    ("a.tar.gz", gzip.compress(tarred("a.txt", b"x"), mtime=0), "unread"),
    ("a.bin", gzip.compress(tarred("a.txt", b"x"), mtime=0), "unread"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c", "unread"),
    ("a.xz", lzma.compress(b"x"), "unread"),
    ("a.zip", zipped({"a.txt": b"x" * 400})[:-30], "unread"),
    ("a.gz", b"\x1f\x8b" + b"\x07" * 50, "unread"),
    ("a.gz", damaged(gzip.compress(bytes(range(256)) * 50, mtime=0)), "unread"),
    ("a.gz", gzip.compress(b"Anna M\xc3\xbcller\n" * 9, mtime=0)[:-8], "unread"),
    ("a.ipynb", f'"v": "{encoded(zipped({"a.txt": np.random.default_rng(0).bytes(2000)}))}"', "unread"),
]
IN_ZIP = [
    ({"list.tsv": "Anna Müller\n".encode()}, "a.zip/list.tsv", "name"),
    ({"Müller/a.txt": b"x"}, "a.zip/Müller/a.txt", "name"),
    ({"x.dcm": b"anything"}, "a.zip/x.dcm", "volume"),
    ({"x": VOLUME}, "a.zip/x", "volume"),
    ({"b.zip": zipped({"a.txt": b"seen 2019-05-04"})}, "a.zip/b.zip/a.txt", "date"),
    ({"[Content_Types].xml": b"", "xl/sharedStrings.xml": b"<t>x</t>"}, "a.zip", "unread"),
    ({"[Content_Types].xml": b"", "xl/sharedStrings.xml": b"<t>1954-03-17</t>"}, "a.zip/xl/sharedStrings.xml", "date"),
]


@pytest.mark.parametrize(("name", "content", "kind"), PLANTED)
def test_what_is_planted_is_found(name, content, kind, tmp_path, capsys):
    path = tmp_path / "report" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = check_privacy(tmp_path / "report", ("Müller", "0047110815", "Schmidt Hans", ""))
    assert kind in {f.kind for f in found}, found
    assert all(f.file == name for f in found)
    names = [word for name in ("müller", "0047110815", "schmidt hans") for word in ("--name", name)]
    code = call(["report", "--check-privacy", str(tmp_path / "report"), *names])
    shown = capsys.readouterr()
    assert code == 1 and shown.err.startswith("error: report: expected nothing that tells who a patient is")
    assert kind in shown.out and str(tmp_path) not in shown.out + shown.err


@pytest.mark.parametrize(("files", "place", "kind"), IN_ZIP)
def test_what_lies_in_a_zip_archive_is_found(files, place, kind, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(files))
    assert (place, kind) in {(f.file, f.kind) for f in check_privacy(tmp_path, ("Müller",))}


def test_a_harmless_zip_archive_and_trained_weights_pass(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a/b.txt": b"0.72", "c.png": b"\x89PNG"}))
    (tmp_path / "unet.keras").write_bytes(zipped({"config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n"}))
    assert check_privacy(tmp_path) == []


def test_an_archive_within_archives_is_unread_from_some_depth_on(tmp_path):
    content = zipped({"a.txt": b"x"})
    for _ in range(9):
        content = zipped({"b.zip": content})
    (tmp_path / "a.zip").write_bytes(content)
    assert [f.kind for f in check_privacy(tmp_path)] == ["unread"]


def test_the_beginning_of_a_cut_text_is_searched_all_the_same(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"seen 2019-05-04\n", mtime=0)[:-8])
    assert [f.kind for f in check_privacy(tmp_path)] == ["unread", "date"]


def test_the_name_of_a_folder_is_said_once_also_of_an_empty_one(tmp_path):
    (tmp_path / "Müller" / "sub").mkdir(parents=True)
    (tmp_path / "Müller" / "sub" / "a.txt").write_text("x")
    (tmp_path / "2019" / "05" / "04").mkdir(parents=True)
    found = [(f.file, f.kind, f.text) for f in check_privacy(tmp_path, ("müller",))]
    assert found == [("2019/05/04", "date", "2019/05/04"), ("Müller", "name", "Müller")]


def test_links_to_folders_and_what_cannot_be_read_are_unread(tmp_path, monkeypatch):
    """Whoever runs this test may read everything: the refusals are made up."""
    (tmp_path / "report" / "locked").mkdir(parents=True)
    (tmp_path / "report" / "a.txt").write_text("x")
    (tmp_path / "report" / "link").symlink_to(tmp_path)
    (tmp_path / "report" / "lost.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "report" / "pipe")
    scandir, read_bytes = os.scandir, Path.read_bytes

    def no_folder(path):
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    def no_file(path):
        if path.name == "a.txt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_bytes(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", no_folder)
        patched.setattr(Path, "read_bytes", no_file)
        found = check_privacy(tmp_path / "report")
    assert {f.kind for f in found} == {"unread"} and str(tmp_path) not in "".join(map(str, found))
    assert [f.file for f in found] == ["a.txt", "link", "locked", "lost.txt", "pipe"]


def test_unread_files_are_said_to_need_a_look(tmp_path, capsys):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    assert call(["report", "--check-privacy", str(tmp_path)]) == 1
    assert "Look through what is unread yourself." in capsys.readouterr().err


def test_versions_numbers_and_hashes_are_no_dates(tmp_path):
    (tmp_path / "versions.txt").write_text(
        "tifffile 2024.8.30, certifi 2024.12.14, Ubuntu 24.04.1, IP 127.0.0.1, 10-20 mm, seed 20190504, Nov 2019, in May 2019, 2019-2021, "
        "s41598-018-31911-7, 550e8400-e29b-41d4-a716-446655440000, 3/4 2019, 100 % done, &lt;b&gt;, doi:10.1101/2025.05.19.25327707, "
        "version 3.15.0.1, 12-2019, 1/2/19, phone 12-11-20190, may 15 of 2000, 2019-05-04T12:00:00Z"
    )
    (tmp_path / "sub-20190_FLAIR-v1.2.3_201905.txt").write_text("x")
    assert [str(f) for f in check_privacy(tmp_path)] == []


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
