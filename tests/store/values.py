"""Values for the store's tests: hypothesis strategies for everything a journal may hold, and a pass as it is in life."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import reject
from hypothesis import strategies as st

from sternway.domain.evidence import Evidence
from sternway.domain.guards import CanaryStep, Guard
from sternway.domain.mesh import MeshPolicy
from sternway.domain.releases import Decision, Observation, Phase, Progress, Release, Wanted
from sternway.domain.tallies import Reading, Tally
from sternway.domain.traffic import MILLION, Split, TrafficPlan
from sternway.domain.versions import ConfigFile, EnvVar, Service, Version, Workload
from sternway.ports import Entry


def is_union(kind: Any) -> bool:
    """Whether a type hint is `A | B`."""
    return get_origin(kind) in (Union, types.UnionType)


def reachable(kind: Any, found: dict[Any, None] | None = None) -> list[Any]:
    """Every type that a value of `kind` may hold, unions included."""
    found = {} if found is None else found
    if kind in found or kind in (type(None), ...):
        return list(found)
    if is_dataclass(kind):
        found[kind] = None
        for hint in get_type_hints(kind).values():
            reachable(hint, found)
    elif get_args(kind):
        if is_union(kind):
            found[kind] = None
        for argument in get_args(kind):
            reachable(argument, found)
    return list(found)


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one return for each kind of type
    """Any value of a type hint. Floats include infinities, nan and -0.0."""
    special = _special(kind)
    if special is not None:
        return special
    if kind is str:
        return st.text(max_size=8)
    if is_union(kind):
        return st.one_of(*(values(one) for one in get_args(kind)))
    if get_origin(kind) is tuple:
        first, *more = get_args(kind)
        if more == [...]:
            return st.lists(values(first), max_size=2).map(tuple)
        return st.tuples(*(values(one) for one in get_args(kind)))
    if is_dataclass(kind):
        return st.deferred(lambda: _dataclass(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    return {int: st.integers(), float: st.floats(), bool: st.booleans(), type(None): st.none()}[kind]


def _dataclass(kind: Any) -> st.SearchStrategy[Any]:
    def build(**parts: Any) -> Any:
        try:
            return kind(**parts)
        except ValueError:
            reject()

    hints = get_type_hints(kind)
    return st.builds(build, **{field.name: values(hints[field.name]) for field in fields(kind)})


def _special(kind: Any) -> st.SearchStrategy[Any] | None:
    """Types whose parts must fit each other."""
    if kind is Split:
        return st.integers(0, MILLION).map(lambda ppm: Split(shares=(("a", ppm), ("b", MILLION - ppm))))
    if kind is Tally:
        counts = st.integers(0, 50).flatmap(lambda total: st.tuples(st.just(total), st.integers(0, total)))
        whole = st.fixed_dictionaries(
            {"start_s": st.floats(), "end_s": st.floats(), "arm": st.none() | st.integers(0, 9)}
        )
        return st.builds(
            lambda n, rest: Tally(version="v", criterion="errors", total=n[0], bad=n[1], **rest), counts, whole
        )
    if kind is CanaryStep:
        one = st.builds(lambda x, n: CanaryStep(percent=x, min_requests=n), st.floats(), st.integers())
        return one | st.builds(lambda x, h: CanaryStep(requests_per_second=x, hold_s=h), st.floats(), st.floats())
    if kind is TrafficPlan:
        return st.builds(
            lambda versions, ppm, service: TrafficPlan(
                service=service,
                versions=versions,
                split=Split(shares=((versions[0].id, MILLION - ppm), (versions[1].id, ppm))),
                preview=versions[1].id,
            ),
            st.tuples(values(Version), values(Version)).filter(lambda two: two[0].id != two[1].id),
            st.integers(0, MILLION),
            values(Service),
        )
    return None


EMPTY_EVIDENCE = Evidence()
STABLE = Version(
    service="orders",
    workload=Workload(
        image="shop/orders:1.0.0",
        env=(EnvVar(name="STOCK_URL", value="http://stock:8080"),),
        files=(ConfigFile(path="/etc/app.yaml", content="key: value\n" * 50),),
        port=8080,
    ),
    policy=MeshPolicy(timeout_ms=1000),
    commit="a" * 40,
)
CANDIDATE = Version(
    service="orders",
    workload=replace(STABLE.workload, image="shop/orders:1.1.0"),
    policy=MeshPolicy(),
    commit="b" * 40,
)


def a_pass(
    at_s: float,
    *,
    service: str = "orders",
    release: str | None = "orders-1",
    phase: Phase = Phase.EXPOSED,
    percent: float = 10,
    bad: int = 0,
) -> Entry:
    """One pass over a service: with a release, or idle."""
    shared = Service(name=service, port=8080)
    split = Split.between(STABLE.id, CANDIDATE.id, percent) if release else Split.all_to(STABLE.id)
    plan = TrafficPlan(service=shared, versions=(STABLE, CANDIDATE), split=split)
    wanted = Wanted(service=shared, version=CANDIDATE, replicas=2, guard=Guard(service=service), commit="b" * 40)
    tally = Tally(version=CANDIDATE.id, criterion="errors", start_s=at_s - 1, end_s=at_s, total=10, bad=bad)
    going = release and Release(
        name=release,
        candidate=CANDIDATE,
        stable=STABLE,
        guard=Guard(service=service),
        documents=(),
        phase=phase,
        started_s=0.0,
        entered_s=0.0,
        step_s=0.0,
        evidence=EMPTY_EVIDENCE,
        requests=int(at_s),
    )
    return Entry(
        service=service,
        release=release,
        kind="pass",
        at_s=at_s,
        observation=Observation(now_s=at_s, wanted=wanted, traffic=plan, reading=Reading(tallies=(tally,))),
        decision=Decision(
            service=service, release=release, phase=phase if release else None, traffic=plan, look_at_s=at_s + 1
        ),
        progress=Progress(service=service, stable=STABLE, release=going or None, rate_per_s=at_s),
    )
