"""Every command, with its arguments, help and examples. READ THIS FIRST; the work is in the modules beside it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sternway.cli import completion, observing
from sternway.cli.interrupts import ending_at_once
from sternway.cli.plotting import WithPlot
from sternway.cli.session import Code, Output, show_error, unwritable
from sternway.cli.session import example as _example
from sternway.errors import SternwayError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

EXIT_CODES = """\b
Exit codes:
  0  done; nothing wrong was found
  1  a problem was found, or a command was refused
  2  the command line was not understood
  3  no platform is running here
  4  it took too long"""


class Commands(TyperGroup):
    """The root group: what goes wrong in any command is shown with its hint, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except SternwayError as error:
            raise typer.Exit(show_error(error)) from error
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise typer.Exit(show_error(unwritable("the output", error))) from error
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(Code.INTERRUPTED) from interrupt


app = typer.Typer(
    cls=Commands,
    name="sternway",
    help="Expose every change step by step, judge it, and take it back before users notice.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
set_app = typer.Typer(help="Change something in Git.", no_args_is_help=True, rich_markup_mode=None)
release_app = typer.Typer(help="Look at single releases.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(set_app, name="set")
app.add_typer(release_app, name="release")
app.add_typer(observing.app, name="prometheus")

OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print it.")]
ServiceArgument = Annotated[
    str, typer.Argument(metavar="SERVICE", help="The service's name.", autocompletion=completion.services)
]
ReleaseArgument = Annotated[
    str, typer.Argument(metavar="RELEASE", help="A release, like orders-17.", autocompletion=completion.releases)
]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept in the journal.")]


@app.callback()
def _root(
    ctx: typer.Context,
    folder: Annotated[
        Path,
        typer.Option(
            "--dir",
            "-C",
            envvar="STERNWAY_DIR",
            metavar="DIR",
            help="The platform's folder, or one below it.",
            show_default="the current folder",
        ),
    ] = Path(),
) -> None:
    ctx.obj = folder


@app.command(
    epilog=_example(
        "sternway up .                          # the repository that you are in",
        "sternway up shop --path deploy --detach",
        "sternway up https://git.example.org/shop.git --branch main --state ~/shop",
        "sternway up . --metrics 127.0.0.1:9464   # for Prometheus to scrape",
        "sternway up . --prometheus off         # without metrics and alerts of our own",
    )
)
def up(
    source: Annotated[str, typer.Argument(metavar="DIR", help="A Git repository: a folder, or an address.")],
    branch: Annotated[
        str | None, typer.Option("--branch", "-b", help="The branch to follow.", show_default="the one checked out")
    ] = None,
    path: Annotated[str, typer.Option("--path", "-p", help="The manifests' folder within the repository.")] = "",
    state: Annotated[
        Path | None,
        typer.Option("--state", "-s", help="Where .sternway/ is kept.", show_default="DIR, or here for an address"),
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus",
            metavar="URL|start|off",
            help="Where Prometheus is; or insist on one of our own, or have none.",
            show_default="what monitoring.yaml says, or our own when it is installed",
        ),
    ] = None,
    alertmanager: Annotated[
        str | None,
        typer.Option(
            "--alertmanager",
            metavar="URL|start|off",
            help="Where Alertmanager is; likewise.",
            show_default="what monitoring.yaml says, or our own beside our own Prometheus",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="HOST:PORT",
            help="Serve Sternway's own metrics there.",
            show_default="what monitoring.yaml says",
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Go on in the background; return when ready.")] = False,  # noqa: FBT002  typer's way to write a flag
) -> None:
    """Start the platform: services, proxy, and watching the branch.

    Stays in the foreground and tells what happens; Ctrl-C stops everything gracefully, a second one at once.
    """
    from sternway.cli import running  # noqa: PLC0415  see the package

    code = running.up(
        source,
        path=path,
        state=state,
        detach=detach,
        branch=branch,
        prometheus=prometheus,
        alertmanager=alertmanager,
        metrics=metrics,
    )
    raise typer.Exit(code)


@app.command(
    epilog=_example("sternway down", "sternway down --keep   # the next `sternway up` takes the services over")
)
def down(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave services and proxy running, unwatched.")] = False,  # noqa: FBT002  typer's way to write a flag
) -> None:
    """Stop the platform, gracefully."""
    from sternway.cli import running  # noqa: PLC0415  see the package

    running.down(ctx.obj, keep=keep)


@app.command(
    epilog=_example("sternway status", "sternway status orders --watch", "sternway status --output json | jq .services")
)
def status(
    ctx: typer.Context,
    service: Annotated[
        str | None,
        typer.Argument(metavar="SERVICE", help="Only this service.", autocompletion=completion.services),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it.")] = False,  # noqa: FBT002  typer's way to write a flag
    output: OutputOption = Output.TEXT,
) -> None:
    """Show where every service and its release stand.

    With --watch, a terminal shows it live; elsewhere a line is printed for each change (with JSON: the whole status).
    """
    from sternway.cli import reading  # noqa: PLC0415  see the package

    reading.status(ctx.obj, service, watch=watch, output=output)


@app.command(epilog=_example("sternway history orders", "sternway history orders --output json"))
def history(ctx: typer.Context, service: ServiceArgument, output: OutputOption = Output.TEXT) -> None:
    """List a service's releases, the latest first."""
    from sternway.cli import reading  # noqa: PLC0415  see the package

    reading.history(ctx.obj, service, output=output)


@app.command(
    short_help="Say how well it delivers: DORA's four keys.",
    epilog=_example(
        "sternway report",
        "sternway report --since 7d --service orders",
        "sternway report --output json | jq .total",
    ),
)
def report(
    ctx: typer.Context,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="How far to look back: 12h, 7d; a year at most.")
    ] = "30d",
    service: Annotated[
        str | None,
        typer.Option("--service", help="Only this service.", autocompletion=completion.services),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say how well releases went, from the journal: DORA's four keys, and what only Sternway knows.

    Deployment frequency, lead time for changes, change failure rate, time to restore service; time to detect, requests hurt,
    false alarms, blind time. Each with how it is computed. Needs no running platform.
    """
    from sternway.cli import reporting  # noqa: PLC0415  see the package

    reporting.report(ctx.obj, since, service, output=output)


@release_app.command(
    "show",
    cls=WithPlot,
    epilog=_example(
        "sternway release show orders-17",
        "sternway release show orders-17 --plot",
        "sternway release show orders-17 --plot orders-17.svg",
    ),
)
def release_show(
    ctx: typer.Context,
    release: ReleaseArgument,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="[FILE]", help="Draw the evidence over time, here or as FILE.svg or FILE.png."),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell the story of a release: what changed, what was seen, what was decided and done, what to do next.

    With --plot, also how the evidence of each criterion rose and fell, recomputed from the journal; needs no running
    platform. As JSON that is `trail`.
    """
    from sternway.cli import reading  # noqa: PLC0415  see the package

    reading.release(ctx.obj, release, plot=plot, output=output)


@release_app.command(
    "false-alarm",
    short_help="Say that a rollback was wrong.",
    epilog=_example('sternway release false-alarm orders-17 --reason "the database was down"'),
)
def release_false_alarm(
    ctx: typer.Context, release: ReleaseArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Say that a rollback by Sternway was wrong, so that it is counted as a false alarm. The version stays held.

    `sternway retry` releases the version again; when it is promoted then, that counts as a false alarm by itself.
    """
    _command(ctx, "false-alarm", release.rpartition("-")[0] or release, reason, output, to=release)


@app.command(
    short_help="Show addresses, replicas, and who calls whom.",
    epilog=_example("sternway services", "sternway services --output json"),
)
def services(ctx: typer.Context, output: OutputOption = Output.TEXT) -> None:
    """Show the catalogue: addresses, versions, replicas and their health, who calls whom."""
    from sternway.cli import reading  # noqa: PLC0415  see the package

    reading.services(ctx.obj, output=output)


@app.command(epilog=_example("sternway logs orders", "sternway logs orders --follow --lines 0"))
def logs(
    ctx: typer.Context,
    service: ServiceArgument,
    replica: Annotated[str | None, typer.Option("--replica", help="Only this replica's.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="The last lines of each.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,  # noqa: FBT002  typer's way to write a flag
    output: OutputOption = Output.TEXT,
) -> None:
    """Show what a service's replicas wrote."""
    from sternway.cli import reading  # noqa: PLC0415  see the package

    reading.logs(ctx.obj, service, replica=replica, lines=lines, follow=follow, output=output)


@app.command(
    short_help="Recompute a release from the journal.",
    epilog=_example("sternway replay orders-17"),
)
def replay(ctx: typer.Context, release: ReleaseArgument, output: OutputOption = Output.TEXT) -> None:
    """Recompute every judgement and decision of a release from the journal, and say whether they match."""
    from sternway.cli import reading  # noqa: PLC0415  see the package

    raise typer.Exit(reading.replay(ctx.obj, release, output=output))


@app.command(
    short_help="Validate the manifests in a folder.",
    epilog=_example(
        "sternway check .",
        "sternway check shop/deploy --rps 50     # how soon a fault would be found at this traffic",
        "sternway check shop/deploy --output json",
    ),
)
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the manifests.")] = Path(),
    rps: Annotated[
        float | None,
        typer.Option("--rps", min=0.01, help="Requests per second.", show_default="what a running platform sees"),
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus", metavar="URL", help="Where Prometheus is.", show_default="what monitoring.yaml says"
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Validate the manifests as they stand in a folder and explain what would happen; change nothing.

    Needs no running platform and no commit. Every problem is printed, not only the first. Where the traffic is known
    (--rps, or a platform that runs for the folder), each Guard's releases are simulated with the judge: how many requests
    and how long it takes to find faults of 0.5 %, 1 %, 5 % and total failure, and what to change where one is missed.
    Where it is known where Prometheus is, every query of a Guard's metrics is run, and its result shown.
    """
    from sternway.cli import checking  # noqa: PLC0415  see the package

    raise typer.Exit(checking.check(folder, rps=rps, prometheus=prometheus, output=output))


@app.command(
    short_help="Show and test who is told of rollbacks.",
    epilog=_example("sternway notify .", "sternway notify shop/deploy --test", "sternway notify . --output json"),
)
def notify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the manifests.")] = Path(),
    test: Annotated[bool, typer.Option("--test", help="Send each address a message; ask Alertmanager too.")] = False,  # noqa: FBT002  typer's way to write a flag
    output: OutputOption = Output.TEXT,
) -> None:
    """Show whom monitoring.yaml tells of what, and whether each address can be read; with --test, send to each of them.

    Needs no running platform. Addresses are named by their files and their kind alone, never shown.
    """
    from sternway.cli import telling  # noqa: PLC0415  see the package

    raise typer.Exit(telling.notify(folder, test=test, output=output))


@app.command(
    short_help="Replay recorded releases against a Guard.",
    epilog=_example(
        "sternway backtest history.jsonl --guard guard.yaml",
        "sternway backtest *.jsonl --guard shop/deploy --service orders --compare flagger,argo,kayenta",
        "sternway backtest history.jsonl --guard guard.yaml --plot orders-17 orders-17.svg",
        "zcat old.jsonl.gz | sternway backtest - --guard guard.yaml --compare flagger:interval=10s,threshold=1 -o json",
    ),
)
def backtest(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="JSON Lines; `-` is the standard input.")],
    guard: Annotated[Path, typer.Option("--guard", "-g", help="A manifest with a Guard, or a folder of manifests.")],
    service: Annotated[
        str | None, typer.Option("--service", help="Whose Guard.", show_default="the only one there")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option("--compare", help="Rules to compare with: flagger, argo, kayenta.", show_default="none"),
    ] = None,
    plot: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--plot",
            metavar="RELEASE FILE",
            help="Draw the evidence of a release as FILE.svg or FILE.png, or here: `-`.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say what a Guard would have done with recorded releases and when, and what other tools' rules would have done.

    Needs no running platform. A line is an answer or a tally; docs/backtest.md says what a recording can tell.
    """
    from sternway.cli import backtesting  # noqa: PLC0415  see the package

    raise typer.Exit(backtesting.run(files, guard, service=service, compare=compare or (), plot=plot, output=output))


@set_app.command(
    "image",
    epilog=_example(
        "sternway set image deployment/my-service my-service=my-service:1.1.0",
        'sternway set image deployment/orders orders=shop/orders:1.2.0 -m "Faster orders"',
    ),
)
def set_image(
    ctx: typer.Context,
    deployment: Annotated[
        str, typer.Argument(metavar="deployment/NAME", help="Which.", autocompletion=completion.deployments)
    ],
    image: Annotated[str, typer.Argument(metavar="CONTAINER=IMAGE", help="The container, and its new image.")],
    message: Annotated[str, typer.Option("--message", "-m", help="The commit's message.")] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Commit another image to Git; comments and layout of the file stay as they are. The release follows by itself."""
    from sternway.cli import changing  # noqa: PLC0415  see the package

    changing.set_image(ctx.obj, deployment, image, message=message, output=output)


@app.command(epilog=_example("sternway promote orders", 'sternway promote orders --reason "checked by hand"'))
def promote(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Give the candidate all traffic now; when it bakes, end the bake."""
    _command(ctx, "promote", service, reason, output)


@app.command(epilog=_example('sternway pause orders --reason "looking at the logs"'))
def pause(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Hold the release at its step; harm still takes it back."""
    _command(ctx, "pause", service, reason, output)


@app.command(
    short_help="Let a paused or asking release go on.",
    epilog=_example("sternway resume orders"),
)
def resume(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Go on with a paused release, or let one go on that asks for a person's word."""
    _command(ctx, "resume", service, reason, output)


@app.command(
    short_help="Take the candidate away; leave Git as it is.",
    epilog=_example('sternway abort orders --reason "wrong day"'),
)
def abort(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Take the candidate's traffic away for good; Git stays as it is, and the version is held."""
    _command(ctx, "abort", service, reason, output)


@app.command(epilog=_example("sternway retry orders"))
def retry(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Release a version again that Git asks for and that is held."""
    _command(ctx, "retry", service, reason, output)


@app.command(epilog=_example("sternway approve orders", 'sternway approve orders --reason "seen at the preview"'))
def approve(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Agree to the version that waits, where a Policy asks for a person's approval."""
    _command(ctx, "approve", service, reason, output)


@app.command(epilog=_example('sternway override orders --reason "the shop is down without it"'))
def override(
    ctx: typer.Context, service: ServiceArgument, reason: ReasonOption = "", output: OutputOption = Output.TEXT
) -> None:
    """Let one version pass a Policy's freeze, for a reason."""
    _command(ctx, "override", service, reason, output)


@app.command(
    short_help="Go back to a version that was proven good.",
    epilog=_example(
        "sternway rollback orders                 # to the version that was proven good last",
        "sternway rollback orders --to 1.0.0",
        'sternway rollback orders --to 1.0.0-3f2a91 --reason "wrong prices"',
    ),
)
def rollback(
    ctx: typer.Context,
    service: ServiceArgument,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A version, tag, image or commit.", show_default="the last one proven good"),
    ] = None,
    reason: ReasonOption = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Roll back: a release under way, or, after its promotion, to a version that was proven good."""
    _command(ctx, "rollback", service, reason, output, to=to)


def _command(
    ctx: typer.Context, verb: str, service: str, reason: str, output: Output, *, to: str | None = None
) -> None:
    from sternway.cli import changing  # noqa: PLC0415  see the package

    raise typer.Exit(changing.command(ctx.obj, verb, service, to=to, reason=reason, output=output))


@app.command(
    short_help="See bad releases being taken back.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog=_example("sternway demo", "sternway demo --fast", "sternway demo --scenario errors --output json"),
)
def demo(ctx: typer.Context) -> None:
    """Show bad releases being taken back, on a sample shop on this machine. `sternway demo --help` tells more."""
    from importlib import import_module  # noqa: PLC0415  see the package

    with ending_at_once():
        run = import_module("sternway.demo.run")
    raise typer.Exit(run.main(ctx.args))


@app.command(
    short_help="Look after the services of a Kubernetes cluster.",
    epilog=_example(
        "sternway operator --prometheus http://127.0.0.1:9090     # from a laptop, by KUBECONFIG",
        "sternway operator --namespace shop --namespace payments --mesh istio",
    ),
)
def operator(  # noqa: PLR0917  typer's way to write options
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Look after this one alone.", show_default="every namespace"),
    ] = None,
    context: Annotated[str, typer.Option("--context", help="The cluster, by its name in KUBECONFIG.")] = "",
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Where Prometheus is.")] = "",
    alertmanager: Annotated[str, typer.Option("--alertmanager", metavar="URL", help="Where Alertmanager is.")] = "",
    monitoring: Annotated[
        Path | None,
        typer.Option("--monitoring", metavar="FILE", help="A monitoring.yaml: credentials, webhook, who is told."),
    ] = None,
    git: Annotated[
        Path | None,
        typer.Option("--git", metavar="FOLDER", help="Credentials for Git: what the Secret sternway-git holds."),
    ] = None,
    mesh: Annotated[str, typer.Option("--mesh", help="Which mesh carries the traffic.", show_default="found")] = "",
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="For probes.")] = "127.0.0.1:8080",
    access_log: Annotated[
        str,
        typer.Option(
            "--access-log", metavar="HOST:PORT", help="Where the mesh's proxies send their access log, or off."
        ),
    ] = "127.0.0.1:15010",
    state: Annotated[
        Path | None, typer.Option("--state", help="Where the journal is kept.", show_default="~/.local/state/sternway")
    ] = None,
    lease: Annotated[
        str, typer.Option("--lease", metavar="NAMESPACE", help="Elect a leader there, among several replicas.")
    ] = "",
) -> None:
    """Look after every service that has a Guard, until stopped.

    Runs in the cluster (`sternway install` puts it there) or beside it. Stopping it changes nothing: the split stays as it
    is, and the next start goes on.
    """
    from sternway.cli import operating  # noqa: PLC0415  see the package

    code = operating.operator(
        namespaces=[one for listed in namespace or () for one in listed.split(",") if one],
        listen=listen,
        state=state or Path(operating.default_state()),
        lease=lease,
        context=context,
        monitoring=monitoring,
        git=git,
        prometheus=prometheus,
        alertmanager=alertmanager,
        mesh=mesh,
        access_log=access_log,
    )
    raise typer.Exit(code)


@app.command(
    short_help="Put Sternway into a Kubernetes cluster.",
    epilog=_example(
        "sternway install --print | kubectl apply --server-side -f -",
        "sternway install --print --watch shop --watch payments --prometheus http://prometheus.monitoring:9090",
    ),
)
def install(
    print_: Annotated[bool, typer.Option("--print", help="Write the manifests; change nothing.")] = False,  # noqa: FBT002  typer's way to write a flag
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where Sternway itself runs.")
    ] = "sternway-system",
    watch: Annotated[
        list[str] | None,
        typer.Option("--watch", metavar="NAMESPACE", help="Look after these alone.", show_default="every namespace"),
    ] = None,
    image: Annotated[str, typer.Option("--image", help="Sternway's own image.")] = "sternway:dev",
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Where Prometheus is.")] = "",
    alertmanager: Annotated[str, typer.Option("--alertmanager", metavar="URL", help="Where Alertmanager is.")] = "",
    mesh: Annotated[str, typer.Option("--mesh", help="Which mesh carries the traffic.", show_default="found")] = "",
) -> None:
    """Write all that stands in a cluster that has Sternway: custom resource definitions, rights, its Deployment.

    With --watch it gets rights in those namespaces alone. The rights are the least that it needs: no node, no role.
    """
    from sternway.cli import cluster  # noqa: PLC0415  see the package

    told = {
        "namespace": namespace,
        "image": image,
        "prometheus": prometheus,
        "alertmanager": alertmanager,
        "mesh": mesh,
    }
    cluster.install(print_=print_, watches=tuple(watch or ()), **told)


@app.command()
def version() -> None:
    """Print Sternway's version."""
    from sternway import __version__  # noqa: PLC0415  see the package

    typer.echo(f"sternway {__version__}")
