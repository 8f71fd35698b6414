"""Checked manifests -> what is wanted of every service. Called by `sternway.manifests.load`.

First `pairing` says which Deployment stands behind which Service; here each pair gets its Guard, its mesh policy and
its workloads. Everything that only shows when the manifests are seen together is checked on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sternway.domain import guards
from sternway.domain.images import Images
from sternway.domain.mesh import MeshPolicy as Policy
from sternway.domain.monitoring import Scrape
from sternway.domain.releases import Wanted
from sternway.domain.versions import Service, Version, Workload
from sternway.manifests.addresses import addresses, container_port, note_shared_ports, replica_port, served_path
from sternway.manifests.catalogue import Source
from sternway.manifests.models.deployment import Deployment
from sternway.manifests.models.gate import words_of
from sternway.manifests.models.guard import Guard
from sternway.manifests.models.mesh import MeshPolicy
from sternway.manifests.models.route import HTTPRoute
from sternway.manifests.pairing import Pair, Placed, pair
from sternway.manifests.read import Read
from sternway.manifests.report import Report, suggest
from sternway.manifests.routes import Attached, attachments, route_rules
from sternway.manifests.scraping import scrape
from sternway.manifests.sources import DocumentName, Lookup, Sources
from sternway.manifests.workloads import CONTAINER, Built, build_workload
from sternway.manifests.yamltext import Document, Path

PerService = TypeVar("PerService", Guard, MeshPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that was read, by the service that it is about."""

    commit: str
    sources: Sources
    images: Images
    deployments: Mapping[str, Placed]
    guards: Mapping[str, tuple[Document, Guard]]
    policies: Mapping[str, tuple[Document, MeshPolicy]]
    routes: Mapping[str, tuple[Attached, ...]]
    report: Report


def assemble(
    found: Read, images: Images, commit: str, report: Report
) -> tuple[tuple[Wanted, ...], tuple[Source, ...], tuple[Scrape, ...]]:
    """Say what is wanted of every service, where the Guards stand, and what exports metrics."""
    _refuse_equal_names(found, report)
    world = World(
        commit=commit,
        sources=Sources.of(found, report),
        images=images,
        deployments={manifest.metadata.name: (document, manifest) for document, manifest in found.of(Deployment)},
        guards=_one_each(found.of(Guard), report),
        policies=_one_each(found.of(MeshPolicy), report),
        routes=_by_service(found, report),
        report=report,
    )
    pairs, mistaken = pair(found, world.guards, report)
    _refuse_unknown_services(world, pairs, mistaken)
    wanted = tuple(_wanted(world, pairs[name]) for name in sorted(pairs))
    note_shared_ports(wanted, pairs, report)
    scrapes = tuple(stated for one in wanted if (stated := scrape(pairs[one.service.name], one, report)))
    return wanted, tuple(_source(*world.guards[name]) for name in sorted(world.guards)), scrapes


def _one_each(
    manifests: Iterable[tuple[Document, PerService]], report: Report
) -> dict[str, tuple[Document, PerService]]:
    """Return the Guard (or MeshPolicy) of each service; a second one is a mistake."""
    found: dict[str, tuple[Document, PerService]] = {}
    for document, manifest in manifests:
        service = manifest.spec.service
        if service in found:
            first = found[service][0]
            said = f"a second {manifest.kind} for service {service}; the first stands in {first.file}:{first.line()}"
            report.wrong(document, ("spec", "service"), said, "keep one of them")
        found.setdefault(service, (document, manifest))
    return found


def _by_service(found: Read, report: Report) -> dict[str, tuple[Attached, ...]]:
    routes: dict[str, tuple[Attached, ...]] = {}
    for document, route in found.of(HTTPRoute):
        for attached in attachments(document, route, report):
            routes[attached.service] = (*routes.get(attached.service, ()), attached)
    return routes


def _refuse_equal_names(found: Read, report: Report) -> None:
    """Refuse one name in two namespaces: a service is known by its name alone."""
    spaces: dict[str, str] = {}
    for document, manifest in found.of(Deployment):
        name, space = manifest.metadata.name, manifest.metadata.namespace
        if spaces.setdefault(name, space) != space:
            said = f"Deployment {name} stands in the namespaces {spaces[name]} and {space}"
            report.wrong(document, ("metadata", "name"), said, "give each Deployment a name of its own")


def _refuse_unknown_services(world: World, pairs: Mapping[str, Pair], mistaken: frozenset[str]) -> None:
    path: Path = ("spec", "service")
    bound: list[tuple[Document, str, str, str | None, Path]] = [
        (document, manifest.kind, service, _stated_namespace(manifest), path)
        for manifests in (world.guards, world.policies)
        for service, (document, manifest) in manifests.items()
    ]
    for service, attached in world.routes.items():
        for one in attached:
            space = one.route.spec.parent_refs[int(one.path[-1])].namespace or _stated_namespace(one.route)
            bound.append((one.document, "HTTPRoute", service, space, (*one.path, "name")))
    for document, kind, service, space, at in bound:
        if service in mistaken:
            continue
        if service not in pairs:
            article = "an" if kind == "HTTPRoute" else "a"
            said = f"{article} {kind} for service {service}, which is not there"
            world.report.absent(document, at, said, suggest(service, pairs) if pairs else "add its Deployment")
        elif space and space != pairs[service].namespace:
            said = f"service {service} is in the namespace {pairs[service].namespace}, not in {space}"
            world.report.wrong(document, at, said, f"write `namespace: {pairs[service].namespace}`")


def _stated_namespace(manifest: Guard | MeshPolicy | HTTPRoute) -> str | None:
    metadata = manifest.metadata
    return metadata.namespace if "namespace" in metadata.model_fields_set else None


def _wanted(world: World, pair: Pair) -> Wanted:
    port, target = addresses(pair, world.report)
    policy, documents = _policy(world, pair.name)
    built = _build(world, (pair.document, pair.deployment), target, service=pair.name)
    guard = _guard(world, *world.guards[pair.name]) if pair.name in world.guards else None
    standing = _fallback(world, pair, guard) if guard and guard.fallback else None
    return Wanted(
        service=Service(name=pair.name, port=port, namespace=pair.namespace),
        version=Version(service=pair.name, workload=built.workload, policy=policy, commit=world.commit),
        replicas=pair.deployment.spec.replicas,
        guard=guard or guards.implicit_guard(pair.name),
        commit=world.commit,
        documents=tuple(sorted({*built.documents, *documents})),
        fallback=Version(service=pair.name, workload=standing[0], policy=policy, commit=world.commit)
        if standing
        else None,
        fallback_replicas=standing[1] if standing else 0,
    )


def _guard(world: World, document: Document, manifest: Guard) -> guards.Guard:
    """What a Guard says; what is for clusters alone is refused."""
    if manifest.spec.mesh:
        said = f"`mesh: {manifest.spec.mesh}` chooses among the meshes of a cluster; on one machine there is Sternway's own"
        world.report.wrong(document, ("spec", "mesh"), said, "take `mesh` out")
    for index, gate in enumerate(manifest.spec.gates):
        path: Path = ("spec", "gates", index, "command" if gate.command else "job")
        if not gate.command:
            said = f"gate {gate.name} is a Job, which needs a cluster"
            world.report.wrong(document, path, said, "write `command` on one machine")
        elif not words_of(gate.command):
            said = f"the command of gate {gate.name} cannot be read: a quotation mark is not closed, or it is empty"
            world.report.wrong(document, path, said, "mend the command line")
    return manifest.to_domain()


def _policy(world: World, service: str) -> tuple[Policy, tuple[DocumentName, ...]]:
    """Return the service's mesh policy, and the documents that it was read from."""
    attached = world.routes.get(service, ())
    rules = route_rules(attached, world.report)
    documents = [(one.document.file, "HTTPRoute", one.route.metadata.name) for one in attached]
    if service not in world.policies:
        return Policy(rules=rules), tuple(documents)
    document, manifest = world.policies[service]
    return manifest.to_domain(rules), (*documents, (document.file, "MeshPolicy", manifest.metadata.name))


def _build(world: World, placed: Placed, port: int | None, *, service: str) -> Built:
    document, deployment = placed
    lookup = Lookup(
        document=document, namespace=deployment.metadata.namespace, sources=world.sources, report=world.report
    )
    built = build_workload(lookup, deployment, port, service=service)
    if world.images.find(built.workload.image) is None:
        workload = built.workload
        name = workload.image if "@" in workload.image else workload.image_name
        said = f"images.yaml does not say what the image {workload.image} means on this machine"
        fix = f'add to images.yaml, below `images:`, the line `  {name}: "COMMAND --port {{port}}"`'
        world.report.absent(document, (*CONTAINER, "image"), said, fix)
    return built


def _fallback(world: World, pair: Pair, guard: guards.Guard) -> tuple[Workload, int] | None:
    """Return the workload that always stands by, and its replicas."""
    document = world.guards[pair.name][0]
    path: Path = ("spec", "fallback", "deployment")
    name = guard.fallback or ""
    if name == pair.deployment.metadata.name:
        said = f"the fallback of {pair.name} is the Deployment that is released"
        world.report.wrong(document, path, said, "name another Deployment")
        return None
    placed = world.deployments.get(name)
    if placed is None or placed[1].metadata.namespace != pair.namespace:
        said = f"the fallback Deployment {name} is not there"
        known = [one for one, (_, held) in world.deployments.items() if held.metadata.namespace == pair.namespace]
        known.remove(pair.deployment.metadata.name)
        world.report.absent(document, path, said, suggest(name, known) if known else "add the Deployment")
        return None
    if placed[1].spec.replicas == 0:
        said = f"the fallback Deployment {name} has no replicas"
        world.report.wrong(placed[0], ("spec", "replicas"), said, "a standing rollback target needs at least one")
    served = served_path(pair)
    port = replica_port(pair, served, *placed, world.report) if served else container_port(placed[1])
    if port is None and served is None and addresses(pair, Report())[1] is not None:
        said = f"the fallback Deployment {name} opens no port"
        world.report.wrong(placed[0], CONTAINER, said, "add `ports` to the container")
    return _build(world, placed, port, service=pair.name).workload, placed[1].spec.replicas


def _source(document: Document, guard: Guard) -> Source:
    spec = guard.spec
    stated = "shield" in spec.model_fields_set and spec.shield.enabled
    return Source(service=spec.service, file=document.file, line=document.line(), shield_stated=stated)
