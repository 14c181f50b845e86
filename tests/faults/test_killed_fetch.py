"""`flairnb fetch`, killed (SIGKILL) at random points: called again it ends with the published files and nothing else."""

from __future__ import annotations

import hashlib
import os
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler

import numpy as np
import pytest

HEAVY = ("pandas", "requests", "flairnb.cohort.fetch")
pytestmark = pytest.mark.slow
RNG = np.random.default_rng(int(os.environ.get("FLAIRNB_KILL_SEED", 29)))


class SlowHandler(SimpleHTTPRequestHandler):
    """Serve files in small pieces; knows no ranges."""

    def log_message(self, *_args):
        pass

    def copyfile(self, source, outputfile):
        while piece := source.read(20_000):
            outputfile.write(piece)
            time.sleep(0.004)


def test_a_fetch_killed_many_times_ends_with_the_published_files(command, tmp_path, serve, fault):
    published, project = tmp_path / "published", tmp_path / "project"
    contents = {f"set/{n}.nii.gz": np.random.default_rng(n).bytes(400_000) for n in range(5)}
    lines = ["dataset\tname\turl\tsha256\tlicence\tcitation\tkind\tbytes"]
    for name, content in contents.items():
        (published / name).parent.mkdir(parents=True, exist_ok=True)
        (published / name).write_bytes(content)
    address = serve(partial(SlowHandler, directory=str(published)))
    for name, content in contents.items():
        url = f"{address}/{name}"
        lines.append("\t".join(["set", name, url, hashlib.sha256(content).hexdigest(), "MIT", "nobody", "image", str(len(content))]))
    (project / "data_manifest").mkdir(parents=True)
    (project / "data_manifest" / "registry.tsv").write_text("\n".join(lines) + "\n")

    def check():
        for name, content in contents.items():
            path = project / "data" / name
            assert not path.exists() or path.read_bytes() == content

    killed = 0
    for _ in range(20):
        ended = command("fetch", "set", seconds=RNG.uniform(0.05, 0.7), cwd=project)
        assert ended.killed or ended.code == 0, ended.log[-2000:]
        killed += ended.killed
        check()
    assert killed >= 4, "the kills came too late to mean anything"
    assert command("fetch", "set", cwd=project).code == 0
    assert {p.relative_to(project / "data").as_posix(): p.read_bytes() for p in (project / "data").rglob("*") if p.is_file()} == contents
    fault("killed (SIGKILL)", "flairnb fetch", "went on; the published files and nothing else", "went on", killed)
