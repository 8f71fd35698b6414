"""What a router cannot do is refused before anything is changed."""

import pytest
from manifest_texts import deployment, guard, load_texts, policy

from sternway.domain.guards import ABTest, BlueGreen, Canary, Guard, MirrorFirst
from sternway.domain.traffic import Can
from sternway.manifests.admission import requires, unsupported

ALL = frozenset(Can)


@pytest.mark.parametrize(
    ("guard_value", "needed"),
    [
        (Guard(service="web", strategy=Canary()), {Can.WEIGHTS}),
        (Guard(service="web", strategy=BlueGreen(), bake_control_percent=0), {Can.PREVIEW}),
        (Guard(service="web", strategy=BlueGreen()), {Can.PREVIEW, Can.WEIGHTS}),
        (Guard(service="web", strategy=ABTest(header=("a", "b")), bake_s=0), {Can.PINS}),
        (Guard(service="web", mirror=MirrorFirst()), {Can.WEIGHTS, Can.MIRROR}),
    ],
    ids=["canary", "blue-green", "blue-green-with-control", "ab", "mirror"],
)
def test_a_guard_requires_what_its_strategy_needs(guard_value, needed):
    """The control group of the bake needs weights, whatever the strategy."""
    assert requires(guard_value) == needed


def test_a_router_that_can_do_everything_refuses_nothing():
    """The whole range of a Guard is admitted."""
    catalogue = load_texts(deployment(), guard("mirror: {}\nshield: {enabled: true}\nstrategy: {blueGreen: {}}"))
    assert unsupported(catalogue, ALL, "envoy") == ()


@pytest.mark.parametrize(
    ("spec", "lacking", "fix"),
    [
        ("mirror: {}", Can.MIRROR, "take `mirror` out"),
        ("strategy: {ab: {header: {name: a, value: b}}}", Can.PINS, "use another strategy than `ab`"),
        ("strategy: {blueGreen: {}}", Can.PREVIEW, "use another strategy than `blueGreen`, and no `gates`"),
        ("shield: {enabled: true}", Can.SHIELD, "write `shield: {enabled: false}`"),
    ],
    ids=["mirror", "ab", "blue-green", "shield"],
)
def test_what_a_router_cannot_do_is_a_problem_at_the_guard(spec, lacking, fix):
    """The problem names the Guard's file and line, the service, the ability, and the way out."""
    (problem,) = unsupported(load_texts(deployment(), guard(spec)), ALL - {lacking}, "plain")
    assert (problem.file, problem.line, problem.fix) == ("app.yaml", 15, fix)
    assert problem.message == f"the traffic router plain cannot do {lacking.value}, which service web asks for"


def test_the_shield_by_default_is_no_demand():
    """By default the shield is up where it can be; only a person who asks for it is refused."""
    without = ALL - {Can.SHIELD}
    assert unsupported(load_texts(deployment(), guard()), without, "plain") == ()
    assert unsupported(load_texts(deployment(), guard("shield: {budget: 5}")), without, "plain") != ()
    assert unsupported(load_texts(deployment(), guard("shield: {enabled: false}")), without, "plain") == ()


def test_faults_are_asked_of_the_router():
    """A MeshPolicy with a fault needs a router that can inject it."""
    catalogue = load_texts(deployment(), policy("fault: {abort: {percent: 10}}"))
    (problem,) = unsupported(catalogue, ALL - {Can.FAULTS}, "plain")
    assert problem.fix == "take `fault` out of the MeshPolicy"


def test_a_service_without_address_asks_nothing_of_the_router():
    """A worker gets no traffic, so no router is needed for it."""
    assert unsupported(load_texts(deployment(ports="")), frozenset(), "none") == ()
