"""`segment --cohort`: each case as it would be alone, bad ones as rows, and what is done is not done again."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from flairnb.cli import call
from flairnb.errors import InputError, ManifestError, MissingDataError, SettingsError
from flairnb.report import patient, patients
from flairnb.report.patients import Options, read_rows, segment_cohort, spoken
from flairnb.settings import load

SHAPE, SPACING_MM = (45, 58, 22), (4.0, 3.5, 6.5)
PROBABILITY = "label-lesion_desc-unet_probseg.nii.gz"
MASK = "label-lesion_desc-unet_mask.nii.gz"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained network of the smallest kind, on disk: what it marks means nothing, but it is a network."""
    import keras

    from flairnb.network.onednn import configure
    from flairnb.network.unet import build_unet
    from flairnb.network.weights import save_network

    configure()
    keras.utils.set_random_seed(3)
    network = replace(load("paper").network, width=2, levels=2, norm_in_blocks="batch")
    folder = tmp_path_factory.mktemp("weights")
    save_network(build_unet(network), folder, network=network, spacing_mm=4.0, threshold=0.501, coarser_look=1.5)
    return str(folder / "unet.keras")


def head(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a scalp around a brain with a bright lesion (simulated), the brain, and an oblique affine."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    radius = np.sqrt((at**2).sum(0))
    data = np.where(radius < 0.95, 90.0, 3.0) + rng.normal(0, 2, SHAPE)
    data[radius < 0.8] += 60
    data[tuple(slice(n // 2 + seed, n // 2 + 5 + seed) for n in SHAPE)] = 600
    angle = np.deg2rad(9.0)
    affine = np.eye(4)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine[:3, :3] = turn @ np.diag(SPACING_MM) @ np.diag([-1, 1, 1])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return data.astype(np.float32), radius < 0.8, affine


@pytest.fixture
def cohort(tmp_path):
    """A table of two good heads, one cut off, and one whose FLAIR is not there; columns for training are wrong or left out."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["participant_id\tdiagnosis\tage\tflair\tbrain_mask"]
    for seed, name in enumerate(("sub-01", "sub-02", "sub-03")):
        data, brain, affine = head(seed)
        nib.save(nib.Nifti1Image(data, affine), folder / f"{name}_FLAIR.nii.gz")
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), affine), folder / f"{name}_brain.nii.gz")
        lines.append(f"{name}\tno such disease\told\t{name}_FLAIR.nii.gz\t{name}_brain.nii.gz")
    cut = folder / "sub-03_FLAIR.nii.gz"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    lines.append("sub-04\tMSI\t40\tsub-04_FLAIR.nii.gz\tn/a")
    (folder / "cohort.tsv").write_text("\n".join(lines) + "\n")
    return folder / "cohort.tsv"


@pytest.fixture(autouse=True)
def _none_kept():
    patient._kept_network.cache_clear()


def results(folder):
    """Bytes of what is to be the same: images and table; summaries hold seconds."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name.endswith((".nii.gz", ".tsv"))}


def one_by_one(cohort, weights, out):
    for name in ("sub-01", "sub-02"):
        flair, brain = (cohort.parent / f"{name}_{what}.nii.gz" for what in ("FLAIR", "brain"))
        patient.segment_patient(flair, brain_mask=brain, out_dir=out / name, weights=weights, threads=1)
    return {name: results(out / name) for name in ("sub-01", "sub-02")}


def test_each_case_is_as_it_would_be_alone_and_bad_ones_are_rows_with_their_reason(cohort, weights, tmp_path, monkeypatch):
    alone = one_by_one(cohort, weights, tmp_path / "alone")
    loaded, said, load_network = [], [], patient._load_network
    monkeypatch.setattr(patient, "_load_network", lambda *words: loaded.append(words) or load_network(*words))
    out = tmp_path / "out"
    found = segment_cohort(cohort, out, Options(weights=weights, threads=1), say=said.append)
    assert {name: results(out / name) for name in alone} == alone and len(loaded) == 1
    marked = [(np.asarray(nib.load(out / n / f"{n}_{MASK}").dataobj) > 0).sum() for n in alone]
    assert 0 < min(marked), "a network that marks nothing would pass, too"
    assert list(found["status"]) == ["ok", "ok", "failed", "failed"] and not (out / "sub-03").exists()
    assert "sub-03_FLAIR.nii.gz" in found["reason"][2] and "no such file in the data root" in found["reason"][3]
    assert [line.partition(":")[0] for line in said] == [f"sub-0{n} ({n} of 4)" for n in (1, 2, 3, 4)]
    table = pd.read_csv(out / "segmented.tsv", sep="\t")
    assert tuple(table.columns) == patients.COLUMNS and list(table["participant_id"]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    summary = json.loads((out / "sub-01" / "sub-01_desc-summary.json").read_text())
    for name in ("lesion_volume_ml", "lesion_count", "expected_dice"):
        assert table[name][0] == summary[name]
    assert table["lesion_volume_ml"][0] == pytest.approx(marked[0] * np.prod(SPACING_MM) / 1000, abs=1e-3)
    assert table["seconds"][0] == summary["seconds"]["total"] and pd.isna(table["lesion_count"][3])
    assert "not shipped with flairnb" in table["warnings"][0]
    assert str(tmp_path) not in (out / "segmented.tsv").read_text()


@pytest.mark.slow
def test_two_processes_leave_what_one_by_one_leaves(cohort, weights, tmp_path):
    found = segment_cohort(cohort, tmp_path / "out", Options(weights=weights, threads=1), jobs=2)
    assert list(found["status"]) == ["ok", "ok", "failed", "failed"] and list(found["participant_id"])[-1] == "sub-04"
    alone = one_by_one(cohort, weights, tmp_path / "alone")
    assert {name: results(tmp_path / "out" / name) for name in alone} == alone


@pytest.mark.slow
def test_what_is_there_is_not_done_again_until_something_that_it_depends_on_changes(cohort, weights, tmp_path, monkeypatch):
    done, segment_patient = [], patient.segment_patient
    monkeypatch.setattr(patient, "segment_patient", lambda flair, *a, **w: done.append(flair.name[:6]) or segment_patient(flair, *a, **w))

    def again(**changes):
        done.clear()
        found = segment_cohort(cohort, tmp_path / "out", Options(weights=weights, threads=1, **changes))
        return done[:], list(found["reason"][:2] == patients.THERE), spoken(found)

    assert again()[:2] == (["sub-01", "sub-02", "sub-03"], [False, False])
    nothing = again()
    assert nothing[:2] == (["sub-03"], [True, True]) and nothing[2].startswith("0 segmented, 2 there already, 2 failed (first: sub-03: ")
    (tmp_path / "out" / "sub-02" / "sub-02_desc-qc.png").unlink()
    assert again()[0] == ["sub-02", "sub-03"]
    assert again(sets=("infer.threshold=0.502",))[0] == ["sub-01", "sub-02", "sub-03"]
    assert again(sets=("infer.threshold=0.502",))[0] == ["sub-03"]
    assert again()[0] == ["sub-01", "sub-02", "sub-03"]
    assert again(spread=True)[0] == ["sub-01", "sub-02", "sub-03"] and again(spread=True)[0] == ["sub-03"] and again()[0] == ["sub-03"]
    brain = cohort.parent / "sub-01_brain.nii.gz"
    image = nib.load(brain)
    smaller = np.asarray(image.dataobj).copy()
    smaller[:20] = 0
    nib.save(nib.Nifti1Image(smaller, image.affine), brain)
    assert again()[0] == ["sub-01", "sub-03"]
    monkeypatch.setattr(patients, "versions", lambda: {"flairnb": "another"})
    assert again()[0] == ["sub-01", "sub-02", "sub-03"]


def test_a_result_corrected_by_hand_and_one_of_another_flair_are_kept_and_said(cohort, weights, tmp_path):
    out, options = tmp_path / "out", Options(weights=weights, threads=1)
    segment_cohort(cohort, out, options)
    mask = out / "sub-01" / f"sub-01_{MASK}"
    image = nib.load(mask)
    nib.save(nib.Nifti1Image(1 - np.asarray(image.dataobj), image.affine), mask)
    corrected = mask.read_bytes()
    data, _brain, affine = head(5)
    nib.save(nib.Nifti1Image(data, affine), cohort.parent / "sub-02_FLAIR.nii.gz")
    found = segment_cohort(cohort, out, options)
    assert "which no run of flairnb segment left as it is now" in found["reason"][0] and mask.read_bytes() == corrected
    assert "those of another FLAIR" in found["reason"][1]


def test_results_of_a_flair_mixed_up_before_stop_their_participant_and_others_are_named(cohort, weights, tmp_path):
    """The table named another patient's FLAIR, and was corrected: both must not lie under one participant's name."""
    out, options, said = tmp_path / "out", Options(weights=weights, threads=1), []
    table = pd.read_csv(cohort, sep="\t", keep_default_na=False)
    columns = ["flair", "brain_mask"]
    mixed = table.head(1).copy()
    mixed[columns] = table.loc[[1], columns].to_numpy()
    mixed.to_csv(cohort, sep="\t", index=False)
    assert list(segment_cohort(cohort, out, options)["status"]) == ["ok"]
    table.loc[[0, 1]].to_csv(cohort, sep="\t", index=False)
    found = segment_cohort(cohort, out, options)
    assert list(found["status"]) == ["failed", "ok"] and not (out / "sub-01" / "sub-01_desc-summary.json").exists()
    assert "expected no results of another FLAIR in sub-01, found sub-02. Not sub-01's?" in found["reason"][0]
    for path in (out / "sub-01").iterdir():
        path.unlink()
    assert list(segment_cohort(cohort, out, options, say=said.append)["status"]) == ["ok", "ok"] and "not in this table" not in " ".join(
        said
    )
    table.head(1).to_csv(cohort, sep="\t", index=False)
    segment_cohort(cohort, out, options, say=said.append)
    assert said[-1] == "out also holds results of 1 not in this table: sub-02"


def test_an_error_that_nobody_thought_of_is_a_row_too_and_names_no_folder(cohort, weights, tmp_path, monkeypatch):
    def broken(flair, *_args, **_words):
        raise OSError(28, "No space left on device", str(flair)) if "01" in flair.name else ZeroDivisionError("by\nzero")

    monkeypatch.setattr(patient, "segment_patient", broken)
    found = segment_cohort(cohort, tmp_path / "out", Options(weights=weights, threads=1))
    assert list(found["reason"][:2]) == ["OSError: No space left on device", "ZeroDivisionError: by zero"]
    assert "n/a" in (tmp_path / "out" / "segmented.tsv").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("participant_id\tt1w\nsub-1\tx.nii\n", "line 1, flair '': the column is missing"),
        ("participant_id\tflair\n", "line 1, table '': the table has no rows"),
        ("participant_id\tflair\nsub-1\tx.nii\nsub-1\ty.nii\n", "line 3, participant_id 'sub-1': stands already in line 2"),
        ("participant_id\tflair\n../x\tx.nii\n", "line 2, participant_id '../x': expected `sub-` and letters or digits"),
        ("participant_id\tflair\n\tx.nii\n", "line 2, participant_id ''"),
    ],
)
def test_a_table_that_does_not_say_whose_results_are_whose_is_refused(text, says, tmp_path):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(ManifestError) as caught:
        read_rows(tmp_path / "t.tsv")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_wrong_with_a_path_is_the_problem_of_its_row(tmp_path):
    (tmp_path / "x.nii").touch()
    (tmp_path / "t.csv").write_text(
        "participant_id,flair,t1w,split\nsub-1,x.nii,,\nsub-2,../y.nii,,\nsub-3,,,\nsub-4,x.nii,,\nsub-5,z.nii,q.png,\n\n"
    )
    rows = read_rows(tmp_path / "t.csv")
    assert [row.participant_id for row in rows] == [f"sub-{n}" for n in range(1, 6)]
    assert rows[0].flair == tmp_path / "x.nii" and rows[0].t1w is None and rows[0].problem == ""
    for row, says in zip(
        rows[1:], ("leaves the data root", "expected a value, found none", "stands already in line 2", "no such file"), strict=True
    ):
        assert says in row.problem, row
    assert rows[1].problem.startswith("line 3 of the table, flair '../y.nii'")


def test_what_holds_for_every_case_is_refused_before_the_first(cohort, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(patients, "segment_row", lambda *_: pytest.fail("the work was begun"))
    out = tmp_path / "out"
    with pytest.raises(MissingDataError, match="weights 'none.keras'"):
        segment_cohort(cohort, out, Options(weights="none.keras"))
    with pytest.raises(SettingsError, match="received 'train.epochs'"):
        segment_cohort(cohort, out, Options(weights=weights, sets=("train.epochs=3",)))
    with pytest.raises(MissingDataError):
        segment_cohort(cohort.parent / "none.tsv", out, Options(weights=weights))
    assert not out.exists()
    out.mkdir()
    (out / "segmented.tsv").write_text("mine\n")
    with pytest.raises(InputError, match="expected a segmented.tsv of flairnb or none"):
        segment_cohort(cohort, out, Options(weights=weights))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--out: expected a folder, found the file"):
        segment_cohort(cohort, tmp_path / "file", Options(weights=weights))


def test_the_command_says_what_came_out_and_its_code_is_1_where_a_case_failed(cohort, weights, tmp_path, capsys):
    words = ["segment", "--cohort", str(cohort), "--out", str(tmp_path / "out"), "--weights", weights, "--threads", "1"]
    assert call(words) == 1
    shown = capsys.readouterr()
    assert "2 segmented, 0 there already, 2 failed (first: sub-03: " in shown.out and len(shown.out.splitlines()) == 1
    assert [line[:6] for line in shown.err.splitlines()] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    cohort.write_text("\n".join(cohort.read_text().splitlines()[:3]) + "\n")
    assert call(words) == 0
    assert capsys.readouterr().out.startswith("0 segmented, 2 there already, 0 failed; all in ")
    assert call(["verify", str(tmp_path / "out")]) == 0


def test_a_cases_share_of_the_processors_is_what_is_there_by_the_jobs(weights, monkeypatch):
    monkeypatch.setattr(patients, "machine", lambda: {"cores": 7})
    assert [patients._checked(Options(weights=weights), jobs).threads for jobs in (1, 2, 9)] == [7, 3, 1]
    assert patients._checked(Options(weights=weights, threads=2), 9).threads == 2
    monkeypatch.setenv("FLAIRNB_DASK", "tcp://there:1")
    assert patients._checked(Options(weights=weights), 2).threads is None, "a worker knows its own"
