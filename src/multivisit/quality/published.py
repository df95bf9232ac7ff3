"""The published quality files: ``..._mvm_wcsname.json`` and ``..._mvm_overlap_crossmatch.json``.

Names, sections and columns are those that drizzlepac's MVM writes when MVM_QUALITY_TESTING is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.products.members import wcs_solution
from multivisit.quality.facts import visit_of
from multivisit.quality.matching import match_positions
from multivisit.quality.pixels import SEARCH, TOLERANCE
from multivisit.quality.result import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    from multivisit.quality.facts import LayerFacts
    from multivisit.quality.survey import ExposureLook

    Floats = NDArray[np.float64]

__all__ = [
    "WCS_VALUES",
    "VisitSources",
    "crossmatch_name",
    "visit_sources",
    "write_crossmatch",
    "write_wcsname",
]

_SOLUTIONS = tuple(
    f"FIT_{fit}_{catalog}"
    for catalog in ("GAIAEDR3", "GAIADR2", "GAIADR1", "GSC242", "2MASS", "NONE")
    for fit in ("SVM", "REL", "IMG")
)
WCS_VALUES: Mapping[str, int] = MappingProxyType(
    {name: 2**power for power, name in enumerate((*_SOLUTIONS, "HSC30", "GSC240"))}
)
"""The published number of each WCS solution."""

_UNNAMED_VALUE = 0
"""For solutions that the published list does not have."""

_SAME = 0.05
"""Sources of one visit closer than this are one, arcsec; at least half a pixel of the detector."""

_DIFFERENCES = (
    "X-axis differences",
    "Y-axis differences",
    "On-sky separation (X-Y)",
    "On-sky separation (RA-Dec)",
)
_CLIPS, _SIGMA = 3, 3

_WCS_COLUMNS = {
    "filename": ("Exposure filename", "unitless"),
    "wcsname": ("Primary WCSNAME", "unitless"),
    "shape": ("Dimensions of the output drizzled (layer) MVM product", "pixels"),
    "wcs_value": ("Fill value/numeric ID for WCS visualization (2^n)", "unitless"),
    "img_value": ("Alt fill Value/numeric ID for WCS visualization (2^n)", "unitless"),
    "RA": ("Right Ascension of Polygon which defines footprint corners", "degrees"),
    "Dec": ("Declination of Polygon which defines footprint corners", "degrees"),
    "X": ("X position of Polygon which defines footprint corners", "pixels"),
    "Y": ("Y position of Polygon which defines footprint corners", "pixels"),
}
_DETAILS = {
    "overlap region size": ("Size of overlap region", "pixels"),
    "reference catalog name": ("Name of reference catalog used in the crossmatch", "unitless"),
    "comparison catalog name": ("Name of comparison catalog used in the crossmatch", "unitless"),
    "total reference catalog size": ("Total number of sources in the reference catalog", "unitless"),
    "total comparison catalog size": ("Total number of sources in the comparison catalog", "unitless"),
    "number of reference sources available for crossmatch": (
        "Total number of reference catalog sources in overlap region suitable for crossmatch",
        "unitless",
    ),
    "number of comparison sources available for crossmatch": (
        "Total number of comparison catalog sources in overlap region suitable for crossmatch",
        "unitless",
    ),
    "number of crossmatched sources": (
        "Total number of sources common to both comparison and reference catalogs",
        "unitless",
    ),
}
_TABLE = {
    "X-Skycell": ("Crossmatched reference X coordinate", "HAP MVM skycell pixels"),
    "Y-Skycell": ("Crossmatched reference Y coordinate", "HAP MVM skycell pixels"),
    "RA": ("Crossmatched reference right ascension coordinate", "Degrees"),
    "DEC": ("Crossmatched reference declination coordinate", "Degrees"),
    "X-axis differences": (
        "Crossmatched comparison - reference X coordinate differences",
        "HAP MVM skycell pixels",
    ),
    "Y-axis differences": (
        "Crossmatched comparison - reference Y coordinate differences",
        "HAP MVM skycell pixels",
    ),
    "On-sky separation (X-Y)": (
        "Crossmatched comparison - reference on-sky separation (X-Y)",
        "HAP MVM skycell pixels",
    ),
    "On-sky separation (RA-Dec)": (
        "Crossmatched comparison - reference on-sky separation (RA-Dec)",
        "Arcseconds",
    ),
}


@dataclass(frozen=True)
class VisitSources:
    """The sources of one visit in one layer, on the sky cell's own pixels."""

    visit: str
    """Instrument, program and visit (``jbl70r``)."""

    facts: LayerFacts
    """The layer."""

    area: Polygon | MultiPolygon
    """What the visit covers, in pixels of the sky cell, 0-based."""

    position: Floats = field(repr=False)
    """Sources in pixels of the sky cell, 0-based, shape (n, 2)."""

    @property
    def name(self) -> str:
        """What stands for the name of a catalog: the layer with the visit for its label."""
        layer = self.facts.layer
        stem = f"{layer.instrument}_{layer.detector}_{layer.filter_name}_{self.visit}"
        return f"{stem} (found in its exposures)"


def write_wcsname(facts: LayerFacts, folder: Path, moment: float) -> Path:
    """Write which WCS solution each exposure of a layer has, and where it lies.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    folder : Path
        Where to.
    moment : float
        Seconds since 1970 that the files of a run have in common.

    Returns
    -------
    Path
        ``<basename>_mvm_wcsname.json``.

    Raises
    ------
    ProductError
        It cannot be written.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _WCS_COLUMNS}
    plane = facts.grid.wcs
    for number, member in enumerate(facts.layer.members):
        exposure = member.exposure
        solution = wcs_solution(exposure.chips[0].wcs_name).upper()
        ra, dec, x, y = [], [], [], []
        for chip in exposure.chips:
            corners = np.asarray(chip.wcs().calc_footprint(axes=(chip.shape[1], chip.shape[0])))
            ring = np.vstack([corners, corners[:1]])
            places = plane.all_world2pix(ring, 0)
            ra.append(ring[:, 0].tolist())
            dec.append(ring[:, 1].tolist())
            x.append(places[:, 0].astype(int).tolist())
            y.append(places[:, 1].astype(int).tolist())
        values = (
            f"{facts.layer.member_basename(member)}_{exposure.file_type}.fits",
            solution,
            [facts.grid.shape[1], facts.grid.shape[0]],
            WCS_VALUES.get(solution, _UNNAMED_VALUE),
            2**number,
            ra,
            dec,
            x,
            y,
        )
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    contents = _frame_of_file(facts, "report_wcsname", "WCS information", moment)
    cell = facts.layer.sky_cell_id.removeprefix("skycell-")
    contents["data"][cell] = _item("<class 'dict'>", columns, _WCS_COLUMNS)
    return write_json(folder / f"{facts.layer.product_basename}_mvm_wcsname.json", contents)


def visit_sources(facts: LayerFacts, looks: Sequence[ExposureLook]) -> list[VisitSources]:
    """Bring the sources of each visit of a layer together.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    looks : sequence of ExposureLook
        What its exposures show.

    Returns
    -------
    list of VisitSources
        By visit. Of a source in several exposures the mean position counts; where two exposures of the visit
        overlap, what only one of them has is kept too.
    """
    from shapely import affinity, union_all

    offset = np.array(facts.grid.offset, dtype=np.float64)
    pixel = max(chip.nominal_scale for exposure in facts.exposures for chip in exposure.chips)
    tolerance = max(_SAME, 0.5 * pixel) / facts.grid.scale
    by_visit: dict[str, list[int]] = {}
    for number, exposure in enumerate(facts.exposures):
        by_visit.setdefault(visit_of(exposure.rootname), []).append(number)
    found = []
    for visit, numbers in sorted(by_visit.items()):
        positions, counts = np.empty((0, 2)), np.empty(0)
        for number in numbers:
            more = looks[number].position if number < len(looks) else np.empty((0, 2))
            same = match_positions(positions, more, tolerance, tolerance)
            n = counts[same.first][:, None]
            positions[same.first] = (positions[same.first] * n + more[same.second]) / (n + 1.0)
            counts[same.first] += 1.0
            new = np.setdiff1d(np.arange(len(more)), same.second)
            positions = np.concatenate([positions, more[new]])
            counts = np.concatenate([counts, np.ones(len(new))])
        area = affinity.translate(union_all([facts.polygons[k] for k in numbers]), *offset)
        found.append(VisitSources(visit, facts, area, positions + offset))
    return found


def write_crossmatch(visits: Sequence[VisitSources], folder: Path, moment: float) -> list[Path]:
    """Match the sources of every two visits that overlap, whatever their layers, and write the differences.

    Parameters
    ----------
    visits : sequence of VisitSources
        The visits of all layers of one sky cell, all on the same pixels.
    folder : Path
        Where to.
    moment : float
        Seconds since 1970 that the files of a run have in common.

    Returns
    -------
    list of Path
        A file ``<basename>_mvm_overlap_crossmatch.json`` for each layer that has the longer list of an
        overlap; none where all exposures are of one visit.

    Raises
    ------
    ProductError
        A file cannot be written.
    """
    if len({visit.visit for visit in visits}) < 2:
        return []
    regions: dict[str, list[tuple[LayerFacts, dict[str, Any]]]] = {}
    for one, other in combinations(visits, 2):
        sections = _compare(one, other)
        if sections is not None:
            reference, data = sections
            regions.setdefault(reference.layer.product_basename, []).append((reference, data))
    written = []
    for basename, found in sorted(regions.items()):
        contents = _frame_of_file(
            found[0][0], "overlap_crossmatch_analysis", "overlap crossmatch_analysis results", moment
        )
        contents["general information"]["number of overlap regions present"] = len(found)
        for number, (_, data) in enumerate(found, start=1):
            for title, item in data.items():
                contents["data"][f"overlap region #{number} {title}"] = item
        written.append(write_json(folder / crossmatch_name(basename), contents))
    return written


def crossmatch_name(product_basename: str) -> str:
    """Name of a layer's cross-match.

    Parameters
    ----------
    product_basename : str
        The product's name without suffix.

    Returns
    -------
    str
        ``<basename>_mvm_overlap_crossmatch.json``.
    """
    return f"{product_basename}_mvm_overlap_crossmatch.json"


def _compare(one: VisitSources, other: VisitSources) -> tuple[LayerFacts, dict[str, Any]] | None:
    """Match two visits; None where they do not overlap or have no source in common."""
    from astropy.coordinates import angular_separation

    region = one.area.intersection(other.area)
    if region.area < 1.0:
        return None
    lists = [_inside(visit.position, region) for visit in (one, other)]
    (reference, comparison), (first, second) = (one, other), lists
    if len(second) > len(first):
        reference, comparison, first, second = other, one, second, first
    scale = reference.facts.grid.scale
    pixel = max(c.nominal_scale for v in (one, other) for e in v.facts.exposures for c in e.chips)
    match = match_positions(first, second, SEARCH / scale, max(TOLERANCE, pixel) / scale)
    if not len(match.first):
        return None
    grid = reference.facts.grid
    places, others = first[match.first], second[match.second]
    sky, other_sky = (grid.wcs.all_pix2world(p - np.array(grid.offset), 0) for p in (places, others))
    difference = others - places
    separation = angular_separation(*np.radians(sky.T), *np.radians(other_sky.T))
    columns = {
        "X-Skycell": places[:, 0] + 1.0,
        "Y-Skycell": places[:, 1] + 1.0,
        "RA": sky[:, 0],
        "DEC": sky[:, 1],
        "X-axis differences": difference[:, 0],
        "Y-axis differences": difference[:, 1],
        "On-sky separation (X-Y)": np.hypot(*difference.T),
        "On-sky separation (RA-Dec)": np.degrees(separation) * 3600.0,
    }
    details = (
        round(region.area),
        reference.name,
        comparison.name,
        len(reference.position),
        len(comparison.position),
        len(first),
        len(second),
        len(match.first),
    )
    data = {
        "details": _item(
            "<class 'collections.OrderedDict'>", dict(zip(_DETAILS, details, strict=True)), _DETAILS
        )
    }
    for title in _DIFFERENCES:
        unit = "Arcseconds" if "RA-Dec" in title else "HAP pixels"
        statistics = _statistics(columns[title])
        about = {name: (name, "unitless" if name.startswith("Percent") else unit) for name in statistics}
        data[title] = _item("<class 'dict'>", statistics, about)
    table = {
        name: {"dtype": "float64", "unit": "None", "format": None, "data": values.tolist()}
        for name, values in columns.items()
    }
    title = "crossmatched reference X, Y, RA, Dec, and crossmatched comparison - reference difference values"
    data[title] = _item("<class 'astropy.table.table.Table'>", table, _TABLE)
    return reference.facts, data


def _inside(position: Floats, region: Polygon | MultiPolygon) -> Floats:
    import shapely

    inside = shapely.contains_xy(region, position[:, 0], position[:, 1])
    return position[np.asarray(inside, dtype=np.bool_)]


def _statistics(values: Floats) -> dict[str, float]:
    """Give the published statistics of some differences."""
    from astropy.stats import sigma_clipped_stats

    mean, median, deviation = sigma_clipped_stats(values, sigma=_SIGMA, maxiters=_CLIPS)
    clipped = f"{_CLIPS}x{_SIGMA}-sigma clipped"
    out = {
        "Non-clipped minimum": np.min(values),
        "Non-clipped maximum": np.max(values),
        "Non-clipped mean": np.mean(values),
        "Non-clipped median": np.median(values),
        "Non-clipped standard deviation": np.std(values),
        f"{clipped} mean": mean,
        f"{clipped} median": median,
        f"{clipped} standard deviation": deviation,
    }
    for n in (1, 2, 3):
        share = np.mean(np.abs(values - mean) <= n * deviation)
        out[f"Percent of all diff values within {n}-sigma of the clipped mean"] = 100.0 * share
    return {name: float(value) for name, value in out.items()}


def _item(kind: str, data: Any, about: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Give one item of the published ``data`` section."""
    return {
        "original format": kind,
        "description": "",
        "data": data,
        "descriptions": {name: text for name, (text, _) in about.items()},
        "units": {name: unit for name, (_, unit) in about.items()},
    }


def _frame_of_file(facts: LayerFacts, source: str, description: str, moment: float) -> dict[str, Any]:
    """Give the published sections ``header`` and ``general information``, and an empty ``data``."""
    from astropy.io import fits

    from multivisit import __version__

    header = fits.getheader(facts.product)
    layer = facts.layer
    filters = {"ACS": ("FILTER1", "FILTER2"), "WFC3": ("FILTER",), "WFPC2": ("FILTNAM1", "FILTNAM2")}
    dropped = {"", "HISTORY", "COMMENT", *filters.get(layer.instrument.upper(), ())}
    cards = {
        card.keyword: card.value
        for card in header.cards
        if card.keyword not in dropped and not (card.keyword.startswith("D0") and card.keyword[1:4].isdigit())
    }
    local = datetime.fromtimestamp(moment)
    return {
        "header": {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in cards.items()},
        "general information": {
            "telescope": "HST",
            "proposal_id": header.get("PROPOSID"),
            "instrument": layer.instrument.upper(),
            "detector": layer.detector.upper(),
            "visit": layer.instrument,
            "filter": layer.filter_name,
            "dataset": layer.layer_label,
            "dataframe_index": layer.product_basename,
            "imgname": layer.product_filename,
            "generation date": local.strftime("%m/%d/%Y"),
            "generation time": local.strftime("%H:%M:%S"),
            "seconds since epoch": moment,
            "commit id": __version__,
            "data_source": f"mvm_quality_analysis.{source}",
            "description": description,
        },
        "data": {},
    }
