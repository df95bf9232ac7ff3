"""Multi-visit processing of a poller file, under the published name; also a program.

::

    python -m multivisit.runmultihap POLLER [-c PARAMETERS] [-d] [-l LEVEL] [-s]
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.haputils.log_levels import LOG_LEVELS

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["perform"]


def perform(
    input_filename: str | os.PathLike[str],
    *,
    debug: bool = False,
    log_level: str = "info",
    **options: Any,
) -> int:
    """Make the multi-visit mosaics of a poller file.

    Parameters
    ----------
    input_filename : str
        The poller file.
    debug : bool
        The same as `diagnostic_mode`.
    log_level : {'critical', 'error', 'warning', 'info', 'debug'}
        Lowest level of the messages on standard output. As published, anything else means 'info'.
    **options
        More arguments of `multivisit.hapmultisequencer.run_mvm_processing`, such as `input_custom_pars_file`,
        `diagnostic_mode` and `skip_gaia_alignment`.

    Returns
    -------
    int
        As `multivisit.hapmultisequencer.run_mvm_processing`: 0 for success.
    """
    if debug:
        options["diagnostic_mode"] = True
    level = LOG_LEVELS.get(str(log_level).lower(), logging.INFO)
    return run_mvm_processing(input_filename, log_level=level, **options)


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
        prog="python -m multivisit.runmultihap", description="Make the multi-visit mosaics of a poller file."
    )
    parser.add_argument("input_filename", help="poller file")
    parser.add_argument("-c", "--input_custom_pars_file", help="custom parameter file (JSON)")
    parser.add_argument(
        "-d", "--diagnostic_mode", action="store_true", help="more messages and diagnostic files"
    )
    parser.add_argument(
        "-l", "--log_level", default="info", choices=list(LOG_LEVELS), help="messages shown (%(default)s)"
    )
    parser.add_argument(
        "-s",
        "--skip_gaia_alignment",
        action="store_true",
        default=True,
        help="use the exposures' own WCS solutions; on in any case, as published",
    )
    chosen = parser.parse_args(arguments)
    return perform(
        chosen.input_filename,
        diagnostic_mode=chosen.diagnostic_mode,
        input_custom_pars_file=chosen.input_custom_pars_file,
        log_level=chosen.log_level,
        skip_gaia_alignment=chosen.skip_gaia_alignment,
    )


if __name__ == "__main__":
    raise SystemExit(main())
