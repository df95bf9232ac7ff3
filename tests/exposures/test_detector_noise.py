from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from astropy.io import fits

from multivisit.exposures.detector_noise import cte_direction, dark_electrons, read_noise


def _exposure(instrument: str, detector: str, **cards: Any) -> Any:
    return SimpleNamespace(instrument=instrument, detector=detector, primary=fits.Header(cards))


def _chip(chip_id: int = 1, **cards: Any) -> Any:
    return SimpleNamespace(chip_id=chip_id, header=fits.Header(cards))


def test_read_noise_is_the_mean_of_the_amplifiers_in_use() -> None:
    values = {"READNSEA": 4.0, "READNSEB": 5.0, "READNSEC": 60.0, "READNSED": 70.0}
    assert read_noise(_exposure("acs", "wfc", CCDAMP="AB", **values), _chip()) == pytest.approx(4.5)
    assert read_noise(_exposure("acs", "wfc", CCDAMP="ABCD", **values), _chip()) == pytest.approx(34.75)
    assert read_noise(_exposure("acs", "hrc", CCDAMP="C", READNSEA=0.0, READNSEC=4.6), _chip()) == 4.6


def test_read_noise_may_come_from_other_keywords() -> None:
    assert read_noise(_exposure("acs", "wfc", READNSEA=4.0, MYNOISE=7.0), _chip(), ["MYNOISE"]) == 7.0


@pytest.mark.parametrize(
    ("instrument", "detector", "chip_id", "cards", "expected"),
    [
        ("acs", "sbc", 1, {}, 0.0),
        ("acs", "wfc", 1, {"READNSEA": 0.0}, 4.0),
        ("wfc3", "ir", 1, {}, 20.0),
        ("wfpc2", "pc", 2, {"ATODGAIN": 7.0}, 5.51),
        ("wfpc2", "pc", 4, {"ATODGAIN": 15.0}, 8.32),
    ],
)
def test_detectors_have_a_usual_read_noise(
    instrument: str, detector: str, chip_id: int, cards: dict[str, Any], expected: float
) -> None:
    assert read_noise(_exposure(instrument, detector, **cards), _chip(chip_id)) == expected


def test_dark_signal_is_that_of_the_header() -> None:
    assert dark_electrons(_chip(MEANDARK=1.5)) == 1.5
    assert dark_electrons(_chip()) == 0.0
    assert dark_electrons(_chip(MEANDARK=-3.0)) == 0.0


@pytest.mark.parametrize(
    ("instrument", "detector", "chip_id", "amplifier", "expected"),
    [
        ("acs", "wfc", 1, "ABCD", 1),
        ("acs", "wfc", 2, "ABCD", -1),
        ("wfc3", "uvis", 1, "ABCD", 1),
        ("wfc3", "uvis", 2, "ABCD", -1),
        ("acs", "hrc", 1, "B", 1),
        ("acs", "hrc", 1, "C", -1),
        ("wfpc2", "pc", 3, "", -1),
        ("acs", "sbc", 1, "", 0),
        ("wfc3", "ir", 1, "ABCD", 0),
    ],
)
def test_chips_are_read_towards_their_amplifiers(
    instrument: str, detector: str, chip_id: int, amplifier: str, expected: int
) -> None:
    assert cte_direction(_exposure(instrument, detector, CCDAMP=amplifier), _chip(chip_id)) == expected
