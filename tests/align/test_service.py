"""Reference catalogs from a server that answers as the services do, on this machine."""

from __future__ import annotations

import io
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.table import Table
from tests.catalog_server import serving

from multivisit.align.service import CATALOGS, fetch_catalog
from multivisit.errors import ReferenceCatalogError

CSV = (
    "Objects found : 2\r\n"
    "objID,ra,dec,pmra,pmdec,epoch,mag\r\n"
    "7,10.5,-3.25,4.0,-1.0,2016.0,17.5\r\n"
    "8,10.6,-3.2,,,2016.0,\r\n"
)


def votable() -> bytes:
    buffer = io.BytesIO()
    Table({"ra": [10.5, 10.6], "dec": [-3.25, -3.2], "pmra": [4.0, np.nan]}).write(buffer, format="votable")
    return buffer.getvalue()


ERROR = b"""<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">too many rows</INFO></RESOURCE></VOTABLE>"""


@pytest.fixture
def server():
    with serving(CSV.encode()) as server:
        yield server


@pytest.mark.parametrize("content", [CSV.encode(), votable()])
def test_answers_are_understood_whatever_their_form(server, content):
    server.answer = (200, content)
    catalog = fetch_catalog("gaiaedr3", 10.5, -3.2, 0.1, server.url)
    assert catalog.name == "GAIAeDR3"
    assert catalog.ra.tolist() == [10.5, 10.6]
    assert catalog.pmra.tolist() == [4.0, 0.0]
    assert catalog.epoch.tolist() == [2016.0, 2016.0]
    assert server.url in catalog.origin


def test_the_catalog_service_is_asked_as_published(server):
    fetch_catalog("GSC242", 10.5, -3.2, 0.125, f"{server.url}/webservices/")
    asked = urlsplit(server.asked[0])
    assert asked.path == "/webservices/vo/CatalogSearch.aspx"
    question = {name: values[0] for name, values in parse_qs(asked.query).items()}
    assert (question["CAT"], question["FORMAT"]) == ("GSC242", "CSV")
    assert [float(question[name]) for name in ("RA", "DEC", "SR")] == [10.5, -3.2, 0.125]


def test_a_table_service_is_asked_for_a_circle(server):
    fetch_catalog("GAIADR3", 10.5, -3.2, 0.125, f"{server.url}/tap-server/tap")
    asked = urlsplit(server.asked[0])
    assert asked.path == "/tap-server/tap/sync"
    question = parse_qs(asked.query)
    assert (question["REQUEST"], question["LANG"], question["FORMAT"]) == (["doQuery"], ["ADQL"], ["csv"])
    assert "gaiadr3.gaia_source" in question["QUERY"][0]
    assert "CIRCLE('ICRS', 10.5000000, -3.2000000, 0.1250000)" in question["QUERY"][0]


def test_a_service_without_sources_there_gives_an_empty_catalog(server):
    server.answer = (200, b"ra,dec,pmra,pmdec,ref_epoch,phot_g_mean_mag\n")
    assert len(fetch_catalog("GAIADR3", 10.5, -3.2, 0.1, server.url)) == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, b"out of order"), "answers 500"),
        ((404, b""), "answers 404"),
        ((200, b"<html>sign in</html>"), "no heading with the columns"),
        ((200, b"Error : Cannot find table 0."), "Cannot find table 0"),
        ((200, ERROR), "too many rows"),
        ((200, b"<?xml version='1.0'?><VOTABLE>"), "VOTable"),
        ((200, b"ra,dec\n1,x\n"), "column dec"),
    ],
)
def test_a_bad_answer_is_one_error_that_says_what_to_do(server, answer, words):
    server.answer = answer
    with pytest.raises(ReferenceCatalogError, match=words) as caught:
        fetch_catalog("2MASS", 10.5, -3.2, 0.1, server.url)
    assert "--reference-catalog" in str(caught.value)
    assert "skip_gaia_alignment=True" in str(caught.value)
    assert server.url in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "file:///etc", "nowhere"])
def test_a_service_that_cannot_be_reached_is_said(url):
    with pytest.raises(ReferenceCatalogError, match="cannot be fetched"):
        fetch_catalog("GAIAeDR3", 10.5, -3.2, 0.1, url)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ReferenceCatalogError, match="GAIAeDR3") as caught:
        fetch_catalog("TYCHO", 1.0, 2.0, 0.1)
    assert "2MASS" in str(caught.value)


def test_all_published_defaults_are_known():
    from multivisit.plan.parameters.alignment import RunAlignmentParameters

    assert {name.upper() for name in RunAlignmentParameters().mosaic_catalog_list} <= set(CATALOGS)
