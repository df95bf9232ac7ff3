"""The names that the published programs give to levels of messages."""

from __future__ import annotations

import logging

__all__ = ["LOG_LEVELS"]

LOG_LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""Levels of the module `logging` by name."""
