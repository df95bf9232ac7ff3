"""How the published programs show messages: the names of levels, and where messages go."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOG_LEVELS", "messages_on_screen"]

LOG_LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""Levels of the module `logging` by name."""


@contextmanager
def messages_on_screen(level: int = logging.INFO) -> Iterator[None]:
    """Show this package's messages on standard error while the block runs, and leave logging as it was.

    Parameters
    ----------
    level : int
        Lowest level that is shown.
    """
    logger = logging.getLogger("multivisit")
    before, handler = logger.level, logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
