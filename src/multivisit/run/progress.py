"""How long work tells what it is doing."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NoProgress", "Progress"]


class Progress(Protocol):
    """Whoever wants to follow a run implements these."""

    def stage(self, description: str, total: int, task: str = "") -> None:
        """Begin a stage of ``total`` steps of a task; several tasks may go on at the same time."""

    def advance(self, description: str | None = None, task: str = "") -> None:
        """One step of the task's current stage is done; called from any thread."""

    def finish(self, task: str) -> None:
        """Forget a task: it has ended, well or not."""


class NoProgress:
    """Follows nothing: the default of the library."""

    def stage(self, description: str, total: int, task: str = "") -> None:
        """Ignore the stage."""

    def advance(self, description: str | None = None, task: str = "") -> None:
        """Ignore the step."""

    def finish(self, task: str) -> None:
        """Ignore the end."""
