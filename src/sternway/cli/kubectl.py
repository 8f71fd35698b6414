"""`kubectl sternway …`: the verbs of the command line for a cluster. kubectl finds it as `kubectl-sternway` on the PATH.

What each verb reads and writes is in `operator.people`; docs/kubernetes/commands.md has a table, verb by verb.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from sternway.cli import cluster_report, cluster_story, elsewhere
from sternway.cli.changing import who
from sternway.cli.kubectl_completion import releases as release_names
from sternway.cli.kubectl_completion import services as service_names
from sternway.cli.session import Code, Output, console, example, show, show_error, understood
from sternway.clock import SystemClock
from sternway.control.gating import WAITED_FOR
from sternway.domain.releases import Verb
from sternway.errors import SternwayError
from sternway.kubernetes.access import find_access
from sternway.kubernetes.api import Object, condition_of, name_of, namespace_of
from sternway.kubernetes.client import Client
from sternway.kubernetes.errors import Unreachable
from sternway.manifests.models.base import parse_duration
from sternway.manifests.models.status import CommandStatus
from sternway.operator import people
from sternway.operator.accounts import accounts, journal_name
from sternway.web.faults import NotRunning

T = TypeVar("T")

EXIT_CODES = """\b
Exit codes:
  0  done; nothing wrong was found
  1  a problem was found, or a command was refused
  2  the command line was not understood
  3  no cluster answers, or it does not know Guards and Releases
  4  it took too long: nobody has answered the command"""

app = typer.Typer(
    name="kubectl sternway",
    help="Releases and rollbacks of a cluster's services.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
release_app = typer.Typer(help="Look at single releases.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(release_app, name="release")
elsewhere.add_to(app)

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Which namespace.", show_default="that of the context")
]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")]
Context = Annotated[str, typer.Option("--context", help="The cluster, by its name in KUBECONFIG.")]
Kubeconfig = Annotated[
    str, typer.Option("--kubeconfig", metavar="FILE", help="Where the cluster is.", show_default="KUBECONFIG")
]
Service = Annotated[
    str, typer.Argument(metavar="SERVICE", help="The service, or its Guard.", autocompletion=service_names)
]
ReleaseName = Annotated[
    str, typer.Argument(metavar="RELEASE", help="A Release, like orders-17.", autocompletion=release_names)
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept in the journal.")]
Printed = Annotated[Output, typer.Option("--output", "-o", help="How to print it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where somebody wants to look: as kubectl's own options say it, "" where they do not."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""

    @property
    def cluster(self) -> tuple[str, ...]:
        """Kubectl's options that name the cluster."""
        told = {"--context": self.context, "--kubeconfig": self.kubeconfig}
        return tuple(word for option, value in told.items() if value for word in (option, value))


@app.command(epilog=example("kubectl sternway status", "kubectl sternway status -A -o json"))
def status(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Only this service.", autocompletion=service_names)
    ] = None,
    namespace: Namespace = "",
    everywhere: Everywhere = False,  # noqa: FBT002  typer's way to write a flag
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """Show where every service and its release stand."""

    async def read(api: Client, home: str) -> tuple[Sequence[Object], Sequence[Object]]:
        if service is not None:
            return (await people.guard_of(api, home, service),), await people.releases_of(api, home, service)
        where = "" if everywhere else home
        return await people.guards(api, where), await people.releases(api, where)

    found, releases = _with(read, Place(namespace=namespace, context=context, kubeconfig=kubeconfig))
    if output is Output.JSON:
        _json([{"guard": f"{namespace_of(one)}/{name_of(one)}", **(one.get("status") or {})} for one in found])
    else:
        _guards(found)
        _at_gates(found, releases)


@app.command(epilog=example("kubectl sternway history orders -n shop"))
def history(
    service: Service,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """List a service's releases, the latest first."""
    place = Place(namespace=namespace, context=context, kubeconfig=kubeconfig)
    found = _with(lambda api, home: people.releases_of(api, home, service), place)
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


@app.command(
    epilog=example(
        "kubectl sternway report -A", "kubectl sternway report -n shop --since 7d --service orders --output json"
    )
)
def report(
    since: Annotated[str, typer.Option("--since", help="How far to look back: 12h, 7d; a year at most.")] = "30d",
    service: Annotated[
        str | None, typer.Option("--service", help="Only this service.", autocompletion=service_names)
    ] = None,
    namespace: Namespace = "",
    everywhere: Everywhere = False,  # noqa: FBT002  typer's way to write a flag
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """Say how well releases went, from the Releases that stand there: DORA's four keys, and what only Sternway knows.

    Ten Releases of a Guard stay: what is gone, and what was written before Releases held figures, is said and left out.
    The journal knows all; its command line is printed below.
    """
    since_s = understood("--since", parse_duration, since)
    place = Place(namespace=namespace, context=context, kubeconfig=kubeconfig)

    async def read(api: Client, home: str) -> tuple[Sequence[Object], str]:
        where = "" if everywhere else home
        one = () if service is None else ("--service", f"{service}.{home}")
        exec_line = await people.in_the_journal(api, "report", "--since", since, *one, cluster=place.cluster)
        found = people.releases(api, where) if service is None else people.releases_of(api, home, service)
        return await found, exec_line

    found, exec_line = _with(read, place)
    made = cluster_report.report(accounts(found), now_s=SystemClock().now(), since_s=since_s, exec_line=exec_line)
    if output is Output.JSON:
        _json(cluster_report.as_json(made))
    else:
        show(cluster_report.rendered(made))
        _ask_the_journal("The journal knows every release", exec_line)


@app.command(epilog=example("kubectl sternway check -n shop", "kubectl sternway check orders -n shop --rps 50"))
def check(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Only this service.", autocompletion=service_names)
    ] = None,
    rps: Annotated[
        float | None, typer.Option("--rps", min=0.001, help="Requests per second, for the forecast.")
    ] = None,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """Say whether the Guards of a namespace are valid and in force, and how soon a fault would be found.

    `sternway check DIR` validates manifests before they are in the cluster.
    """
    from sternway.cli import cluster_check  # noqa: PLC0415  see the package

    async def read(api: Client, home: str) -> Sequence[Object]:
        return await people.guards(api, home) if service is None else (await people.guard_of(api, home, service),)

    guards = _with(read, Place(namespace=namespace, context=context, kubeconfig=kubeconfig))
    found = cluster_check.check(guards, rps)
    if output is Output.JSON:
        _json(cluster_check.as_json(found))
    else:
        show(cluster_check.rendered(found))
    raise typer.Exit(Code.PROBLEM if any(one.problems for one in found) else Code.OK)


@release_app.command("show", epilog=example("kubectl sternway release show orders-17 -n shop"))
def release_show(
    release: ReleaseName,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """Tell the story of a release from its status: what changed, what was decided, who was hurt, what to do next.

    The journal knows more, the evidence and every moment; the command line that asks it is printed below.
    """
    place = Place(namespace=namespace, context=context, kubeconfig=kubeconfig)

    async def read(api: Client, home: str) -> tuple[Object, Object | None, str]:
        found = await people.release_of(api, home, release)
        exec_line = await people.in_the_journal(api, "release", "show", journal_name(found), cluster=place.cluster)
        return found, await people.guard_behind(api, found), exec_line

    found, guard, exec_line = _with(read, place)
    if output is Output.JSON:
        names = {"name": name_of(found), "namespace": namespace_of(found)}
        _json({**names, **found["spec"], **(found.get("status") or {}), "journal": exec_line})
    else:
        show(cluster_story.rendered(found, guard))
        _ask_the_journal("The journal holds the evidence, each judgement and the timeline", exec_line)


@release_app.command(
    "false-alarm",
    epilog=example('kubectl sternway release false-alarm orders-17 -n shop --reason "the database was down"'),
)
def release_false_alarm(
    release: ReleaseName,
    namespace: Namespace = "",
    reason: Reason = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """Say that a rollback by Sternway was wrong, so that it is counted as a false alarm. The version stays held."""
    place = Place(namespace=namespace, context=context, kubeconfig=kubeconfig)
    _told(_with(lambda api, home: people.false_alarm(api, home, release, by=who(), reason=reason), place), output)


def _verb(verb: Verb, words: str) -> None:
    """Add a command that tells the engine a verb. Only a rollback can be told where to."""

    def tell(
        service: Service,
        namespace: Namespace = "",
        reason: Reason = "",
        context: Context = "",
        kubeconfig: Kubeconfig = "",
        output: Printed = Output.TEXT,
    ) -> None:
        place = Place(namespace=namespace, context=context, kubeconfig=kubeconfig)
        _tell(verb, service, place, output, reason=reason, to=None)

    tell.__doc__ = words
    app.command(verb.value, epilog=example(f"kubectl sternway {verb.value} orders -n shop"))(tell)


_verb(Verb.PROMOTE, "Take the next step, or give a candidate that waits its traffic.")
_verb(Verb.PAUSE, "Hold a release where it is.")
_verb(Verb.RESUME, "Let a paused release go on.")
_verb(Verb.ABORT, "Take a release back.")
_verb(Verb.RETRY, "Release a version again that is held.")
_verb(Verb.APPROVE, "Agree to the version that waits, where a Policy asks for it.")
_verb(Verb.OVERRIDE, "Let one version pass a Policy's freeze; it needs a --reason.")


@app.command(epilog=example("kubectl sternway rollback orders -n shop --to 1.4.1-3f2a91 --reason 'orders are lost'"))
def rollback(
    service: Service,
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="To which proven-good version.")] = None,
    namespace: Namespace = "",
    reason: Reason = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Printed = Output.TEXT,
) -> None:
    """Roll back: a release under way, or, after its promotion, to a version that was proven good."""
    place = Place(namespace=namespace, context=context, kubeconfig=kubeconfig)
    _tell(Verb.ROLLBACK, service, place, output, reason=reason, to=to)


@app.command()
def version() -> None:
    """Print the plugin's version."""
    from sternway import __version__  # noqa: PLC0415  see the package

    typer.echo(f"kubectl sternway {__version__}")


def main() -> None:
    """Run the plugin."""
    try:
        app(prog_name="kubectl sternway")
    except Unreachable as error:
        show_error(error)
        sys.exit(Code.NOT_RUNNING)
    except people.Unanswered as error:
        show_error(error)
        sys.exit(Code.TIMED_OUT)
    except SternwayError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(Code.INTERRUPTED)


def _tell(verb: Verb, service: str, place: Place, output: Output, **more: Any) -> None:
    _told(_with(lambda api, home: people.command(api, home, service, verb, by=who(), **more), place), output)


def _told(reply: CommandStatus, output: Output) -> None:
    if output is Output.JSON:
        _json(reply.model_dump(by_alias=True))
    elif reply.accepted:
        console().print(reply.message, soft_wrap=True)
    else:
        console(stderr=True).print(f"kubectl sternway: refused: {reply.message}", style="red", soft_wrap=True)
    raise typer.Exit(Code.OK if reply.accepted else Code.PROBLEM)


def _with(work: Callable[[Client, str], Awaitable[T]], place: Place) -> T:
    """Do some work with a cluster. Raises NotRunning where it knows no Guards and Releases."""
    told = {"KUBECONFIG": place.kubeconfig} if place.kubeconfig else {}
    access = find_access(context=place.context, environment={**os.environ, **told})

    async def run() -> T:
        async with Client(access) as api:
            try:
                return await work(api, place.namespace or access.namespace)
            except SternwayError as error:
                if isinstance(error, Unreachable) or await people.installed(api):
                    raise
                raise NotRunning(
                    f"the cluster at {access.server} knows no Guards and Releases: Sternway is not installed there",
                    hint="`sternway install --print | kubectl apply --server-side -f -` installs it",
                ) from error

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


def _ask_the_journal(why: str, exec_line: str) -> None:
    """Say who knows more. The command line stays whole, to be copied."""
    console().print(f"{why}:\n  {exec_line}", soft_wrap=True)


def _warn(text: str) -> None:
    console().print(text, style="yellow", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "MESSAGE")
    return table


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
