"""The paper's U-Net, block by block; read it next to Figure 2.

What the article prints (CNN Model Architecture): four down-sampled blocks and
four up-sampled blocks, stride-2 convolution down and stride-2 deconvolution
up, 3 x 3 x 3 kernels, ReLU, a dilation factor of 2, cross-links between
matching blocks, residual connections whose feature numbers are matched by a
plain 1 x 1 x 1 convolution, three more convolution + ReLU + batch-normalised
layers, softmax. What it does not print is a setting
(:class:`flairnb.settings.NetworkSettings`).

======== ================================ ============================
level    going down                       coming up
======== ================================ ============================
0        ``input_block`` (width)          ``up_block`` 4, head, softmax
1        ``down_block`` 1 (2 x width)     ``up_block`` 3
2        ``down_block`` 2 (4 x width)     ``up_block`` 2
3        ``down_block`` 3 (8 x width)     ``up_block`` 1
4        ``down_block`` 4 (16 x width)
======== ================================ ============================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flairnb.errors import SettingsError
from flairnb.network.operations import operations

if TYPE_CHECKING:
    import keras

    from flairnb.settings import NetworkSettings

__all__ = ["build_unet", "convolution", "down_block", "head", "input_block", "operations", "residual_block", "up_block"]


def build_unet(network: NetworkSettings, name: str = "unet", dtype: str = "float32") -> keras.Model:
    """Build the U-Net with fresh weights.

    Parameters
    ----------
    network : NetworkSettings
        Width, dilation, normalisation and the other open points.
    name : str
        Name of the model.
    dtype : str
        Keras dtype policy: ``float32``, ``mixed_float16``,
        ``mixed_bfloat16``, or ``float16`` (storage). The softmax and the
        logits before it are float32 always.

    Returns
    -------
    keras.Model
        (batch, i, j, k, 1) z-scored FLAIR to (batch, i, j, k, classes) class
        probabilities, float32; i, j, k multiples of ``2 ** network.levels``.
    """
    import keras

    _check(network)
    flair = keras.Input((None, None, None, 1), name="flair")
    x = input_block(flair, network, dtype)
    crosslinks = []
    for block in range(1, network.levels + 1):
        crosslinks.append(x)
        x = down_block(x, network.width * 2**block, network, dtype, f"down{block}")
    for block in range(1, network.levels + 1):
        x = up_block(x, crosslinks.pop(), network.width * 2 ** (network.levels - block), network, dtype, f"up{block}")
    return keras.Model(flair, head(x, network, dtype), name=name)


def input_block(flair: Any, network: NetworkSettings, dtype: str) -> Any:
    """Make the first features at full resolution (before the first down-sampling)."""
    return residual_block(flair, network.width, network.convolutions_per_block, network, dtype, "input")


def down_block(x: Any, filters: int, network: NetworkSettings, dtype: str, name: str) -> Any:
    """Halve the resolution by a stride-2 convolution, then convolve with a residual.

    The stride-2 convolution counts as the first of the block's convolutions.
    With ``dilation="literal"`` it is dilated too, which is the same as dropping
    seven of eight voxels first (see :mod:`flairnb.network.layers`).
    """
    strides = 2
    if network.dilation == "literal":
        x, strides = _layer("Decimate")(name=f"{name}_decimate", dtype=dtype)(x), 1
    x = convolution(x, filters, network, dtype, f"{name}_stride", strides=strides, dilation=1)
    return residual_block(x, filters, network.convolutions_per_block - 1, network, dtype, name)


def up_block(x: Any, crosslink: Any, filters: int, network: NetworkSettings, dtype: str, name: str) -> Any:
    """Double the resolution by a stride-2 deconvolution, join the cross-link, convolve."""
    from keras import layers

    if network.dilation == "literal":
        x = convolution(x, filters, network, dtype, f"{name}_deconv", dilation=1)
        x = _layer("ZeroInterleave")(name=f"{name}_interleave", dtype=dtype)(x)
    else:
        x = convolution(x, filters, network, dtype, f"{name}_deconv", strides=2, transposed=True)
    join = layers.Concatenate if network.crosslink == "concat" else layers.Add
    x = join(name=f"{name}_crosslink", dtype=dtype)([x, crosslink])
    return residual_block(x, filters, network.convolutions_per_block, network, dtype, name)


def residual_block(x: Any, filters: int, count: int, network: NetworkSettings, dtype: str, name: str) -> Any:
    """Apply `count` convolutions and add the block's own input to the result.

    Where the number of features changes, a plain 1 x 1 x 1 convolution matches
    it; where it does not, the input is added as it is.
    """
    from keras import layers

    if count == 0:
        return x
    shortcut = x
    if x.shape[-1] != filters:
        shortcut = layers.Conv3D(filters, 1, name=f"{name}_match", dtype=dtype)(x)
    for number in range(1, count + 1):
        x = convolution(x, filters, network, dtype, f"{name}_conv{number}")
    return layers.Add(name=f"{name}_residual", dtype=dtype)([x, shortcut])


def head(x: Any, network: NetworkSettings, dtype: str) -> Any:
    """Apply three convolution + ReLU + batch-normalised layers, then the softmax."""
    from keras import layers

    for number in range(1, network.head_convolutions + 1):
        x = convolution(x, network.width, network, dtype, f"head_conv{number}", norm=True)
    logits = layers.Conv3D(network.classes, 1, name="logits", dtype="float32")(x)
    return layers.Softmax(name="softmax", dtype="float32")(logits)


def convolution(  # noqa: PLR0913 (a layer has this many properties)
    x: Any,
    filters: int,
    network: NetworkSettings,
    dtype: str,
    name: str,
    *,
    strides: int = 1,
    dilation: int | None = None,
    transposed: bool = False,
    norm: bool | None = None,
) -> Any:
    """Convolve, apply ReLU, normalise: in the order the article prints for the last layers.

    Stride-1 convolutions are dilated by 2 unless ``network.dilation`` is
    ``none`` or `dilation` says otherwise. Blocks are normalised if
    ``network.norm_in_blocks`` is ``batch``; `norm` overrides that.
    """
    from keras import layers

    if dilation is None:
        dilation = 1 if strides > 1 or network.dilation == "none" else 2
    kind = layers.Conv3DTranspose if transposed else layers.Conv3D
    x = kind(
        filters,
        network.kernel,
        strides=strides,
        dilation_rate=dilation,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
        dtype=dtype,
    )(x)
    if norm if norm is not None else network.norm_in_blocks == "batch":
        x = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm", dtype=dtype)(x)
    return x


def _layer(name: str) -> type:
    from flairnb.network.layers import layer_classes

    return layer_classes()[name]


def _check(network: NetworkSettings) -> None:
    allowed = {
        "dilation": ("stride1_only", "literal", "none"),
        "norm_in_blocks": ("none", "batch"),
        "crosslink": ("concat", "add"),
    }
    for key, values in allowed.items():
        if getattr(network, key) not in values:
            raise SettingsError(f"network.{key}: expected one of {', '.join(values)}, found {getattr(network, key)!r}.")
    least = {"width": 1, "levels": 1, "convolutions_per_block": 1, "kernel": 1, "head_convolutions": 0, "classes": 2}
    for key, low in least.items():
        if getattr(network, key) < low:
            raise SettingsError(f"network.{key}: expected at least {low}, found {getattr(network, key)}.")
    if network.kernel % 2 == 0:
        raise SettingsError(f"network.kernel: expected an odd number, found {network.kernel}.")
