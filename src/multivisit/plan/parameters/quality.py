"""The quality control parameters of source catalogs as a validated value, under their published names."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from multivisit.plan.parameters.values import OMITTED_WHEN_NONE, ParameterModel, PositiveFloat, as_tuple

__all__ = [
    "ConcentrationFilter",
    "ConcentrationFilters",
    "QualityParameters",
    "SwarmFilter",
]

Numbers = Annotated[tuple[Annotated[float, Field(ge=0)], ...], BeforeValidator(as_tuple)]


class ConcentrationFilter(ParameterModel):
    """Which sources of a catalog are point sources, by their concentration index."""

    title: ClassVar[str] = "concentration index parameters"

    bthresh: PositiveFloat = 5.0
    """Signal-to-noise ratio below which the index is not judged."""

    lookup_ci_limits_from_table: bool = True
    """Take the limits of the detector and filter from the table; those below hold where it has none."""

    ci_lower_limit: float = 0.9
    """Smallest index of a source, magnitudes; less is a hot pixel or a cosmic ray."""

    ci_upper_limit: float = 1.23
    """Largest index of a point source, magnitudes."""

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.ci_lower_limit >= self.ci_upper_limit:
            raise ValueError(
                f"ci_lower_limit {self.ci_lower_limit}, "
                f"expected less than ci_upper_limit {self.ci_upper_limit}"
            )
        return self


class ConcentrationFilters(ParameterModel):
    """The concentration index criteria of the two kinds of catalog."""

    title: ClassVar[str] = "concentration index parameters"

    aperture: ConcentrationFilter = ConcentrationFilter()
    """Of the point source catalog."""

    segment: ConcentrationFilter = ConcentrationFilter()
    """Of the segmentation catalog."""


class SwarmFilter(ParameterModel):
    """Which sources are swarms of false detections around a bright star."""

    title: ClassVar[str] = "swarm parameters"

    HLA_plate_scale: PositiveFloat = 0.05
    """Pixel scale, in arcsec, in which the radii of this group are given."""

    upper_epp_limit: PositiveFloat = 70000.0
    """Electrons a pixel above which a source is bright enough for a swarm."""

    lower_epp_limit: PositiveFloat = 2000.0
    """Electrons a pixel above which it is where it is also bright against the sky."""

    eppsky_limit: PositiveFloat = 1000.0
    """How many times the sky that is."""

    selfradius: PositiveFloat = 20.0
    """Radius around a bright source in which fainter ones are not centres of their own, pixels."""

    swarm_thresh: PositiveFloat = 1.0
    """Sources fainter than this times the limit at their distance are flagged."""

    clip_radius_list: Numbers = (120.0, 100.0, 80.0, 60.0, 40.0, 20.0, 10.0, 5.0, 2.0, 0.0)
    """Radii of the rings around a centre, pixels, from the outside."""

    scale_factor_list: Numbers
    """The limit in each ring: a fraction of the centre's brightness."""

    proximity_binary: bool = False
    """Flag, besides, all sources within a radius that grows with the brightness of the centre."""

    ctr_list_radius_list: Numbers = Field(default=(40, 35, 20, 15, 10), alias="ctrList_radiusList")
    """These radii, pixels."""

    ctr_list_threshold_list: Numbers = Field(
        default=(100000, 70000, 50000, 10000, 2000), alias="ctrList_thresholdList"
    )
    """Electrons a pixel of the centre from which each of them holds."""

    cuts_list: Annotated[Numbers | None, OMITTED_WHEN_NONE] = None
    """Electrons a pixel of the centre from which each of ``selfradii_list`` holds; None for one radius."""

    selfradii_list: Annotated[Numbers | None, OMITTED_WHEN_NONE] = None
    """Radii, in pixels, that stand for ``selfradius`` of centres of different brightness."""

    scale_factor_list_orig: Annotated[Numbers | None, OMITTED_WHEN_NONE] = None
    """Older values of ``scale_factor_list``."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.scale_factor_list) < len(self.clip_radius_list):
            raise ValueError(
                f"{len(self.scale_factor_list)} values of scale_factor_list, "
                f"expected one for each of clip_radius_list: {len(self.clip_radius_list)}"
            )
        if len(self.ctr_list_radius_list) != len(self.ctr_list_threshold_list):
            raise ValueError(
                f"{len(self.ctr_list_radius_list)} values of ctrList_radiusList, "
                f"expected as many as of ctrList_thresholdList: {len(self.ctr_list_threshold_list)}"
            )
        if len(self.cuts_list or ()) != len(self.selfradii_list or ()):
            raise ValueError(
                "cuts_list and selfradii_list: expected as many values in the one as in the other"
            )
        return self


class QualityParameters(ParameterModel):
    """How false sources are told from true ones."""

    title: ClassVar[str] = "quality control parameters"

    ci_filter: ConcentrationFilters = Field(default=ConcentrationFilters(), alias="ci filter")
    """Concentration index criteria."""

    swarm_filter: SwarmFilter = Field(alias="swarm filter")
    """Criteria of swarms around bright stars."""
