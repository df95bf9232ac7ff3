"""Custom mosaics of everything that some exposures cover, under the published name; also a program.

::

    python -m multivisit.make_custom_mosaic SOURCE [-l LEVEL] [-o PREFIX] [-s]

SOURCE is a search pattern in quotes (``"*_fl?.fits"``) or a text file with an exposure on each line. The
mosaic may be over many sky cells, and over the edges of projection cells, where it is not clipped.
"""

from __future__ import annotations

import argparse
import glob
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multivisit.errors import MissingFileError, MultivisitError, ParameterError
from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.haputils.log_levels import LOG_LEVELS

__all__ = ["perform"]

log = logging.getLogger(__name__)


def perform(
    input_image_source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    log_level: str = "info",
    output_file_prefix: str | None = None,
    skip_gaia_alignment: bool = False,
    **options: Any,
) -> int:
    """Make custom mosaics of all that some exposures cover: one a detector, filter and scale.

    Parameters
    ----------
    input_image_source : str
        A search pattern, or a text file with an exposure on each line (anything that does not end in
        ``.fits`` or ``.fits.gz``). A list of exposures is taken too.
    log_level : {'critical', 'error', 'warning', 'info', 'debug'}
        Lowest level of the messages on standard output.
    output_file_prefix : str, optional
        Beginning of the names of all files; by default by the projection cell and the mosaic's centre,
        ``hst_skycell-p<pppp>-ra<ddd>d<dddd>-dec<n|s><dd>d<dddd>``.
    skip_gaia_alignment : bool
        Use the exposures' own WCS solutions. False aligns them first, see
        `multivisit.hapmultisequencer.run_mvm_processing`.
    **options
        More arguments of `multivisit.hapmultisequencer.run_mvm_processing`, such as `output_folder`.

    Returns
    -------
    int
        0 for success, otherwise as `multivisit.hapmultisequencer.run_mvm_processing` returns.
    """
    from multivisit.plan.custom_mosaic import ExposuresArea
    from multivisit.run.logs import run_log

    level = LOG_LEVELS.get(log_level, logging.INFO)
    try:
        if log_level not in LOG_LEVELS:
            raise ParameterError(f"log_level: found {log_level!r}, expected one of {', '.join(LOG_LEVELS)}")
        exposures = _exposures(input_image_source)
    except MultivisitError as error:
        with run_log(level, to_screen=True):
            log.critical("%s", error)
        return 1
    return run_mvm_processing(
        exposures,
        area=ExposuresArea(),
        log_level=level,
        output_file_prefix=output_file_prefix,
        skip_gaia_alignment=skip_gaia_alignment,
        **options,
    )


def _exposures(source: object) -> list[str]:
    """Give the exposures that a pattern, a list file or a list names."""
    from multivisit.plan.poller import read_names

    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        names = [os.fspath(name) for name in source]
    elif not isinstance(source, str | os.PathLike):
        raise ParameterError(f"input_image_source: found {source!r}, expected a pattern or a text file")
    elif Path(source).is_file() and not os.fspath(source).lower().endswith((".fits", ".fits.gz")):
        names = [name for _, name in read_names(source)]
    else:
        names = sorted(glob.glob(os.fspath(source)))  # noqa: PTH207 - the pattern may be absolute
    if not names:
        raise MissingFileError(
            f"{source!s}: no exposures found, expected a search pattern or a text file with their names"
        )
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; that of the process by default.

    Returns
    -------
    int
        Exit code: what `perform` returns.
    """
    parser = argparse.ArgumentParser(
        prog="python -m multivisit.make_custom_mosaic",
        description="Make custom mosaics of all that some exposures cover.",
    )
    parser.add_argument(
        "input_image_source", help="search pattern in quotes, or a text file with an exposure on each line"
    )
    parser.add_argument(
        "-l", "--log_level", default="info", choices=list(LOG_LEVELS), help="messages shown (%(default)s)"
    )
    parser.add_argument(
        "-o",
        "--output_file_prefix",
        help="beginning of all names (hst_skycell-pPPPP-raDDDdDDDD-dec{n,s}DDdDDDD, by the mosaic's centre)",
    )
    parser.add_argument(
        "-s",
        "--skip_gaia_alignment",
        action="store_true",
        help="use the exposures' own WCS solutions instead of aligning them",
    )
    chosen = parser.parse_args(arguments)
    return perform(
        chosen.input_image_source,
        log_level=chosen.log_level,
        output_file_prefix=chosen.output_file_prefix,
        skip_gaia_alignment=chosen.skip_gaia_alignment,
    )


if __name__ == "__main__":
    raise SystemExit(main())
