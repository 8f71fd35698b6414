"""The twin Deployment and our Services, made from the user's own objects."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from sternway.errors import Refused
from sternway.platforms.kubernetes.twin import candidate_service, stable_service, twin_labels, twin_of
from sternway.platforms.kubernetes.writes import holds, merge_patch

DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "name": "orders",
        "namespace": "shop",
        "labels": {"app": "orders", "argocd.argoproj.io/instance": "shop"},
    },
    "spec": {
        "replicas": 3,
        "progressDeadlineSeconds": 120,
        "minReadySeconds": 4,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": {"app": "orders", "tier": "web"}},
        "template": {
            "metadata": {"labels": {"app": "orders", "tier": "web", "version": "v1"}},
            "spec": {
                "initContainers": [{"name": "migrate", "image": "migrate:1"}],
                "containers": [{"name": "orders", "image": "orders:1"}, {"name": "log", "image": "log:1"}],
                "topologySpreadConstraints": [{"labelSelector": {"matchLabels": {"app": "orders"}}}],
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "labelSelector": {
                                    "matchExpressions": [{"key": "app", "operator": "In", "values": ["orders", "pay"]}]
                                }
                            }
                        ],
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "orders"}}}}
                        ],
                    },
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"labelSelector": {"matchLabels": {"app": "cache"}}}
                        ]
                    },
                },
            },
        },
    },
}
SERVICE: dict[str, Any] = {
    "metadata": {"name": "orders", "namespace": "shop"},
    "spec": {
        "clusterIP": "10.0.0.1",
        "type": "LoadBalancer",
        "selector": {"app": "orders"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "web", "nodePort": 31000, "appProtocol": "http"},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        ],
    },
}


def twin(deployment: dict[str, Any] = DEPLOYMENT) -> dict[str, Any]:
    """Make the twin of the version that a Deployment asks for."""
    template = deployment["spec"]["template"]
    return twin_of(deployment, template, pod="f00", service="orders", selector={"app": "orders"}, config={})


def test_the_twin_keeps_what_the_user_wrote() -> None:
    """Init containers, sidecars, the roll-out's rules and deadlines are carried over; replicas are nobody's here."""
    made = twin()
    assert made["metadata"]["name"] == "orders-stable"
    spec, own = made["spec"], DEPLOYMENT["spec"]
    assert [spec[key] for key in ("strategy", "minReadySeconds", "progressDeadlineSeconds")] == [
        own[key] for key in ("strategy", "minReadySeconds", "progressDeadlineSeconds")
    ]
    for key in ("initContainers", "containers"):
        assert spec["template"]["spec"][key] == own["template"]["spec"][key]
    assert "replicas" not in spec


def test_neither_selects_the_pods_of_the_other() -> None:
    """One label of the user's selector has a suffix, so no Deployment, autoscaler or Service takes them for its own."""
    labels = twin()["spec"]["template"]["metadata"]["labels"]
    assert labels["app"] == "orders-stable"
    assert (labels["tier"], labels["version"]) == ("web", "v1")
    assert not DEPLOYMENT["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert stable_service(SERVICE, "orders")["spec"]["selector"].items() <= labels.items()
    candidate = candidate_service(SERVICE, DEPLOYMENT, {"app": "orders"})["spec"]["selector"]
    assert not candidate.items() <= labels.items()
    assert candidate.items() <= DEPLOYMENT["spec"]["template"]["metadata"]["labels"].items()


def test_the_twins_pods_keep_apart_from_each_other() -> None:
    """Spread and anti-affinity are among the twin's own pods; what is about other services stays."""
    spec = twin()["spec"]["template"]["spec"]
    assert spec["topologySpreadConstraints"][0]["labelSelector"] == {"matchLabels": {"app": "orders-stable"}}
    anti = spec["affinity"]["podAntiAffinity"]
    required = anti["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"]
    assert required["matchExpressions"][0]["values"] == ["orders-stable", "pay"]
    preferred = anti["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]
    assert preferred["labelSelector"] == {"matchLabels": {"app": "orders-stable"}}
    assert spec["affinity"]["podAffinity"] == DEPLOYMENT["spec"]["template"]["spec"]["affinity"]["podAffinity"]


def test_argo_cd_does_not_take_the_twin_for_its_own() -> None:
    """The label by which Argo CD prunes what Git does not hold is left out."""
    assert "argocd.argoproj.io/instance" not in twin()["metadata"]["labels"]


@pytest.mark.parametrize(
    ("own", "service", "chosen"),
    [
        ({"app": "orders", "tier": "web"}, {"app": "orders"}, "app"),
        ({"app": "orders", "tier": "web"}, {"tier": "web"}, "tier"),
        ({"app.kubernetes.io/instance": "x", "app.kubernetes.io/name": "y"}, {}, "app.kubernetes.io/name"),
        ({"b": "1", "a": "2"}, {"a": "2", "b": "1"}, "a"),
    ],
)
def test_which_label_tells_them_apart(own: dict[str, str], service: dict[str, str], chosen: str) -> None:
    """A label that the Service uses too, and of those the one that people know."""
    deployment = deepcopy(DEPLOYMENT)
    deployment["spec"]["selector"]["matchLabels"] = own
    assert twin_labels(deployment, service)[0] == chosen


def test_a_long_value_stays_a_label() -> None:
    """At most 63 characters, and different for different values."""
    values = []
    for value in ("o" * 63, "o" * 62 + "p"):
        deployment = deepcopy(DEPLOYMENT)
        deployment["spec"]["selector"]["matchLabels"] = {"app": value}
        values.append(twin_labels(deployment, {})[2])
    assert all(len(value) <= 63 and value.endswith("-stable") for value in values)
    assert len(set(values)) == 2


def test_pods_that_cannot_be_told_apart_are_refused() -> None:
    """A selector of expressions alone: the error says what to write."""
    deployment = deepcopy(DEPLOYMENT)
    deployment["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    with pytest.raises(Refused, match="matchLabels"):
        twin_labels(deployment, {})


def test_our_services_have_the_users_ports_and_no_address_of_theirs() -> None:
    """Names, protocols and targets are kept; node ports, load balancers and addresses are not taken twice."""
    spec = stable_service(SERVICE, "orders")["spec"]
    assert spec["ports"] == [
        {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"},
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
    ]
    assert "clusterIP" not in spec
    assert "type" not in spec
    headless = deepcopy(SERVICE)
    headless["spec"]["clusterIP"] = "None"
    assert stable_service(headless, "orders")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("live", "desired", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": {"x": 1, "filled in": 2}}, {"a": {"x": 1}}, True),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({}, {"a": {}}, True),
    ],
)
def test_what_the_api_fills_in_is_no_difference(live: object, desired: object, expected: object) -> None:
    """Further fields of the live object are no matter; a missing or different one is."""
    assert holds(live, desired) is expected


def test_a_merge_patch_takes_out_what_is_not_desired() -> None:
    """Applied, it makes the mapping exactly as desired."""
    live = {"a": 1, "b": {"x": 1, "y": [1]}, "c": 3}
    assert merge_patch(live, {"a": 1, "b": {"y": [2]}}) == {"b": {"x": None, "y": [2]}, "c": None}
