"""Interpreting poller files, under the published names."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableSequence, Sequence

    from astropy.table import Table

    from multivisit.plan.poller import PollerRow
    from multivisit.plan.sky_cell_products import SkyCellProduct

__all__ = ["build_poller_table", "determine_filter_name", "interpret_mvm_input"]


def interpret_mvm_input(
    results: str | os.PathLike[str] | Sequence[str],
    log_level: int,
    layer_method: str = "all",
    exp_limit: float | None = 2.0,
    user_table: Table | Mapping[str, Any] | None = None,
    include_small: bool = True,
    only_cte: bool = False,
) -> tuple[dict[str, dict[str, Any]], list[SkyCellProduct]]:
    """Work out the layers that are to be made.

    Parameters
    ----------
    results : str or list
        A poller file, or exposure files; associations (``_asn.fits``) stand for their exposures beside them.
        The sky cells of a list of files are those that the files fall on.
    log_level : int
        Level of this package's own messages during the call.
    layer_method : {'all', 'hard', 'kmeans'}
        How exposures are divided by exposure time and year; see `multivisit.plan.layers.make_layers`.
    exp_limit : float or None
        Ratio of the longest to the shortest exposure time above which 'kmeans' makes classes.
    user_table : astropy.table.Table or mapping, optional
        A table as `build_poller_table` makes it, edited: takes the place of `results`.
    include_small : bool, optional
        Whether to make layers of ACS/HRC and ACS/SBC exposures.
    only_cte : bool, optional
        Whether to use only CTE-corrected exposures of ACS/WFC and WFC3/UVIS.

    Returns
    -------
    obs_info_dict : dict
        ``layer 00``, ``layer 01``, ... -> ``{"info": ..., "files": [...]}``; the info is for example
        ``skycell-p1889x07y19 wfc3 ir f105w all all 1 drz coarse``. Only layers with a NEW exposure.
    products : list of SkyCellProduct
        A product for each of these.

    Raises
    ------
    PollerError, MissingFileError, ParameterError
        If the input or an argument is unusable.
    NoViableDataError
        If no exposure may be combined, or all have been combined before.
    """
    from multivisit.errors import NoViableDataError
    from multivisit.plan.layers import make_layers
    from multivisit.plan.poller_table import rows_of_table
    from multivisit.plan.sky_cell_products import layer_descriptions, products_of_layers
    from multivisit.plan.vetting import vet_exposures

    with own_log_level(log_level):
        rows = _rows(results) if user_table is None else rows_of_table(user_table)
        vetting = vet_exposures(rows, include_small=include_small, only_cte=only_cte)
        if vetting.no_viable_reason:
            raise NoViableDataError(f"{vetting.no_viable_reason}:\n{vetting.text()}")
        layers, _ = make_layers(vetting, layer_method, exp_limit)
        if not any(layer.has_new for layer in layers):
            raise NoViableDataError("all the exposures are OLD ones: nothing new is to be combined")
        return layer_descriptions(layers), products_of_layers(layers, log_level)


def build_poller_table(
    input: str | os.PathLike[str] | Sequence[str],
    log_level: int,
    all_mvm_exposures: MutableSequence[str] | None = None,
    poller_type: str = "svm",
    include_small: bool = True,
    only_cte: bool = False,
) -> Table:
    """Make the table of the exposures that may be combined, for `interpret_mvm_input`.

    Parameters
    ----------
    input : str or list
        A poller file, or exposure files.
    log_level : int
        Level of this package's own messages during the call.
    all_mvm_exposures : list, optional
        Gets the names of all exposures of the input appended, whether they may be combined or not.
    poller_type : {'mvm', 'svm'}
        Only 'mvm' is offered.
    include_small : bool, optional
        Whether to use ACS/HRC and ACS/SBC exposures.
    only_cte : bool, optional
        Whether to use only CTE-corrected exposures of ACS/WFC and WFC3/UVIS.

    Returns
    -------
    astropy.table.Table
        A row for each exposure and sky cell, see `multivisit.plan.poller_table.table_of_rows`.

    Raises
    ------
    NotOfferedError
        For tables of single visits.
    PollerError, MissingFileError, ParameterError
        If the input or an argument is unusable.
    NoViableDataError
        If no exposure may be combined.
    """
    from multivisit.errors import NotOfferedError, NoViableDataError, ParameterError
    from multivisit.plan.poller_table import table_of_rows
    from multivisit.plan.vetting import vet_exposures

    if poller_type == "svm":
        raise NotOfferedError("poller_type='svm': tables of single visits are not made, use 'mvm'")
    if poller_type != "mvm":
        raise ParameterError(f"poller_type: found {poller_type!r}, expected 'mvm'")
    with own_log_level(log_level):
        rows = _rows(input)
        if all_mvm_exposures is not None:
            all_mvm_exposures.extend(row.filename for row in rows)
        vetting = vet_exposures(rows, include_small=include_small, only_cte=only_cte)
        if vetting.no_viable_reason:
            raise NoViableDataError(f"{vetting.no_viable_reason}:\n{vetting.text()}")
        return table_of_rows(candidate.row for candidate in vetting.accepted)


def determine_filter_name(raw_filter: str) -> str:
    """Give the filter name that layers carry, by the names of the filter wheels' elements.

    Parameters
    ----------
    raw_filter : str
        One element, or those of two wheels with ``;`` between them.

    Returns
    -------
    str
        Lower case. ``clear*`` and ``n/a`` are dropped, two filters are joined by ``-`` with a polarizer
        second; ``clear`` if nothing is left.

    Examples
    --------
    >>> determine_filter_name("CLEAR1L;F814W")
    'f814w'
    >>> determine_filter_name("POL60V;F606W")
    'f606w-pol60v'
    """
    from multivisit.exposures.instruments import normalise_filter

    return normalise_filter(*raw_filter.split(";")[:2])


def _rows(results: str | os.PathLike[str] | Sequence[str]) -> Sequence[PollerRow]:
    """Give the rows of a poller file, or rows of the files in a list."""
    from multivisit.errors import ParameterError
    from multivisit.plan.associations import expand_associations
    from multivisit.plan.poller import PollerRow, read_poller

    if isinstance(results, (str, os.PathLike)):
        return read_poller(results)
    try:
        names = [os.fspath(name) for name in results]
    except TypeError:
        raise ParameterError(
            f"input: found {results!r}, expected a poller file or a list of exposure files"
        ) from None
    return [PollerRow(filename=name) for name in expand_associations(names)]


@contextlib.contextmanager
def own_log_level(log_level: int) -> Iterator[None]:
    """Set the level of this package's logger for the time of a call; no other logger is touched."""
    from multivisit.errors import ParameterError

    logger = logging.getLogger("multivisit")
    before = logger.level
    try:
        logger.setLevel(log_level)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"log_level: {error}, expected a level of the module logging") from None
    try:
        yield
    finally:
        logger.setLevel(before)
