"""HDRTAB: a row a chip, a column a keyword, types that hold all the rows."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from multivisit.products.direct_file import DirectFile
from multivisit.products.fits_stream import LARGEST_PIECE, FitsStream
from multivisit.products.header_columns import header_columns
from multivisit.products.header_table import MISSING_INTEGER, header_table
from multivisit.products.members import combined_chips

if TYPE_CHECKING:
    from collections.abc import Callable


def read(case: Any) -> fits.BinTableHDU:
    """The table as a reader gets it from a file."""
    unit = header_table(case.layer, combined_chips(case.layer, case.mosaic.chips))
    empty = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        with DirectFile(Path(file.name), LARGEST_PIECE) as direct:
            FitsStream(direct, [empty]).finish([empty], [unit])
        hdus = fits.open(io.BytesIO(Path(file.name).read_bytes()), checksum=True)
    hdus.verify("exception")
    return hdus["HDRTAB"]


def masked(case: Any) -> Table:
    return Table.read(read(case))


def test_a_row_for_each_chip_led_and_ended_as_published(
    make_case: Callable[..., Any], make_exposure: Any
) -> None:
    table = read(make_case([make_exposure("jsim0101q"), make_exposure("jsim0202q")]))
    names = table.columns.names
    assert names[:5] == ["SVMROOTNAME", "GENDATE", "ROOTNAME", "EXTNAME", "EXTVER"]
    assert names[-1] == "HAPEXPNAME"
    assert list(table.data["ROOTNAME"]) == ["jsim0101q"] * 2 + ["jsim0202q"] * 2
    assert list(table.data["EXTVER"]) == [1, 2, 1, 2]
    assert list(table.data["EXTNAME"]) == ["SCI"] * 4
    assert list(table.data["GENDATE"]) == ["2023-12-15"] * 4
    assert list(table.data["SVMROOTNAME"])[::2] == ["jsim0101q", "jsim0202q"]
    assert table.data["HAPEXPNAME"][3] == "hst_skycell-p1889x07y19_acs_wfc_f775w_all-jsim0202"
    assert table.data["FILENAME"][0] == "jsim0101q_flc.fits"


def test_the_published_columns_are_there(make_case: Any) -> None:
    names = read(make_case()).columns.names
    assert len(names) == len(set(names)) == 318
    assert set(header_columns("acs")) < set(names)
    assert [len(header_columns(instrument)) for instrument in ("acs", "wfc3", "wfpc2")] == [313, 276, 276]
    assert {"DATE-OBS", "PHOTMODE", "IDCTAB", "CD1_1", "WCSNAME", "MDRIZSKY"} < set(names)


def test_types_are_those_of_the_keywords(make_case: Any) -> None:
    formats = {column.name: column.format for column in read(make_case()).columns}
    assert formats["EXPTIME"] == "D"
    assert formats["PROPOSID"] == "K"
    assert formats["SUBARRAY"] == "L"
    assert formats["TARGNAME"] == "7A"
    assert formats["LRC_FAIL"] == "D"  # in no member


def test_types_hold_the_values_of_all_rows(make_case: Any, make_exposure: Any) -> None:
    one = make_exposure("jsim0101q", {"CCDGAIN": 2, "SUBARRAY": False, "PROPOSID": 12286, "NRPTEXP": 1})
    two = make_exposure("jsim0102q", {"CCDGAIN": 1.5, "SUBARRAY": True, "PROPOSID": "9019", "NRPTEXP": None})
    table = read(make_case([one, two]))
    assert list(table.data["CCDGAIN"]) == [2.0, 2.0, 1.5, 1.5]
    assert list(table.data["SUBARRAY"]) == [False, False, True, True]
    assert list(table.data["PROPOSID"]) == ["12286", "12286", "9019", "9019"]
    assert list(table.data["NRPTEXP"]) == [1, 1, MISSING_INTEGER, MISSING_INTEGER]
    nrptexp = masked(make_case([one, two]))["NRPTEXP"]
    assert list(nrptexp.mask) == [False, False, True, True]


def test_missing_values_are_blank_or_nan(make_case: Any, make_exposure: Any) -> None:
    one = make_exposure("jsim0101q")
    two = make_exposure("jsim0102q", {"TARGNAME": None, "EXPSTART": None, "SUBARRAY": None, "DATE": None})
    table = read(make_case([one, two]))
    assert list(table.data["TARGNAME"])[1:3] == ["FIELD-1", ""]
    assert np.isnan(table.data["EXPSTART"][2])
    assert list(table.data["GENDATE"])[1:3] == ["2023-12-15", ""]
    assert np.isnan(table.data["LRC_FAIL"]).all()


def test_blank_values_make_a_column_of_text_unless_others_are_numbers(
    make_case: Any, make_exposure: Any
) -> None:
    one = make_exposure("jsim0101q", {"NRPTEXP": ""})
    two = make_exposure("jsim0102q", {"NRPTEXP": 3})
    table = read(make_case([one, two]))
    assert {column.name: column.format for column in table.columns}["MTFLAG"] == "1A"
    assert list(table.data["MTFLAG"]) == [""] * 4
    assert list(table.data["NRPTEXP"]) == [MISSING_INTEGER, MISSING_INTEGER, 3, 3]


def test_missing_logicals_are_null(make_case: Any, make_exposure: Any) -> None:
    case = make_case([make_exposure("jsim0101q"), make_exposure("jsim0102q", {"SUBARRAY": None})])
    unit = header_table(case.layer, combined_chips(case.layer, case.mosaic.chips))
    assert unit.data is not None
    table = read(case)
    stored = np.frombuffer(unit.data.tobytes()[: table.data.nbytes], table.columns.dtype)
    assert stored["SUBARRAY"].tobytes() == b"FF\0\0"


def test_photometry_is_the_chips_and_the_rest_the_primary_headers(make_case: Any, make_exposure: Any) -> None:
    chips = [{"PHOTFLAM": 1e-19, "NPOLFILE": "N/A"}, {"PHOTFLAM": 2e-19, "NPOLFILE": "N/A"}]
    exposure = make_exposure("jsim0101q", {"PHOTFLAM": 3e-19, "NPOLFILE": "jref$abc_npl.fits"}, chips)
    table = read(make_case([exposure]))
    assert list(table.data["PHOTFLAM"]) == [1e-19, 2e-19]
    assert list(table.data["NPOLFILE"]) == ["jref$abc_npl.fits"] * 2


@pytest.mark.parametrize(("units", "expected"), [("ELECTRONS", 5.0), ("ELECTRONS/S", 0.01)])
def test_sky_levels_are_in_the_units_of_the_chip(
    make_case: Any, make_exposure: Any, units: str, expected: float
) -> None:
    exposure = make_exposure("jsim0101q", None, [{"BUNIT": units}] * 2, exposure_time=500.0)
    table = read(make_case([exposure]))
    np.testing.assert_allclose(table.data["MDRIZSKY"], [0.0, expected])
    np.testing.assert_allclose(table.data["SKYLEVEL"], [0.0, 0.01])
    assert list(table.data["NPIXUSED"]) == [4600, 4600]


def test_real_headers_of_the_archive_make_a_table(make_case: Any, real_data: Any) -> None:
    from multivisit.exposures.model import read_exposure

    exposures = [
        read_exposure(real_data / "hrc_47tuc" / f"{name}_flt.fits") for name in ("j8bt06nyq", "j8bt06o6q")
    ]
    table = read(make_case(exposures))
    assert list(table.data["ROOTNAME"]) == ["j8bt06nyq", "j8bt06o6q"]
    np.testing.assert_allclose(table.data["EXPTIME"], 60.0)
    assert table.data["BIASFILE"][0] == "jref$m4r1753rj_bia.fits"
    assert list(table.data["FILENAME"]) == ["j8bt06nyq_flt.fits", "j8bt06o6q_flt.fits"]
