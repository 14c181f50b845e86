from __future__ import annotations

import numpy as np
import pytest

from flairnb.network.unet import build_unet
from flairnb.report.readings import built_facts, dilation_table, influence, width_table
from flairnb.settings import load


@pytest.fixture(scope="module")
def network():
    return load("smoke").network


@pytest.fixture(scope="module")
def literal(network):
    return influence(network, "literal", 32)


def test_the_literal_reading_sees_only_voxels_of_one_parity(literal):
    for one in literal:
        found = np.argwhere(one.mask)
        assert len(found) and len({tuple(row % 2) for row in found}) == 1
        assert one.share_of_neighbours == pytest.approx(1 / 27)
        assert one.share_of_patch <= 1 / 8
    even, odd = literal
    assert even.share_of_patch < odd.share_of_patch


def test_the_circle_lies_on_the_voxel_whose_influence_is_drawn(network, literal):
    from flairnb.report.audit import dilation_maps

    figure = dilation_maps([*literal, *influence(network, "none", 32)])
    assert [axes.get_title().split("\n")[1] for axes in figure.axes] == ["even voxel", "odd voxel", "odd voxel"]
    for axes, one in zip(figure.axes, [*literal, None], strict=True):
        (circle,) = axes.lines
        at = circle.get_xdata()[0], circle.get_ydata()[0]
        assert at == ((16, 16) if axes is figure.axes[0] else (17, 17))
        # The literal reading sees voxels of one parity: the output voxel's own, wherever that is.
        plane = np.asarray(axes.images[0].get_array()).T
        assert plane[at] and (one is None or not plane[at[0] - 1, at[1]])


@pytest.mark.parametrize("dilation", ["none", "stride1_only"])
def test_the_other_readings_see_all_neighbours(network, dilation):
    for one in influence(network, dilation, 32):
        assert one.share_of_neighbours == 1.0 and one.share_of_patch > 0.9


def test_the_readings_cost_the_same(network, literal):
    from flairnb.report.readings import Influence

    rows = [*literal, Influence("none", True, literal[0].mask)]
    table = dilation_table(network, rows)
    assert table["million_parameters"].nunique() == 1 and table["gflop_a_patch"].nunique() == 1


def test_width_16_is_what_fits_the_printed_memory():
    paper = load("paper")
    table = width_table(paper.network, paper.train, 295).set_index("width")
    # By hand for the first block alone: two convolutions of 16 channels, 96^3 voxels, six patches, 4 bytes.
    assert table.loc[16, "gib_outputs"] > 2 * 16 * 96**3 * 6 * 4 / 2**30
    assert 3 * table.loc[16, "gib_outputs"] < 12 < 2 * table.loc[32, "gib_outputs"]
    assert table.loc[16, "training_eflop"] == pytest.approx(3 * table.loc[16, "gflop_a_patch"] * 70800 * 50 / 1e9)


def test_stride_dilation_and_match_are_read_off_the_built_network(network):
    assert built_facts(build_unet(network)) == {"stride": 2, "dilation": 2, "match_kernel": 1}
