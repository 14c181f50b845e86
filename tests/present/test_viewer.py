"""What the viewers are given: sides, windows, masks and faces, without a browser."""

from __future__ import annotations

import json
import warnings

import nibabel as nib
import numpy as np
import pytest

from flairnb.errors import EnvironmentProblem, GeometryError, InputError
from flairnb.images import Image
from flairnb.present import lab_extension
from flairnb.present.case_view import Case, compared, pack, ras_affine, to_bytes
from flairnb.present.slices import to_ras
from flairnb.present.viewer import show_case

SHAPE = (21, 17, 9)


@pytest.fixture
def case(oblique_affine):
    """A head that is bright on the patient's right, in an oblique grid with a flipped axis."""
    at = np.indices(SHAPE).reshape(3, -1)
    x, y, z = (oblique_affine[:3, :3] @ at + oblique_affine[:3, 3:]).reshape(3, *SHAPE)
    centre = oblique_affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + oblique_affine[:3, 3]
    radius = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    data = np.where(radius < 9, np.where(x > centre[0], 200.0, 60.0), 5.0).astype(np.float32)
    lesion = (radius < 5) & (x > centre[0])
    return Case("phantom", Image(data, oblique_affine), {"manual": lesion, "unet": lesion & (y > centre[1])}, radius < 7)


def world_of(mask, affine):
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


def test_a_packed_case_lies_where_the_case_lies(case):
    packed = pack(case)
    assert packed.image.dtype == np.uint8 and packed.stripped
    assert np.prod(packed.image.shape) < np.prod(SHAPE)
    for name, mask in case.masks.items():
        assert packed.layers[name].sum() == mask.sum()
        np.testing.assert_allclose(world_of(packed.layers[name], packed.affine), world_of(mask, case.flair.affine), atol=1e-6)


def test_the_packed_axes_run_to_the_patients_right_front_and_top(case):
    packed = pack(case)
    direction = packed.affine[:3, :3] / np.linalg.norm(packed.affine[:3, :3], axis=0)
    assert (np.diag(direction) > 0.9).all()
    half = packed.image.shape[0] // 2
    assert packed.image[half + 1 :].mean() > 1.5 * packed.image[:half].mean()


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_ras_affine_puts_every_voxel_where_it_was(flips, rng, oblique_affine):
    affine = oblique_affine.copy()
    affine[:3, :3] = affine[:3, :3] * flips
    data = rng.random((5, 6, 7))
    turned, moved = to_ras(data, affine), ras_affine(affine, data.shape)
    at = np.unravel_index(data.argmax(), data.shape)
    there = np.unravel_index(turned.argmax(), turned.shape)
    np.testing.assert_allclose(moved @ [*there, 1], affine @ [*at, 1], atol=1e-9)


def test_nothing_far_from_the_brain_is_packed_unless_asked_for(case):
    outside = to_ras(np.asarray(case.flair.data) == 5.0, case.flair.affine)
    assert outside.any()
    bright = Case("head", Image(np.where(case.brain, case.flair.data, 250.0).astype(np.float32), case.flair.affine), {}, case.brain)
    shown, kept = pack(bright), pack(bright, head=True)
    assert (shown.image == 0).sum() > (kept.image == 0).sum()
    assert shown.stripped and not kept.stripped


def test_without_a_brain_3d_is_left_out_and_says_why(case):
    shown = show_case(Case("no brain", case.flair, case.masks), "itkwidgets")
    assert shown.widget is None and "face" in shown.note
    niivue = show_case(Case("no brain", case.flair, case.masks), "niivue")
    assert niivue.widget.viewer.opts.multiplanar_show_render.name == "NEVER" and "face" in niivue.note
    niivue.widget.viewer.close()


def test_niivue_is_radiological_and_has_a_slider_a_layer(case):
    shown = show_case(Case(case.name, case.flair, case.masks, case.brain, probability=case.masks["unet"] * 0.7), "niivue")
    viewer = shown.widget.viewer
    assert viewer.opts.is_radiological_convention and viewer.opts.multiplanar_show_render.name == "ALWAYS"
    assert list(shown.widget.sliders) == ["manual", "unet", "missed", "extra", "probability"] and len(viewer.volumes) == 3
    image = nib.Nifti1Image.from_bytes(viewer.volumes[0].data)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S") and image.get_data_dtype() == np.uint8
    assert shown.widget.sliders["probability"].value == 0.0
    shown.widget.show("probability")
    shown.widget.sliders["missed"].value = 0.3
    assert [volume.name for volume in viewer.volumes[3:]] == ["probability.nii", "missed.nii"] and viewer.volumes[3].opacity == 0.8
    shown.widget.sliders["missed"].value = 0.4
    assert len(viewer.volumes) == 5
    tables = [volume.colormap_label.lut for volume in viewer.volumes[1:3]]
    assert tables[0][:4] == tables[1][:4] == [0, 0, 0, 0] and tables[0][4:] != tables[1][4:]
    assert tables[0][4:] == [240, 228, 66, 255] and viewer.volumes[3].colormap == "warm"
    viewer.close()


def test_without_masks_the_chosen_button_is_what_is_on_screen(case):
    shown = show_case(Case("no mask", case.flair, {}, case.brain, t1w=case.flair.data, probability=case.brain * 0.5), "niivue").widget
    assert shown.chooser.value == "FLAIR only" and list(shown.chooser.options) == ["probability", "T1w", "FLAIR only"]
    assert all(slider.value == 0 for slider in shown.sliders.values()) and len(shown.viewer.volumes) == 1
    shown.chooser.value = "T1w"
    assert shown.sliders["T1w"].value == 1.0 and [volume.name for volume in shown.viewer.volumes] == ["FLAIR.nii", "T1w.nii"]
    shown.show("masks")  # what a key that takes a layer away again asks for
    assert shown.chooser.value == "FLAIR only" and shown.sliders["T1w"].value == 0.0
    shown.show("errors")
    assert shown.chooser.value == "FLAIR only"
    shown.viewer.close()


def test_going_to_a_lesion_moves_the_cross_there(case):
    shown = show_case(case, "niivue")
    packed = shown.widget.packed
    shown.widget.go_to(world_of(case.masks["manual"], case.flair.affine))
    voxel = np.array(shown.widget.viewer.scene.crosshair_pos) * packed.image.shape - 0.5
    np.testing.assert_allclose(voxel, np.argwhere(packed.layers["manual"]).mean(axis=0), atol=1e-6)
    assert packed.fraction_of(np.array([1e5, -1e5, 0.0]))[:2] == (1.0, 0.0)
    shown.widget.viewer.close()


@pytest.fixture
def itk():
    """Import ITK; its types of SWIG warn while they are made, and crash where warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import itk

        itk.image_from_array(np.zeros((2, 2, 2), dtype=np.uint8))
        yield itk


def test_itk_images_keep_the_world_in_lps(case, itk):
    from flairnb.present.itk_viewer import itk_image

    packed = pack(case)
    image = itk_image(packed.image, packed.affine)
    at = [2, 3, 1]
    lps = np.array(image.TransformIndexToPhysicalPoint(at))
    np.testing.assert_allclose(lps * [-1, -1, 1], (packed.affine @ [*at, 1])[:3], atol=1e-4)
    assert image.GetPixel(at) == packed.image[tuple(at)]


def test_itkwidgets_gets_agreement_and_errors_as_labels(case):
    from flairnb.present.itk_viewer import label_map

    labels, names = label_map(pack(case))
    assert names == [(0, "none"), (1, "both"), (2, "reference only (missed)")]
    assert (labels == 2).sum() == case.masks["manual"].sum() - case.masks["unet"].sum()
    alone, names = label_map(pack(Case("one", case.flair, {"unet": case.masks["unet"]}, case.brain)))
    assert names == [(0, "none"), (1, "unet")] and alone.max() == 1
    nothing, names = label_map(pack(Case("none", case.flair, {}, case.brain)))
    assert names == [(0, "none")] and not nothing.any()


def test_the_still_picture_is_there_with_every_way(case):
    for way in ("static", "niivue", "auto"):
        assert show_case(case, way, count=2).figure._repr_png_().startswith(b"\x89PNG")


def test_a_wrong_way_or_shape_is_refused_by_name(case):
    with pytest.raises(InputError, match="auto, static"):
        show_case(case, "vtk")
    with pytest.raises(GeometryError, match="phantom: unet"):
        Case("phantom", case.flair, {"unet": np.zeros((3, 4, 5), dtype=bool)})


def test_bytes_span_the_window_and_nan_is_black():
    assert to_bytes(np.array([-5.0, 0.0, 5.0, 10.0, 99.0, np.nan]), (0.0, 10.0)).tolist() == [0, 0, 128, 255, 255, 0]
    assert compared(np.zeros((2, 2)), np.zeros((2, 2))).sum() == 0


def test_the_extension_is_installed_checked_and_replaced_when_old(tmp_path):
    assert any("not installed" in text for text in lab_extension.problems(tmp_path))
    folder = lab_extension.install(tmp_path)
    assert lab_extension.problems(tmp_path) == []
    assert {p.name for p in folder.iterdir()} == {"package.json", "install.json", "static"}
    entry = (folder / "static" / "remoteEntry.js").read_text()
    assert "@VERSION@" not in entry and "@NAME@" not in entry and "http" not in entry
    assert (folder / "static" / "itkwidgets" / "index.js").is_file() and not list(folder.rglob("*.map"))
    package = json.loads((folder / "package.json").read_text())
    (folder / "package.json").write_text(json.dumps({**package, "version": "0.1"}))
    assert any("other versions" in text for text in lab_extension.problems(tmp_path))
    lab_extension.install(tmp_path)
    assert lab_extension.problems(tmp_path) == [] and len(list(folder.parent.iterdir())) == 1


def test_versions_that_do_not_fit_are_refused_by_name(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lab_extension, "_version", lambda name: {"itkwidgets": "0.32.6"}.get(name, "4.6"))
    with pytest.raises(EnvironmentProblem, match=r"itkwidgets 0\.32\.6 \(expected 0\.32\.4\)"):
        lab_extension.install(tmp_path)
    assert lab_extension.main() == 1 and capsys.readouterr().err.startswith("error:")
    assert not lab_extension.folder(tmp_path).exists()


def test_a_still_of_a_simulated_case_says_so_and_a_real_one_never_does(case):
    from dataclasses import replace

    from flairnb.present.style import look, name_second_reader
    from flairnb.present.viewer import still

    case = replace(case, masks={**case.masks, "manual2": case.masks["unet"]})
    name_second_reader(simulated=True)  # the run's cohort; the case may be of somewhere else
    for simulated in (True, False):
        figure = still(replace(case, simulated=simulated))
        words = [text.get_text() for text in [*figure.texts, *figure.legends[0].get_texts()]]
        assert ("phantom (simulated)" in words, "Reader 2 (simulated)" in words) == (simulated, simulated)
        assert ("Reader 2" in words) is not simulated
    assert look("manual2").label == "Reader 2 (simulated)"


@pytest.fixture
def outside(rng, oblique_affine):
    """A case with a reader's lesion that lies 6 mm beyond the brain mask, and a head around both."""
    brain, far = np.zeros((2, *SHAPE), dtype=bool)
    brain[11:18, 5:12, 3:6] = True
    far[2:4, 7:10, 4] = True
    data = np.where(far, 220.0, np.where(brain, rng.uniform(80.0, 160.0, SHAPE), 120.0)).astype(np.float32)
    return Case("outside", Image(data, oblique_affine), {"manual": far, "unet": np.zeros(SHAPE, dtype=bool)}, brain)


def test_a_lesion_beyond_the_brain_is_packed_whole_with_the_picture_under_it_and_no_face(outside):
    packed = pack(outside)
    for name in ("manual", "missed"):
        assert packed.layers[name].sum() == outside.masks["manual"].sum() == 6
    assert packed.beyond(outside.masks["manual"], outside.flair.affine) == 0
    assert (packed.image[packed.layers["manual"] > 0] > 150).all()
    skin = (0, 0, 0)  # of the part cut out, far from brain and lesion
    assert packed.stripped and packed.image[skin] == 0 < pack(outside, head=True).image[skin]


def test_what_is_marked_later_anywhere_in_the_volume_is_seen(case):
    packed = pack(case)
    free = np.ones(SHAPE, dtype=bool)
    shown = packed.fit(free, case.flair.affine)
    assert shown.all() and shown.shape == packed.inside.shape and not packed.inside.all()
    assert packed.beyond(free, case.flair.affine) == free.sum() - shown.sum() > 0
    with pytest.raises(GeometryError, match="viewer: expected an array that holds this volume"):
        packed.fit(free[:12], case.flair.affine)


def test_the_colours_of_the_masks_are_those_of_their_sliders(case):
    from matplotlib.colors import to_hex

    shown = show_case(Case(case.name, case.flair, case.masks, case.brain, probability=case.masks["unet"] * 0.7), "niivue").widget
    shown.show("errors")
    drawn = {volume.name.removesuffix(".nii"): volume for volume in shown.viewer.volumes[1:]}
    assert set(drawn) == {"manual", "unet", "missed", "extra"}
    for name, volume in drawn.items():
        assert to_hex(np.array(volume.colormap_label.lut[4:7]) / 255) == shown.sliders[name].style.handle_color.lower()
    assert len({shown.sliders[name].style.handle_color for name in drawn}) == 4
    assert shown.sliders["probability"].style.handle_color is None
    shown.viewer.close()


@pytest.mark.parametrize("larger", [1.0, 7.0])
def test_the_lines_of_the_cross_are_some_pixels_wide_whatever_the_size_of_the_volume(case, larger):
    """NiiVue takes mm. Of 50 lines of 0.6 mm on a head, 11 fell between pixels and were not drawn; of 1.5 mm none."""
    affine = case.flair.affine * [[larger], [larger], [larger], [1.0]]
    shown = show_case(Case("size", Image(case.flair.data, affine), case.masks, case.brain), "niivue").widget
    longest = max(np.linalg.norm(shown.packed.affine[:3, :3], axis=0) * shown.packed.image.shape)
    assert 1.5 / 200 < shown.viewer.opts.crosshair_width / longest < 3 / 200
    shown.viewer.close()


@pytest.mark.parametrize(("level", "width"), [(50.0, 125.0), (50.0, 200.0), (-10.0, 5.0), (-10.0, 200.0), (140.0, 5.0)])
def test_no_grey_window_fills_the_empty_space_around_the_brain(case, level, width):
    """NiiVue draws what is below black as nothing; a black below 0 makes a box of fog out of the zeros."""
    shown = show_case(case, "niivue").widget
    shown.window[0].value, shown.window[1].value = level, width
    flair = shown.viewer.volumes[0]
    assert 0 <= flair.cal_min < flair.cal_max
    shown.viewer.close()


def told(box, fraction, volume: int = 0) -> None:
    """Say what the browser says when the mouse moved the cross."""
    values = [{"id": box.viewer.volumes[volume].id, "name": "FLAIR.nii", "value": 1.0}]
    where = {"ax_cor_sag": 0, "frac": fraction, "mm": [0, 0, 0], "vox": [0, 0, 0], "values": values, "string": "", "xy": [0, 0]}
    box.viewer._handle_custom_msg({"event": "location_change", "data": where}, [])


def test_the_cross_is_where_the_mouse_put_it_and_goes_back_when_asked(case):
    from flairnb.present.niivue_viewer import empty, niivue_box, niivue_widget

    box = niivue_widget(case, box=niivue_box())
    lesion = world_of(case.masks["manual"], case.flair.affine)
    sent = []
    box.viewer.observe(lambda change: sent.append(list(box.viewer.scene.crosshair_pos)), "scene")
    box.go_to(lesion)
    np.testing.assert_allclose(box.cross_mm(), lesion)
    told(box, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(box.cross_mm(), box.packed.world_of((0.25, 0.5, 0.75)))
    count = len(sent)
    box.go_to(lesion)
    assert len(sent) == count + 1 and sent[-1] != sent[-2], "nothing was sent: the browser stays where the mouse went"
    np.testing.assert_allclose(box.cross_mm(), lesion)
    told(box, [0.25, 0.5, 0.75])
    late = box.viewer.volumes[0].id
    empty(box)
    niivue_widget(case, box=box)
    values = [{"id": late}]
    box.viewer._handle_custom_msg({"event": "location_change", "data": {"frac": [0.1, 0.1, 0.1], "values": values}}, [])
    assert box.at == (0.5, 0.5, 0.5), "a late word of the case before moved the cross of the next"
    box.viewer.close()


def test_nothing_of_a_case_stays_in_memory_after_the_next(case):
    from ipywidgets.widgets.widget import _instances as widgets

    from flairnb.present.niivue_viewer import niivue_box, niivue_widget

    box = niivue_widget(case, box=niivue_box())
    box.show("errors")
    before = len(widgets)
    for _ in range(3):
        niivue_widget(case, box=box)
        box.show("errors")
        assert len(widgets) == before
    box.viewer.close()
