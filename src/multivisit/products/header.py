"""Headers of a mosaic: what it is, what it was made from and how, and where its pixels are on the sky."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from multivisit.combine.weights import weight_per_pixel
from multivisit.products.keywords import (
    MEMBER_KEYWORDS,
    MULTIPLE,
    KeywordRule,
    ascii_text,
    combine_keyword,
    member_value,
    put_all,
)
from multivisit.products.members import (
    combined_chips,
    combined_exposures,
    iso_date,
    known_mjd,
    wcs_solution,
    wcs_solutions,
)
from multivisit.products.tables import trailer_name

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Sequence

    from astropy.io import fits

    from multivisit.combine.records import LayerMosaic, MosaicSummary
    from multivisit.exposures.model import Exposure
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.products.members import CombinedChip
    from multivisit.sky.grid import OutputGrid

__all__ = [
    "ProductDescription",
    "add_history",
    "primary_header",
    "sky_warnings",
    "total_time",
    "with_long_strings_declared",
]

_MAXIMUM_NUMBERED_CHIPS = 999
_HISTORY_WIDTH = 72
_CARD_LENGTH = 80


@dataclass(frozen=True)
class ProductDescription:
    """All that the headers of one product are made of."""

    layer: Layer
    """The layer and its members."""

    mosaic: LayerMosaic | MosaicSummary
    """The records of the chips, and the statistics."""

    grid: OutputGrid
    """The pixel grid."""

    parameters: CombinationParameters
    """How the layer was combined."""

    written: datetime.date
    """Date of writing."""

    s_region: str = ""
    """Footprint for S_REGION; empty for none."""

    history: tuple[str, ...] = ()
    """More lines for HISTORY."""

    @cached_property
    def chips(self) -> tuple[CombinedChip, ...]:
        """The chips in the order of the context bits."""
        return combined_chips(self.layer, self.mosaic.chips)


def primary_header(product: ProductDescription, n_extensions: int) -> fits.Header:
    """Make the PRIMARY header.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.
    n_extensions : int
        Number of extensions that follow.

    Returns
    -------
    Header
        Complete but for CHECKSUM and DATASUM.
    """
    from astropy.io import fits

    header = fits.Header()
    _section(
        header,
        "",
        [
            ("SIMPLE", True, "conforms to the FITS standard"),
            ("BITPIX", 8, "no data here"),
            ("NAXIS", 0, "the images are in the extensions"),
            ("EXTEND", True, "extensions follow"),
            ("NEXTEND", n_extensions, "number of extensions"),
            ("DATE", product.written.isoformat(), "date of writing"),
        ],
    )
    _section(header, "PRODUCT", _product_cards(product))
    exposures = combined_exposures(product.chips)
    headers = [exposure.primary for exposure in exposures]
    member_cards = {
        title: [(rule.keyword, combine_keyword(rule, headers), rule.comment) for rule in rules]
        for title, rules in MEMBER_KEYWORDS.items()
    }
    _section(header, "TARGET", [*member_cards["TARGET"], ("EQUINOX", 2000.0, "equinox of these coordinates")])
    _section(header, "PROPOSAL", member_cards["PROPOSAL"])
    _section(header, "EXPOSURE", [*_time_cards(exposures), *member_cards["EXPOSURE"]])
    _section(header, "DETECTOR", [*_filter_cards(product.layer, headers), *member_cards["DETECTOR"]])
    _section(header, "CALIBRATION", member_cards["CALIBRATION"])
    _section(header, "COVERAGE", _coverage_cards(product))
    chips = product.chips
    _section(header, "WORLD COORDINATE SOLUTIONS OF THE MEMBERS", _solution_cards(chips))
    _section(header, "SKY", _sky_cards(product, chips))
    _section(header, "DRIZZLE", _drizzle_cards(product, chips))
    for line in _history(product, chips):
        add_history(header, line)
    return with_long_strings_declared(header)


def _section(header: fits.Header, title: str, cards: Iterable[tuple[str, object, str]]) -> None:
    """Append a titled group of keywords; nothing at all if none of them has a value."""
    from astropy.io import fits

    group = fits.Header()
    put_all(group, list(cards))
    if not len(group):
        return
    if title:
        for text in ("", f"      / {title}", ""):
            header.append(("", text), end=True, bottom=True)
    for card in group.cards:
        header.append(card, end=True, bottom=True)


def _product_cards(product: ProductDescription) -> list[tuple[str, object, str]]:
    """What the file is."""
    layer = product.layer
    return [
        ("FILENAME", layer.product_filename, "name of this file"),
        ("ROOTNAME", layer.product_filename.rsplit("_", 1)[0], "name without suffix"),
        ("FILETYPE", "SCI", "type of data"),
        ("TELESCOP", "HST", "telescope"),
        ("INSTRUME", layer.instrument.upper(), "instrument"),
        ("DETECTOR", layer.detector.upper(), "detector"),
        ("PROD_VER", f"multivisit {_version('multivisit')}", "software that made this file"),
        ("HAPLEVEL", 4, "multi-visit mosaic"),
        (
            "SCELLID",
            layer.sky_cell_id.removeprefix("skycell-"),
            "projection cell, or custom grid" if layer.is_custom else "sky cell",
        ),
        ("LAYER", layer.layer_label, "scale, exposure class and year"),
        ("PIXSCALE", product.grid.scale, "[arcsec] pixel size"),
        ("ASN_MTYP", "PROD-DTH", "a combined product"),
        ("DRIZPARS", trailer_name(layer.product_filename), "messages of the processing"),
    ]


def _filter_cards(layer: Layer, headers: Sequence[fits.Header]) -> list[tuple[str, object, str]]:
    """The filter, and what the members say of each wheel."""
    name = layer.filter_name
    joined = name if name == "clear" else name.upper().replace("-", ";")
    wheels = ("FILTER1", "FILTER2", "FILTNAM1", "FILTNAM2")
    rules = [KeywordRule(wheel, "multi", "element of a filter wheel") for wheel in wheels]
    return [
        ("FILTER", joined, "filter, or filter and polarizer"),
        *((rule.keyword, combine_keyword(rule, headers), rule.comment) for rule in rules),
    ]


def total_time(exposures: Iterable[Exposure]) -> float:
    """Add up exposure times.

    Parameters
    ----------
    exposures : iterable of Exposure
        The exposures.

    Returns
    -------
    float
        The sum in seconds.
    """
    return math.fsum(exposure.exposure_time for exposure in exposures)


def _time_cards(exposures: Sequence[Exposure]) -> list[tuple[str, object, str]]:
    """When and how long was it observed."""
    starts = [mjd for exposure in exposures if (mjd := known_mjd(exposure.start_mjd)) is not None]
    ends = [mjd for exposure in exposures if (mjd := known_mjd(exposure.end_mjd)) is not None]
    start = min(starts, default=None)
    end = max(ends, default=None)
    total = total_time(exposures)
    first = exposures[0].primary
    begin = None if start is None else iso_date(start)
    return [
        (
            "DATE-OBS",
            member_value(first, "DATE-OBS") or (begin and begin[:10]),
            "UT date of the earliest exposure",
        ),
        ("TIME-OBS", member_value(first, "TIME-OBS") or (begin and begin[11:19]), "UT time of its start"),
        ("DATE-BEG", begin, "UT start of the earliest exposure"),
        ("DATE-END", None if end is None else iso_date(end), "UT end of the latest exposure"),
        ("EXPSTART", start, "[d] start of the earliest exposure, MJD"),
        ("EXPEND", end, "[d] end of the latest exposure, MJD"),
        ("EXPTIME", total, "[s] sum over the exposures"),
        ("TEXPTIME", total, "[s] the same"),
        ("NUMEXP", len(exposures), "number of exposures combined"),
    ]


def _coverage_cards(product: ProductDescription) -> list[tuple[str, object, str]]:
    """How deep and how complete the mosaic is."""
    statistics = product.mosaic.statistics
    whole = "the area's" if product.layer.is_custom else "the sky cell's"
    return [
        ("NPIXFRAC", statistics.observed_fraction, f"fraction of {whole} pixels with data"),
        ("MEANEXPT", statistics.mean_exposure_time, "[s] mean exposure time of pixels with data"),
        ("MEDEXPT", statistics.median_exposure_time, "[s] median exposure time of pixels with data"),
        ("MEANNEXP", statistics.mean_exposures, "mean number of chips of pixels with data"),
        ("MEDNEXP", statistics.median_exposures, "median number of chips of pixels with data"),
        ("MEANWHT", statistics.mean_weight, "mean weight of pixels with data"),
        ("MEDWHT", statistics.median_weight, "median weight of pixels with data"),
    ]


def _solution_cards(chips: Sequence[CombinedChip]) -> list[tuple[str, object, str]]:
    """Whether the members agree on what their positions are tied to."""
    solutions = wcs_solutions(chips)
    return [
        (
            "NWCSNAME",
            len({chip.chip.wcs_name for chip in chips}),
            "number of different WCSNAMEs of the members",
        ),
        ("WCSSOLN", next(iter(solutions), None) if len(solutions) == 1 else MULTIPLE, "astrometric solution"),
        ("WCSMIXED", len(solutions) > 1, "members with different solutions are combined"),
    ]


def _sky_cards(product: ProductDescription, chips: Sequence[CombinedChip]) -> list[tuple[str, object, str]]:
    """What was taken off the members."""
    levels = [chip.record.sky_level for chip in chips]
    subtracted = bool(product.parameters.skysub) and any(chip.record.sky_measured for chip in chips)
    return [
        ("SKYDONE", subtracted, "sky levels were measured and subtracted"),
        ("SKYMETHD", product.parameters.skymethod if subtracted else None, "how sky levels were found"),
        ("SKYLOW", min(levels, default=None), "[electron/s/chip pixel] lowest level subtracted"),
        ("SKYHIGH", max(levels, default=None), "[electron/s/chip pixel] highest level subtracted"),
    ]


def _drizzle_cards(
    product: ProductDescription, chips: Sequence[CombinedChip]
) -> list[tuple[str, object, str]]:
    """The drizzle parameters, and those of each chip by its number."""
    cards: list[tuple[str, object, str]] = [
        ("DRIZCORR", "COMPLETE", "drizzled"),
        ("NDRIZIM", len(chips), "number of chips, each with its Dnnn keywords"),
    ]
    for number, chip in enumerate(chips[:_MAXIMUM_NUMBERED_CHIPS], start=1):
        cards += [(f"D{number:03d}{key}", value, text) for key, value, text in _chip_cards(product, chip)]
    return cards


def _chip_cards(product: ProductDescription, chip: CombinedChip) -> list[tuple[str, object, str]]:
    """The drizzle parameters of one chip, without the number."""
    parameters = product.parameters
    fill = parameters.final_fillval
    time = chip.chip.exposure_time
    weight = weight_per_pixel(time, parameters.final_wt_scl)
    return [
        ("DATA", f"{chip.exposure.filename}[sci,{chip.chip.extver}]", "chip"),
        ("DEXP", time, "[s] its exposure time"),
        ("WTSC", weight, "weight of its good pixels"),
        ("KERN", parameters.final_kernel, "kernel"),
        ("PIXF", parameters.final_pixfrac, "linear size of a drop, in its pixels"),
        ("OUUN", parameters.final_units, "units of the output"),
        (
            "FVAL",
            "INDEF" if fill is None or not math.isfinite(fill) else str(fill),
            "value where weight is 0",
        ),
        ("SCAL", product.grid.scale, "[arcsec] pixel size of the output"),
        ("ISCL", chip.chip.nominal_scale, "[arcsec] its own pixel size"),
    ]


def _history(product: ProductDescription, chips: Sequence[CombinedChip]) -> list[str]:
    """How the product was made, line by line."""
    packages = ", ".join(f"{name} {_version(name)}" for name in ("drizzle", "numpy", "astropy"))
    lines = [f"Made by multivisit {_version('multivisit')} with {packages}.", "Combination parameters:"]
    lines += [f"  {key} = {_parameter_text(value)}" for key, value in _parameter_items(product.parameters)]
    if product.layer.is_custom:
        lines.insert(1, f"Custom mosaic: {product.layer.area}.")
    if len(chips) > _MAXIMUM_NUMBERED_CHIPS:
        lines.append(
            f"Only the first {_MAXIMUM_NUMBERED_CHIPS} chips have Dnnn keywords; HDRTAB has all {len(chips)}."
        )
    lines += _solution_history(chips)
    lines += [f"WARNING: {sentence}" for sentence in sky_warnings(product)]
    return [*lines, *product.history]


def _parameter_items(parameters: CombinationParameters) -> Iterable[tuple[str, Any]]:
    """Names and values of the combination parameters."""
    from multivisit.plan.parameters import used_combination_values

    return used_combination_values(parameters).items()


def _parameter_text(value: object) -> str:
    """A parameter's value as people write it."""
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "none" if value is None else str(value)


def _solution_history(chips: Sequence[CombinedChip]) -> list[str]:
    """Which WCS solutions the members have, and a warning where they are mixed."""
    solutions = wcs_solutions(chips)
    lines = ["WCS solutions of the members (WCSNAME without the distortion model, chips, exposures):"]
    for solution, n_chips in solutions.items():
        exposures = {chip.exposure.rootname for chip in chips if wcs_solution(chip.chip.wcs_name) == solution}
        lines.append(f"  {solution}: {n_chips}, {len(exposures)}")
    if len(solutions) > 1:
        lines.append("WARNING: members with different WCS solutions are combined; positions may disagree.")
    return lines


def sky_warnings(product: ProductDescription) -> list[str]:
    """Say where sky levels are not what was asked for.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.

    Returns
    -------
    list of str
        Sentences; none where all is well.
    """
    chips = product.chips
    if not product.parameters.skysub:
        return []
    lines = []
    inside = [chip.record for chip in chips if chip.record.in_grid]
    unknown = [record for record in inside if not record.sky_measured]
    if unknown:
        lines.append(
            f"the sky level of {len(unknown)} of {len(inside)} chips could not be measured or not "
            "be compared with another's."
        )
    groups = {record.sky_group for record in inside if record.sky_measured}
    if "match" in product.parameters.skymethod and len(groups) > 1:
        lines.append(
            f"sky levels were matched in {len(groups)} groups of exposures that do not overlap each "
            "other; the groups may differ in their level."
        )
    return lines


@cache
def _version(package: str) -> str:
    """The version of an installed package, which takes a file to find."""
    return version(package)


def add_history(header: fits.Header, line: str) -> None:
    """Add a line of HISTORY, broken between words; continuations are indented.

    Parameters
    ----------
    header : Header
        Changed in place.
    line : str
        The line, of any length.
    """
    import textwrap

    text = ascii_text(line.expandtabs().replace("\n", " "))
    indent = " " * (len(text) - len(text.lstrip()))
    pieces = textwrap.wrap(
        text.strip(), _HISTORY_WIDTH, initial_indent=indent, subsequent_indent=indent + "    "
    )
    for piece in pieces:
        header.append(("HISTORY", piece), end=True, bottom=True)


def with_long_strings_declared(header: fits.Header) -> fits.Header:
    """Say that CONTINUE cards are used, where they are.

    Parameters
    ----------
    header : Header
        Changed in place.

    Returns
    -------
    Header
        The same.
    """
    if any(len(str(card)) > _CARD_LENGTH for card in header.cards):
        place = "EXTVER" if "EXTVER" in header else "EXTEND"
        header.set("LONGSTRN", "OGIP 1.0", "long strings are continued", after=place)
    return header
