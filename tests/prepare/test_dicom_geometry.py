"""Slices in order, and the way from a volume back to them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flairnb.errors import GeometryError
from flairnb.prepare.dicom_geometry import Frame, orientation_word, stack_frames, way_back

A = np.deg2rad(14.0)
ACROSS, DOWN = np.array([np.cos(A), np.sin(A), 0]), np.array([-np.sin(A) * np.cos(A), np.cos(A) ** 2, np.sin(A)])
DOWN = DOWN / np.linalg.norm(DOWN)
NORMAL = np.cross(ACROSS, DOWN)
ORIGIN, STEP_MM, PIXEL_MM, ROWS, COLUMNS = np.array([-90.0, -110.0, -40.0]), 5.5, (1.1, 0.9), 7, 8


def frame(place: float, **values) -> Frame:
    position = tuple(ORIGIN + place * STEP_MM * NORMAL)
    return replace(Frame(Path(f"{place}"), 0, position, (*ACROSS, *DOWN), PIXEL_MM, ROWS, COLUMNS), **values)


def test_slices_are_ordered_by_place_and_keep_the_patients_sides():
    stack = stack_frames([frame(k) for k in (3, 0, 4, 1, 2)])
    assert [f.path.name for f in stack.frames] == ["0", "1", "2", "3", "4"] and stack.shape == (5, 7, 8)
    # DICOM PS3.3 C.7.6.2.1.1: position + row direction x column spacing x column + column direction x row spacing x row, in LPS.
    lps = ORIGIN + 2 * STEP_MM * NORMAL + ACROSS * PIXEL_MM[1] * 6 + DOWN * PIXEL_MM[0] * 3
    np.testing.assert_allclose((stack.affine @ [2, 3, 6, 1])[:3], lps * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        ([0, 1, 2, 4, 5], "missing slices"),
        ([0, 1, 2, 2.15, 4], "missing slices"),
        ([0, 1, 2, 3.3, 4.2], "uneven distances"),
        ([0, 1, 1, 2, 3], "several images at one slice position"),
        ([0], "a single slice"),
    ],
)
def test_a_stack_with_faults_is_refused(frames, fault):
    with pytest.raises(GeometryError, match=fault):
        stack_frames([frame(k) for k in frames])


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"rows": 9}, "several sizes"),
        ({"pixel_mm": (1.1, 1.0)}, "several sizes"),
        ({"orientation": (0, 1, 0, 0, 0, -1)}, "several orientations"),
        ({"position": tuple(ORIGIN + STEP_MM * NORMAL + 3 * ACROSS)}, "do not lie on a line"),
    ],
)
def test_one_slice_unlike_the_others_is_refused(values, fault):
    with pytest.raises(GeometryError, match=fault):
        stack_frames([frame(0), frame(1, **values), frame(2), frame(3)])


def test_a_stack_that_leans_is_refused():
    lean = [frame(k, position=tuple(ORIGIN + k * (STEP_MM * NORMAL + 1.5 * DOWN))) for k in range(5)]
    with pytest.raises(GeometryError, match="shifted against each other"):
        stack_frames(lean)


def test_rounded_positions_are_accepted():
    stack = stack_frames([frame(k, position=tuple(np.round(ORIGIN + k * STEP_MM * NORMAL, 2))) for k in range(40)])
    np.testing.assert_allclose(stack.affine[:3, 0] * (-1, -1, 1), STEP_MM * NORMAL, atol=1e-3)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_the_way_back_undoes_every_exchange_and_flip(rng, axes, flips):
    stack = stack_frames([frame(k) for k in range(5)])
    source = rng.random(stack.shape)
    # A volume that holds the source under other axes; its matrix written out axis by axis.
    volume = np.transpose(np.flip(source, flips), axes)
    matrix = np.eye(4)
    start = np.zeros(4)
    start[3] = 1
    for n in flips:
        start[n] = source.shape[n] - 1
    for place, n in enumerate(axes):
        matrix[:3, place] = stack.affine[:3, n] * (-1 if n in flips else 1)
    matrix[:3, 3] = (stack.affine @ start)[:3]
    way = way_back(stack, volume.shape, matrix)
    np.testing.assert_array_equal(way(volume), source)


def test_a_volume_beside_its_slices_is_refused():
    stack = stack_frames([frame(k) for k in range(5)])
    off = stack.affine.copy()
    off[:3, 3] += 0.1 * stack.affine[:3, 1]
    coarse = stack.affine @ np.diag([1, 2, 1, 1])
    for shape, affine in ((stack.shape, off), (stack.shape, coarse), ((5, 7, 9), stack.affine), ((7, 5, 8), stack.affine)):
        with pytest.raises(GeometryError, match="converted volume on the pixels"):
            way_back(stack, shape, affine)


def test_orientations_have_words():
    assert orientation_word([1, 0, 0, 0, 1, 0]) == "axial"
    assert orientation_word([0, 1, 0, 0, 0, -1]) == "sagittal"
    assert orientation_word([1, 0, 0, 0, 0, -1]) == "coronal"
    half = np.sqrt(0.5)
    assert orientation_word([1, 0, 0, 0, half, half]) == "oblique"
