"""The catalog generation parameters as a validated value, under their published names."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from multivisit.plan.parameters.values import (
    MULTI_VISIT_ONLY,
    SINGLE_VISIT_ONLY,
    Fraction,
    ParameterModel,
    Percentage,
    PositiveFloat,
    as_tuple,
)

__all__ = ["CatalogParameters", "PointSourceParameters", "SegmentationParameters"]

PixelCount = Annotated[int, Field(ge=1)]


class PointSourceParameters(ParameterModel):
    """How point sources are found."""

    title: ClassVar[str] = "point source parameters"

    bkgsig_sf: PositiveFloat = 4.0
    """Factor of the background's standard deviation in an older detection threshold."""

    kernel_sd_aspect_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Ratio of the minor to the major axis of the detection kernel."""

    TWEAK_FWHMPSF: Annotated[PositiveFloat | None, MULTI_VISIT_ONLY] = 0.076
    """Width of a star, arcsec."""

    TWEAK_THRESHOLD: Annotated[PositiveFloat | None, MULTI_VISIT_ONLY] = 3.0
    """Detection threshold in standard deviations of the background; None for ``nsigma``."""


class SegmentationParameters(ParameterModel):
    """How extended sources are found and separated."""

    title: ClassVar[str] = "segmentation parameters"

    fwhm: Annotated[PositiveFloat | None, MULTI_VISIT_ONLY] = 0.076
    """Width of the smoothing kernel, arcsec."""

    source_box: PixelCount = 5
    """Fewest connected pixels of a source."""

    segm_nsigma: PositiveFloat = 3.0
    """Detection threshold in standard deviations of the background."""

    nlevels: PixelCount = 64
    """Number of brightness levels by which sources are separated."""

    contrast: Fraction = 0.001
    """Fraction of the flux that a peak must have to be a source of its own."""

    border: Annotated[int, Field(ge=0)] = 10
    """Width, in pixels, of the border of the image where sources are left out."""

    rw2d_size: PixelCount = 15
    """Pixels a side of the Ricker wavelet kernel, which is for crowded and nebulous fields."""

    rw2d_nsigma: PositiveFloat = 10.0
    """Detection threshold with that kernel, in standard deviations of the background."""

    rw2d_biggest_pixels: Annotated[PixelCount | None, SINGLE_VISIT_ONLY] = None
    """Pixels of the biggest source above which a field is crowded or nebulous."""

    rw2d_biggest_source: Fraction = 0.015
    """Fraction of the image that the biggest source covers in a crowded or nebulous field."""

    rw2d_source_fraction: Fraction = 0.075
    """Fraction of the image that all sources cover in a crowded or nebulous field."""

    biggest_source_deblend_limit: Fraction = 0.15
    """Fraction of the image that the biggest source may cover, with that kernel, to be separated."""

    source_fraction_deblend_limit: Fraction = 0.20
    """Fraction of the image that all sources may cover, with that kernel, to be separated."""

    ratio_bigsource_limit: PositiveFloat = 2
    """How many times smaller that kernel must make the biggest source for its result to be taken."""

    ratio_bigsource_deblend_limit: PositiveFloat = 10
    """How many times smaller it must make the biggest source for the sources to be separated."""

    kron_scaling_radius: PositiveFloat = 2.5
    """Kron apertures in Kron radii."""

    kron_minimum_radius: PositiveFloat = 3.5
    """Smallest Kron aperture."""


class CatalogParameters(ParameterModel):
    """How source catalogs are made."""

    title: ClassVar[str] = "catalog generation parameters"

    bkg_box_size: PixelCount = 27
    """Pixels a side of the boxes in which the background is measured."""

    bkg_filter_size: PixelCount = 3
    """Boxes a side of the window in which the background is smoothed."""

    good_fwhm: Annotated[tuple[PositiveFloat, PositiveFloat], BeforeValidator(as_tuple)] = (1.5, 3.5)
    """Smallest and largest width, in pixels, of stars from which the detection kernel is made."""

    nsigma: PositiveFloat = 5.0
    """Detection threshold of point sources in standard deviations of the background."""

    skyannulus_arcsec: PositiveFloat = 0.25
    """Inner radius of the annulus around a source in which its background is measured, arcsec."""

    dskyannulus_arcsec: PositiveFloat = 0.25
    """Width of that annulus, arcsec."""

    aperture_1: PositiveFloat = 0.05
    """Radius of the inner aperture, arcsec."""

    aperture_2: PositiveFloat = 0.15
    """Radius of the outer aperture, arcsec."""

    salgorithm: Literal["mode", "median", "mean"] = "mode"
    """Statistic of the annulus that is the background."""

    starfinder_algorithm: Literal["psf", "dao", "iraf"] = "psf"
    """How point sources are found."""

    TWEAK_FWHMPSF: Annotated[PositiveFloat | None, SINGLE_VISIT_ONLY] = None
    """Width of a star, arcsec."""

    scale: Annotated[float, Field(gt=1)] = 1.5
    """Ratio of weights by which the image is divided into regions with a threshold each."""

    sensitivity: Fraction = 0.95
    """Regions smaller than what this leaves of the image are joined to the next."""

    block_size: Annotated[tuple[PixelCount, PixelCount], BeforeValidator(as_tuple)] = (1024, 1024)
    """Rows and columns that are searched for point sources at a time."""

    cr_residual: Fraction = 0.05
    """Fraction of cosmic rays that is left in filters with one exposure, for the rejection of catalogs."""

    region_size: PixelCount = 11
    """Pixels a side of the window in which weights are smoothed, and of the stars that make the kernel."""

    flag_trim_value: Annotated[int, Field(ge=0)] = 5
    """Sources with a flag above this are left out of the catalog."""

    simple_bkg: bool = False
    """Use one background level for the whole image."""

    zero_percent: Percentage = 25.0
    """Percentage of zeros in the image above which its background is taken as zero."""

    negative_percent: Percentage = 15.0
    """Percentage of negative pixels, after subtraction, up to which one background level will do."""

    nsigma_clip: PositiveFloat = 3.0
    """Clip the background at so many standard deviations."""

    maxiters: Annotated[int, Field(ge=0)] = 3
    """How often it is clipped."""

    bkg_skew_threshold: float = 0.5
    """Skewness of the pixels above which the background is measured in boxes."""

    dao: PointSourceParameters = PointSourceParameters()
    """How point sources are found."""

    sourcex: SegmentationParameters = SegmentationParameters()
    """How extended sources are found and separated."""

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.aperture_1 >= self.aperture_2:
            raise ValueError(f"aperture_1 {self.aperture_1}, expected less than aperture_2 {self.aperture_2}")
        if self.good_fwhm[0] >= self.good_fwhm[1]:
            raise ValueError(f"good_fwhm {self.good_fwhm}, expected the smaller width first")
        return self

    @property
    def psf_fwhm(self) -> float:
        """Width of a star in arcsec, wherever the pipeline's files have it."""
        return self.TWEAK_FWHMPSF or self.dao.TWEAK_FWHMPSF or self.sourcex.fwhm or 0.0
