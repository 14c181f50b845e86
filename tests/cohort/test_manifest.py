"""Reading, checking and writing cohort tables."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flairnb.cohort import manifest_files
from flairnb.cohort.columns import COLUMNS, NAMES, columns_markdown
from flairnb.cohort.diagnoses import DIAGNOSIS_KEYS
from flairnb.cohort.manifest import PROBLEM_COLUMNS, named_files, read_manifest, write_manifest
from flairnb.cohort.roster import draw_full_roster
from flairnb.errors import InputError, ManifestError, MissingDataError

GOOD = {
    "participant_id": "sub-a1",
    "age": "53",
    "sex": "F",
    "diagnosis": "MSA",
    "split": "train",
    "te_ms": "136",
    "tr_ms": "9000",
    "ti_ms": "2500",
    "flair": "sub-a1/sub-a1_FLAIR.nii.gz",
    "reference_mask": "sub-a1/mask.nii",
}


@pytest.fixture
def write(tmp_path):
    """Write rows as a table; make the image files that the first row names."""
    for name in (GOOD["flair"], GOOD["reference_mask"], "other.nii.gz", "b/FLAIR.nii.gz", "b/mask.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def _write(*rows: dict[str, str], name: str = "cohort.tsv") -> Path:
        path = tmp_path / name
        pd.DataFrame(rows).fillna("").to_csv(path, sep="," if name.endswith(".csv") else "\t", index=False)
        return path

    return _write


def problems_of(path: Path, **kwargs) -> pd.DataFrame:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **kwargs)
    assert list(caught.value.problems.columns) == PROBLEM_COLUMNS
    return caught.value.problems


def test_a_good_table_comes_back_typed_with_every_column(write):
    table = read_manifest(write(GOOD | {"my_note": "kept"}))
    assert list(table.columns) == [*NAMES, "my_note"]
    row = table.iloc[0]
    assert (row["age"], row["tr_ms"], row["sex"], row["my_note"]) == (53.0, 9000.0, "F", "kept")
    assert row["t1w"] == "" and np.isnan(row["field_strength_t"])
    assert table["age"].dtype == float


def test_all_problems_are_reported_together_with_line_participant_and_advice(write):
    second = GOOD | {
        "participant_id": "p 2",
        "sex": "f",
        "diagnosis": "Suzac",
        "age": "old",
        "flair": "b/FLAIR.nii.gz",
        "reference_mask": "",
    }
    third = GOOD | {"split": "training", "ti_ms": "9500", "flair": "../secret.nii.gz", "reference_mask": "gone.nii.gz"}
    problems = problems_of(write(GOOD, second, third))
    found = {(r.row, r.column): (r.value, r.problem, r.what_to_do) for r in problems.itertuples()}
    assert set(found) == {
        (3, "participant_id"),
        (3, "sex"),
        (3, "diagnosis"),
        (3, "age"),
        (3, "reference_mask"),
        (4, "participant_id"),
        (4, "split"),
        (4, "ti_ms"),
        (4, "flair"),
        (4, "reference_mask"),
    }
    assert found[3, "diagnosis"][2] == "Did you mean SUSAC?"
    assert found[3, "sex"] == ("f", "expected one of F, M, O", "Did you mean F?")
    assert found[3, "age"][:2] == ("old", "not a number")
    assert found[4, "split"][2] == "Did you mean train?"
    assert found[4, "flair"][1] == "leaves the data root"
    assert found[4, "participant_id"][1] == "stands already in line 2"
    assert found[4, "reference_mask"][1] == "no such file in the data root"
    assert set(problems.loc[problems["row"] == 3, "participant_id"]) == {"p 2"}


def test_the_message_is_one_line_that_names_file_count_and_first_problem(write):
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(GOOD | {"diagnosis": "Suzac", "sex": "x"}))
    message = str(caught.value)
    assert message.startswith("cohort.tsv: expected a table without problems, found 2; first: line 2, sub-a1,")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "column", "problem"),
    [
        ({"age": "200"}, "age", "expected 0 to 120 years"),
        ({"age": "inf"}, "age", "not a number"),
        ({"tr_ms": "9"}, "tr_ms", "expected 1000 to 30000 ms"),
        ({"te_ms": "1000", "tr_ms": "1000", "ti_ms": ""}, "te_ms", "not shorter than tr_ms"),
        ({"diagnosis": ""}, "diagnosis", "expected one of"),
        ({"flair": ""}, "flair", "expected a value, found none"),
        ({"flair": "/etc/passwd.nii"}, "flair", "leaves the data root"),
        ({"flair": "a/../../x.nii"}, "flair", "leaves the data root"),
        ({"flair": r"sub-a1\FLAIR.nii.gz"}, "flair", "expected / between folders"),
        ({"flair": "sub-a1/FLAIR.dcm"}, "flair", "expected a .nii or .nii.gz file"),
        ({"participant_id": "sub-a1\n".strip() + "_x"}, "participant_id", "expected `sub-` and letters or digits"),
        ({"dimension": "2d"}, "dimension", "expected one of 2D, 3D"),
        ({"field_strength_t": "15"}, "field_strength_t", "expected 0.05 to 12 tesla"),
        ({"hospital": "elsewhere"}, "hospital", "expected one of home, outside"),
    ],
)
def test_one_fault_gives_one_problem(write, change, column, problem):
    problems = problems_of(write(GOOD | change))
    row = problems[problems["column"] == column].iloc[0]
    assert row["problem"].startswith(problem) and row["what_to_do"]


def test_paths_may_go_up_as_long_as_they_stay_inside(write):
    assert len(read_manifest(write(GOOD | {"flair": "b/../other.nii.gz"}))) == 1


def test_a_file_named_twice_is_a_duplicate(write):
    problems = problems_of(write(GOOD, GOOD | {"participant_id": "sub-b", "reference_mask": "b/mask.nii.gz"}))
    assert problems[["row", "column", "problem"]].values.tolist() == [[3, "flair", "stands already in line 2"]]


@pytest.mark.parametrize("again", ["./{}", "b/../{}", "sub-a1/.././{}", "b//..//{}"])
def test_a_file_written_in_two_ways_is_a_duplicate(write, again):
    second = {"participant_id": "sub-b", "flair": again.format(GOOD["flair"]), "reference_mask": "b/mask.nii.gz"}
    problems = problems_of(write(GOOD, GOOD | second))
    assert problems[["row", "column", "value", "problem"]].values.tolist() == [[3, "flair", second["flair"], "stands already in line 2"]]


@pytest.mark.parametrize(
    ("column", "value", "first"),
    [
        ("second_reader_mask", GOOD["reference_mask"], "reference_mask"),
        ("reference_mask", GOOD["flair"], "flair"),
        ("t1w", GOOD["flair"], "flair"),
        ("brain_mask", f"b/../{GOOD['reference_mask']}", "reference_mask"),
        ("t1w", "link.nii.gz", "flair"),
    ],
)
def test_one_file_in_two_columns_of_a_row_is_a_problem(write, tmp_path, column, value, first):
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / GOOD["flair"])
    problems = problems_of(write(GOOD | {column: value}))
    assert problems[["row", "column", "value", "problem"]].values.tolist() == [[2, column, value, f"the same file as {first}"]]


def test_a_link_to_a_file_of_another_row_is_a_duplicate(write, tmp_path):
    """A case to test with that is one of those trained on."""
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / GOOD["flair"])
    second = GOOD | {"participant_id": "sub-b", "split": "validation", "flair": "link.nii.gz", "reference_mask": "b/mask.nii.gz"}
    problems = problems_of(write(GOOD, second))
    assert problems[["row", "column", "problem"]].values.tolist() == [[3, "flair", "stands already in line 2"]]
    swapped = second | {"flair": "b/FLAIR.nii.gz", "second_reader_mask": GOOD["reference_mask"]}
    assert problems_of(write(GOOD, swapped))["problem"].tolist() == ["stands already in line 2 as reference_mask"]


def test_two_flairs_of_a_head_may_share_its_t1w_and_brain_mask(write):
    shared = {"t1w": "other.nii.gz", "brain_mask": "b/brain.nii.gz"}
    path = write(GOOD | shared, GOOD | shared | {"participant_id": "sub-b", "flair": "b/FLAIR.nii.gz", "reference_mask": "b/mask.nii.gz"})
    (path.parent / "b" / "brain.nii.gz").touch()
    assert len(read_manifest(path)) == 2


def test_a_path_that_is_too_long_is_a_problem_of_its_row_alone(write):
    long = "a" * 300 + ".nii.gz"
    problems = problems_of(
        write(GOOD | {"age": "old"}, GOOD | {"participant_id": "sub-b", "flair": long, "reference_mask": "b/mask.nii.gz"})
    )
    assert problems[["row", "column"]].values.tolist() == [[2, "age"], [3, "flair"]]
    assert problems.loc[1, "problem"] == "the path is too long for this computer" and problems.loc[1, "what_to_do"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "the file, or a folder on the way to it, may not be read"),
        (OSError(errno.EIO, "Input/output error"), "cannot be looked at (Input/output error)"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_a_problem_of_its_row_alone(write, monkeypatch, error, problem):
    is_file = Path.is_file

    def locked(path):
        if path.name == "FLAIR.nii.gz":
            raise error
        return is_file(path)

    path = write(GOOD, GOOD | {"participant_id": "sub-b", "flair": "b/FLAIR.nii.gz", "reference_mask": "b/mask.nii.gz"})
    monkeypatch.setattr(Path, "is_file", locked)
    problems = problems_of(path)
    assert problems[["row", "column", "problem"]].values.tolist() == [[3, "flair", problem]]


def test_a_file_that_may_not_be_read_is_a_problem(write, monkeypatch):
    monkeypatch.setattr(manifest_files.os, "access", lambda path, _mode: Path(path).name != "mask.nii")
    assert problems_of(write(GOOD))["problem"].tolist() == ["the file, or a folder on the way to it, may not be read"]


def test_a_healthy_brain_needs_no_mask_and_a_diseased_one_does(write):
    assert len(read_manifest(write(GOOD | {"diagnosis": "HEALTHY", "reference_mask": ""}))) == 1
    assert problems_of(write(GOOD | {"reference_mask": ""}))["column"].tolist() == ["reference_mask"]


def test_missing_columns_and_no_rows_are_problems_too(write, tmp_path):
    problems = problems_of(write({"participant_id": "sub-a1", "flair": GOOD["flair"]}))
    assert problems[["row", "column", "problem"]].values.tolist() == [[1, c, "the column is missing"] for c in ("diagnosis", "split")]
    (tmp_path / "empty.tsv").write_text("participant_id\tdiagnosis\tsplit\tflair\n")
    assert problems_of(tmp_path / "empty.tsv")["problem"].tolist() == ["the table has no rows"]


def test_data_root_may_lie_elsewhere(write, tmp_path):
    table = tmp_path / "tables" / "cohort.tsv"
    table.parent.mkdir()
    write(GOOD).rename(table)
    assert set(problems_of(table)["column"]) == {"flair", "reference_mask"}
    assert len(read_manifest(table, data_root=tmp_path)) == 1


def test_unreadable_tables_are_input_errors(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.tsv: expected a cohort table"):
        read_manifest(tmp_path / "none.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00\x81\n\x9d")
    (tmp_path / "nothing.tsv").write_bytes(b"")
    (tmp_path / "blank.tsv").write_text("\n\t\t\n \n")
    (tmp_path / "ragged.tsv").write_text("a\tb\n1\t2\t3\t4\n1\t2\t3\t4\t5\n")
    for name in ("binary.tsv", "nothing.tsv", "blank.tsv", "ragged.tsv"):
        with pytest.raises(InputError, match=name):
            read_manifest(tmp_path / name)


def test_a_spreadsheets_habits_are_forgiven(write, tmp_path):
    path = write(GOOD | {"age": "n/a", "sex": ""}, name="cohort.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"sub-a1,", b" sub-a1 ,", 1).replace(b"\n", b"\r\n"))
    table = read_manifest(path)
    assert table.loc[0, "participant_id"] == "sub-a1" and np.isnan(table.loc[0, "age"]) and table.loc[0, "sex"] == ""


@pytest.mark.parametrize("name", ["cohort.tsv", "cohort.csv"])
@pytest.mark.parametrize("ends", [("", "x"), ("x", "x"), ("xx", "xx"), ("xx", ""), ("", "xxx")])
def test_separators_at_the_end_of_rows_are_forgiven(write, name, ends):
    """A spreadsheet's empty columns: in the header, in the rows, or both."""
    path = write(GOOD | {"my_note": "kept"}, name=name)
    header, row = path.read_text().splitlines()
    plain = read_manifest(path)
    separator = "," if name.endswith(".csv") else "\t"
    path.write_text("".join(line + end.replace("x", separator) + "\n" for line, end in zip((header, row), ends, strict=True)))
    pd.testing.assert_frame_equal(read_manifest(path), plain)


def test_a_row_with_more_cells_than_the_header_is_refused_by_its_line(write):
    second = GOOD | {"participant_id": "sub-b", "flair": "b/FLAIR.nii.gz", "reference_mask": "b/mask.nii.gz"}
    path = write(GOOD, second)
    header, *rows = path.read_text().splitlines()
    for end in ("\tshifted", "\t\t\tshifted"):
        path.write_text("\n".join([header + "\t", rows[0] + "\t", "", rows[1] + end]) + "\n")
        with pytest.raises(InputError, match=r"cohort\.tsv: expected rows of 10 cells, .* found more in line 4\.") as caught:
            read_manifest(path)
        assert "\n" not in str(caught.value)


HEALTHY = "participant_id{0}diagnosis{0}split{0}model{0}note{0}flair\n"


def healthy(separator: str, *cells: tuple[str, str]) -> str:
    """A table of healthy people; of each, how model and note are written."""
    rows = [f"sub-{n}{{0}}HEALTHY{{0}}train{{0}}{model}{{0}}{note}{{0}}{n}.nii.gz" for n, (model, note) in enumerate(cells, start=1)]
    return (HEALTHY + "\n".join(rows) + "\n").format(separator)


DITTO = '"'


@pytest.mark.parametrize("name", ["cohort.tsv", "cohort.csv"])
@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ([("Avanto", "x"), (DITTO, "x"), ("Skyra", "x"), (DITTO, "x"), ("Avanto", "x")], 3),  # would lose a participant between the two
        ([("Avanto", "x"), (DITTO, DITTO), ("Skyra", "x")], 3),  # would join two cells
        ([("Avanto", "x"), ("Skyra", f" {DITTO} ")], 3),
        ([("Avanto", "x"), ("Skyra", '"never closed')], 3),
        ([("Avanto", "x"), ("Skyra", '"two\nlines"')], 3),  # Alt+Enter within a cell
        ([("Avanto", "x"), ("Skyra", '""""')], 3),  # a ditto mark as a spreadsheet exports it
    ],
)
def test_ditto_marks_and_cells_over_several_lines_are_refused_by_their_line(cells, line, name, tmp_path):
    path = tmp_path / name
    path.write_text(healthy("," if name.endswith(".csv") else "\t", *cells), encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name}: expected .* found in line {line} a quotation mark .* ditto") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("note", ["seen, ", "one, , two", "end,", 'a 6", b'])
def test_commas_within_a_quoted_cell_of_a_csv_are_no_ditto_marks(note, tmp_path):
    path = tmp_path / "cohort.csv"
    for n in (1, 2):
        (tmp_path / f"{n}.nii.gz").touch()
    cell = '"' + note.replace('"', '""') + '"'
    path.write_text(healthy(",", ("Avanto", cell), (cell, "x")), encoding="utf-8")
    table = read_manifest(path)
    assert table["note"].tolist() == [note.strip(), "x"] and table["model"].tolist() == ["Avanto", note.strip()]


@pytest.mark.parametrize("row", ['",",x', '",x,"', '"  ,x, "', 'a,",b"'])
def test_ditto_marks_that_join_cells_of_a_csv_are_refused(row, tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text(f"participant_id,model,note\nsub-1,Avanto,x\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"found in line 3 a quotation mark"):
        read_manifest(path)


def test_quotation_marks_that_join_cells_of_one_row_are_refused(tmp_path):
    path = tmp_path / "cohort.tsv"
    path.write_text(healthy("\t", ('" same', '" same')), encoding="utf-8")
    with pytest.raises(InputError, match=r"found in line 2 a quotation mark"):
        read_manifest(path)


@pytest.mark.parametrize("name", ["cohort.tsv", "cohort.csv"])
@pytest.mark.parametrize(("written", "read"), [('"Siemens, Skyra"', "Siemens, Skyra"), ('"the ""old"" one"', 'the "old" one'), ('""', "")])
def test_a_spreadsheets_balanced_quotation_marks_are_taken_off(written, read, name, tmp_path):
    path = tmp_path / name
    for n in (1, 2):
        (tmp_path / f"{n}.nii.gz").touch()
    path.write_text(healthy("," if name.endswith(".csv") else "\t", (written, written), (written, "x")), encoding="utf-8")
    table = read_manifest(path)
    assert table["model"].tolist() == [read, read] and table["note"].tolist() == [read, "x"]
    pd.testing.assert_frame_equal(read_manifest(write_manifest(table, tmp_path / "again.tsv")), table)


def test_inches_stay_as_they_are_and_a_tab_within_a_cell_is_a_blank(tmp_path):
    path = tmp_path / "cohort.csv"
    for n in (1, 2):
        (tmp_path / f"{n}.nii.gz").touch()
    path.write_text(healthy(",", ('5" coil', "a"), ('8" coil', '"left\tright"')), encoding="utf-8")
    table = read_manifest(path)
    assert table["model"].tolist() == ['5" coil', '8" coil'] and table["note"].tolist() == ["a", "left right"]
    pd.testing.assert_frame_equal(read_manifest(write_manifest(table, tmp_path / "again.tsv")), table)


def test_the_files_that_a_table_names_are_listed_also_where_it_has_faults(write, tmp_path):
    path = write(GOOD | {"diagnosis": "Suzac", "t1w": "n/a"}, GOOD | {"flair": "gone.nii.gz", "reference_mask": ""})
    assert named_files(path) == [GOOD["flair"], "gone.nii.gz", GOOD["reference_mask"]]
    assert named_files(tmp_path / "none.tsv") == []


@pytest.mark.parametrize("again", ["flair", "flair ", " flair"])
def test_a_column_that_stands_twice_is_named(write, again):
    path = write(GOOD | {"note": "x"})
    path.write_text(path.read_text().replace("note", again, 1))
    with pytest.raises(InputError, match=r"expected each column once, found flair more than once"):
        read_manifest(path)


@pytest.mark.parametrize("empty", ["", "\t" * 9, " \t  \t"])
def test_empty_rows_are_passed_over_and_lines_are_counted_all_the_same(write, empty):
    second = GOOD | {"participant_id": "sub-b", "flair": "b/FLAIR.nii.gz", "reference_mask": "b/mask.nii.gz"}
    path = write(GOOD, second)
    header, *rows = path.read_text().splitlines()

    def between(*lines: str) -> Path:
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    table = read_manifest(between(header, rows[0], empty, rows[1], empty, empty))
    assert table["participant_id"].tolist() == ["sub-a1", "sub-b"] and table.index.tolist() == [0, 1]
    problems = problems_of(between(header, empty, rows[0], empty, rows[0], rows[1].replace("MSA", "MSAA")))
    assert set(zip(problems["row"], problems["column"], problems["participant_id"], strict=True)) == {
        (5, "participant_id", "sub-a1"),
        (5, "flair", "sub-a1"),
        (5, "reference_mask", "sub-a1"),
        (6, "diagnosis", "sub-b"),
    }
    assert set(problems.loc[problems["row"] == 5, "problem"]) == {"stands already in line 3"}
    assert problems_of(between(header, empty, empty))["problem"].tolist() == ["the table has no rows"]


def test_a_column_without_a_name_among_the_others_is_kept(write):
    path = write({"": "0"} | GOOD)
    assert read_manifest(path)["Unnamed: 0"].tolist() == ["0"]


TEXT = st.text("abcXYZ 0123456789-_.", max_size=8).map(str.strip).filter(lambda t: t not in ("", "NA", "nan"))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    ages=st.lists(st.one_of(st.none(), st.integers(0, 120), st.floats(0, 120).map(lambda a: round(a, 3))), min_size=1, max_size=6),
    model=TEXT,
    keys=st.lists(st.sampled_from(DIAGNOSIS_KEYS), min_size=6, max_size=6),
)
def test_writing_and_reading_give_the_same_table(tmp_path, ages, model, keys):
    rows = []
    for i, age in enumerate(ages):
        for name in (f"{i}.nii.gz", f"{i}_mask.nii.gz"):
            (tmp_path / name).touch()
        who = {"participant_id": f"sub-{i}", "age": age, "model": model, "diagnosis": keys[i]}
        rows.append(who | {"split": "train", "flair": f"{i}.nii.gz", "reference_mask": f"{i}_mask.nii.gz"})
    first = read_manifest(write_manifest(pd.DataFrame(rows), tmp_path / "t.tsv"))
    assert first["age"].tolist() == pytest.approx([np.nan if a is None else a for a in ages], nan_ok=True)
    second = read_manifest(write_manifest(first, tmp_path / "u.tsv"))
    pd.testing.assert_frame_equal(first, second)


def test_the_rosters_table_survives_writing_byte_for_byte(tmp_path):
    roster = draw_full_roster(1)
    first = write_manifest(roster, tmp_path / "a.tsv").read_bytes()
    again = pd.read_csv(tmp_path / "a.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert write_manifest(again, tmp_path / "b.tsv").read_bytes() == first
    assert b"\t53\t" in first and b"53.0" not in first


def test_the_readme_says_what_the_schema_checks():
    readme = (Path(__file__).parents[2] / "data_manifest" / "README.md").read_text(encoding="utf-8")
    assert columns_markdown() in readme
    for c in COLUMNS:
        assert c.meaning and (c.unit or c.kind != "number")


@pytest.mark.realdata
def test_the_public_table_fits_the_public_images(realdata):
    table = read_manifest(Path(__file__).parents[2] / "data_manifest" / "public.tsv", realdata)
    assert len(table) == 5 and set(table["split"]) == {"validation"}
