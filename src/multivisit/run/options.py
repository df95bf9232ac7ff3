"""What a run is asked to do: one frozen value that every entrance (Python or command line) fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from multivisit.catalogs.making import PhotometryMode
    from multivisit.plan.custom_mosaic import CustomArea
    from multivisit.plan.layers import LayerMethod

__all__ = [
    "PHOTOMETRY_MODES",
    "ReturnCode",
    "RunOptions",
    "environment_switch",
]

PHOTOMETRY_MODES: tuple[PhotometryMode, ...] = ("both", "aperture", "segment", "none")
"""Which source catalogs may be asked for, the default first."""

_TRUE_WORDS = frozenset({"on", "yes", "true", "1"})
_FALSE_WORDS = frozenset({"off", "no", "false", "0"})


class ReturnCode(IntEnum):
    """The published exit codes of multi-visit processing."""

    SUCCESS = 0
    """Every layer that was to be made has been made."""

    ERROR = 1
    """Something failed; the other layers have been made."""

    KEYWORD_UPDATE_PROBLEM = 15
    """A product's header could not be written."""

    ONLY_SMALL_DETECTORS = 55
    """Only ACS/HRC or ACS/SBC exposures, and these are left out on request."""

    NO_VIABLE_DATA = 65
    """No exposure is left after vetting, or all have been combined before."""


@dataclass(frozen=True)
class RunOptions:
    """Everything that one run needs to know."""

    inputs: Path | tuple[Path, ...]
    """A poller file, or the exposure files themselves."""

    output_folder: Path = field(default_factory=Path)
    """Where all products go; it is made if it is not there."""

    input_folder: Path = field(default_factory=Path)
    """Where the exposures that a poller file names are looked for before their ``pathname``."""

    sky_cells: tuple[str, ...] = ()
    """With exposure files: make the layers of these sky cells alone (default: all that they touch)."""

    layer_method: LayerMethod = "all"
    """How exposures are split into layers by exposure time and year."""

    exposure_time_ratio: float | None = 2.0
    """`kmeans` splits only where the longest exposure is more than this times the shortest."""

    include_small: bool = True
    """Make layers of ACS/HRC and ACS/SBC exposures too."""

    only_cte_corrected: bool = False
    """Use CTE-corrected exposures alone for ACS/WFC and WFC3/UVIS."""

    published_conditions: bool = False
    """Choose parameters by the mean number of exposures a pixel, as the published code does."""

    area: CustomArea | None = None
    """Make custom mosaics of this area instead of sky cells."""

    output_file_prefix: str | None = None
    """Beginning of the names of all files, in the place of ``hst_<sky cell>``; a custom mosaic without one is
    named by its projection cell and its centre."""

    trim: bool = False
    """Size each layer by its own members, not by all exposures of the run."""

    custom_parameters: Path | None = None
    """Custom parameter file that is read: its section "parameters" takes the place of the defaults."""

    written_parameters: Path | None = None
    """Custom parameter file that is written: all parameters of all products and exposures."""

    context: bool = False
    """Add a CTX extension that tells which chips went into each pixel."""

    error_plane: bool = False
    """Add an ERR extension with the standard error of each pixel."""
    compress: bool = False
    """Tile-compress the products' images without loss: smaller files that take longer to write."""

    previews: bool = True
    """Write a PNG preview beside each product."""

    phot_mode: PhotometryMode = "both"
    """Which source catalogs are written beside each product: aperture, segment, both or none."""

    quality_tests: bool = False
    """Read pixels again for the quality checks that need them, and write the published quality files."""

    report: bool = False
    """Write the report of the output folder, one HTML page, at the end."""

    threads: int | None = None
    """Most threads that combine layers, two or more of which may be in work at the same time (default: one a
    core, 8 at most). Results do not depend on it."""

    memory: int | None = None
    """Bytes that the run's process may take at most (default: half of what is free when it starts).
    Results do not depend on it."""

    diagnostics: bool = False
    """Write footprints, masks, depth maps and sky values into a sub-folder beside the mosaics."""

    log_level: int = 20
    """Lowest level (`logging`) of the messages in the trailer files, which hold at least INFO."""


def environment_switch(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Read an on/off variable.

    Parameters
    ----------
    environment : mapping of str
        The environment.
    name : str
        The variable.
    default : bool
        What it means when it is not set or blank.

    Returns
    -------
    bool
        Whether it is on.

    Raises
    ------
    ParameterError
        It is neither on nor off.
    """
    text = environment.get(name, "").strip().lower()
    if not text:
        return default
    if text in _TRUE_WORDS:
        return True
    if text in _FALSE_WORDS:
        return False
    raise ParameterError(
        f"environment variable {name}={environment[name]!r}: expected on/yes/true or off/no/false"
    )
