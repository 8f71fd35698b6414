"""Which mesh carries a service, what each can do, and that the page on traffic says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kube_traffic_world import CANDIDATE, GOLDEN, OWNER, Case, backends, cases, plan

from sternway.domain.traffic import MILLION, Can, Pin, Split, TrafficPlan
from sternway.errors import NotApplied, Refused
from sternway.kubernetes.api import Object, Resource
from sternway.traffic.kubernetes.consul import SPLITTERS
from sternway.traffic.kubernetes.contour import HTTP_PROXIES
from sternway.traffic.kubernetes.dialect import Dialect, Wish, Witness, refuse_what_it_cannot, wish_of
from sternway.traffic.kubernetes.gateway_api import HTTP_ROUTES
from sternway.traffic.kubernetes.gateway_api import witness as gateway_witness
from sternway.traffic.kubernetes.ingress_nginx import INGRESSES
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES
from sternway.traffic.kubernetes.linkerd import POLICY_ROUTES
from sternway.traffic.kubernetes.registry import DIALECTS, detect, dialect, kinds
from sternway.traffic.kubernetes.traefik import INGRESS_ROUTES

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes" / "traffic.md"
by_name = pytest.mark.parametrize("mesh", DIALECTS, ids=lambda one: one.name)
ROUTES = {
    "istio": (VIRTUAL_SERVICES, "istio/users-route"),
    "linkerd": (POLICY_ROUTES, "linkerd/users-route"),
    "gateway-api": (HTTP_ROUTES, "gateway-api/users-route"),
    "contour": (HTTP_PROXIES, "contour/users-route"),
    "consul": (SPLITTERS, "consul/users-route"),
    "traefik": (INGRESS_ROUTES, "traefik/users-route"),
    "ingress-nginx": (INGRESSES, "ingress-nginx/users-route"),
}


def case(name: str) -> Case:
    """A golden case."""
    return next(one for one in cases() if one.path == GOLDEN / f"{name}.in.yaml")


def example(mesh: Dialect) -> Case:
    """Some case of a mesh."""
    return next(one for one in cases() if one.path.parent.name == mesh.name)


def found(there: dict[Resource, list[Object]], *, marked: Any = (), served: Any = None) -> str:
    """The mesh that is detected."""
    known = set(kinds()) if served is None else served
    return detect(
        "orders.shop", lambda kind: there.get(kind, []), serves=lambda kind: kind in known, marked=marked
    ).name


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_that_names_the_service_says_which_mesh_it_is(name: str):
    """Whatever else is installed, the mesh that sends the traffic shares it out."""
    kind, of = ROUTES[name]
    assert found({kind: list(case(of).seen)}) == name


def test_routes_of_two_meshes_are_refused():
    """Nobody can tell which traffic would be judged; the error names both and what to do."""
    there = {
        VIRTUAL_SERVICES: list(case("istio/users-route").seen),
        INGRESSES: list(case("ingress-nginx/users-route").seen),
    }
    with pytest.raises(Refused, match="routes of ingress-nginx and istio") as refused:
        found(there)
    assert "Say in the Guard" in refused.value.hint


def test_an_http_route_on_a_service_is_linkerds_where_the_pods_are_in_linkerd():
    """One kind, several meshes: the pods tell whose it is."""
    route = case("gateway-api/own").written()[0]
    del route["metadata"]["labels"]
    meshed = [{"metadata": {"annotations": {"linkerd.io/inject": "enabled"}}}]
    assert found({HTTP_ROUTES: [route]}) == "gateway-api"
    assert found({HTTP_ROUTES: [route]}, marked=meshed) == "linkerd"
    assert found({HTTP_ROUTES: list(case("gateway-api/users-route").seen)}, marked=meshed) == "gateway-api"


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ({"labels": {"istio-injection": "enabled"}}, "istio"),
        ({"labels": {"istio-injection": "disabled"}}, "service"),
        ({"labels": {"istio.io/rev": "stable"}}, "istio"),
        ({"labels": {"istio.io/dataplane-mode": "ambient"}}, "istio"),
        ({"annotations": {"linkerd.io/inject": "enabled"}}, "linkerd"),
        ({"annotations": {"consul.hashicorp.com/connect-inject": "true"}}, "consul"),
        ({}, "service"),
    ],
    ids=str,
)
def test_without_a_route_the_mesh_of_the_pods_is_taken(mark: Object, name: str):
    """By the marks of the namespace or the pod template; a plain Service without any."""
    assert found({}, marked=[{"metadata": mark}]) == name
    assert found({}, marked=[{"metadata": mark}], served=set()) == "service"


def test_a_route_of_ours_names_no_mesh():
    """What we made must not decide what we make."""
    assert found({VIRTUAL_SERVICES: list(case("istio/own").written())}) == "service"


def test_an_unknown_mesh_is_an_error_that_lists_the_known_ones():
    """A typing mistake must not become another mesh."""
    with pytest.raises(Refused, match="'itsio'") as refused:
        dialect("itsio")
    assert "istio" in refused.value.hint
    assert "ingress-nginx" in refused.value.hint


def test_names_are_given_once():
    """A name leads to one dialect."""
    assert len({one.name for one in DIALECTS}) == len(DIALECTS)


def _wish(**given: Any) -> Wish:
    return wish_of(plan(10, **given), backends(), OWNER)


@by_name
def test_what_a_mesh_says_it_can_do_it_does(mesh: Dialect):
    """A pin and a mirror are in what is written exactly where the capabilities have them; else they are refused."""
    seen = example(mesh).seen
    plain = mesh.write(_wish(), seen)
    for can, given in (
        (Can.PINS, {"pins": (Pin(version=CANDIDATE.id, header=("x-other", "yes")),)}),
        (Can.MIRROR, {"mirror": 10}),
    ):
        wish = _wish(**given)
        if can in mesh.capabilities:
            refuse_what_it_cannot(mesh, wish)
            assert mesh.write(wish, seen) != plain, can
        else:
            with pytest.raises(NotApplied, match=f"{mesh.name} cannot do {can.value}"):
                refuse_what_it_cannot(mesh, wish)


def _finest(mesh: Dialect) -> str:
    """The smallest share of 100, 10, 1, 0.1, … percent that the objects say exactly."""
    last = "one pod"
    for ppm in (100_000, 10_000, 1_000, 100, 10, 1):
        shares = ((plan().versions[0].id, MILLION - ppm), (CANDIDATE.id, ppm))
        wanted = TrafficPlan(service=plan().service, versions=plan().versions, split=Split(shares=shares))
        wish = wish_of(wanted, backends(), OWNER)
        seen = example(mesh).seen
        standing = mesh.read(wish.backends, (*mesh.write(wish, seen), *seen))
        if standing is None or standing.shares != wish.shares:
            break
        last = f"{ppm / 10_000:.4f}".rstrip("0").rstrip(".") + " %"
    return last


@by_name
def test_the_page_says_what_each_mesh_can_do(mesh: Dialect):
    """The table is what the code says, and its finest share what is measured."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if line[:1] == "|"
    ]
    row = dict(zip(rows[0], next(row for row in rows if row[0] == f"`{mesh.name}`"), strict=True))
    for can in (Can.WEIGHTS, Can.PINS, Can.MIRROR, Can.PREVIEW):
        assert row[can.value] == ("yes" if can in mesh.capabilities else "no"), can
    assert row["finest share"] == _finest(mesh)
    assert len(rows) == 2 + len(DIALECTS)


def _route(*conditions: tuple[str, str, int | None]) -> Object:
    said = [
        {"type": type_, "status": status, "reason": "R", "message": "m"}
        | ({"observedGeneration": generation} if generation is not None else {})
        for type_, status, generation in conditions
    ]
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "a", "generation": 2},
        "status": {"parents": [{"conditions": said}]},
    }


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (_route(("Accepted", "True", 2), ("ResolvedRefs", "True", 2)), Witness.CONFIRMED),
        (_route(("Accepted", "True", 1), ("ResolvedRefs", "True", 1)), Witness.AWAITED),
        (_route(("Accepted", "True", 2), ("ResolvedRefs", "False", 2)), Witness.REFUSED),
        (_route(("Accepted", "False", 1)), Witness.AWAITED),
        (_route(("Accepted", "False", None)), Witness.AWAITED),
        (_route(("Accepted", "True", None), ("ResolvedRefs", "True", None)), Witness.UNVERIFIED),
        (_route(), Witness.AWAITED),
        ({"kind": "HTTPRoute", "metadata": {"name": "a", "generation": 1}}, Witness.AWAITED),
    ],
    ids=["taken", "older", "refused", "refused-older", "refused-untold", "taken-untold", "silent", "no-status"],
)
def test_conditions_count_for_the_generation_that_they_are_of(route: Object, expected: Witness):
    """An answer to an older text says nothing of this one; an answer that names none confirms nothing."""
    assert gateway_witness(route)[0] is expected


def test_a_pin_that_the_users_rule_leaves_no_room_for_is_refused_in_words():
    """A rule that matches the header already cannot be narrowed by it."""
    found_case = case("istio/users-route")
    with pytest.raises(NotApplied, match="matches the header X-Region already"):
        found_case.dialect.write(_wish(pins=(Pin(version=CANDIDATE.id, header=("X-Region", "us")),)), found_case.seen)


def test_connections_have_no_headers():
    """A VirtualService that routes by connection alone takes weights, and refuses pins and mirrors."""
    found_case = case("istio/users-connections")
    with pytest.raises(NotApplied, match="routes connections of"):
        found_case.dialect.write(_wish(mirror=10), found_case.seen)


def test_a_route_with_more_rules_than_the_api_takes_is_refused():
    """16 rules are the most; the error says how many there would be."""
    found_case = case("gateway-api/users-route")
    route = found_case.seen[0]
    route["spec"]["rules"] = [route["spec"]["rules"][2] for _ in range(9)]
    with pytest.raises(NotApplied, match="would have 18 rules"):
        found_case.dialect.write(_wish(pins=(Pin(version=CANDIDATE.id, header=("x-beta", "yes")),)), [route])


@pytest.mark.parametrize("name", ["contour", "traefik", "ingress-nginx"])
def test_an_entrance_without_a_route_says_what_to_write(name: str):
    """Only the user knows the host name."""
    with pytest.raises(NotApplied, match="sends traffic to Service orders") as refused:
        dialect(name).write(_wish(), [])
    assert "Write one" in refused.value.hint


def test_a_services_own_selector_is_kept_whatever_it_is_pointed_at():
    """Between two revisions of a StatefulSet it may select one that no version runs any more: that is not the user's word."""
    there = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "annotations": {"sternway.dev/selector": '{"app":"orders"}'},
        },
        "spec": {"selector": {"app": "orders", "controller-revision-hash": "orders-gone"}},
    }
    (made,) = dialect("service").write(wish_of(plan(0), backends()), [there])
    assert made["metadata"]["annotations"] == {"sternway.dev/selector": '{"app":"orders"}'}
    assert made["spec"]["selector"] == {"app": "orders-stable", "sternway.dev/twin": "orders"}
