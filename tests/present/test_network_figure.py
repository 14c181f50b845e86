from __future__ import annotations

import pytest

from flairnb.network.unet import build_unet
from flairnb.present.network_figure import network_figure, read_blocks
from flairnb.settings import load


@pytest.fixture(scope="module")
def paper_model():
    return build_unet(load("paper", "network.width=2").network)


def test_blocks_carry_the_shapes_of_the_real_layers(paper_model):
    blocks = {block.name: block for block in read_blocks(paper_model)}
    assert [(b.side, b.features) for b in blocks.values()] == [
        (96, 2), (48, 4), (24, 8), (12, 16), (6, 32), (12, 16), (24, 8), (48, 4), (96, 2), (96, 2),
    ]  # fmt: skip
    assert [b.change for b in blocks.values()] == ["", *["down"] * 4, *["up"] * 4, ""]
    assert {name: b.link_from for name, b in blocks.items() if b.link_from} == {
        "up1": "down3",
        "up2": "down2",
        "up3": "down1",
        "up4": "input",
    }
    assert blocks["head"].lines[0].startswith("3 × conv 3³, dilation 2")
    assert blocks["head"].lines[-1] == "softmax"
    assert "deconv 3³, stride 2, ReLU" in blocks["up1"].lines


def test_other_settings_give_another_figure():
    model = build_unet(load("paper", "network.width=2 network.dilation=literal network.crosslink=add network.norm_in_blocks=batch").network)
    blocks = {block.name: block for block in read_blocks(model)}
    assert blocks["up2"].link_how == "added"
    assert "keep every 2nd voxel" in blocks["down1"].lines
    assert blocks["down1"].lines[-2:] == ("2 × batch normalisation", "+ residual connection")


def test_the_figure_writes_every_block_and_its_shape(paper_model):
    figure = network_figure(paper_model, title="U-Net")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "up4: 96³ × 2 features" in words
    assert "down4: 6³ × 32 features" in words
    assert sum(word == "cross-link, concatenated" for word in words) == 4
    assert "million parameters" in figure.axes[0].get_title()


def test_no_text_leaves_its_block(paper_model):
    figure = network_figure(paper_model)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [patch.get_window_extent() for patch in axes.patches if hasattr(patch, "get_boxstyle")]
    for text in axes.texts:
        if "conv 3" in text.get_text() or "features" in text.get_text():
            extent = text.get_window_extent()
            assert any(b.x0 <= extent.x0 and extent.x1 <= b.x1 and b.y0 <= extent.y0 and extent.y1 <= b.y1 for b in boxes), text
