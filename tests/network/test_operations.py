from __future__ import annotations

from dataclasses import replace

import pytest

from flairnb.network.operations import operations
from flairnb.network.unet import build_unet
from flairnb.settings import load


def test_a_tiny_network_agrees_with_a_count_by_hand():
    network = replace(load("paper").network, width=2, levels=1, convolutions_per_block=1, head_convolutions=1, norm_in_blocks="none")
    # One level on 4 x 6 x 8 = 192 voxels; 24 voxels below. Multiply-adds a voxel, kernel taps 27:
    full = 1 * 2 * 1 + 1 * 2 * 27  # input: match 1->2, convolution 1->2
    full += 4 * 2 * 1 + 4 * 2 * 27  # up: match 4->2, convolution 4->2 (concatenated)
    full += 2 * 2 * 27 + 2 * 2 * 1  # head, logits
    low = 2 * 4 * 27  # stride-2 convolution 2->4, counted at its output
    low += 4 * 2 * 27  # deconvolution 4->2, counted at its input
    assert operations(network, (4, 6, 8)).gflop == pytest.approx(2e-9 * (192 * full + 24 * low), rel=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"norm_in_blocks": "batch"},
        {"crosslink": "add"},
        {"convolutions_per_block": 1},
        {"convolutions_per_block": 3},
        {"dilation": "literal"},
    ],
)
def test_parameters_agree_with_keras(tiny, change):
    network = replace(tiny, **change)
    assert operations(network, (8, 8, 8)).parameters == build_unet(network).count_params()


@pytest.mark.parametrize(("width", "million", "gflop"), [(8, 1.65, 46), (16, 6.58, 184), (24, 14.8, 412), (32, 26.3, 733)])
def test_width_table_of_the_design_is_met_when_deconvolutions_are_counted_densely(width, million, gflop):
    count = operations(replace(load("paper").network, width=width), (96, 96, 96), dense_deconvolution=True)
    assert count.parameters / 1e6 == pytest.approx(million, rel=0.01)
    assert count.gflop == pytest.approx(gflop, rel=0.01)


def test_arithmetic_grows_with_the_number_of_voxels():
    network = load("paper").network
    assert operations(network, (96, 96, 48)).gflop * 2 == pytest.approx(operations(network, (96, 96, 96)).gflop)
