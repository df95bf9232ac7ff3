"""Progress bars for people: on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multivisit.run.progress import NoProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["progress_on_terminal"]


class _BarProgress:
    """One `rich` bar a task."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {"": bars.add_task("starting", total=None)}

    def stage(self, description: str, total: int, task: str = "") -> None:
        """Begin a stage: the task's bar starts anew."""
        if task and (nobody := self._tasks.pop("", None)) is not None:
            self._bars.remove_task(nobody)
        if task in self._tasks:
            self._bars.reset(self._tasks[task], description=description, total=total)
        else:
            self._tasks[task] = self._bars.add_task(description, total=total)

    def advance(self, description: str | None = None, task: str = "") -> None:
        """Move the task's bar one step."""
        if task not in self._tasks:
            return
        if description is None:
            self._bars.advance(self._tasks[task])
        else:
            self._bars.update(self._tasks[task], advance=1, description=description)

    def finish(self, task: str) -> None:
        """Take the task's bar away."""
        if (bar := self._tasks.pop(task, None)) is not None:
            self._bars.remove_task(bar)


@contextmanager
def progress_on_terminal() -> Iterator[Progress]:
    """Show bars on standard error while the block runs, if that is a terminal.

    Yields
    ------
    Progress
        What the work reports to.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield NoProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _BarProgress(bars)
