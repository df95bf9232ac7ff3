"""Keywords of a product: how values are put into a header, and how those of the members are combined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multivisit.exposures.headers import stored_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astropy.io import fits

__all__ = [
    "CHIP_KEYWORDS",
    "MEMBER_KEYWORDS",
    "MULTIPLE",
    "KeywordRule",
    "KeywordValue",
    "ascii_text",
    "combine_keyword",
    "member_value",
    "plain_value",
    "put",
    "put_all",
]

KeywordValue = bool | int | float | str
"""A keyword's value as the products hold it."""

MULTIPLE = "MULTIPLE"
"""Stands in a header where the members have different values; HDRTAB has each."""

_CARD_LENGTH = 80
_COMMENT_COLUMN = 30
_LONGEST_SHORT_FLOAT = 20


@dataclass(frozen=True)
class KeywordRule:
    """How one keyword of the members' headers comes into the PRIMARY header of their mosaic."""

    keyword: str
    """The keyword, in the members and in the product."""

    how: Literal["first", "multi", "joined", "zero"]
    """``first``: that of the earliest member that has one; ``multi``: the common value, or `MULTIPLE`;
    ``joined``: all the different values, sorted, between semicolons; ``zero``: 0.0 if any member has one (an
    angle from North, which is up in a mosaic)."""

    comment: str
    """Comment in the product's header."""

    source: str = ""
    """The keyword in the members, where it is another one."""

    different: KeywordValue = MULTIPLE
    """What stands for ``multi`` where the members have different values."""


MEMBER_KEYWORDS: Mapping[str, tuple[KeywordRule, ...]] = {
    "TARGET": (
        KeywordRule("TARGNAME", "first", "target of the earliest exposure, by its proposer"),
        KeywordRule("RA_TARG", "first", "[deg] right ascension of that target"),
        KeywordRule("DEC_TARG", "first", "[deg] declination of that target"),
        KeywordRule("REFFRAME", "multi", "guide star catalog"),
        KeywordRule("MTFLAG", "first", "moving target flag"),
    ),
    "PROPOSAL": (
        KeywordRule("PROPOSID", "joined", "proposals"),
        KeywordRule("PINAME", "joined", "principal investigators", source="PR_INV_L"),
        KeywordRule("LINENUM", "first", "the earliest exposure's line in its proposal"),
    ),
    "EXPOSURE": (
        KeywordRule("IMAGETYP", "first", "type of exposure"),
        KeywordRule("PRIMESI", "multi", "instrument designated as prime"),
        KeywordRule("OBSTYPE", "first", "observation type"),
        KeywordRule("OBSMODE", "multi", "operating mode"),
        KeywordRule("APERTURE", "multi", "aperture"),
        KeywordRule("PROPAPER", "multi", "proposed aperture"),
        KeywordRule("POSTARG1", "first", "[arcsec] the earliest exposure's offset, detector axis 1"),
        KeywordRule("POSTARG2", "first", "[arcsec] the earliest exposure's offset, detector axis 2"),
        KeywordRule("PA_V3", "zero", "[deg] 0: North is up"),
        KeywordRule("SUBARRAY", "multi", "subarray (T) or full frame (F)"),
        KeywordRule("SUBTYPE", "multi", "size or type of the subarray"),
        KeywordRule("CRSPLIT", "first", "number of cosmic-ray split exposures"),
        KeywordRule("NRPTEXP", "first", "number of repeat exposures in a set"),
        KeywordRule("FGSLOCK", "multi", "commanded FGS lock"),
        KeywordRule("SAMP_SEQ", "multi", "MultiAccum sequence"),
        KeywordRule("NSAMP", "multi", "number of MultiAccum samples"),
    ),
    "DETECTOR": (
        KeywordRule("CCDAMP", "multi", "amplifiers"),
        KeywordRule("CCDGAIN", "multi", "commanded gain"),
        *(KeywordRule(f"ATODGN{amp}", "first", f"calibrated gain of amplifier {amp}") for amp in "ABCD"),
        *(KeywordRule(f"READNSE{amp}", "first", f"calibrated read noise, amplifier {amp}") for amp in "ABCD"),
        KeywordRule("FLASHCUR", "multi", "post flash current"),
        KeywordRule("LRFWAVE", "first", "linear ramp filter wavelength"),
    ),
    "CALIBRATION": (
        KeywordRule("CAL_VER", "multi", "version of the calibration software"),
        KeywordRule("OPUS_VER", "multi", "version of the data processing software"),
        KeywordRule("CSYS_VER", "multi", "version of the calibration system"),
        KeywordRule("AWSYSVER", "multi", "version of the cloud infrastructure"),
        KeywordRule("AWSDPVER", "multi", "version of the cloud data processing"),
        KeywordRule("CRDS_VER", "multi", "version of the reference file software"),
        KeywordRule("UPWCSVER", "multi", "version of the software that updated the WCS"),
        KeywordRule("PYWCSVER", "multi", "version of the WCS library it used"),
        KeywordRule("IDCTAB", "multi", "distortion table"),
        KeywordRule("NPOLFILE", "multi", "table of the remaining distortion"),
        KeywordRule("D2IMFILE", "multi", "detector to image correction"),
        KeywordRule("PCTECORR", "multi", "correction of the charge transfer efficiency"),
        KeywordRule("PCTETAB", "multi", "table of that correction"),
        KeywordRule("IMPHTTAB", "multi", "table of the photometric calibration"),
        KeywordRule("CRDS_CTX", "multi", "set of reference files"),
        KeywordRule("SIMULATE", "first", "the exposures are simulated"),
    ),
}
"""Keywords taken from the members' PRIMARY headers, by section of the product's header."""

CHIP_KEYWORDS = (
    KeywordRule("EXPNAME", "first", "rootname of the earliest exposure"),
    KeywordRule("CCDCHIP", "multi", "CCD chip, -999 for several", different=-999),
    KeywordRule("BINAXIS1", "first", "binning along axis 1"),
    KeywordRule("BINAXIS2", "first", "binning along axis 2"),
    KeywordRule("RA_APER", "first", "[deg] RA of the earliest exposure's aperture"),
    KeywordRule("DEC_APER", "first", "[deg] declination of that aperture"),
    KeywordRule("PA_APER", "zero", "[deg] 0: North is up"),
)
"""Keywords taken from the headers of the members' chips into those of the mosaic's images."""


def plain_value(value: object) -> KeywordValue | None:
    """Turn a keyword's value into a plain bool, int, float or string.

    Parameters
    ----------
    value : object
        A value out of a FITS header, or a number of numpy's.

    Returns
    -------
    bool, int, float, str or None
        None for what a header cannot hold or does not tell: undefined, NaN, infinite, blank. Strings lose the
        blanks around them, and what is not ASCII becomes ``?``.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return _finite(value)
    if isinstance(value, str):
        return ascii_text(value.strip()) or None
    return None


def ascii_text(text: str) -> str:
    """Replace what a FITS file cannot hold.

    Parameters
    ----------
    text : str
        Any text, for example the name of a file: it may have letters that are not ASCII, new lines, and
        halves of surrogate pairs that stand for bytes of a name that is not in the system's encoding.

    Returns
    -------
    str
        Printable ASCII of the same length: ``?`` stands for every other character.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    )


def member_value(header: fits.Header, keyword: str, *, keep_blank: bool = False) -> KeywordValue | None:
    """Read a keyword of a member's header.

    Parameters
    ----------
    header : Header
        The header.
    keyword : str
        The keyword.
    keep_blank : bool, optional
        Give a blank string as an empty one, not as None.

    Returns
    -------
    bool, int, float, str or None
        The value as `plain_value` gives it; None if it is missing, or if its card cannot be understood.
    """
    from astropy.io.fits.verify import VerifyError

    try:
        value = stored_value(header, keyword)
    except VerifyError:
        return None
    plain = plain_value(value)
    return "" if keep_blank and plain is None and isinstance(value, str) else plain


def _finite(value: float | np.floating[Any]) -> float | None:
    """A float as a Python float; one of single precision by its shortest decimals."""
    number = float(str(value)) if isinstance(value, np.float32) else float(value)
    return number if math.isfinite(number) else None


def combine_keyword(rule: KeywordRule, headers: Iterable[fits.Header]) -> KeywordValue | None:
    """Combine one keyword of the members' headers.

    Parameters
    ----------
    rule : KeywordRule
        The keyword and how it is combined.
    headers : iterable of Header
        The members' headers, the earliest first. Those that lack the keyword or leave it blank do not count.

    Returns
    -------
    bool, int, float, str or None
        The value for the product; None if no member has one.
    """
    keyword = rule.source or rule.keyword
    values = [value for header in headers if (value := member_value(header, keyword)) is not None]
    if not values:
        return None
    if rule.how == "first":
        return values[0]
    if rule.how == "zero":
        return 0.0
    different = dict.fromkeys(values)
    if rule.how == "multi":
        return values[0] if len(different) == 1 else rule.different
    return "; ".join(str(value) for value in sorted(different, key=_numbers_first))


def _numbers_first(value: KeywordValue) -> tuple[bool, float, str]:
    """Sorting key: numbers, also those written as text, by their value, then other text."""
    text = str(value)
    return (False, float(text), text) if text.isdigit() else (True, 0.0, text)


def put(header: fits.Header, keyword: str, value: object, comment: str = "") -> None:
    """Append a keyword to a header, if its value can be there; the comment is cut to the card.

    Parameters
    ----------
    header : Header
        Changed in place.
    keyword : str
        A keyword that the header does not have yet.
    value : object
        Anything that `plain_value` takes; a value without meaning adds nothing.
    comment : str, optional
        Comment; left out where the value fills the card.
    """
    from astropy.io import fits

    plain = plain_value(value)
    if plain is None:
        return
    if isinstance(plain, float) and len(repr(plain)) > _LONGEST_SHORT_FLOAT:
        # astropy would cut the last digits; free format has room for all of them.
        text = repr(plain).upper()
        header.append(fits.Card.fromstring(_with_comment(f"{keyword:<8}= {text}", comment)), end=True)
        return
    length = _COMMENT_COLUMN
    if isinstance(plain, str):
        quoted = plain.replace("'", "''")
        # A text has quotes around it and at least 8 characters between them.
        length = max(length, len(f"{keyword:<8}= '{quoted:<8}'"))
    room = max(0, _CARD_LENGTH - length - len(" / "))
    header.append(fits.Card(keyword, plain, _shortened(comment, room)), end=True)


def put_all(header: fits.Header, cards: Sequence[tuple[str, object, str]]) -> None:
    """Append several keywords, each as `put` does.

    Parameters
    ----------
    header : Header
        Changed in place.
    cards : sequence of (str, object, str)
        Keyword, value and comment of each.
    """
    for keyword, value, comment in cards:
        put(header, keyword, value, comment)


def _with_comment(card: str, comment: str) -> str:
    """A card with as much of the comment as it has room for."""
    comment = _shortened(comment, _CARD_LENGTH - len(card) - len(" / "))
    return f"{card} / {comment}" if comment else card


def _shortened(comment: str, room: int) -> str:
    """The comment, or as many of its words as there is room for."""
    if len(comment) <= room:
        return comment
    return comment[: max(0, room) + 1].rpartition(" ")[0].rstrip(" ,(") if room > 0 else ""
