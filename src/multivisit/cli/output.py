"""How commands speak: JSON documents and one-line errors."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import typer

__all__ = ["fail", "print_json"]


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    typer.echo(json.dumps(value, indent=2, default=str, allow_nan=False))


def fail(message: str, code: int = 1) -> NoReturn:
    """Print one clear line on standard error and leave."""
    typer.echo(f"mvm: error: {message}", err=True)
    raise typer.Exit(code)
