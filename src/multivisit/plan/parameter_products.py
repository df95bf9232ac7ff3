"""The products whose parameters a custom parameter file holds: layers and members, or those of visits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from multivisit.errors import NoViableDataError
from multivisit.plan.layers import Layer, make_layers
from multivisit.plan.names import visit_basename
from multivisit.plan.parameters.custom_file import ProductParameters
from multivisit.plan.parameters.parameter_set import ParameterSet, parameter_set
from multivisit.plan.vetting import Candidate, vet_exposures

if TYPE_CHECKING:
    from multivisit.plan.parameters import Pipeline, ProductKind
    from multivisit.plan.poller import PollerRow

__all__ = ["default_products", "layer_products", "visit_products"]


def default_products(
    rows: Iterable[PollerRow], pipeline: Pipeline, *, folder: str | os.PathLike[str] = "."
) -> tuple[ProductParameters, ...]:
    """Give all products of the exposures of a poller file with their default parameters.

    Parameters
    ----------
    rows : iterable of PollerRow
        The exposures.
    pipeline : {'mvm', 'svm'}
        Multi-visit (layers and their members) or single-visit.
    folder : str or path-like, optional
        Where the exposures are looked for first.

    Returns
    -------
    tuple of ProductParameters
        The products.

    Raises
    ------
    MissingFileError, PollerError
        An exposure is missing, or listed twice.
    NoViableDataError
        No exposure may be combined.
    """
    vetting = vet_exposures(rows, folder=folder)
    if vetting.no_viable_reason:
        raise NoViableDataError(f"{vetting.no_viable_reason}:\n{vetting.text()}")
    if pipeline == "svm":
        return visit_products(vetting.accepted)
    layers, _ = make_layers(vetting)
    return tuple(
        product
        for layer in layers
        for product in layer_products(
            layer,
            parameter_set(layer.instrument, layer.detector, layer.filter_name, len(layer.members)),
        )
    )


def layer_products(layer: Layer, parameters: ParameterSet) -> tuple[ProductParameters, ...]:
    """Give a layer and its members with their default parameters.

    Parameters
    ----------
    layer : Layer
        The layer.
    parameters : ParameterSet
        Its default parameters.

    Returns
    -------
    tuple of ProductParameters
        The layer's, then those of its members as products of single exposures.
    """
    key = (layer.instrument, layer.detector, layer.filter_name)
    single = parameter_set(*key, len(layer.members), product="exposure")
    return (
        ProductParameters(layer.product_basename, parameters, parameters, key),
        *(
            ProductParameters(layer.member_basename(member), single, single, key, "exposure")
            for member in layer.members
        ),
    )


def visit_products(candidates: Iterable[Candidate]) -> tuple[ProductParameters, ...]:
    """Give the products of visits with their default single-visit parameters.

    Parameters
    ----------
    candidates : iterable of Candidate
        The exposures. One that is listed for several sky cells counts once; where a filter has CTE-corrected
        exposures (FLC), the others (FLT) do not count.

    Returns
    -------
    tuple of ProductParameters
        For each visit and detector the product of all filters, that of each filter, and each exposure's.
    """
    detectors: dict[tuple[str, str, str, str], dict[str, list[Candidate]]] = {}
    known = set()
    for candidate in candidates:
        if candidate.exposure.path in known:
            continue
        known.add(candidate.exposure.path)
        exposure, row = candidate.exposure, candidate.row
        key = (str(row.proposal_id), row.obset_id.lower(), exposure.instrument, exposure.detector)
        detectors.setdefault(key, {}).setdefault(exposure.filter_name, []).append(candidate)
    return tuple(
        product
        for key, filters in detectors.items()
        for product in _products_of_detector(
            key, {name: _of_one_kind(each) for name, each in filters.items()}
        )
    )


def _of_one_kind(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Leave FLT exposures out where there are FLC ones; the earliest comes first."""
    corrected = [each for each in candidates if each.exposure.file_type == "flc"]
    return sorted(corrected or candidates, key=lambda each: each.exposure.start_mjd or 0.0)


def _products_of_detector(
    key: tuple[str, str, str, str], filters: dict[str, list[Candidate]]
) -> list[ProductParameters]:
    """Give the products of a visit and detector, in the published order."""
    proposal, visit, instrument, detector = key
    everything = sorted(
        (each for members in filters.values() for each in members),
        key=lambda each: each.exposure.start_mjd or 0.0,
    )

    def product(
        kind: ProductKind, filter_name: str, number: int, members: list[Candidate]
    ) -> ProductParameters:
        first = members[0].exposure
        name = first.rootname[: 8 if kind == "exposure" else 6]
        parameters = parameter_set(
            instrument, detector, filter_name, number, pipeline="svm", product=kind, mjd=first.start_mjd
        )
        basename = visit_basename(proposal, visit, instrument, detector, filter_name, name)
        return ProductParameters(basename, parameters, parameters, (instrument, detector, filter_name), kind)

    return [
        product("total", "total", len(everything), everything),
        *(product("filter", name, len(members), members) for name, members in filters.items()),
        *(
            product("exposure", name, len(members), [member])
            for name, members in filters.items()
            for member in members
        ),
    ]
