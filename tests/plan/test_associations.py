"""Associations in lists of exposures."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

from multivisit.errors import ExposureError, MissingFileError
from multivisit.haputils.cell_utils import get_sky_cells
from multivisit.haputils.poller_utils import interpret_mvm_input
from multivisit.plan.associations import expand_associations


def write_association(folder: Path, members: list[tuple[str, str]], name: str = "isim01010_asn.fits") -> Path:
    table = Table(rows=[(*member, True) for member in members], names=("MEMNAME", "MEMTYPE", "MEMPRSNT"))
    path = folder / name
    table.write(path, format="fits")
    return path


@pytest.fixture
def folder(tiny_exposures, tmp_path) -> Path:
    for path in tiny_exposures:
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_an_association_stands_for_its_exposures(folder):
    path = write_association(
        folder, [("ISIM0102Q", "EXP-DTH"), ("ISIM0103Q", "EXP-DTH"), ("ISIM01010", "PROD-DTH")]
    )
    infrared = [str(folder / f"isim010{number}q_flt.fits") for number in (2, 3)]
    other = str(folder / "jsim0101q_flc.fits")
    assert expand_associations([path, other]) == [*infrared, other]
    assert expand_associations([other, path.name], ["elsewhere", folder]) == [other, *infrared]
    # An exposure that is named by itself as well is there once.
    assert expand_associations([path, infrared[0]]) == [infrared[1], infrared[0]]
    assert expand_associations([infrared[0], other]) == [infrared[0], other]

    cells = get_sky_cells([str(path), other])
    assert [sorted(cell.members) for cell in cells.values()] == [sorted([*infrared, other])]
    layers, _ = interpret_mvm_input([str(path), other], 50)
    assert sorted({name for layer in layers.values() for name in layer["files"]}) == sorted(
        [*infrared, other]
    )


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ([("ISIM0102Q", "EXP-DTH"), ("ISIM0999Q", "EXP-DTH")], "isim0999q"),
        ([("ISIM01010", "PROD")], "no exposure"),
    ],
)
def test_missing_members_are_named(folder, members, word):
    path = write_association(folder, members)
    with pytest.raises(MissingFileError, match=word):
        expand_associations([path])


def test_a_broken_or_missing_association_is_named(folder):
    with pytest.raises(MissingFileError, match="isim07010_asn"):
        expand_associations([folder / "isim07010_asn.fits"])
    broken = folder / "isim08010_asn.fits"
    broken.write_text("nothing of the kind")
    with pytest.raises(ExposureError, match=r"isim08010_asn.*MEMNAME"):
        expand_associations([broken])
    fits.PrimaryHDU().writeto(broken, overwrite=True)
    with pytest.raises(ExposureError, match=r"isim08010_asn.*MEMNAME"):
        get_sky_cells([str(broken)])
