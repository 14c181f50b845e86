"""A Jupyter kernel of this very interpreter, whatever is installed globally."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


def kernel_environment(jobs: int) -> dict[str, str]:
    """Return the variables that a run's kernels see on top of the caller's.

    Parameters
    ----------
    jobs : int
        Cases at a time; joblib reads it as the number of processors.

    Notes
    -----
    oneDNN is switched on before TensorFlow is imported: on processors with
    AVX2 only it is off by default and about seven times slower.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH", "")
    return {
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "LOKY_MAX_CPU_COUNT": str(jobs),
        "PYTHONPATH": os.pathsep.join(filter(None, [package_parent, inherited])),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


class OwnKernelManager(AsyncKernelManager):
    """Start kernels with ``sys.executable``, never with a foreign kernelspec.

    A ``python3`` kernelspec in a user's home folder may belong to another
    environment, and none at all may be installed; this manager needs none.
    """

    jobs: int = 1

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the specification of this interpreter's kernel."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"],
            env=kernel_environment(self.jobs),
            display_name="flairnb",
            language="python",
        )


def kernel_manager_for(jobs: int) -> type[OwnKernelManager]:
    """Return a kernel manager class whose kernels work on `jobs` cases at a time."""
    return type("RunKernelManager", (OwnKernelManager,), {"jobs": int(jobs)})
