"""What all parameter models share: strict checks, one explanation of all that is wrong, types of values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from multivisit.errors import InvalidParametersError

__all__ = [
    "ALL_BITS",
    "MULTI_VISIT_ONLY",
    "OMITTED_WHEN_NONE",
    "SINGLE_VISIT_ONLY",
    "Fraction",
    "GoodBits",
    "Pair",
    "ParameterModel",
    "Percentage",
    "Pipeline",
    "PositiveFloat",
    "Published",
    "as_tuple",
    "parse_good_bits",
    "published_name",
]

Pipeline = Literal["mvm", "svm"]
"""The multi-visit and the single-visit pipeline."""

ALL_BITS: Final = 0xFFFF
"""Hubble's data-quality flags have 16 bits."""

_EXPECTED_BITS: Final = (
    "a sum of flag values such as 528, a list such as '16, 512', or '~4096' for all others"
)
_EXPECTED_PAIR: Final = "two numbers of at least 0, such as '3.5 3.0'"


class ParameterModel(BaseModel):
    """A group of parameters under their published names. Immutable; values are checked when it is made."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        populate_by_name=True,
        validate_default=True,
    )

    title: ClassVar[str] = "parameters"

    def __init__(self, **values: Any) -> None:
        """Check the values; an `InvalidParametersError` names each one that cannot be."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidParametersError(self.title, _problems(error, type(self))) from None

    def replace(self, **changes: Any) -> Self:
        """Give these parameters with some changed, checked again.

        Parameters
        ----------
        **changes
            New values by name.

        Returns
        -------
        ParameterModel
            A new value of the same class.

        Raises
        ------
        ParameterError
            If a name or value is impossible.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**values, **changes})


def published_name(model: type[ParameterModel], name: str) -> str:
    """Give the name that a field has in the published files: its own, or the alias where it has spaces."""
    return model.model_fields[name].alias or name


def _problems(error: ValidationError, model: type[ParameterModel]) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Give the path of each wrong value, below the model, and a sentence: what was found and is expected."""
    sentences: dict[tuple[str, ...], str] = {}
    for problem in error.errors():
        path = (str(problem["loc"][0]),) if problem["loc"] else ()
        inner = problem.get("ctx", {}).get("error")
        if isinstance(inner, InvalidParametersError):
            sentences |= {(*path, *below): sentence for below, sentence in inner.problems}
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = ", ".join(published_name(model, name) for name in model.model_fields)
            sentence = f"there is no such parameter, expected one of {known}"
        elif problem["type"] == "missing":
            sentence = "is missing"
        elif not path:
            sentence = f"found {message}"
        else:
            expected = message.removeprefix("Input should be ").removeprefix("a valid ")
            before = sentences.get(path)
            found = f"found {problem['input']!r}, expected {expected}"
            sentence = found if before is None else f"{before} or {expected}"
        sentences[path] = sentence
    return tuple(sentences.items())


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
    return ALL_BITS & ~mask if is_inverted else mask


def _joined_bits(items: Iterable[int]) -> int:
    mask = 0
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int):
            raise ValueError(_EXPECTED_BITS)
        mask |= _checked_bits(item)
    return mask


def _checked_bits(mask: int) -> int:
    if not 0 <= mask <= ALL_BITS:
        raise ValueError(f"{_EXPECTED_BITS}, at most {ALL_BITS}")
    return mask


def _parse_pair(value: Any) -> Any:
    """Turn ``"3.5 3.0"`` (a comma will do) into two numbers."""
    if isinstance(value, str):
        items = value.replace(",", " ").split()
        if not all(re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", item) for item in items):
            raise ValueError(_EXPECTED_PAIR)
        value = [float(item) for item in items]
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(_EXPECTED_PAIR)
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
        raise ValueError(_EXPECTED_PAIR)
    return tuple(float(item) for item in value)


def as_tuple(value: Any) -> Any:
    """Turn a list, which is all that JSON has, into a tuple; a validator."""
    return tuple(value) if isinstance(value, list) else value


GoodBits = Annotated[int | None, BeforeValidator(parse_good_bits, json_schema_input_type=int | str | None)]
"""Data-quality flags, in any published way to write them."""

Pair = Annotated[
    tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]],
    BeforeValidator(_parse_pair, json_schema_input_type=str),
]
"""Two numbers that the published files write as one text."""


@dataclass(frozen=True)
class Published:
    """Marks a parameter that not all published files have."""

    pipelines: tuple[Pipeline, ...] = ("mvm", "svm")
    """Those whose files have it."""

    omitted_when_none: bool = False
    """Whether files without a value leave it out."""


MULTI_VISIT_ONLY: Final = Published(pipelines=("mvm",))
SINGLE_VISIT_ONLY: Final = Published(pipelines=("svm",))
OMITTED_WHEN_NONE: Final = Published(omitted_when_none=True)

PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Percentage = Annotated[float, Field(ge=0, le=100)]
