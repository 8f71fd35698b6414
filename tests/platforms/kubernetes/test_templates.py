"""Pod templates: what makes a version, which configuration reaches it, and what is no release."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sternway.kubernetes.template import config_digest, fingerprint, references, rewritten, workload_of

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "orders"}, "annotations": {"team": "shop"}},
    "spec": {
        "initContainers": [{"name": "wait", "image": "wait:1", "envFrom": [{"secretRef": {"name": "db"}}]}],
        "containers": [
            {
                "name": "proxy",
                "image": "proxy:7",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "x"}}}],
            },
            {
                "name": "orders",
                "image": "orders:1",
                "env": [
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "b", "key": "x", "optional": True}}},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "c"}}],
            },
        ],
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [
            {"name": "d", "configMap": {"name": "d"}},
            {"name": "e", "secret": {"secretName": "e"}},
            {
                "name": "f",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "f"}},
                        {"secret": {"name": "g"}},
                        {"serviceAccountToken": {"path": "token"}},
                        {"configMap": {"name": "kube-root-ca.crt"}},
                    ]
                },
            },
            {"name": "scratch", "emptyDir": {}},
        ],
    },
}
USED = {
    ("ConfigMap", "a"),
    ("Secret", "b"),
    ("ConfigMap", "c"),
    ("ConfigMap", "d"),
    ("Secret", "e"),
    ("ConfigMap", "f"),
    ("Secret", "g"),
    ("Secret", "db"),
}


def held(key: tuple[str, str]) -> dict[str, Any]:
    """Give each ConfigMap and Secret a content of its own."""
    return {"kind": key[0], "data": {"x": key[1]}}


def test_everything_that_reaches_a_container_is_found() -> None:
    """Env, envFrom, volumes, projected volumes, init containers; not pull secrets, nor what every namespace has."""
    found = references(TEMPLATE)
    assert {one.key for one in found} == USED
    assert {one.name for one in found if one.optional} == {"b"}


def test_one_place_that_needs_it_makes_it_needed() -> None:
    """A ConfigMap that is optional here and needed there is needed."""
    template = deepcopy(TEMPLATE)
    template["spec"]["containers"][0]["env"].append(
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "b", "key": "x"}}}
    )
    assert not any(one.optional for one in references(template))


@pytest.mark.parametrize("key", sorted(USED))
def test_any_configuration_that_changes_is_another_version(key: tuple[str, str]) -> None:
    """Each ConfigMap and Secret that is used tells; so does one that goes."""
    before = fingerprint(TEMPLATE, held)
    changed = fingerprint(TEMPLATE, lambda asked: held(asked) if asked != key else {"data": {"x": "other"}})
    gone = fingerprint(TEMPLATE, lambda asked: held(asked) if asked != key else None)
    assert len({before, changed, gone}) == 3


@pytest.mark.parametrize(
    "marks",
    [
        {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"},
        {"sternway.dev/version": "1234.5678"},
    ],
)
def test_a_restart_is_no_release(marks: dict[str, str]) -> None:
    """What kubectl writes to restart pods, and what we write, makes no version."""
    template = deepcopy(TEMPLATE)
    template["metadata"]["annotations"] |= marks
    template["metadata"]["labels"] |= {"pod-template-hash": "abc", "sternway.dev/role": "stable"}
    template["metadata"]["creationTimestamp"] = None
    assert fingerprint(template, held) == fingerprint(TEMPLATE, held)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "annotations", "team"), "other"),
        (("metadata", "labels", "app"), "other"),
        (("spec", "containers", 1, "image"), "orders:2"),
        (("spec", "containers", 0, "image"), "proxy:8"),
        (("spec", "initContainers", 0, "image"), "wait:2"),
        (("spec", "terminationGracePeriodSeconds"), 5),
    ],
)
def test_any_other_change_is_a_version(path: tuple[Any, ...], value: object) -> None:
    """Sidecars, init containers, labels: all of the template counts."""
    template = deepcopy(TEMPLATE)
    place = template
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert fingerprint(template, held) != fingerprint(TEMPLATE, held)


def test_the_same_template_reads_its_configuration_from_copies() -> None:
    """Every reference is turned to its copy, nothing else changes, and the user's own template is left alone."""
    before = deepcopy(TEMPLATE)
    changed = rewritten(TEMPLATE, {key: f"{key[1]}-copy" for key in USED})
    assert before == TEMPLATE
    assert {one.name for one in references(changed)} == {f"{name}-copy" for _, name in USED}
    back = rewritten(changed, {(kind, f"{name}-copy"): name for kind, name in USED})
    assert back == TEMPLATE


def test_the_released_container_is_the_one_called_as_the_deployment() -> None:
    """Its image is the version's image; without such a container the first is."""
    named = workload_of(TEMPLATE, "f00", service="orders.shop", deployment="orders")
    other = workload_of(TEMPLATE, "f00", service="orders.shop", deployment="shop")
    assert (named.image, other.image) == ("orders:1", "proxy:7")


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.dictionaries(st.text(max_size=5), st.text(max_size=5))
)
def test_equal_configuration_has_equal_digests(one: dict[str, str], other: dict[str, str]) -> None:
    """The order of keys is nothing; any other difference tells."""
    turned = dict(reversed(list(one.items())))
    assert config_digest({"data": one}) == config_digest({"data": turned})
    assert (config_digest({"data": one}) == config_digest({"data": other})) == (one == other)
