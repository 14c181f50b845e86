"""Count the network's parameters and arithmetic without building it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from flairnb.settings import NetworkSettings


@dataclass(frozen=True)
class LayerCount:
    """One convolution: `name`, resolution `level`, channels in and out, kernel taps, GFLOP, parameters."""

    name: str
    level: int
    channels_in: int
    channels_out: int
    taps: int
    gflop: float
    parameters: int


@dataclass(frozen=True)
class Operations:
    """Totals of one forward pass and the layers they come from."""

    gflop: float
    parameters: int
    layers: tuple[LayerCount, ...]


def operations(network: NetworkSettings, shape: Sequence[int], dense_deconvolution: bool = False) -> Operations:
    """Count floating-point operations of one forward pass over one volume.

    Parameters
    ----------
    network : NetworkSettings
        The network.
    shape : (3,) sequence of int
        Input voxels (i, j, k), multiples of ``2 ** network.levels``.
    dense_deconvolution : bool
        Count a deconvolution as if every output voxel needed all taps, as many
        published counts do. It needs an eighth of that.

    Returns
    -------
    Operations
        ``gflop`` in 10^9 (one multiply-add is two), trainable and moving
        ``parameters``, and one row a convolution.

    Notes
    -----
    Only convolutions count (bias, ReLU, normalisation and softmax are below
    2 %); taps that fall into the padding are counted. At width 16 and 96^3
    this gives 6.54 M parameters and 143 GFLOP; counting deconvolutions densely
    gives 183. Independent estimates that put a 1 x 1 x 1 convolution on every
    residual connection arrive at 6.58 M and 184.
    """
    rows = tuple(_layers(network, float(np.prod([int(n) for n in shape])), dense_deconvolution))
    return Operations(sum(r.gflop for r in rows), sum(r.parameters for r in rows), rows)


def _layers(network: NetworkSettings, voxels: float, dense: bool) -> Iterator[LayerCount]:
    cube = network.kernel**3
    batch = network.norm_in_blocks == "batch"

    def row(name: str, level: int, sizes: tuple[int, int], taps: int = cube, norm: bool = batch) -> LayerCount:
        channels_in, channels_out = sizes
        products = channels_in * channels_out * taps
        deconvolution = name.endswith("_deconv") and not dense
        places = voxels / 8 ** (level + 1 if deconvolution else level)
        parameters = products + channels_out + (4 * channels_out if norm else 0)
        return LayerCount(name, level, channels_in, channels_out, taps, 2e-9 * products * places, parameters)

    def residual(name: str, level: int, channels_in: int, channels: int, count: int) -> Iterator[LayerCount]:
        if count and channels_in != channels:
            yield row(f"{name}_match", level, (channels_in, channels), 1, norm=False)
        for number in range(1, count + 1):
            yield row(f"{name}_conv{number}", level, (channels_in if number == 1 else channels, channels))

    count, width = network.convolutions_per_block, network.width
    yield from residual("input", 0, 1, width, count)
    for level in range(1, network.levels + 1):
        channels = width * 2**level
        yield row(f"down{level}_stride", level, (channels // 2, channels))
        yield from residual(f"down{level}", level, channels, channels, count - 1)
    for block in range(1, network.levels + 1):
        level = network.levels - block
        channels = width * 2**level
        yield row(f"up{block}_deconv", level, (2 * channels, channels))
        joined = 2 * channels if network.crosslink == "concat" else channels
        yield from residual(f"up{block}", level, joined, channels, count)
    for number in range(1, network.head_convolutions + 1):
        yield row(f"head_conv{number}", 0, (width, width), norm=True)
    yield row("logits", 0, (width, network.classes), 1, norm=False)
