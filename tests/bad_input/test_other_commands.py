"""Bad input to the other commands, and bad places for results."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call

HEADER = "participant_id\tdiagnosis\tsplit\tflair\n"
GOOD = HEADER + "sub-1\tHEALTHY\ttrain\tx.nii.gz\n"

#: What stands in the table (text or bytes), what the one line says.
TABLES = {
    "good": (GOOD, ""),
    "byte order mark and Windows line ends": ("\ufeff" + GOOD.replace("\n", "\r\n"), ""),
    "the same row twice": (GOOD + GOOD.splitlines()[1] + "\n", "stands already in line 2"),
    "unknown diagnosis": (GOOD.replace("HEALTHY", "LUPUS"), "diagnosis = 'LUPUS'"),
    "unknown split": (GOOD.replace("train", "tran"), "Did you mean train?"),
    "path above the data root": (GOOD.replace("x.nii", "../in/x.nii"), "leaves the data root"),
    "path above by a detour": (GOOD.replace("x.nii", "a/../../in/x.nii"), "leaves the data root"),
    "absolute path": (GOOD.replace("x.nii", "/etc/x.nii"), "leaves the data root"),
    "Windows path": (GOOD.replace("x.nii", "a\\x.nii"), "expected / between folders"),
    "no such image": (GOOD.replace("x.nii", "y.nii"), "no such file"),
    "loop of links": (GOOD.replace("x.nii", "loop.nii"), "no such file"),
    "no image format": (GOOD.replace("x.nii.gz", "cohort.tsv"), "expected a .nii or .nii.gz file"),
    "diseased, no reader's mask": (GOOD.replace("HEALTHY", "MS"), "expected a table without problems"),
    "empty": ("", "expected a tab-separated table"),
    "header only": (HEADER, "the table has no rows"),
    "column missing": ("participant_id\tsplit\tflair\nsub-1\ttrain\tx.nii.gz\n", "the column is missing"),
    "semicolons": (GOOD.replace("\t", ";"), "separated by semicolons: save the table tab-separated"),
    "commas in a .tsv": (GOOD.replace("\t", ","), "separated by commas: save the table tab-separated, or name it .csv"),
    "Latin-1": (GOOD.replace("sub-1", "sub-Müller").encode("latin-1"), "in UTF-8"),
    "spreadsheet": (b"PK\x03\x04" + bytes(range(256)) * 4, "expected a tab-separated table"),
    "participant without a name": (GOOD.replace("sub-1", ""), "participant_id"),
    "age in words": ("age\t" + HEADER + "forty\t" + GOOD.splitlines()[1] + "\n", "not a number"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_cohort_table_works_or_is_refused_in_one_line(name, bench, capsys, fault):
    content, says = TABLES[name]
    bench.save("x.nii.gz")
    (bench.folder / "loop.nii.gz").symlink_to("loop.nii.gz")
    table = bench.bytes("cohort.tsv", content if isinstance(content, bytes) else content.encode())
    code = call(["cohort", "check", str(table)])
    shown = capsys.readouterr()
    if not says:
        assert code == 0 and shown.err == "", shown.err
        fault("bad input: cohort table", name, "works", "works")
        return
    assert code == 2 and len(shown.err.splitlines()) == 1 and shown.err.startswith("error: cohort.tsv: ")
    assert says in shown.err + shown.out
    fault("bad input: cohort table", name, shown.err, "refused")


@pytest.mark.parametrize("command", [["cohort", "check"], ["train", "--cohort"]], ids=" ".join)
@pytest.mark.parametrize("kind", ["missing", "folder", "loop of links"])
def test_no_table_is_code_2(command, kind, tmp_path, refused):
    path = tmp_path / "cohort.tsv"
    if kind == "folder":
        path.mkdir()
    elif kind == "loop of links":
        path.symlink_to(path)
    assert "expected a cohort table" in refused([*command, path], 2, tmp_path)


@pytest.mark.parametrize(
    ("value", "dtype", "says"),
    [
        (1, np.uint8, ""),
        (255, np.uint8, ""),
        (3, np.int16, ""),
        (1.0, np.float64, ""),
        (-1, np.int16, "values down to -1"),
        (np.nan, np.float32, "NaN"),
        ("probability", None, "a probability map?"),
        ("image", None, "a probability map?|different values"),
        ("other grid", None, "one voxel grid"),
        ("two volumes", None, "found 4D"),
        ("missing", None, "found nothing"),
    ],
)
def test_score_takes_masks_and_only_masks(value, dtype, says, bench, refused, capsys, fault):
    reference = bench.mask(name="reference.nii.gz")
    if isinstance(value, str):
        moved = bench.affine.copy()
        moved[0, 3] += 2
        predicted = {
            "probability": lambda: bench.save("p.nii.gz", np.linspace(0, 1, bench.data.size, dtype=np.float32).reshape(bench.data.shape)),
            "image": lambda: bench.save("p.nii.gz", np.abs(bench.data)),
            "other grid": lambda: bench.mask(affine=moved, name="p.nii.gz"),
            "two volumes": lambda: bench.save("p.nii.gz", np.stack([bench.data > 90] * 2, -1).astype(np.uint8)),
            "missing": lambda: bench.folder / "no.nii.gz",
        }[value]()
    else:
        predicted = bench.mask(value, dtype, "p.nii.gz")
    if says:
        line = refused(["score", reference, predicted], 2, bench.folder.parent)
        assert any(words in line for words in says.split("|")), line
        fault("bad input: flairnb score", f"mask of {value}", line.replace(str(bench.folder), "in"), "refused")
    else:
        assert call(["score", str(reference), str(predicted), "--json"]) == 0
        assert '"dice": 1.0' in capsys.readouterr().out
        fault("bad input: flairnb score", f"mask of {value} ({np.dtype(dtype).name})", "works", "works")


def test_a_file_that_may_not_be_read_is_code_2(bench, rooms, nobody, capsys):
    flair, out = bench.save(), bench.folder.parent / "out"
    out.mkdir()
    out.chmod(0o777)
    flair.chmod(0)
    with nobody(bench.folder):
        assert call(["segment", str(flair), "--out", str(out)]) == 2
    assert "may not read sub-01_FLAIR" in capsys.readouterr().err
    assert not list(out.iterdir())


def test_a_folder_that_may_not_be_entered_is_code_2(bench, rooms, nobody, capsys):
    flair = bench.save()
    out = bench.folder.parent / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    with nobody(bench.folder.parent, closed=bench.folder):
        assert call(["segment", str(flair), "--out", str(out)]) == 2
    assert "may not enter the folder of sub-01_FLAIR" in capsys.readouterr().err
    assert not list(out.iterdir())


def test_a_folder_that_may_not_be_written_to_is_code_2_before_the_work(bench, rooms, refused, nobody):
    flair, out = bench.save(), bench.folder.parent / "results"
    out.mkdir(mode=0o555)
    with nobody(bench.folder, out):
        out_line = refused(["segment", flair, "--out", out], 2, bench.folder.parent)
        new_line = refused(["segment", flair, "--out", out / "a" / "b"], 2, bench.folder.parent)
    assert "may not write to results" in out_line and "may not write to results" in new_line
    assert rooms.loaded == 0


def test_a_folder_below_one_that_may_not_be_written_to_works(bench, rooms, nobody, capsys):
    flair, out = bench.save(), bench.folder.parent / "closed" / "results"
    out.mkdir(parents=True)
    out.chmod(0o777)
    out.parent.chmod(0o555)
    assert call(["segment", str(flair), "--out", str(bench.folder / "imported"), "--threads", "1"]) == 0  # nobody may not read packages
    with nobody(bench.folder, out.parent):
        assert call(["segment", str(flair), "--out", str(out), "--threads", "1"]) == 0, capsys.readouterr().err
    assert len(list(out.iterdir())) == 6 and list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("kind", ["mount point", "link"])
def test_a_folder_on_another_disk_works(kind, bench, rooms, small_disk, capsys):
    out = small_disk
    if kind == "link":
        out = bench.folder.parent / "link"
        out.symlink_to(small_disk)
    for _ in range(2):
        assert call(["segment", str(bench.save()), "--out", str(out)]) == 0, capsys.readouterr().err
    assert len(list(small_disk.iterdir())) == 6


@pytest.mark.parametrize(("number", "code"), [(errno.EROFS, 2), (errno.EACCES, 2), (errno.ENOSPC, 1)])
def test_a_folder_in_which_nothing_can_be_made_is_refused_before_the_work(number, code, bench, rooms, refused, monkeypatch):
    """On some disks (read-only, of a network) permissions say yes."""
    import tempfile

    def no(*_args, **_words):
        raise OSError(number, os.strerror(number))

    flair = bench.save()
    monkeypatch.setattr(tempfile, "mkdtemp", no)
    line = refused(["segment", flair, "--out", bench.folder / "out"], code, bench.folder.parent)
    assert os.strerror(number) in line and rooms.loaded == 0
    assert ("may not write to in" in line) is (code == 2)


@pytest.mark.parametrize("kind", ["a file", "below a file", "a broken link", "a loop of links"])
def test_a_place_that_is_no_folder_is_code_2_before_the_work(kind, bench, rooms, refused):
    flair, out = bench.save(), bench.folder.parent / "out"
    if "file" in kind:
        out.write_text("mine")
        out = out / "deeper" if "below" in kind else out
    else:
        out.symlink_to(out if "loop" in kind else "nowhere")
    assert "--out: expected a folder" in refused(["segment", flair, "--out", out], 2, bench.folder.parent)
    assert rooms.loaded == 0


@pytest.mark.parametrize("name", ["with spaces", "Ergebnisse-日本", "a/b/c/d", "quote'd; $HOME"])
def test_odd_names_of_folders_work(name, bench, rooms):
    assert call(["segment", str(bench.save()), "--out", str(bench.folder / name)]) == 0
    assert len(list((bench.folder / name).iterdir())) == 6


def test_results_of_before_are_replaced_and_other_files_are_left(bench, rooms):
    out = bench.folder / "out"
    assert call(["segment", str(bench.save()), "--out", str(out)]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.suffix == ".gz"}
    times = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    (out / "notes.txt").write_text("mine")
    assert call(["segment", str(bench.save()), "--out", str(out)]) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.suffix == ".gz"} == before
    assert all((out / name).stat().st_mtime_ns > time for name, time in times.items())
    assert (out / "notes.txt").read_text() == "mine" and len(list(out.iterdir())) == 7


def test_results_that_were_changed_are_not_replaced(bench, rooms, refused):
    out, flair = bench.folder / "out", bench.save()
    assert call(["segment", str(flair), "--out", str(out)]) == 0
    for path in out.iterdir():
        path.write_bytes(b"corrected")
    rooms.loaded = 0
    assert "--out: expected results of an earlier run" in refused(["segment", flair, "--out", out], 2, bench.folder)
    assert rooms.loaded == 0 and {p.read_bytes() for p in out.iterdir()} == {b"corrected"}


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_code_1_and_leaves_nothing(failing, number, bench, rooms, refused, monkeypatch):
    saved = []
    save = nib.save

    def full(image, path):
        saved.append(path)
        if len(saved) == failing:
            path.write_bytes(b"half")
            raise OSError(number, os.strerror(number), str(path))
        save(image, path)

    flair = bench.save()
    monkeypatch.setattr(nib, "save", full)
    assert os.strerror(number) in refused(["segment", flair, "--out", bench.folder / "out"], 1, bench.folder.parent)


def test_a_disk_that_is_really_full_is_code_1_and_leaves_nothing(bench, rooms, refused, small_disk, fault):
    (small_disk / "ballast").write_bytes(bytes(500 * 1024))
    line = refused(["segment", bench.save(), "--out", small_disk / "out"], 1, bench.folder.parent)
    assert "No space left on device" in line
    fault("disk full", "flairnb segment", "one line, code 1; nothing half-written", "refused")


def test_no_memory_is_code_1_and_leaves_nothing(bench, rooms, refused, monkeypatch):
    from flairnb.network import inference

    def hungry(*_args):
        raise MemoryError("cannot take 40 GB")

    monkeypatch.setattr(inference, "predict", hungry)
    assert "MemoryError" in refused(["segment", bench.save(), "--out", bench.folder / "out"], 1, bench.folder.parent)


def test_a_fault_in_the_header_loads_nothing_heavy(bench):
    program = (
        "import sys, time; from flairnb.cli import call; code = call(sys.argv[1:]); "
        "print(code, [m for m in ('tensorflow', 'keras', 'ants', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    flair = bench.save(data=np.stack([bench.data] * 2, -1))
    done = subprocess.run(
        [sys.executable, "-c", program, "segment", str(flair), "--out", str(bench.folder / "out")],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "2 []\n", done.stdout
    assert done.stderr.startswith("error: FLAIR: expected a 3D image, found 4D") and done.stderr.count("\n") == 1
