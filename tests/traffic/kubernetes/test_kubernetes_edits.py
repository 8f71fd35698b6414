"""Whatever users write and whenever they edit it: the shares are right, the rest is theirs, and it is theirs again in the end."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kube_traffic_world import CANDIDATE, OWNER, backends, plan

from sternway.domain.traffic import MILLION, Pin
from sternway.kubernetes.api import Object
from sternway.traffic.kubernetes import weights
from sternway.traffic.kubernetes.dialect import Wish, wish_of
from sternway.traffic.kubernetes.gateway_api import GatewayApi
from sternway.traffic.kubernetes.istio import Istio

DIALECTS = {"istio": Istio(), "gateway-api": GatewayApi()}
Rule = dict[str, Any]


def istio_rule(path: str, targets: list[tuple[str, int]], timeout: str) -> Rule:
    """A rule of a VirtualService."""
    route = [{"destination": {"host": host}, "weight": weight} for host, weight in targets]
    return {"match": [{"uri": {"prefix": path}}], "timeout": timeout, "route": route}


def gateway_rule(path: str, targets: list[tuple[str, int]], timeout: str) -> Rule:
    """A rule of an HTTPRoute."""
    refs = [{"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight} for name, weight in targets]
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "timeouts": {"request": timeout},
        "backendRefs": refs,
    }


MAKE = {"istio": istio_rule, "gateway-api": gateway_rule}
paths = st.sampled_from(["/", "/a", "/b", "/c"])
targets = st.lists(
    st.tuples(st.sampled_from(["orders", "stock", "web"]), st.integers(1, 40)),
    min_size=1,
    max_size=3,
    unique_by=lambda t: t[0],
)
timeouts = st.sampled_from(["1s", "2s"])
percents = st.sampled_from([0, 0.5, 1, 5, 12.5, 33.33, 50, 100])


def route(mesh: str, rules: list[Rule]) -> Object:
    """An object of the user."""
    metadata: Object = {"name": "shop", "namespace": "shop"}
    if mesh == "istio":
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": metadata,
            "spec": {"hosts": ["shop.example.com"], "http": rules},
        }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {"parentRefs": [{"name": "public"}], "rules": rules},
    }


def rules_of(obj: Object) -> list[Rule]:
    """The rules of either."""
    return obj["spec"]["http"] if "http" in obj["spec"] else obj["spec"]["rules"]


def meaning(rule: Rule) -> tuple[object, dict[str, Fraction]]:
    """What a rule says: everything but its targets, and the share of each of these."""
    found = rule.get("route") or rule.get("backendRefs") or []
    counted = {
        (one["destination"]["host"] if "destination" in one else one["name"]): one.get("weight", 1) for one in found
    }
    total = sum(counted.values())
    rest = {key: value for key, value in rule.items() if key not in ("route", "backendRefs")}
    return rest, {name: Fraction(weight, total) for name, weight in counted.items() if weight}


def wish(percent: float, *, pinned: bool, mirror: float) -> Wish:
    """A wish for `orders`."""
    pins = (Pin(version=CANDIDATE.id, header=("x-beta", "yes")),) if pinned else ()
    return wish_of(plan(percent, pins=pins, mirror=mirror), backends(), OWNER)


wishes = st.builds(wish, percents, pinned=st.booleans(), mirror=st.sampled_from([0, 10]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_edits_survive_and_everything_is_given_back(data: st.DataObject):
    """A user's rules and ours, in any order: at any time each rule shares out as wished, at the end all is the user's."""
    mesh = data.draw(st.sampled_from(sorted(DIALECTS)))
    dialect, make = DIALECTS[mesh], MAKE[mesh]
    rule = st.builds(make, paths, targets, timeouts)
    users = data.draw(st.lists(rule, min_size=1, max_size=3))
    obj = route(mesh, deepcopy(users))
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            wanted = data.draw(wishes)
            before = deepcopy(obj)
            written = [one for one in dialect.write(wanted, [obj]) if one["metadata"]["name"] == "shop"]
            assert obj == before
            obj = written[0]
            assert dialect.write(wanted, [obj])[-1] == obj
            _shares_are_right(users, obj, wanted)
        elif data.draw(st.booleans()):  # the whole object is applied again
            users = data.draw(st.lists(rule, min_size=1, max_size=3))
            rules_of(obj)[:] = deepcopy(users)
        else:  # one rule more, in the text that stands there
            new = data.draw(rule)
            users = [*users, new]
            rules_of(obj).append(deepcopy(new))
    restored = dialect.restore("orders.shop", [obj])[0]
    assert [meaning(one) for one in rules_of(restored)] == [meaning(one) for one in users]
    assert not [name for name in restored["metadata"].get("annotations", {}) if "sternway" in name]


def _shares_are_right(users: list[Rule], obj: Object, wanted: Wish) -> None:
    """Each rule of the user is there once, in order, with the service's part of it shared out as wished."""
    found = [meaning(one) for one in rules_of(obj) if "x-beta" not in str(one)]
    assert len(found) == len(users)
    for (_, shares), rule in zip(found, users, strict=True):
        _, said = meaning(rule)
        part = said.pop("orders", Fraction(0))
        expected = {name: part * ppm / MILLION for name, ppm in wanted.shares if part and ppm}
        assert shares == said | expected


@given(
    whole=st.integers(1, 100),
    ppm=st.integers(0, MILLION),
    others=st.lists(st.integers(0, 100), max_size=3),
    most=st.sampled_from([100, 10_000, MILLION]),
)
def test_weights_sum_up_and_never_lose_a_share(whole: int, ppm: int, others: list[int], most: int):
    """Whole numbers: the service's part is kept to the last one, and a share that is asked for is not nothing."""
    ours, rest = weights.scaled(whole, [MILLION - ppm, ppm], others, most=most)
    factor = sum(ours) // whole
    assert sum(ours) == whole * factor
    assert rest == [other * factor for other in others]
    assert max([*ours, *rest]) <= max(most, whole, *others, 0)
    if whole * factor > 1:
        assert [bool(one) for one in ours] == [ppm < MILLION, ppm > 0]


def test_the_smallest_numbers_that_are_exact_are_taken():
    """Whole percents stay percents: older meshes want weights that sum to 100."""
    assert weights.scaled(100, [950_000, 50_000], [], most=MILLION) == ([95, 5], [])
    assert weights.scaled(100, [875_000, 125_000], [], most=MILLION) == ([875, 125], [])
    assert weights.scaled(100, [999_999, 1], [], most=MILLION) == ([999_999, 1], [])
    assert weights.scaled(1, [950_000, 50_000], [1], most=MILLION) == ([95, 5], [100])
