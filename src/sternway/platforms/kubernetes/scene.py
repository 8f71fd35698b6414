"""Everything in the cluster that one service is about, read once. Called by `platform`; read by `plan` and `states`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.ours import ADOPTING, POD, TWIN, annotation, named, split_key
from sternway.kubernetes.reading import Reader, follows, in_place, of_service, own_selector, released, replicas_of
from sternway.kubernetes.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
)
from sternway.kubernetes.template import ConfigName, fingerprint, references, stamped, template_digest
from sternway.platforms.kubernetes.batches import Batch, read_batches

KINDS = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}
SELF_HEALING = ("argocd", "argo-cd", "kustomize-controller", "helm-controller", "flux")
"""How the managers are called that put a field back whenever it changes. Helm and kubectl only write when they are run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A Deployment (or StatefulSet, DaemonSet) of the service, and the ReplicaSets and pods that it has made."""

    deployment: Object
    sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()

    @property
    def name(self) -> str:
        """Of the Deployment."""
        return name_of(self.deployment)

    @property
    def uid(self) -> str:
        """Of the Deployment."""
        return str(self.deployment["metadata"]["uid"])

    @property
    def replicas(self) -> int:
        """How many it is told to have."""
        return replicas_of(self.deployment)

    @property
    def template(self) -> Object:
        """What its pods are made from by now."""
        template: Object = self.deployment["spec"]["template"]
        return template

    @property
    def paused(self) -> bool:
        """Whether a changed template waits."""
        return bool(self.deployment["spec"].get("paused"))

    @property
    def observed(self) -> bool:
        """Whether its controller has seen what it says now."""
        seen = (self.deployment.get("status") or {}).get("observedGeneration", 0)
        return int(seen) >= int(self.deployment["metadata"].get("generation", 0))


def digest_of(obj: Object) -> str:
    """A fingerprint of the template of a Deployment or ReplicaSet."""
    return template_digest(obj["spec"]["template"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One service as the cluster shows it.

    key: what the engine calls it. kind, deployment: of what kind the user's is, and what it is called. batches: its pods by their
    version, where these stand side by side within it. held: any ConfigMap or Secret of the namespace. pod: the fingerprint of what the user's Deployment asks for now. config: what the templates
    use. followers: autoscalers and disruption budgets that may be about the user's Deployment, and our copies, by kind.
    """

    key: str
    namespace: str
    name: str
    deployment: str = ""
    kind: Resource = DEPLOYMENTS
    batches: tuple[Batch, ...] = ()
    service: Object | None = None
    user: Seat | None = None
    twin: Seat | None = None
    stable_service: Object | None = None
    candidate_service: Object | None = None
    revisions: Mapping[str, Object]
    config: Mapping[ConfigName, Object]
    copies: Mapping[ConfigName, Object]
    held: Callable[[ConfigName], Object | None]
    followers: tuple[tuple[Resource, Object], ...] = ()
    pod: str = ""
    digest: Callable[[Object], str] = digest_of
    """Of the template of a Deployment or ReplicaSet."""

    @property
    def in_place(self) -> bool:
        """Whether versions stand side by side within the user's own workload, and there is no twin."""
        return self.kind is not DEPLOYMENTS

    @property
    def where(self) -> str:
        """The user's workload, for people."""
        return f"{self.kind.kind} {self.deployment}"

    def twin_pod(self) -> str:
        """Which version the twin's template is of."""
        return stamped(self.twin.template)[0] if self.twin else ""

    def pod_of(self, seat: Seat, replica_set: Object) -> str:
        """Which version a ReplicaSet runs; "" where that is not known.

        The user's Deployment carries our stamp from the moment that it is scaled up; a template that was edited since
        does not fit it. Without a stamp (before anything of the user's was touched) the newest one runs what is asked for, or
        what was asked for when it was paused to be adopted.
        """
        template = replica_set["spec"]["template"]
        pod, of_template = stamped(template)
        if self.twin is not None and seat.uid == self.twin.uid:
            return pod
        same = self.digest(replica_set)
        if pod:
            return pod if of_template == same else ""
        if same == self.digest(seat.deployment):
            return self.pod
        adopted = annotation(seat.deployment, ADOPTING)
        kept = self.revisions.get(adopted)
        return adopted if kept is not None and template_digest(kept["data"]["template"]) == same else ""

    def live(self, seat: Seat) -> str:
        """The version that a Deployment's newest pods run; "" when it has none or one that nobody knows."""
        running = [one for one in seat.sets if int(one["spec"].get("replicas") or 0) > 0]
        return self.pod_of(seat, max(running, key=_generation)) if running else ""


def owned_by_gitops(obj: Object, *path: str) -> str:
    """Name the manager that would put a field back; "" when there is none."""
    for entry in obj["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        fields = entry.get("fieldsV1") or {}
        for part in path:
            fields = fields.get(f"f:{part}")
            if fields is None:
                break
        if fields is not None and not entry.get("subresource") and manager.lower().startswith(SELF_HEALING):
            return manager
    return ""


def read_scene(
    reader: Reader,
    key: str,
    deployment: str | None,
    kinds: tuple[Resource, ...],
    digest: Callable[[Object], str],
) -> Scene:
    """Read one service. kinds: of what follows a Deployment about, as far as this cluster serves them."""
    namespace, name = split_key(key)
    found = released(reader, key, deployment) if deployment else None
    kind = found[0] if found is not None else DEPLOYMENTS
    user = _seat(reader, found[1]) if found is not None else None
    other = reader.get(DEPLOYMENTS, named(deployment, "stable"), namespace) if deployment else None
    twin = _seat(reader, other) if other is not None and kind is DEPLOYMENTS else None
    ours = reader.find(CONTROLLER_REVISIONS, of_service, name, namespace)
    kept = {_labels(one)[POD]: one for one in ours if POD in _labels(one)}
    config = _config(reader, namespace, user)
    pod = fingerprint(user.template, config.get) if user else ""
    return Scene(
        key=key,
        namespace=namespace,
        name=name,
        deployment=deployment or "",
        kind=kind,
        batches=read_batches(reader, user.deployment, kept, pod) if user and in_place(user.deployment) else (),
        service=reader.get(SERVICES, name, namespace),
        user=user,
        twin=twin,
        stable_service=reader.get(SERVICES, named(name, "stable"), namespace),
        candidate_service=reader.get(SERVICES, named(name, "candidate"), namespace),
        revisions=kept,
        config=config,
        copies=_copies(reader, namespace, kept),
        held=lambda key: reader.get(KINDS[key[0]], key[1], namespace),
        followers=tuple((other, one) for other in kinds for one in _followers(reader, other, namespace, name, user)),
        pod=pod,
        digest=digest,
    )


def selector_of(scene: Scene) -> dict[str, str]:
    """The labels by which the user's Service finds pods, as the user wrote it."""
    return own_selector(scene.service) if scene.service else {}


def is_twin(deployment: Object) -> bool:
    """Whether a Deployment is one of ours."""
    return TWIN in _labels(deployment)


def _seat(reader: Reader, deployment: Object) -> Seat:
    sets = tuple(reader.owned(REPLICA_SETS, deployment["metadata"]["uid"]))
    pods = tuple(pod for one in sets for pod in reader.owned(PODS, one["metadata"]["uid"]))
    return Seat(deployment=deployment, sets=sets, pods=pods)


def _followers(reader: Reader, kind: Resource, namespace: str, name: str, user: Seat | None) -> tuple[Object, ...]:
    """Of one kind."""
    labels = user.template.get("metadata", {}).get("labels") or {} if user else {}
    words = (user.name, *(f"{key}={value}" for key, value in labels.items()), "") if user else ()
    found = [one for word in words for one in reader.find(kind, follows, word, namespace)]
    found += reader.find(kind, of_service, name, namespace)
    return tuple({name_of(one): one for one in found}.values())


def _config(reader: Reader, namespace: str, user: Seat | None) -> dict[ConfigName, Object]:
    used = references(user.template) if user else ()
    found = {one.key: reader.get(KINDS[one.kind], one.name, namespace) for one in used}
    return {key: held for key, held in found.items() if held is not None}


def names_in(revision: Object) -> dict[ConfigName, str]:
    """Which copy holds each ConfigMap and Secret of a kept version."""
    found = {}
    for place, name in (revision["data"].get("config") or {}).items():
        kind, _, original = place.partition("/")
        found[(kind, original)] = str(name)
    return found


def _copies(reader: Reader, namespace: str, kept: Mapping[str, Object]) -> dict[ConfigName, Object]:
    names = {(kind, name) for one in kept.values() for (kind, _), name in names_in(one).items()}
    found = {key: reader.get(KINDS[key[0]], key[1], namespace) for key in names}
    return {key: held for key, held in found.items() if held is not None}


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _generation(replica_set: Object) -> tuple[int, str]:
    marks = replica_set["metadata"].get("annotations") or {}
    number = str(marks.get("deployment.kubernetes.io/revision", "0"))
    return (int(number) if number.isdigit() else 0), str(replica_set["metadata"].get("creationTimestamp", ""))
