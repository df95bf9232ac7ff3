"""Progress bars for people: on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multivisit.run.progress import NoProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

__all__ = ["progress_on_terminal"]


class _BarProgress:
    """One `rich` bar a stage."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def stage(self, description: str, total: int) -> None:
        """Begin a stage: the bar starts anew."""
        self._bars.reset(self._task, description=description, total=total)

    def advance(self, description: str | None = None) -> None:
        """Move the bar one step."""
        if description is None:
            self._bars.advance(self._task)
        else:
            self._bars.update(self._task, advance=1, description=description)


@contextmanager
def progress_on_terminal() -> Iterator[Progress]:
    """Show a bar on standard error while the block runs, if that is a terminal.

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
