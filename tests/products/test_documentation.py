"""Every keyword that a product can have is explained in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from multivisit.products.keywords import MEMBER_KEYWORDS
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
    taken = {rule.keyword for rules in MEMBER_KEYWORDS.values() for rule in rules}
    assert taken - explained == set()
