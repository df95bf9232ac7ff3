"""The directive ``mvm-command``: arguments and options of one command, read from the command itself."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from typer.models import ArgumentInfo

from multivisit.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from sphinx.application import Sphinx

KINDS = {Path: "path", str: "text", float: "number", int: "number"}


def kind(annotation: Any) -> str:
    """Return the word for what a parameter takes; empty for a switch."""
    inner = [annotation, *getattr(annotation, "__args__", ())]
    inner += [deeper for part in inner[1:] for deeper in getattr(part, "__args__", ())]
    return next((KINDS[part] for part in inner if part in KINDS), "")


def title(name: str, info: Any, takes: str) -> str:
    """Return how a parameter is typed: its flags, or an argument's name."""
    if isinstance(info, ArgumentInfo):
        return f"``{name.upper()}``"
    # In an annotation, typer keeps the first flag where a default would be.
    declared = [*([info.default] if isinstance(info.default, str) else []), *(info.param_decls or [])]
    flags = [flag for given in declared for flag in given.split("/")]
    if not flags:
        dashed = name.replace("_", "-")
        flags = [f"--{dashed}"] if takes else [f"--{dashed}", f"--no-{dashed}"]
    return ", ".join(f"``{flag}``" for flag in flags) + (f" *{takes}*" if takes else "")


def parameter_lines(name: str, annotation: Any, default: Any) -> list[str]:
    """Describe one argument or option as a definition in reStructuredText."""
    info = annotation.__metadata__[0]
    takes = kind(annotation.__origin__)
    flags = title(name, info, takes)
    if default is True:
        default = flags.partition(",")[0].strip("`")
    notes = [] if default in (None, False, "", inspect.Parameter.empty) else [f"default: ``{default}``"]
    if info.envvar:
        notes.append(f"or the variable ``{info.envvar}``")
    text = " ".join((info.help or "").split()) + (f" ({'; '.join(notes)})" if notes else "")
    return [flags, f"    {text}", ""]


def command_lines(callback: Callable[..., Any]) -> list[str]:
    """Describe a command and its parameters in reStructuredText."""
    hints = get_type_hints(callback, include_extras=True)
    lines = [" ".join((inspect.getdoc(callback) or "").split()), ""]
    for name, parameter in inspect.signature(callback).parameters.items():
        lines += parameter_lines(name, hints[name], parameter.default)
    return lines


def named_callbacks(typer_app: Any, before: str = "") -> dict[str, Callable[..., Any]]:
    """Give the functions of all commands by name; those of a group have its name before theirs."""
    callbacks = {
        before + (found.name or found.callback.__name__): found.callback
        for found in typer_app.registered_commands
        if found.callback
    }
    for group in typer_app.registered_groups:
        callbacks |= named_callbacks(group.typer_instance, f"{before}{group.typer_instance.info.name} ")
    return callbacks


class CommandReference(Directive):
    """``.. mvm-command:: run`` describes the command ``mvm run``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Parse the description of the command in place."""
        wanted = self.arguments[0]
        callbacks = named_callbacks(app)
        if wanted not in callbacks:
            raise self.error(f"mvm has no command {wanted!r}")
        container = nodes.container()
        lines = StringList(command_lines(callbacks[wanted]), source="mvm")
        self.state.nested_parse(lines, self.content_offset, container)
        return [container]


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directive known to Sphinx."""
    app.add_directive("mvm-command", CommandReference)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
