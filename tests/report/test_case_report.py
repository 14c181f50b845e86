"""Case pages: one file each, complete, without the network, and honest about what is missing."""

from __future__ import annotations

import html
import io
import re
import shutil
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest

from flairnb.cli import call
from flairnb.errors import MissingDataError
from flairnb.evaluate.components import lesion_table
from flairnb.images import Image, read_image, write_image
from flairnb.present.thumbnails import lesion_thumbnail
from flairnb.provenance import read_json, sha256_file, write_json
from flairnb.report import case_report
from flairnb.report.case_report import case_page, warnings_of, write_case_reports
from flairnb.report.html import fetches

SHAPE = (31, 33, 9)


@pytest.fixture
def results(rng, oblique_affine, tmp_path):
    """Two results of `flairnb segment`, the second without its FLAIR and without lesions."""
    folder = tmp_path / "out"
    brain = np.zeros(SHAPE, dtype=bool)
    brain[4:-4, 4:-4, 1:-1] = True
    flair = Image(np.where(brain, rng.normal(100, 9, SHAPE), 3).astype(np.float32), oblique_affine)
    for stem, filled in (("sub-1", True), ("sub-2", False)):
        mask = np.zeros(SHAPE, dtype=bool)
        mask[8:12, 10:14, 4] = mask[20, 20, 5] = filled
        write_image(folder / f"{stem}_label-lesion_desc-unet_mask.nii.gz", mask, flair, np.uint8)
        write_image(folder / f"{stem}_desc-brain_mask.nii.gz", brain, flair, np.uint8)
        table = lesion_table(mask, flair.affine, mask * 0.7)
        table.to_csv(folder / f"{stem}_desc-lesions.tsv", sep="\t", index=False, na_rep="n/a")
        summary = {
            "lesion_volume_ml": 0.0842 if filled else 0.0, "lesion_count": len(table), "brain_volume_ml": 1200.0 if filled else 300.0,
            "expected_dice": 0.71 if filled else None, "notes": [] if filled else ["no <lesion> was found"],
            "input": {"flair": f"{stem}_FLAIR.nii.gz", "spacing_mm": [0.9, 1.1, 5.0]},
            "weights": {"name": "unet", "sha256": "ab" * 32}, "seconds": {"read": 0.1}, "versions": {"flairnb": "0.1.0"}, "settings": {},
        }  # fmt: skip
        write_json(folder / f"{stem}_desc-summary.json", summary)
    write_image(folder / "sub-1_FLAIR.nii.gz", flair.data, flair)
    return folder


def test_every_case_has_a_page_that_loads_nothing_and_the_list_leads_to_it(results):
    index, *pages = write_case_reports(results)
    assert [page.name for page in pages] == ["sub-1_desc-report.html", "sub-2_desc-report.html"]
    for page in (index, *pages):
        text = page.read_text(encoding="utf-8")
        assert fetches(text) == [] and "Not for clinical use" in text and len(text) < 3_000_000 and str(results) not in text
    for page in pages:
        assert f'href="{page.name}"' in index.read_text(encoding="utf-8")


def test_a_page_says_volume_lesions_expectation_weights_and_shows_each_lesion(results):
    text = (write_case_reports(results)[1]).read_text(encoding="utf-8")
    assert "0.08 ml" in text and "0.71" in text and "abababab" in text and "Warnings</h2><p>None." in text
    assert text.count("<img") == 3 and "0.7<" in text


def test_without_flair_or_lesions_the_page_says_so(results):
    text = (write_case_reports(results)[2]).read_text(encoding="utf-8")
    assert "not found beside the results" in text and "not a healthy brain" in text and "undefined" in text
    assert "no &lt;lesion&gt; was found" in text and "300 ml, expected 800" in text


def test_a_page_never_shows_another_patients_flair_of_the_same_name(results, tmp_path, oblique_affine):
    """On the same grid, so that nothing but its content tells it apart."""
    ours, others = tmp_path / "data" / "b" / "sub-1_FLAIR.nii.gz", tmp_path / "data" / "a" / "sub-1_FLAIR.nii.gz"
    ours.parent.mkdir(parents=True)
    (results / ours.name).rename(ours)
    data = read_image(ours).data
    write_image(others, data[::-1], Image(data, oblique_affine))
    path = results / "sub-1_desc-summary.json"
    summary = read_json(path)
    told = summary | {"input": summary["input"] | {"sha256": sha256_file(ours)}}
    expected = case_page(results, "sub-1", summary, tmp_path / "data" / "b")
    assert expected.count("<img") == 3 and case_page(results, "sub-1", told, tmp_path / "data") == expected
    assert case_page(results, "sub-1", summary, tmp_path / "data") != expected, "the hash made no difference"
    ours.unlink()
    page = case_page(results, "sub-1", told, tmp_path / "data")
    assert "the FLAIR that was segmented was not found beside the results" in page and page.count("<img") == 0


CUT = '{"lesion_volume_ml": 0.08, "lesion_co'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sub-1_desc-summary.json", CUT),
        ("sub-1_desc-summary.json", ""),
        ("sub-1_desc-summary.json", "\xff"),
        ("sub-1_desc-summary.json", '{"a": 1}'),
        ("sub-1_desc-summary.json", "[1]"),
        ("sub-1_desc-summary.json", '{"lesion_volume_ml": 1, "lesion_count": 1, "seconds": {"read": "long"}}'),
        ("sub-1_desc-summary.json", '{"lesion_volume_ml": 1, "lesion_count": 1, "input": {"spacing_mm": 1}}'),
        ("sub-1_desc-summary.json", '{"lesion_volume_ml": 1, "lesion_count": 1, "weights": [1]}'),
        ("sub-1_desc-lesions.tsv", ""),
        ("sub-1_desc-lesions.tsv", "a\tb\n1\t2\n"),
        ("sub-1_desc-lesions.tsv", "\xff"),
    ],
)
def test_a_damaged_result_is_passed_over_and_named(results, name, content, caplog, capsys):
    (results / name).write_text(content, encoding="latin-1")
    assert call(["case-report", str(results)]) == 0
    assert "1 pages" in capsys.readouterr().out
    index = (results / "index.html").read_text(encoding="utf-8")
    assert "1 passed over" in index and name in index and "sub-2_desc-report.html" in index and "sub-1_desc-report.html" not in index
    assert any(f"passed over sub-1: {name}: expected" in message and "\n" not in message for message in caplog.messages)
    assert not (results / "sub-1_desc-report.html").exists()


def test_a_table_of_lesions_that_lost_its_last_row_is_damaged(results):
    path = results / "sub-1_desc-lesions.tsv"
    whole = path.read_text()
    for cut in (whole.rindex("\n", 0, -1) + 1, whole.rindex("\n", 0, -1) + 6):
        path.write_text(whole[:cut])
        assert [page.name for page in write_case_reports(results)] == ["index.html", "sub-2_desc-report.html"]


def test_results_that_are_all_damaged_are_an_error_that_names_the_first(results, capsys):
    for stem in ("sub-1", "sub-2"):
        (results / f"{stem}_desc-summary.json").write_text("")
    assert call(["case-report", str(results)]) == 2
    assert "error: case-report: expected results that can be read, found none; first: sub-1_desc-summary.json" in capsys.readouterr().err
    assert not (results / "index.html").exists()


def test_a_table_of_lesions_that_is_gone_does_not_make_a_patient_without_lesions(results):
    (results / "sub-1_desc-lesions.tsv").unlink()
    text = write_case_reports(results)[1].read_text(encoding="utf-8")
    assert "2 were found; their table is not beside this page" in text and "None was found" not in text


def test_an_entry_of_a_summary_that_is_null_is_not_known(results):
    summary = read_json(results / "sub-1_desc-summary.json")
    write_json(results / "sub-1_desc-summary.json", summary | {"notes": None, "brain_volume_ml": None, "seconds": None})
    assert "<td>not known</td>" in write_case_reports(results)[1].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["case #1", "50% done?", 'Zoë "q" & <b>', "a%20b"])
def test_links_lead_to_folders_of_any_name(results, name):
    root = results.parent / "all"
    root.mkdir()
    results.rename(root / name)
    index, *pages = write_case_reports(root)
    links = re.findall(r'href="([^"]+)"', index.read_text(encoding="utf-8"))
    assert len(links) == 2
    for link, page in zip(links, pages, strict=True):
        parts = urlsplit(html.unescape(link))
        assert not parts.query and not parts.fragment and root / unquote(parts.path) == page and page.is_file()


@pytest.mark.parametrize("name", ["index.html", "sub-1_desc-report.html"])
@pytest.mark.parametrize("content", [b"MY OWN PAGE", b"", b"\xff", b"<footer>Made by flairnb</footer>"])
def test_a_page_of_another_is_not_replaced(results, name, content, capsys):
    (results / name).write_bytes(content)
    before = {path: path.read_bytes() for path in results.iterdir()}
    assert call(["case-report", str(results)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: case-report: expected to write {name}, found a file of that name in out/") and shown.count("\n") == 1
    assert {path: path.read_bytes() for path in results.iterdir()} == before


def test_our_own_pages_are_replaced(results):
    first = [path.read_bytes() for path in write_case_reports(results)]
    assert [path.read_bytes() for path in write_case_reports(results)] == first


def test_half_written_results_in_hidden_folders_are_no_case(results):
    shutil.copytree(results, results / ".flairnb-partial-abc")
    assert len(write_case_reports(results)) == 3


def test_a_brain_of_the_wrong_size_is_a_warning():
    assert warnings_of({"brain_volume_ml": 1300}) == [] and len(warnings_of({"brain_volume_ml": 2500, "notes": ["a"]})) == 2


def test_a_thumbnail_is_a_small_picture_with_its_outline(results):
    from PIL import Image as Picture

    from flairnb.images import read_mask

    flair = read_image(results / "sub-1_FLAIR.nii.gz")
    mask = read_mask(results / "sub-1_label-lesion_desc-unet_mask.nii.gz")
    row = pd.read_csv(results / "sub-1_desc-lesions.tsv", sep="\t").iloc[0]
    png = lesion_thumbnail(flair, mask, [row["centroid_r_mm"], row["centroid_a_mm"], row["centroid_s_mm"]])
    (results / "t.png").write_bytes(png)
    picture = np.asarray(Picture.open(results / "t.png"))
    yellow = (picture == (240, 228, 66)).all(axis=2)
    assert 10 < yellow.sum() < picture.shape[0] * picture.shape[1] / 4 and len(png) < 30_000
    rows, columns = np.nonzero(yellow)
    # The lesion is in the middle of its own picture, give or take the border of the image.
    assert abs(rows.mean() - picture.shape[0] / 2) < 25 and abs(columns.mean() - picture.shape[1] / 2) < 25


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)], ids=str)
def test_a_thumbnail_has_the_patients_right_on_the_left_and_the_front_on_top(flips, oblique_affine):
    """A head that is bright in its right front quarter only, and a lesion that lies there, however the axes are stored."""
    from PIL import Image as Picture

    affine = oblique_affine.copy()
    affine[:3, :2] *= flips
    shape = (61, 51, 5)
    at = np.indices(shape).reshape(3, -1)
    x, y, _ = (affine[:3, :3] @ at + affine[:3, 3:]).reshape(3, *shape)
    middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    data = np.where((x > middle[0] + 5) & (y > middle[1] + 5), 200.0, 60.0).astype(np.float32)
    lesion = (abs(x - middle[0] - 15) < 4) & (abs(y - middle[1] - 15) < 4)
    thumbnail = Picture.open(io.BytesIO(lesion_thumbnail(Image(data, affine), lesion, middle)))
    picture = np.asarray(thumbnail).astype(float)
    yellow = (picture == (240, 228, 66)).all(axis=2)
    grey = np.where(yellow, np.nan, picture[..., 0])
    rows, columns = (n // 3 for n in grey.shape)
    right_front = np.nanmean(grey[:rows, :columns])
    assert right_front > 150
    assert all(np.nanmean(part) < 60 for part in (grey[:, -columns:], grey[-rows:]))
    at_row, at_column = (places.mean() for places in np.nonzero(yellow))
    assert yellow.any() and at_row < grey.shape[0] / 2 and at_column < grey.shape[1] / 2


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    with pytest.raises(MissingDataError, match="flairnb segment"):
        write_case_reports(tmp_path)
    assert call(["case-report", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: case-report: expected results")


def test_the_command_says_where_the_list_is(results, capsys):
    assert call(["case-report", str(results)]) == 0
    assert re.search(r"2 pages; open .*index\.html", capsys.readouterr().out)


def test_pdf_without_a_browser_says_what_to_do(results, monkeypatch, capsys):
    monkeypatch.setattr(case_report.shutil, "which", lambda name: None)
    assert call(["case-report", str(results), "--pdf"]) == 1
    assert "chromium" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on the PATH: apt-get install chromium")
def test_pdf_is_written_by_chromium(results):
    write_case_reports(results, pdf=True)
    assert (results / "sub-1_desc-report.pdf").read_bytes().startswith(b"%PDF")


def test_a_page_is_the_same_for_the_same_results(results):
    summary = read_json(results / "sub-1_desc-summary.json")
    assert case_page(results, "sub-1", summary) == case_page(results, "sub-1", summary)
