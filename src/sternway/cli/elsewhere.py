"""The verbs of `sternway` that make no sense in a cluster: typed after `kubectl sternway`, they say what to do instead."""

from __future__ import annotations

import typer

from sternway.errors import Refused

_HERE = "`sternway {0}` does that without a cluster"
INSTEAD = {
    "up": (
        "`up` starts Sternway on one machine",
        "into a cluster: `sternway install --print | kubectl apply --server-side -f -`",
    ),
    "down": (
        "`down` stops Sternway on one machine",
        "`kubectl delete guard NAME` gives a service back; nobody looks after any of them once Sternway's Deployment is gone",
    ),
    "demo": ("`demo` runs its shop on this machine", "`sternway demo` shows it"),
    "services": (
        "a cluster has its own catalogue",
        "`kubectl sternway status` shows what is guarded; `kubectl get services,pods` shows all",
    ),
    "logs": (
        "a cluster has its own logs",
        "`kubectl logs deploy/NAME` shows the candidate's, `kubectl logs deploy/NAME-stable` the proven version's",
    ),
    "set": (
        "in a cluster an image is changed where its Deployment comes from",
        "`kubectl set image deployment/NAME CONTAINER=IMAGE`, or a commit where Argo CD or Flux brings it",
    ),
    "replay": (
        "`replay` needs the journal, which lies with the operator",
        "`kubectl exec -n sternway-system deploy/sternway -- sternway -C /var/lib/sternway replay SERVICE.NAMESPACE-NUMBER`",
    ),
    "notify": (
        "`notify` tries the addresses of a monitoring.yaml",
        "`sternway notify DIR --test` does, with the files that the Secret sternway-monitoring holds",
    ),
    "backtest": ("`backtest` reads recordings", _HERE.format("backtest")),
    "prometheus": ("`prometheus` writes files and reads Prometheus", _HERE.format("prometheus")),
    "install": ("`install` writes manifests", "`sternway install --print | kubectl apply --server-side -f -`"),
    "operator": (
        "the operator is no plugin",
        "`sternway install --print | kubectl apply --server-side -f -` has it run in the cluster; `sternway operator` here",
    ),
    "false-alarm": ("a false alarm is said of a release", "`kubectl sternway release false-alarm RELEASE`"),
}
"""Verb -> (why not here, what to do instead)."""


def add_to(app: typer.Typer) -> None:
    """Have each of them refused with its sentence, whatever follows it."""
    for verb, (why, instead) in INSTEAD.items():
        _add(app, verb, why, instead)


def _add(app: typer.Typer, verb: str, why: str, instead: str) -> None:
    @app.command(
        verb,
        hidden=True,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def _refuse() -> None:
        raise Refused(why, hint=instead)
