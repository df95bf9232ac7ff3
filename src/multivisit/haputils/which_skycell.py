"""Say in which sky cells exposures are.

Run as ``python -m multivisit.haputils.which_skycell [-i LIST]``: LIST is a text file with an exposure on each
line; without it, all FLC and FLT files of the working folder are taken.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError
from multivisit.haputils.cell_utils import get_sky_cells

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["main", "report_skycells"]


def report_skycells(img_list: Sequence[str | os.PathLike[str]]) -> None:
    """Print the sky cells that exposures cover, and the exposures of each.

    Parameters
    ----------
    img_list : list
        The exposure files.

    Raises
    ------
    MissingFileError, ExposureError
        If a file is missing or unusable; the message names it.
    """
    lines = ["\n"]
    for name, cell in get_sky_cells(img_list).items():
        lines.append(f"Skycell {name} contains {len(cell.members)} image(s)")
        lines += [f"     {member}" for member in cell.members]
        lines.append("\n")
    sys.stdout.write("\n".join(lines) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is its exit code."""
    parser = argparse.ArgumentParser(
        prog="which_skycell", description="Say in which projection cells and sky cells exposures are."
    )
    parser.add_argument(
        "-i",
        "--input_list",
        metavar="LIST",
        help="text file with the name of an exposure (FLC or FLT) on each line; "
        "by default all of them in the working folder",
    )
    input_list = parser.parse_args(arguments).input_list
    try:
        report_skycells(_images(input_list))
    except MultivisitError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    return 0


def _images(input_list: str | None) -> list[str]:
    from multivisit.plan.poller import read_poller

    if input_list is not None:
        return [row.filename for row in read_poller(input_list)]
    found = sorted(str(path) for path in Path().glob("*_fl[ct].fits*"))
    if not found:
        from multivisit.errors import MissingFileError

        raise MissingFileError(
            f"no FLC or FLT files in {Path.cwd()}: go to their folder, or list them with -i"
        )
    return found


if __name__ == "__main__":
    raise SystemExit(main())
