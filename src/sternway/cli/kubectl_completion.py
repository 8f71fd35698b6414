"""Completion of `kubectl sternway …`: kubectl runs `kubectl_complete-sternway` with the words typed so far, the last one begun.

Quick and silent: a short patience, and no names when anything is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterable

import typer

from sternway.errors import SternwayError
from sternway.kubernetes.access import find_access
from sternway.kubernetes.api import Object, name_of
from sternway.kubernetes.client import Client
from sternway.operator import people

PATIENCE_S = 3.0
NO_FILES = ":4"
"""The last line for kubectl: these are all, do not offer names of files."""
_ASKED = "_KUBECTL_STERNWAY_COMPLETE"


def services(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of services that have a Guard and begin so."""
    return _begin_so((str(one["spec"].get("service", "")) for one in _found(ctx, people.guards)), incomplete)


def releases(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of Releases that begin so."""
    return _begin_so(map(name_of, _found(ctx, people.releases)), incomplete)


def main() -> None:
    """Answer kubectl, as a shell is answered: a line for each word, then what may stand there beside them."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # noqa: PLC0415  as below

    from sternway.cli.kubectl import app  # noqa: PLC0415  its commands name what is above

    words = sys.argv[1:] or [""]
    told = {"COMP_WORDS": shlex.join(["kubectl-sternway", *words]), "COMP_CWORD": str(len(words))}
    os.environ.update({_ASKED: "complete_bash", **told})
    completion_init()
    answer = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(answer):
        app(prog_name="kubectl sternway", complete_var=_ASKED)
    print("\n".join((*answer.getvalue().split(), NO_FILES)))


def _begin_so(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _found(ctx: typer.Context, read: Callable[[Client, str], Awaitable[tuple[Object, ...]]]) -> tuple[Object, ...]:
    """Read objects of the namespace that was typed; nothing where anything is wrong."""
    typed = {name: str(ctx.params.get(name) or "") for name in ("namespace", "context", "kubeconfig")}

    async def run() -> tuple[Object, ...]:
        told = {"KUBECONFIG": typed["kubeconfig"]} if typed["kubeconfig"] else {}
        access = find_access(context=typed["context"], environment={**os.environ, **told})
        async with asyncio.timeout(PATIENCE_S), Client(access) as api:
            return await read(api, typed["namespace"] or access.namespace)

    try:
        return asyncio.run(run())
    except (SternwayError, OSError, TimeoutError):
        return ()
