"""The demo: mosaics of a simulated field seen in several visits, then of real pixels of 47 Tucanae."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import subprocess
import sys
import time
from pathlib import Path

MVM = Path(sys.executable).parent / "mvm"
REAL_EXPOSURE = "tests/data/j8bt06nyq_flt.fits"


def say(text: str = "") -> None:
    """Print at once, so that the order is kept beside the commands' own output."""
    print(text, flush=True)


def run_mvm(*arguments: str | Path, shown: str) -> None:
    """Run one `mvm` command, showing it as a person would type it."""
    say(f"\n$ mvm {shown}")
    began = time.monotonic()
    finished = subprocess.run([MVM, *arguments], check=False)
    if finished.returncode:
        sys.exit(f"demo: `mvm {arguments[0]}` ended with exit code {finished.returncode}")
    say(f"  ({time.monotonic() - began:.1f} s)")


def simulated_exposures(folder: Path) -> list[Path]:
    """Simulate the demo's field, unless an earlier demo has finished doing so."""
    if folder.is_dir():
        say(f"\nThe simulated exposures of an earlier demo are still in {folder}; they are used again.")
    else:
        unfinished = folder.with_name(folder.name + ".unfinished")
        run_mvm("simulate", "demo", "-o", unfinished, shown=f"simulate demo -o {folder}")
        unfinished.rename(folder)
    return sorted(folder.glob("*_fl[ct].fits"))


def real_exposure() -> Path:
    """Find the ACS/HRC exposure of 47 Tucanae that the `spherical-geometry` wheel carries."""
    package = importlib.util.find_spec("spherical_geometry")
    if package is None or not package.submodule_search_locations:
        sys.exit("demo: the package spherical-geometry, which carries the real exposure, is not installed")
    path = Path(package.submodule_search_locations[0]) / REAL_EXPOSURE
    if not path.is_file():
        sys.exit(f"demo: {path} is not there; this version of spherical-geometry has no such file")
    return path


def tell_what_was_made(folder: Path) -> None:
    """List the products in a folder, by kind."""
    kinds = {
        "mosaics": "*_dr[cz].fits",
        "previews": "*.png",
        "logs (trailer files)": "*_trl.txt",
        "vetting": "*vetting*",
        "manifests": "*_manifest.txt",
    }
    for kind, pattern in kinds.items():
        say(f"  {kind}:")
        for path in sorted(folder.glob(pattern)):
            say(f"    {path}")


def main() -> None:
    """Run the demo in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where everything goes")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    say("A simulated field: ACS/WFC, WFC3/UVIS and WFC3/IR, several visits and roll angles")
    exposures = simulated_exposures(folder / "exposures")
    pattern = f"{folder}/exposures/*_fl[ct].fits"
    mosaics = folder / "mosaics"
    run_mvm("cells", *exposures, shown=f"cells {pattern}")
    run_mvm("run", *exposures, "-o", mosaics, shown=f"run {pattern} -o {mosaics}")

    say("\nReal pixels: the core of 47 Tucanae, ACS/HRC, F606W, 60 s, 2002")
    exposure = real_exposure()
    real_mosaics = folder / "47tuc"
    shown = shlex.join(["run", exposure.as_posix(), "-o", str(real_mosaics)])
    run_mvm("run", exposure, "-o", real_mosaics, shown=shown)
    say("  (47 Tucanae lies where four projection cells overlap: each of them has its own mosaic.)")

    say("\nMade from the simulated field (the truth catalog is beside the exposures):")
    tell_what_was_made(mosaics)
    say("Made from the real exposure:")
    tell_what_was_made(real_mosaics)


if __name__ == "__main__":
    main()
