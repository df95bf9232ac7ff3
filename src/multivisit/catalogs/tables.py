"""Source catalogs as files: ECSV tables with the published columns, and what they were made with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.catalogs import _pixels
from multivisit.catalogs.columns import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from multivisit.catalogs.columns import Column
    from multivisit.catalogs.mosaic_file import MosaicFile
    from multivisit.plan.parameters import CatalogParameters
    from multivisit.plan.parameters.quality import ConcentrationFilter

__all__ = ["SUFFIXES", "catalog_meta", "catalog_path", "write_catalog"]

SUFFIXES = {"aperture": "_point-cat.ecsv", "segment": "_segment-cat.ecsv"}
"""Ends of the catalogs' names."""

_UNITS = {
    "pixel": "pix",
    "degree": "deg",
    "radian": "rad",
    "electron/s": "electron / s",
    "electron/(s pixel)": "electron / (pix s)",
    "pixel**2": "pix2",
    "pixel**(-2)": "1 / pix2",
}
"""Published units as ECSV has them."""


def catalog_path(product: Path, basename: str, kind: str) -> Path:
    """Name a catalog of a product.

    Parameters
    ----------
    product : Path
        The mosaic.
    basename : str
        Its name without ``_drc.fits`` or ``_drz.fits``.
    kind : str
        ``aperture`` or ``segment``.

    Returns
    -------
    Path
        In the same folder.
    """
    return product.with_name(basename + SUFFIXES[kind])


def catalog_meta(
    mosaic: MosaicFile,
    parameters: CatalogParameters,
    limits: ConcentrationFilter,
    *,
    kind: str,
    threshold: float,
    aperture_correction: float | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Give what a catalog says of itself, under the published names.

    Parameters
    ----------
    mosaic : MosaicFile
        The product.
    parameters : CatalogParameters
        How the catalog was made.
    limits : ConcentrationFilter
        Limits of the concentration index.
    kind : str
        ``aperture`` or ``segment``.
    threshold : float
        Detection threshold, in standard deviations.
    aperture_correction : float or None
        From the outer aperture to infinity, magnitudes; None where it is not known.
    notes : sequence of str
        More to say.

    Returns
    -------
    dict
        Names and values.
    """
    header = mosaic.text
    meta: dict[str, Any] = {
        "WCSNAME": header("WCSNAME"),
        "Proposal ID": header("PROPOSID"),
        "Image File Name": mosaic.path.name,
        "Target Name": header("TARGNAME"),
        "Date Observed": header("DATE-OBS"),
        "Time Observed": header("TIME-OBS"),
        "Instrument": header("INSTRUME"),
        "Detector": header("DETECTOR"),
        "Target RA": mosaic.number("RA_TARG"),
        "Target DEC": mosaic.number("DEC_TARG"),
        "Orientation": mosaic.number("ORIENTAT"),
        "Aper1 (arcsec)": parameters.aperture_1,
        "Aper2 (arcsec)": parameters.aperture_2,
        "Threshold (sigma)": threshold,
        "Exposure Start": mosaic.number("EXPSTART"),
        "Total Exposure Time": mosaic.number("TEXPTIME"),
        "CCD Gain": mosaic.number("CCDGAIN"),
        "Filter 1": header("FILTER1") or header("FILTER"),
        "Filter 2": header("FILTER2"),
        "AB Zero Point": "unknown" if mosaic.zero_point is None else round(mosaic.zero_point, 5),
    }
    for keyword in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        meta[keyword] = mosaic.number(keyword)
    if aperture_correction is not None:
        meta["Aperture Correction Ap2 (mag)"] = aperture_correction
    low, high = limits.ci_lower_limit, limits.ci_upper_limit
    meta["notes"] = [
        "X and Y are 0-based pixels: the centre of the first pixel is (0, 0).",
        "Magnitudes are AB, of the light in the aperture; no aperture correction has been applied.",
        f"Ap1 is the inner aperture, {parameters.aperture_1 / mosaic.scale:.4g} pixels, "
        f"Ap2 the outer one, {parameters.aperture_2 / mosaic.scale:.4g} pixels.",
        f"{NO_VALUE:g} stands for no value.",
        *notes,
    ]
    meta["flags"] = [
        f"0 point source ({low:g} < CI < {high:g})",
        f"1 extended source (CI > {high:g})",
        "2 one saturated pixel",
        "4 several saturated pixels",
        f"8 fainter than {limits.bthresh:g} standard errors",
        f"16 hot pixel or cosmic ray (CI < {low:g} less its error, or narrow in some direction)",
        "32 false detection around a bright star",
        "64 covered by too few exposures",
        "128 bad pixels, or what a cosmic ray has left",
    ]
    meta["catalog"] = {"aperture": "point sources", "segment": "segments"}[kind]
    return meta


def write_catalog(
    path: Path, columns: Sequence[Column], values: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]
) -> Path:
    """Write a catalog.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of Column
        Its columns.
    values : mapping of str to ndarray
        Their values by name; what is not finite is written as -9999.
    meta : mapping
        What it says of itself.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ProductError
        If it cannot be written; nothing is left then.
    """
    header = _header(columns, {**meta, "Number of sources": len(values[columns[0].name])})
    numbers = np.array([values[column.name] for column in columns], dtype=np.float64)
    numbers[~np.isfinite(numbers)] = NO_VALUE
    # The published decimals, without the blanks that the formats fill up with: blanks separate the columns.
    rows = _pixels.format_rows(numbers, np.array([column.decimals for column in columns], dtype=np.int32))
    with atomic_path(path) as temporary:
        temporary.write_bytes((header + "\n").encode() + rows)
    return path


def _header(columns: Sequence[Column], meta: Mapping[str, Any]) -> str:
    """The lines above the rows: YAML, in which JSON's texts, numbers and lists are what they are in JSON.

    astropy's writer would spend more time on these lines than on the rows.
    """
    lines = ["%ECSV 1.0", "---", "datatype:"]
    for column in columns:
        entry = {"name": column.name, "unit": _UNITS.get(column.unit, column.unit)}
        entry["datatype"] = "int64" if column.is_integer else "float64"
        entry |= {"format": column.format, "description": column.description}
        lines.append("- " + _flow({key: value for key, value in entry.items() if value}))
    lines.append("meta: !!omap")
    lines += [f"- {_flow({key: value})}" for key, value in meta.items()]
    lines += ["schema: astropy-2.0"]
    return "\n".join([*("# " + line for line in lines), " ".join(column.name for column in columns)])


def _flow(value: Any) -> str:
    """A value as YAML of one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and math.isfinite(value):
        # Without a point, 1e-05 would be a text.
        mantissa, mark, exponent = repr(value).partition("e")
        return (mantissa if "." in mantissa else mantissa + ".0") + mark + exponent
    if isinstance(value, float):
        return ".nan" if math.isnan(value) else "-.inf" if value < 0.0 else ".inf"
    return str(int(value))
