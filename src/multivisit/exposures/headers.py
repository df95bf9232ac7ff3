"""Values from headers as they are in the wild: missing, blank, unreadable, or a number written as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.io import fits

__all__ = ["found", "number", "text", "value", "whole_number"]


def value(header: fits.Header, keyword: str) -> Any:
    """Give a keyword's value.

    Parameters
    ----------
    header : fits.Header
        Any header.
    keyword : str
        Its keyword, also a record of one (``DP1.EXTVER``).

    Returns
    -------
    object
        The value; None where the keyword is missing or blank or its card cannot be read.
    """
    from astropy.io.fits.card import Undefined
    from astropy.io.fits.verify import VerifyError

    try:
        content = header.get(keyword)
    except VerifyError:
        return None
    if isinstance(content, Undefined) or (isinstance(content, str) and not content.strip()):
        return None
    return content


def text(header: fits.Header, keyword: str) -> str:
    """Give a keyword's value as text without surrounding blanks, empty where there is none."""
    content = value(header, keyword)
    return "" if content is None else str(content).strip()


def number(header: fits.Header, keyword: str) -> float | None:
    """Give a keyword that holds a finite number (also one written as text), else None."""
    content = value(header, keyword)
    if isinstance(content, bool):
        return None
    try:
        result = float(content)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def whole_number(header: fits.Header, keyword: str) -> int | None:
    """Give a keyword that holds a whole number, else None."""
    result = number(header, keyword)
    return int(result) if result is not None and result.is_integer() else None


def found(header: fits.Header, keyword: str) -> str:
    """Say for a message what a keyword holds: "is missing", "is blank", "is unreadable (NaN)" or "is 12"."""
    from astropy.io.fits.verify import VerifyError

    if keyword not in header:
        return "is missing"
    try:
        header.get(keyword)
    except VerifyError:
        # Asking the card for its text would make astropy rewrite it and warn.
        card = str(getattr(header.cards[keyword], "_image", None) or "")
        return f"is unreadable ({card.partition('=')[2].partition('/')[0].strip() or card.strip()})"
    content = value(header, keyword)
    return "is blank" if content is None else f"is {content!r}"
