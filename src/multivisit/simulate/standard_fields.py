"""Ready-made fields: one to show, one to time, some to test with."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from multivisit.errors import ParameterError
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    SceneSpecification,
    Visit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["STANDARD_FIELDS", "standard_field"]

FIELD_CENTRE = (180.26, 26.24)
"""Right ascension and declination: the middle of sky cell p1889x10y12, 0.34 degrees off the tangent point."""

_LINE = ((0.0, 0.0), (2.49, 2.51))
_BOX = ((0.0, 0.0), (2.49, 2.51), (-2.53, 5.02), (-5.01, 2.48))


def _tiny() -> FieldSpecification:
    """Two visits of ACS/WFC and WFC3/IR, small subarrays: for tests."""
    return FieldSpecification(
        name="tiny",
        ra=FIELD_CENTRE[0],
        dec=FIELD_CENTRE[1],
        scene=SceneSpecification(radius=25.0, n_stars=60, n_galaxies=12, minimum_separation=1.0),
        visits=tuple(
            Visit(
                visit_id,
                date,
                roll,
                (
                    ExposureSpecification("acs_wfc", "f606w", 350.0, _LINE[:1], subarray=(160, 320)),
                    ExposureSpecification("wfc3_ir", "f160w", 400.0, _LINE, subarray=(128, 128)),
                ),
            )
            for visit_id, date, roll in (
                ("01", "2010-06-11T03:00:00", 40.0),
                ("02", "2013-02-20T17:30:00", 131.0),
            )
        ),
    )


def _small() -> FieldSpecification:
    """Nine whole exposures of four detectors in two visits: for comparisons that take minutes."""
    return FieldSpecification(
        name="small",
        ra=FIELD_CENTRE[0],
        dec=FIELD_CENTRE[1],
        visits=(
            Visit(
                "01",
                "2010-06-11T03:00:00",
                40.0,
                (
                    ExposureSpecification("acs_wfc", "f606w", 500.0),
                    ExposureSpecification("wfc3_ir", "f160w", 600.0, _LINE),
                    ExposureSpecification("acs_hrc", "f606w", 300.0, ((0.0, 0.0), (5.0, 4.0))),
                ),
            ),
            Visit(
                "02",
                "2013-02-20T17:30:00",
                131.0,
                (
                    ExposureSpecification("acs_wfc", "f606w", 500.0),
                    ExposureSpecification("wfc3_ir", "f160w", 600.0, _LINE),
                    ExposureSpecification("wfc3_uvis", "f555w", 450.0),
                ),
            ),
        ),
    )


def _demo() -> FieldSpecification:
    """ACS/WFC, WFC3/UVIS and WFC3/IR in three visits at three rolls; the CCDs in subarrays."""
    ccd, uvis = (900, 2000), (1100, 2400)
    return FieldSpecification(
        name="demo",
        ra=FIELD_CENTRE[0],
        dec=FIELD_CENTRE[1],
        scene=SceneSpecification(radius=90.0, n_stars=900, n_galaxies=160, star_magnitudes=(18.5, 26.0)),
        visits=(
            Visit(
                "01",
                "2010-06-11T03:00:00",
                40.0,
                (
                    ExposureSpecification("acs_wfc", "f606w", 600.0, _LINE, subarray=ccd),
                    ExposureSpecification("wfc3_ir", "f160w", 500.0, _LINE),
                ),
            ),
            Visit(
                "02",
                "2013-02-20T17:30:00",
                131.0,
                (
                    ExposureSpecification("acs_wfc", "f606w", 600.0, _LINE, subarray=ccd),
                    ExposureSpecification("wfc3_ir", "f160w", 500.0, _LINE),
                ),
                offset=(12.0, -9.0),
            ),
            Visit(
                "03",
                "2016-11-02T09:15:00",
                285.0,
                (ExposureSpecification("wfc3_uvis", "f814w", 700.0, _LINE, subarray=uvis),),
                offset=(-6.0, 8.0),
            ),
        ),
    )


def _eighteen() -> FieldSpecification:
    """Eighteen whole exposures: 8 ACS/WFC in 2 filters, 2 WFC3/UVIS, 8 WFC3/IR in 2 filters; 7 layers."""
    acs = tuple(ExposureSpecification("acs_wfc", name, 507.0, _LINE) for name in ("f606w", "f814w"))
    infrared = tuple(ExposureSpecification("wfc3_ir", name, 602.9, _LINE) for name in ("f125w", "f160w"))
    uvis = (ExposureSpecification("wfc3_uvis", "f336w", 1200.0, _LINE),)
    return FieldSpecification(
        name="eighteen",
        ra=FIELD_CENTRE[0],
        dec=FIELD_CENTRE[1],
        scene=SceneSpecification(radius=170.0, n_stars=4000, n_galaxies=500),
        visits=(
            Visit("01", "2010-06-11T03:00:00", 25.0, acs + infrared, offset=(-20.0, -15.0)),
            Visit("02", "2011-12-26T13:40:00", 205.0, acs + infrared + uvis, offset=(25.0, 30.0)),
        ),
    )


STANDARD_FIELDS: Mapping[str, Callable[[], FieldSpecification]] = MappingProxyType(
    {"demo": _demo, "tiny": _tiny, "small": _small, "eighteen": _eighteen}
)
"""The ready-made fields by name."""


def standard_field(name: str) -> FieldSpecification:
    """A ready-made field.

    Parameters
    ----------
    name : str
        ``demo`` (to be mosaicked in well under a minute), ``tiny`` (seconds; for tests), ``small`` (nine
        whole exposures of four detectors) or ``eighteen`` (eighteen whole exposures, for timing).

    Raises
    ------
    ParameterError
        If there is no such field.
    """
    try:
        return STANDARD_FIELDS[name]()
    except KeyError:
        raise ParameterError(f"unknown field {name!r}; choose one of: {', '.join(STANDARD_FIELDS)}") from None
