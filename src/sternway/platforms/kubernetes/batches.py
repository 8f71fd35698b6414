"""The pods of a StatefulSet by the revision of its template that they run. Pure; read by `scene`, used by `in_place`.

Its controller keeps a ControllerRevision for each template, and each pod carries the name of its own in a label, so that a
Service can select the pods of one version alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from sternway.kubernetes.api import Object, name_of
from sternway.kubernetes.reading import Reader
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, PODS
from sternway.kubernetes.template import stamped, template_digest

HASH = "controller-revision-hash"
"""The label by which a pod tells its revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A revision and its pods. hash: the value of the label. version: its fingerprint; "" where nobody knows it.

    pods: those that are to stay. leaving: those that are on their way out.
    """

    hash: str
    template: Object
    version: str
    pods: tuple[Object, ...] = ()
    leaving: tuple[Object, ...] = ()

    @property
    def ready(self) -> tuple[Object, ...]:
        """The pods that take traffic."""
        return tuple(pod for pod in self.pods if is_ready(pod))

    @property
    def unready(self) -> tuple[Object, ...]:
        """The pods that do not."""
        return tuple(pod for pod in self.pods if not is_ready(pod))


def read_batches(reader: Reader, workload: Object, kept: Mapping[str, Object], asked: str) -> tuple[Batch, ...]:
    """Every revision of a workload. kept: what we keep of each version. asked: the version that its template is now."""
    uid = workload["metadata"]["uid"]
    pods = reader.owned(PODS, uid)
    found = []
    for revision in reader.owned(CONTROLLER_REVISIONS, uid):
        template = copy.deepcopy(revision["data"]["spec"]["template"])
        template.pop("$patch", None)
        mine = [pod for pod in pods if hash_of(pod) == name_of(revision)]
        found.append(
            Batch(
                hash=name_of(revision),
                template=template,
                version=_version(template, workload, kept, asked),
                pods=tuple(pod for pod in mine if not pod["metadata"].get("deletionTimestamp")),
                leaving=tuple(pod for pod in mine if pod["metadata"].get("deletionTimestamp")),
            )
        )
    return tuple(found)


def hash_of(obj: Object) -> str:
    """The revision of a pod."""
    return str((obj["metadata"].get("labels") or {}).get(HASH, ""))


def ordinal(pod: Object) -> int:
    """`orders-2` -> 2."""
    number = name_of(pod).rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def is_ready(pod: Object) -> bool:
    """Whether a pod takes traffic."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _version(template: Object, workload: Object, kept: Mapping[str, Object], asked: str) -> str:
    """By our mark; without one, the first version that was kept of this template, or what is asked for if it is that.

    A template is only marked when its configuration alone has changed: before that it can be told by itself.
    """
    digest = template_digest(template)
    pod, of_template = stamped(template)
    if pod and of_template == digest:
        return pod
    same = [(int(one["revision"]), known) for known, one in kept.items() if _digest(one) == digest]
    if same:
        return min(same)[1]
    return asked if template_digest(workload["spec"]["template"]) == digest else ""


def _digest(revision: Object) -> str:
    return template_digest(revision["data"]["template"])
