"""The router of a cluster: one write for a rollback, no request for a look, nobody's edit lost, nothing in its way."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from kube_traffic_cluster import Cluster, Told
from kube_traffic_world import CANDIDATE, GOLDEN, OWNER, STABLE, Case, backends, cases, plan

from sternway.domain.traffic import Pin
from sternway.errors import NotApplied, Refused
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.backends import Backends
from sternway.kubernetes.errors import Conflict, Denied, Unreachable
from sternway.kubernetes.resources import GUARDS, SERVICES
from sternway.testing.kubernetes import Fault
from sternway.traffic.kubernetes.changes import kind_of
from sternway.traffic.kubernetes.dialect import ORIGINAL, SPLIT
from sternway.traffic.kubernetes.gateway_api import HTTP_ROUTES
from sternway.traffic.kubernetes.istio import DESTINATION_RULES, VIRTUAL_SERVICES
from sternway.traffic.kubernetes.registry import DIALECTS, dialect, kinds
from sternway.traffic.kubernetes.router import KubernetesRouter

CASES = {f"{case.path.parent.name}/{case.path.name.removesuffix('.in.yaml')}": case for case in cases()}
every = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


@dataclass
class Shop:
    """A router over the fake API, with what a golden case has in it."""

    mesh: str = "istio"
    seen: tuple[Object, ...] = ()
    known: Backends | None = field(default_factory=backends)
    api: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        for obj in self.seen:
            self.api.put(kind_of(obj, kinds()), obj)
        made = {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"service": "orders"}}
        guard = self.api.store.create(GUARDS, made)
        self.owner = {**OWNER, "uid": guard["metadata"]["uid"]}
        self.told = Told(self.api)
        self.router = self.new_router()

    def new_router(self) -> KubernetesRouter:
        """A router that has told nothing yet, as after a restart."""
        return KubernetesRouter(
            self.api,
            reader=self.told,
            dialects=DIALECTS,
            dialect=lambda _: dialect(self.mesh),
            backends=lambda _: self.known,
            owner=lambda _: self.owner,
            patience_s=0.05,
        )

    def users(self, resource: Resource = VIRTUAL_SERVICES) -> Object:
        """The one object of a kind."""
        return next(obj for key, obj in self.api.objects.items() if key[0] == resource)

    def edit(self, change: Any, resource: Resource = VIRTUAL_SERVICES) -> None:
        """Change an object as a user would."""
        obj = deepcopy(self.users(resource))
        change(obj)
        self.api.put(resource, obj)

    def asked(self) -> list[str]:
        """The requests since the last time."""
        return self.api.asked()


def cluster(case: str = "istio/users-route", **given: Any) -> Shop:
    """What a golden case holds."""
    found = CASES[case]
    return Shop(mesh=found.path.parent.name, seen=found.seen, **given)


def says(status: str = "True") -> Any:
    """What every controller that tells anything says of an object."""

    def of(obj: Object) -> Object:
        said = {"status": status, "reason": "Said", "message": "by the test"}
        said["observedGeneration"] = obj["metadata"].get("generation", 1)
        conditions = [{"type": name, **said} for name in ("Accepted", "Valid", "Synced")]
        return {"status": {"conditions": conditions, "parents": [{"conditions": conditions}]}}

    return of


def _again(obj: Object) -> None:
    """Change something that is no business of ours, to another value each time."""
    labels = obj["metadata"].setdefault("labels", {})
    labels["n"] = str(int(labels.get("n", "0")) + 1)


async def test_a_look_costs_no_request_and_a_plan_that_stands_no_write():
    """At rest nothing is asked of the API server, however often a pass looks."""
    shop = cluster()
    await shop.router.apply(plan(5))
    shop.asked()
    for _ in range(3):
        assert await shop.router.observe("orders.shop") == plan(5)
        await shop.router.apply(plan(5))
    assert shop.asked() == []


@pytest.mark.parametrize("case", ["istio/users-route", "istio/users-subsets", "istio/own", "ingress-nginx/users-route"])
async def test_a_rollback_is_one_write(case: str):
    """Whatever a mesh needed to be prepared, the way back changes one object."""
    shop = cluster(case)
    await shop.router.apply(plan(5))
    shop.asked()
    await shop.router.apply(plan(0))
    assert len(shop.asked()) == 1
    assert await shop.router.observe("orders.shop") == plan(0)


async def test_what_goes_first_is_there_before_it_is_used():
    """A subset that a route names exists before the route names it: else Istio answers 503."""
    shop = cluster("istio/users-subsets")
    await shop.router.apply(plan(5))
    assert [one.split()[1] for one in shop.asked()] == ["destinationrules", "destinationrules", "virtualservices"]


async def test_a_conflict_is_read_again_and_tried_at_once():
    """Somebody else wrote the route in between: what they wrote stays, and our share is in it."""
    shop = cluster()
    await shop.router.apply(plan(5))
    shop.told.freeze()
    shop.edit(lambda obj: obj["spec"]["http"][2].update(timeout="9s"))
    shop.asked()
    await shop.router.apply(plan(0))
    assert shop.asked() == [
        "patch virtualservices shop",
        "get virtualservices shop",
        "patch virtualservices shop",
    ]
    rule = shop.users()["spec"]["http"][2]
    assert rule["timeout"] == "9s"
    assert [one["weight"] for one in rule["route"]] == [80, 0, 20]


async def test_a_rollback_cannot_be_blocked_by_others_that_write_all_the_time():
    """When every guarded write comes too late, the way back is written without the guard."""
    shop = cluster()
    await shop.router.apply(plan(5))
    shop.api.before_write = lambda: shop.edit(_again)
    await shop.router.apply(plan(0))
    assert await shop.router.observe("orders.shop") == plan(0)


async def test_more_traffic_is_not_forced():
    """A plan that takes nothing away gives up when somebody else writes all the time; the loop tries again."""
    shop = cluster()
    await shop.router.apply(plan(5))
    shop.api.before_write = lambda: shop.edit(_again)
    with pytest.raises(NotApplied, match="change faster"):
        await shop.router.apply(plan(50))


async def test_one_failure_does_not_keep_a_rollback_from_the_other_routes():
    """Two routes send traffic to the service and one may not be written: the other one is rolled back all the same."""
    shop = cluster()
    other = deepcopy(CASES["istio/users-mirror"].seen[0])
    shop.api.put(VIRTUAL_SERVICES, other)
    await shop.router.apply(plan(5))
    missing = Denied("patch on virtualservices is missing", hint="Add the verb to the Role.")
    shop.api.faults = [Fault(verb="patch", name="orders", error=lambda: missing)]
    with pytest.raises(NotApplied, match="patch on virtualservices is missing"):
        await shop.router.apply(plan(0))
    weights = [
        rule["route"][0]["weight"]
        for (kind, *_), obj in shop.api.objects.items()
        if kind == VIRTUAL_SERVICES
        for rule in obj["spec"]["http"]
        if rule.get("route", [{}])[0].get("destination", {}).get("host", "").startswith("orders-stable")
    ]
    assert sorted(weights) == [80, 95]


@pytest.mark.parametrize(
    ("fault", "retry_in_s"),
    [(Unreachable("no answer", retry_in_s=3.0), 3.0), (Denied("you may not", hint="Add the verb."), 5.0)],
    ids=["unreachable", "denied"],
)
async def test_a_refused_write_says_why_and_when_to_try_again(fault: Exception, retry_in_s: float):
    """The words of the API server come through, and the plan before stays in force."""
    shop = cluster()
    await shop.router.apply(plan(5))
    shop.api.faults = [Fault(verb="patch", error=lambda: fault)]
    with pytest.raises(NotApplied, match=str(fault).split("\n", 1)[0]) as refused:
        await shop.router.apply(plan(50))
    assert refused.value.retry_in_s == retry_in_s
    assert await shop.router.observe("orders.shop") == plan(5)


async def test_a_later_edit_of_the_user_is_kept_and_shared_out():
    """A rule added by hand, or the whole object applied again from Git: both are what we start from next time."""
    shop = cluster()
    original = deepcopy(CASES["istio/users-route"].seen[0])
    beta = plan(5, pins=(Pin(version=CANDIDATE.id, header=("x-beta", "yes")),))
    await shop.router.apply(beta)
    new = {"match": [{"uri": {"prefix": "/v2"}}], "route": [{"destination": {"host": "orders"}}]}
    shop.edit(lambda obj: obj["spec"]["http"].append(new))
    assert await shop.router.observe("orders.shop") != beta
    await shop.router.apply(plan(10))
    assert [one["weight"] for one in shop.users()["spec"]["http"][-1]["route"]] == [90, 10]
    again = {**original, "spec": {**original["spec"], "http": [new]}}
    shop.edit(lambda obj: obj.update(spec=deepcopy(again["spec"])))
    await shop.router.apply(plan(10))
    assert [one["weight"] for one in shop.users()["spec"]["http"][0]["route"]] == [90, 10]
    await shop.router.release("orders.shop")
    assert shop.users()["spec"] == again["spec"]


async def test_what_somebody_made_of_a_split_is_seen():
    """A weight changed by hand is observed as it is, so that the next pass puts it right."""
    shop = cluster("istio/own")
    await shop.router.apply(plan(5))

    def more(obj: Object) -> None:
        obj["spec"]["http"][0]["route"][0]["weight"] = 50
        obj["spec"]["http"][0]["route"][1]["weight"] = 50

    shop.edit(more)
    seen = await shop.router.observe("orders.shop")
    assert seen is not None
    assert seen.split == plan(50).split


async def test_a_route_of_ours_that_is_deleted_is_made_again():
    """Without it nothing is shared out, so nothing is observed."""
    shop = cluster("istio/own")
    await shop.router.apply(plan(5))
    shop.router._fresh.clear()
    shop.api.store.delete(VIRTUAL_SERVICES, "orders-sternway", "shop")
    assert await shop.router.observe("orders.shop") is None
    await shop.router.apply(plan(5))
    assert await shop.router.observe("orders.shop") == plan(5)


async def test_after_a_restart_the_recorded_plan_is_applied_without_a_write():
    """A new process knows no plan until it applies one; what stands there already is left alone."""
    shop = cluster()
    await shop.router.apply(plan(5))
    again = shop.new_router()
    assert await again.observe("orders.shop") is None
    shop.asked()
    await again.apply(plan(5))
    assert shop.asked() == []
    assert await again.observe("orders.shop") == plan(5)


async def test_our_own_write_is_known_before_the_reader_tells_of_it():
    """A reflector lags; what a write brought back counts until it has caught up."""
    shop = cluster()
    shop.told.freeze()
    await shop.router.apply(plan(5))
    assert await shop.router.observe("orders.shop") == plan(5)
    shop.asked()
    await shop.router.apply(plan(0))
    assert len(shop.asked()) == 1


async def test_our_route_goes_when_the_user_writes_one():
    """A service is shared out in one place: the user's, as soon as there is one."""
    shop = cluster("istio/own")
    await shop.router.apply(plan(5))
    shop.api.put(VIRTUAL_SERVICES, deepcopy(CASES["istio/users-route"].seen[0]))
    assert await shop.router.observe("orders.shop") is None
    await shop.router.apply(plan(5))
    assert [name for _, _, name in shop.api.objects] == ["shop"]


@every
async def test_release_leaves_the_cluster_as_it_was(case: Case):
    """Every object of the user is as before, and no object of ours is left; by a router that has told nothing."""
    shop = Shop(mesh=case.path.parent.name, seen=case.seen, known=case.wish.backends)
    before = {key: deepcopy(obj) for key, obj in shop.api.objects.items()}
    shop.api.status = says()
    await shop.router.apply(plan(5))
    await shop.new_router().release("orders.shop")
    after = dict(shop.api.objects)
    assert after.keys() == before.keys()
    for key, obj in after.items():
        if key[0] == SERVICES:
            continue  # see the next test
        assert obj.get("spec") == before[key].get("spec")
        assert not [name for name in obj["metadata"].get("annotations", {}) if name.startswith("sternway.dev")]


async def test_the_selector_of_a_plain_service_stays_until_the_platform_gives_it_back():
    """The user's pods may be at rest: only who starts them knows when they can take the traffic."""
    shop = cluster("service/by-pods")
    await shop.router.apply(plan(25))
    await shop.router.release("orders.shop")
    service = shop.users(SERVICES)
    assert service["spec"]["selector"] == dict(backends().stable.labels)
    assert json.loads(service["metadata"]["annotations"]["sternway.dev/selector"]) == {"app": "orders"}
    assert not [key for key in shop.api.objects if key[2].startswith("orders-sternway")]


async def test_two_guarded_services_share_a_route():
    """Each has its own share in it, and goes without the other's."""
    shop = cluster()
    original = deepcopy(shop.users()["spec"])
    await shop.router.apply(plan(5))
    stock = replace(
        backends(),
        service="stock",
        stable=replace(backends().stable, service="stock-stable"),
        candidate=replace(backends().candidate, service="stock-candidate"),
    )
    orders, shop.known = shop.known, stock
    wanted = replace(plan(30), service=replace(plan(30).service, name="stock.shop"))
    await shop.router.apply(wanted)
    rules = shop.users()["spec"]["http"]
    assert [one["weight"] for one in rules[0]["route"]] == [70, 30]
    assert [one["weight"] for one in rules[2]["route"]] == [76, 4, 20]
    await shop.router.release("stock.shop")
    shop.known = orders
    assert await shop.router.observe("orders.shop") == plan(5)
    await shop.router.release("orders.shop")
    assert shop.users()["spec"] == original
    assert ORIGINAL not in shop.users()["metadata"]["annotations"]


async def test_a_plan_counts_when_the_controller_has_taken_it():
    """Gateway API: NotApplied until the generation that we wrote is accepted; then it is confirmed."""
    shop = cluster("gateway-api/users-route")
    with pytest.raises(NotApplied, match="no controller has taken HTTPRoute shop yet"):
        await shop.router.apply(plan(5))
    assert await shop.router.observe("orders.shop") is None
    shop.api.status = says()
    shop.edit(lambda _: None, HTTP_ROUTES)
    await shop.router.apply(plan(5))
    assert await shop.router.observe("orders.shop") == plan(5)
    standing = shop.router.standing("orders.shop")
    assert standing is not None
    assert standing.witness.value == "confirmed"


async def test_a_refusal_of_the_controller_is_told_in_its_words():
    """What the controller says is what people read."""
    shop = cluster("gateway-api/users-route")
    shop.api.status = says("False")
    with pytest.raises(NotApplied, match="Accepted is False: Said: by the test"):
        await shop.router.apply(plan(5))


async def test_what_cannot_be_verified_is_said_to_be_unverified():
    """A mesh that tells nothing is not waited for, and not called confirmed."""
    shop = cluster()
    await shop.router.apply(plan(5))
    standing = shop.router.standing("orders.shop")
    assert standing is not None
    assert standing.witness.value == "unverified"


async def test_without_a_workload_there_is_no_traffic():
    """A version that runs nowhere gets none, and the error says that it is waited for."""
    shop = cluster(known=None)
    with pytest.raises(NotApplied, match="it is not known yet where"):
        await shop.router.apply(plan(5))
    shop.known = replace(backends(), candidate=None)
    with pytest.raises(NotApplied, match=f"{CANDIDATE.id} of orders.shop runs in no workload"):
        await shop.router.apply(plan(5))
    await shop.router.apply(plan(0))
    assert await shop.router.observe("orders.shop") == plan(0)


@pytest.mark.parametrize("case", ["istio/users-route", "istio/own", "ingress-nginx/users-route"])
async def test_nothing_is_touched_before_there_is_a_twin(case: str):
    """The users' routes reach the users' pods already; when the twin is ready, its share is written."""
    both = backends()
    users = replace(both.candidate, workload_id=STABLE.workload.id)
    shop = cluster(case, known=replace(both, stable=None, candidate=users))
    await shop.router.apply(plan(0))
    assert await shop.router.observe("orders.shop") == plan(0)
    assert shop.asked() == []
    shop.known = both
    assert await shop.router.observe("orders.shop") is None
    await shop.router.apply(plan(0))
    assert len(shop.asked()) == 1
    assert await shop.router.observe("orders.shop") == plan(0)


async def test_a_promoted_version_follows_its_traffic_to_the_twin():
    """Once the twin runs what was promoted, the plan stands as soon as the traffic is there."""
    shop = cluster()
    await shop.router.apply(plan(100))
    both = backends()
    shop.known = replace(both, stable=replace(both.stable, workload_id=CANDIDATE.workload.id), settled=True)
    alone = replace(plan(100), versions=(CANDIDATE,))
    assert await shop.router.observe("orders.shop") is None
    await shop.router.apply(alone)
    assert await shop.router.observe("orders.shop") == alone
    assert [one["weight"] for one in shop.users()["spec"]["http"][2]["route"]] == [80, 0, 20]


async def test_a_change_of_the_mesh_leaves_nothing_behind():
    """From Istio to the Gateway API: the one has its split, the other its own text again."""
    shop = cluster()
    before = deepcopy(shop.users()["spec"])
    await shop.router.apply(plan(5))
    shop.api.put(HTTP_ROUTES, deepcopy(CASES["gateway-api/users-route"].seen[0]))
    shop.api.status = says()
    shop.mesh = "gateway-api"
    await shop.router.apply(plan(5))
    assert shop.users()["spec"] == before
    assert await shop.router.observe("orders.shop") == plan(5)
    assert shop.router.carrying("orders.shop") == {"orders-stable", "orders-candidate"}
    await shop.router.release("orders.shop")
    assert shop.router.carrying("orders.shop") == frozenset()


async def test_a_rollback_does_not_wait_until_it_is_clear_which_mesh_it_is():
    """A route of another mesh makes it unclear in the midst of a release: the one that carries the service takes it back."""
    shop = cluster()
    await shop.router.apply(plan(5))
    shop.mesh = "unclear"
    await shop.router.apply(plan(0))
    assert await shop.router.observe("orders.shop") == plan(0)
    with pytest.raises(Refused):
        await shop.new_router().apply(plan(0))


@pytest.mark.parametrize("spoilt", ["{", "[]", '{"orders.shop":{}}', None], ids=["broken", "list", "empty", "gone"])
@pytest.mark.parametrize("case", ["istio/users-route", "gateway-api/users-route", "contour/users-route"])
async def test_annotations_that_somebody_spoils_do_not_stop_a_rollback(case: str, spoilt: str | None):
    """What is ours in a route is known by our Services' names too; what the user meant comes back in the end."""
    shop = cluster(case)
    shop.api.status = says()
    kind = kind_of(shop.seen[0], kinds())
    await shop.router.apply(plan(50))

    def spoil(obj: Object) -> None:
        obj["metadata"]["annotations"] = {} if spoilt is None else dict.fromkeys((ORIGINAL, SPLIT), spoilt)

    shop.edit(spoil, kind)
    shop.router = shop.new_router()
    await shop.router.apply(plan(0))
    assert await shop.router.observe("orders.shop") == plan(0)
    await shop.router.release("orders.shop")
    text = str(shop.users(kind)["spec"])
    assert "orders-stable" not in text
    assert "orders" in text


async def test_linkerd_leaves_routes_on_gateways_alone():
    """The same kind of object may belong to an entrance that is not Linkerd's."""
    shop = cluster("linkerd/own")
    shop.api.put(HTTP_ROUTES, deepcopy(CASES["gateway-api/users-route"].seen[0]))
    shop.api.status = says()
    await shop.router.apply(plan(5))
    assert shop.asked() == ["patch httproutes orders-sternway"]
    assert await shop.router.observe("orders.shop") == plan(5)


async def test_what_a_mesh_cannot_do_is_refused_before_anything_is_written():
    """Admission refuses it; should a plan ask for it all the same, it is not silently left out."""
    shop = cluster("ingress-nginx/users-route")
    with pytest.raises(NotApplied, match="ingress-nginx cannot do pins"):
        await shop.router.apply(plan(5, pins=(Pin(version=CANDIDATE.id, header=("x-beta", "yes")),)))
    assert shop.asked() == []


async def test_a_plain_service_gives_shares_by_pods_and_says_so():
    """Three ready pods of stable and one of the candidate: a quarter, whatever was asked for below that."""
    shop = cluster("service/by-pods")
    await shop.router.apply(plan(5))
    assert await shop.router.observe("orders.shop") == plan(5)
    standing = shop.router.standing("orders.shop")
    assert standing is not None
    assert standing.shares == (("orders-stable", 750_000), ("orders-candidate", 250_000))
    assert standing.words == "3 pods of orders-stable, 1 pods of orders-candidate"
    shop.asked()
    await shop.router.apply(plan(0))
    assert shop.asked() == ["delete endpointslices orders-sternway-ipv4"]


async def test_a_pod_that_goes_is_taken_out_of_a_plain_service():
    """The slice of ours follows the pods: a plan stands no more when one of its pods is gone."""
    shop = cluster("service/by-pods")
    await shop.router.apply(plan(25))
    key = next(key for key in shop.api.objects if key[2].startswith("orders-candidate"))
    slice_ = shop.api.objects[key]
    slice_["endpoints"] = [one for one in slice_["endpoints"] if one["addresses"] != ["10.0.1.1"]]
    shop.api.put(key[0], slice_)
    assert await shop.router.observe("orders.shop") is None
    await shop.router.apply(plan(25))
    ours = next(obj for key, obj in shop.api.objects.items() if key[2] == "orders-sternway-ipv4")
    assert [one["addresses"] for one in ours["endpoints"]] == [["10.0.1.2"]]


def test_every_mesh_has_golden_files():
    """A new dialect comes with examples of what it writes."""
    assert {path.name for path in GOLDEN.iterdir()} == {one.name for one in DIALECTS}


def test_the_versions_differ():
    """The tests above tell them apart."""
    assert STABLE.id != CANDIDATE.id
    assert DESTINATION_RULES in kinds()
    assert issubclass(Conflict, Exception)
