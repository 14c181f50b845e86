"""Two layers that Keras lacks: stride 2 together with dilation 2, taken literally.

A 3 x 3 x 3 convolution with stride 2 and dilation 2 reads input voxels
2o + 2k + 1 for output voxel o (TensorFlow's "SAME" padding, even sizes): it
never looks at the other seven of eight voxels. So it equals *keep every
second voxel, then convolve as usual*, and its transpose equals *convolve as
usual, then put zeros between the voxels*. Keras refuses the combination
(strides > 1 and dilation > 1), hence these layers.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def layer_classes() -> dict[str, type]:
    """Define and register the layers (here, so that importing is light).

    Returns
    -------
    dict
        ``Decimate`` : (batch, i, j, k, c) to (batch, i/2, j/2, k/2, c), the odd voxels.
        ``ZeroInterleave`` : (batch, i, j, k, c) to (batch, 2i, 2j, 2k, c), zeros at the even voxels.
    """
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable(package="flairnb")
    class Decimate(keras.layers.Layer):
        """Keep voxels 1, 3, 5, ... along each spatial axis."""

        def call(self, x: Any) -> Any:
            return x[:, 1::2, 1::2, 1::2, :]

        def compute_output_shape(self, shape: tuple) -> tuple:
            return (shape[0], *[None if n is None else n // 2 for n in shape[1:4]], shape[4])

    @keras.saving.register_keras_serializable(package="flairnb")
    class ZeroInterleave(keras.layers.Layer):
        """Write the input to voxels 1, 3, 5, ... and zero to 0, 2, 4, ..."""

        def call(self, x: Any) -> Any:
            for axis in (1, 2, 3):
                pair = ops.stack([ops.zeros_like(x), x], axis=axis + 1)
                shape = ops.shape(x)
                x = ops.reshape(pair, (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]))
            return x

        def compute_output_shape(self, shape: tuple) -> tuple:
            return (shape[0], *[None if n is None else 2 * n for n in shape[1:4]], shape[4])

    return {"Decimate": Decimate, "ZeroInterleave": ZeroInterleave}
