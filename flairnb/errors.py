"""Errors a user can act on; each carries the exit code of the command line.

A message says what was expected, what was found, which case and file, and
what to do. Every class also subclasses the builtin it specialises, so that
callers can catch either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class FlairnbError(Exception):
    """Base of all errors of this package; exit code 1 unless a subclass says 2."""

    exit_code = 1


class SettingsError(FlairnbError, ValueError):
    """Raised when a profile, a setting or a parameter is unknown or out of range."""

    exit_code = 2


class ManifestError(FlairnbError, ValueError):
    """Raised when a manifest breaks its schema; `problems` lists all faults at once."""

    exit_code = 2

    def __init__(self, message: str, problems: pd.DataFrame | None = None) -> None:
        super().__init__(message)
        self.problems = problems


class GeometryError(FlairnbError, ValueError):
    """Raised when two images that must share a voxel grid do not."""

    exit_code = 2


class InputError(FlairnbError, ValueError):
    """Raised when a file or an argument cannot be used as given."""

    exit_code = 2


class MissingDataError(FlairnbError, FileNotFoundError):
    """Raised when a file or folder that is needed does not exist."""

    exit_code = 2


class EnvironmentProblem(FlairnbError, RuntimeError):
    """Raised when the installation or the machine lacks something."""


class WorkFailed(FlairnbError, RuntimeError):
    """Raised when the input was fine but the work could not be finished."""
