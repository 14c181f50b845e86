"""What the open words of the article's network cost and do: readings of the dilation, width by memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.network.operations import operations

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from flairnb.settings import NetworkSettings, TrainSettings

#: The readings of "a dilation factor of 2 in all convolutional layers".
DILATIONS = ("none", "stride1_only", "literal")
GIB = 2.0**30


@dataclass(frozen=True)
class Influence:
    """Which input voxels of a patch can change the output at one voxel of its middle.

    `odd` says whether that voxel's index is odd along all axes: strides treat even and odd voxels differently.
    """

    dilation: str
    odd: bool
    mask: NDArray[np.bool_]

    @property
    def voxel(self) -> tuple[int, ...]:
        """Indices of that voxel in the patch."""
        return tuple(n // 2 + self.odd for n in self.mask.shape)

    @property
    def share_of_patch(self) -> float:
        """Share of all voxels of the patch."""
        return float(self.mask.mean())

    @property
    def share_of_neighbours(self) -> float:
        """Share of the 27 voxels in and around that voxel."""
        centre = tuple(slice(place - 1, place + 2) for place in self.voxel)
        return float(self.mask[centre].mean())


def influence(network: NetworkSettings, dilation: str, patch: int) -> tuple[Influence, Influence]:
    """Find the input voxels that two voxels in the middle of the output depend on, by back-propagation.

    All weights are set to the same positive value, so that nothing cancels and no ReLU is shut: what is zero then is
    zero by the network's construction. One channel is enough, for the pattern does not depend on the width.

    Parameters
    ----------
    network : NetworkSettings
        Levels, kernel and so on; its width and dilation are replaced.
    dilation : {"none", "stride1_only", "literal"}
    patch : int
        Edge of the patch in voxels, a multiple of ``2 ** network.levels``.

    Returns
    -------
    tuple of Influence
        Of the voxel at half of the patch (even indices) and of its diagonal neighbour (odd indices).
    """
    import keras
    import tensorflow as tf

    from flairnb.network.unet import build_unet

    model = build_unet(replace(network, width=1, dilation=dilation, norm_in_blocks="none"))
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(np.full(layer.kernel.shape, 1.0 / np.prod(layer.kernel.shape[:-1]), dtype=np.float32))
            layer.bias.assign(np.zeros(layer.bias.shape, dtype=np.float32))
    logits = keras.Model(model.input, model.get_layer("logits").output)
    x = tf.ones((1, patch, patch, patch, 1))
    found = []
    for odd in (False, True):
        at = patch // 2 + odd
        with tf.GradientTape() as tape:
            tape.watch(x)
            middle = logits(x, training=False)[0, at, at, at, 0]
        found.append(Influence(dilation, odd, tape.gradient(middle, x).numpy()[0, ..., 0] != 0))
    return found[0], found[1]


def dilation_table(network: NetworkSettings, found: Sequence[Influence]) -> pd.DataFrame:
    """Return parameters, arithmetic and reach of the readings of the dilation."""
    import pandas as pd

    rows = []
    for one in found:
        count = operations(replace(network, dilation=one.dilation), one.mask.shape)
        place = "odd" if one.odd else "even"
        rows.append((one.dilation, place, count.parameters / 1e6, count.gflop, one.share_of_patch, one.share_of_neighbours))
    columns = ["dilation", "output_voxel", "million_parameters", "gflop_a_patch", "share_of_patch_seen", "share_of_27_neighbours_seen"]
    return pd.DataFrame(rows, columns=columns)


def width_table(network: NetworkSettings, train: TrainSettings, cases: int, widths: Sequence[int] = (8, 16, 24, 32, 64)) -> pd.DataFrame:
    """Return what the width of the first block costs in training as published.

    Returns
    -------
    DataFrame
        `width`, `million_parameters`, `gflop_a_patch` (forward), `gib_outputs` (the convolutions' outputs of one batch
        in float32, which back-propagation keeps; the whole need is two to three times as much), `training_eflop`
        (three times forward, all patches and epochs).
    """
    import pandas as pd

    patches = cases * train.patches_per_case * train.augmentations * train.epochs
    rows = []
    for width in widths:
        count = operations(replace(network, width=width), (train.patch,) * 3)
        values = sum(layer.channels_out * train.patch**3 / 8**layer.level for layer in count.layers)
        rows.append((width, count.parameters / 1e6, count.gflop, 4 * train.batch * values / GIB, 3 * count.gflop * patches / 1e9))
    return pd.DataFrame(rows, columns=["width", "million_parameters", "gflop_a_patch", "gib_outputs", "training_eflop"])


def built_facts(model: Any) -> dict[str, int]:
    """Read stride, dilation and kernel of a residual's match off a built network."""
    layers = {layer.name: layer for layer in model.layers}
    matches = [layer for name, layer in layers.items() if name.endswith("_match")]
    first = layers.get("input_conv1")
    return {
        "stride": int(layers["down1_stride"].strides[0]),
        "dilation": int(first.dilation_rate[0]) if first is not None else 1,
        "match_kernel": int(matches[0].kernel_size[0]) if matches else 0,
    }
