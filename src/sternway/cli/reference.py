"""Writes docs/reference/cli.md from the commands themselves: `python -m sternway.cli.reference > docs/reference/cli.md`.

A test compares the page with what this writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from sternway.cli.app import app

INTRODUCTION = """\
# Command line

Written from the commands by `python -m sternway.cli.reference`; do not edit it by hand.

Sternway finds the platform as Git finds a repository: by a folder `.sternway/` in the current folder or above it.
`sternway -C DIR …` (or the variable `STERNWAY_DIR`) names another folder. Every command that reads takes
`--output json`; the fields are those of `sternway.control.status`, and `_s` at the end of a name means seconds.
Colours are used on terminals alone; `NO_COLOR` turns them off.

| exit code | meaning |
|---|---|
| 0 | done; nothing wrong was found |
| 1 | a problem was found, or a command was refused |
| 2 | the command line was not understood |
| 3 | no platform is running here |
| 4 | it took too long |
| 130 | interrupted with Ctrl-C |

`sternway --install-completion` sets completion up for your shell; names of services and releases are completed from
the running platform.
"""


def reference() -> str:
    """Give the whole page."""
    root = get_command(app)
    parts = [INTRODUCTION, "## sternway\n", *_parameters(root)]
    for path, command in _commands(root, "sternway"):
        parts.append(f"## {path}\n")
        parts.append(f"{_text(command.help)}\n")
        usage = " ".join(piece for piece in (_metavar(p) for p in command.params) if piece)
        parts.append(f"```\n{path}{' ' if usage else ''}{usage}{' [OPTIONS]' if _options(command) else ''}\n```\n")
        parts.extend(_parameters(command))
        examples = _text(command.epilog).removeprefix("Examples:\n")
        if examples:
            parts.append(f"Examples:\n\n```sh\n{inspect.cleandoc(examples)}\n```\n")
    return "\n".join(parts)


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _options(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option" and p.name not in ("help", "show_completion")]


def _metavar(parameter: Any) -> str:
    if parameter.param_type_name != "argument":
        return ""
    name = str(parameter.metavar or "")
    return name if parameter.required else f"[{name}]"


def _parameters(command: Any) -> Iterator[str]:
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            rows.append((f"`{parameter.metavar}`", _text(parameter.help), _default(parameter)))
        elif parameter in _options(command) and parameter.name != "install_completion":
            rows.append((", ".join(f"`{name}`" for name in parameter.opts), _text(parameter.help), _default(parameter)))
    if rows:
        yield "| | | default |\n|---|---|---|"
        yield "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = getattr(parameter.default, "value", parameter.default)
    return "" if value in (None, False, "") else f"`{value}`"


def _text(text: str | None) -> str:
    return inspect.cleandoc((text or "").replace("\b\n", ""))


if __name__ == "__main__":
    typer.echo(reference(), nl=False)
