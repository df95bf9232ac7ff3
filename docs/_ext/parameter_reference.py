"""The directive ``parameter-table``: the parameters of a group, read from the models themselves."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from multivisit.plan.parameters import parameter_set
from multivisit.plan.parameters.layout import flattened, published_layout
from multivisit.plan.parameters.schema import described_parameters
from multivisit.plan.parameters.usage import reason_not_used

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DETECTORS = (
    ("acs", "wfc"),
    ("acs", "hrc"),
    ("acs", "sbc"),
    ("wfc3", "uvis"),
    ("wfc3", "ir"),
    ("wfpc2", "pc"),
)


def defaults() -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Give the defaults of layers of several exposures, by parameter: detector and value."""
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for instrument, detector in DETECTORS:
        layout = published_layout(parameter_set(instrument, detector, "no filter", 2), "mvm")
        for path, value in flattened(layout):
            label = f"{instrument.upper()}/{detector.upper()}"
            found.setdefault(path, []).append((label, json.dumps(value)))
    return found


def in_words(values: list[tuple[str, str]]) -> str:
    """Give the commonest default, and which detectors have another."""
    ((common, _),) = Counter(value for _, value in values).most_common(1)
    others: dict[str, list[str]] = {}
    for label, value in values:
        if value != common:
            others.setdefault(value, []).append(label)
    words = [f"``{common}``", *(f"{', '.join(labels)}: ``{value}``" for value, labels in others.items())]
    return "; ".join(words)


def table_lines(group: str) -> list[str]:
    """Describe a group's parameters as a list table in reStructuredText."""
    whole = reason_not_used((group,))
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 28 44 28", ""]
    lines += ["   * - Parameter", "     - Meaning", "     - Default"]
    values = defaults()
    for each in described_parameters("mvm"):
        if each.path[0] != group:
            continue
        reason = "" if whole else each.reason_not_used
        remark = f" *Not used: {reason}.*" if reason else ""
        default = in_words(values[each.path]) if each.path in values else "none"
        lines += [
            f"   * - ``{'/'.join(each.path[1:])}``",
            f"     - {each.meaning}{remark}",
            f"     - {default}",
        ]
    return [f"*Not used by multi-visit processing: {whole}.*", "", *lines] if whole else lines


class ParameterTable(Directive):
    """``.. parameter-table:: astrodrizzle`` describes the parameters of the group astrodrizzle."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Parse the description of the group in place."""
        container = nodes.container()
        lines = StringList(table_lines(self.arguments[0]), source="parameters")
        self.state.nested_parse(lines, self.content_offset, container)
        return [container]


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directive known to Sphinx."""
    app.add_directive("parameter-table", ParameterTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
