"""The errors that `multivisit` raises: one small tree, each also the builtin a caller would expect."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CombineError",
    "ExposureError",
    "InvalidParametersError",
    "MissingFileError",
    "MultivisitError",
    "NoViableDataError",
    "NotOfferedError",
    "ParameterError",
    "PollerError",
    "ProductError",
    "ReferenceCatalogError",
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


class InvalidParametersError(ParameterError):
    """Parameters of one group, some of which have an impossible name, type or value.

    Parameters
    ----------
    title : str
        What the group is called.
    problems : sequence of (tuple of str, str)
        For each wrong one its path within the group and a sentence: what was found, what was expected.
    """

    def __init__(self, title: str, problems: Sequence[tuple[tuple[str, ...], str]]) -> None:
        super().__init__(title, problems)
        self.title = title
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Give all problems in one line."""
        sentences = [": ".join(filter(None, (".".join(path), text))) for path, text in self.problems]
        return f"{self.title}: {'; '.join(sentences)}"


class NotOfferedError(MultivisitError, NotImplementedError):
    """Something was asked for that this version does not do."""


class NoViableDataError(MultivisitError, ValueError):
    """After vetting, no exposure is left to be combined."""


class CombineError(MultivisitError, RuntimeError):
    """A layer could not be combined."""


class ReferenceCatalogError(MultivisitError, ValueError):
    """A reference catalog that cannot be fetched or used."""


class ProductError(MultivisitError, OSError):
    """A product could not be written."""
