"""The combination parameters as a validated value; the names are those of AstroDrizzle's parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from multivisit.errors import NotOfferedError, ParameterError

__all__ = ["CombinationParameters", "parse_good_bits"]

_ALL_BITS: Final = 0xFFFF
"""Hubble's data-quality flags have 16 bits."""

_EXPECTED_BITS: Final = (
    "a sum of flag values such as 528, a list such as '16, 512', or '~4096' for all others"
)


def parse_good_bits(bits: int | str | Iterable[int] | None) -> int | None:
    """Turn any published way to write good data-quality bits into one number.

    Parameters
    ----------
    bits : int, str, iterable of int or None
        Their sum (``528``, ``"528"``), a list (``"16, 512"``, ``"16+512"``, ``[16, 512]``), the bad ones
        (``"~4096"``, ``"~(16,512)"``), or None (also ``"None"`` and the empty text) to ignore flags.

    Returns
    -------
    int or None
        The good bits, 0 to 65535: a pixel is bad when it has any other. None where flags do not matter.

    Raises
    ------
    ValueError
        If it cannot be understood.
    """
    if bits is None:
        return None
    if isinstance(bits, int) and not isinstance(bits, bool):
        return _checked_bits(bits)
    if not isinstance(bits, str):
        if not isinstance(bits, Iterable):
            raise ValueError(_EXPECTED_BITS)
        return _joined_bits(bits)
    text = bits.strip()
    if text.lower() in ("", "none"):
        return None
    is_inverted = text.startswith("~")
    text = text.removeprefix("~").strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    items = [item.strip() for item in re.split(r"[,+|]", text)]
    if not all(re.fullmatch(r"[0-9]+", item) for item in items):
        raise ValueError(_EXPECTED_BITS)
    mask = _joined_bits(int(item) for item in items)
    return _ALL_BITS & ~mask if is_inverted else mask


def _joined_bits(items: Iterable[int]) -> int:
    mask = 0
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int):
            raise ValueError(_EXPECTED_BITS)
        mask |= _checked_bits(item)
    return mask


def _checked_bits(mask: int) -> int:
    if not 0 <= mask <= _ALL_BITS:
        raise ValueError(f"{_EXPECTED_BITS}, at most {_ALL_BITS}")
    return mask


GoodBits = Annotated[int | None, BeforeValidator(parse_good_bits)]


class CombinationParameters(BaseModel):
    """How the exposures of a layer are combined. Immutable; every value is checked when it is made."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    skysub: bool = True
    """Subtract sky levels."""

    skymethod: Literal["localmin", "globalmin", "globalmin+match", "match"] = "match"
    """What is subtracted: each exposure's own level, the lowest of all, or differences in the overlaps."""

    skystat: Literal["median", "mean", "mode"] = "median"
    """Statistic of the pixels that is their sky level."""

    skywidth: float = Field(default=0.1, gt=0)
    """Width of the histogram's bins for the mode, in standard deviations."""

    skylower: float | None = -100.0
    """Lowest pixel value that counts for the sky; None for no limit."""

    skyupper: float | None = None
    """Highest pixel value that counts for the sky; None for no limit."""

    skyclip: int = Field(default=5, ge=0)
    """How often the pixels are clipped."""

    skylsigma: float = Field(default=4.0, gt=0)
    """Clip below so many standard deviations."""

    skyusigma: float = Field(default=4.0, gt=0)
    """Clip above so many standard deviations."""

    sky_bits: GoodBits = 0
    """Data-quality flags that are still good for the sky; None for all."""

    use_static: bool = True
    """Leave pixels of the static mask out of the sky."""

    static: bool = True
    """Make a mask of pixels that are low in any exposure of a chip."""

    static_sig: float = Field(default=4.0, gt=0)
    """How many standard deviations below the mode is low."""

    final_kernel: Literal["square", "point", "turbo", "gaussian", "lanczos2", "lanczos3"] = "square"
    """Shape of the drops by which pixels are spread."""

    final_pixfrac: float = Field(default=1.0, ge=0, le=1)
    """Linear size of the drops in pixels of the exposure."""

    final_bits: GoodBits = 0
    """Data-quality flags of pixels that are still combined; None for all."""

    final_wht_type: Literal["EXP"] = "EXP"
    """Kind of weights: exposure time."""

    final_wt_scl: Literal["exptime", "expsq"] | Annotated[float, Field(gt=0)] | None = "exptime"
    """Scale of the weights: the exposure time, its square, or so many times the exposure time."""

    final_units: Literal["cps", "counts"] = "cps"
    """Units of the mosaic: electrons per second, or electrons."""

    final_fillval: float | None = None
    """Value of pixels without data; None for NaN."""

    context: bool = False
    """Keep record of which chips contribute to each pixel (extension CTX)."""

    def __init__(self, **values: Any) -> None:
        """Check the values; a `ParameterError` names each one that cannot be."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(_explain(error)) from None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_offered(cls, values: Any) -> Any:
        kind = values.get("final_wht_type") if isinstance(values, dict) else None
        if kind in ("IVM", "ERR"):
            raise NotOfferedError(
                f"final_wht_type: found {kind!r}; this version weights by exposure time ('EXP') only"
            )
        return values

    @model_validator(mode="after")
    def _check_limits(self) -> CombinationParameters:
        if self.skylower is not None and self.skyupper is not None and self.skylower >= self.skyupper:
            raise ValueError(f"skylower {self.skylower}, expected less than skyupper {self.skyupper}")
        return self

    @property
    def good_bits(self) -> int:
        """The data-quality flags that combined pixels may have, as one number; 65535 for all."""
        return _ALL_BITS if self.final_bits is None else self.final_bits

    @property
    def good_sky_bits(self) -> int:
        """The data-quality flags that sky pixels may have, as one number; 65535 for all."""
        return _ALL_BITS if self.sky_bits is None else self.sky_bits

    def replace(self, **changes: Any) -> CombinationParameters:
        """Give these parameters with some changed, checked again.

        Parameters
        ----------
        **changes
            New values by name.

        Returns
        -------
        CombinationParameters
            A new value.

        Raises
        ------
        ParameterError
            If a name or value is impossible.
        """
        return CombinationParameters(**{**self.model_dump(), **changes})


def _explain(error: ValidationError) -> str:
    """Name each wrong parameter, the value found and what is expected."""
    sentences: dict[str, str] = {}
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = ", ".join(CombinationParameters.model_fields)
            sentence = f"{field}: there is no such parameter, expected one of {known}"
        elif not field:
            sentence = f"found {message}"
        else:
            expected = message.removeprefix("Input should be ").removeprefix("a valid ")
            before = sentences.get(field)
            found = f"{field}: found {problem['input']!r}, expected {expected}"
            sentence = found if before is None else f"{before} or {expected}"
        sentences[field] = sentence
    return "combination parameters: " + "; ".join(sentences.values())
