from __future__ import annotations

import numpy as np
import pytest

from flairnb.baselines.external import find_tools, read_external
from flairnb.errors import GeometryError, InputError, MissingDataError
from flairnb.images import Image, write_image


@pytest.fixture
def flair(rng, oblique_affine):
    return Image(rng.normal(size=(7, 8, 9)).astype(np.float32), oblique_affine)


def write(folder, name, like, mask=None):
    mask = np.zeros(like.shape, bool) if mask is None else mask
    return write_image(folder / name, mask, like, np.uint8)


def test_masks_are_found_by_tool_and_person(tmp_path, flair):
    write(tmp_path, "sub-1/anat/sub-1_label-lesion_desc-lstai_mask.nii.gz", flair)
    write(tmp_path, "sub-2_desc-lstai_mask.nii.gz", flair)
    write(tmp_path, "sub-1_desc-nnunet_mask.nii.gz", flair)
    write(tmp_path, "notes_mask.nii.gz", flair)
    tools = find_tools(tmp_path)
    assert {tool: sorted(files) for tool, files in tools.items()} == {"lstai": ["sub-1", "sub-2"], "nnunet": ["sub-1"]}


def test_the_mask_is_read_as_it_is(tmp_path, flair, rng):
    mask = rng.random(flair.shape) > 0.5
    path = write(tmp_path, "sub-1_desc-tool_mask.nii.gz", flair, mask)
    np.testing.assert_array_equal(read_external(path, flair, "sub-1"), mask)


def test_a_mask_on_another_grid_is_refused_by_name(tmp_path, flair):
    moved = flair.affine.copy()
    moved[0, 3] += 2.0
    path = write(tmp_path, "sub-1_desc-tool_mask.nii.gz", Image(flair.data, moved))
    with pytest.raises(GeometryError, match=r"sub-1: outside mask sub-1_desc-tool_mask"):
        read_external(path, flair, "sub-1")


@pytest.mark.parametrize(
    "name", ["manual", "manual2", "unet", "shipped", "lga", "lga03", "lpa", "bianca", "threshold", "brain", "UNET", "Shipped"]
)
def test_names_of_our_own_methods_are_refused(name, tmp_path, flair):
    write(tmp_path, f"sub-1_desc-{name}_mask.nii.gz", flair)
    with pytest.raises(InputError, match="Rename it"):
        find_tools(tmp_path)


def test_every_method_of_the_tables_is_a_name_of_our_own():
    from flairnb.baselines.external import RESERVED
    from flairnb.evaluate.cohort import METHOD_ORDER, REFERENCE

    assert {REFERENCE, *METHOD_ORDER} <= RESERVED


def test_two_masks_of_one_tool_and_person_are_refused(tmp_path, flair):
    write(tmp_path, "a/sub-1_desc-tool_mask.nii.gz", flair)
    write(tmp_path, "b/sub-1_desc-tool_mask.nii.gz", flair)
    with pytest.raises(InputError, match="Leave one"):
        find_tools(tmp_path)


def test_an_absent_folder_is_said(tmp_path):
    with pytest.raises(MissingDataError, match="none named"):
        find_tools(tmp_path / "none")


def test_folders_behind_links_are_searched_each_once(tmp_path, flair):
    write(tmp_path / "scratch", "sub-1/sub-1_desc-tool_mask.nii.gz", flair)
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "sub-1").symlink_to(tmp_path / "scratch" / "sub-1")
    (folder / "again").symlink_to(tmp_path / "scratch" / "sub-1")
    (tmp_path / "scratch" / "sub-1" / "loop").symlink_to(folder)
    assert {tool: list(files) for tool, files in find_tools(folder).items()} == {"tool": ["sub-1"]}


def test_a_folder_without_masks_is_refused(tmp_path, flair):
    write(tmp_path, "sub-1_lesions.nii.gz", flair)
    with pytest.raises(InputError, match=r"baselines\.external: expected masks named sub-<label>_desc-<tool>_mask\.nii\.gz, found none"):
        find_tools(tmp_path)
