"""What a cluster asks for: `sternway.ports.Desired` over the stores. Used by `control.observe` and by the operator.

One service at a time, and only when one of its objects changed. A Guard that cannot be followed changes nothing: the last one
that could be stays in force, and `problems` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sternway.domain.mesh import MeshPolicy
from sternway.domain.policies import Policy
from sternway.domain.releases import Mark, Wanted
from sternway.domain.traffic import Can
from sternway.domain.versions import Version
from sternway.errors import Problem
from sternway.kubernetes.api import Object, Resource, name_of, namespace_of
from sternway.kubernetes.ours import ADOPTING, POD, TWIN, annotation, is_ours, named, service_key, split_key
from sternway.kubernetes.reading import (
    Reader,
    behind,
    follows,
    of_service,
    own_selector,
    replicas_of,
    scales,
    selected,
)
from sternway.kubernetes.remembered import Remembered
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    GUARDS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from sternway.kubernetes.template import ConfigName, references, workload_of
from sternway.operator.asked import Asked, Found, asked, place_of
from sternway.operator.ledger import bad_versions, read_ledger
from sternway.operator.policies import ClusterPolicies
from sternway.policy import breaches

_KINDS = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was found out of a service, and from which objects."""

    token: tuple[object, ...]
    asked: Asked
    wanted: Wanted | None
    deployment: str


class ClusterDesired:
    """Reads what is wanted of a service when it is asked.

    scalers: the kinds of autoscalers that this cluster has. mesh: a service's traffic router, by its name, and what it can do.
    meshes: the names of all that a Guard may choose.
    rules: the cluster's Policies.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        scalers: tuple[Resource, ...],
        mesh: Callable[[str], tuple[str, frozenset[Can]]],
        meshes: Callable[[], tuple[str, ...]] = tuple,
        rules: ClusterPolicies | None = None,
    ) -> None:
        self._reader = reader
        self._scalers = scalers
        self._mesh = mesh
        self._meshes = meshes
        self._rules = rules
        self._known: dict[str, _Known] = {}
        self._recorded: dict[str, Wanted] = {}
        self._looked: Remembered[_Known | None] = Remembered(reader.basis)

    def services(self, namespace: str = "") -> tuple[str, ...]:
        """Every service that has a Guard."""
        guards = self._reader.all(GUARDS, namespace)
        keys = {service_key(namespace_of(one), _service_of(one)) for one in guards if _service_of(one)}
        return tuple(sorted(keys))

    def wanted(self, service: str) -> Wanted | None:
        """See ports.Desired. While its Guard goes, nothing is wanted of a service any more."""
        known, guard = self._look(service), self.guard(service)
        return known.wanted if known and guard and not guard["metadata"].get("deletionTimestamp") else None

    def asked(self, service: str) -> str:
        """The fingerprint of what the service's Deployment asks for now; "" where that is not known."""
        known = self._look(service)
        wanted = (known.asked.wanted or known.wanted) if known else None
        return wanted.version.workload.pod if wanted is not None else ""

    def waits(self, service: str) -> bool:
        """Whether an edit of the service's Deployment waits until the twin serves."""
        namespace, _ = split_key(service)
        found = self._reader.get(DEPLOYMENTS, self.deployment(service) or "", namespace)
        return found is not None and bool(annotation(found, ADOPTING))

    def remember(self, wanted: Wanted) -> None:
        """What was wanted last, before this process: it stays in force while what the Guard says now cannot be followed."""
        self._recorded[wanted.service.name] = wanted
        self._known.pop(wanted.service.name, None)  # it was read without what is recorded, or before another led
        self._looked.forget(wanted.service.name)

    def problems(self, service: str) -> tuple[Problem, ...]:
        """Why the service's Guard is not followed as it stands."""
        known = self._look(service)
        return (*known.asked.problems, *self._refused(service, known)) if known else ()

    def policies(self, service: str) -> tuple[Policy, ...]:
        """See ports.Desired."""
        return self._rules.of(service) if self._rules is not None else ()

    def deployment(self, service: str) -> str | None:
        """The Deployment that is released; remembered while it is gone, and known by its twin after a start."""
        known = self._look(service)
        if known is not None and known.deployment:
            return known.deployment
        namespace, name = split_key(service)
        for one in self._reader.find(DEPLOYMENTS, of_service, name, namespace):
            labels = one["metadata"].get("labels") or {}
            if TWIN in labels:
                return str(labels[TWIN])
        return None

    def guard(self, service: str) -> Object | None:
        """The Guard that governs a service: the oldest, where there are several."""
        governing = self._guards(service)
        return governing[0] if governing else None

    def bad(self, service: str) -> tuple[str, ...]:
        """See ports.Desired."""
        return bad_versions(self.ledger(service))

    async def last_good(self, service: str) -> Version | None:
        """See ports.Desired. Only what the cluster still keeps the template of."""
        marks = self.ledger(service)
        for mark in reversed(marks):
            version = (
                self._kept(service, mark.commit, self.deployment(service) or "") if mark.verdict == "good" else None
            )
            if version is not None:
                return version
        return None

    def ledger(self, service: str) -> tuple[Mark, ...]:
        """Every mark of a service, oldest first."""
        guard = self.guard(service)
        return read_ledger(guard, service) if guard else ()

    def _look(self, service: str) -> _Known | None:
        return self._looked.get(service, self._look_again)

    def _look_again(self, service: str) -> _Known | None:
        guards = self._guards(service)
        if not guards:
            self._known.pop(service, None)
            self._recorded.pop(service, None)
            return None
        found = self._find(service, guards[0])
        before = self._known.get(service)
        token = (_token(found), len(guards))
        if before is not None and before.token == token:
            return before
        said = asked(found)
        if len(guards) > 1:
            said = Asked(deployment=said.deployment, wanted=said.wanted, problems=(*said.problems, _second(guards)))
        last = (before.wanted if before else None) or self._recorded.get(service)
        wanted = self._adopted(service, said, last) or said.wanted or last
        deployment = (
            said.deployment or (before.deployment if before else "") or (wanted.guard.deployment if wanted else "")
        )
        known = _Known(token=token, asked=said, wanted=wanted, deployment=deployment)
        self._known[service] = known
        return known

    def _find(self, service: str, guard: Object) -> Found:
        reader = self._reader
        namespace, name = split_key(service)
        router, can = self._mesh(service)

        def config(key: ConfigName) -> Object | None:
            return reader.get(_KINDS[key[0]], key[1], namespace)

        def twin(deployment: str) -> Object | None:
            return reader.get(DEPLOYMENTS, named(deployment, "stable"), namespace)

        def scaled(deployment: str) -> bool:
            found = (one for kind in self._scalers for one in reader.find(kind, follows, deployment, namespace))
            return any(scales(one, deployment) for one in found)

        service_object = reader.get(SERVICES, name, namespace)
        selector = own_selector(service_object) if service_object is not None else {}
        others = (selected(reader, kind, selector, namespace) for kind in (STATEFUL_SETS, DAEMON_SETS))
        known = reader.all(SERVICES, namespace) if service_object is None else ()
        return Found(
            guard=guard,
            service=service_object,
            deployments=selected(reader, DEPLOYMENTS, selector, namespace),
            others=tuple(one for several in others for one in several),
            services=tuple(name_of(one) for one in known if not is_ours(one)),
            config=config,
            twin=twin,
            scaled=scaled,
            router=router,
            can=can,
            meshes=self._meshes(),
        )

    def _refused(self, service: str, known: _Known) -> tuple[Problem, ...]:
        """What Policies refuse in the Guard. What runs is governed all the same; no release begins (see sternway.policy)."""
        guard = self.guard(service)
        if known.wanted is None or guard is None:
            return ()
        found = [breach for policy in self.policies(service) for breach in breaches(policy, known.wanted.guard)]
        return tuple(Problem(file=place_of(guard), field=one.field, message=one.message, fix=one.fix) for one in found)

    def _guards(self, service: str) -> list[Object]:
        namespace, name = split_key(service)
        guards = [one for one in self._reader.find(GUARDS, of_service, name, namespace) if _service_of(one) == name]
        return sorted(guards, key=lambda one: (str(one["metadata"].get("creationTimestamp", "")), name_of(one)))

    def _adopted(self, service: str, said: Asked, last: Wanted | None) -> Wanted | None:
        """What is wanted while an edit waits for the twin: the version whose pods serve, with the rest as it is said now."""
        namespace, _ = split_key(service)
        deployment = self._reader.get(DEPLOYMENTS, said.deployment, namespace) if said.deployment else None
        pod = annotation(deployment, ADOPTING) if deployment is not None else ""
        if not pod or said.wanted is None or said.wanted.commit == pod:
            return None
        known = last is not None and last.commit == pod
        version = last.version if last is not None and known else self._kept(service, pod, said.deployment)
        return replace(said.wanted, version=version, commit=pod) if version is not None else None

    def _kept(self, service: str, pod: str, deployment: str) -> Version | None:
        """A version that the cluster keeps the template of."""
        namespace, name = split_key(service)
        for revision in self._reader.find(CONTROLLER_REVISIONS, of_service, name, namespace):
            if (revision["metadata"].get("labels") or {}).get(POD) == pod:
                workload = workload_of(revision["data"]["template"], pod, service=service, deployment=deployment)
                return Version(service=service, workload=workload, policy=MeshPolicy(), commit=pod)
        return None


def _token(found: Found) -> tuple[object, ...]:
    """What the answer rests on: the same token, the same answer."""
    metadata = found.guard["metadata"]  # its status is our own, and what it says has a generation
    guard = (str(metadata.get("uid", "")), int(metadata.get("generation", 0)))
    seen: list[object] = [guard, _seen(found.service), found.router, found.can, found.meshes]
    if found.service is None:
        return (*seen, tuple(sorted(found.services)))
    for one in behind(found.service, (*found.deployments, *found.others)):
        name = name_of(one)
        twin = found.twin(name)
        seen += [_seen(one), found.scaled(name), replicas_of(twin) if twin else None]
        seen += [_seen(found.config(used.key)) for used in references(one["spec"]["template"])]
    return tuple(seen)


def _seen(obj: Object | None) -> tuple[str, str] | None:
    if obj is None:
        return None
    return str(obj["metadata"].get("uid", "")), str(obj["metadata"].get("resourceVersion", ""))


def _service_of(guard: Object) -> str:
    spec = guard.get("spec")
    said = spec.get("service") if isinstance(spec, dict) else None
    return said if isinstance(said, str) else ""


def _second(guards: list[Object]) -> Problem:
    others = ", ".join(place_of(one) for one in guards[1:])
    said = f"there are further Guards for service {_service_of(guards[0])}: {others}; the oldest one is followed"
    return Problem(file=place_of(guards[0]), field="spec.service", message=said, fix="keep one of them")
