"""Duong et al., AJNR 2019, made executable: FLAIR lesion segmentation.

``flairnb.start(...)`` opens a notebook's run; everything else lives in the
rooms (``flairnb.cohort``, ``flairnb.prepare``, ...), in the order of the
paper's Methods. Importing this package loads none of the heavy libraries.
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "start"]

__version__ = "0.1.0"


def start(*args: Any, **kwargs: Any) -> Any:
    """Open the run of a notebook; see :func:`flairnb.report.start.start`."""
    from flairnb.report.start import start as start_run

    return start_run(*args, **kwargs)
