"""The slice to paint on: what goes to the browser, and where strokes come back to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flairnb.images import Image
from flairnb.present.brush_pad import bits_of, brush_pad, points_of, seen_stack
from flairnb.present.case_view import Case, pack
from flairnb.present.slices import as_stack

SHAPE = (11, 13, 7)


def make_case(affine):
    data = np.full(SHAPE, 50.0, dtype=np.float32)
    data[3, 4, 5] = 200.0
    mask = data > 100
    return Case("one voxel", Image(data, affine), {"unet": mask}, np.ones(SHAPE, dtype=bool)), affine[:3, :3] @ (3, 4, 5) + affine[:3, 3]


def test_a_click_on_the_brightest_pixel_comes_back_as_its_place_in_mm(oblique_affine):
    case, there = make_case(oblique_affine)
    packed = pack(case)
    k, row, column = np.unravel_index(seen_stack(packed.image).argmax(), seen_stack(packed.image).shape)
    np.testing.assert_allclose(points_of(packed, [[row, column]], k), [there], atol=1e-6)
    told = []
    pad = brush_pad(packed, packed.layers["unet"], lambda tool, points: told.append((tool, points)))
    pad._handle_custom_msg({"stroke": [[int(row), int(column)]], "k": int(k), "tool": "add"}, [])
    assert told[0][0] == "add" and np.allclose(told[0][1], [there])
    pad.go_to(there)
    assert pad.k == k and np.allclose(pad.cross, [row, column, k])
    pad.close()


def test_the_patients_right_is_on_the_left_and_the_front_is_up(oblique_affine):
    case, _ = make_case(oblique_affine)
    packed = pack(case)
    first, right, down = points_of(packed, [[0, 0], [0, 5], [5, 0]], 2)
    assert right[0] < first[0] - 3 and down[1] < first[1] - 3


def test_masks_travel_as_bits_in_the_order_of_the_picture(oblique_affine):
    case, _ = make_case(oblique_affine)
    packed = pack(case)
    seen = seen_stack(packed.layers["unet"])
    bits = np.frombuffer(bits_of(packed.layers["unet"]), np.uint8)
    at = int(seen.argmax())
    assert bits[at >> 3] >> (7 - (at & 7)) & 1 and np.unpackbits(bits).sum() == 1


def test_the_height_on_the_slice_is_that_of_still_pictures(oblique_affine):
    """Of a tilted volume: its corner, or that of the part cut out, is millimetres higher or lower."""
    case, _ = make_case(oblique_affine)
    brain = np.zeros(SHAPE, dtype=bool)
    brain[2:5, 3:6, 3:6] = True
    case = replace(case, brain=brain)
    packed = pack(case)
    pad = brush_pad(packed, packed.layers["unet"], lambda tool, points: None)
    whole = as_stack(case.flair).z_mm
    first = packed.box[2].start
    np.testing.assert_allclose(pad.z_mm, whole[first : first + packed.image.shape[2]])
    assert len(pad.z_mm) == pad.shape[0] and abs(packed.affine[2, 3] - pad.z_mm[0]) > 0.5
    pad.close()
