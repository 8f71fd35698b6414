"""What a catalogue asks of the traffic router. What it cannot do is refused before anything is changed."""

from __future__ import annotations

from sternway.domain.guards import ABTest, BlueGreen, Canary, Guard
from sternway.domain.releases import Wanted
from sternway.domain.traffic import Can
from sternway.errors import Problem
from sternway.manifests.catalogue import Catalogue

_FIXES = {
    Can.WEIGHTS: "use `strategy: {blueGreen: {}}` with `bake: {control: 0}`",
    Can.PINS: "use another strategy than `ab`",
    Can.MIRROR: "take `mirror` out",
    Can.SHIELD: "write `shield: {enabled: false}`",
    Can.PREVIEW: "use another strategy than `blueGreen`, and no `gates`",
    Can.FAULTS: "take `fault` out of the MeshPolicy",
}


def requires(guard: Guard) -> frozenset[Can]:
    """Say what a router must be able to do for this Guard. The shield is left out: it is up where it can be."""
    needed: set[Can] = set()
    match guard.strategy:
        case Canary():
            needed.add(Can.WEIGHTS)
        case BlueGreen():
            needed.add(Can.PREVIEW)
        case ABTest():
            needed.add(Can.PINS)
    if guard.bake_s > 0 and guard.bake_control_percent > 0:
        needed.add(Can.WEIGHTS)
    if guard.gates:
        needed.add(Can.PREVIEW)
    if guard.mirror:
        needed.add(Can.MIRROR)
    return frozenset(needed)


def unsupported(catalogue: Catalogue, capabilities: frozenset[Can], router_name: str) -> tuple[Problem, ...]:
    """Everything that the catalogue asks for and this router cannot do."""
    places = {source.service: source for source in catalogue.guards}
    problems = []
    for wanted in catalogue.wanted:
        name = wanted.service.name
        place = places.get(name)
        needed = _needed(wanted, shield_stated=place is not None and place.shield_stated)
        file, line = (place.file, place.line) if place else (_deployment_file(wanted), None)
        for lacking in sorted(needed - capabilities):
            said = f"the traffic router {router_name} cannot do {lacking.value}, which service {name} asks for"
            problems.append(Problem(file=file, line=line, field="spec", message=said, fix=_FIXES[lacking]))
    return tuple(problems)


def _needed(wanted: Wanted, *, shield_stated: bool) -> frozenset[Can]:
    if wanted.service.port is None:
        return frozenset()
    shield = {Can.SHIELD} if shield_stated else set()
    return requires(wanted.guard) | shield | ({Can.FAULTS} if wanted.version.policy.fault else set())


def _deployment_file(wanted: Wanted) -> str:
    return next((path for path, kind, _ in wanted.documents if kind == "Deployment"), "manifests")
