from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from astropy.io import fits

from multivisit.combine.sky_file import background_taken_off, levels_of_sky_file
from multivisit.errors import ParameterError


def _member(name: str, units: str = "ELECTRONS", gain: float = 1.0, **cards: Any) -> Any:
    chip = SimpleNamespace(
        path=Path(name),
        extver=1,
        units=units,
        gain=gain,
        exposure_time=100.0,
        nominal_scale=0.05,
        header=fits.Header(cards),
    )
    return SimpleNamespace(filename=name, chips=(chip,))


def test_levels_are_those_of_the_file_in_its_units(tmp_path: Path) -> None:
    path = tmp_path / "sky.txt"
    path.write_text("# levels\n\nb_flt.fits.gz 2.5\n/some/where/a_flc.fits   30.0 # by hand\n")
    levels = levels_of_sky_file(path, [_member("a_flc.fits"), _member("b_flt.fits", "COUNTS/S", 2.0)])
    assert levels.brightness * 0.05**2 == pytest.approx([0.3, 5.0])
    assert levels.measured == (True, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a_flc.fits\n", "line 1: found 'a_flc.fits'"),
        ("a_flc.fits nan\n", "line 1"),
        ("\na_flc.fits 1 two\n", "line 2"),
        ("b_flc.fits 1\n", "no line for a_flc.fits"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sky.txt"
    path.write_text(text)
    with pytest.raises(ParameterError, match=message):
        levels_of_sky_file(path, [_member("a_flc.fits")])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"missing\.txt cannot be read"):
        levels_of_sky_file(tmp_path / "missing.txt", [])


def test_headers_tell_what_was_taken_off_before() -> None:
    member = _member("a_flc.fits", MYSKY=50.0)
    chip = member.chips[0]
    assert background_taken_off(member, chip, "MYSKY") == pytest.approx(0.5)
    assert background_taken_off(member, chip, "") == 0.0
    with pytest.raises(ParameterError, match="'OTHER'"):
        background_taken_off(member, chip, "OTHER")


def _two_chips(name: str) -> Any:
    first, second = _member(name).chips[0], _member(name).chips[0]
    second.extver = 2
    return SimpleNamespace(filename=name, chips=(first, second))


def test_chips_may_have_levels_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "sky.txt"
    path.write_text("a_flc.fits 30 20\nb_flc.fits 40\n")
    members = [_two_chips("a_flc.fits"), _two_chips("b_flc.fits")]
    levels = levels_of_sky_file(path, members)
    found = {key: level * 0.05**2 for key, level in levels.of_chips.items()}
    assert found == pytest.approx({(0, 1): 0.3, (0, 2): 0.2, (1, 1): 0.4, (1, 2): 0.4})
    for member, expected in zip(members, ([0.3, 0.2], [0.4, 0.4]), strict=True):
        before = [background_taken_off(member, chip, f" @{path}") for chip in member.chips]
        assert before == pytest.approx(expected)
    path.write_text("a_flc.fits 1 2 3\n")
    with pytest.raises(
        ParameterError, match=r"3 levels for a_flc\.fits, expected one, or one for each of its 2"
    ):
        levels_of_sky_file(path, members[:1])
    with pytest.raises(ParameterError, match=r"skyuser: .*nowhere\.txt cannot be read"):
        background_taken_off(members[0], members[0].chips[0], "@nowhere.txt")
