"""Time the look-up of sky cells: for random positions, and for the exposures of given files.

Run it as ``python benchmarks/cell_lookup.py [FILE ...]``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from multivisit.plan.coverage import find_sky_cells
from multivisit.sky.lookup import cells_containing


def main() -> None:
    """Time both look-ups and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="exposures (FLT or FLC files, plain or .gz)")
    parser.add_argument("-n", "--positions", type=int, default=1_000_000)
    arguments = parser.parse_args()

    random = np.random.default_rng(1)
    ra = random.uniform(0.0, 360.0, arguments.positions)
    dec = np.degrees(np.arcsin(random.uniform(-1.0, 1.0, arguments.positions)))
    start = time.perf_counter()
    matches = cells_containing(ra, dec)
    seconds = time.perf_counter() - start
    print(f"cells_containing: {arguments.positions} positions, {len(matches)} matches: {seconds:.2f} s")

    if arguments.files:
        start = time.perf_counter()
        sky_cells = find_sky_cells(arguments.files)
        seconds = time.perf_counter() - start
        print(
            f"find_sky_cells: {len(arguments.files)} exposures, {len(sky_cells)} sky cells: {seconds:.2f} s"
        )


if __name__ == "__main__":
    main()
