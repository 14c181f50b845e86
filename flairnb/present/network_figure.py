"""Figure 2 drawn from the network itself: every number on it is read from the layers of a real Keras model.

Layers are grouped into blocks by the first word of their name (``down1_conv2`` belongs to ``down1``), and blocks are
placed by their resolution, so a changed network gives a changed figure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from flairnb.present.style import drawing, new_figure

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACTIVATIONS = {"relu": "ReLU", "softmax": "softmax", "linear": ""}
JOINS = {"Concatenate": "concatenated", "Add": "added"}
SUPERSCRIPT_THREE = "\N{SUPERSCRIPT THREE}"
TIMES = "\N{MULTIPLICATION SIGN}"

#: Size of a block, distance between levels, and how far each level moves inwards, in the figure's own units.
WIDTH, HEIGHT, PITCH, SLANT = 1.95, 1.0, 1.3, 0.35


@dataclass(frozen=True)
class Block:
    """What the layers of one block say about themselves.

    Attributes
    ----------
    name : str
        First word of its layers' names.
    side : int
        Edge of its output in voxels.
    features : int
        Channels of its output.
    lines : tuple of str
        One for each kind of convolution, in order, equal ones counted together.
    change : {"down", "up", ""}
        How its first layer changes the resolution.
    link_from : str
        The block whose output is joined by a cross-link, or "".
    link_how : str
        "concatenated" or "added".
    """

    name: str
    side: int
    features: int
    lines: tuple[str, ...]
    change: str
    link_from: str
    link_how: str


def read_blocks(model: keras.Model, patch: int = 96) -> list[Block]:
    """Read a model's layers as blocks, for an input cube of `patch` voxels.

    Parameters
    ----------
    model : keras.Model
        One input (batch, i, j, k, 1), one output.
    patch : int
        Edge of the cube that the shapes are shown for.

    Returns
    -------
    list of Block
        In the order of the model's layers; softmax and logits belong to the head.
    """
    import keras

    # The model takes any size; a copy with a fixed input knows each layer's shape.
    cube = keras.tree.map_structure(lambda tensor: keras.Input((patch, patch, patch, tensor.shape[-1])), model.input)
    fixed = keras.models.clone_model(model, input_tensors=cube)
    groups: dict[str, list[Any]] = {}
    for layer in fixed.layers:
        word = layer.name.split("_")[0]
        if isinstance(layer, keras.layers.InputLayer):
            continue
        groups.setdefault("head" if word in ("logits", "softmax") else word, []).append(layer)
    home = {layer.name: name for name, layers in groups.items() for layer in layers}
    return [_block(name, layers, home) for name, layers in groups.items()]


NORM = "batch normalisation"
#: Words for layers that are no convolution.
_WORDS = {
    "Decimate": "keep every 2nd voxel",
    "ZeroInterleave": "zeros between voxels",
    "BatchNormalization": NORM,
    "Softmax": "softmax",
}


def _block(name: str, layers: list[Any], home: dict[str, str]) -> Block:
    kinds: Counter[str] = Counter()
    change = link_from = link_how = ""
    for layer in layers:
        kind = type(layer).__name__
        change = change or _change(layer)
        if kind in ("Conv3D", "Conv3DTranspose"):
            kinds[_convolution(layer)] += 1
        elif kind in _WORDS:
            kinds[_WORDS[kind]] += 1
        elif layer.name.endswith("_residual"):
            kinds["+ residual connection"] += 1
        elif kind in JOINS:
            link_how, link_from = JOINS[kind], _source(layer, name, home)
    *_, side, features = layers[-1].output.shape
    lines = tuple(f"{count} {TIMES} {line}" if count > 1 else line for line, count in _norm_after_convolutions(kinds))
    return Block(name, int(side), int(features), lines, change, link_from, link_how)


def _norm_after_convolutions(kinds: Counter[str]) -> list[tuple[str, int]]:
    """Put the normalisations behind the last convolution with ReLU, which each of them follows."""
    items = [item for item in kinds.items() if item[0] != NORM]
    if kinds[NORM]:
        last = max((at for at, (line, _) in enumerate(items) if line.endswith("ReLU")), default=len(items) - 1)
        items.insert(last + 1, (NORM, kinds[NORM]))
    return items


def _change(layer: Any) -> str:
    kind = type(layer).__name__
    if kind in ("Decimate", "ZeroInterleave"):
        return "down" if kind == "Decimate" else "up"
    if kind in ("Conv3D", "Conv3DTranspose") and max(layer.strides) > 1:
        return "up" if kind == "Conv3DTranspose" else "down"
    return ""


def _source(layer: Any, name: str, home: dict[str, str]) -> str:
    """Return the other block whose output this layer joins."""
    sources = [tensor._keras_history.operation.name for tensor in layer.input]
    return next((home[source] for source in sources if home.get(source) not in (None, name)), "")


def _convolution(layer: Any) -> str:
    kernel, dilation = layer.kernel_size[0], max(layer.dilation_rate)
    word = "deconv" if type(layer).__name__ == "Conv3DTranspose" else "conv"
    parts = [f"{word} {kernel}{SUPERSCRIPT_THREE}"]
    if max(layer.strides) > 1:
        parts.append(f"stride {max(layer.strides)}")
    if dilation > 1:
        parts.append(f"dilation {dilation}")
    activation = ACTIVATIONS.get(layer.activation.__name__, layer.activation.__name__)
    if layer.name.endswith("_match"):
        parts.append("to match the residual")
    return ", ".join(filter(None, [*parts, activation]))


def network_figure(model: keras.Model, patch: int = 96, title: str = "") -> Figure:
    """Draw the network as the article's Figure 2 does: down on the left, up on the right.

    Parameters
    ----------
    model : keras.Model
        From `flairnb.network.unet.build_unet`, any settings.
    patch : int
        Edge of the input cube in voxels.
    title : str
        Above the figure; the number of parameters is added.
    """
    blocks = read_blocks(model, patch)
    sides = sorted({block.side for block in blocks}, reverse=True)
    level = {side: number for number, side in enumerate(sides)}
    first_up = next((n for n, block in enumerate(blocks) if block.change == "up"), len(blocks))
    with drawing():
        figure = new_figure(10.5, 1.12 * len(sides) + 0.9)
        axes = figure.add_subplot()
        boxes = {}
        for number, block in enumerate(blocks):
            going_up, depth = number >= first_up, level[block.side]
            column = depth * SLANT if not going_up else 5.7 - depth * SLANT
            if number == first_up - 1:
                column = 5.7 / 2  # the turning point, between both arms
            if block.name == "head":
                column = 7.95
            boxes[block.name] = column, -PITCH * depth
            _draw_block(axes, block, *boxes[block.name])
        for before, after in pairwise(blocks):
            _draw_step(axes, boxes[before.name], boxes[after.name])
        for block in blocks:
            if block.link_from:
                _draw_link(axes, boxes[block.link_from], boxes[block.name], f"cross-link, {block.link_how}")
        _draw_ends(axes, boxes[blocks[0].name], boxes[blocks[-1].name], patch)
        axes.set(xlim=(-1.8, 10.05), ylim=(-PITCH * (len(sides) - 1) - 0.6, 0.6))
        axes.axis("off")
        words = f"{model.count_params() / 1e6:.2f} million parameters; shapes for an input cube of {patch}{SUPERSCRIPT_THREE} voxels"
        axes.set_title(f"{title}\n{words}" if title else words, fontsize=9.5)
    return figure


def _draw_block(axes: Axes, block: Block, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    colour = {"down": "#DCEBF7", "up": "#FBE9D0"}.get(block.change, "#EEEEEE")
    patch = FancyBboxPatch(
        (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06", fc=colour, ec="black", lw=0.9, zorder=3
    )
    axes.add_patch(patch)
    shape = f"{block.side}{SUPERSCRIPT_THREE} {TIMES} {block.features} feature{'s' if block.features > 1 else ''}"
    axes.text(x, y + HEIGHT / 2 - 0.08, f"{block.name}: {shape}", ha="center", va="top", fontsize=7.6, fontweight="bold", zorder=4)
    axes.text(x, y + HEIGHT / 2 - 0.29, "\n".join(block.lines), ha="center", va="top", fontsize=6.3, linespacing=1.15, zorder=4)


def _draw_step(axes: Axes, before: tuple[float, float], after: tuple[float, float]) -> None:
    if before[1] == after[1]:
        start, end = (before[0] + WIDTH / 2, before[1]), (after[0] - WIDTH / 2, after[1])
    else:
        side = 1 if after[1] > before[1] else -1
        along = 0.8 * WIDTH / 2 if after[0] > before[0] else -0.8 * WIDTH / 2
        far = abs(after[0] - before[0]) > WIDTH / 2
        middle = (before[0] + after[0]) / 2
        start = before[0] + along if far else middle, before[1] + side * HEIGHT / 2
        end = after[0] - along if far else middle, after[1] - side * HEIGHT / 2
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": 1.4, "color": "black", "shrinkA": 0, "shrinkB": 0}, zorder=2)


def _draw_link(axes: Axes, source: tuple[float, float], target: tuple[float, float], label: str) -> None:
    start, end = (source[0] + WIDTH / 2, source[1]), (target[0] - WIDTH / 2, target[1])
    style = {"arrowstyle": "-|>", "lw": 1.1, "ls": (0, (4, 2)), "color": "0.35", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style, zorder=2)
    axes.text((start[0] + end[0]) / 2, start[1] + 0.05, label, ha="center", va="bottom", fontsize=6.3, color="0.25")


def _draw_ends(axes: Axes, first: tuple[float, float], last: tuple[float, float], patch: int) -> None:
    arrow = {"arrowstyle": "-|>", "lw": 1.4, "color": "black", "shrinkA": 0, "shrinkB": 0}
    left, right = (first[0] - WIDTH / 2, first[1]), (last[0] + WIDTH / 2, last[1])
    axes.annotate("", left, (left[0] - 0.3, left[1]), arrowprops=arrow)
    axes.text(left[0] - 0.36, left[1], f"FLAIR\n{patch}{SUPERSCRIPT_THREE}", ha="right", va="center", fontsize=7.6)
    axes.annotate("", (right[0] + 0.3, right[1]), right, arrowprops=arrow)
    axes.text(right[0] + 0.36, right[1], "lesion\nprobability", ha="left", va="center", fontsize=7.6)
