"""A Guard, its Service and its workload -> what is wanted of a service, or why it cannot be done. Pure.

Called by `desired`. Every problem names the object, the field and the fix, as for a manifest in Git.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from sternway.domain import guards
from sternway.domain.mesh import MeshPolicy
from sternway.domain.releases import Wanted
from sternway.domain.traffic import Can
from sternway.domain.versions import Service, Version
from sternway.errors import Problem
from sternway.kubernetes.api import Object, name_of, namespace_of
from sternway.kubernetes.ours import service_key
from sternway.kubernetes.reading import behind, in_place, own_selector, own_strategy, replicas_of, wished_replicas
from sternway.kubernetes.resources import DAEMON_SETS, DEPLOYMENTS
from sternway.kubernetes.template import ConfigName, fingerprint, workload_of
from sternway.manifests.admission import unsupported
from sternway.manifests.catalogue import Catalogue, Source
from sternway.manifests.models import guard as model
from sternway.manifests.report import explain_errors, suggest
from sternway.manifests.yamltext import Document
from sternway.operator.mesh_metrics import mesh_metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything in the cluster that a Guard may be about.

    deployments, others (StatefulSets and DaemonSets): those that the Service may select. services: of the namespace, where
    it has none of that name. router, can: the service's mesh, and what it can do.
    meshes: the names of those that this cluster has.
    """

    guard: Object
    service: Object | None
    deployments: Sequence[Object] = ()
    others: Sequence[Object] = ()
    services: Collection[str] = ()
    config: Callable[[ConfigName], Object | None]
    twin: Callable[[str], Object | None]
    scaled: Callable[[str], bool]
    router: str = ""
    can: frozenset[Can] = frozenset()
    meshes: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted, or what is wrong."""

    deployment: str = ""
    wanted: Wanted | None = None
    problems: tuple[Problem, ...] = ()


def asked(found: Found) -> Asked:
    """Say what a Guard asks for."""
    guard, wrong = read_guard(found.guard)
    if guard is None:
        return Asked(problems=wrong)
    place = place_of(found.guard)
    chosen, problem = _workload(found, guard.spec)
    if problem or chosen is None:
        return Asked(problems=(problem,) if problem else ())
    problems = [*_beyond(found, guard.spec, chosen)]
    wanted = _wanted(found, guard, chosen)
    stated = "shield" in guard.spec.model_fields_set and guard.spec.shield.enabled
    source = Source(service=wanted.service.name, file=place, line=0, shield_stated=stated)
    problems += unsupported(Catalogue(wanted=(wanted,), guards=(source,)), found.can, found.router)
    if problems:
        return Asked(deployment=name_of(chosen), problems=tuple(problems))
    return Asked(deployment=name_of(chosen), wanted=wanted)


def read_guard(guard: Object) -> tuple[model.Guard | None, tuple[Problem, ...]]:
    """Read a Guard as it stands, or say what is wrong with it."""
    value = {key: item for key, item in guard.items() if key != "status"}
    try:
        return model.Guard.model_validate(value), ()
    except ValidationError as exc:
        document = Document(file=place_of(guard), value=value, lines={})
        problems = explain_errors(document, model.Guard, exc, secret=False)
        return None, tuple(replace(problem, line=None) for problem in problems)


def place_of(guard: Object) -> str:
    """How a problem names a Guard: `Guard shop/orders`."""
    return f"Guard {namespace_of(guard)}/{name_of(guard)}"


def _wanted(found: Found, guard: model.Guard, chosen: Object) -> Wanted:
    key = service_key(namespace_of(found.guard), guard.spec.service)
    template = chosen["spec"]["template"]
    name, here = name_of(chosen), in_place(chosen)
    pod = fingerprint(template, found.config)
    workload = workload_of(template, pod, service=key, deployment=name)
    replicas = replicas_of(chosen) if here else wished_replicas(chosen, found.twin(name), scaled=found.scaled(name))
    return Wanted(
        service=Service(name=key, port=_port(found.service), namespace=namespace_of(found.guard)),
        version=Version(service=key, workload=workload, policy=MeshPolicy(), commit=pod),
        replicas=replicas,
        guard=_for_the_mesh(replace(guard.to_domain(), service=key, deployment=name), found, here=here),
        commit=pod,
        in_place=here,
    )


def _for_the_mesh(guard: guards.Guard, found: Found, *, here: bool) -> guards.Guard:
    """What the mesh counts by itself comes first: without a log it is how a release is seen at all.

    The shield is up by default; where the mesh has none, nothing may say that it is.
    """
    own = {metric.name for metric in guard.judge.metrics}
    implied = tuple(metric for metric in mesh_metrics(found.router, in_place=here) if metric.name not in own)
    shield = guard.shield if Can.SHIELD in found.can else replace(guard.shield, enabled=False)
    return replace(guard, shield=shield, judge=replace(guard.judge, metrics=(*implied, *guard.judge.metrics)))


def _workload(found: Found, spec: model.GuardSpec) -> tuple[Object | None, Problem | None]:
    """Find what is released, or say why it cannot be."""
    service = found.service
    if service is None:
        said = f"there is no Service {spec.service} in namespace {namespace_of(found.guard)}"
        fix = suggest(spec.service, found.services) if found.services else "add the Service"
        return None, _problem(found, "spec.service", said, fix)
    if not own_selector(service):
        said = f"Service {spec.service} has no selector, so nothing of it can be released"
        return None, _problem(found, "spec.service", said, "give the Service a selector")
    names = {name_of(one): one for one in behind(service, found.deployments) or behind(service, found.others)}
    if not names:
        return None, _nothing_behind(found, spec, service)
    kind = next(iter(names.values())).get("kind", DEPLOYMENTS.kind)
    if spec.deployment and spec.deployment not in names:
        said = f"Service {spec.service} does not select a {kind} {spec.deployment}"
        return None, _problem(found, "spec.deployment", said, suggest(spec.deployment, names))
    if len(names) > 1 and not spec.deployment:
        said = f"Service {spec.service} selects several {kind}s: {', '.join(sorted(names))}"
        return None, _problem(found, "spec.deployment", said, "say here which one is released")
    return names[spec.deployment or next(iter(names))], None


def _nothing_behind(found: Found, spec: model.GuardSpec, service: Object) -> Problem:
    wants = ", ".join(f"{key}={value}" for key, value in sorted(own_selector(service).items()))
    said = f"Service {spec.service} selects no Deployment: none has the pod labels {wants}"
    return _problem(found, "spec.service", said, "mend the Service's selector, or add the Deployment")


def _beyond(found: Found, spec: model.GuardSpec, chosen: Object) -> list[Problem]:
    """What a Guard may say that is not done in a cluster."""
    problems = []
    if spec.mesh and spec.mesh not in found.meshes:
        said = f"this cluster has no mesh {spec.mesh}"
        problems.append(_problem(found, "spec.mesh", said, suggest(spec.mesh, found.meshes)))
    problems += _gates(found, spec)
    deployment = name_of(chosen)
    if in_place(chosen):
        return [*problems, *_within(found, spec, chosen)]
    if spec.fallback is not None:
        said = "a fallback of one's own is not used in a cluster: the proven version always stands by"
        problems.append(_problem(found, "spec.fallback", said, f"take it out; `{deployment}-stable` stands by"))
    if not chosen["spec"]["selector"].get("matchLabels"):
        said = f"Deployment {deployment} selects its pods without matchLabels, so its twin's cannot be told apart"
        problems.append(_problem(found, "spec.deployment", said, "give its selector a matchLabels"))
    return problems


def _within(found: Found, spec: model.GuardSpec, chosen: Object) -> list[Problem]:
    """What does not fit where versions stand side by side within one workload."""
    name = f"{chosen['kind']} {name_of(chosen)}"
    problems = []
    per_node = chosen["kind"] == DAEMON_SETS.kind
    service = (found.service or {}).get("spec", {})
    if service.get("clusterIP") == "None":
        said = f"Service {spec.service} is headless: clients address the pods of {name} by name, so no traffic is shared out"
        fix = f"name a Service with an address of its own that selects the pods of {name}"
        problems.append(_problem(found, "spec.service", said, fix))
    if service.get("internalTrafficPolicy") == "Local" and per_node:
        said = f"Service {spec.service} leads to the caller's own node alone, so no traffic is shared out between pods of {name}"
        problems.append(_problem(found, "spec.service", said, "let its spec.internalTrafficPolicy be Cluster"))
    count = replicas_of(chosen)
    if count < _LEAST:
        has, fix = (f"has {count} replicas", f"give it {_LEAST} replicas")
        if per_node:
            has, fix = (f"runs on {count} nodes", f"let it run on {_LEAST} nodes")
        said = f"{name} {has}, so no version can stand beside another"
        problems.append(_problem(found, "spec.service", said, f"{fix}, or take this Guard out"))
    strategy = own_strategy(chosen) if per_node else chosen["spec"].get("updateStrategy") or {}  # OnDelete is ours, too
    if strategy.get("type") == "OnDelete":
        said = f"{name} has the updateStrategy OnDelete: its pods are replaced by hand"
        problems.append(_problem(found, "spec.service", said, "let its spec.updateStrategy.type be RollingUpdate"))
    unfit = _UNFIT.get(type(spec.strategy.to_domain())) if spec.strategy else None
    if unfit is not None:
        field, why = unfit
        said = f"{name} is released in place, where {why}"
        problems.append(_problem(found, f"spec.strategy.{field}", said, "choose `canary` or `adaptive`"))
    if spec.fallback is not None:
        said = (
            f"a fallback is not used in a cluster: what {name} ran before stays in it until the new version is proven"
        )
        problems.append(_problem(found, "spec.fallback", said, "take it out"))
    return problems


_LEAST = 2
_UNFIT: dict[type, tuple[str, str]] = {
    guards.BlueGreen: ("blueGreen", "two versions share its replicas, so neither can take all traffic at once"),
    guards.ABTest: ("ab", "nobody can tell how many of its replicas the chosen group of users needs"),
}


def _gates(found: Found, spec: model.GuardSpec) -> list[Problem]:
    """A gate is a Job here, and no user may be sent to its pods."""
    problems = []
    selector = own_selector(found.service or {})
    for index, gate in enumerate(spec.gates):
        place = f"spec.gates[{index}]"
        if gate.job is None:
            said = f"gate {gate.name} is a command, which runs on one machine alone"
            problems.append(_problem(found, f"{place}.command", said, "write `job`"))
            continue
        labels = (gate.job.template.get("metadata") or {}).get("labels") or {}
        if selector and selector.items() <= labels.items():
            said = f"Service {spec.service} selects the pods of gate {gate.name}, so users would be sent to them"
            problems.append(
                _problem(found, f"{place}.job.template.metadata.labels", said, "take one of the labels out")
            )
    return problems


def _port(service: Object | None) -> int | None:
    """The port that callers use: HTTP by its name or protocol, or else the first over TCP."""
    ports = (service or {}).get("spec", {}).get("ports") or ()
    tcp = [port for port in ports if port.get("protocol", "TCP") == "TCP"]
    http = [port for port in tcp if port.get("name") == "http" or port.get("appProtocol") == "http"]
    return next((int(port["port"]) for port in (http or tcp)), None)


def _problem(found: Found, field: str, message: str, fix: str) -> Problem:
    return Problem(file=place_of(found.guard), field=field, message=message, fix=fix)
