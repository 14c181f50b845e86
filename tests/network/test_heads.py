"""Generated heads: one folder for one voxel size and one set of sources."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flairnb.cohort.phantom.training import Sources
from flairnb.network import heads, training
from flairnb.network.heads import heads_folder
from flairnb.report.train import train_on_generated


def test_a_folder_holds_heads_of_one_voxel_size_and_one_set_of_sources():
    maps = tuple(Path(f"here/{name}.nii.gz") for name in "ab")
    sets = [Sources(), Sources(maps), Sources(stroke_masks=maps), Sources(ms_masks=maps), Sources(maps[:1])]
    folders = {heads_folder("heads", sources, spacing) for sources in sets for spacing in (1.0, 1.5)}
    assert len(folders) == 10 and {folder.parent for folder in folders} == {Path("heads")}
    moved = Sources(tuple(Path("there") / path.name for path in maps))
    assert heads_folder("heads", moved, 1.5) == heads_folder("heads", Sources(maps), 1.5)


@pytest.fixture
def trained_on(monkeypatch, tmp_path):
    """Return what training is given, by voxel size: names, shapes and voxel sizes; heads are noise whose size follows from theirs."""
    seen = {}

    def draw_head(rng, sources, spacing_mm):
        image = rng.normal(size=[round(48 / spacing_mm)] * 3).astype(np.float32)
        return SimpleNamespace(image=image, mask=(image > 2).astype(np.uint8))

    def train(source, settings, model_dir, **_how):
        found = [(record.name, record.open_image().shape, record.spacing_mm) for record in source.records()]
        seen.setdefault(settings.prepare.spacing_mm, []).append(found)
        return pd.DataFrame([{"cases": len(found), "loss": 1.0}])

    make_heads = heads.make_heads
    monkeypatch.chdir(tmp_path)  # no fetched data here
    monkeypatch.setattr(heads, "draw_head", draw_head)
    monkeypatch.setattr(heads, "make_heads", lambda *given, **more: make_heads(*given, **{**more, "jobs": 1}))
    monkeypatch.setattr(training, "train", train)
    return seen


def test_heads_of_another_seed_in_the_folder_are_not_trained_on(trained_on, tmp_path):
    for heads_asked, seed in ((2, 1), (1, 12), (3, 1)):
        train_on_generated(heads_asked, profile="smoke", out_dir=tmp_path / "out", seed=seed)
    (given,) = trained_on.values()
    names = [[name for name, *_ in found] for found in given]
    assert names == [[f"head{seed:05d}_{number:06d}" for number in range(count)] for count, seed in ((2, 1), (1, 12), (3, 1))]


def test_heads_of_another_voxel_size_are_not_trained_on(trained_on, tmp_path):
    for heads_asked, spacing in ((2, 4.0), (1, 3.0), (3, 4.0)):
        train_on_generated(heads_asked, profile="smoke", sets=[f"prepare.spacing_mm={spacing}"], out_dir=tmp_path / "out")
    names = [f"head02019_{number:06d}" for number in range(3)]
    assert trained_on[4.0] == [[(name, (12, 12, 12), 4.0) for name in names[:count]] for count in (2, 3)]
    assert trained_on[3.0] == [[(names[0], (16, 16, 16), 3.0)]]
