"""Names for shell completion, asked of the running platform. Called by the shell through typer.

Quick and silent: no heavy imports, a short patience, and no names when anything is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

import typer

from sternway.paths import find


def services(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of services that begin so."""
    return [name for name in _names(ctx, "services") if name.startswith(incomplete)]


def releases(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the latest releases that begin so."""
    return [name for name in _names(ctx, "releases") if name.startswith(incomplete)]


def deployments(ctx: typer.Context, incomplete: str) -> list[str]:
    """`deployment/NAME`; a Deployment mostly has the name of its service."""
    return [name for name in (f"deployment/{s}" for s in _names(ctx, "services")) if name.startswith(incomplete)]


def _names(ctx: typer.Context, kind: str) -> list[str]:
    from sternway.cli.quick import get  # noqa: PLC0415  see the package

    folder = ctx.find_root().params.get("folder") or os.environ.get("STERNWAY_DIR") or "."
    try:
        paths = find(Path(folder))
        found = get(paths.api_socket, "/v1/names") if paths else {}
        return [str(name) for name in found.get(kind, ())]
    except (OSError, ValueError, AttributeError):
        return []
