"""Small exposures on the disk, and the layers and mosaics made of them."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from multivisit.combine.coverage import MosaicStatistics
from multivisit.combine.records import ChipRecord, LayerMosaic
from multivisit.exposures.model import Exposure, read_exposure
from multivisit.plan.layers import Layer
from multivisit.plan.parameters import CombinationParameters
from multivisit.plan.poller import PollerRow
from multivisit.plan.vetting import Candidate
from multivisit.sky.grid import OutputGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CENTRE = (180.02, 25.99)


@dataclass(frozen=True)
class ProductCase:
    """All that `write_layer` takes."""

    layer: Layer
    mosaic: LayerMosaic
    grid: OutputGrid
    parameters: CombinationParameters

    def changed(self, **changes: Any) -> ProductCase:
        return dataclasses.replace(self, **changes)

    def with_mosaic(self, **changes: Any) -> ProductCase:
        return self.changed(mosaic=dataclasses.replace(self.mosaic, **changes))

    def with_chip(self, number: int, **changes: Any) -> ProductCase:
        chips = list(self.mosaic.chips)
        chips[number] = dataclasses.replace(chips[number], **changes)
        return self.with_mosaic(chips=tuple(chips))

    def arguments(self) -> tuple[Layer, LayerMosaic, OutputGrid, CombinationParameters]:
        return self.layer, self.mosaic, self.grid, self.parameters


@pytest.fixture
def make_exposure(tmp_path: Path) -> Callable[..., Exposure]:
    """Write a small two-chip ACS/WFC exposure and read it; keywords can be given, None removes one."""

    def make(
        rootname: str = "jsim0101q",
        primary: dict[str, Any] | None = None,
        chips: Sequence[dict[str, Any]] = ({}, {}),
        mjd: float = 55611.02794798,
        exposure_time: float = 500.0,
    ) -> Exposure:
        begin = datetime.datetime(1858, 11, 17) + datetime.timedelta(days=mjd)
        header = fits.Header(
            [
                ("TELESCOP", "HST"),
                ("INSTRUME", "ACS"),
                ("DETECTOR", "WFC"),
                ("ROOTNAME", rootname),
                ("FILENAME", f"{rootname}_raw.fits"),
                ("DATE", "2023-12-15T01:02:03"),
                ("TARGNAME", "FIELD-1"),
                ("PROPOSID", 12286),
                ("PR_INV_L", "Yan"),
                ("LINENUM", "01.001"),
                ("FILTER1", "CLEAR1L"),
                ("FILTER2", "F775W"),
                ("APERTURE", "WFC"),
                ("MTFLAG", ""),
                ("OBSTYPE", "IMAGING"),
                ("CCDGAIN", 2.0),
                ("SUBARRAY", False),
                ("NRPTEXP", 1),
                ("DATE-OBS", begin.date().isoformat()),
                ("TIME-OBS", begin.time().isoformat(timespec="seconds")),
                ("EXPSTART", mjd),
                ("EXPEND", mjd + exposure_time / 86400),
                ("EXPTIME", exposure_time),
            ]
        )
        _update(header, primary or {})
        hdus = [fits.PrimaryHDU(header=header)]
        for extver, changes in enumerate(chips, start=1):
            hdus.append(_chip(extver, changes))
        path = tmp_path / f"{rootname}_flc.fits"
        fits.HDUList(hdus).writeto(path, overwrite=True)
        return read_exposure(path)

    return make


def _update(header: fits.Header, changes: dict[str, Any]) -> None:
    for keyword, value in changes.items():
        if value is None:
            header.remove(keyword)
        else:
            header[keyword] = value


def _chip(extver: int, changes: dict[str, Any]) -> fits.ImageHDU:
    cd = 0.05 / 3600
    header = fits.Header(
        [
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CRVAL1", CENTRE[0]),
            ("CRVAL2", CENTRE[1]),
            ("CRPIX1", 40.0),
            ("CRPIX2", 32.0 + 70 * (extver - 1.5)),
            ("CD1_1", -cd),
            ("CD1_2", 0.0),
            ("CD2_1", 0.0),
            ("CD2_2", cd),
            ("WCSNAME", "IDC_4bb1536oj-FIT_SVM_GAIAeDR3"),
            ("BUNIT", "ELECTRONS"),
            ("CCDCHIP", 3 - extver),
            ("PHOTMODE", "ACS WFC1 F775W MJD#55611.0279"),
            ("PHOTFLAM", 1.0e-19),
            ("PHOTZPT", -21.1),
            ("PHOTPLAM", 7692.0),
            ("PHOTBW", 434.0),
        ]
    )
    _update(header, changes)
    return fits.ImageHDU(np.ones((60, 80), np.float32), header=header, name="SCI", ver=extver)


@pytest.fixture
def make_case(make_exposure: Callable[..., Exposure]) -> Callable[..., ProductCase]:
    """A layer of some exposures with a mosaic of noise; by default of one exposure."""

    def make(
        exposures: Sequence[Exposure] | None = None,
        *,
        shape: tuple[int, int] = (130, 110),
        context: NDArray[np.int32] | None = None,
        scale_name: str = "fine",
    ) -> ProductCase:
        members = [make_exposure()] if exposures is None else exposures
        return ProductCase(
            layer=layer_of(members, scale_name),
            mosaic=mosaic_of(members, shape, context),
            grid=grid_of(shape),
            parameters=PARAMETERS,
        )

    return make


def layer_of(exposures: Sequence[Exposure], scale_name: str = "fine") -> Layer:
    first = exposures[0]
    return Layer(
        sky_cell_id="skycell-p1889x07y19",
        instrument=first.instrument,
        detector=first.detector,
        filter_name=first.filter_name,
        exposure_class="all",
        year="all",
        scale_name=scale_name,
        file_type=first.product_suffix,
        members=tuple(
            Candidate(PollerRow(exposure.filename, sky_cell_id="skycell-p1889x07y19"), exposure)
            for exposure in exposures
        ),
    )


def mosaic_of(exposures: Sequence[Exposure], shape: tuple[int, int], context: Any = None) -> LayerMosaic:
    random = np.random.default_rng(7)
    science = random.normal(0.05, 0.01, shape).astype(np.float32)
    weight = np.full(shape, 500.0, dtype=np.float32)
    science[:9], weight[:9] = np.nan, 0.0
    pairs = [(exposure, chip) for exposure in exposures for chip in exposure.chips]
    records = tuple(
        ChipRecord(
            filename=exposure.filename,
            rootname=chip.rootname,
            extver=chip.extver,
            chip_id=chip.chip_id,
            exposure_time=chip.exposure_time,
            in_grid=True,
            sky_level=0.01 * number,
            sky_measured=True,
            sky_group=0,
            n_static=0,
            n_good_pixels=4700,
            n_used=4600,
        )
        for number, (exposure, chip) in enumerate(pairs)
    )
    statistics = MosaicStatistics(
        observed_fraction=0.25,
        mean_exposure_time=500.0,
        median_exposure_time=500.0,
        mean_exposures=1.25,
        median_exposures=1.0,
        mean_weight=480.5,
        median_weight=500.0,
    )
    return LayerMosaic(science, weight, context, records, statistics)


def grid_of(shape: tuple[int, int]) -> OutputGrid:
    return OutputGrid(
        sky_cell_id="skycell-p1889x07y19",
        scale=0.04,
        crval=(180.0, 26.0),
        crpix=(1673.0, 965.0),
        shape=shape,
        offset=(100, 300),
        cell_shape=(21954, 21954),
        projection_cell_crpix=(225144.0, 225144.0),
    )


PARAMETERS = CombinationParameters(final_bits=80, sky_bits=80)
