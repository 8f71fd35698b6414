"""`sternway prometheus …`: what Prometheus and Grafana need, written from the manifests. Added to `cli.app`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sternway.cli.session import example, unwritable

if TYPE_CHECKING:
    from sternway.manifests.catalogue import Catalogue

app = typer.Typer(help="Write what Prometheus and Grafana need.", no_args_is_help=True, rich_markup_mode=None)


class Format(StrEnum):
    """Forms of a file of rules."""

    YAML = "yaml"
    OPERATOR = "prometheus-operator"


class Target(StrEnum):
    """Where the services run that are scraped."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


class SourceName(StrEnum):
    """Who counts the answers."""

    ENVOY = "envoy"
    ISTIO = "istio"
    LINKERD = "linkerd"
    CONTOUR = "contour"
    CILIUM = "cilium"
    TRAEFIK = "traefik"
    NGINX = "nginx"
    OTEL = "otel"
    HTTP = "http"


FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the manifests.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--output-file", "-f", metavar="FILE", help="Where it is written.", show_default="standard output"),
]
SourceOption = Annotated[
    SourceName | None,
    typer.Option(
        "--source", help="Who counts the answers.", show_default="what each Guard's `builtIn` metrics name, else envoy"
    ),
]


@app.command(
    short_help="Write recording and alerting rules from the Guards.",
    epilog=example(
        "sternway prometheus rules . --output-file rules.yaml",
        "sternway prometheus rules shop/deploy --availability 99.9 | promtool check rules /dev/stdin",
        "sternway prometheus rules . --source istio --format prometheus-operator --label release=monitoring",
    ),
)
def rules(
    folder: FolderArgument = Path(),
    source: SourceOption = None,
    availability: Annotated[
        float | None,
        typer.Option(
            "--availability",
            min=0,
            max=100,
            metavar="PERCENT",
            help="The objective of services whose Guard states no availability.",
            show_default="none, and no alert",
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="A file of rules, or a PrometheusRule.")] = Format.YAML,
    name: Annotated[str, typer.Option("--name", help="The PrometheusRule's name.")] = "sternway",
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="The PrometheusRule's namespace.", show_default="none")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="A label of the PrometheusRule.", show_default="none"),
    ] = None,
    file: FileOption = None,
) -> None:
    """Write rules for Prometheus: error ratios of each service, alerts on Guards' objectives, alerts on Sternway itself.

    Objectives are `judge.objectives` of a Guard. An alert fires when the error budget burns too fast over a long and a short
    window: 14.4 times over 1 h and 5 min, 6 times over 6 h and 30 min (page), 3 times over 1 day and 2 h, once over 3 days
    and 6 h (ticket). Needs no running platform. docs/slo.md tells more.
    """
    from sternway.monitoring import rules as making  # noqa: PLC0415  see the package

    catalogue = _catalogue(folder)
    found = making.rules(catalogue, source=source.value if source else None, availability_percent=availability)
    if form is Format.OPERATOR:
        found = making.as_resource(found, name=name, namespace=namespace, labels=_labels(label or ()))
    if availability is None:
        for service in making.without_objective(catalogue):
            typer.echo(f"note: {service} states no objective, so no alert watches it: see --availability", err=True)
    _write_yaml(found, file, written_by="sternway prometheus rules")


@app.command(
    "scrape-config",
    short_help="Write a scrape configuration.",
    epilog=example(
        "sternway prometheus scrape-config --envoy 127.0.0.1:9901 --output-file scrape.yaml",
        "sternway prometheus scrape-config shop/deploy --platform kubernetes --sternway sternway.sternway:9464",
    ),
)
def scrape_config(
    folder: FolderArgument = Path(),
    platform: Annotated[Target, typer.Option("--platform", help="Where the services run.")] = Target.LOCAL,
    sternway: Annotated[
        str, typer.Option("--sternway", metavar="HOST:PORT", help="Where Sternway serves /metrics.")
    ] = "127.0.0.1:9464",
    envoy: Annotated[
        str | None,
        typer.Option(
            "--envoy", metavar="HOST:PORT", help="Where Envoy serves /stats/prometheus.", show_default="not scraped"
        ),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="FILE", help="A file of targets for file_sd.", show_default="none"),
    ] = None,
    file: FileOption = None,
) -> None:
    """Write what Prometheus scrapes: Sternway itself, Envoy, and replicas that carry the annotation `prometheus.io/scrape`.

    For Kubernetes the pods of the manifests' services are found by Prometheus itself, and labelled by service.
    """
    from sternway.monitoring import scraping  # noqa: PLC0415  see the package

    if platform is Target.KUBERNETES:
        found = scraping.on_kubernetes(_catalogue(folder), sternway=sternway)
    else:
        found = scraping.on_this_machine(sternway=sternway, envoy=envoy, targets=targets)
    _write_yaml(found, file, written_by="sternway prometheus scrape-config")


@app.command(
    short_help="Write a Grafana dashboard.",
    epilog=example(
        "sternway prometheus dashboard --output-file sternway.json",
        "sternway prometheus dashboard --source istio --output-file sternway.json",
    ),
)
def dashboard(source: SourceOption = None, file: FileOption = None) -> None:
    """Write a dashboard for Grafana: releases and their outcome, traffic of both versions, Sternway itself.

    Grafana asks at the import which Prometheus it is to be drawn from.
    """
    import json  # noqa: PLC0415  see the package

    from sternway.monitoring.dashboard import dashboard as draw  # noqa: PLC0415  see the package

    _write(json.dumps(draw(source=(source or SourceName.ENVOY).value), indent=2, ensure_ascii=False) + "\n", file)


@app.command(
    short_help="Record past releases for `sternway backtest`.",
    epilog=example(
        "sternway prometheus record --guard guard.yaml --mesh istio -n shop --prometheus URL --from 2026-11-20T10:00Z",
        "sternway prometheus record --guard guard.yaml --prometheus URL --from 90m --to 30m --stable 1.4.0 --candidate 1.4.1",
        "sternway prometheus record --guard guard.yaml --prometheus URL --releases past.jsonl --output-file history.jsonl",
    ),
)
def record(  # noqa: PLR0917  typer's way to write options
    guard: Annotated[Path, typer.Option("--guard", "-g", help="A manifest with a Guard, or a folder of manifests.")],
    service: Annotated[
        str | None, typer.Option("--service", help="Whose Guard.", show_default="the only one there")
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option("--prometheus", metavar="URL", help="Where it is.", show_default="what --monitoring says"),
    ] = None,
    monitoring: Annotated[
        Path | None, typer.Option("--monitoring", metavar="FILE", help="A monitoring.yaml, for credentials.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="`2026-11-20T10:00Z`, or how long ago: `90m`.")
    ] = None,
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Likewise.")] = "0s",
    release: Annotated[str, typer.Option("--release", help="What it is called in the recording.")] = "release",
    stable: Annotated[
        list[str] | None,
        typer.Option("--stable", metavar="NAME=VALUE", help="What stands for $(NAME); alone: a version."),
    ] = None,
    candidate: Annotated[list[str] | None, typer.Option("--candidate", metavar="NAME=VALUE", help="Likewise.")] = None,
    releases: Annotated[
        str | None,
        typer.Option("--releases", metavar="FILE", help="Many releases, one JSON object a line; `-`: standard input."),
    ] = None,
    mesh: Annotated[str | None, typer.Option("--mesh", help="Add what this mesh counts by itself.")] = None,
    errors: Annotated[
        str | None,
        typer.Option("--errors", metavar="METRIC", help="Which ratio counts errors.", show_default="the first one"),
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="What $(namespace) is.")] = "default",
    deployment: Annotated[
        str | None, typer.Option("--deployment", help="What $(deployment) is.", show_default="as the service")
    ] = None,
    file: FileOption = None,
) -> None:
    """Write what Prometheus still knows of both versions of past releases, as tallies for `sternway backtest`.

    The Guard's ratios and histograms are counted as they are live, from the samples as they were scraped. Begin some minutes before
    the candidate's first request: they are stable's history. docs/backtest.md tells more.
    """
    from sternway.cli import checking, recording  # noqa: PLC0415  see the package

    known = checking.monitoring_in(monitoring).prometheus if monitoring else None
    if (start is None) == (releases is None):
        raise typer.BadParameter("name one release by --from, or many by --releases FILE", param_hint="--from")
    if start is None:
        stretches = list(recording.releases_in(str(releases)))
    else:
        about = {"stable": recording.about_of("--stable", stable or ())}
        about["candidate"] = recording.about_of("--candidate", candidate or ())
        stretches = [recording.stretch_of(release, start, end, about, place={"file": "the range"})]
    told = recording.Told(namespace=namespace, deployment=deployment, mesh=mesh, errors=errors)
    endpoint = recording.endpoint_of(known, prometheus)
    raise typer.Exit(recording.record(stretches, guard, endpoint, told, service=service, out=file))


def _catalogue(folder: Path) -> Catalogue:
    from sternway.cli.checking import files_of  # noqa: PLC0415  see the package
    from sternway.manifests.load import load  # noqa: PLC0415  see the package

    return load(files_of(folder), origin=str(folder.absolute()))


def _labels(stated: list[str] | tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in stated]
    for (key, equals, _), one in zip(pairs, stated, strict=True):
        if not key or not equals:
            raise typer.BadParameter(f"{one!r} is no KEY=VALUE", param_hint="--label")
    return {key: value for key, _, value in pairs}


def _write_yaml(found: dict[str, Any], file: Path | None, *, written_by: str) -> None:
    import yaml  # noqa: PLC0415  see the package

    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=2**31)
    _write(f"# Written by `{written_by}`; write it anew rather than edit it.\n{text}", file)


def _write(text: str, file: Path | None) -> None:
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise unwritable(str(file), exc) from exc
    typer.echo(f"written: {file}", err=True)
