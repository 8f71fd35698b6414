"""What every command shares: finding the platform, talking to it, printing, and exit codes. Used by all of `cli`."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sternway.cli import interrupts
from sternway.errors import InvalidInput, Problem, SternwayError
from sternway.paths import find
from sternway.web.faults import NotRunning, TookTooLong

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sternway.web.client import Client

T = TypeVar("T")

PIPED_COLUMNS = 160


class Code(IntEnum):
    """Exit codes."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    NOT_RUNNING = 3
    TIMED_OUT = 4
    INTERRUPTED = interrupts.INTERRUPTED


class Output(StrEnum):
    """How a command prints what it read."""

    TEXT = "text"
    JSON = "json"


def example(*lines: str) -> str:
    """Give the examples of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def socket_of(folder: Path) -> Path:
    """Where the platform of a folder (or of a folder above it) listens. Raises NotRunning."""
    paths = find(folder)
    if paths is None:
        raise NotRunning(
            f"no platform is known in {folder.absolute()} or above it",
            hint="`sternway up DIR` starts one; `sternway -C DIR ...` names its folder",
        )
    return paths.api_socket


def ask(folder: Path, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do some work with the platform of a folder."""
    import asyncio  # noqa: PLC0415  see the package

    from sternway.web.client import Client  # noqa: PLC0415  see the package

    async def run() -> T:
        async with Client(socket_of(folder)) as client:
            return await work(client)

    return asyncio.run(run())


def understood(option: str, parse: Callable[[Any], T], value: Any) -> T:
    """Read an option as a field of a manifest is read. Raises InvalidInput, which names the option and the fix."""
    from pydantic_core import PydanticCustomError  # noqa: PLC0415  see the package

    try:
        return parse(value)
    except PydanticCustomError as exc:
        fix = str((exc.context or {}).get("fix", ""))
        raise InvalidInput((Problem(file=option, message=exc.message(), fix=fix),)) from exc


def console(*, stderr: bool = False) -> Console:
    """Give a console: colours on terminals alone; wide enough for a table when somebody reads through a pipe."""
    from rich.console import Console  # noqa: PLC0415  see the package

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PIPED_COLUMNS
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def show(renderable: RenderableType) -> None:
    """Print something that rich can render, or a text."""
    console().print(renderable)


def show_json(text: str) -> None:
    """Print an answer of the API as it came, indented."""
    import json  # noqa: PLC0415  see the package

    print(json.dumps(json.loads(text), indent=2, ensure_ascii=False))


def unwritable(name: str, error: OSError) -> InvalidInput:
    """Say that a file, or the standard output, could not be written."""
    said = f"cannot be written: {error.strerror or error}"
    return InvalidInput((Problem(file=name, message=said, fix="name a file in a folder that is there and has room"),))


def show_error(error: SternwayError) -> Code:
    """Say what is wrong and what to do; gives the exit code."""
    out = console(stderr=True)
    if isinstance(error, InvalidInput):
        for problem in error.problems:
            out.print(str(problem), soft_wrap=True)
    else:
        out.print(f"sternway: {error.message}", style="red", soft_wrap=True)
    if error.hint:
        out.print(f"  {error.hint}", soft_wrap=True)
    return code_of(error)


def code_of(error: SternwayError) -> Code:
    """Give the exit code of an error."""
    if isinstance(error, NotRunning):
        return Code.NOT_RUNNING
    return Code.TIMED_OUT if isinstance(error, TookTooLong) else Code.PROBLEM
