"""The catalogue of bad input: each row builds its files and says what must happen.

A row with `says` is refused: one line on stderr that holds these words, code 2, nothing written, and before anything heavy
is loaded. A row without works: six files on exactly the input's grid, the lesion where it is, and `note` in the summary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from flairnb.cli import call
from flairnb.naming import flair_stem


@dataclass(frozen=True)
class Row:
    """One kind of bad (or merely odd) input."""

    name: str
    build: Callable  # Bench -> FLAIR path, or list of words
    says: str = ""
    note: str = ""


def whole(bench, name="sub-01_FLAIR.nii.gz") -> bytes:
    """Return the bytes of a good file; the file is gone."""
    path = bench.save(name)
    content = path.read_bytes()
    path.unlink()
    return content


def cut(bench, part):
    content = whole(bench)
    return bench.bytes("cut_FLAIR.nii.gz", content[: int(len(content) * part)])


def flipped(bench, place):
    content = bytearray(whole(bench))
    for n in range(4):
        content[int(len(content) * place) + n] ^= 0xFF
    return bench.bytes("damaged_FLAIR.nii.gz", bytes(content))


def linked(bench, target):
    link = bench.folder / "link_FLAIR.nii.gz"
    link.symlink_to(target)
    return link


def looped(bench):
    (bench.folder / "a").symlink_to(bench.folder / "b")
    (bench.folder / "b").symlink_to(bench.folder / "a")
    return bench.folder / "a" / "x_FLAIR.nii.gz"


def pipe(bench):
    os.mkfifo(bench.folder / "pipe_FLAIR.nii.gz")
    return bench.folder / "pipe_FLAIR.nii.gz"


def hole(bench, value):
    data = bench.data.copy()
    data[3, 4, 5] = value
    return bench.save(data=data)


def coloured(bench, names):
    kind = np.dtype([(n, "u1") for n in names])
    return bench.save(data=np.zeros(bench.data.shape, kind))


def beyond(bench):
    data = bench.data.astype(np.float64)
    data[3, 4, 5] = 1e300
    return bench.save(data=data)


def scaled(bench, slope, inter):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_slope_inter(slope, inter)
    return bench.save(header=header)


def big_endian(bench):
    return bench.save(header=nib.Nifti1Header(endianness=">"))


def stored_as(bench, dtype):
    return bench.save(data=np.clip(bench.data, 0, 250).round().astype(dtype) if np.dtype(dtype).kind in "iu" else bench.data.astype(dtype))


def pair(bench, name):
    bench.save("sub-01_FLAIR.img", kind=nib.Nifti1Pair)
    return bench.folder / name


def turned(bench, order, signs):
    """Store the same head with other axes."""
    import nibabel.orientations as of

    orientation = np.array([[a, s] for a, s in zip(order, signs, strict=True)], float)
    image = nib.Nifti1Image(bench.data, bench.affine).as_reoriented(orientation)
    path = bench.folder / "turned_FLAIR.nii.gz"
    nib.save(image, path)
    assert of.aff2axcodes(image.affine) != of.aff2axcodes(bench.affine)
    return path


def tilted(bench, shear):
    tilt = np.eye(4)
    tilt[1, 2] = shear
    return bench.save(affine=bench.affine @ np.diag([1, 1, 1, 1]) @ tilt)


def forms(bench, qform=None, qcode=1, scode=1):
    image = nib.Nifti1Image(bench.data, bench.affine)
    image.set_sform(bench.affine, scode)
    image.set_qform(bench.affine if qform is None else qform, qcode)
    path = bench.folder / "sub-01_FLAIR.nii.gz"
    nib.save(image, path)
    stored = nib.load(path).header
    assert (int(stored["sform_code"]), int(stored["qform_code"])) == (scode, qcode)
    return path


def shifted(affine, x):
    moved = affine.copy()
    moved[0, 3] += x
    return moved


def mirrored(affine):
    other = affine.copy()
    other[:3, 0] *= -1
    return other


def larger(bench, factor):
    affine = bench.affine.copy()
    affine[:3] *= factor
    return bench.save(affine=affine)


def slab(bench):
    return bench.save(data=bench.data[:, :, 6:14])


def ct_data(bench):
    return np.where(bench.data < 50, -1000, bench.data * 0.3).astype(np.int16)


def ct(bench):
    return bench.save(data=ct_data(bench))


def enhanced(bench):
    """Store a FLAIR after contrast medium: bright membranes around the brain, bright vessels in it."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in bench.data.shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(0))
    vessels = (np.abs(at[0] - 0.4) < 0.05) & (np.abs(at[1]) < 0.05) & (radius < 0.8)
    return bench.save(data=np.where((np.abs(radius - 0.8) < 0.03) | vessels, 500, bench.data).astype(np.float32))


def stripped(bench):
    data = np.where(bench.data > 130, bench.data, 0)
    return bench.save(data=data)


def with_(option, file):
    """Return a builder of words: a good FLAIR, an option and its file."""

    def build(bench):
        return [bench.save(), option, file(bench)]

    return build


def probability(bench):
    data = np.linspace(0, 1, bench.data.size, dtype=np.float32).reshape(bench.data.shape)
    return bench.save("p.nii.gz", data)


def named(name):
    return lambda bench: bench.save(name)


UNREADABLE = [
    Row("missing", lambda b: b.folder / "no_FLAIR.nii.gz", "found nothing at"),
    Row("zero bytes", lambda b: b.bytes("x_FLAIR.nii.gz", b""), "cannot read"),
    Row("text", lambda b: b.bytes("x_FLAIR.nii", b"no image, but text " * 99), "cannot read"),
    Row("web page saved as image", lambda b: b.bytes("x_FLAIR.nii.gz", b"<html>404</html>" * 99), "cannot read"),
    Row("gzip of text", lambda b: b.raw("x_FLAIR.nii.gz", b"no image, but text " * 99), "cannot read"),
    Row("gzip cut in the voxels", lambda b: cut(b, 0.6), "cannot read"),
    Row("gzip cut by one byte", lambda b: b.bytes("x_FLAIR.nii.gz", whole(b)[:-1]), "cannot read"),
    Row("gzip cut in the header", lambda b: cut(b, 0.001), "cannot read"),
    Row("gzip damaged in the voxels", lambda b: flipped(b, 0.5), "cannot read"),
    Row("gzip with a wrong checksum", lambda b: b.bytes("x_FLAIR.nii.gz", whole(b)[:-8] + bytes(4) + whole(b)[-4:]), "cannot read"),
    Row("plain file cut", lambda b: b.bytes("x_FLAIR.nii", whole(b, "y_FLAIR.nii")[:9000]), "it was cut off"),
    Row("wrong magic", lambda b: b.save("x_FLAIR.nii", magic=b"n+9"), "cannot read"),
    Row("voxels inside the header", lambda b: b.save(vox_offset=0), "out of the header"),
    Row("voxels beyond the file's end", lambda b: b.save("x_FLAIR.nii", vox_offset=99e6), "it was cut off"),
    Row("unknown number type", lambda b: b.save(datatype=77), "x_FLAIR|sub-01_FLAIR"),
    Row("bits as number type", lambda b: b.save(datatype=1, bitpix=1), "sub-01_FLAIR"),
    Row("plain file called .nii.gz", lambda b: b.bytes("x_FLAIR.nii.gz", whole(b, "y_FLAIR.nii")), "cannot read"),
    Row("folder", lambda b: b.folder, "found the folder"),
    Row("pipe", pipe, "device or pipe"),
    Row("device", lambda b: "/dev/zero", "device or pipe"),
    Row("broken link", lambda b: linked(b, "nowhere.nii.gz"), "found nothing at"),
    Row("link to itself", lambda b: linked(b, "link_FLAIR.nii.gz"), "found nothing at"),
    Row("loop of links above", looped, "found nothing at"),
    Row("name that no file can have", lambda b: b.folder / ("n" * 300 + "_FLAIR.nii.gz"), "leaves room"),
    Row("other format", lambda b: b.save("x_FLAIR.mgz", kind=nib.MGHImage), "found MGHImage"),
    Row("picture", lambda b: b.bytes("x_FLAIR.png", b"\x89PNG\r\n\x1a\n" + bytes(500)), "cannot read"),
    Row("DICOM file", lambda b: b.bytes("x_FLAIR.dcm", bytes(128) + b"DICM" + bytes(500)), "cannot read"),
]
SHAPES_AND_TYPES = [
    Row("2D", lambda b: b.save(data=b.data[:, :, 9]), "found 2D"),
    Row("one slice", lambda b: b.save(data=b.data[:, :, 9:10]), "at least 4 voxels"),
    Row("three slices", lambda b: b.save(data=b.data[:, :, 9:12]), "at least 4 voxels"),
    Row("one row", lambda b: b.save(data=b.data[:1]), "at least 4 voxels"),
    Row("one voxel", lambda b: b.save(data=b.data[:1, :1, :1]), "at least 4 voxels"),
    Row("4D, two volumes", lambda b: b.save(data=np.stack([b.data] * 2, -1)), "found 4D"),
    Row("5D, vectors", lambda b: b.save(data=np.stack([b.data] * 3, -1)[:, :, :, None]), "found 5D"),
    Row("4D, one volume", lambda b: b.save(data=b.data[..., None])),
    Row("5D, one volume", lambda b: b.save(data=b.data[..., None, None])),
    Row("more voxels than bytes", lambda b: b.save("x_FLAIR.nii", dim=[3, 900, 900, 900, 1, 1, 1, 1]), "it was cut off"),
    Row("far more voxels than bytes, packed", lambda b: b.save(dim=[3, 1000, 1000, 1000, 1, 1, 1, 1]), "it was cut off"),
    Row("more voxels than anyone has", lambda b: b.save(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), "voxels, found shape"),
    Row("negative dimension", lambda b: b.save(dim=[3, -45, 58, 22, 1, 1, 1, 1]), "FLAIR: expected"),
    Row("no dimensions", lambda b: b.save(dim=[0] * 8), "FLAIR: expected"),
    Row("RGB", lambda b: coloured(b, "RGB"), "one real number per voxel"),
    Row("RGBA", lambda b: coloured(b, "RGBA"), "one real number per voxel"),
    Row("complex", lambda b: b.save(data=b.data.astype(np.complex64)), "one real number per voxel"),
    Row("NaN", lambda b: hole(b, np.nan), "1 NaN or infinite"),
    Row("infinite", lambda b: hole(b, -np.inf), "1 NaN or infinite"),
    Row("beyond float32", beyond, "1 NaN or infinite"),
    Row("all zeros", lambda b: b.save(data=b.data * 0), "one value (0)"),
    Row("constant", lambda b: b.save(data=b.data * 0 + 7), "one value (7)"),
    Row("negative intensities", lambda b: b.save(data=b.data - 300)),
    Row("z-scores", lambda b: b.save(data=(b.data - b.data.mean()) / b.data.std())),
    Row("tiny intensities", lambda b: b.save(data=b.data * 1e-9)),
    Row("16 bit with slope and intercept", lambda b: scaled(b, 0.37, -50)),
    Row("slope 0 means none", lambda b: b.save(scl_slope=0, scl_inter=9)),
    Row("slope NaN means none", lambda b: b.save(scl_slope=np.nan, scl_inter=np.nan)),
    Row("big-endian", big_endian),
    Row("8 bit", lambda b: stored_as(b, np.uint8)),
    Row("32 bit unsigned", lambda b: stored_as(b, np.uint32)),
    Row("64 bit float", lambda b: stored_as(b, np.float64)),
    Row("NIfTI-2", lambda b: b.save(kind=nib.Nifti2Image)),
    Row("wrong header size, the rest is right", lambda b: b.save("x_FLAIR.nii", sizeof_hdr=999)),
    Row("header and image apart", lambda b: pair(b, "sub-01_FLAIR.img")),
    Row("header and image apart, by its header", lambda b: pair(b, "sub-01_FLAIR.hdr")),
    Row("CT", ct, "CT in Hounsfield"),
]
GEOMETRY = [
    Row("huge voxels", lambda b: larger(b, 10), "voxel edges"),
    Row("tiny voxels", lambda b: larger(b, 0.01), "voxel edges"),
    Row("metres", lambda b: larger(b, 0.001), "voxel edges"),
    Row("too small for a head", lambda b: larger(b, 0.3), "expected a head"),
    Row("too large for a head", lambda b: larger(b, 3), "expected a head"),
    Row("no orientation", lambda b: b.save(sform_code=0, qform_code=0), note="holds no orientation"),
    Row("no orientation, pixdim 0", lambda b: b.save(sform_code=0, qform_code=0, pixdim=[0] * 8), "expected a head"),
    Row("pixdim 0 beside an sform", lambda b: b.save(sform_code=1, qform_code=0, pixdim=[1, 0, 0, 0, 0, 0, 0, 0])),
    Row("pixdim negative", lambda b: b.save(sform_code=1, qform_code=0, pixdim=[1, -4, -3.5, -6.5, 0, 0, 0, 0])),
    Row("singular sform", lambda b: b.save(sform_code=1, srow_z=[0, 0, 0, 0]), "singular one"),
    Row("NaN in the sform", lambda b: b.save(sform_code=1, srow_y=[0, np.nan, 0, 0]), "singular one"),
    Row("axes almost parallel", lambda b: b.save(sform_code=1, srow_y=[4, 0.01, 0, 0], srow_x=[4, 0.02, 0, 0]), "singular one"),
    Row("quaternion that is no rotation", lambda b: b.save(sform_code=0, qform_code=1, quatern_b=9), "FLAIR: expected"),
    Row("the same beside an sform", lambda b: b.save(sform_code=1, qform_code=1, quatern_b=9), note="qform is no rotation"),
    Row("NaN in the qform", lambda b: b.save(sform_code=1, qform_code=1, quatern_c=np.nan), note="not of finite numbers"),
    Row("NaN in the qform's offset", lambda b: b.save(sform_code=1, qform_code=1, qoffset_y=np.nan), note="not of finite numbers"),
    Row("infinite qform", lambda b: b.save(sform_code=1, qform_code=1, qoffset_z=np.inf), note="not of finite numbers"),
    Row("NaN edges beside an sform", lambda b: b.save(sform_code=1, qform_code=1, pixdim=[1, np.nan, 3.5, 6.5] + [0] * 4), note="finite"),
    Row("NaN in the only qform", lambda b: b.save(sform_code=0, qform_code=1, quatern_c=np.nan), "singular one"),
    Row("sform and qform differ", lambda b: forms(b, shifted(b.affine, 17)), note="differ by up to 17 mm"),
    Row("sform and qform mirror each other", lambda b: forms(b, mirrored(b.affine)), note="disagree about left and right"),
    Row("sform only", lambda b: forms(b, qcode=0)),
    Row("qform only", lambda b: forms(b, scode=0)),
    Row("other handedness", lambda b: turned(b, (0, 1, 2), (-1, 1, 1))),
    Row("upside down", lambda b: turned(b, (0, 1, 2), (1, 1, -1))),
    Row("sagittal", lambda b: turned(b, (1, 2, 0), (1, -1, 1))),
    Row("coronal", lambda b: turned(b, (0, 2, 1), (1, 1, -1))),
    Row("gantry tilt", lambda b: tilted(b, 0.35)),
    Row("no units", lambda b: b.save(xyzt_units=0)),
    Row("brain cut off", slab, note="ends at the image's edge (bottom, top"),
]
OTHER_FILES = [
    Row("T1w missing", with_("--t1w", lambda b: b.folder / "no_T1w.nii.gz"), "T1w: expected a NIfTI file"),
    Row("T1w of two volumes", with_("--t1w", lambda b: b.save("x_T1w.nii.gz", np.stack([b.data] * 2, -1))), "T1w: expected a 3D"),
    Row("T1w is the FLAIR again", with_("--t1w", lambda b: b.save("x_T1w.nii.gz")), "another image than the FLAIR"),
    Row(
        "T1w of a child's finger",
        with_("--t1w", lambda b: b.save("x_T1w.nii.gz", b.data + 1, smaller(b))),
        "T1w: expected a head",
    ),
    Row("T1w in other orientation", with_("--t1w", lambda b: turned_t1w(b))),
    Row("T1w is a CT", with_("--t1w", lambda b: b.save("x_T1w.nii.gz", ct_data(b))), "CT in Hounsfield"),
    Row("mask on another grid", with_("--brain-mask", lambda b: b.mask(affine=shifted(b.affine, 3))), "one voxel grid"),
    Row("mask of another shape", with_("--brain-mask", lambda b: b.save("m.nii.gz", np.ones((45, 58, 21), np.uint8))), "one voxel grid"),
    Row("mask empty", with_("--brain-mask", lambda b: b.mask(0)), "found none in"),
    Row("mask with NaN", with_("--brain-mask", lambda b: b.mask(np.nan, np.float32)), "NaN or infinite"),
    Row("probability as mask", with_("--brain-mask", probability), "a probability map?"),
    Row("mask with negative values", with_("--brain-mask", lambda b: b.mask(-1, np.int16)), "values down to -1"),
    Row(
        "image as mask",
        with_("--brain-mask", lambda b: b.save("m.nii.gz", np.abs(100 * b.data).astype(np.int32))),
        "different values",
    ),
    Row("mask of labels", with_("--brain-mask", lambda b: b.mask(3))),
    Row("mask of 0 and 255", with_("--brain-mask", lambda b: b.mask(255))),
    Row("mask of 0.0 and 0.5", with_("--brain-mask", lambda b: b.mask(0.5, np.float32))),
    Row("mask missing", with_("--brain-mask", lambda b: b.folder / "no.nii.gz"), "brain mask: expected a NIfTI"),
    Row("mask and stripped", lambda b: [b.save(), "--brain-mask", b.mask(), "--skull-stripped"], "found both"),
    Row("unknown method", lambda b: [b.save(), "--method", "magic"], "'tiled', 'whole'"),
    Row("no threads", lambda b: [b.save(), "--threads", "0"], "threads"),
    Row("stripped, declared", lambda b: [stripped(b), "--skull-stripped"]),
    Row("stripped, not declared", stripped),
    Row("FLAIR after contrast medium", enhanced),
]
NAMES = [
    Row("spaces", named("sub 01 of us_FLAIR.nii.gz")),
    Row("not ASCII", named("Müller-日本_FLAIR.nii.gz")),
    Row("quotes, semicolon, dollar", named("a'b\"c;$HOME `x`_FLAIR.nii.gz")),
    Row("line break", named("a\nb_FLAIR.nii.gz")),
    Row("long", named("n" * 190 + "_FLAIR.nii.gz")),
    Row("too long for the results", named("n" * 235 + "_FLAIR.nii.gz"), "leaves room"),
    Row("nothing before _FLAIR", named("_FLAIR.nii.gz")),
    Row("capitals", lambda b: b.save("x.nii.gz").rename(b.folder / "SUB_FLAIR.NII.GZ")),
    Row("leading dash", lambda b: ["--", b.save("-x_FLAIR.nii.gz")]),
    Row("through a link", lambda b: linked(b, b.save())),
]
CATALOGUE = [*UNREADABLE, *SHAPES_AND_TYPES, *GEOMETRY, *OTHER_FILES, *NAMES]


def smaller(bench):
    return bench.affine @ np.diag([0.2, 0.2, 0.2, 1])


def turned_t1w(bench):
    other = type(bench)(bench.folder, bench.data[::-1] * 2, bench.affine)
    return turned(other, (1, 2, 0), (1, -1, 1)).rename(bench.folder / "x_T1w.nii.gz")


def words_of(row: Row, bench) -> tuple[Path, list]:
    built = row.build(bench)
    words = built if isinstance(built, list) else [built]
    out = bench.folder.parent / "out"
    return Path(next(w for w in words if str(w) != "--")), ["segment", "--out", out, *words]


@pytest.mark.parametrize("row", [r for r in CATALOGUE if r.says], ids=lambda r: r.name)
def test_it_is_refused_in_one_line_before_anything_heavy(row, bench, rooms, refused, fault):
    import re

    _, words = words_of(row, bench)
    line = refused(words, 2, bench.folder.parent)
    assert re.search(row.says if "|" in row.says else re.escape(row.says), line), line
    assert rooms.loaded == 0
    fault("bad input: flairnb segment", row.name, line.replace(str(bench.folder), "in"), "refused")


@pytest.mark.parametrize("row", [r for r in CATALOGUE if not r.says], ids=lambda r: r.name)
def test_it_works_on_exactly_the_inputs_grid(row, bench, rooms, capsys, fault):
    flair, words = words_of(row, bench)
    assert call([str(w) for w in words]) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out.endswith("Not for clinical use.\n")
    out, stem = bench.folder.parent / "out", flair_stem(flair)
    assert len(list(out.iterdir())) == 6
    summary = json.loads((out / f"{stem}_desc-summary.json").read_text())
    notes = " | ".join(summary["notes"])
    assert row.note in notes
    if not row.note:
        assert "header" not in notes
    source = nib.load(flair)
    for name in ("label-lesion_desc-unet_mask", "label-lesion_desc-unet_probseg", "desc-brain_mask"):
        made = nib.load(out / f"{stem}_{name}.nii.gz")
        assert made.shape == source.shape[:3]
        assert b"not for clinical use" in made.header["descrip"].item()
        np.testing.assert_allclose(made.affine, source.affine, rtol=1e-6, atol=1e-6)
        assert np.isfinite(made.header["pixdim"]).all()
        for key in (
            "sform_code",
            "qform_code",
            "srow_x",
            "srow_y",
            "srow_z",
            "quatern_b",
            "quatern_c",
            "qoffset_x",
            "qoffset_y",
            "qoffset_z",
        ):
            # A qform that places nothing is not handed on.
            repeated = 0 if "qform is no rotation" in notes and key.startswith("q") else source.header[key]
            np.testing.assert_array_equal(made.header[key], np.asarray(repeated, made.header[key].dtype))
    lesion = np.asarray(nib.load(out / f"{stem}_label-lesion_desc-unet_mask.nii.gz").dataobj) > 0
    data = np.squeeze(np.asarray(source.dataobj, np.float64))
    truth = data > data.min() + 0.6 * (data.max() - data.min())
    assert 2 * (lesion & truth).sum() / (lesion.sum() + truth.sum()) > 0.5
    fault("bad input: flairnb segment", row.name, f"works{': ' * bool(row.note)}{row.note}", "works")


def test_the_catalogue_is_long_and_its_names_are_unique():
    names = [row.name for row in CATALOGUE]
    assert len(names) == len(set(names)) >= 100
