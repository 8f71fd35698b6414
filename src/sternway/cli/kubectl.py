"""`kubectl sternway …`: the verbs of the command line for a cluster. kubectl finds it as `kubectl-sternway` on the PATH."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from sternway.cli.changing import who
from sternway.cli.session import Code, Output, console, example, show, show_error
from sternway.control.gating import WAITED_FOR
from sternway.domain.releases import Verb
from sternway.errors import SternwayError
from sternway.kubernetes.access import find_access
from sternway.kubernetes.api import Object, condition_of, name_of, namespace_of
from sternway.kubernetes.client import Client
from sternway.operator import people

T = TypeVar("T")

app = typer.Typer(
    name="kubectl sternway",
    help="Releases and rollbacks of a cluster's services.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Which namespace.", show_default="that of the context")
]
Context = Annotated[str, typer.Option("--context", help="The cluster, by its name in KUBECONFIG.")]
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="The service, or its Guard.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept in the journal.")]
Printed = Annotated[Output, typer.Option("--output", "-o", help="How to print it.")]


@app.command(epilog=example("kubectl sternway status", "kubectl sternway status -A -o json"))
def status(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Only this service.")] = None,
    namespace: Namespace = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")] = False,  # noqa: FBT002  typer's way to write a flag
    context: Context = "",
    output: Printed = Output.TEXT,
) -> None:
    """Show where every service and its release stand."""

    async def read(api: Client, home: str) -> tuple[Sequence[Object], Sequence[Object]]:
        if service is not None:
            return (await people.guard_of(api, home, service),), await people.releases_of(api, home, service)
        where = "" if everywhere else home
        return await people.guards(api, where), await people.releases(api, where)

    found, releases = _with(read, namespace, context)
    if output is Output.JSON:
        _json([{"guard": f"{namespace_of(one)}/{name_of(one)}", **(one.get("status") or {})} for one in found])
    else:
        _guards(found)
        _at_gates(found, releases)


@app.command(epilog=example("kubectl sternway history orders -n shop"))
def history(service: Service, namespace: Namespace = "", context: Context = "", output: Printed = Output.TEXT) -> None:
    """List a service's releases, the latest first."""
    found = _with(lambda api, home: people.releases_of(api, home, service), namespace, context)
    if output is Output.JSON:
        _json([{"name": name_of(one), **one["spec"], **(one.get("status") or {})} for one in found])
        return
    table = _table("RELEASE", "CANDIDATE", "STABLE", "PHASE", "HURT", "MESSAGE")
    for one in found:
        spec, said = one["spec"], one.get("status") or {}
        versions = (spec["candidate"]["id"], spec["stable"]["id"])
        table.add_row(
            name_of(one), *versions, said.get("phase", ""), str(said.get("hurt", "")), said.get("message", "")
        )
    show(table)


def _verb(verb: Verb, words: str) -> None:
    """Add a command that tells the engine a verb. Only a rollback can be told where to."""

    def tell(
        service: Service,
        namespace: Namespace = "",
        reason: Reason = "",
        context: Context = "",
        output: Printed = Output.TEXT,
    ) -> None:
        _tell(verb, service, namespace, context, output, reason=reason, to=None)

    tell.__doc__ = words
    app.command(verb.value, epilog=example(f"kubectl sternway {verb.value} orders -n shop"))(tell)


_verb(Verb.PROMOTE, "Take the next step, or give a candidate that waits its traffic.")
_verb(Verb.PAUSE, "Hold a release where it is.")
_verb(Verb.RESUME, "Let a paused release go on.")
_verb(Verb.ABORT, "Take a release back.")
_verb(Verb.RETRY, "Release a version again that is held.")
_verb(Verb.APPROVE, "Agree to the version that waits, where a Policy asks for it.")
_verb(Verb.OVERRIDE, "Let one version pass a Policy's freeze; it needs a --reason.")
_verb(Verb.FALSE_ALARM, "Say that a rollback was wrong.")


@app.command(epilog=example("kubectl sternway rollback orders -n shop --to 1.4.1-3f2a91 --reason 'orders are lost'"))
def rollback(
    service: Service,
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="To which proven-good version.")] = None,
    namespace: Namespace = "",
    reason: Reason = "",
    context: Context = "",
    output: Printed = Output.TEXT,
) -> None:
    """Roll back: a release under way, or, after its promotion, to a version that was proven good."""
    _tell(Verb.ROLLBACK, service, namespace, context, output, reason=reason, to=to)


def main() -> None:
    """Run the plugin."""
    try:
        app(prog_name="kubectl sternway")
    except SternwayError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(Code.INTERRUPTED)


def _tell(verb: Verb, service: str, namespace: str, context: str, output: Output, **more: Any) -> None:
    reply = _with(lambda api, home: people.command(api, home, service, verb, by=who(), **more), namespace, context)
    if output is Output.JSON:
        _json(reply.model_dump(by_alias=True))
    elif reply.accepted:
        console().print(reply.message, soft_wrap=True)
    else:
        console(stderr=True).print(f"kubectl sternway: refused: {reply.message}", style="red", soft_wrap=True)
    raise typer.Exit(Code.OK if reply.accepted else Code.PROBLEM)


def _with(work: Callable[[Client, str], Awaitable[T]], namespace: str, context: str) -> T:
    access = find_access(context=context)

    async def run() -> T:
        async with Client(access) as api:
            return await work(api, namespace or access.namespace)

    return asyncio.run(run())


def _guards(found: Sequence[Object]) -> None:
    table = _table("NAMESPACE", "SERVICE", "PHASE", "STABLE", "CANDIDATE", "WEIGHT", "EVIDENCE", "READY", "MESSAGE")
    for one in found:
        said = one.get("status") or {}
        ready = condition_of(one, "Ready").get("status", "")
        why = condition_of(one, "Ready").get("message", "") if ready != "True" else ""
        weight = said.get("weight")
        table.add_row(
            namespace_of(one),
            str(one["spec"].get("service", "")),
            said.get("phase", ""),
            (said.get("stable") or {}).get("id", ""),
            (said.get("candidate") or {}).get("id", ""),
            "" if weight is None else f"{weight:g} %",
            said.get("evidence", ""),
            ready,
            why or said.get("message", ""),
        )
    show(table)
    for one in found:
        unsighted = condition_of(one, "Sighted")
        if unsighted.get("status") == "False":
            _warn(f"{namespace_of(one)}/{one['spec'].get('service', '')}: {unsighted['message']}")


def _at_gates(found: Sequence[Object], releases: Sequence[Object]) -> None:
    """The gates that releases under way wait for, and those that hold them."""
    latest = {(namespace_of(one), (one.get("status") or {}).get("release")) for one in found}
    for one in releases:
        said = one.get("status") or {}
        if (namespace_of(one), name_of(one)) not in latest or said.get("endedAt"):
            continue
        for gate in said.get("gates") or ():
            if gate["state"] in WAITED_FOR:
                since = f" since {gate['since']}" if "since" in gate else ""
                why = f": {gate['message']}" if "message" in gate else ""
                text = f"gate {gate['name']} ({gate['point']}) {gate['state']}{since}{why}"
                _warn(f"{namespace_of(one)}/{one['spec']['service']}: {text}")


def _warn(text: str) -> None:
    console().print(text, style="yellow", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "MESSAGE")
    return table


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
