"""Making custom parameter files to be edited, under its published name; also a program.

::

    python -m multivisit.haputils.generate_custom_svm_mvm_param_file POLLER [-c] [-l LEVEL] [-o FILE]
        [-p {svm,mvm}]
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError
from multivisit.haputils.log_levels import LOG_LEVELS, messages_on_screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.plan.parameters import Pipeline
    from multivisit.plan.poller import PollerRow

__all__ = ["make_svm_input_file"]

log = logging.getLogger(__name__)


def make_svm_input_file(
    input_filename: str | os.PathLike[str] | Sequence[str],
    hap_pipeline_name: str = "svm",
    output_custom_pars_file: str = "custom_parameters.json",
    clobber: bool = False,
    log_level: int = logging.INFO,
) -> None:
    """Write the default parameters of all products of a poller file, to be edited.

    Parameters
    ----------
    input_filename : str or path-like, or list of str
        The poller file, of either kind, or exposure files.
    hap_pipeline_name : {'svm', 'mvm'}
        Single-visit: the products of all filters, of each filter and of each exposure. Multi-visit: the
        layers and their exposures; where a poller file has no sky cells they are those that the exposures
        fall on.
    output_custom_pars_file : str
        The file to write.
    clobber : bool
        Replace the file if it is there.
    log_level : int
        Lowest level of this package's own messages during the call.

    Raises
    ------
    ParameterError
        The pipeline is neither, or the file is there already, or is the input or a FITS file.
    PollerError, MissingFileError, NoViableDataError
        The poller file or an exposure cannot be used, or none may be combined.
    ProductError
        The file cannot be written.
    """
    from multivisit.errors import ParameterError
    from multivisit.haputils.poller_utils import own_log_level
    from multivisit.plan.exposure_files import refuse_to_replace
    from multivisit.plan.parameter_products import default_products
    from multivisit.plan.parameters import PIPELINES
    from multivisit.plan.parameters.custom_file import write_custom_file
    from multivisit.plan.poller import PollerRow, read_poller

    with own_log_level(log_level):
        pipeline = next((name for name in PIPELINES if name == hap_pipeline_name), None)
        if pipeline is None:
            raise ParameterError(f"hap_pipeline_name: found {hap_pipeline_name!r}, expected 'svm' or 'mvm'")
        if not isinstance(output_custom_pars_file, (str, os.PathLike)):
            raise ParameterError(
                f"output_custom_pars_file: found {output_custom_pars_file!r}, expected the name of a file"
            )
        output = Path(output_custom_pars_file)
        given = [input_filename] if isinstance(input_filename, (str, os.PathLike)) else input_filename
        refuse_to_replace(output, "the parameter file", given)
        rows: Sequence[PollerRow]
        if isinstance(input_filename, (str, os.PathLike)):
            rows = read_poller(input_filename)
        else:
            rows = [PollerRow(filename=os.fspath(name)) for name in input_filename]
        if output.exists() and not clobber:
            raise ParameterError(f"{output} is there already: give another name, or clobber it (-c)")
        _warn_of_another_kind(rows, pipeline, input_filename)
        products = default_products(rows, pipeline)
        write_custom_file(output, products, pipeline)
        log.info("wrote the parameters of %d products to %s", len(products), output)


def _warn_of_another_kind(rows: Sequence[PollerRow], pipeline: Pipeline, source: object) -> None:
    """Warn of a poller file of the other pipeline; lists of exposures are of neither."""
    n_cells = sum(row.sky_cell_id is not None for row in rows)
    if pipeline == "svm" and n_cells:
        log.warning(
            "%s: found sky cells on %d of %d lines, as multi-visit poller files have them; expected a "
            "single-visit one. The products are those of the visits. For the layers of the sky cells use "
            "hap_pipeline_name='mvm' (-p mvm).",
            source,
            n_cells,
            len(rows),
        )
    if pipeline == "mvm" and not n_cells and any(row.proposal_id is not None for row in rows):
        log.warning(
            "%s: found no sky cells, as in single-visit poller files; expected a multi-visit one. The "
            "products are the layers of all sky cells that the exposures fall on. For those of the visits "
            "use hap_pipeline_name='svm' (-p svm).",
            source,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; that of the process by default.

    Returns
    -------
    int
        Exit code: 0, or 1 after an error, which is on standard error in a line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m multivisit.haputils.generate_custom_svm_mvm_param_file",
        description="Write the default parameters of all products of a poller file, to be edited.",
    )
    parser.add_argument("poller_filename", help="poller file of the exposures")
    parser.add_argument("-c", "--clobber", action="store_true", help="replace the file if it is there")
    parser.add_argument(
        "-l",
        "--log_level",
        choices=list(LOG_LEVELS),
        default="info",
        help="lowest level of messages (%(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output_custom_pars_file",
        default="custom_parameters.json",
        help="file to write (%(default)s)",
    )
    parser.add_argument(
        "-p",
        "--hap_pipeline_name",
        choices=("svm", "mvm"),
        default="svm",
        help="single visit or multi-visit (%(default)s)",
    )
    options = parser.parse_args(arguments)
    level = LOG_LEVELS[options.log_level]
    try:
        with messages_on_screen(level):
            make_svm_input_file(
                options.poller_filename,
                hap_pipeline_name=options.hap_pipeline_name,
                output_custom_pars_file=options.output_custom_pars_file,
                clobber=options.clobber,
                log_level=level,
            )
    except MultivisitError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
