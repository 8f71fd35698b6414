"""Whom the entries of a cluster's proxies are about: by pod, by the names that Istio and Envoy Gateway give, or nobody."""

from dataclasses import dataclass, field

import pytest

from sternway.domain.mesh import MeshPolicy
from sternway.domain.traffic import Split, TrafficPlan
from sternway.domain.versions import Service, Version, Workload
from sternway.kubernetes.backends import Backend, Backends
from sternway.kubernetes.ours import ROLE, SERVICE
from sternway.kubernetes.resources import SERVICES
from sternway.signals.cluster_names import ClusterNames
from sternway.signals.naming import Named, Sent

OLD, NEW = (
    Version(
        service="orders.shop", workload=Workload(image=f"orders:{n}", service="orders.shop", pod=n), policy=MeshPolicy()
    )
    for n in ("1", "2")
)
STABLE = Named(service="orders.shop", version=OLD.id)
CANDIDATE = Named(service="orders.shop", version=NEW.id)
GATEWAY = "httproute/shop/orders/rule/0"


def pod(name, address, **labels):
    """A pod of the namespace `shop`."""
    return {"metadata": {"name": name, "namespace": "shop", "labels": labels}, "status": {"podIP": address}}


def own(name, role):
    """One of our two Services."""
    return {"metadata": {"name": name, "namespace": "shop", "labels": {SERVICE: "orders", ROLE: role}}}


@dataclass
class Shop:
    """Two pods of `orders`, one of each version, and one of `web`, which nobody looks after."""

    workloads: dict = field(default_factory=lambda: {"orders-stable-a": OLD.workload.id, "orders-b": NEW.workload.id})
    versions: tuple = (OLD, NEW)
    looks: int = 0
    plan: TrafficPlan | None = None

    def __post_init__(self):
        """Have everything there."""
        pods = [pod("orders-stable-a", "10.0.0.1"), pod("orders-b", "10.0.0.2"), pod("web-c", "10.0.0.3", app="web")]
        self.by_address = {one["status"]["podIP"]: one for one in pods}
        refs = [{"name": "orders-stable", "port": 80}, {"name": "orders-candidate", "port": 80}]
        self.objects = {("pods", one["metadata"]["name"]): one for one in pods}
        self.objects[SERVICES.plural, "orders-stable"] = own("orders-stable", "stable")
        self.objects[SERVICES.plural, "orders-candidate"] = own("orders-candidate", "candidate")
        self.objects[SERVICES.plural, "orders"] = {"metadata": {"name": "orders", "namespace": "shop"}}
        self.objects["httproutes", "orders"] = {"spec": {"rules": [{"backendRefs": refs}]}}
        self.plan = self.told()

    def told(self):
        """What the routes were told last."""
        return TrafficPlan(service=Service(name="orders.shop"), versions=self.versions, split=Split.all_to(OLD.id))

    def get(self, resource, name, namespace=""):
        """See Pods."""
        return self.objects.get((resource.plural, name)) if namespace == "shop" else None

    def at(self, address):
        """See Pods."""
        return [self.by_address[address]] if address in self.by_address else []

    def pods(self, _):
        """See Running."""
        self.looks += 1
        return self.workloads

    def backends(self, _):
        """See Running."""
        stable, candidate = (
            Backend(workload_id=one.workload.id, service=f"orders-{role}", labels=(), replicas=1)
            for one, role in ((OLD, "stable"), (NEW, "candidate"))
        )
        return Backends(
            namespace="shop", service="orders", deployment="orders", ports=(), stable=stable, candidate=candidate
        )

    def names(self, wanted=None):
        """What is tested."""
        return ClusterNames(
            self,
            self,
            services_of=lambda one: ["orders.shop"] if one["metadata"]["name"].startswith("orders") else [],
            plan=lambda _: self.plan,
            wanted=lambda _: wanted,
        )


def sent(cluster="", replica=None, proxy="", authority="orders"):
    """What an entry says."""
    return Sent(proxy=proxy, port=15001, authority=authority, route="default", cluster=cluster, replica=replica)


def outbound(name):
    """Istio's name for what is reached by a Service."""
    return f"outbound|80||{name}.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(sent(outbound("orders-candidate"), "10.0.0.2:8080"), CANDIDATE, id="istio: a pod answered"),
        pytest.param(sent(outbound("orders-stable"), "10.0.0.1:8080"), STABLE, id="istio: a pod of the twin"),
        pytest.param(sent(outbound("orders-candidate")), CANDIDATE, id="istio: no pod, by the host"),
        pytest.param(sent("outbound|80|v2|orders-stable.shop.svc.cluster.local"), STABLE, id="istio: a subset of ours"),
        pytest.param(
            sent("inbound-vip|80|http|orders-candidate.shop.svc.cluster.local"), CANDIDATE, id="istio: a waypoint"
        ),
        pytest.param(sent(outbound("orders")), None, id="istio: the user's own Service says no version"),
        pytest.param(sent("outbound|80||orders-candidate"), None, id="istio: a host without a namespace"),
        pytest.param(sent("outbound|80||orders-candidate.other.svc.cluster.local"), None, id="another namespace"),
        pytest.param(sent("inbound|8080||", "10.0.0.2:8080"), None, id="istio: the server's side"),
        pytest.param(
            sent("orders", "10.0.0.2:8080", proxy="sidecar~10.0.0.2~orders-b.shop~x"),
            None,
            id="its own sidecar, renamed",
        ),
        pytest.param(sent(f"{outbound('orders-candidate')};"), CANDIDATE, id="istio: its name in statistics"),
        pytest.param(
            sent("InboundPassthroughCluster", "10.0.0.2:8080"), None, id="istio: the server's side, unknown port"
        ),
        pytest.param(
            sent(GATEWAY, "10.0.0.2:8080"), CANDIDATE._replace(mixed=True), id="gateway: one cluster for both"
        ),
        pytest.param(sent(GATEWAY), None, id="gateway: no pod was asked"),
        pytest.param(sent(f"{GATEWAY}/backend/1"), CANDIDATE, id="gateway: a cluster for each backend"),
        pytest.param(sent(f"{GATEWAY}/match/0/backend/0"), STABLE, id="gateway: behind a match"),
        pytest.param(sent(f"{GATEWAY}/backend/1", "10.0.0.2:8080"), CANDIDATE, id="gateway: both agree"),
        pytest.param(sent(f"{GATEWAY}/backend/7"), None, id="gateway: a backend that is gone"),
        pytest.param(sent(f"{GATEWAY}/backend/x"), None, id="gateway: nonsense"),
        pytest.param(sent("PassthroughCluster", "10.0.0.3:8080"), None, id="a pod that nobody looks after"),
        pytest.param(sent("", "10.9.9.9:8080"), None, id="an address of nobody"),
        pytest.param(sent(), None, id="nothing at all"),
    ],
)
def test_an_entry_is_about_the_pod_that_answered_or_else_the_service_that_was_asked(entry, expected):
    """By address first, by the cluster's name second; the server's side of a request is never counted."""
    assert Shop().names().named(entry) == expected


def test_a_copy_counts_at_the_side_of_the_pod_that_got_it():
    """Nobody else logs it. What is no copy is left out there."""
    names = Shop().names()
    sidecar = "sidecar~10.0.0.2~orders-b.shop~shop.svc.cluster.local"
    copied = sent("inbound|8080||", "10.0.0.2:8080", proxy=sidecar, authority="orders-shadow:80")
    assert names.named(copied) == CANDIDATE._replace(route="mirror")
    assert names.named(copied._replace(authority="orders")) is None
    assert names.named(copied._replace(proxy="sidecar~10.0.0.3~web-c.shop~x")) is None


def test_the_version_asked_for_is_known_before_its_plan_is_in_force():
    """The first requests may be told of before the write of their split has come back."""
    shop = Shop(versions=(OLD,))
    assert shop.names().named(sent(GATEWAY, "10.0.0.2:1")) is None
    assert shop.names(wanted=NEW).named(sent(GATEWAY, "10.0.0.2:1")) == CANDIDATE._replace(mixed=True)


def test_a_pod_that_runs_something_else_now_is_nobodys_until_the_cluster_says_what():
    """What was found is found again without a look, until something changes; what was not found is looked for each time."""
    shop = Shop()
    names = shop.names()
    entry = sent(GATEWAY, "10.0.0.2:8080")
    assert [names.named(entry) for _ in range(3)] == [CANDIDATE._replace(mixed=True)] * 3
    assert shop.looks == 1
    shop.workloads = {"orders-b": "a version before"}
    names.forget("orders.shop")
    assert names.named(entry) is None
    shop.workloads = {"orders-b": OLD.workload.id}
    shop.plan = shop.told()
    assert names.named(entry) == STABLE._replace(mixed=True)


@pytest.mark.parametrize(
    ("proxy", "caller"),
    [
        ("sidecar~10.0.0.3~web-c.shop~shop.svc.cluster.local", "web.shop"),
        ("sidecar~10.0.0.1~orders-stable-a.shop~shop.svc.cluster.local", "orders.shop"),
        ("sidecar~10.0.0.9~gone-d.shop~shop.svc.cluster.local", None),
        ("router~10.0.0.9~istio-ingressgateway-e.istio-system~istio-system.svc.cluster.local", ""),
        ("envoy-shop-shop-5f7d", ""),
        ("", None),
    ],
)
def test_the_caller_is_the_pod_of_the_sidecar_or_the_world_behind_a_gateway(proxy, caller):
    """A guarded service by its key, any other by its labels."""
    assert Shop().names().caller(sent(proxy=proxy)) == caller
