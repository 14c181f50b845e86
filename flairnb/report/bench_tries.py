"""Other ways to do the network's pass than the one that ships: what each costs, and what it changes.

Each is tried in a fresh process on one simulated head, made beforehand. The
shipped way is among them, so that all ratios are of one run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flairnb.errors import WorkFailed
from flairnb.report.bench_child import measure
from flairnb.report.bench_rows import Bench, Row, summarise

if TYPE_CHECKING:
    import keras

PART, AS_SHIPPED = "tries", "as shipped"
#: Edge of the box in voxels of the network, a multiple of its 16.
EDGE = 128
#: A way whose first pass takes longer is repeated once.
PATIENCE_S = 20.0
#: Of the simulated head; a white-matter disease.
SEED = 2019
Pass = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _as_shipped(model: keras.Model) -> Pass:
    from flairnb.network import inference

    return inference.forward_of(model)


def _frozen(model: keras.Model) -> Pass:
    """Turn weights into constants of the graph, so that TensorFlow can fold what follows from them alone (batch norm's factors)."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def lesion(x: Any) -> Any:
        return model(x, training=False)[0, ..., 1]

    shape = tf.TensorSpec((1, EDGE, EDGE, EDGE, 1), tf.float32)
    frozen = convert_variables_to_constants_v2(tf.function(lesion).get_concrete_function(shape))
    return lambda volume: frozen(tf.constant(volume[None, ..., None]))[0].numpy()


def _xla(model: keras.Model) -> Pass:
    return _compiled(lambda x: model(x, training=False)[0, ..., 1], jit_compile=True)


def _bfloat16(model: keras.Model) -> Pass:
    from flairnb.network.unet import build_unet
    from flairnb.report.bench_tasks import shipped

    half = build_unet(shipped().network, dtype="mixed_bfloat16")
    half.set_weights(model.get_weights())
    return _as_shipped(half)


def _channels_first(model: keras.Model) -> Pass:
    """Rebuild the network with the features before the voxels."""
    import keras

    def turned(layer: keras.Layer) -> keras.Layer:
        kind = keras.layers.BatchNormalization if isinstance(layer, keras.layers.BatchNormalization) else type(layer)
        config = layer.get_config()
        config |= {"data_format": "channels_first"} if "data_format" in config else {}
        config |= {"axis": 1} if "axis" in config else {}
        return kind.from_config(config)

    first = keras.models.clone_model(model, input_tensors=keras.Input((1, None, None, None)), clone_function=turned)
    first.set_weights(model.get_weights())
    return _compiled(lambda x: first(x[:, None, ..., 0], training=False)[0, 1])


def _compiled(lesion: Callable[[Any], Any], **how: Any) -> Pass:
    import tensorflow as tf

    one = tf.function(lesion, autograph=False, **how)
    return lambda volume: one(tf.constant(volume[None, ..., None])).numpy()


def _fused(model: keras.Model) -> Pass:
    from flairnb.network.normalisation import fuse_normalisation

    return _as_shipped(fuse_normalisation(model))


#: Name, how a pass is made, and what the process is given (threads, environment).
WAYS: dict[str, tuple[Callable[[Any], Pass], dict[str, Any]]] = {
    AS_SHIPPED: (_as_shipped, {}),
    "one thread": (_as_shipped, {"threads": 1}),
    "batch norm fused, as in training": (_fused, {}),
    "weights frozen": (_frozen, {}),
    "channels first": (_channels_first, {}),
    "XLA": (_xla, {}),
    "bfloat16": (_bfloat16, {}),
    "bfloat16 inside convolutions only": (_as_shipped, {"environment": {"TF_SET_ONEDNN_FPMATH_MODE": "BF16"}}),
}


def one_pass(way: str, head: str, repeats: int, threads: int | None = None) -> dict[str, Any]:
    """Apply the network to a head in one of `WAYS`; return seconds of the first pass and of others, and keep the answer beside the head."""
    from flairnb.report.bench_tasks import shipped, timed

    model = shipped(threads).model
    run = WAYS[way][0](model)
    volume = np.load(head)
    start = time.perf_counter()
    answer = run(volume)
    first = time.perf_counter() - start
    np.save(answer_path(head, way), answer)
    few = first > PATIENCE_S
    return {"first_s": first, "seconds": timed(lambda: run(volume), 1 if few else repeats, warm=0 if few else 1)}


def one_head(head: str) -> dict[str, Any]:
    """Draw a simulated head of 1 mm and save the cube of `EDGE` voxels in its middle; tell how much of it is brain."""
    from flairnb.cohort.phantom.training import Sources, draw_head

    image = draw_head(np.random.default_rng(SEED), Sources(), 1.0).image
    padded = np.pad(image, [(max(0, EDGE - n + 1) // 2,) * 2 for n in image.shape])
    volume = padded[tuple(slice((n - EDGE) // 2, (n - EDGE) // 2 + EDGE) for n in padded.shape)]
    np.save(head, np.ascontiguousarray(volume, dtype=np.float32))
    return {"brain": float(np.mean(volume != 0))}


def answer_path(head: str, way: str) -> Path:
    """Return where the answer of one way lies."""
    return Path(head).with_name(f"answer{list(WAYS).index(way)}.npy")


def part(bench: Bench) -> Iterator[Row | str]:
    """Try all `WAYS`, the shipped one first; one that fails here is a note."""
    from flairnb.evaluate.metrics import dice
    from flairnb.network.weights import SETTINGS_FILE, default_weights
    from flairnb.provenance import read_json

    cut = float(read_json(default_weights() / SETTINGS_FILE)["threshold"])
    with tempfile.TemporaryDirectory() as folder:
        head = str(Path(folder) / "head.npy")
        measure("one_head", head=head)
        for way, (_, given) in WAYS.items():
            try:
                found = measure("one_pass", way=way, head=head, repeats=bench.repeats, **given)
            except WorkFailed as problem:
                yield f"{way}: {problem}"
                continue
            yield summarise(PART, way, "first pass", [found["first_s"]])
            yield summarise(PART, way, "one pass", found["seconds"])
            yield summarise(PART, way, "peak memory", [found["peak_gb"]], "GB")
            ours, theirs = (np.load(answer_path(head, name)) for name in (AS_SHIPPED, way))
            yield summarise(PART, way, "largest difference of probability", [float(np.abs(ours - theirs).max())], "")
            yield summarise(PART, way, "Dice with the mask as shipped", [dice(ours >= cut, theirs >= cut)], "")
