"""Parameters that are said to be switched off change no pixel, and do where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from multivisit.combine.mosaic import combine_layer
from multivisit.exposures.model import read_exposure
from multivisit.plan.parameters import CombinationParameters
from multivisit.plan.parameters.idle import IDLE, reason_idle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.sky.grid import OutputGrid

_OWN_SKY: dict[str, Any] = {"skymethod": "localmin", "skyclip": 0, "skystat": "mean"}
_STEPS: dict[str, Any] = {"driz_separate": True, "median": True, "blot": True, "driz_cr": True}
_REJECTION: dict[str, Any] = {
    **_OWN_SKY,
    **_STEPS,
    "combine_nhigh": 0,
    "driz_cr_scale": "0.5 0.3",
    "driz_cr_snr": "1.5 1",
}
_MEAN: dict[str, Any] = {**_REJECTION, "combine_type": "mean"}
_SINC: dict[str, Any] = {**_REJECTION, "blot_interp": "sinc"}

_CASES: list[tuple[dict[str, Any], dict[str, Any], str, Any]] = [
    ({"skysub": False}, {}, "skymethod", "localmin"),
    (_REJECTION, {**_REJECTION, "skysub": False}, "skyuser", "BACKGRND"),
    (_OWN_SKY, {**_OWN_SKY, "skystat": "mode"}, "skywidth", 3.0),
    ({"static": False}, {"static": True}, "static_sig", 1000.0),
    ({"static": False, **_OWN_SKY}, _OWN_SKY, "use_static", False),
    ({**_REJECTION, "driz_cr": False}, _REJECTION, "combine_type", "mean"),
    ({**_REJECTION, "driz_cr": False}, _REJECTION, "driz_cr_snr", "5 4"),
    ({**_REJECTION, "driz_cr": False}, _REJECTION, "driz_sep_kernel", "point"),
    ({**_REJECTION, "driz_cr": False}, _REJECTION, "blot_interp", "nearest"),
    (_REJECTION, {**_REJECTION, "driz_sep_wcs": True}, "driz_sep_scale", 0.09),
    ({**_REJECTION, "driz_sep_kernel": "point"}, _REJECTION, "driz_sep_pixfrac", 0.4),
    ({**_REJECTION, "median_newmasks": False}, _REJECTION, "combine_maskpt", 1.05),
    (_MEAN, _REJECTION, "combine_nsigma", "0.1 0.1"),
    (_REJECTION, _MEAN, "combine_nhigh", 1),
    (_REJECTION, _SINC, "blot_sinscl", 0.3),
    (_REJECTION, {**_REJECTION, "blot_addsky": False}, "blot_skyval", 50.0),
    ({"final_kernel": "point"}, {}, "final_pixfrac", 0.4),
]
"""Parameters under which another does nothing, those under which it works, the other, and its value."""


@pytest.fixture
def mosaic(
    write_exposure: Callable[..., Path], small_grid: Callable[..., OutputGrid]
) -> Callable[[dict[str, Any]], NDArray[np.float32]]:
    """Combine three noisy exposures with a star, a few rays and low pixels."""
    random = np.random.default_rng(5)
    exposures = []
    for number in range(3):
        image = random.normal(50.0 + 3 * number, 4.0, (60, 70)).astype(np.float32)
        image[20:23, 30:33] += 3000.0
        image[random.integers(60, size=12), random.integers(70, size=12)] += 900.0
        image[40, 40:44] -= 140.0
        path = write_exposure(f"jidl0{number}01q", [image], shift=(0.02 * number, 0.01 * number))
        fits.setval(path, "BACKGRND", value=3000.0, ext=1)
        exposures.append(read_exposure(path))

    def make(changes: dict[str, Any]) -> NDArray[np.float32]:
        return combine_layer(exposures, small_grid(), CombinationParameters().replace(**changes)).science

    return make


@pytest.mark.parametrize(("idle", "active", "name", "value"), _CASES)
def test_a_parameter_does_nothing_only_where_it_is_said(
    mosaic: Callable[[dict[str, Any]], NDArray[np.float32]],
    idle: dict[str, Any],
    active: dict[str, Any],
    name: str,
    value: Any,
) -> None:
    assert reason_idle(name, CombinationParameters().replace(**idle))
    assert not reason_idle(name, CombinationParameters().replace(**active))
    np.testing.assert_array_equal(mosaic({**idle, name: value}), mosaic(idle))
    assert not np.array_equal(mosaic({**active, name: value}), mosaic(active), equal_nan=True)


def test_all_names_are_parameters() -> None:
    assert {name for names, _, _ in IDLE for name in names} <= set(CombinationParameters.model_fields)
