"""How long work tells what it is doing."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NoProgress", "Progress"]


class Progress(Protocol):
    """Whoever wants to follow a run implements these."""

    def stage(self, description: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""

    def advance(self, description: str | None = None) -> None:
        """One step of the current stage is done."""


class NoProgress:
    """Follows nothing: the default of the library."""

    def stage(self, description: str, total: int) -> None:
        """Ignore the stage."""

    def advance(self, description: str | None = None) -> None:
        """Ignore the step."""
