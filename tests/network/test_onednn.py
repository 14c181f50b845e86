from __future__ import annotations

import subprocess
import sys


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
