"""What a cluster asks for: Guards, Services and Deployments as a version that is wanted, or as a problem."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest

from sternway.domain.guards import Mode
from sternway.domain.releases import Mark
from sternway.domain.traffic import Can
from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.ours import STRATEGY
from sternway.kubernetes.remembered import Basis
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    GUARDS,
    HORIZONTAL_POD_AUTOSCALERS,
    SERVICES,
    STATEFUL_SETS,
)
from sternway.kubernetes.shelf import Index
from sternway.operator.desired import ClusterDesired
from sternway.operator.ledger import MOST, read_ledger, spell_ledger, with_marks
from sternway.operator.undoing import ClusterUndoing
from sternway.testing.kubernetes import FakeKubernetes

KEY = "orders.shop"


class Objects:
    """A Reader over objects that a test puts there."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Resource, str], Object] = {}
        self.basis = Basis()
        self._version = itertools.count(1)

    def put(self, resource: Resource, name: str, **fields: Any) -> Object:
        """Put an object there, in a new version."""
        self.basis.changed([resource])
        metadata = {"name": name, "namespace": "shop", "uid": name, **fields.pop("metadata", {})}
        metadata["generation"] = next(self._version)
        metadata["resourceVersion"] = str(metadata["generation"])
        made = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}
        self.objects[resource, name] = made
        return made

    def take(self, resource: Resource, name: str) -> Object:
        """Take an object away."""
        self.basis.changed([resource])
        return self.objects.pop((resource, name))

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Reader."""
        self.basis.asked(resource)
        return self.objects.get((resource, name)) if namespace == "shop" else None

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """See Reader."""
        self.basis.asked(resource)
        return [one for (kind, _), one in self.objects.items() if kind == resource and namespace in ("", "shop")]

    def find(self, resource: Resource, index: Index, word: str, namespace: str) -> Sequence[Object]:
        """See Reader."""
        return [one for one in self.all(resource, namespace) if word in index(one)]

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """See Reader."""
        return ()


TEMPLATE = {
    "metadata": {"labels": {"app": "orders"}},
    "spec": {
        "containers": [
            {"name": "orders", "image": "registry/orders:1.4.0", "envFrom": [{"configMapRef": {"name": "settings"}}]}
        ]
    },
}
ALL = frozenset(Can)


@pytest.fixture
def objects() -> Objects:
    """Give a service `orders` with a Guard."""
    found = Objects()
    found.put(GUARDS, "orders", spec={"service": "orders"})
    found.put(SERVICES, "orders", spec={"selector": {"app": "orders"}, "ports": [{"name": "http", "port": 80}]})
    _deploy(found)
    found.put(CONFIG_MAPS, "settings", data={"colour": "blue"})
    return found


def _deploy(objects: Objects, name: str = "orders", *, metadata: Any = None, **spec: Any) -> None:
    stated = {"replicas": 3, "selector": {"matchLabels": {"app": "orders"}}, "template": deepcopy(TEMPLATE), **spec}
    objects.put(DEPLOYMENTS, name, metadata=metadata or {}, spec=stated)


def desired(objects: Objects, can: frozenset[Can] = ALL) -> ClusterDesired:
    """Read these objects."""
    return ClusterDesired(reader=objects, scalers=(HORIZONTAL_POD_AUTOSCALERS,), mesh=lambda _: ("istio", can))


def problem(objects: Objects, can: frozenset[Can] = ALL) -> str:
    """Give the one problem of the Guard."""
    (found,) = desired(objects, can).problems(KEY)
    return str(found)


def test_a_guard_with_its_service_is_wanted(objects: Objects) -> None:
    """The version is the image and the fingerprint of template and configuration; the Guard is the manifests' Guard."""
    objects.put(GUARDS, "orders", spec={"service": "orders", "mode": "ask", "bake": {"for": "10m"}}, status={"x": 1})
    wanted = desired(objects).wanted(KEY)
    assert wanted is not None
    assert (wanted.service.name, wanted.service.port, wanted.service.namespace) == (KEY, 80, "shop")
    assert (wanted.version.workload.image, wanted.version.workload.service) == ("registry/orders:1.4.0", KEY)
    assert wanted.version.commit == wanted.version.workload.pod != ""
    assert wanted.version.id.startswith("1.4.0-")
    assert (wanted.guard.service, wanted.guard.mode, wanted.guard.bake_s) == (KEY, Mode.ASK, 600)
    assert wanted.replicas == 3
    assert desired(objects).services() == (KEY,)


def test_a_service_without_a_guard_is_nobodys(objects: Objects) -> None:
    """Nothing is governed that nobody asked for."""
    objects.take(GUARDS, "orders")
    found = desired(objects)
    assert (found.wanted(KEY), found.problems(KEY), found.services()) == (None, (), ())


def test_a_change_of_template_or_configuration_is_seen(objects: Objects) -> None:
    """Each makes another version, with the same reader of the cluster; what changes neither makes none."""
    found = desired(objects)
    versions = [found.wanted(KEY)]
    objects.put(CONFIG_MAPS, "settings", data={"colour": "red"})
    versions.append(found.wanted(KEY))
    changed = deepcopy(TEMPLATE)
    changed["spec"]["containers"][0]["image"] = "registry/orders:1.5.0"  # type: ignore[index]
    _deploy(objects, template=changed)
    versions.append(found.wanted(KEY))
    assert len({one.version.id for one in versions if one}) == 3
    _deploy(objects, template=changed, revisionHistoryLimit=3)
    again, last = found.wanted(KEY), versions[-1]
    assert again is not None
    assert last is not None
    assert again.version == last.version


def test_what_has_not_changed_is_not_read_again(objects: Objects) -> None:
    """The same objects give the very same answer."""
    found = desired(objects)
    assert found.wanted(KEY) is found.wanted(KEY)


def test_replicas_are_what_was_wished(objects: Objects) -> None:
    """Those of the user's Deployment; at rest those it had; under an autoscaler those of the twin."""
    _deploy(objects, replicas=0, metadata={"annotations": {"sternway.dev/replicas": "5"}})
    found = desired(objects)
    assert _wished(found) == 5
    objects.put(
        DEPLOYMENTS,
        "orders-stable",
        metadata={"labels": {"sternway.dev/role": "stable"}},
        spec={"replicas": 7, "template": TEMPLATE},
    )
    assert _wished(found) == 5
    target = {"kind": "Deployment", "name": "orders"}
    objects.put(HORIZONTAL_POD_AUTOSCALERS, "orders", spec={"scaleTargetRef": target})
    assert _wished(found) == 7


def _wished(found: ClusterDesired) -> int | None:
    wanted = found.wanted(KEY)
    return wanted.replicas if wanted else None


def test_the_twin_is_not_what_is_released(objects: Objects) -> None:
    """Also while the user's Service points at it, and has its own selector in an annotation."""
    objects.put(
        DEPLOYMENTS,
        "orders-stable",
        metadata={"labels": {"sternway.dev/role": "stable"}},
        spec={"replicas": 3, "template": TEMPLATE},
    )
    objects.put(
        SERVICES,
        "orders",
        metadata={"annotations": {"sternway.dev/selector": '{"app": "orders"}'}},
        spec={"selector": {"sternway.dev/twin": "orders"}, "ports": [{"port": 80}]},
    )
    found = desired(objects)
    assert found.problems(KEY) == ()
    assert found.deployment(KEY) == "orders"


def test_a_guard_that_is_wrong_changes_nothing(objects: Objects) -> None:
    """The last one that could be followed stays in force, and the problem is told as for a file."""
    found = desired(objects)
    before = found.wanted(KEY)
    objects.put(GUARDS, "orders", spec={"service": "orders", "bake": {"fro": "10m"}})
    assert found.wanted(KEY) is before
    (said,) = found.problems(KEY)
    assert str(said) == "Guard shop/orders: spec.bake.fro: unknown field `fro` (did you mean `for`?)"
    objects.put(GUARDS, "orders", spec={"service": "orders", "bake": {"for": "10m"}})
    assert found.problems(KEY) == ()


def test_what_was_recorded_is_wanted_though_the_wrong_guard_was_looked_at_before(objects: Objects) -> None:
    """A process that stood by was asked for a status, and leads then."""
    recorded = desired(objects).wanted(KEY)
    assert recorded is not None
    objects.put(GUARDS, "orders", spec={"service": "orders", "bake": {"fro": "10m"}})
    found = desired(objects)
    assert found.wanted(KEY) is None
    found.remember(recorded)
    assert found.wanted(KEY) is recorded


def test_what_another_leader_recorded_goes_before_what_was_read_before_it(objects: Objects) -> None:
    """It led in between, and the Guard that it followed last is wrong by now."""
    found = desired(objects)
    assert found.wanted(KEY) is not None
    objects.put(GUARDS, "orders", spec={"service": "orders", "bake": {"for": "10m"}})
    recorded = desired(objects).wanted(KEY)
    assert recorded is not None
    objects.put(GUARDS, "orders", spec={"service": "orders", "bake": {"fro": "10m"}})
    assert found.wanted(KEY) != recorded
    found.remember(recorded)
    assert found.wanted(KEY) is recorded


def test_no_such_service(objects: Objects) -> None:
    """The nearest name is suggested."""
    objects.put(SERVICES, "order", **{k: v for k, v in objects.take(SERVICES, "orders").items() if k == "spec"})
    assert problem(objects) == (
        "Guard shop/orders: spec.service: there is no Service orders in namespace shop (did you mean `order`?)"
    )


def test_a_daemon_set_is_wanted_in_place(objects: Objects) -> None:
    """With as many replicas as there are nodes for it, whatever replaces its pods while Sternway holds them."""
    own = json.dumps({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}})
    _spread(objects, nodes=3, annotations={STRATEGY: own}, updateStrategy={"type": "OnDelete"})
    found = desired(objects)
    wanted = found.wanted(KEY)
    assert wanted is not None
    assert (found.problems(KEY), wanted.in_place, wanted.replicas) == ((), True, 3)
    _spread(objects, nodes=5, annotations={STRATEGY: own}, updateStrategy={"type": "OnDelete"})
    assert _wished(found) == 5


@pytest.mark.parametrize(
    ("nodes", "own", "service", "said"),
    [
        pytest.param(
            1,
            "RollingUpdate",
            {},
            "DaemonSet orders runs on 1 nodes, so no version can stand beside another (let it run on 2 nodes, or take this "
            "Guard out)",
            id="one node",
        ),
        pytest.param(
            3,
            "OnDelete",
            {},
            "DaemonSet orders has the updateStrategy OnDelete: its pods are replaced by hand (let its "
            "spec.updateStrategy.type be RollingUpdate)",
            id="replaced by hand",
        ),
        pytest.param(
            3,
            "RollingUpdate",
            {"internalTrafficPolicy": "Local"},
            "Service orders leads to the caller's own node alone, so no traffic is shared out between pods of DaemonSet "
            "orders (let its spec.internalTrafficPolicy be Cluster)",
            id="each node its own",
        ),
    ],
)
def test_what_does_not_fit_a_daemon_set_is_refused(
    objects: Objects, nodes: int, own: str, service: Any, said: str
) -> None:
    """Before anything is changed: field and fix are named."""
    _spread(objects, nodes=nodes, updateStrategy={"type": own})
    objects.put(SERVICES, "orders", spec={"selector": {"app": "orders"}, "ports": [{"port": 80}], **service})
    assert problem(objects) == f"Guard shop/orders: spec.service: {said}"


def test_a_stateful_set_is_wanted_in_place(objects: Objects) -> None:
    """Its replicas are its own, whatever scales it; Istio's counters tell versions apart by the Services that reach them."""
    _put_stateful(objects)
    found = desired(objects)
    wanted = found.wanted(KEY)
    assert wanted is not None
    assert (wanted.in_place, wanted.replicas, found.deployment(KEY)) == (True, 3, "orders")
    errors = next(metric.ratio for metric in wanted.guard.judge.metrics if metric.name == "mesh-errors")
    assert errors is not None
    assert 'destination_service_name="$(backend)"' in errors.total
    objects.put(
        HORIZONTAL_POD_AUTOSCALERS, "orders", spec={"scaleTargetRef": {"kind": "StatefulSet", "name": "orders"}}
    )
    _put_stateful(objects, replicas=7)
    assert _wished(found) == 7


def test_a_deployment_goes_before_a_stateful_set(objects: Objects) -> None:
    """Where a Service selects both, the twin's way is there for one of them."""
    _put_stateful(objects)
    _deploy(objects)
    wanted = desired(objects).wanted(KEY)
    assert wanted is not None
    assert not wanted.in_place


@pytest.mark.parametrize(
    ("spec", "guard", "said"),
    [
        pytest.param(
            {"replicas": 1},
            {},
            "spec.service: StatefulSet orders has 1 replicas, so no version can stand beside another (give it 2 replicas, or "
            "take this Guard out)",
            id="one replica",
        ),
        pytest.param(
            {"updateStrategy": {"type": "OnDelete"}},
            {},
            "spec.service: StatefulSet orders has the updateStrategy OnDelete: its pods are replaced by hand (let its "
            "spec.updateStrategy.type be RollingUpdate)",
            id="replaced by hand",
        ),
        pytest.param(
            {},
            {"strategy": {"blueGreen": {}}},
            "spec.strategy.blueGreen: StatefulSet orders is released in place, where two versions share its replicas, so "
            "neither can take all traffic at once (choose `canary` or `adaptive`)",
            id="blue-green",
        ),
        pytest.param(
            {},
            {"strategy": {"ab": {"header": {"name": "x-group", "value": "b"}}}},
            "spec.strategy.ab: StatefulSet orders is released in place, where nobody can tell how many of its replicas the "
            "chosen group of users needs (choose `canary` or `adaptive`)",
            id="A/B",
        ),
        pytest.param(
            {},
            {"fallback": {"deployment": "old"}},
            "spec.fallback: a fallback is not used in a cluster: what StatefulSet orders ran before stays in it until the new "
            "version is proven (take it out)",
            id="fallback",
        ),
    ],
)
def test_what_does_not_fit_in_place_is_refused(objects: Objects, spec: Any, guard: Any, said: str) -> None:
    """Before anything is changed: field and fix are named."""
    _put_stateful(objects, **spec)
    objects.put(GUARDS, "orders", spec={"service": "orders", **guard})
    assert problem(objects) == f"Guard shop/orders: {said}"


def test_a_headless_service_shares_nothing_out(objects: Objects) -> None:
    """Who calls pods by their names goes by no route."""
    _put_stateful(objects)
    objects.put(SERVICES, "orders", spec={"selector": {"app": "orders"}, "clusterIP": "None", "ports": [{"port": 80}]})
    assert problem(objects) == (
        "Guard shop/orders: spec.service: Service orders is headless: clients address the pods of StatefulSet orders by name, "
        "so no traffic is shared out (name a Service with an address of its own that selects the pods of StatefulSet orders)"
    )


def _put_stateful(objects: Objects, **spec: Any) -> None:
    """In the place of the Deployment."""
    if objects.get(DEPLOYMENTS, "orders", "shop") is not None:
        objects.take(DEPLOYMENTS, "orders")
    stated = {"replicas": 3, "selector": {"matchLabels": {"app": "orders"}}, "template": deepcopy(TEMPLATE), **spec}
    objects.put(STATEFUL_SETS, "orders", spec=stated)


def _spread(objects: Objects, *, nodes: int, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    """A DaemonSet in the place of the Deployment."""
    if objects.get(DEPLOYMENTS, "orders", "shop") is not None:
        objects.take(DEPLOYMENTS, "orders")
    stated = {"selector": {"matchLabels": {"app": "orders"}}, "template": deepcopy(TEMPLATE), **spec}
    there = {"desiredNumberScheduled": nodes}
    objects.put(DAEMON_SETS, "orders", metadata={"annotations": annotations or {}}, spec=stated, status=there)


def test_several_deployments_need_a_word(objects: Objects) -> None:
    """Which one is released is the user's to say."""
    _deploy(objects, "orders-blue")
    assert "selects several Deployments: orders, orders-blue (say here which one is released)" in problem(objects)
    objects.put(GUARDS, "orders", spec={"service": "orders", "deployment": "orders-blue"})
    assert desired(objects).deployment(KEY) == "orders-blue"
    objects.put(GUARDS, "orders", spec={"service": "orders", "deployment": "orders-blu"})
    assert problem(objects).endswith("does not select a Deployment orders-blu (did you mean `orders-blue`?)")


def test_nothing_behind_a_service(objects: Objects) -> None:
    """The labels that no Deployment has are named."""
    objects.take(DEPLOYMENTS, "orders")
    assert "selects no Deployment: none has the pod labels app=orders" in problem(objects)


def test_a_fallback_of_ones_own_is_refused(objects: Objects) -> None:
    """The twin stands by already."""
    objects.put(GUARDS, "orders", spec={"service": "orders", "fallback": {"deployment": "old"}})
    assert problem(objects).endswith("(take it out; `orders-stable` stands by)")


def test_what_the_mesh_cannot_do_is_refused(objects: Objects) -> None:
    """Before anything is changed: the mesh and the fix are named."""
    objects.put(GUARDS, "orders", spec={"service": "orders", "mirror": {"percent": 10}})
    said = problem(objects, ALL - {Can.MIRROR})
    assert said.startswith("Guard shop/orders: spec: the traffic router istio cannot do mirror")


def test_a_mesh_that_is_not_there_is_refused(objects: Objects) -> None:
    """Those that this cluster has are named; one of them is taken."""
    here = ClusterDesired(
        reader=objects, scalers=(), mesh=lambda _: ("istio", ALL), meshes=lambda: ("gateway-api", "istio", "service")
    )
    objects.put(GUARDS, "orders", spec={"service": "orders", "mesh": "istoi"})
    (said,) = here.problems(KEY)
    assert str(said) == ("Guard shop/orders: spec.mesh: this cluster has no mesh istoi (did you mean `istio`?)")
    objects.put(GUARDS, "orders", spec={"service": "orders", "mesh": "gateway-api"})
    assert here.problems(KEY) == ()


def test_a_gate_is_a_job_whose_pods_no_user_meets(objects: Objects) -> None:
    """A command is for one machine; pods that the Service would select are refused; any other Job is taken."""
    container = {"name": "smoke", "image": "registry/smoke:1"}

    def put(**gate: Any) -> None:
        objects.put(GUARDS, "orders", spec={"service": "orders", "gates": [{"name": "smoke", **gate}]})

    put(command="./smoke")
    said = "spec.gates[0].command: gate smoke is a command, which runs on one machine alone (write `job`)"
    assert problem(objects) == f"Guard shop/orders: {said}"
    template = {"metadata": {"labels": {"app": "orders", "tier": "test"}}, "spec": {"containers": [container]}}
    put(job={"template": template})
    assert "Service orders selects the pods of gate smoke, so users would be sent to them" in problem(objects)
    put(job={"template": {"spec": {"containers": [{"name": "smoke"}]}}})
    said = "spec.gates[0].job.template: this is no pod template: spec.containers.0.image: field required"
    assert problem(objects) == f"Guard shop/orders: {said}"
    put(job={"template": {"spec": {"containers": [container]}}}, before="step 2")
    wanted = desired(objects).wanted(KEY)
    assert wanted is not None
    (gate,) = wanted.guard.gates
    assert (gate.name, gate.before_step, json.loads(gate.job)["spec"]["containers"]) == ("smoke", 2, [container])


def test_of_two_guards_the_oldest_is_followed(objects: Objects) -> None:
    """The other one is named."""
    objects.put(GUARDS, "orders", metadata={"creationTimestamp": "2026-01-01T00:00:00Z"}, spec={"service": "orders"})
    objects.put(
        GUARDS,
        "again",
        metadata={"creationTimestamp": "2026-01-02T00:00:00Z"},
        spec={"service": "orders", "mode": "ask"},
    )
    wanted = desired(objects).wanted(KEY)
    assert wanted is not None
    assert wanted.guard.mode is Mode.AUTOMATIC
    assert "further Guards for service orders: Guard shop/again" in problem(objects)


# The ledger -----------------------------------------------------------------------------------------------------


def _mark(version: str, verdict: str, at_s: float, pod: str = "f00") -> Mark:
    return Mark(service=KEY, version=version, commit=pod, verdict=verdict, release="orders.shop-1", why="w", at_s=at_s)


def test_the_ledger_is_read_back_as_it_was_written() -> None:
    """One word for each version, the last; and no more versions than are worth remembering."""
    marks = with_marks((_mark("a", "good", 1.0), _mark("b", "good", 2.0)), (_mark("a", "bad", 3.0),))
    assert [(mark.version, mark.verdict) for mark in marks] == [("b", "good"), ("a", "bad")]
    guard = {"metadata": {"annotations": {"sternway.dev/ledger": spell_ledger(marks)}}}
    assert read_ledger(guard, KEY) == marks
    many = with_marks((), [_mark(str(number), "bad", float(number)) for number in range(MOST + 5)])
    assert len(many) == MOST
    assert many[-1].version == str(MOST + 4)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '[{"version": "x"}]'])
def test_a_ledger_that_somebody_spoilt_is_empty(text: str) -> None:
    """It is an annotation: anybody may have edited it."""
    assert read_ledger({"metadata": {"annotations": {"sternway.dev/ledger": text}}}, KEY) == ()


async def test_a_rebuilt_operator_knows_what_was_proven(objects: Objects) -> None:
    """Marks are written to the Guard; another operator reads who is bad, and the template of who was good last."""
    fake = FakeKubernetes(namespaces=("shop",))
    made = await fake.create(
        GUARDS, {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"service": "orders"}}
    )

    async def restore(service: str, bad: str, good: str) -> str:
        return f"{service}: {bad} -> {good}"

    undoing = ClusterUndoing(api=fake, guard=lambda _: made, restore=restore)
    await undoing.mark([_mark("1-a", "good", 1.0, "aaa"), _mark("2-b", "good", 2.0, "bbb"), _mark("3-c", "bad", 3.0)])
    await undoing.mark([_mark("2-b", "bad", 4.0, "bbb")])
    before = fake.count(verb="patch")
    await undoing.mark([_mark("2-b", "bad", 4.0, "bbb")])
    assert fake.count(verb="patch") == before  # idempotent
    written = await fake.get(GUARDS, "orders", "shop")
    assert written is not None
    objects.put(GUARDS, "orders", metadata={"annotations": written["metadata"]["annotations"]}, spec=written["spec"])
    labels = {"sternway.dev/service": "orders", "sternway.dev/pod": "aaa"}
    objects.put(
        CONTROLLER_REVISIONS, "orders-aaa", metadata={"labels": labels}, data={"template": TEMPLATE}, revision=1
    )
    rebuilt = desired(objects)
    assert rebuilt.bad(KEY) == ("2-b", "3-c")
    good = await rebuilt.last_good(KEY)
    assert good is not None
    assert (good.workload.pod, good.workload.image, good.commit) == ("aaa", "registry/orders:1.4.0", "aaa")
