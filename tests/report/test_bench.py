from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb import provenance
from flairnb.cli import call
from flairnb.errors import InputError, WorkFailed
from flairnb.report import (
    bench,
    bench_agreement,
    bench_child,
    bench_page,
    bench_parts,
    bench_rows,
    bench_tasks,
    bench_tries,
    doctor,
    record,
)
from flairnb.report.bench_child import measure
from flairnb.report.bench_rows import Bench, Row


def nothing(tmp_path: Path) -> Bench:
    return Bench(tmp_path, tmp_path / "out", 1)


def test_laws_are_found_again():
    assert bench_rows.exponent([10, 20, 40, 80], [7 * n**1.5 for n in (10, 20, 40, 80)]) == pytest.approx(1.5)
    assert bench_rows.line([1, 2, 4, 8], [3 + 2.5 * n for n in (1, 2, 4, 8)]) == pytest.approx((3, 2.5))


def test_an_unknown_part_is_refused_before_anything_is_measured(tmp_path, capsys):
    assert call(["bench", "--out", str(tmp_path / "b"), "--part", "speed"]) == 2
    assert "segment, ways, network, training, volume" in capsys.readouterr().err and not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="found 0"):
        bench.run_bench(tmp_path / "b", repeats=0)


def test_parts_are_kept_and_only_what_is_asked_for_or_absent_is_measured(tmp_path, monkeypatch):
    calls = []

    def part(name, value):
        def work(_bench):
            calls.append(name)
            yield bench_rows.summarise(name, "case", "step", [value, 3 * value, 2 * value])
            yield f"{name}: a note"

        return work

    monkeypatch.setattr(bench, "PARTS", {"one": part("one", 1.0), "two": part("two", 5.0), "long": part("long", 9.0)})
    monkeypatch.setattr(bench, "USUAL", ("one", "two"))
    bench.run_bench(tmp_path, ("one",))
    target = bench.run_bench(tmp_path)
    assert calls == ["one", "two"]
    found = json.loads(target.read_text())["parts"]
    assert found["one"]["notes"] == ["one: a note"] and found["one"]["machine"]["processor"]
    assert set(found["one"]["machine"]["instructions"]) == set(doctor.ARITHMETIC) & provenance.processor_flags()
    assert found["one"]["code"] == record.code_name(record.git_state())
    assert bench_page.machine(tmp_path)["code"].tolist() == [found["one"]["code"]] * 2
    table = pd.read_csv(tmp_path / "bench.tsv", sep="\t")
    assert table[["value", "low", "high", "n"]].to_numpy().tolist() == [[2, 1, 3, 3], [10, 5, 15, 3]]


@pytest.mark.parametrize("part", ["segment", "ways", "baselines", "agreement"])
def test_absent_inputs_are_named_and_not_measured(part, tmp_path):
    notes = list(bench_parts.PARTS[part](nothing(tmp_path)))
    assert notes and all("left out" in note for note in notes)


def test_a_case_whose_agreement_is_known_is_not_compared_again(tmp_path, monkeypatch):
    calls = []

    def measured(task, **case):
        calls.append(case["flair"])
        if len(calls) == 2:
            raise WorkFailed("bench: the machine was switched off")
        return {"dice": {"Dice of brain masks": 0.5 + 0.2 * len(calls)}, "ml": {"lesion volume, fast": 2.0}}

    monkeypatch.setattr(bench_agreement, "measure", measured)
    monkeypatch.setattr(bench_agreement, "cases", lambda data: {name: {"flair": name} for name in ("p1", "p2")})
    first = list(bench_agreement.part(nothing(tmp_path)))
    assert any(isinstance(one, str) and "switched off" in one for one in first)
    rows = [one for one in bench_agreement.part(nothing(tmp_path)) if isinstance(one, Row)]
    assert calls == ["p1", "p2", "p2"]
    assert rows[-1].case == "2 cases" and (rows[-1].low, rows[-1].high) == (pytest.approx(0.7), pytest.approx(1.1))


def brain_in(*sides: slice, shape=(224, 224, 224)) -> np.ndarray:
    brain = np.zeros(shape, bool)
    brain[sides] = True
    return brain


def test_arithmetic_of_one_pass_and_of_tiles_follows_from_the_network():
    from dataclasses import replace

    from flairnb.network.operations import operations
    from flairnb.settings import load

    paper = load("paper")
    one = operations(paper.network, (96,) * 3).gflop
    infer = replace(paper.infer, coarser_look=0.0)
    assert bench_tasks.arithmetic(
        paper.network, brain_in(slice(32, 176), slice(0, 176), slice(64, 208)), replace(infer, method="tiled")
    ) == pytest.approx(36 * one)
    assert bench_tasks.arithmetic(
        paper.network, brain_in(slice(1, 96), slice(15, 96), slice(96, 192)), replace(infer, method="whole")
    ) == pytest.approx(one)
    both = bench_tasks.arithmetic(paper.network, brain_in(*[slice(6, 90)] * 3), replace(infer, method="whole", coarser_look=2.0))
    assert both == pytest.approx(one * (1 + 1 / 8), rel=1e-6)


@pytest.mark.parametrize("method", ["whole", "tiled"])
@pytest.mark.parametrize("more", [{}, {"coarser_look": 2.0}, {"coarser_look": 2.5}, {"flips": True, "coarser_look": 2.0}])
def test_arithmetic_counts_what_inference_pushes_through_the_network(method, more, rng, monkeypatch):
    """Of brains anywhere in the volume; the larger voxels' box has a margin, the mirror image its own lattice."""
    from dataclasses import replace

    from flairnb.network import inference
    from flairnb.network.operations import operations
    from flairnb.settings import load

    paper, pushed = load("paper"), []

    def forward(volume):
        pushed.append(operations(paper.network, volume.shape).gflop)
        return np.zeros(volume.shape, np.float32)

    monkeypatch.setattr(inference, "forward_of", lambda _model: forward)
    monkeypatch.setattr(inference, "size_multiple", lambda _model: 2**paper.network.levels)
    monkeypatch.setattr(inference, "_width", lambda _model: paper.network.width)
    infer = replace(
        paper.infer, **{"method": method, "patch": 32, "step": 16, "memory_gb": 1e6, "flips": False, "coarser_look": 0.0, **more}
    )
    for _ in range(6):
        low, high = rng.integers(0, 12, 3), rng.integers(36, 71, 3)
        brain = brain_in(*(slice(a, b) for a, b in zip(low, high, strict=True)), shape=(73, 71, 75))
        pushed.clear()
        inference.predict(None, np.ones(brain.shape, np.float32), brain, infer)
        counted = bench_tasks.arithmetic(paper.network, brain, infer)
        assert counted >= 0.999 * sum(pushed)
        if method == "whole" or "coarser_look" not in more:  # inference leaves out tiles without brain, as in the larger voxels' margin
            assert counted == pytest.approx(sum(pushed))


def test_training_on_more_gpus_takes_inversely_less_with_a_batch_that_divides_over_them():
    hours = bench_page.full_training().set_index("gpus")
    assert hours["hours"][1] == pytest.approx(8 * hours["hours"][8])
    assert hours["batch"].to_dict() == {1: 6, 8: 8}


def test_the_law_of_the_number_of_cases_is_of_one_patient_again_and_again(tmp_path, monkeypatch):
    """Different patients differ in size: the peak of one process is that of the largest, and rose with the count by itself."""

    def measured(task, folder, cases=0, same=None):
        if task == "phantoms":
            return {"seconds": [2.0, 3.0]}
        peak_gb = (1.2 if same else 1.6) + 0.001 * cases
        return {"prepare_s": 1.0 + 3.0 * cases, "network_s": 2.0 * cases, "done": [cases, cases], "peak_gb": peak_gb}

    monkeypatch.setattr(bench_parts, "measure", measured)
    rows = {(row.case, row.what): row.value for row in bench_parts.cohort(nothing(tmp_path))}
    assert rows["by cases", "memory a further case"] == pytest.approx(1.0)
    assert rows["by cases", "seconds a further case"] == pytest.approx(5.0)
    assert rows["one patient 8 times", "both"] == rows["8 patients", "both"] == 41.0
    assert (rows["one patient 8 times", "peak memory"], rows["8 patients", "peak memory"]) == pytest.approx((1.208, 1.608))


@pytest.mark.parametrize(("same", "flairs"), [(True, ["a", "a", "a"]), (False, ["a", "b", "c"])])
def test_a_repeated_patient_has_one_image_and_a_name_for_each_time(same, flairs, tmp_path, monkeypatch):
    from flairnb.report import methods, steps

    names = [f"raw/{letter}.nii.gz" for letter in "abcd"]
    made = pd.DataFrame({"participant_id": [f"sub-{n}" for n in range(4)], "diagnosis": "HEALTHY", "split": "validation", "flair": names})
    (tmp_path / "raw").mkdir()
    for name in names:
        (tmp_path / name).write_text(name[4])
    made.to_csv(tmp_path / "manifest.tsv", sep="\t", index=False)
    seen = []

    def prepare(run):
        cohort = steps.read_cohort(run)  # as the real one does, with all its checks
        seen.append(cohort.assign(flair=[(steps.data_root(run) / name).read_text() for name in cohort["flair"]]))
        return pd.DataFrame({"status": ["ok"] * len(cohort)})

    monkeypatch.setattr(steps, "prepare_images", prepare)
    monkeypatch.setattr(methods, "segment_with_shipped", lambda run: pd.DataFrame({"status": ["ok", "ok", "failed"]}))
    found = bench_tasks.cohort(str(tmp_path), 3, same)
    assert seen[0]["flair"].tolist() == flairs and seen[0]["participant_id"].nunique() == 3 and found["done"] == (3, 2)


def test_what_is_called_without_onednn_is_measured_without_it(tmp_path, monkeypatch):
    """TensorFlow's own default depends on the processor: with AVX-512 oneDNN is on."""
    asked = []

    def run(command, env, **more):
        asked.append((command[3], env["TF_ENABLE_ONEDNN_OPTS"]))
        found = {
            "aside_s": 0.0, "aside_cpu_s": 0.0, "cpu_s": 1.0, "gflop": 1.0, "gflop_s": 1.0, "peak_gb": 1.0, "preparation": {},
            "stages": {"total": 1.0}, "passes": [{"seconds": [1.0], "gflop": 1.0}],
        }  # fmt: skip
        return SimpleNamespace(returncode=0, stdout=f"flairnb-bench:{json.dumps(found)}", stderr="")

    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # what a user has set changes nothing
    monkeypatch.setattr(bench_child.subprocess, "run", run)
    monkeypatch.setattr(bench_parts, "_paths", lambda case, data: {"flair": "flair.nii.gz"})
    rows = [row for part in ("ways", "network") for row in bench_parts.PARTS[part](nothing(tmp_path))]
    assert asked == [("segment", "1"), ("segment", "0"), ("products", "1"), ("whole", "1"), ("whole", "0")]
    cases = list(dict.fromkeys(row.case for row in rows))
    first, cube = bench_parts.FIRST, f"cube of {bench_parts.EDGES[-1]} voxels"
    assert cases == [
        f"{first}, tiled", f"{first}, without oneDNN", "matrix product, 2048 x 2048", f"{cube}, ours", f"{cube}, without oneDNN",
    ]  # fmt: skip


def some_rows() -> pd.DataFrame:
    rows = []
    for number, case in enumerate(bench_parts.INPUTS):
        for what, value, unit in (
            ("everything", 10.0 + number, "s"),
            ("start and imports", 3.0, "s"),
            ("load network", 2.0, "s"),
            ("prepare", 1.0, "s"),
            ("prepare: brain", 2.5, "s"),
            ("network", 3.0 + number, "s"),
            ("processor time", 18.0, "s"),
            ("network arithmetic", 400.0, "GFLOP"),
            ("peak memory", 2.5, "GB"),
        ):
            rows.append(Row("segment", case, what, value, value, value, 3, unit))
    rows.append(Row("ways", f"{bench_parts.FIRST}, tiled", "network", 60.0, 60.0, 60.0, 1))
    rows.append(Row("ways", f"{bench_parts.FIRST}, tiled", "everything", 70.0, 70.0, 70.0, 1))
    rows.append(Row("ways", f"{bench_parts.FIRST}, without oneDNN", "network", 7.5, 7.5, 7.5, 1))
    rows.append(Row("network", "matrix product, 2048 x 2048", "rate", 200.0, 200.0, 200.0, 1, "GFLOP/s"))
    rows.append(Row("baselines", "lga", "everything", 40.0, 40.0, 40.0, 1))
    return pd.DataFrame(rows)


def test_the_page_sets_each_way_beside_ours_and_the_articles_times():
    rows = some_rows()
    patients = bench_page.patients(rows).set_index("input")
    first = patients.loc[bench_parts.FIRST]
    assert first["seconds"] == 10 and first["floor_s"] == pytest.approx(2.0) and first["network_s"] == 3.0
    ratios = bench_page.ratios(rows).set_index("against")["times ours"]
    assert ratios["the article's dense cubes (network only)"] == pytest.approx(20.0)
    assert ratios["the article's U-Net, Titan Xp"] == pytest.approx(2.82)
    assert ratios["the floor (network only)"] == pytest.approx(2 / 3)
    assert ratios["without oneDNN (network only)"] == pytest.approx(2.5) and np.isnan(ratios["without oneDNN"])
    year = bench_page.a_year(rows).set_index("input")
    assert year.loc[bench_parts.FIRST, "cores, all year"] == round(23.4e6 * 18 / (365.25 * 86400))


def test_the_page_is_empty_where_nothing_was_measured(tmp_path):
    rows = bench_page.read(tmp_path)
    assert rows.empty and bench_page.patients(rows).empty and bench_page.a_year(rows).empty
    assert bench_page.laws(rows).empty and bench_page.updates(rows).empty and bench_page.machine(tmp_path).empty
    assert bench_page.ratios(rows)["times ours"].isna().all()
    assert bench_page.chart(rows) is not None


def test_the_chart_shows_every_input_and_the_articles_times():
    figure = bench_page.chart(some_rows())
    labels = {text.get_text() for axes in figure.axes for text in axes.get_yticklabels()}
    assert set(bench_parts.INPUTS) <= labels


def test_the_charts_bars_end_at_the_sum_of_the_stages_and_the_floor_starts_with_the_network():
    rows = some_rows()
    figure = bench_page.chart(rows)
    axes = figure.axes[0]
    ends = {round(bar.get_y() + bar.get_height() / 2): bar.get_x() + bar.get_width() for bar in axes.patches}
    assert ends == pytest.approx({n: 3.0 + 2.0 + 1.0 + 3.0 + n for n in range(len(bench_parts.INPUTS))})
    floor = next(line for line in axes.lines if str(line.get_label()).startswith("floor"))
    assert floor.get_xdata()[0] == pytest.approx(3.0 + 2.0 + 1.0 + 400 / 200)
    assert bench_page.patients(rows)["preparation_s"].tolist() == [2.5] * len(bench_parts.INPUTS)


def test_a_task_that_fails_is_one_line():
    with pytest.raises(WorkFailed, match="bench: nonsense ended with code 1"):
        measure("nonsense")


@pytest.mark.slow
def test_a_fresh_process_says_its_time_memory_and_arithmetic():
    found = measure("products", size=128, repeats=1)
    assert found["gflop_s"] > 0 and found["wall_s"] > 0 and found["peak_gb"] > 0.05 and found["cpu_s"] > 0


def test_ways_of_a_pass_give_the_shipped_answer(tmp_path, monkeypatch):
    """Folding and XLA change next to nothing, bfloat16 little."""
    monkeypatch.setattr(bench_tries, "EDGE", 32)
    head = tmp_path / "head.npy"
    volume = 0.3 * np.random.default_rng(1).normal(size=(32, 32, 32)).astype(np.float32)
    volume[10:20, 12:22, 9:18] += 4.0  # so that there is something to find
    np.save(head, volume)
    answers = {}
    for way in bench_tries.WAYS:
        found = bench_tries.one_pass(way, str(head), 1)
        assert found["first_s"] > 0 and len(found["seconds"]) == 1
        answers[way] = np.load(bench_tries.answer_path(str(head), way))
    ours = answers[bench_tries.AS_SHIPPED]
    assert ours.shape == (32, 32, 32) and ours.std() > 0.01
    for way, most in (
        ("batch norm fused, as in training", 1e-4),
        ("weights frozen", 1e-4),
        ("channels first", 1e-4),
        ("XLA", 1e-4),
        ("bfloat16", 0.2),
    ):
        assert np.abs(answers[way] - ours).max() < most, way
    assert np.abs(answers["bfloat16"] - ours).max() > 1e-5


def test_the_head_to_try_on_is_a_cube_with_its_brain_in_the_middle(tmp_path):
    found = bench_tries.one_head(str(tmp_path / "head.npy"))
    volume = np.load(tmp_path / "head.npy")
    assert volume.shape == (bench_tries.EDGE,) * 3 and volume.dtype == np.float32
    assert found["brain"] > 0.4
    middle = np.argwhere(volume != 0).mean(axis=0)
    assert np.abs(middle - bench_tries.EDGE / 2).max() < 10


def test_a_way_that_fails_here_is_a_note_and_the_others_are_compared(tmp_path, monkeypatch):
    def measured(task, **given):
        if task == "one_head":
            return {}
        if given["way"] == "XLA":
            raise WorkFailed("bench: no compiler here")
        answer = np.full((4, 4, 4), 0.9, np.float32)
        answer[0] = 0.9 if given["way"] == bench_tries.AS_SHIPPED else 0.0
        np.save(bench_tries.answer_path(given["head"], given["way"]), answer)
        return {"first_s": 2.0, "seconds": [1.0], "peak_gb": 1.5, "given": given}

    monkeypatch.setattr(bench_tries, "measure", measured)
    found = list(bench_tries.part(nothing(tmp_path)))
    assert [one for one in found if isinstance(one, str)] == ["XLA: bench: no compiler here"]
    rows = {(one.case, one.what): one.value for one in found if isinstance(one, Row)}
    assert rows["as shipped", "Dice with the mask as shipped"] == 1
    assert rows["bfloat16", "Dice with the mask as shipped"] == pytest.approx(2 * 48 / (48 + 64))
    assert rows["bfloat16", "largest difference of probability"] == pytest.approx(0.9)


def test_ways_stand_beside_the_shipped_one():
    columns = ["part", "case", "what", "value", "low", "high", "n", "unit"]
    measured = {"first pass": 9.0, "one pass": 2.0, "peak memory": 1.5, "Dice with the mask as shipped": 1.0}
    rows = [("tries", "as shipped", what, v, v, v, 1, "") for what, v in measured.items()]
    rows += [("tries", "XLA", what, 3 * v, v, v, 1, "") for what, v in measured.items()]
    table = bench_page.tries(pd.DataFrame(rows, columns=columns)).set_index("way")
    assert list(table.index) == ["as shipped", "XLA"]
    assert table.loc["XLA", ["one pass, s", "of the shipped way's"]].tolist() == [6.0, 3.0]
    assert list(bench_page.tries(pd.DataFrame(columns=columns))) == ["way"]
