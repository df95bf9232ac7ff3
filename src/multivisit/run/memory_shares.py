"""One memory budget for several layers in work at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from multivisit.run.resources import give_memory_back, process_memory

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LayerShare", "MemoryShares"]

# Headers, footprints, the preview, tables, and what the allocator keeps for itself, a layer.
_ROOM = 48 << 20
# Of the whole budget, for packages that are loaded late, and what threads leave in each other's way.
_SPARE_PART = 16


class MemoryShares:
    """Divides the memory of a run between layers.

    A layer asks once, when it knows what it needs, and gives everything back at its end, so none waits for
    another that waits for it. What is free is divided evenly between the layers that may still begin beside
    it; a layer that needs more than is free waits until others have ended.

    Parameters
    ----------
    memory : int, optional
        Bytes that the process may take; None for no limit.
    n_layers : int
        Number of layers to be made.
    side_by_side : int
        Number of layers that may be in work at the same time.
    """

    def __init__(self, memory: int | None, n_layers: int = 1, side_by_side: int = 1) -> None:
        self._memory = memory
        self._to_come = n_layers
        self._side_by_side = side_by_side
        self._granted: dict[LayerShare, int] = {}
        self._before = process_memory()
        self._changed = threading.Condition()

    def of_layer(self) -> LayerShare:
        """Give a layer's share, which is empty until it asks; a context manager that gives it back."""
        return LayerShare(self)

    def ask(self, share: LayerShare, least: int, most: int) -> int | None:
        """Grant a layer memory for pixels; see `LayerShare.ask`."""
        if self._memory is None:
            return None
        with self._changed:
            while True:
                free = self._free()
                # A layer alone gets what there is: whoever needs more says so in its own words.
                if not self._granted or free >= least + _ROOM:
                    break
                self._changed.wait()
            places = max(1, min(self._side_by_side - len(self._granted), self._to_come))
            amount = min(max(free // places, least + _ROOM), most + _ROOM, free)
            self._granted[share] = amount
            self._to_come -= 1
            return amount - _ROOM

    def left(self, share: LayerShare, held: int) -> int | None:
        """Tell what a layer has now; see `LayerShare.left`."""
        if self._memory is None:
            return None
        with self._changed:
            amount = self._granted[share]
            if len(self._granted) == 1 and self._to_come == 0:
                if self._memory - process_memory() + held < amount:
                    give_memory_back()
                amount = min(amount, self._memory - process_memory() + held)
            return amount - _ROOM

    def give_back(self, share: LayerShare) -> None:
        """Take back what a layer has, if it has asked."""
        with self._changed:
            if self._granted.pop(share, None) is None:
                self._to_come -= 1
            self._changed.notify_all()

    def _free(self) -> int:
        """Bytes that nobody has been granted and nobody takes."""
        assert self._memory is not None
        granted = sum(self._granted.values())
        if self._memory - process_memory() - granted < self._memory // 2:
            give_memory_back()
        taken = process_memory()
        if not granted:
            # Packages, exposures, and what earlier layers have left.
            self._before = taken
        spare = self._memory // _SPARE_PART
        return self._memory - spare - max(self._before + granted, taken)


class LayerShare:
    """What one layer may take.

    Parameters
    ----------
    shares : MemoryShares
        What it is a share of.
    """

    def __init__(self, shares: MemoryShares) -> None:
        self._shares = shares
        self.memory: int | None = None
        """Bytes for pixels; None for no limit, and before it has asked."""

    def __enter__(self) -> LayerShare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shares.give_back(self)

    def ask(self, least: int, most: int) -> int | None:
        """Ask for memory, once; waits for other layers where too little is free.

        Parameters
        ----------
        least : int
            Bytes without which the layer cannot be made.
        most : int
            Bytes beyond which it has no use for more.

        Returns
        -------
        int or None
            Bytes, less than `least` only if the whole run has no more; None for no limit.
        """
        self.memory = self._shares.ask(self, least, most)
        return self.memory

    def left(self, held: int) -> int | None:
        """Tell what the layer may take from now on.

        Parameters
        ----------
        held : int
            Bytes that it takes already and counts among what it may take.

        Returns
        -------
        int or None
            Bytes: less than it was granted if the process has grown by something else.
        """
        self.memory = self._shares.left(self, held)
        return self.memory
