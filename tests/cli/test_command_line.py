"""The command line's words, exit codes and one-line errors."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call
from flairnb.errors import EnvironmentProblem, GeometryError, WorkFailed

SHAPE = (7, 8, 9)


@pytest.fixture
def save(tmp_path, oblique_affine):
    """Write an array as NIfTI on the oblique grid (or another)."""

    def _save(name: str, data: np.ndarray, affine: np.ndarray = oblique_affine) -> Path:
        nib.save(nib.Nifti1Image(data, affine), tmp_path / name)
        return tmp_path / name

    return _save


@pytest.fixture
def masks(save) -> tuple[Path, Path]:
    """Two 2 x 3 x 4 boxes, one shifted by a voxel along i: overlap 12 of 24 voxels."""
    reference, predicted = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[2:4, 2:5, 2:6] = 1
    predicted[3:5, 2:5, 2:6] = 1
    return save("reference.nii.gz", reference), save("predicted.nii.gz", predicted)


def failed(words: list, capsys) -> tuple[int, str]:
    """Run words that must fail; return code and the error line, which is all that stderr holds."""
    code = call([str(w) for w in words])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return code, lines[0]


def test_no_words_show_the_help(capsys):
    assert call([]) == 0
    shown = capsys.readouterr().out
    for command in ("run", "segment", "score", "fetch", "cohort", "doctor", "notebooks"):
        assert f"\n  {command} " in shown


@pytest.mark.parametrize(
    "command", [["run"], ["segment"], ["score"], ["fetch"], ["cohort", "check"], ["doctor"], ["notebooks", "sync"], ["notebooks", "check"]]
)
def test_each_commands_help_has_an_example(command, capsys):
    assert call([*command, "--help"]) == 0
    assert f"Example: flairnb {' '.join(command)}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words", [["sgment"], ["segment"], ["score", "a"], ["run", "--jobs", "0"], ["run", "--jobs", "x"], ["doctor", "--jsn"], ["cohort"]]
)
def test_wrong_usage_is_code_2_in_one_line(words, capsys):
    assert failed(words, capsys)[0] == 2


def test_an_unknown_method_is_wrong_usage(capsys):
    code, line = failed(["segment", "x.nii.gz", "--out", "o", "--method", "magic"], capsys)
    assert code == 2 and "'tiled', 'whole'" in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "expected a FLAIR or --cohort TABLE"),
        (["x.nii.gz", "--cohort", "t.tsv"], "expected a FLAIR or --cohort TABLE"),
        (["x.nii.gz", "--jobs", "2"], "--jobs, --dask and --slurm: expected --cohort TABLE"),
        (["x.nii.gz", "--dask", "tcp://h:1"], "expected --cohort TABLE"),
        (["--cohort", "t.tsv", "--t1w", "t1w.nii.gz"], "--cohort: expected T1w and brain masks in the table"),
        (["--cohort", "t.tsv", "--skull-stripped"], "--cohort: expected T1w and brain masks in the table"),
        (["--cohort", "t.tsv", "--dask", "h:1"], "expected the address of a scheduler"),
        (["--cohort", "t.tsv", "--dask", "tcp://h:1", "--slurm", "2"], "found both"),
        (["--cohort", "none.tsv"], "expected a cohort table, found no such file"),
    ],
)
def test_segment_takes_one_flair_or_a_cohort_and_the_words_of_each(words, says, tmp_path, capsys):
    code, line = failed(["segment", "--out", tmp_path / "out", *words], capsys)
    assert code == 2 and says in line and not (tmp_path / "out").exists()


def test_segment_hands_its_words_over_alone_and_for_a_cohort(monkeypatch, capsys, tmp_path):
    import pandas as pd

    import flairnb.report.patient as patient
    import flairnb.report.patients as patients

    heard = {}
    found = {"lesion_count": 2, "lesion_volume_ml": 1.5, "expected_dice": 0.417, "notes": ["look at the brain outline", "too small"]}
    monkeypatch.setattr(patient, "segment_patient", lambda flair, **words: heard.update(words) or found)
    same = ["--out", str(tmp_path), "--set", "infer.threshold=0.4 infer.flips=true", "--set", "infer.step=8", "--spread", "--threads", "3"]
    assert call(["segment", "x.nii.gz", *same, "--series", "7"]) == 0
    assert heard["sets"] == ("infer.threshold=0.4", "infer.flips=true", "infer.step=8") and heard["spread"] is True
    assert (heard["series"], heard["threads"], heard["t1w"], heard["method"]) == ("7", 3, None, None)
    *warned, last = capsys.readouterr().out.splitlines()
    assert warned == ["Warning: look at the brain outline", "Warning: too small"]
    assert last.startswith("2 lesions, 1.50 ml, expected Dice 0.417; results in ")

    def cohort(*given):
        heard["cohort"] = given
        return pd.DataFrame({"participant_id": ["sub-1"], "status": ["ok"], "reason": [""]})

    monkeypatch.setattr(patients, "segment_cohort", cohort)
    assert call(["segment", "--cohort", "t.tsv", *same, "--jobs", "2"]) == 0
    table, out, options, jobs, _say = heard["cohort"]
    assert (table, out, jobs) == (Path("t.tsv"), tmp_path, 2)
    assert (options.threads, options.spread, options.sets) == (3, True, heard["sets"])
    assert call(["segment", "--cohort", "t.tsv", "--out", "o"]) == 0 and heard["cohort"][3] == 1

    found.update(lesion_count=0, expected_dice=None, notes=[])
    assert call(["segment", "x.nii.gz", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 lesions, 1.50 ml; results in ")


def test_score_in_words_and_in_json_agree_with_the_closed_form(masks, capsys):
    assert call(["score", *map(str, masks), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["dice"] == pytest.approx(0.5)
    assert scores["sensitivity"] == pytest.approx(0.5)
    assert scores["reference_ml"] == pytest.approx(24 * 0.9 * 1.1 * 5.0 / 1000)
    assert scores["hd95_mm"] == pytest.approx(0.9)
    assert call(["score", *map(str, masks)]) == 0
    assert "dice                            0.5" in capsys.readouterr().out


def test_undefined_scores_are_null(save, capsys):
    empty = save("empty.nii.gz", np.zeros(SHAPE, np.uint8))
    assert call(["score", str(empty), str(empty), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hd95_mm"] is None


def test_score_refuses_other_grids_and_missing_files(masks, save, tmp_path, oblique_affine, capsys):
    moved = oblique_affine.copy()
    moved[0, 3] += 2
    other = save("moved.nii.gz", np.zeros(SHAPE, np.uint8), moved)
    assert failed(["score", masks[0], other], capsys)[0] == 2
    code, line = failed(["score", masks[0], tmp_path / "none.nii.gz"], capsys)
    assert code == 2 and "none.nii.gz" in line


def test_cohort_check_lists_every_problem_and_fails_with_2(tmp_path, capsys):
    table = tmp_path / "cohort.tsv"
    table.write_text("participant_id\tdiagnosis\tsplit\tflair\nsub-1\tMSAA\ttrain\tx.nii.gz\nsub-1\tHEALTHY\ttrain\t../y.nii\n")
    assert call(["cohort", "check", str(table)]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1 and shown.err.startswith("error: cohort.tsv: expected a table without problems, found 5")
    assert len(shown.out.splitlines()) == 6 and "Did you mean MSA?" in shown.out and "leaves the data root" in shown.out


def test_cohort_check_of_a_good_table_counts_it(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.nii.gz").touch()
    (tmp_path / "cohort.tsv").write_text("participant_id\tdiagnosis\tsplit\tflair\nsub-1\tHEALTHY\ttrain\tx.nii.gz\n")
    assert call(["cohort", "check", str(tmp_path / "cohort.tsv"), "--data-root", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == "cohort.tsv: 1 participants (1 train), no problems.\n"


def test_fetch_lists_data_sets_and_names_an_unknown_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FLAIRNB_DATA_DIR", str(tmp_path))
    assert call(["fetch"]) == 0
    assert "openms_mni" in capsys.readouterr().out
    code, line = failed(["fetch", "openmss"], capsys)
    assert code == 2 and "expected one of" in line


def test_fetch_from_a_mirror_without_the_files_fails_with_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FLAIRNB_DATA_DIR", str(tmp_path / "data"))
    code = call(["fetch", "healthy3d", "--mirror", str(tmp_path)])
    assert code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: healthy3d: expected 1 files, could not get 1")


def test_run_hands_its_words_over(monkeypatch, capsys):
    import flairnb.report.pipeline as pipeline

    heard = {}

    def run_notebooks(which, profile, **options):
        options.pop("say")("one line")
        heard.update(which=which, profile=profile, **options)
        return pipeline.RunResult(Path("reports/smoke/index.html"), ())

    monkeypatch.setattr(pipeline, "run_notebooks", run_notebooks)
    words = "run 01 03 --profile smoke --jobs 2 --from 01 --set train.epochs=3 --set".split()
    assert call([*words, "seed=4 network.width=8"]) == 0
    assert heard == {
        "which": ["01", "03"],
        "profile": "smoke",
        "jobs": 2,
        "from_": "01",
        "sets": ["train.epochs=3", "seed=4", "network.width=8"],
        "force": False,
    }
    shown = capsys.readouterr()
    assert "reports/smoke/index.html" in shown.out and shown.err == "one line\n"
    assert call(["run"]) == 0 and heard["which"] == "all" and heard["profile"] == "demo" and heard["sets"] == []


@pytest.mark.parametrize("together", [False, True])
def test_run_takes_paths_with_blanks_to_the_notebooks(together, monkeypatch, capsys):
    import flairnb.report.pipeline as pipeline
    from flairnb.report.chapters import choose, read_chapters
    from flairnb.report.start import effective_settings

    heard = {}
    monkeypatch.setattr(
        pipeline, "run_notebooks", lambda *_, sets, **__: heard.update(sets=sets) or pipeline.RunResult(Path("index.html"), ())
    )
    sets = ["data_dir=/data/my cohort", "cohort.manifest=/data/my cohort/the table.tsv", "train.epochs=3"]
    words = [" ".join(sets)] if together else sets
    assert call(["run", *(word for text in words for word in ("--set", text))]) == 0
    assert heard["sets"] == sets
    # What the driver hands to a notebook, as text, and what the notebook makes of it.
    given = pipeline._parameters(choose(read_chapters(), ["00"], None), "paper", heard["sets"])
    assert given["data_dir"] == "/data/my cohort"
    found = effective_settings("paper", 1, given["overrides"])
    assert (found.cohort.manifest, found.train.epochs) == ("/data/my cohort/the table.tsv", 3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "what was finished is kept"),
        (["segment", "x.nii.gz", "--out", "o"], "no result was complete; run it again"),
        (["segment", "--cohort", "t.tsv", "--out", "o"], "what was finished is kept"),
    ],
    ids=lambda v: " ".join(v[:2]) if isinstance(v, list) else "",
)
def test_ctrl_c_says_what_is_left(words, says, monkeypatch, capsys):
    import flairnb.report.patient as patient
    import flairnb.report.patients as patients
    import flairnb.report.pipeline as pipeline

    def stopped(*_args, **_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(patient, "segment_patient", stopped)
    monkeypatch.setattr(patients, "segment_cohort", stopped)
    monkeypatch.setattr(pipeline, "run_notebooks", stopped)
    assert failed(words, capsys) == (1, f"error: stopped by Ctrl-C; {says}")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WorkFailed("notebook 03 failed\nin a cell"), 1),
        (EnvironmentProblem("no kernel"), 1),
        (GeometryError("other grid"), 2),
        (OSError(28, "No space left on device"), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=lambda v: type(v).__name__,
)
def test_errors_become_one_line_and_their_code(monkeypatch, capsys, error, code):
    import flairnb.report.pipeline as pipeline

    def fails(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(pipeline, "run_notebooks", fails)
    assert failed(["run"], capsys)[0] == code


def test_run_refuses_an_unknown_profile_and_notebook(capsys):
    code, line = failed(["run", "--profile", "demmo"], capsys)
    assert code == 2 and "demo" in line
    assert failed(["run", "77"], capsys)[0] == 2


@pytest.mark.parametrize(
    "case", ["missing", "text", "4d", "nan", "cut", "constant", "folder", "mask grid", "t1w missing", "mask and stripped"]
)
def test_segment_refuses_what_it_cannot_use_and_writes_nothing(case, save, tmp_path, oblique_affine, rng, capsys):
    data = rng.normal(100, 10, SHAPE).astype(np.float32)
    good, out = save("sub-01_FLAIR.nii.gz", data), tmp_path / "out"
    extra: list = []
    flair = {
        "missing": lambda: tmp_path / "none.nii.gz",
        "text": lambda: Path(__file__),
        "4d": lambda: save("4d.nii.gz", np.stack([data, data], -1)),
        "nan": lambda: save("nan.nii.gz", np.where(data > 110, np.nan, data)),
        "constant": lambda: save("constant.nii.gz", np.ones(SHAPE, np.float32)),
        "folder": lambda: tmp_path,
    }.get(case, lambda: good)()
    if case == "cut":
        flair = tmp_path / "cut.nii.gz"
        flair.write_bytes(gzip.compress(b"")[:5] + good.read_bytes()[5 : good.stat().st_size // 2])
    elif case == "mask grid":
        extra = ["--brain-mask", save("mask.nii.gz", np.ones((7, 8, 8), np.uint8))]
    elif case == "t1w missing":
        extra = ["--t1w", tmp_path / "none_T1w.nii.gz"]
    elif case == "mask and stripped":
        extra = ["--brain-mask", good, "--skull-stripped"]
    code, line = failed(["segment", flair, "--out", out, *extra], capsys)
    assert code == 2 and "expected" in line and "Traceback" not in line
    assert not out.exists() or not any(out.iterdir())


def test_the_installed_command_exits_with_the_code():
    program = Path(sys.executable).parent / "flairnb"
    if not program.exists():
        pytest.skip("flairnb is not installed in this environment: run make setup")
    done = subprocess.run([program, "score", "a.nii", "b.nii"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and not done.stdout
