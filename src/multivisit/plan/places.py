"""Where exposures are combined: in the sky cells that they fall on, or in the area of a custom mosaic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from multivisit.errors import ExposureError, SkyCellError
from multivisit.plan.vetting_rules import Finding, wcs_problem

if TYPE_CHECKING:
    from pathlib import Path

    from multivisit.exposures.model import Exposure
    from multivisit.plan.custom_mosaic import CustomArea, CustomMosaic
    from multivisit.plan.poller import PollerRow
    from multivisit.sky.cells import SkyCell
    from multivisit.sky.footprint import Outline

__all__ = ["CustomPlaces", "SkyCellPlaces"]


class SkyCellPlaces:
    """Places exposures in sky cells.

    Parameters
    ----------
    wanted : collection of str
        The only sky cells that are wanted; all when empty.

    Raises
    ------
    SkyCellError
        If there is no sky cell of such a name.
    """

    def __init__(self, wanted: Collection[str] = ()) -> None:
        self._wanted = frozenset(wanted)
        self._cells: dict[str, SkyCell] = {}
        for name in sorted(self._wanted):
            self._cell(name)

    def chosen(self, rows: Iterable[tuple[PollerRow, Path]]) -> Iterable[tuple[PollerRow, Path]]:
        """Give the rows that are to be placed: all."""
        return rows

    def of(self, row: PollerRow, exposure: Exposure) -> Iterator[tuple[PollerRow, Finding | None]]:
        """Give a row for each sky cell, and what is wrong with the exposure's place on the sky.

        Parameters
        ----------
        row : PollerRow
            The row of the exposure.
        exposure : Exposure
            The exposure.

        Yields
        ------
        row, finding
            The row with its sky cell; None where nothing is wrong.
        """
        if problem := wcs_problem(exposure):
            yield row, problem
            return
        try:
            if row.sky_cell_id is None:
                yield from self._found(row, exposure)
            else:
                yield row, self._problem_in(row.sky_cell_id, exposure)
        except (ExposureError, SkyCellError) as error:
            yield row, _unusable(error)

    def _cell(self, name: str) -> SkyCell:
        from multivisit.sky.cells import SkyCell

        if name not in self._cells:
            self._cells[name] = SkyCell.from_name(name)
        return self._cells[name]

    def _found(self, row: PollerRow, exposure: Exposure) -> Iterator[tuple[PollerRow, Finding | None]]:
        """Give a row for each sky cell that the exposure falls on."""
        from multivisit.plan.coverage import cells_of_exposure

        names = [cell.sky_cell_id for cell in cells_of_exposure(exposure)]
        if self._wanted:
            names = [name for name in names if name in self._wanted]
        for name in names:
            yield replace(row, sky_cell_id=name), None
        if not names:
            yield (
                row,
                Finding("falls on none of the sky cells that are wanted; mvm cells tells on which it does"),
            )

    def _problem_in(self, name: str, exposure: Exposure) -> Finding | None:
        """Say why the exposure is not combined in the sky cell that its row names."""
        from multivisit.sky.footprint import bounding_grid

        if self._wanted and name not in self._wanted:
            return Finding("this sky cell is not wanted")
        if bounding_grid(self._cell(name), _outlines(exposure)) is None:
            return Finding("does not overlap the sky cell; mvm cells tells which it does")
        return None


class CustomPlaces:
    """Places exposures in the area of a custom mosaic, whatever sky cells the rows name.

    Parameters
    ----------
    area : CustomArea
        The area as it is asked for.
    prefix : str or None
        Beginning of the mosaic's names; an automatic one by default.
    rows : sequence of PollerRow
        The rows of the run.
    exposures : sequence of Exposure
        Their exposures, as far as they can be read.

    Raises
    ------
    ParameterError, SkyCellError
        If the area or the prefix is impossible.
    """

    def __init__(
        self,
        area: CustomArea,
        prefix: str | None,
        rows: Sequence[PollerRow],
        exposures: Sequence[Exposure],
    ) -> None:
        from multivisit.sky.cells import parse_sky_cell_name

        self._outlines: dict[Path, list[Outline] | Finding] = {}
        cells = [parse_sky_cell_name(row.sky_cell_id)[0] for row in rows if row.sky_cell_id]
        found = [self._outlines_of(exposure) for exposure in exposures]
        outlines = [outline for each in found if not isinstance(each, Finding) for outline in each]
        self.mosaic: CustomMosaic | None = None
        """The grids; None where no exposure can be placed on the sky."""
        if outlines:
            self.mosaic = area.mosaic(outlines, cells).named(prefix, outlines)

    def chosen(self, rows: Iterable[tuple[PollerRow, Path]]) -> Iterable[tuple[PollerRow, Path]]:
        """Give each file once: a poller file may have it in several sky cells."""
        files: dict[Path, PollerRow] = {}
        for row, path in rows:
            first = files.get(path, row)
            files[path] = replace(first, sky_cell_id=None, is_new=first.is_new or row.is_new)
        return [(row, path) for path, row in files.items()]

    def of(self, row: PollerRow, exposure: Exposure) -> Iterator[tuple[PollerRow, Finding | None]]:
        """Give the row with the area, and what is wrong with the exposure's place on the sky.

        Parameters
        ----------
        row : PollerRow
            The row of the exposure.
        exposure : Exposure
            The exposure.

        Yields
        ------
        row, finding
            One row; None where nothing is wrong.
        """
        outlines = self._outlines_of(exposure)
        if isinstance(outlines, Finding) or self.mosaic is None:
            yield row, outlines if isinstance(outlines, Finding) else Finding("has no place on the sky")
            return
        placed = replace(row, sky_cell_id=self.mosaic.area_id)
        is_touched = self.mosaic.is_touched(outlines)
        yield placed, None if is_touched else Finding("does not overlap the area of the mosaic")

    def _outlines_of(self, exposure: Exposure) -> list[Outline] | Finding:
        if exposure.path not in self._outlines:
            try:
                self._outlines[exposure.path] = wcs_problem(exposure) or _checked(_outlines(exposure))
            except (ExposureError, SkyCellError) as error:
                self._outlines[exposure.path] = _unusable(error)
        return self._outlines[exposure.path]


def _outlines(exposure: Exposure) -> list[Outline]:
    from multivisit.sky.footprint import POINTS_PER_EDGE

    return [chip.outline(POINTS_PER_EDGE) for chip in exposure.chips]


def _checked(outlines: list[Outline]) -> list[Outline]:
    """Raise where an outline is not on the sky, before others are measured with it."""
    from multivisit.sky.footprint import middle_of_outlines

    middle_of_outlines(outlines)
    return outlines


def _unusable(error: Exception) -> Finding:
    return Finding(f"unusable WCS: {error}", "WCSNAME", is_broken=True)
