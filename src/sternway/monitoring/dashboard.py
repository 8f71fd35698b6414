"""A dashboard for Grafana, as the JSON that it imports. Called by `sternway prometheus dashboard`.

The panels are data: rows of titles, queries and units, laid out from left to right. `$service` is chosen at the top; the
data source is asked for at the import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sternway.domain.metrics import fill
from sternway.manifests.builtin_metrics import SOURCES, Source
from sternway.monitoring.objectives import ERRORS, REQUESTS, WINDOWS

Json = dict[str, Any]

_COLUMNS, _HEIGHT = 24, 8
_PROMETHEUS = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
_OURS = 'service=~"$service"'
_TIMES = ("detect", "restore", "revert")
_DURATIONS = ("judge", "act", "reconcile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. queries: (expression, legend). width: of 24 columns."""

    title: str
    queries: tuple[tuple[str, str], ...]
    text: str
    kind: Literal["stat", "timeseries", "state-timeline"] = "timeseries"
    unit: str = "short"
    width: int = 8
    most: float | None = None

    def to_json(self, id_: int, x: int, y: int) -> Json:
        """Give it as Grafana reads it; a stat looks at the whole range at once."""
        targets = [
            {
                "refId": chr(ord("A") + index),
                "datasource": _PROMETHEUS,
                "editorMode": "code",
                "expr": expr,
                "legendFormat": legend,
                "instant": self.kind == "stat",
                "range": self.kind != "stat",
            }
            for index, (expr, legend) in enumerate(self.queries)
        ]
        limits = {} if self.most is None else {"min": 0, "max": self.most}
        return {
            "id": id_,
            "type": self.kind,
            "title": self.title,
            "description": self.text,
            "datasource": _PROMETHEUS,
            "gridPos": {"h": _HEIGHT, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": {"unit": self.unit, **limits}, "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": targets,
        }


_OPTIONS: dict[str, Json] = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "value_and_name"},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "state-timeline": {"mergeValues": True, "showValue": "never", "legend": {"displayMode": "list"}},
}


def dashboard(*, source: str) -> Json:
    """Give the dashboard. source: who counts the answers of both versions."""
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus",
                "description": "Scrapes Sternway and the mesh",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "9.5.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
            *({"type": "panel", "id": kind, "name": kind.capitalize(), "version": ""} for kind in _OPTIONS),
        ],
        "uid": f"sternway-{source}",
        "title": "Sternway",
        "description": "Releases, both versions' traffic, and Sternway itself. Written by `sternway prometheus dashboard`.",
        "tags": ["sternway"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "",
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_variable()]},
        "annotations": {"list": [_taken_back()]},
        "panels": list(_laid_out(_rows(SOURCES[source]))),
    }


def _variable() -> Json:
    query = "label_values(sternway_release_phase, service)"
    return {
        "name": "service",
        "label": "Service",
        "type": "query",
        "datasource": _PROMETHEUS,
        "definition": query,
        "query": {"query": query, "refId": "service"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _taken_back() -> Json:
    return {
        "name": "Taken back",
        "datasource": _PROMETHEUS,
        "enable": True,
        "iconColor": "red",
        "expr": f'max by (service) (sternway_release_phase{{{_OURS},phase="rolling-back"}}) == 1',
        "titleFormat": "{{service}} is taken back",
    }


def _rows(source: Source) -> tuple[tuple[str, tuple[Panel, ...]], ...]:
    return (
        ("Releases", (*_releases(), *_times())),
        ("Now", _now()),
        ("Both versions", _versions(source)),
        ("Objectives", _objectives()),
        ("Sternway itself", _itself()),
    )


def _grown(metric: str, by: str = "service") -> str:
    return f"sum by ({by}) (increase({metric}{{{_OURS}}}[$__range]))"


def _releases() -> tuple[Panel, ...]:
    releases = (_grown("sternway_releases_total", "outcome"), "{{outcome}}")
    counts = (
        ("Withdrawals", ("withdrawals",), "How often traffic was taken away on suspicion, reversibly."),
        (
            "Requests hurt and rescued",
            ("requests_hurt", "requests_rescued"),
            "Requests that a candidate failed; rescued: a caller saw nothing of it.",
        ),
        ("False alarms", ("false_alarms",), "Rollbacks that people said were wrong."),
    )
    return (
        Panel(
            title="Releases by outcome",
            queries=(releases,),
            text="How they ended, in the time shown.",
            kind="stat",
            width=6,
        ),
        *(
            Panel(
                title=title,
                queries=tuple(
                    (_grown(f"sternway_{name}_total"), f"{{{{service}}}}, {name.rpartition('_')[2]}") for name in names
                ),
                text=text,
                kind="stat",
                width=6,
            )
            for title, names, text in counts
        ),
    )


def _times() -> Iterator[Panel]:
    said = {
        "detect": "From the first bad answer to the decision that took traffic away.",
        "restore": "From the first bad answer until all traffic was back at stable for good.",
        "revert": "From the first bad answer until the revert stood in Git.",
    }
    for time in _TIMES:
        buckets = _grown(f"sternway_time_to_{time}_seconds_bucket", "le")
        queries = tuple((f"histogram_quantile({q}, {buckets})", f"p{round(q * 100)}") for q in (0.5, 0.9))
        yield Panel(title=f"Time to {time}", queries=queries, text=said[time], kind="stat", unit="s")


def _now() -> tuple[Panel, ...]:
    phase = f"max by (service, phase) (sternway_release_phase{{{_OURS}}}) == 1"
    blind = f"max by (service) (sternway_blind{{{_OURS}}})"
    blind_for = f"sum by (service) (rate(sternway_blind_seconds_total{{{_OURS}}}[$__rate_interval]))"
    return (
        Panel(
            title="Where each release stands",
            queries=((phase, "{{service}}: {{phase}}"),),
            text="The phase of the release under way or last.",
            kind="state-timeline",
            width=12,
        ),
        Panel(
            title="The candidate's share",
            queries=((f"max by (service) (sternway_candidate_weight_percent{{{_OURS}}})", "{{service}}"),),
            text="The part of the traffic that the candidate gets.",
            unit="percent",
            width=12,
            most=100,
        ),
        Panel(
            title="Blind",
            queries=((blind, "{{service}}"), (blind_for, "{{service}}, part of the time")),
            text="1 while nothing can be seen of a release: its split holds.",
            most=1,
        ),
        Panel(
            title="Troubles",
            queries=((f"max by (service) (sternway_trouble{{{_OURS}}})", "{{service}}"),),
            text="How much `sternway status` tells of that is in the way.",
        ),
        Panel(
            title="Requests to candidates",
            queries=(
                (
                    f"sum by (service) (rate(sternway_candidate_requests_total{{{_OURS}}}[$__rate_interval]))",
                    "{{service}}",
                ),
            ),
            text="What candidates answer.",
            unit="reqps",
        ),
    )


def _versions(source: Source) -> tuple[Panel, ...]:
    """By the label that tells versions apart. What the shield rescued is a failure of the version all the same."""
    labels = fill(
        source.whole.replace('="$(', '=~"$('), {"service": "$service", "deployment": "$service", "namespace": ".+"}
    )
    by, total = source.version, f"{source.requests}{{{labels}}}"
    rate = f"sum by ({by}) (rate({total}[$__rate_interval]))"
    failed = [
        f"(sum by ({by}) (rate({counter}{{{labels},{source.bad}}}[$__rate_interval])) or 0 * {rate})"
        for counter in (source.requests, source.rescued)
        if counter
    ]
    buckets = f"sum by ({by}, le) (rate({source.buckets}{{{labels}}}[$__rate_interval]))"
    legend = f"{{{{{by}}}}}"
    return (
        Panel(
            title="Errors of both versions",
            queries=((f"({' + '.join(failed)}) / ({rate} > 0)", legend),),
            text="The share of requests that a version failed, whether or not the shield kept it from the caller.",
            unit="percentunit",
        ),
        Panel(title="Requests to both versions", queries=((rate, legend),), text="Answers, by version.", unit="reqps"),
        Panel(
            title="p99 of both versions",
            queries=((f"histogram_quantile(0.99, {buckets})", legend),),
            text="Interpolated within the buckets that the mesh counts in.",
            unit="ms" if source.per_ms == 1 else "s",
        ),
    )


def _objectives() -> tuple[Panel, ...]:
    errors = tuple((f"{ERRORS.format(window=window)}{{{_OURS}}}", f"{{{{service}}}}, {window}") for window in WINDOWS)
    objective = f'max by (service) (sternway_guard_objective{{{_OURS},objective="availability"}})'
    return (
        Panel(
            title="Errors, by window",
            queries=(*errors, (f"1 - {objective}", "{{service}}, allowed")),
            text="What the alerts on objectives look at (`sternway prometheus rules`).",
            unit="percentunit",
            width=16,
        ),
        Panel(
            title="Requests",
            queries=((f"{REQUESTS.format(window='5m')}{{{_OURS}}}", "{{service}}"),),
            text="To all versions.",
            unit="reqps",
        ),
    )


def _itself() -> tuple[Panel, ...]:
    durations = (
        Panel(
            title=f"Time to {what}",
            queries=tuple(
                (
                    f"histogram_quantile({q}, sum by (le) (rate(sternway_{what}_duration_seconds_bucket[$__rate_interval])))",
                    f"p{round(q * 100)}",
                )
                for q in (0.5, 0.99)
            ),
            text=text,
            unit="s",
        )
        for what, text in zip(
            _DURATIONS, ("One judgement.", "Diff and apply of one decision.", "One whole pass."), strict=True
        )
    )
    return (
        *durations,
        Panel(
            title="Waiting services",
            queries=(("max(sternway_queue_depth)", "queue"),),
            text="How many services wait for a pass.",
        ),
        Panel(
            title="Since Git was read",
            queries=(("time() - max(sternway_git_last_read_timestamp_seconds)", "age"),),
            text="How old the last look at the branch is.",
            unit="s",
        ),
        Panel(
            title="Version",
            queries=(("count by (version) (sternway_build_info)", "{{version}}"),),
            text="What runs.",
            kind="stat",
        ),
    )


def _laid_out(rows: tuple[tuple[str, tuple[Panel, ...]], ...]) -> Iterator[Json]:
    """Put panels from left to right, and each row below the one before."""
    id_, y = 0, 0
    for title, panels in rows:
        id_ += 1
        yield {
            "id": id_,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
            "panels": [],
        }
        x, y = 0, y + 1
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            id_ += 1
            yield panel.to_json(id_, x, y)
            x += panel.width
        y += _HEIGHT
