"""The dashboard: Grafana's form, metrics that exist, PromQL that parses, and no panel empty on a real Prometheus."""

import itertools
import re
from pathlib import Path

import promql_parser as promql
import pytest

from sternway.domain.releases import Phase
from sternway.manifests.builtin_metrics import SOURCES
from sternway.monitoring.dashboard import dashboard
from sternway.monitoring.names import OWN, SERIES
from sternway.monitoring.objectives import ERRORS, REQUESTS, WINDOWS

RECORDED = {ERRORS.format(window=window) for window in WINDOWS} | {REQUESTS.format(window="5m")}
each_source = pytest.mark.parametrize("source", SOURCES)
METRIC = re.compile(r"(?<![\w:])([a-zA-Z_][\w:]*)\{")


def queries(board):
    """Give (panel, query) for everything that is asked, with Grafana's variables filled in."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], filled(target["expr"])
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], filled(annotation["expr"])


def filled(query):
    """Put in what Grafana would: its variables and the service that was chosen."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$service", "shop")):
        query = query.replace(name, value)
    return query


@each_source
def test_every_query_is_promql_over_metrics_that_exist(source):
    """Each name is one of Sternway's own series, of the rules' or of the mesh's; nothing is left to fill in."""
    mesh = {SOURCES[source].requests, SOURCES[source].buckets, SOURCES[source].rescued}
    for title, query in queries(dashboard(source=source)):
        assert "$" not in query, title
        shown = str(promql.parse(query))
        found = set(METRIC.findall(shown))
        assert found, title
        assert found <= SERIES | RECORDED | mesh, title


@each_source
def test_it_has_the_form_that_grafana_imports(source):
    """Unique ids, panels that do not lie on each other, every data source the one that is asked for, a variable."""
    board = dashboard(source=source)
    asked = [one["name"] for one in board["__inputs"]]
    assert asked == ["DS_PROMETHEUS"]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} - {"row"} <= {one["id"] for one in board["__requires"]}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] == "row":
            continue
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
        assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${DS_PROMETHEUS}"}
        assert panel["title"]
        assert panel["description"]
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    (variable,) = board["templating"]["list"]
    assert variable["name"] == "service"


def test_every_own_metric_is_shown_and_every_label_of_a_legend_is_there():
    """The dashboard leaves nothing out that Sternway exports; a legend names labels that its query keeps."""
    board = dashboard(source="envoy")
    text = " ".join(query for _, query in queries(board))
    assert not [name for name in OWN if name not in text]
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                kept = [label in grouped for grouped in re.findall(r"by \(([^)]*)\)", target["expr"])]
                assert kept or target["expr"].startswith("service:sternway_slo_"), panel["title"]
                assert all(kept) or "le" in target["expr"], panel["title"]


def test_what_is_asked_for_is_what_sternway_exports():
    """Names, kinds and labels are those of docs/observability.md, which is compared with a scrape."""
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    rows = re.findall(r"^\| `(sternway_\w+)(?:\{([\w, ]*)\})?` \| (\w+) \|", page, re.MULTILINE)
    told = {
        name: (kind, tuple(label for label in labels.split(", ") if label))
        for name, labels, kind in rows
        if not name.startswith("sternway_kubernetes_")  # an operator's own, which no dashboard asks for
    }
    assert {name: (metric.kind, metric.labels) for name, metric in OWN.items()} == told


def test_phases_in_queries_are_phases_of_releases():
    """What is compared with a phase is one."""
    named = {
        phase for _, query in queries(dashboard(source="envoy")) for phase in re.findall(r'phase="([^"]+)"', query)
    }
    assert named <= {phase.value for phase in Phase}
    assert named
