from __future__ import annotations

import platform
import subprocess
import sys

import pytest


def test_configure_sets_the_switch_before_tensorflow_and_imports_nothing():
    code = (
        "import os, sys; os.environ.pop('TF_ENABLE_ONEDNN_OPTS', None); "
        "from flairnb.network.onednn import configure; assert configure(); "
        "assert os.environ['TF_ENABLE_ONEDNN_OPTS'] == '1'; assert 'tensorflow' not in sys.modules; "
        "import flairnb.network.unet, flairnb.network.training, flairnb.network.inference, flairnb.network.weights; "
        "heavy = {'tensorflow', 'keras', 'pandas', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_users_own_switch_is_kept(monkeypatch):
    from flairnb.network.onednn import configure

    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert configure() is False


FAULTS = """
import resource, sys
import numpy as np
from flairnb.network.onednn import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(8_000_000)  # 64 MB: 15,625 pages of 4 KB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
kept = keep_freed_memory()
faults()
print(usual, kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_kept_and_used_again_without_new_pages():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=300)
    usual, kept, after = done.stdout.split()
    assert kept == "True"
    assert int(after) < int(usual) / 10 or int(usual) < 1000, "few faults are left, or huge pages were in use anyway"


def test_another_c_library_changes_nothing(monkeypatch):
    from flairnb.network import onednn

    monkeypatch.setattr(onednn.ctypes, "CDLL", lambda _name: object())
    assert onednn.keep_freed_memory() is False
