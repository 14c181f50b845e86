"""What the fresh processes of `flairnb bench` do, task by task."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from flairnb.network.weights import Network
    from flairnb.settings import InferSettings, NetworkSettings

#: Training points of the k nearest neighbours: as many as the profile `demo` draws from its 41 cases.
KNN_POINTS = (41 * 250, 41 * 1250)
#: A diagnosis of each of these is scanned twice for the cohort that cost is fitted over.
DIAGNOSES = ("MSA", "HGG", "SVID", "MSI")


def timed(work: Callable[[], Any], repeats: int, warm: int = 1) -> list[float]:
    """Return the seconds of each repeat, after `warm` that do not count."""
    for _ in range(warm):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(round(time.perf_counter() - start, 4))
    return seconds


def segment(flair: str, out: str, **words: Any) -> dict[str, Any]:
    """Segment one patient; return the seconds of each stage, and the network's arithmetic for this brain."""
    from flairnb.report.patient import segment_patient

    summary = segment_patient(flair, out_dir=out, **words)
    done, used = time.perf_counter(), time.process_time()
    gflop = _gflop_of(flair, Path(out), summary)
    # What is looked up here is no part of segmenting.
    aside = {"aside_s": time.perf_counter() - done, "aside_cpu_s": time.process_time() - used}
    return {"stages": summary["seconds"], "preparation": summary["preparation_seconds"], "gflop": gflop, **aside}


def _gflop_of(flair: str, out: Path, summary: dict[str, Any]) -> float:
    from flairnb.geometry import isotropic_grid
    from flairnb.images import read_image, read_mask
    from flairnb.network.weights import SETTINGS_FILE, default_weights
    from flairnb.prepare.slabs import mask_to_work
    from flairnb.provenance import read_json
    from flairnb.settings import NetworkSettings, load

    image = read_image(flair)
    brain = read_mask(next(out.glob("*_desc-brain_mask.nii.gz")), image)
    grid = isotropic_grid(image.shape, image.affine, summary["weights"]["spacing_mm"])
    network = NetworkSettings(**read_json(default_weights() / SETTINGS_FILE)["network"])
    return arithmetic(network, mask_to_work(brain, image.affine, grid), replace(load("paper").infer, **summary["settings"]["infer"]))


def arithmetic(network: NetworkSettings, brain: NDArray[np.bool_], infer: InferSettings) -> float:
    """Return the GFLOP of all looks at a brain on the work grid, (I, J, K): tiles without brain count too, overlaps of pieces do not."""
    from flairnb.network.inference import look_boxes
    from flairnb.network.operations import operations

    looks = [[side.stop - side.start for side in box] for box in look_boxes(brain, infer, 2**network.levels)]
    if infer.method == "whole":
        return sum(operations(network, look).gflop for look in looks)
    tiles = sum(int(np.prod([(n - infer.patch) // infer.step + 1 for n in look])) for look in looks)
    return tiles * operations(network, [infer.patch] * 3).gflop


def shipped(threads: int | None = None) -> Network:
    """Load the shipped network with the fast kernels, on so many threads (all if None)."""
    from flairnb.network.onednn import configure
    from flairnb.network.weights import default_weights, load_network

    configure(threads)
    return load_network(default_weights())


def products(size: int = 2048, repeats: int = 5) -> dict[str, Any]:
    """Return the best rate of float32 matrix products by TensorFlow, GFLOP a second."""
    import tensorflow as tf

    a = tf.random.normal((size, size), seed=1)
    times = timed(lambda: tf.matmul(a, a).numpy(), repeats)
    return {"gflop_s": 2e-9 * size**3 / min(times)}


def whole(edges: list[int], repeats: int = 3) -> dict[str, Any]:
    """Apply the shipped network in one pass to cubes of noise; return each cube's seconds and GFLOP."""
    from flairnb.network.inference import predict
    from flairnb.network.operations import operations
    from flairnb.report.patient import settings_for

    network = shipped()
    infer = replace(settings_for(network, "whole")[1], coarser_look=0.0, memory_gb=64.0)
    found = []
    for edge in edges:
        volume = np.random.default_rng(1).normal(size=(edge,) * 3).astype(np.float32)
        ones = np.ones(volume.shape, bool)
        seconds = timed(lambda volume=volume, ones=ones: predict(network.model, volume, ones, infer), repeats)
        found.append({"edge": edge, "seconds": seconds, "gflop": operations(network.network, volume.shape).gflop})
    return {"passes": found}


def training(width: int, patch: int, batch: int, steps: int = 6) -> dict[str, Any]:
    """Time updates fed by the input pipeline and the same updates on one constant batch."""
    from flairnb.network.dataset import EpochPatches
    from flairnb.network.learner import Learner
    from flairnb.network.operations import operations
    from flairnb.network.volumes import FolderSource
    from flairnb.settings import load

    words = f"network.width={width} train.patch={patch} train.batch={batch} train.patches_per_case={batch * (2 * steps + 8)}"
    settings = load("demo", words)
    learner = Learner(settings)
    with tempfile.TemporaryDirectory() as folder:
        _write_noise(folder, 1, patch + 24)
        records = FolderSource(Path(folder), settings.prepare.spacing_mm).records()
        patches = EpochPatches(records, settings.train, 1, 0)
        feed = iter(learner.distribute(patches.dataset()))
        constant = next(feed)
        learner.step(*constant, 1e-4, 1)  # compiles
        # In turns, so that what else the machine does meets both; batches that were cut meanwhile are used up first.
        still = timed(lambda: learner.step(*constant, 1e-4, 2), steps)
        fed = timed(lambda: learner.step(*next(feed), 1e-4, 2), steps, warm=4)
    forward = operations(settings.network, (patch,) * 3).gflop * batch
    return {"constant_s": still, "pipeline_s": fed, "gflop_step": 3 * forward}


def training_cohort(cases: int, patch: int = 32) -> dict[str, Any]:
    """Train a small network for an epoch with a patch of each case; memory is what is looked at."""
    from flairnb.network.training import train
    from flairnb.network.volumes import FolderSource
    from flairnb.settings import load

    settings = load("smoke", f"train.patch={patch} train.batch=4 train.patches_per_case=1 train.epochs=1")
    with tempfile.TemporaryDirectory() as folder:
        _write_noise(folder, cases, 56)
        start = time.perf_counter()
        train(FolderSource(Path(folder), 2.0), settings, Path(folder) / "unet")
        return {"seconds": time.perf_counter() - start}


def _write_noise(folder: str, count: int, edge: int) -> None:
    from flairnb.network.volumes import write_volume

    image = np.random.default_rng(1).normal(size=(edge,) * 3).astype(np.float32)
    for number in range(count):
        write_volume(folder, f"noise{number:03d}", image, image > 2.5, np.ones(image.shape, bool))


def phantoms(folder: str) -> dict[str, Any]:
    """Make eight phantom subjects, once; return the seconds of each."""
    from flairnb.cohort.build import ensure_subject
    from flairnb.cohort.manifest import write_manifest
    from flairnb.cohort.roster import draw_roster
    from flairnb.errors import WorkFailed
    from flairnb.settings import load

    words = {"cohort.diagnoses": list(DIAGNOSES), "cohort.validation_per_disease": 2}
    settings = load("demo", words)
    roster = draw_roster(settings.cohort, settings.seed)
    roster = roster[roster["split"] == "validation"].head(2 * len(DIAGNOSES)).reset_index(drop=True)
    seconds = []
    for number, row in enumerate(roster.to_dict("records")):
        start = time.perf_counter()
        made = ensure_subject(row, Path(folder), settings.seed, settings.cohort)
        if made["status"] != "done":
            raise WorkFailed(f"bench: {made['reason']}")
        seconds.append(time.perf_counter() - start)
        for name in ("flair", "t1w", "reference_mask", "second_reader_mask"):
            roster.loc[number, name] = made[name]
    write_manifest(roster, Path(folder) / "manifest.tsv")
    return {"seconds": seconds}


def cohort(folder: str, cases: int, same: bool = True) -> dict[str, Any]:
    """Prepare and segment phantoms of a folder in this process, as notebooks 02 and 04 do; return the seconds of both.

    With `same` the first one, again and again under other names, so that nothing but the count changes; else the first so many.
    """
    import pandas as pd

    from flairnb.report import methods, steps
    from flairnb.report.start import Run
    from flairnb.settings import load

    settings = load("demo", "infer.shipped_spacing_mm=2.0")
    made = pd.read_csv(Path(folder) / "manifest.tsv", sep="\t", dtype=str, keep_default_na=False)
    with tempfile.TemporaryDirectory() as work:
        run = Run("04", settings, settings.seed, Path(work), None, 1)
        table = _linked(made.iloc[[0] * cases] if same else made.head(cases), Path(folder), run.work_dir)
        table.to_csv(run.path("manifest.tsv"), sep="\t", index=False)
        start = time.perf_counter()
        prepared = steps.prepare_images(run)
        middle = time.perf_counter()
        segmented = methods.segment_with_shipped(run)
        end = time.perf_counter()
    done = int((prepared["status"] == "ok").sum()), int((segmented["status"] == "ok").sum())
    return {"prepare_s": middle - start, "network_s": end - middle, "done": done}


def _linked(table: pd.DataFrame, folder: Path, work_dir: Path) -> pd.DataFrame:
    """Link a table's images to the work folder, under a name of its own for each row: one image may stand in one row only."""
    import pandas as pd

    from flairnb.cohort.columns import PATHS

    rows = []
    for number, row in enumerate(table.to_dict("records"), 1):
        given = {name: row[name] for name in PATHS if row.get(name)}
        for name in given.values():
            link = work_dir / str(number) / name
            link.parent.mkdir(parents=True, exist_ok=True)
            source = (folder / name).resolve()  # no symbolic link: a table sees through those
            try:
                link.hardlink_to(source)
            except OSError:  # on another disk
                shutil.copyfile(source, link)
        rows.append({**row, "participant_id": f"{row['participant_id']}n{number}", **{k: f"{number}/{v}" for k, v in given.items()}})
    return pd.DataFrame(rows)


def baselines(flair: str, t1w: str, spacing_mm: float = 1.0) -> dict[str, Any]:
    """Apply each comparison method to one case at the article's voxel size.

    What they learnt is a stand-in of the usual size, drawn from the case itself: it changes masks, hardly the work.
    """
    from flairnb.baselines import bianca, lga, lpa
    from flairnb.baselines.case import look_at
    from flairnb.baselines.threshold import threshold_mask
    from flairnb.images import read_image
    from flairnb.prepare.case import prepare_case
    from flairnb.report.patient import back_to_native
    from flairnb.settings import load

    head, other = read_image(flair), read_image(t1w, "T1w")
    case = prepare_case(head, other, settings=replace(load("paper").prepare, spacing_mm=spacing_mm))
    view = look_at(case, other)
    bright = threshold_mask(case.work, case.work_brain, 1.5)
    points, lesion = bianca.sample_points(view, view.part(bright), KNN_POINTS, np.random.default_rng(1))
    knn = bianca.BiancaModel(points, lesion, np.zeros(len(points), int))
    regression = lpa.LpaModel(-4.0, 5.0, np.zeros(lpa.LATTICE))
    own = {
        "threshold": (0.0, lambda: threshold_mask(case.work, case.work_brain, 1.5)),
        "lpa": (view.seconds, lambda: view.whole(lpa.lesion_probability(view, regression))),
        "bianca": (view.seconds, lambda: view.whole(bianca.segment(view, knn))),
        "lga": (view.seconds + view.tissue_seconds, lambda: view.whole(lga.lesion_map(view, 0.3))),
    }

    found = {}
    for name, (before, work) in own.items():
        start = time.perf_counter()
        back_to_native(np.asarray(work(), np.float32), case, 0.5, 0.0)
        found[name] = before + time.perf_counter() - start
    return {"own_s": found, "shared_s": sum(case.seconds.values()), "points": len(points)}


def agreement(flair: str, t1w: str = "", reference: str = "", skull_stripped: bool = False) -> dict[str, Any]:
    """Segment a case the fast and the slow way; see :mod:`flairnb.report.bench_agreement`."""
    from flairnb.report.bench_agreement import compare

    return compare(flair, t1w, reference, skull_stripped)


def one_head(head: str) -> dict[str, Any]:
    """Draw a head to try ways of a pass on; see :mod:`flairnb.report.bench_tries`."""
    from flairnb.report.bench_tries import one_head

    return one_head(head)


def one_pass(way: str, head: str, repeats: int, threads: int | None = None) -> dict[str, Any]:
    """Do the network's pass in one way; see :mod:`flairnb.report.bench_tries`."""
    from flairnb.report.bench_tries import one_pass

    return one_pass(way, head, repeats, threads)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "segment": segment,
    "products": products,
    "whole": whole,
    "training": training,
    "training_cohort": training_cohort,
    "phantoms": phantoms,
    "cohort": cohort,
    "baselines": baselines,
    "agreement": agreement,
    "one_head": one_head,
    "one_pass": one_pass,
}
