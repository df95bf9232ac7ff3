"""The messages of a run: kept for the trailer files, without touching the host program's logging."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TextIO

__all__ = ["RunLog", "layer_messages", "run_log"]

_PACKAGE_LOGGER = "multivisit"
_FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"
_current_layer: ContextVar[str | None] = ContextVar("multivisit_current_layer", default=None)
_current_run: ContextVar[RunLog | None] = ContextVar("multivisit_current_run", default=None)


@dataclass
class RunLog:
    """The formatted messages of one run, each with the layer it belongs to."""

    entries: list[tuple[str | None, str]] = field(default_factory=list)
    """Layer (product basename, or None for the run as a whole) and message, in order of time."""

    def text(self, layer: str | None = None) -> str:
        """Return the messages of the run as a whole and of ``layer``; of every layer if it is None.

        Parameters
        ----------
        layer : str, optional
            Product basename of the layer.

        Returns
        -------
        str
            One message a line, newline at the end.
        """
        chosen = [message for owner, message in self.entries if layer is None or owner in (None, layer)]
        return "\n".join(chosen) + "\n" if chosen else ""


class _CollectingHandler(logging.Handler):
    """Puts each formatted record of its own run into the `RunLog`; runs in other threads have theirs."""

    def __init__(self, log: RunLog, level: int) -> None:
        super().__init__(level)
        self._log = log
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text if it was made in this run."""
        if _current_run.get() is self._log:
            self._log.entries.append((_current_layer.get(), self.format(record)))


class _HostHandler(logging.Handler):
    """Hands on to the host program exactly the records that it would have seen without a run."""

    def __init__(self, host: logging.Logger, level: int) -> None:
        super().__init__(level)
        self._host = host

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record to the handlers of the parent logger, if there are any."""
        # Without handlers logging would print warnings by itself, which the run's own output tells.
        if self._host.hasHandlers():
            self._host.callHandlers(record)


class _ScreenHandler(logging.StreamHandler[TextIO]):
    """Shows the records of its own run on standard output."""

    def __init__(self, log: RunLog, level: int) -> None:
        super().__init__(sys.stdout)
        self._log = log
        self.setLevel(level)
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Show the record if it was made in this run."""
        if _current_run.get() is self._log:
            super().emit(record)


class _SharedLogger:
    """The package's logger, opened by the first run of several at a time and put back by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._before = (logging.NOTSET, True)
        self._host_handler: logging.Handler | None = None

    def enter(self, level: int, handlers: list[logging.Handler]) -> None:
        """Add a run's handlers and let records of ``level`` through."""
        logger = logging.getLogger(_PACKAGE_LOGGER)
        with self._lock:
            if self._runs == 0:
                self._before = (logger.level, logger.propagate)
                if logger.propagate:
                    # Records below the host's level must not reach its handlers through propagation.
                    self._host_handler = _HostHandler(logging.getLogger(), logger.getEffectiveLevel())
                    logger.addHandler(self._host_handler)
            self._runs += 1
            logger.setLevel(min(level, logger.getEffectiveLevel()))
            logger.propagate = False
            for handler in handlers:
                logger.addHandler(handler)

    def leave(self, handlers: list[logging.Handler]) -> None:
        """Take a run's handlers away; the last run puts the logger back as it was."""
        logger = logging.getLogger(_PACKAGE_LOGGER)
        with self._lock:
            for handler in handlers:
                logger.removeHandler(handler)
            self._runs -= 1
            if self._runs == 0:
                if self._host_handler is not None:
                    logger.removeHandler(self._host_handler)
                    self._host_handler = None
                logger.setLevel(self._before[0])
                logger.propagate = self._before[1]


_shared_logger = _SharedLogger()


@contextmanager
def run_log(level: int = logging.INFO, *, to_screen: bool = False) -> Iterator[RunLog]:
    """Collect the package's messages while the block runs, and leave logging as it was found.

    Parameters
    ----------
    level : int
        Lowest level that is shown; kept is everything from INFO up, or from this level if it is lower.
    to_screen : bool
        Show messages on standard output as well, as the published interface does.

    Yields
    ------
    RunLog
        Filled as messages come in.
    """
    log = RunLog()
    kept_level = min(level, logging.INFO)
    handlers: list[logging.Handler] = [_CollectingHandler(log, kept_level)]
    if to_screen:
        handlers.append(_ScreenHandler(log, level))
    token = _current_run.set(log)
    _shared_logger.enter(kept_level, handlers)
    try:
        yield log
    finally:
        _shared_logger.leave(handlers)
        _current_run.reset(token)


@contextmanager
def layer_messages(layer: str) -> Iterator[None]:
    """Mark the messages of the block as belonging to ``layer`` (a product basename)."""
    token = _current_layer.set(layer)
    try:
        yield
    finally:
        _current_layer.reset(token)
