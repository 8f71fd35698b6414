"""The objects of a fake cluster and their history, without waiting: what an API server does between two answers.

Tests may use it directly where a person or another controller is to have done something.
"""

from __future__ import annotations

import itertools
import random
import string
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sternway.clock import Clock, SystemClock
from sternway.kubernetes.api import MANAGER, Change, Object, Patch, Resource, key_of, name_of, namespace_of
from sternway.kubernetes.errors import Conflict, Invalid
from sternway.kubernetes.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from sternway.testing.kubernetes import admission, ownership, selectors
from sternway.testing.kubernetes.patches import copied, json_patched, merged

Kind = tuple[str, str]
"""(group, plural): versions of a kind share their objects."""
_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the history. before: the object as it was."""

    version: int
    change: Change
    object: Object
    before: Object | None = None


class Store:
    """Objects by kind, and what happened to them. Every method works on copies."""

    def __init__(self, *, kinds: Iterable[Resource], namespaces: Iterable[str], clock: Clock | None) -> None:
        self.clock = clock or SystemClock()
        self.listeners: list[Callable[[], None]] = []
        self.history: dict[Kind, list[Entry]] = defaultdict(list)
        self.forgotten = 0
        self._version = itertools.count(1)
        self.version = 0
        self._served = {(one.group, one.version, one.plural) for one in kinds}
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._kinds: dict[Kind, Resource] = {}
        self._alive: set[str] = set()
        self._owned: dict[str, set[tuple[Kind, tuple[str, str]]]] = defaultdict(set)
        """An owner's uid -> what has named it; whether it still does is asked when the owner goes."""
        self._random = random.Random(0)  # noqa: S311 # names in a test need no secret
        for namespace in namespaces:
            self.create(NAMESPACES, {"metadata": {"name": namespace}})

    # Reading ----------------------------------------------------------------------------------------------------------

    def serves(self, resource: Resource) -> bool:
        """See Api."""
        return admission.built_in(resource) or (resource.group, resource.version, resource.plural) in self._served

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Api."""
        self._check_address(resource, namespace)
        found = self._of(resource).get((namespace, name))
        return copied(found) if found and self.serves(resource) else None

    def select(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[Object, ...]:
        """Give every object that fits, in the order of the API."""
        matches = self.matching(resource, namespace=namespace, labels=labels, fields=fields)
        return tuple(copied(obj) for _, obj in sorted(self._of(resource).items()) if matches(obj))

    def matching(self, resource: Resource, *, namespace: str, labels: str, fields: str) -> selectors.Matches:
        """Give the question whether an object is in a selection. Raises Invalid for what is not served."""
        if not self.serves(resource):
            raise Invalid(
                f"the server has no {resource.plural} in {resource.api_version}",
                hint=f"install the CustomResourceDefinition {resource.plural}.{resource.group}",
            )
        by_labels, by_fields = selectors.by_labels(labels), selectors.by_fields(fields, resource)
        return lambda obj: namespace in {"", namespace_of(obj)} and by_labels(obj) and by_fields(obj)

    # Writing ----------------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, obj: Object, *, manager: str = MANAGER) -> Object:
        """See Api."""
        new = copied(obj)
        metadata = new.setdefault("metadata", {})
        if "name" not in metadata and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + self.word(5)
        if admission.has_status(resource):
            new.pop("status", None)
        new = self._admitted(resource, None, new)
        if key_of(new) in self._of(resource):
            raise Conflict(f'{resource.plural} "{name_of(new)}" already exists')
        owner = (manager, "Update", resource.api_version, "")
        return self._put_new(resource, new, ownership.updated(None, new, owner))

    def replace(self, resource: Resource, obj: Object, *, subresource: str = "", manager: str = MANAGER) -> Object:
        """See Api."""
        before = self._find(resource, name_of(obj), namespace_of(obj))
        if before is None:
            raise Conflict(f'{resource.plural} "{name_of(obj)}" not found', hint="read it again: it was deleted")
        if subresource == "scale":
            return self._scale(resource, before, obj, manager)
        if admission.needs_version(resource) and not obj["metadata"].get("resourceVersion"):
            raise Invalid(f'{resource.kind} "{name_of(obj)}": metadata.resourceVersion must be specified for an update')
        return self._update(resource, before, copied(obj), subresource, manager)

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str = "",
        how: Patch = Patch.MERGE,
        subresource: str = "",
        manager: str = MANAGER,
        force: bool = False,
    ) -> Object | None:
        """See Api."""
        before = self._find(resource, name, namespace)
        if how is Patch.APPLY:
            if not isinstance(patch, Mapping):
                raise Invalid("apply: an object is needed")
            return self._apply(resource, before, _addressed(patch, name, namespace), subresource, manager, force=force)
        if before is None:
            return None
        seen = self._scale_of(before) if subresource == "scale" else before
        if how is Patch.JSON:
            if isinstance(patch, Mapping):
                raise Invalid("JSON patch: a list of operations is needed")
            after = json_patched(seen, patch)
        else:
            after = merged(seen, patch)
        if subresource == "scale":
            return self._scale(resource, before, after, manager)
        return self._update(resource, before, after, subresource, manager)

    def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", now: bool = False) -> None:
        """See Api. now: as the kubelet does it, when a pod has ended."""
        found = self._find(resource, name, namespace)
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return
        if resource.kind == "Namespace":
            self._empty(name)
        lingers = resource.kind == "Pod" and found.get("spec", {}).get("nodeName") and not now
        if not found["metadata"].get("finalizers") and not lingers:
            self._remove(resource, found)
        elif "deletionTimestamp" not in found["metadata"]:
            going = copied(found)
            going["metadata"]["deletionTimestamp"] = self.now()
            going["metadata"]["deletionGracePeriodSeconds"] = 30 if lingers else 0
            self._log(resource, Change.MODIFIED, going, found)

    def install(self, resource: Resource) -> None:
        """Serve a kind of custom resources."""
        self._served.add((resource.group, resource.version, resource.plural))

    def word(self, length: int) -> str:
        """Give an ending for a name."""
        return "".join(self._random.choices(string.ascii_lowercase + string.digits, k=length))

    def now(self) -> str:
        """Give the time as objects state it."""
        return datetime.fromtimestamp(self.clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # Inside -----------------------------------------------------------------------------------------------------------

    def _of(self, resource: Resource) -> dict[tuple[str, str], Object]:
        kind = (resource.group, resource.plural)
        self._kinds.setdefault(kind, resource)
        return self._objects[kind]

    def _check_address(self, resource: Resource, namespace: str) -> None:
        if resource.namespaced != bool(namespace):
            raise Invalid(f"{resource.plural}: {'a' if resource.namespaced else 'no'} namespace is needed")

    def _find(self, resource: Resource, name: str, namespace: str) -> Object | None:
        self._check_address(resource, namespace)
        return self._of(resource).get((namespace, name)) if self.serves(resource) else None

    def _admitted(self, resource: Resource, before: Object | None, after: Object) -> Object:
        self._check_address(resource, namespace_of(after))
        if not self.serves(resource):
            raise Invalid(f"the server has no {resource.plural} in {resource.api_version}")
        if before is None and resource.namespaced and ("", namespace_of(after)) not in self._of(NAMESPACES):
            raise Invalid(f'namespaces "{namespace_of(after)}" not found', hint="create the namespace first")
        admission.check(resource, before, after)
        return admission.defaulted(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **after})

    def _put_new(self, resource: Resource, new: Object, owned: ownership.Owned) -> Object:
        metadata = new["metadata"]
        for field in (*_KEPT, "resourceVersion", "generateName"):
            metadata.pop(field, None)
        metadata.update(uid=str(uuid.UUID(int=self._random.getrandbits(128), version=4)), creationTimestamp=self.now())
        if (generation := admission.generation(resource, None, new)) is not None:
            metadata["generation"] = generation
        if resource.kind == "Service" and new["spec"].get("type") != "ExternalName":
            new["spec"].setdefault("clusterIP", f"10.0.{self._random.randrange(256)}.{self._random.randrange(1, 255)}")
        if resource.kind == "Namespace":
            new["status"] = {"phase": "Active"}
        if resource.kind == "CustomResourceDefinition":
            self._install_definition(new)
        metadata["managedFields"] = ownership.managed(owned, self.now())
        self._log(resource, Change.ADDED, new, None)
        made = copied(new)
        self._collect((resource.group, resource.plural), key_of(new))
        return made

    def _install_definition(self, definition: Object) -> None:
        spec = definition["spec"]
        for version in spec["versions"]:
            self._served.add((spec["group"], version["name"], spec["names"]["plural"]))
        definition["status"] = {"conditions": [{"type": "Established", "status": "True"}]}

    def _update(self, resource: Resource, before: Object, after: Object, subresource: str, manager: str) -> Object:
        stated = after["metadata"].get("resourceVersion")
        if stated and stated != before["metadata"]["resourceVersion"]:
            raise Conflict(
                f'{resource.plural} "{name_of(before)}": the object has been modified; apply your changes to the latest'
            )
        after = self._confined(resource, before, after, subresource)
        owner = (manager, "Update", resource.api_version, subresource)
        return self._save(resource, before, after, lambda saved: ownership.updated(before, saved, owner))

    def _apply(
        self, resource: Resource, before: Object | None, config: Object, subresource: str, manager: str, *, force: bool
    ) -> Object | None:
        if config["metadata"].get("managedFields"):
            raise Invalid("apply: metadata.managedFields must be nil")
        owner = (manager, "Apply", resource.api_version, subresource)
        if before is None:
            if subresource:
                return None
            if admission.has_status(resource):
                config.pop("status", None)
            after, owned = ownership.applied(None, config, owner, force=force)
            return self._put_new(resource, self._admitted(resource, None, after), owned)
        stated = config["metadata"].get("resourceVersion")
        if stated and stated != before["metadata"]["resourceVersion"]:
            raise Conflict(f'{resource.plural} "{name_of(before)}": the object has been modified')
        if subresource == "status":
            config = {key: value for key, value in config.items() if key != "spec"}
        elif admission.has_status(resource):
            config.pop("status", None)
        after, owned = ownership.applied(before, config, owner, force=force)
        after = self._confined(resource, before, after, subresource)
        return self._save(resource, before, after, lambda _: owned)

    def _confined(self, resource: Resource, before: Object, after: Object, subresource: str) -> Object:
        """Keep what this address does not write: status, or all but the status; and what only the server writes."""
        if subresource == "status":
            after = {**before, "metadata": dict(before["metadata"]), "status": after.get("status", {})}
        elif subresource:
            raise Invalid(f"{resource.plural} have no /{subresource}")
        elif admission.has_status(resource):
            after = {key: value for key, value in after.items() if key != "status"}
            after |= {"status": before["status"]} if "status" in before else {}
        metadata = {**after["metadata"], "name": name_of(before)}
        for field in (*_KEPT, "namespace"):
            metadata.pop(field, None)
            if field in before["metadata"]:
                metadata[field] = before["metadata"][field]
        return copied({**after, "metadata": metadata})

    def _save(
        self, resource: Resource, before: Object, after: Object, owned: Callable[[Object], ownership.Owned]
    ) -> Object:
        after = self._admitted(resource, before, after)
        metadata = after["metadata"]
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        if (generation := admission.generation(resource, before, after)) is not None:
            metadata["generation"] = generation
        theirs = before["metadata"].get("managedFields", ())
        metadata["managedFields"] = ownership.managed(owned(after), self.now(), theirs)
        if after == before:
            return copied(before)
        if resource == CUSTOM_RESOURCE_DEFINITIONS:
            self._install_definition(after)
        self._log(resource, Change.MODIFIED, after, before)
        saved = copied(after)
        lingers = resource.kind == "Pod" and metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not lingers:
            self._remove(resource, after)
        return saved

    def _scale_of(self, obj: Object) -> Object:
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        wanted = {"replicas": obj["spec"].get("replicas", 1)}
        return {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": wanted}

    def _scale(self, resource: Resource, before: Object, scale: Object, manager: str) -> Object:
        if not admission.scales(resource):
            raise Invalid(f"{resource.plural} have no /scale")
        after = copied(before)
        after["spec"]["replicas"] = scale["spec"].get("replicas", 0)
        after["metadata"]["resourceVersion"] = scale["metadata"].get("resourceVersion", "")
        return self._scale_of(self._update(resource, before, after, "", manager))

    def _log(self, resource: Resource, change: Change, obj: Object, before: Object | None) -> None:
        self.version = next(self._version)
        obj["metadata"]["resourceVersion"] = str(self.version)
        objects = self._of(resource)
        if change is Change.DELETED:
            del objects[key_of(obj)]
            self._alive.discard(obj["metadata"]["uid"])
        else:
            objects[key_of(obj)] = obj
            self._alive.add(obj["metadata"]["uid"])
            for owner in obj["metadata"].get("ownerReferences") or ():
                self._owned[owner["uid"]].add(((resource.group, resource.plural), key_of(obj)))
        entry = Entry(version=self.version, change=change, object=obj, before=before)
        self.history[resource.group, resource.plural].append(entry)
        for listener in tuple(self.listeners):
            listener()

    def _remove(self, resource: Resource, obj: Object) -> None:
        self._log(resource, Change.DELETED, copied(obj), obj)
        for kind, key in sorted(self._owned.pop(obj["metadata"]["uid"], ())):
            self._collect(kind, key)

    def _collect(self, kind: Kind, key: tuple[str, str]) -> None:
        """Delete an object that nothing owns any more."""
        obj = self._objects[kind].get(key)
        owners = obj["metadata"].get("ownerReferences") if obj else None
        if owners and not any(owner["uid"] in self._alive for owner in owners):
            self.delete(self._kinds[kind], key[1], key[0])

    def _empty(self, namespace: str) -> None:
        for kind, objects in tuple(self._objects.items()):
            for place, name in tuple(objects):
                if place == namespace:
                    self.delete(self._kinds[kind], name, place, now=True)


def _addressed(obj: Mapping[str, Any], name: str, namespace: str) -> Object:
    whole = copied(dict(obj))
    whole["metadata"] = {**whole.get("metadata", {}), "name": name, **({"namespace": namespace} if namespace else {})}
    return whole
