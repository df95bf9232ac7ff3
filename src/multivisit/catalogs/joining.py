"""Sources as columns of equal length."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns:
    """A dataclass whose fields are arrays with an element for each source."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the sources of several parts.

        Parameters
        ----------
        parts : sequence of the class
            At least one.

        Returns
        -------
        the class
            All sources, in the order of the parts.
        """
        return cls(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)))
