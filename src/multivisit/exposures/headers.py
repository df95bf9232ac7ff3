"""Values from headers as they are in the wild: missing, blank, unreadable, or a number written as text."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.io import fits

__all__ = ["found", "header_of_cards", "number", "stored_value", "text", "value", "whole_number"]

_CARD = 80
_VALUES = "_multivisit_values"
_PLAIN_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_PLAIN_CARD = re.compile(
    r"(?P<keyword>[A-Z0-9_-]{1,8}) *= +"
    r"(?:'(?P<text>(?:[^']|'')*)'|(?P<logical>[TF])|(?P<whole>[+-]?\d{1,18})|"
    r"(?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[ED]))(?:[ED][+-]?\d+)?)) *(?:/.*)?$"
)


def header_of_cards(cards: str) -> fits.Header:
    """Make a header of its cards as they stand in a file, and note the values of the plain ones.

    To ask astropy for a value takes many times as long as to read a plain card. The header is not to be
    changed; copies of it are like any other header.

    Parameters
    ----------
    cards : str
        Cards of 80 characters.

    Returns
    -------
    fits.Header
        The header.
    """
    from astropy.io import fits

    header = fits.Header.fromstring(cards)
    values: dict[str, Any] = {}
    odd = set()
    for at in range(0, len(cards), _CARD):
        card = cards[at : at + _CARD]
        keyword = card[:8].strip().upper()
        match = _PLAIN_CARD.match(card) if card[8:10] == "= " else None
        # A text with a colon may be a record of several values; one that goes on is found by its next card.
        plain = match is not None and ": " not in card and cards[at + _CARD : at + _CARD + 8] != "CONTINUE"
        if match is None or not plain:
            odd.add(keyword)
        elif keyword not in odd:
            values.setdefault(keyword, _plain_content(match))
    setattr(header, _VALUES, (values, odd))
    return header


def _plain_content(match: re.Match[str]) -> bool | int | float | str:
    if (content := match["text"]) is not None:
        return content.replace("''", "'").rstrip()
    if match["logical"]:
        return match["logical"] == "T"
    return int(match["whole"]) if match["whole"] else float(match["number"].replace("D", "E"))


def stored_value(header: fits.Header, keyword: str) -> Any:
    """Give what a header holds for a keyword.

    Parameters
    ----------
    header : fits.Header
        Any header.
    keyword : str
        Its keyword.

    Returns
    -------
    object
        The value; None where the keyword is missing.

    Raises
    ------
    astropy.io.fits.verify.VerifyError
        If its card cannot be read.
    """
    noted = getattr(header, _VALUES, None)
    if noted is None:
        return header.get(keyword)
    values, odd = noted
    if keyword in values:
        return values[keyword]
    if keyword in odd or not _PLAIN_KEYWORD.fullmatch(keyword):
        return header.get(keyword)
    return None


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
        content = stored_value(header, keyword)
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
