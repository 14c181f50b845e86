"""Properties over shapes, affines and number types, and a fuzz of the header's bytes."""

from __future__ import annotations

import gzip
import struct
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flairnb.errors import FlairnbError
from flairnb.images import read_image, read_mask, write_image

SHAPES = st.tuples(*[st.integers(4, 9)] * 3)
TYPES = st.sampled_from([np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64])
EDGES = st.tuples(*[st.floats(0.2, 20.0)] * 3)
ANGLES = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
QUICK = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)


def rotation(angles) -> np.ndarray:
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [i for i in range(3) if i != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turned = turned @ step
    return turned


@QUICK
@given(
    SHAPES, TYPES, EDGES, ANGLES, st.booleans(), st.sampled_from([".nii", ".nii.gz"]), st.integers(0, 3), st.integers(0, 3), st.booleans()
)
def test_any_honest_image_is_read_and_written_back_on_its_grid(shape, dtype, edges, angles, mirror, suffix, scode, qcode, big):
    rng = np.random.default_rng(1)
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) @ np.diag(edges) @ np.diag([-1 if mirror else 1, 1, 1])
    affine[:3, 3] = (11.0, -37.0, 5.0)
    data = rng.integers(0, 100, shape).astype(dtype)
    data.flat[0], data.flat[1] = 1, 2
    image = nib.Nifti1Image(data, affine, nib.Nifti1Header(endianness=">" if big else "<"))
    image.set_data_dtype(dtype)
    image.set_sform(affine, scode)
    image.set_qform(affine, qcode)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        nib.save(image, path)
        found = read_image(path)
        np.testing.assert_array_equal(found.data, data.astype(np.float32))
        np.testing.assert_allclose(found.affine, nib.load(path).affine)
        stored = nib.load(path).header
        assert bool(found.notes) == (not stored["sform_code"] and not stored["qform_code"])
        out = write_image(Path(folder) / "mask.nii.gz", data > 50, found, np.uint8)
        np.testing.assert_array_equal(read_mask(out, like=found), data > 50)
        source, made = nib.load(path).header, nib.load(out).header
        for name in ("sform_code", "qform_code", "srow_x", "srow_z", "quatern_b", "quatern_d", "qoffset_y", "pixdim"):
            np.testing.assert_array_equal(
                made[name][..., :4] if name == "pixdim" else made[name], source[name][..., :4] if name == "pixdim" else source[name]
            )


@QUICK
@given(SHAPES, st.floats(1e-3, 1e6), st.booleans(), st.floats(-1e6, 1e6), st.sampled_from([".nii", ".nii.gz"]))
def test_slope_and_intercept_are_applied(shape, slope, negative, inter, suffix):
    slope = np.float32(-slope if negative else slope)
    inter = np.float32(inter)
    stored = np.random.default_rng(2).integers(-900, 900, shape).astype(np.int16)
    content = bytearray(nib.Nifti1Image(stored, np.diag([2.0, 2.0, 5.0, 1.0])).to_bytes())
    content[112:120] = struct.pack("<2f", slope, inter)
    wanted = (stored * np.float64(slope) + np.float64(inter)).astype(np.float32)
    if wanted.min() == wanted.max():
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(gzip.compress(bytes(content), 1) if suffix == ".nii.gz" else bytes(content))
        np.testing.assert_allclose(read_image(path).data, wanted, rtol=1e-5, atol=1e-5 * abs(slope))


@settings(QUICK, max_examples=250)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_spoilt_header_bytes_are_refused_or_give_a_usable_image(changes, packed):
    data = np.random.default_rng(3).normal(100, 9, (7, 8, 9)).astype(np.float32)
    image = nib.Nifti1Image(data, np.array([[-0.9, 0, 0.1, 9], [0, 1.1, 0, 8], [0, 0.2, 5, 7], [0, 0, 0, 1.0]]))
    content = bytearray(image.to_bytes())
    for place, value in changes:
        content[place] = value
    _refused_or_usable(bytes(content), packed)


@settings(QUICK, max_examples=80)
@given(st.binary(min_size=352, max_size=700), st.booleans())
def test_random_bytes_with_the_right_magic_are_refused_or_usable(content, packed):
    head = bytearray(content)
    head[0:4], head[344:348] = (348).to_bytes(4, "little"), b"n+1\0"
    _refused_or_usable(bytes(head), packed)


def _refused_or_usable(content: bytes, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x.nii.gz" if packed else "x.nii")
        path.write_bytes(gzip.compress(content, 1, mtime=0) if packed else content)
        for read in (read_image, read_mask):
            try:
                found = read(path)
            except FlairnbError as error:
                assert error.exit_code == 2 and "\n" not in str(error) and "x.nii" in str(error)
                continue
            if read is read_image:
                assert np.isfinite(found.data).all() and np.isfinite(found.affine).all()
                again = read_image(write_image(Path(folder) / "again.nii.gz", found.data, found))
                np.testing.assert_array_equal(again.data, found.data)
                np.testing.assert_allclose(again.affine, found.affine, rtol=1e-5, atol=1e-5)
