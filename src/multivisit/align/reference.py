"""Reference catalogs: positions with proper motions, read from a file and carried to a date."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.errors import MissingFileError, ReferenceCatalogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["ReferenceCatalog", "catalog_from_columns", "parse_csv", "parse_votable", "read_reference_catalog"]

DEFAULT_EPOCH = 2016.0
"""Epoch of positions with proper motions where a catalog names none: that of Gaia DR3."""

_COLUMNS = {
    "ra": ("ra", "ra_icrs", "raj2000", "ra_deg", "radeg", "rightascension", "alpha"),
    "dec": ("dec", "de_icrs", "dec_icrs", "dej2000", "decj2000", "dec_deg", "decdeg", "declination", "delta"),
    "pmra": ("pmra", "pm_ra", "rapm", "pmra_cosdec", "pm_ra_cosdec"),
    "pmdec": ("pmdec", "pm_dec", "decpm", "pmde"),
    "epoch": ("ref_epoch", "refepoch", "epoch", "jdate", "epochmean"),
    "magnitude": ("phot_g_mean_mag", "gmag", "mag", "magnitude", "g"),
}
"""Names by which columns are known, in any case."""

_MJD_2000 = 51544.5
_DAYS_A_YEAR = 365.25
_MAS = math.radians(1.0 / 3_600_000.0)
_LONGEST_NAME = 30


@dataclass(frozen=True)
class ReferenceCatalog:
    """Positions on the sky that exposures are aligned to."""

    name: str
    """Its name as WCSNAME has it: ``GAIAeDR3``, or that of a file."""

    ra: Floats = field(repr=False)
    """Right ascension at `epoch`, degrees (ICRS)."""

    dec: Floats = field(repr=False)
    """Declination at `epoch`, degrees."""

    pmra: Floats = field(repr=False)
    """Proper motion to the East (times the cosine of the declination), mas a year; 0 where unknown."""

    pmdec: Floats = field(repr=False)
    """Proper motion to the North, mas a year; 0 where unknown."""

    epoch: Floats = field(repr=False)
    """Epoch of the positions, Julian years."""

    magnitude: Floats = field(repr=False)
    """Magnitude; NaN where unknown."""

    origin: str = ""
    """The file or service that it is from."""

    def __len__(self) -> int:
        """Number of sources."""
        return len(self.ra)

    def at(self, mjd: float | Floats | None) -> tuple[Floats, Floats]:
        """Carry the positions to a date along straight lines.

        Parameters
        ----------
        mjd : float, ndarray or None
            The date, one for all or one for each source; None leaves the positions at their epochs.

        Returns
        -------
        ra, dec : ndarray
            Degrees.
        """
        if mjd is None:
            return self.ra, self.dec
        years = 2000.0 + (np.asarray(mjd, dtype=np.float64) - _MJD_2000) / _DAYS_A_YEAR - self.epoch
        alpha, delta = np.radians(self.ra), np.radians(self.dec)
        east = np.stack([-np.sin(alpha), np.cos(alpha), np.zeros_like(alpha)], axis=-1)
        centre = np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], -1)
        north = np.cross(centre, east)
        moved = centre + (years * _MAS)[:, None] * (self.pmra[:, None] * east + self.pmdec[:, None] * north)
        ra = np.degrees(np.arctan2(moved[:, 1], moved[:, 0])) % 360.0
        dec = np.degrees(np.arctan2(moved[:, 2], np.hypot(moved[:, 0], moved[:, 1])))
        return ra, dec

    def table(self) -> Any:
        """Give the catalog as an `astropy.table.Table`."""
        from astropy.table import Table

        return Table(
            {
                "ra": self.ra,
                "dec": self.dec,
                "pmra": self.pmra,
                "pmdec": self.pmdec,
                "ref_epoch": self.epoch,
                "mag": self.magnitude,
            },
            units={"ra": "deg", "dec": "deg", "pmra": "mas / yr", "pmdec": "mas / yr", "ref_epoch": "yr"},
            meta={"catalog": self.name, "origin": self.origin},
        )

    def within(self, ra: float, dec: float, radius: float) -> ReferenceCatalog:
        """Give the sources within a radius (degrees) of a position (degrees)."""
        from multivisit.sky.plane import unit_vectors

        chord = np.linalg.norm(unit_vectors(self.ra, self.dec) - unit_vectors(ra, dec), axis=-1)
        inside = chord <= 2.0 * math.sin(math.radians(min(radius, 180.0)) / 2.0)
        return self.chosen(np.flatnonzero(inside))

    def chosen(self, numbers: NDArray[np.intp]) -> ReferenceCatalog:
        """Give the sources of some numbers, in that order."""
        columns = ("ra", "dec", "pmra", "pmdec", "epoch", "magnitude")
        return replace(self, **{name: getattr(self, name)[numbers] for name in columns})


def read_reference_catalog(path: Path, name: str | None = None) -> ReferenceCatalog:
    """Read a reference catalog from a file.

    Parameters
    ----------
    path : Path
        A CSV, ECSV, FITS or VOTable file (by its suffix: ``.csv``, ``.ecsv``, ``.fits``, ``.xml``, ``.vot``),
        plain or gzipped. Columns: right ascension and declination in degrees (``ra``, ``dec``); optional are
        proper motions in mas a year (``pmra``, ``pmdec``), the epoch of the positions (``ref_epoch``;
        Julian years, JD or MJD; 2016.0 by default) and a magnitude (``phot_g_mean_mag``).
    name : str, optional
        What WCSNAME calls it; by default the letters and digits of the file's name.

    Returns
    -------
    ReferenceCatalog
        The catalog.

    Raises
    ------
    MissingFileError
        There is no such file, or it may not be read.
    ReferenceCatalogError
        It is of another kind, or lacks a column, or has no source.
    """
    if not path.is_file():
        raise MissingFileError(f"reference catalog {path}: not found")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    columns: Mapping[str, Any]
    try:
        if suffix == ".csv":
            columns = parse_csv(_text(path))
        elif suffix in (".ecsv", ".fits", ".fit", ".xml", ".vot", ".votable"):
            columns = _table_columns(path, suffix)
        else:
            raise ReferenceCatalogError("expected a file .csv, .ecsv, .fits, .xml or .vot")
    except OSError as error:
        raise MissingFileError(f"reference catalog {path}: cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ReferenceCatalogError(f"reference catalog {path}: {error}") from error
    stem = Path(path.name.removesuffix(".gz")).stem
    label = name or re.sub(r"[^A-Za-z0-9]", "", stem)[:_LONGEST_NAME] or "catalog"
    return catalog_from_columns(columns, label, str(path))


def catalog_from_columns(columns: Mapping[str, Any], name: str, origin: str) -> ReferenceCatalog:
    """Make a catalog of named columns.

    Parameters
    ----------
    columns : mapping of str to array
        The columns, by any of their usual names; others do not matter.
    name : str
        What WCSNAME calls the catalog.
    origin : str
        The file or service, for messages.

    Returns
    -------
    ReferenceCatalog
        The sources that have a position.

    Raises
    ------
    ReferenceCatalogError
        There is no column of right ascension or declination, or one is not of numbers.
    """
    known = {str(key).strip().lower(): key for key in columns}

    def column(kind: str) -> Floats | None:
        for candidate in _COLUMNS[kind]:
            if candidate in known:
                return _numbers(columns[known[candidate]], f"{origin}: column {known[candidate]}")
        return None

    ra, dec = column("ra"), column("dec")
    if ra is None or dec is None:
        missing = "ra" if ra is None else "dec"
        raise ReferenceCatalogError(
            f"reference catalog {origin}: no column {missing!r} among {', '.join(map(str, columns))}"
        )
    fine = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    given = {kind: column(kind) for kind in ("pmra", "pmdec", "epoch", "magnitude")}
    unknown = np.full(len(ra), np.nan)
    pmra, pmdec = (
        np.nan_to_num(unknown if (pm := given[kind]) is None else pm) for kind in ("pmra", "pmdec")
    )
    epoch = _years(unknown if given["epoch"] is None else given["epoch"])
    magnitude = unknown if given["magnitude"] is None else given["magnitude"]
    return ReferenceCatalog(
        name, ra[fine] % 360.0, dec[fine], pmra[fine], pmdec[fine], epoch[fine], magnitude[fine], origin
    )


def parse_csv(text: str) -> dict[str, list[str]]:
    """Read comma-separated columns; lines before the heading (a count, comments) are passed over.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    dict
        Columns by name, as text.

    Raises
    ------
    ReferenceCatalogError
        There is no heading with columns of right ascension and declination.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines):
        names = [name.strip().strip('"') for name in line.lstrip("#\ufeff ").split(",")]
        lower = {name.lower() for name in names}
        if lower & set(_COLUMNS["ra"]) and lower & set(_COLUMNS["dec"]):
            rows = [row for row in csv.reader(lines[number + 1 :]) if row and not row[0].startswith("#")]
            rows = [row + [""] * (len(names) - len(row)) for row in rows]
            return {name: [row[k].strip() for row in rows] for k, name in enumerate(names)}
    first = next((line for line in lines if line.strip()), "")[:120]
    raise ReferenceCatalogError(f"no heading with the columns ra and dec; the text begins {first!r}")


def parse_votable(content: bytes) -> dict[str, Any]:
    """Read the columns of the first table of a VOTable.

    Parameters
    ----------
    content : bytes
        The XML.

    Returns
    -------
    dict
        Columns by name.

    Raises
    ------
    ReferenceCatalogError
        It is no VOTable, or a service's message of an error.
    """
    import warnings

    from astropy.io.votable import parse

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parse(io.BytesIO(content))
            for resource in parsed.resources:
                for info in resource.infos:
                    if info.name == "QUERY_STATUS" and info.value == "ERROR":
                        raise ReferenceCatalogError(f"the service says: {(info.content or '').strip()[:300]}")
            table = parsed.get_first_table().to_table()
    except (ValueError, IndexError, TypeError, SyntaxError) as error:
        raise ReferenceCatalogError(f"no readable VOTable: {error}") from error
    return {name: table[name] for name in table.colnames}


def _text(path: Path) -> str:
    """Read a text file, unpacked if it is gzipped."""
    import gzip

    content = path.read_bytes()
    if path.name.endswith(".gz"):
        content = gzip.decompress(content)
    return content.decode("utf-8", errors="replace")


def _table_columns(path: Path, suffix: str) -> dict[str, Any]:
    """Read the columns of a table that astropy knows."""
    import warnings

    from astropy.table import Table

    if suffix in (".xml", ".vot", ".votable"):
        return parse_votable(_text(path).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table.read(path, format="ascii.ecsv" if suffix == ".ecsv" else "fits")
    return {name: table[name] for name in table.colnames}


def _numbers(values: Any, place: str) -> Floats:
    """Give a column as numbers; NaN where it has none."""
    if isinstance(values, list):
        try:
            return np.array(
                [float(text) if text and text.lower() not in ("null", "--", "none") else math.nan
                 for text in values], dtype=np.float64,
            )  # fmt: skip
        except ValueError as error:
            raise ReferenceCatalogError(f"reference catalog {place}: {error}") from error
    try:
        numbers: Floats = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise ReferenceCatalogError(f"reference catalog {place}: expected numbers: {error}") from error
    return numbers


def _years(epoch: Floats) -> Floats:
    """Turn epochs in Julian dates or modified Julian dates into years."""
    epoch = np.where(np.isfinite(epoch), epoch, DEFAULT_EPOCH)
    mjd = np.where(epoch > 2_400_000.0, epoch - 2_400_000.5, epoch)
    return np.where(mjd > 10_000.0, 2000.0 + (mjd - _MJD_2000) / _DAYS_A_YEAR, epoch)
