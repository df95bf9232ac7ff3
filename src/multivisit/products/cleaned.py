"""Exposures without their cosmic rays, and the masks of these (driz_cr_corr)."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.errors import ProductError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from multivisit.combine.placement import PreparedChip
    from multivisit.exposures.model import Chip, Exposure

__all__ = ["CleanedExposures"]


class CleanedExposures:
    """Writes copies of exposures in which hit pixels are replaced, and the masks of their chips.

    A context manager: the files take their places when the block ends; when it ends by an exception nothing
    is left. ``<rootname>_crclean.fits`` is a copy of the exposure's file: hit pixels of SCI have the value
    that the other exposures expect there, and DQ holds the flag of cosmic rays for hit pixels, as published,
    and 0 for all others. ``<rootname>_sci<extver>_crmask.fits`` has 0 for hit pixels and 1 for all others.

    Parameters
    ----------
    folder : path
        Where the files go.
    flag : int
        DQ flag of hit pixels (crbit).
    """

    def __init__(self, folder: Path, flag: int) -> None:
        self._folder = folder
        self._flag = flag
        self._exit = contextlib.ExitStack()
        self._copies: dict[str, Path] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Give the files their names, or remove them."""
        return self._exit.__exit__(kind, error, trace)

    def take(self, item: PreparedChip, model: NDArray[np.float32], hit: NDArray[np.bool_]) -> None:
        """Write one chip; from any thread.

        Parameters
        ----------
        item : PreparedChip
            The chip.
        model : ndarray of float32
            What its pixels should be, in the units of its file, shape (ny, nx); NaN where unknown.
        hit : ndarray of bool
            Its hit pixels.

        Raises
        ------
        ProductError
            If a file cannot be written.
        """
        with self._lock:
            try:
                self._write(item.exposure, item.chip, model, hit)
            except OSError as error:
                raise ProductError(
                    f"{self._folder}: the cleaned copy of {item.exposure.filename} cannot be written: "
                    f"{error.strerror or error}. Make room, or switch driz_cr_corr off."
                ) from error

    def _write(
        self, exposure: Exposure, chip: Chip, model: NDArray[np.float32], hit: NDArray[np.bool_]
    ) -> None:
        from astropy.io import fits

        copy = self._copies.get(exposure.rootname)
        if copy is None:
            name = self._folder / f"{exposure.rootname}_crclean.fits"
            copy = self._copies[exposure.rootname] = self._exit.enter_context(atomic_path(name))
            opened = gzip.open if exposure.path.suffix.lower() == ".gz" else open
            with opened(exposure.path, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        with fits.open(copy, mode="update", memmap=False) as file:
            science = file["SCI", chip.extver].data
            np.copyto(science, model, where=hit & np.isfinite(model), casting="same_kind")
            if ("DQ", chip.extver) in file:
                flags = file["DQ", chip.extver].data
                flags[...] = np.where(hit, self._flag, 0).astype(np.uint16).astype(flags.dtype)
        mask = self._folder / f"{exposure.rootname}_sci{chip.extver}_crmask.fits"
        temporary = self._exit.enter_context(atomic_path(mask))
        fits.PrimaryHDU((~hit).astype(np.uint8)).writeto(temporary, overwrite=True)
