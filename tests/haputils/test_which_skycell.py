from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from astropy.io import fits

from multivisit.errors import MissingFileError
from multivisit.haputils import which_skycell

if TYPE_CHECKING:
    from pathlib import Path

# The published layout: a blank line or two around each sky cell, its exposures below it with five blanks.
REPORT = """\


Skycell skycell-p1889x08y19 contains 2 image(s)
     {0}
     {1}


Skycell skycell-p1970x16y02 contains 2 image(s)
     {0}
     {1}


"""


@pytest.fixture
def exposures(tmp_path: Path) -> list[str]:
    paths = []
    for name in ("ib0001aaq_flt.fits", "ib0002aaq_flt.fits"):
        primary = fits.PrimaryHDU()
        primary.header.update({"INSTRUME": "WFC3", "DETECTOR": "IR", "FILTER": "F160W", "EXPTIME": 100.0})
        science = fits.ImageHDU(name="SCI", ver=1)
        science.header.update({"NPIX1": 1014, "NPIX2": 1014, "PIXVALUE": 0.0, "BUNIT": "ELECTRONS/S"})
        science.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 180.9, "CRVAL2": 27.9})
        science.header.update({"CRPIX1": 507.0, "CRPIX2": 507.0, "WCSNAME": "IDC_test"})
        science.header.update({"CD1_1": -3.6e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 3.6e-5})
        fits.HDUList([primary, science]).writeto(tmp_path / name)
        paths.append(str(tmp_path / name))
    return paths


def test_the_report_has_the_published_layout(
    exposures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    which_skycell.report_skycells(exposures)
    assert capsys.readouterr().out == REPORT.format(*exposures)


def test_the_command_reads_a_list(
    exposures: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "list.txt"
    names.write_text("\n".join(exposures) + "\n")
    for option in ("-i", "--input_list"):
        assert which_skycell.main([option, str(names)]) == 0
        assert capsys.readouterr().out == REPORT.format(*exposures)


def test_the_command_takes_the_working_folder(
    exposures: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(os.path.dirname(exposures[0]))  # noqa: PTH120
    assert which_skycell.main([]) == 0
    assert capsys.readouterr().out == REPORT.format("ib0001aaq_flt.fits", "ib0002aaq_flt.fits")
    monkeypatch.undo()


def test_what_is_missing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingFileError, match="not_there_flt"):
        which_skycell.report_skycells(["not_there_flt.fits"])
    assert which_skycell.main(["-i", str(tmp_path / "nothing.txt")]) == 1
    assert "ERROR: " in capsys.readouterr().err
    assert which_skycell.main([]) == 1
    assert "no FLC or FLT files in" in capsys.readouterr().err
