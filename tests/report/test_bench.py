from __future__ import annotations

import json

import pandas as pd
import pytest

from flairnb.cli import call
from flairnb.errors import InputError, WorkFailed
from flairnb.report import bench
from flairnb.report.bench_child import measure


def test_an_exponent_is_that_of_a_power_law():
    assert bench.exponent([10, 20, 40, 80], [7 * n**1.5 for n in (10, 20, 40, 80)]) == pytest.approx(1.5)


def test_an_unknown_part_is_refused_before_anything_is_measured(tmp_path, capsys):
    assert call(["bench", "--out", str(tmp_path / "b"), "--part", "speed"]) == 2
    assert "segment, network, training, scaling" in capsys.readouterr().err and not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="found 0"):
        bench.run_bench(tmp_path / "b", repeats=0)


def test_parts_are_kept_and_only_what_is_asked_for_or_absent_is_measured(tmp_path, monkeypatch):
    calls = []

    def part(name, value):
        def work(_data, _repeats):
            calls.append(name)
            yield bench.summarise(name, "case", "step", [value, 3 * value, 2 * value])
            yield f"{name}: a note"

        return work

    monkeypatch.setattr(bench, "PARTS", {"one": part("one", 1.0), "two": part("two", 5.0)})
    bench.run_bench(tmp_path, ("one",))
    target = bench.run_bench(tmp_path)
    assert calls == ["one", "two"]
    found = json.loads(target.read_text())["parts"]
    assert found["one"]["notes"] == ["one: a note"] and found["one"]["machine"]["processor"]
    table = pd.read_csv(tmp_path / "bench.tsv", sep="\t")
    assert table[["value", "low", "high", "n"]].to_numpy().tolist() == [[2, 1, 3, 3], [10, 5, 15, 3]]


def test_absent_inputs_are_named_and_not_measured(tmp_path):
    notes = list(bench.PARTS["segment"](tmp_path, 1))
    assert len(notes) == len(bench.INPUTS) and all("left out" in note for note in notes)


def test_training_on_more_gpus_takes_inversely_less():
    assert bench.full_training(1, 295, 60) == pytest.approx(8 * bench.full_training(8, 295, 60))


def test_a_task_that_fails_is_one_line():
    with pytest.raises(WorkFailed, match="bench: nonsense ended with code 1"):
        measure("nonsense")


@pytest.mark.slow
def test_a_fresh_process_says_its_time_memory_and_arithmetic():
    found = measure("products", size=128, repeats=1)
    assert found["gflop_s"] > 0 and found["wall_s"] > 0 and found["peak_gb"] > 0.05
