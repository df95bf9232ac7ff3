"""All parameters of a product, and their default values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from multivisit.errors import ParameterError
from multivisit.plan.parameters.alignment import AlignmentParameters
from multivisit.plan.parameters.catalog import CatalogParameters
from multivisit.plan.parameters.concentration import concentration_index
from multivisit.plan.parameters.conditions import ProductKind, check_detector, condition_of
from multivisit.plan.parameters.defaults import (
    ALIGNMENT,
    ASTRODRIZZLE,
    BASE,
    CATALOG_EXCEPTIONS,
    CATALOG_GENERATION,
    CATALOGS_OF_PIPELINE,
    QUALITY_CONTROL,
)
from multivisit.plan.parameters.model import CombinationParameters
from multivisit.plan.parameters.quality import (
    ConcentrationFilter,
    ConcentrationFilters,
    QualityParameters,
    SwarmFilter,
)
from multivisit.plan.parameters.values import ParameterModel, Pipeline

__all__ = ["PIPELINES", "ParameterSet", "combination_parameters", "parameter_set"]

Model = TypeVar("Model", bound=ParameterModel)

PIPELINES: tuple[Pipeline, ...] = ("mvm", "svm")


class ParameterSet(ParameterModel):
    """All parameters of a product: four groups under their published names."""

    title: ClassVar[str] = "parameters"

    alignment: AlignmentParameters
    """How exposures are aligned."""

    astrodrizzle: CombinationParameters
    """How exposures are combined."""

    catalog_generation: CatalogParameters = Field(alias="catalog generation")
    """How source catalogs are made."""

    quality_control: QualityParameters = Field(alias="quality control")
    """How false sources are told from true ones."""


def parameter_set(
    instrument: str,
    detector: str,
    filter_name: str,
    n_exposures: int,
    *,
    pipeline: Pipeline = "mvm",
    product: ProductKind = "filter",
    mjd: float | None = None,
    published_conditions: bool = False,
    mean_exposures: float | None = None,
) -> ParameterSet:
    """Give the default parameters of a product.

    Parameters
    ----------
    instrument, detector, filter_name : str
        Names in lower case, for example 'acs', 'wfc', 'f775w'; the filter of a
        product of all filters is 'total'.
    n_exposures : int
        How many exposures the product has; for a product of one exposure, how many its filter has.
    pipeline : {'mvm', 'svm'}
        Multi-visit or single-visit.
    product : {'filter', 'total', 'exposure'}
        Whether it is of one filter (a multi-visit layer is), of all filters or of one exposure.
    mjd : float, optional
        When the first exposure began, UTC; matters for WFC3/UVIS, where None counts as recent.
    published_conditions : bool, optional
        Choose by `mean_exposures` instead, rounded to a whole number (halves to even), as the published code.
    mean_exposures : float, optional
        Mean number of exposures over the observed pixels of the product.

    Returns
    -------
    ParameterSet
        The parameters; limits of the concentration index are those of the filter where the table has it.

    Raises
    ------
    ParameterError
        If there is no such detector or pipeline, or the number of exposures is impossible or missing.
    """
    if pipeline not in PIPELINES:
        raise ParameterError(f"pipeline: found {pipeline!r}, expected one of {', '.join(PIPELINES)}")
    names = check_detector(instrument, detector)
    condition = condition_of(
        instrument,
        detector,
        filter_name,
        n_exposures,
        pipeline=pipeline,
        product=product,
        mjd=mjd,
        published_conditions=published_conditions,
        mean_exposures=mean_exposures,
    )
    combination = {**BASE[pipeline], **ASTRODRIZZLE[pipeline][names][condition]}
    catalogs: dict[str, Any] = {}
    for part in (
        CATALOG_GENERATION[names],
        CATALOGS_OF_PIPELINE[pipeline][names],
        CATALOG_EXCEPTIONS.get((pipeline, names), {}),
    ):
        catalogs = merged(catalogs, part)
    return ParameterSet(
        alignment=with_values(AlignmentParameters(), ALIGNMENT[names]),
        astrodrizzle=CombinationParameters(**combination),
        catalog_generation=with_values(CatalogParameters(), catalogs),
        quality_control=_quality(names, filter_name),
    )


def combination_parameters(
    instrument: str,
    detector: str,
    filter_name: str,
    n_exposures: int,
    *,
    published_conditions: bool = False,
    mean_exposures: float | None = None,
) -> CombinationParameters:
    """Give the default combination parameters of a multi-visit layer; see `parameter_set`."""
    return parameter_set(
        instrument,
        detector,
        filter_name,
        n_exposures,
        published_conditions=published_conditions,
        mean_exposures=mean_exposures,
    ).astrodrizzle


def _quality(names: tuple[str, str], filter_name: str) -> QualityParameters:
    """Give a detector's quality parameters, with the concentration index of the filter."""
    (lower, upper), swarms = QUALITY_CONTROL[names]
    known = concentration_index(*names, filter_name)
    if known is not None:
        lower, upper = known.lower, known.upper
    limits = ConcentrationFilter(ci_lower_limit=lower, ci_upper_limit=upper)
    return QualityParameters(
        ci_filter=ConcentrationFilters(aperture=limits, segment=limits),
        swarm_filter=SwarmFilter(**swarms),
    )


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes into values, group by group; neither is changed.

    Parameters
    ----------
    values, changes : mapping
        Groups are mappings themselves.

    Returns
    -------
    dict
        All of both; where both have a value, that of `changes`.
    """
    result = dict(values)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result


def with_values(model: Model, changes: Mapping[str, Any]) -> Model:
    """Change some values of a model and of the groups within it.

    Parameters
    ----------
    model : ParameterModel
        Left as it is.
    changes : mapping
        New values by name; those of a group are a mapping.

    Returns
    -------
    ParameterModel
        A new value, checked.

    Raises
    ------
    ParameterError
        If a name or value is impossible.
    """
    values: dict[str, Any] = {}
    for name, value in changes.items():
        before = getattr(model, name, None)
        if isinstance(before, ParameterModel) and isinstance(value, Mapping):
            values[name] = with_values(before, value)
        else:
            values[name] = value
    return model.replace(**values)
