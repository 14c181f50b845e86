from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.errors import SettingsError
from flairnb.network.unet import build_unet
from flairnb.settings import load


@pytest.fixture(scope="module")
def paper_model():
    return build_unet(load("paper").network)


def test_the_paper_profile_has_every_part_that_the_article_prints(paper_model):
    names = [layer.name for layer in paper_model.layers]
    assert sum(n.endswith("_stride") for n in names) == 4, "four down-sampled blocks"
    assert sum(n.endswith("_deconv") for n in names) == 4, "four up-sampled blocks"
    assert sum(n.endswith("_crosslink") for n in names) == 4
    assert [n for n in names if n.endswith("_norm")] == ["head_conv1_norm", "head_conv2_norm", "head_conv3_norm"]
    assert names[-1] == "softmax"
    for layer in paper_model.layers:
        if not hasattr(layer, "kernel_size"):
            continue
        plain = layer.name.endswith("_match") or layer.name == "logits"
        assert layer.kernel_size == ((1, 1, 1) if plain else (3, 3, 3)), layer.name
        strided = layer.name.endswith(("_stride", "_deconv"))
        assert layer.strides == ((2, 2, 2) if strided else (1, 1, 1)), layer.name
        assert layer.dilation_rate == ((1, 1, 1) if strided or plain else (2, 2, 2)), layer.name
        assert layer.activation.__name__ == ("linear" if plain else "relu"), layer.name


def test_features_double_at_each_step_down_and_halve_going_up(paper_model):
    sizes = {layer.name: layer.filters for layer in paper_model.layers if hasattr(layer, "filters")}
    assert [sizes[f"down{n}_stride"] for n in (1, 2, 3, 4)] == [32, 64, 128, 256]
    assert [sizes[f"up{n}_deconv"] for n in (1, 2, 3, 4)] == [128, 64, 32, 16]


@pytest.mark.parametrize("dilation", ["stride1_only", "literal", "none"])
@pytest.mark.parametrize("crosslink", ["concat", "add"])
def test_output_is_a_probability_on_the_input_grid(tiny, dilation, crosslink, rng):
    model = build_unet(replace(tiny, dilation=dilation, crosslink=crosslink))
    out = model(rng.normal(size=(2, 8, 12, 16, 1)).astype("float32")).numpy()
    assert out.shape == (2, 8, 12, 16, 2)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_softmax_stays_float32_under_mixed_precision(tiny, policy, rng):
    model = build_unet(tiny, dtype=policy)
    assert model(rng.normal(size=(1, 8, 8, 8, 1))).dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert model.get_layer("down1_conv1").compute_dtype == policy.removeprefix("mixed_")
    assert model.get_layer("down1_conv1").variable_dtype == "float32"


def test_literal_down_sampling_equals_a_strided_convolution_with_a_dilated_kernel(rng):
    import tensorflow as tf

    from flairnb.network.layers import layer_classes

    x = rng.normal(size=(1, 8, 10, 12, 3)).astype("float32")
    kernel = rng.normal(size=(3, 3, 3, 3, 4)).astype("float32")
    dense = np.zeros((5, 5, 5, 3, 4), dtype="float32")
    dense[::2, ::2, ::2] = kernel
    expected = tf.nn.conv3d(x, dense, [1, 2, 2, 2, 1], "SAME")
    decimated = layer_classes()["Decimate"]()(x)
    found = tf.nn.conv3d(decimated, kernel, [1, 1, 1, 1, 1], "SAME")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_literal_up_sampling_equals_a_strided_deconvolution_with_a_dilated_kernel(rng):
    import tensorflow as tf

    from flairnb.network.layers import layer_classes

    x = rng.normal(size=(1, 4, 5, 6, 3)).astype("float32")
    kernel = rng.normal(size=(3, 3, 3, 4, 3)).astype("float32")
    dense = np.zeros((5, 5, 5, 4, 3), dtype="float32")
    dense[::2, ::2, ::2] = kernel
    expected = tf.nn.conv3d_transpose(x, dense, (1, 8, 10, 12, 4), [1, 2, 2, 2, 1], "SAME")
    convolved = tf.nn.conv3d_transpose(x, kernel, (1, 4, 5, 6, 4), [1, 1, 1, 1, 1], "SAME")
    found = layer_classes()["ZeroInterleave"]()(convolved)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_literal_dilation_reads_one_voxel_in_eight(tiny, rng):
    network = replace(tiny, dilation="literal", convolutions_per_block=1, levels=1, crosslink="add")
    model = build_unet(network)
    import keras

    deep = keras.Model(model.input, model.get_layer("down1_decimate").output)
    x = rng.normal(size=(1, 8, 8, 8, 1)).astype("float32")
    moved = x.copy()
    moved[:, ::2] += 1
    np.testing.assert_array_equal(deep(x), deep(moved))


@pytest.mark.parametrize(
    ("key", "value"), [("dilation", "twice"), ("norm_in_blocks", "group"), ("crosslink", "max"), ("kernel", 4), ("width", 0)]
)
def test_a_setting_the_network_cannot_have_is_named(tiny, key, value):
    with pytest.raises(SettingsError, match=f"network.{key}"):
        build_unet(replace(tiny, **{key: value}))
