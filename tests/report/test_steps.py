"""The steps of a run: where a hospital's data lie, readers' masks, scores, and a training that is stopped."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb import settings
from flairnb.errors import InputError, SettingsError
from flairnb.images import Image, read_mask, write_image
from flairnb.naming import cohort_derivative, sidecar_path
from flairnb.provenance import is_current, sha256_file, write_json, write_sidecar
from flairnb.report import steps
from flairnb.report.start import Run

SHAPE = (7, 8, 9)


def make_run(work_dir, data_dir=None, **sets) -> Run:
    return Run("05", settings.load("smoke", {"cohort.source": "manifest", **sets}), 2019, work_dir, data_dir, 1)


def prepared(run: Run, **reasons: str) -> None:
    """Write the table of notebook 02: each case with its reason, "" where it was prepared."""
    rows = [{"participant_id": f"sub-{name}", "status": "failed" if why else "ok", "reason": why} for name, why in reasons.items()]
    pd.DataFrame(rows).to_csv(run.path("tables/preparation.tsv"), sep="\t", index=False)


@pytest.fixture
def cohort(tmp_path, rng, oblique_affine, monkeypatch):
    """A hospital's case with two readers; `mark` writes a reader's mask, `row` is the manifest's only row."""
    data = tmp_path / "data"
    flair = Image(rng.uniform(80, 120, SHAPE).astype(np.float32), oblique_affine)
    write_image(data / "FLAIR.nii.gz", flair.data, flair)

    def mark(name: str, voxels: int, affine=oblique_affine) -> None:
        mask = np.zeros(SHAPE, np.uint8)
        mask.flat[:voxels] = 1
        write_image(data / name, mask, Image(flair.data, affine), np.uint8)

    mark("one.nii.gz", 3)
    mark("two.nii.gz", 5)
    row = {"participant_id": "sub-1", "flair": "FLAIR.nii.gz", "reference_mask": "one.nii.gz", "second_reader_mask": "two.nii.gz"}
    rows = [row]
    run = make_run(tmp_path / "work", data)
    prepared(run, **{"1": ""})
    monkeypatch.setattr(steps, "read_cohort", lambda _run, _split: pd.DataFrame(rows))
    return SimpleNamespace(run=run, row=row, rows=rows, mark=mark, data=data, flair=flair)


def target(run, name, who="sub-1"):
    return cohort_derivative(run.work_dir, who, "mask", label="lesion", desc=name)


def voxels(run, name):
    return int(np.count_nonzero(read_mask(target(run, name))))


def taken(run) -> dict[str, str]:
    return steps.take_over_masks(run).set_index("method")["status"].to_dict()


def find(cohort, method: str, who: str = "sub-1", voxels: int = 3) -> None:
    """Leave a method's mask as an earlier run has written it."""
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[:voxels] = 1
    write_image(target(cohort.run, method, who), mask, cohort.flair, np.uint8)
    write_sidecar(target(cohort.run, method, who), [], extra={"Key": "k", "Row": {}})


def scored(run) -> dict[tuple[str, str], tuple[str, str]]:
    table = steps.score_validation(run).scores
    written = pd.read_csv(run.path("tables/scores.tsv"), sep="\t", keep_default_na=False)
    assert written["status"].tolist() == table["status"].tolist()
    return {(row.participant_id, row.method): (row.status, row.reason) for row in table.itertuples()}


def test_a_method_without_a_mask_says_in_its_scores_why_it_left_none(cohort):
    """LGA needs a T1w: chapter 05 gives chapter 04's reason, not that a file is absent."""
    cohort.rows.append({**cohort.row, "participant_id": "sub-2"})
    prepared(cohort.run, **{"1": "", "2": ""})
    find(cohort, "lga")
    find(cohort, "unet")
    why = "LGA: expected a T1w beside the FLAIR, found none in /data/Anna M 1970/x.nii.gz"
    rows = [("sub-2", "lga", "failed", why), ("sub-2", "lpa", "ok", "")]
    for name, told in (("baselines", rows), ("timing", [("sub-2", "tiled", "failed", "no brain"), ("sub-1", "tiled", "ok", "")])):
        table = pd.DataFrame(told, columns=["participant_id", "method", "status", "reason"])
        table.to_csv(cohort.run.path(f"tables/{name}.tsv"), sep="\t", index=False)
    found = scored(cohort.run)
    assert found["sub-2", "lga"] == ("missing", "LGA: expected a T1w beside the FLAIR, found none in x.nii.gz")
    assert found["sub-2", "unet"] == ("missing", "no brain")
    assert found["sub-1", "lga"][0] == found["sub-1", "unet"][0] == "ok"
    assert found["sub-2", "manual2"][0] == "ok"


def test_masks_are_copied_once_and_again_after_a_correction(cohort):
    assert taken(cohort.run) == {"manual": "written", "manual2": "written"}
    assert taken(cohort.run) == {"manual": "unchanged", "manual2": "unchanged"}
    assert (voxels(cohort.run, "manual"), voxels(cohort.run, "manual2")) == (3, 5)
    cohort.mark("two.nii.gz", 11)
    assert taken(cohort.run) == {"manual": "unchanged", "manual2": "written"} and voxels(cohort.run, "manual2") == 11
    assert is_current(target(cohort.run, "manual2"), SourceSha256=sha256_file(cohort.data / "two.nii.gz"))


def test_the_copy_of_a_mask_that_is_no_longer_named_goes(cohort):
    steps.take_over_masks(cohort.run)
    cohort.row["second_reader_mask"] = ""
    assert taken(cohort.run) == {"manual": "unchanged", "manual2": "none"}
    assert not target(cohort.run, "manual2").exists() and not sidecar_path(target(cohort.run, "manual2")).exists()
    assert voxels(cohort.run, "manual") == 3


def test_phantoms_masks_stay_as_they_are(cohort):
    place = target(cohort.run, "manual2")
    place.parent.mkdir(parents=True)
    (cohort.data / "two.nii.gz").rename(place)
    write_json(sidecar_path(place), {"Type": "Lesion", "Simulated": True})
    before = place.read_bytes(), sidecar_path(place).read_bytes()
    run = make_run(cohort.run.work_dir, cohort.run.work_dir)
    for name in ("FLAIR.nii.gz", "one.nii.gz"):
        (cohort.data / name).rename(run.work_dir / name)
    for named in (str(place.relative_to(run.work_dir)), ""):
        cohort.row["second_reader_mask"] = named
        assert steps.take_over_masks(run)["status"].tolist()[1] == ("unchanged" if named else "none")
        assert (place.read_bytes(), sidecar_path(place).read_bytes()) == before


@pytest.mark.parametrize("column", ["reference_mask", "second_reader_mask"])
@pytest.mark.parametrize("fault", ["another grid", "damaged", "gone"])
def test_a_mask_that_cannot_be_used_is_a_row_with_its_reason_and_leaves_no_older_copy(column, fault, cohort, oblique_affine):
    find(cohort, "unet")
    steps.take_over_masks(cohort.run)
    name, method = cohort.row[column], "manual" if column == "reference_mask" else "manual2"
    if fault == "another grid":
        cohort.mark(name, 5, oblique_affine @ np.diag([1, 1, 1.2, 1]))
    elif fault == "damaged":
        (cohort.data / name).write_bytes(b"half")
    else:
        (cohort.data / name).unlink()
    rows = steps.take_over_masks(cohort.run).set_index("method")
    assert rows.loc[method, "status"] == "failed" and name in rows.loc[method, "reason"]
    assert not target(cohort.run, method).exists() and not sidecar_path(target(cohort.run, method)).exists()
    found = scored(cohort.run)
    assert found["sub-1", "manual2"][0] == "failed" and name in found["sub-1", "manual2"][1]
    assert (found["sub-1", "unet"][0] == "ok") == (method == "manual2"), "without a reference nothing can be scored"
    assert str(cohort.data) not in str(found)


def test_a_flair_that_is_damaged_after_preparation_is_a_row_and_no_end(cohort):
    (cohort.data / "FLAIR.nii.gz").write_bytes(b"half")
    rows = steps.take_over_masks(cohort.run)
    assert rows["status"].tolist() == ["failed", "failed"] and rows["reason"].str.contains("FLAIR.nii.gz").all()


def test_only_prepared_cases_are_scored_whatever_masks_are_left_of_the_others(cohort):
    cohort.rows.append({**cohort.row, "participant_id": "sub-2", "flair": "gone.nii.gz", "diagnosis": "MSA"})
    cohort.rows.append({**cohort.row, "participant_id": "sub-3", "diagnosis": "MSA"})
    prepared(cohort.run, **{"1": "", "2": f"FLAIR: cannot read {cohort.data}/FLAIR.nii.gz."})
    for who in ("sub-1", "sub-2", "sub-3"):
        for method in ("unet", "manual", "manual2"):
            find(cohort, method, who)
    found = scored(cohort.run)
    assert found["sub-1", "unet"] == ("ok", "")
    assert found["sub-2", "unet"] == found["sub-2", "manual2"] == ("failed", "FLAIR: cannot read FLAIR.nii.gz.")
    assert found["sub-3", "unet"][0] == "failed" and "Run notebook 02 again" in found["sub-3", "unet"][1]
    assert [who for who, _ in found] == ["sub-1", "sub-1", "sub-2", "sub-2", "sub-3", "sub-3"]
    lesions = pd.read_csv(cohort.run.path("tables/lesions.tsv"), sep="\t")
    assert set(lesions["participant_id"]) == {"sub-1"}


def test_a_table_named_by_its_whole_path_has_its_own_folder_for_a_data_root(tmp_path):
    named = make_run(tmp_path / "work", **{"cohort.manifest": str(tmp_path / "data" / "cohort.tsv")})
    assert steps.manifest_file(named) == tmp_path / "data" / "cohort.tsv" and steps.data_root(named) == tmp_path / "data"
    given = make_run(tmp_path / "work", tmp_path / "other", **{"cohort.manifest": "tables/cohort.tsv"})
    assert steps.manifest_file(given) == tmp_path / "other" / "tables" / "cohort.tsv" and steps.data_root(given) == tmp_path / "other"
    phantom = make_run(tmp_path / "work", **{"cohort.source": "phantom"})
    assert steps.data_root(phantom) == tmp_path / "work"


def test_real_patients_data_beside_a_simulated_cohort_leave_it_where_it_is(tmp_path, monkeypatch, caplog):
    """Notebooks 13 and 14 look for real patients in `data_dir`, whatever the cohort of the others."""
    from flairnb.cohort import build
    from flairnb.report import real

    public, work = tmp_path / "public", tmp_path / "work"
    run = make_run(work, public, **{"cohort.source": "phantom"})
    examination = public / real._declared()["flair"].iloc[0]
    row = {"participant_id": "sub-1", "diagnosis": "MSA", "split": "train", "flair": "FLAIR.nii.gz", "reference_mask": "mask.nii.gz"}
    for path in (work / row["flair"], work / row["reference_mask"], examination):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(build, "build_cohort", lambda *_: pd.DataFrame([row]))
    steps.make_cohort(run)
    assert steps.read_cohort(run)["flair"].tolist() == ["FLAIR.nii.gz"] and steps.data_root(run) == work
    assert real.data_folder(run) == public and caplog.messages == []


@pytest.mark.parametrize("given", ["in the data folder", "by its name"])
def test_a_table_that_a_simulated_cohort_leaves_unused_is_said(given, tmp_path, monkeypatch, caplog):
    from flairnb.cohort import build

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.tsv").touch()
    sets = {"cohort.manifest": "cohort.tsv"} if given == "by its name" else {}
    run = make_run(tmp_path / "work", None if sets else tmp_path / "data", **{"cohort.source": "phantom", **sets})
    monkeypatch.setattr(build, "build_cohort", lambda *_: pd.DataFrame({"participant_id": ["sub-1"]}))
    steps.make_cohort(run)
    (said,) = caplog.messages
    assert "cohort.source=manifest" in said and "\n" not in said


def test_a_hospitals_cohort_is_read_by_the_next_notebook(tmp_path):
    for name in ("FLAIR.nii.gz", "mask.nii.gz"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).touch()
    table = tmp_path / "data" / "cohort.tsv"
    table.write_text(
        "participant_id\tdiagnosis\tsplit\tflair\treference_mask\nsub-1\tMSA\ttrain\tFLAIR.nii.gz\tmask.nii.gz\n", encoding="utf-8"
    )
    run = make_run(tmp_path / "work", **{"cohort.manifest": str(table)})
    steps.make_cohort(run)
    assert steps.read_cohort(run, "train")["flair"].tolist() == ["FLAIR.nii.gz"]


@pytest.fixture
def training(tmp_path, monkeypatch):
    """A run with one training volume; `train` stops at its first step or leaves weights, and lists what it found there."""
    from flairnb.network import onednn
    from flairnb.network import training as room

    run = make_run(tmp_path / "work")
    volume, found = tmp_path / "volume.npy", []
    volume.write_bytes(b"one")
    record = SimpleNamespace(name="sub-1", image=volume, mask=volume)
    monkeypatch.setattr(steps, "training_volumes", lambda _run: [record])
    monkeypatch.setattr(onednn, "configure", lambda _jobs: None)
    model_dir = run.work_dir / "models" / "unet"

    def train(_records, _settings, folder, resume, init, **how):
        assert folder == model_dir
        train.told = how
        found.append((resume, sorted(path.name for path in folder.iterdir())))
        if train.stopped:
            raise KeyboardInterrupt
        for name in ("checkpoint.npz", "unet.keras", "settings.json"):
            (folder / name).write_bytes(volume.read_bytes())
        return pd.DataFrame({"epoch": [1]})

    train.stopped = False
    monkeypatch.setattr(room, "train", train)
    return SimpleNamespace(run=run, volume=volume, train=train, found=found, folder=model_dir)


@pytest.mark.parametrize("change", ["data", "init", "settings"])
def test_a_training_that_is_stopped_at_its_first_step_never_ends_in_the_network_of_other_inputs(change, training, tmp_path):
    from dataclasses import replace

    run, init = training.run, None
    steps.train_network(run)
    if change == "data":
        training.volume.write_bytes(b"two")
    elif change == "init":
        init = "robust"
    else:
        run = replace(run, settings=replace(run.settings, train=replace(run.settings.train, learning_rate=0.5)))
    training.train.stopped = True
    with pytest.raises(KeyboardInterrupt):
        steps.train_network(run, init)
    assert [path.name for path in training.folder.iterdir()] == ["inputs.json"], "no weights that other inputs made"
    with pytest.raises(KeyboardInterrupt):
        steps.train_network(run, init)
    training.train.stopped = False
    steps.train_network(run, init)
    assert training.found[-1] == (True, ["inputs.json"]), "nothing of the old network to go on from"
    steps.train_network(run, init)
    assert "checkpoint.npz" in training.found[-1][1], "what these inputs made is gone on from"


@pytest.mark.parametrize("end", [{"epochs": 70}, {"max_minutes": 9.0}])
def test_a_training_whose_end_is_moved_goes_on(end, training):
    from dataclasses import replace

    steps.train_network(training.run)
    key = (training.folder / "inputs.json").read_bytes()
    moved = replace(training.run, settings=replace(training.run.settings, train=replace(training.run.settings.train, **end)))
    steps.train_network(moved)
    assert training.found[-1] == (True, ["checkpoint.npz", "history.csv", "inputs.json", "settings.json", "unet.keras"])
    assert not (training.folder.parent / "before").exists() and (training.folder / "inputs.json").read_bytes() == key


def test_a_network_under_the_key_of_earlier_versions_is_gone_on_from(training):
    """That key held the end of the training, too."""
    from flairnb.provenance import content_hash, read_json
    from flairnb.settings import settings_hash

    steps.train_network(training.run)
    known, settings = training.folder / "inputs.json", training.run.settings
    about = read_json(known)
    former = content_hash([sha256_file(training.volume)] * 2, settings_hash(settings.network, settings.train), settings.seed)
    write_json(known, {**about, "Key": former})
    steps.train_network(training.run)
    assert training.found[-1][0] and "checkpoint.npz" in training.found[-1][1] and read_json(known) == about


def test_the_network_that_a_new_training_replaces_is_kept_also_through_mistakes(training):
    steps.train_network(training.run)
    training.volume.write_bytes(b"two")
    training.train.stopped = True
    for init in (None, "a mistake", None):
        with pytest.raises(KeyboardInterrupt):
            steps.train_network(training.run, init)
    (kept,) = (training.folder.parent / "before").glob("*/unet/unet.keras")
    assert kept.read_bytes() == b"one"


def test_a_corrected_mistake_brings_the_network_back_and_keeps_the_mistakes_own(training):
    """Also where the mistake was trained for an epoch, so that it has weights of its own."""
    steps.train_network(training.run)
    steps.train_network(training.run, "a mistake")
    training.volume.write_bytes(b"two")
    steps.train_network(training.run)
    training.volume.write_bytes(b"one")
    steps.train_network(training.run)
    resumed, there = training.found[-1]
    assert resumed and {"unet.keras", "checkpoint.npz"} <= set(there), "it goes on from what these inputs made"
    waiting = sorted(path.read_bytes() for path in (training.folder.parent / "before").glob("*/unet/unet.keras"))
    assert waiting == [b"one", b"two"], "the mistake's (made of the first volume) and the second volume's"
    steps.train_network(training.run, "a mistake")
    assert training.found[-1][0] and "unet.keras" in training.found[-1][1]


def test_settings_that_are_refused_leave_the_network_where_it_is(training):
    from dataclasses import replace

    steps.train_network(training.run)
    odd = replace(training.run, settings=replace(training.run.settings, train=replace(training.run.settings.train, patch=50)))
    with pytest.raises(SettingsError, match="patch"):
        steps.train_network(odd)
    assert (training.folder / "unet.keras").read_bytes() == b"one"


def test_validation_and_settings_of_use_reach_a_training_and_the_papers_has_none(training):
    steps.train_network(training.run)
    assert (training.train.told["validation"], training.train.told["use"]) == ((), None)
    lines, use, cases = [], {"threshold": 0.35}, [SimpleNamespace(name="sub-2")]
    steps.train_network(training.run, None, cases, use, lines.append)
    assert training.train.told == {"validation": cases, "use": use, "say": lines.append}
    assert training.found[-1][0], "validation changes no weights: it goes on"


def test_validation_cases_are_the_prepared_ones_that_a_reader_has_marked(tmp_path, monkeypatch):
    from flairnb.prepare import cohort as room

    run = make_run(tmp_path / "work")
    prepared(run, **{"1": "", "2": "", "3": "no brain", "4": ""})
    rows = [(f"sub-{n}", split, mask) for n, split, mask in [(1, "validation", "1.nii"), (2, "validation", ""), (3, "validation", "3.nii")]]
    table = pd.DataFrame([*rows, ("sub-4", "train", "4.nii")], columns=["participant_id", "split", "reference_mask"])
    monkeypatch.setattr(steps, "read_cohort", lambda _run, split: table[table["split"] == split].reset_index(drop=True))
    image, lesion = np.ones(SHAPE, np.float32), np.zeros(SHAPE, bool)
    lesion[2:4, 3, 4] = True
    monkeypatch.setattr(room, "read_work", lambda *_: (image, lesion, np.ones(SHAPE, bool)))
    (found,) = steps.validation_volumes(run)
    assert found.name == "sub-1" and np.count_nonzero(found.open_mask()) == 2 and found.spacing_mm == run.settings.prepare.spacing_mm
    assert [record.name for record in steps.training_volumes(run)] == ["sub-4"], "one folder, and no case of the other split in training"


@pytest.mark.parametrize("name", ["unet.keras", "."])
def test_weights_to_start_from_may_not_lie_where_the_new_ones_go(name, training):
    steps.train_network(training.run)
    with pytest.raises(InputError, match="outside the folder that is trained"):
        steps.train_network(training.run, training.folder / name)
    assert (training.folder / "unet.keras").read_bytes() == b"one"
