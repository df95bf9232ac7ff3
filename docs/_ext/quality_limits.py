"""The directive ``quality-limits``: every check with its limits, read from the one table that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from multivisit.quality.limits import CHECKS, CheckKind

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def limits(kind: CheckKind) -> str:
    """Return the limits of one check in words."""
    beyond = "above" if kind.larger_is_worse else "below"
    unit = f" {kind.unit}" if kind.unit else ""
    parts = [
        f"{word} {beyond} {limit:g}{unit}"
        for word, limit in (("warning", kind.warn), ("failure", kind.fail))
        if limit is not None
    ]
    return "; ".join(parts)


class QualityLimits(Directive):
    """Lists the checks."""

    def run(self) -> list[nodes.Node]:
        """Return a definition list."""
        lines: list[str] = []
        for kind in CHECKS.values():
            pixels = " Reads pixels: with ``--quality-tests`` only." if kind.needs_pixels else ""
            measures = kind.measures[0].upper() + kind.measures[1:]
            lines += [
                f"**{kind.title}** (``{kind.name}``)",
                f"   {measures}: {limits(kind)}.{pixels}",
                f"   {kind.advice}",
                "",
            ]
        node = nodes.section()
        self.state.nested_parse(StringList(lines, "multivisit.quality.limits"), self.content_offset, node)
        return list(node.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directive."""
    app.add_directive("quality-limits", QualityLimits)
    return {"parallel_read_safe": True}
