"""Making poller files, under its published name; also a program.

::

    python -m multivisit.haputils.make_poller_files LIST [-o OUTPUT] [-s SKYCELL] [-t {svm,mvm}]
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError
from multivisit.haputils.log_levels import messages_on_screen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["generate_poller_file"]


def generate_poller_file(
    input_list: str | Sequence[str],
    poller_file_type: str = "svm",
    output_poller_filename: str = "poller_file.out",
    skycell_name: str | None = None,
) -> None:
    """Make a poller file out of a list of file names or rootnames.

    An exposure is looked for in the working folder (or at the path that the list gives), then in
    ``$DATA_PATH/<first 4 letters>/<rootname>`` when that variable is set. One that is not found is left
    out, with a warning.

    Parameters
    ----------
    input_list : str or list
        A text file with a name a line, or the names themselves.
    poller_file_type : {'svm', 'mvm'}
        Single-visit or multi-visit.
    output_poller_filename : str, optional
        The poller file to write.
    skycell_name : str, optional
        The sky cell, for example 'skycell-p1889x07y19'; a multi-visit file needs it.

    Raises
    ------
    MultivisitError
        If the list, the sky cell or an exposure is unusable, no exposure is found, or the file cannot be
        written; see `multivisit.plan.poller.generate_poller_file`.
    """
    from multivisit.plan.poller import generate_poller_file as generate

    generate(
        input_list,
        poller_file_type=poller_file_type,
        output_poller_filename=output_poller_filename,
        skycell_name=skycell_name,
        data_path=os.environ.get("DATA_PATH") or None,
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
        prog="python -m multivisit.haputils.make_poller_files",
        description="Make a poller file out of a list of exposures.",
    )
    parser.add_argument("input_list", help="text file with one exposure file or rootname a line")
    parser.add_argument(
        "-o", "--output_poller_filename", default="poller_file.out", help="poller file to write (%(default)s)"
    )
    parser.add_argument(
        "-s", "--skycell_name", help="sky cell, such as skycell-p1889x07y19; needed with -t mvm"
    )
    parser.add_argument(
        "-t", "--poller_file_type", choices=("svm", "mvm"), default="svm", help="single visit or multi-visit"
    )
    options = parser.parse_args(arguments)
    if options.poller_file_type == "mvm" and options.skycell_name is None:
        parser.error("a multi-visit poller file needs the name of a sky cell: -s skycell-pPPPPxXXyYY")
    try:
        with messages_on_screen():
            generate_poller_file(
                options.input_list,
                poller_file_type=options.poller_file_type,
                output_poller_filename=options.output_poller_filename,
                skycell_name=options.skycell_name,
            )
    except MultivisitError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
