"""Refuse large files: `python -m tests.project.large_files FILE ...` (the pre-commit hook calls it)."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT_BYTES = 500_000


def too_large(paths: list[str]) -> list[str]:
    """Return a line for each file above the limit."""
    sizes = [(Path(p), Path(p).stat().st_size) for p in paths if Path(p).is_file()]
    return [
        f"{path}: {size // 1000} kB; keep files under {LIMIT_BYTES // 1000} kB, data belong into data_manifest/"
        for path, size in sizes
        if size > LIMIT_BYTES
    ]


if __name__ == "__main__":
    found = too_large(sys.argv[1:])
    sys.stderr.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
