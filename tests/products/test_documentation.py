"""Every keyword that a product can have is explained in the documentation."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from multivisit.products.keywords import CHIP_KEYWORDS, MEMBER_KEYWORDS
from multivisit.products.writer import write_layer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "products.rst"
STRUCTURE = {
    *("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND"),
    *("XTENSION", "PCOUNT", "GCOUNT", "TFIELDS", "CHECKSUM", "DATASUM"),
}


@pytest.fixture(scope="module")
def explained() -> set[str]:
    if not PAGE.is_file():
        pytest.skip("the documentation is not here")
    text = PAGE.read_text()
    keywords = set(re.findall(r"``([A-Z0-9_nD-]+)``", text))
    for first, last in re.findall(r"``([A-Z]+)`` \.\.\. ``([A-Z]+)``", text):
        keywords |= {first[:-1] + chr(letter) for letter in range(ord(first[-1]), ord(last[-1]) + 1)}
    return keywords


def test_keywords_in_a_product_are_explained(
    tmp_path: Path, make_case: Any, make_exposure: Any, explained: set[str]
) -> None:
    exposure = make_exposure("jsim0101q", {"PHOTFNU": 1e-8, "TARGNAME": "LONG" * 30})
    path = write_layer(tmp_path, *make_case([exposure]).arguments())
    with fits.open(path) as hdus:
        present = {keyword for hdu in hdus for keyword in hdu.header}
    present = {re.sub(r"^D\d\d\d(?=[A-Z]{4}$)", "Dnnn", keyword) for keyword in present}
    columns = {keyword for keyword in present if re.fullmatch(r"T(TYPE|FORM|NULL)\d+", keyword)}
    assert present - STRUCTURE - columns - explained - {"", "CONTINUE"} == set()


def test_keywords_taken_from_members_are_explained(explained: set[str]) -> None:
    taken = {rule.keyword for rules in (*MEMBER_KEYWORDS.values(), CHIP_KEYWORDS) for rule in rules}
    assert taken - explained == set()


def published(extension: str) -> set[str]:
    """The published keywords of an extension; Dnnn for all numbers."""
    lines = (Path(__file__).parent / "data" / "published_keywords.txt").read_text().splitlines()
    return {name for line in lines if line.startswith(f"{extension}: ") for name in line.split()[1:]}


@pytest.mark.parametrize(("extension", "number"), [("PRIMARY", 193), ("SCI", 71), ("WHT", 31)])
def test_published_keywords_are_here_or_said_not_to_be(
    tmp_path: Path, make_case: Any, make_exposure: Any, extension: str, number: int
) -> None:
    assert len(published(extension)) == number
    if not PAGE.is_file():
        pytest.skip("the documentation is not here")
    # An exposure that carries all of them.
    in_primary = published("PRIMARY") - STRUCTURE - {"DETECTOR", "FILENAME", "ROOTNAME", "EXPTIME"}
    in_primary = {
        name for name in in_primary if not name.startswith(("FILTER", "Dnnn", "EXP", "DATE", "TIME"))
    }
    in_chip = published("SCI") - STRUCTURE - {"CCDCHIP", "BUNIT", "ORIENTAT", "VAFACTOR", "RADESYS", "MJDREF"}
    in_chip = {
        name for name in in_chip if not name.startswith(("C", "EXT", "LT", "WCS", "PHOTMODE", "INHERIT"))
    }
    chip = dict.fromkeys(in_chip, 1.5)
    exposure = make_exposure("jsim0101q", dict.fromkeys(in_primary - {"INSTRUME"}, 1.5), (chip, chip))
    path = write_layer(tmp_path, *make_case([exposure]).arguments())
    present = {re.sub(r"^D\d\d\d(?=[A-Z]{4}$)", "Dnnn", name) for name in fits.getheader(path, extension)}
    section = PAGE.read_text().partition("Published keywords that are not here")[2]
    named = re.findall(r"``([A-Z0-9_n*-]+)``", section)
    missing = {name for name in published(extension) if name not in present}
    assert {name for name in missing if not any(fnmatchcase(name, pattern) for pattern in named)} == set()
