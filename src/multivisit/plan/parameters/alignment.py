"""The alignment parameters as a validated value, under their published names."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from multivisit.plan.parameters.values import ParameterModel, PositiveFloat, as_tuple

__all__ = [
    "AlignmentParameters",
    "AstrometricCatalogParameters",
    "FitParameters",
    "FitQualityParameters",
    "GeneralAlignmentParameters",
    "RunAlignmentParameters",
    "SourceFindingParameters",
]

FitGeometry = Literal["shift", "rshift", "rscale", "general"]
FitMethod = Literal["match_relative_fit", "match_2dhist_fit", "match_default_fit"]
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
Methods = Annotated[tuple[FitMethod, ...], BeforeValidator(as_tuple)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(as_tuple)]
FewestSources = dict[FitGeometry, Annotated[int, Field(ge=1)]]
Count = Annotated[int, Field(ge=0)]

_CATALOGS = ("GAIAeDR3", "GSC242", "2MASS")
_METHODS: tuple[FitMethod, ...] = ("match_relative_fit", "match_2dhist_fit", "match_default_fit")


class GeneralAlignmentParameters(ParameterModel):
    """Limits of all fits."""

    title: ClassVar[str] = "general alignment parameters"

    MIN_FIT_MATCHES: Count = 4
    """Fewest matched sources of a fit."""

    MAX_FIT_RMS: PositiveFloat = 20
    """Largest RMS of a fit, milliarcsec."""

    MAX_SOURCES_PER_CHIP: Count = 250
    """Brightest sources of a chip that are used."""


class RunAlignmentParameters(ParameterModel):
    """What is fitted to what, in which order."""

    title: ClassVar[str] = "alignment run parameters"

    update_hdr_wcs: bool = True
    """Write the fitted WCS into the exposures."""

    catalog_list: Names = _CATALOGS
    """Reference catalogs of visits, tried in turn."""

    fit_algorithm_list_ngt1: Methods = _METHODS
    """Fits of visits of several exposures, tried in turn."""

    fit_algorithm_list_n1: Methods = ("match_2dhist_fit", "match_default_fit")
    """Fits of visits of one exposure, tried in turn."""

    MIN_CATALOG_THRESHOLD: Count = 3
    """Fewest sources of a reference catalog."""

    MIN_OBSERVABLE_THRESHOLD: Count = 10
    """Fewest sources of an exposure."""

    MAX_FIT_LIMIT: PositiveFloat = 150
    """RMS, in milliarcsec, up to which a fit is kept where none is good."""

    mosaic_catalog_list: Names = _CATALOGS
    """Reference catalogs of mosaics, tried in turn."""

    mosaic_fit_list: Methods = _METHODS
    """Fits of mosaics, tried in turn."""

    mosaic_fitgeom_list: FewestSources = Field(default={"rscale": 12, "general": 25})
    """Kinds of transformation, and the fewest sources that each needs; with fewer, a shift is fitted."""

    mosaic_relgeom_list: FewestSources = Field(default={"rscale": 12})
    """The same for fits of exposures to each other."""


class SourceFindingParameters(ParameterModel):
    """How sources are found in the exposures."""

    title: ClassVar[str] = "alignment source parameters"

    box_size: int = Field(default=13, ge=1)
    """Pixels a side of the boxes in which the background is measured (4 at least)."""

    win_size: int = Field(default=3, ge=1)
    """Boxes a side of the window in which the background is smoothed."""

    nsigma: PositiveFloat = 3.0
    """Detection threshold in standard deviations of the background."""

    centering_mode: Literal["starfind", "segmentation"] = "starfind"
    """What is a source: a peak under the profile of a star, or a region of connected pixels."""

    bkg_estimator: str = "MedianBackground"
    """Name of the background estimator of photutils."""

    rms_estimator: str = "StdBackgroundRMS"
    """Name of the noise estimator of photutils."""

    num_sources: int | None = Field(default=250, ge=1)
    """Brightest sources that are kept; None for all."""

    deblend: bool = False
    """Separate regions that overlap (with centering_mode segmentation)."""

    fwhmpsf: PositiveFloat = 0.13
    """Width of a star, arcsec."""

    classify: bool = True
    """Leave out what looks like a cosmic ray."""

    threshold: float | None = -1.1
    """Detection threshold: a negative value counts in standard deviations."""


class AstrometricCatalogParameters(ParameterModel):
    """How the reference catalog is fetched."""

    title: ClassVar[str] = "reference catalog parameters"

    gaia_only: bool = False
    """Use Gaia's sources alone."""

    existing_wcs: str | None = None
    """WCS that bounds the reference catalog; None for that of the exposures."""


class FitParameters(ParameterModel):
    """One way to match sources and to fit."""

    title: ClassVar[str] = "fit parameters"

    fitgeom: FitGeometry = "rscale"
    """Kind of transformation."""

    searchrad: PositiveFloat = 250
    """Search radius, pixels."""

    separation: PositiveFloat = 4.0
    """Sources closer than this to a brighter one are left out, pixels."""

    tolerance: PositiveFloat = 2.0
    """Largest distance of two matched sources, pixels."""

    use2dhist: bool = True
    """Find the first shift from the histogram of all coordinate differences; otherwise begin without any."""


class FitQualityParameters(ParameterModel):
    """What makes a fit a good one."""

    title: ClassVar[str] = "fit quality parameters"

    MIN_CATALOG_THRESHOLD: Count = 3
    """Fewest sources of a reference catalog."""

    MIN_OBSERVABLE_THRESHOLD: Count = 4
    """Fewest sources of an exposure."""

    MIN_CROSS_MATCHES: Count = 3
    """Fewest matches between exposures."""

    MIN_FIT_MATCHES: Count = 4
    """Fewest matched sources."""

    MAX_FIT_RMS: PositiveFloat = 20
    """Largest RMS of a good fit, milliarcsec."""

    MAX_FIT_LIMIT: PositiveFloat = 150
    """Largest RMS of a fit that is kept, milliarcsec."""

    MAX_SOURCES_PER_CHIP: Count = 250
    """Brightest sources of a chip that are used."""

    MAS_TO_ARCSEC: PositiveFloat = 1000
    """Milliarcsec in an arcsec."""

    GOOD_FIT_QUALITY_VALUES: Numbers = (1, 2, 3, 4)
    """Grades of fits that are accepted."""


class AlignmentParameters(ParameterModel):
    """How exposures are aligned to each other and to a reference catalog."""

    title: ClassVar[str] = "alignment parameters"

    general: GeneralAlignmentParameters = GeneralAlignmentParameters()
    """Limits of all fits."""

    run_align: RunAlignmentParameters = RunAlignmentParameters()
    """What is fitted to what."""

    generate_source_catalogs: SourceFindingParameters = SourceFindingParameters()
    """How sources are found."""

    generate_astrometric_catalog: AstrometricCatalogParameters = AstrometricCatalogParameters()
    """How the reference catalog is fetched."""

    match_relative_fit: FitParameters = FitParameters(searchrad=125)
    """The fit of exposures to each other."""

    match_default_fit: FitParameters = FitParameters(separation=0.1, tolerance=10, use2dhist=False)
    """The plain fit."""

    match_2dhist_fit: FitParameters = FitParameters()
    """The fit that begins with a histogram of coordinate differences."""

    determine_fit_quality: FitQualityParameters = FitQualityParameters()
    """What makes a fit a good one."""
