"""The state of a training as a file: what a damaged one leads to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flairnb.errors import InputError
from flairnb.network.checkpoint import FILE, Progress, read_progress, restore_variables, save_checkpoint


class Variable:
    """As much of a TensorFlow variable as a checkpoint needs."""

    def __init__(self, value):
        self.value, self.shape = np.asarray(value), np.shape(value)

    def numpy(self):
        return self.value

    def assign(self, value):
        self.value = value


@pytest.fixture
def folder(tmp_path, rng):
    folder = tmp_path / "unet"
    save_checkpoint(folder, Progress(epoch=3, names=["a"]), {"model": [Variable(rng.normal(size=(7, 8)))]}, {"seed": 1})
    return folder


def damaged(path, how):
    whole = path.read_bytes()
    start = whole.index(b"about.npy")
    content = {
        "empty": b"",
        "first half": whole[: len(whole) // 2],
        "without its end": whole[:-30],
        "zeros in the middle": whole[: start + 200] + bytes(400) + whole[start + 600 :],
        "a folder's listing": b"<html>not found</html>",
        "other array": b"\x93NUMPY" + whole[:40],
    }[how]
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "first half", "without its end", "zeros in the middle", "a folder's listing", "other array"])
def test_a_damaged_checkpoint_is_one_line_that_says_what_to_do(folder, how):
    damaged(folder / FILE, how)
    with pytest.raises(InputError, match=r"whole checkpoint\.npz in unet, .* Delete it, or train with resume=False\.") as problem:
        read_progress(folder, {"seed": 1})
    assert "\n" not in str(problem.value)
    if how != "zeros in the middle":  # those lie in the counters, not in the variables
        with pytest.raises(InputError, match="Delete it"):
            restore_variables(folder, {"model": [Variable(np.zeros((7, 8)))]})


def test_variables_with_a_changed_byte_are_refused(folder):
    path = folder / FILE
    content = bytearray(path.read_bytes())
    content[content.index(b"model/0000.npy") + 250] ^= 255
    path.write_bytes(content)
    assert read_progress(folder, {"seed": 1}) == replace(Progress(), epoch=3, names=["a"])
    with pytest.raises(InputError, match="CRC"):
        restore_variables(folder, {"model": [Variable(np.zeros((7, 8)))]})


def test_other_variables_and_other_settings_keep_their_own_words(folder):
    with pytest.raises(InputError, match="holds 1 model variables, expected 2"):
        restore_variables(folder, {"model": [Variable(np.zeros((7, 8)))] * 2})
    with pytest.raises(InputError, match=r"has shape \(7, 8\), expected \(8, 7\)"):
        restore_variables(folder, {"model": [Variable(np.zeros((8, 7)))]})
    with pytest.raises(InputError, match="seed: 1 then, 2 now"):
        read_progress(folder, {"seed": 2})
