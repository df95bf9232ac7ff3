"""Custom parameter files: all parameters of all products, to be read, changed and written.

The published layout: ``{product: {"parameters": {group: ...}, "default_values": {group: ...}}}``. What is
read is the section "parameters", as the published text says; what it leaves out keeps its default.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from multivisit.atomic import atomic_path
from multivisit.errors import InvalidParametersError, MissingFileError, ParameterError
from multivisit.plan.parameters.concentration import concentration_index
from multivisit.plan.parameters.conditions import ProductKind
from multivisit.plan.parameters.idle import reason_idle
from multivisit.plan.parameters.layout import flattened, is_published, published_layout
from multivisit.plan.parameters.model import CombinationParameters
from multivisit.plan.parameters.parameter_set import ParameterSet
from multivisit.plan.parameters.usage import reason_not_used
from multivisit.plan.parameters.values import ParameterModel, Pipeline, published_name

__all__ = [
    "CustomFile",
    "Customized",
    "ProductParameters",
    "changed_values",
    "customized",
    "file_layout",
    "read_custom_file",
    "write_custom_file",
]

Model = TypeVar("Model", bound=ParameterModel)
Problems = list[tuple[tuple[str, ...], str]]

_SECTIONS = ("parameters", "default_values")
_MOST_PROBLEMS_SHOWN = 50
_MOST_NAMES_SHOWN = 5


@dataclass(frozen=True)
class ProductParameters:
    """A product and its parameters."""

    name: str
    """Product basename, for example ``hst_skycell-p1889x07y19_acs_wfc_f775w_all``."""

    parameters: ParameterSet
    """Those in effect."""

    defaults: ParameterSet
    """Those without a custom file."""

    filter_key: tuple[str, str, str]
    """Instrument, detector and filter in lower case; by these the concentration index is looked up."""

    kind: ProductKind = "filter"
    """What the product is made of."""


@dataclass(frozen=True)
class CustomFile:
    """What a custom parameter file holds, not yet checked but for being JSON."""

    path: Path
    """The file."""

    entries: Mapping[str, Any]
    """Its content by product basename."""


@dataclass(frozen=True)
class Customized:
    """Products with the parameters of a custom file, and what a user should know about them."""

    products: tuple[ProductParameters, ...]
    """The products, in the order in which they were given."""

    warnings: tuple[str, ...] = field(default=())
    """What of the file is without effect, a sentence each."""


# ------------------------------------------------------------------------------------------- reading


def read_custom_file(path: Path) -> CustomFile:
    """Read a custom parameter file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    CustomFile
        Its content; `customized` checks it.

    Raises
    ------
    MissingFileError
        There is no such file, or it cannot be read.
    ParameterError
        It is not JSON, names something twice or does not hold products.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFileError(f"custom parameter file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"custom parameter file {path}: not UTF-8 text ({error.reason})") from error
    try:
        content = json.loads(text, object_pairs_hook=_marked)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ParameterError(f"custom parameter file {path}, {place}: not JSON, {error.msg}") from error
    if repeated := list(_repetitions(content)):
        raise ParameterError(
            f"custom parameter file {path}: given more than once in the same group: {_listed(repeated)}; "
            "keep one of each, since the others would be lost"
        )
    if not isinstance(content, dict):
        raise ParameterError(
            f"custom parameter file {path}: found {_shown(content)}, expected products by name"
        )
    return CustomFile(path, content)


class _Repeating(dict[str, Any]):
    """A group in which some names were given more than once."""

    repeated: tuple[str, ...] = ()


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary that remembers names that are repeated."""
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    marked = _Repeating(values)
    marked.repeated = tuple(sorted({name for name in names if names.count(name) > 1}))
    return marked


def _repetitions(value: Any, path: str = "") -> Iterator[str]:
    """Give the paths of all names that were repeated."""
    if isinstance(value, _Repeating):
        yield from (f"{path}/{name}" for name in value.repeated)
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in inner:
        yield from _repetitions(below, f"{path}/{name}")


def customized(file: CustomFile, products: Sequence[ProductParameters], pipeline: Pipeline) -> Customized:
    """Put the parameters of a file into effect.

    Parameters
    ----------
    file : CustomFile
        The file.
    products : sequence of ProductParameters
        The products of a run with their defaults.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    Customized
        The products with their parameters, and warnings.

    Raises
    ------
    ParameterError
        Products are missing, parameters are unknown or values impossible: one error with the path of each.
        A product of a single exposure may be missing.
    """
    problems: list[str] = []
    results = []
    for product in products:
        if product.name not in file.entries:
            if product.kind != "exposure":
                others = set(file.entries) - {other.name for other in products}
                problems.append(f"/{product.name}: is missing{_suggestion(product.name, others)}")
            results.append(product)
            continue
        found: Problems = []
        results.append(
            replace(product, parameters=_read_entry(file.entries[product.name], product, pipeline, found))
        )
        problems += [f"/{'/'.join((product.name, *path))}: {sentence}" for path, sentence in found]
    if problems:
        shown = problems[:_MOST_PROBLEMS_SHOWN]
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more")
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        raise ParameterError("\n  ".join([f"custom parameter file {file.path}: {count}", *shown]))
    warnings = [
        *_edited_defaults(file, results, pipeline),
        *_without_effect(results, pipeline),
    ]
    return Customized(tuple(_with_looked_up_limits(result) for result in results), tuple(warnings))


def _read_entry(
    entry: Any, product: ProductParameters, pipeline: Pipeline, problems: Problems
) -> ParameterSet:
    """Give the parameters of one product; what is wrong goes into `problems`."""
    if not isinstance(entry, dict) or "parameters" not in entry:
        problems.append(((), f"found {_shown(entry)}, expected the section 'parameters'"))
        return product.defaults
    problems += [
        ((name,), f"there is no such section{_suggestion(name, _SECTIONS)}")
        for name in entry
        if name not in _SECTIONS
    ]
    return _overlaid(product.defaults, entry["parameters"], ("parameters",), pipeline, problems)


def _overlaid(
    model: Model,
    values: Any,
    path: tuple[str, ...],
    pipeline: Pipeline,
    problems: Problems,
) -> Model:
    """Put values by their published names into a group; of a group with problems nothing is taken."""
    if not isinstance(values, dict):
        problems.append((path, f"found {_shown(values)}, expected a group of parameters"))
        return model
    if isinstance(model, CombinationParameters):
        values = _without_headings(values)
    kind = type(model)
    fields = {
        published_name(kind, name): name for name in kind.model_fields if is_published(kind, name, pipeline)
    }
    changes: dict[str, Any] = {}
    for name, value in values.items():
        before = getattr(model, fields[name], None) if name in fields else None
        if name not in fields:
            suggestion = _suggestion(name, fields)
            problems.append(((*path, name), f"there is no such parameter{suggestion}"))
        elif isinstance(before, ParameterModel):
            changes[fields[name]] = _overlaid(before, value, (*path, name), pipeline, problems)
        else:
            changes[fields[name]] = value
    try:
        return model.replace(**changes)
    except InvalidParametersError as error:
        problems += [((*path, *below), sentence) for below, sentence in error.problems]
        return model


def _without_headings(values: dict[str, Any]) -> dict[str, Any]:
    """Take the headings ("STEP 1: ...") out that the shipped files have in the group astrodrizzle."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= value if isinstance(value, dict) and name.isupper() else {name: value}
    return flat


def _suggestion(name: str, known: Iterable[str]) -> str:
    """Name what may have been meant."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    """Show a value, shortened."""
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, value)) or 'nothing'}"[:80]
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


# ----------------------------------------------------------------------------------- what is without effect


def changed_values(product: ProductParameters, pipeline: Pipeline) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """Give the parameters of a product that differ from their defaults.

    Parameters
    ----------
    product : ProductParameters
        The product.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    dict
        By path (published names from the group down): the default and the value, as files have them.
    """
    before = dict(flattened(published_layout(product.defaults, pipeline)))
    after = dict(flattened(published_layout(product.parameters, pipeline)))
    return {
        path: (before.get(path), after.get(path))
        for path in {**before, **after}
        if before.get(path) != after.get(path)
    }


def _without_effect(products: Sequence[ProductParameters], pipeline: Pipeline) -> list[str]:
    """Name, once each, the parameters that were changed and are not used."""
    if pipeline != "mvm":
        return []
    products_by_path: dict[tuple[str, ...], list[str]] = {}
    idle: dict[tuple[str, str], list[str]] = {}
    exposures = []
    overruled = []
    for product in products:
        changes = changed_values(product, pipeline)
        if product.kind == "exposure":
            exposures += [product.name] if changes else []
            continue
        for path in changes:
            if reason_not_used(path):
                products_by_path.setdefault(path, []).append(product.name)
            elif path[0] == "astrodrizzle" and (
                why := reason_idle(path[-1], product.parameters.astrodrizzle)
            ):
                idle.setdefault(("/".join(path), why), []).append(product.name)
        overruled += [product.name] if _with_looked_up_limits(product) != product else []
    warnings = [
        f"parameter {'/'.join(path)} was changed, which multi-visit processing does not use: "
        f"{reason_not_used(path)} ({_listed(names)})"
        for path, names in products_by_path.items()
    ]
    warnings += [
        f"parameter {path} was changed, which has no effect: {why} ({_listed(names)})"
        for (path, why), names in idle.items()
    ]
    if exposures:
        warnings.append(
            "parameters of exposures were changed, which multi-visit processing does not use: "
            f"exposures have no products of their own ({_listed(exposures)})"
        )
    if overruled:
        warnings.append(
            "ci_lower_limit and ci_upper_limit were changed, but the table's limits hold as long as "
            f"lookup_ci_limits_from_table is true ({_listed(overruled)})"
        )
    return warnings


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES_SHOWN
    return ", ".join(names[:_MOST_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _edited_defaults(
    file: CustomFile, products: Sequence[ProductParameters], pipeline: Pipeline
) -> list[str]:
    """Warn where the section that is not read was changed while the one that is read was not."""
    edited = []
    for product in products:
        section = file.entries.get(product.name, {}).get("default_values")
        if section is None:
            continue
        problems: Problems = []
        meant = replace(product, parameters=_overlaid(product.defaults, section, (), pipeline, problems))
        taken = changed_values(product, pipeline)
        if problems or any(path not in taken for path in changed_values(meant, pipeline)):
            edited.append(product.name)
    if not edited:
        return []
    return [
        f"{file.path}: the section 'default_values' was changed, which is not used: "
        f"change the same values in 'parameters' ({_listed(edited)})"
    ]


def _with_looked_up_limits(product: ProductParameters) -> ProductParameters:
    """Put the table's limits of the concentration index in where the parameters ask for them."""
    known = concentration_index(*product.filter_key)
    if known is None:
        return product
    quality = product.parameters.quality_control
    limits = {"ci_lower_limit": known.lower, "ci_upper_limit": known.upper}
    filters = {
        name: getattr(quality.ci_filter, name).replace(**limits)
        for name in ("aperture", "segment")
        if getattr(quality.ci_filter, name).lookup_ci_limits_from_table
    }
    quality = quality.replace(ci_filter=quality.ci_filter.replace(**filters))
    return replace(product, parameters=product.parameters.replace(quality_control=quality))


# ------------------------------------------------------------------------------------------- writing


def file_layout(products: Iterable[ProductParameters], pipeline: Pipeline) -> dict[str, Any]:
    """Give products and their parameters in the published layout of custom parameter files.

    Parameters
    ----------
    products : iterable of ProductParameters
        The products.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    dict
        Ready for `json.dumps`.
    """
    return {
        product.name: {
            "parameters": published_layout(product.parameters, pipeline),
            "default_values": published_layout(product.defaults, pipeline),
        }
        for product in products
    }


def write_custom_file(path: Path, products: Iterable[ProductParameters], pipeline: Pipeline) -> Path:
    """Write a custom parameter file; one that is there is replaced.

    Parameters
    ----------
    path : Path
        The file.
    products : iterable of ProductParameters
        All products.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ProductError
        It cannot be written.
    """
    text = json.dumps(file_layout(products, pipeline), indent=4, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path
