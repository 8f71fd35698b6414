"""Evidence over time on the terminal, or as a file. Called by `reading` and `backtesting`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from sternway.cli.session import console, unwritable
from sternway.domain.trails import Trail
from sternway.errors import InvalidInput, Problem

TERMINAL = "-"
"""`--plot` without a file."""


class WithPlot(TyperCommand):
    """A command whose `--plot` may stand alone, or before a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a `--plot` that stands alone its value. No name of a release has a dot, every file's has."""
        told: list[str] = []
        for at, argument in enumerate(args):
            told.append(argument)
            following = args[at + 1] if at + 1 < len(args) else ""
            is_file = bool(Path(following).suffix) and not following.startswith("-")
            if argument == "--plot" and not is_file:
                told.append(TERMINAL)
        return super().parse_args(ctx, told)


def plot(trail: Trail, where: str) -> None:
    """Draw on the terminal, or write the file. Raises InvalidInput or Refused."""
    if where == TERMINAL:
        from sternway.drawing.terminal import lines  # noqa: PLC0415  see the package

        out = console()
        for line in lines(trail, columns=out.width, ascii_only=out.options.ascii_only):
            out.print(line, soft_wrap=True)
        return
    path = Path(where)
    content = _content(trail, path)
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise unwritable(where, exc) from exc


def _content(trail: Trail, path: Path) -> bytes:
    from sternway.drawing import figure, png, svg  # noqa: PLC0415  see the package

    match path.suffix.lower():
        case ".svg":
            return svg(figure(trail)).encode()
        case ".png":
            return png(figure(trail))
    raise InvalidInput(
        (Problem(file=str(path), message="is no kind of picture known here", fix="end it in .svg or .png"),)
    )
