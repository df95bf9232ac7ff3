"""Parameters in words for people: those of products, and those that were changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from multivisit.plan.parameters.custom_file import ProductParameters, changed_values
from multivisit.plan.parameters.layout import GROUPS, flattened, published_layout
from multivisit.plan.parameters.usage import reason_not_used
from multivisit.plan.parameters.values import Pipeline

__all__ = ["changes_as_dict", "changes_as_text", "changes_of", "parameters_as_text", "sections_changes"]

Changes = dict[str, dict[tuple[str, ...], tuple[Any, Any]]]


def parameters_as_text(
    products: Iterable[ProductParameters], pipeline: Pipeline, groups: Sequence[str] = ()
) -> str:
    """Give the parameters of products, a line each; those that are not used are marked.

    Parameters
    ----------
    products : iterable of ProductParameters
        The products.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.
    groups : sequence of str
        The only groups that are wanted; all when empty.

    Returns
    -------
    str
        Lines of text.
    """
    lines: list[str] = []
    for product in products:
        lines.append(product.name)
        layout = published_layout(product.parameters, pipeline)
        for group in groups or GROUPS:
            whole = reason_not_used((group,)) if pipeline == "mvm" else ""
            lines.append(f"  {group}" + (f"  (not used: {whole})" if whole else ""))
            for path, value in flattened(layout[group], (group,)):
                reason = "" if whole or pipeline != "mvm" else reason_not_used(path)
                remark = f"  (not used: {reason})" if reason else ""
                lines.append(f"    {'/'.join(path[1:])} = {_shown(value)}{remark}")
    return "\n".join(lines)


def changes_of(products: Iterable[ProductParameters], pipeline: Pipeline) -> Changes:
    """Give the parameters of products that differ from their defaults.

    Parameters
    ----------
    products : iterable of ProductParameters
        The products.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    dict
        By product and path: the default and the value; products without a change are left out.
    """
    found = {product.name: changed_values(product, pipeline) for product in products}
    return {name: changes for name, changes in found.items() if changes}


def sections_changes(entries: dict[str, Any]) -> Changes:
    """Compare the sections "parameters" and "default_values" of a custom file with each other.

    Parameters
    ----------
    entries : dict
        The file's content.

    Returns
    -------
    dict
        By product and path: the default and the value. A value that one of them lacks is left out.
    """
    found: Changes = {}
    for name, entry in entries.items():
        sections = entry if isinstance(entry, dict) else {}
        before = dict(flattened(_group(sections.get("default_values"))))
        after = dict(flattened(_group(sections.get("parameters"))))
        changes = {
            path: (before[path], after[path])
            for path in after
            if path in before and before[path] != after[path]
        }
        if changes:
            found[name] = changes
    return found


def _group(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def changes_as_text(changes: Changes, pipeline: Pipeline) -> str:
    """Give changed parameters, a line each.

    Parameters
    ----------
    changes : dict
        By product and path: the default and the value.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    str
        Lines of text.
    """
    lines: list[str] = []
    for name, values in changes.items():
        lines.append(name)
        for path, (before, after) in values.items():
            reason = reason_not_used(path) if pipeline == "mvm" else ""
            remark = f"  (not used: {reason})" if reason else ""
            lines.append(f"    {'/'.join(path)}: {_shown(before)} -> {_shown(after)}{remark}")
    return "\n".join(lines) if lines else "nothing is changed"


def changes_as_dict(changes: Changes, pipeline: Pipeline) -> dict[str, Any]:
    """Give changed parameters as plain values.

    Parameters
    ----------
    changes : dict
        By product and path: the default and the value.
    pipeline : {'mvm', 'svm'}
        Whose parameters they are.

    Returns
    -------
    dict
        By product and parameter: keys default, value and not_used (the reason, or empty).
    """
    return {
        name: {
            "/".join(path): {
                "default": before,
                "value": after,
                "not_used": reason_not_used(path) if pipeline == "mvm" else "",
            }
            for path, (before, after) in values.items()
        }
        for name, values in changes.items()
    }


def _shown(value: Any) -> str:
    """Show a value as JSON does, which is how it is written in a file."""
    return json.dumps(value)
