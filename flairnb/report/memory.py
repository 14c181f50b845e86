"""The peak memory of a run, its kernels and their workers together."""

from __future__ import annotations

import threading
from types import TracebackType


class MemoryWatch:
    """Sample the memory of this process and all its children while a block runs.

    Attributes
    ----------
    peak_gb : float
        Largest sum seen, in GB (10^9 bytes). On Linux shared pages are
        divided among their users (PSS), so forked or library pages do not
        count twice; elsewhere it is the resident size.

    Examples
    --------
    >>> with MemoryWatch(every_s=0.01) as watch:
    ...     block = bytearray(10_000_000)
    >>> watch.peak_gb > 0.01
    True
    """

    def __init__(self, every_s: float = 1.0) -> None:
        self.peak_gb = 0.0
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="memory-watch")

    def __enter__(self) -> MemoryWatch:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_gb = max(self.peak_gb, round(tree_memory_gb(), 3))
            if self._stop.wait(self._every_s):
                return


def tree_memory_gb() -> float:
    """Return the memory of this process and its living descendants, in GB."""
    import psutil

    this = psutil.Process()
    total = 0
    for process in [this, *this.children(recursive=True)]:
        try:
            full = process.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return total / 1e9
