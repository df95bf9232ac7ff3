"""The published sequencer interface: `run_mvm_processing`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError, NotOfferedError, ParameterError
from multivisit.run.options import (
    PHOTOMETRY_MODES,
    ReturnCode,
    RunOptions,
    environment_switch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.catalogs.making import PhotometryMode
    from multivisit.plan.custom_mosaic import CustomArea
    from multivisit.plan.layers import LayerMethod

__all__ = ["run_mvm_processing"]

log = logging.getLogger(__name__)


def run_mvm_processing(
    input_filename: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    skip_gaia_alignment: bool = True,
    diagnostic_mode: bool = False,
    use_defaults_configs: bool = True,
    input_custom_pars_file: str | None = None,
    output_custom_pars_file: str | None = None,
    phot_mode: PhotometryMode = "both",
    custom_limits: Sequence[float] | None = None,
    output_file_prefix: str | None = None,
    log_level: int = logging.INFO,
    *,
    output_folder: str | os.PathLike[str] | None = None,
    layer_method: LayerMethod = "all",
    exp_limit: float | None = 2.0,
    published_conditions: bool = False,
    area: CustomArea | None = None,
    trim: bool = False,
    context: bool = False,
    error_plane: bool = False,
    compress: bool = False,
    threads: int | None = None,
    memory: int | str | None = None,
) -> int:
    """Make the multi-visit mosaics of the exposures that a poller file lists.

    The arguments up to ``log_level`` are the published ones; those after it are this package's own.
    The environment variables MVM_INCLUDE_SMALL and MVM_ONLY_CTE are honoured.

    Parameters
    ----------
    input_filename : str or path-like, or list of them
        The poller file, or the exposure files themselves.
    skip_gaia_alignment : bool
        Use the exposures' own WCS solutions. False asks for an alignment, which this version does not do.
    diagnostic_mode : bool
        Show and keep debug messages, and write footprints, depth maps, static masks, sky values and
        parameters into a sub-folder beside the mosaics (`multivisit.run.diagnostics`).
    use_defaults_configs : bool
        Without effect: the published files hold one value of each parameter, and of a custom file the section
        "parameters" is used in any case.
    input_custom_pars_file : str, optional
        Custom parameter file that is read.
    output_custom_pars_file : str, optional
        File to which all parameters of all products and exposures are written.
    phot_mode : {'both', 'aperture', 'segment', 'none'}
        Which source catalogs are made.
    custom_limits : sequence of four float, optional
        Make a custom mosaic of this rectangle: least and greatest x, least and greatest y, in 0-based pixels
        of 0.04 arcsec of the projection cell of the poller file's sky cells. It is cut to what the
        exposures cover; limits beyond the projection cell's edge are no limits.
    output_file_prefix : str, optional
        Beginning of the names of all files. A custom mosaic without one is named by its projection cell and
        its centre, ``hst_skycell-p<pppp>-ra<ddd>d<dddd>-dec<n|s><dd>d<dddd>``.
    log_level : int
        Lowest level of the messages on standard output; the trailer files hold at least INFO.
    output_folder : str or path-like, optional
        Where the products go; the working folder by default, as published.
    layer_method : {'all', 'hard', 'kmeans'}
        How exposures are split into layers by exposure time and year.
    exp_limit : float, optional
        'kmeans' splits only where the longest exposure is more than this times the shortest.
    published_conditions : bool
        Choose parameters by the mean number of exposures a pixel, as drizzlepac does.
    area : CustomArea, optional
        Make a custom mosaic of another area, see `multivisit.plan.custom_mosaic`; not with `custom_limits`.
    trim : bool
        Size each layer by its own members instead of by all exposures.
    context : bool
        Add a CTX extension to each product.
    error_plane : bool
        Add an ERR extension to each product.
    compress : bool
        Tile-compress the products' images without loss (GZIP_2): smaller files that take longer to write.
    threads : int, optional
        Threads that combine layers, two or more of which may be in work: one a core by default, 8 at most.
    memory : int or str, optional
        Most memory that the process takes, in bytes or as text (``'2GiB'``); half of what is free by default.

    Returns
    -------
    int
        0 success; 1 error; 15 a header could not be written; 55 only ACS/HRC or ACS/SBC exposures with
        MVM_INCLUDE_SMALL off; 65 no exposure that may be combined.
    """
    from multivisit.run.logs import run_log
    from multivisit.run.resources import parse_memory
    from multivisit.run.sequencer import run

    if diagnostic_mode:
        log_level = min(log_level, logging.DEBUG)
    with run_log(log_level, to_screen=True) as messages:
        try:
            _refuse_what_is_not_offered(
                skip_gaia_alignment=skip_gaia_alignment,
                phot_mode=phot_mode,
            )
            options = RunOptions(
                inputs=_as_paths(input_filename),
                output_folder=Path(output_folder) if output_folder is not None else Path(),
                layer_method=layer_method,
                exposure_time_ratio=exp_limit,
                include_small=environment_switch(os.environ, "MVM_INCLUDE_SMALL", default=True),
                only_cte_corrected=environment_switch(os.environ, "MVM_ONLY_CTE", default=False),
                published_conditions=published_conditions,
                area=_area(custom_limits, area),
                output_file_prefix=output_file_prefix,
                diagnostics=diagnostic_mode,
                trim=trim,
                context=context,
                error_plane=error_plane,
                quality_tests=environment_switch(os.environ, "MVM_QUALITY_TESTING", default=False),
                compress=compress,
                custom_parameters=_as_path(input_custom_pars_file),
                written_parameters=_as_path(output_custom_pars_file),
                phot_mode=phot_mode,
                threads=threads,
                memory=parse_memory(memory) if isinstance(memory, str) else memory,
                log_level=log_level,
            )
            return int(run(options, messages=messages).return_code)
        except MultivisitError as error:
            log.error("%s", error)
            return int(ReturnCode.ERROR)
        except Exception:
            # The published contract is a return code, whatever happens.
            log.exception("multi-visit processing failed unexpectedly")
            return int(ReturnCode.ERROR)


def _as_path(name: str | os.PathLike[str] | None) -> Path | None:
    """Give a file that may not be asked for."""
    return Path(name) if name is not None else None


def _as_paths(
    given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Path | tuple[Path, ...]:
    """One path stays one; a sequence becomes a tuple."""
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    if isinstance(given, (list, tuple)) and all(isinstance(item, (str, os.PathLike)) for item in given):
        return tuple(Path(item) for item in given)
    raise ParameterError(
        f"input_filename={given!r}: expected the name of a poller file, or a list of exposure files"
    )


def _area(custom_limits: Sequence[float] | None, area: CustomArea | None) -> CustomArea | None:
    """Give the area of a custom mosaic; as published, empty limits ask for none."""
    from multivisit.plan.custom_mosaic import LimitsArea, checked_limits

    if custom_limits is None or (isinstance(custom_limits, (list, tuple)) and not custom_limits):
        return area
    if area is not None:
        raise ParameterError("custom_limits and area both say what is to be made: give one of them")
    return LimitsArea(checked_limits(custom_limits))


def _refuse_what_is_not_offered(
    *,
    skip_gaia_alignment: bool,
    phot_mode: str,
) -> None:
    """Raise for a request that this version would otherwise have to ignore."""
    if phot_mode not in PHOTOMETRY_MODES:
        raise ParameterError(f"phot_mode={phot_mode!r}: expected one of {', '.join(PHOTOMETRY_MODES)}")
    refused = {
        "skip_gaia_alignment=False (alignment to a reference catalog)": not skip_gaia_alignment,
    }
    asked_for = [name for name, is_asked in refused.items() if is_asked]
    if asked_for:
        raise NotOfferedError(
            f"this version of multivisit does not offer: {'; '.join(asked_for)}. "
            "Leave it at its default to make the mosaics without it; nothing has been made."
        )
