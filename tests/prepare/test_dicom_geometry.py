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
    np.testing.assert_allclose(way.affine(stack), matrix, atol=1e-9)


def test_a_volume_beside_its_slices_is_refused():
    stack = stack_frames([frame(k) for k in range(5)])
    off = stack.affine.copy()
    off[:3, 3] += 0.1 * stack.affine[:3, 1]
    coarse = stack.affine @ np.diag([1, 2, 1, 1])
    for shape, affine in ((stack.shape, off), (stack.shape, coarse), ((5, 7, 9), stack.affine), ((7, 5, 8), stack.affine)):
        with pytest.raises(GeometryError, match="converted volume on the pixels"):
            way_back(stack, shape, affine)


@pytest.mark.parametrize("end", [0, 39])
def test_a_volume_whose_distance_is_a_little_off_belongs_to_its_slices(end):
    """Of two rounded positions, as converters take it: 1% is 0.39 slices at the other end."""
    stack = stack_frames([frame(k) for k in range(40)])
    near = stack.affine.copy()
    near[:3, 0] *= 1.01
    near[:3, 3] += end * (stack.affine - near)[:3, 0]
    way = way_back(stack, stack.shape, near)
    assert (way.axes, way.flips) == ((0, 1, 2), ())
    np.testing.assert_allclose(way.affine(stack), stack.affine, atol=1e-9)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (np.diag([1, 1, 1, 1]) + np.eye(4)[:, [0]] @ [[0, 0, 0, 0.1]], "up to 0.10 voxels beside"),
        (np.diag([1.05, 1, 1, 1]), "up to 0.19 voxels beside"),
        (np.diag([0.2, 1, 1, 1]), "up to 16.00 voxels beside"),
        (np.diag([1, 1, 0.5, 1]), "up to 7.00 voxels beside"),
        (np.array([[1, 0, 0, 0], [0, 1, -1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]), "turned against"),
    ],
    ids=["shifted", "stretched", "flat", "fine columns", "turned"],
)
def test_what_is_said_of_a_volume_beside_its_slices_is_how_far(spoil, words):
    """Voxels of the volume, at the corner where it is farthest: 4 steps of the slices, 7 columns."""
    stack = stack_frames([frame(k) for k in range(5)])
    with pytest.raises(GeometryError, match=words):
        way_back(stack, stack.shape, stack.affine @ spoil)


def test_a_volume_of_another_shape_is_not_called_zero_voxels_beside():
    stack = stack_frames([frame(k) for k in range(5)])
    with pytest.raises(GeometryError, match=r"found shape \(4, 7, 8\), another one\."):
        way_back(stack, (4, 7, 8), stack.affine)


def test_orientations_have_words():
    assert orientation_word([1, 0, 0, 0, 1, 0]) == "axial"
    assert orientation_word([0, 1, 0, 0, 0, -1]) == "sagittal"
    assert orientation_word([1, 0, 0, 0, 0, -1]) == "coronal"
    half = np.sqrt(0.5)
    assert orientation_word([1, 0, 0, 0, half, half]) == "oblique"
