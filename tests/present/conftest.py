"""What all tests of this room share."""

from __future__ import annotations

import pytest

from flairnb.present import style


@pytest.fixture(autouse=True)
def no_run_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as if no run had said whose its second reader is: another test of this process may have started one."""
    monkeypatch.setattr(style, "_reader_is_simulated", False)
