from __future__ import annotations

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.network.volumes import FolderSource, write_volume


def test_a_volume_is_cropped_to_its_brain_and_read_back_memory_mapped(tmp_path, rng):
    image = rng.normal(size=(17, 18, 19)).astype(np.float32)
    brain = np.zeros(image.shape, dtype=bool)
    brain[2:15, 3:14, 4:18] = True
    brain[5, 5, 5] = False
    write_volume(tmp_path, "sub-01", image, image > 1, brain)
    (record,) = FolderSource(tmp_path, 2.0).records()
    found = record.open_image()
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, np.where(brain, image, 0)[2:15, 3:14, 4:18])
    np.testing.assert_array_equal(record.open_mask(), (image > 1)[2:15, 3:14, 4:18])


def test_a_folder_that_grows_lists_only_whole_volumes(tmp_path, rng):
    image = rng.normal(size=(7, 8, 9)).astype(np.float32)
    source = FolderSource(tmp_path, 1.0)
    assert source.records() == []
    write_volume(tmp_path, "b", image, image > 1)
    np.save(tmp_path / "c.image.npy", image)
    (tmp_path / ".partial-x.mask.npy").touch()
    assert [r.name for r in source.records()] == ["b"]
    write_volume(tmp_path, "a", image, image > 1, half=True)
    assert [r.name for r in source.records()] == ["a", "b"]
    assert source.records()[0].open_image().dtype == np.float16


def test_a_folder_lists_the_volumes_of_a_prefix_alone_where_one_is_asked_for(tmp_path, rng):
    for name in ("head00001_0", "head00012_0", "head00012_1"):
        image = rng.normal(size=(7, 8, 9)).astype(np.float32)
        write_volume(tmp_path, name, image, image > 1)
    assert [record.name for record in FolderSource(tmp_path, 1.0, "head00012_").records()] == ["head00012_0", "head00012_1"]
    assert len(FolderSource(tmp_path, 1.0).records()) == 3


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_written_anew_under_its_name_is_read_anew_in_either_order(tmp_path, rng, order):
    for shape in ((7, 8, 9), (5, 6, 4)):
        image = np.asarray(rng.normal(size=shape), np.float32, order=order)
        write_volume(tmp_path, "a", image, np.asarray(image > 0, order=order))
        (record,) = FolderSource(tmp_path, 1.0).records()
        np.testing.assert_array_equal(record.open_image(), image)
        np.testing.assert_array_equal(record.open_mask(), image > 0)


def test_image_and_mask_of_different_shape_are_refused(tmp_path):
    with pytest.raises(InputError, match="sub-02"):
        write_volume(tmp_path, "sub-02", np.zeros((3, 4, 5)), np.zeros((3, 4, 6)))
