"""Reference catalogs from the network: which there are, where they are, and how they are asked for."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from multivisit.align.reference import catalog_from_columns, parse_csv, parse_votable
from multivisit.errors import ReferenceCatalogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multivisit.align.reference import ReferenceCatalog

__all__ = ["CATALOGS", "fetch_catalog"]

log = logging.getLogger(__name__)

GAIA_SERVICE: Final = "https://gea.esac.esa.int/tap-server/tap"
"""The Gaia archive's table service (IVOA TAP)."""

CATALOG_SERVICE: Final = "https://gsss.stsci.edu/webservices"
"""The service of the Space Telescope Science Institute that has all the published catalogs."""

_TIMEOUT: Final = 60.0
_MOST_ROWS: Final = 200_000
_WHAT_TO_DO: Final = (
    "Give a catalog in a file (reference_catalog, --reference-catalog), or make the mosaics with the "
    "exposures' own WCS solutions (skip_gaia_alignment=True, or without --align-to-gaia)."
)


@dataclass(frozen=True)
class _Catalog:
    """A reference catalog of the network."""

    name: str
    """Its name as WCSNAME has it."""

    service_name: str
    """Its name at the catalog service."""

    table: str = ""
    """Its table in the Gaia archive, where it is one of Gaia's."""


CATALOGS: Final[Mapping[str, _Catalog]] = {
    catalog.name.upper(): catalog
    for catalog in (
        _Catalog("GAIAeDR3", "GAIAedr3", "gaiaedr3.gaia_source"),
        _Catalog("GAIADR3", "GAIADR3", "gaiadr3.gaia_source"),
        _Catalog("GAIADR2", "GAIADR2", "gaiadr2.gaia_source"),
        _Catalog("GAIADR1", "GAIADR1", "gaiadr1.gaia_source"),
        _Catalog("GSC242", "GSC242"),
        _Catalog("GSC241", "GSC241"),
        _Catalog("2MASS", "2MASS"),
        _Catalog("PS1DR2", "PS1DR2"),
    )
}
"""The published reference catalogs, by name in upper case."""


def fetch_catalog(
    name: str, ra: float, dec: float, radius: float, service: str | None = None
) -> ReferenceCatalog:
    """Fetch the sources of a reference catalog around a position from the network.

    Parameters
    ----------
    name : str
        A published name (``GAIAeDR3``, ``GSC242``, ``2MASS``...), in any case.
    ra, dec : float
        The position in degrees.
    radius : float
        Degrees.
    service : str, optional
        The catalog service to ask in the place of the usual ones: the part of its URL before
        ``/vo/CatalogSearch.aspx``, or the whole URL of a TAP service of Gaia (it ends in ``/tap``).

    Returns
    -------
    ReferenceCatalog
        The sources; none where the service has none there.

    Raises
    ------
    ReferenceCatalogError
        There is no catalog of that name, or no service gives it; the message says what to do instead.
    """
    catalog = CATALOGS.get(name.upper())
    if catalog is None:
        raise ReferenceCatalogError(
            f"reference catalog {name!r}: expected one of {', '.join(c.name for c in CATALOGS.values())}. "
            f"{_WHAT_TO_DO}"
        )
    problems = []
    for url in _urls(catalog, ra, dec, radius, service):
        try:
            return _read(url, catalog)
        except ReferenceCatalogError as error:
            log.warning("%s", error)
            problems.append(str(error))
    raise ReferenceCatalogError(
        f"reference catalog {catalog.name} cannot be fetched: {'; '.join(problems)}. {_WHAT_TO_DO}"
    )


def _urls(catalog: _Catalog, ra: float, dec: float, radius: float, service: str | None) -> list[str]:
    """Give the questions to ask, in turn."""
    bases = [service.rstrip("/")] if service else [CATALOG_SERVICE]
    if service is None and catalog.table:
        bases.insert(0, GAIA_SERVICE)
    urls = []
    for base in bases:
        if base.endswith("/tap"):
            query = (
                f"SELECT TOP {_MOST_ROWS} source_id, ra, dec, pmra, pmdec, ref_epoch, phot_g_mean_mag "
                f"FROM {catalog.table or catalog.service_name} WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), "
                f"CIRCLE('ICRS', {ra:.7f}, {dec:.7f}, {radius:.7f})) ORDER BY phot_g_mean_mag"
            )
            arguments = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "csv", "QUERY": query}
            urls.append(f"{base}/sync?{urllib.parse.urlencode(arguments)}")
        else:
            arguments = {
                "RA": f"{ra:.7f}",
                "DEC": f"{dec:.7f}",
                "SR": f"{radius:.7f}",
                "FORMAT": "CSV",
                "CAT": catalog.service_name,
                "MINDET": "5",
            }
            urls.append(f"{base}/vo/CatalogSearch.aspx?{urllib.parse.urlencode(arguments)}")
    return urls


def _read(url: str, catalog: _Catalog) -> ReferenceCatalog:
    """Ask one service and understand its answer, CSV or VOTable."""
    place = urllib.parse.urlsplit(url)
    origin = f"{place.scheme}://{place.netloc}{place.path}"
    if place.scheme not in ("http", "https"):
        raise ReferenceCatalogError(f"{origin}: expected the URL of a service, http:// or https://")
    request = urllib.request.Request(url, headers={"User-Agent": "multivisit", "Accept": "text/csv, */*"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise ReferenceCatalogError(f"{origin} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ReferenceCatalogError(f"{origin} cannot be reached ({error.reason})") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ReferenceCatalogError(f"{origin} cannot be read ({error})") from error
    try:
        start = content.lstrip()[:200].lower()
        if start.startswith(b"<?xml") or b"<votable" in start:
            columns = parse_votable(content)
        else:
            columns = parse_csv(content.decode("utf-8", errors="replace"))
        return catalog_from_columns(columns, catalog.name, origin)
    except ReferenceCatalogError as error:
        raise ReferenceCatalogError(f"{origin}: {error}") from error
