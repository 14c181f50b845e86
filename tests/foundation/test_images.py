"""Reading and writing: every promise of the docstrings."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from flairnb.errors import GeometryError, InputError, MissingDataError
from flairnb.images import Image, image_sha256, read_image, read_mask, write_image

SHAPE = (7, 8, 9)


def save(path, data, affine, **codes):
    image = nib.Nifti1Image(data, affine)
    for name, code in codes.items():
        getattr(image, f"set_{name}")(affine, code)
    nib.save(image, path)
    return path


@pytest.fixture
def flair(tmp_path, rng, oblique_affine):
    return save(tmp_path / "sub-1_FLAIR.nii.gz", rng.normal(100, 20, SHAPE).astype(np.float32), oblique_affine, sform=1, qform=1)


def test_a_written_mask_lies_on_exactly_the_grid_of_its_image(flair, tmp_path, rng):
    image = read_image(flair)
    mask = rng.random(SHAPE) > 0.5
    out = nib.load(write_image(tmp_path / "mask.nii.gz", mask, image, np.uint8))
    source = nib.load(flair)
    np.testing.assert_array_equal(np.asarray(out.dataobj) > 0, mask)
    np.testing.assert_array_equal(out.affine, source.affine)
    for form in ("get_sform", "get_qform"):
        (a, ca), (b, cb) = (getattr(i, form)(coded=True) for i in (out, source))
        np.testing.assert_allclose(a, b)
        assert ca == cb
    assert out.get_data_dtype() == np.uint8
    assert out.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert not list(tmp_path.glob(".partial-*"))


def test_scaled_integers_are_read_as_real_values(tmp_path, oblique_affine):
    stored = np.arange(504, dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(stored, oblique_affine)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "scaled.nii")
    np.testing.assert_allclose(read_image(tmp_path / "scaled.nii").data, stored * 0.5 - 3)


def test_one_volume_in_four_dimensions_is_taken_as_three(tmp_path, oblique_affine, rng):
    data = rng.normal(size=(*SHAPE, 1)).astype(np.float32)
    assert read_image(save(tmp_path / "one.nii.gz", data, oblique_affine)).shape == SHAPE


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("four.nii.gz", np.random.default_rng(0).normal(size=(*SHAPE, 3)), "expected a 3D image, found 4D"),
        ("flat.nii.gz", np.random.default_rng(0).normal(size=(7, 8)), "expected a 3D image, found 2D"),
        ("slice.nii.gz", np.random.default_rng(0).normal(size=(7, 8, 1)), "at least 4 voxels"),
        ("constant.nii.gz", np.full(SHAPE, 7.0), "one value"),
        ("zero.nii.gz", np.zeros(SHAPE), "one value"),
        ("nan.nii.gz", np.where(np.arange(504).reshape(SHAPE) == 5, np.nan, 1.0), "1 NaN"),
        ("complex.nii.gz", np.ones(SHAPE, dtype=np.complex64), "one real number"),
    ],
)
def test_unusable_images_are_refused_in_one_line(tmp_path, oblique_affine, name, data, words):
    path = save(tmp_path / name, data if np.iscomplexobj(data) else data.astype(np.float32), oblique_affine)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_is_a_missing_data_error(tmp_path):
    with pytest.raises(MissingDataError, match="nothing at"):
        read_image(tmp_path / "absent.nii.gz")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="found the folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello, this is no image", gzip.compress(b"nor is this", mtime=0)])
def test_files_that_are_no_nifti_are_refused(tmp_path, content):
    path = tmp_path / "wrong.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"wrong\.nii\.gz"):
        read_image(path)


@pytest.mark.parametrize("content", [b"hello, this is no image", b"", "half"])
@pytest.mark.parametrize("relative", [False, True])
def test_what_is_said_of_a_file_holds_no_word_of_its_folders(content, relative, flair, tmp_path, monkeypatch):
    folder = tmp_path / "Mueller Hans" / "1950 05 17"
    folder.mkdir(parents=True)
    whole = flair.read_bytes()
    (folder / "F.nii.gz").write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    monkeypatch.chdir(tmp_path)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=r"cannot read .*F\.nii\.gz") as caught:
            read((folder / "F.nii.gz").relative_to(tmp_path) if relative else folder / "F.nii.gz")
        assert not [word for word in ("Mueller", "Hans", "1950", "05", str(tmp_path)) if word in str(caught.value)]


def test_a_truncated_gzip_is_refused(flair):
    whole = flair.read_bytes()
    flair.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot read"):
        read_image(flair)


def test_a_singular_affine_is_refused(tmp_path, rng):
    affine = np.diag([1.0, 1.0, 0.0, 1.0])
    image = nib.Nifti1Image(rng.normal(size=SHAPE).astype(np.float32), np.eye(4))
    image.header["sform_code"] = 1
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        image.header[name] = affine[row]
    image.header["qform_code"] = 0
    raw = image.to_bytes()
    path = tmp_path / "singular.nii"
    path.write_bytes(raw)
    loaded = nib.load(path)
    if np.linalg.det(loaded.affine[:3, :3]) == 0:
        with pytest.raises(InputError, match="singular"):
            read_image(path)
    else:
        header = image.header.copy()
        header.set_sform(affine, 1)
        path.write_bytes(header.binaryblock + raw[348:])
        with pytest.raises(InputError, match="singular|voxel edges"):
            read_image(path)


def test_voxels_no_head_has_are_refused(tmp_path, rng):
    path = save(tmp_path / "metres.nii.gz", rng.normal(size=SHAPE).astype(np.float32), np.diag([0.001, 0.001, 0.005, 1]))
    with pytest.raises(InputError, match="voxel edges"):
        read_image(path)


def test_a_mask_on_another_grid_is_a_geometry_error(flair, tmp_path, oblique_affine):
    image = read_image(flair)
    moved = oblique_affine.copy()
    moved[0, 3] += 3
    other = save(tmp_path / "mask.nii.gz", np.ones(SHAPE, dtype=np.uint8), moved)
    with pytest.raises(GeometryError, match=r"mask mask\.nii\.gz"):
        read_mask(other, like=image)
    right = save(tmp_path / "right.nii.gz", np.eye(8, 9, dtype=np.uint8)[None].repeat(7, 0), oblique_affine)
    assert read_mask(right, like=image).sum() == 7 * 8


def test_an_array_of_another_shape_is_never_written(flair, tmp_path):
    with pytest.raises(GeometryError):
        write_image(tmp_path / "x.nii.gz", np.zeros((3, 3, 3)), read_image(flair))
    assert not (tmp_path / "x.nii.gz").exists()


def test_the_hash_of_an_image_is_that_of_the_file_with_its_voxels(tmp_path, rng, oblique_affine):
    import hashlib

    for name in ("a.nii.gz", "a.nii"):
        nib.save(nib.Nifti1Image(rng.random((5, 6, 7)), oblique_affine), tmp_path / name)
        assert image_sha256(tmp_path / name) == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    found = set()
    for name in "bc":  # a pair's headers are alike, its voxels are not
        nib.save(nib.Nifti1Pair(rng.random((5, 6, 7)), oblique_affine), tmp_path / f"{name}.hdr")
        assert image_sha256(tmp_path / f"{name}.hdr") == image_sha256(tmp_path / f"{name}.img")
        found.add(image_sha256(tmp_path / f"{name}.hdr"))
    assert len(found) == 2 and (tmp_path / "b.hdr").read_bytes() == (tmp_path / "c.hdr").read_bytes()


@pytest.mark.parametrize("capitals", [False, True])
@pytest.mark.parametrize("given", [".hdr", ".img"])
def test_the_hash_of_a_pair_knows_both_of_its_files(given, capitals, tmp_path, rng, oblique_affine):
    def pair(name, data, affine):
        path = tmp_path / name / "FLAIR.img"
        path.parent.mkdir()
        nib.save(nib.Nifti1Pair(data, affine), path)
        if capitals:
            for suffix in (".img", ".hdr"):
                path.with_suffix(suffix).rename(path.with_name(f"FLAIR{suffix.upper()}"))
        return path.with_name(f"FLAIR{given.upper() if capitals else given}")

    data, moved = rng.random((5, 6, 7)), oblique_affine @ np.diag([1, 1, 1.1, 1])
    pairs = {"a": (data, oblique_affine), "same": (data, oblique_affine), "voxels": (data + 1, oblique_affine), "place": (data, moved)}
    hashes = {}
    for name, (voxels, affine) in pairs.items():
        path = pair(name, voxels, affine)
        np.testing.assert_allclose(read_image(path).data, voxels, rtol=1e-6)  # the file that is hashed is the one that is read
        hashes[name] = image_sha256(path)
    assert hashes["a"] == hashes["same"] and len(set(hashes.values())) == 3


@pytest.mark.parametrize(("dtype", "top"), [(np.int16, 1), (np.int16, 2), (np.int16, 200), (np.uint16, 2), (np.uint8, 2), (np.uint8, 5)])
def test_labels_stored_as_scaled_integers_are_labels(dtype, top, tmp_path, rng, oblique_affine):
    labels = rng.integers(0, top + 1, SHAPE)
    step = top / (np.iinfo(dtype).max - np.iinfo(dtype).min)
    stored = np.round(labels / step + np.iinfo(dtype).min).astype(dtype)
    image = nib.Nifti1Image(stored, oblique_affine)
    nib.save(image, tmp_path / "m.nii")
    content = bytearray((tmp_path / "m.nii").read_bytes())
    content[112:120] = np.array([step, -np.iinfo(dtype).min * step], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "m.nii").write_bytes(bytes(content))
    values = nib.load(tmp_path / "m.nii").get_fdata()
    assert 0 < np.abs(values - labels).max() < 0.01
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii"), labels > 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 0.5, 1), "probability map"),
        ((0, 0.98, 1), "probability map"),
        ((0, 0.0007, 0.0031), "probability map"),  # near 0, and yet no label of theirs
        ((0, 1, -0.5), "values down to -0.5"),
        ((0, 1, 2, -1), "values down to -1"),
        ((0, 0.0007, -0.0009), "values down to -0.0009"),
    ],
)
def test_what_is_near_no_whole_number_is_no_mask(values, words, tmp_path, oblique_affine):
    nib.save(nib.Nifti1Image(np.resize(np.array(values, np.float32), SHAPE), oblique_affine), tmp_path / "m.nii")
    with pytest.raises(InputError, match=words):
        read_mask(tmp_path / "m.nii")


@pytest.mark.parametrize(
    "spoil", [{"quatern_b": np.nan}, {"qoffset_z": np.inf}, {"pixdim": [1, np.nan, 1, 1, 0, 0, 0, 0]}, {"quatern_b": 9}]
)
def test_a_qform_that_places_nothing_is_noted_and_not_handed_on(spoil, flair, tmp_path):
    image = nib.load(flair)
    for name, value in {"vox_offset": 352, **spoil}.items():
        image.header[name] = value
    # nibabel would mend the header on saving.
    content = image.header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes(order="F")
    (tmp_path / "odd.nii").write_bytes(content)
    odd = read_image(tmp_path / "odd.nii")
    assert any("qform is no rotation" in note for note in odd.notes)
    np.testing.assert_allclose(odd.affine, image.affine)
    made = nib.load(write_image(tmp_path / "out.nii.gz", odd.data, odd)).header
    assert int(made["qform_code"]) == 0 and int(made["sform_code"]) == 1
    np.testing.assert_allclose(made.get_sform(), image.affine)
    np.testing.assert_allclose(made.get_zooms(), image.header.get_zooms() if "pixdim" not in spoil else odd.spacing_mm, rtol=1e-5)
    assert np.isfinite(made.get_qform()).all()


def test_memory_that_runs_out_is_not_taken_for_a_damaged_file(flair, monkeypatch):
    def too_much(*_args, **_words):
        raise MemoryError

    monkeypatch.setattr(np, "ascontiguousarray", too_much)
    with pytest.raises(MemoryError):
        read_image(flair, "FLAIR")


def test_a_nearly_empty_mask_may_be_packed_by_bzip2(tmp_path):
    """It packs far more than the thousandfold that gzip can."""
    mask = np.zeros((200, 200, 200), np.uint8)
    mask[100, 100, 100] = 1
    path = tmp_path / "mask.nii.bz2"
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
    assert path.stat().st_size * 1040 < mask.size
    assert read_image(path, "mask").data.sum() == 1


def test_an_image_of_our_own_says_that_its_header_counts_in_mm(tmp_path, oblique_affine):
    made = write_image(tmp_path / "a.nii.gz", np.ones((3, 4, 5)), Image(np.ones((3, 4, 5), np.float32), oblique_affine), np.float32)
    assert nib.load(made).header.get_xyzt_units()[0] == "mm"
