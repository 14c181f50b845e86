from __future__ import annotations

import ast
import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.network.dataset import EpochPatches
from flairnb.network.volumes import FolderSource, VolumeRecord, write_volume


def collect(patches, first=0, workers=2):
    return list(patches.batches(first, workers))


def test_the_paper_makes_240_patches_a_case(volumes, tiny_settings):
    train = replace(tiny_settings.train, patches_per_case=80, augmentations=3, batch=6)
    patches = EpochPatches(volumes, train, 1, 0)
    assert len(patches) == 240 * 3
    assert patches.steps == 120
    assert len({tuple(i) for i in patches.items}) == 720


def test_batches_do_not_depend_on_threads_or_on_where_one_starts(volumes, tiny_settings):
    patches = EpochPatches(volumes, tiny_settings.train, 1, 4)
    one, other = collect(patches, workers=1), collect(EpochPatches(volumes, tiny_settings.train, 1, 4), workers=4)
    assert len(one) == patches.steps == 4
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    late = collect(EpochPatches(volumes, tiny_settings.train, 1, 4), first=3)
    assert len(late) == 1
    np.testing.assert_array_equal(late[0][0], one[3][0])


def test_threads_that_cut_patches_parse_no_python(tmp_path, rng, tiny_settings, monkeypatch):
    """Python 3.11's `ast` fails now and then where two threads use it; NumPy reads a file's header with it."""
    for name in "ab":
        image = rng.normal(size=(20, 21, 22)).astype(np.float32)
        write_volume(tmp_path, name, image, image > 2)
    patches = EpochPatches(FolderSource(tmp_path, 2.0).records(), tiny_settings.train, 1, 0)
    expected = collect(patches, workers=1)
    again = EpochPatches(FolderSource(tmp_path, 2.0).records(), tiny_settings.train, 1, 0)

    def parsed(*_args, **_words):
        raise AssertionError("a thread parsed Python")

    monkeypatch.setattr(ast, "parse", parsed)
    for (image, mask), (other, other_mask) in zip(collect(again), expected, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(mask, other_mask)


def test_another_epoch_or_seed_draws_other_patches(volumes, tiny_settings):
    first, epoch, seed = (collect(EpochPatches(volumes, tiny_settings.train, s, e))[0][0] for s, e in ((1, 0), (1, 1), (2, 0)))
    assert not np.array_equal(first, epoch)
    assert not np.array_equal(first, seed)


def test_about_half_of_the_patches_of_sick_cases_hold_lesion(volumes, tiny_settings):
    train = replace(tiny_settings.train, recipe="paper", patch=8, patches_per_case=40, batch=8, rotation_deg=5.0)
    masks = np.concatenate([m for _, m in collect(EpochPatches(volumes[:2], train, 1, 0))])
    assert 0.4 < masks.any(axis=(1, 2, 3)).mean() < 0.65
    assert set(np.unique(masks)) == {0, 1}


def test_patches_that_are_to_be_free_hold_no_lesion_however_much_there_is(rng, tiny_settings):
    """A large lesion and many small ones: of those, few were left among the voxels that stood for all."""
    shape = (70, 90, 66)
    away = sum(((np.arange(n) - c) / 20.0).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2 for axis, (n, c) in enumerate(
        zip(shape, (22, 60, 30), strict=True)
    ))  # fmt: skip
    mask = np.broadcast_to(away, shape) < 1
    for corner in rng.integers(4, 60, (60, 3)):
        mask[tuple(slice(c, c + 2) for c in corner)] = True
    assert np.count_nonzero(mask) > 20_000
    train = replace(tiny_settings.train, recipe="paper", patch=16, patches_per_case=40, augmentations=2, lesion_fraction=0.5)
    patches = EpochPatches([VolumeRecord("a", np.ones(shape, np.float32), mask.astype(np.uint8), 1.0)], train, 1, 0)
    held = np.array([patches[number][1].any() for number in range(len(patches))])
    meant = patches.items[:, 2] < 20
    assert held[meant].mean() > 0.95 and not held[~meant].any()


def test_larger_voxels_show_the_same_lesions_smaller(volumes, tiny_settings):
    near = replace(tiny_settings.train, patch=8, patches_per_case=60, batch=8, coarsest_mm=0.0)
    far = replace(near, coarsest_mm=3.0 * volumes[0].spacing_mm)
    sizes = []
    for train in (near, far):
        patches = EpochPatches(volumes[:2], train, 1, 0)
        lesion = [m.sum() for _, mask in collect(patches) for m in mask if m.any()]
        drawn = [patches.draw(record, 0)[0].coarser for record in range(2)]
        assert all(1.0 <= c <= 3.0 for c in drawn)
        assert len(lesion) > 0.4 * len(patches)
        sizes.append(np.mean(lesion))
    assert sizes[1] < 0.8 * sizes[0]


def test_image_and_mask_of_a_patch_belong_together(volumes, tiny_settings):
    image, mask = (np.concatenate(parts) for parts in zip(*collect(EpochPatches(volumes, tiny_settings.train, 1, 0)), strict=True))
    assert image.shape[1:] == (16, 16, 16, 1)
    assert image[..., 0][mask == 1].mean() > 2.5
    assert abs(image[..., 0][mask == 0].mean()) < 0.5


def test_tf_data_gives_the_same_batches(volumes, tiny_settings):
    patches = EpochPatches(volumes, tiny_settings.train, 1, 0)
    for (a, b), (image, mask) in zip(collect(patches, first=1), patches.dataset(1), strict=True):
        np.testing.assert_array_equal(a, image)
        np.testing.assert_array_equal(b, mask)


def test_no_epoch_stays_in_memory(volumes, tiny_settings):
    """TensorFlow keeps the functions of its datasets for ever, and would keep every epoch's draws with them."""

    def epoch(number):
        patches = EpochPatches(volumes, tiny_settings.train, 1, number)
        batches = iter(patches.dataset())
        for _ in range(patches.steps if number else 1):  # the first is stopped after a step, as by a time limit
            next(batches)
        return weakref.ref(patches)

    gone = [epoch(number) for number in range(5)]
    gc.collect()
    assert sum(one() is not None for one in gone) <= 1


def test_without_augmentation_patches_are_cut_from_the_volume_itself(volumes, tiny_settings):
    patches = EpochPatches(volumes[:1], replace(tiny_settings.train, augmentations=0), 1, 0)
    image, _ = patches[0]
    _, corners = patches.draw(0, 0)
    whole = volumes[0].open_image()
    corner = corners[patches.items[0][2]]
    inside = [(max(0, -c), min(16, n - c)) for c, n in zip(corner, whole.shape, strict=True)]
    part = tuple(slice(a, b) for a, b in inside)
    source = tuple(slice(c + a, c + b) for c, (a, b) in zip(corner, inside, strict=True))
    np.testing.assert_array_equal(image[part], whole[source])


def test_no_volumes_is_an_error(tiny_settings):
    with pytest.raises(InputError, match="at least one volume"):
        EpochPatches([], tiny_settings.train, 1, 0)
