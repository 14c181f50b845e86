from __future__ import annotations

import itertools

import numpy as np
import pytest

from flairnb.errors import GeometryError
from flairnb.images import Image
from flairnb.present.slices import (
    as_stack,
    axial_tile,
    choose_slices,
    grey_window,
    in_plane_box,
    mosaic,
    to_ras,
)
from flairnb.present.style import look, to_png
from flairnb.present.tiles import Tile

SHAPE = (37, 28, 9)
ORDERS = list(itertools.permutations(range(3)))
FLIPS = list(itertools.product((1, -1), repeat=3))


def phantom(order=(0, 1, 2), flips=(1, 1, 1), tilt_deg=9.0):
    """Return a head with one lesion at the patient's right, front and top, stored in any axis order."""
    spacing = np.array([2.0, 2.5, 6.0])
    turn = np.deg2rad(tilt_deg)
    tilt = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    i, j, k = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    head = ((i - 18) / 16) ** 2 + ((j - 13.5) / 12) ** 2 + ((k - 4) / 4.4) ** 2 <= 1
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[25:29, 16:20, 5:7] = True  # i grows to the right, j to the front, k to the top
    data = np.where(head, 100.0, 0.0) + np.where(lesion, 80.0, 0.0) + 0.5 * j * head
    # Store the same head with permuted and flipped axes; the affine follows, so the world stays as it is.
    for axis, sign in enumerate(flips):
        if sign < 0:
            data, lesion, head = (np.flip(a, axis) for a in (data, lesion, head))
            affine = affine.copy()
            affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
            affine[:3, axis] *= -1
    data, lesion, head = (np.transpose(a, order) for a in (data, lesion, head))
    affine = affine[:, [*order, 3]]
    return Image(data.astype(np.float32), affine), lesion, head


def rendered(figure):
    import io

    from matplotlib.image import imread

    return imread(io.BytesIO(to_png(figure)))[..., :3]


@pytest.mark.parametrize(("order", "flips"), list(itertools.product(ORDERS, FLIPS)))
def test_the_patients_right_is_on_the_left_of_the_picture_and_the_front_is_up(order, flips):
    image, lesion, _ = phantom(order, flips)
    stack = as_stack(image)
    seen = to_ras(lesion, image.affine)
    k = int(seen.sum(axis=(0, 1)).argmax())
    tile = axial_tile(stack, k, (slice(None), slice(None)), (0, 200), [(seen, look("lesion"))])
    mask = tile.outlines[0][0]
    rows, columns = np.nonzero(mask)
    assert columns.mean() < 0.4 * mask.shape[1]
    assert rows.mean() < 0.5 * mask.shape[0]
    assert np.array_equal(tile.picture > 170, mask)
    assert tile.step_mm == pytest.approx((2.5, 2.0))
    assert tile.caption.startswith("z +")


def test_the_drawn_picture_has_lesion_and_letter_r_on_its_left():
    image, lesion, head = phantom((2, 0, 1), (-1, 1, -1))
    figure = mosaic(image, {"lesion": lesion, "brain": head}, count=1, columns=1)
    axes = figure.axes[0]
    letters = {text.get_text(): text.get_window_extent().x0 for text in axes.texts}
    middle = axes.get_window_extent().x0 + axes.get_window_extent().width / 2
    assert letters["R"] < middle < letters["L"]
    pixels = rendered(figure)
    yellow = (pixels[..., 0] > 0.85) & (pixels[..., 1] > 0.8) & (pixels[..., 2] < 0.4)
    box = axes.get_position()
    yellow[int((1 - box.y0) * pixels.shape[0]) :] = False  # the legend below the picture is yellow too
    assert yellow.sum() > 50
    assert np.nonzero(yellow)[1].mean() < 0.4 * pixels.shape[1]


def test_world_heights_of_slices_follow_the_affine():
    for order, flips in itertools.product(ORDERS[:3], FLIPS):
        image, lesion, _ = phantom(order, flips)
        stack = as_stack(image)
        assert np.all(np.diff(stack.z_mm) > 0)
        centre = image.affine @ [*np.argwhere(lesion).mean(axis=0), 1.0]
        k = np.nonzero(to_ras(lesion, image.affine).any(axis=(0, 1)))[0].mean()
        # Along an oblique stack the height also depends on where in the slice one is: here up to half a field of view.
        assert np.interp(k, np.arange(9), stack.z_mm) == pytest.approx(centre[2], abs=3.0)


def test_the_scale_bar_has_its_true_length():
    image, lesion, _ = phantom()
    axes = mosaic(image, {"lesion": lesion}, count=2, columns=2).axes[0]
    bar = next(line for line in axes.lines)
    label = next(text.get_text() for text in axes.texts if text.get_text().endswith(" mm") and "z" not in text.get_text())
    assert np.ptp(bar.get_xdata()) == float(label.split()[0]) == 20.0
    assert axes.get_aspect() == 1.0


def test_outlines_enclose_the_mask_in_mm():
    image, lesion, head = phantom(tilt_deg=0.0)
    axes = mosaic(image, {"lesion": lesion, "brain": head}, count=1, columns=1).axes[0]
    contour = next(c for c in axes.collections if len(c.get_paths()) and len(c.get_paths()[0].vertices) > 4)
    size = np.ptp(contour.get_paths()[0].vertices, axis=0)
    # A block of 4 x 4 voxels of 2.0 x 2.5 mm, outlined through the midpoints of the pixel sides.
    np.testing.assert_allclose(size, [4 * 2.0, 4 * 2.5])


def test_empty_masks_and_no_masks_are_drawn_without_outline():
    image, lesion, head = phantom()
    for overlays in (None, {}, [("lesion", np.zeros_like(lesion)), ("brain", np.zeros_like(head))]):
        figure = mosaic(image, overlays, title="empty")
        assert len(figure.axes[0].images) == 7  # of nine slices, the two polar ones hold next to nothing
        assert not figure.axes[0].collections


def test_a_mask_on_another_grid_is_refused():
    image, lesion, _ = phantom()
    with pytest.raises(GeometryError, match="overlay 'unet'"):
        mosaic(image, {"unet": lesion[:-1]})


def test_half_of_the_slices_show_the_most_lesion_and_the_rest_spread():
    inside = np.array([0, 0, *([50] * 30), 0])
    lesion = np.zeros(33)
    lesion[20:24] = [5, 9, 8, 4]
    chosen = choose_slices(lesion, inside, 8)
    assert len(chosen) == 8
    assert 21 in chosen
    assert chosen == sorted(set(chosen))
    assert min(chosen) >= 2
    assert max(chosen) <= 31
    assert max(np.diff(chosen)) <= 9


def test_a_short_stack_shows_all_its_slices():
    assert choose_slices(np.zeros(5), np.full(5, 10), 12) == [0, 1, 2, 3, 4]
    assert choose_slices(np.zeros(4), np.zeros(4), 2) == sorted(set(choose_slices(np.zeros(4), np.zeros(4), 2)))
    assert len(choose_slices(np.zeros(4), np.zeros(4), 2)) == 2


def test_a_lesion_outside_the_brain_still_gets_its_slice():
    lesion, inside = np.zeros(20), np.zeros(20)
    inside[5:12], lesion[17] = 100, 3
    assert 17 in choose_slices(lesion, inside, 4)


def test_the_window_is_set_by_the_brain_and_never_empty():
    data = np.zeros((7, 8, 9))
    data[2:5, 2:5, 2:5] = np.linspace(100, 200, 27).reshape(3, 3, 3)
    data[0, 0, 0] = 1e6
    low, high = grey_window(data, data == np.clip(data, 100, 200))
    assert 100 <= low < high <= 200
    assert grey_window(np.zeros((3, 4, 5))) == (0.0, 1.0)
    assert grey_window(np.full((3, 4, 5), 7.0)) == (7.0, 8.0)


def test_the_crop_keeps_a_margin_and_survives_an_empty_mask():
    inside = np.zeros((40, 50, 9), dtype=bool)
    assert in_plane_box(inside, np.array([1.0, 2.0, 5.0])) == (slice(0, 40), slice(0, 50))
    inside[10:20, 30:49, 4] = True
    assert in_plane_box(inside, np.array([1.0, 2.0, 5.0])) == (slice(4, 26), slice(27, 50))


def test_a_tile_knows_its_size():
    assert Tile(np.zeros((3, 4)), (2.0, 1.5), (0, 1)).size_mm == (6.0, 6.0)


def test_a_small_reference_is_seen_beside_larger_false_alarms():
    inside, reference, everything = np.full(40, 100), np.zeros(40), np.zeros(40)
    reference[30] = 3
    everything[5:12] = 60
    everything += reference
    chosen = choose_slices(everything, inside, 8, reference)
    assert 30 in chosen and len([k for k in chosen if 5 <= k < 12]) >= 3 and len(chosen) == 8
    assert 30 not in choose_slices(everything, inside, 8)
    assert choose_slices(everything, inside, 8, np.zeros(40)) == choose_slices(everything, inside, 8)


def test_a_mosaic_shows_the_reference_where_there_is_one():
    image, lesion, head = phantom(tilt_deg=0.0)
    alarms = np.zeros_like(lesion)
    alarms[10:20, 8:16, :4] = True
    tiny = np.zeros_like(lesion)
    tiny[25, 16, 6] = True
    shown = {
        name: [text.get_text() for text in mosaic(image, {"unet": alarms, name: tiny, "brain": head}, count=2).axes[0].texts]
        for name in ("manual", "threshold")
    }
    height = f"z {as_stack(image).z_mm[6]:+.0f} mm"
    assert height in shown["manual"] and height not in shown["threshold"]
