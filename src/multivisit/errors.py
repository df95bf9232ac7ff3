"""The errors that `multivisit` raises: one small tree, each also the builtin a caller would expect."""

from __future__ import annotations

__all__ = [
    "CombineError",
    "ExposureError",
    "MissingFileError",
    "MultivisitError",
    "NoViableDataError",
    "NotOfferedError",
    "ParameterError",
    "PollerError",
    "ProductError",
    "SkyCellError",
]


class MultivisitError(Exception):
    """Base of all errors of this package.

    The message names the file, the place in it (line, extension, keyword), what was found
    and what was expected.
    """


class SkyCellError(MultivisitError, ValueError):
    """A sky cell, projection cell or position that the tessellation does not have."""


class ExposureError(MultivisitError, ValueError):
    """An exposure file that cannot be read or used (truncated, no SCI, no WCS, unknown detector)."""


class MissingFileError(MultivisitError, FileNotFoundError):
    """An input file that is not there or may not be read."""


class PollerError(MultivisitError, ValueError):
    """A poller file whose content is not as published."""


class ParameterError(MultivisitError, ValueError):
    """A parameter with an impossible name, type or value."""


class NotOfferedError(MultivisitError, NotImplementedError):
    """Something was asked for that this version does not do."""


class NoViableDataError(MultivisitError, ValueError):
    """After vetting, no exposure is left to be combined."""


class CombineError(MultivisitError, RuntimeError):
    """A layer could not be combined."""


class ProductError(MultivisitError, OSError):
    """A product could not be written."""
